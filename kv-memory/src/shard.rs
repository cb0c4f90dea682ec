//! One part of a store: its entries, their order and their deadlines.
//!
//! Invariants of a [`Shard`]:
//!
//! - `index` has the key of each slot of `table`, and no other key;
//! - each hash in `versions` is that of a key with a slot in `table`;
//! - `queue` has one item for each slot that has a deadline, at `slot.queued`, and no other item;
//! - `slot.queued` is never later than `slot.deadline`.
//!
//! The last invariant makes extending a TTL cheap: the item stays where it is, too early, and the sweep that finds it moves
//! it.
//!
//! # Why expired entries are few
//!
//! A *live* slot has not expired; a *dead* slot has expired and was not swept yet. A sweep step takes the first item of the
//! queue if it is due, that is, if `queued <= now`. If the slot is dead, the step removes it; otherwise it moves the item to
//! the slot's deadline. Every write first does up to four steps. Claim: the number of dead slots is at most 5/4 L, where L is
//! the greatest number of slots that were live at once.
//!
//! Let the *work* be the number of steps that it would take to remove all slots that have a deadline: one for each, and one
//! more for each live slot whose item is too early. A write adds at most one to the work (a new slot, or an item that becomes
//! too early), and a step takes away at least one.
//!
//! Consider the last moment at which no item was due. No slot was dead then, so there were at most L slots and at most 2 L
//! work. In each of the `w` writes since then, some item was still due after its steps, so the write did all four. The work
//! is now at most 2 L + w - 4 w, and each dead slot is at least one of it. Also, each slot that is dead now was live at that
//! moment or was written since then: there are at most L + w. So there are at most min(2 L - 3 w, L + w) dead slots, which is
//! largest for w = L / 4: 5/4 L.

use std::collections::btree_set::Range;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::mem;
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use foldhash::fast::RandomState;
use kv_core::{Bytes, Key, KeyBuf};

use crate::clock::TimeSource;
use crate::table::Table;

/// A key and its hash. An operation computes the hash once.
#[derive(Clone, Copy)]
pub(crate) struct HashedKey<'k> {
    pub(crate) key: Key<'k>,
    pub(crate) hash: u64,
}

impl<'k> HashedKey<'k> {
    #[inline]
    pub(crate) fn new(hasher: &RandomState, key: Key<'k>) -> Self {
        Self { key, hash: hasher.hash_one(key.as_str()) }
    }
}

/// An entry. Times are nanoseconds of the store's clock.
///
/// It fills a cache line, and because of its alignment it never spans two.
#[repr(align(64))]
pub(crate) struct Slot {
    pub(crate) key: KeyBuf,
    pub(crate) value: Bytes,
    pub(crate) deadline: Option<NonZeroU64>,
    queued: Option<NonZeroU64>,
}

impl Slot {
    pub(crate) fn new(key: KeyBuf, value: Bytes) -> Self {
        Self { key, value, deadline: None, queued: None }
    }

    /// Whether the entry is live ([T5](kv_core::contract#4-ttls)). It reads the clock only if the entry has a deadline.
    #[inline]
    pub(crate) fn is_live(&self, now: impl FnOnce() -> u64) -> bool {
        self.deadline.is_none_or(|deadline| deadline.get() > now())
    }

    /// The same by a clock. This is cheaper if the caller does not need the time.
    #[inline]
    pub(crate) fn is_live_by(&self, clock: &TimeSource) -> bool {
        self.deadline.is_none_or(|deadline| clock.is_before(deadline))
    }
}

/// The result of a sweep step.
pub(crate) enum Step {
    /// Nothing is due.
    Idle,
    /// The item of a live entry was too early.
    Requeued,
    /// A dead entry. The caller drops it.
    Removed(Slot),
}

