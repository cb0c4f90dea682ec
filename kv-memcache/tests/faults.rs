//! What networks and servers do to a store, and what it makes of that (contract: section 10, E1 to E5).

#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

mod support;

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

use support::proxy::{Behaviour, Cut, Direction, Edit, Proxy};
use support::{Connection, Kind, Memcached, PATIENCE, wait_until};

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
    settings(MemcacheStore::builder().url(format!("memcache://127.0.0.1:{port}")))
}

/// A store in whose tests nothing is to time out.
fn patient(builder: MemcacheStoreBuilder) -> MemcacheStoreBuilder {
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// For servers of any kind.
fn builder_for(servers: &[&Memcached]) -> MemcacheStoreBuilder {
    let builder = settings(MemcacheStore::builder()).servers(servers.iter().map(|server| server.url()));
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

/// Every way to a server.
fn kinds() -> Vec<Kind> {
    let mut kinds = vec![Kind::Tcp, Kind::Unix, Kind::WithPassword];
    if cfg!(feature = "tls") {
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
    let proxy = Proxy::start(server.port());
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

fn operations() -> impl Iterator<Item = Operation> {
    SINGLE.into_iter().chain(BATCH)
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
        let store = builder(proxy.port()).pool_size(1).build().unwrap();
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

// N1: limits

#[test]
fn a_server_that_falls_silent_is_a_time_out_for_every_operation() {
    for_each_operation(operations(), |Operation { name, writes, run, .. }, server, proxy, store| {
        proxy.set(Behaviour::Hold);
        let begin = Instant::now();
        let error = within(LIMIT, name, || run(store)).unwrap_err();
        assert!(begin.elapsed() > LIMIT / 2, "{name}: {error} after {:?}", begin.elapsed());
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
        check(&error, store, name);
        proxy.pass();
        assert_works(store);
        set(server, "k", "v");
        assert_eq!(store.get("k").unwrap().unwrap(), "v", "after {name}");
    });
}

/// Nobody listens, or nobody answers: nothing was sent, and each is what it is.
#[test]
fn a_server_that_never_answered_is_a_time_out_and_nothing_was_sent() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut schemes = vec!["memcache"];
    if cfg!(feature = "tls") {
        schemes.push("memcache+tls");
    }
    for scheme in schemes {
        let server = Memcached::start_as(if scheme == "memcache" { Kind::Tcp } else { transports()[2] }, &[]);
        let builder =
            || trusting(&[&server], settings(MemcacheStore::builder())).url(format!("{scheme}://localhost:{port}"));
        side_by_side(operations(), |Operation { name, run, .. }| {
            let store = builder().build().unwrap();
            let error = within(LIMIT, name, || run(&store)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{name}: {error:?}");
            check(&error, &store, name);
        });
        let error = within(LIMIT, "connect", || builder().connect()).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    }
}

#[test]
fn an_address_where_nobody_listens_is_unavailable_at_once() {
    let (server, dir) = (Memcached::start(&[]), tempfile::tempdir().unwrap());
    server.kill();
    let absent = dir.path().join("absent.sock");
    for url in [server.url(), format!("memcache://{}", absent.display())] {
        let builder = || patient(builder(1).url(&url));
        let store = builder().build().unwrap();
        for Operation { name, run, .. } in operations() {
            let error = within(Duration::ZERO, name, || run(&store)).unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{name}: {error:?}");
            assert!(kind_of_cause(&error).is_some(), "{name}: {error:?}");
            check(&error, &store, name);
        }
        let error = within(Duration::ZERO, "connect", || builder().connect()).unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
}

#[test]
fn a_reply_that_comes_byte_by_byte_has_to_end_by_the_limit() {
    for_each_operation(operations(), |Operation { name, writes, run, .. }, server, proxy, store| {
        set(server, "k", &"v".repeat(200));
        proxy.set(Behaviour::Split(Duration::from_millis(200)));
        let error = within(LIMIT, name, || run(store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
        check(&error, store, name);
        // Now the server's first words come like that.
        let error = within(LIMIT, name, || run(store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{name}: {error:?}");
        check(&error, store, name);
        proxy.pass();
        assert_works(store);
    });
}

#[test]
fn a_reply_in_single_bytes_is_a_reply() {
    let (server, proxy, store) = one_connection();
    set(&server, "k", &"v".repeat(5000));
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
    let (_server, proxy) = start();
    let store = builder(proxy.port()).response_timeout(LIMIT + MARGIN).build().unwrap();
    warm(&store);
    proxy.set(Behaviour::Delay(Duration::from_millis(100)));
    let begin = Instant::now();
    assert_eq!(store.get("k").unwrap().unwrap(), "v");
    assert!(begin.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_server_whose_backlog_is_full_is_an_error_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full.sock");
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for (domain, address) in [(Domain::IPV4, local.into()), (Domain::UNIX, SockAddr::unix(&path).unwrap())] {
        let listener = Socket::new(domain, Type::STREAM, None).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        loop {
            let socket = Socket::new(domain, Type::STREAM, None).unwrap();
            let connected = if domain == Domain::UNIX {
                socket.set_nonblocking(true).unwrap();
                socket.connect(&address)
            } else {
                socket.connect_timeout(&address, TRAVEL)
            };
            match connected {
                Ok(()) => waiting.push(socket),
                Err(_) => break,
            }
            assert!(waiting.len() < 1000, "the backlog does not fill");
        }
        let url = match address.as_socket() {
            Some(address) => format!("memcache://{address}"),
            None => format!("memcache://{}", path.display()),
        };
        side_by_side(operations(), |Operation { name, run, .. }| {
            let store = settings(MemcacheStore::builder().url(&url)).build().unwrap();
            let error = within(LIMIT, name, || run(&store)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_) | Error::Unavailable(_)), "{name}: {error:?}");
            assert!(!error.outcome_unknown(), "{name}: {error:?}");
            check(&error, &store, name);
        });
    }
}

/// N6 as well: when the server goes on, everything works, and what it answers late is nobody's.
#[test]
fn a_server_that_is_stopped_is_a_time_out_and_goes_on_as_if_nothing_had_been() {
    for kind in kinds() {
        let server = Memcached::start_as(kind, &[]);
        let stores: Vec<_> =
            operations().map(|operation| (operation, builder_for(&[&server]).pool_size(1).build().unwrap())).collect();
        for (_, store) in &stores {
            wait_until(|| store.put("k", "v").map_err(|error| error.to_string()));
        }
        server.pause();
        side_by_side(&stores, |(Operation { name, writes, run, .. }, store)| {
            let error = within(LIMIT, name, || run(store)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)), "{kind:?}, {name}: {error:?}");
            assert_eq!(error.outcome_unknown(), *writes, "{kind:?}, {name}: {error:?}");
            check(&error, store, name);
            let error = within(LIMIT, name, || run(store)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{kind:?}, {name}: {error:?}");
        });
        server.resume();
        for (_, store) in &stores {
            wait_until(|| store.put("other", "the other's").map_err(|error| error.to_string()));
            assert_eq!(store.get("other").unwrap().unwrap(), "the other's", "{kind:?}");
            assert_works(store);
        }
    }
}

#[test]
fn waiting_for_the_pool_ends_by_its_limit() {
    let (_server, proxy) = start();
    let store = builder(proxy.port()).pool_size(1).response_timeout(60 * LIMIT).build().unwrap();
    warm(&store);
    proxy.set(Behaviour::Hold);
    thread::scope(|scope| {
        let holder = scope.spawn(|| store.get("k"));
        thread::sleep(LIMIT);
        side_by_side(operations(), |Operation { name, run, .. }| {
            let begin = Instant::now();
            let error = within(LIMIT, name, || run(&store)).unwrap_err();
            assert!(begin.elapsed() > LIMIT / 2, "{name}: {error} after {:?}", begin.elapsed());
            assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{name}: {error:?}");
            check(&error, &store, name);
        });
        proxy.pass();
        assert_eq!(holder.join().unwrap().unwrap().unwrap(), "v");
    });
    assert_works(&store);
}

/// Each limit is the one that counts where it belongs, and those of the others do not.
#[test]
fn each_limit_is_the_configured_one() {
    let (_server, proxy) = start();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let connecting = patient(builder(silent.local_addr().unwrap().port())).connect_timeout(LIMIT).build().unwrap();
    let waiting = patient(builder(proxy.port())).pool_timeout(LIMIT).pool_size(1).connect().unwrap();
    let exchanging = patient(builder(proxy.port())).response_timeout(LIMIT).connect().unwrap();
    let by_default = MemcacheStore::builder().url(format!("memcache://127.0.0.1:{}", proxy.port()));
    let by_default = by_default.build().unwrap();
    warm(&by_default);
    warm(&exchanging);
    proxy.set(Behaviour::Hold);
    thread::scope(|scope| {
        let holder = scope.spawn(|| waiting.get("k"));
        thread::sleep(TRAVEL);
        let second = Duration::from_secs(1);
        let cases = [
            (&connecting, LIMIT, "(`connect_timeout`)"),
            (&waiting, LIMIT, "`pool_timeout`"),
            (&exchanging, LIMIT, "(`response_timeout`)"),
            (&by_default, second, "(`response_timeout`)"),
            // Now it has no connection.
            (&by_default, second, "(`connect_timeout`)"),
        ];
        for (store, limit, named) in cases {
            let begin = Instant::now();
            let error = within(limit, named, || store.get("k")).unwrap_err();
            assert!(begin.elapsed() > limit / 2, "{named}: {error} after {:?}", begin.elapsed());
            let shown = error.to_string();
            assert!(shown.contains(named) && shown.contains(&format!("{limit:?}")), "{shown}");
        }
        proxy.pass();
        assert_eq!(holder.join().unwrap().unwrap().unwrap(), "v");
    });
}

/// A sum of limits would be as long as there are servers.
#[test]
fn a_batch_over_servers_of_which_several_are_silent_takes_the_time_of_one_limit() {
    // Longer than the margin: several of it would be seen.
    let limit = MARGIN * 5 / 4;
    let limited = |servers: &[String]| {
        let builder = settings(MemcacheStore::builder()).servers(servers);
        builder.pool_timeout(limit).connect_timeout(limit).response_timeout(limit).pool_size(1).build().unwrap()
    };
    let live = Memcached::start(&[]);
    // Connections cannot be made.
    let silent: Vec<_> = (0..3).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let mut urls: Vec<_> = silent.iter().map(|silent| format!("memcache://{}", silent.local_addr().unwrap())).collect();
    urls.insert(1, live.url());
    // Connections that have been made bring no reply.
    let paused: Vec<_> = (0..4).map(|_| Memcached::start(&[])).collect();
    let of_paused: Vec<_> = paused.iter().map(Memcached::url).collect();
    let mut all = Vec::new();
    for operation in BATCH {
        let established = limited(&of_paused);
        wait_until(|| established.put_many(many().map(|key| (key, "v"))).map_err(|error| error.to_string()));
        all.push((operation, true, limited(&urls)));
        all.push((operation, false, established));
    }
    for server in &paused[1..] {
        server.pause();
    }
    side_by_side(&all, |(Operation { name, writes, run, .. }, is_new, store)| {
        let error = within(limit, name, || run(store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        assert_eq!(error.outcome_unknown(), *writes && !is_new, "{name}: {error:?}");
        check(&error, store, name);
        // Their connections are gone: now those that are stopped let nobody in.
        let error = within(limit, name, || run(store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
    });
    for server in &paused {
        server.resume();
    }
    for (Operation { name, run, .. }, is_new, store) in &all {
        if !is_new {
            wait_until(|| run(store).map_err(|error| format!("{name}: {error}")));
        }
    }
}

/// Nor does waiting for one pool after the other add up.
#[test]
fn a_batch_over_servers_whose_pools_are_exhausted_takes_the_time_of_one_limit() {
    let limit = MARGIN * 5 / 4;
    let servers: Vec<_> = (0..3).map(|_| Memcached::start(&[])).collect();
    let store = patient(builder_for(&servers.iter().collect::<Vec<_>>())).pool_timeout(limit).pool_size(1);
    let store = store.build().unwrap();
    store.put_many(many().map(|key| (key, "v"))).unwrap();
    let one_of_each: Vec<_> = servers
        .iter()
        .map(|server| {
            let mut connection = server.connection();
            many().find(|key| fetch(&mut connection, key).is_some()).unwrap()
        })
        .collect();
    for server in &servers {
        server.pause();
    }
    thread::scope(|scope| {
        let store = &store;
        let holders: Vec<_> = one_of_each.iter().map(|key| scope.spawn(move || store.get(key))).collect();
        thread::sleep(TRAVEL);
        side_by_side(BATCH, |Operation { name, run, .. }| {
            let error = within(limit, name, || run(store)).unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{name}: {error:?}");
            check(&error, store, name);
        });
        for server in &servers {
            server.resume();
        }
        for holder in holders {
            assert_eq!(holder.join().unwrap().unwrap().unwrap(), "v");
        }
    });
    assert_works(&store);
}

/// What a large value may take longer is 0.1 s for a megabyte.
#[test]
fn a_server_that_stops_in_the_middle_of_a_large_value_is_a_time_out_and_its_rest_is_nobody_s() {
    let server = Memcached::start(&["-I", "32m", "-m", "256"]);
    let proxy = Proxy::start(server.port());
    let direct = patient(builder(server.port())).connect().unwrap();
    direct.put("other", value("other", 1, 10)).unwrap();
    // The first fits into the buffers between; of the second the server has sent a part when it stops.
    for length in [LARGE, 20 << 20] {
        let extra = Duration::from_millis(100) * u32::try_from(length >> 20).unwrap();
        let large = value("large", 1, length);
        direct.put("large", &large).unwrap();
        let store = builder(proxy.port()).pool_size(1).connect().unwrap();
        warm(&store);
        let operations: [fn(&MemcacheStore) -> Result<()>; 2] =
            [|store| store.get("large").map(drop), |store| store.copy("large", "copy")];
        for operation in operations {
            warm(&store);
            proxy.set(Behaviour::Truncate { bytes: length / 2 });
            let error = thread::scope(|scope| {
                let reader = scope.spawn(|| within(LIMIT + extra, "get", || operation(&store)).unwrap_err());
                thread::sleep(LIMIT / 4);
                server.pause();
                reader.join().unwrap()
            });
            assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{error:?}");
            assert_eq!(error.key(), Some("large"));
            // What the server had sent comes now.
            proxy.pass();
            let error = within(LIMIT, "get", || store.get("other")).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{error:?}");
            server.resume();
            warm(&store);
            assert_eq!(parse(&store.get("other").unwrap().unwrap()), ("other".into(), 1));
            assert_eq!(store.get("absent").unwrap(), None);
        }
        let patient = patient(builder(proxy.port())).build().unwrap();
        assert_eq!(patient.get("large").unwrap().unwrap(), large);
        assert_works(&store);
    }
}

/// The other way round: the server stops while it takes a large value.
#[test]
fn a_server_that_stops_while_it_takes_a_large_value_is_a_time_out() {
    let server = Memcached::start(&["-I", "32m", "-m", "256"]);
    let store = builder(server.port()).largest_item(32 << 20).pool_size(1).build().unwrap();
    let large = vec![b'x'; 20 << 20];
    for _ in 0..3 {
        warm(&store);
        server.pause();
        // What the buffers take counts.
        let error = within(LIMIT + Duration::from_secs(2), "put", || store.put("k", &large)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)) && error.outcome_unknown(), "{error:?}");
        check(&error, &store, "put");
        server.resume();
        warm(&store);
        assert_works(&store);
    }
}

// N2: connections that nobody may trust any more

#[test]
fn after_a_time_out_the_connection_is_closed_and_the_late_reply_is_nobody_s() {
    for_each_operation(operations(), |Operation { name, run, .. }, server, proxy, store| {
        let mut stats = Stats::of(server);
        set(server, "other", &value("other", 1, 10));
        let others = stats.connections() - 1;
        proxy.set(Behaviour::HoldReplies);
        let error = run(store).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        // Of a batch the server has not all, and it is in no hurry.
        wait_until(|| match stats.get("curr_connections") {
            now if now <= others => Ok(()),
            now => Err(format!("{name}: there are {now} connections, and without the store's {others}")),
        });
        // Now the late reply comes.
        let before = proxy.accepted();
        proxy.pass();
        assert_eq!(parse(&store.get("other").unwrap().unwrap()), ("other".into(), 1), "after {name}");
        assert_eq!(store.get("absent").unwrap(), None, "after {name}");
        assert_works(store);
        assert_eq!(proxy.accepted(), before + 1, "after {name}");
    });
}

/// One get, put and so on, with the length of the reply, and whether it writes.
type Exchange = (&'static str, usize, bool, fn(&MemcacheStore, &str) -> Result<()>);

/// Each kind of reply, to commands about a key that holds `value(key, 1, 5)` and about one that is absent. Their lengths are those
/// with a tag of one digit.
const EXCHANGES: [Exchange; 6] = [
    ("a value", "VA 17 O1\r\nkey/0|1|xxxxx|end\r\n".len(), false, |store, key| {
        store.get(key).map(|value| assert_eq!(parse(&value.unwrap()), (key.to_owned(), 1)))
    }),
    ("a hit", "HD t-1 O1\r\n".len(), false, |store, key| {
        store.ttl(key).map(|left| assert_eq!(left, Some(Remaining::Forever)))
    }),
    ("a miss", "EN O1\r\n".len(), false, |store, key| {
        store.get(format!("no/{key}")).map(|value| assert_eq!(value, None))
    }),
    ("a write", "HD O1\r\n".len(), true, |store, key| store.put(format!("new/{key}"), value(key, 2, 5))),
    ("a create", "NS O1\r\n".len(), true, |store, key| store.create(key, value(key, 3, 5)).map(|won| assert!(!won))),
    ("a delete", "NF O1\r\n".len(), true, |store, key| store.delete(format!("no/{key}")).map(|was| assert!(!was))),
];

#[test]
fn after_half_a_reply_the_connection_is_closed_and_the_rest_is_nobody_s() {
    let server = Memcached::start(&[]);
    set(&server, "other", &value("other", 1, 10));
    let positions = EXCHANGES.iter().flat_map(|exchange| (0..exchange.1).map(move |bytes| (exchange, bytes)));
    let positions: Vec<_> = positions.map(|position| (position, Proxy::start(server.port()))).collect();
    // Not too many at the same time: they are to be slow for the reason alone that is in question.
    for some in positions.chunks(32) {
        side_by_side(some, |(((name, _, writes, run), bytes), proxy)| {
            let key = format!("key/{}", bytes % 10);
            let store = builder(proxy.port()).pool_size(1).build().unwrap();
            wait_until(|| store.put(&key, value(&key, 1, 5)).map_err(|error| error.to_string()));
            let before = proxy.accepted();
            proxy.set(Behaviour::Truncate { bytes: *bytes });
            let error = within(LIMIT, name, || run(&store, &key)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)), "{name}, {bytes} bytes: {error:?}");
            assert_eq!(error.outcome_unknown(), *writes, "{name}, {bytes} bytes: {error:?}");
            check(&error, &store, name);
            // The rest comes between two operations.
            proxy.pass();
            let other = wait_until(|| store.get("other").map_err(|error| format!("after {bytes} bytes: {error}")));
            assert_eq!(parse(&other.unwrap()), ("other".into(), 1), "after {bytes} bytes of {name}");
            run(&store, &key).unwrap();
            assert_eq!(store.get("absent").unwrap(), None, "after {bytes} bytes of {name}");
            assert!(proxy.accepted() > before, "after {bytes} bytes of {name} the connection is used");
        });
    }
}

/// N5 as well: a read is sent again, a write is not.
#[test]
fn a_reply_that_breaks_off_at_any_byte_is_read_again_or_its_outcome_is_unknown() {
    let (server, proxy, store) = one_connection();
    let mut stats = Stats::of(&server);
    let key = "key/0";
    store.put(key, value(key, 1, 5)).unwrap();
    for (name, length, writes, run) in EXCHANGES {
        for bytes in 0..length {
            for cut in [Cut::Close, Cut::Reset] {
                let what = format!("{name}, {cut:?} after {bytes} bytes");
                warm(&store);
                let before = proxy.accepted();
                proxy.set(Behaviour::CutAfter { cut, of: Direction::Replies, bytes });
                let mut result = None;
                let grown = stats.growth(|| result = Some(run(&store, key)));
                let commands: u64 =
                    ["cmd_get", "cmd_set", "delete_misses"].iter().filter_map(|name| grown.get(*name)).sum();
                match result.unwrap() {
                    Ok(()) => assert!(!writes && commands == 2, "{what}: {grown:?}"),
                    Err(error) => {
                        assert!(writes && error.outcome_unknown() && commands == 1, "{what}: {error:?}, {grown:?}");
                        assert!(matches!(error, Error::Unavailable(_)), "{what}: {error:?}");
                        check(&error, &store, name);
                    }
                }
                warm(&store);
                assert_eq!(proxy.accepted(), before + 1, "{what}");
            }
        }
    }
}

/// Where the server has only a part of the request, too.
#[test]
fn a_request_that_breaks_off_at_any_byte_is_a_read_that_works_or_a_write_that_may_have_been() {
    let (server, proxy, store) = one_connection();
    let mut connection = server.connection();
    let new = value("k", 2, 5);
    for bytes in 0..=format!("ms k {} O100 T0\r\n{new}\r\n", new.len()).len() {
        for cut in [Cut::Close, Cut::Reset] {
            let what = format!("{cut:?} after {bytes} bytes");
            set(&server, "k", "v");
            warm(&store);
            proxy.set(Behaviour::CutAfter { cut, of: Direction::Requests, bytes });
            match store.put("k", &new) {
                // It is the next request that is cut.
                Ok(()) => assert!(bytes > 20, "{what}"),
                Err(error) => {
                    assert!(matches!(error, Error::Unavailable(_)) && error.outcome_unknown(), "{what}: {error:?}");
                    check(&error, &store, "put");
                }
            }
            let there = fetch(&mut connection, "k").unwrap();
            assert!(there == "v" || there == new, "{what}: {there}");
            proxy.pass();

            warm(&store);
            set(&server, "k", "v");
            proxy.set(Behaviour::CutAfter { cut, of: Direction::Requests, bytes });
            assert_eq!(store.get("k").unwrap().unwrap(), "v", "{what}");
            proxy.pass();
        }
    }
}

/// Where in a reply the value stands, or what is left of a lifetime.
fn content_of(reply: &[u8]) -> Range<usize> {
    let line = reply.iter().position(|&byte| byte == b'\n').unwrap();
    if reply.starts_with(b"VA") {
        line + 1..reply.len() - 2
    } else if reply.starts_with(b"HD t") {
        4..tag_in(reply).start - 2
    } else {
        0..0
    }
}

/// What of a reply can be known to be wrong is known: return code, length, tag, the end of the value. For what is inside of a
/// value there is only the sum that TCP makes.
#[test]
fn a_reply_with_a_wrong_byte_is_an_error_and_closes_the_connection() {
    let wrong_bytes: Vec<u8> = b"\0 \r\n+-01289AODHEVNSFXYZadhev\x7f\xff".to_vec();
    let key = "key/0";
    side_by_side(EXCHANGES, |(name, _, writes, run)| {
        let (server, proxy) = start();
        // Where a length becomes a larger one, more is waited for.
        let store = builder(proxy.port()).response_timeout(Duration::from_millis(50)).pool_size(1).build().unwrap();
        set(&server, key, &value(key, 1, 5));
        set(&server, "other", &value("other", 1, 10));
        let mut at = 0;
        let mut length = 1;
        while at < length {
            let mut bytes = wrong_bytes.iter().copied().peekable();
            while let Some(&byte) = bytes.peek() {
                // The machine may take longer than 50 ms.
                let other = wait_until(|| store.get("other").map_err(|error| error.to_string()));
                assert_eq!(parse(&other.unwrap()), ("other".into(), 1), "before byte {at} of {name} is {byte}");
                let before = proxy.accepted();
                let original = Arc::new(Mutex::new(Vec::new()));
                let seen = Arc::clone(&original);
                proxy.set(edit(move |piece| {
                    seen.lock().unwrap().clone_from(piece);
                    if !content_of(piece).contains(&at) {
                        piece[at] = byte;
                    }
                }));
                let result = within(LIMIT, name, || run(&store, key));
                proxy.pass();
                let original = original.lock().unwrap().clone();
                if original.is_empty() {
                    // It did, before there was a reply: once more.
                    continue;
                }
                bytes.next();
                length = original.len();
                let what = format!("byte {at} of {:?} is {byte:?}", String::from_utf8_lossy(&original));
                if original[at] == byte || content_of(&original).contains(&at) {
                    result.unwrap_or_else(|error| assert!(matches!(error, Error::Timeout(_)), "{what}: {error:?}"));
                    continue;
                }
                let error = result.expect_err(&what);
                assert!(
                    matches!(error, Error::Timeout(_) | Error::Unavailable(_) | Error::Backend(_)),
                    "{what}: {error:?}"
                );
                assert_eq!(error.outcome_unknown(), writes, "{what}: {error:?}");
                check(&error, &store, name);
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains("xxxxx") && !shown.contains("|end"), "{what}: {shown}");
                wait_until(|| store.get("absent").map_err(|error| error.to_string()));
                assert!(proxy.accepted() > before, "{what}: the connection is used");
            }
            at += 1;
        }
        assert!(length > 6, "{name}");
    });
}

type Tagged = (&'static str, usize, bool, fn(&MemcacheStore) -> Result<()>);

/// A reply that is complete and well-formed in everything but that it belongs to another command. By its kind, how many others come
/// before it, and whether the command writes.
const TAGGED: [Tagged; 18] = [
    ("VA, get", 0, false, |store| store.get("k").map(drop)),
    ("VA, get_many", 0, false, |store| store.get_many(["k"]).map(drop)),
    ("VA, copy", 0, false, |store| store.copy("k", "copy")),
    ("EN, get", 0, false, |store| store.get("absent").map(drop)),
    ("EN, ttl", 0, false, |store| store.ttl("absent").map(drop)),
    ("EN, contains", 0, false, |store| store.contains("absent").map(drop)),
    ("EN, touch", 0, true, |store| store.touch("absent", MINUTES).map(drop)),
    ("HD, ttl", 0, false, |store| store.ttl("k").map(drop)),
    ("HD, contains", 0, false, |store| store.contains("k").map(drop)),
    ("HD, touch", 0, true, |store| store.touch("k", MINUTES).map(drop)),
    ("HD, put", 0, true, |store| store.put("new", "v")),
    ("HD, create", 0, true, |store| store.create("created", "v").map(drop)),
    ("HD, delete", 0, true, |store| store.delete("k").map(drop)),
    ("HD, copy", 1, true, |store| store.copy("k", "copy")),
    ("HD, rename", 2, true, |store| store.rename("k", "renamed")),
    ("NS, create", 0, true, |store| store.create("k", "v").map(drop)),
    ("NF, delete", 0, true, |store| store.delete("absent").map(drop)),
    ("NF, delete_many", 0, true, |store| store.delete_many(["absent"]).map(drop)),
];

#[test]
fn a_reply_with_the_tag_of_another_command_is_not_accepted() {
    let (server, proxy, store) = one_connection();
    let proxy = Arc::new(proxy);
    let tags: [fn(u64) -> String; 9] = [
        |tag| format!(" O{}", tag + 1),
        |tag| format!(" O{}", tag - 1),
        |tag| format!(" O{}", tag + 1024),
        |tag| format!(" O{tag}0"),
        |_| " O0".into(),
        |tag| format!(" O-{tag}"),
        |_| " O".into(),
        |_| String::new(),
        |tag| format!(" o{tag}"),
    ];
    for (name, others, writes, run) in TAGGED {
        for (number, tag) in tags.into_iter().enumerate() {
            let what = format!("{name}, tag {number}");
            if name == "EN, get" && tag(7).is_empty() {
                // A server with an extstore may lack it.
                continue;
            }
            let _ = store.delete("created");
            set(&server, "k", "v");
            store.get("k").unwrap();
            let before = proxy.accepted();
            let seen = Arc::new(Mutex::new(Vec::new()));
            let see = Arc::clone(&seen);
            let change = move |piece: &mut Vec<u8>| {
                let at = tag_in(piece);
                let other = tag(tag_of(piece));
                piece.splice(at.start - 2..at.end, other.bytes());
                see.lock().unwrap().clone_from(piece);
            };
            edit_after(&proxy, others, Box::new(change));
            let error = run(&store).expect_err(&what);
            let reply = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
            assert!(reply.starts_with(&name[..2]), "{what}: {reply:?}");
            assert!(matches!(error, Error::Backend(_)), "{what}: {reply:?}: {error:?}");
            assert_eq!(error.outcome_unknown(), writes, "{what}: {reply:?}: {error:?}");
            check(&error, &store, &what);
            // A batch of one key names it, too.
            assert!(error.key().is_some(), "{what}: {error:?}");
            assert_eq!(store.get("absent").unwrap(), None, "{what}");
            assert_eq!(proxy.accepted(), before + 1, "{what}");
        }
    }
}

/// Between the second and the third step of a rename somebody else writes: the third says that it is another version now.
#[test]
fn a_rename_whose_original_changes_leaves_the_new_one_whatever_its_tag() {
    let (server, proxy, store) = one_connection();
    let (server, proxy) = (Arc::new(server), Arc::new(proxy));
    for wrong in [false, true] {
        set(&server, "k", "v");
        warm(&store);
        let (of_change, of_edit) = (Arc::clone(&server), Arc::clone(&proxy));
        edit_after(
            &proxy,
            1,
            Box::new(move |_| {
                set(&of_change, "k", "new");
                of_edit.set(edit(move |piece| {
                    assert!(piece.starts_with(b"EX"), "{piece:?}");
                    let (at, tag) = (tag_in(piece), tag_of(piece));
                    piece.splice(at, (tag + u64::from(wrong)).to_string().into_bytes());
                }));
            }),
        );
        let result = store.rename("k", "renamed");
        if wrong {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Backend(_)) && error.outcome_unknown(), "{error:?}");
            check(&error, &store, "rename");
        } else {
            result.unwrap();
        }
        assert_eq!(store.get("k").unwrap().unwrap(), "new");
        assert_eq!(store.get("renamed").unwrap().unwrap(), "v");
    }
}

/// Both belong to the batch, and neither to its command.
#[test]
fn replies_of_a_batch_that_are_exchanged_are_not_accepted() {
    let (server, proxy, store) = one_connection();
    set(&server, "a", "1");
    set(&server, "b", "2");
    let swap = || {
        edit(|piece| {
            let text = String::from_utf8(piece.clone()).unwrap();
            let mut lines: Vec<_> = text.split_inclusive("\r\n").collect();
            let half = lines.len() / 2;
            lines.rotate_left(half);
            *piece = lines.concat().into_bytes();
        })
    };
    for _ in 0..10 {
        assert_eq!(store.get_many(["a", "b"]).unwrap().into_iter().flatten().collect::<Vec<_>>(), ["1", "2"]);
        proxy.set(swap());
        let error = store.get_many(["a", "b"]).unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && !error.outcome_unknown(), "{error:?}");
        check(&error, &store, "get_many");
        store.get("a").unwrap();
        proxy.set(swap());
        let error = store.delete_many(["no/1", "no/2"]).unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && error.outcome_unknown(), "{error:?}");
        check(&error, &store, "delete_many");
        // One reply less, and one of somebody else.
        store.get("a").unwrap();
        proxy.set(edit(|piece| {
            let half = piece.len() / 2;
            piece.truncate(half);
            piece.extend_from_slice(b"HD O1\r\n");
        }));
        let error = store.put_many([("a", "1"), ("b", "2")]).unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && error.outcome_unknown(), "{error:?}");
        check(&error, &store, "put_many");
    }
}

#[test]
fn no_reply_makes_an_operation_panic_or_succeed_where_it_makes_no_sense() {
    let (server, proxy) = start();
    let endless = "VA 5 ".repeat(2000);
    let flags = format!("VA 5 {}O#\r\nvalue\r\n", "x1 ".repeat(2000));
    let nonsense = [
        "\r\n",
        "\n",
        " O#\r\n",
        "VA\r\n",
        "VA O#\r\n",
        "VA  5 O#\r\nvalue\r\n",
        "VA -1 O#\r\nvalue\r\n",
        "VA 5.0 O#\r\nvalue\r\n",
        "VA 0x5 O#\r\nvalue\r\n",
        "VA 1048576 O#\r\nvalue\r\n",
        "VA 1073741824 O#\r\nvalue\r\n",
        "VA 1073741825 O#\r\nvalue\r\n",
        "VA 18446744073709551615 O#\r\nvalue\r\n",
        "VA 18446744073709551616 O#\r\nvalue\r\n",
        "VA 4 O#\r\nvalue\r\n",
        "VA 6 O#\r\nvalue\r\n",
        "VA 5 O#\nvalue\r\n",
        "VA 5 O18446744073709551616\r\nvalue\r\n",
        "VA 5 t c O#\r\nvalue\r\n",
        "VA 5 t-1 c99999999999999999999 O#\r\nvalue\r\n",
        "VA 5 t9223372036854775808 c1 O#\r\nvalue\r\n",
        "va 5 O#\r\nvalue\r\n",
        "MN\r\n",
        "MN O#\r\n",
        "ME k exp=-1\r\n",
        "HD t99999999999999999999 O#\r\n x",
        "HD O#\r\nHD O+\r\n",
        "EN\r\n",
        "EN O#\r\nEN O+\r\n",
        "NS O#\r\nx",
        "NF O#\r\nx",
        "EX O#\r\nx",
        "END\r\n",
        "OK\r\n",
        "STORED\r\n",
        "VALUE k 0 5\r\nvalue\r\nEND\r\n",
        "STAT pid 1\r\nEND\r\n",
        "ERROR\r\n",
        "ERROR O#\r\nVA 5 O#\r\nvalue\r\n",
        "CLIENT_ERROR bad data chunk\r\n",
        "CLIENT_ERROR bad command line format\r\nERROR\r\n",
        "SERVER_ERROR\r\n",
        "SERVER_ERROR out of memory storing object\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "$5\r\nvalue\r\n",
        "\0\0\0\0\0\0\0\0\r\n",
        "\u{fffd}\u{7f}\r\n",
        &endless,
        &flags,
    ];
    let mut wrong = Vec::new();
    // Much of it is taken for the beginning of a reply, and waited for.
    let store = builder(proxy.port()).response_timeout(Duration::from_millis(30)).pool_size(1).build().unwrap();
    for reply in nonsense {
        for Operation { name, commands, writes, run } in SINGLE {
            let what = format!("{name}, {:?}", &reply[..reply.len().min(60)]);
            // What else a server tells with a value is nothing to those that do not ask; a miss may lack its tag where a value
            // is read.
            let is_sense = reply.starts_with("VA 5 t") && commands.len() == 1 || reply == "EN\r\n" && name == "get";
            if is_sense || name == "put of a large value" {
                continue;
            }
            set(&server, "k", "v");
            warm(&store);
            proxy.set(answer(reply));
            let result = within(LIMIT, &what, || catch_unwind(AssertUnwindSafe(|| run(&store))));
            proxy.pass();
            match result {
                Ok(Err(error)) => {
                    assert!(error.outcome_unknown() <= writes, "{what}: {error:?}");
                    assert_eq!(error.key(), Some("k"), "{what}: {error:?}");
                    assert_eq!(error.store(), Some(store.name()), "{what}: {error:?}");
                    let shown = format!("{error} {error:?}");
                    assert!(!shown.contains("value\\r\\n"), "{what}: {shown}");
                }
                Ok(Ok(())) => wrong.push(format!("{what}: a success")),
                Err(_) => wrong.push(format!("{what}: a panic")),
            }
            let value = wait_until(|| store.get("k").map_err(|error| format!("{what}: {error}")));
            assert!(matches!(value.as_deref(), None | Some(b"v" | b"new")), "{what}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Nor when a connection is made.
#[test]
fn whatever_a_server_says_first_is_an_error_and_nothing_was_sent() {
    let (server, proxy) = start();
    // Each without a connection.
    let new = || patient(builder(proxy.port())).pool_size(1);
    let mut stats = Stats::of(&server);
    for number in 0..120_usize {
        for cut in [Cut::Close, Cut::Reset] {
            let what = format!("{cut:?} {number}");
            let store = new().build().unwrap();
            proxy.set(Behaviour::CutAfter { cut, of: Direction::Replies, bytes: number * 17 });
            let writes = stats.get("cmd_set");
            let error = store.put("k", "v").expect_err(&what);
            assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{what}: {error:?}");
            check(&error, &store, "put");
            assert_eq!(stats.get("cmd_set"), writes, "{what}");
        }
        let store = new().connect_timeout(Duration::from_millis(50)).build().unwrap();
        let mut bytes = [b'?', b'\n', b' ', 0xff][number % 4..].iter().copied().cycle();
        proxy.set(edit(move |piece| {
            let length = piece.len();
            piece[(number * 37) % length] = bytes.next().unwrap();
        }));
        // A name that nobody looks at may well be another one.
        if let Err(error) = store.put("k", "v") {
            assert!(!error.outcome_unknown(), "{number}: {error:?}");
            assert_eq!(error.key(), Some("k"), "{number}: {error:?}");
        }
        proxy.pass();
        assert_works(&new().build().unwrap());
    }
    let answers =
        ["\r\n", "ERROR\r\n", "END\r\nEND\r\n", "STAT version 1.6.18\r\nEND\r\nEND\r\n", "HTTP/1.1 400 Bad\r\n"];
    for answer in answers.into_iter().map(String::from).chain(["x".repeat(5000)]) {
        let store = new().build().unwrap();
        proxy.set(Behaviour::replace(answer.as_bytes()));
        let error = within(LIMIT, &answer, || store.put("k", "v")).unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && !error.outcome_unknown(), "{answer:?}: {error:?}");
        assert_eq!((error.key(), error.store()), (Some("k"), Some(store.name())), "{answer:?}: {error:?}");
        assert_works(&store);
    }
}

#[test]
fn what_comes_with_a_reply_and_was_not_asked_for_is_nobody_s_reply() {
    let (server, proxy, store) = one_connection();
    set(&server, "other", &value("other", 1, 10));
    // The third is what the next command would wait for.
    let extras = [
        "VA 5 O1\r\nwrong\r\n",
        "VA 5 O#\r\nwrong\r\n",
        "VA 5 O+\r\nwrong\r\n",
        "HD O+\r\n",
        "EN O+\r\n",
        "ERROR\r\n",
        "VA",
        "\r\n",
        "x",
    ];
    for extra in extras {
        for Operation { name, writes, run, .. } in SINGLE {
            set(&server, "k", "v");
            store.get("k").unwrap();
            let before = proxy.accepted();
            proxy.set(add(extra));
            let error = run(&store).expect_err(name);
            assert!(matches!(error, Error::Backend(_)), "{name}: {error:?}");
            assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
            check(&error, &store, name);
            assert_eq!(
                parse(&store.get("other").unwrap().unwrap()),
                ("other".into(), 1),
                "after {name} with {extra:?}"
            );
            assert_eq!(proxy.accepted(), before + 1, "after {name} with {extra:?}");
        }
    }
}

#[test]
fn what_an_idle_connection_brings_is_nobody_s_reply() {
    let replies = ["VA 5 O+\r\nwrong\r\n", "EN O+\r\n", "HD O+\r\n", "ERROR\r\n", "x"];
    let started: Vec<_> = replies.into_iter().map(|reply| (reply, one_connection())).collect();
    side_by_side(started, |(reply, (server, proxy, store))| {
        set(&server, "other", &value("other", 1, 10));
        for idle in [TRAVEL, IDLE] {
            // What was not asked for comes after the reply was taken, and has the tag of the next.
            let tag = next_tag(&store, &proxy);
            let inject = |tag: u64| {
                let later = Duration::from_millis(50);
                proxy.set(Behaviour::inject_later(reply.replace('+', &tag.to_string()), later));
                assert_eq!(store.get("k").unwrap().unwrap(), "v");
                thread::sleep(later + idle);
            };
            let before = proxy.accepted();
            inject(tag + 1);
            let other = store.get("other").unwrap();
            assert_eq!(parse(&other.unwrap()), ("other".into(), 1), "after {reply:?}");
            assert_eq!(proxy.accepted(), before + 1, "after {reply:?}");
            // A write, too, is not to be the one that finds it.
            inject(tag + 3);
            store.put("k", "v").unwrap();
            assert_eq!(proxy.accepted(), before + 2, "after {reply:?}");
        }
    });
}

/// Whenever it comes: there is no moment in which it is taken for a reply.
#[test]
fn what_a_busy_connection_brings_is_nobody_s_reply() {
    let (server, proxy) = start();
    // It may be taken for the beginning of a reply, and waited for.
    let store = builder(proxy.port()).pool_size(1).build().unwrap();
    set(&server, "other", &value("other", 1, 10));
    warm(&store);
    for number in 0..40 {
        let reply = ["VA 5 O1\r\nwrong\r\n", "HD O1\r\n", "EN O1\r\n", "MN\r\n"][number % 4];
        proxy.set(Behaviour::inject_later(reply, Duration::from_micros(number as u64 * 50)));
        for _ in 0..20 {
            match store.get("other") {
                Ok(value) => assert_eq!(parse(&value.unwrap()), ("other".into(), 1)),
                Err(error) => check(&error, &store, "get of other"),
            }
            match store.get("absent") {
                Ok(value) => assert_eq!(value, None),
                Err(error) => check(&error, &store, "get of absent"),
            }
        }
    }
}

/// Through TLS nobody can change a reply without being noticed.
#[cfg(feature = "tls")]
#[test]
fn a_record_of_tls_that_is_cut_or_changed_is_read_again_or_the_outcome_is_unknown() {
    let server = Memcached::start_as(Kind::Tls { with_certificate: false }, &[]);
    let proxy = Proxy::start(server.tls_port());
    let url = format!("memcache+tls://localhost:{}", proxy.port());
    let store = patient(builder_for(&[&server]).url(&url)).pool_size(1).connect().unwrap();
    let mut stats = Stats::of(&server);
    set(&server, "k", "v");
    let key = "key/0";
    store.put(key, value(key, 1, 5)).unwrap();
    // A record is larger than what is in it by about 22 bytes.
    for (name, length, writes, run) in EXCHANGES {
        for bytes in 0..length + 22 {
            for fault in 0..3 {
                let what = format!("{name}, fault {fault} at {bytes} bytes");
                warm(&store);
                proxy.set(match fault {
                    0 => Behaviour::CutAfter { cut: Cut::Close, of: Direction::Replies, bytes },
                    1 => Behaviour::CutAfter { cut: Cut::Reset, of: Direction::Replies, bytes },
                    _ => edit(move |piece| {
                        // A length that becomes a larger one would be waited for.
                        let at = if bytes == 3 || bytes == 4 { 5 } else { bytes % piece.len() };
                        piece[at] ^= 1;
                    }),
                });
                let mut result = None;
                let grown = stats.growth(|| result = Some(run(&store, key)));
                let sets = grown.get("cmd_set").copied().unwrap_or(0);
                match result.unwrap() {
                    // The first bytes of a record say nothing that matters.
                    Ok(()) => assert!(!writes || fault == 2 && bytes < 3, "{what}"),
                    Err(error) => {
                        assert!(writes && error.outcome_unknown() && sets <= 1, "{what}: {error:?}, {grown:?}");
                        check(&error, &store, name);
                    }
                }
                proxy.pass();
            }
        }
    }
}

/// Be it a whole record, or none. A part of one rustls may have read with the reply, and keeps to itself: then the next operation
/// fails, since nobody can put more behind it that would pass for a record.
#[cfg(feature = "tls")]
#[test]
fn what_comes_after_a_record_of_tls_and_was_not_asked_for_is_nobody_s_reply() {
    let server = Memcached::start_as(Kind::Tls { with_certificate: false }, &[]);
    let proxy = Proxy::start(server.tls_port());
    let url = format!("memcache+tls://localhost:{}", proxy.port());
    let store = builder_for(&[&server]).url(&url).connect_timeout(PATIENCE).pool_size(1).build().unwrap();
    let key = "key/0";
    set(&server, "k", "v");
    set(&server, key, &value(key, 1, 5));
    for extra in [&b"\x17"[..], b"\x17\x03\x03", b"\x17\x03\x03\0\x05wrong", b"VA 5 O1\r\nwrong\r\n", b"x"] {
        let is_part = extra.len() <= 3;
        for later in [false, true] {
            for write_next in [false, true] {
                let what = format!("{extra:?}, later: {later}, writing: {write_next}");
                proxy.pass();
                warm(&store);
                proxy.set(if later {
                    Behaviour::inject_later(extra, Duration::from_millis(20))
                } else {
                    Behaviour::inject(extra)
                });
                match store.get(key) {
                    Ok(value) => assert_eq!(parse(&value.unwrap()), (key.to_owned(), 1), "{what}"),
                    Err(error) => check(&error, &store, "get of key/0"),
                }
                thread::sleep(TRAVEL / 2);
                let next = if write_next { store.put("k", "v") } else { store.get("k").map(drop) };
                if let Err(error) = next {
                    assert!(is_part && !later && error.is_transient(), "{what}: {error:?}");
                    assert_eq!(error.outcome_unknown(), write_next, "{what}: {error:?}");
                }
                assert_works(&store);
            }
        }
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_record_of_tls_that_does_not_come_whole_is_a_time_out_and_its_rest_is_nobody_s() {
    let server = Memcached::start_as(Kind::Tls { with_certificate: false }, &[]);
    set(&server, "k", "v");
    set(&server, "other", &value("other", 1, 10));
    let url = |proxy: &Proxy| format!("memcache+tls://localhost:{}", proxy.port());
    let positions: Vec<_> = (0..24).step_by(2).map(|bytes| (bytes, Proxy::start(server.tls_port()))).collect();
    side_by_side(&positions, |(bytes, proxy)| {
        let store = builder_for(&[&server]).url(url(proxy)).pool_size(1).build().unwrap();
        for (name, writes) in [("get", false), ("put", true)] {
            warm(&store);
            proxy.set(Behaviour::Truncate { bytes: *bytes });
            let act = || if writes { store.put("k", "v") } else { store.get("k").map(drop) };
            let error = within(LIMIT, name, act).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)), "{name}, {bytes} bytes: {error:?}");
            assert_eq!(error.outcome_unknown(), writes, "{name}, {bytes} bytes: {error:?}");
            check(&error, &store, name);
            proxy.pass();
            let other = wait_until(|| store.get("other").map_err(|error| error.to_string()));
            assert_eq!(parse(&other.unwrap()), ("other".into(), 1), "after {bytes} bytes");
        }
    });
}

// N3: one operation is one request and one reply

/// What has passed, in the order in which it came, on all connections.
type Passed = Mutex<Vec<(Direction, Vec<u8>)>>;

/// Passes everything between a store and a server, and remembers it.
struct Tap {
    port: u16,
    passed: Arc<Passed>,
}

impl Tap {
    fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let tap = Self { port: listener.local_addr().unwrap().port(), passed: Arc::default() };
        let passed = Arc::clone(&tap.passed);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).unwrap();
                let (of_client, of_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                for (from, to, direction) in
                    [(client, server, Direction::Requests), (of_server, of_client, Direction::Replies)]
                {
                    let passed = Arc::clone(&passed);
                    thread::spawn(move || Self::pass(from, to, direction, &passed));
                }
            }
        });
        tap
    }

    fn pass(mut from: TcpStream, mut to: TcpStream, direction: Direction, passed: &Passed) {
        to.set_nodelay(true).unwrap();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            passed.lock().unwrap().push((direction, buffer[..length].to_vec()));
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    }

    /// The commands that were sent meanwhile, and in how many round trips.
    fn sees(&self, act: impl FnOnce()) -> (Vec<String>, usize) {
        self.passed.lock().unwrap().clear();
        act();
        let passed = self.passed.lock().unwrap();
        let is_reply = |index: usize| index.checked_sub(1).is_none_or(|before| passed[before].0 == Direction::Replies);
        let begins = (0..passed.len()).filter(|&index| passed[index].0 == Direction::Requests && is_reply(index));
        let requests = passed.iter().filter(|(direction, _)| *direction == Direction::Requests);
        (Self::commands(&requests.flat_map(|(_, piece)| piece.clone()).collect::<Vec<_>>()), begins.count())
    }

    /// The names of the commands of a request.
    fn commands(mut request: &[u8]) -> Vec<String> {
        let mut commands = Vec::new();
        while !request.is_empty() {
            let end = request.windows(2).position(|two| two == b"\r\n").expect("a whole line");
            let line = str::from_utf8(&request[..end]).unwrap();
            request = &request[end + 2..];
            let mut words = line.split(' ');
            let name = words.next().unwrap();
            if name == "ms" {
                let length: usize = words.nth(1).unwrap().parse().unwrap();
                assert_eq!(&request[length..length + 2], b"\r\n");
                request = &request[length + 2..];
            }
            commands.push(name.to_owned());
        }
        commands
    }
}

#[test]
fn an_operation_is_its_request_and_nothing_else() {
    let server = Memcached::start(&[]);
    let tap = Tap::start(server.port());
    let store = patient(builder(tap.port)).pool_size(1).build().unwrap();
    // Making a connection costs one round trip, and the operation one.
    let (commands, trips) = tap.sees(|| assert_eq!(store.get("k").unwrap(), None));
    assert_eq!((commands, trips), (vec!["stats".into(), "stats".into(), "mg".into()], 2));
    for idle in [Duration::ZERO, IDLE] {
        for Operation { name, commands, run, .. } in SINGLE {
            set(&server, "k", "v");
            if name == "get" {
                thread::sleep(idle);
            }
            let (seen, trips) = tap.sees(|| run(&store).unwrap());
            assert_eq!((seen.as_slice(), trips), (&commands.map_to_owned()[..], commands.len()), "{name}");
        }
    }
    // What is absent costs no more.
    for Operation { name, commands, run, .. } in SINGLE {
        let _ = store.delete("k");
        let (seen, trips) = tap.sees(|| drop(run(&store)));
        assert!(trips <= commands.len() && commands.map_to_owned().starts_with(&seen), "{name}: {seen:?}");
        assert!(!seen.is_empty(), "{name}");
    }
    for Operation { name, commands, run, .. } in BATCH {
        let (seen, trips) = tap.sees(|| run(&store).unwrap());
        assert_eq!((seen.as_slice(), trips), (&commands.map_to_owned()[..], MANY.div_ceil(1024)), "{name}");
    }
}

trait Names {
    fn map_to_owned(&self) -> Vec<String>;
}

impl Names for [&str] {
    fn map_to_owned(&self) -> Vec<String> {
        self.iter().map(|name| (*name).to_owned()).collect()
    }
}

#[test]
fn what_is_refused_before_or_is_empty_sends_nothing() {
    let server = Memcached::start(&[]);
    let tap = Tap::start(server.port());
    let store = patient(builder(tap.port)).pool_size(1).connect().unwrap();
    let (long, too_large) = ("k".repeat(251), vec![0; 1 << 20]);
    let (commands, trips) = tap.sees(|| {
        assert!(store.get_many([""; 0]).unwrap().is_empty() && store.delete_many([""; 0]).unwrap().is_empty());
        store.put_many([("", ""); 0]).unwrap();
        for key in ["", "two words", "new\nline", "\u{fc}", &long] {
            assert!(matches!(store.get(key), Err(Error::InvalidKey(_))));
            assert!(matches!(store.put(key, "v"), Err(Error::InvalidKey(_))));
            assert!(matches!(store.delete_many(["k", key]), Err(Error::InvalidKey(_))));
        }
        assert!(matches!(store.put("k", &too_large), Err(Error::ValueTooLarge { .. })));
        assert!(matches!(store.put_many([("a", &[][..]), ("k", &too_large)]), Err(Error::ValueTooLarge { .. })));
        assert!(matches!(store.put_with_ttl("k", "v", Duration::MAX), Err(Error::InvalidTtl { .. })));
        assert!(matches!(store.keys(""), Err(Error::Unsupported { .. })));
    });
    assert_eq!((commands, trips), (vec![], 0));
}

/// What is done, and by how much the counters of the server grow when it is done a hundred times.
type Counted = (&'static str, BTreeMap<String, u64>, fn(&MemcacheStore));

/// As the server counts it.
#[test]
fn a_hundred_operations_are_a_hundred_commands_on_one_connection() {
    let server = Memcached::start(&[]);
    let store = patient(builder(server.port())).pool_size(4).connect().unwrap();
    let mut stats = Stats::of(&server);
    let read = |hit: &'static str| [("cmd_get", 100), (hit, 100)];
    let cases: [Counted; 12] = [
        ("get", counts(read("get_misses")), |store| assert!(store.get("absent").unwrap().is_none())),
        ("put", counts([("cmd_set", 100)]), |store| store.put("k", "v").unwrap()),
        ("create", counts([("cmd_set", 100)]), |store| assert!(!store.create("k", "v").unwrap())),
        ("get, again", counts(read("get_hits")), |store| assert!(store.get("k").unwrap().is_some())),
        ("contains", counts(read("get_hits")), |store| assert!(store.contains("k").unwrap())),
        ("ttl", counts(read("get_hits")), |store| assert!(store.ttl("k").unwrap().is_some())),
        ("touch", counts([("cmd_touch", 100), ("touch_hits", 100)]), |store| {
            assert!(store.touch("k", MINUTES).unwrap());
        }),
        ("copy", counts([("cmd_get", 100), ("get_hits", 100), ("cmd_set", 100)]), |store| {
            store.copy("k", "c").unwrap();
        }),
        ("get_many", counts([("cmd_get", 200), ("get_hits", 100), ("get_misses", 100)]), |store| {
            assert_eq!(store.get_many(["k", "absent"]).unwrap().len(), 2);
        }),
        ("put_many", counts([("cmd_set", 200)]), |store| store.put_many([("k", "v"), ("c", "v")]).unwrap()),
        ("delete_many", counts([("delete_misses", 200)]), |store| {
            assert_eq!(store.delete_many(["no/1", "no/2"]).unwrap(), [false, false]);
        }),
        ("put, delete", counts([("cmd_set", 100), ("delete_hits", 100)]), |store| {
            store.put("k", "v").unwrap();
            assert!(store.delete("k").unwrap());
        }),
    ];
    for (name, expected, act) in cases {
        // No connection more: `total_connections` has not grown.
        assert_eq!(stats.growth(|| (0..100).for_each(|_| act(&store))), expected, "{name}");
    }
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
fn a_server_that_was_restarted_is_read_and_written_at_once() {
    side_by_side(kinds(), |kind| {
        let server = Memcached::start_as(kind, &[]);
        let store = patient(builder_for(&[&server])).pool_size(3).connect().unwrap();
        let stop = |server: &Memcached| server.server().stop().unwrap();
        for end in [Memcached::kill, stop] {
            for writes_first in [false, true] {
                in_three_threads(|| store.put("k", "v").unwrap());
                end(&server);
                server.restart();
                let first = || if writes_first { store.put("new", "v").map(|()| None) } else { store.get("k") };
                for result in in_three_threads(first) {
                    assert_eq!(result.unwrap(), None, "{kind:?}");
                }
                assert_eq!(server.stat("cmd_set"), if writes_first { 3 } else { 0 }, "{kind:?}");
                for Operation { name, run, .. } in operations() {
                    store.put("k", "v").unwrap();
                    run(&store).unwrap_or_else(|error| panic!("{kind:?}, {name}: {error:?}"));
                }
                assert_works(&store);
            }
        }
    });
}

#[test]
fn a_server_that_is_away_is_refused_and_works_when_it_is_back() {
    let server = Memcached::start(&[]);
    let store = patient(builder(server.port())).pool_size(2).connect().unwrap();
    server.kill();
    for Operation { name, run, .. } in operations() {
        // It is known at once that the connection that was there is of no use.
        let error = within(Duration::ZERO, name, || run(&store)).unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{name}: {error:?}");
        assert_eq!(kind_of_cause(&error), Some(io::ErrorKind::ConnectionRefused), "{name}: {error:?}");
        check(&error, &store, name);
    }
    server.restart();
    assert_works(&store);
}

/// Cuts all connections, and waits until that has come to the store, however busy the machine is.
fn cut_and_wait(proxy: &Proxy, cut: Cut) {
    proxy.cut_now(cut);
    thread::sleep(TRAVEL / 4);
}

/// Nothing had been sent on the dead one: each write happens, and once.
#[test]
fn an_idle_connection_that_was_cut_is_noticed_without_a_round_trip() {
    let (server, proxy, store) = one_connection();
    let mut stats = Stats::of(&server);
    for cut in [Cut::Close, Cut::Reset] {
        for Operation { name, run, .. } in SINGLE {
            set(&server, "k", "v");
            store.get("k").unwrap();
            let before = proxy.accepted();
            cut_and_wait(&proxy, cut);
            run(&store).unwrap_or_else(|error| panic!("{name}, {cut:?}: {error:?}"));
            assert_eq!(proxy.accepted(), before + 1, "{name}, {cut:?}");
        }
        set(&server, "k", "v");
        let grown = stats.growth(|| {
            for _ in 0..5 {
                cut_and_wait(&proxy, cut);
                store.put("k", "v").unwrap();
                cut_and_wait(&proxy, cut);
                store.get("k").unwrap();
            }
        });
        assert_eq!(grown, counts([("cmd_set", 5), ("cmd_get", 5), ("get_hits", 5), ("total_connections", 10)]));
    }
}

/// Whenever a connection is cut, a write has happened once, or it is said that this is not known.
#[test]
fn a_write_that_meets_a_cut_happens_once_or_its_outcome_is_unknown() {
    let (server, proxy, store) = one_connection();
    let mut stats = Stats::of(&server);
    let before = stats.get("cmd_set");
    let (mut done, mut unknown) = (0, 0);
    thread::scope(|scope| {
        let cutting = scope.spawn(|| {
            let mut random = Random(seed());
            for number in 0..400 {
                thread::sleep(Duration::from_micros(random.below(4000)));
                proxy.cut_now(if number % 2 == 0 { Cut::Close } else { Cut::Reset });
            }
        });
        while !cutting.is_finished() {
            match store.put("k", "v") {
                Ok(()) => done += 1,
                Err(error) => {
                    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
                    check(&error, &store, "put");
                    unknown += u64::from(error.outcome_unknown());
                }
            }
        }
    });
    let happened = stats.get("cmd_set") - before;
    assert!((done..=done + unknown).contains(&happened), "{happened} writes, {done} done, {unknown} unknown");
    assert!(done > 100, "too little happened: {done}");
    assert_works(&store);
}

/// Which reads are sent once more, and that no write is.
#[test]
fn outcomes_are_unknown_of_writes_that_were_sent_and_of_nothing_else() {
    let (server, proxy, store) = one_connection();
    let mut stats = Stats::of(&server);
    for Operation { name, commands, writes, run } in operations() {
        for cut in [Cut::Close, Cut::Reset] {
            for times in [1, 2, usize::MAX] {
                let what = format!("{name}, {cut:?}, {times} times");
                set(&server, "k", "v");
                store.get("k").unwrap();
                proxy.set(Behaviour::CutAnswer { cut, to: commands[0], times });
                let mut result = None;
                let grown = stats.growth(|| result = Some(run(&store)));
                proxy.pass();
                let result = result.unwrap();
                if !writes && times == 1 {
                    result.expect(&what);
                    assert_eq!(grown["total_connections"], 1, "{what}");
                    continue;
                }
                let error = result.expect_err(&what);
                assert!(matches!(error, Error::Unavailable(_)), "{what}: {error:?}");
                assert_eq!(error.outcome_unknown(), writes, "{what}: {error:?}");
                assert!(error.source().is_some(), "{what}: {error:?}");
                check(&error, &store, name);
                // Of a batch it is a chunk.
                let chunk = commands.iter().filter(|command| **command == commands[0]).count().min(1024);
                let kinds = ["cmd_get", "cmd_set", "cmd_touch", "delete_hits", "delete_misses"];
                let sent: u64 = kinds.iter().filter_map(|kind| grown.get(*kind)).sum();
                let expected = if writes { chunk as u64 } else { 2 * chunk as u64 };
                // What is cut while it sends much may not have come to its end.
                let is_much = chunk > 1 || name == "put of a large value";
                assert!(sent == expected || is_much && sent < expected, "{what}: {sent} commands, {grown:?}");
                assert_eq!(grown.get("total_connections").copied().unwrap_or(0), u64::from(!writes), "{what}");
                assert_works(&store);
            }
        }
    }
}

/// The later steps are about the same key, or the other one.
#[test]
fn the_later_steps_of_a_copy_and_a_rename_fail_as_writes_do() {
    let (server, proxy, store) = one_connection();
    let copy: fn(&MemcacheStore) -> Result<()> = |store| store.copy("k", "to");
    let rename: fn(&MemcacheStore) -> Result<()> = |store| store.rename("k", "to");
    for cut in [Cut::Close, Cut::Reset] {
        for (run, step, key) in [(copy, "ms", "to"), (rename, "ms", "to"), (rename, "md", "k")] {
            set(&server, "k", "v");
            store.delete("to").unwrap();
            store.get("k").unwrap();
            proxy.set(Behaviour::CutAnswer { cut, to: step, times: 1 });
            let error = run(&store).unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)) && error.outcome_unknown(), "{step}: {error:?}");
            assert_eq!(error.key(), Some(key), "{step}: {error:?}");
            check(&error, &store, step);
            assert_eq!(store.get("to").unwrap().unwrap(), "v", "it was written");
            assert_eq!(store.get("k").unwrap().is_none(), step == "md", "{step}");
        }
    }
}

/// A firewall that has forgotten one idle connection has forgotten them all. Each would cost an operation its limit.
#[test]
fn after_a_silent_connection_those_that_were_idle_then_are_not_used_any_more() {
    const CONNECTIONS: u32 = 6;
    let server = Memcached::start(&[]);
    let proxy = Proxy::start(server.port());
    let store = builder(proxy.port()).connect_timeout(PATIENCE).response_timeout(LIMIT + MARGIN);
    let store = store.pool_size(CONNECTIONS).build().unwrap();
    let at_once = || {
        proxy.set(Behaviour::Delay(TRAVEL));
        let barrier = Barrier::new(CONNECTIONS as usize);
        side_by_side(0..CONNECTIONS, |_| {
            barrier.wait();
            store.get("k").unwrap();
        });
    };
    at_once();
    let before = proxy.accepted();
    assert_eq!(before, CONNECTIONS as usize, "each needs one of its own");
    at_once();
    assert_eq!(proxy.accepted(), before, "and finds it");
    proxy.set(Behaviour::HoldReplies);
    let error = store.get("k").unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    at_once();
    assert_eq!(proxy.accepted(), 2 * before, "all have been made anew");
}

#[test]
fn a_read_that_timed_out_is_not_sent_again() {
    let (server, proxy) = start();
    let store = builder(proxy.port()).pool_size(1).build().unwrap();
    warm(&store);
    let mut stats = Stats::of(&server);
    let grown = stats.growth(|| {
        proxy.set(Behaviour::HoldReplies);
        assert!(matches!(store.get("k"), Err(Error::Timeout(_))));
    });
    proxy.pass();
    assert_eq!(grown, counts([("cmd_get", 1), ("get_hits", 1)]));
}

#[test]
fn a_create_never_says_false_of_its_own_entry() {
    let (_server, proxy, store) = one_connection();
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
        let before = store.get(&key).unwrap();
        assert_eq!(store.create(&key, "another").unwrap(), before.is_none(), "{key}");
    }
}

