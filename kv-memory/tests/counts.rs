//! What operations cost once tables have their size: allocations and system calls. `DESIGN.md` has the numbers.

use std::time::Duration;

#[path = "../../kv-redis/tests/support/counting.rs"]
mod counting;

use counting::{assert_allocations, assert_system_calls};
use kv_memory::{Bytes, KeyValueStoreExt, MemoryStore, Ttl};

const HOUR: Duration = Duration::from_secs(3600);

const SIZES: [(&str, usize); 2] = [("100 B", 100), ("100 kB", 100_000)];

#[test]
fn an_operation_allocates_only_the_value() {
    let store = MemoryStore::new();
    for (size, length) in SIZES {
        let value = vec![b'v'; length];
        let put = || store.put("key", &value).unwrap();
        assert_allocations(&format!("put of borrowed {size}"), 1, put);
        assert_allocations(&format!("get of {size}"), 0, || drop(store.get("key").unwrap().unwrap()));
        let shared = Bytes::from(value.clone());
        assert_allocations(&format!("put of shared {size}"), 0, || store.put("key", &shared).unwrap());
    }
}

#[test]
fn the_allocations_of_an_update() {
    let store = MemoryStore::new();
    let value = vec![b'v'; 100];
    store.put("key", &value).unwrap();
    let mut version = store.get_versioned("key").unwrap().unwrap().1;
    assert_allocations("get_versioned", 0, || drop(store.get_versioned("key").unwrap().unwrap()));
    let put_if = || version = store.put_if("key", &value, HOUR, &version).unwrap().unwrap();
    assert_allocations("put_if", 1, put_if);
    assert_allocations("get_and_touch", 0, || drop(store.get_and_touch("key", HOUR).unwrap().unwrap()));
    assert_allocations("increment", 1, || {
        store.increment("counter", 1, HOUR).unwrap();
    });
    assert_allocations("increment of a counter without a TTL", 1, || {
        store.increment("own", 1, Ttl::Forever).unwrap();
    });
}

#[test]
fn a_batch_allocates_its_lists() {
    let (store, value) = (MemoryStore::new(), vec![b'v'; 100]);
    let keys: Vec<_> = (0..1000).map(|number| format!("key-{number:06}")).collect();
    let put_many = || store.put_many(keys.iter().map(|key| (key, &value))).unwrap();
    assert_allocations("put_many of 1000", 1011, put_many);
    assert_allocations("get_many of 1000", 19, || drop(store.get_many(&keys).unwrap()));
}

#[cfg(target_os = "linux")]
#[test]
fn no_operation_makes_a_system_call() {
    if counting::traced().is_some() {
        let (store, value) = (MemoryStore::new(), [b'v'; 100]);
        counting::mark("put", || store.put("key", &value).unwrap());
        counting::mark("get", || drop(store.get("key").unwrap().unwrap()));
        return;
    }
    let calls = counting::trace("no_operation_makes_a_system_call", "");
    for what in ["put", "get"] {
        assert_system_calls(what, &calls[what], &[]);
    }
}
