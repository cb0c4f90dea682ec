//! A store that keeps the contract, with every method of its own, so that a wrong store can break each one of them.

mod updating;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kv_core::{
    Bytes, Capabilities, Capability, Entry, Error, Key, KeyBuf, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl,
    Value, ValueReader, Version,
};

pub(crate) use updating::new_version;

/// What the store is called in errors.
pub(crate) const NAME: &str = "right";

/// The length of the longest key, unless it is another: as if something stood before it.
pub(crate) const LONGEST_KEY: usize = 240;

/// How many keys a listing reads at a time. Between two pages the lock is free.
pub(crate) const PAGE: usize = 50;

/// The time of a store.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// Stands still unless it is advanced.
    Manual(Arc<Mutex<Duration>>),
    /// Runs.
    Real(Instant),
}

impl Clock {
    pub(crate) fn manual() -> Self {
        Self::Manual(Arc::default())
    }

    pub(crate) fn real() -> Self {
        Self::Real(Instant::now())
    }

    pub(crate) fn now(&self) -> Duration {
        match self {
            Self::Manual(now) => *lock(now),
            Self::Real(start) => start.elapsed(),
        }
    }

    pub(crate) fn advance(&self, by: Duration) {
        if let Self::Manual(now) = self {
            *lock(now) += by;
        }
    }
}

/// What a store is like.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) clock: Clock,
    pub(crate) default_ttl: Option<Duration>,
    pub(crate) longest_key: usize,
    pub(crate) largest_value: Option<u64>,
    pub(crate) longest_ttl: Duration,
    /// TTLs end at a multiple of this. Zero is exact.
    pub(crate) resolution: Duration,
    pub(crate) lacking: Vec<Capability>,
}

impl Config {
    /// A store with limits, which more checks look at than at one without, and a time that is advanced by hand.
    pub(crate) fn new() -> Self {
        Self {
            clock: Clock::manual(),
            default_ttl: None,
            longest_key: LONGEST_KEY,
            largest_value: Some(150_000),
            longest_ttl: Duration::from_secs(100 * 365 * 24 * 60 * 60),
            resolution: Duration::ZERO,
            lacking: Vec::new(),
        }
    }
}

/// What is at a name.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) value: Bytes,
    /// When it expires.
    pub(crate) end: Option<Duration>,
    /// No two entries ever have the same.
    pub(crate) version: u64,
}

impl Stored {
    pub(crate) fn new(value: Bytes, end: Option<Duration>) -> Self {
        Self { value, end, version: new_version() }
    }
}

/// Names and what is at them: those of this store, which begin with [`OWN`], and others'.
pub(crate) type Map = BTreeMap<String, Stored>;

/// How the names of this store begin. The space keeps them apart from any key.
pub(crate) const OWN: &str = "own ";

