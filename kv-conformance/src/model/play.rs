//! Doing steps with a store and with the model, and comparing.

use std::fmt::{Debug, Display};
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use kv_core::{Bytes, Capability, Error, KeyBuf, KeyValueStore, KeyValueStoreExt, Remaining, Ttl, Value};

use super::pools::{Content, Expires};
use super::state::{During, Entry, Possible, State};
use super::step::{Handle, Operation, Reading, Step, Wait, Write, few, text, value as shown};
use crate::property::values::part_of_pattern;
use crate::running::{Context, Expiry, NotPassed, Outcome, Time, show_error};

/// How far the clock is advanced at most, in all.
const FARTHEST: Duration = Duration::from_secs(150 * 365 * 86_400);

/// How long a step waits at most in real time.
const PATIENCE: Duration = Duration::from_millis(2500);

/// How many TTLs are looked at in the end.
const TTLS: usize = 40;

/// How many bytes more than the store takes are tried, to learn what it takes for a key.
const BEYOND: u64 = 4096;

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
    /// A file, for what reads and writes files.
    file: PathBuf,
    /// The clauses of the steps so far that a later one may show to be broken.
    left: Vec<&'static str>,
}

/// What a write has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fits {
    Yes,
    TooLarge(u64),
    TooLong,
    /// The longest TTL became shorter meanwhile.
    Perhaps,
}

/// A write with what its value and its TTL are in this store.
struct Resolved {
    key: KeyBuf,
    value: Bytes,
    ttl: Ttl,
    fits: Fits,
    is_owned: bool,
    /// The TTL with the default of the store, if it is not for ever.
    given: Option<Duration>,
    /// The longest TTL that the store takes.
    longest: Duration,
    /// By how much another one may be told.
    tolerance: Duration,
    /// What the store calls itself.
    store: String,
}

impl Resolved {
    /// The value, handed over or lent.
    fn value(&self) -> Value<'_> {
        if self.is_owned { self.value.clone().into() } else { (&*self.value).into() }
    }
}

impl<'a> Model<'a> {
    pub(crate) fn new(context: &'a Context<'a>, default_ttl: Option<Duration>, file: PathBuf) -> Self {
        let resolution = context.capabilities().ttl_resolution();
        Self { context, state: State::default(), resolution, default_ttl, file, left: Vec::new() }
    }

    /// Does one step with the store and with the model, and compares.
    pub(crate) fn step(&mut self, step: &Step, handles: &Handles<'_>) -> Outcome {
        let outcome = self.compare(step, handles);
        self.leave(step);
        outcome
    }

