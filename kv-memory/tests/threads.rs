//! Many threads at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use kv_memory::{Clock, KeyValueStoreExt, MemoryStore};

#[test]
fn of_several_concurrent_creates_exactly_one_wins() {
    let store = MemoryStore::new();
    for round in 0..500 {
        let (key, barrier, winners) = (format!("lock:{round}"), Barrier::new(4), AtomicUsize::new(0));
        thread::scope(|scope| {
            for thread in 0..4 {
                let (store, key, barrier, winners) = (&store, &key, &barrier, &winners);
                scope.spawn(move || {
                    barrier.wait();
                    if store.create(key, thread.to_string()).unwrap() {
                        winners.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(store.get(key).unwrap().unwrap(), thread.to_string());
                    }
                });
            }
        });
        assert_eq!(winners.into_inner(), 1);
    }
}

#[test]
fn a_reader_sees_the_old_or_the_new_value_and_never_an_absent_key() {
    let store = MemoryStore::new();
    let value = |number: u8| vec![number; 100];
    store.put("a", value(0)).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let seen = store.get("a").unwrap().unwrap();
                    assert!(seen.len() == 100 && seen.iter().all(|&byte| byte == seen[0]));
                }
            });
        }
        for round in 0..50_000_u32 {
            let ttl = Duration::from_secs(3600 + u64::from(round % 7));
            store.put_with_ttl("a", value(round.to_le_bytes()[0]), ttl).unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn copying_and_renaming_in_opposite_directions_does_not_deadlock() {
    let store = MemoryStore::new();
    let names = (0..40).map(|number| format!("k{number}")).collect::<Vec<_>>();
    thread::scope(|scope| {
        for thread in 0..4 {
            let (store, names) = (&store, &names);
            scope.spawn(move || {
                for round in 0..20_000 {
                    let (mut from, mut to) = (&names[round % 40], &names[(round * 7 + 1) % 40]);
                    if thread % 2 == 0 {
                        (from, to) = (to, from);
                    }
                    store.put_with_ttl(from, "", Duration::from_micros(50)).unwrap();
                    // Another thread may have removed it already.
                    let _ = if round % 3 == 0 { store.rename(from, to) } else { store.copy(from, to) };
                }
            });
        }
    });
}

#[test]
fn a_key_that_stays_is_listed_once_while_others_come_and_go() {
    let store = MemoryStore::new();
    for number in 0..3000 {
        store.put(format!("stays:{number}"), "").unwrap();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..100_000 {
                store.put_with_ttl(format!("stays:x{}", round % 997), "", Duration::from_micros(1)).unwrap();
                store.delete(format!("stays:x{}", (round * 7) % 997)).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            let keys = store.keys("stays:").unwrap().map(|key| key.unwrap());
            let mut keys = keys.filter(|key| !key.contains('x')).collect::<Vec<_>>();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), 3000);
        }
    });
}

#[derive(Debug, Default)]
struct Panicking(AtomicBool);

impl Clock for Panicking {
    fn now(&self) -> Duration {
        assert!(!self.0.load(Ordering::SeqCst), "asked for");
        Duration::from_secs(1)
    }
}

#[test]
fn a_clock_that_panics_leaves_a_store_that_works() {
    let clock = Arc::new(Panicking::default());
    let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    store.put_with_ttl("a", "1", Duration::from_secs(60)).unwrap();
    clock.0.store(true, Ordering::SeqCst);
    let write = || store.put_with_ttl("a", "2", Duration::from_secs(60));
    thread::scope(|scope| assert!(scope.spawn(write).join().is_err()));
    clock.0.store(false, Ordering::SeqCst);
    assert_eq!(store.get("a").unwrap().unwrap(), "1");
    write().unwrap();
    assert_eq!(store.get("a").unwrap().unwrap(), "2");
}
