//! Compares the store with bare sockets and with the client of the crate `memcache`, on servers that this starts:
//! `cargo bench -p kv-memcache`; with `--all-features` over TLS, too.

#[cfg(feature = "tokio")]
mod asynchronous;

use std::error::Error as StdError;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kv_conformance::bench::{Bench, Row, together};
use kv_conformance::server::{Sandbox, Server};
use kv_memcache::{KeyValueStoreExt, MemcacheStore, MemcacheStoreBuilder};

type Error = Box<dyn StdError + Send + Sync>;
type Result<T = ()> = std::result::Result<T, Error>;

/// How many bytes a bare socket reads at once.
const BUFFER: usize = 16 * 1024;

const SOCKET: &str = "memcached.sock";

fn main() -> Result {
    let mut bench = Bench::from_args("kv-memcache");
    let server = start(|sandbox| vec![format!("--listen=127.0.0.1:{}", sandbox.port())], tcp)?;
    let (url, connect) = (format!("memcache://127.0.0.1:{}", server.sandbox().port()), || tcp(server.sandbox()));
    let store = patient().url(&url).connect()?;
    bench.section("One thread, TCP");
    beside_a_bare_socket(&mut bench, "", &store, connect)?;
    beside_the_client(&mut bench, &store, &url)?;
    threads(&mut bench, &url, connect)?;
    drop(store);
    #[cfg(feature = "tokio")]
    asynchronous::compare(&mut bench, server.sandbox(), &url)?;

    let unix = |sandbox: &Sandbox| Ok(UnixStream::connect(sandbox.dir().join(SOCKET))?);
    let server = start(|_| vec![format!("--unix-socket={SOCKET}")], unix)?;
    let store = patient().url(format!("memcache://{}", server.sandbox().dir().join(SOCKET).display())).connect()?;
    bench.section("One thread, a unix socket");
    beside_a_bare_socket(&mut bench, ", unix", &store, || unix(server.sandbox()))?;

    #[cfg(feature = "tls")]
    tls::beside_rustls(&mut bench)?;
    bench.finish()
}

/// A builder with limits so long that nothing fails because the machine is busy.
fn patient() -> MemcacheStoreBuilder {
    let patience = Duration::from_secs(20);
    MemcacheStore::builder().pool_timeout(patience).connect_timeout(patience).response_timeout(patience)
}

fn start<S: Read + Write>(
    listen: impl Fn(&Sandbox) -> Vec<String> + Send + Sync + 'static,
    connect: impl Fn(&Sandbox) -> Result<S> + Send + Sync + 'static,
) -> Result<Server> {
    // It runs as root only if the user is named. With one thread, that thread serves all compared connections.
    let always = ["--user=root", "--memory-limit=256", "--max-item-size=2m", "--threads=1"].map(str::to_owned);
    server()
        .args(move |sandbox| [listen(sandbox), always.to_vec()].concat())
        .ready(move |sandbox, pid| {
            let mut reader = BufReader::new(connect(sandbox)?);
            reader.get_mut().write_all(b"stats\r\n")?;
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim_end() == format!("STAT pid {pid}") { Ok(()) } else { Err("another server answers".into()) }
        })
        .start()
}

fn server() -> kv_conformance::server::ServerBuilder {
    Server::builder("memcached").debian_package("memcached")
}

fn tcp(sandbox: &Sandbox) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", sandbox.port()))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The cheapest possible exchange: a prepared command, and a reply of known length.
struct Bare<S> {
    stream: S,
    command: Vec<u8>,
    length: usize,
    buffer: Vec<u8>,
}

impl<S: Read + Write> Bare<S> {
    fn new(mut stream: S, command: impl Into<Vec<u8>>, reply: &[u8]) -> Result<Self> {
        let (command, mut received) = (command.into(), vec![0; reply.len()]);
        stream.write_all(&command)?;
        stream.read_exact(&mut received)?;
        if received == reply {
            Ok(Self { stream, command, length: reply.len(), buffer: vec![0; BUFFER] })
        } else {
            Err(format!("the reply is {}", String::from_utf8_lossy(&received)).into())
        }
    }

    fn get(stream: S, value: &[u8]) -> Result<Self> {
        let head = format!("VA {} O1\r\n", value.len());
        Self::new(stream, "mg key v O1\r\n", &[head.as_bytes(), value, b"\r\n"].concat())
    }

    fn put(stream: S, value: &[u8]) -> Result<Self> {
        let head = format!("ms key {} O1 T0\r\n", value.len());
        Self::new(stream, [head.as_bytes(), value, b"\r\n"].concat(), b"HD O1\r\n")
    }

