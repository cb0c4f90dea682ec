//! The calls that write.

use kv_core::{Error, KeyValueStoreExt};

use super::calls::{Call, Life, Lives, Stream};
use super::entries::{Effect, Span, Written};
use super::keys::{Batch, BatchOf, Key, Size};
use super::player::{Player, impossible};
use super::streams::{self, Breaking};
use crate::running::{Outcome, expect_eq};

impl Player<'_> {
    /// Performs a call, and checks whether what it answers is possible. Returns whether it worked.
    pub(super) fn perform(&mut self, call: &Call) -> Outcome<Result<(), Error>> {
        match *call {
            Call::Get(key) => self.get(call, key),
            Call::Open(key) => self.open(call, key),
            Call::GetInto(key, to) => self.get_into(call, key, to),
            Call::Contains(key) => self.contains(call, key),
            Call::Ttl(key) => self.ttl(call, key),
            Call::GetMany(batch) => self.get_many(call, batch),
            Call::GetEach(batch) => self.get_each(call, batch),
            Call::Keys(listed) => self.keys(call, listed, usize::MAX),
            Call::SomeKeys(listed, count) => self.keys(call, listed, count),
            Call::Prefixes(listed) => self.prefixes(call, listed),
            Call::Put(key, size, life) => self.put_one(call, key, size, life, None),
            Call::PutFrom(key, size, life, from) => self.put_one(call, key, size, life, Some(from)),
            Call::Create(key, size, life) | Call::CreateVersioned(key, size, life) => {
                self.create(call, key, size, life)
            }
            Call::PutMany(batch, lives) => self.put_many(call, batch, lives),
            Call::Delete(key) => self.delete(call, key),
            Call::DeleteMany(batch) => self.delete_many(call, batch),
            Call::Touch(key, life) => self.touch(call, key, life),
            Call::Copy(from, to) => self.copy(call, from, to, false),
            Call::Rename(from, to) => self.copy(call, from, to, true),
            Call::GetVersioned(key) => self.get_versioned(call, key),
            Call::PutIf(key, size, life) => self.put_if(call, key, size, life),
            Call::DeleteIf(key) => self.delete_if(call, key),
            Call::Take(key) => self.take(call, key),
            Call::GetAndTouch(key, life) => self.get_and_touch(call, key, life),
            Call::Increment(key, life) => self.increment(call, key, life),
        }
    }

    /// The error of a write of one key: nothing has changed, unless it says that nobody knows (E5).
    pub(super) fn failed(&mut self, call: &Call, error: Error, key: Key, effect: Effect) -> Outcome<Result<(), Error>> {
        self.check_error(call, &error, &[key])?;
        if error.outcome_unknown() {
            self.entries.may_do(key, effect);
        }
        Ok(Err(error))
    }

    fn put_one(
        &mut self,
        call: &Call,
        key: Key,
        size: Size,
        life: Life,
        from: Option<Stream>,
    ) -> Outcome<Result<(), Error>> {
        let write = self.next_write();
        let (store, name, ttl) = (self.proxied.store, self.name(key), life.ttl(self.context));
        let (written, value) = self.value(key, write, size);
        let (result, span) = match from {
            None => self.timed(call, || store.put_with_ttl(&name, value, ttl))?,
            Some(stream) => {
                let mut reader = Breaking::of(stream, value);
                self.timed(call, || {
                    let caught = streams::caught(|| store.put_from_with_ttl(&name, &mut reader, ttl));
                    caught.unwrap_or_else(|| Err(streams::failed(&name)))
                })?
            }
        };
        let is_broken = from.is_some_and(|from| from != Stream::Whole);
        let effect = self.put(written, life, span);
        match result {
            Ok(()) if is_broken => {
                let want = "an error: the reader failed before the value was whole (S2)";
                Err(impossible(format!("{call:?}"), want, "success"))
            }
            Ok(()) => {
                self.entries.did(key, effect);
                Ok(Ok(()))
            }
            // Nothing is stored of a value that nobody has read.
            Err(Error::Io { .. }) if is_broken => Ok(Ok(())),
            Err(error) if is_broken => self.check_error(call, &error, &[key]).map(|()| Err(error)),
            Err(error) => self.failed(call, error, key, effect),
        }
    }

    fn create(&mut self, call: &Call, key: Key, size: Size, life: Life) -> Outcome<Result<(), Error>> {
        let write = self.next_write();
        let (store, name, ttl) = (self.proxied.store, self.name(key), life.ttl(self.context));
        let (written, value) = self.value(key, write, size);
        let (result, span) = self.timed(call, || match call {
            Call::CreateVersioned(..) => Ok(store.create_versioned(&name, value, ttl)?.is_some()),
            _ => store.create_with_ttl(&name, value, ttl),
        })?;
        let effect = self.put(written, life, span);
        match result {
            Ok(created) => {
                self.is_there(call, key, !created, created, span)?;
                if created {
                    self.entries.did(key, effect);
                }
                Ok(Ok(()))
            }
            Err(error) => {
                self.check_error(call, &error, &[key])?;
                if let Effect::Put(held) = effect
                    && error.outcome_unknown()
                {
                    self.entries.may_do(key, Effect::Create(held));
                }
                Ok(Err(error))
            }
        }
    }

    fn put_many(&mut self, call: &Call, batch: Batch, lives: Lives) -> Outcome<Result<(), Error>> {
        let size = if batch.of == BatchOf::Large { Size::Large } else { Size::Small };
        let first = self.next_write();
        let (mut entries, mut values): (Vec<(Key, Written, Life)>, _) = (Vec::new(), Vec::new());
        for (n, key) in batch.keys().into_iter().enumerate() {
            // What stands there again is another write.
            let write = first + u64::from(n >= batch.count || entries.last().is_some_and(|(last, ..)| *last == key));
            let (written, value) = self.value(key, write, size);
            entries.push((key, written, lives.of(n)));
            values.push(value);
        }
        self.next_write();
        let store = self.proxied.store;
        let named = entries.iter().zip(values);
        let named = named.map(|((key, _, life), value)| (self.name(*key), value, life.ttl(self.context)));
        let named = named.collect::<Vec<_>>();
        let (result, span) = self.timed(call, || store.put_many_with_ttl(named))?;
        for (key, written, life) in &entries {
            let effect = self.put(*written, *life, span);
            if result.is_ok() { self.entries.did(*key, effect) } else { self.entries.may_do(*key, effect) }
        }
        self.of_batch(call, result, &entries.iter().map(|(key, ..)| *key).collect::<Vec<_>>())
    }

    /// The error of a batch names a key if it has one.
    fn of_batch(&self, call: &Call, result: Result<(), Error>, keys: &[Key]) -> Outcome<Result<(), Error>> {
        match result {
            Ok(()) => Ok(Ok(())),
            Err(error) => {
                let key = if let [key] = keys { &[*key][..] } else { &[] };
                self.check_error(call, &error, key).map(|()| Err(error))
            }
        }
    }

    fn delete(&mut self, call: &Call, key: Key) -> Outcome<Result<(), Error>> {
        let (store, name) = (self.proxied.store, self.name(key));
        let (result, span) = self.timed(call, || store.delete(&name))?;
        match result {
            Ok(deleted) => {
                self.is_there(call, key, deleted, deleted, span)?;
                self.entries.did(key, Effect::Remove);
                Ok(Ok(()))
            }
            Err(error) => self.failed(call, error, key, Effect::Remove),
        }
    }

    fn delete_many(&mut self, call: &Call, batch: Batch) -> Outcome<Result<(), Error>> {
        let (store, keys) = (self.proxied.store, batch.keys());
        let names = keys.iter().map(|key| self.name(*key)).collect::<Vec<_>>();
        let (result, span) = self.timed(call, || store.delete_many(&names))?;
        match result {
            Ok(deleted) => {
                expect_eq(format!("the number of answers of {call:?} (B3)"), deleted.len(), keys.len())?;
                for (key, deleted) in keys.iter().zip(deleted) {
                    self.is_there(call, *key, deleted, deleted, span)?;
                    self.entries.did(*key, Effect::Remove);
                }
                Ok(Ok(()))
            }
            Err(error) => {
                for key in &keys {
                    self.entries.may_do(*key, Effect::Remove);
                }
                self.of_batch(call, Err(error), &keys)
            }
        }
    }

    fn touch(&mut self, call: &Call, key: Key, life: Life) -> Outcome<Result<(), Error>> {
        let (store, name, ttl) = (self.proxied.store, self.name(key), life.ttl(self.context));
        let (result, span) = self.timed(call, || store.touch(&name, ttl))?;
        let effect = self.touched(life, span);
        match result {
            Ok(touched) => {
                self.is_there(call, key, touched, touched, span)?;
                if touched {
                    self.entries.did(key, effect);
                }
                Ok(Ok(()))
            }
            Err(error) => self.failed(call, error, key, effect),
        }
    }

    /// What a touch with this TTL does.
    pub(super) fn touched(&self, life: Life, span: Span) -> Effect {
        match life.time(self.context) {
            Some(time) if time.is_zero() => Effect::Remove,
            time => Effect::Touch(self.entries.expires(time, span)),
        }
    }

    fn copy(&mut self, call: &Call, from: Key, to: Key, renames: bool) -> Outcome<Result<(), Error>> {
        let (store, names) = (self.proxied.store, [from, to].map(|key| self.name(key)));
        let [from_name, to_name] = &names;
        let run = || if renames { store.rename(from_name, to_name) } else { store.copy(from_name, to_name) };
        let (result, span) = self.timed(call, run)?;
        match result {
            Ok(()) => {
                self.is_there(call, from, true, true, span)?;
                self.copied(from, to, renames, span);
                Ok(Ok(()))
            }
            Err(Error::NotFound { key, .. }) => {
                let what = format!("the key in the NotFound of {call:?} (C3)");
                expect_eq(what, key.as_str(), from_name.as_str())?;
                self.is_there(call, from, false, false, span).map(Ok)
            }
            Err(error) => {
                self.check_error(call, &error, &[from, to])?;
                if error.outcome_unknown() && from != to {
                    self.entries.may_copy(from, to);
                    if renames {
                        self.entries.may_do(from, Effect::Remove);
                    }
                }
                Ok(Err(error))
            }
        }
    }

    fn copied(&mut self, from: Key, to: Key, renames: bool, span: Span) {
        if from == to {
            return;
        }
        self.entries.did_copy(from, to, span);
        if renames {
            self.entries.did(from, Effect::Remove);
        }
    }
}
