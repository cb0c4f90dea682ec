//! Right stores that are unlike most: the contract permits what is peculiar about each of them.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::thread;
use std::time::Duration;

use kv_core::{
    Bytes, Capabilities, Capability, Entry, Error, Key, KeyBuf, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl,
    Value, ValueReader, Version,
};

use crate::right::{Config, NAME, Right, part};

/// What is peculiar about a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peculiarity {
    /// Nothing.
    None,
    /// An operation takes so long, and so does a batch, and a page of a listing.
    Slow(Duration),
    /// An operation takes so long, and so does each key of a batch, which is sent by itself.
    SlowKeys(Duration),
    /// Deadlines are dates, and none is later than this one. So the longest TTL becomes shorter.
    EndsAt(Duration),
    /// Key and value have one limit together.
    LimitByKey,
    /// TTLs are rounded up to whole seconds, and told so.
    WholeSeconds,
    /// A listing yields its keys in any order, as they are when it begins.
    ListsAtRandom,
    /// A listing asks for one key, then for as many again as it has had, and yields what is created meanwhile behind it.
    ListsMoreAndMore,
    /// A reader gives a few bytes at a time, is interrupted now and then, and cannot go beyond 2⁶³.
    ReadsReluctantly,
    /// Readers are of files that are mapped into memory: they see what is there when they are opened, and keep it when it is removed.
    ReadsMapped,
    /// Closing it takes a while: it says goodbye to each server.
    ClosesSlowly,
}

/// A right store with a peculiarity.
#[derive(Clone)]
pub(crate) struct Peculiar {
    inner: Right,
    how: Peculiarity,
}

/// How many keys a slow store lists at a time.
const PAGE: usize = 100;

impl Peculiar {
    pub(crate) fn new(inner: Right, how: Peculiarity) -> Self {
        Self { inner, how }
    }

    /// Takes as long as an operation on this number of keys.
    fn take_time(&self, keys: usize) {
        match self.how {
            Peculiarity::Slow(time) => thread::sleep(time),
            Peculiarity::SlowKeys(time) => thread::sleep(time * u32::try_from(keys).unwrap_or(u32::MAX)),
            _ => {}
        }
    }

    /// The longest TTL now.
    fn longest(&self) -> Duration {
        match self.how {
            Peculiarity::EndsAt(date) => date.saturating_sub(self.inner.now()),
            _ => self.inner.config.longest_ttl,
        }
    }

    /// Whether the value fits and the deadline can be expressed.
    fn check(&self, key: Key<'_>, size: usize, ttl: Ttl) -> Result<()> {
        let (limit, size) = (self.limit_for(key), size as u64);
        if let Some(limit) = limit.filter(|limit| size > *limit) {
            return Err(Error::value_too_large(NAME, key, size, limit));
        }
        match ttl.or_default(self.inner.config.default_ttl) {
            Some(ttl) if !ttl.is_zero() && ttl > self.longest() => {
                // Where TTLs are lacking, that is said first.
                self.inner.check(key, 0, Ttl::After(Duration::from_nanos(1)))?;
                Err(Error::invalid_ttl(NAME, key, ttl, self.longest()))
            }
            _ => Ok(()),
        }
    }

    fn limit_for(&self, key: Key<'_>) -> Option<u64> {
        let limit = self.inner.config.largest_value?;
        Some(if self.how == Peculiarity::LimitByKey { limit - key.len() as u64 } else { limit })
    }

