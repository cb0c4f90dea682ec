//! A process that forks after it has made and used a store. The child makes a store of its own, and may even use the parent's.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "clippy does not see that the helpers of tests are tests")]

#[path = "support/forking.rs"]
mod forking;
mod support;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use kv_redis::{KeyValueStoreExt, RedisStore, RedisStoreBuilder, Ttl};
use support::{PATIENCE, Redis};
#[cfg(feature = "cluster")]
use support::{RedisCluster, can_test};

/// The limit for a child, which needs a few milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

fn patient(builder: RedisStoreBuilder) -> RedisStoreBuilder {
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// Writes and reads values that name their process, so that a reply to another process is noticed.
fn work(store: &RedisStore, whose: &str, rounds: usize) {
    for round in 0..rounds {
        let (key, value) = (format!("{whose}-{}", round % 5), format!("{whose} {round}"));
        store.put(&key, &value).unwrap();
        assert_eq!(store.get(&key).unwrap().unwrap(), value.as_bytes());
    }
}

/// Lists everything, which asks a cluster for its layout again.
fn list(store: &RedisStore) {
    assert!(store.keys("").unwrap().map(Result::unwrap).count() >= 5);
}

/// Sets a flag when it is dropped, also by a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Forks in all ways that matter. `open` makes a store.
fn fork_with(open: impl Fn() -> RedisStore) {
    let store = open();
    work(&store, "before", 10);
    // The child makes its own.
    forking::fork(|| work(&open(), "child", 100)).works_within(LIMIT);
    work(&store, "parent", 10);
    // The child uses the parent's store at the same time as the parent. The connection was used just before.
    for number in 0..50 {
        work(&store, "parent", 1);
        let child = forking::fork(|| work(&store, &format!("child-{number}"), 50));
        work(&store, "parent", 50);
        child.works_within(LIMIT);
    }
    // A child of a child.
    let grandchild = || forking::fork(|| work(&store, "grandchild", 50)).works_within(LIMIT);
    forking::fork(|| {
        grandchild();
        work(&store, "child", 50);
        grandchild();
    })
    .works_within(2 * LIMIT);
    // Other threads of the parent hold locks and wait at any point, and do not exist in the child.
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&is_over);
        for number in 0..8 {
            let (store, is_over) = (&store, &is_over);
            scope.spawn(move || {
                while !is_over.load(Relaxed) {
                    work(store, &format!("thread-{number}"), 10);
                    list(store);
                }
            });
        }
        for number in 0..50 {
            let child = forking::fork(|| {
                work(&open(), &format!("own-{number}"), 5);
                list(&store);
                let (store, number) = (&store, &number);
                thread::scope(|scope| {
                    for thread in 0..4 {
                        scope.spawn(move || work(store, &format!("child-{number}-{thread}"), 10));
                    }
                });
            });
            child.works_within(LIMIT);
        }
    });
    work(&store, "parent", 10);
}

#[test]
fn a_child_makes_its_own_store_and_that_of_its_parent_works_too() {
    if let Some(url) = forking::argument() {
        return fork_with(|| patient(RedisStore::builder().url(&url).pool_size(2)).connect().unwrap());
    }
    let server = Redis::start(&[]);
    forking::run("a_child_makes_its_own_store_and_that_of_its_parent_works_too", &server.url());
}

#[test]
fn a_child_can_use_a_store_with_shared_connections() {
    if let Some(url) = forking::argument() {
        let builder = RedisStore::builder().url(&url).pool_size(2).shared_connections(1);
        return fork_with(|| patient(builder.clone()).connect().unwrap());
    }
    let server = Redis::start(&[]);
    forking::run("a_child_can_use_a_store_with_shared_connections", &server.url());
}

#[cfg(feature = "tls")]
#[test]
fn a_child_can_use_a_store_with_tls() {
    if !crate::support::has_tls() {
        return;
    }
    if let Some(argument) = forking::argument() {
        let (url, authority) = argument.split_once(' ').unwrap();
        let tls = kv_redis::Tls::new().certificate_authority(authority);
        let builder = RedisStore::builder().url(url).tls(tls).pool_size(2);
        return fork_with(|| patient(builder.clone()).connect().unwrap());
    }
    let server = Redis::start_tls(support::TlsClients::Anonymous, &[]);
    forking::run("a_child_can_use_a_store_with_tls", &format!("{} {}", server.tls_url(), server.certificates().ca));
}

/// The known layout is behind locks that a thread of the parent may hold.
#[cfg(feature = "cluster")]
#[test]
fn a_child_can_use_a_store_on_a_cluster() {
    if !can_test("cluster", (3, 0, 0)) {
        return;
    }
    if let Some(urls) = forking::argument() {
        let builder = RedisStore::builder().cluster(urls.split(' ')).pool_size(2);
        return fork_with(|| patient(builder.clone()).connect().unwrap());
    }
    let cluster = RedisCluster::start(3, 0);
    forking::run("a_child_can_use_a_store_on_a_cluster", &cluster.urls().join(" "));
}

#[cfg(feature = "sentinel")]
#[test]
fn a_child_can_use_a_store_behind_sentinels() {
    if let Some(urls) = forking::argument() {
        let builder = RedisStore::builder().sentinels("mymaster", urls.split(' ')).pool_size(2);
        return fork_with(|| patient(builder.clone()).connect().unwrap());
    }
    let sentinels = support::Sentinels::start();
    forking::run("a_child_can_use_a_store_behind_sentinels", &sentinels.urls().join(" "));
}

/// A child counts while it is stopped again and again for longer than its `response_timeout`. The server answers meanwhile, so there is an
/// answer to read and nothing has failed.
#[test]
fn a_process_that_stood_still_reads_what_has_come_meanwhile() {
    const TIMEOUT: Duration = Duration::from_millis(200);
    const STOPS: usize = 8;
    const PAUSE: Duration = Duration::from_millis(20);

    let Some(url) = forking::argument() else {
        let redis = Redis::start(&[]);
        return forking::run("a_process_that_stood_still_reads_what_has_come_meanwhile", &redis.url());
    };
    let builder = || RedisStore::builder().url(&url).response_timeout(TIMEOUT).retry_after(Duration::ZERO);
    let until = |mut count: Box<dyn FnMut() -> Result<u64, kv_redis::Error>>| {
        let begun = Instant::now();
        let mut failed = Vec::new();
        while begun.elapsed() < TIMEOUT * 5 * u32::try_from(STOPS).unwrap() {
            failed.extend(count().err());
        }
        // The server may be slow, too, for once.
        assert!(failed.len() <= 1, "{} of {STOPS} stops: {:?}", failed.len(), failed.first());
    };
    let mut children = vec![
        forking::fork(|| {
            let store = builder().connect().unwrap();
            until(Box::new(move || store.increment("blocking", 1, Ttl::Forever)));
        }),
        forking::fork(|| {
            let store = builder().shared_connections(1).connect().unwrap();
            until(Box::new(move || store.increment("shared", 1, Ttl::Forever)));
        }),
    ];
    #[cfg(feature = "tokio")]
    children.push(forking::fork(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store = runtime.block_on(builder().connect_async()).unwrap();
        until(Box::new(move || {
            runtime.block_on(kv_redis::AsyncKeyValueStoreExt::increment(&store, "async", 1, Ttl::Forever))
        }));
    }));
    for _ in 0..STOPS {
        for child in &children {
            child.stand_still(TIMEOUT + TIMEOUT / 4);
            thread::sleep(PAUSE);
        }
    }
    for child in children {
        child.works_within(LIMIT);
    }
}
