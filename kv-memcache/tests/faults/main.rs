//! What networks and servers do to a store, and what it makes of that (contract: section 10, E1 to E5).

#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_imports,
    reason = "clippy does not see that the helpers of tests are tests"
)]

mod batches;
mod chaos;
mod errors;
#[path = "../../../kv-redis/tests/support/firewall.rs"]
mod firewall;
mod limits;
mod recovery;
mod requests;
mod several_servers;
mod silence;
#[path = "../support/mod.rs"]
mod support;
mod trust;

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

use kv_conformance::proxy::{Behaviour, Cut, Direction, Edit, Proxy};
use support::{Connection, Kind, Memcached, Need, PATIENCE, can, wait_until};

/// Each of the three limits.
const LIMIT: Duration = Duration::from_millis(400);

/// What an operation may take longer than its limits on a machine that does much else.
const MARGIN: Duration = Duration::from_millis(1500);

/// A connection that sat idle for longer than this is checked, generously.
const IDLE: Duration = Duration::from_millis(1200);

/// What a network needs on one machine, generously.
const TRAVEL: Duration = Duration::from_millis(200);

/// The number of keys of a batch: several chunks.
const MANY: usize = 3000;

/// A large value, and not too large for a server as it is by default.
const LARGE: usize = 900 * 1024;

fn settings(builder: MemcacheStoreBuilder) -> MemcacheStoreBuilder {
    builder.pool_timeout(LIMIT).connect_timeout(LIMIT).response_timeout(LIMIT).contains(true)
}

fn builder(port: u16) -> MemcacheStoreBuilder {
    settings(support::builder().url(format!("memcache://127.0.0.1:{port}")))
}

/// A store in whose tests nothing is to time out.
fn patient(builder: MemcacheStoreBuilder) -> MemcacheStoreBuilder {
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// For servers of any kind.
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

/// Every way to a server that it has.
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

/// The ways to a server that have transports of their own.
fn transports() -> Vec<Kind> {
    kinds().into_iter().filter(|kind| !matches!(kind, Kind::WithPassword | Kind::TlsWithPassword)).collect()
}

/// A server with `k`, and a proxy before it.
fn start() -> (Memcached, Proxy) {
    let server = Memcached::start(&[]);
    let proxy = support::proxy(server.port());
    set(&server, "k", "v");
    (server, proxy)
}

/// A server, a proxy, and a store whose pool has one connection, which is made, and which is not to time out.
fn one_connection() -> (Memcached, Proxy, MemcacheStore) {
    let (server, proxy) = start();
    let store = patient(builder(proxy.port())).pool_size(1).connect().unwrap();
    (server, proxy, store)
}

/// Writes, past the store.
fn set(server: &Memcached, key: &str, value: &str) {
    let command = format!("set {key} 0 0 {}\r\n{value}\r\n", value.len());
    assert_eq!(server.connection().ask(command.as_bytes()).unwrap(), "STORED");
}

/// Reads, past the store, a value of one line.
fn fetch(connection: &mut Connection, key: &str) -> Option<String> {
    if connection.ask(format!("get {key}\r\n").as_bytes()).unwrap() == "END" {
        return None;
    }
    let value = connection.line().unwrap();
    assert_eq!(connection.line().unwrap(), "END");
    Some(value)
}

/// What a server counts, asked on one connection.
struct Stats(Connection);

impl Stats {
    fn of(server: &Memcached) -> Self {
        Self(server.connection())
    }

    fn all(&mut self) -> BTreeMap<String, u64> {
        self.0.send(b"stats\r\n").unwrap();
        let mut all = BTreeMap::new();
        loop {
            let line = self.0.line().unwrap();
            if line == "END" {
                return all;
            }
            let (name, value) = line.strip_prefix("STAT ").unwrap().split_once(' ').unwrap();
            all.extend(value.parse().ok().map(|value| (name.to_owned(), value)));
        }
    }

    fn get(&mut self, name: &str) -> u64 {
        self.all()[name]
    }

    /// How many connections there are, when those that are being closed, as those of the tests, have been.
    fn connections(&mut self) -> u64 {
        let counts = (0..20).map(|_| {
            thread::sleep(Duration::from_millis(5));
            self.get("curr_connections")
        });
        counts.min().unwrap()
    }

    /// By how much this grows, where it does: commands by their kinds, and connections.
    fn growth(&mut self, act: impl FnOnce()) -> BTreeMap<String, u64> {
        let before = self.all();
        act();
        let mut after = self.all();
        after.retain(|name, _| {
            ["cmd_", "get_", "delete_", "touch_", "cas_", "total_connections"].iter().any(|kind| name.starts_with(kind))
        });
        let grown = after.into_iter().map(|(name, value)| (value - before[&name], name));
        grown.filter(|(by, _)| *by > 0).map(|(by, name)| (name, by)).collect()
    }
}

fn counts<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
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

/// Something that is done to `k`, or to many keys.
#[derive(Clone, Copy)]
struct Operation {
    name: &'static str,
    /// The commands that it sends, one after the other.
    commands: &'static [&'static str],
    /// Whether the first of them changes anything.
    writes: bool,
    run: fn(&MemcacheStore) -> Result<()>,
}

