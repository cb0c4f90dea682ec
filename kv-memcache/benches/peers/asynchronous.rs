//! The async store beside a bare socket of tokio, and beside the crate `async-memcached`, on a runtime with two threads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_memcached::{AsciiProtocol, Client};
use kv_conformance::bench::{Bench, Row, in_tasks, processor_time};
use kv_conformance::server::Sandbox;
use kv_memcache::{AsyncKeyValueStoreExt, AsyncMemcacheStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Mutex;

use super::{BUFFER, Result, patient};

/// How many bytes the values have.
const SIZE: usize = 100;

/// The cheapest possible exchange on a socket of tokio.
struct Bare {
    stream: TcpStream,
    command: Vec<u8>,
    length: usize,
    buffer: Vec<u8>,
}

impl Bare {
    async fn new(port: u16, command: impl Into<Vec<u8>>, length: usize) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, command: command.into(), length, buffer: vec![0; BUFFER] })
    }

    async fn exchange(&mut self) -> Result {
        self.stream.write_all(&self.command).await?;
        let mut received = 0;
        while received < self.length {
            match self.stream.read(&mut self.buffer).await? {
                0 => return Err("the server closed the connection".into()),
                bytes => received += bytes,
            }
        }
        if received == self.length { Ok(()) } else { Err("the reply has another length".into()) }
    }
}

/// A client has one connection and one caller at a time.
type Shared<T> = Arc<Mutex<T>>;

async fn get(store: AsyncMemcacheStore) -> Result {
    store.get("key").await?.map(drop).ok_or_else(|| "the key is absent".into())
}

async fn put(store: AsyncMemcacheStore) -> Result {
    Ok(store.put("key", &[b'v'; SIZE]).await?)
}

async fn exchange(bare: Shared<Bare>) -> Result {
    bare.lock().await.exchange().await
}

async fn get_by_client(client: Shared<Client>) -> Result {
    client.lock().await.get("key").await?.map(drop).ok_or_else(|| "the key is absent".into())
}

async fn put_by_client(client: Shared<Client>) -> Result {
    Ok(client.lock().await.set("key", &[b'v'; SIZE][..], None, None).await?)
}

fn timed(act: impl FnOnce() -> Result<Duration>) -> Result<Duration> {
    let begin = Instant::now();
    act()?;
    Ok(begin.elapsed())
}

fn used(act: impl FnOnce() -> Result<Duration>) -> Result<Duration> {
    let begin = processor_time();
    act()?;
    Ok(processor_time().saturating_sub(begin))
}

pub(super) fn compare(bench: &mut Bench, sandbox: &Sandbox, url: &str) -> Result {
    const TASKS: u32 = 64;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let store = runtime.block_on(patient().url(url).connect_async())?;
    runtime.block_on(put(store.clone()))?;
    let (get_head, put_head) = (format!("VA {SIZE} O1\r\n"), format!("ms key {SIZE} O1 T0\r\n"));
    let put_command = [put_head.as_bytes(), &[b'v'; SIZE], b"\r\n"].concat();
    let port = sandbox.port();
    let bare_get = runtime.block_on(Bare::new(port, "mg key v O1\r\n", get_head.len() + SIZE + 2))?;
    let bare_put = runtime.block_on(Bare::new(port, put_command, "HD O1\r\n".len()))?;
    let (bare_get, bare_put) = (Arc::new(Mutex::new(bare_get)), Arc::new(Mutex::new(bare_put)));
    // A client for each task.
    let clients = (0..TASKS).map(|_| {
        let client = runtime.block_on(Client::new(format!("tcp://127.0.0.1:{port}")))?;
        Ok(Arc::new(Mutex::new(client)))
    });
    let clients = clients.collect::<Result<Vec<_>>>()?;
    bench.section("Async, 100 B, of each");
    let one = |what: &str| Row::new(format!("async {what}, one task")).operations(2000).at_most(1.1);
    for (what, peer) in [("get", &bare_get), ("put", &bare_put)] {
        let ours = || match what {
            "get" => in_tasks(&runtime, [store.clone()], 2000, get),
            _ => in_tasks(&runtime, [store.clone()], 2000, put),
        };
        let bare = || in_tasks(&runtime, [Arc::clone(peer)], 2000, exchange);
        bench.compare_timed(one(what).beside("a bare socket of tokio"), || timed(ours), || timed(bare))?;
        let first = clients.first().ok_or("there is no client")?;
        let theirs = || match what {
            "get" => in_tasks(&runtime, [Arc::clone(first)], 2000, get_by_client),
            _ => in_tasks(&runtime, [Arc::clone(first)], 2000, put_by_client),
        };
        bench.compare_timed(one(what).beside("async-memcached"), || timed(ours), || timed(theirs))?;
    }
    let many = |what: &str| Row::new(format!("async {what}, 64 tasks")).beside("async-memcached, 64 connections");
    let many = |what: &str| many(what).operations(TASKS * 50).at_most(1.1);
    let stores = || (0..TASKS).map(|_| store.clone());
    let gets = || in_tasks(&runtime, stores(), 50, get);
    let gets_of_peer = || in_tasks(&runtime, clients.clone(), 50, get_by_client);
    bench.compare_timed(many("get"), || timed(gets), || timed(gets_of_peer))?;
    let puts = || in_tasks(&runtime, stores(), 50, put);
    let puts_of_peer = || in_tasks(&runtime, clients.clone(), 50, put_by_client);
    bench.compare_timed(many("put"), || timed(puts), || timed(puts_of_peer))?;
    bench.compare_timed(many("get, processor time"), || used(gets), || used(gets_of_peer))
}