/// N6: neither is a pause of the server, however often.
#[test]
fn a_server_that_stops_and_goes_on_is_used_at_once() {
    let server = Memcached::start(&[]);
    let store = patient(builder(server.port())).pool_size(2).connect().unwrap();
    let mut stats = Stats::of(&server);
    let grown = stats.growth(|| {
        for _ in 0..10 {
            server.pause();
            thread::scope(|scope| {
                let waiting = scope.spawn(|| store.put("k", "v"));
                thread::sleep(Duration::from_millis(20));
                server.resume();
                waiting.join().unwrap().unwrap();
            });
            assert_eq!(store.get("k").unwrap().unwrap(), "v");
        }
    });
    // It had been slow, and no more than that.
    assert_eq!(grown, counts([("cmd_set", 10), ("cmd_get", 10), ("get_hits", 10)]));
}

// E: errors

#[test]
fn an_error_names_key_and_store_and_has_its_cause() {
    let (_server, proxy, store) = one_connection();
    proxy.set(Behaviour::CutAnswer { cut: Cut::Reset, to: "ms", times: 1 });
    let reset = store.put("k", "v").unwrap_err();
    assert_eq!(kind_of_cause(&reset), Some(io::ErrorKind::ConnectionReset), "{reset:?}");
    proxy.set(Behaviour::CutAnswer { cut: Cut::Close, to: "ms", times: 1 });
    let closed = store.put("k", "v").unwrap_err();
    assert_eq!(kind_of_cause(&closed), Some(io::ErrorKind::UnexpectedEof), "{closed:?}");
    let limited = builder(proxy.port()).build().unwrap();
    warm(&limited);
    proxy.set(Behaviour::Hold);
    let late = limited.put("k", "v").unwrap_err();
    assert!(matches!(late, Error::Timeout(_)) && late.to_string().contains(&format!("{LIMIT:?}")), "{late}");
    proxy.pass();
    cut_and_wait(&proxy, Cut::Reset);
    proxy.refuse();
    let refused = store.put("k", "v").unwrap_err();
    assert_eq!(kind_of_cause(&refused), Some(io::ErrorKind::ConnectionRefused), "{refused:?}");
    assert!(!refused.outcome_unknown());
    for error in [reset, closed, late, refused] {
        check(&error, &store, "put");
    }
    proxy.accept();
    assert_works(&store);
}

