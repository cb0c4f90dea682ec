//! Operations that read.

use std::io::Read;
use std::thread;

use kv_core::{Error, Key, KeyBuf, KeyValueStore, KeyValueStoreExt, Prefix, Remaining, Result};

use super::Recording;
use super::writes::PIECE;
use crate::history::{Action, Held};

impl Recording<'_> {
    /// See [`KeyValueStoreExt::get`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn get(&mut self, key: Key<'_>) -> Result<Held> {
        self.read(key, "get", |store| store.get(key))
    }

    /// See [`KeyValueStoreExt::get_into`]; the value that it has written. An absent key is not an error.
    ///
    /// # Errors
    /// Those of the store.
    pub fn get_into(&mut self, key: Key<'_>) -> Result<Held> {
        self.read(key, "get_into", |store| {
            let mut value = Vec::new();
            or_absent(store.get_into(key, &mut value)).map(|found| found.map(|_| value.into()))
        })
    }

    /// See [`KeyValueStoreExt::open`]; the value that was read from the reader, in pieces, while other threads may come in between. An
    /// absent key is not an error.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open(&mut self, key: Key<'_>) -> Result<Held> {
        self.read(key, "open", |store| {
            let Some(mut reader) = or_absent(store.open(key))? else { return Ok(None) };
            let mut value = Vec::new();
            loop {
                let mut piece = Vec::new();
                let failed = |error: std::io::Error| {
                    error.downcast::<Error>().unwrap_or_else(|error| Error::io(key, "reading the value", error))
                };
                reader.by_ref().take(PIECE as u64).read_to_end(&mut piece).map_err(failed)?;
                if piece.is_empty() {
                    return Ok(Some(value.into()));
                }
                value.append(&mut piece);
                thread::yield_now();
            }
        })
    }

    /// See [`KeyValueStoreExt::contains`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn contains(&mut self, key: Key<'_>) -> Result<bool> {
        let (result, span) = self.time(|store| store.contains(key));
        let contained = result?;
        self.push(key, "contains", span, Action::Contains(contained));
        Ok(contained)
    }

    /// See [`KeyValueStoreExt::ttl`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn ttl(&mut self, key: Key<'_>) -> Result<Option<Remaining>> {
        let (result, span) = self.time(|store| store.ttl(key));
        let told = result?;
        self.push(key, "ttl", span, Action::Ttl(told));
        Ok(told)
    }

    /// See [`KeyValueStoreExt::get_many`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn get_many(&mut self, keys: &[Key<'_>]) -> Result<Vec<Held>> {
        let (result, span) = self.time(|store| store.get_many(keys));
        let values = result?;
        for (&key, held) in keys.iter().zip(&values) {
            self.push(key, "get_many", span, Action::Get(held.clone()));
        }
        Ok(values)
    }

    /// See [`KeyValueStoreExt::get_each`].
    pub fn get_each(&mut self, keys: &[Key<'_>]) -> Vec<Result<Held>> {
        let (outcomes, span) = self.time(|store| store.get_each(keys));
        for (&key, outcome) in keys.iter().zip(&outcomes) {
            if let Ok(held) = outcome {
                self.push(key, "get_each", span, Action::Get(held.clone()));
            }
        }
        outcomes
    }

    /// See [`KeyValueStoreExt::keys`]; all keys that were listed. Of each of the keys in `among` it is written down whether it was: if
    /// it was, it was there at some time during the listing, and if it was not, it was absent at some time (clause L1).
    ///
    /// # Errors
    /// Those of the store.
    pub fn keys(&mut self, prefix: Prefix<'_>, among: &[Key<'_>]) -> Result<Vec<KeyBuf>> {
        let (result, span) = self.time(|store| store.list(prefix)?.collect::<Result<Vec<_>>>());
        let listed = result?;
        for &key in among {
            let is_listed = listed.iter().any(|listed| listed.as_str() == key.as_str());
            self.push(key, "keys", span, Action::Contains(is_listed));
        }
        Ok(listed)
    }

    fn read(
        &mut self,
        key: Key<'_>,
        call: &'static str,
        read: impl FnOnce(&dyn KeyValueStore) -> Result<Held>,
    ) -> Result<Held> {
        let (result, span) = self.time(read);
        let held = result?;
        self.push(key, call, span, Action::Get(held.clone()));
        Ok(held)
    }
}

/// Takes `NotFound` for an answer.
pub(super) fn or_absent<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
