//! Doing steps with a store and with the model, and comparing.

mod answers;
mod listing;
mod reading;
mod updating;
mod writing;

pub(crate) use reading::FAR;

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::path::PathBuf;
use std::time::Duration;

use kv_core::{Capability, Error, KeyBuf, KeyValueStore, KeyValueStoreExt};

use crate::model::state::{During, Possible, State};
use crate::model::step::{Handle, Operation, Step, Wait, text};
use crate::running::{Context, NotPassed, Outcome, Time, show_error};
use answers::fits_there;
use updating::Known;
use writing::Portions;

/// How far the clock is advanced at most, in all.
const FARTHEST: Duration = Duration::from_secs(150 * 365 * 86_400);

/// How long a step waits at most in real time.
const PATIENCE: Duration = Duration::from_millis(2500);

/// How many TTLs are looked at in the end.
const TTLS: usize = 40;

/// The handles of a store, and its time.
pub(crate) struct Handles<'a> {
    pub(crate) first: &'a dyn KeyValueStore,
    pub(crate) second: &'a dyn KeyValueStore,
    pub(crate) time: Time<'a>,
}

/// The model beside a store.
pub(crate) struct Model<'a> {
    context: &'a Context<'a>,
    state: State,
    resolution: Duration,
    default_ttl: Option<Duration>,
    /// The versions that are known, of each key the last one last.
    versions: BTreeMap<KeyBuf, Vec<Known>>,
    /// A file, for what reads and writes files.
    file: PathBuf,
    /// The clauses of the steps so far that a later one may show to be broken.
    left: Vec<&'static str>,
}

impl<'a> Model<'a> {
    pub(crate) fn new(context: &'a Context<'a>, default_ttl: Option<Duration>, file: PathBuf) -> Self {
        let resolution = context.capabilities().ttl_resolution();
        Self {
            context,
            state: State::default(),
            resolution,
            default_ttl,
            versions: BTreeMap::new(),
            file,
            left: Vec::new(),
        }
    }

    /// Does one step with the store and with the model, and compares.
    pub(crate) fn step(&mut self, step: &Step, handles: &Handles<'_>) -> Outcome {
        let outcome = self.compare(step, handles);
        self.leave(step);
        outcome
    }

    /// Notes that the store was opened again.
    pub(crate) fn leave(&mut self, step: &Step) {
        if step.reopens() {
            // Versions need not outlive the store.
            self.versions.clear();
        }
        if let Some(clause) = step.operation.leaves()
            && !self.left.contains(&clause)
        {
            self.left.push(clause);
        }
    }

    /// Looks at all keys that were used, through both handles.
    pub(crate) fn look_at_all(&mut self, handles: &Handles<'_>) -> Outcome {
        let keys = self.state.keys().cloned().collect::<Vec<_>>();
        for handle in [Handle::First, Handle::Second] {
            let step = |operation| Step { handle, operation, covers: Vec::new() };
            self.step(&step(Operation::GetMany(keys.clone())), handles)?;
            if self.context.has(Capability::TtlReading) {
                for key in keys.iter().step_by(keys.len() / TTLS + 1) {
                    self.step(&step(Operation::Ttl(key.clone())), handles)?;
                }
            }
            if self.context.has(Capability::Listing) {
                self.step(&step(Operation::Keys(String::new())), handles)?;
            }
        }
        Ok(())
    }

