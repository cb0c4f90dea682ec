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
        if let Some(pause) = pause_before(done) {
            thread::sleep(pause);
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

/// How long to wait before a try after so many: a random time up to one that doubles with each.
pub(crate) fn pause_before(done: u32) -> Option<Duration> {
    let tries = done.checked_sub(AT_ONCE + 1)?;
    let most = FIRST_PAUSE.saturating_mul(2 << tries.min(16)).min(LONGEST_PAUSE);
    let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Some(Duration::from_micros(RandomState::new().hash_one(tries) % micros.max(1)))
}
