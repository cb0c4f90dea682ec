//! What `RedisStore` does on one real server, beyond the shared suite: how many commands and round trips it sends, what
//! it does with what is not its own, and where it ends.

#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::error::Error as _;
use std::fmt::{Debug, Write as _};
use std::io::{self, Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kv_redis::{Bytes, Error, Key, KeyValueStore, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Remaining, Ttl};
use redis::{Connection, FromRedisValue, Value};

mod support;
use support::{Redis, wait_until};

/// The machine may be busy with other tests: what is not about the limits gets more of them.
const PATIENCE: Duration = Duration::from_secs(20);

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

/// What every batch takes at most in one round trip.
const CHUNK: usize = 1024;

/// Calls of commands, by their names.
type Calls = BTreeMap<String, u64>;

fn builder(url: impl Into<String>) -> RedisStoreBuilder {
    let builder = RedisStore::builder().url(url);
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

fn open(redis: &Redis) -> RedisStore {
    builder(redis.url()).connect().unwrap()
}

/// The answer to a command, as what is asked for.
#[track_caller]
fn ask<T: FromRedisValue>(redis: &Redis, command: &[&str]) -> T {
    redis::from_redis_value(redis.command(command)).unwrap()
}

/// All that clients called while something was done.
fn calls_of(redis: &Redis, what: impl FnOnce()) -> Calls {
    redis.command(&["CONFIG", "RESETSTAT"]);
    what();
    let stats: String = ask(redis, &["INFO", "commandstats"]);
    let call = |line: &str| {
        let (name, stats) = line.trim().strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let own = name == "config" || name == "config|resetstat";
        (!own).then(|| (name.to_owned(), stats.split(',').next().unwrap().parse().unwrap()))
    };
    stats.lines().filter_map(call).collect()
}

fn calls<const N: usize>(calls: [(&str, usize); N]) -> Calls {
    calls.map(|(name, count)| (name.to_owned(), count as u64)).into()
}

/// How many connections there are to a database other than 0, which nobody but a store of the test uses.
fn connections_to(redis: &Redis, database: u16) -> usize {
    count_connections(&mut redis.connection(), database)
}

fn count_connections(connection: &mut Connection, database: u16) -> usize {
    let clients: String = redis::cmd("CLIENT").arg("LIST").query(connection).unwrap();
    clients.lines().filter(|client| client.split(' ').any(|field| field == format!("db={database}"))).count()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("key-{number:06}")).collect()
}

/// What a listing yields, each key once.
#[track_caller]
fn listed(store: &RedisStore, prefix: &str) -> BTreeSet<String> {
    let keys: Vec<String> = store.keys(prefix).unwrap().map(|key| key.unwrap().into()).collect();
    let set: BTreeSet<_> = keys.iter().cloned().collect();
    assert_eq!(set.len(), keys.len(), "{prefix:?} gave a key twice");
    set
}

fn set<T: Into<String>>(keys: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    keys.into_iter().map(Into::into).collect()
}

/// All that can be got to see of something that went wrong: itself and its causes, in both ways.
fn told(error: &Error) -> String {
    let mut text = format!("{error}\n{error:?}\n{error:#?}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, "{error}\n{error:?}\n{error:#?}\n").unwrap();
        cause = error.source();
    }
    text
}

fn cause_of(error: &Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// Bytes that are like no others of this length and seed.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(length);
    bytes
}

mod round_trips {
    use super::*;

    type Operation = fn(&RedisStore, &str) -> Result<(), Error>;

    /// Operations, and the commands that each of them sends.
    const OPERATIONS: [(&str, Operation, &[&str]); 20] = [
        ("get", |store, key| store.get(key).map(drop), &["get"]),
        ("put", |store, key| store.put(key, "v"), &["set"]),
        ("put_with_ttl", |store, key| store.put_with_ttl(key, "v", MINUTE), &["set"]),
        ("put_with_ttl, zero", |store, key| store.put_with_ttl(key, "v", Duration::ZERO), &["unlink"]),
        ("create, of what is there", |store, key| store.create(key, "v").map(drop), &["set"]),
        ("create", |store, key| store.create(format!("{key}+"), "v").map(drop), &["set"]),
        ("create_with_ttl", |store, key| store.create_with_ttl(format!("{key}+"), "v", MINUTE).map(drop), &["set"]),
        ("delete", |store, key| store.delete(key).map(drop), &["unlink"]),
        ("contains", |store, key| store.contains(key).map(drop), &["exists"]),
        ("ttl", |store, key| store.ttl(key).map(drop), &["pttl"]),
        ("touch", |store, key| store.touch(key, MINUTE).map(drop), &["pexpire"]),
        ("touch, zero", |store, key| store.touch(key, Duration::ZERO).map(drop), &["unlink"]),
        (
            "touch, for ever",
            |store, key| store.touch(key, Ttl::Forever).map(drop),
            &["multi", "persist", "exists", "exec"],
        ),
        ("copy", |store, key| store.copy(key, "copy"), &["copy"]),
        ("copy, to itself", |store, key| store.copy(key, key), &["exists"]),
        ("rename", |store, key| store.rename(key, "new"), &["rename"]),
        ("open", |store, key| store.open(key).map(drop), &["get"]),
        ("get_into", |store, key| store.get_into(key, io::sink()).map(drop), &["get"]),
        ("put_from", |store, key| store.put_from(key, &b"v"[..]), &["set"]),
        ("put_from_with_ttl", |store, key| store.put_from_with_ttl(key, &b"v"[..], MINUTE), &["set"]),
    ];

    #[test]
    fn a_thousand_operations_are_a_thousand_commands_and_nothing_else() {
        let (redis, keys) = (Redis::start(&[]), names(1000));
        let store = open(&redis);
        for (name, operation, commands) in OPERATIONS {
            store.put_many(keys.iter().map(|key| (key, "v"))).unwrap();
            let called = calls_of(&redis, || keys.iter().for_each(|key| operation(&store, key).unwrap()));
            let expected = commands.iter().map(|&command| (command.to_owned(), 1000)).collect::<Calls>();
            assert_eq!(called, expected, "{name}");
            store.delete_many(store.keys("").unwrap().map(Result::unwrap).collect::<Vec<_>>()).unwrap();
        }
    }

    #[test]
    fn what_is_absent_costs_no_more_than_what_is_there() {
        let (redis, keys) = (Redis::start(&[]), names(100));
        let store = open(&redis);
        for (name, operation, commands) in OPERATIONS {
            let called = calls_of(&redis, || {
                for key in &keys {
                    match operation(&store, key) {
                        Ok(()) | Err(Error::NotFound { .. }) => {}
                        Err(error) => panic!("{name}: {error}"),
                    }
                }
            });
            let expected = commands.iter().map(|&command| (command.to_owned(), 100)).collect::<Calls>();
            // A command that failed, as RENAME does, is counted by some servers only.
            assert!(called == expected || name == "rename" && called.is_empty(), "{name}: {called:?}");
            redis.command(&["FLUSHALL"]);
        }
    }

    #[test]
    fn a_connection_costs_one_info_and_what_the_url_asks_for() {
        let redis = Redis::start(&["--requirepass", "secret"]);
        let get = |url: String| calls_of(&redis, || drop(builder(&url).build().unwrap().get("k").unwrap()));
        // The tests' own connections authenticate, too: one for each question, two of which are counted.
        let own = calls_of(&redis, || {}).get("auth").copied().unwrap_or(0);
        let of_store = |mut calls: Calls| {
            *calls.get_mut("auth").unwrap() -= own;
            calls
        };
        assert_eq!(of_store(get(redis.url())), calls([("auth", 1), ("get", 1), ("info", 1)]));
        let with_database = calls([("auth", 1), ("get", 1), ("info", 1), ("select", 1)]);
        assert_eq!(of_store(get(redis.url_of_database(7))), with_database);
        assert_eq!(of_store(get(redis.unix_url_of_database(7))), with_database);
    }

    #[test]
    fn a_pool_costs_one_info_for_each_connection_that_it_makes() {
        let redis = Redis::start(&[]);
        let store = builder(redis.url_of_database(7)).pool_size(4).build().unwrap();
        let called = calls_of(&redis, || {
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| (0..125).for_each(|_| drop(store.get("k").unwrap())));
                }
            });
        });
        let made = connections_to(&redis, 7);
        assert!((1..=4).contains(&made), "{made} connections");
        assert_eq!(called, calls([("get", 1000), ("info", made), ("select", made)]));
    }

    #[test]
    fn a_batch_is_a_command_for_each_chunk_or_item() {
        let (redis, keys) = (Redis::start(&[]), names(100_000));
        let store = open(&redis);
        let some = &keys[..1000];
        let put = || store.put_many(some.iter().map(|key| (key, "v"))).unwrap();
        assert_eq!(calls_of(&redis, put), calls([("set", 1000)]));
        let put = || store.put_many_with_ttl(some.iter().map(|key| (key, "v", MINUTE))).unwrap();
        assert_eq!(calls_of(&redis, put), calls([("set", 1000)]));
        assert_eq!(calls_of(&redis, || drop(store.get_many(some).unwrap())), calls([("mget", 1)]));
        assert_eq!(calls_of(&redis, || drop(store.delete_many(some).unwrap())), calls([("unlink", 1000)]));
        for count in [1, CHUNK - 1, CHUNK, CHUNK + 1, 100_000] {
            let called = calls_of(&redis, || drop(store.get_many(&keys[..count]).unwrap()));
            assert_eq!(called, calls([("mget", count.div_ceil(CHUNK))]), "{count}");
        }
    }

    #[test]
    fn an_empty_batch_sends_nothing() {
        let redis = Redis::start(&[]);
        let store = open(&redis);
        let called = calls_of(&redis, || {
            assert_eq!(store.get_many([""; 0]).unwrap(), [None::<Bytes>; 0]);
            store.put_many([("", ""); 0]).unwrap();
            assert_eq!(store.delete_many([""; 0]).unwrap(), [false; 0]);
        });
        assert_eq!(called, calls([]));
    }

    #[test]
    fn an_invalid_key_or_prefix_sends_nothing() {
        let redis = Redis::start(&[]);
        let store = open(&redis);
        let long = "k".repeat(251);
        let called = calls_of(&redis, || {
            for key in ["", "two words", "new\nline", "ünïcode", "nul\0", &long] {
                for (name, operation, _) in OPERATIONS {
                    // This one makes another key of it.
                    if name.starts_with("create") {
                        continue;
                    }
                    let error = operation(&store, key).unwrap_err();
                    assert!(matches!(error, Error::InvalidKey(_)), "{name} {key:?}: {error}");
                }
                let invalid = |error| matches!(error, Error::InvalidKey(_));
                assert!(invalid(store.create(key, "v").unwrap_err()), "{key:?}");
                assert!(invalid(store.get_many(["valid", key]).unwrap_err()), "{key:?}");
                assert!(invalid(store.put_many([("valid", "v"), (key, "v")]).unwrap_err()), "{key:?}");
                assert!(invalid(store.delete_many(["valid", key]).unwrap_err()), "{key:?}");
                assert!(invalid(store.copy("valid", key).unwrap_err()), "{key:?}");
                assert!(invalid(store.rename("valid", key).unwrap_err()), "{key:?}");
                // A prefix may be empty, or longer than any key.
                assert!(key.is_empty() || key == long || invalid(store.keys(key).unwrap_err()), "{key:?}");
            }
        });
        assert_eq!(called, calls([]));
    }

    /// What a client has sent, in commands.
    #[derive(Default)]
    struct Sent(Mutex<usize>, Condvar);

    impl Sent {
        fn set(&self, change: impl FnOnce(usize) -> usize) {
            let mut sent = self.0.lock().unwrap();
            *sent = change(*sent);
            self.1.notify_all();
        }

        fn wait_for(&self, commands: usize) {
            drop(self.1.wait_while(self.0.lock().unwrap(), |sent| *sent < commands).unwrap());
        }
    }

    /// Keeps what is read, and gives it to somebody else at once.
    struct Tee<'a> {
        from: &'a TcpStream,
        to: Option<&'a TcpStream>,
        read: Vec<u8>,
    }

    impl Read for Tee<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = self.from.read(buffer)?;
            match &mut self.to {
                Some(to) => to.write_all(&buffer[..bytes])?,
                None => self.read.extend_from_slice(&buffer[..bytes]),
            }
            Ok(bytes)
        }
    }

    /// Forwards one connection to a server, and holds back replies until the client has sent all that belongs to a
    /// turn: who waits for a reply before that gets none. Turns end with these numbers of commands, counted from the
    /// first one of the connection. In the end it tells how many replies there were.
    fn hold_back_replies(redis: &Redis, turns: Vec<usize>) -> (String, thread::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let server = TcpStream::connect(redis.address()).unwrap();
        let forwarder = thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let sent = Sent::default();
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut parser = redis::Parser::new();
                    let mut tee = Tee { from: &client, to: Some(&server), read: Vec::new() };
                    while parser.parse_value(&mut tee).is_ok() {
                        sent.set(|sent| sent + 1);
                    }
                    // The client has gone: there is nobody to be held back.
                    sent.set(|_| usize::MAX);
                    let _ = server.shutdown(Shutdown::Both);
                });
                let mut parser = redis::Parser::new();
                let mut replies = 0;
                loop {
                    let mut tee = Tee { from: &server, to: None, read: Vec::new() };
                    if parser.parse_value(&mut tee).is_err() {
                        return replies;
                    }
                    replies += 1;
                    sent.wait_for(*turns.iter().find(|&&turn| turn >= replies).unwrap_or(&usize::MAX));
                    if (&client).write_all(&tee.read).is_err() {
                        return replies;
                    }
                }
            })
        });
        (url, forwarder)
    }

    #[test]
    fn a_chunk_is_sent_before_its_first_reply_is_waited_for() {
        let (redis, keys) = (Redis::start(&[]), names(2500));
        // The first command is that of the handshake.
        let turns =
            |items: usize| (0..items).step_by(CHUNK).skip(1).chain([items]).map(|end| 1 + end).collect::<Vec<_>>();
        assert_eq!(turns(2500), [1025, 2049, 2501]);
        let check = |name: &str, turns: Vec<usize>, operation: &dyn Fn(&RedisStore)| {
            let commands = *turns.last().unwrap();
            let (url, forwarder) = hold_back_replies(&redis, [vec![1], turns].concat());
            let store = builder(url).pool_size(1).build().unwrap();
            operation(&store);
            drop(store);
            assert_eq!(forwarder.join().unwrap(), commands, "{name}");
        };
        for count in [1000, 2500] {
            let keys = &keys[..count];
            let put = |store: &RedisStore| store.put_many(keys.iter().map(|key| (key, "v"))).unwrap();
            check("put_many", turns(count), &put);
            let delete = |store: &RedisStore| assert_eq!(store.delete_many(keys).unwrap(), vec![true; count]);
            check("delete_many", turns(count), &delete);
        }
        check("touch", vec![1 + 4], &|store| assert!(!store.touch("k", Ttl::Forever).unwrap()));
    }

    /// A listing without the store: how many calls of `SCAN` it takes.
    fn bare_scans(redis: &Redis, count: u32) -> usize {
        let (mut connection, mut cursor) = (redis.connection(), 0_u64);
        for scans in 1.. {
            let mut scan = redis::cmd("SCAN");
            let page: (u64, Vec<String>) = scan.arg(cursor).arg("COUNT").arg(count).query(&mut connection).unwrap();
            cursor = page.0;
            if cursor == 0 {
                return scans;
            }
        }
        unreachable!()
    }

    #[test]
    fn a_listing_is_a_scan_for_each_page_and_holds_no_connection_between_them() {
        let (redis, keys) = (Redis::start(&[]), names(10_000));
        let builder = builder(redis.url()).pool_size(1).pool_timeout(Duration::from_millis(100));
        let store = builder.clone().page_size(1000).connect().unwrap();
        store.put_many(keys.iter().map(|key| (key, key))).unwrap();
        // Until the server's table has grown to the end.
        let scans = wait_until(|| {
            let counts = [(); 5].map(|()| {
                thread::sleep(Duration::from_millis(20));
                bare_scans(&redis, 1000)
            });
            if counts == [counts[0]; 5] { Ok(counts[0]) } else { Err(format!("scans: {counts:?}")) }
        });
        assert!(scans >= 5, "{scans} scans");

        for prefix in ["", "key-"] {
            let called = calls_of(&redis, || assert!(listed(&store, prefix) == set(&keys)));
            assert_eq!(called, calls([("scan", scans)]));
        }
        let called = calls_of(&redis, || {
            for key in store.keys("").unwrap() {
                let key = key.unwrap();
                assert_eq!(store.get(&key).unwrap().unwrap(), key.as_bytes());
            }
        });
        assert_eq!(called, calls([("get", 10_000), ("scan", scans)]));
        let called = calls_of(&redis, || assert_eq!(store.prefixes("-", "").unwrap().count(), 1));
        assert_eq!(called, calls([("scan", scans)]));

        let called = calls_of(&redis, || drop(store.keys("").unwrap().next().unwrap().unwrap()));
        assert_eq!(called, calls([("scan", 1)]), "a listing fetches a page when it is needed");
        let larger = builder.page_size(100_000).connect().unwrap();
        let called = calls_of(&redis, || assert_eq!(larger.keys("").unwrap().count(), 10_000));
        assert_eq!(called, calls([("scan", 1)]));
    }

    #[test]
    fn an_idle_connection_is_checked_without_sending_anything() {
        let redis = Redis::start(&[]);
        let store = builder(redis.url()).pool_size(1).connect().unwrap();
        store.put("k", "v").unwrap();
        let called = calls_of(&redis, || {
            thread::sleep(Duration::from_millis(1200));
            assert_eq!(store.get("k").unwrap().unwrap(), "v");
            thread::sleep(Duration::from_millis(1200));
            store.put("k", "w").unwrap();
        });
        assert_eq!(called, calls([("get", 1), ("set", 1)]));
    }
}