const fn operation(
    name: &'static str,
    commands: &'static [&'static str],
    writes: bool,
    run: fn(&MemcacheStore) -> Result<()>,
) -> Operation {
    Operation { name, commands, writes, run }
}

const MINUTES: Duration = Duration::from_secs(1000);

/// What there is to be done to `k`.
const SINGLE: [Operation; 17] = [
    operation("get", &["mg"], false, |store| store.get("k").map(drop)),
    operation("open", &["mg"], false, |store| store.open("k").map(drop)),
    operation("get_into", &["mg"], false, |store| store.get_into("k", io::sink()).map(drop)),
    operation("contains", &["mg"], false, |store| store.contains("k").map(drop)),
    operation("ttl", &["mg"], false, |store| store.ttl("k").map(drop)),
    operation("put", &["ms"], true, |store| store.put("k", "new")),
    operation("put of a large value", &["ms"], true, |store| store.put("k", vec![7; LARGE])),
    operation("put_with_ttl", &["ms"], true, |store| store.put_with_ttl("k", "new", MINUTES)),
    operation("put_with_ttl, zero", &["md"], true, |store| store.put_with_ttl("k", "new", Duration::ZERO)),
    operation("put_from", &["ms"], true, |store| store.put_from("k", &b"new"[..])),
    operation("create", &["ms"], true, |store| store.create("k", "new").map(drop)),
    operation("create_with_ttl", &["ms"], true, |store| store.create_with_ttl("k", "new", MINUTES).map(drop)),
    operation("delete", &["md"], true, |store| store.delete("k").map(drop)),
    operation("touch", &["mg"], true, |store| store.touch("k", MINUTES).map(drop)),
    operation("touch, zero", &["md"], true, |store| store.touch("k", Duration::ZERO).map(drop)),
    operation("copy", &["mg", "ms"], false, |store| store.copy("k", "copy")),
    operation("rename", &["mg", "ms", "md"], false, |store| store.rename("k", "renamed")),
];

/// What there is to be done to many keys.
const BATCH: [Operation; 3] = [
    operation("get_many", &["mg"; MANY], false, |store| store.get_many(many()).map(drop)),
    operation("put_many", &["ms"; MANY], true, |store| store.put_many(many().map(|key| (key, "value")))),
    operation("delete_many", &["md"; MANY], true, |store| store.delete_many(many()).map(drop)),
];

fn many() -> impl Iterator<Item = String> {
    (0..MANY).map(|number| format!("many/{number}"))
}

/// Those of [`SINGLE`] that the server can do.
fn single() -> impl Iterator<Item = Operation> {
    SINGLE.into_iter().filter(|single| !is_old() || !["ttl", "copy", "rename"].contains(&single.name))
}

fn operations() -> impl Iterator<Item = Operation> {
    single().chain(BATCH)
}

/// Whether the server has the classic commands alone, and the store neither `ttl` nor `copy`.
fn is_old() -> bool {
    !support::is_from([1, 6, 0])
}

/// Does something with each, all at the same time: most of it is waiting.
fn side_by_side<T: Send>(all: impl IntoIterator<Item = T>, act: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for one in all {
            let act = &act;
            scope.spawn(move || act(one));
        }
    });
}

/// Does something with each operation, all at the same time, each on a server of its own, with a proxy, and a store with one
/// connection, which is made.
fn for_each_operation(
    of: impl IntoIterator<Item = Operation>,
    act: impl Fn(Operation, &Memcached, &Proxy, &MemcacheStore) + Sync,
) {
    let started: Vec<_> = of.into_iter().map(|operation| (operation, start())).collect();
    side_by_side(started, |(operation, (server, proxy))| {
        // Each fault is met, also after a time-out, and does not end in being left alone.
        let store = builder(proxy.port()).pool_size(1).retry_after(Duration::ZERO).build().unwrap();
        warm(&store);
        act(operation, &server, &proxy, &store);
    });
}

