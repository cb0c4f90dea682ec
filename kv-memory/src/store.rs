//! The store.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use kv_core::{
    Bytes, Capabilities, Capability, Error, Key, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl, Value, Version,
    add_to_counter,
};

use crate::MemoryStoreBuilder;
use crate::clock::TimeSource;
use crate::listing;
use crate::namespace::{Namespace, Room};
use crate::shard::{HashedKey, Slot, new_version};
use crate::shards::{Shards, Swept, Writing};

pub(crate) const NAME: &str = "memory";

/// The longest TTL: half of what the clock can count. The other half is for the time when the TTL begins.
pub(crate) const LONGEST_TTL: Duration = Duration::from_nanos(u64::MAX / 2);

/// A key-value store in memory. [The crate's page](crate) says what it does and what that costs.
///
/// Applications call `get`, `put` and the other methods of [`KeyValueStoreExt`](crate::KeyValueStoreExt), which has to be
/// imported.
///
/// It is a handle: a clone has the same entries, and threads share it by reference or by clones. Values are [`Bytes`]: an owned
/// value is stored without copying it, and reading a value copies nothing. Every operation of [`KeyValueStore`] on one or two
/// keys is atomic.
#[derive(Clone)]
pub struct MemoryStore {
    pub(crate) shards: Shards,
    pub(crate) clock: TimeSource,
    default_ttl: Option<Duration>,
    pub(crate) namespace: Option<Namespace>,
}

impl MemoryStore {
    /// An empty store, in which entries without a TTL stay for ever.
    pub fn new() -> Self {
        Self::default()
    }