    fn exchange(&mut self) -> Result {
        self.stream.write_all(&self.command)?;
        let mut received = 0;
        while received < self.length {
            match self.stream.read(&mut self.buffer)? {
                0 => return Err("the server closed the connection".into()),
                bytes => received += bytes,
            }
        }
        Ok(())
    }
}

/// The first two have goals. How long the kernel takes to copy a large value may depend on where the value begins in its memory page, and on the
/// length of what is sent before it. Both are accidental, and differ between our store and a bare socket.
const SIZES: [(usize, &str); 6] =
    [(100, "100 B"), (100_000, "100 kB"), (0, "0 B"), (1000, "1 kB"), (10_000, "10 kB"), (1_000_000, "1 MB")];

fn beside_a_bare_socket<S: Read + Write>(
    bench: &mut Bench,
    on: &str,
    store: &MemcacheStore,
    connect: impl Fn() -> Result<S>,
) -> Result {
    for (size, shown) in SIZES {
        let value = vec![b'v'; size];
        let row = |what| {
            let row = Row::new(format!("{what}, {shown}{on}")).beside("a bare socket");
            if on.is_empty() && [100, 100_000].contains(&size) { row.at_most(1.15).rounds(31) } else { row }
        };
        store.put("key", &value)?;
        let mut bare = Bare::get(connect()?, &value)?;
        bench.compare(row("get"), || store.get("key"), || bare.exchange())?;
        let mut bare = Bare::put(connect()?, &value)?;
        bench.compare(row("put"), || store.put("key", &value), || bare.exchange())?;
    }
    let row = |what| Row::new(format!("{what}{on}")).beside("a bare socket");
    store.put("key", "value")?;
    let month = Duration::from_secs(60 * 60 * 24 * 30 - 2);
    let mut bare = Bare::new(connect()?, "mg key O1 T2592000\r\n", b"HD O1\r\n")?;
    bench.compare(row("touch"), || store.touch("key", month), || bare.exchange())?;
    let updates = |what| if on.is_empty() { row(what).at_most(1.15).rounds(31) } else { row(what) };
    let hour = Duration::from_secs(60 * 60 - 2);
    let mut bare = Bare::new(connect()?, "mg key v O1 T3600\r\n", b"VA 5 O1\r\nvalue\r\n")?;
    bench.compare(updates("get_and_touch"), || store.get_and_touch("key", hour), || bare.exchange())?;
    // By 0, so that the replies have the same length.
    store.put("counter", "12345")?;
    let mut bare = Bare::new(connect()?, "ma counter N3600 J0 D0 v O1\r\n", b"VA 5 O1\r\n12345\r\n")?;
    bench.compare(updates("increment"), || store.increment("counter", 0, hour), || bare.exchange())?;
    let mut bare = Bare::new(connect()?, "mg absent v c O1\r\n", b"EN O1\r\n")?;
    bench.compare(updates("take, key is absent"), || store.take("absent"), || bare.exchange())?;
    let (_, version) = store.get_versioned("counter")?.ok_or("the counter is absent")?;
    store.put("counter", "12345")?;
    let mut bare = Bare::new(connect()?, "ms counter 5 C1 c O1 T3600\r\nvalue\r\n", b"EX c0 O1\r\n")?;
    bench.compare(
        updates("put_if, key has changed"),
        || store.put_if("counter", "value", hour, &version),
        || bare.exchange(),
    )?;
    let mut bare = Bare::new(connect()?, "ms key 5 ME O1 T0\r\nvalue\r\n", b"NS O1\r\n")?;
    bench.compare(row("create, key exists"), || store.create("key", "value"), || bare.exchange())?;
    store.put("key", "value")?;
    let mut bare = Bare::new(connect()?, "mg key t O1\r\n", b"HD t-1 O1\r\n")?;
    bench.compare(row("ttl"), || store.ttl("key"), || bare.exchange())?;
    let mut bare = Bare::new(connect()?, "md none O1\r\n", b"NF O1\r\n")?;
    bench.compare(row("delete, key absent"), || store.delete("none"), || bare.exchange())
}

