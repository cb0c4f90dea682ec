//! Servers that are restarted, or down for a time (N4, N5, N6).

use super::*;

/// Runs `act` in three threads at the same time, so that it needs three connections.
fn in_three_threads<T: Send>(act: impl Fn() -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(3);
    let act = || {
        barrier.wait();
        act()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(act)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_server_that_was_restarted_is_read_at_once() {
    for idle in [Duration::ZERO, IDLE] {
        let redis = Redis::start(&[]);
        let store = patient(builder(redis.port())).pool_size(3).min_idle(3).connect().unwrap();
        for _ in 0..3 {
            for end in [Redis::kill, Redis::stop] {
                end(&redis);
                redis.restart();
                thread::sleep(idle);
                for result in in_three_threads(|| store.get("k")) {
                    assert_eq!(result.unwrap(), None);
                }
            }
        }
    }
}

#[test]
fn a_server_that_was_restarted_is_written_to_or_the_outcome_is_unknown() {
    let redis = Redis::start(&[]);
    let store = patient(builder(redis.port())).pool_size(3).min_idle(3).connect().unwrap();
    for _ in 0..5 {
        redis.kill();
        redis.restart();
        for result in in_three_threads(|| store.put("k", "v")) {
            if let Err(error) = result {
                assert!(matches!(error, Error::Unavailable(_)) && error.outcome_unknown(), "{error:?}");
                check(&error, &store, "put");
            }
        }
        // At most one error for each connection.
        for _ in 0..3 {
            let _ = store.put("k", "v");
        }
        for result in in_three_threads(|| store.put("k", "v")) {
            result.unwrap();
        }
    }
}

#[test]
fn a_server_that_was_restarted_while_connections_idled_is_written_to() {
    let redis = Redis::start(&[]);
    let store = patient(builder(redis.port())).pool_size(3).min_idle(3).connect().unwrap();
    for _ in 0..3 {
        for end in [Redis::kill, Redis::stop] {
            in_three_threads(|| store.put("k", "v").unwrap());
            end(&redis);
            redis.restart();
            thread::sleep(IDLE);
            for result in in_three_threads(|| store.put("k", "v")) {
                result.unwrap();
            }
            assert_eq!(redis.count_of_calls("set"), 3);
        }
    }
}

#[test]
fn a_server_that_is_down_is_refused_and_works_when_it_is_back() {
    let redis = Redis::start(&[]);
    let store = builder(redis.port()).pool_size(2).connect().unwrap();
    redis.kill();
    for (name, writes, operation) in operations() {
        let result = within(LIMIT, name, || operation(&store));
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{name}: {error:?}");
        // The first one may have had a connection.
        assert!(error.outcome_unknown() <= writes, "{name}: {error:?}");
        check(&error, &store, name);
    }
    redis.restart();
    assert_works(&store);
}