#[test]
fn a_batch_of_one_key_names_it_and_a_larger_one_names_none() {
    let (_server, proxy, store) = one_connection();
    let one: [fn(&MemcacheStore) -> Result<()>; 3] = [
        |store| store.get_many(["k"]).map(drop),
        |store| store.put_many([("k", "v")]),
        |store| store.delete_many(["k"]).map(drop),
    ];
    let two: [fn(&MemcacheStore) -> Result<()>; 3] = [
        |store| store.get_many(["k", "l"]).map(drop),
        |store| store.put_many([("k", "v"), ("l", "v")]),
        |store| store.delete_many(["k", "l"]).map(drop),
    ];
    for (batches, key) in [(one, Some("k")), (two, None)] {
        for (run, command) in batches.into_iter().zip(["mg", "ms", "md"]) {
            store.get("k").unwrap();
            proxy.set(Behaviour::CutAnswer { cut: Cut::Close, to: command, times: 2 });
            let error = run(&store).unwrap_err();
            proxy.pass();
            assert_eq!(error.key(), key, "{command}: {error:?}");
            assert_eq!(error.to_string().contains("\"k\""), key.is_some(), "{command}: {error}");
            assert_eq!(error.outcome_unknown(), command != "mg", "{command}: {error:?}");
            check(&error, &store, command);
            assert_works(&store);
        }
    }
}

