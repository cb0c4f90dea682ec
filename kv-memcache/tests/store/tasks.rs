//! What `AsyncMemcacheStore` does beyond the shared suite.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use kv_conformance::proxy::{Behaviour, Proxy};
use kv_memcache::{AsyncKeyValueStoreExt, AsyncMemcacheStore, Error, Ttl};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::support::{self, Memcached, Need, PATIENCE, can};

const HOUR: Duration = Duration::from_secs(60 * 60);
const LONG: Duration = Duration::from_secs(40 * 24 * 60 * 60);

fn behind_a_proxy() -> (Memcached, Proxy, AsyncMemcacheStore) {
    let server = Memcached::start(&["-m256"]);
    let proxy = support::proxy(server.port());
    let builder = support::builder().url(format!("memcache://127.0.0.1:{}", proxy.port()));
    let builder = builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE);
    (server, proxy, builder.build_async().unwrap())
}

#[tokio::test]
async fn operations_one_after_the_other_use_one_connection() {
    let (_server, proxy, store) = behind_a_proxy();
    for number in 0..200 {
        let key = format!("key:{}", number % 10);
        store.put(&key, format!("value {number}")).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap().unwrap(), format!("value {number}").as_bytes());
        let large = vec![b'v'; 100_000];
        store.put("large", &large).await.unwrap();
        assert!(store.get("large").await.unwrap().unwrap() == large);
        store.get_many([&*key, "large", "absent"]).await.unwrap();
    }
    assert_eq!(proxy.accepted(), 1);
}

/// Also on a runtime with several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_two_connections() {
    let (_server, proxy, store) = behind_a_proxy();
    let mut tasks = JoinSet::new();
    for task in 0..64 {
        let store = store.clone();
        tasks.spawn(async move {
            for number in 0..100 {
                let (key, value) = (format!("key:{task}"), format!("value {task} {number}"));
                store.put(&key, &value).await.unwrap();
                assert_eq!(store.get(&key).await.unwrap().unwrap(), value.as_bytes());
            }
        });
    }
    tasks.join_all().await;
    assert!(proxy.accepted() <= 2, "{}", proxy.accepted());
}

/// As tests with a runtime each do that share a store.
#[test]
fn runtimes_that_end_or_stand_still_disturb_no_other() {
    let (_server, proxy, store) = behind_a_proxy();
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let still = runtime();
    still.block_on(store.put("still", "v")).unwrap();
    thread::scope(|scope| {
        for number in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..50 {
                    let (runtime, key, value) = (runtime(), number.to_string(), format!("{round}"));
                    runtime.block_on(store.put(&key, &value)).unwrap();
                    let large = value.repeat(30_000);
                    runtime.block_on(store.put(format!("{key}/large"), &large)).unwrap();
                    let got = runtime.block_on(store.get_many([&key, "still", "absent"])).unwrap();
                    assert_eq!(got, [Some(value.into()), Some("v".into()), None]);
                    // Dropped while something is on its way.
                    runtime.block_on(async {
                        let mut leaves = pin!(store.get("absent"));
                        poll_fn(|context| Poll::Ready(leaves.as_mut().poll(context).is_ready())).await
                    });
                }
            });
        }
    });
    assert_eq!(still.block_on(store.get("still")).unwrap().unwrap(), "v");
    drop(still);
    support::wait_until(|| match proxy.open() {
        0 => Ok(()),
        open => Err(format!("{open} connections are open although their runtimes have ended")),
    });
}

/// The connection is closed after a refusal, and nobody else notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_command_is_the_fault_of_its_caller_alone() {
    if !can("a refused command is the fault of its caller alone", Need::Meta) {
        return;
    }
    let (_server, _proxy, store) = behind_a_proxy();
    store.put("text", "not a number").await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..32 {
        let store = store.clone();
        tasks.spawn(async move {
            for number in 0..50 {
                if task % 4 == 0 {
                    let error = store.increment("text", 1, HOUR).await.unwrap_err();
                    let is_that = matches!(error, Error::NotACounter { .. });
                    assert!(is_that, "{error:?}");
                    continue;
                }
                let (key, value) = (format!("key:{task}"), format!("value {task} {number}"));
                store.put(&key, &value).await.unwrap();
                assert_eq!(store.get(&key).await.unwrap().unwrap(), value.as_bytes());
                store.increment(&format!("counter:{task}"), 1, Ttl::Forever).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

/// As with the blocking store: on a slow network each new connection has a slow clock.
#[tokio::test]
async fn on_a_slow_network_a_long_ttl_costs_one_connection_more_and_not_one_for_each_write() {
    if !can("with tasks, on a slow network a long ttl costs one connection more", Need::Meta) {
        return;
    }
    let (_server, proxy, store) = behind_a_proxy();
    proxy.set(Behaviour::Delay(Duration::from_millis(300)));
    store.put("k", "v").await.unwrap();
    assert_eq!(proxy.accepted(), 1);
    for write in 0..4 {
        store.put_with_ttl("k", "v", LONG).await.unwrap();
        assert_eq!(proxy.accepted(), 2, "{write}");
    }
    store.get("k").await.unwrap();
    assert!(store.touch("k", LONG).await.unwrap());
    assert_eq!(proxy.accepted(), 2);
}