pub(crate) fn own(key: &str) -> String {
    format!("{OWN}{key}")
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A right store. A clone is another handle on the same data.
#[derive(Clone)]
pub(crate) struct Right {
    pub(crate) config: Config,
    pub(crate) map: Arc<Mutex<Map>>,
}

impl Right {
    pub(crate) fn new(config: Config) -> Self {
        Self { config, map: Arc::default() }
    }

    pub(crate) fn now(&self) -> Duration {
        self.config.clock.now()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Map> {
        lock(&self.map)
    }

    pub(crate) fn is_live(&self, stored: &Stored) -> bool {
        stored.end.is_none_or(|end| self.now() < end)
    }

    /// A live entry.
    pub(crate) fn live<'a>(&self, map: &'a Map, key: &str) -> Option<&'a Stored> {
        map.get(&own(key)).filter(|stored| self.is_live(stored))
    }

    /// Whether there is a live entry, also for a store that does not tell.
    pub(crate) fn exists_whole(&self, key: Key<'_>) -> bool {
        self.live(&self.lock(), &key).is_some()
    }

    /// Puts names beside the store's own: another store's, and some that are not keys.
    pub(crate) fn plant(&self) {
        let mut map = self.lock();
        for name in ["another a", "another b", "own", "own not a key", "own ", "", "\u{fc}", "zzz"] {
            map.insert(name.to_owned(), Stored::new(Bytes::from_static(b"foreign"), None));
        }
    }

    pub(crate) fn need(&self, capability: Capability) -> Result<()> {
        if self.capabilities().supports(capability) { Ok(()) } else { Err(Error::unsupported(NAME, capability)) }
    }

    pub(crate) fn fits(&self, key: Key<'_>) -> Result<()> {
        self.capabilities().check_key(NAME, key)
    }

    /// Whether this can be written; when it expires then. Zero is at once.
    pub(crate) fn check(&self, key: Key<'_>, size: usize, ttl: Ttl) -> Result<Option<Duration>> {
        self.fits(key)?;
        if matches!(ttl, Ttl::After(_)) {
            self.need(Capability::Ttls)?;
        }
        if let Some(limit) = self.config.largest_value.filter(|limit| size as u64 > *limit) {
            return Err(Error::value_too_large(NAME, key, size as u64, limit));
        }
        match ttl.or_default(self.config.default_ttl) {
            None => Ok(None),
            Some(ttl) if ttl > self.config.longest_ttl => {
                Err(Error::invalid_ttl(NAME, key, ttl, self.config.longest_ttl))
            }
            Some(ttl) if ttl.is_zero() => Ok(Some(Duration::ZERO)),
            Some(ttl) => Ok(Some(self.round_up(self.now().saturating_add(ttl)))),
        }
    }

    fn round_up(&self, end: Duration) -> Duration {
        let resolution = self.config.resolution.as_nanos();
        let late = if resolution == 0 { 0 } else { end.as_nanos() % resolution };
        if late == 0 { end } else { end.saturating_add(nanoseconds(resolution - late)) }
    }

    /// Puts what was [checked](Self::check) already.
    pub(crate) fn insert(map: &mut Map, key: Key<'_>, value: Bytes, end: Option<Duration>) {
        if end == Some(Duration::ZERO) {
            map.remove(&own(&key));
        } else {
            map.insert(own(&key), Stored::new(value, end));
        }
    }

    pub(crate) fn take(&self, map: &mut Map, key: Key<'_>) -> Option<Stored> {
        map.remove(&own(&key)).filter(|stored| self.is_live(stored))
    }

    /// The next keys of a listing, after this one.
    fn page(&self, prefix: &str, after: Option<&str>) -> Vec<KeyBuf> {
        let prefix = own(prefix);
        let begin = after.map_or(Bound::Included(prefix.clone()), |after| Bound::Excluded(own(after)));
        let map = self.lock();
        let names = map.range((begin, Bound::Unbounded)).take_while(|(name, _)| name.starts_with(&prefix));
        let keys = names.filter(|(_, stored)| self.is_live(stored)).filter_map(|(name, _)| {
            let key = name.strip_prefix(OWN)?;
            KeyBuf::new(key).ok()
        });
        keys.take(PAGE).collect()
    }

    /// A listing, page by page.
    fn pages(&self, prefix: &str) -> impl Iterator<Item = KeyBuf> + Send + '_ {
        let prefix = prefix.to_owned();
        let mut after: Option<KeyBuf> = None;
        let mut page = Vec::new().into_iter();
        std::iter::from_fn(move || {
            if page.len() == 0 {
                page = self.page(&prefix, after.as_deref()).into_iter();
            }
            let key = page.next()?;
            after = Some(key.clone());
            Some(key)
        })
    }
}

fn nanoseconds(count: u128) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap_or(u64::MAX))
}

/// What `list_prefixes` makes of a key.
pub(crate) fn part(key: &KeyBuf, delimiter: &str, begin: usize) -> KeyBuf {
    let end = key.get(begin..).and_then(|rest| rest.find(delimiter)).map(|at| begin + at + delimiter.len());
    end.and_then(|end| KeyBuf::new(key.get(..end)?).ok()).unwrap_or_else(|| key.clone())
}

