//! Operations that write.

use std::io::{self, Read};
use std::thread;

use kv_core::{Bytes, Key, KeyValueStoreExt, Result, Ttl};

use super::Recording;
use crate::history::Action;

impl Recording<'_> {
    /// See [`KeyValueStoreExt::put`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn put(&mut self, key: Key<'_>, value: Bytes) -> Result<()> {
        self.put_with_ttl(key, value, Ttl::Default)
    }

    /// See [`KeyValueStoreExt::put_with_ttl`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn put_with_ttl(&mut self, key: Key<'_>, value: Bytes, ttl: Ttl) -> Result<()> {
        let action = Action::Put(value.clone(), self.given(ttl));
        let done = self.time(|store| store.put_with_ttl(key, value, ttl));
        self.wrote(key, "put", done, |()| action.clone())
    }

    /// See [`KeyValueStoreExt::put_from`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn put_from(&mut self, key: Key<'_>, value: Bytes) -> Result<()> {
        self.put_from_with_ttl(key, value, Ttl::Default)
    }

    /// See [`KeyValueStoreExt::put_from_with_ttl`]. The store is given the value in pieces, and other threads may come in between.
    ///
    /// # Errors
    /// Those of the store.
    pub fn put_from_with_ttl(&mut self, key: Key<'_>, value: Bytes, ttl: Ttl) -> Result<()> {
        let (mut pieces, action) = (Pieces(value.clone()), Action::Put(value, self.given(ttl)));
        let done = self.time(|store| store.put_from_with_ttl(key, &mut pieces, ttl));
        self.wrote(key, "put_from", done, |()| action.clone())
    }

    /// See [`KeyValueStoreExt::put_many`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn put_many(&mut self, entries: &[(Key<'_>, Bytes)]) -> Result<()> {
        let entries = entries.iter().map(|(key, value)| (*key, value.clone(), Ttl::Default)).collect::<Vec<_>>();
        self.put_many_with_ttl(&entries)
    }

    /// See [`KeyValueStoreExt::put_many_with_ttl`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn put_many_with_ttl(&mut self, entries: &[(Key<'_>, Bytes, Ttl)]) -> Result<()> {
        let given = entries.to_vec();
        let (result, span) = self.time(|store| store.put_many_with_ttl(given));
        for (key, value, ttl) in entries {
            let ended = result.is_ok().then_some(span.ended);
            let action = Action::Put(value.clone(), self.given(*ttl));
            self.push_as(*key, "put_many", span.began, ended, action);
        }
        result
    }

    /// See [`KeyValueStoreExt::create`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn create(&mut self, key: Key<'_>, value: Bytes) -> Result<bool> {
        self.create_with_ttl(key, value, Ttl::Default)
    }

    /// See [`KeyValueStoreExt::create_with_ttl`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn create_with_ttl(&mut self, key: Key<'_>, value: Bytes, ttl: Ttl) -> Result<bool> {
        let (written, given) = (value.clone(), self.given(ttl));
        let done = self.time(|store| store.create_with_ttl(key, value, ttl));
        self.wrote(key, "create", done, |created| Action::Create(written.clone(), given, created))
    }

    /// See [`KeyValueStoreExt::delete`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn delete(&mut self, key: Key<'_>) -> Result<bool> {
        let done = self.time(|store| store.delete(key));
        self.wrote(key, "delete", done, Action::Delete)
    }

    /// See [`KeyValueStoreExt::delete_many`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn delete_many(&mut self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        let (result, span) = self.time(|store| store.delete_many(keys));
        match &result {
            Ok(deleted) => {
                for (&key, &was) in keys.iter().zip(deleted) {
                    self.push(key, "delete_many", span, Action::Delete(was));
                }
            }
            Err(_) => {
                for &key in keys {
                    self.push_unanswered(key, "delete_many", span, Action::Delete(true));
                }
            }
        }
        result
    }

    /// See [`KeyValueStoreExt::touch`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn touch(&mut self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        let given = self.given(ttl);
        let done = self.time(|store| store.touch(key, ttl));
        self.wrote(key, "touch", done, |was| Action::Touch(given, was))
    }
}

/// A value that is read in pieces.
struct Pieces(Bytes);

/// How much of a value is read at a time.
pub(super) const PIECE: usize = 16 << 10;

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.len() > PIECE {
            thread::yield_now();
        }
        let length = buffer.len().min(PIECE).min(self.0.len());
        self.0.split_to(length).as_ref().read(buffer)
    }
}
