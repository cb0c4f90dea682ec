//! Futures that are dropped, or not polled any more.

use std::sync::atomic::{AtomicU64, Ordering};

use kv_conformance::proxy::Behaviour;

use super::*;

/// Numbers that look random, the same in each run.
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// How many operations each of 64 tasks begins. `KV_DROPS` has another number.
fn operations() -> u64 {
    std::env::var("KV_DROPS").ok().and_then(|number| number.parse().ok()).unwrap_or(1000)
}

/// Many tasks, each with keys of its own and values that say whose they are, drop their futures at random moments. Nobody gets what
/// belongs to somebody else, and no connection is closed for it.
#[test]
fn dropped_futures_give_nobody_a_foreign_reply_and_close_no_connection() {
    let (redis, runtime) = (Redis::start(&[]), runtime());
    for pool_size in [1, 3] {
        let builder = builder(redis.url()).pool_size(pool_size).pool_timeout(MINUTE).min_idle(pool_size);
        let store = connect(&runtime, builder.response_timeout(MINUTE));
        let before = accepted(&redis);
        let dropped = Arc::new(AtomicU64::new(0));
        let tasks = (0..64_u64).map(|task| {
            let (store, dropped) = (store.clone(), Arc::clone(&dropped));
            runtime.spawn(async move {
                let mut random = random(task + 1);
                let large = format!("{task} ").repeat(10_000);
                for _ in 0..operations() {
                    let key = format!("{task}/{}", random(3));
                    let is_own = |value: &[u8]| value.starts_with(format!("{task} ").as_bytes());
                    let what = random(7);
                    let operation = async {
                        match what {
                            0 => store.put(&key, format!("{task} short")).await.unwrap(),
                            1 => store.put(&key, &large).await.unwrap(),
                            2 => {
                                let all = store.get_many([&key, "absent"]).await.unwrap();
                                assert!(all[0].as_deref().is_none_or(is_own) && all[1].is_none(), "{all:?}");
                            }
                            3 => assert!(store.take(&key).await.unwrap().as_deref().is_none_or(is_own)),
                            4 => drop(store.delete(&key).await.unwrap()),
                            5 => {
                                let keys = store.keys(format!("{task}/")).unwrap().collect::<Vec<_>>().await.unwrap();
                                assert!(keys.iter().all(|key| key.starts_with(&format!("{task}/"))), "{keys:?}");
                            }
                            _ => assert!(store.get(&key).await.unwrap().as_deref().is_none_or(is_own)),
                        }
                    };
                    if random(2) == 0 {
                        operation.await;
                        continue;
                    }
                    // Dropped after some polls, or after some time.
                    let mut operation = Box::pin(operation);
                    let mut is_done = false;
                    for _ in 0..random(4) {
                        is_done = is_done || poll_once(&mut operation).await;
                        tokio::task::yield_now().await;
                    }
                    if !is_done && random(8) == 0 {
                        let _ = tokio::time::timeout(Duration::from_micros(random(2000)), &mut operation).await;
                    }
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            runtime.block_on(task).unwrap();
        }
        assert!(dropped.load(Ordering::Relaxed) > 64 * operations() / 4);
        assert_eq!(accepted(&redis), before + 1, "a connection was closed");
        runtime.block_on(store.put("after", "v")).unwrap();
        assert_eq!(runtime.block_on(store.get("after")).unwrap().unwrap(), "v");
    }
}

/// Futures that were polled and are kept without being polled hold up nobody, however many they are.
#[test]
fn many_futures_that_are_not_polled_any_more_hold_up_nobody() {
    let (redis, runtime) = (Redis::start(&[]), runtime());
    for pool_size in [1, 4] {
        let store = connect(&runtime, builder(redis.url()).pool_size(pool_size));
        let large = vec![b'v'; 40_000];
        runtime.block_on(async {
            let mut kept = Vec::new();
            for number in 0..1000 {
                let (store, large) = (&store, &large);
                let mut operation: Pin<Box<dyn Future<Output = ()> + Send>> = match number % 3 {
                    0 => Box::pin(async move { drop(store.get("k").await) }),
                    1 => Box::pin(async move { drop(store.put("large", large).await) }),
                    _ => Box::pin(async move { drop(store.get_many(["a", "b"]).await) }),
                };
                if !poll_once(&mut operation).await {
                    kept.push(operation);
                }
                if number % 100 == 0 {
                    store.put("k", "v").await.unwrap();
                    assert_eq!(store.get_many(["k"]).await.unwrap()[0].as_deref(), Some(&b"v"[..]));
                }
            }
            store.put("k", "w").await.unwrap();
            assert_eq!(store.get("k").await.unwrap().unwrap(), "w");
            assert!(kept.len() > 900, "{} futures were kept", kept.len());
        });
    }
}

/// The requests of callers that have gone do not pile up before a server that does not answer.
#[test]
fn what_callers_left_before_a_silent_server_is_limited() {
    let (redis, runtime) = (Redis::start(&[]), runtime());
    let proxy = support::proxy(redis.port());
    let store = connect(&runtime, builder(format!("redis://127.0.0.1:{}", proxy.port())).response_timeout(MINUTE));
    let large = vec![b'v'; 15_000];
    runtime.block_on(store.put("k", "v")).unwrap();
    proxy.set(Behaviour::Hold);
    let before = resident();
    runtime.block_on(async {
        for number in 0..150_000 {
            let mut put: Pin<Box<dyn Future<Output = ()> + Send>> =
                Box::pin(async { drop(store.put("k", &large).await) });
            assert!(!poll_once(&mut put).await);
            drop(put);
            if number % 1000 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    // All of them would be 2.2 GB. Other tests of this program, which have large values, run at the same time.
    let grown = resident().saturating_sub(before);
    assert!(grown < 1_500_000, "{grown} kB more");
    proxy.set(Behaviour::Pass);
    // Not of that key: a write that was sent, and dropped, may still happen.
    runtime.block_on(store.put("other", "w")).unwrap();
    assert_eq!(runtime.block_on(store.get("other")).unwrap().unwrap(), "w");
}

/// The memory of this process, in kB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Before its first poll a future has sent nothing.
#[test]
fn a_future_that_was_never_polled_has_done_nothing() {
    let (redis, runtime) = (Redis::start(&[]), runtime());
    let store = connect(&runtime, builder(redis.url()));
    runtime.block_on(async {
        drop(store.put("k", "v"));
        drop(store.increment("k", 1, Ttl::Forever));
        let listing = store.keys("").unwrap();
        assert_eq!(store.get("k").await.unwrap(), None);
        drop(listing);
    });
    assert_eq!(redis.count_of_calls("set") + redis.count_of_calls("incrby") + redis.count_of_calls("scan"), 0);
}
