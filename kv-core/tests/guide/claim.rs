//! A payment whose claim is sent and not answered: the code of the page *Errors*.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kv_core::{Bytes, Capabilities, Error, Failure, Key, Value};
use kv_memory::MemoryStore;

// The code on the page begins here.
use kv_memory::{KeyValueStore, KeyValueStoreExt, Result, Ttl};

/// Whether this attempt may charge the invoice. The same attempt gets the same answer each time.
fn claim(store: &dyn KeyValueStore, invoice: &str, attempt: &str) -> Result<bool> {
    let key = format!("invoice:{invoice}");
    // For ever, whatever the store's default TTL: if the claim expired, another attempt could charge again.
    if store.create_with_ttl(&key, attempt, Ttl::Forever)? {
        return Ok(true);
    }
    // Somebody has the claim. If it is this attempt, an earlier try has succeeded after all.
    Ok(store.get(&key)?.as_deref() == Some(attempt.as_bytes()))
}

/// Charges once, however often and by however many callers it is called for the attempt. After an error, call it again later.
fn pay(store: &dyn KeyValueStore, invoice: &str, attempt: &str, charge: impl Fn(&str)) -> Result<bool> {
    let ours = claim(store, invoice, attempt)?;
    if ours {
        charge(attempt); // the idempotency key: the provider charges each key once
    }
    Ok(ours)
}
// The code on the page ends here.

/// A store with a default TTL that loses the reply to its first create. `does_it` says whether it does that create.
#[derive(Debug)]
struct LosesReply {
    inner: MemoryStore,
    does_it: bool,
    has_lost: AtomicBool,
}

impl KeyValueStore for LosesReply {
    fn name(&self) -> &'static str {
        "loses"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.inner.read(key)
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        self.inner.write(key, value, ttl)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.inner.remove(key)
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        if self.has_lost.swap(true, Ordering::SeqCst) {
            return self.inner.write_if_absent(key, value, ttl);
        }
        if self.does_it {
            self.inner.write_if_absent(key, value, ttl)?;
        }
        Err(Error::Timeout(Failure::new(self.name(), "no answer").at(key).with_unknown_outcome()))
    }
}

#[test]
fn a_claim_whose_reply_is_lost_charges_once() {
    for does_it in [true, false] {
        let clock = kv_memory::ManualClock::new();
        let day = Duration::from_secs(24 * 60 * 60);
        let inner = MemoryStore::builder().clock(clock.clone()).default_ttl(day).build().unwrap();
        let store = LosesReply { inner, does_it, has_lost: false.into() };
        let charged = std::cell::RefCell::new(Vec::new());
        let pay = |attempt: &str| pay(&store, "17", attempt, |key| charged.borrow_mut().push(key.to_owned()));
        assert!(pay("1").is_err_and(|error| error.is_transient() && error.outcome_unknown()));
        assert!(charged.borrow().is_empty());
        assert!(pay("1").unwrap() && pay("1").unwrap());
        clock.advance(2 * day);
        assert!(!pay("2").unwrap(), "the claim has not expired");
        assert_eq!(*charged.borrow(), ["1", "1"], "the provider charges this key once");
    }
}

#[test]
fn the_claim_is_on_its_page() {
    let code = include_str!("claim.rs");
    let (_, code) = code.split_once("// The code on the page begins here.\n").unwrap();
    let (code, _) = code.split_once("// The code on the page ends here.").unwrap();
    super::is_on_page(code, include_str!("../../guide/errors.md"));
}