/// What a server does that says who it is, takes some of a request, answers it with this text, and closes the connection.
fn take_some_and_refuse(mut client: impl Read + Write, refusal: &str) {
    let stats = "STAT version 1.6.18\r\nSTAT time 1800000000\r\nEND\r\nSTAT item_size_max 1048576\r\nEND\r\n";
    for answer in [stats, refusal] {
        let read = client.read(&mut [0; 4096]);
        if !matches!(read, Ok(1..)) || client.write_all(answer.as_bytes()).is_err() {
            break;
        }
    }
}

/// What a server refuses has not happened; what else it had been sent, and did not answer, may have.
#[test]
fn a_refusal_before_the_end_of_a_connection_is_told_and_the_rest_is_unknown() {
    const REFUSAL: &str = "SERVER_ERROR out of memory storing object\r\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("refusing.sock");
    let (tcp, unix) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), UnixListener::bind(&path).unwrap());
    let urls = [format!("memcache://{}", tcp.local_addr().unwrap()), format!("memcache://{}", path.display())];
    thread::spawn(move || tcp.incoming().for_each(|client| take_some_and_refuse(client.unwrap(), REFUSAL)));
    thread::spawn(move || unix.incoming().for_each(|client| take_some_and_refuse(client.unwrap(), REFUSAL)));
    // Of this much it does not take all, and over a unix socket it cannot even be sent.
    let large = vec![0; LARGE];
    for url in urls {
        let store = patient(builder(1).url(url)).build().unwrap();
        let error = store.put("k", "v").unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && !error.outcome_unknown(), "{error:?}");
        check(&error, &store, "put");
        let error = store.put("k", &large).unwrap_err();
        assert!(matches!(error, Error::Backend(_) | Error::Unavailable(_)), "{error:?}");
        check(&error, &store, "put of a large value");
        let error = store.get_many(["k", "l"]).unwrap_err();
        assert!(!error.outcome_unknown(), "{error:?}");
        for last in [&b"v"[..], &large] {
            let error = store.put_many([("k", &b"v"[..]), ("l", b"v"), ("m", last)]).unwrap_err();
            assert!(error.outcome_unknown(), "two of three writes were sent and not answered: {error:?}");
        }
    }
}

