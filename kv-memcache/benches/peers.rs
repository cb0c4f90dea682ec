//! The store beside bare sockets and the clients of the crate `memcache`, on servers that this starts:
//! `cargo bench -p kv-memcache --all-features`.
//!
//! Every figure is the median of ratios, each of two runs that follow one another: a machine that is slow for a while
//! slows both. Which of the two goes first alternates.

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use kv_conformance::server::{Place, Server};
use kv_memcache::{KeyValueStoreExt, MemcacheStore, MemcacheStoreBuilder};
use memcache::exp::{Get, MetaClient, MetaCommand, MetaConnection, MetaOp, Op, Set};

const ROUNDS: usize = 25;

/// How much a bare socket reads at once.
const BUFFER: usize = 16 * 1024;

const SOCKET: &str = "memcached.sock";

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result {
    let server = start(|place| vec![format!("--listen=127.0.0.1:{}", place.port())], tcp)?;
    let (url, connect) = (format!("memcache://127.0.0.1:{}", server.place().port()), || tcp(server.place()));
    let store = patient().url(&url).connect()?;

    println!("{:<40} {:>10} {:>10} {:>10}   {:>6}   10 % to 90 %", "", "ours", "peer", "more", "ratio");
    beside_a_bare_socket("TCP", &store, connect)?;
    beside_the_classic_client("ascii", &store, &memcache::Client::connect(format!("{url}?protocol=ascii"))?)?;
    beside_the_classic_client("binary", &store, &memcache::Client::connect(url.as_str())?)?;
    batches(&store, server.place())?;
    many_threads(&store, connect)?;

    let unix = |place: &Place| Ok(UnixStream::connect(place.dir().join(SOCKET))?);
    let server = start(|_| vec![format!("--unix-socket={SOCKET}")], unix)?;
    let socket = server.place().dir().join(SOCKET);
    let store = patient().url(format!("memcache://{}", socket.display())).connect()?;
    beside_a_bare_socket("unix", &store, || unix(server.place()))?;

    #[cfg(feature = "tls")]
    tls::beside_rustls()?;
    Ok(())
}

/// A store that is not confused by a machine that is busy.
fn patient() -> MemcacheStoreBuilder {
    let patience = Duration::from_secs(10);
    MemcacheStore::builder().pool_timeout(patience).connect_timeout(patience).response_timeout(patience)
}