impl fmt::Debug for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Right").field("config", &self.config).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods, reason = "a default is nothing that a wrong store can break by itself")]
impl KeyValueStore for Right {
    fn name(&self) -> &str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        let Config { longest_key, largest_value, longest_ttl, resolution, lacking, .. } = &self.config;
        let mut builder = Capabilities::builder()
            .with_all(Capability::ALL)
            .longest_key(*longest_key)
            .longest_ttl(*longest_ttl)
            .ttl_resolution(*resolution);
        if let Some(limit) = *largest_value {
            builder = builder.largest_value(limit);
        }
        lacking.iter().fold(builder, |builder, &capability| builder.without(capability)).build()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.fits(key)?;
        Ok(self.live(&self.lock(), &key).map(|stored| stored.value.clone()))
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        let end = self.check(key, value.len(), ttl)?;
        Self::insert(&mut self.lock(), key, value.into_bytes(), end);
        Ok(())
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        self.need(Capability::Create)?;
        let end = self.check(key, value.len(), ttl)?;
        let mut map = self.lock();
        let absent = self.live(&map, &key).is_none();
        if absent {
            Self::insert(&mut map, key, value.into_bytes(), end);
        }
        Ok(absent)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.fits(key)?;
        Ok(self.take(&mut self.lock(), key).is_some())
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        self.need(Capability::Contains)?;
        self.fits(key)?;
        Ok(self.live(&self.lock(), &key).is_some())
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        self.need(Capability::TtlReading)?;
        self.fits(key)?;
        let now = self.now();
        let left = |end: Duration| Remaining::For(end.saturating_sub(now));
        Ok(self.live(&self.lock(), &key).map(|stored| stored.end.map_or(Remaining::Forever, left)))
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        self.need(Capability::Touch)?;
        Ok(self.get_and_touch(key, ttl)?.is_some())
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        self.need(Capability::Listing)?;
        Ok(Keys::new(self.pages(&prefix).map(Ok)))
    }

    fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        self.need(Capability::Listing)?;
        let (delimiter, begin) = (delimiter.to_key_buf(), prefix.len());
        let mut seen = std::collections::BTreeSet::new();
        let parts = self.pages(&prefix).map(move |key| part(&key, &delimiter, begin));
        Ok(Keys::new(parts.filter(move |part| seen.insert(part.clone())).map(Ok)))
    }

    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        keys.iter().try_for_each(|&key| self.fits(key))?;
        let map = self.lock();
        Ok(keys.iter().map(|key| self.live(&map, key).map(|stored| stored.value.clone())).collect())
    }

    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        keys.iter().map(|&key| self.read(key)).collect()
    }

    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        entries.into_iter().try_for_each(|entry| self.write(entry.key, entry.value, entry.ttl))
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        keys.iter().try_for_each(|&key| self.fits(key))?;
        let mut map = self.lock();
        Ok(keys.iter().map(|&key| self.take(&mut map, key).is_some()).collect())
    }

    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.need(Capability::Copy)?;
        self.fits(from)?;
        self.fits(to)?;
        let mut map = self.lock();
        let stored = self.live(&map, &from).cloned().ok_or_else(|| Error::not_found(NAME, from))?;
        map.insert(own(&to), Stored::new(stored.value, stored.end));
        Ok(())
    }

    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.need(Capability::Copy)?;
        self.fits(from)?;
        self.fits(to)?;
        let mut map = self.lock();
        let stored = self.take(&mut map, from).ok_or_else(|| Error::not_found(NAME, from))?;
        map.insert(own(&to), Stored::new(stored.value, stored.end));
        Ok(())
    }

    fn read_stream(&self, key: Key<'_>) -> Result<Option<ValueReader>> {
        Ok(self.read(key)?.map(ValueReader::from))
    }

    fn write_stream(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        self.check(key, 0, ttl)?;
        let value = read_all(self.config.largest_value, key, reader)?;
        self.write(key, value.into(), ttl)
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        self.need(Capability::Versions)?;
        self.fits(key)?;
        Ok(self.live(&self.lock(), &key).map(|stored| (stored.value.clone(), self.version(key, stored))))
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        self.need(Capability::Versions)?;
        self.need(Capability::Create)?;
        let end = self.check(key, value.len(), ttl)?;
        let mut map = self.lock();
        Ok(self.live(&map, &key).is_none().then(|| self.insert_versioned(&mut map, key, value.into_bytes(), end)))
    }

    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        self.need(Capability::Versions)?;
        let end = self.check(key, value.len(), ttl)?;
        let mut map = self.lock();
        let holds = self.holds(&map, key, version);
        Ok(holds.then(|| self.insert_versioned(&mut map, key, value.into_bytes(), end)))
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        self.need(Capability::Versions)?;
        self.fits(key)?;
        let mut map = self.lock();
        Ok(self.holds(&map, key, version) && self.take(&mut map, key).is_some())
    }

    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.need(Capability::Take)?;
        self.fits(key)?;
        Ok(self.take(&mut self.lock(), key).map(|stored| stored.value))
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        self.need(Capability::TouchingReads)?;
        self.get_and_touch(key, ttl)
    }

    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        self.need(Capability::Counters)?;
        let end = self.check(key, 0, ttl)?;
        let mut map = self.lock();
        let old = self.live(&map, &key).map(|stored| (stored.value.clone(), stored.end));
        let (sum, end) = match old {
            Some((value, end)) => (updating::sum(key, &value, by)?, end),
            None => (by.into(), end),
        };
        Self::insert(&mut map, key, sum.to_string().into(), end);
        Ok(sum)
    }
}

/// All that a reader gives, or enough of it to know that it is too much.
pub(crate) fn read_all(limit: Option<u64>, key: Key<'_>, reader: &mut dyn Read) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    let most = limit.map_or(u64::MAX, |limit| limit + 1);
    let read = reader.take(most).read_to_end(&mut value);
    read.map_err(|error| Error::io(key, "reading the value to be stored", error))?;
    Ok(value)
}
