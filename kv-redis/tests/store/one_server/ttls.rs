//! TTLs, from a nanosecond to the longest, as they come back and as the server has them.

use super::*;

type Way = fn(&RedisStore, &str, Duration);
type Move = fn(&RedisStore) -> Result<(), Error>;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Until the last second of a signed 32-bit Unix time.
fn until_2038() -> Duration {
    Duration::from_secs(i32::MAX as u64).saturating_sub(SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
}

fn longest(store: &RedisStore) -> Duration {
    store.capabilities().longest_ttl()
}

fn all(store: &RedisStore) -> Vec<Duration> {
    let edges = [MONTH, until_2038()].into_iter().flat_map(|at| [at.saturating_sub(MILLISECOND), at, at + MILLISECOND]);
    let short = [Duration::from_nanos(1), MILLISECOND, Duration::from_micros(1500), Duration::from_millis(999)];
    let seconds = [1, 2, 60].map(Duration::from_secs);
    let long = [365 * DAY, 100 * 365 * DAY, longest(store).saturating_sub(MILLISECOND), longest(store)];
    short
        .into_iter()
        .chain(seconds)
        .chain(edges)
        .chain([MONTH + Duration::from_secs(1), 2 * MONTH])
        .chain(long)
        .collect()
}

/// Whether the remaining TTL is possible for a TTL that was set between two moments.
#[track_caller]
fn check(store: &RedisStore, what: &str, ttl: Duration, begin: Instant, left: Option<Remaining>) {
    let (elapsed, resolution) = (begin.elapsed(), store.capabilities().ttl_resolution());
    match left {
        Some(Remaining::For(left)) => {
            assert!(left <= ttl + resolution, "{what}: {left:?} are left of {ttl:?}");
            assert!(left + elapsed + resolution >= ttl, "{what}: {left:?} are left of {ttl:?}");
        }
        Some(Remaining::Forever) => panic!("{what}: {ttl:?} became for ever"),
        None => assert!(elapsed >= ttl, "{what}: {ttl:?} were over after {elapsed:?}"),
    }
}

/// The remaining TTL of a key, as the server tells it.
#[track_caller]
fn left_on_server(redis: &Redis, key: &str) -> Option<Remaining> {
    match ask::<i64>(redis, &["PTTL", key]) {
        -1 => Some(Remaining::Forever),
        -2 => None,
        millis => Some(Remaining::For(Duration::from_millis(millis.try_into().unwrap()))),
    }
}

#[test]
fn a_ttl_is_what_was_asked_for_by_every_way_to_set_one() {
    let redis = Redis::start(&[]);
    let store = open(&redis);
    let ways: [(&str, Way); 8] = [
        ("put_with_ttl", |store, key, ttl| store.put_with_ttl(key, "v", ttl).unwrap()),
        ("over one for ever", |store, key, ttl| {
            store.put(key, "v").unwrap();
            store.put_with_ttl(key, "v", ttl).unwrap();
        }),
        ("create_with_ttl", |store, key, ttl| assert!(store.create_with_ttl(key, "v", ttl).unwrap())),
        ("put_many_with_ttl", |store, key, ttl| {
            store.put_many_with_ttl([("a", "v", Ttl::Forever), (key, "v", ttl.into())]).unwrap();
        }),
        ("put_from_with_ttl", |store, key, ttl| store.put_from_with_ttl(key, &b"v"[..], ttl).unwrap()),
        ("touch", |store, key, ttl| {
            store.put(key, "v").unwrap();
            assert!(store.touch(key, ttl).unwrap());
        }),
        ("touch, after another", |store, key, ttl| {
            store.put_with_ttl(key, "v", MINUTE).unwrap();
            assert!(store.touch(key, ttl).unwrap());
        }),
        ("default_ttl", |store, key, ttl| {
            let url = store.name().to_owned();
            builder(url).default_ttl(ttl).connect().unwrap().put(key, "v").unwrap();
        }),
    ];
    let moves: [(&str, Move); 2] =
        [("copy", |store| store.copy("k", "other")), ("rename", |store| store.rename("k", "other"))];
    for ttl in all(&store) {
        for (what, way) in ways {
            let begin = Instant::now();
            way(&store, "k", ttl);
            check(&store, what, ttl, begin, store.ttl("k").unwrap());
            check(&store, what, ttl, begin, left_on_server(&redis, "k"));
            let value = store.get("k").unwrap();
            assert!(value.is_some() || begin.elapsed() >= ttl, "{what}: {ttl:?} is gone");
            // If the entry is still there, it lives on as a copy.
            for (what, way) in moves {
                match way(&store) {
                    Ok(()) => check(&store, what, ttl, begin, store.ttl("other").unwrap()),
                    Err(Error::NotFound { .. }) => assert!(begin.elapsed() >= ttl, "{ttl:?}"),
                    Err(error) => panic!("{what}: {error}"),
                }
                check(&store, what, ttl, begin, left_on_server(&redis, "other"));
            }
            store.delete_many(["k", "other", "a"]).unwrap();
        }
    }
}

#[test]
fn a_ttl_of_less_than_a_millisecond_is_not_zero() {
    let redis = Redis::start(&[]);
    let store = open(&redis);
    let put = |ttl: Duration| calls_of(&redis, || store.put_with_ttl("k", "v", ttl).unwrap());
    let touch = |ttl: Duration| {
        store.put("k", "v").unwrap();
        calls_of(&redis, || assert!(store.touch("k", ttl).unwrap()))
    };
    for ttl in [Duration::from_nanos(1), Duration::from_micros(999)] {
        assert_eq!(put(ttl), calls([("set", 1)]));
        assert_eq!(touch(ttl), calls([("pexpire", 1)]));
    }
    assert_eq!(put(Duration::ZERO), calls([("del", 1)]));
    assert_eq!(touch(Duration::ZERO), calls([("del", 1)]));
}

/// A server reads its clock more than once for a command, and the clock has whole milliseconds.
#[test]
fn an_entry_with_a_ttl_of_a_millisecond_is_not_absent_at_once() {
    let redis = Redis::start(&[]);
    let store = open(&redis);
    let ends_early = |set: &dyn Fn(), round: u32| {
        // The command should run when the next millisecond begins, however long it takes to arrive.
        let begin = 999_000 - round % 100 * 1000;
        store.put("k", "v").unwrap();
        while SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos() % 1_000_000 < begin {
            std::hint::spin_loop();
        }
        let begin = Instant::now();
        set();
        store.get("k").unwrap().is_none() && begin.elapsed() < MILLISECOND
    };
    let put = || store.put_with_ttl("k", "w", MILLISECOND).unwrap();
    let touch = || assert!(store.touch("k", MILLISECOND).unwrap());
    let count = |set: &dyn Fn()| (0..3000).filter(|&round| ends_early(set, round)).count();
    assert_eq!((count(&put), count(&touch)), (0, 0), "of 3000 that were put, and touched");
}

#[test]
fn an_entry_has_expired_when_its_ttl_and_the_resolution_have_passed() {
    let redis = Redis::start(&[]);
    let store = open(&redis);
    let resolution = store.capabilities().ttl_resolution();
    let is_gone_in_time = |set: &dyn Fn(Duration), ttl: Duration| {
        set(ttl);
        let returned = Instant::now();
        while returned.elapsed() < ttl + resolution {
            std::hint::spin_loop();
        }
        store.get("k").unwrap().is_none() && !store.contains("k").unwrap() && store.ttl("k").unwrap().is_none()
    };
    let put = |ttl| store.put_with_ttl("k", "v", ttl).unwrap();
    let touch = |ttl| {
        store.put("k", "v").unwrap();
        store.touch("k", ttl).unwrap();
    };
    let mut late = Vec::new();
    for micros in [1, 500, 999, 1000, 1001, 1500, 3000, 10_500, 20_000] {
        let ttl = Duration::from_micros(micros);
        for (what, set) in [("put", &put as &dyn Fn(Duration)), ("touch", &touch)] {
            let count = (0..50).filter(|_| !is_gone_in_time(set, ttl)).count();
            if count > 0 {
                late.push(format!("{what} {ttl:?}: {count} of 50"));
            }
        }
    }
    assert!(late.is_empty(), "still there after TTL and resolution ({resolution:?}): {late:#?}");
}

#[test]
fn a_ttl_that_redis_cannot_express_is_refused_before_anything_is_sent() {
    let redis = Redis::start(&[]);
    let store = open(&redis);
    let longest = longest(&store);
    for ttl in [longest + Duration::from_nanos(1), longest + MILLISECOND, 2 * longest, Duration::MAX] {
        let text = builder(redis.url()).default_ttl(ttl).build().unwrap_err().to_string();
        let says = format!("`default_ttl` is {ttl:?}, and the longest that the store takes is {longest:?}");
        assert!(text.contains(&says), "{text}");
        store.put_with_ttl("k", "old", 10 * MINUTE).unwrap();
        let begin = Instant::now();
        let called = calls_of(&redis, || {
            let two = [("other", "v", Ttl::Forever), ("k", "new", ttl.into())];
            let results = [
                ("put", store.put_with_ttl("k", "new", ttl)),
                ("create", store.create_with_ttl("k", "new", ttl).map(drop)),
                ("create, absent", store.create_with_ttl("absent", "new", ttl).map(drop)),
                ("put_many", store.put_many_with_ttl(two)),
                ("put_from", store.put_from_with_ttl("k", &b"new"[..], ttl)),
                ("touch", store.touch("k", ttl).map(drop)),
                ("touch, absent", store.touch("absent", ttl).map(drop)),
            ];
            for (what, result) in results {
                match result {
                    Err(Error::InvalidTtl { ttl, longest: most, key, .. }) => {
                        assert_eq!((ttl, most), (ttl, longest), "{what}");
                        assert_eq!(key.as_str(), if what.contains("absent") { "absent" } else { "k" });
                    }
                    other => panic!("{what} {ttl:?}: {other:?}"),
                }
            }
        });
        assert_eq!(called, calls([]));
        assert_eq!(store.get_many(["k", "absent", "other"]).unwrap(), [Some("old".into()), None, None]);
        let left = store.ttl("k").unwrap().unwrap().duration().unwrap();
        assert!(left <= 10 * MINUTE && left + begin.elapsed() + 10 * MILLISECOND >= 10 * MINUTE, "{left:?}");
    }
}