/// A reader, or a writer, that panics after so many bytes.
struct Panics(usize);

impl Read for Panics {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(self.0 > 0, "as it has to be");
        let length = self.0.min(buffer.len());
        self.0 -= length;
        Ok(length)
    }
}

impl Write for Panics {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(self.0 > 0, "as it has to be");
        self.0 = self.0.saturating_sub(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        panic!("as it has to be")
    }
}

#[test]
fn a_panic_of_the_caller_leaves_the_store_working() {
    let (server, _proxy, store) = one_connection();
    let panics: [fn(&MemcacheStore); 6] = [
        |store| store.put_from("k", Panics(0)).unwrap(),
        |store| store.put_from("k", Panics(100_000)).unwrap(),
        |store| assert_eq!(store.get_into("k", Panics(0)).unwrap(), 1),
        |store| assert_eq!(store.get_into("k", Panics(1)).unwrap(), 1),
        |store| store.put_many((0..10).map(|number| (assert_ne!(number, 5), "v")).map(|_| ("k", "v"))).unwrap(),
        |store| drop(store.get_many((0..10).map(|number| format!("k/{}", 1 / (5 - number)))).unwrap()),
    ];
    for panic in panics.into_iter().cycle().take(24) {
        assert!(catch_unwind(AssertUnwindSafe(|| panic(&store))).is_err());
        assert_eq!(store.get("k").unwrap().unwrap(), "v", "what was there is still there");
        assert_works(&store);
    }
    drop(server);
}

