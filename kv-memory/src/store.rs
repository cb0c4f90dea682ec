//! The store.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use kv_core::{Bytes, Capabilities, Error, Key, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl, Value};

use crate::MemoryStoreBuilder;
use crate::clock::TimeSource;
use crate::listing;
use crate::shards::{Shards, Swept, Writing};

const NAME: &str = "memory";

/// The longest lifetime: half of what the clock can count, which leaves the other half for its start.
const LONGEST_TTL: Duration = Duration::from_nanos(u64::MAX / 2);

/// A key-value store in memory. See [the crate](crate) for what it does and what that costs.
///
/// `get`, `put` and all the others that applications use are methods of [`KeyValueStoreExt`](crate::KeyValueStoreExt),
/// which has to be imported.
///
/// It is shared by threads by reference or in an [`Arc`](std::sync::Arc). Values are [`Bytes`]: owned ones are stored as
/// they are, and reading one copies nothing. Every operation of [`KeyValueStore`] on one or two keys is atomic.
pub struct MemoryStore {
    pub(crate) shards: Shards,
    pub(crate) clock: TimeSource,
    default_ttl: Option<Duration>,
}

impl MemoryStore {
    /// An empty store, in which entries live for ever unless they are given a lifetime.
    pub fn new() -> Self {
        Self::default()
    }

    /// Configures a store: a default lifetime, a clock for tests.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder::default()
    }

    pub(crate) fn with(clock: TimeSource, default_ttl: Option<Duration>) -> Self {
        Self { shards: Shards::new(), clock, default_ttl }
    }

    /// How many live entries there are (T5).
    ///
    /// Exact if nobody writes meanwhile. What has expired is [swept](Self::sweep) on the way, which takes its time where many
    /// entries have expired since the last writes: some microseconds for each.
    pub fn len(&self) -> usize {
        self.shards.iter().enumerate().map(|(place, shard)| self.shards.sweep(&self.clock, place, shard)).sum()
    }

    /// Whether there is no live entry. As [`len`](Self::len), but stops at the first part of the store that has one.
    pub fn is_empty(&self) -> bool {
        self.shards.iter().enumerate().all(|(place, shard)| self.shards.sweep(&self.clock, place, shard) == 0)
    }

    /// Frees the memory of all that has expired by now.
    ///
    /// Every write does its share of that, also in the parts of the store that it does not write to (see [the
    /// crate](crate#lifetimes)): after a million entries have expired, some 250 000 writes, to whatever keys, have freed them. Reads
    /// free nothing. So this is for a store that is written to seldom or no more, or whose memory is needed at once. It works in
    /// small steps, between which others get their turn.
    pub fn sweep(&self) {
        for (place, shard) in self.shards.iter().enumerate() {
            self.shards.sweep(&self.clock, place, shard);
        }
    }

    /// What a write with this lifetime is to give its entry, in nanoseconds; `None` is for ever (T1, T4).
    #[inline]
    fn lifetime(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<u64>> {
        let Some(ttl) = ttl.or_default(self.default_ttl) else { return Ok(None) };
        match u64::try_from(ttl.as_nanos()) {
            Ok(nanos) if ttl <= LONGEST_TTL => Ok(Some(nanos)),
            _ => Err(Error::invalid_ttl(NAME, key, ttl, LONGEST_TTL)),
        }
    }

    #[inline]
    fn write_at<const IF_ABSENT: bool>(&self, key: Key<'_>, value: Bytes, lifetime: Option<u64>) -> Result<bool> {
        let hashed = self.shards.hashed(key);
        let mut swept = Swept::default();
        let mut shard = self.shards.write(&self.clock, hashed, &mut swept);
        let deadline = deadline(&mut shard, key, lifetime)?;
        if IF_ABSENT && shard.live(hashed).is_some() {
            shard.end();
            return Ok(false);
        }
        let replaced = shard.put(hashed, value, deadline);
        shard.end();
        // After the lock, as a value may be large and its drop may run the code of who made it.
        drop(replaced);
        Ok(true)
    }

    /// Copies or moves an entry while the parts of both keys are locked.
    fn transfer(&self, from: Key<'_>, to: Key<'_>, keep: bool) -> Result<()> {
        let keys = [from, to].map(|key| self.shards.hashed(key));
        let [hashed_from, hashed_to] = keys;
        let mut swept = <[Swept; 2]>::default();
        let (mut source, mut target) = self.shards.write_two(&self.clock, keys, &mut swept);
        let Some(slot) = source.live(hashed_from) else { return Err(Error::not_found(NAME, from)) };
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

/// When an entry that is written now with this lifetime ends.
#[inline]
fn deadline(shard: &mut Writing<'_>, key: Key<'_>, lifetime: Option<u64>) -> Result<Option<NonZeroU64>> {
    let Some(lifetime) = lifetime else { return Ok(None) };
    let deadline = shard.now().checked_add(lifetime).and_then(NonZeroU64::new);
    deadline.map(Some).ok_or_else(|| Error::invalid_ttl(NAME, key, Duration::from_nanos(lifetime), LONGEST_TTL))
}

/// As [`MemoryStore::new`].
impl Default for MemoryStore {
    fn default() -> Self {
        Self::with(TimeSource::default(), None)
    }
}

/// Shows how it is configured, and neither keys nor values (E3).
impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("default_ttl", &self.default_ttl).finish_non_exhaustive()
    }
}