/// See the documentation of the module.
pub(crate) struct Shard {
    table: Table,
    index: BTreeSet<KeyBuf>,
    queue: BTreeSet<(NonZeroU64, KeyBuf)>,
    /// The versions that were asked for, of entries that have not changed since, by the hashes of their keys. So who never asks for one pays
    /// nothing. Two keys with the same 64 bits share a version: then a change of one also ends the other's, which is never taken for valid.
    versions: Versions,
    /// The number of writes so far.
    writes: usize,
}

impl Shard {
    /// An empty shard: number `number` of `shards`.
    pub(crate) fn of(number: usize, shards: usize) -> Self {
        Self::with(Table::of_part(number, shards))
    }

    fn with(table: Table) -> Self {
        Self { table, index: BTreeSet::new(), queue: BTreeSet::new(), versions: HashMap::default(), writes: 0 }
    }

    /// Takes all entries.
    pub(crate) fn take(&mut self) -> Self {
        let empty = Self::with(self.table.as_empty());
        mem::replace(self, empty)
    }

    /// The number of entries, dead ones included.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether any entry has a deadline. If none has, all entries are live at any time.
    #[inline]
    pub(crate) fn has_deadlines(&self) -> bool {
        !self.queue.is_empty()
    }

    /// When the first entry is due; `u64::MAX` if none ever is.
    #[inline]
    pub(crate) fn first_due(&self) -> u64 {
        self.queue.first().map_or(u64::MAX, |(at, _)| at.get())
    }

    /// Counts a write; returns its number.
    #[inline]
    pub(crate) fn count_write(&mut self) -> usize {
        self.writes = self.writes.wrapping_add(1);
        self.writes
    }

    /// All entries, dead ones included.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.table.iter()
    }

    /// The keys of a range in order, including those of dead entries.
    pub(crate) fn keys(&self, from: Bound<&str>, to: Bound<&str>) -> Range<'_, KeyBuf> {
        self.index.range::<str, _>((from, to))
    }

    /// The entry at a key, dead or live.
    #[inline]
    pub(crate) fn find(&self, key: HashedKey<'_>) -> Option<&Slot> {
        self.table.find(key)
    }

    /// Puts an entry, and replaces an existing one, dead or live. Returns the old value, which the caller drops.
    #[expect(
        clippy::inline_always,
        reason = "otherwise moving its arguments and its result is a tenth of the cost of an overwrite"
    )]
    #[inline(always)]
    pub(crate) fn put(
        &mut self,
        hasher: &RandomState,
        key: HashedKey<'_>,
        value: Bytes,
        deadline: Option<NonZeroU64>,
    ) -> Option<Bytes> {
        if let Some(slot) = self.table.find_mut(key) {
            set_deadline(&mut self.queue, slot, deadline);
            if !self.versions.is_empty() {
                end_version(&mut self.versions, key.hash);
            }
            return Some(mem::replace(&mut slot.value, value));
        }
        self.insert(hasher, key, value, deadline);
        None
    }

    /// Not inlined into `put`, which stays short.
    #[inline(never)]
    fn insert(&mut self, hasher: &RandomState, key: HashedKey<'_>, value: Bytes, deadline: Option<NonZeroU64>) {
        let mut slot = Slot::new(key.key.into(), value);
        set_deadline(&mut self.queue, &mut slot, deadline);
        self.index.insert(slot.key.clone());
        self.table.insert(hasher, key.hash, slot);
    }

    /// Sets the deadline of the entry at a key, dead or live.
    pub(crate) fn set_deadline(&mut self, key: HashedKey<'_>, deadline: Option<NonZeroU64>) {
        if let Some(slot) = self.table.find_mut(key) {
            set_deadline(&mut self.queue, slot, deadline);
        }
    }

    /// Removes the entry at a key, dead or live, and returns it. Its deadline shows which it was. The caller drops it.
    pub(crate) fn remove(&mut self, hasher: &RandomState, key: HashedKey<'_>) -> Option<Slot> {
        let mut slot = self.table.remove(hasher, key)?;
        requeue(&mut self.queue, &mut slot, None);
        self.forget(key);
        Some(slot)
    }

    /// Forgets what else there is of an entry that is no longer in the table.
    fn forget(&mut self, key: HashedKey<'_>) {
        self.index.remove(key.key.as_str());
        end_version(&mut self.versions, key.hash);
    }

    /// The version of the entry at a key, if it was asked for since the entry was written.
    pub(crate) fn known_version(&self, key: HashedKey<'_>) -> Option<u64> {
        self.versions.get(&key.hash).copied()
    }

    /// The version of the entry at a key, which has to be there.
    pub(crate) fn version(&mut self, key: HashedKey<'_>) -> u64 {
        *self.versions.entry(key.hash).or_insert_with(new_version)
    }

    /// Replaces the value of the entry at a key if the entry is live and has this version. Returns the entry's key, its new version, and the
    /// old value, which the caller drops.
    #[inline]
    pub(crate) fn replace(
        &mut self,
        key: HashedKey<'_>,
        version: u64,
        is_live: impl FnOnce(&Slot) -> bool,
        value: Bytes,
        deadline: Option<NonZeroU64>,
    ) -> Option<(KeyBuf, u64, Bytes)> {
        let known = self.versions.get_mut(&key.hash).filter(|known| **known == version)?;
        let slot = self.table.find_mut(key).filter(|slot| is_live(slot))?;
        *known = new_version();
        set_deadline(&mut self.queue, slot, deadline);
        Some((slot.key.clone(), *known, mem::replace(&mut slot.value, value)))
    }

    /// One sweep step.
    pub(crate) fn sweep_step(&mut self, hasher: &RandomState, now: u64) -> Step {
        if self.queue.first().is_none_or(|(at, _)| at.get() > now) {
            return Step::Idle;
        }
        let Some((_, key)) = self.queue.pop_first() else { return Step::Idle };
        let key = HashedKey::new(hasher, key.as_key());
        // Each item has a slot, so this finds it.
        let Some(slot) = self.table.find_mut(key) else { return Step::Requeued };
        slot.queued = None;
        if slot.is_live(|| now) {
            let deadline = slot.deadline;
            set_deadline(&mut self.queue, slot, deadline);
            return Step::Requeued;
        }
        self.forget(key);
        self.table.remove(hasher, key).map_or(Step::Requeued, Step::Removed)
    }
}

