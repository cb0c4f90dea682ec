//! The parts of a store, each behind its lock, and the ways to lock them.

use std::array;
use std::cmp::Ordering;
use std::num::NonZeroU64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use foldhash::fast::RandomState;
use kv_core::{Bytes, Key, KeyBuf};

use crate::clock::TimeSource;
use crate::shard::{HashedKey, Shard, Slot, Step};

/// The number of parts: enough that threads seldom wait for each other, and few enough that a listing visits each quickly.
const SHARDS: usize = 128;

/// How many sweep steps a write does first. The module `shard` says what follows from it.
const STEPS_PER_WRITE: usize = 4;

/// One write in so many also sweeps another part. So expired entries of a part that nobody writes to are freed, too.
const WRITES_PER_VISIT: usize = 4;

/// How many parts it checks for entries that are due, and how many sweep steps it does in the first such part.
const LOOKS_PER_VISIT: usize = 8;
const STEPS_PER_VISIT: usize = 16;

/// How many sweep steps `sweep`, `len` and `is_empty` do under one lock.
const STEPS_PER_LOCK: usize = 64;

/// A part and its lock, aligned so that no two parts share a cache line.
#[repr(align(128))]
pub(crate) struct Locked(RwLock<Shard>);

/// When the first entry of each part is due, as its last writer noted. It is read without the lock of the part.
type Due = [AtomicU64; SHARDS];