mod names {
    use super::*;

    const LETTERS: [char; 9] = ['*', '?', '[', ']', '^', '-', '\\', 'a', 'b'];

    /// All texts of up to so many of these letters.
    fn texts(longest: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..longest {
            last = last.iter().flat_map(|text| LETTERS.map(|letter| format!("{text}{letter}"))).collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    #[test]
    fn a_prefix_is_literal_whatever_it_is_made_of() {
        let redis = Redis::start(&[]);
        let store = builder(redis.url()).page_size(10_000).connect().unwrap();
        let texts = texts(3);
        let keys = &texts[1..];
        store.put_many(keys.iter().map(|key| (key, key))).unwrap();
        for prefix in &texts {
            let expected = set(keys.iter().filter(|key| key.starts_with(prefix.as_str())));
            assert!(listed(&store, prefix) == expected, "{prefix:?}");
        }
        for prefix in ["[a-b]", "[^a]", "a*b?", "\\*", "[ab", "**", "???b", "[]]", "\\\\\\", "--a"] {
            let (match_alone, longer) = (format!("{prefix}!"), format!("{prefix}*!"));
            store.put_many([(&match_alone, "v"), (&longer, "v")]).unwrap();
            let mut expected = set(keys.iter().filter(|key| key.starts_with(prefix)));
            expected.extend([match_alone, longer]);
            assert_eq!(listed(&store, prefix), expected, "{prefix:?}");
        }
        for key in keys {
            assert_eq!(store.get(key).unwrap().unwrap(), key.as_bytes());
        }
        let some = ["*", "?", "[ab]", "\\a"];
        assert_eq!(store.delete_many(some).unwrap(), [true, true, false, true]);
        assert_eq!(listed(&store, "").len(), keys.len() - 3 + 20);
    }

    #[test]
    fn a_namespace_is_literal_whatever_it_is_made_of() {
        let redis = Redis::start(&[]);
        let texts = texts(2);
        let open = |namespace: &str| builder(redis.url()).namespace(namespace).page_size(10_000).connect().unwrap();
        let stores: Vec<_> = texts.iter().filter(|text| !text.is_empty()).map(|text| (text, open(text))).collect();
        for (namespace, store) in &stores {
            store.put_many([("k", namespace.as_str()), ("*", namespace)]).unwrap();
        }
        for (namespace, store) in &stores {
            assert_eq!(listed(store, ""), set(["k", "*"]), "{namespace:?}");
            assert_eq!(listed(store, "*"), set(["*"]), "{namespace:?}");
            assert_eq!(store.get("k").unwrap().unwrap(), namespace.as_bytes());
        }
    }

    #[test]
    fn stores_with_different_namespaces_see_nothing_of_each_other() {
        let redis = Redis::start(&[]);
        let open = |namespace: &str| builder(redis.url()).namespace(namespace).connect().unwrap();
        let (a, ab, b, all) = (open("a"), open("ab"), open("b"), builder(redis.url()).connect().unwrap());
        a.put("b:c", "1").unwrap();
        assert_eq!(ask::<String>(&redis, &["GET", "a:b:c"]), "1");
        for other in [&ab, &b] {
            for key in ["b:c", "c", "a:b:c", ":c"] {
                assert_eq!(other.get(key).unwrap(), None);
                assert!(!other.contains(key).unwrap() && !other.delete(key).unwrap());
                assert_eq!((other.ttl(key).unwrap(), other.touch(key, MINUTE).unwrap()), (None, false));
                assert!(matches!(other.copy(key, "k").unwrap_err(), Error::NotFound { .. }));
                assert!(matches!(other.rename(key, "k").unwrap_err(), Error::NotFound { .. }));
            }
            assert_eq!(other.get_many(["b:c", "a:b:c"]).unwrap(), [None, None]);
            assert_eq!(other.delete_many(["b:c", "a:b:c"]).unwrap(), [false, false]);
            assert_eq!(other.prefixes(":", "").unwrap().count(), 0);
        }
        ab.put("b:c", "2").unwrap();
        b.put_many([("c", "3"), ("b:c", "4")]).unwrap();
        assert!(b.create("d", "5").unwrap());
        a.copy("b:c", "copy").unwrap();
        b.rename("d", "e").unwrap();
        assert_eq!(listed(&a, ""), set(["b:c", "copy"]));
        assert_eq!(listed(&ab, ""), set(["b:c"]));
        assert_eq!(listed(&b, ""), set(["c", "b:c", "e"]));
        assert_eq!(listed(&b, "b"), set(["b:c"]));
        let every = ["a:b:c", "a:copy", "ab:b:c", "b:c", "b:b:c", "b:e"];
        assert_eq!(listed(&all, ""), set(every));
        assert_eq!(all.prefixes(":", "").unwrap().map(Result::unwrap).count(), 3);
        assert_eq!(all.get("ab:b:c").unwrap().unwrap(), "2");
        assert_eq!(a.get_many(["b:c", "copy", "c"]).unwrap(), [Some("1".into()), Some("1".into()), None]);

        // The longest key has room beside the namespace; for a store without one the name is too long to be a key.
        let longest = "k".repeat(250);
        a.put(&longest, "6").unwrap();
        assert_eq!(a.get(&longest).unwrap().unwrap(), "6");
        assert_eq!(listed(&a, ""), set(["b:c", "copy", &longest]));
        assert_eq!(listed(&all, ""), set(every));
        assert!(a.delete(&longest).unwrap());
        for refused in ["a:b", ":", "a:", "two words", "ü", "new\nline"] {
            let error = builder(redis.url()).namespace(refused).build().unwrap_err();
            assert!(matches!(error, Error::Backend(_)) && error.to_string().contains("namespace"), "{error}");
        }
    }

    /// Objects of other types under valid names.
    const OBJECTS: [(&str, &[&str]); 6] = [
        ("hash", &["HSET", "hash", "field", "value"]),
        ("list", &["RPUSH", "list", "value"]),
        ("set", &["SADD", "set", "value"]),
        ("zset", &["ZADD", "zset", "1", "value"]),
        ("stream", &["XADD", "stream", "*", "field", "value"]),
        ("geo", &["GEOADD", "geo", "1", "2", "value"]),
    ];

    fn plant_foreign_names(redis: &Redis) {
        let mut pipeline = redis::pipe();
        for name in ["two words", "tab\t", "new\nline", "ünïcode", "", &"k".repeat(251), "nul\0", "del\x7F"] {
            pipeline.cmd("SET").arg(name).arg("foreign");
        }
        for name in [&b"\xFF\xFE"[..], b"own\xC3", b"own \r\n", b"own\x80"] {
            pipeline.cmd("SET").arg(name).arg("foreign");
        }
        pipeline.exec(&mut redis.connection()).unwrap();
    }

    #[test]
    fn a_listing_skips_what_is_not_the_store_s() {
        let redis = Redis::start(&[]);
        plant_foreign_names(&redis);
        for (_, command) in OBJECTS {
            redis.command(command);
        }
        let store = builder(redis.url()).page_size(3).connect().unwrap();
        assert_eq!(listed(&store, ""), set([""; 0]));
        let longest = "k".repeat(250);
        store.put_many([("own", "v"), (&longest, "v"), ("!", "v"), ("~", "v")]).unwrap();
        assert_eq!(listed(&store, ""), set(["own", &longest, "!", "~"]));
        assert_eq!(listed(&store, "own"), set(["own"]));
        assert_eq!(listed(&store, "k"), set([&longest]));
        assert_eq!(ask::<u64>(&redis, &["DBSIZE"]), 12 + 6 + 4, "nothing was removed");
    }

    #[test]
    fn an_object_of_another_type_is_not_read_and_can_be_replaced() {
        let redis = Redis::start(&[]);
        let store = open(&redis);
        for (key, command) in OBJECTS {
            redis.command(command);
            let error = store.get(key).unwrap_err();
            assert!(matches!(error, Error::Backend(_)) && !error.is_transient(), "{error:?}");
            assert!(error.to_string().contains("another type"), "{error}");
            assert!(cause_of(&error).starts_with("WRONGTYPE"), "{error:?}");
            assert_eq!((error.key(), error.store()), (Some(key), Some(store.name())));
            assert!(matches!(store.open(key).unwrap_err(), Error::Backend(_)));
            assert!(!store.create(key, "v").unwrap());
            assert_ne!(ask::<String>(&redis, &["TYPE", key]), "string");

            store.put(key, "v").unwrap();
            assert_eq!(store.get(key).unwrap().unwrap(), "v");
            redis.command(&["DEL", key]);
            redis.command(command);
            store.put_many([(key, "w")]).unwrap();
            assert_eq!(store.get(key).unwrap().unwrap(), "w");
        }
        // The connection was good all the time.
        redis.command(&["HSET", "h", "field", "value"]);
        let called = calls_of(&redis, || {
            store.get("h").unwrap_err();
            store.put("k", "v").unwrap();
        });
        assert_eq!(called.get("info"), None);
    }

    /// The bytes that the server's table of keys takes.
    fn size_of_table(redis: &Redis) -> u64 {
        let stats: HashMap<String, Value> = ask(redis, &["MEMORY", "STATS"]);
        let database: HashMap<String, u64> = redis::from_redis_value(stats["db.0"].clone()).unwrap();
        database["overhead.hashtable.main"]
    }

    #[test]
    fn a_listing_is_whole_while_the_table_grows_and_shrinks() {
        const STAYING: usize = 2000;
        const CHURNING: usize = 100_000;
        const CYCLES: usize = 3;
        // A server looks after the tables of 16 databases each tenth of a second.
        let redis = Redis::start(&["--databases", "1"]);
        let writer = open(&redis);
        let staying: HashSet<_> = (0..STAYING).map(|number| format!("stay-{number}")).collect();
        let churning: Vec<_> = (0..CHURNING).map(|number| format!("churn-{number}")).collect();
        writer.put_many(staying.iter().map(|key| (key, "v"))).unwrap();
        let small = size_of_table(&redis);
        let is_over = AtomicBool::new(false);
        let rounds = AtomicUsize::new(0);
        let list = |page: u32, prefix: &str| {
            let store = builder(redis.url()).page_size(page).connect().unwrap();
            while !is_over.load(Relaxed) {
                let mut seen = HashSet::new();
                for key in store.keys(prefix).unwrap() {
                    let key = String::from(key.unwrap());
                    assert!(key.starts_with(prefix) && (staying.contains(&key) || key.starts_with("churn-")), "{key}");
                    assert!(seen.insert(key.clone()), "{key} came twice");
                }
                let lost = staying.difference(&seen).collect::<Vec<_>>();
                assert!(lost.is_empty(), "{} of {STAYING} were lost, such as {:?}", lost.len(), lost[0]);
                rounds.fetch_add(1, Relaxed);
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let _over = OnDrop(|| is_over.store(true, Relaxed));
                for _ in 0..CYCLES {
                    for part in churning.chunks(2000) {
                        writer.put_many(part.iter().map(|key| (key, "v"))).unwrap();
                    }
                    let large = size_of_table(&redis);
                    assert!(large > 20 * small, "the table grew from {small} to {large} bytes only");
                    for part in churning.chunks(2000) {
                        assert_eq!(writer.delete_many(part).unwrap(), vec![true; part.len()]);
                    }
                    wait_until(|| {
                        let size = size_of_table(&redis);
                        if size <= 4 * small { Ok(()) } else { Err(format!("{size} bytes, and {small} at first")) }
                    });
                }
            });
            scope.spawn(|| list(100, ""));
            scope.spawn(|| list(1000, "stay-"));
        });
        assert!(rounds.load(Relaxed) >= 2 * CYCLES, "{rounds:?} listings");
        let store = open(&redis);
        assert!(listed(&store, "") == set(&staying));
    }

