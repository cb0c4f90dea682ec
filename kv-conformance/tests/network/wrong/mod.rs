//! A store behind a network that is right but for one fault.

mod chunks;
mod misread;
mod misreport;
mod pages;
mod pool;
mod readers;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::iter;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use kv_core::{
    Bytes, Capabilities, Entry, Error, Failure, Key, KeyBuf, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl,
    Value, Version,
};

use crate::client::Client;
use crate::faults::Fault;
use crate::pool::Limits;
use crate::wrong::pool::WrongPool;

/// A store that does one thing wrong.
pub(crate) struct Wrong {
    client: Arc<Client<WrongPool>>,
    fault: Fault,
    /// What the reads have said last.
    cache: Mutex<BTreeMap<KeyBuf, Option<Bytes>>>,
    /// How many listings have not come to their end.
    cursors: AtomicUsize,
}

/// The most listings that may be open, where they count.
const MOST_CURSORS: usize = 10;

impl Wrong {
    pub(crate) fn new(address: SocketAddr, limits: Limits, fault: Fault) -> Self {
        let transport = WrongPool::new(address, limits, fault);
        let client = Client { name: format!("net://{address}"), default_ttl: None, transport };
        Self { client: Arc::new(client), fault, cache: Mutex::default(), cursors: AtomicUsize::new(0) }
    }

    /// A listing that begins again when it fails.
    fn list_again(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        let prefix_again = prefix.as_str().to_owned();
        let mut keys = self.client.list(prefix)?;
        Ok(Keys::new(iter::from_fn(move || {
            let key = keys.next()?;
            if key.is_ok() {
                return Some(key);
            }
            keys = self.client.list(Prefix::new(&prefix_again).ok()?).ok()?;
            keys.next()
        })))
    }

    /// Reads in chunks; of those after the first one, what could not be read is absent.
    fn read_first(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        let chunks = keys.chunks(1000).enumerate().map(|(number, chunk)| {
            let outcomes = self.client.read_each(chunk).into_iter();
            outcomes.map(|outcome| if number == 0 { outcome } else { outcome.or(Ok(None)) }).collect::<Vec<_>>()
        });
        chunks.flatten().collect()
    }

    /// A listing that is open until it has come to its end.
    fn list_until_end(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        if self.cursors.fetch_add(1, Ordering::Relaxed) >= MOST_CURSORS {
            return Err(Error::Unavailable(Failure::new(self.name(), "too many listings are open")));
        }
        let end = iter::from_fn(|| {
            self.cursors.fetch_sub(1, Ordering::Relaxed);
            None
        });
        Ok(Keys::new(self.client.list(prefix)?.chain(end)))
    }

    /// What is read, or else what was read last.
    fn read_or_remember(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.client.read(key), cache.get(key.as_str())) {
            (Ok(value), _) => {
                cache.insert(key.into(), value.clone());
                Ok(value)
            }
            (Err(_), Some(value)) => Ok(value.clone()),
            (Err(error), None) => Err(error),
        }
    }
}

