//! Steps that depend on what is there: conditional writes, and counters.

use kv_core::{Bytes, Capability, Error, KeyBuf, KeyValueStoreExt, Version};

use super::writing::Resolved;
use super::{Model, Run};
use crate::history::Weakness;
use crate::history::counters::{self, number};
use crate::model::pools::Expires;
use crate::model::state::{During, Entry, Possible};
use crate::model::step::{Operation, Which, Write, text, value as shown};
use crate::running::{Expiry, Outcome, show_error};

/// How many versions are kept of each key.
const KEPT: usize = 4;

/// A version that an entry has had.
#[derive(Clone, Debug)]
pub(super) struct Known {
    key: KeyBuf,
    version: Version,
    value: Bytes,
    /// How often the key had been written then.
    writes: u64,
}

/// What an increment comes to: the sum and the entry that is there then, or nothing if it has to be refused.
type Incremented = Option<(u64, Option<Entry>)>;

impl Model<'_> {
    /// Does one of the steps that set a TTL alone, or are of section 12.
    pub(super) fn update(&mut self, run: &Run<'_>, update: &Operation) -> Outcome {
        match update {
            Operation::GetVersioned(key) => self.get_versioned(run, key).map(drop),
            Operation::CreateVersioned(write) => self.create_versioned(run, write),
            Operation::PutIf(write, which) => self.put_if(run, write, *which),
            Operation::DeleteIf(key, which) => self.delete_if(run, key, *which),
            Operation::Take(key) => {
                let (got, during) = self.works(run, |store| store.take(key))?;
                self.see_value(run, key, got, during)?;
                self.state.set(key, Possible::nothing(), during);
                Ok(())
            }
            Operation::Touch(key, expires) => {
                self.touch(run, key, *expires, |store, ttl| Ok(store.touch(key, ttl)?.then_some(None)))
            }
            Operation::GetAndTouch(key, expires) => {
                self.touch(run, key, *expires, |store, ttl| Ok(store.get_and_touch(key, ttl)?.map(Some)))
            }
            Operation::Increment(key, by, expires) => self.increment(run, key, *by, *expires),
            _ => Ok(()),
        }
    }

    /// Reads an entry and its version.
    pub(super) fn get_versioned(&mut self, run: &Run<'_>, key: &KeyBuf) -> Outcome<Option<Known>> {
        let (got, during) = self.works(run, |store| store.get_versioned(key))?;
        self.see_value(run, key, got.as_ref().map(|(value, _)| value.clone()), during)?;
        Ok(got.map(|(value, version)| self.remember(key, value, version)))
    }

    fn remember(&mut self, key: &KeyBuf, value: Bytes, version: Version) -> Known {
        let known = Known { key: key.clone(), version, value, writes: self.state.writes(key) };
        let all = self.versions.entry(key.clone()).or_default();
        if all.len() == KEPT {
            all.remove(0);
        }
        all.push(known.clone());
        known
    }

    /// The version that a step names, if there is one.
    fn named(&mut self, run: &Run<'_>, key: &KeyBuf, which: Which) -> Outcome<Option<Known>> {
        Ok(match which {
            Which::Current => self.get_versioned(run, key)?,
            Which::Earlier(before) => self.versions.get(key).and_then(|all| all.iter().rev().nth(before)).cloned(),
            Which::Foreign => {
                let mut others = self.versions.iter().filter(|(other, _)| *other != key);
                others.find_map(|(_, all)| all.last()).cloned()
            }
        })
    }

    /// Whether the entry has this version, as far as is known.
    fn holds(&self, key: &KeyBuf, known: &Known, during: During) -> Option<bool> {
        let at = self.state.at(key);
        if known.key != *key {
            return Some(false);
        }
        match at.is_live(during) {
            Some(true) if self.context.has(Capability::ExactVersions) => Some(known.writes == self.state.writes(key)),
            Some(true) => {
                let mut equal = at.alternatives(during).into_iter().flatten().map(|entry| entry.value == known.value);
                let first = equal.next()?;
                equal.all(|other| other == first).then_some(first)
            }
            other => other,
        }
    }

    pub(super) fn put_if(&mut self, run: &Run<'_>, write: &Write, which: Which) -> Outcome {
        let write = self.resolve(run, write)?;
        let Some(known) = self.named(run, &write.key, which)? else { return Ok(()) };
        let put =
            |store: &dyn kv_core::KeyValueStore| store.put_if(&write.key, write.value(), write.ttl, &known.version);
        let (result, during) = run.during(put);
        let holds = self.holds(&write.key, &known, during);
        // Where the version does not hold, what is wrong with the new entry need not be looked at.
        if matches!(result, Ok(None)) && holds != Some(true) {
            return Ok(());
        }
        let Some(stored) = self.expect_fits(run, &write, result)? else { return Ok(()) };
        match stored {
            Some(_) if holds == Some(false) => self.wrong(run, &not_held(&write.key), &"a new version: it was stored"),
            None => self.wrong(run, &held(&write.key), &"None: it was not stored"),
            Some(version) => {
                self.see(run, &write.key, true, &"a new version", during)?;
                self.write(&write, during);
                self.remember_written(&write, version);
                Ok(())
            }
        }
    }

    /// Remembers what a write has returned, unless it is a version of nothing.
    fn remember_written(&mut self, write: &Resolved, version: Version) {
        if write.given.is_none_or(|ttl| !ttl.is_zero()) {
            self.remember(&write.key, write.value.clone(), version);
        }
    }

    pub(super) fn delete_if(&mut self, run: &Run<'_>, key: &KeyBuf, which: Which) -> Outcome {
        let Some(known) = self.named(run, key, which)? else { return Ok(()) };
        let (deleted, during) = self.works(run, |store| store.delete_if(key, &known.version))?;
        match (deleted, self.holds(key, &known, during)) {
            (true, Some(false)) => self.wrong(run, &not_held(key), &deleted),
            (false, Some(true)) => self.wrong(run, &held(key), &deleted),
            (true, _) => {
                self.see(run, key, true, &deleted, during)?;
                self.state.set(key, Possible::nothing(), during);
                Ok(())
            }
            (false, _) => Ok(()),
        }
    }

    pub(super) fn create_versioned(&mut self, run: &Run<'_>, write: &Write) -> Outcome {
        let mut created = None;
        self.create(run, write, |store, write| {
            let version = store.create_versioned(&write.key, write.value(), write.ttl)?;
            let is_created = version.is_some();
            created = version.map(|version| (version, write.value.clone(), write.given));
            Ok(is_created)
        })?;
        if let Some((version, value, given)) = created
            && given.is_none_or(|ttl| !ttl.is_zero())
        {
            self.remember(&write.key, value, version);
        }
        Ok(())
    }

    pub(super) fn increment(&mut self, run: &Run<'_>, key: &KeyBuf, by: u32, expires: Expires) -> Outcome {
        let write = self.resolve_ttl(run, key, expires);
        let is_lenient = self.context.scope.weaknesses.contains_key(&Weakness::LenientCounters);
        let now = run.handles.time.now();
        let before = self.state.at(key);
        let is_text = |entry: Option<&Entry>| entry.is_some_and(|entry| number(&entry.value).is_none());
        // Of what a lenient store makes of it, nothing is promised.
        if is_lenient && before.alternatives(During { before: now, after: now }).into_iter().any(is_text) {
            return Ok(());
        }
        let (result, during) = run.during(|store| store.increment(key, by, write.ttl));
        let expiry = write.given.map(|ttl| Expiry::of(ttl, during.before, during.after, self.resolution));
        let outcome = |old: Option<&Entry>| -> Incremented {
            let Some(old) = old else {
                let stays = write.given.is_none_or(|ttl| !ttl.is_zero());
                let entry = Entry { value: by.to_string().into(), expiry };
                return Some((by.into(), stays.then_some(entry)));
            };
            let sum = counters::sum(number(&old.value)?, by)?;
            Some((sum, Some(Entry { value: counters::text(sum), expiry: old.expiry })))
        };
        let all = before.alternatives(during);
        let described = || {
            let shown = all.iter().map(|old| match (old, outcome(*old)) {
                (_, Some((sum, _))) => sum.to_string(),
                (Some(old), None) => format!("NotACounter, with the key, because of {}", shown(&old.value)),
                (None, None) => String::new(),
            });
            shown.collect::<Vec<_>>().join(", or ")
        };
        match result {
            Ok(sum) => {
                let after = all.iter().filter_map(|old| outcome(*old)).filter(|(want, _)| *want == sum);
                let Some(possible) = Possible::any(after.map(|(_, entry)| entry).collect()) else {
                    return self.wrong(run, &described(), &sum);
                };
                self.state.set(key, possible, during);
                Ok(())
            }
            Err(error) if write.fits.explains(&error, &write) => Ok(()),
            Err(Error::NotACounter { key: named, store, .. })
                if named == *key && *store == *run.store.name() && all.iter().any(|old| outcome(*old).is_none()) =>
            {
                let refused = all.iter().filter(|old| outcome(**old).is_none()).map(|old| old.cloned());
                let left = Possible::any(refused.collect());
                self.learn(run, key, left, during, || "NotACounter".into())
            }
            Err(error) => {
                let found = self.found(run, &described(), &show_error(&error));
                Err(found.because_of(&error).timed_out_if(matches!(error, Error::Timeout(_))))
            }
        }
    }
}

fn held(key: &KeyBuf) -> String {
    format!("it succeeds: the entry at {} has this version", text(key))
}

fn not_held(key: &KeyBuf) -> String {
    format!("it is refused: nothing at {} has this version", text(key))
}
