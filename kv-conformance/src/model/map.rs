//! A plain model of a store: what it has to answer after any sequence of operations.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use kv_core::{Bytes, Error, KeyBuf, KeyValueStore, KeyValueStoreExt, Remaining, Ttl};

use super::operations::{Expires, Operation, TtlChoices};
use crate::running::{Context, Expiry, Liveness, NotPassed, Outcome, show, show_error};

/// An entry of the model.
#[derive(Clone, Debug)]
struct Entry {
    value: Bytes,
    expiry: Option<Expiry>,
}

/// The model beside the store.
pub(crate) struct Model<'a> {
    context: &'a Context<'a>,
    store: &'a dyn KeyValueStore,
    ttls: TtlChoices,
    entries: BTreeMap<&'static str, Entry>,
    /// The clauses of the steps so far that a later one may show to be broken.
    left: BTreeSet<&'static str>,
}

/// When an operation was under way.
#[derive(Clone, Copy)]
struct During {
    before: Duration,
    after: Duration,
}

impl<'a> Model<'a> {
    pub(crate) fn new(context: &'a Context<'a>, ttls: TtlChoices) -> Self {
        Self { context, store: context.store(), ttls, entries: BTreeMap::new(), left: BTreeSet::new() }
    }

    /// Does one step with the store and with the model, and compares.
    pub(crate) fn step(&mut self, step: &Operation) -> Outcome {
        let outcome = self.compare(step);
        self.left.extend(step.leaves());
        outcome
    }

    fn compare(&mut self, step: &Operation) -> Outcome {
        match step {
            Operation::Get(key) => self.get(step, key),
            Operation::GetInto(key) => self.get_into(step, key),
            Operation::GetMany(keys) => self.get_many(step, keys),
            Operation::GetEach(keys) => self.get_each(step, keys),
            Operation::Put(key, value, expires) => self.put(step, key, value, *expires),
            Operation::PutFrom(key, value, expires) => self.put_from(step, key, value, *expires),
            Operation::PutMany(entries) => self.put_many(step, entries),
            Operation::Create(key, value, expires) => self.create(step, key, value, *expires),
            Operation::Delete(key) => self.delete(step, key),
            Operation::DeleteMany(keys) => self.delete_many(step, keys),
            Operation::Contains(key) => self.contains(step, key),
            Operation::Ttl(key) => self.ttl(step, key),
            Operation::Touch(key, expires) => self.touch(step, key, *expires),
            Operation::Copy(from, to) => self.copy(step, from, to),
            Operation::Rename(from, to) => self.rename(step, from, to),
            Operation::Keys(prefix) => self.keys(step, prefix),
            Operation::Prefixes(prefix) => self.prefixes(step, prefix),
            Operation::Wait(wait) => {
                self.context.time.wait(self.ttls.wait(*wait));
                Ok(())
            }
        }
    }

    fn get(&mut self, step: &Operation, key: &str) -> Outcome {
        let (got, during) = self.run(step, || self.store.get(key))?;
        self.see_value(step, key, got, during)
    }

    fn get_into(&mut self, step: &Operation, key: &str) -> Outcome {
        let mut written = Vec::new();
        let (got, during) = self.run_found(step, || self.store.get_into(key, &mut written))?;
        self.see_value(step, key, got.map(|_length| Bytes::from(written)), during)
    }

    fn get_many(&mut self, step: &Operation, keys: &[&str]) -> Outcome {
        let (got, during) = self.run(step, || self.store.get_many(keys))?;
        if got.len() != keys.len() {
            return self.wrong(step, &format!("{} values", keys.len()), &got.len());
        }
        keys.iter().zip(got).try_for_each(|(key, got)| self.see_value(step, key, got, during))
    }

    fn get_each(&mut self, step: &Operation, keys: &[&str]) -> Outcome {
        let (got, during) = self.run(step, || self.store.get_each(keys).into_iter().collect::<Result<Vec<_>, _>>())?;
        if got.len() != keys.len() {
            return self.wrong(step, &format!("{} values", keys.len()), &got.len());
        }
        keys.iter().zip(got).try_for_each(|(key, got)| self.see_value(step, key, got, during))
    }

    fn put(&mut self, step: &Operation, key: &'static str, value: &Bytes, expires: Expires) -> Outcome {
        let ttl = self.ttls.ttl(expires);
        let ((), during) = self.run(step, || self.store.put_with_ttl(key, value, ttl))?;
        self.write(key, value, ttl, during);
        Ok(())
    }

    fn put_from(&mut self, step: &Operation, key: &'static str, value: &Bytes, expires: Expires) -> Outcome {
        let ttl = self.ttls.ttl(expires);
        let ((), during) = self.run(step, || self.store.put_from_with_ttl(key, &value[..], ttl))?;
        self.write(key, value, ttl, during);
        Ok(())
    }

