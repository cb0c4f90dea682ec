//! Stores that are right as long as one thread uses them: each does one thing in steps between which another thread may come. Most are
//! wrong only where two certain operations meet, and no step takes long.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use kv_conformance::{BoxError, Fixture, Suite};
use kv_core::{
    Bytes, Capabilities, Entry, Error, Failure, Key, KeyBuf, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl,
    Value, ValueReader, Version,
};
use libtest_mimic::{Failed, Trial};

use crate::mutant::repeats;
use crate::right::{Clock, Config, NAME, Right, lock};

/// What is done in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Race {
    /// `touch` reads the entry and writes it back: what was deleted meanwhile is there again.
    TouchBringsBack,
    /// `touch` with a zero TTL looks, and removes then.
    ZeroTouch,
    /// `create` looks and writes under a lock that every other write takes, but not `put_from`.
    CreateBesideStream,
    /// The same, with a lock that `rename` does not take.
    CreateBesideRename,
    /// `create` of a value above 64 KiB looks, and writes then.
    LongCreate,
    /// A write has the TTL of what was there until it gets its own.
    TtlLater,
    /// `put_from` of a value above 64 KiB removes the old entry first.
    LongStreamRemovesFirst,
    /// `open` of a long value reads it in halves.
    OpenReadsTwice,
    /// `rename` writes when it has returned.
    RenameLater,
    /// `rename` gives up where something was written to the source meanwhile, and puts back what was there.
    RenameRollsBack,
    /// `copy` copies what was there when the handle last read it.
    CopyOfOlder,
    /// `get_each` gives what was there before the last write, for as long as another one is under way.
    GetEachOlder,
    /// A listing leaves out what was written or touched since it began.
    ListMissesTouched,
    /// `delete_many` locks its keys one after the other, as `put_many` does in their order.
    DeleteManyLocks,
    /// `copy` locks `from`, then `to`.
    CopyLocks,
    /// Batches of more than 100 keys lock them one after the other.
    LongBatchesLock,
}

impl Race {
    const ALL: &[Self] = &[
        Self::TouchBringsBack,
        Self::ZeroTouch,
        Self::CreateBesideStream,
        Self::CreateBesideRename,
        Self::LongCreate,
        Self::TtlLater,
        Self::LongStreamRemovesFirst,
        Self::OpenReadsTwice,
        Self::RenameLater,
        Self::RenameRollsBack,
        Self::CopyOfOlder,
        Self::GetEachOlder,
        Self::ListMissesTouched,
        Self::DeleteManyLocks,
        Self::CopyLocks,
        Self::LongBatchesLock,
    ];

    /// Whether it is found by a check that hangs.
    fn hangs(self) -> bool {
        matches!(self, Self::DeleteManyLocks | Self::CopyLocks | Self::LongBatchesLock)
    }
}

/// A store that does something in steps. A clone is another handle.
#[derive(Clone)]
struct Racing {
    inner: Right,
    race: Race,
    /// What writes take, where the race is about that.
    writing: Arc<Mutex<()>>,
    shared: Arc<Mutex<Shared>>,
    /// What this handle has read.
    read: Arc<Mutex<BTreeMap<KeyBuf, Option<Bytes>>>>,
}

#[derive(Default)]
struct Shared {
    /// The keys that are locked.
    locked: BTreeSet<KeyBuf>,
    /// What was there before, at keys that are being written.
    before: BTreeMap<KeyBuf, Option<Bytes>>,
    /// How often each key was written or touched.
    changes: BTreeMap<KeyBuf, u64>,
}

const LONG: usize = 1 << 16;

/// Lets another thread come in between, if there is one that waits for its turn.
fn between() {
    (0..4).for_each(|_| thread::yield_now());
}

impl Racing {
    fn new(inner: Right, race: Race) -> Self {
        Self { inner, race, writing: Arc::default(), shared: Arc::default(), read: Arc::default() }
    }

    fn is(&self, race: Race) -> bool {
        self.race == race
    }

    fn changed(&self, key: Key<'_>) {
        *lock(&self.shared).changes.entry(key.into()).or_default() += 1;
        lock(&self.read).remove(key.as_str());
    }

