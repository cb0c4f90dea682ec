//! An adapter around an existing store, with which the suite runs: its owner puts it into `tests/conformance.rs`.
//! `cargo run -p kv-conformance --example adapter` runs it.

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cache::Cache;
use kv_conformance::{Fixture, Suite};
use kv_core::{Bytes, Capabilities, Capability, Error, Key, KeyValueStore, Result, Ttl, Value};

/// The existing store. It does not know `kv-core`.
mod cache {
    use std::collections::HashMap;
    use std::sync::{Mutex, PoisonError};
    use std::time::{Duration, Instant};

    /// A value, and when it expires, if it does.
    type Entry = (Vec<u8>, Option<Instant>);

    #[derive(Default)]
    pub(crate) struct Cache {
        entries: Mutex<HashMap<String, Entry>>,
    }

    impl Cache {
        pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
            let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            let (value, expiry) = entries.get(key)?;
            expiry.is_none_or(|expiry| Instant::now() < expiry).then(|| value.clone())
        }

        /// The entry expires after this many seconds, or never.
        pub(crate) fn set(&self, key: &str, value: Vec<u8>, seconds: Option<u32>) {
            let expiry = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
            self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), (value, expiry));
        }

        /// Whether there was an entry.
        pub(crate) fn del(&self, key: &str) -> bool {
            let removed = self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
            removed.is_some_and(|(_, expiry)| expiry.is_none_or(|expiry| Instant::now() < expiry))
        }
    }
}

/// The adapter, which implements the trait. A separate type is needed if both the trait and the store are from other crates.
struct Adapter(Arc<Cache>);

/// Not derived, because that would show the values of the cache.
impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter").finish_non_exhaustive()
    }
}

const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

impl KeyValueStore for Adapter {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::builder()
            // The cache counts whole seconds, so an entry may stay for up to one second more.
            .ttl_resolution(Duration::from_secs(1))
            .longest_ttl(LONGEST)
            // The cache does not tell TTLs, so they cannot be copied either.
            .with_all(&[Capability::Contains, Capability::Ttls])
            .build()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        Ok(self.0.get(&key).map(Bytes::from))
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        let seconds = match ttl.or_default(None) {
            Some(ttl) if ttl > LONGEST => return Err(Error::invalid_ttl(self.name(), key, ttl, LONGEST)),
            Some(Duration::ZERO) => {
                self.0.del(&key);
                return Ok(());
            }
            // Rounded up: an entry must not expire early, and half a second must not become zero.
            Some(ttl) => u32::try_from(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).ok(),
            None => None,
        };
        self.0.set(&key, value.into_bytes().into(), seconds);
        Ok(())
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        Ok(self.0.del(&key))
    }
}

pub(crate) fn main() -> ExitCode {
    let suite = Suite::new("cache", || {
        let cache = Arc::new(Cache::default());
        // Another store with the same entries, like that of another process.
        Ok(Fixture::new(Adapter(Arc::clone(&cache))).second_handle(Adapter(cache)))
    });
    suite
        .opt_out(Capability::Listing, "nobody has needed it yet")
        .opt_out(Capability::Create, "the cache has get and set, and nothing that is both")
        .opt_out(Capability::TtlReading, "the cache does not tell when an entry expires")
        .opt_out(Capability::Touch, "a TTL is given by set alone")
        .opt_out(Capability::Copy, "a TTL cannot be told, and so not copied")
        .opt_out(Capability::Versions, "the cache has get and set, and nothing that compares")
        .opt_out(Capability::Take, "the cache has get and del, and nothing that is both")
        .opt_out(Capability::TouchingReads, "a TTL is given by set alone")
        .opt_out(Capability::Counters, "the cache cannot count")
        .main()
}
