use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kv_core::{KeyValueStore, KeyValueStoreExt, Ttl};

use super::*;
use crate::shards::Locked;
use crate::{Clock, ManualClock, MemoryStore};

const NANO: Duration = Duration::from_nanos(1);

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.0 >> 33) % limit
    }
}

/// A store that uses only its first shard, so that a test can check the shard's invariants.
struct OneShard {
    store: MemoryStore,
    clock: ManualClock,
    keys: Vec<KeyBuf>,
    most_live: usize,
}

impl OneShard {
    fn new(keys: usize) -> Self {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
        let in_first = |key: &KeyBuf| {
            let key = store.shards.hashed(key.as_key());
            std::ptr::eq(&raw const *store.shards.read(key), &raw const *store.shards.nth(0).unwrap().read())
        };
        let keys = (0..).map(|n| format!("k{n}").parse().unwrap()).filter(in_first).take(keys).collect();
        Self { store, clock, keys, most_live: 0 }
    }

    fn put(&self, key: usize, nanos: u64) {
        self.store.put_with_ttl(&self.keys[key], "", Duration::from_nanos(nanos)).unwrap();
    }

    /// Checks the invariants of the shard. Returns the number of dead entries.
    fn check(&mut self) -> usize {
        let shard = self.store.shards.nth(0).unwrap().read();
        shard.check();
        let now = u64::try_from(self.clock.now().as_nanos()).unwrap();
        let live = shard.slots().filter(|slot| slot.is_live(|| now)).count();
        self.most_live = self.most_live.max(live);
        let dead = shard.len() - live;
        assert!(dead * 4 <= self.most_live * 5, "{dead} are dead, at most {} were live", self.most_live);
        dead
    }
}

const FEW: usize = 64;

impl Shard {
    fn check(&self) {
        let mut keys = self.slots().map(|slot| slot.key.clone()).collect::<Vec<_>>();
        keys.sort();
        assert!(self.index.iter().eq(&keys));

        let queued = |slot: &Slot| slot.queued.map(|at| (at, slot.key.clone()));
        let mut items = self.slots().filter_map(queued).collect::<Vec<_>>();
        items.sort();
        assert!(self.queue.iter().eq(&items));
        for slot in self.slots() {
            assert_eq!(slot.queued.is_some(), slot.deadline.is_some());
            assert!(slot.queued <= slot.deadline);
        }
    }

    fn is_small(&self) -> bool {
        self.table.buckets() <= 2048 && self.len() <= FEW && self.queue.len() <= FEW
    }
}

#[test]
fn after_any_operations_the_invariants_hold_and_dead_entries_are_few() {
    for seed in 0..40 {
        let mut numbers = Numbers(seed);
        let mut one = OneShard::new(40);
        // In some runs time passes fast and in some slowly; some have short TTLs and some long ones.
        let (pace, longest) = (1 + numbers.below(20), 1 + numbers.below(400));
        for _ in 0..3000 {
            let [key, other] = [0; 2].map(|_| one.keys[usize::try_from(numbers.below(40)).unwrap()].clone());
            let ttl = Duration::from_nanos(numbers.below(longest));
            match numbers.below(12) {
                0..=2 => one.store.put_with_ttl(&key, "", ttl).unwrap(),
                3 => one.store.put(&key, "").unwrap(),
                4 => drop(one.store.create_with_ttl(&key, "", ttl).unwrap()),
                5..=6 => drop(one.store.touch(&key, ttl).unwrap()),
                7 => drop(one.store.touch(&key, Ttl::Forever).unwrap()),
                8 => drop(one.store.delete(&key).unwrap()),
                9 => drop(one.store.copy(&key, &other)),
                10 => drop(one.store.rename(&key, &other)),
                _ => one.clock.advance(Duration::from_nanos(numbers.below(pace))),
            }
            one.check();
        }
        one.clock.advance(Duration::from_secs(1));
        let live = one.store.len();
        assert_eq!(one.check(), 0);
        assert_eq!(live, one.store.snapshot().len());
    }
}

#[test]
fn writes_sweep_many_entries_that_expired_at_once() {
    let mut one = OneShard::new(1000);
    (0..900).for_each(|key| one.put(key, 100));
    one.check();
    one.clock.advance(NANO * 100);
    assert_eq!(one.check(), 900);
    for key in 900..1000 {
        one.put(key, 10_000);
        one.check();
    }
    assert_eq!(one.check(), 500);
    for key in (900..1000).chain(900..925) {
        one.put(key, 10_000);
    }
    assert_eq!(one.check(), 0);
}

#[test]
fn the_bound_holds_in_the_worst_case_and_is_reached() {
    let crowd = 1000;
    let mut one = OneShard::new(crowd + crowd / 4);
    (0..crowd).for_each(|key| one.put(key, 10_000));
    // Every item of the queue is now too early, which keeps the sweep busy once the time has come.
    (0..crowd).for_each(|key| one.put(key, 20_000));
    one.check();
    one.clock.advance(NANO * 10_000);
    for key in crowd..crowd + crowd / 4 {
        one.put(key, 1);
        one.clock.advance(NANO);
        one.check();
    }
    one.clock.advance(NANO * 10_000);
    assert!(one.check() >= crowd * 5 / 4 - 1);
}