    /// Does something when it is dropped, a panic included.
    struct OnDrop<F: Fn()>(F);

    impl<F: Fn()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            self.0();
        }
    }
}

mod lifetimes {
    use super::*;

    type Way = fn(&RedisStore, &str, Duration);
    type Move = fn(&RedisStore) -> Result<(), Error>;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

    /// Until the last second that a signed number of 32 bits can tell.
    fn until_2038() -> Duration {
        Duration::from_secs(i32::MAX as u64).saturating_sub(SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
    }

    fn longest(store: &RedisStore) -> Duration {
        store.capabilities().longest_ttl()
    }

    fn all(store: &RedisStore) -> Vec<Duration> {
        let edges =
            [MONTH, until_2038()].into_iter().flat_map(|at| [at.saturating_sub(MILLISECOND), at, at + MILLISECOND]);
        let short = [Duration::from_nanos(1), MILLISECOND, Duration::from_micros(1500), Duration::from_millis(999)];
        let seconds = [1, 2, 60].map(Duration::from_secs);
        let long = [365 * DAY, 100 * 365 * DAY, longest(store).saturating_sub(MILLISECOND), longest(store)];
        short
            .into_iter()
            .chain(seconds)
            .chain(edges)
            .chain([MONTH + Duration::from_secs(1), 2 * MONTH])
            .chain(long)
            .collect()
    }

    /// Whether what is left is what has to be left of a lifetime that was given at a moment, and not before it.
    #[track_caller]
    fn check(store: &RedisStore, what: &str, lifetime: Duration, begin: Instant, left: Option<Remaining>) {
        let (elapsed, resolution) = (begin.elapsed(), store.capabilities().ttl_resolution());
        match left {
            Some(Remaining::For(left)) => {
                assert!(left <= lifetime + resolution, "{what}: {left:?} are left of {lifetime:?}");
                assert!(left + elapsed + resolution >= lifetime, "{what}: {left:?} are left of {lifetime:?}");
            }
            Some(Remaining::Forever) => panic!("{what}: {lifetime:?} became for ever"),
            None => assert!(elapsed >= lifetime, "{what}: {lifetime:?} were over after {elapsed:?}"),
        }
    }

    /// What is left of the lifetime of a key, as the server tells.
    #[track_caller]
    fn left_on_server(redis: &Redis, key: &str) -> Option<Remaining> {
        match ask::<i64>(redis, &["PTTL", key]) {
            -1 => Some(Remaining::Forever),
            -2 => None,
            millis => Some(Remaining::For(Duration::from_millis(millis.try_into().unwrap()))),
        }
    }

    #[test]
    fn a_lifetime_is_what_was_asked_for_by_every_way_to_set_one() {
        let redis = Redis::start(&[]);
        let store = open(&redis);
        let ways: [(&str, Way); 8] = [
            ("put_with_ttl", |store, key, ttl| store.put_with_ttl(key, "v", ttl).unwrap()),
            ("over one for ever", |store, key, ttl| {
                store.put(key, "v").unwrap();
                store.put_with_ttl(key, "v", ttl).unwrap();
            }),
            ("create_with_ttl", |store, key, ttl| assert!(store.create_with_ttl(key, "v", ttl).unwrap())),
            ("put_many_with_ttl", |store, key, ttl| {
                store.put_many_with_ttl([("a", "v", Ttl::Forever), (key, "v", ttl.into())]).unwrap();
            }),
            ("put_from_with_ttl", |store, key, ttl| store.put_from_with_ttl(key, &b"v"[..], ttl).unwrap()),
            ("touch", |store, key, ttl| {
                store.put(key, "v").unwrap();
                assert!(store.touch(key, ttl).unwrap());
            }),
            ("touch, after another", |store, key, ttl| {
                store.put_with_ttl(key, "v", MINUTE).unwrap();
                assert!(store.touch(key, ttl).unwrap());
            }),
            ("default_ttl", |store, key, ttl| {
                let url = store.name().to_owned();
                builder(url).default_ttl(ttl).connect().unwrap().put(key, "v").unwrap();
            }),
        ];
        let moves: [(&str, Move); 2] =
            [("copy", |store| store.copy("k", "other")), ("rename", |store| store.rename("k", "other"))];
        for lifetime in all(&store) {
            for (what, way) in ways {
                let begin = Instant::now();
                way(&store, "k", lifetime);
                check(&store, what, lifetime, begin, store.ttl("k").unwrap());
                check(&store, what, lifetime, begin, left_on_server(&redis, "k"));
                let value = store.get("k").unwrap();
                assert!(value.is_some() || begin.elapsed() >= lifetime, "{what}: {lifetime:?} is gone");
                // What is still there goes on as a copy.
                for (what, way) in moves {
                    match way(&store) {
                        Ok(()) => check(&store, what, lifetime, begin, store.ttl("other").unwrap()),
                        Err(Error::NotFound { .. }) => assert!(begin.elapsed() >= lifetime, "{lifetime:?}"),
                        Err(error) => panic!("{what}: {error}"),
                    }
                    check(&store, what, lifetime, begin, left_on_server(&redis, "other"));
                }
                store.delete_many(["k", "other", "a"]).unwrap();
            }
        }
    }

    #[test]
    fn what_is_less_than_a_millisecond_is_not_zero() {
        let redis = Redis::start(&[]);
        let store = open(&redis);
        let put = |ttl: Duration| calls_of(&redis, || store.put_with_ttl("k", "v", ttl).unwrap());
        let touch = |ttl: Duration| {
            store.put("k", "v").unwrap();
            calls_of(&redis, || assert!(store.touch("k", ttl).unwrap()))
        };
        for lifetime in [Duration::from_nanos(1), Duration::from_micros(999)] {
            assert_eq!(put(lifetime), calls([("set", 1)]));
            assert_eq!(touch(lifetime), calls([("pexpire", 1)]));
        }
        assert_eq!(put(Duration::ZERO), calls([("unlink", 1)]));
        assert_eq!(touch(Duration::ZERO), calls([("unlink", 1)]));
    }

    /// A server reads its clock more than once for a command, and its clock is one of whole milliseconds.
    #[test]
    fn a_millisecond_is_not_over_at_once() {
        let redis = Redis::start(&[]);
        let store = open(&redis);
        let ends_early = |set: &dyn Fn(), round: u32| {
            // So that the command is being done when the next millisecond begins, however long it takes to get there.
            let begin = 999_000 - round % 100 * 1000;
            store.put("k", "v").unwrap();
            while SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos() % 1_000_000 < begin {
                std::hint::spin_loop();
            }
            let begin = Instant::now();
            set();
            store.get("k").unwrap().is_none() && begin.elapsed() < MILLISECOND
        };
        let put = || store.put_with_ttl("k", "w", MILLISECOND).unwrap();
        let touch = || assert!(store.touch("k", MILLISECOND).unwrap());
        let count = |set: &dyn Fn()| (0..3000).filter(|&round| ends_early(set, round)).count();
        assert_eq!((count(&put), count(&touch)), (0, 0), "of 3000 that were put, and touched");
    }

    #[test]
    fn an_entry_is_gone_when_its_lifetime_and_the_resolution_have_passed() {
        let redis = Redis::start(&[]);
        let store = open(&redis);
        let resolution = store.capabilities().ttl_resolution();
        let is_gone_in_time = |set: &dyn Fn(Duration), lifetime: Duration| {
            set(lifetime);
            let returned = Instant::now();
            while returned.elapsed() < lifetime + resolution {
                std::hint::spin_loop();
            }
            store.get("k").unwrap().is_none() && !store.contains("k").unwrap() && store.ttl("k").unwrap().is_none()
        };
        let put = |ttl| store.put_with_ttl("k", "v", ttl).unwrap();
        let touch = |ttl| {
            store.put("k", "v").unwrap();
            store.touch("k", ttl).unwrap();
        };
        let mut late = Vec::new();
        for micros in [1, 500, 999, 1000, 1001, 1500, 3000, 10_500, 20_000] {
            let lifetime = Duration::from_micros(micros);
            for (what, set) in [("put", &put as &dyn Fn(Duration)), ("touch", &touch)] {
                let count = (0..50).filter(|_| !is_gone_in_time(set, lifetime)).count();
                if count > 0 {
                    late.push(format!("{what} {lifetime:?}: {count} of 50"));
                }
            }
        }
        assert!(late.is_empty(), "still there after lifetime and resolution ({resolution:?}): {late:#?}");
    }

    #[test]
    fn a_lifetime_that_redis_cannot_express_is_refused_before_anything_is_sent() {
        let redis = Redis::start(&[]);
        let store = open(&redis);
        let longest = longest(&store);
        for lifetime in [longest + Duration::from_nanos(1), longest + MILLISECOND, 2 * longest, Duration::MAX] {
            let by_default = builder(redis.url()).default_ttl(lifetime).connect().unwrap();
            store.put_with_ttl("k", "old", 10 * MINUTE).unwrap();
            let begin = Instant::now();
            let called = calls_of(&redis, || {
                let two = [("other", "v", Ttl::Forever), ("k", "new", lifetime.into())];
                let results = [
                    ("put", store.put_with_ttl("k", "new", lifetime)),
                    ("create", store.create_with_ttl("k", "new", lifetime).map(drop)),
                    ("create, absent", store.create_with_ttl("absent", "new", lifetime).map(drop)),
                    ("put_many", store.put_many_with_ttl(two)),
                    ("put_from", store.put_from_with_ttl("k", &b"new"[..], lifetime)),
                    ("touch", store.touch("k", lifetime).map(drop)),
                    ("touch, absent", store.touch("absent", lifetime).map(drop)),
                    ("default", by_default.put("k", "new")),
                    ("default, of many", by_default.put_many([("k", "new")])),
                ];
                for (what, result) in results {
                    match result {
                        Err(Error::InvalidTtl { ttl, longest: most, key, .. }) => {
                            assert_eq!((ttl, most), (lifetime, longest), "{what}");
                            assert_eq!(key.as_str(), if what.contains("absent") { "absent" } else { "k" });
                        }
                        other => panic!("{what} {lifetime:?}: {other:?}"),
                    }
                }
            });
            assert_eq!(called, calls([]));
            assert_eq!(store.get_many(["k", "absent", "other"]).unwrap(), [Some("old".into()), None, None]);
            let left = store.ttl("k").unwrap().unwrap().duration().unwrap();
            assert!(left <= 10 * MINUTE && left + begin.elapsed() + 10 * MILLISECOND >= 10 * MINUTE, "{left:?}");
            by_default.put_with_ttl("k", "v", Ttl::Forever).unwrap();
            assert_eq!(store.ttl("k").unwrap(), Some(Remaining::Forever));
        }
    }
}

mod sizes {
    use super::*;

