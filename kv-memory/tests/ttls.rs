//! TTLs, with clocks that stand still, count their reads, or are wrong.
#![allow(clippy::unwrap_used, reason = "a test says so where it cannot go on")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use kv_memory::{
    Bytes, Capability, Clock, Error, KeyValueStore, KeyValueStoreExt, ManualClock, MemoryStore, Remaining, Result, Ttl,
};

const NANO: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);

fn store() -> (ManualClock, MemoryStore) {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    (clock, store)
}

#[test]
fn an_entry_is_live_until_the_last_nanosecond_of_its_ttl_and_then_absent_for_every_operation() {
    let (clock, store) = store();
    store.put_with_ttl("a", "1", SECOND).unwrap();
    clock.advance(Duration::from_nanos(999_999_999));
    assert_eq!(store.ttl("a").unwrap(), Some(Remaining::For(NANO)));
    assert_eq!(store.get("a").unwrap().unwrap(), "1");
    assert_eq!(store.keys("").unwrap().count(), 1);
    clock.advance(NANO);

    assert_eq!(store.get("a").unwrap(), None);
    assert_eq!(store.ttl("a").unwrap(), None);
    assert!(!store.contains("a").unwrap());
    assert_eq!(store.keys("").unwrap().count(), 0);
    assert_eq!(store.prefixes("/", "").unwrap().count(), 0);
    assert!(store.snapshot().is_empty());
    assert!(matches!(store.copy("a", "b"), Err(Error::NotFound { .. })));
    assert!(matches!(store.rename("a", "b"), Err(Error::NotFound { .. })));
    assert!(matches!(store.open("a"), Err(Error::NotFound { .. })));
    assert!(!store.touch("a", SECOND).unwrap());
    assert!(!store.delete("a").unwrap());
    assert!(store.create("a", "2").unwrap());
    assert_eq!(store.ttl("a").unwrap(), Some(Remaining::Forever));
    assert_eq!(store.len(), 1);
}

#[test]
fn a_prefix_is_listed_only_if_a_live_key_has_it() {
    let (clock, store) = store();
    for number in 0..1000 {
        store.put_with_ttl(format!("expired/{number}"), "", SECOND).unwrap();
        store.put_with_ttl(format!("mixed/{number}"), "", SECOND).unwrap();
    }
    store.put("mixed/x", "").unwrap();
    clock.advance(SECOND);
    assert_eq!(store.prefixes("/", "").unwrap().collect::<Result<Vec<_>>>().unwrap(), ["mixed/"]);
    assert_eq!(store.keys("").unwrap().collect::<Result<Vec<_>>>().unwrap(), ["mixed/x"]);
}

#[test]
fn a_write_replaces_the_ttl_too_and_a_touch_only_the_ttl() {
    let (clock, store) = store();
    store.put_with_ttl("a", "1", SECOND).unwrap();
    store.put("a", "2").unwrap();
    assert_eq!(store.ttl("a").unwrap(), Some(Remaining::Forever));
    assert!(store.touch("a", SECOND * 2).unwrap());
    clock.advance(SECOND);
    assert_eq!(store.ttl("a").unwrap(), Some(Remaining::For(SECOND)));
    assert!(!store.create_with_ttl("a", "3", SECOND * 9).unwrap());
    assert_eq!(store.ttl("a").unwrap(), Some(Remaining::For(SECOND)));
    assert!(store.touch("a", Ttl::Forever).unwrap());
    clock.advance(SECOND * 1_000_000);
    assert_eq!(store.get("a").unwrap().unwrap(), "2");
}

#[test]
fn a_copy_keeps_the_remaining_ttl_and_replaces_the_old_one() {
    let (clock, store) = store();
    store.put_with_ttl("short", "", SECOND * 2).unwrap();
    store.put("forever", "").unwrap();
    store.put_with_ttl("target", "", SECOND * 50).unwrap();
    clock.advance(SECOND);
    store.copy("short", "target").unwrap();
    assert_eq!(store.ttl("target").unwrap(), Some(Remaining::For(SECOND)));
    store.rename("forever", "target").unwrap();
    assert_eq!(store.ttl("target").unwrap(), Some(Remaining::Forever));
    store.rename("short", "target").unwrap();
    assert_eq!(store.ttl("target").unwrap(), Some(Remaining::For(SECOND)));
    clock.advance(SECOND);
    assert!(store.is_empty());
}

