//! A server that does not answer, and what is remembered of it (N6); idle connections.

use std::sync::Barrier;

use super::*;
use crate::firewall::Firewall;

/// Each of the three limits.
const LIMIT: Duration = Duration::from_millis(400);

/// How long a silent server is left alone.
const RETRY_AFTER: Duration = Duration::from_millis(300);

/// After this idle time, the firewall forgets a connection.
const FORGOTTEN: Duration = Duration::from_millis(600);

/// How much longer something may take on a busy machine.
const MARGIN: Duration = Duration::from_millis(1500);

const DATABASE: u16 = 7;

fn limited(url: String) -> RedisStoreBuilder {
    RedisStore::builder().url(url).pool_timeout(LIMIT).connect_timeout(LIMIT).response_timeout(LIMIT)
}

/// Runs `act` in threads at the same time.
fn together<T: Send>(threads: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (barrier, act) = (Barrier::new(threads), &act);
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|number| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    act(number)
                })
            })
            .collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Makes this many connections.
fn connect(store: &RedisStore, threads: usize, accepted: impl Fn() -> usize) {
    wait_until(|| {
        together(threads, |number| store.put(format!("warm/{number}"), vec![b'v'; 100_000]).unwrap());
        if accepted() >= threads { Ok(()) } else { Err(format!("{} connections", accepted())) }
    });
}

fn is_silent(error: &Error) -> bool {
    matches!(error, Error::Unavailable(_)) && error.to_string().contains("retry_after")
}

#[test]
fn operations_on_a_silent_server_fail_at_once_and_it_is_used_when_it_is_back() {
    for shared in [0, 1] {
        let redis = Redis::start(&[]);
        let store = limited(redis.url()).retry_after(RETRY_AFTER).shared_connections(shared).build().unwrap();
        wait_until(|| store.put("k", "v").map_err(|error| error.to_string()));
        redis.pause();
        let count = |time: Duration| {
            let (silent, slow) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let begin = Instant::now();
            together(16, |number| {
                while begin.elapsed() < time {
                    let key = format!("k/{number}");
                    let (error, took) = support::timed(|| store.put(&key, "v").unwrap_err());
                    if is_silent(&error) {
                        assert!(error.is_transient() && !error.outcome_unknown(), "{error:?}");
                        assert_eq!((error.key(), error.store()), (Some(key.as_str()), Some(store.name())));
                        silent.fetch_add(1, Relaxed);
                    } else {
                        assert!(took > LIMIT / 2, "{error:?}");
                        slow.fetch_add(1, Relaxed);
                    }
                }
            });
            [silent, slow].map(AtomicUsize::into_inner)
        };
        count(3 * LIMIT);
        let [silent, slow] = count(Duration::from_secs(3));
        println!("{shared} shared: {silent} failed at once, {slow} waited");
        // One at a time waits for its limit.
        assert!(slow < 10 && silent > 100, "{silent} at once, {slow} waited");
        redis.resume();
        let back = Instant::now();
        wait_until(|| store.get("k").map_err(|error| error.to_string()));
        assert!(back.elapsed() < RETRY_AFTER + LIMIT + MARGIN, "{:?}", back.elapsed());
        together(16, |_| assert_eq!(store.get("k").unwrap().unwrap(), "v"));
    }
}

/// This holds as long as the server is left alone.
#[test]
fn an_error_that_comes_at_once_has_the_time_out_as_its_cause() {
    let redis = Redis::start(&[]);
    redis.pause();
    let guess = "the TLS handshake did not come to its end; perhaps the server does not speak TLS (`redis://`)";
    let (plain, tls) = (redis.url(), redis.url().replace("redis://", "rediss://:0-hush@"));
    for (url, shared, guess) in [(&plain, 0, None), (&plain, 1, None), (&tls, 0, Some(guess)), (&tls, 1, Some(guess))] {
        if guess.is_some() && !cfg!(feature = "tls") {
            continue;
        }
        let mut builder = limited(url.clone()).retry_after(Duration::from_secs(60)).shared_connections(shared);
        #[cfg(feature = "tls")]
        if guess.is_some() {
            let (ca, _) = support::certificates::authority("a CA");
            builder = builder.tls(kv_redis::Tls::new().certificate_authority(ca));
        }
        let store = builder.build().unwrap();
        let mut lengths = BTreeSet::new();
        wait_until(|| {
            let error = store.put("k", "v").unwrap_err();
            if is_silent(&error) { Ok(()) } else { Err(format!("{error:?}")) }
        });
        for _ in 0..20 {
            let error = store.get("k").unwrap_err();
            assert!(is_silent(&error) && error.is_transient() && !error.outcome_unknown(), "{error:?}");
            let text = support::chain(&error);
            assert!(text.contains("connecting took longer than 400ms (`connect_timeout`)"), "{text}");
            assert!(guess.is_none_or(|guess| text.ends_with(guess)) && !text.contains("hush"), "{text}");
            // Without its numbers, the message is always the same.
            lengths.insert(text.replace(|letter: char| letter.is_ascii_digit() || letter == '.', "").len());
        }
        assert!(lengths.len() <= 2, "{lengths:?}");
    }
}

