//! The async store beside the async connections of the crate `redis`, on a runtime with two threads.

use std::time::{Duration, Instant};

use kv_conformance::bench::{Bench, Row, in_tasks, processor_time};
use kv_redis::{AsyncKeyValueStoreExt, AsyncRedisStore, redis};
use redis::aio::{ConnectionManager, MultiplexedConnection};
use tokio::runtime::Builder;

use super::{Error, Result, Setup};

/// What is compared: something that gets and puts.
trait Peer: Clone + Send + Sync + 'static {
    fn get(&self) -> impl Future<Output = Result> + Send;
    fn put(&self, value: &[u8]) -> impl Future<Output = Result> + Send;
}

impl Peer for AsyncRedisStore {
    async fn get(&self) -> Result {
        AsyncKeyValueStoreExt::get(self, "key").await?.map(drop).ok_or_else(|| "the key is absent".into())
    }

    async fn put(&self, value: &[u8]) -> Result {
        Ok(AsyncKeyValueStoreExt::put(self, "key", value).await?)
    }
}

/// A connection of the crate `redis`: a clone is a handle to the same one.
impl Peer for MultiplexedConnection {
    async fn get(&self) -> Result {
        Ok(redis::cmd("GET").arg("key").query_async::<Vec<u8>>(&mut self.clone()).await.map(drop)?)
    }

    async fn put(&self, value: &[u8]) -> Result {
        Ok(redis::cmd("SET").arg("key").arg(value).exec_async(&mut self.clone()).await?)
    }
}

impl Peer for ConnectionManager {
    async fn get(&self) -> Result {
        Ok(redis::cmd("GET").arg("key").query_async::<Vec<u8>>(&mut self.clone()).await.map(drop)?)
    }

    async fn put(&self, value: &[u8]) -> Result {
        Ok(redis::cmd("SET").arg("key").arg(value).exec_async(&mut self.clone()).await?)
    }
}

async fn get<P: Peer>(peer: P) -> Result {
    peer.get().await
}

async fn put<P: Peer>(peer: P) -> Result {
    peer.put(&[b'v'; 100]).await
}

/// Lets tasks share a peer.
fn sharing<P: Peer>(peer: &P, tasks: u32) -> impl Iterator<Item = P> {
    (0..tasks).map(|_| peer.clone())
}

pub(super) fn compare(bench: &mut Bench, setup: &Setup) -> Result {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (store, bare, manager) = runtime.block_on(async {
        let store = setup.builder().connect_async().await?;
        let client = setup.client()?;
        let bare = client.get_multiplexed_async_connection().await?;
        let manager = client.get_connection_manager().await?;
        Ok::<_, Error>((store, bare, manager))
    })?;
    runtime.block_on(Peer::put(&store, &[b'v'; 100]))?;
    bench.section("Async, 100 B, of each");
    let beside = "MultiplexedConnection";
    for (tasks, each, shown, at_most) in
        [(1, 2000, "one task", 1.05), (4, 500, "4 tasks", 1.0), (64, 50, "64 tasks", 1.0)]
    {
        let row =
            |what| Row::new(format!("async {what}, {shown}")).beside(beside).operations(tasks * each).at_most(at_most);
        let time = |act: &dyn Fn() -> Result<Duration>| {
            let begin = Instant::now();
            act()?;
            Ok::<_, Error>(begin.elapsed())
        };
        bench.compare_timed(
            row("get"),
            || time(&|| in_tasks(&runtime, sharing(&store, tasks), each, get)),
            || time(&|| in_tasks(&runtime, sharing(&bare, tasks), each, get)),
        )?;
        bench.compare_timed(
            row("put"),
            || time(&|| in_tasks(&runtime, sharing(&store, tasks), each, put)),
            || time(&|| in_tasks(&runtime, sharing(&bare, tasks), each, put)),
        )?;
    }
    let used = |act: &dyn Fn() -> Result<Duration>| {
        let begin = processor_time();
        act()?;
        Ok::<_, Error>(processor_time().saturating_sub(begin))
    };
    for (tasks, each) in [(1, 2000), (64, 50)] {
        bench.compare_timed(
            Row::new(format!("async get, processor time, {tasks} tasks"))
                .beside("ConnectionManager")
                .operations(tasks * each)
                .at_most(1.1),
            || used(&|| in_tasks(&runtime, sharing(&store, tasks), each, get)),
            || used(&|| in_tasks(&runtime, sharing(&manager, tasks), each, get)),
        )?;
    }
    bench.compare_timed(
        Row::new("async get, 1000 tasks, 99 of 100 within").beside(beside).at_most(1.0),
        || in_tasks(&runtime, sharing(&store, 1000), 10, get),
        || in_tasks(&runtime, sharing(&bare, 1000), 10, get),
    )
}