    fn put_many(&mut self, step: &Operation, entries: &[(&'static str, Bytes, Expires)]) -> Outcome {
        let entries = entries.iter().map(|(key, value, expires)| (*key, value, self.ttls.ttl(*expires)));
        let entries = entries.collect::<Vec<_>>();
        let ((), during) = self.run(step, || self.store.put_many_with_ttl(entries.iter().copied()))?;
        for (key, value, ttl) in entries {
            self.write(key, value, ttl, during);
        }
        Ok(())
    }

    fn create(&mut self, step: &Operation, key: &'static str, value: &Bytes, expires: Expires) -> Outcome {
        let ttl = self.ttls.ttl(expires);
        let (created, during) = self.run(step, || self.store.create_with_ttl(key, value, ttl))?;
        self.see(step, key, !created, &created, during)?;
        if created {
            self.write(key, value, ttl, during);
        }
        Ok(())
    }

    fn delete(&mut self, step: &Operation, key: &str) -> Outcome {
        let (deleted, during) = self.run(step, || self.store.delete(key))?;
        self.see(step, key, deleted, &deleted, during)?;
        self.entries.remove(key);
        Ok(())
    }

    fn delete_many(&mut self, step: &Operation, keys: &[&str]) -> Outcome {
        let (deleted, during) = self.run(step, || self.store.delete_many(keys))?;
        if deleted.len() != keys.len() {
            return self.wrong(step, &format!("{} answers", keys.len()), &deleted.len());
        }
        for (key, was_there) in keys.iter().zip(&deleted) {
            self.see(step, key, *was_there, &deleted, during)?;
            self.entries.remove(*key);
        }
        Ok(())
    }

    fn contains(&mut self, step: &Operation, key: &str) -> Outcome {
        let (contained, during) = self.run(step, || self.store.contains(key))?;
        self.see(step, key, contained, &contained, during)
    }

    fn ttl(&mut self, step: &Operation, key: &str) -> Outcome {
        let (got, during) = self.run(step, || self.store.ttl(key))?;
        self.see(step, key, got.is_some(), &got, during)?;
        self.see_remaining(step, key, got, during)
    }

    fn touch(&mut self, step: &Operation, key: &'static str, expires: Expires) -> Outcome {
        let ttl = self.ttls.ttl(expires);
        let (touched, during) = self.run(step, || self.store.touch(key, ttl))?;
        self.see(step, key, touched, &touched, during)?;
        if let Some(Entry { value, .. }) = self.entries.get(key).cloned() {
            self.write(key, &value, ttl, during);
        }
        Ok(())
    }

    fn copy(&mut self, step: &Operation, from: &'static str, to: &'static str) -> Outcome {
        let (copied, during) = self.run_found(step, || self.store.copy(from, to))?;
        self.see_copied(step, from, to, copied.is_some(), during)
    }

    fn rename(&mut self, step: &Operation, from: &'static str, to: &'static str) -> Outcome {
        let (renamed, during) = self.run_found(step, || self.store.rename(from, to))?;
        self.see_copied(step, from, to, renamed.is_some(), during)?;
        if renamed.is_some() && from != to {
            self.entries.remove(from);
        }
        Ok(())
    }

    fn keys(&self, step: &Operation, prefix: &'static str) -> Outcome {
        let (got, during) = self.run(step, || self.store.keys(prefix)?.collect::<Result<Vec<_>, _>>())?;
        self.see_list(step, &got, during, |key| key.starts_with(prefix).then_some(key))
    }

    fn prefixes(&self, step: &Operation, prefix: &'static str) -> Outcome {
        let (got, during) = self.run(step, || self.store.prefixes("/", prefix)?.collect::<Result<Vec<_>, _>>())?;
        self.see_list(step, &got, during, |key| {
            let rest = key.strip_prefix(prefix)?;
            rest.find('/').map_or(Some(key), |at| key.get(..prefix.len() + at + 1))
        })
    }

    fn wrong<T>(&self, step: &Operation, want: &str, got: &dyn Debug) -> Outcome<T> {
        Err(self.found(step, want, &show(got)))
    }

    fn found(&self, step: &Operation, want: &str, got: &str) -> NotPassed {
        let own = step.clauses();
        let others = self.left.iter().filter(|clause| !own.contains(*clause)).copied().collect::<Vec<_>>();
        let others =
            if others.is_empty() { String::new() } else { format!(", or of a step before: {}", others.join(", ")) };
        NotPassed::found(format!("{}\nexpected: {want}\ngot:      {got}\nclauses:  {own}{others}", show(step)))
    }

    /// Runs an operation that has to work.
    fn run<T>(&self, step: &Operation, operation: impl FnOnce() -> Result<T, Error>) -> Outcome<(T, During)> {
        let (result, before, after) = self.context.time.span(operation);
        match result {
            Ok(got) => Ok((got, During { before, after })),
            Err(error) => {
                let found = self.found(step, "it works", &show_error(&error));
                Err(found.because_of(&error))
            }
        }
    }

    /// Runs an operation that has to work or to say `NotFound`.
    fn run_found<T>(
        &self,
        step: &Operation,
        operation: impl FnOnce() -> Result<T, Error>,
    ) -> Outcome<(Option<T>, During)> {
        self.run(step, || match operation() {
            Ok(got) => Ok(Some(got)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        })
    }

    fn liveness(&self, key: &str, during: During) -> Liveness {
        match self.entries.get(key) {
            None => Liveness::Expired,
            Some(Entry { expiry: None, .. }) => Liveness::Live,
            Some(Entry { expiry: Some(expiry), .. }) => expiry.liveness(during.before, during.after),
        }
    }

    /// The store has said whether an entry is there. Where it could have been either, the model takes its word.
    fn see(&mut self, step: &Operation, key: &str, live: bool, got: &dyn Debug, during: During) -> Outcome {
        match (self.liveness(key, during), live) {
            (Liveness::Live, false) => self.wrong(step, &format!("there is a live entry at {key:?}"), got),
            (Liveness::Expired, true) => {
                self.wrong(step, &format!("there is no entry at {key:?}, or it has expired"), got)
            }
            (_, false) => {
                self.entries.remove(key);
                Ok(())
            }
            (_, true) => Ok(()),
        }
    }

    fn see_value(&mut self, step: &Operation, key: &str, got: Option<Bytes>, during: During) -> Outcome {
        self.see(step, key, got.is_some(), &got, during)?;
        match (self.entries.get(key), got) {
            (Some(entry), Some(got)) if entry.value != got => self.wrong(step, &show(&entry.value), &got),
            _ => Ok(()),
        }
    }

    fn see_remaining(&self, step: &Operation, key: &str, got: Option<Remaining>, during: During) -> Outcome {
        let Some(entry) = self.entries.get(key) else { return Ok(()) };
        match (entry.expiry, got) {
            (None, Some(Remaining::Forever)) => Ok(()),
            (Some(expiry), Some(Remaining::For(left))) => {
                let least = expiry.earliest.saturating_sub(during.after + self.ttls.resolution);
                let most = expiry.latest.saturating_sub(during.before) + self.ttls.resolution;
                let holds = least <= left && left <= most;
                if holds { Ok(()) } else { self.wrong(step, &format!("{least:?} to {most:?}"), &left) }
            }
            (expiry, got) => self.wrong(step, if expiry.is_some() { "a TTL" } else { "Forever" }, &got),
        }
    }

    /// The store has said whether it copied.
    fn see_copied(
        &mut self,
        step: &Operation,
        from: &'static str,
        to: &'static str,
        copied: bool,
        during: During,
    ) -> Outcome {
        self.see(step, from, copied, &(if copied { "Ok" } else { "NotFound" }), during)?;
        let Some(mut entry) = self.entries.get(from).filter(|_| copied && from != to).cloned() else { return Ok(()) };
        // A backend may read what remains and write it again, each as exact as it can.
        entry.expiry = entry.expiry.map(|expiry| Expiry {
            earliest: expiry.earliest.saturating_sub(self.ttls.resolution),
            latest: expiry.latest + self.ttls.resolution + during.after.saturating_sub(during.before),
        });
        self.entries.insert(to, entry);
        Ok(())
    }

    /// Compares a listing with what `part` makes of the keys of the model.
    fn see_list(
        &self,
        step: &Operation,
        got: &[KeyBuf],
        during: During,
        part: impl Fn(&'static str) -> Option<&'static str>,
    ) -> Outcome {
        let parts = |may: bool| {
            let keys = self.entries.keys().copied();
            let keys = keys.filter(|key| {
                matches!((self.liveness(key, during), may), (Liveness::Live, _) | (Liveness::Unknown, true))
            });
            keys.filter_map(&part).collect::<BTreeSet<_>>()
        };
        let (must, may) = (parts(false), parts(true));
        let listed = got.iter().map(KeyBuf::as_str).collect::<BTreeSet<_>>();
        if listed.len() < got.len() || !listed.is_superset(&must) || !listed.is_subset(&may) {
            let perhaps = may.difference(&must).collect::<Vec<_>>();
            let perhaps = if perhaps.is_empty() { String::new() } else { format!(", and perhaps {perhaps:?}") };
            let got = got.iter().map(KeyBuf::as_str).collect::<Vec<_>>();
            return self.wrong(step, &format!("{must:?}, each once{perhaps}"), &got);
        }
        Ok(())
    }

    fn write(&mut self, key: &'static str, value: &Bytes, ttl: Ttl, during: During) {
        let expiry =
            ttl.or_default(None).map(|ttl| (ttl, Expiry::of(ttl, during.before, during.after, self.ttls.resolution)));
        match expiry {
            Some((ttl, _)) if ttl.is_zero() => {
                self.entries.remove(key);
            }
            expiry => {
                let expiry = expiry.map(|(_, expiry)| expiry);
                self.entries.insert(key, Entry { value: value.clone(), expiry });
            }
        }
    }
}