/// Has a connection made, even where the machine does much else.
#[track_caller]
fn warm(store: &MemcacheStore) {
    wait_until(|| store.get("k").map_err(|error| error.to_string()));
}

/// Whether an error is one of the network, names what it concerns, and does not repeat its cause.
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

/// The kind of the error of the operating system that is the cause.
fn kind_of_cause(error: &Error) -> Option<io::ErrorKind> {
    Some(error.source()?.downcast_ref::<io::Error>()?.kind())
}

/// Writes and reads, the first with whatever connection there is.
#[track_caller]
fn assert_works(store: &MemcacheStore) {
    store.put("works", "yes").unwrap();
    assert_eq!(store.get("works").unwrap().unwrap(), "yes");
    assert_eq!(store.get("absent").unwrap(), None);
    assert!(store.delete("works").unwrap());
}

// Values and tags

/// A value that says which key and which write it belongs to, and where it ends.
fn value(key: &str, write: u64, length: usize) -> String {
    format!("{key}|{write}|{}|end", "x".repeat(length))
}

/// Which write of which key a value is.
#[track_caller]
fn parse(value: &[u8]) -> (String, u64) {
    let text = str::from_utf8(value).unwrap();
    let parts: Vec<_> = text.split('|').collect();
    let is_whole = parts.len() == 4 && parts[3] == "end" && parts[2].bytes().all(|byte| byte == b'x');
    assert!(is_whole, "half a value: {text}");
    (parts[0].to_owned(), parts[1].parse().unwrap())
}

/// Where in a reply the number stands that says to which command it belongs.
fn tag_in(piece: &[u8]) -> Range<usize> {
    let begin = piece.windows(2).position(|two| two == b" O").expect("a reply with a tag") + 2;
    let digits = piece[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    begin..begin + digits
}

fn tag_of(piece: &[u8]) -> u64 {
    str::from_utf8(&piece[tag_in(piece)]).unwrap().parse().unwrap()
}

/// Changes the next reply.
fn edit(change: impl FnOnce(&mut Vec<u8>) + Send + 'static) -> Behaviour {
    Behaviour::Edit(Box::new(change))
}

/// Puts something in place of the next reply, in which `#` is the tag that was asked for and `+` the next one.
fn answer(text: impl Into<String>) -> Behaviour {
    let text = text.into();
    edit(move |piece| {
        let tag = tag_of(piece);
        *piece = text.replace('#', &tag.to_string()).replace('+', &(tag + 1).to_string()).into_bytes();
    })
}

/// The same, after the reply.
fn add(text: impl Into<String>) -> Behaviour {
    let text = text.into();
    edit(move |piece| {
        let tag = tag_of(piece);
        piece.extend(text.replace('#', &tag.to_string()).replace('+', &(tag + 1).to_string()).into_bytes());
    })
}

/// Changes the reply after so many others.
fn edit_after(proxy: &Arc<Proxy>, others: usize, change: Edit) {
    if others == 0 {
        return proxy.set(Behaviour::Edit(change));
    }
    let next = Arc::clone(proxy);
    proxy.set(edit(move |_| edit_after(&next, others - 1, change)));
}

/// The tag of the next command of a store with a connection through this proxy.
fn next_tag(store: &MemcacheStore, proxy: &Proxy) -> u64 {
    let seen = Arc::new(Mutex::new(0));
    let see = Arc::clone(&seen);
    proxy.set(edit(move |piece| *see.lock().unwrap() = tag_of(piece)));
    store.get("k").unwrap();
    let tag = *seen.lock().unwrap();
    assert!(tag > 0);
    tag + 1
}

/// Cuts all connections, and waits until that has come to the store, however busy the machine is.
fn cut_and_wait(proxy: &Proxy, cut: Cut) {
    proxy.cut_now(cut).unwrap();
    thread::sleep(TRAVEL / 4);
}

// Random input

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

/// The seed of `KV_SEED`, or another one each time; shown when the test fails.
fn seed() -> u64 {
    let given = std::env::var("KV_SEED").ok().map(|seed| seed.parse().expect("KV_SEED is a number"));
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one("seed"));
    println!("KV_SEED={seed}");
    seed
}