    fn rounded(&self, ttl: Ttl) -> Ttl {
        match ttl.or_default(self.inner.config.default_ttl) {
            Some(ttl) if self.how == Peculiarity::WholeSeconds => {
                Ttl::After(Duration::from_secs(ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0))))
            }
            _ => ttl,
        }
    }

    fn listing<'a>(&'a self, keys: Keys<'a>, all: impl Fn() -> Result<Vec<KeyBuf>> + Send + 'a) -> Result<Keys<'a>> {
        Ok(match self.how {
            Peculiarity::Slow(_) | Peculiarity::SlowKeys(_) => Keys::new(keys.enumerate().map(|(at, key)| {
                if at % PAGE == PAGE - 1 {
                    self.take_time(1);
                }
                key
            })),
            Peculiarity::ListsAtRandom => {
                let mut keys = keys.collect::<Result<Vec<_>>>()?;
                fastrand::shuffle(&mut keys);
                Keys::new(keys.into_iter().map(Ok))
            }
            Peculiarity::ListsMoreAndMore => {
                let (mut yielded, mut page) = (BTreeSet::new(), Vec::new());
                Keys::new(std::iter::from_fn(move || {
                    if page.is_empty() {
                        // The last one first: what is created anywhere before it comes as well.
                        let more = yielded.len() + 1;
                        match all() {
                            Ok(keys) => {
                                let new = keys.into_iter().rev().filter(|key| !yielded.contains(key));
                                page.extend(new.take(more));
                            }
                            Err(error) => return Some(Err(error)),
                        }
                        page.reverse();
                    }
                    let next = page.pop()?;
                    yielded.insert(next.clone());
                    Some(Ok(next))
                }))
            }
            _ => keys,
        })
    }
}