    type Operation<'a> = &'a dyn Fn() -> Result<(), Error>;

    const LARGE: usize = 64 * MIB;

    #[test]
    fn a_value_of_64_mib_goes_in_and_out_by_every_way() {
        let redis = Redis::start(&[]);
        let store = open(&redis);
        let (one, two) = (bytes(LARGE, 1), bytes(LARGE - 1, 2));
        let holds = |key: &str, value: &[u8]| assert!(store.get(key).unwrap().unwrap() == value, "{key}");

        store.put("k", &one).unwrap();
        holds("k", &one);
        store.put_many([("small", &b"v"[..]), ("k", &two), ("other", &one)]).unwrap();
        let values = store.get_many(["k", "absent", "other", "small"]).unwrap();
        assert!(values == [Some(two.clone().into()), None, Some(one.clone().into()), Some("v".into())]);
        drop(values);
        store.delete("other").unwrap();

        store.put_from("k", one.as_slice()).unwrap();
        let mut read = Vec::new();
        store.open("k").unwrap().read_to_end(&mut read).unwrap();
        assert!(read == one);
        read.clear();
        assert_eq!(store.get_into("k", &mut read).unwrap(), LARGE as u64);
        assert!(read == one);
        store.copy("k", "copy").unwrap();
        holds("copy", &one);
        assert!(!store.create("copy", &two).unwrap());
        assert!(store.delete("copy").unwrap() && store.create("copy", &two).unwrap());
        holds("copy", &two);
        assert_eq!(store.get("small").unwrap().unwrap(), "v");
    }

