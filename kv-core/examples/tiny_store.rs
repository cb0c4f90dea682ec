//! A whole backend: a map behind a lock. It keeps the contract but for section 12, and the conformance suite runs on it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kv_core::{
    Bytes, Capabilities, Capability, Key, KeyBuf, KeyValueStore, KeyValueStoreExt, Keys, Prefix, Remaining, Result,
    Ttl, Value,
};

type Entries = BTreeMap<KeyBuf, (Bytes, Option<Instant>)>;

#[derive(Default)]
pub(crate) struct TinyStore(Mutex<Entries>);

/// Whether an entry with this expiry is live. Expired entries stay in the map until they are replaced.
fn is_live(expiry: Option<Instant>) -> bool {
    expiry.is_none_or(|expiry| Instant::now() < expiry)
}

/// The value and the expiry of a live entry.
fn live<'e>(entries: &'e mut Entries, key: Key<'_>) -> Option<&'e mut (Bytes, Option<Instant>)> {
    entries.get_mut(key.as_str()).filter(|(_, expiry)| is_live(*expiry))
}

impl TinyStore {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expiry_at(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Instant>> {
        let ttl = ttl.or_default(None);
        self.capabilities().check_ttl(self.name(), key, ttl)?;
        Ok(ttl.map(|ttl| Instant::now() + ttl))
    }
}

impl fmt::Debug for TinyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TinyStore").finish_non_exhaustive()
    }
}

impl KeyValueStore for TinyStore {
    fn name(&self) -> &'static str {
        "tiny"
    }

    fn capabilities(&self) -> Capabilities {
        use Capability::{Contains, Copy, Create, Listing, Touch, TtlReading, Ttls};
        let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        let all = [Listing, Contains, Create, Ttls, TtlReading, Touch, Copy];
        Capabilities::builder().with_all(&all).longest_ttl(century).build()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        Ok(live(&mut self.entries(), key).map(|(value, _)| value.clone()))
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        let expiry = self.expiry_at(key, ttl)?;
        self.entries().insert(key.into(), (value.into_bytes(), expiry));
        Ok(())
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        let expiry = self.expiry_at(key, ttl)?;
        let mut entries = self.entries();
        let absent = live(&mut entries, key).is_none();
        if absent {
            entries.insert(key.into(), (value.into_bytes(), expiry));
        }
        Ok(absent)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        Ok(self.entries().remove(key.as_str()).is_some_and(|(_, expiry)| is_live(expiry)))
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        let now = Instant::now();
        Ok(live(&mut self.entries(), key).map(|(_, expiry)| match expiry {
            Some(expiry) => Remaining::For(expiry.saturating_duration_since(now)),
            None => Remaining::Forever,
        }))
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        let new = self.expiry_at(key, ttl)?;
        Ok(live(&mut self.entries(), key).map(|(_, expiry)| *expiry = new).is_some())
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        // All at once, because the store is tiny. A backend with many entries lists page by page (L4).
        let entries = self.entries();
        let matching = entries.iter().filter(|(key, (_, expiry))| key.starts_with(prefix.as_str()) && is_live(*expiry));
        let keys = matching.map(|(key, _)| Ok(key.clone())).collect::<Vec<_>>();
        Ok(Keys::new(keys.into_iter()))
    }
}

fn main() -> Result<()> {
    let store = TinyStore::default();
    store.put_with_ttl("session:42", "token", Duration::from_secs(1800))?;
    assert_eq!(store.keys("session:")?.count(), 1);
    assert!(store.delete("session:42")?);
    Ok(())
}