    /// Notes that the store was opened again.
    pub(crate) fn leave(&mut self, step: &Step) {
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
            Operation::Create(write) => self.create(&run, write),
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
            Operation::Touch(key, expires) => self.touch(&run, key, *expires),
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
        }
    }

    fn get_file(&mut self, run: &Run<'_>, key: &KeyBuf) -> Outcome {
        const BEFORE: &[u8] = b"what was in the file before";
        std::fs::write(&self.file, BEFORE).map_err(NotPassed::failed_beside_the_store)?;
        let file = self.file.clone();
        let (got, during) = self.finds(run, |store| store.get_file(key, &file))?;
        let written = std::fs::read(&self.file).map_err(NotPassed::failed_beside_the_store)?;
        if got.is_none() && written != BEFORE {
            return self.wrong(run, "the file is left as it was (S4)", &shown(&written));
        }
        self.see_value(run, key, got.map(|_length| written.into()), during)
    }

    fn open(&mut self, run: &Run<'_>, key: &KeyBuf, readings: &[Reading]) -> Outcome {
        let (reader, during) = self.finds(run, |store| store.open(key))?;
        let Some(mut reader) = reader else { return self.see(run, key, false, &"NotFound", during) };
        let came = readings.iter().map(|reading| reading.done_with(&mut reader)).collect::<Vec<_>>();
        let mut value = Vec::new();
        let whole = reader.seek(SeekFrom::Start(0)).and_then(|_| reader.read_to_end(&mut value));
        whole.map_err(|error| self.found(run, "its value can be read", &show_error(&error)))?;
        let mut cursor = Cursor::new(&value);
        for (reading, came) in readings.iter().zip(came) {
            let want = reading.done_with(&mut cursor);
            if came != want {
                let want = format!("{reading:?} gives {want}, of {} bytes", value.len());
                return self.wrong(run, &want, &came);
            }
        }
        self.see_value(run, key, Some(value.into()), during)
    }

    fn prefixes(&mut self, run: &Run<'_>, delimiter: &KeyBuf, prefix: &str) -> Outcome {
        let (got, during) =
            self.works(run, |store| store.prefixes(delimiter, prefix)?.collect::<Result<Vec<_>, _>>())?;
        let (must, may) = self.state.listed(prefix, during);
        let part = |key: &KeyBuf| {
            let rest = key.get(prefix.len()..).unwrap_or_default();
            let end = rest.find(delimiter.as_str()).map(|at| prefix.len() + at + delimiter.len());
            end.and_then(|end| KeyBuf::new(key.get(..end)?).ok()).unwrap_or_else(|| key.clone())
        };
        let parts = |keys: &std::collections::BTreeSet<KeyBuf>| {
            keys.iter().map(part).collect::<std::collections::BTreeSet<_>>()
        };
        let (must, may) = (parts(&must), parts(&may));
        self.see_keys(run, &got, &must.iter().collect::<Vec<_>>(), &may.iter().collect::<Vec<_>>(), true)
    }

    /// Finds out what a write is in this store.
    fn resolve(&mut self, run: &Run<'_>, write: &Write) -> Outcome<Resolved> {
        let capabilities = run.store.capabilities();
        let key = write.key.clone();
        let (value, limit) = match (&write.value, capabilities.largest_value()) {
            (Content::Bytes(bytes), _) => (bytes.clone(), None),
            (Content::AtLimit(_), None) => (Bytes::new(), None),
            (Content::AtLimit(more), Some(largest)) => {
                let limit = self.limit(run, &key, largest)?;
                let size = usize::try_from(limit.saturating_add_signed(*more)).unwrap_or_default();
                (part_of_pattern(0, size), Some(limit))
            }
        };
        let longest = capabilities.longest_ttl();
        let ttl = write.expires.ttl(longest);
        let fits = match limit {
            Some(limit) if value.len() as u64 > limit => Fits::TooLarge(limit),
            _ => self.ttl_fits(ttl, longest),
        };
        let (given, store) = (ttl.or_default(self.default_ttl), run.store.name().to_owned());
        Ok(Resolved {
            key,
            value,
            ttl,
            fits,
            is_owned: write.is_owned,
            given,
            longest,
            tolerance: self.tolerance(),
            store,
        })
    }

    /// By how much an error may tell another longest TTL than the store does: it may end at a date, by the clock of each of several servers.
    fn tolerance(&self) -> Duration {
        const CLOCKS: Duration = Duration::from_secs(60);
        if self.context.time.is_advanced_by_hand() { Duration::ZERO } else { CLOCKS }
    }

    /// Whether a TTL can be expressed, in a store whose longest one is this, or becomes shorter.
    fn ttl_fits(&self, ttl: Ttl, longest: Duration) -> Fits {
        match ttl.or_default(self.default_ttl) {
            Some(ttl) if ttl > longest => Fits::TooLong,
            // A date comes nearer while the operation is under way.
            Some(ttl)
                if !self.context.time.is_advanced_by_hand()
                    && longest < Duration::MAX
                    && longest.saturating_sub(ttl) < Duration::from_secs(1) =>
            {
                Fits::Perhaps
            }
            _ => Fits::Yes,
        }
    }

    /// The largest value that the store takes for this key, which one that is too large for any tells.
    fn limit(&mut self, run: &Run<'_>, key: &KeyBuf, largest: u64) -> Outcome<u64> {
        let size = largest.saturating_add(BEYOND);
        let value = part_of_pattern(0, usize::try_from(size).unwrap_or(usize::MAX));
        let (result, before, after) =
            run.handles.time.span(|| run.store.put_with_ttl(key, value.clone(), Ttl::Forever));
        match result {
            Err(Error::ValueTooLarge { limit, size: told, key: named, .. })
                if limit >= largest && limit < size && told == size && named == *key =>
            {
                Ok(limit)
            }
            // It takes more for some keys.
            Ok(()) => {
                let entry = Entry { value, expiry: None };
                self.state.set(key, Possible::entry(Some(entry)), During { before, after });
                Ok(size)
            }
            Err(error) => {
                let want = format!(
                    "put of {size} bytes says ValueTooLarge with the key, this size, and a limit of {largest} bytes or more (V3)"
                );
                let found = self.found(run, &want, &show_error(&error));
                Err(found.because_of(&error).timed_out_if(matches!(error, Error::Timeout(_))))
            }
        }
    }

    /// Writes one entry, in whatever way.
    fn put(
        &mut self,
        run: &Run<'_>,
        write: &Resolved,
        put: impl FnOnce(&dyn KeyValueStore, &Resolved) -> Result<(), Error>,
    ) -> Outcome {
        let (result, during) = run.during(|store| put(store, write));
        if self.expect_fits(run, write, result)?.is_some() {
            self.write(write, during);
        }
        Ok(())
    }

    /// A write has worked if it fits, or else was refused with the right error.
    fn expect_fits<T: Debug>(&self, run: &Run<'_>, write: &Resolved, result: Result<T, Error>) -> Outcome<Option<T>> {
        match (write.fits, result) {
            (Fits::Yes | Fits::Perhaps, Ok(got)) => Ok(Some(got)),
            (fits, Err(error)) if fits.explains(&error, write) => Ok(None),
            (Fits::TooLarge(limit), got) => {
                let want = format!(
                    "ValueTooLarge for {}, with the limit of {limit} bytes, and nothing changed (V3)",
                    text(&write.key)
                );
                self.unexpected(run, &want, got)
            }
            (Fits::TooLong, got) => {
                let want = format!(
                    "InvalidTtl for {}, with this TTL and the longest, and nothing changed (T4)",
                    text(&write.key)
                );
                self.unexpected(run, &want, got)
            }
            (Fits::Yes | Fits::Perhaps, Err(error)) => self.unexpected::<()>(run, "it works", Err(error)).map(|_| None),
        }
    }

    fn put_from_failing(&mut self, run: &Run<'_>, write: &Write, after: usize) -> Outcome {
        let write = self.resolve(run, write)?;
        let part = write.value.slice(..after.min(write.value.len()));
        let reader = Portions { of: &part, portion: 8192, fails: true };
        let (result, _) = run.during(|store| store.put_from_with_ttl(&write.key, reader, write.ttl));
        match result {
            Err(Error::Io { key, .. }) if key == write.key => Ok(()),
            // The TTL may be looked at first.
            Err(error) if write.fits.explains(&error, &write) => Ok(()),
            got => self.unexpected(run, "Io, with the key, and nothing changed (S2)", got).map(drop),
        }
    }

    fn put_many(&mut self, run: &Run<'_>, writes: &[Write]) -> Outcome {
        let writes = writes.iter().map(|write| self.resolve(run, write)).collect::<Outcome<Vec<_>>>()?;
        let entries = writes.iter().map(|write| (&write.key, write.value(), write.ttl));
        let (result, during) = run.during(|store| store.put_many_with_ttl(entries));
        let has_misfit = writes.iter().any(|write| !matches!(write.fits, Fits::Yes | Fits::Perhaps));
        match result {
            Ok(()) if has_misfit => {
                self.wrong(run, "an error that names an entry that does not fit (V3, T4)", &"success")
            }
            Ok(()) => {
                for write in &writes {
                    self.write(write, during);
                }
                Ok(())
            }
            Err(error) if writes.iter().any(|write| write.fits.explains(&error, write)) => {
                // Of the others some may have been written (B5).
                for write in writes.iter().filter(|write| matches!(write.fits, Fits::Yes | Fits::Perhaps)) {
                    let old = self.state.at(&write.key);
                    let new = self.written(write, during);
                    self.state.set(&write.key, old.or(new), during);
                }
                Ok(())
            }
            Err(error) => {
                let want =
                    if has_misfit { "an error that names an entry that does not fit (V3, T4)" } else { "it works" };
                self.unexpected::<()>(run, want, Err(error)).map(drop)
            }
        }
    }

    fn create(&mut self, run: &Run<'_>, write: &Write) -> Outcome {
        let write = self.resolve(run, write)?;
        let (result, during) = run.during(|store| store.create_with_ttl(&write.key, write.value(), write.ttl));
        // Where there is an entry, what is wrong with the other one need not be looked at.
        let is_live = self.state.at(&write.key).is_live(during) != Some(false);
        if let (Ok(false), true) = (&result, is_live) {
            return self.see(run, &write.key, true, &false, during);
        }
        let Some(created) = self.expect_fits(run, &write, result)? else { return Ok(()) };
        self.see(run, &write.key, !created, &created, during)?;
        if created {
            self.write(&write, during);
        }
        Ok(())
    }

    fn touch(&mut self, run: &Run<'_>, key: &KeyBuf, expires: Expires) -> Outcome {
        let longest = run.store.capabilities().longest_ttl();
        let ttl = expires.ttl(longest);
        let fits = self.ttl_fits(ttl, longest);
        let (result, during) = run.during(|store| store.touch(key, ttl));
        let store = run.store.name().to_owned();
        let given = ttl.or_default(self.default_ttl);
        let write = Resolved {
            key: key.clone(),
            value: Bytes::new(),
            ttl,
            fits,
            is_owned: false,
            given,
            longest,
            tolerance: self.tolerance(),
            store,
        };
        // Where there is no entry, the TTL need not be looked at.
        let is_absent = self.state.at(key).is_live(during) != Some(true);
        if let (Ok(false), true) = (&result, is_absent) {
            return self.see(run, key, false, &false, during);
        }
        let Some(touched) = self.expect_fits(run, &write, result)? else { return Ok(()) };
        self.see(run, key, touched, &touched, during)?;
        if touched {
            let expiry = given.map(|ttl| Expiry::of(ttl, during.before, during.after, self.resolution));
            let touched = |entry: Entry| (given != Some(Duration::ZERO)).then_some(Entry { expiry, ..entry });
            let possible = self.state.at(key).map(touched);
            self.state.set(key, possible, during);
        }
        Ok(())
    }

    fn while_listing(
        &mut self,
        run: &Run<'_>,
        prefix: &str,
        taken: usize,
        steps: &[Step],
        to_the_end: bool,
    ) -> Outcome {
        let before = run.handles.time.now();
        let listing = run.store.keys(prefix);
        let mut listing = listing.map_err(|error| self.failed(run, &error))?;
        self.state.open(prefix, During { before, after: run.handles.time.now() });
        let mut listed = Vec::new();
        let mut take = |count: usize, listed: &mut Vec<KeyBuf>| {
            for key in listing.by_ref().take(count) {
                listed.push(key?);
            }
            Ok(())
        };
        let outcome = take(taken, &mut listed).map_err(|error: Error| self.failed(run, &error));
        let outcome = outcome.and_then(|()| steps.iter().try_for_each(|step| self.step(step, run.handles)));
        let outcome = match outcome {
            Ok(()) if to_the_end => take(usize::MAX, &mut listed).map_err(|error: Error| self.failed(run, &error)),
            outcome => outcome,
        };
        let (must, may) = self.state.close(prefix, During { before, after: run.handles.time.now() });
        outcome?;
        self.see_keys(run, &listed, &must.iter().collect::<Vec<_>>(), &may.iter().collect::<Vec<_>>(), to_the_end)
    }

    fn while_reading(&mut self, run: &Run<'_>, key: &KeyBuf, read: usize, steps: &[Step]) -> Outcome {
        let (reader, during) = self.finds(run, |store| store.open(key))?;
        let Some(mut reader) = reader else { return self.see(run, key, false, &"NotFound", during) };
        self.see(run, key, true, &"a reader", during)?;
        let then = self.state.at(key);
        let mut value = Vec::new();
        let begin = (&mut reader).take(read as u64).read_to_end(&mut value);
        begin.map_err(|error| self.found(run, "its value can be read", &show_error(&error)))?;
        steps.iter().try_for_each(|step| self.step(step, run.handles))?;
        let rest = reader.read_to_end(&mut value);
        rest.map_err(|error| self.found(run, "the rest of its value can be read", &show_error(&error)))?;
        if then.clone().holding(&value.clone().into()).is_some() {
            return Ok(());
        }
        let want = format!("what was there when it was opened: {}", then.described(during, self.resolution));
        self.wrong(run, &want, &shown(&value))
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

    fn expect_count(&self, run: &Run<'_>, want: usize, got: usize) -> Outcome {
        if want == got { Ok(()) } else { self.wrong(run, &format!("{want} answers"), &got) }
    }

    fn see_values(&mut self, run: &Run<'_>, keys: &[KeyBuf], got: Vec<Option<Bytes>>, during: During) -> Outcome {
        self.expect_count(run, keys.len(), got.len())?;
        keys.iter().zip(got).try_for_each(|(key, got)| self.see_value(run, key, got, during))
    }

    /// The store has said whether there is an entry.
    fn see(&mut self, run: &Run<'_>, key: &KeyBuf, is_there: bool, got: &dyn Debug, during: During) -> Outcome {
        let left = self.state.at(key).seen(is_there, during);
        self.learn(run, key, left, during, || format!("{got:?}"))
    }

    /// The store has given a value, or none.
    fn see_value(&mut self, run: &Run<'_>, key: &KeyBuf, got: Option<Bytes>, during: During) -> Outcome {
        let left = self.state.at(key).seen(got.is_some(), during);
        let left = left.and_then(|left| if let Some(value) = &got { left.holding(value) } else { Some(left) });
        self.learn(run, key, left, during, || got.map_or("None".into(), |value| shown(&value)))
    }

    /// The store has said what is left of a TTL.
    fn see_left(&mut self, run: &Run<'_>, key: &KeyBuf, got: Option<Remaining>, during: During) -> Outcome {
        let left = self.state.at(key).seen(got.is_some(), during);
        let left = left.and_then(|left| match got {
            Some(remaining) => left.with_left(remaining, during, self.resolution),
            None => Some(left),
        });
        self.learn(run, key, left, during, || format!("{got:?}"))
    }

    /// An answer of the store leaves this of what is possible, or nothing.
    fn learn(
        &mut self,
        run: &Run<'_>,
        key: &KeyBuf,
        left: Option<Possible>,
        during: During,
        got: impl FnOnce() -> String,
    ) -> Outcome {
        if let Some(left) = left {
            self.state.learn(key, left);
            return Ok(());
        }
        let possible = self.state.at(key).described(during, self.resolution);
        self.wrong(run, &format!("at {}: {possible}", text(key)), &got())
    }

    /// The store has said whether there was an entry, and whether it was copied.
    fn see_copied(
        &mut self,
        run: &Run<'_>,
        from: &KeyBuf,
        to: &KeyBuf,
        copied: Option<bool>,
        during: During,
    ) -> Outcome {
        let got = if copied.is_some() { "success" } else { "NotFound" };
        self.see(run, from, copied.is_some(), &got, during)?;
        if copied == Some(true) && from != to {
            // A backend may read what remains and write it again, each as exact as it can.
            let took = during.after.saturating_sub(during.before);
            let again = |Expiry { earliest, latest }| Expiry {
                earliest: earliest.saturating_sub(self.resolution),
                latest: latest.saturating_add(self.resolution).saturating_add(took),
            };
            let possible = self.state.at(from).map(|entry| Some(Entry { expiry: entry.expiry.map(again), ..entry }));
            self.state.set(to, possible, during);
        }
        Ok(())
    }

    /// Compares keys with those that there have to be, and those that there may be.
    fn see_keys(&self, run: &Run<'_>, got: &[KeyBuf], must: &[&KeyBuf], may: &[&KeyBuf], is_whole: bool) -> Outcome {
        let mut sorted = got.iter().collect::<Vec<_>>();
        sorted.sort_unstable();
        let twice = sorted.windows(2).find_map(|pair| {
            if let [one, other] = pair
                && one == other
            {
                Some(*one)
            } else {
                None
            }
        });
        let missing = must.iter().find(|key| is_whole && sorted.binary_search(key).is_err());
        let foreign = sorted.iter().find(|key| may.binary_search(key).is_err());
        let got = match (twice, missing, foreign) {
            (Some(key), ..) => format!("{} twice", text(key)),
            (_, Some(key), _) => format!("{} is missing", text(key)),
            (.., Some(key)) => format!("{}, too", text(key)),
            _ => return Ok(()),
        };
        let keys = |of: &[&KeyBuf]| few(of, |key| text(key));
        let perhaps = if may.len() > must.len() { format!(", and perhaps {}", keys(may)) } else { String::new() };
        let got = format!("{got}, of [{}]", keys(&sorted));
        self.wrong(run, &format!("[{}], each once{perhaps}", keys(must)), &got)
    }

    /// What is there when a write has worked.
    fn written(&self, write: &Resolved, during: During) -> Possible {
        let ttl = write.ttl.or_default(self.default_ttl);
        let expiry = ttl.map(|ttl| Expiry::of(ttl, during.before, during.after, self.resolution));
        let entry = Entry { value: write.value.clone(), expiry };
        Possible::entry((ttl != Some(Duration::ZERO)).then_some(entry))
    }

    fn write(&mut self, write: &Resolved, during: During) {
        let written = self.written(write, during);
        self.state.set(&write.key, written, during);
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

/// Whether a copy was made. The value may be too large for the key that it is copied to, if that is longer.
fn fits_there(store: &dyn KeyValueStore, to: &KeyBuf, result: Result<(), Error>) -> Result<bool, Error> {
    let largest = store.capabilities().largest_value().unwrap_or(u64::MAX);
    match result {
        Err(Error::ValueTooLarge { key, size, limit, .. }) if key == *to && size > limit && limit >= largest => {
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

impl Fits {
    /// Whether this error says what does not fit, and says it right.
    fn explains(self, error: &Error, write: &Resolved) -> bool {
        if error.store() != Some(&write.store) || error.key() != Some(&write.key) {
            return false;
        }
        match (self, error) {
            // Of a stream, no more need have been read.
            (Self::TooLarge(want), Error::ValueTooLarge { limit, size, .. }) => {
                *limit == want && (want + 1..=write.value.len() as u64).contains(size)
            }
            // Whichever is looked at first.
            (Self::TooLong | Self::Perhaps | Self::TooLarge(_), Error::InvalidTtl { ttl, longest, .. }) => {
                let is_same = write.longest.abs_diff(*longest) <= write.tolerance;
                write.given == Some(*ttl) && longest < ttl && is_same
            }
            _ => false,
        }
    }
}

impl Reading {
    /// What came of it, as text.
    fn done_with(self, reader: &mut (impl Read + Seek)) -> String {
        match self {
            Self::Read(count) => {
                let mut read = Vec::new();
                match reader.take(count as u64).read_to_end(&mut read) {
                    Ok(_) => format!("{}, at {:?}", shown(&read), reader.stream_position().ok()),
                    Err(_) => "an error".into(),
                }
            }
            Self::Seek(to) => match reader.seek(to) {
                Ok(position) => format!("{position}, at {:?}", reader.stream_position().ok()),
                Err(_) => format!("an error, at {:?}", reader.stream_position().ok()),
            },
        }
    }
}

/// A reader of portions.
struct Portions<'a> {
    of: &'a [u8],
    portion: usize,
    /// Whether it fails at the end.
    fails: bool,
}

impl Read for Portions<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.fails && self.of.is_empty() && !buffer.is_empty() {
            return Err(io::Error::other("the reader fails"));
        }
        let count = buffer.len().min(self.portion);
        let mut part = self.of.get(..count).unwrap_or(self.of);
        let read = part.read(buffer)?;
        self.of = self.of.get(read..).unwrap_or_default();
        Ok(read)
    }
}
