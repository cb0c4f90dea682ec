//! Connections that callers share.

use kv_conformance::proxy::{Behaviour, Cut};
use kv_redis::{r2d2, redis};

use super::pool::everybody_gets_their_own;
use super::*;

const DATABASE: u16 = 7;

/// How many callers there are.
const CALLERS: usize = 32;

/// Lets all callers run something at the same time, each with its own key.
fn all<T: Send>(act: impl Fn(&str) -> T + Sync) -> Vec<T> {
    let act = &act;
    thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|number| scope.spawn(move || act(&format!("key-{number}")))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    })
}

#[test]
fn no_thread_of_64_gets_another_ones_reply() {
    let redis = Redis::start(&[]);
    for shared in [1, 2] {
        let database = DATABASE + u16::try_from(shared).unwrap();
        let store = builder(redis.url_of_database(database)).pool_timeout(MINUTE).pool_size(4);
        let store = store.shared_connections(shared).connect().unwrap();
        let most = everybody_gets_their_own(&redis, database, &store);
        assert!(most <= 4, "{most} connections");
    }
}

#[test]
fn requests_that_come_while_the_server_is_busy_are_sent_together() {
    let redis = Redis::start(&[]);
    let store = builder(redis.url()).shared_connections(1).connect().unwrap();
    if !support::can_test("count of what it has read", (6, 0, 0)) {
        return;
    }
    let reads = || redis.info("total_reads_processed").unwrap().parse::<usize>().unwrap();
    redis.pause();
    let before = thread::scope(|scope| {
        let callers = scope.spawn(|| all(|key| store.put(key, key).unwrap()));
        // All of them are there.
        thread::sleep(Duration::from_secs(1));
        redis.resume();
        callers.join().unwrap();
        reads()
    });
    assert_eq!(redis.count_of_calls("set"), CALLERS as u64);
    assert!(before <= CALLERS / 2, "{before} reads of {CALLERS} requests");
    all(|key| assert_eq!(store.get(key).unwrap().unwrap(), key));
}

#[test]
fn one_caller_needs_one_connection_and_one_round_trip() {
    let redis = Redis::start(&[]);
    let builder = builder(redis.url_of_database(DATABASE)).pool_size(8);
    for (shared, min_idle, expected) in [(1, 0, 1), (3, 0, 1), (1, 2, 2)] {
        let store = builder.clone().shared_connections(shared).min_idle(min_idle).connect().unwrap();
        let called = calls_of(&redis, || {
            for _ in 0..100 {
                store.get("k").unwrap();
            }
        });
        assert_eq!(called, calls([("get", 100)]));
        assert_eq!(connections_to(&redis, DATABASE), expected);
        drop(store);
        let count = || connections_to(&redis, DATABASE);
        wait_until(|| if count() == 0 { Ok(()) } else { Err(format!("{} connections are open", count())) });
    }
}

#[test]
fn a_large_value_has_a_connection_to_itself() {
    let redis = Redis::start(&[]);
    let proxy = support::proxy(redis.port());
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let store = builder(url).shared_connections(1).pool_size(2).connect().unwrap();
    redis.pause();
    thread::scope(|scope| {
        scope.spawn(|| store.put("large", bytes(MIB, 1)).unwrap());
        scope.spawn(|| assert_eq!(store.get("k").unwrap(), None));
        wait_until(|| if proxy.accepted() == 2 { Ok(()) } else { Err("they wait for one another".into()) });
        redis.resume();
    });
    assert_eq!(store.get("large").unwrap().unwrap(), bytes(MIB, 1));
}

#[test]
fn every_caller_of_a_server_that_falls_silent_ends_in_time() {
    const LIMIT: Duration = Duration::from_millis(300);
    let redis = Redis::start(&[]);
    let proxy = support::proxy(redis.port());
    let store = builder(format!("redis://127.0.0.1:{}", proxy.port())).shared_connections(1);
    let store = store.pool_timeout(LIMIT).connect_timeout(LIMIT).response_timeout(LIMIT).connect().unwrap();
    for behaviour in [Behaviour::Hold, Behaviour::HoldReplies] {
        proxy.set(behaviour);
        let begin = Instant::now();
        for (writes, result) in all(|key| match key.len() % 2 {
            0 => (true, store.put(key, key)),
            _ => (false, store.get(key).map(drop)),
        }) {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Timeout(_) | Error::Unavailable(_)) && error.is_transient(), "{error:?}");
            assert!(error.outcome_unknown() <= writes, "{error:?}");
            assert!(error.key().is_some_and(|key| key.starts_with("key-")), "{error:?}");
        }
        let took = begin.elapsed();
        assert!(took < 4 * LIMIT + Duration::from_secs(2), "{took:?}");
        proxy.pass();
        proxy.cut_now(Cut::Reset).unwrap();
        // On a busy machine one more caller may time out, while the others fail at once.
        wait_until(|| store.get("k").map_err(|error| error.to_string()));
        all(|key| wait_until(|| store.put(key, key).map_err(|error| error.to_string())));
    }
}