impl KeyValueStore for Wrong {
    fn name(&self) -> &str {
        self.client.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.client.capabilities()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        if self.fault == Fault::FailureIsCached { self.read_or_remember(key) } else { self.client.read(key) }
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        match self.fault {
            Fault::PutReturnsEarly => {
                let (client, key, value) = (Arc::clone(&self.client), key.to_key_buf(), value.into_bytes());
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(20));
                    // Nobody is told.
                    let _ = client.write(key.as_key(), value.into(), ttl);
                });
                Ok(())
            }
            Fault::PutThenTtl if matches!(ttl, Ttl::After(_)) => {
                self.client.write(key, value, Ttl::Forever)?;
                self.client.set_expiry(key, ttl).map(drop)
            }
            Fault::PutReadsBack => {
                self.client.write(key, value, ttl)?;
                self.client.read(key).map(drop)
            }
            _ => self.client.write(key, value, ttl),
        }
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        if self.fault == Fault::CreateLooksFirst && self.client.exists(key)? {
            return Ok(false);
        }
        if self.fault == Fault::CreateThenTtl && matches!(ttl, Ttl::After(_)) {
            let created = self.client.write_if_absent(key, value, Ttl::Forever)?;
            return if created { self.client.set_expiry(key, ttl) } else { Ok(false) };
        }
        self.client.write_if_absent(key, value, ttl)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.client.remove(key)
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        self.client.exists(key)
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        self.client.expiry(key)
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        self.client.set_expiry(key, ttl)
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        match self.fault {
            Fault::ListingEndsAtLaterPage | Fault::ListingRepeatsPage => Ok(self.list_by_pages(prefix)),
            Fault::ListingEndsAtFailure => Ok(Keys::new(self.client.list(prefix)?.take_while(Result::is_ok))),
            Fault::ListingBeginsAgain => self.list_again(prefix),
            Fault::CursorsLeak => self.list_until_end(prefix),
            Fault::ListingAllAtOnce => {
                Ok(Keys::new(self.client.list(prefix)?.collect::<Result<Vec<_>>>()?.into_iter().map(Ok)))
            }
            _ => self.client.list(prefix),
        }
    }

    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        match self.fault {
            Fault::GetManyOneByOne => keys.iter().map(|&key| self.client.read(key)).collect(),
            Fault::PipelineReused if keys.len() > 1000 => self.read_pipelined(keys),
            Fault::LaterChunkIsAbsentInMany => self.read_first(keys).into_iter().collect(),
            Fault::LossIsAbsentInMany => Ok(self.client.read_many(keys).unwrap_or_else(|_| vec![None; keys.len()])),
            _ => self.client.read_many(keys),
        }
    }

    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        match self.fault {
            Fault::LossIsAbsentInEach => {
                self.client.read_each(keys).into_iter().map(|outcome| outcome.or(Ok(None))).collect()
            }
            Fault::LaterChunkIsAbsentInEach => self.read_first(keys),
            Fault::EachWaitsForItself => match self.client.read_many(keys) {
                Ok(values) => values.into_iter().map(Ok).collect(),
                Err(_) => keys.iter().map(|&key| self.client.read(key)).collect(),
            },
            Fault::EachHasErrorOfBatch => match self.client.read_many(keys) {
                Ok(values) => values.into_iter().map(Ok).collect(),
                Err(error) => {
                    let shown = error.report().to_string();
                    let failed = || Err(Error::Unavailable(Failure::new(self.name(), shown.clone())));
                    keys.iter().map(|_| failed()).collect()
                }
            },
            Fault::EachOneByOne => keys.iter().map(|&key| self.client.read(key)).collect(),
            _ => self.client.read_each(keys),
        }
    }

    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        if self.fault == Fault::PutManyOneByOne {
            return entries.into_iter().try_for_each(|entry| self.client.write(entry.key, entry.value, entry.ttl));
        }
        if self.is_wrong_in_chunks() { self.write_chunks(&entries) } else { self.client.write_many(entries) }
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        if self.fault == Fault::DeleteManyOneByOne {
            return keys.iter().map(|&key| self.client.remove(key)).collect();
        }
        if self.is_wrong_in_chunks() { self.remove_chunks(keys) } else { self.client.remove_many(keys) }
    }

    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.client.copy_entry(from, to)
    }

    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.client.rename_entry(from, to)
    }

    fn write_stream(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        match self.fault {
            Fault::LeaksWithReader | Fault::LeaksWithPanic | Fault::ReusedAfterHalfStream => {
                self.write_while_reading(key, reader, ttl)
            }
            _ => self.client.write_stream(key, reader, ttl),
        }
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        self.client.read_versioned(key)
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        self.client.write_if_absent_versioned(key, value, ttl)
    }

    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        if self.fault == Fault::PutIfLooksFirst {
            return match self.client.read_versioned(key)? {
                Some((_, now)) if now == *version => self.client.write_if_version(key, value, ttl, version),
                _ => Ok(None),
            };
        }
        self.client.write_if_version(key, value, ttl, version)
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        self.client.remove_if_version(key, version)
    }

    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.client.read_and_remove(key)
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        self.client.read_and_set_expiry(key, ttl)
    }

    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        self.client.add(key, by, ttl)
    }
}

impl fmt::Debug for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrong").field("client", &self.client).field("fault", &self.fault).finish_non_exhaustive()
    }
}
