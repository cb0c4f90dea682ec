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

/// What a rule of [`try_update`](crate::KeyValueStoreExt::try_update) makes of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'v> {
    /// It stays as it is, and so does its TTL.
    Keep,
    /// It gets this value.
    Put(Value<'v>),
    /// It is deleted; nothing happens if it is absent.
    Delete,
}

impl<'v> Change<'v> {
    /// [`Put`](Self::Put) of anything that is a value.
    pub fn put(value: impl Into<Value<'v>>) -> Self {
        Self::Put(value.into())
    }
}

/// See [`KeyValueStoreExt::try_update`](crate::KeyValueStoreExt::try_update).
pub(crate) fn try_update<'v, S: KeyValueStore + ?Sized, T, E: From<Error>>(
    store: &S,
    key: Key<'_>,
    ttl: Ttl,
    mut rule: impl FnMut(Option<Bytes>) -> Result<(Change<'v>, T), E>,
) -> Result<T, E> {
    for done in 0..TRIES {
        if let Some(pause) = pause_before(done) {
            thread::sleep(pause);
        }
        let (old, version) = store.read_versioned(key)?.unzip();
        let (change, outcome) = rule(old)?;
        let is_done = match (change, version) {
            (Change::Keep, _) | (Change::Delete, None) => true,
            (Change::Delete, Some(version)) => store.remove_if_version(key, &version)?,
            (Change::Put(value), Some(version)) => store.write_if_version(key, value, ttl, &version)?.is_some(),
            (Change::Put(value), None) => store.write_if_absent_versioned(key, value, ttl)?.is_some(),
        };
        if is_done {
            return Ok(outcome);
        }
    }
    Err(Error::contended(store.name(), key, TRIES).into())
}

/// The rule of [`update`](crate::KeyValueStoreExt::update) as one of [`try_update`], which says whether it stores anything.
pub(crate) fn as_change<'v, V: Into<Value<'v>>>(
    mut change: impl FnMut(Option<Bytes>) -> Option<V>,
) -> impl FnMut(Option<Bytes>) -> Result<(Change<'v>, bool)> {
    move |old| Ok(change(old).map_or((Change::Keep, false), |new| (Change::put(new), true)))
}

/// How long to wait before a try after so many: a random time up to one that doubles with each.
pub(crate) fn pause_before(done: u32) -> Option<Duration> {
    let tries = done.checked_sub(AT_ONCE + 1)?;
    let most = FIRST_PAUSE.saturating_mul(2 << tries.min(16)).min(LONGEST_PAUSE);
    let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Some(Duration::from_micros(RandomState::new().hash_one(tries) % micros.max(1)))
}
