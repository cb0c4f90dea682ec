//! The async store beside the async connections of the crate `redis`, on a runtime with two threads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kv_conformance::bench::{Bench, Row, processor_time};
use kv_redis::{AsyncKeyValueStoreExt, AsyncRedisStore, redis};
use redis::aio::{ConnectionManager, MultiplexedConnection};
use tokio::runtime::{Builder, Runtime};

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

/// Lets tasks do something many times; returns the longest time that one in a hundred took at least.
fn in_tasks<F>(
    runtime: &Runtime,
    tasks: u32,
    each: u32,
    act: impl Fn() -> F + Send + Sync + 'static,
) -> Result<Duration>
where
    F: Future<Output = Result> + Send + 'static,
{
    let act = Arc::new(act);
    let spawn = |_| {
        let act = Arc::clone(&act);
        runtime.spawn(async move {
            let mut took = Vec::new();
            for _ in 0..each {
                let begin = Instant::now();
                act().await?;
                took.push(begin.elapsed());
            }
            Ok::<_, Error>(took)
        })
    };
    let all = (0..tasks).map(spawn).collect::<Vec<_>>();
    runtime.block_on(async {
        let mut times = Vec::new();
        for task in all {
            times.extend(task.await??);
        }
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied().ok_or_else(|| "nothing was done".into())
    })
}

fn gets<P: Peer>(peer: &P) -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = Result> + Send>> + use<P> {
    let peer = peer.clone();
    move || {
        let peer = peer.clone();
        Box::pin(async move { peer.get().await })
    }
}

fn puts<P: Peer>(peer: &P) -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = Result> + Send>> + use<P> {
    let peer = peer.clone();
    move || {
        let peer = peer.clone();
        Box::pin(async move { peer.put(&[b'v'; 100]).await })
    }
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
            || time(&|| in_tasks(&runtime, tasks, each, gets(&store))),
            || time(&|| in_tasks(&runtime, tasks, each, gets(&bare))),
        )?;
        bench.compare_timed(
            row("put"),
            || time(&|| in_tasks(&runtime, tasks, each, puts(&store))),
            || time(&|| in_tasks(&runtime, tasks, each, puts(&bare))),
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
            || used(&|| in_tasks(&runtime, tasks, each, gets(&store))),
            || used(&|| in_tasks(&runtime, tasks, each, gets(&manager))),
        )?;
    }
    bench.compare_timed(
        Row::new("async get, 1000 tasks, 99 of 100 within").beside(beside).at_most(1.0),
        || in_tasks(&runtime, 1000, 10, gets(&store)),
        || in_tasks(&runtime, 1000, 10, gets(&bare)),
    )
}