fn start<S: Read + Write>(
    listen: impl Fn(&Place) -> Vec<String> + Send + Sync + 'static,
    connect: impl Fn(&Place) -> Result<S> + Send + Sync + 'static,
) -> Result<Server> {
    // It does not run as root unless it is told to. Connections that are compared are served by the same thread.
    let always = ["--user=root", "--memory-limit=256", "--threads=1"].map(str::to_owned);
    server()
        .args(move |place| [listen(place), always.to_vec()].concat())
        .ready(move |place, pid| {
            let mut reader = BufReader::new(connect(place)?);
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

fn tcp(place: &Place) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", place.port()))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A command that is sent from where it lies, and its reply, which is known: nobody can do with less.
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

fn bare_get<S: Read + Write>(stream: S, value: &[u8]) -> Result<Bare<S>> {
    let head = format!("VA {} O1\r\n", value.len());
    Bare::new(stream, "mg key v O1\r\n", &[head.as_bytes(), value, b"\r\n"].concat())
}

fn beside_a_bare_socket<S: Read + Write>(name: &str, store: &MemcacheStore, connect: impl Fn() -> Result<S>) -> Result {
    for (size_name, value, times) in values() {
        store.put("key", &value)?;
        let mut bare = bare_get(connect()?, &value)?;
        compare(&format!("get, {size_name}, {name}"), times, || Ok(store.get("key")?), || bare.exchange())?;
        let head = format!("ms key {} O1 T0\r\n", value.len());
        let mut bare = Bare::new(connect()?, [head.as_bytes(), &value, b"\r\n"].concat(), b"HD O1\r\n")?;
        compare(&format!("put, {size_name}, {name}"), times, || Ok(store.put("key", &value)?), || bare.exchange())?;
    }

    store.put("key", "value")?;
    let month = Duration::from_secs(60 * 60 * 24 * 30 - 2);
    let mut bare = Bare::new(connect()?, "mg key O1 T2592000\r\n", b"HD O1\r\n")?;
    compare(&format!("touch, {name}"), 2000, || Ok(store.touch("key", month)?), || bare.exchange())?;
    let mut bare = Bare::new(connect()?, "ms key 5 ME O1 T0\r\nvalue\r\n", b"NS O1\r\n")?;
    compare(&format!("create what is there, {name}"), 2000, || Ok(store.create("key", "value")?), || bare.exchange())?;
    store.put("key", "value")?;
    let mut bare = Bare::new(connect()?, "mg key t O1\r\n", b"HD t-1 O1\r\n")?;
    compare(&format!("ttl, {name}"), 2000, || Ok(store.ttl("key")?), || bare.exchange())?;
    let mut bare = Bare::new(connect()?, "md none O1\r\n", b"NF O1\r\n")?;
    compare(&format!("delete what is not there, {name}"), 2000, || Ok(store.delete("none")?), || bare.exchange())?;
    Ok(())
}

fn beside_the_classic_client(name: &str, store: &MemcacheStore, client: &memcache::Client) -> Result {
    for (size_name, value, times) in values() {
        store.put("key", &value)?;
        compare(
            &format!("get, {size_name}, memcache::Client {name}"),
            times,
            || Ok(store.get("key")?),
            || Ok(client.get::<Vec<u8>>("key")?),
        )?;
        compare(
            &format!("put, {size_name}, memcache::Client {name}"),
            times,
            || Ok(store.put("key", &value)?),
            || Ok(client.set("key", value.as_slice(), 0)?),
        )?;
    }
    Ok(())
}

/// Values: what they are called, and how often each is sent in a round.
///
/// How long the kernel takes to copy a large one may depend on where it begins in its page, and on the length of what is sent
/// before it: that is as it happens to be, and not the same for ours and a bare socket.
fn values() -> [(&'static str, Vec<u8>, u32); 3] {
    [("100 B", 100, 2000), ("10 KiB", 10 * 1024, 1000), ("500 KiB", 500 * 1024, 100)]
        .map(|(name, size, times)| (name, vec![b'v'; size], times))
}

fn batches(store: &MemcacheStore, place: &Place) -> Result {
    let keys = (0..1000).map(|number| format!("key:{number}")).collect::<Vec<_>>();
    let value = vec![b'v'; 100];
    let put_many = || Ok(store.put_many(keys.iter().map(|key| (key, &value)))?);
    let get_many = || {
        let values = store.get_many(&keys)?;
        if values.iter().all(Option::is_some) { Ok(values) } else { Err("a key is missing".into()) }
    };

    println!("Batches of 1000 keys, so that a µs is a nanosecond a key:");
    let client = MetaClient::connect(("127.0.0.1", place.port()))?;
    compare("put_many, run_many", 20, put_many, || {
        let results = client.run_many(keys.iter().map(|key| Set::new(key, &value)))?;
        Ok(results.into_iter().collect::<std::result::Result<Vec<_>, _>>()?)
    })?;
    compare("get_many, run_many", 20, get_many, || {
        let results = client.run_many(keys.iter().map(Get::new))?;
        Ok(results.into_iter().collect::<std::result::Result<Vec<_>, _>>()?)
    })?;
    compare("get_many, run_batch", 20, get_many, || {
        let results = client.run_batch(keys.iter().map(|key| Op::from(Get::new(key))))?;
        Ok(results.into_iter().collect::<std::result::Result<Vec<_>, _>>()?)
    })?;
    let mut connection = MetaConnection::connect(("127.0.0.1", place.port()))?;
    compare("put_many, execute_batch", 20, put_many, || {
        let set = |key: &String| MetaCommand::new(MetaOp::Set, key.as_str()).flag("T0").value(value.as_slice());
        Ok(connection.execute_batch(&keys.iter().map(set).collect::<Vec<_>>())?)
    })?;
    compare("get_many, execute_batch", 20, get_many, || {
        let get = |key: &String| MetaCommand::new(MetaOp::Get, key.as_str()).flag("v");
        Ok(connection.execute_batch(&keys.iter().map(get).collect::<Vec<_>>())?)
    })?;
    compare("put_many, ours one by one", 5, put_many, || {
        Ok(keys.iter().try_for_each(|key| store.put(key, &value))?)
    })?;
    compare("get_many, ours one by one", 5, get_many, || {
        Ok(keys.iter().map(|key| store.get(key)).collect::<std::result::Result<Vec<_>, _>>()?)
    })?;
    Ok(())
}

/// As many threads as connections, and more, beside bare connections with a thread each.
fn many_threads<S: Read + Write + Send>(store: &MemcacheStore, connect: impl Fn() -> Result<S>) -> Result {
    const ALL: u32 = 16_000;
    let value = vec![b'v'; 100];
    store.put("key", &value)?;
    let mut bare = (0..10).map(|_| bare_get(connect()?, &value)).collect::<Result<Vec<_>>>()?;
    for threads in [10, 64] {
        let get = || (0..ALL / threads).try_for_each(|_| store.get("key").map(drop).map_err(Into::into));
        let (ours, peer) = compare(
            &format!("16 000 gets, {threads} threads / 10 bare"),
            1,
            || in_threads((0..threads).map(|_| get)),
            || in_threads(bare.iter_mut().map(|bare| || (0..ALL / 10).try_for_each(|_| bare.exchange()))),
        )?;
        let in_a_second = |time: f64| f64::from(ALL) / time * 1e6;
        println!("{:<40} {:>7.0} /s {:>7.0} /s", "", in_a_second(ours), in_a_second(peer));
    }
    Ok(())
}

fn in_threads<A: FnOnce() -> Result + Send>(acts: impl IntoIterator<Item = A>) -> Result {
    thread::scope(|scope| {
        let threads = acts.into_iter().map(|act| scope.spawn(act)).collect::<Vec<_>>();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })
}

#[cfg(feature = "tls")]
mod tls {
    use std::fs;
    use std::net::TcpStream;
    use std::sync::Arc;

    use kv_conformance::server::Place;
    use kv_memcache::Tls;
    use rustls::crypto::ring;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::{Result, beside_a_bare_socket, patient, server};

    pub(super) fn beside_rustls() -> Result {
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
            .prepare(move |place| {
                fs::write(place.dir().join("certificate.pem"), &certificate)?;
                Ok(fs::write(place.dir().join("key.pem"), &key)?)
            })
            .args(|place| {
                [
                    "--user=root".to_owned(),
                    "--memory-limit=256".to_owned(),
                    "--threads=1".to_owned(),
                    format!("--listen=127.0.0.1:{}", place.port()),
                    "--enable-ssl".to_owned(),
                    "--extended=ssl_chain_cert=certificate.pem,ssl_key=key.pem".to_owned(),
                ]
            })
            .ready(|place, _| super::tcp(place).map(drop))
            .start()?;
        let connect = |place: &Place| -> Result<StreamOwned<ClientConnection, TcpStream>> {
            let connection = ClientConnection::new(Arc::clone(&config), "localhost".try_into()?)?;
            Ok(StreamOwned::new(connection, super::tcp(place)?))
        };
        let store = patient().url(format!("memcache+tls://localhost:{}", server.place().port())).tls(tls).connect()?;
        beside_a_bare_socket("TLS", &store, || connect(server.place()))
    }
}

/// Compares what two do, and prints a line about it. How long each takes, in microseconds.
fn compare<O, P>(
    name: &str,
    times: u32,
    mut ours: impl FnMut() -> Result<O>,
    mut peer: impl FnMut() -> Result<P>,
) -> Result<(f64, f64)> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    // The first round warms up.
    for round in 0..=ROUNDS {
        let pair = if round % 2 == 0 {
            let ours = timed(times, &mut ours)?;
            (ours, timed(times, &mut peer)?)
        } else {
            let peer = timed(times, &mut peer)?;
            (timed(times, &mut ours)?, peer)
        };
        if round > 0 {
            rounds.push(pair);
        }
    }
    let spread = |figure: fn(&(f64, f64)) -> f64| {
        let mut figures = rounds.iter().map(figure).collect::<Vec<_>>();
        figures.sort_by(f64::total_cmp);
        let at = |part: usize| figures.get(figures.len() * part / 10).copied().unwrap_or(f64::NAN);
        (at(1), at(5), at(9))
    };
    let (low, ratio, high) = spread(|(ours, peer)| ours / peer);
    let ((_, ours, _), (_, peer, _)) = (spread(|pair| pair.0), spread(|pair| pair.1));
    let (_, more, _) = spread(|(ours, peer)| ours - peer);
    println!("{name:<40} {ours:>7.1} µs {peer:>7.1} µs {more:>7.1} µs   {ratio:>6.2}   {low:.2} to {high:.2}");
    Ok((ours, peer))
}

/// How long it takes once, in microseconds.
fn timed<T>(times: u32, act: &mut impl FnMut() -> Result<T>) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..times {
        black_box(act()?);
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(times))
}