/// A caller that uses the store while it gives values to it does not wait for itself, even on one connection.
#[test]
fn a_caller_may_use_the_store_within_a_batch_or_a_reader() {
    struct Copies<'a>(&'a MemcacheStore, usize);

    impl Read for Copies<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 += 1;
            let value = self.0.get("k").unwrap().unwrap();
            let length = if self.1 > 3 { 0 } else { value.len() };
            buffer[..length].copy_from_slice(&value[..length]);
            Ok(length)
        }
    }

    let (_server, _proxy, store) = one_connection();
    store.put_from("copies", Copies(&store, 0)).unwrap();
    assert_eq!(store.get("copies").unwrap().unwrap(), "vvv");
    store.put_many((0..5).map(|number| (format!("copy/{number}"), store.get("k").unwrap().unwrap()))).unwrap();
    let read = store.get_many((0..5).map(|number| {
        assert_eq!(store.get("k").unwrap().unwrap(), "v");
        format!("copy/{number}")
    }));
    assert_eq!(read.unwrap().into_iter().flatten().collect::<Vec<_>>(), ["v"; 5]);
}

// Several servers

#[test]
fn of_several_servers_those_that_live_do_all_that_is_theirs() {
    for kind in transports() {
        let servers: Vec<_> = (0..3).map(|_| Memcached::start_as(kind, &[])).collect();
        let all: Vec<_> = servers.iter().collect();
        let store = patient(builder_for(&all)).pool_size(2).connect().unwrap();
        let keys: Vec<_> = (0..300).map(|number| format!("key/{number}")).collect();
        for (number, dead) in servers.iter().enumerate() {
            let entries = |write| keys.iter().map(move |key| (key, value(key, write, 5)));
            store.put_many(entries(1)).unwrap();
            let of_dead: BTreeSet<_> = {
                let mut connection = dead.connection();
                keys.iter().filter(|key| fetch(&mut connection, key).is_some()).collect()
            };
            assert!(of_dead.len() > 30 && of_dead.len() < 200, "{} of {}", of_dead.len(), keys.len());
            dead.kill();
            let what = format!("{kind:?}, server {number}");
            let name = dead.url().split("://").nth(1).unwrap().to_owned();
            for key in &keys {
                let result = within(Duration::ZERO, &what, || store.get(key));
                if of_dead.contains(key) {
                    let error = result.unwrap_err();
                    assert!(matches!(error, Error::Unavailable(_)), "{what}: {error:?}");
                    assert_eq!(error.key(), Some(key.as_str()), "{what}: {error:?}");
                    assert!(error.to_string().contains(&name), "{what}: {error} does not name {name}");
                    check(&error, &store, "get of many");
                    let error = within(Duration::ZERO, &what, || store.put(key, "v")).unwrap_err();
                    assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{what}: {error:?}");
                } else {
                    assert_eq!(parse(&result.unwrap().unwrap()), (key.clone(), 1), "{what}");
                }
            }
            let fails = |result: Result<()>| {
                let error = result.expect_err(&what);
                assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{what}: {error:?}");
                assert!(error.to_string().contains(&name), "{what}: {error} does not name {name}");
                check(&error, &store, "get_many");
            };
            let live = |key: &&String| !of_dead.contains(key);
            fails(within(Duration::ZERO, &what, || store.put_many(entries(2))));
            for key in keys.iter().filter(live) {
                assert_eq!(parse(&store.get(key).unwrap().unwrap()), (key.clone(), 2), "{what}");
            }
            fails(within(Duration::ZERO, &what, || store.get_many(&keys).map(drop)));
            let read = store.get_many(keys.iter().filter(live)).unwrap();
            assert!(read.iter().all(Option::is_some), "{what}");
            fails(within(Duration::ZERO, &what, || store.delete_many(&keys).map(drop)));
            for key in keys.iter().filter(live) {
                assert_eq!(store.get(key).unwrap(), None, "{what}");
            }
            dead.restart();
            // At once, with connections to two that live, and with one that is dead.
            store.put_many(entries(3)).unwrap();
            for (key, value) in keys.iter().zip(store.get_many(&keys).unwrap()) {
                assert_eq!(parse(&value.unwrap()), (key.clone(), 3), "{what}");
            }
            assert!(store.delete_many(&keys).unwrap().into_iter().all(|was| was), "{what}");
            assert_works(&store);
        }
    }
}

