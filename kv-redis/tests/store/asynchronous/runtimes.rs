//! Runtimes: none, one that ends, one that stands still, one that lacks something, several.

use std::pin::pin;
use std::task::{Context, Waker};

use super::*;

/// Polls a future on a thread without a runtime, until it is done.
fn without_a_runtime<T>(future: impl Future<Output = T>) -> T {
    let (mut future, end) = (pin!(future), Instant::now() + PATIENCE);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        assert!(Instant::now() < end, "it is never done");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let redis = Redis::start(&[]);
    let error = without_a_runtime(AsyncRedisStore::connect(redis.url())).unwrap_err();
    assert!(chain(&error).contains("runtime of tokio"), "{}", chain(&error));
    let store = AsyncRedisStore::builder().url(redis.url()).build_async().unwrap();
    let error = without_a_runtime(store.put("k", "v")).unwrap_err();
    assert!(chain(&error).contains("runtime of tokio") && !error.outcome_unknown(), "{}", chain(&error));
    assert!(without_a_runtime(store.keys("").unwrap().next()).unwrap().is_err());
    // On a runtime it works.
    let runtime = runtime();
    runtime.block_on(store.put("k", "v")).unwrap();
}

#[test]
fn a_runtime_without_io_or_time_gives_an_error() {
    let redis = Redis::start(&[]);
    for runtime in [
        Builder::new_current_thread().build().unwrap(),
        Builder::new_multi_thread().worker_threads(1).build().unwrap(),
        Builder::new_multi_thread().worker_threads(1).enable_io().build().unwrap(),
    ] {
        let store = AsyncRedisStore::builder().url(redis.url()).build_async().unwrap();
        let error = runtime.block_on(store.get("k")).unwrap_err();
        assert!(chain(&error).contains("enable_all"), "{}", chain(&error));
    }
}

#[test]
fn a_store_outlives_its_runtime_and_works_on_the_next_one() {
    let redis = Redis::start(&[]);
    let store = AsyncRedisStore::builder().url(redis.url()).build_async().unwrap();
    for round in 0..10 {
        let runtime =
            if round % 2 == 0 { runtime() } else { Builder::new_current_thread().enable_all().build().unwrap() };
        runtime.block_on(store.put("k", round.to_string())).unwrap();
        assert_eq!(runtime.block_on(store.get_many(["k"])).unwrap()[0].as_deref(), Some(round.to_string().as_bytes()));
        if round % 3 == 0 {
            runtime.shutdown_timeout(PATIENCE);
        }
    }
}

/// Its future is polled on by another runtime.
#[test]
fn what_waits_when_its_runtime_ends_gets_an_error() {
    let redis = Redis::start(&[]);
    let store = AsyncRedisStore::builder().url(redis.url()).response_timeout(MINUTE).build_async().unwrap();
    let (ending, other) = (runtime(), Builder::new_current_thread().enable_all().build().unwrap());
    ending.block_on(store.put("k", "v")).unwrap();
    redis.pause();
    let mut waits = Box::pin(store.put("k", "w"));
    ending.block_on(async {
        assert!(!poll_once(&mut waits).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    drop(ending);
    let (ended, took) = timed(|| other.block_on(waits));
    redis.resume();
    let error = ended.unwrap_err();
    assert!(took < PATIENCE && error.outcome_unknown(), "{took:?}, {}", chain(&error));
    assert!(other.block_on(store.get("k")).unwrap().is_some());
}

/// As tests with a runtime each do that share a store.
#[test]
fn runtimes_that_end_disturb_no_other() {
    let redis = Redis::start(&[]);
    let store = AsyncRedisStore::builder().url(redis.url()).build_async().unwrap();
    thread::scope(|scope| {
        for number in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..50 {
                    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                    let (key, value) = (format!("{number}"), round.to_string());
                    runtime.block_on(store.put(&key, &value)).unwrap();
                    runtime.block_on(store.put_many([(format!("{key}/large"), value.repeat(30_000))])).unwrap();
                    assert_eq!(runtime.block_on(store.get(&key)).unwrap().unwrap(), value.as_str());
                    // Dropped while something is on its way.
                    runtime.block_on(poll_once(&mut Box::pin(store.get("absent"))));
                }
            });
        }
    });
    wait_until(|| match redis.info("connected_clients").unwrap().as_str() {
        "1" => Ok(()),
        count => Err(format!("{count} connections are open, this one included, although their runtimes have ended")),
    });
}