impl Locked {
    // Only the caller's clock can panic under the lock, and that is before any change: a poisoned shard is in order.
    #[inline]
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Shard> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Shard> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks it if no other thread has locked it.
    fn try_write(&self) -> Option<RwLockWriteGuard<'_, Shard>> {
        match self.0.try_write() {
            Ok(shard) => Some(shard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// All parts of a store. A key's hash decides to which part it belongs. A clone has the same parts.
#[derive(Clone)]
pub(crate) struct Shards {
    locks: Arc<[Locked; SHARDS]>,
    due: Arc<Due>,
    pub(crate) hasher: RandomState,
}

impl Shards {
    pub(crate) fn new() -> Self {
        Self {
            locks: Arc::new(array::from_fn(|number| Locked(RwLock::new(Shard::of(number, SHARDS))))),
            due: Arc::new(array::from_fn(|_| AtomicU64::new(u64::MAX))),
            hasher: RandomState::default(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Locked> {
        self.locks.iter()
    }

    pub(crate) fn nth(&self, number: usize) -> Option<&Locked> {
        self.locks.get(number)
    }

    #[inline]
    pub(crate) fn hashed<'k>(&self, key: Key<'k>) -> HashedKey<'k> {
        HashedKey::new(&self.hasher, key)
    }

    #[inline]
    pub(crate) fn read(&self, key: HashedKey<'_>) -> RwLockReadGuard<'_, Shard> {
        self.of(key).read()
    }

    /// Locks the part of a key for a write, and does the sweep steps of a write.
    #[inline]
    pub(crate) fn write<'s>(&'s self, clock: &'s TimeSource, key: HashedKey<'_>, swept: &mut Swept) -> Writing<'s> {
        self.sweep_for_a_write(place(key.hash), self.of(key).write(), clock, None, swept)
    }

    /// Locks the parts of two keys, always in the same order, so that no two threads wait for each other for ever.
    ///
    /// The second is `None` if both keys are in the first.
    pub(crate) fn write_two<'s>(
        &'s self,
        clock: &'s TimeSource,
        keys: [HashedKey<'_>; 2],
        swept: &mut [Swept; 2],
    ) -> (Writing<'s>, Option<Writing<'s>>) {
        let [first, second] = keys.map(|key| self.of(key));
        let [first_place, second_place] = keys.map(|key| place(key.hash));
        let (first, second) = match first_place.cmp(&second_place) {
            Ordering::Equal => (first.write(), None),
            Ordering::Less => {
                let first = first.write();
                (first, Some(second.write()))
            }
            Ordering::Greater => {
                let second = second.write();
                (first.write(), Some(second))
            }
        };
        let [swept_first, swept_second] = swept;
        let first = self.sweep_for_a_write(first_place, first, clock, None, swept_first);
        let second = second.map(|second| self.sweep_for_a_write(second_place, second, clock, first.now, swept_second));
        (first, second)
    }

    #[inline]
    fn sweep_for_a_write<'s>(
        &'s self,
        place: usize,
        mut shard: RwLockWriteGuard<'s, Shard>,
        clock: &'s TimeSource,
        now: Option<u64>,
        swept: &mut Swept,
    ) -> Writing<'s> {
        let now = if shard.has_deadlines() {
            let now = now.unwrap_or_else(|| clock.now());
            sweep_some(&mut shard, &self.hasher, now, STEPS_PER_WRITE, swept);
            Some(now)
        } else {
            now
        };
        let number = shard.count_write();
        Writing { shard, shards: self, place, number, clock, now }
    }

    /// Notes when the first entry of a part is due, for readers without the lock.
    #[inline]
    fn note_due(&self, place: usize, shard: &Shard) {
        let first = shard.first_due();
        if let Some(due) = self.due.get(place)
            && due.load(Relaxed) != first
        {
            due.store(first, Relaxed);
        }
    }

    /// Sweeps several entries of another part: the first one, from `from` on, in which something is due. It never waits: if
    /// another thread has locked the part, it does nothing.
    #[inline(never)]
    fn visit(&self, clock: &TimeSource, own: usize, from: usize, mut now: Option<u64>) {
        for at in from..from + LOOKS_PER_VISIT {
            let at = at % SHARDS;
            // The write has done its own sweep steps there.
            if at == own {
                continue;
            }
            let (Some(due), Some(lock)) = (self.due.get(at), self.locks.get(at)) else { return };
            let due = due.load(Relaxed);
            if due == u64::MAX || due > *now.get_or_insert_with(|| clock.now()) {
                continue;
            }
            // Made before the lock, so dropped after it.
            let mut swept = Swept::default();
            if let (Some(mut shard), Some(now)) = (lock.try_write(), now) {
                sweep_some(&mut shard, &self.hasher, now, STEPS_PER_VISIT, &mut swept);
                self.note_due(at, &shard);
                return;
            }
        }
    }

    /// Removes the expired entries of one part, in several steps with a lock each. Returns how many entries are left.
    pub(crate) fn sweep(&self, clock: &TimeSource, place: usize, shard: &Locked) -> usize {
        {
            let shard = shard.read();
            if !shard.has_deadlines() {
                return shard.len();
            }
        }
        loop {
            // Made before the lock, so dropped after it.
            let mut removed = Vec::with_capacity(STEPS_PER_LOCK);
            let mut shard = shard.write();
            let now = clock.now();
            for _ in 0..STEPS_PER_LOCK {
                match shard.sweep_step(&self.hasher, now) {
                    Step::Idle => {
                        self.note_due(place, &shard);
                        return shard.len();
                    }
                    Step::Requeued => {}
                    Step::Removed(slot) => removed.push(slot),
                }
            }
        }
    }

    #[inline]
    fn of(&self, key: HashedKey<'_>) -> &Locked {
        let [first, ..] = &*self.locks;
        self.locks.get(place(key.hash)).unwrap_or(first)
    }
}

/// Does up to `steps` sweep steps, while something is due.
fn sweep_some(shard: &mut Shard, hasher: &RandomState, now: u64, steps: usize, swept: &mut Swept) {
    for _ in 0..steps {
        match shard.sweep_step(hasher, now) {
            Step::Idle => return,
            Step::Requeued => {}
            Step::Removed(slot) => swept.push(slot),
        }
    }
}

/// The number of the part of a hash.
///
/// It uses bits that the table of the part does not use, neither to choose a piece nor within a piece.
#[inline]
fn place(hash: u64) -> usize {
    usize::try_from((hash >> 49) & 0x7F).unwrap_or_default()
}

/// The entries that the sweep steps of a write removed.
///
/// Declare it before the lock is taken, so that it is dropped after the lock is released: dropping a value may take long and
/// run the caller's code.
#[derive(Default)]
pub(crate) struct Swept(Option<Vec<Slot>>);

impl Swept {
    /// Room for many more entries than it will get. When asked for more than a kilobyte, glibc's allocator first does the work
    /// that it has put off since earlier sweeps freed memory. Otherwise this work would add up and take long: see `DESIGN.md`.
    const ROOM: usize = 32;