#[test]
fn a_zero_ttl_leaves_the_key_absent() {
    let (_, store) = store();
    store.put("a", "1").unwrap();
    assert!(!store.create_with_ttl("a", "2", Duration::ZERO).unwrap());
    assert_eq!(store.get("a").unwrap().unwrap(), "1");
    store.put_with_ttl("a", "2", Duration::ZERO).unwrap();
    assert!(!store.contains("a").unwrap());
    assert!(store.create_with_ttl("a", "2", Duration::ZERO).unwrap());
    assert!(!store.contains("a").unwrap());
    store.put("a", "1").unwrap();
    assert!(store.touch("a", Duration::ZERO).unwrap());
    assert!(!store.touch("a", Duration::ZERO).unwrap());
    assert!(store.is_empty());
}

#[test]
fn a_ttl_that_cannot_be_expressed_is_refused_and_nothing_is_written() {
    let (clock, store) = store();
    let longest = store.capabilities().longest_ttl();
    store.put_with_ttl("a", "1", longest).unwrap();
    let refused = |ttl: Duration| {
        let results = [
            store.put_with_ttl("a", "2", ttl),
            store.create_with_ttl("b", "2", ttl).map(drop),
            store.touch("a", ttl).map(drop),
        ];
        for result in results {
            assert!(
                matches!(result, Err(Error::InvalidTtl { ttl: of, longest: most, .. }) if of == ttl && most == longest)
            );
        }
        assert_eq!(store.get("a").unwrap().unwrap(), "1");
        assert!(!store.contains("b").unwrap());
    };
    refused(longest + NANO);
    refused(Duration::MAX);
    // Now the TTL alone can be expressed, but not the time at which the entry would expire.
    clock.advance(longest + NANO * 2);
    store.put("a", "1").unwrap();
    refused(longest);
}

#[test]
fn writes_that_name_no_ttl_get_the_default_ttl() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).default_ttl(SECOND).build().unwrap();
    store.put("put", "").unwrap();
    store.create("create", "").unwrap();
    store.put_from("stream", &b""[..]).unwrap();
    store.put_many([("many", "")]).unwrap();
    store.put_with_ttl("forever", "", Ttl::Forever).unwrap();
    store.put_with_ttl("touched", "", Ttl::Forever).unwrap();
    store.touch("touched", Ttl::Default).unwrap();
    assert_eq!(store.len(), 6);
    clock.advance(SECOND);
    assert_eq!(store.keys("").unwrap().collect::<Result<Vec<_>>>().unwrap(), ["forever"]);

    let never = MemoryStore::builder().default_ttl(Duration::ZERO).build().unwrap();
    never.put("a", "").unwrap();
    assert!(never.is_empty());
    let longest = store.capabilities().longest_ttl();
    MemoryStore::builder().default_ttl(longest).build().unwrap().put("a", "").unwrap();
    let error = MemoryStore::builder().default_ttl(longest + NANO).build().unwrap_err();
    let says =
        format!("memory: `default_ttl` is {:?}, and the longest that the store takes is {longest:?}", longest + NANO);
    assert!(matches!(&error, Error::InvalidSetting { .. }) && error.to_string() == says, "{error}");
}

#[test]
fn the_store_lacks_no_capability() {
    let (_, store) = store();
    assert!(Capability::ALL.iter().all(|&capability| store.capabilities().supports(capability)));
    assert_eq!(store.capabilities().ttl_resolution(), Duration::ZERO);
    assert_eq!(store.name(), "memory");
}

#[derive(Clone, Debug, Default)]
struct Counting(Arc<AtomicUsize>);

impl Clock for Counting {
    fn now(&self) -> Duration {
        self.0.fetch_add(1, Ordering::SeqCst);
        SECOND
    }
}

#[test]
fn the_clock_is_read_only_if_a_ttl_is_involved_and_then_once() {
    let clock = Counting::default();
    let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    let reads = || clock.0.swap(0, Ordering::SeqCst);
    store.put("a", "").unwrap();
    store.put("a", "").unwrap();
    store.get("a").unwrap();
    store.ttl("a").unwrap();
    store.touch("a", Ttl::Forever).unwrap();
    store.create("a", "").unwrap();
    store.copy("a", "b").unwrap();
    store.rename("b", "c").unwrap();
    store.delete("c").unwrap();
    store.put_with_ttl("d", "", Duration::ZERO).unwrap();
    assert_eq!(store.keys("").unwrap().count() + store.prefixes("/", "").unwrap().count(), 2);
    assert_eq!((store.len(), store.snapshot().len()), (1, 1));
    store.sweep();
    assert_eq!(reads(), 0);

    store.put_with_ttl("a", "", SECOND).unwrap();
    assert_eq!(reads(), 1);
    store.get("absent").unwrap();
    assert_eq!(reads(), 0);
    store.get("a").unwrap();
    assert_eq!(reads(), 1);
    store.ttl("a").unwrap();
    assert_eq!(reads(), 1);
    store.put("a", "").unwrap();
    assert_eq!(reads(), 1);
    store.put("a", "").unwrap();
    assert_eq!(reads(), 0);
    store.touch("a", SECOND).unwrap();
    assert_eq!(reads(), 1);
    store.copy("a", "b").unwrap();
    assert_eq!(reads(), 1);
    store.copy("a", "b").unwrap();
    assert_eq!(reads(), 1);
    assert_eq!(store.keys("").unwrap().count(), 2);
    assert!(reads() <= 2);
}

