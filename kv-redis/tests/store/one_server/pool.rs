//! The number of connections, and the waits for them.

use super::*;

const DATABASE: u16 = 7;

/// A value that contains its key, of some length.
fn value(key: &str, thread: usize, round: usize) -> String {
    format!("{key} {thread} {round} {}", "x".repeat((thread * 31 + round * 977) % 5000))
}

/// Whether a value belongs to a key.
#[track_caller]
fn is_of(key: &str, value: &[u8]) {
    let text = std::str::from_utf8(value).unwrap();
    let mut words = text.split(' ');
    assert_eq!(words.next(), Some(key));
    let [thread, round] = [(); 2].map(|()| words.next().unwrap().parse().unwrap());
    assert!(text == self::value(key, thread, round), "{key}: a value that nobody wrote");
}

#[test]
fn no_thread_of_64_on_a_pool_of_4_gets_another_ones_reply() {
    let redis = Redis::start(&[]);
    let store = builder(redis.url_of_database(DATABASE)).pool_size(4).pool_timeout(MINUTE).connect().unwrap();
    let most = everybody_gets_their_own(&redis, DATABASE, &store);
    assert!((2..=4).contains(&most), "{most} connections");
    assert!(connections_to(&redis, DATABASE) <= 4);
}

/// Lets 64 threads run all kinds of operations, with values that contain their key. Returns the largest number of connections.
pub(crate) fn everybody_gets_their_own(redis: &Redis, database: u16, store: &RedisStore) -> usize {
    let shared: Vec<_> = (0..16).map(|number| format!("shared-{number}")).collect();
    let work = |thread: usize| {
        let (own, other) = (format!("own-{thread}"), format!("other-{thread}"));
        let mut expected: Option<String> = None;
        for round in 0..200 {
            let common = &shared[(thread / 2 + round) % shared.len()];
            let mine = value(&own, thread, round);
            match (thread + round) % 10 {
                0 => store.put(common, value(common, thread, round)).unwrap(),
                1 => drop(store.get(common).unwrap().inspect(|value| is_of(common, value))),
                2 => {
                    store.put(&own, &mine).unwrap();
                    expected = Some(mine);
                }
                3 => {
                    let asked = [common, &own, &shared[0], "absent"];
                    let values = store.get_many(asked).unwrap();
                    let [first, second, third, None] = <[_; 4]>::try_from(values).unwrap() else { panic!("absent") };
                    first.inspect(|value| is_of(common, value));
                    third.inspect(|value| is_of(&shared[0], value));
                    assert_eq!(second, expected.clone().map(Bytes::from));
                }
                4 => {
                    let two = [(common.as_str(), value(common, thread, round)), (&own, mine.clone())];
                    store.put_many(two).unwrap();
                    expected = Some(mine);
                }
                5 => {
                    assert_eq!(store.create(&own, &mine).unwrap(), expected.is_none());
                    expected.get_or_insert(mine);
                }
                6 if expected.is_some() => {
                    store.copy(&own, &other).unwrap();
                    assert_eq!(store.get(&other).unwrap(), expected.clone().map(Bytes::from));
                    store.rename(&other, &own).unwrap();
                    assert_eq!(store.get(&other).unwrap(), None);
                }
                6 => assert!(matches!(store.copy(&own, &other).unwrap_err(), Error::NotFound { .. })),
                7 => assert_eq!(store.delete(&own).unwrap(), expected.take().is_some()),
                8 => {
                    let left = store.touch(&own, MINUTE).unwrap().then(|| store.ttl(&own).unwrap().unwrap());
                    assert_eq!(left.is_some(), expected.is_some());
                    assert!(left.is_none_or(|left| left.duration().unwrap() <= MINUTE), "{left:?}");
                }
                _ => assert_eq!(store.contains(&own).unwrap(), expected.is_some()),
            }
            assert_eq!(store.get(&own).unwrap(), expected.clone().map(Bytes::from), "{own} in round {round}");
        }
    };
    let running = AtomicUsize::new(64);
    let most = thread::scope(|scope| {
        for thread in 0..64 {
            let (work, running) = (&work, &running);
            scope.spawn(move || {
                let _done = Counted(running);
                work(thread);
            });
        }
        let (mut connection, mut most) = (redis.connection(), 0);
        while running.load(Relaxed) > 0 {
            most = most.max(count_connections(&mut connection, database));
            thread::sleep(Duration::from_millis(2));
        }
        most
    });
    for key in &shared {
        is_of(key, &store.get(key).unwrap().unwrap());
    }
    most
}