    fn push(&mut self, slot: Slot) {
        self.0.get_or_insert_with(|| Vec::with_capacity(Self::ROOM)).push(slot);
    }
}

/// A part that is locked for a write.
pub(crate) struct Writing<'s> {
    shard: RwLockWriteGuard<'s, Shard>,
    shards: &'s Shards,
    place: usize,
    /// The number of this write in its part.
    number: usize,
    clock: &'s TimeSource,
    /// The time. Read at most once, and always if any entry has a deadline.
    now: Option<u64>,
}

impl Writing<'_> {
    #[inline]
    pub(crate) fn now(&mut self) -> u64 {
        *self.now.get_or_insert_with(|| self.clock.now())
    }

    #[inline]
    pub(crate) fn is_live(&self, slot: &Slot) -> bool {
        // If the clock was not read, there are no deadlines, and the time does not matter.
        slot.is_live(|| self.now.unwrap_or_default())
    }

    #[inline]
    pub(crate) fn live(&self, key: HashedKey<'_>) -> Option<&Slot> {
        self.shard.find(key).filter(|slot| self.is_live(slot))
    }

    #[inline]
    pub(crate) fn put(&mut self, key: HashedKey<'_>, value: Bytes, deadline: Option<NonZeroU64>) -> Option<Bytes> {
        self.shard.put(&self.shards.hasher, key, value, deadline)
    }

    #[inline]
    pub(crate) fn set_deadline(&mut self, key: HashedKey<'_>, deadline: Option<NonZeroU64>) {
        self.shard.set_deadline(key, deadline);
    }

    #[inline]
    pub(crate) fn remove(&mut self, key: HashedKey<'_>) -> Option<Slot> {
        self.shard.remove(&self.shards.hasher, key)
    }

    /// Replaces the value of the entry at a key if the entry is live and has this version. Returns the entry's key, its new version, and the
    /// old value.
    #[inline]
    pub(crate) fn replace(
        &mut self,
        key: HashedKey<'_>,
        version: u64,
        value: Bytes,
        deadline: Option<NonZeroU64>,
    ) -> Option<(KeyBuf, u64, Bytes)> {
        let now = self.now;
        self.shard.replace(key, version, |slot| slot.is_live(|| now.unwrap_or_default()), value, deadline)
    }

    /// The version of the entry at a key, which has to be there.
    pub(crate) fn version(&mut self, key: HashedKey<'_>) -> u64 {
        self.shard.version(key)
    }

    /// Whether a live entry has this version.
    pub(crate) fn is_version(&self, key: HashedKey<'_>, version: u64) -> bool {
        self.shard.known_version(key) == Some(version) && self.live(key).is_some()
    }

    /// Releases the lock.
    #[inline]
    pub(crate) fn release(self) {
        self.shards.note_due(self.place, &self.shard);
    }

    /// Releases the lock, and sweeps another part if it is this write's turn.
    #[inline]
    pub(crate) fn end(self) {
        let Self { shard, shards, place, number, clock, now } = self;
        shards.note_due(place, &shard);
        drop(shard);
        if number.is_multiple_of(WRITES_PER_VISIT) {
            // Continues where the last visit from this part stopped.
            let from = place + 1 + number / WRITES_PER_VISIT * LOOKS_PER_VISIT;
            shards.visit(clock, place, from % SHARDS, now);
        }
    }
}