#[derive(Clone, Debug, Default)]
struct Erratic(Arc<AtomicU64>);

impl Clock for Erratic {
    fn now(&self) -> Duration {
        let number = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst);
        if number.is_multiple_of(50) { Duration::MAX } else { Duration::from_nanos(number >> 54) }
    }
}

#[test]
fn a_clock_that_is_wrong_does_no_harm() {
    let store = MemoryStore::builder().clock(Erratic::default()).build().unwrap();
    for number in 0..20_000_u64 {
        let (key, other) = (format!("k{}", number % 300), format!("k{}", number % 299));
        let ttl = Duration::from_nanos(number % 700);
        // Any of this may fail; it only has to end.
        let _ = (store.put_with_ttl(&key, "", ttl), store.copy(&key, &other), store.touch(&other, ttl * 2));
        let _ = (store.rename(&other, &key), store.create_with_ttl(&other, "", ttl), store.keys("").unwrap().count());
    }
    store.sweep();
    store.clear();
    assert_eq!(store.len(), 0);
}

#[test]
fn the_clock_of_the_system_makes_entries_expire() {
    let store = MemoryStore::new();
    let before = std::time::Instant::now();
    store.put_with_ttl("a", "", Duration::from_millis(30)).unwrap();
    while store.contains("a").unwrap() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(before.elapsed() >= Duration::from_millis(30));
}

/// A value that counts how many of it are in memory.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn value(count: &Arc<AtomicUsize>) -> Bytes {
        count.fetch_add(1, Ordering::SeqCst);
        Bytes::from_owner(Self(Arc::clone(count)))
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        b"value"
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Writes of any kind to other keys sweep expired entries that nobody writes to, a few for each write.
#[test]
fn any_writes_to_a_few_other_keys_sweep_expired_entries() {
    const DEAD: usize = 50_000;
    type Write = fn(&MemoryStore, usize);
    let writes: [(&str, Write); 6] = [
        ("put", |store, number| store.put(format!("hot{}", number % 2), "v").unwrap()),
        ("put with a TTL", |store, number| {
            store.put_with_ttl(format!("hot{}", number % 2), "v", SECOND).unwrap();
        }),
        ("create that fails", |store, _| assert!(!store.create("there", "v").unwrap())),
        ("touch", |store, _| assert!(store.touch("there", SECOND * 1000).unwrap())),
        ("delete of an absent key", |store, _| assert!(!store.delete("absent").unwrap())),
        ("copy", |store, _| store.copy("there", "copy").unwrap()),
    ];
    for (what, write) in writes {
        let (clock, store) = store();
        let count = Arc::new(AtomicUsize::new(0));
        store.put("there", "v").unwrap();
        for number in 0..DEAD {
            // Some get their TTL later, and some get another TTL.
            let key = format!("k{number}");
            match number % 3 {
                0 => store.put_with_ttl(&key, Counted::value(&count), SECOND).unwrap(),
                1 => {
                    store.put(&key, Counted::value(&count)).unwrap();
                    assert!(store.touch(&key, SECOND).unwrap());
                }
                _ => {
                    store.put_with_ttl(&key, "", SECOND * 100).unwrap();
                    store.put_with_ttl(&key, Counted::value(&count), SECOND).unwrap();
                }
            }
        }
        clock.advance(SECOND);
        for number in 0..DEAD / 4 {
            write(&store, number);
        }
        let left = count.load(Ordering::SeqCst);
        assert!(left < DEAD / 5, "{left} of {DEAD} are left after {} times {what}", DEAD / 4);
        for number in 0..DEAD / 4 {
            write(&store, number);
        }
        let left = count.load(Ordering::SeqCst);
        assert_eq!(left, 0, "{left} of {DEAD} are left after {} times {what}", DEAD / 2);
    }
}