    /// Configures a store: a default TTL, a clock for tests.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder::default()
    }

    pub(crate) fn with(clock: TimeSource, default_ttl: Option<Duration>) -> Self {
        Self { shards: Shards::new(), clock, default_ttl, namespace: None }
    }

    /// A handle to the entries of a namespace in this store: its keys are those that begin here with this name and a colon. So each of many
    /// tenants has its own keys, and no other's:
    ///
    /// ```
    /// use kv_memory::{KeyValueStore, KeyValueStoreExt, MemoryStore};
    ///
    /// let store = MemoryStore::new();
    /// let tenant = store.with_namespace("acme")?;
    /// tenant.put("greeting", "hello")?;
    /// assert_eq!(store.get("acme:greeting")?.as_deref(), Some(&b"hello"[..]));
    /// assert_eq!(tenant.capabilities().longest_key(), 245);
    /// # Ok::<(), kv_memory::Error>(())
    /// ```
    ///
    /// The prefix is part of the 250 bytes of a key, so the [longest key](Capabilities::longest_key) is shorter by it
    /// ([K5](kv_core::contract#1-keys)). In a store that has a namespace, it is a part of that one.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] if the name is empty, has a character that is no visible ASCII character, or a colon (so that `a` with
    /// `b:c` and `a:b` with `c` are not the same key), or leaves no room for a key.
    pub fn with_namespace(&self, name: &str) -> Result<Self> {
        let namespace = Some(Namespace::new(self.namespace.as_ref(), name)?);
        Ok(Self { namespace, ..self.clone() })
    }

    /// The number of live entries ([T5](kv_core::contract#4-ttls)); of a [namespace](Self::with_namespace) those in it.
    ///
    /// It is exact if nobody writes meanwhile. It [sweeps](Self::sweep) expired entries on the way. That takes several
    /// microseconds for each entry that has expired and was not swept yet. Of a namespace it lists the keys.
    pub fn len(&self) -> usize {
        if self.namespace.is_some() {
            return listing::keys(self, Prefix::EMPTY).count();
        }
        self.shards.iter().enumerate().map(|(place, shard)| self.shards.sweep(&self.clock, place, shard)).sum()
    }

    /// Whether there is no live entry. It sweeps as [`len`](Self::len) does, but stops at the first part of the store that has a
    /// live entry.
    pub fn is_empty(&self) -> bool {
        if self.namespace.is_some() {
            return listing::keys(self, Prefix::EMPTY).next().is_none();
        }
        self.shards.iter().enumerate().all(|(place, shard)| self.shards.sweep(&self.clock, place, shard) == 0)
    }

    /// Frees the memory of all entries that have expired, in every namespace.
    ///
    /// Every write does a share of that, also in parts of the store that it does not write to (see [the crate's
    /// page](crate#ttls)): about 250 000 writes, to any keys, free a million expired entries. Reads free nothing. So call this if
    /// you write to the store seldom or no longer, or need the memory at once. It works in small steps; between them other
    /// threads can use the store.
    pub fn sweep(&self) {
        for (place, shard) in self.shards.iter().enumerate() {
            self.shards.sweep(&self.clock, place, shard);
        }
    }

    /// The key in the shards, with the namespace before it.
    #[inline]
    fn hashed<'k>(&self, key: Key<'k>, room: &'k mut Room) -> Result<HashedKey<'k>> {
        let key = match &self.namespace {
            None => key,
            Some(namespace) => namespace.before(self.name(), key, room)?,
        };
        Ok(self.shards.hashed(key))
    }

    /// The TTL of a write in nanoseconds; `None` means for ever ([T1, T4](kv_core::contract#4-ttls)).
    #[inline]
    fn ttl_nanos(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<u64>> {
        let Some(ttl) = ttl.or_default(self.default_ttl) else { return Ok(None) };
        match u64::try_from(ttl.as_nanos()) {
            Ok(nanos) if ttl <= LONGEST_TTL => Ok(Some(nanos)),
            _ => Err(Error::invalid_ttl(self.name(), key, ttl, LONGEST_TTL)),
        }
    }

    /// When an entry expires that is written now with this TTL in nanoseconds.
    #[inline]
    fn deadline(&self, shard: &mut Writing<'_>, key: Key<'_>, ttl: Option<u64>) -> Result<Option<NonZeroU64>> {
        let Some(ttl) = ttl else { return Ok(None) };
        let deadline = shard.now().checked_add(ttl).and_then(NonZeroU64::new);
        let is_too_long = || Error::invalid_ttl(self.name(), key, Duration::from_nanos(ttl), LONGEST_TTL);
        deadline.map(Some).ok_or_else(is_too_long)
    }

    #[inline]
    fn write_at<const IF_ABSENT: bool>(&self, key: Key<'_>, value: Bytes, ttl: Option<u64>) -> Result<bool> {
        let mut room = Room::default();
        let hashed = self.hashed(key, &mut room)?;
        let mut swept = Swept::default();
        let mut shard = self.shards.write(&self.clock, hashed, &mut swept);
        let deadline = self.deadline(&mut shard, key, ttl)?;
        if IF_ABSENT && shard.live(hashed).is_some() {
            shard.end();
            return Ok(false);
        }
        let replaced = shard.put(hashed, value, deadline);
        shard.end();
        // After the lock, because a value may be large, and dropping it may run the caller's code.
        drop(replaced);
        Ok(true)
    }

    /// Removes an entry if this is true of it, and returns its value if it was live.
    fn remove_at(
        &self,
        key: Key<'_>,
        is_it: impl FnOnce(&Writing<'_>, HashedKey<'_>) -> bool,
    ) -> Result<Option<Bytes>> {
        let mut room = Room::default();
        let hashed = self.hashed(key, &mut room)?;
        let mut swept = Swept::default();
        let mut shard = self.shards.write(&self.clock, hashed, &mut swept);
        let removed = if is_it(&shard, hashed) { shard.remove(hashed) } else { None };
        let was_live = removed.as_ref().is_some_and(|slot| shard.is_live(slot));
        shard.end();
        Ok(removed.filter(|_| was_live).map(|slot| slot.value))
    }

    /// Copies or moves an entry while the parts of both keys are locked.
    fn transfer(&self, from: Key<'_>, to: Key<'_>, keep: bool) -> Result<()> {
        let mut rooms = <[Room; 2]>::default();
        let [room_from, room_to] = &mut rooms;
        let (hashed_from, hashed_to) = (self.hashed(from, room_from)?, self.hashed(to, room_to)?);
        let mut swept = <[Swept; 2]>::default();
        let (mut source, mut target) = self.shards.write_two(&self.clock, [hashed_from, hashed_to], &mut swept);
        let Some(slot) = source.live(hashed_from) else { return Err(Error::not_found(self.name(), from)) };
        let (value, deadline) = (slot.value.clone(), slot.deadline);
        let replaced = target.as_mut().unwrap_or(&mut source).put(hashed_to, value, deadline);
        let moved = if keep { None } else { source.remove(hashed_from) };
        if let Some(target) = target {
            target.release();
        }
        source.end();
        drop((replaced, moved));
        Ok(())
    }
}

/// As [`MemoryStore::new`].
impl Default for MemoryStore {
    fn default() -> Self {
        Self::with(TimeSource::default(), None)
    }
}