    fn compare(&mut self, step: &Step, handles: &Handles<'_>) -> Outcome {
        let run =
            Run { step, handles, store: if step.handle == Handle::First { handles.first } else { handles.second } };
        match &step.operation {
            Operation::Get(key) => {
                let (got, during) = self.works(&run, |store| store.get(key))?;
                self.see_value(&run, key, got, during)
            }
            Operation::GetInto(key) => {
                let mut written = Vec::new();
                let (got, during) = self.finds(&run, |store| store.get_into(key, &mut written))?;
                self.see_value(&run, key, got.map(|_length| written.into()), during)
            }
            Operation::GetFile(key) => self.get_file(&run, key),
            Operation::Open(key, readings) => self.open(&run, key, readings),
            Operation::GetMany(keys) => {
                let (got, during) = self.works(&run, |store| store.get_many(keys))?;
                self.see_values(&run, keys, got, during)
            }
            Operation::GetEach(keys) => {
                let (got, during) = self.works(&run, |store| store.get_each(keys).into_iter().collect())?;
                self.see_values(&run, keys, got, during)
            }
            Operation::Contains(key) => {
                let (got, during) = self.works(&run, |store| store.contains(key))?;
                self.see(&run, key, got, &got, during)
            }
            Operation::Ttl(key) => {
                let (got, during) = self.works(&run, |store| store.ttl(key))?;
                self.see_left(&run, key, got, during)
            }
            Operation::Keys(prefix) => {
                let (got, during) = self.works(&run, |store| store.keys(prefix)?.collect::<Result<Vec<_>, _>>())?;
                let (must, may) = self.state.listed(prefix, during);
                self.see_keys(&run, &got, &must.iter().collect::<Vec<_>>(), &may.iter().collect::<Vec<_>>(), true)
            }
            Operation::Prefixes(delimiter, prefix) => self.prefixes(&run, delimiter, prefix),
            Operation::Put(write) => {
                let resolved = self.resolve(&run, write)?;
                self.put(&run, &resolved, |store, write| store.put_with_ttl(&write.key, write.value(), write.ttl))
            }
            Operation::PutFrom(write, portion) => {
                let resolved = self.resolve(&run, write)?;
                self.put(&run, &resolved, |store, write| {
                    let reader = Portions { of: &write.value, portion: *portion, fails: false };
                    store.put_from_with_ttl(&write.key, reader, write.ttl)
                })
            }
            Operation::PutFromFailing(write, after) => self.put_from_failing(&run, write, *after),
            Operation::PutFile(write) => {
                let resolved = self.resolve(&run, write)?;
                std::fs::write(&self.file, &resolved.value).map_err(NotPassed::failed_beside_the_store)?;
                let file = self.file.clone();
                self.put(&run, &resolved, |store, write| store.put_file_with_ttl(&write.key, &file, write.ttl))
            }
            Operation::PutMany(writes) => self.put_many(&run, writes),
            Operation::Create(write) => {
                self.create(&run, write, |store, write| store.create_with_ttl(&write.key, write.value(), write.ttl))
            }
            Operation::Delete(key) => {
                let (deleted, during) = self.works(&run, |store| store.delete(key))?;
                self.see(&run, key, deleted, &deleted, during)?;
                self.state.set(key, Possible::nothing(), during);
                Ok(())
            }
            Operation::DeleteMany(keys) => {
                let (deleted, during) = self.works(&run, |store| store.delete_many(keys))?;
                self.expect_count(&run, keys.len(), deleted.len())?;
                for (key, deleted) in keys.iter().zip(deleted) {
                    self.see(&run, key, deleted, &format_args!("{deleted} for {}", text(key)), during)?;
                    self.state.set(key, Possible::nothing(), during);
                }
                Ok(())
            }
            Operation::Copy(from, to) => {
                let (copied, during) = self.finds(&run, |store| fits_there(store, to, store.copy(from, to)))?;
                self.see_copied(&run, from, to, copied, during)
            }
            Operation::Rename(from, to) => {
                let (renamed, during) = self.finds(&run, |store| fits_there(store, to, store.rename(from, to)))?;
                self.see_copied(&run, from, to, renamed, during)?;
                if renamed == Some(true) && from != to {
                    self.state.set(from, Possible::nothing(), during);
                }
                Ok(())
            }
            Operation::WhileListing { prefix, taken, steps, to_the_end } => {
                self.while_listing(&run, prefix, *taken, steps, *to_the_end)
            }
            Operation::WhileReading { key, read, steps } => self.while_reading(&run, key, *read, steps),
            Operation::Wait(wait) => {
                self.wait(*wait, handles);
                Ok(())
            }
            // That is done to the fixture.
            Operation::Reopen => Ok(()),
            update => self.update(&run, update),
        }
    }

    fn wait(&self, wait: Wait, handles: &Handles<'_>) {
        let now = handles.time.now();
        let next = self.state.next_expiry(now);
        let by_hand = handles.time.is_advanced_by_hand();
        let until = match wait {
            Wait::BeforeNext => next.map(|next| next.earliest.saturating_sub(Duration::from_nanos(1))),
            Wait::UntilNext => next.map(|next| next.earliest),
            Wait::AfterNext => next.map(|next| next.latest),
            Wait::AfterAll => self.state.last_expiry(),
            Wait::For(time) => Some(now.saturating_add(time)),
        };
        let most = if by_hand { FARTHEST } else { now + PATIENCE };
        if let Some(until) = until.filter(|until| (now..=most).contains(until)) {
            handles.time.wait_until(until);
        }
    }

    /// Runs an operation that has to work.
    fn works<T>(
        &self,
        run: &Run<'_>,
        operation: impl FnOnce(&dyn KeyValueStore) -> Result<T, Error>,
    ) -> Outcome<(T, During)> {
        let (result, during) = run.during(operation);
        result.map(|got| (got, during)).map_err(|error| self.failed(run, &error))
    }

    /// Runs an operation that has to work or to say `NotFound`.
    fn finds<T>(
        &self,
        run: &Run<'_>,
        operation: impl FnOnce(&dyn KeyValueStore) -> Result<T, Error>,
    ) -> Outcome<(Option<T>, During)> {
        self.works(run, |store| match operation(store) {
            Ok(got) => Ok(Some(got)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// An operation has failed that had to work.
    fn failed(&self, run: &Run<'_>, error: &Error) -> NotPassed {
        let found = self.found(run, "it works", &show_error(error));
        found.because_of(error).timed_out_if(matches!(error, Error::Timeout(_)))
    }

    fn unexpected<T: Debug>(&self, run: &Run<'_>, want: &str, got: Result<T, Error>) -> Outcome<Option<T>> {
        match got {
            Ok(got) => self.wrong(run, want, &format!("{got:?}")),
            Err(error) => {
                let found = self.found(run, want, &show_error(&error));
                Err(found.because_of(&error).timed_out_if(matches!(error, Error::Timeout(_))))
            }
        }
    }

    fn wrong<T>(&self, run: &Run<'_>, want: &str, got: &dyn Display) -> Outcome<T> {
        Err(self.found(run, want, &got.to_string()))
    }

    fn found(&self, run: &Run<'_>, want: &str, got: &str) -> NotPassed {
        let own = run.step.operation.clauses();
        let others = self.left.iter().filter(|clause| !own.contains(**clause)).copied().collect::<Vec<_>>();
        let others =
            if others.is_empty() { String::new() } else { format!(", or of a step before: {}", others.join(", ")) };
        NotPassed::found(format!("{}\nexpected: {want}\ngot:      {got}\nclauses:  {own}{others}", run.step))
    }
}

/// A step under way.
struct Run<'a> {
    step: &'a Step,
    handles: &'a Handles<'a>,
    store: &'a dyn KeyValueStore,
}

impl Run<'_> {
    fn during<T>(&self, operation: impl FnOnce(&dyn KeyValueStore) -> T) -> (T, During) {
        let (result, before, after) = self.handles.time.span(|| operation(self.store));
        (result, During { before, after })
    }
}