/// Versions by the hashes of keys.
type Versions = HashMap<u64, u64, BuildHasherDefault<AsItIs>>;

/// Forgets a version, and gives memory back when there were many more.
#[inline]
fn end_version(versions: &mut Versions, hash: u64) {
    const SMALL: usize = 64;
    if versions.remove(&hash).is_some() && versions.capacity() > SMALL && versions.len() < versions.capacity() / 8 {
        versions.shrink_to(versions.len() * 2);
    }
}

/// The hasher of what is a hash already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not used: only numbers are hashed.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A number that no entry of any store of this process has had as its version.
pub(crate) fn new_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

/// Sets the deadline of a slot, and moves its item only if necessary.
#[inline]
fn set_deadline(queue: &mut BTreeSet<(NonZeroU64, KeyBuf)>, slot: &mut Slot, deadline: Option<NonZeroU64>) {
    let stays = match (slot.queued, deadline) {
        (Some(queued), Some(deadline)) => queued <= deadline,
        (None, None) => true,
        _ => false,
    };
    if !stays {
        requeue(queue, slot, deadline);
    }
    slot.deadline = deadline;
}

fn requeue(queue: &mut BTreeSet<(NonZeroU64, KeyBuf)>, slot: &mut Slot, to: Option<NonZeroU64>) {
    if let Some(queued) = slot.queued {
        queue.remove(&(queued, slot.key.clone()));
    }
    if let Some(to) = to {
        queue.insert((to, slot.key.clone()));
    }
    slot.queued = to;
}

#[cfg(test)]
mod tests;
