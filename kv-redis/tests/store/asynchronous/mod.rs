//! The async store: futures that are dropped, runtimes that end, and the connections of tasks.

#![cfg(all(feature = "tokio", feature = "cluster", feature = "sentinel"))]

mod drops;
mod runtimes;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use kv_redis::{AsyncKeyValueStore, AsyncKeyValueStoreExt, AsyncRedisStore, RedisStoreBuilder, Ttl};
use tokio::runtime::{Builder, Runtime};

use crate::support::{self, PATIENCE, Redis, RedisCluster, Sentinels, chain, is_since, timed, wait_until};

const MINUTE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(10_000);

fn builder(url: impl Into<String>) -> RedisStoreBuilder {
    let builder = AsyncRedisStore::builder().url(url);
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// A runtime with two threads.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn connect(runtime: &Runtime, builder: RedisStoreBuilder) -> AsyncRedisStore {
    runtime.block_on(builder.connect_async()).unwrap()
}

/// How many connections the server has accepted so far, this question's own included.
fn accepted(redis: &Redis) -> u64 {
    redis.info("total_connections_received").unwrap().parse().unwrap()
}

/// Polls a future once. Returns whether it is done.
async fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

#[test]
fn many_operations_of_all_kinds_at_a_time_use_no_more_connections_than_the_pool_has() {
    let (redis, runtime) = (Redis::start(&[]), runtime());
    for pool_size in [1, 2, 4] {
        let store = connect(&runtime, builder(redis.url()).pool_timeout(MINUTE).pool_size(pool_size));
        let before = accepted(&redis);
        let tasks = (0..64).map(|number| {
            let store = store.clone();
            runtime.spawn(async move {
                for round in 0..20 {
                    let (key, large) = (format!("{number}"), vec![b'v'; 50_000]);
                    match (number + round) % 4 {
                        0 => store.put(&key, "v").await.unwrap(),
                        1 => store.put(&key, &large).await.unwrap(),
                        2 => drop(store.get_many(["a", "b", &key]).await.unwrap()),
                        _ => drop(store.increment("window", 1, LONG).await.unwrap()),
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            runtime.block_on(task).unwrap();
        }
        // One of them is there already, and this asks on one of its own.
        let made = accepted(&redis) - before - 1;
        assert!(made < u64::from(pool_size), "{made} connections beside the first one, with a pool of {pool_size}");
        assert_eq!(runtime.block_on(store.get("window")).unwrap().unwrap(), (64 * 20 / 4).to_string().as_str());
        runtime.block_on(store.delete("window")).unwrap();
    }
}

#[test]
fn one_caller_uses_one_connection_whatever_it_does() {
    let (redis, runtime) = (Redis::start(&[]), runtime());
    let store = connect(&runtime, builder(redis.url()));
    let before = accepted(&redis);
    runtime.block_on(async {
        for round in 0..200 {
            store.put("k", vec![b'v'; 100 * round]).await.unwrap();
            store.get_many(["k", "absent"]).await.unwrap();
            store.increment("counter", 1, LONG).await.unwrap();
            assert_eq!(store.keys("").unwrap().collect::<Vec<_>>().await.unwrap().len(), 2);
        }
    });
    assert_eq!(accepted(&redis), before + 1);
}

#[test]
fn updates_work_without_scripts_on_a_connection_that_others_use() {
    if !is_since((6, 0, 0)) {
        return;
    }
    let (redis, runtime) = (Redis::start(&[]), runtime());
    let url = crate::commands::user(&redis, &redis.url(), &["-@scripting", "-getdel"]);
    for pool_size in [1, 4] {
        let store = connect(&runtime, builder(&url).pool_size(pool_size).pool_timeout(MINUTE));
        runtime.block_on(store.put("counted", "0")).unwrap();
        let tasks = (0..16).map(|number| {
            let store = store.clone();
            runtime.spawn(async move {
                for _ in 0..10 {
                    // By `WATCH`, `GET`, `MULTI`, `SET` and `EXEC`; somebody else may be faster.
                    loop {
                        let (value, version) = store.get_versioned("counted").await.unwrap().unwrap();
                        let sum = std::str::from_utf8(&value).unwrap().parse::<u32>().unwrap() + 1;
                        if store.put_if("counted", sum.to_string(), LONG, &version).await.unwrap().is_some() {
                            break;
                        }
                    }
                    let key = format!("taken {number}").replace(' ', "-");
                    store.put(&key, &key).await.unwrap();
                    assert_eq!(store.take(&key).await.unwrap().unwrap(), key.as_str());
                    assert_eq!(store.take(&key).await.unwrap(), None);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            runtime.block_on(task).unwrap();
        }
        assert_eq!(runtime.block_on(store.get("counted")).unwrap().unwrap(), "160");
    }
}

#[test]
fn an_idle_connection_wakes_nobody_and_is_closed_in_the_end() {
    let redis = Redis::start(&[]);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let store = connect(&runtime, builder(redis.url()).idle_timeout(Duration::from_secs(3)));
    runtime.block_on(store.put("k", "v")).unwrap();
    // The timer of the last exchange is still set: it goes off once.
    let metrics = runtime.metrics();
    thread::sleep(Duration::from_millis(1500));
    let before = metrics.worker_park_count(0);
    thread::sleep(Duration::from_secs(1));
    let woken = metrics.worker_park_count(0) - before;
    assert!(woken <= 1, "woken {woken} times");
    wait_until(|| match redis.info("connected_clients").unwrap().as_str() {
        // This question's own.
        "1" => Ok(()),
        more => Err(format!("{more} connections")),
    });
    assert_eq!(runtime.block_on(store.get("k")).unwrap().unwrap(), "v");
}

/// A window of a limiter is a transaction of four commands, and shares packets with others all the same.
#[test]
fn counters_with_a_ttl_share_packets() {
    const TASKS: u64 = 64;
    const EACH: u64 = 50;
    if !is_since((6, 0, 0)) {
        return;
    }
    let (redis, runtime) = (Redis::start(&[]), runtime());
    let store = connect(&runtime, builder(redis.url()).pool_size(4));
    let reads = || redis.info("total_reads_processed").unwrap().parse::<u64>().unwrap();
    let before = reads();
    let tasks = (0..TASKS).map(|number| {
        let store = store.clone();
        runtime.spawn(async move {
            for round in 0..EACH {
                store.increment(format!("n{}", (number + round) % 3), 1, MINUTE).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        runtime.block_on(task).unwrap();
    }
    assert!(reads() - before < TASKS * EACH / 2, "{} packets", reads() - before);
    let counts = runtime.block_on(store.get_many(["n0", "n1", "n2"])).unwrap();
    let counts = counts.iter().map(|count| str::from_utf8(count.as_ref().unwrap()).unwrap().parse::<u64>().unwrap());
    assert_eq!(counts.sum::<u64>(), TASKS * EACH);
    assert!(runtime.block_on(store.ttl("n0")).unwrap().is_some_and(|left| left != kv_redis::Remaining::Forever));
}

#[test]
fn connections_that_the_server_closes_are_replaced_without_an_error() {
    let (redis, runtime) = (Redis::start(&[]), runtime());
    let store = connect(&runtime, builder(redis.url()).min_idle(4).pool_size(4));
    for round in 0..20 {
        redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        // A write may be sent before the end of its connection is seen. Then it is not sent again (N5), and the next one finds that.
        while let Err(error) = runtime.block_on(store.put("k", round.to_string())) {
            assert!(error.outcome_unknown(), "{error:?}");
        }
        let many = (0..8).map(|_| {
            let store = store.clone();
            runtime.spawn(async move { store.get_many(["k"]).await })
        });
        for many in many.collect::<Vec<_>>() {
            assert_eq!(runtime.block_on(many).unwrap().unwrap(), [Some(round.to_string().into())]);
        }
    }
}

#[test]
fn handles_of_namespaces_share_the_connections() {
    let (redis, runtime) = (Redis::start(&[]), runtime());
    let store = connect(&runtime, builder(redis.url()));
    let before = accepted(&redis);
    let tenants = (0..1000).map(|number| store.with_namespace(&format!("tenant-{number}")).unwrap());
    let shared: Vec<Arc<dyn AsyncKeyValueStore>> = tenants.map(|tenant| Arc::new(tenant) as _).collect();
    runtime.block_on(async {
        for (number, tenant) in shared.iter().enumerate() {
            tenant.put("k", number.to_string()).await.unwrap();
        }
        for (number, tenant) in shared.iter().enumerate() {
            assert_eq!(tenant.get("k").await.unwrap().unwrap(), number.to_string().as_str());
            assert_eq!(tenant.keys("").unwrap().collect::<Vec<_>>().await.unwrap().len(), 1);
        }
    });
    assert_eq!(accepted(&redis), before + 1);
    assert!(store.with_namespace("").is_err() && store.with_namespace("a:b").is_err());
    let secret = AsyncRedisStore::builder().url("redis://user:hidden@host").build_async().unwrap();
    assert!(!format!("{secret:?} {}", secret.name()).contains("hidden"), "{secret:?}");
}
