//! TTLs, sizes, keys, values, copies, updates, and a server that is full.

mod bytes;
mod copies;
mod many;
mod memory;
mod namespaces;
mod others;
mod sizes;
mod ttls;
mod updates;

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kv_memcache::{
    Capability, Error, KeyValueStore, KeyValueStoreExt, MemcacheStore, MemcacheStoreBuilder, Remaining, Result, Ttl,
};

use crate::support::{self, Connection, Memcached, Need, PATIENCE, can, chain, wait_until};
use kv_conformance::proxy::{Behaviour, Proxy};
use kv_conformance::{Fixture, Suite, Weakness};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How much longer something short may take on a busy machine.
const SLACK: Duration = Duration::from_millis(1500);

/// The bytes of an item besides key and value.
const OVERHEAD: usize = 59;

fn patient(server: &Memcached) -> MemcacheStoreBuilder {
    let builder = support::builder().url(server.url());
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// Whether the server has the classic commands alone, and the store neither `ttl` nor `copy`.
fn is_old() -> bool {
    !support::is_from([1, 6, 0])
}

/// A server, a store, and a connection by which the test sees what the server has.
fn start(options: &[&str]) -> (Memcached, MemcacheStore, Connection) {
    let server = Memcached::start(options);
    let store = patient(&server).connect().unwrap();
    let mut raw = server.connection();
    // So that the server has counted it.
    assert!(raw.ask(b"version\r\n").unwrap().starts_with("VERSION "));
    (server, store, raw)
}

/// A store with one connection, through a proxy.
fn start_behind_a_proxy() -> (Memcached, Arc<Proxy>, MemcacheStore, Connection) {
    let server = Memcached::start(&[]);
    let proxy = Arc::new(support::proxy(server.port()));
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
        line => {
            // The name before 1.6.10.
            let left = line.strip_prefix("HD t").or_else(|| line.strip_prefix("OK t"));
            Some(left.unwrap_or_else(|| panic!("{line}")).parse().unwrap())
        }
    }
}

/// The value, as the server has it.
fn value_of(raw: &mut Connection, key: &str) -> Option<String> {
    match raw.ask(format!("get {key}\r\n").as_bytes()).unwrap() {
        absent if absent == "END" => None,
        _ => {
            let value = raw.line().unwrap();
            assert_eq!(raw.line().unwrap(), "END", "{key}: {value}");
            Some(value)
        }
    }
}

/// Bytes that cannot be compressed, and that contain their position.
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

/// Every way to write a value with a TTL. `create` is for keys that are absent.
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