/// Every operation on one or two keys is atomic; those on several are a loop over it. The only errors are
/// [`Error::InvalidTtl`] and [`Error::NotFound`].
impl KeyValueStore for MemoryStore {
    /// `"memory"`.
    fn name(&self) -> &str {
        NAME
    }

    /// Everything, with exact lifetimes of up to about 292 years and values of any size (O1).
    fn capabilities(&self) -> Capabilities {
        Capabilities::builder().longest_ttl(LONGEST_TTL).build()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        let key = self.shards.hashed(key);
        let shard = self.shards.read(key);
        Ok(shard.find(key).filter(|slot| slot.is_live_by(&self.clock)).map(|slot| slot.value.clone()))
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        match self.lifetime(key, ttl)? {
            Some(0) => self.remove(key).map(drop),
            lifetime => self.write_at::<false>(key, value.into_bytes(), lifetime).map(drop),
        }
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        match self.lifetime(key, ttl)? {
            Some(0) => self.exists(key).map(|exists| !exists),
            lifetime => self.write_at::<true>(key, value.into_bytes(), lifetime),
        }
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        let key = self.shards.hashed(key);
        let mut swept = Swept::default();
        let mut shard = self.shards.write(&self.clock, key, &mut swept);
        let removed = shard.remove(key);
        let was_live = removed.as_ref().is_some_and(|slot| shard.is_live(slot));
        shard.end();
        drop(removed);
        Ok(was_live)
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        let key = self.shards.hashed(key);
        Ok(self.shards.read(key).find(key).is_some_and(|slot| slot.is_live_by(&self.clock)))
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        let key = self.shards.hashed(key);
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
        let lifetime = self.lifetime(key, ttl)?;
        if lifetime == Some(0) {
            return self.remove(key);
        }
        let hashed = self.shards.hashed(key);
        let mut swept = Swept::default();
        let mut shard = self.shards.write(&self.clock, hashed, &mut swept);
        let deadline = deadline(&mut shard, key, lifetime)?;
        let is_there = shard.live(hashed).is_some();
        if is_there {
            shard.set_deadline(hashed, deadline);
        }
        shard.end();
        Ok(is_there)
    }

    /// In the order of the keys within each of the 128 parts of the store, which come one after the other.
    ///
    /// Memory: a page of 256 keys, which are shared with the store (L4). The part that is being listed is locked for
    /// reading while a page is filled, and not while keys are yielded (L2). An entry that expires after its page was
    /// filled may still come.
    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        Ok(Keys::new(listing::keys(self, prefix)))
    }

    /// Costs what it yields: the other keys that share a part are skipped. Memory: as [`list`](Self::list), and each part
    /// that has been yielded.
    fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        Ok(Keys::new(listing::parts(self, delimiter, prefix)))
    }

    /// Atomic: nobody sees one without the other. The value is shared, not copied, and so is the deadline (C1).
    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.transfer(from, to, true)
    }

    /// Atomic: at every moment the entry is at exactly one of the two keys (C2).
    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.transfer(from, to, false)
    }
}
