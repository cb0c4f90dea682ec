//! Changes an entry that others may change at the same time.

use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use crate::{Error, Key, KeyValueStore, Result, Ttl, Value};

/// How often it tries. With random pauses, a hundred threads that change one entry in memory are done long before: a test of the guide.
pub(crate) const TRIES: u32 = 100;

/// So many times it tries again at once.
const AT_ONCE: u32 = 3;

const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// See [`KeyValueStoreExt::update`](crate::KeyValueStoreExt::update).
pub(crate) fn update<'v, S: KeyValueStore + ?Sized, V: Into<Value<'v>>>(
    store: &S,
    key: Key<'_>,
    ttl: Ttl,
    mut change: impl FnMut(Option<Bytes>) -> Option<V>,
) -> Result<bool> {
    for done in 0..TRIES {
        if done > AT_ONCE {
            thread::sleep(pause(done - AT_ONCE));
        }
        let (old, version) = store.read_versioned(key)?.unzip();
        let Some(new) = change(old) else { return Ok(false) };
        let stored = match version {
            Some(version) => store.write_if_version(key, new.into(), ttl, &version)?,
            None => store.write_if_absent_versioned(key, new.into(), ttl)?,
        };
        if stored.is_some() {
            return Ok(true);
        }
    }
    Err(Error::contended(store.name(), key, TRIES))
}

/// A random time up to one that doubles with each try.
fn pause(tries: u32) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(1 << tries.min(16)).min(LONGEST_PAUSE);
    Duration::from_micros(random_up_to(u64::try_from(most.as_micros()).unwrap_or(u64::MAX)))
}

/// A random number below this one, or zero.
pub(crate) fn random_up_to(most: u64) -> u64 {
    RandomState::new().hash_one(most) % most.max(1)
}
