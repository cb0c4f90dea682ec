//! How long, how large, and what of what: lifetimes, sizes, keys, values, and a server that is full.

#![cfg(unix)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kv_memcache::{
    Error, KeyValueStore, KeyValueStoreExt, MemcacheStore, MemcacheStoreBuilder, Remaining, Result, Ttl,
};

mod support;
use support::proxy::{Behaviour, Proxy};
use support::{Connection, Memcached, PATIENCE, chain, wait_until};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a busy machine may add to a moment.
const SLACK: Duration = Duration::from_millis(1500);

/// What an item has besides key and value.
const OVERHEAD: usize = 59;

fn patient(server: &Memcached) -> MemcacheStoreBuilder {
    let builder = MemcacheStore::builder().url(server.url());
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// A server, a store, and a connection by which the test sees what the server has.
fn start(options: &[&str]) -> (Memcached, MemcacheStore, Connection) {
    let server = Memcached::start(options);
    let store = patient(&server).connect().unwrap();
    let mut raw = server.connection();
    // So that the server has counted it.
    assert_eq!(raw.ask(b"mn\r\n").unwrap(), "MN");
    (server, store, raw)
}

/// A store whose way to its server leads through a proxy, on one connection.
fn start_behind_a_proxy() -> (Memcached, Arc<Proxy>, MemcacheStore, Connection) {
    let server = Memcached::start(&[]);
    let proxy = Arc::new(Proxy::start(server.port()));
    let url = format!("memcache://127.0.0.1:{}", proxy.port());
    let store = patient(&server).url(url).pool_size(1).build().unwrap();
    let raw = server.connection();
    (server, proxy, store, raw)
}

/// How many seconds the server says are left, -1 for ever; `None` if the key is absent.
#[track_caller]
fn seconds_left(raw: &mut Connection, key: &str) -> Option<i64> {
    match raw.ask(format!("mg {key} t\r\n").as_bytes()).unwrap() {
        absent if absent == "EN" => None,
        line => Some(line.strip_prefix("HD t").unwrap_or_else(|| panic!("{line}")).parse().unwrap()),
    }
}

/// The value, as the server has it.
fn value_of(raw: &mut Connection, key: &str) -> Option<String> {
    match raw.ask(format!("mg {key} v\r\n").as_bytes()).unwrap() {
        absent if absent == "EN" => None,
        _ => Some(raw.line().unwrap()),
    }
}

/// Bytes that are not to be compressed, with their position in them.
fn some_bytes(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 4);
    for word in (0_u32..).take_while(|word| *word as usize * 4 < length) {
        bytes.extend_from_slice(&(word ^ 0xA5C3_1D0A).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A way to write.
type Write = fn(&MemcacheStore, &str, &[u8], Ttl) -> Result<()>;

/// Every way to write a value with a lifetime. `create` is for keys that are absent.
const WRITES: [(&str, Write); 5] = [
    ("put", |store, key, value, ttl| store.put_with_ttl(key, value, ttl)),
    ("put_many", |store, key, value, ttl| store.put_many_with_ttl([(key, value, ttl)])),
    ("put_from", |store, key, value, ttl| store.put_from_with_ttl(key, value, ttl)),
    ("create", |store, key, value, ttl| {
        store.create_with_ttl(key, value, ttl).map(|created| assert!(created, "{key} is there"))
    }),
    ("touch", |store, key, value, ttl| {
        store.put(key, value)?;
        store.touch(key, ttl).map(|there| assert!(there, "{key} is not there"))
    }),
];

mod lifetimes {
    use super::*;

    /// It gets shorter by a day at one moment of each day, which is not to come in the middle of a test.
    fn longest(store: &MemcacheStore) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let left_today = (u64::from(i32::MAX.unsigned_abs()) - now) % DAY.as_secs();
        if left_today < 60 {
            thread::sleep(Duration::from_secs(left_today + 1));
        }
        store.capabilities().longest_ttl()
    }

    #[test]
    fn a_lifetime_is_taken_for_what_it_is() {
        let (_server, store, mut raw) = start(&[]);
        let longest = longest(&store);
        let resolution = store.capabilities().ttl_resolution();
        assert!(longest > 2 * MONTH, "{longest:?}");
        let less = |one: Duration, other| one.checked_sub(other).unwrap();
        let lifetimes = [
            Duration::from_nanos(1),
            Duration::from_millis(1),
            Duration::from_millis(999),
            SECOND,
            Duration::from_millis(1001),
            59 * SECOND,
            less(MONTH, 3 * SECOND),
            less(MONTH, 2 * SECOND),
            less(MONTH, SECOND),
            less(MONTH, Duration::from_millis(1)),
            MONTH,
            MONTH + Duration::from_millis(1),
            MONTH + SECOND,
            2 * MONTH,
            less(longest, SECOND),
            longest,
        ];
        for (number, given) in lifetimes.into_iter().enumerate() {
            for (name, write) in WRITES {
                let (key, what) = (format!("{name}:{number}"), format!("{name} {given:?}"));
                let begin = Instant::now();
                write(&store, &key, b"v", Ttl::After(given))
                    .unwrap_or_else(|error| panic!("{what}: {}", chain(&error)));
                let (told, seconds) = (store.ttl(&key).unwrap(), seconds_left(&mut raw, &key));
                let passed = begin.elapsed();
                let (Some(Remaining::For(left)), Some(seconds)) = (told, seconds) else {
                    panic!("{what}: {told:?}, {seconds:?} after {passed:?}")
                };
                assert!(left + passed + 2 * SECOND >= given && left <= given + resolution, "{what}: {left:?}");
                let seconds = Duration::from_secs(u64::try_from(seconds).unwrap());
                assert!(seconds + passed >= given && seconds <= given + resolution + SECOND, "{what}: {seconds:?}");
            }
        }
    }

    /// Never early (T2), and not later than the store says.
    #[test]
    fn a_short_lifetime_is_kept_and_ends() {
        let (_server, store, _raw) = start(&[]);
        let resolution = store.capabilities().ttl_resolution();
        assert!(resolution <= 3 * SECOND, "{resolution:?}");
        let mut entries = Vec::new();
        // In several parts of the server's second.
        for moment in 0..4 {
            for given in [1, 999, 1000].map(Duration::from_millis) {
                for (name, write) in WRITES {
                    let key = format!("{name}:{}:{moment}", given.as_millis());
                    let called = Instant::now();
                    write(&store, &key, b"v", Ttl::After(given)).unwrap();
                    entries.push((key, given, called, Instant::now()));
                }
            }
            thread::sleep(Duration::from_millis(270));
        }
        while !entries.is_empty() {
            entries.retain(|(key, given, called, returned)| {
                let asked = Instant::now();
                let is_there = store.get(key).unwrap().is_some();
                let answered = Instant::now();
                if is_there {
                    assert!(asked < *returned + *given + resolution + SLACK, "{key} is still there");
                } else {
                    assert!(answered >= *called + *given, "{key} went after {:?}", answered - *called);
                }
                is_there
            });
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_cannot_be_expressed_is_refused_and_changes_nothing() {
        let (server, store, mut raw) = start(&[]);
        let longest = longest(&store);
        let too_long =
            [longest + Duration::from_nanos(1), longest + SECOND, 50 * 365 * DAY, 200 * 365 * DAY, Duration::MAX];
        store.put_with_ttl("k", "old", 1000 * SECOND).unwrap();
        let before = server.stat("bytes_read");
        for given in too_long {
            let errors = [
                store.put_with_ttl("k", "new", given).unwrap_err(),
                store.put_many_with_ttl([("other", "new", SECOND), ("k", "new", given)]).unwrap_err(),
                store.put_from_with_ttl("k", "new".as_bytes(), given).unwrap_err(),
                store.create_with_ttl("k", "new", given).unwrap_err(),
                store.touch("k", given).unwrap_err(),
            ];
            for error in errors {
                let Error::InvalidTtl { ttl, longest: told, .. } = &error else { panic!("{}", chain(&error)) };
                assert_eq!((*ttl, *told, error.key()), (given, longest, Some("k")));
                assert!(!error.is_transient() && !error.outcome_unknown());
            }
        }
        // Two questions of seven bytes.
        let sent = server.stat("bytes_read") - before;
        assert!(sent <= 14, "{sent}");
        assert_eq!(value_of(&mut raw, "k").as_deref(), Some("old"));
        assert!(seconds_left(&mut raw, "k").is_some_and(|left| (900..=1003).contains(&left)));
        assert_eq!(seconds_left(&mut raw, "other"), None);
        // A key that is absent stays so.
        store.create_with_ttl("absent", "new", Duration::MAX).unwrap_err();
        store.touch("absent", Duration::MAX).unwrap_err();
        assert_eq!(seconds_left(&mut raw, "absent"), None);
    }

    /// Lets the greeting of the next connection tell another time.
    fn set_clock(proxy: &Proxy, change: impl Fn(u64) -> u64 + Send + 'static) {
        proxy.set(Behaviour::Edit(Box::new(move |piece| {
            const NAME: &str = "STAT time ";
            let text = String::from_utf8(piece.clone()).unwrap();
            let at = text.find(NAME).unwrap() + NAME.len();
            let end = at + text[at..].find("\r\n").unwrap();
            let time = change(text[at..end].parse().unwrap());
            *piece = format!("{}{time}{}", &text[..at], &text[end..]).into_bytes();
        })));
    }

    /// More than 30 days the server takes for a time by its own clock: so neither it nor ours has to be right.
    #[test]
    fn a_long_lifetime_goes_by_the_clock_of_the_server() {
        for hours in [2, 0, -2_i64] {
            let (_server, proxy, store, mut raw) = start_behind_a_proxy();
            set_clock(&proxy, move |time| time.checked_add_signed(hours * 3600).unwrap());
            // On the connection that was told so.
            for (name, write) in WRITES {
                for days in [20, 40] {
                    let key = format!("{name}:{days}");
                    write(&store, &key, b"v", Ttl::After(days * DAY)).unwrap();
                    let shift = if days == 40 { hours * 3600 } else { 0 };
                    let expected = i64::from(days) * 86_400 + shift;
                    let left = seconds_left(&mut raw, &key).unwrap();
                    assert!((expected - 20..=expected + 4).contains(&left), "{key}, {hours} h: {left}");
                }
            }
            assert_eq!(proxy.accepted(), 1);
        }
    }

    /// If the clock of the server is ahead, what we can express may be more than it can.
    #[test]
    fn what_the_server_cannot_express_by_its_clock_is_refused() {
        let (_server, proxy, store, mut raw) = start_behind_a_proxy();
        set_clock(&proxy, |_| u64::from(i32::MAX.unsigned_abs()) - 30 * 86_400);
        store.put_with_ttl("k", "old", 1000 * SECOND).unwrap();
        for error in [
            store.put_with_ttl("k", "new", 40 * DAY).unwrap_err(),
            store.put_many_with_ttl([("k", "new", 40 * DAY), ("l", "new", SECOND)]).unwrap_err(),
            store.create_with_ttl("l", "new", 40 * DAY).unwrap_err(),
            store.touch("k", 40 * DAY).unwrap_err(),
        ] {
            let text = chain(&error);
            assert!(matches!(&error, Error::InvalidTtl { .. }), "{text}");
            if let Error::InvalidTtl { longest, .. } = error {
                assert!((29 * DAY..30 * DAY).contains(&longest), "{text}");
            }
        }
        assert_eq!(value_of(&mut raw, "k").as_deref(), Some("old"));
        assert!(seconds_left(&mut raw, "k").is_some_and(|left| (900..=1003).contains(&left)));
        assert_eq!(seconds_left(&mut raw, "l"), None);
        // The connection is as good as before.
        store.put_with_ttl("k", "new", 20 * DAY).unwrap();
        assert_eq!(proxy.accepted(), 1);
    }

    #[test]
    fn with_a_lifetime_of_zero_the_key_is_absent() {
        let (_server, store, mut raw) = start(&[]);
        let writes = WRITES.into_iter().filter(|(name, _)| !matches!(*name, "create" | "touch"));
        for (name, write) in writes {
            for old in [None, Some(Ttl::Forever), Some(Ttl::After(1000 * SECOND))] {
                if let Some(ttl) = old {
                    store.put_with_ttl(name, "old", ttl).unwrap();
                }
                write(&store, name, b"new", Ttl::After(Duration::ZERO)).unwrap();
                assert_eq!(store.get(name).unwrap(), None, "{name} over {old:?}");
                assert_eq!(seconds_left(&mut raw, name), None, "{name} over {old:?}");
            }
        }
        assert!(store.create_with_ttl("create", "new", Duration::ZERO).unwrap());
        assert_eq!(value_of(&mut raw, "create"), None);
        store.put("create", "old").unwrap();
        assert!(!store.create_with_ttl("create", "new", Duration::ZERO).unwrap());
        assert_eq!(value_of(&mut raw, "create").as_deref(), Some("old"));
        assert!(!store.touch("touch", Duration::ZERO).unwrap());
        store.put("touch", "old").unwrap();
        assert!(store.touch("touch", Duration::ZERO).unwrap());
        assert_eq!(value_of(&mut raw, "touch"), None);
        // Of the same key the last one wins, whichever that is.
        let (zero, long) = (Ttl::After(Duration::ZERO), Ttl::After(1000 * SECOND));
        store.put_many_with_ttl([("k", "1", long), ("k", "2", zero)]).unwrap();
        assert_eq!(value_of(&mut raw, "k"), None);
        store.put_many_with_ttl([("k", "1", zero), ("k", "2", long)]).unwrap();
        assert_eq!(value_of(&mut raw, "k").as_deref(), Some("2"));
    }

    #[test]
    fn the_default_lifetime_is_that_of_writes_which_name_none() {
        let (server, for_ever, mut raw) = start(&[]);
        for given in [100 * SECOND, MONTH + DAY] {
            let store = patient(&server).default_ttl(given).connect().unwrap();
            let expected = i64::try_from(given.as_secs()).unwrap();
            store.put("put", "v").unwrap();
            store.put_many([("put_many", "v")]).unwrap();
            store.put_from("put_from", "v".as_bytes()).unwrap();
            store.delete("create").unwrap();
            assert!(store.create("create", "v").unwrap());
            for_ever.put("touch", "v").unwrap();
            assert!(store.touch("touch", Ttl::Default).unwrap());
            for key in ["put", "put_many", "put_from", "create", "touch"] {
                let left = seconds_left(&mut raw, key).unwrap();
                assert!((expected - 20..=expected + 4).contains(&left), "{key}: {left}");
                // Without one it is for ever.
                for_ever.put(key, "v").unwrap();
                assert_eq!(seconds_left(&mut raw, key), Some(-1), "{key}");
                assert_eq!(for_ever.ttl(key).unwrap(), Some(Remaining::Forever));
            }
            store.put_with_ttl("put", "v", Ttl::Forever).unwrap();
            assert_eq!(seconds_left(&mut raw, "put"), Some(-1));
        }
    }

    #[test]
    fn a_default_lifetime_is_treated_as_any_other() {
        let (server, _, mut raw) = start(&[]);
        let store = patient(&server).default_ttl(Duration::MAX).connect().unwrap();
        store.put_with_ttl("k", "old", Ttl::Forever).unwrap();
        for error in [
            store.put("k", "new").unwrap_err(),
            store.put_many([("k", "new")]).unwrap_err(),
            store.put_from("k", "new".as_bytes()).unwrap_err(),
            store.create("l", "new").unwrap_err(),
            store.touch("k", Ttl::Default).unwrap_err(),
        ] {
            assert!(matches!(&error, Error::InvalidTtl { ttl: Duration::MAX, .. }), "{}", chain(&error));
        }
        assert_eq!((value_of(&mut raw, "k").as_deref(), seconds_left(&mut raw, "k")), (Some("old"), Some(-1)));
        assert_eq!(seconds_left(&mut raw, "l"), None);

        let store = patient(&server).default_ttl(Duration::ZERO).connect().unwrap();
        store.put("k", "new").unwrap();
        assert_eq!(seconds_left(&mut raw, "k"), None);
        store.put_with_ttl("k", "v", 100 * SECOND).unwrap();
        assert!(store.touch("k", Ttl::Default).unwrap());
        assert_eq!(seconds_left(&mut raw, "k"), None);
    }
}

mod sizes {
    use super::*;

    const OLD: &str = "old";

    /// That what was there before is there, with its lifetime.
    #[track_caller]
    fn is_old(raw: &mut Connection, key: &str) {
        assert_eq!(value_of(raw, key).as_deref(), Some(OLD));
        assert!(seconds_left(raw, key).is_some_and(|left| (900..=1003).contains(&left)));
    }

    #[track_caller]
    fn is_too_large(result: Result<()>, key: &str, size: usize, limit: usize) {
        let error = result.unwrap_err();
        let Error::ValueTooLarge { size: told, limit: told_limit, .. } = &error else { panic!("{}", chain(&error)) };
        assert_eq!((*told, *told_limit, error.key()), (size as u64, limit as u64, Some(key)));
        assert!(!error.is_transient() && !error.outcome_unknown());
    }

    /// Keys of the least and of the largest length.
    fn keys() -> [String; 2] {
        ["k".to_owned(), "K".repeat(250)]
    }

    /// That a value is refused in every way of writing it, that the old one stays, and that nothing is sent.
    fn one_above_is_refused(server: &Memcached, store: &MemcacheStore, raw: &mut Connection, key: &str, limit: usize) {
        let value = some_bytes(limit + 1);
        store.put_with_ttl(key, OLD, 1000 * SECOND).unwrap();
        let before = server.stat("bytes_read");
        for ttl in [Ttl::Default, Ttl::Forever, Ttl::After(SECOND), Ttl::After(Duration::ZERO)] {
            is_too_large(store.put_with_ttl(key, &value, ttl), key, limit + 1, limit);
        }
        is_too_large(store.put_many([("another", &b"new"[..]), (key, &value)]), key, limit + 1, limit);
        is_too_large(store.create(key, &value).map(drop), key, limit + 1, limit);
        is_too_large(store.put_from(key, &*value), key, limit + 1, limit);
        // It need not be read to its end, which it may not have.
        is_too_large(store.put_from(key, io::repeat(b'x')), key, limit + 1, limit);
        let sent = server.stat("bytes_read") - before;
        // Two questions of seven bytes.
        assert!(sent <= 14, "{sent}");
        is_old(raw, key);
        assert_eq!(seconds_left(raw, "another"), None);
    }

    /// That the server itself takes exactly as much, and what it does to what was there.
    fn the_server_refuses_the_same(raw: &mut Connection, key: &str, limit: usize) {
        assert_eq!(raw.ask(format!("ms {key} 3 T1000\r\nold\r\n").as_bytes()).unwrap(), "HD");
        let value = some_bytes(limit + 1);
        let write = |value: &[u8]| [format!("ms {key} {}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat();
        let refusal = raw.ask(&write(&value)).unwrap();
        assert_eq!(refusal, "SERVER_ERROR object too large for cache");
        assert_eq!(seconds_left(raw, key), None, "this is why it has to be refused before");
        if limit > 400_000 {
            assert_eq!(raw.ask(&write(&value[..limit])).unwrap(), "HD");
        }
    }

    #[test]
    fn what_the_server_takes_is_taken_and_not_a_byte_more() {
        let options: [(usize, &[&str]); 4] = [
            (1 << 20, &["-I", "1m"]),
            (512 << 10, &["-I", "512k"]),
            (2 << 20, &["-I", "2m"]),
            (8 << 20, &["-I", "8m", "-m", "256"]),
        ];
        for (item, options) in options {
            let (server, store, mut raw) = start(options);
            for key in keys() {
                let limit = item - OVERHEAD - key.len();
                let value = some_bytes(limit);
                let [longer, other] = ["L".repeat(key.len() + 1), "O".repeat(key.len())];
                for (name, write) in WRITES {
                    store.delete(&*key).unwrap();
                    write(&store, &key, &value, Ttl::After(1000 * SECOND)).unwrap();
                    assert!(store.get(&*key).unwrap().is_some_and(|got| got == value), "{name}, {options:?}");
                    assert!(seconds_left(&mut raw, &key).is_some_and(|left| left > 900), "{name}, {options:?}");
                }
                // Where it fits as well.
                store.copy(&*key, &*other).unwrap();
                assert!(store.get(&*other).unwrap().is_some_and(|got| got == value), "{options:?}");
                store.delete(&*key).unwrap();
                store.rename(&*other, &*key).unwrap();
                assert!(store.get(&*key).unwrap().is_some_and(|got| got == value), "{options:?}");
                // With a longer key it is too large.
                if longer.len() <= 250 {
                    for to in [longer, "L".repeat(250)] {
                        store.put_with_ttl(&*to, OLD, 1000 * SECOND).unwrap();
                        let limit_of_to = item - OVERHEAD - to.len();
                        is_too_large(store.copy(&*key, &*to), &to, limit, limit_of_to);
                        is_too_large(store.rename(&*key, &*to), &to, limit, limit_of_to);
                        is_old(&mut raw, &to);
                        assert!(store.get(&*key).unwrap().is_some_and(|got| got == value), "{options:?}");
                    }
                }
                one_above_is_refused(&server, &store, &mut raw, &key, limit);
                the_server_refuses_the_same(&mut raw, &key, limit);
            }
        }
    }

    /// It is asked when the connection is made, whatever the store was told.
    #[test]
    fn a_store_that_did_not_ask_heeds_the_limit_of_the_server() {
        for (options, item, given) in [
            (["-I", "512k"], 512 << 10, None),
            (["-I", "1m"], 1 << 20, Some(2 << 20)),
            (["-I", "512k"], 512 << 10, Some(8 << 20)),
        ] {
            let server = Memcached::start(&options);
            let mut raw = server.connection();
            let builder = given.into_iter().fold(patient(&server), MemcacheStoreBuilder::largest_item);
            for store in [builder.clone().build().unwrap(), builder.connect().unwrap()] {
                for key in keys() {
                    let limit = item - OVERHEAD - key.len();
                    let value = some_bytes(limit + 1);
                    store.put_with_ttl(&*key, OLD, 1000 * SECOND).unwrap();
                    let before = server.stat("bytes_read");
                    is_too_large(store.put(&*key, &value), &key, limit + 1, limit);
                    is_too_large(store.create(&*key, &value).map(drop), &key, limit + 1, limit);
                    is_too_large(store.put_from(&*key, &*value), &key, limit + 1, limit);
                    // In one round trip with others: none is written, whichever comes first.
                    let (key, value) = (key.as_str(), value.as_slice());
                    is_too_large(store.put_many([("first", &b"1"[..]), (key, value)]), key, limit + 1, limit);
                    is_too_large(store.put_many([(key, value), ("last", b"1")]), key, limit + 1, limit);
                    let sent = server.stat("bytes_read") - before;
                    assert!(sent <= 14, "{sent}");
                    is_old(&mut raw, key);
                    assert_eq!((seconds_left(&mut raw, "first"), seconds_left(&mut raw, "last")), (None, None));
                    // The connection is as good as before.
                    store.put(key, &value[..limit]).unwrap();
                    assert!(store.get(key).unwrap().is_some_and(|got| got == value[..limit]));
                    // By copying, too.
                    if key.len() == 1 {
                        store.put_with_ttl("to", OLD, 1000 * SECOND).unwrap();
                        is_too_large(store.copy(key, "to"), "to", limit, limit - 1);
                        is_too_large(store.rename(key, "to"), "to", limit, limit - 1);
                        is_old(&mut raw, "to");
                    }
                }
            }
        }
    }

    /// A store may be told less than the server takes.
    #[test]
    fn a_store_heeds_a_smaller_limit_of_its_own() {
        let server = Memcached::start(&[]);
        let mut raw = server.connection();
        let builder = patient(&server).largest_item(2000);
        for store in [builder.clone().build().unwrap(), builder.connect().unwrap()] {
            for key in keys() {
                let limit = 2000 - OVERHEAD - key.len();
                store.put(&*key, some_bytes(limit)).unwrap();
                store.put_from(&*key, &*some_bytes(limit)).unwrap();
                one_above_is_refused(&server, &store, &mut raw, &key, limit);
            }
        }
    }

    /// The limit is that of each server, and a batch goes to all.
    #[test]
    fn each_of_several_servers_has_its_own_limit() {
        let servers = [Memcached::start(&["-I", "2m"]), Memcached::start(&["-I", "512k"])];
        let urls = servers.iter().map(Memcached::url);
        let store = patient(&servers[0]).servers(urls).largest_item(2 << 20).build().unwrap();
        let value = some_bytes(1_000_000);
        let (mut taken, mut refused) = (0, 0);
        for number in 0..20 {
            let key = format!("k{number:02}");
            store.put(&key, OLD).unwrap();
            match store.put(&key, &value) {
                Ok(()) => {
                    taken += 1;
                    assert!(store.get(&key).unwrap().is_some_and(|got| got == value));
                }
                result => {
                    refused += 1;
                    is_too_large(result, &key, value.len(), (512 << 10) - OVERHEAD - key.len());
                    assert_eq!(store.get(&key).unwrap().as_deref(), Some(OLD.as_bytes()));
                }
            }
        }
        assert!(taken > 0 && refused > 0, "{taken} and {refused}");
    }
}

mod bytes {
    use super::*;

    #[track_caller]
    fn has(store: &MemcacheStore, key: &str, value: &[u8]) {
        let got = store.get(key).unwrap();
        assert!(
            got.as_deref() == Some(value),
            "{key}: {:?} is {:?}",
            value.escape_ascii(),
            got.map(|got| got.escape_ascii().to_string())
        );
    }

    /// Writes and reads this in every way that there is.
    fn come_back(store: &MemcacheStore, entries: &[(String, Vec<u8>)]) {
        for (name, write) in WRITES {
            let keys = entries.iter().map(|(key, _)| key);
            store.delete_many(keys.clone()).unwrap();
            for (key, value) in entries {
                write(store, key, value, Ttl::Default).unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
            }
            // None is another one's.
            let together = store.get_many(keys).unwrap();
            for ((key, value), together) in entries.iter().zip(together) {
                has(store, key, value);
                assert!(together.as_deref() == Some(value), "{name} {key}");
            }
        }
        store.put_many(entries.iter().map(|(key, value)| (key, value))).unwrap();
        let mut open = Vec::new();
        for (key, value) in entries {
            has(store, key, value);
            open.clear();
            store.open(key).unwrap().read_to_end(&mut open).unwrap();
            assert!(open == *value, "{key}");
            open.clear();
            assert_eq!(store.get_into(key, &mut open).unwrap(), value.len() as u64);
            assert!(open == *value, "{key}");
            // To a key that none of them is, and back.
            let other = format!("{}!", "~".repeat(10));
            store.copy(key, &other).unwrap();
            has(store, &other, value);
            store.delete(key).unwrap();
            store.rename(&other, key).unwrap();
            has(store, key, value);
            assert_eq!(store.get(&other).unwrap(), None);
            assert!(!store.create(key, "other").unwrap());
            assert!(store.touch(key, 100 * SECOND).unwrap());
            has(store, key, value);
        }
        let removed = store.delete_many(entries.iter().map(|(key, _)| key)).unwrap();
        assert_eq!(removed, vec![true; entries.len()]);
    }

    #[test]
    fn values_that_look_like_the_protocol_come_back() {
        let (server, store, _raw) = start(&[]);
        let mut values: Vec<Vec<u8>> = [
            &b""[..],
            b"END\r\n",
            b"VA 1 O7\r\n",
            b"VA 1 O1\r\nv\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"\r\n\r\n",
            b"HD",
            b"HD\r\n",
            b"HD O3\r\n",
            b"EN\r\n",
            b"NS\r\nNF\r\nEX\r\nMN\r\n",
            b"\0",
            b"\0\0\0\0",
            b"v\0",
            b"ms k 1\r\nv\r\n",
            b"\r\nms k 1\r\nv\r\n",
            b"flush_all\r\n",
            b"\r\nquit\r\n",
            b"SERVER_ERROR out of memory storing object\r\n",
            b"ERROR\r\n",
            b"VALUE k 0 1\r\nv\r\nEND\r\n",
            b"\x80\x01\x00\x00",
            b"\xff\xfe\xfd",
            b" ",
            b"  \t ",
            b"0",
            b"-1",
            b"18446744073709551616",
        ]
        .map(<[u8]>::to_vec)
        .to_vec();
        values.push((0..=255).collect());
        values.push(b"\r\n".repeat(10_000));
        values.push(b"ms k 1\r\nv\r\n".repeat(5_000));
        let entries: Vec<_> = (0..).map(|number| format!("key{number}")).zip(values).collect();
        come_back(&store, &entries);
        assert_eq!(store.get("k").unwrap(), None, "nothing of it was taken for a command");
        assert_eq!(server.stat("cmd_flush"), 0);
    }

    /// Where the store begins to send values from where they are, the server to split items, and the buffers end.
    #[test]
    fn values_of_all_sizes_come_back() {
        let (_server, store, _raw) = start(&["--memory-limit=256"]);
        let around = |size: usize| [size - 1, size, size + 1];
        let sizes = [1_usize, 2, 3, 100, 1000].into_iter().chain((9..20).map(|power| 1 << power).flat_map(around));
        let entries: Vec<_> = sizes.map(|size| (format!("size{size}"), some_bytes(size))).collect();
        come_back(&store, &entries);
    }

    #[test]
    fn keys_of_all_characters_and_lengths_are_keys() {
        let (server, store, _raw) = start(&[]);
        let characters = ('!'..='~').collect::<String>();
        assert_eq!(characters.len(), 94);
        let mut keys: Vec<_> = characters.chars().map(String::from).collect();
        keys.push(characters.clone());
        keys.push(characters.chars().rev().collect());
        keys.push(characters.chars().cycle().take(250).collect());
        for length in [2, 3, 127, 128, 248, 249, 250] {
            keys.push("k".repeat(length));
            keys.push(format!("{}x", "k".repeat(length - 1)));
        }
        // Words and flags of the protocol, and what might be decoded.
        for key in [
            "mg", "ms", "get", "set", "noreply", "v", "T0", "O1", "b", "%41", "k%20k", "stats", "quit", "EN", "0",
            "-1", "\\r\\n",
        ] {
            keys.push(key.into());
        }
        keys.sort();
        keys.dedup();
        let entries: Vec<_> = keys.into_iter().map(|key| (key.clone(), format!("of {key}").into_bytes())).collect();
        come_back(&store, &entries);
        assert_eq!(server.stat("curr_items"), 0, "none was taken for another one");
    }

    #[test]
    fn a_key_that_is_none_is_refused_before_anything_is_sent() {
        let (server, store, _raw) = start(&[]);
        let before = server.stat("bytes_read");
        let long = "k".repeat(251);
        for key in ["", " ", "a b", "k\r\n", "k\r\nflush_all\r\n", "k\0", "\u{7f}", "ü", "k\t", &long] {
            for error in [
                store.get(key).unwrap_err(),
                store.put(key, "v").unwrap_err(),
                store.create(key, "v").unwrap_err(),
                store.delete(key).unwrap_err(),
                store.ttl(key).unwrap_err(),
                store.touch(key, SECOND).unwrap_err(),
                store.copy(key, "k").unwrap_err(),
                store.copy("k", key).unwrap_err(),
                store.rename(key, "k").unwrap_err(),
                store.get_many(["k", key]).unwrap_err(),
                store.put_many([("k", "v"), (key, "v")]).unwrap_err(),
                store.delete_many(["k", key]).unwrap_err(),
            ] {
                assert!(matches!(&error, Error::InvalidKey(_)), "{}", chain(&error));
            }
        }
        let sent = server.stat("bytes_read") - before;
        assert!(sent <= 14, "{sent}");
    }
}

mod copies {
    use super::*;

    /// For ever, short, and longer than the server can count.
    const LIFETIMES: [Ttl; 6] = [
        Ttl::Forever,
        Ttl::After(Duration::from_secs(5)),
        Ttl::After(Duration::from_secs(1000)),
        Ttl::After(MONTH),
        Ttl::After(Duration::from_secs(45 * 24 * 60 * 60)),
        Ttl::After(Duration::from_secs(3 * 365 * 24 * 60 * 60)),
    ];

    #[test]
    fn a_copy_goes_when_its_original_goes() {
        let (_server, store, mut raw) = start(&[]);
        for (number, ttl) in LIFETIMES.into_iter().enumerate() {
            let [from, to, renamed] = ["from", "to", "renamed"].map(|name| format!("{name}{number}"));
            // What is there has another one.
            store.put_with_ttl(&to, "old", 7 * DAY).unwrap();
            store.put_with_ttl(&renamed, "old", Ttl::Forever).unwrap();
            store.put_with_ttl(&from, "v", ttl).unwrap();
            let before = seconds_left(&mut raw, &from).unwrap();
            store.copy(&from, &to).unwrap();
            let (original, copy) = (seconds_left(&mut raw, &from).unwrap(), seconds_left(&mut raw, &to).unwrap());
            assert_eq!(value_of(&mut raw, &to).as_deref(), Some("v"));
            // The clock may tick in between, and what is sent as a time is rounded up.
            let is_same = |copy: i64, original: i64| {
                if ttl == Ttl::Forever { copy == -1 } else { (original - 1..=original + 1).contains(&copy) }
            };
            assert!(is_same(copy, original), "{ttl:?}: {copy} and {original}");
            assert!(original <= before, "{ttl:?}: {original} after {before}");
            store.rename(&from, &renamed).unwrap();
            let (copy, renamed) = (seconds_left(&mut raw, &to).unwrap(), seconds_left(&mut raw, &renamed).unwrap());
            assert!(is_same(renamed, copy), "{ttl:?}: {renamed} and {copy}");
            assert_eq!(seconds_left(&mut raw, &from), None);
            // A copy of a copy as well.
            for _ in 0..5 {
                store.copy(&to, &from).unwrap();
                let (original, copy) = (seconds_left(&mut raw, &to).unwrap(), seconds_left(&mut raw, &from).unwrap());
                assert!(is_same(copy, original), "{ttl:?}: {copy} and {original}");
                store.rename(&from, &to).unwrap();
            }
        }
    }

    /// Of the shortest there is, half a second is left when it is copied: the copy must be there, and go.
    #[test]
    fn a_copy_of_what_is_about_to_go_goes_too() {
        let (_server, store, mut raw) = start(&[]);
        store.put("for-ever", "old").unwrap();
        store.put_with_ttl("from", "v", Duration::from_millis(1)).unwrap();
        let deadline = Instant::now() + store.capabilities().ttl_resolution() + SLACK;
        let mut copies = 0;
        // Until it is gone.
        while let Ok(()) = store.copy("from", "to") {
            copies += 1;
            assert!(Instant::now() < deadline, "it is still there");
            let left = seconds_left(&mut raw, "to");
            assert!(left.is_none_or(|left| (0..=4).contains(&left)), "{left:?}");
            thread::sleep(Duration::from_millis(20));
        }
        assert!(copies > 0);
        assert!(matches!(store.copy("from", "for-ever").unwrap_err(), Error::NotFound { .. }));
        assert_eq!(store.get("for-ever").unwrap().as_deref(), Some(&b"old"[..]));
        let deadline = Instant::now() + 2 * SECOND + SLACK;
        while store.get("to").unwrap().is_some() {
            assert!(Instant::now() < deadline, "the copy is still there");
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn to_the_same_key_nothing_changes_and_from_an_absent_one_it_is_said() {
        let (_server, store, mut raw) = start(&[]);
        store.put_with_ttl("k", "v", 1000 * SECOND).unwrap();
        store.copy("k", "k").unwrap();
        store.rename("k", "k").unwrap();
        assert_eq!(value_of(&mut raw, "k").as_deref(), Some("v"));
        assert!(seconds_left(&mut raw, "k").is_some_and(|left| (900..=1003).contains(&left)));
        for error in [store.copy("absent", "k").unwrap_err(), store.rename("absent", "k").unwrap_err()] {
            assert!(matches!(&error, Error::NotFound { .. }) && error.key() == Some("absent"), "{}", chain(&error));
        }
        assert_eq!(value_of(&mut raw, "k").as_deref(), Some("v"));
    }

    /// Does something while the reply with this number is on its way, counted from the next one.
    fn meanwhile(proxy: &Arc<Proxy>, replies: usize, act: impl FnOnce() + Send + 'static) {
        let next = Arc::clone(proxy);
        proxy.set(Behaviour::Edit(Box::new(move |_| {
            if replies == 0 {
                act();
            } else {
                meanwhile(&next, replies - 1, act);
            }
        })));
    }

    #[test]
    fn what_is_written_to_it_during_a_rename_stays() {
        let writes: [(&str, &[u8], Option<&str>); 5] = [
            ("a new value", b"ms from 3\r\nnew\r\n", Some("new")),
            // The number of its version alone has changed.
            ("the same value", b"ms from 3\r\nold\r\n", Some("old")),
            ("a longer value", b"ms from 3 MA\r\n+++\r\n", Some("old+++")),
            ("a delete", b"md from\r\n", None),
            ("a lifetime", b"mg from T500\r\n", None),
        ];
        for (what, command, expected) in writes {
            // While the value is on its way to us, and while we are told that it is stored.
            for replies in [0, 1] {
                let (server, proxy, store, mut raw) = start_behind_a_proxy();
                store.put_with_ttl("from", "old", 1000 * SECOND).unwrap();
                store.put("to", "before").unwrap();
                let mut other = server.connection();
                meanwhile(&proxy, replies, move || assert_eq!(other.ask(command).unwrap(), "HD"));
                store.rename("from", "to").unwrap_or_else(|error| panic!("{what}: {}", chain(&error)));
                assert_eq!(value_of(&mut raw, "from").as_deref(), expected, "{what} after {replies} replies");
                assert_eq!(value_of(&mut raw, "to").as_deref(), Some("old"), "{what} after {replies} replies");
                assert!(seconds_left(&mut raw, "to").is_some_and(|left| (900..=1003).contains(&left)), "{what}");
                assert_eq!(proxy.accepted(), 1, "{what}");
                // In step.
                store.put("k", "v").unwrap();
                assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
            }
        }
    }
}

mod others {
    use super::*;

    /// What other clients make of an entry is theirs; to us it is bytes.
    #[test]
    fn entries_of_other_clients_are_read_as_they_are() {
        let (server, store, mut raw) = start(&[]);
        let store_with = patient(&server).contains(true).connect().unwrap();
        let fresh = |raw: &mut Connection| {
            assert_eq!(raw.ask(b"set k 123 1000 3\r\nold\r\n").unwrap(), "STORED");
        };
        fresh(&mut raw);
        assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"old"[..]));
        assert_eq!(store.get_many(["k", "k"]).unwrap(), vec![Some("old".into()); 2]);
        assert!(store_with.contains("k").unwrap());
        let Some(Remaining::For(left)) = store.ttl("k").unwrap() else { panic!("it has a lifetime") };
        assert!((900..=1000).contains(&left.as_secs()), "{left:?}");
        assert!(!store.create("k", "new").unwrap());
        // A new lifetime leaves their flags alone.
        assert!(store.touch("k", 5000 * SECOND).unwrap());
        let line = raw.ask(b"mg k f t s\r\n").unwrap();
        assert!(line.starts_with("HD f123 t50") || line.starts_with("HD f123 t49"), "{line}");
        store.copy("k", "copy").unwrap();
        assert_eq!(store.get("copy").unwrap().as_deref(), Some(&b"old"[..]));
        store.rename("k", "renamed").unwrap();
        assert_eq!((value_of(&mut raw, "k"), value_of(&mut raw, "renamed").as_deref()), (None, Some("old")));
        fresh(&mut raw);
        store.put("k", "new").unwrap();
        assert_eq!(raw.ask(b"mg k f t v\r\n").unwrap(), "VA 3 f0 t-1");
        assert_eq!(raw.line().unwrap(), "new");
        fresh(&mut raw);
        assert!(store.delete("k").unwrap());
        fresh(&mut raw);
        assert_eq!(store.delete_many(["k", "k"]).unwrap(), [true, false]);
        // Of another kind: largest flags, and an entry that is gone at once.
        assert_eq!(raw.ask(b"set k 4294967295 0 1\r\nv\r\n").unwrap(), "STORED");
        assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
        assert_eq!(store.ttl("k").unwrap(), Some(Remaining::Forever));
        assert_eq!(raw.ask(b"set k 0 -1 1\r\nv\r\n").unwrap(), "STORED");
        assert_eq!(store.get("k").unwrap(), None);
        assert!(store.create("k", "mine").unwrap());
    }

    #[test]
    fn counters_are_read_as_their_digits() {
        let (_server, store, mut raw) = start(&[]);
        store.put("n", "10").unwrap();
        assert_eq!(raw.ask(b"incr n 5\r\n").unwrap(), "15");
        assert_eq!(store.get("n").unwrap().as_deref(), Some(&b"15"[..]));
        assert_eq!(raw.ask(b"incr n 985\r\n").unwrap(), "1000");
        assert_eq!(store.get("n").unwrap().as_deref(), Some(&b"1000"[..]));
        // The server may keep the length, and fill it with spaces.
        assert_eq!(raw.ask(b"decr n 1\r\n").unwrap(), "999");
        let value = value_of(&mut raw, "n").unwrap();
        assert!(["999", "999 "].contains(&value.as_str()), "{value:?}");
        assert_eq!(store.get("n").unwrap().as_deref(), Some(value.as_bytes()));
        store.copy("n", "m").unwrap();
        assert_eq!(store.get("m").unwrap().as_deref(), Some(value.as_bytes()));
        // Made by the meta protocol, with a lifetime.
        assert!(raw.ask(b"ma c N100 J7 v\r\n").unwrap().starts_with("VA 1"));
        assert_eq!(raw.line().unwrap(), "7");
        assert_eq!(store.get("c").unwrap().as_deref(), Some(&b"7"[..]));
        assert!(store.touch("c", 1000 * SECOND).unwrap());
        assert!(store.delete("c").unwrap());
        assert_eq!(raw.ask(b"incr c 1\r\n").unwrap(), "NOT_FOUND");
    }

    type Act = fn(&MemcacheStore);

    /// Such replies have flags that nobody asked for.
    #[test]
    fn what_another_client_has_marked_stale_is_read_as_any_other() {
        let (server, _, mut raw) = start(&[]);
        let store = patient(&server).contains(true).pool_size(1).connect().unwrap();
        let connections = server.stat("total_connections");
        let acts: [(&str, Act); 7] = [
            ("get", |store| assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"old"[..]))),
            ("get_many", |store| assert_eq!(store.get_many(["k", "k"]).unwrap(), vec![Some("old".into()); 2])),
            ("contains", |store| assert!(store.contains("k").unwrap())),
            ("ttl", |store| assert!(store.ttl("k").unwrap().is_some())),
            ("touch", |store| assert!(store.touch("k", 500 * SECOND).unwrap())),
            ("copy", |store| store.copy("k", "copy").unwrap()),
            ("delete", |store| assert!(store.delete("k").unwrap())),
        ];
        for (name, act) in acts {
            assert_eq!(raw.ask(b"ms k 3\r\nold\r\n").unwrap(), "HD");
            assert_eq!(raw.ask(b"md k I T1000\r\n").unwrap(), "HD");
            act(&store);
            // Twice: who comes first is told to refresh it.
            if name != "delete" {
                act(&store);
            }
        }
        // And one that is about to be made by another client.
        assert_eq!(raw.ask(b"mg vivid v N100\r\n").unwrap(), "VA 0 W");
        assert_eq!(raw.line().unwrap(), "");
        assert_eq!(store.get("vivid").unwrap().as_deref(), Some(&b""[..]));
        assert!(!store.create("vivid", "v").unwrap());
        store.put("vivid", "v").unwrap();
        assert_eq!(store.get("vivid").unwrap().as_deref(), Some(&b"v"[..]));
        assert_eq!(server.stat("total_connections"), connections + 1, "no connection was given up");
    }
}

mod many {
    use super::*;

    #[test]
    fn a_hundred_thousand_keys_go_in_one_call() {
        const KEYS: usize = 100_000;
        let (server, store, _raw) = start(&["--memory-limit=512"]);
        let value = |number: usize| number.to_string().repeat(number % 7);
        let key = |number: usize| format!("k{number}");
        let before = server.stat("total_connections");
        store.put_many((0..KEYS).map(|number| (key(number), value(number)))).unwrap();
        assert_eq!(server.stat("curr_items"), KEYS as u64);
        let values = store.get_many((0..=KEYS).rev().map(key)).unwrap();
        assert_eq!(values.len(), KEYS + 1);
        for (got, number) in values.iter().zip((0..=KEYS).rev()) {
            let expected = (number < KEYS).then(|| value(number));
            assert_eq!(got.as_deref(), expected.as_deref().map(str::as_bytes), "k{number}");
        }
        let removed = store.delete_many((0..=KEYS).map(key)).unwrap();
        assert_eq!(removed, [vec![true; KEYS], vec![false]].concat());
        assert_eq!(server.stat("curr_items"), 0);
        assert_eq!(server.stat("total_connections"), before + 3, "these questions");
    }

    /// Long and short ones take different ways, and neither side may wait for the other.
    #[test]
    fn values_of_all_sizes_go_together() {
        const KEYS: usize = 3000;
        let (_server, store, _raw) = start(&["--memory-limit=512"]);
        // From 0 to 40 KiB, in no order.
        let size = |number: usize| number * 7919 % (40 * 1024 + 1);
        let bytes = some_bytes(40 * 1024 + KEYS);
        let value = |number: usize| &bytes[number..number + size(number)];
        let long_key = |number: usize| format!("{number}{}", "k".repeat(number % 240));
        store.put_many((0..KEYS).map(|number| (long_key(number), value(number)))).unwrap();
        let values = store.get_many((0..KEYS).map(long_key)).unwrap();
        for (number, got) in values.into_iter().enumerate() {
            assert!(got.is_some_and(|got| got == value(number)), "{number}: {} bytes", size(number));
        }
        assert_eq!(store.delete_many((0..KEYS).map(long_key)).unwrap(), vec![true; KEYS]);
    }

    /// A batch of the largest values.
    #[test]
    fn a_chunk_of_large_values_goes() {
        let (_server, store, _raw) = start(&["--memory-limit=256"]);
        let value = some_bytes((1 << 20) - OVERHEAD - 3);
        store.put_many((0..40).map(|number| (format!("k{number:02}"), &value))).unwrap();
        let values = store.get_many((0..40).map(|number| format!("k{number:02}"))).unwrap();
        assert!(values.into_iter().all(|got| got.is_some_and(|got| got == value)));
    }
}

mod memory {
    use super::*;

    /// Writes more than the server has room for.
    fn overfill(server: &Memcached, store: &MemcacheStore, size: usize, entries: usize) {
        let bytes = some_bytes(size);
        let value = |number: usize| [&number.to_be_bytes(), &bytes[8..]].concat();
        for number in 0..entries {
            let key = format!("k{size}:{number}");
            store.put(key, value(number)).unwrap_or_else(|error| panic!("{number}: {}", chain(&error)));
        }
        // Those used longest ago went; what is there is whole.
        let values = store.get_many((0..entries).map(|number| format!("k{size}:{number}"))).unwrap();
        let is_there: Vec<_> = values.iter().map(Option::is_some).collect();
        for (number, got) in values.into_iter().enumerate() {
            assert!(got.is_none_or(|got| got == value(number)), "{number}");
        }
        assert!(
            is_there[entries - 10..].iter().all(|&there| there),
            "of size {size} the last ones are not all there: {is_there:?}"
        );
        assert!(is_there[..entries / 10].iter().any(|&there| !there), "the first ones are all there");
        assert!(server.stat("evictions") > 0);
        // The others are gone for everything.
        let gone = is_there.iter().position(|&there| !there).unwrap();
        let gone = format!("k{size}:{gone}");
        assert!(!store.delete(&gone).unwrap() && !store.touch(&gone, SECOND).unwrap());
        assert_eq!(store.ttl(&gone).unwrap(), None);
        assert!(matches!(store.copy(&gone, "copy").unwrap_err(), Error::NotFound { .. }));
        assert!(store.create(&gone, "again").unwrap());
        assert_eq!(store.get(&gone).unwrap().as_deref(), Some(&b"again"[..]));
    }

    #[test]
    fn a_server_that_is_full_drops_what_was_used_longest_ago() {
        // A server of its own for each: memory that has gone to values of one size is slow to come to those of another one.
        for (size, entries) in [(1_000, 70_000), (100_000, 2_000), ((1 << 20) - OVERHEAD - 250, 200)] {
            let (server, store, _raw) = start(&["--memory-limit=64"]);
            overfill(&server, &store, size, entries);
        }
        // Where it is so, it goes on all the same: what was written last is there.
        let (server, store, _raw) = start(&["--memory-limit=64"]);
        for size in [100_000, 1_000_000, 30_000, 500_000] {
            let value = some_bytes(size);
            for number in 0..200 {
                let key = format!("k{number}");
                store.put(&key, &value).unwrap_or_else(|error| panic!("{size}: {}", chain(&error)));
                assert!(store.get(&key).unwrap().is_some_and(|got| got == value), "{size}");
            }
        }
        assert!(server.stat("evictions") > 0);
    }

    /// Several writers at once may find no room, which is not a broken store.
    #[test]
    fn writers_of_the_largest_values_do_not_get_into_each_others_way() {
        let (server, store, _raw) = start(&["--memory-limit=64"]);
        let value = some_bytes((1 << 20) - OVERHEAD - 250);
        thread::scope(|scope| {
            for writer in 0..8 {
                let (store, value) = (&store, &value);
                scope.spawn(move || {
                    for number in 0..25 {
                        let key = format!("{writer}:{number}");
                        match store.put(&key, value) {
                            Ok(()) => {}
                            Err(error) => is_out_of_memory(&error, &key),
                        }
                        let got = store.get(&key).unwrap();
                        assert!(got.is_none_or(|got| got == *value), "{key}");
                    }
                });
            }
        });
        assert!(server.stat("evictions") > 0);
        store.put("k", &value).unwrap();
        assert!(store.get("k").unwrap().is_some_and(|got| got == value));
    }

    #[track_caller]
    fn is_out_of_memory(error: &Error, key: &str) {
        let text = chain(error);
        assert!(matches!(error, Error::Backend(_)) && error.is_transient() && !error.outcome_unknown(), "{text}");
        assert!(text.contains("no memory for the value, and has removed whatever was there before"), "{text}");
        assert!(text.contains("SERVER_ERROR out of memory storing object"), "{text}");
        assert_eq!(error.key(), Some(key));
    }

    /// A server may be told to refuse rather than to drop (`-M`). Then it removes the old value, and the error says so.
    #[test]
    fn a_server_that_drops_nothing_says_that_it_is_full() {
        let (server, store, mut raw) = start(&["--memory-limit=64", "--disable-evictions"]);
        let value = some_bytes(500_000);
        store.put_with_ttl("k", "old", 1000 * SECOND).unwrap();
        store.put_with_ttl("batch", "old", 1000 * SECOND).unwrap();
        store.put("stays", "old").unwrap();
        let full =
            (0..1000).find_map(|number| store.put(format!("fill{number}"), &value).err().map(|error| (number, error)));
        let (filled, error) = full.unwrap();
        is_out_of_memory(&error, &format!("fill{filled}"));
        is_out_of_memory(&store.put("k", &value).unwrap_err(), "k");
        assert_eq!(seconds_left(&mut raw, "k"), None, "as the error says");
        let (small, large) = (&b"new"[..], value.as_slice());
        let error = store.put_many([("first", small), ("batch", large), ("last", small)]).unwrap_err();
        is_out_of_memory(&error, "batch");
        assert_eq!(seconds_left(&mut raw, "batch"), None, "as the error says");
        is_out_of_memory(&store.create("absent", &value).unwrap_err(), "absent");
        is_out_of_memory(&store.copy("fill0", "copy").unwrap_err(), "copy");
        is_out_of_memory(&store.rename("fill0", "copy").unwrap_err(), "copy");
        assert!(store.get("fill0").unwrap().is_some_and(|got| got == value), "what could not be renamed is there");
        assert_eq!(value_of(&mut raw, "stays").as_deref(), Some("old"));
        assert_eq!(server.stat("evictions"), 0);
        // What needs no memory works, and when there is some, all does.
        assert!(store.touch("stays", 1000 * SECOND).unwrap());
        let removed = store.delete_many((0..filled).map(|number| format!("fill{number}"))).unwrap();
        assert_eq!(removed, vec![true; filled]);
        store.put("k", &value).unwrap();
        assert!(store.get("k").unwrap().is_some_and(|got| got == value));
    }

    /// A server with extstore, which keeps large values on a disk, finds out that one is gone when it looks for it there. Its miss
    /// then does not say to which command it belongs.
    #[test]
    fn what_a_server_has_dropped_from_its_disk_is_absent() {
        let on_disk =
            "ext_page_size=2,ext_wbuf_size=2,ext_path=values:16m,ext_item_size=512,ext_item_age=0,ext_low_ttl=0";
        let (server, store, _raw) = start(&["--memory-limit=64", "--extended", on_disk]);
        let value = some_bytes(8000);
        let keys = (0..8000).map(|number| format!("k{number}")).collect::<Vec<_>>();
        for some in keys.chunks(200) {
            store.put_many(some.iter().map(|key| (key, &value))).unwrap();
            // It needs time to write them to the disk.
            thread::sleep(Duration::from_millis(10));
        }
        wait_until(|| match server.stat("extstore_page_evictions") {
            0 => Err("nothing was dropped from the disk".to_owned()),
            _ => Ok(()),
        });
        let many = store.get_many(&keys[..4000]).unwrap();
        assert!(many.iter().flatten().all(|got| *got == value));
        for key in &keys[4000..] {
            assert!(store.get(key).unwrap().is_none_or(|got| got == value), "{key}");
        }
        assert!(server.stat("miss_from_extstore") > 0);
        assert!(many.iter().any(Option::is_none));
    }
}
