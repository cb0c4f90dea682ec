//! The calls of section 12 that write, but for `create_versioned`.

use std::time::Duration;

use kv_core::{Error, KeyValueStoreExt, Version};

use super::calls::{Call, Life};
use super::entries::{Effect, Span, Written};
use super::keys::{Key, Size};
use super::player::{Player, impossible};
use crate::running::Outcome;

impl Player<'_> {
    /// What is there, and its version, by the handle that no fault affects.
    fn version(&mut self, call: &Call, key: Key) -> Outcome<Option<(Written, Version)>> {
        let (direct, name) = (self.proxied.direct, self.name(key));
        let before = self.entries.now();
        let found = direct.get_versioned(&name)?;
        let span = Span { before, after: self.entries.now() };
        let by = format!("get_versioned by the second handle, before {call:?}");
        self.found(&by, key, found.as_ref().map(|(value, _)| value.as_ref()), span)?;
        let Some((value, version)) = found else { return Ok(None) };
        Ok(self.written(&by, Some(&value))?.map(|written| (written, version)))
    }

    /// Writes over what is there. If nothing is, there is nothing to do.
    pub(super) fn put_if(&mut self, call: &Call, key: Key, size: Size, life: Life) -> Outcome<Result<(), Error>> {
        let Some((old, version)) = self.version(call, key)? else { return Ok(Ok(())) };
        let write = self.next_write();
        let (store, name, ttl) = (self.proxied.store, self.name(key), life.ttl(self.context));
        let (written, value) = self.value(key, write, size);
        let (result, span) = self.timed(call, || store.put_if(&name, value, ttl, &version))?;
        let effect = self.put(written, life, span);
        let replaced = Effect::Replace(old, if let Effect::Put(held) = effect { Some(held) } else { None });
        self.conditional(call, key, result.map(|stored| stored.is_some()), (old, span), (effect, replaced))
    }

    /// Removes what is there.
    pub(super) fn delete_if(&mut self, call: &Call, key: Key) -> Outcome<Result<(), Error>> {
        let Some((old, version)) = self.version(call, key)? else { return Ok(Ok(())) };
        let (store, name) = (self.proxied.store, self.name(key));
        let (result, span) = self.timed(call, || store.delete_if(&name, &version))?;
        self.conditional(call, key, result, (old, span), (Effect::Remove, Effect::Replace(old, None)))
    }

    /// What comes of a conditional write or removal: `done` if it has succeeded, and `unknown` if nobody knows.
    fn conditional(
        &mut self,
        call: &Call,
        key: Key,
        result: Result<bool, Error>,
        (old, span): (Written, Span),
        (done, unknown): (Effect, Effect),
    ) -> Outcome<Result<(), Error>> {
        let succeeded = match result {
            Ok(succeeded) => succeeded,
            Err(error) => return self.failed(call, error, key, unknown),
        };
        let want = self.entries.shown(key);
        if !self.entries.observe_version(key, old, succeeded, span) {
            let of = format!("whether {call:?} has succeeded at {:?}, where there can be: {want}", self.name(key));
            return Err(impossible(of, &format!("{} (U1, U2, U3, N5, E5)", !succeeded), &succeeded.to_string()));
        }
        if succeeded {
            self.entries.did(key, done);
        }
        Ok(Ok(()))
    }

    pub(super) fn take(&mut self, call: &Call, key: Key) -> Outcome<Result<(), Error>> {
        let (store, name) = (self.proxied.store, self.name(key));
        let (result, span) = self.timed(call, || store.take(&name))?;
        match result {
            Ok(taken) => {
                self.found(&format_args!("{call:?} (U4)"), key, taken.as_deref(), span)?;
                if taken.is_some() {
                    self.entries.did(key, Effect::Remove);
                }
                Ok(Ok(()))
            }
            Err(error) => self.failed(call, error, key, Effect::Remove),
        }
    }

    pub(super) fn get_and_touch(&mut self, call: &Call, key: Key, life: Life) -> Outcome<Result<(), Error>> {
        let (store, name, ttl) = (self.proxied.store, self.name(key), life.ttl(self.context));
        let (result, span) = self.timed(call, || store.get_and_touch(&name, ttl))?;
        let effect = self.touched(life, span);
        match result {
            Ok(read) => {
                self.found(&format_args!("{call:?}"), key, read.as_deref(), span)?;
                if read.is_some() {
                    self.entries.did(key, effect);
                }
                Ok(Ok(()))
            }
            Err(error) => self.failed(call, error, key, effect),
        }
    }

    /// Counts on: where there is no number, it has to be refused.
    pub(super) fn increment(&mut self, call: &Call, key: Key, life: Life) -> Outcome<Result<(), Error>> {
        let (store, name, ttl, by) = (self.proxied.store, self.name(key), life.ttl(self.context), key.by());
        let (result, span) = self.timed(call, || store.increment(&name, by, ttl))?;
        let expires = match life.time(self.context) {
            Some(Duration::ZERO) => None,
            time => Some(self.entries.expires(time, span)),
        };
        let effect = Effect::Add(by, expires);
        let sum = match result {
            Ok(sum) => Some(sum),
            Err(Error::NotACounter { .. }) => None,
            Err(error) => return self.failed(call, error, key, effect),
        };
        let want = self.entries.shown(key);
        if !self.entries.observe_sum(key, by, sum, span) {
            let of = format!("what {call:?} says of {name:?}, where there can be: {want}");
            let got = sum.map_or("NotACounter".to_owned(), |sum| sum.to_string());
            return Err(impossible(of, &format!("{by} more than that (U5, N5, E5)"), &got));
        }
        if sum.is_some() {
            self.entries.did_count(key, by, expires);
        }
        Ok(Ok(()))
    }
}