#[test]
fn with_retry_after_zero_each_operation_waits_for_its_limits() {
    let redis = Redis::start(&[]);
    let store = limited(redis.url()).retry_after(Duration::ZERO).build().unwrap();
    wait_until(|| store.put("k", "v").map_err(|error| error.to_string()));
    redis.pause();
    for _ in 0..4 {
        let error = store.get("k").unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    }
    redis.resume();
    assert_eq!(store.get("k").unwrap().unwrap(), "v");
}

#[test]
fn many_connections_that_a_firewall_forgot_cost_one_operation() {
    const THREADS: usize = 8;
    let redis = Redis::start(&[]);
    for shared in [0, 2] {
        let firewall = Firewall::start(redis.port(), FORGOTTEN);
        let store = limited(format!("redis://127.0.0.1:{}", firewall.port()));
        let store = store.idle_timeout(Duration::ZERO).pool_size(8).shared_connections(shared).build().unwrap();
        connect(&store, THREADS, || firewall.accepted());
        for _ in 0..3 {
            thread::sleep(FORGOTTEN + 200 * MILLISECOND);
            let error = store.put("k", "v").unwrap_err();
            assert!(matches!(error, Error::Timeout(_)) && error.outcome_unknown(), "{error:?}");
            // No operation waits on another forgotten connection, and no error says that the server is silent: it is not.
            for (result, took) in together(THREADS, |_| support::timed(|| store.put("k", "v"))) {
                result.unwrap();
                assert!(took < LIMIT, "{took:?}");
            }
        }
    }
}

#[test]
fn connections_that_are_closed_before_a_firewall_forgets_them_cost_nothing() {
    const THREADS: usize = 8;
    let redis = Redis::start(&[]);
    for shared in [0, 2] {
        let firewall = Firewall::start(redis.port(), FORGOTTEN);
        let store = limited(format!("redis://127.0.0.1:{}", firewall.port()));
        let store = store.idle_timeout(FORGOTTEN / 2).pool_size(8).shared_connections(shared).build().unwrap();
        for _ in 0..3 {
            connect(&store, THREADS, || firewall.accepted());
            thread::sleep(FORGOTTEN + 200 * MILLISECOND);
            together(THREADS, |_| store.put("k", "v").unwrap());
        }
    }
}

#[test]
fn idle_connections_are_closed_with_few_operations_and_without_any() {
    let redis = Redis::start(&[]);
    let store = builder(redis.url_of_database(DATABASE)).idle_timeout(500 * MILLISECOND).pool_size(30).build().unwrap();
    for traffic in [false, true] {
        together(30, |number| (0..20).for_each(|_| store.put(format!("k/{number}"), vec![b'v'; 100_000]).unwrap()));
        wait_until(|| {
            if traffic {
                store.get("k").unwrap();
            }
            match connections_to(&redis, DATABASE) {
                count if count <= usize::from(traffic) => Ok(()),
                count => Err(format!("{count} connections")),
            }
        });
    }
}

#[test]
fn a_busy_connection_is_replaced_after_max_lifetime() {
    let redis = Redis::start(&[]);
    let made = || redis.info("total_connections_received").unwrap().parse::<usize>().unwrap();
    for shared in [0, 1] {
        let store = builder(redis.url()).max_lifetime(300 * MILLISECOND).shared_connections(shared).build().unwrap();
        store.put("k", "v").unwrap();
        let (before, begin) = (made(), Instant::now());
        while begin.elapsed() < 1500 * MILLISECOND {
            assert_eq!(store.get("k").unwrap().unwrap(), "v");
        }
        // One of them asks how many there are.
        let count = made() - before - 1;
        assert!((2..=6).contains(&count), "{count} connections");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_system_sends_keepalive_probes_unless_they_are_turned_off() {
    let redis = Redis::start(&[]);
    for (idle, expected) in [(None, true), (Some(Duration::from_secs(5)), true), (Some(Duration::ZERO), false)] {
        let proxy = support::proxy(redis.port());
        let builder = builder(format!("redis://127.0.0.1:{}", proxy.port()));
        let builder = match idle {
            Some(idle) => builder.tcp_keepalive(idle),
            None => builder,
        };
        let store = builder.connect().unwrap();
        assert_eq!(crate::keepalive::has_keepalive(proxy.port()), expected, "{idle:?}");
        drop(store);
    }
}