    /// The bytes that a server has received.
    fn received(connection: &mut Connection) -> u64 {
        let stats: String = redis::cmd("INFO").arg("stats").query(connection).unwrap();
        let line = stats.lines().find_map(|line| line.strip_prefix("total_net_input_bytes:")).unwrap();
        line.trim().parse().unwrap()
    }

    /// How many bytes the server received while something was done.
    fn sent_by(connection: &mut Connection, what: impl FnOnce()) -> u64 {
        let [before, own] = [(); 2].map(|()| received(connection));
        what();
        received(connection) - own - (own - before)
    }

    #[test]
    fn a_value_over_the_limit_is_refused_before_anything_is_sent() {
        let redis = Redis::start(&[]);
        let mut connection = redis.connection();
        let store = builder(redis.url()).largest_value(MIB as u64).connect().unwrap();
        assert_eq!(store.capabilities().largest_value(), Some(MIB as u64));
        let (fits, large) = (bytes(MIB, 1), bytes(MIB + 1, 2));
        store.put_with_ttl("k", &fits, 10 * MINUTE).unwrap();
        let begin = Instant::now();
        let check = |what: &str, result: Result<(), Error>| match result {
            Err(Error::ValueTooLarge { size, limit, key, .. }) => {
                assert_eq!((size, limit, key.as_str()), ((MIB + 1) as u64, MIB as u64, "k"), "{what}");
            }
            other => panic!("{what}: {other:?}"),
        };
        let sent = sent_by(&mut connection, || {
            check("put", store.put("k", &large));
            check("put_with_ttl", store.put_with_ttl("k", &large, MINUTE));
            check("put_with_ttl, zero", store.put_with_ttl("k", &large, Duration::ZERO));
            check("create", store.create("k", &large).map(drop));
            check("put_many", store.put_many([("other", &b"v"[..]), ("k", &large)]));
            check("put_from", store.put_from("k", large.as_slice()));
            check("put_from, endless", store.put_from("k", io::repeat(7)));
        });
        assert_eq!(sent, 0);
        assert!(store.get_many(["k", "other"]).unwrap() == [Some(fits.into()), None]);
        let left = store.ttl("k").unwrap().unwrap().duration().unwrap();
        assert!(left <= 10 * MINUTE && left + begin.elapsed() + 10 * MILLISECOND >= 10 * MINUTE, "{left:?}");
        // It does count.
        assert!(sent_by(&mut connection, || store.put("k", "v").unwrap()) > 20);
    }

