//! What operations cost once pool and buffers have their size: allocations and system calls. `DESIGN.md` has the numbers.
//! `one_server/round_trips.rs` checks the number of commands and round trips.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "clippy does not see that the helpers of tests are tests")]

#[path = "support/counting.rs"]
mod counting;
mod support;

use std::thread;
use std::time::Duration;

use counting::{assert_allocations, assert_system_calls};
use kv_redis::{KeyValueStoreExt, RedisStore, Ttl};
use support::{PATIENCE, Redis};

const HOUR: Duration = Duration::from_secs(3600);

fn open(url: &str) -> RedisStore {
    let builder = RedisStore::builder().url(url);
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE).connect().unwrap()
}

#[test]
fn the_allocations_of_an_operation() {
    let server = Redis::start(&[]);
    let store = open(&server.url());
    for (size, length, get, put) in [("100 B", 100, 5, 4), ("100 kB", 100_000, 5, 6)] {
        let value = vec![b'v'; length];
        assert_allocations(&format!("put of {size}"), put, || store.put("key", &value).unwrap());
        assert_allocations(&format!("get of {size}"), get, || drop(store.get("key").unwrap().unwrap()));
    }
}

#[test]
fn the_allocations_of_an_update() {
    let server = Redis::start(&[]);
    let store = open(&server.url());
    let value = vec![b'v'; 100];
    store.put("key", &value).unwrap();
    let mut version = store.get_versioned("key").unwrap().unwrap().1;
    assert_allocations("get_versioned", 7, || drop(store.get_versioned("key").unwrap().unwrap()));
    let put_if = || version = store.put_if("key", &value, HOUR, &version).unwrap().unwrap();
    assert_allocations("put_if", 7, put_if);
    assert_allocations("get_and_touch", 5, || drop(store.get_and_touch("key", HOUR).unwrap().unwrap()));
    assert_allocations("increment", 7, || {
        store.increment("counter", 1, HOUR).unwrap();
    });
    assert_allocations("increment of a counter without a TTL", 4, || {
        store.increment("own", 1, Ttl::Forever).unwrap();
    });
}

/// Those of `get_many` depend on how much is received at once.
#[test]
fn the_allocations_of_a_batch() {
    let server = Redis::start(&[]);
    let (store, value) = (open(&server.url()), vec![b'v'; 100]);
    let keys: Vec<_> = (0..1000).map(|number| format!("key-{number:06}")).collect();
    let put_many = || store.put_many(keys.iter().map(|key| (key, &value))).unwrap();
    assert_allocations("put_many of 1000", 75, put_many);
    assert_allocations("get_many of 1000", 1250, || drop(store.get_many(&keys).unwrap()));
}

#[cfg(target_os = "linux")]
#[test]
fn an_operation_is_one_send_and_one_receive() {
    if let Some(url) = counting::traced() {
        let (store, value, large) = (open(&url), vec![b'v'; 100], vec![b'v'; 100_000]);
        counting::mark("put of 100 kB", || store.put("key", &large).unwrap());
        counting::mark("put", || store.put("key", &value).unwrap());
        counting::mark("get", || drop(store.get("key").unwrap().unwrap()));
        let mut version = store.get_versioned("key").unwrap().unwrap().1;
        counting::mark("put_if", || version = store.put_if("key", &value, HOUR, &version).unwrap().unwrap());
        counting::mark("get_and_touch", || drop(store.get_and_touch("key", HOUR).unwrap().unwrap()));
        counting::mark("increment", || {
            store.increment("counter", 1, HOUR).unwrap();
        });
        counting::mark("take of nothing", || drop(store.take("absent").unwrap()));
        counting::mark("get after a while", || {
            thread::sleep(Duration::from_millis(1));
            drop(store.get("key").unwrap().unwrap());
        });
        return;
    }
    let server = Redis::start(&[]);
    let calls = counting::trace("an_operation_is_one_send_and_one_receive", &server.url());
    for (what, each_time) in [
        ("put of 100 kB", &["sendmsg", "recvfrom"][..]),
        ("put", &["sendto", "recvfrom"]),
        ("get", &["sendto", "recvfrom"]),
        ("put_if", &["sendto", "recvfrom"]),
        ("get_and_touch", &["sendto", "recvfrom"]),
        ("increment", &["sendto", "recvfrom"]),
        ("take of nothing", &["sendto", "recvfrom"]),
        ("get after a while", &["clock_nanosleep", "getpid", "peek", "sendto", "recvfrom"]),
    ] {
        assert_system_calls(what, &calls[what], each_time);
    }
}