#[test]
fn reads_survive_a_connection_that_is_cut_and_writes_tell_that_their_outcome_is_unknown() {
    let redis = Redis::start(&[]);
    let proxy = support::proxy(redis.port());
    for shared in [1, 2] {
        let store =
            builder(format!("redis://127.0.0.1:{}", proxy.port())).shared_connections(shared).connect().unwrap();
        all(|key| store.put(key, key).unwrap());
        let (is_over, lost) = (AtomicBool::new(false), AtomicUsize::new(0));
        let rounds: HashMap<_, _> = (0..CALLERS).map(|number| (format!("key-{number}"), AtomicUsize::new(0))).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..20 {
                    proxy.cut_now(if round % 2 == 0 { Cut::Close } else { Cut::Reset }).unwrap();
                    // A read is tried once more, and not a third time. So nothing is cut until all callers have recovered.
                    let before: HashMap<_, _> = rounds.iter().map(|(key, done)| (key, done.load(Relaxed))).collect();
                    let is_behind = |(key, done): (_, &AtomicUsize)| done.load(Relaxed) < before[key] + 2;
                    wait_until(|| if rounds.iter().any(is_behind) { Err("nobody gets on".into()) } else { Ok(()) });
                }
                is_over.store(true, Relaxed);
            });
            all(|key| {
                while !is_over.load(Relaxed) {
                    // Of several connections one may be new and not yet made when all are cut.
                    let is_of_new = |error: &Error| shared > 1 && error.to_string().contains("connecting failed");
                    match store.get(key) {
                        Ok(value) => assert_eq!(value.unwrap(), key),
                        Err(error) => assert!(is_of_new(&error) && !error.outcome_unknown(), "{error:?}"),
                    }
                    if let Err(error) = store.put(key, key) {
                        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
                        assert!(error.outcome_unknown() || is_of_new(&error), "{error:?}");
                        assert_eq!(error.key(), Some(key));
                        lost.fetch_add(1, Relaxed);
                    }
                    rounds[key].fetch_add(1, Relaxed);
                }
            });
        });
        assert!(lost.load(Relaxed) > 0, "nothing was cut");
    }
}

#[test]
fn a_server_that_was_restarted_is_used_at_once() {
    let redis = Redis::start(&[]);
    let store = builder(redis.url()).shared_connections(2).connect().unwrap();
    for _ in 0..3 {
        all(|key| store.put(key, key).unwrap());
        redis.kill();
        all(|key| store.get(key).unwrap_err());
        redis.restart();
        all(|key| store.put(key, key).unwrap());
    }
}

#[test]
fn an_error_in_one_callers_request_reaches_only_that_caller() {
    let redis = Redis::start(&[]);
    let store = builder(redis.url()).shared_connections(1).connect().unwrap();
    redis.command(&["HSET", "hash", "field", "value"]);
    all(|key| {
        for _ in 0..100 {
            if key == "key-0" {
                assert!(matches!(store.get("hash"), Err(Error::Backend(_))));
                assert!(matches!(store.copy("absent", key), Err(Error::NotFound { .. })));
            } else {
                store.put(key, key).unwrap();
                assert_eq!(store.get(key).unwrap().unwrap(), key);
            }
        }
    });
}

#[test]
fn connections_of_a_pool_of_the_application_cannot_be_shared() {
    let client = redis::Client::open("redis://127.0.0.1:1").unwrap();
    let pool = r2d2::Pool::builder().max_size(1).build_unchecked(client);
    let error = RedisStore::builder().shared_connections(1).build_on_pool(pool).unwrap_err();
    assert!(
        matches!(error, Error::InvalidSetting { .. }) && error.to_string().contains("shared_connections"),
        "{error:?}"
    );
    let error = RedisStore::builder().shared_connections(u32::MAX).build().unwrap_err();
    assert!(
        matches!(error, Error::InvalidSetting { .. }) && error.to_string().contains("shared_connections"),
        "{error:?}"
    );
}