    /// Does something while keys are locked, one after the other. A thread that waits for one waits practically for ever.
    fn with_locked<T>(&self, keys: &[Key<'_>], act: impl FnOnce() -> Result<T>) -> Result<T> {
        let begun = Instant::now();
        let mut mine = BTreeSet::new();
        for key in keys.iter().map(|key| KeyBuf::from(*key)) {
            while !mine.contains(&key) && !lock(&self.shared).locked.insert(key.clone()) {
                if begun.elapsed() > Duration::from_secs(20) {
                    lock(&self.shared).locked.retain(|key| !mine.contains(key));
                    return Err(Error::Unavailable(Failure::new(NAME, "a lock was not to be had")));
                }
                thread::yield_now();
            }
            mine.insert(key);
        }
        let result = act();
        lock(&self.shared).locked.retain(|key| !mine.contains(key));
        result
    }

    fn write_in_steps(&self, key: Key<'_>, value: &Bytes, ttl: Ttl) -> Result<()> {
        self.changed(key);
        if self.is(Race::GetEachOlder) {
            let before = self.inner.read(key)?;
            lock(&self.shared).before.insert(key.into(), before);
            self.inner.write(key, value.into(), ttl)?;
            between();
            lock(&self.shared).before.remove(key.as_str());
            return Ok(());
        }
        let old = self.inner.expiry(key)?;
        if let (Race::TtlLater, Some(old)) = (self.race, old) {
            self.inner.check(key, value.len(), ttl)?;
            self.inner.write(key, value.into(), old.into())?;
            between();
            // If it is still there.
            self.inner.set_expiry(key, ttl)?;
            return Ok(());
        }
        self.inner.write(key, value.into(), ttl)
    }
}

impl fmt::Debug for Racing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Racing").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would be another race")]
impl KeyValueStore for Racing {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        let value = self.inner.read(key)?;
        if self.is(Race::CopyOfOlder) {
            lock(&self.read).insert(key.into(), value.clone());
        }
        Ok(value)
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        let _writing = lock(&self.writing);
        self.write_in_steps(key, &value.into_bytes(), ttl)
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        let in_steps = match self.race {
            Race::CreateBesideStream | Race::CreateBesideRename => true,
            Race::LongCreate => value.len() > LONG,
            _ => false,
        };
        let _writing = (!self.is(Race::LongCreate)).then(|| lock(&self.writing));
        self.inner.check(key, value.len(), ttl)?;
        if !in_steps {
            self.changed(key);
            return self.inner.write_if_absent(key, value, ttl);
        }
        if self.inner.read(key)?.is_some() {
            return Ok(false);
        }
        between();
        self.inner.write(key, value, ttl).map(|()| true)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        let _writing = lock(&self.writing);
        self.changed(key);
        self.inner.remove(key)
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        self.inner.exists(key)
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        self.inner.expiry(key)
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        self.changed(key);
        let is_zero = ttl == Ttl::After(Duration::ZERO);
        let there = self.inner.read(key)?;
        match (self.race, there) {
            (Race::TouchBringsBack, Some(value)) if !is_zero => {
                self.inner.check(key, 0, ttl)?;
                between();
                // What was overwritten meanwhile it notices.
                if self.inner.read(key)?.is_none_or(|now| now == value) {
                    self.inner.write(key, value.into(), ttl)?;
                }
                Ok(true)
            }
            (Race::ZeroTouch, Some(_)) if is_zero => {
                between();
                self.inner.remove(key).map(|_| true)
            }
            _ => self.inner.set_expiry(key, ttl),
        }
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        if !self.is(Race::ListMissesTouched) {
            return self.inner.list(prefix);
        }
        let listed = self.inner.list(prefix)?.collect::<Result<Vec<_>>>()?;
        let changes = |key: &KeyBuf| lock(&self.shared).changes.get(key).copied();
        let listed = listed.into_iter().map(|key| (changes(&key), key)).collect::<Vec<_>>();
        Ok(Keys::new(listed.into_iter().filter_map(move |(then, key)| {
            thread::yield_now();
            (changes(&key) == then).then_some(Ok(key))
        })))
    }

    fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        self.inner.list_prefixes(delimiter, prefix)
    }

    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        self.inner.read_many(keys)
    }

    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        let before = lock(&self.shared).before.clone();
        let read =
            |key: &Key<'_>| before.get(key.as_str()).map_or_else(|| self.inner.read(*key), |old| Ok(old.clone()));
        keys.iter().map(read).collect()
    }

    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        let mut keys = entries.iter().map(|entry| entry.key).collect::<Vec<_>>();
        let write_all = || {
            let write = |entry: Entry<'_>| self.write(entry.key, entry.value, entry.ttl);
            entries.into_iter().try_for_each(write)
        };
        match self.race {
            Race::LongBatchesLock if keys.len() > 100 => self.with_locked(&keys, write_all),
            Race::DeleteManyLocks => {
                keys.sort_unstable_by_key(|key| key.to_key_buf());
                self.with_locked(&keys, write_all)
            }
            _ => write_all(),
        }
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        let remove_all = || keys.iter().map(|key| self.remove(*key)).collect();
        match self.race {
            Race::DeleteManyLocks => self.with_locked(keys, remove_all),
            Race::LongBatchesLock if keys.len() > 100 => self.with_locked(keys, remove_all),
            _ => remove_all(),
        }
    }

    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        match self.race {
            Race::CopyLocks => return self.with_locked(&[from, to], || self.inner.copy_entry(from, to)),
            Race::CopyOfOlder => {
                let older = lock(&self.read).get(from.as_str()).cloned().flatten();
                if let (Some(older), Some(left)) = (older, self.inner.expiry(from)?) {
                    self.changed(to);
                    return self.inner.write(to, older.into(), left.into());
                }
            }
            _ => {}
        }
        let _writing = lock(&self.writing);
        self.changed(to);
        self.inner.copy_entry(from, to)
    }

    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let writing = (!self.is(Race::CreateBesideRename)).then(|| lock(&self.writing));
        let entry = |key| self.inner.live(&self.inner.lock(), key).cloned();
        match (self.race, entry(&from)) {
            (Race::RenameLater, Some(_)) if entry(&to).is_some() => {
                let (this, from, to) = (self.inner.clone(), KeyBuf::from(from), KeyBuf::from(to));
                thread::spawn(move || {
                    between();
                    this.rename_entry(from.as_key(), to.as_key())
                });
                Ok(())
            }
            (Race::RenameRollsBack, Some(old)) => {
                drop(writing);
                self.inner.rename_entry(from, to)?;
                between();
                if entry(&from).is_some() {
                    self.inner.lock().insert(crate::right::own(&from), old);
                }
                Ok(())
            }
            _ => {
                self.changed(from);
                self.changed(to);
                self.inner.rename_entry(from, to)
            }
        }
    }

    fn read_stream(&self, key: Key<'_>) -> Result<Option<ValueReader>> {
        let Some(value) = self.inner.read(key)? else { return Ok(None) };
        if !self.is(Race::OpenReadsTwice) || value.len() < 1000 {
            return Ok(Some(value.into()));
        }
        between();
        let (first, half) = (value, |value: &Bytes| value.len() / 2);
        let second = self.inner.read(key)?.unwrap_or_else(|| first.clone());
        let halves = [first.slice(..half(&first)), second.slice(half(&first).min(second.len())..)];
        Ok(Some(Bytes::from(halves.concat()).into()))
    }

    fn write_stream(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        self.inner.check(key, 0, ttl)?;
        let value = Bytes::from(crate::right::read_all(self.inner.config.largest_value, key, reader)?);
        self.inner.check(key, value.len(), ttl)?;
        let _writing = (!self.is(Race::CreateBesideStream)).then(|| lock(&self.writing));
        if self.is(Race::LongStreamRemovesFirst) && value.len() > LONG {
            self.inner.remove(key)?;
            between();
        }
        self.write_in_steps(key, &value, ttl)
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        self.inner.read_versioned(key)
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        self.inner.write_if_absent_versioned(key, value, ttl)
    }

    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        self.inner.write_if_version(key, value, ttl, version)
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        self.inner.remove_if_version(key, version)
    }

    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.inner.read_and_remove(key)
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        self.inner.read_and_set_expiry(key, ttl)
    }

    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        self.inner.add(key, by, ttl)
    }
}

