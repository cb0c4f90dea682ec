//! Versions, and numbers as text.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kv_core::{Bytes, Capability, CounterFault, Error, Key, KeyValueStore, Result, Ttl, Version};

use super::{Map, NAME, Right, Stored, own};

/// A number that no entry has had.
pub(crate) fn new_version() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

impl Right {
    /// The version of an entry: a number, or the value itself where versions are not exact.
    pub(crate) fn version(&self, key: Key<'_>, stored: &Stored) -> Version {
        if self.capabilities().supports(Capability::ExactVersions) {
            Version::of_number(key, stored.version)
        } else {
            Version::of_content(key, stored.value.clone())
        }
    }

    /// Whether a live entry has this version.
    pub(crate) fn holds(&self, map: &Map, key: Key<'_>, version: &Version) -> bool {
        self.live(map, &key).is_some_and(|stored| self.version(key, stored) == *version)
    }

    /// Puts what was [checked](Self::check) already. Returns its version.
    pub(crate) fn insert_versioned(&self, map: &mut Map, key: Key<'_>, value: Bytes, end: Option<Duration>) -> Version {
        let of_nothing = self.version(key, &Stored::new(value.clone(), end));
        Self::insert(map, key, value, end);
        map.get(&own(&key)).map_or(of_nothing, |stored| self.version(key, stored))
    }

    /// Reads an entry, and sets its TTL.
    pub(crate) fn get_and_touch(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        let end = self.check(key, 0, ttl)?;
        let mut map = self.lock();
        let Some(stored) = self.take(&mut map, key) else { return Ok(None) };
        let value = stored.value.clone();
        if end != Some(Duration::ZERO) {
            map.insert(own(&key), Stored { end, ..stored });
        }
        Ok(Some(value))
    }
}

/// The sum of a counter and this.
pub(crate) fn sum(key: Key<'_>, value: &[u8], by: u32) -> Result<u64> {
    let fault = |fault| Error::not_a_counter(NAME, key, fault);
    let text = std::str::from_utf8(value).map_err(|_| fault(CounterFault::NotANumber))?;
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !is_digits || text.is_empty() {
        return Err(fault(CounterFault::NotANumber));
    }
    let number = text.parse::<i64>().map_err(|_| fault(CounterFault::TooLarge))?;
    let sum = number.checked_add(by.into()).ok_or_else(|| fault(CounterFault::TooLarge))?;
    sum.try_into().map_err(|_| fault(CounterFault::TooLarge))
}
