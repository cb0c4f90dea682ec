//! One part of a store: its entries, their order and their deadlines, kept in step.
//!
//! What always holds of a [`Shard`]:
//!
//! - `index` has the key of each slot of `table`, and no other;
//! - `queue` has one item for each slot that has a deadline, at `slot.queued`, and no other;
//! - `slot.queued` is never later than `slot.deadline`.
//!
//! The last one is what makes a longer lifetime cheap: the item stays where it is, too early, and is put right by the
//! sweep that comes upon it.
//!
//! # Why the dead never outnumber the living
//!
//! A sweep step takes the first item of the queue if it is due, that is `queued <= now`; it removes the slot if it is
//! dead, else puts the item where its deadline wants it. Every write does up to four steps before anything else. Claim:
//! the dead slots are at most 5/4 of the most slots that were live at once, L.
//!
//! Let the *work* be the number of steps that it would take to get rid of all slots that have a deadline: one for
//! each, and one more for each live one whose item is too early. A write adds at most one to it (a new slot, or an
//! item that becomes too early) and a step takes at least one off.
//!
//! Consider the last moment at which no item was due. None was dead then, so there were at most L slots and at most 2 L
//! work. In each of the `w` writes since, some item was still due after its steps, so it did all four: the work is now
//! at most 2 L + w - 4 w, and each dead slot is at least one of it. Besides, whatever is dead now was live at that moment
//! or written since: at most L + w. So the dead are at most min(2 L - 3 w, L + w), which is largest where w = L / 4: 5/4 L.

use std::collections::BTreeSet;
use std::collections::btree_set::Range;
use std::hash::BuildHasher;
use std::mem;
use std::num::NonZeroU64;
use std::ops::Bound;

use foldhash::fast::RandomState;
use kv_core::{Bytes, Key, KeyBuf};

use crate::clock::TimeSource;
use crate::table::Table;

/// A key and its hash, which is computed once for an operation.
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
/// It fills a line of a processor's cache, and by its alignment it does not lie across two.
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

    /// Whether the entry is there (T5). The clock is read only if it has a deadline.
    #[inline]
    pub(crate) fn is_live(&self, now: impl FnOnce() -> u64) -> bool {
        self.deadline.is_none_or(|deadline| deadline.get() > now())
    }

    /// The same by a clock, for whoever does not want to know the time besides: that is cheaper.
    #[inline]
    pub(crate) fn is_live_by(&self, clock: &TimeSource) -> bool {
        self.deadline.is_none_or(|deadline| clock.is_before(deadline))
    }
}

/// What a sweep step came upon.
pub(crate) enum Step {
    /// Nothing is due.
    Idle,
    /// A live entry, whose item stood too early.
    Requeued,
    /// A dead entry, which is the caller's to drop.
    Removed(Slot),
}

/// See the documentation of the module.
pub(crate) struct Shard {
    table: Table,
    index: BTreeSet<KeyBuf>,
    queue: BTreeSet<(NonZeroU64, KeyBuf)>,
    /// How many writes there were.
    writes: usize,
}

impl Shard {
    /// One of so many, by its number. It is empty.
    pub(crate) fn of(number: usize, shards: usize) -> Self {
        Self::with(Table::of_part(number, shards))
    }

    fn with(table: Table) -> Self {
        Self { table, index: BTreeSet::new(), queue: BTreeSet::new(), writes: 0 }
    }

    /// Takes all entries.
    pub(crate) fn take(&mut self) -> Self {
        let empty = Self::with(self.table.as_empty());
        mem::replace(self, empty)
    }

    /// How many entries there are, dead ones included.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether any entry has a deadline. If not, all are live, whatever the time.
    #[inline]
    pub(crate) fn has_deadlines(&self) -> bool {
        !self.queue.is_empty()
    }

    /// When the first entry is due; none ever is at `u64::MAX`.
    #[inline]
    pub(crate) fn first_due(&self) -> u64 {
        self.queue.first().map_or(u64::MAX, |(at, _)| at.get())
    }

    /// The number of this write.
    #[inline]
    pub(crate) fn count_write(&mut self) -> usize {
        self.writes = self.writes.wrapping_add(1);
        self.writes
    }

    /// All entries, dead ones included.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.table.iter()
    }

    /// The keys of a range in their order, those of dead entries included.
    pub(crate) fn keys(&self, from: Bound<&str>, to: Bound<&str>) -> Range<'_, KeyBuf> {
        self.index.range::<str, _>((from, to))
    }

    /// The entry at a key, dead or alive.
    #[inline]
    pub(crate) fn find(&self, key: HashedKey<'_>) -> Option<&Slot> {
        self.table.find(key)
    }

    /// Puts an entry in place of what is there, dead or alive. Returns the value of that, which is the caller's to drop.
    #[expect(
        clippy::inline_always,
        reason = "a tenth of what an overwrite costs is moving its arguments and its result otherwise"
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
            return Some(mem::replace(&mut slot.value, value));
        }
        self.insert(hasher, key, value, deadline);
        None
    }

    /// Apart from `put`, which is short without it.
    #[inline(never)]
    fn insert(&mut self, hasher: &RandomState, key: HashedKey<'_>, value: Bytes, deadline: Option<NonZeroU64>) {
        let mut slot = Slot::new(key.key.into(), value);
        set_deadline(&mut self.queue, &mut slot, deadline);
        self.index.insert(slot.key.clone());
        self.table.insert(hasher, key.hash, slot);
    }

    /// Gives the entry at a key, dead or alive, another deadline.
    pub(crate) fn set_deadline(&mut self, key: HashedKey<'_>, deadline: Option<NonZeroU64>) {
        if let Some(slot) = self.table.find_mut(key) {
            set_deadline(&mut self.queue, slot, deadline);
        }
    }

    /// Removes the entry at a key, dead or alive. It is the caller's to drop, with its deadline, which tells which it was.
    pub(crate) fn remove(&mut self, hasher: &RandomState, key: HashedKey<'_>) -> Option<Slot> {
        let mut slot = self.table.remove(hasher, key)?;
        requeue(&mut self.queue, &mut slot, None);
        self.index.remove(slot.key.as_str());
        Some(slot)
    }

    /// One sweep step.
    pub(crate) fn sweep_step(&mut self, hasher: &RandomState, now: u64) -> Step {
        if self.queue.first().is_none_or(|(at, _)| at.get() > now) {
            return Step::Idle;
        }
        let Some((_, key)) = self.queue.pop_first() else { return Step::Idle };
        let key = HashedKey::new(hasher, key.as_key());
        // Each item has its slot, so this finds one.
        let Some(slot) = self.table.find_mut(key) else { return Step::Requeued };
        slot.queued = None;
        if slot.is_live(|| now) {
            let deadline = slot.deadline;
            set_deadline(&mut self.queue, slot, deadline);
            return Step::Requeued;
        }
        self.index.remove(key.key.as_str());
        self.table.remove(hasher, key).map_or(Step::Requeued, Step::Removed)
    }
}

/// Gives a slot a deadline, and moves its item only if it must.
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
