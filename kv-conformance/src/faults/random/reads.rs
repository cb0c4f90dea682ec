//! The calls that read.

use std::collections::BTreeSet;
use std::io::Read;

use kv_core::{Bytes, Error, KeyValueStoreExt, Keys};

use super::calls::{Call, Listed, Stream};
use super::entries::Span;
use super::keys::{Batch, Key};
use super::player::{Player, impossible};
use super::streams::{self, Breaking};
use crate::running::{Outcome, expect_eq, expect_that, show_error};

/// What a listing has yielded, and how it has failed.
type Yielded = (Vec<String>, Option<Error>);

impl Player<'_> {
    pub(super) fn get(&mut self, call: &Call, key: Key) -> Outcome<Result<(), Error>> {
        let (store, name) = (self.proxied.store, self.name(key));
        let (result, span) = self.timed(call, || store.get(&name))?;
        self.judge_value(call, key, result, span)
    }

    /// What is read of a key by a call that has to give the whole value.
    fn judge_value(
        &mut self,
        call: &Call,
        key: Key,
        result: Result<Option<Bytes>, Error>,
        span: Span,
    ) -> Outcome<Result<(), Error>> {
        match result {
            Ok(found) => self.found(&format_args!("{call:?}"), key, found.as_deref(), span).map(Ok),
            Err(error) => self.check_error(call, &error, &[key]).map(|()| Err(error)),
        }
    }

    /// Opens a value and reads it, where a failure of the stream is one of the call.
    pub(super) fn open(&mut self, call: &Call, key: Key) -> Outcome<Result<(), Error>> {
        let (store, name) = (self.proxied.store, self.name(key));
        let read = || match store.open(&name) {
            Ok(mut reader) => {
                let mut value = Vec::new();
                let read = reader.read_to_end(&mut value);
                Ok(read.map(|_| Some(Bytes::from(value))))
            }
            Err(Error::NotFound { .. }) => Ok(Ok(None)),
            Err(error) => Err(error),
        };
        let (result, span) = self.timed(call, read)?;
        match result {
            Ok(Ok(found)) => self.judge_value(call, key, Ok(found), span),
            Ok(Err(error)) => {
                let failure = kv_core::Failure::new(store.name(), "reading the stream failed");
                Ok(Err(Error::Unavailable(failure.caused_by(error))))
            }
            Err(error) => self.judge_value(call, key, Err(error), span),
        }
    }

    pub(super) fn get_into(&mut self, call: &Call, key: Key, to: Stream) -> Outcome<Result<(), Error>> {
        let (store, name) = (self.proxied.store, self.name(key));
        let length = if matches!(key, Key::Large(_)) { 200_000 } else { 60 };
        let mut writer = Breaking::after(to, length);
        let (result, span) = self.timed(call, || {
            let caught = streams::caught(|| store.get_into(&name, &mut writer));
            caught.unwrap_or_else(|| Err(streams::failed(&name)))
        })?;
        match result {
            Ok(length) => {
                let what = format!("the length that {call:?} tells (S3)");
                expect_eq(what, usize::try_from(length).ok(), Some(writer.passed.len()))?;
                self.judge_value(call, key, Ok(Some(writer.passed.into())), span)
            }
            Err(Error::NotFound { .. }) => self.judge_value(call, key, Ok(None), span),
            Err(Error::Io { .. }) if to != Stream::Whole => Ok(Ok(())),
            Err(error) => self.judge_value(call, key, Err(error), span),
        }
    }

    pub(super) fn get_versioned(&mut self, call: &Call, key: Key) -> Outcome<Result<(), Error>> {
        let (store, name) = (self.proxied.store, self.name(key));
        let (result, span) = self.timed(call, || store.get_versioned(&name))?;
        self.judge_value(call, key, result.map(|found| found.map(|(value, _)| value)), span)
    }

    pub(super) fn contains(&mut self, call: &Call, key: Key) -> Outcome<Result<(), Error>> {
        let (store, name) = (self.proxied.store, self.name(key));
        let (result, span) = self.timed(call, || store.contains(&name))?;
        match result {
            Ok(is_there) => self.is_there(call, key, is_there, is_there, span).map(Ok),
            Err(error) => self.check_error(call, &error, &[key]).map(|()| Err(error)),
        }
    }

    pub(super) fn ttl(&mut self, call: &Call, key: Key) -> Outcome<Result<(), Error>> {
        let (store, name) = (self.proxied.store, self.name(key));
        let (result, span) = self.timed(call, || store.ttl(&name))?;
        match result {
            Ok(remaining) => {
                let want = self.entries.shown(key);
                if self.entries.observe_ttl(key, remaining, span) {
                    return Ok(Ok(()));
                }
                let want = format!("that of {want} (T6, P2, N2)");
                Err(impossible(format!("{call:?} of {name:?}"), &want, &format!("{remaining:?}")))
            }
            Err(error) => self.check_error(call, &error, &[key]).map(|()| Err(error)),
        }
    }

    pub(super) fn get_many(&mut self, call: &Call, batch: Batch) -> Outcome<Result<(), Error>> {
        let (store, keys) = (self.proxied.store, batch.keys());
        let names = keys.iter().map(|key| self.name(*key)).collect::<Vec<_>>();
        let (result, span) = self.timed(call, || store.get_many(&names))?;
        match result {
            Ok(values) => {
                expect_eq(format!("the number of values of {call:?} (B1)"), values.len(), keys.len())?;
                let what = format!("{call:?}");
                for (key, value) in keys.iter().zip(&values) {
                    self.found(&what, *key, value.as_deref(), span)?;
                }
                Ok(Ok(()))
            }
            Err(error) => {
                let key = if let [key] = &*keys { &[*key][..] } else { &[] };
                self.check_error(call, &error, key).map(|()| Err(error))
            }
        }
    }

    pub(super) fn get_each(&mut self, call: &Call, batch: Batch) -> Outcome<Result<(), Error>> {
        let (store, keys) = (self.proxied.store, batch.keys());
        let names = keys.iter().map(|key| self.name(*key)).collect::<Vec<_>>();
        let (result, span) = self.timed(call, || Ok(store.get_each(&names)))?;
        let outcomes = result?;
        expect_eq(format!("the number of outcomes of {call:?} (B7)"), outcomes.len(), keys.len())?;
        let (mut failed, what) = (None, format!("{call:?}"));
        for (key, outcome) in keys.iter().zip(outcomes) {
            match outcome {
                Ok(value) => self.found(&what, *key, value.as_deref(), span)?,
                Err(error) => {
                    self.check_error(call, &error, &[*key])?;
                    failed = Some(error);
                }
            }
        }
        Ok(failed.map_or(Ok(()), Err))
    }

    pub(super) fn keys(&mut self, call: &Call, listed: Listed, most: usize) -> Outcome<Result<(), Error>> {
        let prefix = listed.prefix(&self.entries.prefix);
        let store = self.proxied.store;
        let ((names, error), span) = self.listed(call, most, || store.keys(&prefix))?;
        let is_whole = error.is_none() && names.len() < most;
        self.judge_listing(call, &prefix, names, is_whole, span, str::to_owned)?;
        error.map_or(Ok(Ok(())), |error| self.check_error(call, &error, &[]).map(|()| Err(error)))
    }

    pub(super) fn prefixes(&mut self, call: &Call, listed: Listed) -> Outcome<Result<(), Error>> {
        let prefix = listed.prefix(&self.entries.prefix);
        let store = self.proxied.store;
        let ((names, error), span) = self.listed(call, usize::MAX, || store.prefixes("/", &prefix))?;
        let part = |name: &str| match name.get(prefix.len()..).and_then(|rest| rest.find('/')) {
            Some(at) => name.get(..=prefix.len() + at).unwrap_or(name).to_owned(),
            None => name.to_owned(),
        };
        self.judge_listing(call, &prefix, names, error.is_none(), span, part)?;
        error.map_or(Ok(Ok(())), |error| self.check_error(call, &error, &[]).map(|()| Err(error)))
    }

    /// What a listing yields, up to so many keys, and how it has failed. After an error nothing more may come (L3).
    fn listed<'s>(
        &self,
        call: &Call,
        most: usize,
        list: impl FnOnce() -> Result<Keys<'s>, Error>,
    ) -> Outcome<(Yielded, Span)> {
        let (result, span) = self.timed(call, || {
            let mut keys = list()?;
            let mut names = Vec::new();
            while names.len() < most {
                match keys.next() {
                    Some(Ok(key)) => names.push(String::from(key)),
                    Some(Err(error)) => return Ok((names, Some((error, keys.next().map(|then| format!("{then:?}")))))),
                    None => break,
                }
            }
            Ok((names, None))
        })?;
        match result {
            Ok((names, None)) => Ok(((names, None), span)),
            Ok((names, Some((error, then)))) => {
                let what = format!("what comes after the error of {call:?} (L3): {}", show_error(&error));
                expect_that(what, then.is_none(), "nothing", then)?;
                Ok(((names, Some(error)), span))
            }
            Err(error) => Ok(((Vec::new(), Some(error)), span)),
        }
    }

    /// No name may come twice or be of a key that was not there, and a whole listing has all that were there.
    fn judge_listing(
        &self,
        call: &Call,
        prefix: &str,
        names: Vec<String>,
        is_whole: bool,
        span: Span,
        part: impl Fn(&str) -> String,
    ) -> Outcome {
        let (mut surely, mut maybe) = (BTreeSet::new(), BTreeSet::new());
        for key in self.entries.keys() {
            let name = self.name(key);
            if !name.starts_with(prefix) {
                continue;
            }
            let (was_there, may_have_been) = self.entries.presence(key, span);
            if was_there {
                surely.insert(part(&name));
            }
            if may_have_been {
                maybe.insert(part(&name));
            }
        }
        let count = names.len();
        let yielded = names.into_iter().collect::<BTreeSet<_>>();
        expect_eq(format!("how many different names {call:?} yields, of {count} (L1)"), yielded.len(), count)?;
        if let Some(name) = yielded.iter().find(|name| !maybe.contains(*name)) {
            return Err(impossible(format!("what {call:?} yields"), "nothing that is not there (L1, N2)", name));
        }
        if is_whole && let Some(name) = surely.iter().find(|name| !yielded.contains(*name)) {
            let got = format!("the end, after {count} names, without {name:?}");
            let want = format!("all {} that are there, or an error (L3, L1)", surely.len());
            return Err(impossible(format!("what {call:?} yields"), &want, &got));
        }
        Ok(())
    }
}