    #[test]
    fn the_limit_is_512_mib_unless_told_otherwise() {
        let redis = Redis::start(&[]);
        let mut connection = redis.connection();
        let store = open(&redis);
        store.put("k", "old").unwrap();
        // Nobody writes to these bytes, or reads them: they take no memory.
        let large = vec![0; 512 * MIB + 1];
        let sent = sent_by(&mut connection, || {
            let error = store.put("k", &large).unwrap_err();
            assert!(matches!(error, Error::ValueTooLarge { limit: 536_870_912, size: 536_870_913, .. }), "{error:?}");
        });
        assert_eq!(sent, 0);
        assert_eq!(store.get("k").unwrap().unwrap(), "old");
    }

    #[test]
    fn a_server_that_takes_less_than_the_store_believes_refuses_and_goes_on() {
        let redis = Redis::start(&["--proto-max-bulk-len", "1mb"]);
        let store = builder(redis.url()).pool_size(1).connect().unwrap();
        let old = bytes(MIB, 1);
        store.put("k", &old).unwrap();
        let check = |error: Error| {
            assert_eq!(error.store(), Some(store.name()));
            // Either it says what the server said, or that nobody knows: the server closes the connection.
            match &error {
                Error::Backend(_) => assert!(cause_of(&error).contains("invalid bulk length"), "{error:?}"),
                Error::Unavailable(_) => assert!(error.outcome_unknown(), "{error:?}"),
                _ => panic!("{error:?}"),
            }
        };
        // The server closes the connection after its reply: what comes next must not meet that, and would now and then.
        for (size, rounds) in [(MIB + 1, 40), (2 * MIB, 40), (20 * MIB, 2)] {
            let large = bytes(size, 2);
            let operations: [(&str, Operation<'_>); 3] = [
                ("put", &|| store.put("k", &large)),
                ("put_many", &|| store.put_many([("other", &b"v"[..]), ("k", &large)])),
                ("create", &|| store.create("absent", &large).map(drop)),
            ];
            let value = size.to_string();
            for (what, operation) in operations.into_iter().cycle().take(rounds * operations.len()) {
                // What comes next has to work at once, whichever it is: a write, too, which cannot be sent twice.
                let next: [(&str, Operation<'_>); 3] = [
                    ("put", &|| store.put("next", &value)),
                    ("get", &|| store.get("next").map(|read| assert_eq!(read.unwrap(), value))),
                    ("put_many", &|| store.put_many([("next", &value)])),
                ];
                for (after, next) in next {
                    let (error, result) = (operation().unwrap_err(), next());
                    assert!(result.is_ok(), "{after} after a {what} of {size} bytes that failed: {result:?}");
                    check(error);
                }
            }
            assert!(store.get("k").unwrap().unwrap() == old, "{size}");
            assert_eq!(store.get("absent").unwrap(), None);
        }
    }

    #[test]
    fn a_hundred_thousand_keys_go_into_one_call() {
        let (redis, keys) = (Redis::start(&[]), names(100_000));
        let store = open(&redis);
        // Each key twice, the second time right after it or at the very end.
        let (first, last) = (|key: &str| format!("first {key}"), |key: &str| format!("last {key}"));
        let near = keys.iter().take(50_000).flat_map(|key| [(key, first(key)), (key, last(key))]);
        let far = keys.iter().skip(50_000);
        let entries = near.chain(far.clone().map(|key| (key, first(key)))).chain(far.map(|key| (key, last(key))));
        store.put_many(entries).unwrap();

        // Backwards, with duplicates, and with some that are not there.
        let asked: Vec<_> = keys.iter().rev().flat_map(|key| [key.clone(), format!("{key}-absent")]).collect();
        let asked: Vec<_> = asked.iter().chain(&asked[..5000]).collect();
        let values = store.get_many(&asked).unwrap();
        assert_eq!(values.len(), asked.len());
        for (key, value) in asked.iter().zip(values) {
            assert_eq!(value, (!key.ends_with("-absent")).then(|| last(key).into()), "{key}");
        }

        let deleted = store.delete_many(asked.iter().filter(|key| key.as_str() < "key-070000")).unwrap();
        let mut there: HashSet<_> = keys.iter().take(70_000).collect();
        for (key, deleted) in asked.iter().filter(|key| key.as_str() < "key-070000").zip(deleted) {
            assert_eq!(deleted, there.remove(key), "{key}");
        }
        assert!(there.is_empty());
        assert_eq!(ask::<usize>(&redis, &["DBSIZE"]), 30_000);
        let deleted = store.delete_many(keys.iter().chain(&keys)).unwrap();
        assert!(deleted.iter().enumerate().all(|(at, &deleted)| deleted == (70_000..100_000).contains(&at)));
        assert_eq!(ask::<usize>(&redis, &["DBSIZE"]), 0);
    }
}

mod pool {
    use super::*;

    const DATABASE: u16 = 7;

    /// A value that says whose it is, of some length.
    fn value(key: &str, thread: usize, round: usize) -> String {
        format!("{key} {thread} {round} {}", "x".repeat((thread * 31 + round * 977) % 5000))
    }

    /// Whether a value is one of a key.
    #[track_caller]
    fn is_of(key: &str, value: &[u8]) {
        let text = std::str::from_utf8(value).unwrap();
        let mut words = text.split(' ');
        assert_eq!(words.next(), Some(key));
        let [thread, round] = [(); 2].map(|()| words.next().unwrap().parse().unwrap());
        assert!(text == self::value(key, thread, round), "{key}: a value that nobody wrote");
    }

    #[test]
    fn nobody_gets_what_belongs_to_another_one_of_64_threads_on_a_pool_of_4() {
        let redis = Redis::start(&[]);
        let store = builder(redis.url_of_database(DATABASE)).pool_size(4).pool_timeout(MINUTE).connect().unwrap();
        let shared: Vec<_> = (0..16).map(|number| format!("shared-{number}")).collect();
        let work = |thread: usize| {
            let (own, other) = (format!("own-{thread}"), format!("other-{thread}"));
            let mut expected: Option<String> = None;
            for round in 0..200 {
                let common = &shared[(thread / 2 + round) % shared.len()];
                let mine = value(&own, thread, round);
                match (thread + round) % 10 {
                    0 => store.put(common, value(common, thread, round)).unwrap(),
                    1 => drop(store.get(common).unwrap().inspect(|value| is_of(common, value))),
                    2 => {
                        store.put(&own, &mine).unwrap();
                        expected = Some(mine);
                    }
                    3 => {
                        let asked = [common, &own, &shared[0], "absent"];
                        let values = store.get_many(asked).unwrap();
                        let [first, second, third, None] = <[_; 4]>::try_from(values).unwrap() else {
                            panic!("absent")
                        };
                        first.inspect(|value| is_of(common, value));
                        third.inspect(|value| is_of(&shared[0], value));
                        assert_eq!(second, expected.clone().map(Bytes::from));
                    }
                    4 => {
                        let two = [(common.as_str(), value(common, thread, round)), (&own, mine.clone())];
                        store.put_many(two).unwrap();
                        expected = Some(mine);
                    }
                    5 => {
                        assert_eq!(store.create(&own, &mine).unwrap(), expected.is_none());
                        expected.get_or_insert(mine);
                    }
                    6 if expected.is_some() => {
                        store.copy(&own, &other).unwrap();
                        assert_eq!(store.get(&other).unwrap(), expected.clone().map(Bytes::from));
                        store.rename(&other, &own).unwrap();
                        assert_eq!(store.get(&other).unwrap(), None);
                    }
                    6 => assert!(matches!(store.copy(&own, &other).unwrap_err(), Error::NotFound { .. })),
                    7 => assert_eq!(store.delete(&own).unwrap(), expected.take().is_some()),
                    8 => {
                        let left = store.touch(&own, MINUTE).unwrap().then(|| store.ttl(&own).unwrap().unwrap());
                        assert_eq!(left.is_some(), expected.is_some());
                        assert!(left.is_none_or(|left| left.duration().unwrap() <= MINUTE), "{left:?}");
                    }
                    _ => assert_eq!(store.contains(&own).unwrap(), expected.is_some()),
                }
                assert_eq!(store.get(&own).unwrap(), expected.clone().map(Bytes::from), "{own} in round {round}");
            }
        };
        let running = AtomicUsize::new(64);
        thread::scope(|scope| {
            for thread in 0..64 {
                let (work, running) = (&work, &running);
                scope.spawn(move || {
                    let _done = Counted(running);
                    work(thread);
                });
            }
            let (mut connection, mut most) = (redis.connection(), 0);
            while running.load(Relaxed) > 0 {
                most = most.max(count_connections(&mut connection, DATABASE));
                thread::sleep(Duration::from_millis(2));
            }
            assert!((2..=4).contains(&most), "{most} connections");
        });
        for key in &shared {
            is_of(key, &store.get(key).unwrap().unwrap());
        }
        assert!(connections_to(&redis, DATABASE) <= 4);
    }

    /// Counts down when it is dropped, a panic included.
    struct Counted<'a>(&'a AtomicUsize);

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Relaxed);
        }
    }

    #[test]
    fn who_waits_too_long_for_a_connection_is_told_what_to_do() {
        const LIMIT: Duration = Duration::from_millis(100);
        let redis = Redis::start(&[]);
        let store = builder(redis.url()).pool_size(1).pool_timeout(LIMIT).connect().unwrap();
        store.put("k", "v").unwrap();
        redis.pause();
        let (sender, results) = mpsc::channel();
        thread::scope(|scope| {
            // One of them has the connection, and waits for the server; the others wait for the connection.
            for _ in 0..3 {
                let (store, sender) = (&store, sender.clone());
                scope.spawn(move || {
                    let begin = Instant::now();
                    sender.send((store.get("k"), begin.elapsed())).unwrap();
                });
            }
            let refused = [(); 2].map(|()| results.recv().unwrap());
            redis.resume();
            assert_eq!(results.recv().unwrap().0.unwrap().unwrap(), "v");
            for (result, elapsed) in refused {
                let error = result.unwrap_err();
                assert!(matches!(error, Error::Unavailable(_)) && error.is_transient(), "{error:?}");
                assert!(!error.outcome_unknown());
                assert!((LIMIT..LIMIT + Duration::from_secs(2)).contains(&elapsed), "{elapsed:?}");
                assert_eq!((error.key(), error.store()), (Some("k"), Some(store.name())));
                let text = error.to_string();
                assert!(text.contains("100ms") && text.contains("pool"), "{text}");
                assert!(text.contains("pool_size") || text.contains("pool_timeout"), "it says not what to do: {text}");
            }
        });
        assert_eq!(store.get("k").unwrap().unwrap(), "v");
    }

    #[test]
    fn one_operation_after_the_other_needs_one_connection_however_large_the_pool() {
        let redis = Redis::start(&[]);
        let counts = (0..20).map(|round| {
            let (url, pool_size) = (redis.url_of_database(DATABASE + round), if round % 2 == 0 { 10 } else { 500 });
            let store = builder(url).pool_size(pool_size).connect().unwrap();
            for _ in 0..100 {
                store.get("k").unwrap();
            }
            connections_to(&redis, DATABASE + round)
        });
        assert_eq!(counts.collect::<Vec<_>>(), [1; 20]);
    }

    #[test]
    fn a_store_connects_when_it_is_told_to_and_makes_as_many_connections_as_it_is_told() {
        let redis = Redis::start(&[]);
        let builder = builder(redis.url_of_database(DATABASE)).pool_size(8);
        let count = || connections_to(&redis, DATABASE);
        for (min_idle, expected) in [(0, 1), (1, 1), (3, 3), (8, 8)] {
            let store = builder.clone().min_idle(min_idle).connect().unwrap();
            assert_eq!(count(), expected);
            for _ in 0..100 {
                store.get("k").unwrap();
            }
            assert_eq!(count(), expected, "one after the other needs no more");
            drop(store);
            wait_until(|| if count() == 0 { Ok(()) } else { Err(format!("{} connections are open", count())) });
        }
        for min_idle in [0, 3] {
            let called = calls_of(&redis, || {
                let store = builder.clone().min_idle(min_idle).build().unwrap();
                thread::sleep(Duration::from_millis(100));
                assert_eq!(connections_to(&redis, DATABASE), 0);
                assert_eq!(store.get("k").unwrap(), None);
                assert_eq!(connections_to(&redis, DATABASE), 1);
            });
            assert_eq!((called["get"], called["info"], called["select"]), (1, 1, 1));
            wait_until(|| if count() == 0 { Ok(()) } else { Err(format!("{} connections are open", count())) });
        }
        let error = builder.clone().min_idle(9).build().unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && error.to_string().contains("min_idle"), "{error}");
    }
}