fn beside_the_client(bench: &mut Bench, store: &MemcacheStore, url: &str) -> Result {
    let client = memcache::Client::connect(url)?;
    let value = vec![b'v'; 100];
    store.put("key", &value)?;
    let row = |what: &str| Row::new(what).beside("memcache::Client").at_most(0.60);
    bench.compare(row("get, 100 B"), || store.get("key"), || client.get::<Vec<u8>>("key"))?;
    bench.compare(row("put, 100 B"), || store.put("key", &value), || client.set("key", value.as_slice(), 0))?;

    bench.section("Growth: batches, 100 B, of each key");
    for count in [1, 10, 100, 1000, 10_000, 100_000] {
        let keys = (0..count).map(|number| format!("key:{number}")).collect::<Vec<_>>();
        let names = keys.iter().map(String::as_str).collect::<Vec<_>>();
        let row = |what: &str, beside: &str, goal| {
            let row = Row::new(format!("{what} of {count}")).beside(beside).operations(count);
            let row = if count > 10_000 { row.rounds(5) } else { row };
            if count == 1000 { row.at_most(goal) } else { row }
        };
        let put_many = || store.put_many(keys.iter().map(|key| (key, &value)));
        put_many()?;
        let ours = || {
            let is_there = store.get_many(&keys)?.iter().all(Option::is_some);
            if is_there { Ok(()) } else { Err(Error::from("a key is missing")) }
        };
        bench.compare(row("get_many", "memcache::Client::gets", 1.0), ours, || client.gets::<Vec<u8>>(&names))?;
        let one_by_one = || names.iter().try_for_each(|name| client.set(name, value.as_slice(), 0));
        if count < 10_000 {
            bench.compare(row("put_many", "sets one by one", 0.05), put_many, one_by_one)?;
        }
    }
    Ok(())
}

/// Threads that share a store, compared with bare sockets: as many as the pool has, with one thread each.
fn threads<S: Read + Write + Send>(bench: &mut Bench, url: &str, connect: impl Fn() -> Result<S>) -> Result {
    const ALL: u32 = 3200;
    let value = vec![b'v'; 100];
    bench.section("Threads: gets of 100 B, of each");
    for pool in [1, 4, 16] {
        let store = patient().url(url).pool_size(pool).connect()?;
        store.put("key", &value)?;
        for threads in [1, 4, 16, 64] {
            let each = ALL / threads;
            let peers = threads.min(pool);
            let mut bare = (0..peers).map(|_| Bare::get(connect()?, &value)).collect::<Result<Vec<_>>>()?;
            let mut stores = (0..threads).map(|_| &store).collect::<Vec<_>>();
            let some = if threads == 1 { "thread" } else { "threads" };
            let row = Row::new(format!("{threads} {some}, a pool of {pool}"))
                .beside(format!("{peers} bare, a thread each"))
                .operations(ALL);
            let row = if (threads, pool) == (16, 16) { row.at_most(1.2) } else { row.rounds(9) };
            bench.compare_timed(
                row,
                || together(&mut stores, |store| (0..each).try_for_each(|_| store.get("key").map(drop))),
                || together(&mut bare, |bare| (0..ALL / peers).try_for_each(|_| bare.exchange())),
            )?;
        }
    }
    Ok(())
}

#[cfg(feature = "tls")]
mod tls {
    use std::fs;
    use std::net::TcpStream;
    use std::sync::Arc;

    use kv_conformance::bench::Bench;
    use kv_conformance::server::Sandbox;
    use kv_memcache::Tls;
    use rustls::crypto::ring;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::{Result, beside_a_bare_socket, patient, server};

    pub(super) fn beside_rustls(bench: &mut Bench) -> Result {
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (certificate, key) = (cert.pem(), signing_key.serialize_pem());
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone())?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);

        let tls = Tls::new().certificate_authority(certificate.as_bytes());
        let server = server()
            .prepare(move |sandbox| {
                fs::write(sandbox.dir().join("certificate.pem"), &certificate)?;
                Ok(fs::write(sandbox.dir().join("key.pem"), &key)?)
            })
            .args(|sandbox| {
                [
                    "--user=root".to_owned(),
                    "--memory-limit=256".to_owned(),
                    "--max-item-size=2m".to_owned(),
                    "--threads=1".to_owned(),
                    format!("--listen=127.0.0.1:{}", sandbox.port()),
                    "--enable-ssl".to_owned(),
                    "--extended=ssl_chain_cert=certificate.pem,ssl_key=key.pem".to_owned(),
                ]
            })
            .ready(|sandbox, _| super::tcp(sandbox).map(drop))
            .start()?;
        let connect = |sandbox: &Sandbox| -> Result<StreamOwned<ClientConnection, TcpStream>> {
            let connection = ClientConnection::new(Arc::clone(&config), "localhost".try_into()?)?;
            Ok(StreamOwned::new(connection, super::tcp(sandbox)?))
        };
        let store =
            patient().url(format!("memcache+tls://localhost:{}", server.sandbox().port())).tls(tls).connect()?;
        bench.section("One thread, TLS");
        beside_a_bare_socket(bench, ", TLS", &store, || connect(server.sandbox()))
    }
}
