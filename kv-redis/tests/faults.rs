//! What networks and servers do to a store, and what it makes of that (contract: section 10, E1, E2, E4, E5, L3).

#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

mod support;

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use kv_redis::{Error, KeyValueStore, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Remaining, Result, r2d2, redis};
use socket2::{Domain, SockAddr, Socket, Type};

use kv_conformance::proxy::{Behaviour, Cut, Direction, Proxy};
use support::{PATIENCE, Redis, wait_until};

/// Each of the three limits.
const LIMIT: Duration = Duration::from_millis(400);

/// What an operation may take longer than its limits on a machine that does much else.
const MARGIN: Duration = Duration::from_millis(1500);

/// The number of keys of a batch: several chunks.
const MANY: usize = 10_000;

/// An idle connection is checked from here on, generously.
const IDLE: Duration = Duration::from_millis(1200);

fn settings(builder: RedisStoreBuilder) -> RedisStoreBuilder {
    // Each fault is met, also after a time-out, and does not end in being left alone: that is in `one_server/silence.rs`.
    builder.pool_timeout(LIMIT).connect_timeout(LIMIT).response_timeout(LIMIT).retry_after(Duration::ZERO)
}

fn builder(port: u16) -> RedisStoreBuilder {
    settings(RedisStore::builder().url(format!("redis://127.0.0.1:{port}")))
}

/// A store in whose tests nothing is to time out.
fn patient(builder: RedisStoreBuilder) -> RedisStoreBuilder {
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// A server with `k`, and a proxy before it.
fn start(extra: &[&str]) -> (Redis, Proxy) {
    let redis = Redis::start(extra);
    let proxy = support::proxy(redis.port());
    redis.command(&["SET", "k", "v"]);
    (redis, proxy)
}

/// A server, a proxy, and a store whose pool has one connection, which is made.
fn one_connection() -> (Redis, Proxy, RedisStore) {
    let (redis, proxy) = start(&[]);
    let store = builder(proxy.port()).pool_size(1).connect().unwrap();
    (redis, proxy, store)
}

/// A pool of the application, of the crate `redis`.
fn pool(port: u16, size: u32) -> r2d2::Pool<redis::Client> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    r2d2::Pool::builder().max_size(size).test_on_check_out(false).build(client).unwrap()
}

fn lent(port: u16, size: u32) -> RedisStore {
    settings(RedisStore::builder()).build_on_pool(pool(port, size)).unwrap()
}

/// What an operation brings, if it ends within a limit.
#[track_caller]
fn within<T>(limit: Duration, what: &str, operation: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = operation();
    let took = begin.elapsed();
    assert!(took <= limit + MARGIN, "{what} took {took:?}, where the limit is {limit:?}");
    result
}

type Operation = (&'static str, bool, fn(&RedisStore) -> Result<()>);

/// What there is to be done to `k`, with its name and whether it writes.
const SINGLE: [Operation; 11] = [
    ("get", false, |store| store.get("k").map(drop)),
    ("contains", false, |store| store.contains("k").map(drop)),
    ("ttl", false, |store| store.ttl("k").map(drop)),
    ("put", true, |store| store.put("k", "new")),
    ("put of 4 MB", true, |store| store.put("k", vec![7; 4_000_000])),
    ("create", true, |store| store.create("k", "new").map(drop)),
    ("delete", true, |store| store.delete("k").map(drop)),
    ("touch", true, |store| store.touch("k", Duration::from_secs(1000)).map(drop)),
    ("touch for ever", true, |store| store.touch("k", kv_redis::Ttl::Forever).map(drop)),
    ("copy", true, |store| store.copy("k", "copy")),
    ("rename", true, |store| store.rename("k", "renamed")),
];

/// What there is to be done to many keys.
const BATCH: [Operation; 4] = [
    ("get_many", false, |store| store.get_many(many()).map(drop)),
    ("put_many", true, |store| store.put_many(many().map(|key| (key, "value")))),
    ("delete_many", true, |store| store.delete_many(many()).map(drop)),
    ("keys", false, |store| store.keys("")?.collect::<Result<Vec<_>>>().map(drop)),
];

fn many() -> impl Iterator<Item = String> {
    (0..MANY).map(|number| format!("many/{number}"))
}

fn operations() -> impl Iterator<Item = Operation> {
    SINGLE.into_iter().chain(BATCH)
}

/// Whether an error is one of the network, names what it concerns, and does not repeat its cause.
#[track_caller]
fn check(error: &Error, store: &RedisStore, name: &str) {
    assert!(matches!(error, Error::Unavailable(_) | Error::Timeout(_) | Error::Backend(_)), "{name}: {error:?}");
    assert!(error.is_transient(), "{name}: {error:?}");
    assert_eq!(error.store(), Some(store.name()), "{name}: {error:?}");
    let shown = error.to_string();
    assert!(shown.starts_with(store.name()), "{name}: {shown}");
    if SINGLE.iter().any(|(single, ..)| *single == name) {
        assert_eq!(error.key(), Some("k"), "{name}: {error:?}");
        assert!(shown.contains("\"k\""), "{name}: {shown}");
    }
    assert_eq!(shown.contains("may or may not have happened"), error.outcome_unknown(), "{name}: {shown}");
    if let Some(cause) = error.source() {
        assert!(!shown.contains(&cause.to_string()), "{name}: {shown} repeats {cause}");
    }
}

/// The kind of the error of the operating system that is the cause.
fn kind_of_cause(error: &Error) -> Option<io::ErrorKind> {
    Some(error.source()?.downcast_ref::<io::Error>()?.kind())
}

/// The ids of the connections that the server has, without the one that asks.
fn clients(redis: &Redis) -> BTreeSet<u64> {
    let list: String = redis::from_redis_value(redis.command(&["CLIENT", "LIST"])).unwrap();
    let others = list.lines().filter(|line| !line.contains("cmd=client|list"));
    let id = |line: &str| line.strip_prefix("id=").unwrap().split(' ').next().unwrap().parse().unwrap();
    let mut ids: BTreeSet<_> = others.map(id).collect();
    // Before redis 7 the subcommand is not told. Who asks has come last.
    if !support::is_since((7, 0, 0)) {
        ids.pop_last();
    }
    ids
}

/// The command for a page of a listing: without `SCAN … TYPE` a script.
fn listing() -> &'static str {
    if support::is_since((6, 0, 0)) { "SCAN" } else { "EVAL" }
}

#[track_caller]
fn assert_works(store: &RedisStore) {
    store.put("works", "yes").unwrap();
    assert_eq!(store.get("works").unwrap().unwrap(), "yes");
    store.delete("works").unwrap();
}

// N1: limits

#[test]
fn a_server_that_falls_silent_is_a_time_out_for_every_operation() {
    let (redis, proxy, store) = one_connection();
    for (name, writes, operation) in operations() {
        redis.command(&["SET", "k", "v"]);
        store.get("k").unwrap();
        proxy.set(Behaviour::Hold);
        let begin = Instant::now();
        let error = within(LIMIT, name, || operation(&store)).unwrap_err();
        assert!(begin.elapsed() > LIMIT / 2, "{name}: {error} after {:?}", begin.elapsed());
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
        check(&error, &store, name);
        proxy.pass();
        assert_works(&store);
    }
}