impl Drop for Peculiar {
    fn drop(&mut self) {
        if self.how == Peculiarity::ClosesSlowly {
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl fmt::Debug for Peculiar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peculiar").field("inner", &self.inner).field("how", &self.how).finish()
    }
}

#[deny(clippy::missing_trait_methods, reason = "a default would be another store")]
impl KeyValueStore for Peculiar {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        let Config { largest_value, resolution, .. } = &self.inner.config;
        let resolution = if self.how == Peculiarity::WholeSeconds { Duration::from_secs(1) } else { *resolution };
        let builder = self.inner.capabilities().to_builder().longest_ttl(self.longest()).ttl_resolution(resolution);
        let limit = largest_value.map(|limit| {
            if self.how == Peculiarity::LimitByKey { limit - self.inner.config.longest_key as u64 } else { limit }
        });
        limit.map_or(builder.clone(), |limit| builder.largest_value(limit)).build()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.take_time(1);
        self.inner.read(key)
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        self.take_time(1);
        self.check(key, value.len(), ttl)?;
        self.inner.write(key, value, self.rounded(ttl))
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        self.take_time(1);
        self.inner.need(Capability::Create)?;
        self.check(key, value.len(), ttl)?;
        self.inner.write_if_absent(key, value, self.rounded(ttl))
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.take_time(1);
        self.inner.remove(key)
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        self.take_time(1);
        self.inner.exists(key)
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        self.take_time(1);
        let left = self.inner.expiry(key)?;
        Ok(left.map(|left| match left {
            Remaining::For(left) if self.how == Peculiarity::WholeSeconds => {
                Remaining::For(Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0)))
            }
            other => other,
        }))
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        self.take_time(1);
        self.inner.need(Capability::Touch)?;
        self.check(key, 0, ttl)?;
        self.inner.set_expiry(key, self.rounded(ttl))
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        self.take_time(1);
        let owned = prefix.to_string();
        self.listing(self.inner.list(prefix)?, move || self.inner.list(Prefix::new(&owned)?)?.collect())
    }

    fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        self.take_time(1);
        let (delimiter_owned, owned) = (delimiter.to_key_buf(), prefix.to_string());
        self.listing(self.inner.list_prefixes(delimiter, prefix)?, move || {
            let parts =
                self.inner.list(Prefix::new(&owned)?)?.map(|key| Ok(part(&key?, &delimiter_owned, owned.len())));
            Ok(parts.collect::<Result<BTreeSet<_>>>()?.into_iter().collect())
        })
    }

    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        self.take_time(keys.len());
        self.inner.read_many(keys)
    }

    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        self.take_time(keys.len());
        self.inner.read_each(keys)
    }

    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        self.take_time(entries.len());
        entries.into_iter().try_for_each(|entry| {
            self.check(entry.key, entry.value.len(), entry.ttl)?;
            self.inner.write(entry.key, entry.value, self.rounded(entry.ttl))
        })
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        self.take_time(keys.len());
        self.inner.remove_many(keys)
    }

    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.take_time(1);
        self.inner.need(Capability::Copy)?;
        // Under a longer key, it may be too large.
        if let Some(value) = self.inner.read(from)? {
            self.check(to, value.len(), Ttl::Forever)?;
        }
        self.inner.copy_entry(from, to)
    }

    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.take_time(1);
        self.inner.need(Capability::Copy)?;
        if let Some(value) = self.inner.read(from)? {
            self.check(to, value.len(), Ttl::Forever)?;
        }
        self.inner.rename_entry(from, to)
    }

    fn read_stream(&self, key: Key<'_>) -> Result<Option<ValueReader>> {
        self.take_time(1);
        let value = self.inner.read(key)?;
        match self.how {
            Peculiarity::ReadsReluctantly => {
                Ok(value.map(|value| ValueReader::new(Reluctant { value, at: 0, reads: 0 })))
            }
            Peculiarity::ReadsMapped => {
                let mapped = |value: Bytes| -> io::Result<ValueReader> {
                    // It has no name any more: what happens to the entry does not concern it.
                    let mut file = tempfile::tempfile()?;
                    io::copy(&mut &*value, &mut file)?;
                    file.seek(SeekFrom::Start(0))?;
                    Ok(ValueReader::new(io::BufReader::new(file)))
                };
                value.map(|value| mapped(value).map_err(|error| Error::io(key, "mapping the value", error))).transpose()
            }
            _ => Ok(value.map(ValueReader::from)),
        }
    }

    fn write_stream(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        self.take_time(1);
        self.check(key, 0, ttl)?;
        let value = crate::right::read_all(self.limit_for(key), key, reader)?;
        self.check(key, value.len(), ttl)?;
        self.inner.write(key, value.into(), self.rounded(ttl))
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        self.take_time(1);
        self.inner.read_versioned(key)
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        self.take_time(1);
        self.inner.need(Capability::Versions)?;
        self.inner.need(Capability::Create)?;
        self.check(key, value.len(), ttl)?;
        self.inner.write_if_absent_versioned(key, value, self.rounded(ttl))
    }

    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        self.take_time(1);
        self.inner.need(Capability::Versions)?;
        self.check(key, value.len(), ttl)?;
        self.inner.write_if_version(key, value, self.rounded(ttl), version)
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        self.take_time(1);
        self.inner.remove_if_version(key, version)
    }

    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.take_time(1);
        self.inner.read_and_remove(key)
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        self.take_time(1);
        self.inner.need(Capability::TouchingReads)?;
        self.check(key, 0, ttl)?;
        self.inner.read_and_set_expiry(key, self.rounded(ttl))
    }

    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        self.take_time(1);
        self.inner.need(Capability::Counters)?;
        self.check(key, 0, ttl)?;
        self.inner.add(key, by, self.rounded(ttl))
    }
}

/// A reader that gives a few bytes at a time.
struct Reluctant {
    value: Bytes,
    at: u64,
    reads: usize,
}

impl Read for Reluctant {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        if self.reads.is_multiple_of(50) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let rest = usize::try_from(self.at).ok().and_then(|at| self.value.get(at..)).unwrap_or_default();
        let count = buffer.len().min(700);
        let count = (&*rest).read(buffer.get_mut(..count).unwrap_or_default())?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reluctant {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(to) => (0, i128::from(to)),
            SeekFrom::End(by) => (self.value.len() as i128, i128::from(by)),
            SeekFrom::Current(by) => (i128::from(self.at), i128::from(by)),
        };
        let at = i64::try_from(base + by).ok().and_then(|at| u64::try_from(at).ok());
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}