mod refusals {
    use super::*;

    const PASSWORD: &str = "Pa55wordOfNobody";
    const SECRET: &str = "ValueOfNobody";

    #[test]
    fn a_full_server_takes_no_writes_and_goes_on_with_the_rest() {
        let full = ["--databases", "1", "--maxmemory", "2mb", "--maxmemory-policy", "noeviction"];
        let redis = Redis::start(&full);
        let store = open(&redis);
        let value = bytes(10_000, 1);
        let is_full = |error: &Error| {
            assert!(matches!(error, Error::Backend(_)) && !error.outcome_unknown(), "{error:?}");
            assert!(error.to_string().contains("maxmemory"), "{error}");
            assert!(cause_of(error).starts_with("OOM"), "{error:?}");
            assert_eq!(error.store(), Some(store.name()));
        };
        for _ in 0..3 {
            let mut written = Vec::new();
            let error = loop {
                assert!(written.len() < 1000, "it is never full");
                let key = format!("key-{}", written.len());
                match store.put(&key, &value) {
                    Ok(()) => written.push(key),
                    Err(error) => break error,
                }
            };
            is_full(&error);
            assert_eq!(error.key(), Some(format!("key-{}", written.len()).as_str()));
            assert!(written.len() > 10, "{} were written", written.len());
            // What a request takes itself counts, too: so that all are refused for certain, there is less.
            redis.command(&["CONFIG", "SET", "maxmemory", "1mb"]);
            is_full(&store.create("absent", &value).unwrap_err());
            is_full(&store.put(&written[0], b"new").unwrap_err());
            is_full(&store.put_many([("absent", &value)]).unwrap_err());
            is_full(&store.copy(&written[0], "absent").unwrap_err());

            let called = calls_of(&redis, || {
                for key in &written {
                    assert!(store.get(key).unwrap().unwrap() == value, "{key}");
                    assert!(store.contains(key).unwrap() && store.touch(key, MINUTE).unwrap());
                }
                assert_eq!(listed(&store, ""), set(&written));
                assert_eq!(store.get("absent").unwrap(), None);
            });
            assert_eq!(called.get("info"), None, "the connection was closed");
            redis.command(&["CONFIG", "SET", "maxmemory", "2mb"]);
            assert!(written.iter().all(|key| store.delete(key).unwrap()));
            // The server frees what it can in its own time.
            wait_until(|| store.put("k", &value).map_err(|error| error.to_string()));
            assert!(store.get("k").unwrap().unwrap() == value);
            assert!(store.delete("k").unwrap());
        }
    }

