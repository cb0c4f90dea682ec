//! A store that is right but for one fault.

mod copying;
mod creating;
mod listing;
mod mangling;
mod opening;
mod reading;
mod removing;
mod streaming;
mod updating;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use kv_core::{
    Bytes, Capabilities, Capability, Entry, Error, Failure, Key, KeyBuf, KeyValueStore, Keys, Prefix, Remaining,
    Result, Ttl, Value, ValueReader, Version,
};

use crate::faults::Fault;
use crate::right::{LONGEST_KEY, NAME, Right, Stored, lock, own};

/// A store that does one thing wrong.
pub(crate) struct Wrong {
    pub(crate) inner: Right,
    pub(crate) fault: Fault,
    /// What the suite opts out of, where the fault is about that.
    pub(crate) of: Option<Capability>,
    /// Whether this is the second handle on its data.
    pub(crate) second: bool,
    state: Arc<Mutex<State>>,
    /// As long as there is this handle.
    alive: Arc<()>,
}

/// What a fault remembers.
#[derive(Default)]
struct State {
    /// A cache, by key.
    cache: BTreeMap<KeyBuf, Option<Bytes>>,
    /// What was there before the last write, by key.
    previous: BTreeMap<KeyBuf, Option<Bytes>>,
    /// The TTLs given, by key.
    given: BTreeMap<KeyBuf, Duration>,
    /// The originals, by copy.
    links: BTreeMap<KeyBuf, KeyBuf>,
    deleted: BTreeSet<KeyBuf>,
    /// What is forgotten by, or known to, the index.
    index: BTreeSet<KeyBuf>,
    reads: u64,
    writes: u64,
    /// What this handle has counted, by key.
    counted: BTreeMap<KeyBuf, u64>,
    /// How many writes are under way.
    writing: u64,
    dead_deleted: u64,
    /// What the last read of a key gave, by key.
    last: BTreeMap<KeyBuf, Option<Bytes>>,
    /// The last key that was read, and how many writes there had been.
    last_get: Option<(KeyBuf, u64)>,
    reply: Option<Bytes>,
    last_read: Bytes,
    /// What `Debug` shows.
    shown: String,
    /// The threads that hold the lock, with a listing or a reader.
    holding: Vec<ThreadId>,
    /// A reader has panicked while the lock was held.
    poisoned: bool,
    /// When which key is removed, whatever is there.
    timers: Vec<(Duration, KeyBuf)>,
    /// The keys that are locked.
    locked: BTreeSet<KeyBuf>,
    cursors: usize,
    /// How many listings are under way, and what they show.
    listings: usize,
    snapshot: Vec<KeyBuf>,
    cursor: Option<std::vec::IntoIter<KeyBuf>>,
}

/// A lock that a thread holds.
struct Held {
    state: Arc<Mutex<State>>,
    thread: ThreadId,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if let Some(at) = state.holding.iter().position(|thread| *thread == self.thread) {
            state.holding.remove(at);
        }
    }
}

/// How something is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    One,
    Many,
    Stream,
    Create,
    Touch,
}

/// Long enough for another thread to come in between.
fn pause() {
    thread::sleep(Duration::from_millis(2));
}

/// Lets another thread come in between, if there is one that waits for its turn, where that happens often.
fn between() {
    (0..4).for_each(|_| thread::yield_now());
}

