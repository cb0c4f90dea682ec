//! Faults of the network and of the server, and what the store does about them (contract: section 10, E1, E2, E4, E5, L3).

mod chaos;
mod external_pools;
mod listings;
mod outcomes;
mod random_client;
mod restarts;
mod time_outs;
mod wrong_replies;

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

use crate::support::{self, DURABLE_OVER_KILL, PATIENCE, Redis, wait_until};
use kv_conformance::proxy::{Behaviour, Cut, Direction, Proxy};

/// Each of the three limits.
const LIMIT: Duration = Duration::from_millis(400);

/// How much longer than its limits an operation may take on a busy machine.
const MARGIN: Duration = Duration::from_millis(1500);

/// The number of keys of a batch: several chunks.
const MANY: usize = 10_000;

/// Longer than the idle time after which a connection is checked.
const IDLE: Duration = Duration::from_millis(1200);

fn settings(builder: RedisStoreBuilder) -> RedisStoreBuilder {
    // After a time-out the server is not left alone, so that operations meet the next fault, too. `one_server/silence.rs` tests the other case.
    builder.pool_timeout(LIMIT).connect_timeout(LIMIT).response_timeout(LIMIT).retry_after(Duration::ZERO)
}

fn builder(port: u16) -> RedisStoreBuilder {
    settings(RedisStore::builder().url(format!("redis://127.0.0.1:{port}")))
}

/// The builder with limits so long that nothing times out.
fn patient(builder: RedisStoreBuilder) -> RedisStoreBuilder {
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// A server that holds `k`, and a proxy in front of it.
fn start(extra: &[&str]) -> (Redis, Proxy) {
    let redis = Redis::start(extra);
    let proxy = support::proxy(redis.port());
    redis.command(&["SET", "k", "v"]);
    (redis, proxy)
}

/// A server, a proxy, and a store whose pool has one connection, already made.
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

fn on_external_pool(port: u16, size: u32) -> RedisStore {
    settings(RedisStore::builder()).build_on_pool(pool(port, size)).unwrap()
}

/// Runs an operation, which has to end within a limit, and returns its result.
#[track_caller]
fn within<T>(limit: Duration, what: &str, operation: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = operation();
    let took = begin.elapsed();
    assert!(took <= limit + MARGIN, "{what} took {took:?}, where the limit is {limit:?}");
    result
}

type Operation = (&'static str, bool, fn(&RedisStore) -> Result<()>);

/// All operations on `k`, with their names and whether they write.
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

/// All operations on many keys.
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

/// Checks that an error is one of the network, names what it concerns, and does not repeat its cause.
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

/// The kind of the operating system's error that is the cause.
fn kind_of_cause(error: &Error) -> Option<io::ErrorKind> {
    Some(error.source()?.downcast_ref::<io::Error>()?.kind())
}

/// The ids of the connections that the server has, without the one that asks.
fn clients(redis: &Redis) -> BTreeSet<u64> {
    let list: String = redis::from_redis_value(redis.command(&["CLIENT", "LIST"])).unwrap();
    let others = list.lines().filter(|line| !line.contains("cmd=client|list"));
    let id = |line: &str| line.strip_prefix("id=").unwrap().split(' ').next().unwrap().parse().unwrap();
    let mut ids: BTreeSet<_> = others.map(id).collect();
    // Before redis 7 the subcommand is not told. The connection that asks is last.
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

#[cfg(feature = "r2d2_redis")]
fn old_pool(port: u16, size: u32) -> r2d2::Pool<kv_redis::r2d2_redis::RedisConnectionManager> {
    let manager = kv_redis::r2d2_redis::RedisConnectionManager::new(format!("redis://127.0.0.1:{port}")).unwrap();
    r2d2::Pool::builder().max_size(size).test_on_check_out(false).build(manager).unwrap()
}

/// A store on its own pool, and one on an external pool.
fn both(port: u16) -> [(RedisStore, bool); 2] {
    let external = patient(RedisStore::builder()).build_on_pool(pool(port, 1)).unwrap();
    [(patient(builder(port)).pool_size(1).connect().unwrap(), false), (external, true)]
}
