//! Faults of the network and of the server, and what the store does about them (contract: section 10, E1 to E5).

mod batches;
mod chaos;
mod cut_off;
mod errors;
mod exchanges;
mod limits;
mod operations;
mod random;
mod recovery;
mod replies;
mod requests;
mod several_servers;
mod silence;
mod stats;
#[cfg(feature = "tls")]
mod tls_records;
mod unsolicited;
mod wrong_replies;
mod wrong_tags;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use kv_memcache::{Error, KeyValueStore, KeyValueStoreExt, MemcacheStore, MemcacheStoreBuilder, Remaining, Result};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::{self, Connection, Kind, Memcached, Need, PATIENCE, can, wait_until};
use exchanges::*;
use kv_conformance::proxy::{Behaviour, Cut, Direction, Edit, Proxy};
use operations::*;
use random::*;
use replies::*;
use stats::*;

/// The limit for the pool, for connecting and for a response.
const LIMIT: Duration = Duration::from_millis(400);

/// How much longer than its limits an operation may take on a busy machine.
const MARGIN: Duration = Duration::from_millis(1500);

/// Longer than the idle time after which a connection is checked.
const IDLE: Duration = Duration::from_millis(1200);

/// More than enough time for bytes to arrive on the same machine.
const ARRIVAL: Duration = Duration::from_millis(200);

/// The number of keys of a batch: several chunks.
const MANY: usize = 3000;

/// The length of a large value that a server with default settings accepts.
const LARGE: usize = 900 * 1024;

fn settings(builder: MemcacheStoreBuilder) -> MemcacheStoreBuilder {
    builder.pool_timeout(LIMIT).connect_timeout(LIMIT).response_timeout(LIMIT).contains(true)
}

fn builder(port: u16) -> MemcacheStoreBuilder {
    settings(support::builder().url(format!("memcache://127.0.0.1:{port}")))
}

/// The builder with limits so long that nothing times out.
fn patient(builder: MemcacheStoreBuilder) -> MemcacheStoreBuilder {
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// A builder for servers of any kind.
fn builder_for(servers: &[&Memcached]) -> MemcacheStoreBuilder {
    let builder = settings(support::builder()).servers(servers.iter().map(|server| server.url()));
    trusting(servers, builder)
}

#[cfg(feature = "tls")]
fn trusting(servers: &[&Memcached], builder: MemcacheStoreBuilder) -> MemcacheStoreBuilder {
    if !servers[0].url().starts_with("memcache+tls:") {
        return builder;
    }
    let mut tls = kv_memcache::Tls::new();
    for server in servers {
        tls = tls.certificate_authority(server.certificates().ca.clone());
    }
    builder.tls(tls)
}

#[cfg(not(feature = "tls"))]
fn trusting(_: &[&Memcached], builder: MemcacheStoreBuilder) -> MemcacheStoreBuilder {
    builder
}

/// All kinds of server that this memcached can be.
fn kinds() -> Vec<Kind> {
    let mut kinds = vec![Kind::Tcp, Kind::Unix];
    if can("user and password", Need::Password) {
        kinds.push(Kind::WithPassword);
    }
    if cfg!(feature = "tls") && can("TLS", Need::Tls) {
        kinds.extend([Kind::Tls { with_certificate: false }, Kind::TlsWithPassword]);
    }
    kinds
}

/// The kinds of server that differ in the transport.
fn transports() -> Vec<Kind> {
    kinds().into_iter().filter(|kind| !matches!(kind, Kind::WithPassword | Kind::TlsWithPassword)).collect()
}

/// A server that holds `k`, and a proxy in front of it.
fn start() -> (Memcached, Proxy) {
    let server = Memcached::start(&[]);
    let proxy = support::proxy(server.port());
    set(&server, "k", "v");
    (server, proxy)
}

/// A server, a proxy, and a store with long limits, whose pool has one connection, already made.
fn one_connection() -> (Memcached, Proxy, MemcacheStore) {
    let (server, proxy) = start();
    let store = patient(builder(proxy.port())).pool_size(1).connect().unwrap();
    (server, proxy, store)
}

/// Writes directly to the server.
fn set(server: &Memcached, key: &str, value: &str) {
    let command = format!("set {key} 0 0 {}\r\n{value}\r\n", value.len());
    assert_eq!(server.connection().ask(command.as_bytes()).unwrap(), "STORED");
}

/// Reads a value of one line directly from the server.
fn fetch(connection: &mut Connection, key: &str) -> Option<String> {
    if connection.ask(format!("get {key}\r\n").as_bytes()).unwrap() == "END" {
        return None;
    }
    let value = connection.line().unwrap();
    assert_eq!(connection.line().unwrap(), "END");
    Some(value)
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

/// Runs `act` for all at the same time, because it mostly waits.
fn side_by_side<T: Send>(all: impl IntoIterator<Item = T>, act: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for one in all {
            let act = &act;
            scope.spawn(move || act(one));
        }
    });
}

/// Makes sure that the store has a connection, however busy the machine is.
#[track_caller]
fn warm(store: &MemcacheStore) {
    wait_until(|| store.get("k").map_err(|error| error.to_string()));
}

/// Checks that an error is one of the network, names what it concerns, and does not repeat its cause.
#[track_caller]
fn check(error: &Error, store: &MemcacheStore, name: &str) {
    assert!(matches!(error, Error::Unavailable(_) | Error::Timeout(_) | Error::Backend(_)), "{name}: {error:?}");
    assert!(error.is_transient(), "{name}: {error:?}");
    assert_eq!(error.store(), Some(store.name()), "{name}: {error:?}");
    let shown = error.to_string();
    assert!(shown.starts_with(store.name()), "{name}: {shown}");
    if SINGLE.iter().any(|single| single.name == name) {
        assert_eq!(error.key(), Some("k"), "{name}: {error:?}");
        assert!(shown.contains("\"k\""), "{name}: {shown}");
    }
    if BATCH.iter().any(|batch| batch.name == name) {
        assert_eq!(error.key(), None, "{name}: {error:?}");
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

/// Writes and reads. The first write uses whatever connection there is.
#[track_caller]
fn assert_works(store: &MemcacheStore) {
    store.put("works", "yes").unwrap();
    assert_eq!(store.get("works").unwrap().unwrap(), "yes");
    assert_eq!(store.get("absent").unwrap(), None);
    assert!(store.delete("works").unwrap());
}

/// Cuts all connections, and waits until the store can notice it.
fn cut_and_wait(proxy: &Proxy, cut: Cut) {
    proxy.cut_now(cut).unwrap();
    thread::sleep(ARRIVAL / 4);
}