impl Wrong {
    pub(crate) fn new(inner: Right, fault: Fault, of: Option<Capability>, second: bool) -> Self {
        Self { inner, fault, of, second, state: Arc::default(), alive: Arc::default() }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// What is at a key, expired or not.
    fn raw(&self, key: Key<'_>) -> Option<Stored> {
        self.inner.lock().get(&own(&key)).cloned()
    }

    /// An entry that has expired.
    fn expired(&self, key: Key<'_>) -> Option<Stored> {
        self.raw(key).filter(|stored| !self.inner.is_live(stored))
    }

    /// Something done to what is at a key, expired or not.
    fn change(&self, key: Key<'_>, change: impl FnOnce(&mut Stored)) {
        if let Some(stored) = self.inner.lock().get_mut(&own(&key)) {
            change(stored);
        }
    }

    /// Gives an entry that has a TTL another hour.
    fn extend(&self, key: Key<'_>) {
        let end = self.inner.now() + Duration::from_secs(3600);
        if self.inner.read(key).is_ok_and(|value| value.is_some()) {
            self.change(key, |stored| stored.end = stored.end.map(|_| end));
        }
    }

    /// Refuses where the fault makes everything wait for ever, or fail.
    fn pass(&self) -> Result<()> {
        let mut state = self.state();
        if state.holding.contains(&thread::current().id()) && !self.holds_other() {
            return Err(Error::Unavailable(Failure::new(NAME, "this would wait for ever for a lock")));
        }
        if state.poisoned {
            return Err(Error::Backend(Failure::new(NAME, "the lock is poisoned")));
        }
        let now = self.inner.now();
        let due = state.timers.extract_if(.., |(end, _)| *end <= now).collect::<Vec<_>>();
        drop(state);
        for (_, key) in due {
            self.inner.lock().remove(&own(&key));
        }
        Ok(())
    }

    /// Whether the lock that is held is one that few operations need.
    fn holds_other(&self) -> bool {
        matches!(self.fault, Fault::ListHoldsOtherLock | Fault::ReaderHoldsOtherLock | Fault::StreamHoldsOtherLock)
    }

    /// Refuses where a listing, a reader or a stream of this thread holds the lock that this needs.
    fn pass_other(&self) -> Result<()> {
        if self.holds_other() && self.state().holding.contains(&thread::current().id()) {
            return Err(Error::Unavailable(Failure::new(NAME, "this would wait for ever for the other lock")));
        }
        Ok(())
    }

    /// Does something while keys are locked, one after the other. A thread that waits for one waits practically for ever.
    fn with_locked<T>(&self, keys: &[Key<'_>], act: impl FnOnce() -> Result<T>) -> Result<T> {
        let begun = Instant::now();
        let mut mine = BTreeSet::new();
        for key in keys.iter().map(|key| KeyBuf::from(*key)) {
            while !mine.contains(&key) && !self.state().locked.insert(key.clone()) {
                if begun.elapsed() > Duration::from_secs(20) {
                    self.state().locked.retain(|key| !mine.contains(key));
                    return Err(Error::Unavailable(Failure::new(NAME, "a lock was not to be had")));
                }
                thread::sleep(Duration::from_millis(1));
            }
            mine.insert(key);
            thread::sleep(Duration::from_micros(50));
        }
        let result = act();
        self.state().locked.retain(|key| !mine.contains(key));
        result
    }

    /// Holds the lock for this thread until what is given back is dropped.
    fn hold(&self) -> Held {
        let thread = thread::current().id();
        self.state().holding.push(thread);
        Held { state: Arc::clone(&self.state), thread }
    }

    /// The key that is used in place of another.
    fn key(&self, key: Key<'_>) -> Result<KeyBuf> {
        self.pass()?;
        if self.is(Fault::ListsNeighbours) && key.len() < 9 {
            listing::NEIGHBOURS.lock().unwrap().insert(KeyBuf::from(key));
        }
        if self.is(Fault::EvictsAtRandom) {
            let mut state = self.state();
            state.reads += 1;
            if state.reads.is_multiple_of(50) {
                self.inner.lock().retain(|name, _| *name != own(&key));
            }
        }
        let refused = || Error::Backend(Failure::new(NAME, "the server refused the key").at(key));
        let is_too_long = key.len() > LONGEST_KEY;
        match self.fault {
            Fault::LongKeysRefused if key.len() > 230 => return Err(refused()),
            Fault::TooLongKeysFailOtherwise if is_too_long => return Err(refused()),
            Fault::TooLongKeysWrongLimit if is_too_long => {
                return Err(Error::key_too_long(NAME, key, Key::MAX_LEN));
            }
            Fault::TooLongKeysNamedWrongly if is_too_long => {
                let named = KeyBuf::new(key.chars().take(LONGEST_KEY).collect::<String>())?;
                return Err(Error::key_too_long(NAME, named.as_key(), LONGEST_KEY));
            }
            _ => {}
        }
        let key = self.mangle_key(key);
        self.inner.fits(key.as_key())?;
        Ok(key)
    }

    fn keys(&self, keys: &[Key<'_>]) -> Result<Vec<KeyBuf>> {
        keys.iter().map(|&key| self.key(key)).collect()
    }

    /// What comes of an operation that the suite has opted out of: `act` is what it would do.
    fn opted_out<T>(&self, capability: Capability, act: impl FnOnce() -> Result<T>) -> Option<Result<T>> {
        if self.of != Some(capability) {
            return None;
        }
        match self.fault {
            Fault::OptedOutWorks => Some(act()),
            Fault::OptedOutHasEffect => Some(act().and(Err(Error::unsupported(NAME, capability)))),
            Fault::OptedOutFailsOtherwise => Some(Err(Error::Backend(Failure::new(NAME, "unknown command")))),
            _ => None,
        }
    }

    /// What a store that lacks nothing would do.
    fn whole(&self) -> Right {
        let mut whole = self.inner.clone();
        whole.config.lacking.clear();
        whole
    }
}

impl fmt::Debug for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Wrong");
        shown.field("inner", &self.inner);
        if self.is(Fault::DebugShowsValues) {
            shown.field("values", &self.inner.lock().values().map(|stored| stored.value.clone()).collect::<Vec<_>>());
        }
        if self.is(Fault::DebugShowsLastRead) {
            shown.field("buffer", &self.state().last_read);
        }
        if !self.state().shown.is_empty() {
            shown.field("last", &self.state().shown);
        }
        shown.finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would be another fault")]
impl KeyValueStore for Wrong {
    fn name(&self) -> &str {
        if self.is(Fault::NameIsEmpty) { "" } else { self.inner.name() }
    }

    fn capabilities(&self) -> Capabilities {
        let told = self.inner.capabilities();
        match self.fault {
            Fault::DeniesListing => told.to_builder().without(Capability::Listing).build(),
            Fault::CapabilitiesChange if self.state().writes > 0 => {
                told.to_builder().without(Capability::Touch).build()
            }
            Fault::CapabilitiesOfHandle if self.second => told.to_builder().without(Capability::Touch).build(),
            Fault::OptedOutPromised => self.whole().capabilities(),
            Fault::TooLongKeysTaken => told.to_builder().longest_key(LONGEST_KEY).build(),
            _ => told,
        }
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        if self.is(Fault::TooLongKeysAbsent) && key.len() > LONGEST_KEY {
            return Ok(None);
        }
        self.get(self.key(key)?.as_key())
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        self.put(Way::One, self.key(key)?.as_key(), value.into_bytes(), ttl)
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        self.pass_other()?;
        self.create(self.key(key)?.as_key(), value.into_bytes(), ttl)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.delete(self.key(key)?.as_key())
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        self.contains(self.key(key)?.as_key())
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        self.ttl(self.key(key)?.as_key())
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        self.pass_other()?;
        self.touch(self.key(key)?.as_key(), ttl)
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        self.pass()?;
        self.list_wrongly(prefix)
    }

    fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        self.pass()?;
        self.list_parts(delimiter, prefix)
    }

    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        let keys = self.keys(keys)?;
        self.get_many(&keys.iter().map(KeyBuf::as_key).collect::<Vec<_>>())
    }

    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        self.get_each(keys)
    }

    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        let keys = self.keys(&entries.iter().map(|entry| entry.key).collect::<Vec<_>>())?;
        let keys = self.mangle_keys_of_many(keys);
        if self.is(Fault::DebugShowsLastBatch) {
            self.state().shown =
                format!("{:?}", entries.iter().map(|entry| entry.value.as_bytes()).collect::<Vec<_>>());
        }
        if self.is(Fault::BatchesLockInOrder) {
            let keys = keys.iter().map(KeyBuf::as_key).collect::<Vec<_>>();
            return self.with_locked(&keys, || self.put_many(entries));
        }
        self.put_many(
            keys.iter().zip(entries).map(|(key, entry)| Entry::new(key.as_key(), entry.value, entry.ttl)).collect(),
        )
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        let keys = self.keys(keys)?;
        self.delete_many(&keys.iter().map(KeyBuf::as_key).collect::<Vec<_>>())
    }

    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.pass_other()?;
        self.copy(self.key(from)?.as_key(), self.key(to)?.as_key())
    }

    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.pass_other()?;
        if self.is(Fault::RenamesLockInOrder) {
            return self.with_locked(&[from, to], || self.rename(from, to));
        }
        self.rename(self.key(from)?.as_key(), self.key(to)?.as_key())
    }

    fn read_stream(&self, key: Key<'_>) -> Result<Option<ValueReader>> {
        self.open(self.key(key)?.as_key())
    }

    fn write_stream(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        self.put_from(self.key(key)?.as_key(), reader, ttl)
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        self.get_versioned(self.key_of_update(Fault::VersionedReadKeysLowerCased, self.key(key)?).as_key())
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        self.pass_other()?;
        let key = self.key_of_update(Fault::CreateVersionedKeysCut, self.key(key)?);
        self.create_versioned(key.as_key(), value.into_bytes(), ttl)
    }

    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        self.pass_other()?;
        self.put_if(self.key(key)?.as_key(), value.into_bytes(), ttl, version)
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        self.delete_if(self.key(key)?.as_key(), version)
    }

    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.take(self.key_of_update(Fault::TakeKeysDecoded, self.key(key)?).as_key())
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        self.pass_other()?;
        self.get_and_touch(self.key(key)?.as_key(), ttl)
    }

    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        self.increment(self.key_of_update(Fault::IncrementKeysLowerCased, self.key(key)?).as_key(), by, ttl)
    }
}