#[test]
fn a_server_that_never_answered_is_a_time_out_and_nothing_was_sent() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let store = builder(listener.local_addr().unwrap().port()).build().unwrap();
    for (name, _, operation) in operations() {
        let error = within(LIMIT, name, || operation(&store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{name}: {error:?}");
        check(&error, &store, name);
    }
    let error = within(LIMIT, "connect", || builder(listener.local_addr().unwrap().port()).connect()).unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
}

#[test]
fn a_reply_that_comes_byte_by_byte_has_to_end_by_the_limit() {
    let (redis, proxy, store) = one_connection();
    for (name, writes, operation) in operations() {
        redis.command(&["SET", "k", &"v".repeat(200)]);
        store.contains("k").unwrap();
        proxy.set(Behaviour::Split(Duration::from_millis(200)));
        let error = within(LIMIT, name, || operation(&store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
        // Now the greeting comes like that.
        let error = within(LIMIT, name, || operation(&store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{name}: {error:?}");
        proxy.pass();
        assert_works(&store);
    }
}

#[test]
fn a_reply_in_single_bytes_is_a_reply() {
    let (redis, proxy) = start(&[]);
    let store = patient(builder(proxy.port())).pool_size(1).connect().unwrap();
    redis.command(&["SET", "k", &"v".repeat(5000)]);
    proxy.set(Behaviour::Split(Duration::ZERO));
    assert_eq!(store.get("k").unwrap().unwrap(), "v".repeat(5000));
    proxy.set(Behaviour::Split(Duration::from_millis(2)));
    assert!(store.contains("k").unwrap());
    assert_eq!(store.get_many(["absent", "absent"]).unwrap(), [None, None]);
    assert_works(&store);
    assert_eq!(proxy.accepted(), 1);
}

#[test]
fn a_slow_reply_within_the_limit_is_a_reply() {
    let (_redis, proxy, _) = one_connection();
    let store = builder(proxy.port()).response_timeout(LIMIT + MARGIN).connect().unwrap();
    proxy.set(Behaviour::Delay(Duration::from_millis(100)));
    let begin = Instant::now();
    assert_eq!(store.get("k").unwrap().unwrap(), "v");
    assert!(begin.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_server_whose_backlog_is_full_is_a_time_out() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        match socket.connect_timeout(&address, Duration::from_millis(200)) {
            Ok(()) => waiting.push(socket),
            Err(_) => break,
        }
        assert!(waiting.len() < 1000, "the backlog does not fill");
    }
    let store = builder(address.as_socket().unwrap().port()).build().unwrap();
    for (name, _, operation) in operations() {
        let error = within(LIMIT, name, || operation(&store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{name}: {error:?}");
        check(&error, &store, name);
    }
}

#[test]
fn a_unix_socket_whose_backlog_is_full_is_an_error_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full.sock");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        match socket.connect(&SockAddr::unix(&path).unwrap()) {
            Ok(()) => waiting.push(socket),
            Err(_) => break,
        }
        assert!(waiting.len() < 1000, "the backlog does not fill");
    }
    let store = settings(RedisStore::builder().url(format!("redis+unix://{}", path.display()))).build().unwrap();
    for (name, _, operation) in operations() {
        let error = within(LIMIT, name, || operation(&store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_) | Error::Unavailable(_)), "{name}: {error:?}");
        assert!(!error.outcome_unknown(), "{name}: {error:?}");
        check(&error, &store, name);
    }
}

#[test]
fn a_server_that_is_stopped_is_a_time_out_over_tcp_and_a_unix_socket() {
    let redis = Redis::start(&[]);
    let stores = [redis.url(), redis.unix_url()];
    let stores = stores.map(|url| settings(RedisStore::builder().url(url)).pool_size(1).build().unwrap());
    for (name, writes, operation) in operations() {
        redis.command(&["SET", "k", "v"]);
        for store in &stores {
            store.get("k").unwrap();
        }
        redis.pause();
        for store in &stores {
            let error = within(LIMIT, name, || operation(store)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
            assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
            check(&error, store, name);
            let error = within(LIMIT, name, || operation(store)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{name}: {error:?}");
        }
        redis.resume();
    }
    for store in &stores {
        assert_works(store);
    }
}

#[test]
fn waiting_for_the_pool_ends_by_its_limit() {
    let (_redis, proxy) = start(&[]);
    let store = builder(proxy.port()).pool_size(1).response_timeout(LIMIT * 60).connect().unwrap();
    proxy.set(Behaviour::Hold);
    thread::scope(|scope| {
        let holder = scope.spawn(|| store.get("k"));
        thread::sleep(LIMIT);
        for (name, _, operation) in operations() {
            let error = within(LIMIT, name, || operation(&store)).unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{name}: {error:?}");
            check(&error, &store, name);
        }
        proxy.pass();
        let _ = holder.join().unwrap();
    });
    assert_works(&store);
}

// N2: connections that nobody may trust any more

#[test]
fn after_a_time_out_the_connection_is_closed_and_the_late_reply_is_nobody_s() {
    let (redis, proxy, store) = one_connection();
    redis.command(&["SET", "other", "the other's"]);
    for (name, _, operation) in operations() {
        redis.command(&["SET", "k", "v"]);
        store.get("k").unwrap();
        let before = wait_until(|| {
            // The server may not yet have noticed that a connection of the test has been closed.
            let now = clients(&redis);
            if now.len() == 1 { Ok(now) } else { Err(format!("{name}: there is not one connection: {now:?}")) }
        });
        proxy.set(Behaviour::HoldReplies);
        let error = operation(&store).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        wait_until(|| {
            let now = clients(&redis);
            if now.is_disjoint(&before) { Ok(()) } else { Err(format!("{name}: {before:?} is still there: {now:?}")) }
        });
        // Now the late reply comes.
        proxy.pass();
        assert_eq!(store.get("other").unwrap().unwrap(), "the other's", "after {name}");
        assert_eq!(store.get("absent").unwrap(), None, "after {name}");
        assert_works(&store);
    }
}

#[test]
fn after_half_a_reply_the_connection_is_closed_and_the_rest_is_nobody_s() {
    let (redis, proxy, store) = one_connection();
    redis.command(&["SET", "k", "value"]);
    redis.command(&["SET", "other", "the other's"]);
    for bytes in 0.."$5\r\nvalue\r\n".len() {
        assert_eq!(store.get("k").unwrap().unwrap(), "value");
        proxy.set(Behaviour::Truncate { of: Direction::Replies, bytes });
        let error = within(LIMIT, "get", || store.get("k")).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
        // The rest comes between two operations.
        proxy.pass();
        assert_eq!(store.get("other").unwrap().unwrap(), "the other's", "after {bytes} bytes");
    }
    assert_eq!(proxy.accepted(), 1 + "$5\r\nvalue\r\n".len());
}

/// The store's own pool, and one that is lent.
fn both(port: u16) -> [(RedisStore, bool); 2] {
    let lent = patient(RedisStore::builder()).build_on_pool(pool(port, 1)).unwrap();
    [(patient(builder(port)).pool_size(1).connect().unwrap(), false), (lent, true)]
}

#[test]
fn a_reply_with_a_byte_that_makes_no_sense_is_an_error_or_right_and_closes_the_connection() {
    let (redis, proxy) = start(&[]);
    redis.command(&["SET", "k", "value"]);
    let store = builder(proxy.port()).response_timeout(Duration::from_millis(40)).pool_size(1).build().unwrap();
    for at in [0, 1, 2, 3, 9, 10] {
        for byte in 0..=u8::MAX {
            // The machine may take longer than 40 ms.
            let value = wait_until(|| store.get("k").map_err(|error| error.to_string()));
            assert_eq!(value.unwrap(), "value", "before byte {at} is {byte}");
            proxy.set(Behaviour::corrupt(at, byte));
            match within(LIMIT, "get", || store.get("k")) {
                Ok(value) => assert_eq!(value.as_deref(), Some(&b"value"[..]), "byte {at} is {byte}"),
                Err(error) => {
                    assert!(
                        matches!(error, Error::Timeout(_) | Error::Unavailable(_) | Error::Backend(_)),
                        "{error:?}"
                    );
                    assert!(!error.outcome_unknown() && error.key() == Some("k"), "{error:?}");
                    assert!(
                        !error.to_string().contains("value") && !format!("{error:?}").contains("value"),
                        "{error:?}"
                    );
                }
            }
            proxy.pass();
        }
    }
}

#[test]
fn no_reply_makes_an_operation_panic_or_succeed_where_it_makes_no_sense() {
    let (redis, proxy) = start(&[]);
    let nonsense: [&[u8]; 28] = [
        b"$9223372036854775807\r\n",
        b"$536870913\r\nx",
        b"*9223372036854775807\r\n",
        b"*4611686018427387904\r\n",
        b"*1000000000\r\n$1\r\na\r\n",
        b"%9223372036854775807\r\n",
        b"%4611686018427387904\r\n",
        b"|4611686018427387904\r\n",
        b"~9223372036854775807\r\n",
        b">9223372036854775807\r\n",
        b">2\r\n$7\r\nmessage\r\n$1\r\nx\r\n",
        b"*5\r\n,1.5\r\n,1.5\r\n,1.5\r\n,1.5\r\n,1.5\r\n",
        b"*6\r\n#t\r\n#t\r\n#t\r\n#t\r\n#t\r\n#t\r\n",
        b"*2\r\n$1\r\n0\r\n*5\r\n,1\r\n,1\r\n,1\r\n,1\r\n,1\r\n",
        b"~5\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"|0\r\n",
        b"(123456789012345678901234567890\r\n",
        b"=9\r\ntxt:value\r\n",
        b"=-1\r\n",
        b"!-1\r\n",
        b"!5\r\nERR x\r\n",
        b"*2\r\n$1\r\n0\r\n*1\r\n:1\r\n",
        b"*2\r\n:0\r\n*0\r\n",
        b"*0\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n",
        b"\xFF\xFF\r\n",
    ];
    let deep = "*1\r\n".repeat(100_000);
    let mut wrong = Vec::new();
    // Much of it is taken for the beginning of a reply, and waited for.
    let limit = Duration::from_millis(60);
    let own = builder(proxy.port()).response_timeout(limit).pool_size(1).build().unwrap();
    let lent = settings(RedisStore::builder()).response_timeout(limit).build_on_pool(pool(proxy.port(), 1)).unwrap();
    for store in [own, lent] {
        for reply in nonsense.into_iter().chain([deep.as_bytes()]) {
            for (name, writes, operation) in SINGLE.into_iter().chain([BATCH[3]]).filter(|it| it.0 != "put of 4 MB") {
                let shown = String::from_utf8_lossy(&reply[..reply.len().min(60)]);
                let what = format!("{name}, {shown:?}, {}", store.name());
                redis.command(&["SET", "k", "v"]);
                // A pool that is lent needs a moment to make another connection.
                wait_until(|| store.contains("k").map_err(|error| format!("{what}: {error}")));
                proxy.set(Behaviour::replace(reply));
                let result = within(LIMIT, &what, || catch_unwind(AssertUnwindSafe(|| operation(&store))));
                match result {
                    Ok(Err(error)) => assert!(error.outcome_unknown() <= writes, "{what}: {error:?}"),
                    Ok(Ok(())) => wrong.push(format!("{what}: a success")),
                    Err(_) => wrong.push(format!("{what}: a panic")),
                }
                proxy.pass();
                let value = wait_until(|| store.get("k").map_err(|error| format!("{what}: {error}")));
                assert!(matches!(value.as_deref(), None | Some(b"v" | b"new")), "{what}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_comes_with_a_reply_and_was_not_asked_for_is_nobody_s_reply() {
    let (redis, proxy) = start(&[]);
    let store = patient(builder(proxy.port())).pool_size(1).connect().unwrap();
    redis.command(&["SET", "other", "the other's"]);
    for extra in ["$5\r\nwrong\r\n", "$-1\r\n", ":1\r\n", "+OK\r\n", "$5\r\nwr", "\r\n", "x"] {
        for (name, writes, operation) in SINGLE.into_iter().chain([BATCH[3]]) {
            redis.command(&["SET", "k", "v"]);
            store.get("k").unwrap();
            proxy.set(Behaviour::inject(extra));
            let error = operation(&store).expect_err(name);
            assert!(matches!(error, Error::Backend(_)), "{name}: {error:?}");
            assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
            check(&error, &store, name);
            assert_eq!(store.get("other").unwrap().unwrap(), "the other's", "after {name} with {extra:?}");
        }
    }
}

#[test]
fn what_an_idle_connection_brings_is_nobody_s_reply() {
    let (redis, proxy, store) = one_connection();
    redis.command(&["SET", "other", "the other's"]);
    let before = proxy.accepted();
    // What was not asked for comes after the reply was taken.
    proxy.set(Behaviour::inject_later("$5\r\nwrong\r\n", Duration::from_millis(100)));
    assert_eq!(store.get("k").unwrap().unwrap(), "v");
    thread::sleep(IDLE);
    assert_eq!(store.get("other").unwrap().unwrap(), "the other's");
    assert_eq!(proxy.accepted(), before + 1);
}

/// Nothing that a server does, but nothing that N2 excepts.
#[test]
fn what_a_connection_brings_within_a_second_is_nobody_s_reply() {
    let (redis, proxy) = start(&[]);
    let store = patient(builder(proxy.port())).pool_size(1).connect().unwrap();
    redis.command(&["SET", "other", "the other's"]);
    proxy.set(Behaviour::inject_later("$5\r\nwrong\r\n", Duration::from_millis(50)));
    assert_eq!(store.get("k").unwrap().unwrap(), "v");
    thread::sleep(Duration::from_millis(300));
    match store.get("other") {
        Ok(value) => assert_eq!(value.unwrap(), "the other's"),
        Err(error) => check(&error, &store, "get of other"),
    }
    assert_eq!(store.get("absent").unwrap(), None);
}

// N4, N5, N6: servers that go away and come back

/// Does something in three threads at the same time, so that it takes three connections.
fn in_three_threads<T: Send>(act: impl Fn() -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(3);
    let act = || {
        barrier.wait();
        act()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(act)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_server_that_was_restarted_is_read_at_once() {
    for idle in [Duration::ZERO, IDLE] {
        let redis = Redis::start(&[]);
        let store = patient(builder(redis.port())).pool_size(3).min_idle(3).connect().unwrap();
        for _ in 0..3 {
            for end in [Redis::kill, Redis::stop] {
                end(&redis);
                redis.restart();
                thread::sleep(idle);
                for result in in_three_threads(|| store.get("k")) {
                    assert_eq!(result.unwrap(), None);
                }
            }
        }
    }
}

#[test]
fn a_server_that_was_restarted_is_written_to_or_the_outcome_is_unknown() {
    let redis = Redis::start(&[]);
    let store = patient(builder(redis.port())).pool_size(3).min_idle(3).connect().unwrap();
    for _ in 0..5 {
        redis.kill();
        redis.restart();
        for result in in_three_threads(|| store.put("k", "v")) {
            if let Err(error) = result {
                assert!(matches!(error, Error::Unavailable(_)) && error.outcome_unknown(), "{error:?}");
                check(&error, &store, "put");
            }
        }
        // At most one error for each connection.
        for _ in 0..3 {
            let _ = store.put("k", "v");
        }
        for result in in_three_threads(|| store.put("k", "v")) {
            result.unwrap();
        }
    }
}

#[test]
fn a_server_that_was_restarted_while_connections_idled_is_written_to() {
    let redis = Redis::start(&[]);
    let store = patient(builder(redis.port())).pool_size(3).min_idle(3).connect().unwrap();
    for _ in 0..3 {
        for end in [Redis::kill, Redis::stop] {
            in_three_threads(|| store.put("k", "v").unwrap());
            end(&redis);
            redis.restart();
            thread::sleep(IDLE);
            for result in in_three_threads(|| store.put("k", "v")) {
                result.unwrap();
            }
            assert_eq!(redis.count_of_calls("set"), 3);
        }
    }
}

#[test]
fn a_server_that_is_away_is_refused_and_works_when_it_is_back() {
    let redis = Redis::start(&[]);
    let store = builder(redis.port()).pool_size(2).connect().unwrap();
    redis.kill();
    for (name, writes, operation) in operations() {
        let result = within(LIMIT, name, || operation(&store));
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{name}: {error:?}");
        // The first one may have had a connection.
        assert!(error.outcome_unknown() <= writes, "{name}: {error:?}");
        check(&error, &store, name);
    }
    redis.restart();
    assert_works(&store);
}

#[test]
fn a_write_on_a_connection_that_was_reset_is_sent_once_on_another() {
    let (redis, proxy) = start(&[]);
    let store = patient(builder(proxy.port())).pool_size(1).connect().unwrap();
    redis.command(&["CONFIG", "RESETSTAT"]);
    for number in 1..=20 {
        proxy.cut_now(Cut::Reset).unwrap();
        store.put("k", "v").unwrap();
        assert_eq!(redis.count_of_calls("set"), number);
    }
}

#[test]
fn a_write_whose_reply_was_cut_off_is_not_sent_again_and_says_so() {
    let (redis, proxy) = start(&[]);
    let store = patient(builder(proxy.port())).pool_size(1).connect().unwrap();
    let lent = patient(RedisStore::builder()).build_on_pool(pool(proxy.port(), 1)).unwrap();
    for store in [store, lent] {
        for (number, cut) in [Cut::Close, Cut::Reset].into_iter().cycle().take(20).enumerate() {
            // Where a pool is lent it may still be making a connection.
            wait_until(|| store.get("k").map_err(|error| error.to_string()));
            redis.command(&["CONFIG", "RESETSTAT"]);
            let behaviour = match number % 4 {
                0 | 1 => Behaviour::CutAnswer { cut, to: "SET", times: 1 },
                _ => Behaviour::CutAfter { cut, of: Direction::Replies, bytes: number % 5 },
            };
            proxy.set(behaviour);
            let error = store.put("k", "v").unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)) && error.outcome_unknown(), "{error:?}");
            check(&error, &store, "put");
            assert_eq!(redis.count_of_calls("set"), 1);
        }
    }
}

#[test]
fn a_create_never_says_false_of_its_own_entry() {
    let (redis, proxy) = start(&[]);
    let store = patient(builder(proxy.port())).pool_size(1).connect().unwrap();
    for number in 0..40 {
        let (key, cut) = (format!("new/{number}"), if number % 2 == 0 { Cut::Close } else { Cut::Reset });
        let (of, bytes) = if number % 4 < 2 { (Direction::Replies, number % 5) } else { (Direction::Requests, number) };
        store.get("k").unwrap();
        proxy.set(Behaviour::CutAfter { cut, of, bytes });
        match store.create(&key, "mine") {
            Ok(created) => assert!(created, "{key}"),
            Err(error) => assert!(error.outcome_unknown(), "{key}: {error:?}"),
        }
        proxy.pass();
        let before = redis.command(&["EXISTS", &key]);
        let created = store.create(&key, "another").unwrap();
        assert_eq!(created, before == redis::Value::Int(0), "{key}");
    }
}

#[test]
fn outcomes_are_unknown_of_writes_that_were_sent_and_of_nothing_else() {
    let (redis, proxy) = start(&[]);
    for (store, is_lent) in both(proxy.port()) {
        for (name, writes, operation) in operations() {
            for cut in [Cut::Close, Cut::Reset] {
                let what = format!("{name}, {cut:?}, {}", store.name());
                redis.command(&["SET", "k", "v"]);
                // Reads are tried twice: so all the replies of requests are cut off.
                let to = match name {
                    "touch for ever" => "PERSIST",
                    "touch" => "PEXPIRE",
                    "put" | "put of 4 MB" | "create" | "put_many" => "SET",
                    "delete" | "delete_many" => "DEL",
                    "copy" if support::is_since((6, 2, 0)) => "COPY",
                    "copy" => "EVAL",
                    "rename" => "RENAME",
                    "contains" => "EXISTS",
                    "ttl" => "PTTL",
                    "get_many" => "MGET",
                    "keys" => listing(),
                    _ => "GET",
                };
                wait_until(|| store.contains("k").map_err(|error| format!("{what}: {error}")));
                proxy.set(Behaviour::CutAnswer { cut, to, times: usize::MAX });
                let error = operation(&store).expect_err(&what);
                assert!(matches!(error, Error::Unavailable(_)), "{what}: {error:?}");
                assert_eq!(error.outcome_unknown(), writes, "{what}: {error:?}");
                assert!(is_lent || error.source().is_some(), "{what}: {error:?}");
                check(&error, &store, name);
                proxy.pass();
            }
        }
    }
}

#[test]
fn a_read_is_tried_once_more_and_only_once() {
    let (redis, proxy) = start(&[]);
    for (store, _) in both(proxy.port()) {
        for cut in [Cut::Close, Cut::Reset] {
            wait_until(|| store.contains("k").map_err(|error| error.to_string()));
            redis.command(&["CONFIG", "RESETSTAT"]);
            proxy.set(Behaviour::CutAnswer { cut, to: "GET", times: 1 });
            assert_eq!(store.get("k").unwrap().unwrap(), "v");
            assert_eq!(redis.count_of_calls("get"), 2);

            store.contains("k").unwrap();
            proxy.set(Behaviour::CutAnswer { cut, to: "GET", times: usize::MAX });
            let error = within(3 * LIMIT, "get", || store.get("k")).unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{error:?}");
            check(&error, &store, "get");
            assert_eq!(redis.count_of_calls("get"), 4);
            proxy.pass();
        }
    }
}

/// A chunk that fails does not hide what came before it, and nothing is told to be absent.
#[test]
fn get_each_of_one_server_has_what_came_before_it_failed() {
    let (redis, proxy) = start(&[]);
    let keys: Vec<_> = (0..5000).map(|number| format!("many/{number}")).collect();
    let direct = builder(redis.port()).connect().unwrap();
    direct.put_many(keys.iter().map(|key| (key, key))).unwrap();
    let stores = [
        builder(proxy.port()).pool_size(1).connect().unwrap(),
        builder(proxy.port()).shared_connections(1).connect().unwrap(),
        lent(proxy.port(), 1),
    ];
    for store in stores {
        store.get("k").unwrap();
        let before = proxy.bytes(Direction::Replies);
        assert!(store.get_each(&keys).into_iter().all(|outcome| outcome.is_ok()));
        let bytes = proxy.bytes(Direction::Replies) - before;
        // In the third of five chunks.
        proxy.set(Behaviour::Truncate { of: Direction::Replies, bytes: bytes / 2 });
        let outcomes = within(LIMIT, "get_each", || store.get_each(&keys));
        proxy.cut_now(Cut::Reset).unwrap();
        proxy.pass();
        let found = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(found, 2 * 1024);
        for (key, outcome) in keys.iter().zip(outcomes) {
            match outcome {
                Ok(got) => assert_eq!(got.as_deref(), Some(key.as_bytes())),
                Err(error) => {
                    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
                    assert_eq!(error.key(), Some(key.as_str()), "{error:?}");
                    check(&error, &store, "get_each");
                }
            }
        }
        wait_until(|| store.get("k").map(drop).map_err(|error| error.to_string()));
        assert!(store.get_each(&keys).into_iter().all(|outcome| outcome.is_ok()));
    }
}

#[test]
fn a_read_that_timed_out_is_not_tried_again() {
    let (redis, proxy, store) = one_connection();
    redis.command(&["CONFIG", "RESETSTAT"]);
    proxy.set(Behaviour::HoldReplies);
    assert!(matches!(store.get("k"), Err(Error::Timeout(_))));
    proxy.pass();
    assert_eq!(redis.count_of_calls("get"), 1);
}

/// N4 again, where the check is a PING: nothing of the write is sent before it was answered.
#[test]
fn a_write_that_did_not_get_beyond_the_check_of_a_lent_connection_has_a_known_outcome() {
    let (redis, proxy) = start(&[]);
    let store = lent(proxy.port(), 1);
    for behaviour in [Behaviour::Hold, Behaviour::HoldReplies] {
        wait_until(|| store.get("k").map_err(|error| error.to_string()));
        thread::sleep(IDLE);
        redis.command(&["CONFIG", "RESETSTAT"]);
        proxy.set(behaviour);
        let error = within(3 * LIMIT, "put", || store.put("k", "new")).unwrap_err();
        proxy.pass();
        wait_until(|| store.get("k").map_err(|error| error.to_string()));
        assert_eq!(redis.count_of_calls("set"), 0);
        assert!(!error.outcome_unknown(), "nothing of it was sent: {error:?}");
    }
}

// L3: listings

/// Whether a listing of these keys is complete and exact; if not, its last item is an error.
#[track_caller]
fn is_whole(listed: &[Result<kv_redis::KeyBuf>], keys: &BTreeSet<String>, store: &RedisStore) -> bool {
    let names: Vec<_> = listed.iter().flatten().map(|key| key.as_str().to_owned()).collect();
    let distinct: BTreeSet<_> = names.iter().cloned().collect();
    assert_eq!(distinct.len(), names.len(), "a key is listed twice");
    assert!(distinct.is_subset(keys));
    let errors = listed.iter().filter(|item| item.is_err()).count();
    let Some(Err(error)) = listed.last() else {
        assert_eq!(errors, 0, "an error that is not the last item");
        assert_eq!(&distinct, keys, "a truncated listing that looks whole");
        return true;
    };
    assert_eq!(errors, 1);
    check(error, store, "keys");
    assert!(!error.outcome_unknown(), "{error:?}");
    false
}

/// Lists, and does something after so many keys.
fn list_with(store: &RedisStore, after: usize, act: impl FnOnce()) -> Vec<Result<kv_redis::KeyBuf>> {
    let mut listing = store.keys("").unwrap();
    let mut listed: Vec<_> = listing.by_ref().take(after).collect();
    act();
    listed.extend(listing.by_ref());
    assert!(listing.next().is_none(), "there is more after the end");
    listed
}

fn fill(redis: &Redis) -> BTreeSet<String> {
    redis.command(&["FLUSHALL"]);
    let keys: BTreeSet<_> = (0..200).map(|number| format!("key/{number}")).collect();
    for key in &keys {
        redis.command(&["SET", key, "v"]);
    }
    keys
}

#[test]
fn a_listing_whose_connection_is_cut_is_whole_or_ends_with_an_error() {
    let (redis, proxy) = start(&[]);
    let keys = fill(&redis);
    let own = patient(builder(proxy.port())).pool_size(2).page_size(10).connect().unwrap();
    let lent = patient(RedisStore::builder()).page_size(10).build_on_pool(pool(proxy.port(), 2)).unwrap();
    for store in [own, lent] {
        for after in (0..=200).step_by(5) {
            let cut = if after % 2 == 0 { Cut::Close } else { Cut::Reset };
            wait_until(|| store.get("k").map_err(|error| error.to_string()));
            // The page is fetched again.
            let once = || proxy.set(Behaviour::CutAnswer { cut, to: listing(), times: 1 });
            assert!(is_whole(&list_with(&store, after, once), &keys, &store));
            wait_until(|| store.get("k").map_err(|error| error.to_string()));
            // It cannot be fetched.
            let always = || proxy.set(Behaviour::CutAnswer { cut, to: listing(), times: usize::MAX });
            let whole = is_whole(&list_with(&store, after, always), &keys, &store);
            assert!(!whole || after > 150, "after {after} keys");
            proxy.set(Behaviour::Pass);
            // It is truncated: an array cut short.
            wait_until(|| store.get("k").map_err(|error| error.to_string()));
            let bytes = after * 3;
            let part = || proxy.set(Behaviour::CutAfter { cut, of: Direction::Replies, bytes });
            is_whole(&list_with(&store, after, part), &keys, &store);
            proxy.pass();
        }
    }
}

#[test]
fn a_listing_whose_page_does_not_come_ends_with_an_error_in_time() {
    let (redis, proxy) = start(&[]);
    let keys = fill(&redis);
    let store = builder(proxy.port()).pool_size(2).page_size(10).connect().unwrap();
    for after in [0, 10, 50, 100] {
        for behaviour in
            [Behaviour::Hold, Behaviour::HoldReplies, Behaviour::Truncate { of: Direction::Replies, bytes: 40 }]
        {
            let what = format!("{behaviour:?}");
            let listed = within(LIMIT, "keys", || list_with(&store, after, || proxy.set(behaviour)));
            assert!(!is_whole(&listed, &keys, &store), "after {after} keys, {what}");
            assert!(matches!(listed.last(), Some(Err(Error::Timeout(_)))));
            proxy.pass();
        }
    }
}

#[test]
fn a_listing_over_a_restart_ends_with_an_error() {
    let redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let keys = fill(&redis);
    let store = patient(builder(redis.port())).pool_size(2).page_size(10).connect().unwrap();
    for end in [Redis::kill, Redis::stop] {
        for after in [0, 1, 30, 100, 150, 200] {
            let restart = || {
                end(&redis);
                redis.restart();
                // It may still be loading its data.
                wait_until(|| redis.try_command(&["PING"]).map_err(|error| error.to_string()));
            };
            let whole = is_whole(&list_with(&store, after, restart), &keys, &store);
            // Before the first page a restart changes nothing, nor after the last one.
            assert!(if after == 0 { whole } else { !whole || after == 200 }, "after {after} keys");
            assert!(is_whole(&store.keys("").unwrap().collect::<Vec<_>>(), &keys, &store));
        }
    }
}

// Pools of the application

/// Faults on a pool that is lent: how many connections it has is asked of the pool itself.
fn survives_fifty_faults(store: &RedisStore, redis: &Redis, proxy: &Proxy, state: impl Fn() -> r2d2::State) {
    redis.command(&["SET", "other", "the other's"]);
    for number in 0..50 {
        let what = format!("fault {number}");
        wait_until(|| store.contains("k").map_err(|error| format!("{what}: {error}")));
        let cut = if number % 2 == 0 { Cut::Close } else { Cut::Reset };
        let behaviour = match number % 5 {
            0 => Behaviour::HoldReplies,
            1 => Behaviour::Truncate { of: Direction::Replies, bytes: number % 7 },
            2 => Behaviour::CutAfter { cut, of: Direction::Replies, bytes: number % 7 },
            3 => Behaviour::CutAnswer { cut, to: "GET", times: usize::MAX },
            _ => Behaviour::corrupt(0, b'?'),
        };
        let before = clients(redis);
        proxy.set(behaviour);
        let result = within(4 * LIMIT, &what, || store.get("k"));
        match number % 5 {
            // It was tried again.
            2 => assert_eq!(result.as_ref().unwrap().as_deref(), Some(&b"v"[..]), "{what}"),
            0 | 1 => assert!(matches!(result, Err(Error::Timeout(_))), "{what}: {result:?}"),
            3 => assert!(matches!(result, Err(Error::Unavailable(_))), "{what}: {result:?}"),
            _ => assert!(matches!(result, Err(Error::Backend(_))), "{what}: {result:?}"),
        }
        if let Err(error) = &result {
            check(error, store, "get");
        }
        // Now what is late comes.
        proxy.pass();
        let other = wait_until(|| store.get("other").map_err(|error| format!("{what}: {error}")));
        assert_eq!(other.unwrap(), "the other's", "{what}");
        wait_until(|| match (state(), clients(redis)) {
            (r2d2::State { connections: 2, idle_connections: 2, .. }, now) if now.len() == 2 && now != before => Ok(()),
            (state, now) => Err(format!("{what}: {state:?}, {before:?} became {now:?}")),
        });
    }
    for result in [store.put("k", "v"), store.put("k", "v")] {
        result.unwrap();
    }
}

#[test]
fn a_lent_pool_keeps_its_size_and_its_replies_apart() {
    let (redis, proxy) = start(&[]);
    let pool = pool(proxy.port(), 2);
    let store = settings(RedisStore::builder()).build_on_pool(pool.clone()).unwrap();
    survives_fifty_faults(&store, &redis, &proxy, || pool.state());
}

#[cfg(feature = "r2d2_redis")]
fn old_pool(port: u16, size: u32) -> r2d2::Pool<kv_redis::r2d2_redis::RedisConnectionManager> {
    let manager = kv_redis::r2d2_redis::RedisConnectionManager::new(format!("redis://127.0.0.1:{port}")).unwrap();
    r2d2::Pool::builder().max_size(size).test_on_check_out(false).build(manager).unwrap()
}

#[cfg(feature = "r2d2_redis")]
#[test]
fn a_lent_pool_of_r2d2_redis_keeps_its_size_and_its_replies_apart() {
    let (redis, proxy) = start(&[]);
    let pool = old_pool(proxy.port(), 2);
    let store = settings(RedisStore::builder()).build_on_r2d2_redis_pool(pool.clone()).unwrap();
    survives_fifty_faults(&store, &redis, &proxy, || pool.state());
}

#[cfg(feature = "r2d2_redis")]
#[test]
fn a_reply_that_does_not_parse_closes_a_connection_of_r2d2_redis() {
    let (redis, proxy) = start(&[]);
    redis.command(&["SET", "other", "the other's"]);
    let store = settings(RedisStore::builder()).build_on_r2d2_redis_pool(old_pool(proxy.port(), 1)).unwrap();
    store.contains("k").unwrap();
    proxy.set(Behaviour::replace("?$5\r\nwrong\r\n"));
    let error = store.get("k").unwrap_err();
    let again = |_| {
        thread::sleep(Duration::from_millis(100));
        store.get("other").ok()
    };
    let other = (0..50).find_map(again).expect("nothing is read on this pool any more");
    assert_eq!(other.unwrap(), "the other's");
    check(&error, &store, "get");
    proxy.set(Behaviour::replace("?OK\r\n"));
    assert!(store.put("k", "new").unwrap_err().outcome_unknown());
}

#[test]
fn a_lent_pool_s_limits_hold_where_the_server_falls_silent() {
    let (redis, proxy) = start(&[]);
    let store = lent(proxy.port(), 1);
    for (name, writes, operation) in operations() {
        redis.command(&["SET", "k", "v"]);
        wait_until(|| store.get("k").map_err(|error| format!("{name}: {error}")));
        proxy.set(Behaviour::HoldReplies);
        let error = within(2 * LIMIT, name, || operation(&store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
        check(&error, &store, name);
        // There is no connection to be had now.
        let error = within(3 * LIMIT, name, || operation(&store)).unwrap_err();
        assert!(!error.outcome_unknown(), "{name}: {error:?}");
        check(&error, &store, name);
        proxy.pass();
    }
}

// E2: causes

#[test]
fn an_error_names_key_and_store_and_has_its_cause() {
    let (_redis, proxy, store) = one_connection();
    proxy.set(Behaviour::CutAnswer { cut: Cut::Reset, to: "SET", times: 1 });
    let reset = store.put("k", "v").unwrap_err();
    assert_eq!(kind_of_cause(&reset), Some(io::ErrorKind::ConnectionReset), "{reset:?}");
    proxy.set(Behaviour::CutAnswer { cut: Cut::Close, to: "SET", times: 1 });
    let closed = store.put("k", "v").unwrap_err();
    assert_eq!(kind_of_cause(&closed), Some(io::ErrorKind::UnexpectedEof), "{closed:?}");
    store.get("k").unwrap();
    proxy.set(Behaviour::Hold);
    let late = store.put("k", "v").unwrap_err();
    assert!(matches!(late, Error::Timeout(_)) && late.to_string().contains(&format!("{LIMIT:?}")), "{late}");
    proxy.pass();
    proxy.cut_now(Cut::Reset).unwrap();
    proxy.refuse();
    let refused = store.put("k", "v").unwrap_err();
    assert_eq!(kind_of_cause(&refused), Some(io::ErrorKind::ConnectionRefused), "{refused:?}");
    assert!(!refused.outcome_unknown());
    for error in [reset, closed, late, refused] {
        check(&error, &store, "put");
    }
    proxy.accept().unwrap();
    assert_works(&store);
}

// All of it at random

/// A generator of numbers (splitmix64): the same ones from the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn size(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}

/// The number of a write, or that there is no entry.
type Write = Option<u64>;

/// What a key of a thread can hold: what the last write that was answered left, or what one has left since the beginning of
/// the round whose outcome is unknown: a network may bring it at any time.
#[derive(Debug, Default)]
struct Known {
    sure: Write,
    doubtful: Vec<Write>,
}

impl Known {
    fn allows(&self, write: Write) -> bool {
        self.sure == write || self.doubtful.contains(&write)
    }

    fn may_be_there(&self) -> bool {
        self.sure.is_some() || self.doubtful.iter().any(Option::is_some)
    }

    fn may_be_absent(&self) -> bool {
        self.allows(None)
    }

    fn wrote<T>(&mut self, result: &Result<T>, write: Write) {
        match result {
            Ok(_) => self.sure = write,
            Err(error) if error.outcome_unknown() => self.doubtful.push(write),
            Err(_) => {}
        }
    }
}

/// A thread's keys, which nobody else writes.
struct Actor<'a> {
    store: &'a RedisStore,
    random: Random,
    number: u64,
    /// Of one operation.
    limit: Duration,
    keys: Vec<(String, Known)>,
    writes: u64,
    /// How many operations succeeded, and how many did not.
    done: [usize; 2],
}

impl<'a> Actor<'a> {
    fn new(store: &'a RedisStore, number: u64, seed: u64, limit: Duration) -> Self {
        let keys = (0..10).map(|key| (format!("{number}/{key}"), Known::default())).collect();
        Self { store, random: Random(seed ^ number.wrapping_mul(77)), number, limit, keys, writes: 0, done: [0, 0] }
    }

    /// A value that says which key and which write it belongs to, and where it ends.
    fn value(key: &str, write: u64, is_long: bool) -> Vec<u8> {
        let length = if is_long { 40_000 } else { usize::try_from(write % 200).unwrap() };
        format!("{key}|{write}|{}|end", "x".repeat(length)).into_bytes()
    }

    /// Which write of which key a value is.
    fn parse(value: &[u8]) -> (String, u64) {
        let text = String::from_utf8(value.to_vec()).unwrap();
        let parts: Vec<_> = text.split('|').collect();
        let write: u64 = parts[1].parse().unwrap();
        let whole = [false, true].map(|long| Self::value(parts[0], write, long)).contains(&text.clone().into_bytes());
        assert!(whole && parts.len() == 4, "half a value: {text}");
        (parts[0].to_owned(), write)
    }

    fn check_value(key: &str, known: &Known, value: Option<&[u8]>) {
        let write = value.map(|value| {
            let (of, write) = Self::parse(value);
            assert_eq!(of, key, "another one's reply");
            write
        });
        assert!(known.allows(write), "{key} is {write:?}, and can be {known:?}");
    }

    fn lifetime(&self) -> Duration {
        Duration::from_secs(10_000 * (self.number + 1))
    }

    /// Does something, at random, and looks whether it can be so.
    #[allow(clippy::too_many_lines, reason = "one operation after the other")]
    fn act(&mut self) {
        let (store, lifetime, limit) = (self.store, self.lifetime(), self.limit);
        let at = self.random.size(self.keys.len());
        let what = self.random.below(13);
        self.writes += 1;
        let write = self.writes;
        let is_long = self.random.below(20) == 0;
        let (key, known) = &mut self.keys[at];
        let key = key.as_str();
        let begin = Instant::now();
        let result = match what {
            0..=2 => store.get(key).map(|value| Self::check_value(key, known, value.as_deref())),
            3 | 4 => {
                let result = store.put(key, Self::value(key, write, is_long));
                known.wrote(&result, Some(write));
                result
            }
            5 => {
                let could_create = known.may_be_absent();
                let could_fail = known.may_be_there();
                let result = store.create(key, Self::value(key, write, is_long));
                match &result {
                    Ok(false) => assert!(could_fail, "{key} was not created, and was {known:?}"),
                    Ok(true) => {
                        assert!(could_create, "{key} was created, and was {known:?}");
                        known.wrote(&result, Some(write));
                    }
                    Err(_) => known.wrote(&result, Some(write)),
                }
                result.map(drop)
            }
            6 => {
                let (there, absent) = (known.may_be_there(), known.may_be_absent());
                let result = store.delete(key);
                if let Ok(deleted) = result {
                    assert!(if deleted { there } else { absent }, "deleted {key}: {deleted}, and it was {known:?}");
                }
                known.wrote(&result, None);
                result.map(drop)
            }
            7 => store.get_many(self.keys.iter().map(|(key, _)| key)).map(|values| {
                assert_eq!(values.len(), self.keys.len());
                for ((key, known), value) in self.keys.iter().zip(values) {
                    Self::check_value(key, known, value.as_deref());
                }
            }),
            8 => {
                let some = 0..=at;
                let entries = self.keys[some.clone()].iter().map(|(key, _)| (key, Self::value(key, write, false)));
                let result = store.put_many(entries);
                for (_, known) in &mut self.keys[some] {
                    known.wrote(&result, Some(write));
                }
                result
            }
            9 => store.ttl(key).map(|left| match left {
                None => assert!(known.may_be_absent(), "{key} is absent, and can be {known:?}"),
                Some(left) => {
                    assert!(known.may_be_there(), "{key} is there, and can be {known:?}");
                    if let Remaining::For(left) = left {
                        let lost = lifetime.checked_sub(left);
                        assert!(
                            lost.is_some_and(|lost| lost < Duration::from_secs(3600)),
                            "another one's lifetime: {left:?}"
                        );
                    }
                }
            }),
            10 => store.touch(key, lifetime).map(|touched| {
                let can_be = if touched { known.may_be_there() } else { known.may_be_absent() };
                assert!(can_be, "touched {key}: {touched}, and it can be {known:?}");
            }),
            11 => {
                let to = format!("copy/{key}");
                match store.copy(key, &to) {
                    Err(Error::NotFound { .. }) => {
                        assert!(known.may_be_absent(), "{key} is not found, and can be {known:?}");
                        Ok(())
                    }
                    Err(error) => Err(error),
                    Ok(()) => store.get(&to).map(|value| {
                        let (of, of_write) = Self::parse(&value.unwrap());
                        assert!(of == key && of_write <= write, "{to} is the copy of {of}");
                    }),
                }
            }
            _ => {
                let prefix = format!("{}/", self.number);
                let listed = store.keys(&prefix).and_then(Iterator::collect::<Result<BTreeSet<_>>>);
                listed.map(|listed| {
                    for (key, known) in &self.keys {
                        let there = listed.iter().any(|listed| listed.as_str() == key);
                        let can_be = if there { known.may_be_there() } else { known.may_be_absent() };
                        assert!(can_be, "{key} is listed: {there}, and can be {known:?}");
                    }
                    assert!(listed.iter().all(|listed| self.keys.iter().any(|(key, _)| key == listed.as_str())));
                })
            }
        };
        let took = begin.elapsed();
        // A copy is looked at: that is two.
        let limit = if what == 11 { 2 * limit } else { limit };
        assert!(took <= limit + MARGIN, "operation {what} took {took:?}: {result:?}");
        self.done[usize::from(result.is_err())] += 1;
        if let Err(error) = result {
            // Of a reply that was changed while a connection was made, nobody can know that the next will be better.
            if !error.to_string().contains("does not speak the protocol of redis") {
                check(&error, store, "");
            }
            let reads = matches!(what, 0..=2 | 7 | 9 | 12);
            assert!(!(reads && error.outcome_unknown()), "operation {what}: {error:?}");
        }
    }

    /// Looks at what is there, after which nothing is doubtful.
    fn settle(&mut self, connection: &mut redis::Connection) {
        for (key, known) in &mut self.keys {
            let value: Option<Vec<u8>> = redis::cmd("GET").arg(&*key).query(connection).unwrap();
            Self::check_value(key, known, value.as_deref());
            *known = Known { sure: value.map(|value| Self::parse(&value).1), doubtful: Vec::new() };
        }
    }
}

/// Changes a piece that is the beginning of a reply.
fn edit(change: impl FnOnce(&mut Vec<u8>) + Send + 'static) -> Behaviour {
    Behaviour::Edit(Box::new(|piece| {
        if piece.len() < 8192 && b"$*:+".contains(&piece[0]) {
            change(piece);
        }
    }))
}

fn at_random(seed: u64, store: &RedisStore, is_lent: bool, redis: &Redis, proxy: &Proxy) {
    // A pool that is lent checks a connection first, and then may have to check another one.
    let limit = if is_lent { 7 * LIMIT } else { 3 * LIMIT };
    let mut actors: Vec<_> = (0..4).map(|number| Actor::new(store, number, seed, limit)).collect();
    let mut random = Random(seed);
    let mut connection = redis.connection();
    for round in 0..8 {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let threads: Vec<_> = actors
                .iter_mut()
                .map(|actor| {
                    scope.spawn(|| {
                        while !is_over.load(SeqCst) {
                            actor.act();
                        }
                    })
                })
                .collect();
            for _ in 0..10 {
                let cut = if random.below(2) == 0 { Cut::Close } else { Cut::Reset };
                let of = if random.below(2) == 0 { Direction::Requests } else { Direction::Replies };
                match random.below(13) {
                    0 => proxy.set(Behaviour::Delay(random.millis(400))),
                    1 => proxy.set(Behaviour::Hold),
                    2 => proxy.set(Behaviour::HoldReplies),
                    3 if !is_lent => proxy.set(Behaviour::Split(random.millis(20))),
                    3 | 4 => proxy.set(Behaviour::Split(Duration::ZERO)),
                    5 | 6 => proxy.set(Behaviour::CutAfter { cut, of, bytes: random.size(400) }),
                    7 => proxy.set(Behaviour::CutAnswer { cut, to: "SET", times: 1 + random.size(5) }),
                    8 => proxy.set(Behaviour::Truncate { of: Direction::Replies, bytes: random.size(100) }),
                    9 => proxy.set(edit(|piece| piece[0] = b'?')),
                    // What is lent shows nothing of what else there is to be read.
                    10 if !is_lent => proxy.set(edit(|piece| piece.extend_from_slice(b"$5\r\nwrong\r\n"))),
                    11 => proxy.refuse(),
                    _ => proxy.cut_now(cut).unwrap(),
                }
                thread::sleep(random.millis(250));
                proxy.accept().unwrap();
                if random.below(2) == 0 {
                    proxy.pass();
                    thread::sleep(random.millis(40));
                }
                if threads.iter().any(thread::ScopedJoinHandle::is_finished) {
                    // It has panicked. The others are not to wait for it.
                    break;
                }
            }
            proxy.pass();
            is_over.store(true, SeqCst);
        });
        if is_lent {
            // Its connections are made by threads of its own, with pauses.
            wait_until(|| store.get("0/0").map_err(|error| format!("round {round}: {error}")));
        } else {
            store.get("0/0").unwrap();
            store.put("after", "v").unwrap();
        }
        // What was held may have been passed only now; after this, all has come that will.
        proxy.cut_now(Cut::Reset).unwrap();
        for _ in 0..2 {
            redis.command(&["PING"]);
        }
        for actor in &mut actors {
            actor.settle(&mut connection);
        }
        if !is_lent {
            store.put("after", "v").unwrap();
        }
    }
    for actor in &actors {
        println!("thread {}: {:?} operations succeeded and failed", actor.number, actor.done);
        let [succeeded, failed] = actor.done;
        assert!(succeeded > 50 && failed > 0, "too little happened: {:?}", actor.done);
    }
}

/// The seed of `KV_SEED`, or another one each time; shown when the test fails.
fn seed() -> u64 {
    let given = std::env::var("KV_SEED").ok().map(|seed| seed.parse().expect("KV_SEED is a number"));
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one("seed"));
    println!("KV_SEED={seed}");
    seed
}

#[test]
fn whatever_the_network_does_nobody_gets_another_one_s_reply() {
    let seed = seed();
    let (redis, proxy) = start(&[]);
    for pool_size in [1, 3] {
        redis.command(&["FLUSHALL"]);
        let store = builder(proxy.port()).pool_size(pool_size).connect().unwrap();
        at_random(seed, &store, false, &redis, &proxy);
    }
}

#[test]
fn whatever_the_network_does_nobody_gets_another_one_s_reply_from_a_shared_connection() {
    let seed = seed();
    let (redis, proxy) = start(&[]);
    for connections in [1, 2] {
        redis.command(&["FLUSHALL"]);
        let store = builder(proxy.port()).pool_size(2).shared_connections(connections).connect().unwrap();
        at_random(seed, &store, false, &redis, &proxy);
    }
}

#[test]
fn whatever_the_network_does_nobody_gets_another_one_s_reply_from_a_lent_pool() {
    let seed = seed();
    let (redis, proxy) = start(&[]);
    at_random(seed, &lent(proxy.port(), 3), true, &redis, &proxy);
}

#[cfg(feature = "r2d2_redis")]
#[test]
fn whatever_the_network_does_nobody_gets_another_one_s_reply_from_a_lent_pool_of_r2d2_redis() {
    let seed = seed();
    let (redis, proxy) = start(&[]);
    let store = settings(RedisStore::builder()).build_on_r2d2_redis_pool(old_pool(proxy.port(), 3)).unwrap();
    at_random(seed, &store, true, &redis, &proxy);
}