/// One that nothing was sent to does not hide another of which nothing is known.
#[test]
fn of_the_errors_of_several_servers_one_whose_outcome_is_unknown_is_told() {
    let dead = Memcached::start(&[]);
    dead.kill();
    let (server, proxy) = start();
    let mut urls = [dead.url(), format!("memcache://127.0.0.1:{}", proxy.port())];
    for _ in 0..2 {
        let store = patient(settings(MemcacheStore::builder()).servers(&urls)).pool_size(1).build().unwrap();
        let mut stats = Stats::of(&server);
        for (Operation { name, writes, run, .. }, command) in BATCH.into_iter().zip(["mg", "ms", "md"]) {
            proxy.set(Behaviour::CutAnswer { cut: Cut::Close, to: command, times: usize::MAX });
            let mut result = None;
            let grown = stats.growth(|| result = Some(run(&store)));
            proxy.pass();
            let error = result.unwrap().unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)), "{urls:?}, {name}: {error:?}");
            assert_eq!(error.outcome_unknown(), writes, "{urls:?}, {name}: {grown:?}, {error:?}");
            check(&error, &store, name);
        }
        urls.reverse();
    }
}

/// The connections to one are not those to another, nor are their faults.
#[test]
fn a_server_that_is_silent_costs_the_others_nothing() {
    let servers: Vec<_> = (0..3).map(|_| Memcached::start(&[])).collect();
    let store = builder_for(&servers.iter().collect::<Vec<_>>()).pool_size(1).build().unwrap();
    let keys: Vec<_> = (0..60).map(|number| format!("key/{number}")).collect();
    wait_until(|| store.put_many(keys.iter().map(|key| (key, "v"))).map_err(|error| error.to_string()));
    let mut connection = servers[1].connection();
    let (silent, others): (Vec<_>, Vec<_>) = keys.iter().partition(|key| fetch(&mut connection, key).is_some());
    servers[1].pause();
    let error = within(LIMIT, "get", || store.get(silent[0])).unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    thread::scope(|scope| {
        for key in &silent[..3] {
            scope.spawn(|| {
                // One of them has the place in the pool, and the others wait for it.
                let error = within(2 * LIMIT, "get", || store.get(*key)).unwrap_err();
                check(&error, &store, "get of silent");
            });
        }
        for _ in 0..20 {
            for key in &others {
                let (value, took) = support::timed(|| store.get(*key));
                assert_eq!(value.unwrap().unwrap(), "v");
                assert!(took < LIMIT, "{took:?}");
            }
        }
    });
    servers[1].resume();
    wait_until(|| store.get(silent[0]).map_err(|error| error.to_string()));
    assert_eq!(store.get_many(&keys).unwrap().into_iter().flatten().count(), keys.len());
}

// Large batches

#[test]
fn a_batch_whose_replies_are_large_does_not_wait_for_itself() {
    const LENGTH: usize = 100 * 1024;
    let keys: Vec<_> = (0..2000).map(|number| format!("{number:x<250}")).collect();
    let value = |key: &str| format!("{key}{}", ".".repeat(LENGTH - 250));
    for kind in transports().into_iter().filter(|kind| *kind != Kind::Tcp) {
        let server = Memcached::start_as(kind, &["-m", "1024"]);
        let store = patient(builder_for(&[&server])).pool_size(1).connect().unwrap();
        store.put_many(keys.iter().map(|key| (key, value(key)))).unwrap();
        // A server with TLS has a port without, too.
        let plain = (kind != Kind::Unix).then(|| patient(builder(server.port())).pool_size(1).connect().unwrap());
        for store in [Some(store), plain].into_iter().flatten() {
            let read = store.get_many(&keys).unwrap();
            assert_eq!(read.len(), keys.len());
            for (key, read) in keys.iter().zip(read) {
                assert!(read.unwrap() == value(key), "{kind:?}: another value for {key}");
            }
            assert_works(&store);
        }
    }
}

/// A memcached before 1.6.39 forgets what it has decrypted and not read: it then waits for what it has.
#[cfg(feature = "tls")]
#[test]
fn a_batch_of_values_of_all_sizes_through_tls_does_not_wait_for_ever() {
    let mut random = Random(seed());
    let server = Memcached::start_as(Kind::Tls { with_certificate: false }, &["-m", "256"]);
    let limit = |builder: MemcacheStoreBuilder| builder.response_timeout(PATIENCE / 2);
    let store = limit(patient(builder_for(&[&server]))).pool_size(1).connect().unwrap();
    let plain = patient(builder(server.port())).connect().unwrap();
    for round in 0..12 {
        let entries: Vec<_> = (0..300)
            .map(|number| {
                let size = match (round + random.size(4)) % 4 {
                    0 => 1 + random.size(60 * 1024),
                    1 => 1 + random.size(200),
                    // About the length of a record, and of what the server reads at once.
                    2 => 16 * 1024 - 60 + random.size(80),
                    _ => 1 + random.size(20 * 1024),
                };
                let byte = u8::try_from(number % 251).unwrap();
                (format!("{}/{number}", "k".repeat(1 + random.size(200))), vec![byte; size])
            })
            .collect();
        store
            .put_many(entries.iter().map(|(key, value)| (key, value)))
            .unwrap_or_else(|error| panic!("{round}: {error}"));
        for store in [&store, &plain] {
            let read = store.get_many(entries.iter().map(|(key, _)| key)).unwrap();
            for ((key, value), read) in entries.iter().zip(read) {
                assert!(read.unwrap() == value, "another value for {key}");
            }
        }
        assert!(store.delete_many(entries.iter().map(|(key, _)| key)).unwrap().into_iter().all(|was| was));
    }
    // One by one, at the lengths where records begin and end.
    for size in [1, 2, 3].into_iter().flat_map(|records| (records * 16384 - 100..records * 16384 + 40).step_by(7)) {
        let value = vec![7; size];
        store.put("k", &value).unwrap();
        assert!(store.get("k").unwrap().unwrap() == value, "{size}");
    }
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

/// The seed of `KV_SEED`, or another one each time; shown when the test fails.
fn seed() -> u64 {
    let given = std::env::var("KV_SEED").ok().map(|seed| seed.parse().expect("KV_SEED is a number"));
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one("seed"));
    println!("KV_SEED={seed}");
    seed
}

/// The number of a write, or that there is no entry.
type Written = Option<u64>;

/// What a key of a thread can hold: what the last write that was answered left, or what one has left since the beginning of
/// the round whose outcome is unknown: a network may bring it at any time.
#[derive(Debug, Default)]
struct Known {
    sure: Written,
    doubtful: Vec<Written>,
}

impl Known {
    fn allows(&self, write: Written) -> bool {
        self.sure == write || self.doubtful.contains(&write)
    }

    fn may_be_there(&self) -> bool {
        self.sure.is_some() || self.doubtful.iter().any(Option::is_some)
    }

    fn may_be_absent(&self) -> bool {
        self.allows(None)
    }

    fn wrote<T>(&mut self, result: &Result<T>, write: Written) {
        match result {
            Ok(_) => self.sure = write,
            Err(error) if error.outcome_unknown() => self.doubtful.push(write),
            Err(_) => {}
        }
    }
}

/// A thread's keys, which nobody else writes.
struct Actor<'a> {
    store: &'a MemcacheStore,
    random: Random,
    /// How many actors there are.
    of: u64,
    keys: Vec<(String, Known)>,
    writes: u64,
    /// Of one operation.
    limit: Duration,
    /// How many operations succeeded, and how many did not.
    done: [usize; 2],
}

