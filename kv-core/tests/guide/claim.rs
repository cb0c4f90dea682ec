//! A payment whose claim is sent and not answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kv_core::{Bytes, Capabilities, Error, Failure, Key, Value};
use kv_memory::MemoryStore;

// What is on the page begins here.
use kv_memory::{KeyValueStore, KeyValueStoreExt, Result, Ttl};

/// Whether the invoice is this attempt's to charge. To ask again as the same attempt gives the same answer.
fn claim(store: &dyn KeyValueStore, invoice: &str, attempt: &str) -> Result<bool> {
    let key = format!("invoice:{invoice}");
    // For ever, whatever the store's default: a claim that ends would let another attempt charge again.
    if store.create_with_ttl(&key, attempt, Ttl::Forever)? {
        return Ok(true);
    }
    // Somebody has it. If that is us, an earlier try has happened after all.
    Ok(store.get(&key)?.as_deref() == Some(attempt.as_bytes()))
}

/// Charges once, however often it is called for the attempt, and by however many. An error means: call it again later.
fn pay(store: &dyn KeyValueStore, invoice: &str, attempt: &str, charge: impl Fn(&str)) -> Result<bool> {
    let ours = claim(store, invoice, attempt)?;
    if ours {
        charge(attempt); // the provider's idempotency key: the same one is charged once
    }
    Ok(ours)
}
// And it ends here.

/// A store with a default lifetime that does its first create, or does not, and loses the reply in either case.
#[derive(Debug)]
struct Loses {
    inner: MemoryStore,
    does_it: bool,
    has_lost: AtomicBool,
}

impl KeyValueStore for Loses {
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
        let inner = MemoryStore::builder().clock(clock.clone()).default_ttl(day).build();
        let store = Loses { inner, does_it, has_lost: false.into() };
        let charged = std::cell::RefCell::new(Vec::new());
        let pay = |attempt: &str| pay(&store, "17", attempt, |key| charged.borrow_mut().push(key.to_owned()));
        assert!(pay("1").is_err_and(|error| error.is_transient() && error.outcome_unknown()));
        assert!(charged.borrow().is_empty());
        assert!(pay("1").unwrap() && pay("1").unwrap());
        clock.advance(2 * day);
        assert!(!pay("2").unwrap(), "the claim has not ended");
        assert_eq!(*charged.borrow(), ["1", "1"], "the provider takes the second one for the first");
    }
}

#[test]
fn what_is_on_the_page_is_this() {
    let code = include_str!("claim.rs");
    let (_, code) = code.split_once("// What is on the page begins here.\n").unwrap();
    let (code, _) = code.split_once("// And it ends here.").unwrap();
    super::is_on_page(code, include_str!("../../guide/errors.md"));
}