/// Counts down when it is dropped, a panic included.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[test]
fn waiting_too_long_for_a_connection_is_explained() {
    const LIMIT: Duration = Duration::from_millis(100);
    let redis = Redis::start(&[]);
    let store = builder(redis.url()).pool_size(1).pool_timeout(LIMIT).connect().unwrap();
    store.put("k", "v").unwrap();
    redis.pause();
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        // One of them has the connection, and waits for the server; the others wait for the connection.
        for _ in 0..3 {
            let (store, sender) = (&store, sender.clone());
            scope.spawn(move || {
                let begin = Instant::now();
                sender.send((store.get("k"), begin.elapsed())).unwrap();
            });
        }
        let refused = [(); 2].map(|()| results.recv().unwrap());
        redis.resume();
        assert_eq!(results.recv().unwrap().0.unwrap().unwrap(), "v");
        for (result, elapsed) in refused {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)) && error.is_transient(), "{error:?}");
            assert!(!error.outcome_unknown());
            assert!((LIMIT..LIMIT + Duration::from_secs(2)).contains(&elapsed), "{elapsed:?}");
            assert_eq!((error.key(), error.store()), (Some("k"), Some(store.name())));
            let text = error.to_string();
            assert!(text.contains("100ms") && text.contains("pool"), "{text}");
            assert!(text.contains("pool_size") || text.contains("pool_timeout"), "it says not what to do: {text}");
        }
    });
    assert_eq!(store.get("k").unwrap().unwrap(), "v");
}

#[test]
fn one_operation_after_the_other_needs_one_connection_however_large_the_pool() {
    let redis = Redis::start(&[]);
    let counts = (0..20).map(|round| {
        let (url, pool_size) = (redis.url_of_database(DATABASE + round), if round % 2 == 0 { 10 } else { 500 });
        let store = builder(url).pool_size(pool_size).connect().unwrap();
        for _ in 0..100 {
            store.get("k").unwrap();
        }
        connections_to(&redis, DATABASE + round)
    });
    assert_eq!(counts.collect::<Vec<_>>(), [1; 20]);
}

#[test]
fn a_store_connects_when_it_is_told_to_and_makes_as_many_connections_as_it_is_told() {
    let redis = Redis::start(&[]);
    let builder = builder(redis.url_of_database(DATABASE)).pool_size(8);
    let count = || connections_to(&redis, DATABASE);
    for (min_idle, expected) in [(0, 1), (1, 1), (3, 3), (8, 8)] {
        let store = builder.clone().min_idle(min_idle).connect().unwrap();
        assert_eq!(count(), expected);
        for _ in 0..100 {
            store.get("k").unwrap();
        }
        assert_eq!(count(), expected, "one after the other needs no more");
        drop(store);
        wait_until(|| if count() == 0 { Ok(()) } else { Err(format!("{} connections are open", count())) });
    }
    for min_idle in [0, 3] {
        let called = calls_of(&redis, || {
            let store = builder.clone().min_idle(min_idle).build().unwrap();
            thread::sleep(Duration::from_millis(100));
            assert_eq!(connections_to(&redis, DATABASE), 0);
            assert_eq!(store.get("k").unwrap(), None);
            assert_eq!(connections_to(&redis, DATABASE), 1);
        });
        assert_eq!((called["get"], called["info"], called["select"]), (1, 1, 1));
        wait_until(|| if count() == 0 { Ok(()) } else { Err(format!("{} connections are open", count())) });
    }
    let error = builder.clone().min_idle(9).build().unwrap_err();
    assert!(matches!(error, Error::InvalidSetting { .. }) && error.to_string().contains("min_idle"), "{error}");
}