impl<'a> Actor<'a> {
    fn new(store: &'a MemcacheStore, number: u64, of: u64, seed: u64, limit: Duration) -> Self {
        let keys = (0..5).map(|key| (format!("{number}/{key}"), Known::default())).collect();
        let random = Random(seed ^ number.wrapping_mul(0x1234_5677));
        Self { store, random, of, keys, writes: 0, limit, done: [0, 0] }
    }

    fn value(key: &str, write: u64, is_long: bool) -> String {
        value(key, write, if is_long { 40_000 } else { usize::try_from(write % 200).unwrap() })
    }

    fn check_value(key: &str, known: &Known, value: Option<&[u8]>) {
        let write = value.map(|value| {
            let (of, write) = parse(value);
            assert_eq!(of, key, "another one's reply");
            assert!(
                [false, true].map(|long| Self::value(key, write, long).len()).contains(&value.len()),
                "half a value"
            );
            write
        });
        assert!(known.allows(write), "{key} is {write:?}, and can be {known:?}");
    }

    /// Does something, at random, and looks whether it can be so.
    fn act(&mut self) {
        let store = self.store;
        let at = self.random.size(self.keys.len());
        let what = self.random.below(13);
        self.writes += 1;
        let write = self.writes;
        let is_long = self.random.below(20) == 0;
        let of_another = format!("{}/{}", self.random.below(self.of), self.random.below(5));
        let (key, known) = &mut self.keys[at];
        let key = key.as_str();
        let (there, absent) = (known.may_be_there(), known.may_be_absent());
        let begin = Instant::now();
        let result = match what {
            0..=2 => store.get(key).map(|value| Self::check_value(key, known, value.as_deref())),
            3 | 4 => {
                let result = store.put(key, Self::value(key, write, is_long));
                known.wrote(&result, Some(write));
                result
            }
            5 => {
                let result = store.create(key, Self::value(key, write, is_long));
                match &result {
                    Ok(false) => assert!(there, "{key} was not created, and was {known:?}"),
                    Ok(true) => assert!(absent, "{key} was created, and was {known:?}"),
                    Err(_) => {}
                }
                if !matches!(result, Ok(false)) {
                    known.wrote(&result, Some(write));
                }
                result.map(drop)
            }
            6 => {
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
                let entries = self.keys[..=at].iter().map(|(key, _)| (key, Self::value(key, write, false)));
                let result = store.put_many(entries);
                for (_, known) in &mut self.keys[..=at] {
                    known.wrote(&result, Some(write));
                }
                result
            }
            9 => {
                let result = store.delete_many(self.keys[..=at].iter().map(|(key, _)| key));
                for (number, (key, known)) in self.keys[..=at].iter_mut().enumerate() {
                    if let Ok(deleted) = &result {
                        let can_be = if deleted[number] { known.may_be_there() } else { known.may_be_absent() };
                        assert!(can_be, "deleted {key}: {}, and it was {known:?}", deleted[number]);
                    }
                    known.wrote(&result, None);
                }
                result.map(drop)
            }
            10 => store.ttl(key).map(|left| {
                assert!(if left.is_some() { there } else { absent }, "{key} has {left:?}, and can be {known:?}");
            }),
            11 => store.touch(key, MINUTES * 100).map(|touched| {
                assert!(if touched { there } else { absent }, "touched {key}: {touched}, and it can be {known:?}");
            }),
            _ => store.get(&of_another).map(|value| {
                if let Some(value) = value {
                    assert_eq!(parse(&value).0, of_another, "another one's reply");
                }
            }),
        };
        let took = begin.elapsed();
        assert!(took <= self.limit + MARGIN, "operation {what} took {took:?}: {result:?}");
        self.done[usize::from(result.is_err())] += 1;
        if let Err(error) = result {
            check(&error, store, "");
            let writes = matches!(what, 3..=6 | 8 | 9 | 11);
            assert!(error.outcome_unknown() <= writes, "operation {what}: {error:?}");
        }
    }

    /// Looks at what is there, after which nothing is doubtful.
    fn settle(&mut self, connection: &mut Connection) {
        for (key, known) in &mut self.keys {
            let value = fetch(connection, key);
            Self::check_value(key, known, value.as_deref().map(str::as_bytes));
            *known = Known { sure: value.map(|value| parse(value.as_bytes()).1), doubtful: Vec::new() };
        }
    }
}

/// Lets all actors act while something is done.
fn while_they_act(actors: &mut [Actor<'_>], mut act: impl FnMut(&dyn Fn() -> bool)) {
    let is_over = AtomicBool::new(false);
    let panicked = AtomicUsize::new(0);
    thread::scope(|scope| {
        for actor in actors {
            scope.spawn(|| {
                let result = catch_unwind(AssertUnwindSafe(|| {
                    while !is_over.load(SeqCst) {
                        actor.act();
                    }
                }));
                panicked.fetch_add(usize::from(result.is_err()), SeqCst);
            });
        }
        // If one has panicked, the others are not to wait for it; nor for this one.
        let result = catch_unwind(AssertUnwindSafe(|| act(&|| panicked.load(SeqCst) == 0)));
        is_over.store(true, SeqCst);
        result.unwrap_or_else(|panic| resume_unwind(panic));
    });
    assert_eq!(panicked.load(SeqCst), 0, "threads have panicked");
}

/// What the server has got, it has done when this returns.
fn settle(stats: &mut Stats, others: u64, proxy: &Proxy, server: &Memcached, actors: &mut [Actor<'_>]) {
    // What was held may have been passed only now; after this, all has come that will.
    proxy.cut_now(Cut::Reset);
    wait_until(|| match stats.get("curr_connections") {
        now if now <= others => Ok(()),
        now => Err(format!("there are {now} connections, and without the store's {others}")),
    });
    let mut connection = server.connection();
    for actor in actors {
        actor.settle(&mut connection);
    }
}

#[test]
fn sixty_four_threads_on_four_connections_that_are_cut_read_what_is_theirs() {
    let seed = seed();
    let (server, proxy) = start();
    let store = patient(builder(proxy.port())).pool_size(4).build().unwrap();
    let mut actors: Vec<_> = (0..64).map(|number| Actor::new(&store, number, 64, seed, PATIENCE)).collect();
    let mut random = Random(seed);
    let mut stats = Stats::of(&server);
    let others = stats.connections();
    for _ in 0..2 {
        while_they_act(&mut actors, |goes_on| {
            let end = Instant::now() + Duration::from_secs(2);
            while Instant::now() < end && goes_on() {
                let cut = if random.below(2) == 0 { Cut::Close } else { Cut::Reset };
                let of = if random.below(2) == 0 { Direction::Requests } else { Direction::Replies };
                match random.below(5) {
                    0 => proxy.cut_now(cut),
                    1 => proxy.set(Behaviour::CutAnswer { cut, to: "ms ", times: 1 + random.size(3) }),
                    _ => proxy.set(Behaviour::CutAfter { cut, of, bytes: random.size(4000) }),
                }
                thread::sleep(random.millis(20));
            }
            proxy.pass();
        });
        settle(&mut stats, others, &proxy, &server, &mut actors);
        assert_works(&store);
    }
    let [succeeded, failed] = actors.iter().fold([0, 0], |[ok, err], actor| [ok + actor.done[0], err + actor.done[1]]);
    println!("{succeeded} operations succeeded, {failed} failed");
    assert!(succeeded > 1000 && failed > 10, "too little happened: {succeeded}, {failed}");
}

#[test]
fn sixty_four_threads_on_four_connections_have_no_error_and_no_fifth_one() {
    let seed = seed();
    for kind in transports() {
        let server = Memcached::start_as(kind, &[]);
        let mut stats = Stats::of(&server);
        let (others, before) = (stats.connections(), stats.get("total_connections"));
        let store = patient(builder_for(&[&server])).pool_size(4).build().unwrap();
        let mut actors: Vec<_> = (0..64).map(|number| Actor::new(&store, number, 64, seed, PATIENCE)).collect();
        let mut most = 0;
        while_they_act(&mut actors, |goes_on| {
            let end = Instant::now() + Duration::from_secs(1);
            while Instant::now() < end && goes_on() {
                most = most.max(stats.get("curr_connections").saturating_sub(others));
            }
        });
        assert!((1..=4).contains(&most), "{kind:?}: {most} connections");
        assert!(stats.get("total_connections") - before <= 4, "{kind:?}");
        let failed: usize = actors.iter().map(|actor| actor.done[1]).sum();
        let succeeded: usize = actors.iter().map(|actor| actor.done[0]).sum();
        println!("{kind:?}: {succeeded} operations");
        assert!(failed == 0 && succeeded > 100, "{kind:?}: {succeeded} operations, {failed} failed");
    }
}

#[test]
fn whatever_the_network_does_nobody_gets_another_one_s_reply() {
    let seed = seed();
    let (server, proxy) = start();
    // A connection that is there, and one that is made.
    let limit = 4 * LIMIT;
    let mut random = Random(seed);
    let mut stats = Stats::of(&server);
    let others = stats.connections();
    for pool_size in [1, 3] {
        let store = builder(proxy.port()).pool_size(pool_size).build().unwrap();
        assert_eq!(server.connection().ask(b"flush_all\r\n").unwrap(), "OK");
        let mut actors: Vec<_> = (0..5).map(|number| Actor::new(&store, number, 5, seed, limit)).collect();
        for _ in 0..4 {
            while_they_act(&mut actors, |goes_on| {
                for _ in 0..8 {
                    if !goes_on() {
                        break;
                    }
                    fault_at_random(&mut random, &server, &proxy);
                    // Some take longer than the limits.
                    let longest = if random.below(4) == 0 { 800 } else { 100 };
                    thread::sleep(random.millis(longest));
                    server.resume();
                    proxy.accept();
                    if random.below(2) == 0 {
                        proxy.pass();
                        thread::sleep(random.millis(40));
                    }
                }
                proxy.pass();
            });
            wait_until(|| store.get("k").map_err(|error| error.to_string()));
            settle(&mut stats, others, &proxy, &server, &mut actors);
        }
        let [succeeded, failed] =
            actors.iter().fold([0, 0], |[ok, err], actor| [ok + actor.done[0], err + actor.done[1]]);
        println!("{succeeded} operations succeeded, {failed} failed");
        assert!(succeeded > 100 && failed > 0, "too little happened: {succeeded}, {failed}");
    }
}

fn fault_at_random(random: &mut Random, server: &Memcached, proxy: &Proxy) {
    let cut = if random.below(2) == 0 { Cut::Close } else { Cut::Reset };
    let of = if random.below(2) == 0 { Direction::Requests } else { Direction::Replies };
    // Replies alone: what a server says first is checked elsewhere.
    let edit_reply = |change: fn(&mut Vec<u8>)| {
        edit(move |piece| {
            if piece.len() < 8192
                && [&b"VA "[..], b"HD ", b"EN ", b"NS ", b"NF "].iter().any(|rc| piece.starts_with(rc))
            {
                change(piece);
            }
        })
    };
    match random.below(15) {
        0 => proxy.set(Behaviour::Delay(random.millis(400))),
        1 => proxy.set(Behaviour::Hold),
        2 => proxy.set(Behaviour::HoldReplies),
        3 => proxy.set(Behaviour::Split(random.millis(20))),
        4 => proxy.set(Behaviour::Split(Duration::ZERO)),
        5 | 6 => proxy.set(Behaviour::CutAfter { cut, of, bytes: random.size(400) }),
        7 => proxy.set(Behaviour::CutAnswer { cut, to: "ms ", times: 1 + random.size(5) }),
        8 => proxy.set(Behaviour::Truncate { bytes: random.size(100) }),
        9 => proxy.set(edit_reply(|piece| piece[0] = b'?')),
        10 => proxy.set(edit_reply(|piece| piece.extend_from_slice(b"VA 5 O1\r\nwrong\r\n"))),
        11 => proxy.set(edit_reply(|piece| {
            let (at, tag) = (tag_in(piece), tag_of(piece));
            piece.splice(at, (tag - 1).to_string().into_bytes());
        })),
        12 => server.pause(),
        13 => proxy.refuse(),
        _ => proxy.cut_now(cut),
    }
}