/// Nobody is left who wants what waits, so no more connections are made for it.
#[test]
fn a_runtime_that_ends_while_connections_are_made_leaves_nothing_to_do() {
    let redis = Redis::start(&[]);
    let store = AsyncRedisStore::builder().url(redis.url()).build_async().unwrap();
    for _ in 0..10 {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut waiting = (0..5).map(|_| Box::pin(store.put_many([("a", "v"), ("b", "v")]))).collect::<Vec<_>>();
        for waits in &mut waiting {
            assert!(!runtime.block_on(poll_once(waits)));
        }
        drop(waiting);
    }
    thread::sleep(Duration::from_millis(500));
    let before = accepted(&redis);
    thread::sleep(Duration::from_millis(500));
    // These questions' own.
    assert_eq!(accepted(&redis) - before, 1);
    runtime().block_on(store.put("k", "v")).unwrap();
}

/// It waits for a connection, which another thread makes, and a limit that its runtime keeps.
#[test]
fn what_waits_for_a_connection_when_its_runtime_ends_gets_an_error() {
    let redis = Redis::start(&[]);
    let builder = AsyncRedisStore::builder().url(redis.url()).pool_timeout(MINUTE).connect_timeout(PATIENCE);
    let store = builder.build_async().unwrap();
    let (ending, other) = (runtime(), runtime());
    redis.pause();
    let mut long = Box::pin(store.put_many([("a", "v"), ("b", "v")]));
    let mut short = Box::pin(store.put("k", "v"));
    ending.block_on(async { assert!(!poll_once(&mut long).await && !poll_once(&mut short).await) });
    drop(ending);
    let (ended, took) = timed(|| other.block_on(long));
    let error = ended.unwrap_err();
    assert!(took < PATIENCE && !error.outcome_unknown(), "{took:?}, {}", chain(&error));
    redis.resume();
    let (ended, took) = timed(|| other.block_on(short));
    assert!(took < 2 * PATIENCE && ended.is_err(), "{took:?}, {ended:?}");
    other.block_on(store.put("k", "v")).unwrap();
}

/// A runtime of one thread drives nothing while nobody waits on it.
#[test]
fn a_runtime_that_stands_still_costs_others_nothing() {
    let redis = Redis::start(&[]);
    let store = AsyncRedisStore::builder().url(redis.url()).response_timeout(MINUTE).build_async().unwrap();
    let still = Builder::new_current_thread().enable_all().build().unwrap();
    still.block_on(store.put("k", "v")).unwrap();
    let runtime = runtime();
    let (got, took) = timed(|| runtime.block_on(async { (store.get("k").await, store.get_many(["k"]).await) }));
    assert!(took < PATIENCE, "{took:?}");
    assert_eq!(got.0.unwrap().unwrap(), "v");
    assert_eq!(got.1.unwrap()[0].as_ref().unwrap(), "v");
    assert_eq!(still.block_on(store.get("k")).unwrap().unwrap(), "v");
    drop(still);
    assert_eq!(runtime.block_on(store.get("k")).unwrap().unwrap(), "v");
}

#[test]
fn one_thread_is_enough_for_a_cluster_and_for_sentinels() {
    if !support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let sentinels = Sentinels::start();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let stores = [
        AsyncRedisStore::builder().cluster(cluster.urls()),
        AsyncRedisStore::builder().sentinels("mymaster", sentinels.urls()),
    ];
    for builder in stores {
        runtime.block_on(async {
            let store = builder.connect_timeout(PATIENCE).response_timeout(PATIENCE).connect_async().await.unwrap();
            let entries = (0..300).map(|number| (number.to_string(), "v"));
            store.put_many(entries).await.unwrap();
            assert_eq!(store.keys("").unwrap().collect::<Vec<_>>().await.unwrap().len(), 300);
            store.rename("1", "other").await.unwrap();
            store.copy("2", "copy").await.unwrap();
            let there = store.get_many(["1", "other", "2", "copy"]).await.unwrap();
            assert_eq!(there.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true, true]);
        });
    }
}