/// In how many runs each has to be rejected once. Whether threads meet depends on what else the machine does, and with a part of the random
/// input they meet less often.
const RUNS: u32 = 20;

fn suite(race: Race) -> Suite {
    let open = move || -> Result<Fixture, BoxError> {
        let clock = Clock::manual();
        let store = Racing::new(Right::new(Config { clock: clock.clone(), ..Config::new() }), race);
        let second = Racing { read: Arc::default(), ..store.clone() };
        Ok(Fixture::new(store).second_handle(second).clock(move |by| clock.advance(by)))
    };
    Suite::new(format!("{race:?}"), open).hangs_after(Duration::from_secs(3))
}

/// Those that look for races have to find it: each time, in as many runs as `MUTANTS_REPEAT` says.
fn reject(race: Race) -> Result<(), Failed> {
    let checks = if race.hangs() { "do_not_wait_for_each_other" } else { "_histories_of_" };
    let rejects = |_: &u32| {
        let report = suite(race).run_matching(checks);
        if std::env::var_os("MUTANTS_VERBOSE").is_some() {
            println!("{report}");
        }
        !report.passed()
    };
    let repeats = repeats();
    let (runs, enough) = if repeats == 0 { (RUNS, 1) } else { (repeats, repeats as usize) };
    let rejected = (0..runs).filter(rejects).take(enough).count();
    if rejected == enough { Ok(()) } else { Err(format!("{rejected} of {runs} runs reject it").into()) }
}

/// One thread alone finds nothing wrong: what is wrong is what happens between threads.
pub(crate) fn trials() -> Vec<Trial> {
    let trial = |&race: &Race| Trial::test(format!("racing/{race:?}"), move || reject(race));
    Race::ALL.iter().map(trial).collect()
}
