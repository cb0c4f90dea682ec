//! Copying and renaming: two keys of which each has its own history.
//!
//! Neither is always one step (the documentation of `copy_entry` and `rename_entry`), so nothing is said of both keys at one
//! moment: at `from` it is a read, or a read and then a removal, and at `to` it is a write.

use kv_core::{Bytes, Key, KeyValueStoreExt, Result, Ttl};

use super::reads::or_absent;
use super::{Recorded, Recording, Span};
use crate::history::{Action, Held};

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transfer {
    Copy,
    Rename,
}

impl Transfer {
    fn call(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Rename => "rename",
        }
    }
}

impl Recording<'_> {
    /// See [`KeyValueStoreExt::copy`]; whether there was an entry to be copied.
    ///
    /// # Errors
    /// Those of the store. `NotFound` is not an error.
    pub fn copy(&mut self, from: Key<'_>, to: Key<'_>) -> Result<bool> {
        let moved = self.transfer(Transfer::Copy, from, to)?;
        Ok(self.moved_away(Transfer::Copy, from, moved, None))
    }

    /// See [`KeyValueStoreExt::rename`]; whether there was an entry to be renamed.
    ///
    /// # Errors
    /// Those of the store. `NotFound` is not an error.
    pub fn rename(&mut self, from: Key<'_>, to: Key<'_>) -> Result<bool> {
        let moved = self.transfer(Transfer::Rename, from, to)?;
        Ok(self.moved_away(Transfer::Rename, from, moved, None))
    }

    /// Writes by a [`copy`](KeyValueStoreExt::copy) from a key that nobody else uses, and that holds this value with this TTL.
    ///
    /// # Errors
    /// Those of the store.
    pub fn put_by_copy(&mut self, key: Key<'_>, own: Key<'_>, value: Bytes, ttl: Ttl) -> Result<()> {
        self.put_by(Transfer::Copy, key, own, value, ttl)
    }

    /// Writes by a [`rename`](KeyValueStoreExt::rename) of a key that nobody else uses, and that holds this value with this TTL.
    ///
    /// # Errors
    /// Those of the store.
    pub fn put_by_rename(&mut self, key: Key<'_>, own: Key<'_>, value: Bytes, ttl: Ttl) -> Result<()> {
        self.put_by(Transfer::Rename, key, own, value, ttl)
    }

    /// Reads by a [`copy`](KeyValueStoreExt::copy) to a key that nobody else uses, and a `get` of that.
    ///
    /// # Errors
    /// Those of the store. `NotFound` is not an error.
    pub fn get_by_copy(&mut self, key: Key<'_>, own: Key<'_>) -> Result<Held> {
        self.get_by(Transfer::Copy, key, own)
    }

    /// Takes an entry away by a [`rename`](KeyValueStoreExt::rename) to a key that nobody else uses, and a `get` of that.
    ///
    /// # Errors
    /// Those of the store. `NotFound` is not an error.
    pub fn get_by_rename(&mut self, key: Key<'_>, own: Key<'_>) -> Result<Held> {
        self.get_by(Transfer::Rename, key, own)
    }

    /// Copies or renames, and writes down what that is for `to`. When it was, if there was an entry.
    fn transfer(&mut self, how: Transfer, from: Key<'_>, to: Key<'_>) -> Result<(Span, bool)> {
        let (result, span) = self.time(|store| match how {
            Transfer::Copy => store.copy(from, to),
            Transfer::Rename => store.rename(from, to),
        });
        let copied = |recording: &mut Self| {
            recording.push(to, how.call(), span, Action::CopiedHere { values: Vec::new(), ttls: Vec::new() });
            if let Some(Recorded { from: source, .. }) = recording.operations.last_mut() {
                *source = Some(from.into());
            }
        };
        match or_absent(result) {
            Ok(found) => {
                if found.is_some() {
                    copied(self);
                }
                Ok((span, found.is_some()))
            }
            Err(error) => {
                if error.outcome_unknown() {
                    copied(self);
                    if let Some(Recorded { operation, .. }) = self.operations.last_mut() {
                        operation.ended = None;
                    }
                    if how == Transfer::Rename {
                        self.push_unanswered(from, how.call(), span, Action::RenamedAway(None));
                    }
                }
                Err(error)
            }
        }
    }

    /// Writes down what that was for `from`.
    fn moved_away(&mut self, how: Transfer, from: Key<'_>, (span, found): (Span, bool), value: Held) -> bool {
        let action = match (found, how) {
            (false, _) => Action::Get(None),
            (true, Transfer::Rename) => Action::RenamedAway(value),
            (true, Transfer::Copy) => value.map_or(Action::Contains(true), |value| Action::Get(Some(value))),
        };
        self.push(from, how.call(), span, action);
        found
    }

    fn put_by(&mut self, how: Transfer, key: Key<'_>, own: Key<'_>, value: Bytes, ttl: Ttl) -> Result<()> {
        let moved = self.transfer(how, own, key)?;
        // It is known what was copied.
        let written = Action::Put(value.clone(), self.given(ttl));
        if let Some(Recorded { operation, from, .. }) = self.operations.last_mut().filter(|_| moved.1) {
            operation.action = written;
            *from = None;
        }
        self.moved_away(how, own, moved, Some(value));
        Ok(())
    }

    fn get_by(&mut self, how: Transfer, key: Key<'_>, own: Key<'_>) -> Result<Held> {
        let moved = self.transfer(how, key, own)?;
        let value = if moved.1 { self.get(own) } else { Ok(None) };
        self.moved_away(how, key, moved, value.as_ref().ok().cloned().flatten());
        value
    }
}