/// Shows the configuration, and neither keys nor values ([E3](kv_core::contract#9-errors)).
impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MemoryStore");
        shown.field("default_ttl", &self.default_ttl);
        if let Some(namespace) = &self.namespace {
            shown.field("namespace", namespace);
        }
        shown.finish_non_exhaustive()
    }
}

/// Every operation on one or two keys is atomic; an operation on several keys is a loop. The only errors are
/// [`Error::InvalidTtl`], [`Error::NotFound`], [`Error::NotACounter`], and in a namespace [`Error::KeyTooLong`].
impl KeyValueStore for MemoryStore {
    /// `"memory"`; with a namespace `"memory (namespace acme)"`.
    fn name(&self) -> &str {
        self.namespace.as_ref().map_or(NAME, Namespace::label)
    }

    /// Everything, with exact TTLs of up to about 292 years and values of any size. In a namespace keys are shorter by its prefix
    /// ([O1](kv_core::contract#11-capabilities-and-opt-outs)).
    fn capabilities(&self) -> Capabilities {
        use Capability::{
            Contains, Copy, Counters, Create, ExactVersions, Listing, Take, Touch, TouchingReads, TtlReading, Ttls,
            Versions,
        };
        let all = [
            Listing,
            Contains,
            Create,
            Ttls,
            TtlReading,
            Touch,
            Copy,
            Versions,
            ExactVersions,
            Take,
            TouchingReads,
            Counters,
        ];
        let longest_key = self.namespace.as_ref().map_or(Key::MAX_LEN, Namespace::longest_key);
        Capabilities::builder().with_all(&all).longest_ttl(LONGEST_TTL).longest_key(longest_key).build()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        let mut room = Room::default();
        let key = self.hashed(key, &mut room)?;
        let shard = self.shards.read(key);
        Ok(shard.find(key).filter(|slot| slot.is_live_by(&self.clock)).map(|slot| slot.value.clone()))
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        match self.ttl_nanos(key, ttl)? {
            Some(0) => self.remove(key).map(drop),
            ttl => self.write_at::<false>(key, value.into_bytes(), ttl).map(drop),
        }
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        match self.ttl_nanos(key, ttl)? {
            Some(0) => self.exists(key).map(|exists| !exists),
            ttl => self.write_at::<true>(key, value.into_bytes(), ttl),
        }
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        Ok(self.remove_at(key, |_, _| true)?.is_some())
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        let mut room = Room::default();
        let key = self.hashed(key, &mut room)?;
        Ok(self.shards.read(key).find(key).is_some_and(|slot| slot.is_live_by(&self.clock)))
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        let mut room = Room::default();
        let key = self.hashed(key, &mut room)?;
        let shard = self.shards.read(key);
        Ok(shard.find(key).and_then(|slot| match slot.deadline {
            None => Some(Remaining::Forever),
            Some(deadline) => {
                let left = deadline.get().saturating_sub(self.clock.now());
                (left > 0).then_some(Remaining::For(Duration::from_nanos(left)))
            }
        }))
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        let ttl = self.ttl_nanos(key, ttl)?;
        if ttl == Some(0) {
            return self.remove(key);
        }
        let mut room = Room::default();
        let hashed = self.hashed(key, &mut room)?;
        let mut swept = Swept::default();
        let mut shard = self.shards.write(&self.clock, hashed, &mut swept);
        let deadline = self.deadline(&mut shard, key, ttl)?;
        let is_live = shard.live(hashed).is_some();
        if is_live {
            shard.set_deadline(hashed, deadline);
        }
        shard.end();
        Ok(is_live)
    }