#[test]
fn extending_ttls_again_and_again_keeps_dead_entries_few() {
    for (steady, passing) in [(300, 1), (100, 3), (10, 10), (1, 300)] {
        let mut one = OneShard::new(1000);
        let mut numbers = Numbers(7);
        for round in 0..2000 {
            one.put(round % steady, 50 + numbers.below(100));
            for _ in 0..passing.min(20) {
                one.put(steady + usize::try_from(numbers.below(600)).unwrap(), 1 + numbers.below(40));
            }
            one.clock.advance(NANO * u32::try_from(numbers.below(4)).unwrap());
            one.check();
        }
    }
}

#[test]
fn a_longer_ttl_leaves_the_queue_unchanged_and_a_shorter_one_does_not() {
    let mut one = OneShard::new(1);
    let queued = |one: &OneShard| one.store.shards.nth(0).unwrap().read().queue.first().map(|(at, _)| at.get());
    one.put(0, 100);
    one.put(0, 200);
    assert_eq!(queued(&one), Some(100));
    one.put(0, 50);
    assert_eq!(queued(&one), Some(50));
    one.store.touch(&one.keys[0], NANO * 70).unwrap();
    assert_eq!(queued(&one), Some(50));
    one.check();
    one.store.touch(&one.keys[0], Ttl::Forever).unwrap();
    assert_eq!(queued(&one), None);
    one.check();
}

#[test]
fn writes_free_the_memory_of_a_million_expired_entries() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    let second = Duration::from_secs(1);
    for number in 0..1_000_000 {
        store.put_with_ttl(format!("k{number}"), "", second).unwrap();
    }
    assert!(store.shards.iter().all(|shard| !shard.read().is_small()));
    clock.advance(second);

    // Only writes to two keys of each shard.
    let two_keys = |shard: &Shard| shard.index.iter().take(2).cloned().collect::<Vec<_>>();
    let keys = store.shards.iter().flat_map(|shard| two_keys(&shard.read())).collect::<Vec<_>>();
    for _ in 0..1100 {
        for key in &keys {
            store.put(key, "").unwrap();
        }
    }
    for shard in store.shards.iter() {
        let shard = shard.read();
        shard.check();
        assert!(shard.is_small());
    }
    assert_eq!(store.len(), keys.len());
}

#[test]
fn a_sweep_frees_the_memory_of_a_store_that_nobody_writes_to() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    let forever = "stays";
    store.put(forever, "").unwrap();
    for number in 0..50_000 {
        store.write(Key::new(&format!("k{number}")).unwrap(), "".into(), NANO.into()).unwrap();
    }
    clock.advance(NANO);
    store.sweep();
    assert!(store.shards.iter().all(|shard| shard.read().is_small()));
    assert_eq!(store.shards.iter().map(|shard| shard.read().len()).sum::<usize>(), 1);
    assert!(store.contains(forever).unwrap());
}

#[test]
fn a_renamed_entry_is_at_exactly_one_of_its_keys_at_every_moment() {
    let store = MemoryStore::new();
    let [here, there] = ["here", "there"].map(|text| store.shards.hashed(Key::new(text).unwrap()));
    store.put(here.key, "").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20_000 {
                store.rename(here.key, there.key).unwrap();
                store.rename(there.key, here.key).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            // While both parts are locked, nothing moves. They are locked in the store's own order, so that no thread waits for ever.
            let shards = store.shards.iter().map(Locked::read).collect::<Vec<_>>();
            assert_eq!(shards.iter().map(|shard| shard.len()).sum::<usize>(), 1);
        }
    });
}

/// All expired entries are in one part, and all writes are to one key of another part.
#[test]
fn a_part_full_of_expired_entries_is_swept_by_writes_to_another_part() {
    let mut all = OneShard::new(4000);
    for key in 0..4000 {
        all.put(key, 1);
    }
    all.clock.advance(NANO);
    let elsewhere = (0..10_000).map(|n| format!("other{n}")).find(|key| {
        let key = all.store.shards.hashed(Key::new(key).unwrap());
        !std::ptr::eq(&raw const *all.store.shards.read(key), &raw const *all.store.shards.nth(0).unwrap().read())
    });
    let (elsewhere, len) = (elsewhere.unwrap(), |all: &OneShard| all.store.shards.nth(0).unwrap().read().len());
    for _ in 0..4000 * 4 {
        let before = len(&all);
        all.store.put(&elsewhere, "").unwrap();
        assert!(before - len(&all) <= 16, "a write swept {}", before - len(&all));
    }
    assert_eq!(len(&all), 0);
    assert_eq!(all.check(), 0);
}

/// It does not wait for the thread that has locked the part.
#[test]
fn a_write_does_not_wait_for_a_part_that_it_would_sweep() {
    let all = OneShard::new(100);
    for key in 0..100 {
        all.put(key, 1);
    }
    all.clock.advance(NANO);
    let held = all.store.shards.nth(0).unwrap().read();
    // None of these is in that part.
    let others = (0..2000).map(|n| format!("other{n}")).filter(|key| {
        let key = all.store.shards.hashed(Key::new(key).unwrap());
        !std::ptr::eq(&raw const *all.store.shards.read(key), &raw const *held)
    });
    others.for_each(|key| all.store.put(&key, "").unwrap());
    assert_eq!(held.len(), 100);
}