    #[test]
    fn a_server_that_loads_its_data_says_so_and_then_has_it() {
        // It takes 10 ms for a key and looks after its clients after each 1024 bytes.
        let slowly = ["--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"];
        let redis = Redis::start(&slowly);
        let store = open(&redis);
        let keys = names(1000);
        store.put_many(keys.iter().map(|key| (key, format!("{key} {}", "x".repeat(100))))).unwrap();
        redis.command(&["SAVE"]);
        redis.kill();
        redis.restart();
        let late = open(&redis);
        let results = [
            ("get", store.get("k").map(drop)),
            ("put", store.put("k", "v")),
            ("put_many", store.put_many([("k", "v")])),
            ("get_many", store.get_many(["k"]).map(drop)),
            ("keys", store.keys("").unwrap().next().unwrap().map(drop)),
            ("put, by a new one", late.put("k", "v")),
        ];
        for (what, result) in results {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Backend(_)), "{what}: {error:?}");
            assert!(error.is_transient() && !error.outcome_unknown(), "{what}: {error:?}");
            assert!(error.to_string().contains("loading"), "{what}: {error}");
            assert!(cause_of(&error).starts_with("LOADING"), "{what}: {error:?}");
        }
        redis.command(&["CONFIG", "SET", "key-load-delay", "0"]);
        wait_until(|| store.get(&keys[999]).map_err(|error| error.to_string())).unwrap();
        assert!(listed(&store, "") == set(&keys));
        late.put("k", "v").unwrap();
        assert_eq!(store.get("k").unwrap().unwrap(), "v");
    }

    /// Neither the password nor the value may be seen.
    #[track_caller]
    fn hides(what: &str, shown: &str) {
        for secret in [PASSWORD, SECRET] {
            assert!(!shown.contains(secret), "{what} shows {secret}: {shown}");
        }
    }

    #[track_caller]
    fn hides_all<T: Debug>(what: &str, it: &T) {
        hides(what, &format!("{it:?} {it:#?}"));
    }

    /// Whether an error names its store and a key, in words, too, and shows no secret.
    #[track_caller]
    fn is_told(what: &str, store: &str, key: Option<&str>, error: &Error) {
        hides(what, &told(error));
        assert_eq!((error.store(), error.key()), (Some(store), key), "{what}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(store) && text.contains(key.unwrap_or_default()), "{what}: {text}");
    }

    #[test]
    fn no_debug_shows_a_password() {
        let redis = Redis::start(&["--requirepass", PASSWORD]);
        assert!(redis.url().contains(PASSWORD) && redis.unix_url().contains(PASSWORD));
        let plain = || builder(format!("redis://{}", redis.address())).password(PASSWORD);
        for builder in [builder(redis.url()), builder(redis.unix_url()), plain(), plain().username("default")] {
            hides_all("the builder", &builder);
            let store = builder.connect().unwrap();
            hides_all("the store", &store);
            hides("the name", store.name());
            store.put("k", SECRET).unwrap();
            hides_all("a listing", &store.keys("").unwrap());
        }
    }

    #[test]
    fn a_url_that_is_of_no_use_is_not_shown() {
        let urls = [
            format!("redis://:{PASSWORD}@host:port/0"),
            format!("redis://:{PASSWORD}@host:6379/database"),
            format!("redis://:{PASSWORD}@host:6379/-1"),
            format!("redis://:{PASSWORD}@"),
            format!("redis:///{PASSWORD}@host"),
            format!("rediss://:{PASSWORD}@host:6379/#insecure"),
            format!("http://:{PASSWORD}@host:6379/"),
            format!("{PASSWORD}@host:6379"),
            format!(":{PASSWORD}@host:6379"),
            format!("redis://{PASSWORD}@host:6379"),
            format!("redis+unix:///socket?db={PASSWORD}"),
        ];
        for url in urls {
            let builder = builder(&url);
            hides_all("the builder", &builder);
            match builder.build() {
                Ok(store) => panic!("{url}: {store:?}"),
                Err(error) => hides(&url, &told(&error)),
            }
        }
    }

    #[test]
    fn a_wrong_password_is_an_error_that_says_so_and_does_not_show_it() {
        let redis = Redis::start(&["--requirepass", "theRightOne"]);
        redis.command(&["ACL", "SETUSER", "reader", "on", ">reading", "~*", "+@read", "+info"]);
        let address = redis.address();
        let name = format!("redis://{address}/0");
        let cases = [
            ("wrong", format!("redis://:{PASSWORD}@{address}"), "WRONGPASS", "password"),
            ("wrong, of a user", format!("redis://default:{PASSWORD}@{address}"), "WRONGPASS", "password"),
            ("no such user", format!("redis://nobody:{PASSWORD}@{address}"), "WRONGPASS", "password"),
            ("none", format!("redis://{address}"), "NOAUTH", "password"),
        ];
        for (what, url, code, says) in cases {
            let error = builder(&url).connect().unwrap_err();
            is_told(what, &name, None, &error);
            let store = builder(&url).build().unwrap();
            let results = [
                store.get("the-key").map(drop),
                store.put("the-key", SECRET),
                store.create("the-key", SECRET).map(drop),
                store.touch("the-key", MINUTE).map(drop),
                store.put_many([("the-key", SECRET)]),
            ];
            for error in [error].into_iter().chain(results.map(Result::unwrap_err)) {
                is_told(what, &name, error.key(), &error);
                assert!(matches!(error, Error::Backend(_)), "{what}: {error:?}");
                assert!(!error.is_transient() && !error.outcome_unknown(), "{what}: {error:?}");
                assert!(error.to_string().contains(says) && cause_of(&error).starts_with(code), "{what}: {error:?}");
            }
        }
        let store = builder(format!("redis://reader:reading@{address}")).connect().unwrap();
        assert_eq!(store.get("the-key").unwrap(), None);
        let error = store.put("the-key", SECRET).unwrap_err();
        is_told("not allowed", store.name(), Some("the-key"), &error);
        assert!(matches!(error, Error::Backend(_)) && cause_of(&error).starts_with("NOPERM"), "{error:?}");
    }

    #[test]
    fn what_a_server_repeats_of_a_command_that_it_does_not_know_is_not_shown() {
        let renamed = ["SET", "GET", "MGET", "UNLINK", "COPY"].into_iter();
        let args: Vec<_> = renamed.flat_map(|command| ["--rename-command", command, ""]).collect();
        let redis = Redis::start(&args);
        let store = open(&redis);
        let repeated = redis.try_command(&["SET", "k", SECRET]).unwrap_err().to_string();
        assert!(repeated.contains(SECRET), "the server does not repeat the arguments: {repeated}");
        let key = Some("the-key");
        let results = [
            ("put", key, store.put("the-key", SECRET)),
            ("put_with_ttl", key, store.put_with_ttl("the-key", SECRET, MINUTE)),
            ("create", key, store.create("the-key", SECRET).map(drop)),
            ("put_many", key, store.put_many([("the-key", SECRET), ("another", SECRET)])),
            ("put_from", key, store.put_from("the-key", SECRET.as_bytes())),
            ("get", key, store.get("the-key").map(drop)),
            ("delete", key, store.delete("the-key").map(drop)),
            ("delete_many", key, store.delete_many(["the-key", "another"]).map(drop)),
            ("copy", key, store.copy("the-key", "another")),
            ("get_many", None, store.get_many(["the-key", "another"]).map(drop)),
        ];
        for (what, key, result) in results {
            let error = result.unwrap_err();
            is_told(what, store.name(), key, &error);
            assert!(matches!(error, Error::Backend(_)) && !error.is_transient(), "{what}: {error:?}");
            assert!(cause_of(&error).contains("unknown command"), "{what}: {error:?}");
        }

        // A server may know the command and not the one that logs in.
        let redis = Redis::start(&["--rename-command", "AUTH", ""]);
        for user in ["", "default"] {
            let error = builder(format!("redis://{user}:{PASSWORD}@{}", redis.address())).connect().unwrap_err();
            hides("AUTH", &told(&error));
            assert!(cause_of(&error).contains("unknown command"), "{error:?}");
        }
    }

    #[test]
    fn an_error_names_key_and_store_and_shows_no_value() {
        let redis = Redis::start(&["--requirepass", PASSWORD]);
        let builder = RedisStore::builder().url(redis.url()).response_timeout(Duration::from_millis(200));
        let store = builder.clone().largest_value(1000).connect().unwrap();
        let key = Some("the-key");
        let long = SECRET.repeat(100);
        let check = |what: &str, result: Result<(), Error>| {
            is_told(what, store.name(), key, &result.expect_err(what));
        };
        redis.command(&["HSET", "the-key", "field", SECRET]);
        check("of another type", store.get("the-key").map(drop));
        check("too large", store.put("the-key", &long));
        check("no such lifetime", store.put_with_ttl("the-key", SECRET, Duration::MAX));
        redis.command(&["DEL", "the-key"]);
        check("not found", store.copy("the-key", "another"));
        check("not found", store.rename("the-key", "another"));
        check("not found", store.open("the-key").map(drop));

        let store = builder.connect().unwrap();
        store.put("the-key", &long).unwrap();
        redis.pause();
        let error = store.put("the-key", &long).unwrap_err();
        is_told("no answer", store.name(), key, &error);
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
        redis.resume();
        redis.kill();
        let error = store.put("the-key", &long).unwrap_err();
        is_told("no server", store.name(), key, &error);
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        let error = store.put_many([("the-key", &long), ("another", &long)]).unwrap_err();
        is_told("no server", store.name(), None, &error);
    }

    #[test]
    fn a_key_of_the_errors_is_the_caller_s() {
        let redis = Redis::start(&[]);
        let store = builder(redis.url()).namespace("ns").connect().unwrap();
        redis.command(&["HSET", "ns:the-key", "field", "v"]);
        let error = store.read(Key::new("the-key").unwrap()).unwrap_err();
        assert_eq!(error.key(), Some("the-key"), "without the namespace");
        let error = store.rename("absent", "other").unwrap_err();
        assert!(matches!(&error, Error::NotFound { key, .. } if key.as_str() == "absent"), "{error:?}");
    }
}