    /// Lists the 128 parts of the store one after the other; the keys within a part are in order.
    ///
    /// Memory: a page of 256 keys, whose texts are shared with the store ([L4](kv_core::contract#5-listing)). A part is locked
    /// for reading while a page is filled, and not while keys are yielded ([L2](kv_core::contract#5-listing)). An entry that
    /// expires after its page was filled may still be yielded.
    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        Ok(Keys::new(listing::keys(self, prefix)))
    }

    /// Skips the other keys that share a yielded part, so the cost depends on what it yields. Memory: as [`list`](Self::list),
    /// and each part that it has yielded.
    fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        Ok(Keys::new(listing::parts(self, delimiter, prefix)))
    }

    /// Atomic. The copy shares the value, and expires at the same moment ([C1](kv_core::contract#7-copy-and-rename)).
    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.transfer(from, to, true)
    }

    /// Atomic: at every moment the entry is at exactly one of the two keys ([C2](kv_core::contract#7-copy-and-rename)).
    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.transfer(from, to, false)
    }

    /// The first time after a write, this locks the part of the key as a write does, and gives the entry a version.
    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        let mut room = Room::default();
        let hashed = self.hashed(key, &mut room)?;
        let content = |slot: &Slot| (slot.value.clone(), slot.key.clone());
        let shard = self.shards.read(hashed);
        let Some(slot) = shard.find(hashed).filter(|slot| slot.is_live_by(&self.clock)) else { return Ok(None) };
        if let Some(version) = shard.known_version(hashed) {
            let (value, key) = content(slot);
            return Ok(Some((value, Version::of_number(key, version))));
        }
        drop(shard);
        let mut swept = Swept::default();
        let mut shard = self.shards.write(&self.clock, hashed, &mut swept);
        let read = shard.live(hashed).map(content).map(|content| (content, shard.version(hashed)));
        shard.end();
        Ok(read.map(|((value, key), version)| (value, Version::of_number(key, version))))
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        let ttl = self.ttl_nanos(key, ttl)?;
        if ttl == Some(0) {
            return Ok((!self.exists(key)?).then(|| Version::of_number(key, new_version())));
        }
        let mut room = Room::default();
        let hashed = self.hashed(key, &mut room)?;
        let mut swept = Swept::default();
        let mut shard = self.shards.write(&self.clock, hashed, &mut swept);
        let deadline = self.deadline(&mut shard, key, ttl)?;
        if shard.live(hashed).is_some() {
            shard.end();
            return Ok(None);
        }
        let replaced = shard.put(hashed, value.into_bytes(), deadline);
        let version = shard.version(hashed);
        // The version shares the text of the entry's key.
        let key = shard.live(hashed).map(|slot| slot.key.clone());
        shard.end();
        drop(replaced);
        Ok(Some(Version::of_number(key.unwrap_or_else(|| hashed.key.into()), version)))
    }

    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        let ttl = self.ttl_nanos(key, ttl)?;
        if ttl == Some(0) {
            return Ok(self.remove_if_version(key, version)?.then(|| Version::of_number(key, new_version())));
        }
        let mut room = Room::default();
        let hashed = self.hashed(key, &mut room)?;
        let Some(number) = version.number_at(hashed.key) else { return Ok(None) };
        let value = value.into_bytes();
        let mut swept = Swept::default();
        let mut shard = self.shards.write(&self.clock, hashed, &mut swept);
        let deadline = self.deadline(&mut shard, key, ttl)?;
        let replaced = shard.replace(hashed, number, value, deadline);
        shard.end();
        Ok(replaced.map(|(key, version, _)| Version::of_number(key, version)))
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        let is_it = |shard: &Writing<'_>, hashed: HashedKey<'_>| {
            version.number_at(hashed.key).is_some_and(|number| shard.is_version(hashed, number))
        };
        Ok(self.remove_at(key, is_it)?.is_some())
    }

    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.remove_at(key, |_, _| true)
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        let ttl = self.ttl_nanos(key, ttl)?;
        if ttl == Some(0) {
            return self.read_and_remove(key);
        }
        let mut room = Room::default();
        let hashed = self.hashed(key, &mut room)?;
        let mut swept = Swept::default();
        let mut shard = self.shards.write(&self.clock, hashed, &mut swept);
        let deadline = self.deadline(&mut shard, key, ttl)?;
        let value = shard.live(hashed).map(|slot| slot.value.clone());
        if value.is_some() {
            shard.set_deadline(hashed, deadline);
        }
        shard.end();
        Ok(value)
    }

    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        let ttl = self.ttl_nanos(key, ttl)?;
        let mut room = Room::default();
        let hashed = self.hashed(key, &mut room)?;
        let mut swept = Swept::default();
        let mut shard = self.shards.write(&self.clock, hashed, &mut swept);
        // With a zero TTL nothing new is stored.
        let deadline = if ttl == Some(0) { None } else { self.deadline(&mut shard, key, ttl)? };
        let old = shard.live(hashed).map(|slot| (add_to_counter(&slot.value, by), slot.deadline));
        let (sum, deadline) = old.unwrap_or((Ok(by.into()), deadline));
        let sum = sum.map_err(|fault| Error::not_a_counter(self.name(), key, fault))?;
        let replaced = if old.is_none() && ttl == Some(0) {
            None
        } else {
            shard.put(hashed, Bytes::from(sum.to_string()), deadline)
        };
        shard.end();
        drop(replaced);
        Ok(sum)
    }
}
