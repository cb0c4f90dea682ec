//! What operations cost once pool and buffers have their size: allocations and system calls. `DESIGN.md` has the numbers.
//! `faults/requests.rs` checks the number of commands and round trips.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "clippy does not see that the helpers of tests are tests")]

#[path = "../../kv-redis/tests/support/counting.rs"]
mod counting;
mod support;

use std::thread;
use std::time::Duration;

use counting::{assert_allocations, assert_system_calls};
use kv_memcache::{KeyValueStoreExt, MemcacheStore, Ttl};
use support::{Memcached, Need, PATIENCE, can};

const HOUR: Duration = Duration::from_secs(3600);

fn open(url: &str) -> MemcacheStore {
    let builder = support::builder().url(url);
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE).connect().unwrap()
}

#[test]
fn the_allocations_of_an_operation() {
    if !can("the allocations of an operation", Need::Meta) {
        return;
    }
    let server = Memcached::start(&[]);
    let store = open(&server.url());
    for (size, length, get, put) in [("100 B", 100, 11, 9), ("100 kB", 100_000, 12, 11)] {
        let value = vec![b'v'; length];
        assert_allocations(&format!("put of {size}"), put, || store.put("key", &value).unwrap());
        assert_allocations(&format!("get of {size}"), get, || drop(store.get("key").unwrap().unwrap()));
    }
}

#[test]
fn the_allocations_of_an_update() {
    if !can("the allocations of an update", Need::Meta) {
        return;
    }
    let server = Memcached::start(&[]);
    let store = open(&server.url());
    let value = vec![b'v'; 100];
    store.put("key", &value).unwrap();
    let mut version = store.get_versioned("key").unwrap().unwrap().1;
    assert_allocations("get_versioned", 12, || drop(store.get_versioned("key").unwrap().unwrap()));
    let put_if = || version = store.put_if("key", &value, HOUR, &version).unwrap().unwrap();
    assert_allocations("put_if", 10, put_if);
    assert_allocations("get_and_touch", 10, || drop(store.get_and_touch("key", HOUR).unwrap().unwrap()));
    assert_allocations("increment", 10, || {
        store.increment("counter", 1, HOUR).unwrap();
    });
    assert_allocations("increment of a counter without a TTL", 10, || {
        store.increment("own", 1, Ttl::Forever).unwrap();
    });
}

#[test]
fn the_allocations_of_a_batch() {
    if !can("the allocations of a batch", Need::Meta) {
        return;
    }
    let server = Memcached::start(&[]);
    let (store, value) = (open(&server.url()), vec![b'v'; 100]);
    let keys: Vec<_> = (0..1000).map(|number| format!("key-{number:06}")).collect();
    let put_many = || store.put_many(keys.iter().map(|key| (key, &value))).unwrap();
    assert_allocations("put_many of 1000", 5056, put_many);
    assert_allocations("get_many of 1000", 7052, || drop(store.get_many(&keys).unwrap()));
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
    let server = Memcached::start(&[]);
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
