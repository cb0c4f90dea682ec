//! Large values, values that are too large, large batches.

use super::*;

type Operation<'a> = &'a dyn Fn() -> Result<(), Error>;

const LARGE: usize = 64 * MIB;

#[test]
fn a_value_of_64_mib_goes_in_and_out_by_every_way() {
    let redis = Redis::start(&[]);
    let store = open(&redis);
    let (one, two) = (bytes(LARGE, 1), bytes(LARGE - 1, 2));
    let holds = |key: &str, value: &[u8]| assert!(store.get(key).unwrap().unwrap() == value, "{key}");

    store.put("k", &one).unwrap();
    holds("k", &one);
    store.put_many([("small", &b"v"[..]), ("k", &two), ("other", &one)]).unwrap();
    let values = store.get_many(["k", "absent", "other", "small"]).unwrap();
    assert!(values == [Some(two.clone().into()), None, Some(one.clone().into()), Some("v".into())]);
    drop(values);
    store.delete("other").unwrap();

    store.put_from("k", one.as_slice()).unwrap();
    let mut read = Vec::new();
    store.open("k").unwrap().read_to_end(&mut read).unwrap();
    assert!(read == one);
    read.clear();
    assert_eq!(store.get_into("k", &mut read).unwrap(), LARGE as u64);
    assert!(read == one);
    store.copy("k", "copy").unwrap();
    holds("copy", &one);
    assert!(!store.create("copy", &two).unwrap());
    assert!(store.delete("copy").unwrap() && store.create("copy", &two).unwrap());
    holds("copy", &two);
    assert_eq!(store.get("small").unwrap().unwrap(), "v");
}

/// The bytes that a server has received.
fn received(connection: &mut Connection) -> u64 {
    let stats: String = redis::cmd("INFO").arg("stats").query(connection).unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix("total_net_input_bytes:")).unwrap();
    line.trim().parse().unwrap()
}

/// The number of bytes that the server received while something ran.
fn sent_by(connection: &mut Connection, what: impl FnOnce()) -> u64 {
    let [before, own] = [(); 2].map(|()| received(connection));
    what();
    received(connection) - own - (own - before)
}

#[test]
fn a_value_over_the_limit_is_refused_before_anything_is_sent() {
    let redis = Redis::start(&[]);
    let mut connection = redis.connection();
    let store = builder(redis.url()).largest_value(MIB as u64).connect().unwrap();
    assert_eq!(store.capabilities().largest_value(), Some(MIB as u64));
    let (fits, large) = (bytes(MIB, 1), bytes(MIB + 1, 2));
    store.put_with_ttl("k", &fits, 10 * MINUTE).unwrap();
    let begin = Instant::now();
    let check = |what: &str, result: Result<(), Error>| match result {
        Err(Error::ValueTooLarge { size, limit, key, .. }) => {
            assert_eq!((size, limit, key.as_str()), ((MIB + 1) as u64, MIB as u64, "k"), "{what}");
        }
        other => panic!("{what}: {other:?}"),
    };
    let sent = sent_by(&mut connection, || {
        check("put", store.put("k", &large));
        check("put_with_ttl", store.put_with_ttl("k", &large, MINUTE));
        check("put_with_ttl, zero", store.put_with_ttl("k", &large, Duration::ZERO));
        check("create", store.create("k", &large).map(drop));
        check("put_many", store.put_many([("other", &b"v"[..]), ("k", &large)]));
        check("put_from", store.put_from("k", large.as_slice()));
        check("put_from, endless", store.put_from("k", io::repeat(7)));
    });
    assert_eq!(sent, 0);
    assert!(store.get_many(["k", "other"]).unwrap() == [Some(fits.into()), None]);
    let left = store.ttl("k").unwrap().unwrap().duration().unwrap();
    assert!(left <= 10 * MINUTE && left + begin.elapsed() + 10 * MILLISECOND >= 10 * MINUTE, "{left:?}");
    // It does count.
    assert!(sent_by(&mut connection, || store.put("k", "v").unwrap()) > 20);
}

#[test]
fn the_limit_is_512_mib_unless_told_otherwise() {
    let redis = Redis::start(&[]);
    let mut connection = redis.connection();
    let store = open(&redis);
    store.put("k", "old").unwrap();
    // Nobody writes or reads these bytes, so they take no memory.
    let large = vec![0; 512 * MIB + 1];
    let sent = sent_by(&mut connection, || {
        let error = store.put("k", &large).unwrap_err();
        assert!(matches!(error, Error::ValueTooLarge { limit: 536_870_912, size: 536_870_913, .. }), "{error:?}");
    });
    assert_eq!(sent, 0);
    assert_eq!(store.get("k").unwrap().unwrap(), "old");
}

#[test]
fn a_server_that_takes_less_than_the_store_believes_refuses_and_goes_on() {
    if !support::can_test("setting for the largest value", (4, 0, 0)) {
        return;
    }
    let redis = Redis::start(&["--proto-max-bulk-len", "1mb"]);
    let store = builder(redis.url()).pool_size(1).connect().unwrap();
    let old = bytes(MIB, 1);
    store.put("k", &old).unwrap();
    let check = |error: Error| {
        assert_eq!(error.store(), Some(store.name()));
        // The error contains what the server said, or has an unknown outcome, because the server closes the connection.
        match &error {
            Error::Backend(_) => assert!(cause_of(&error).contains("invalid bulk length"), "{error:?}"),
            Error::Unavailable(_) => assert!(error.outcome_unknown(), "{error:?}"),
            _ => panic!("{error:?}"),
        }
    };
    // The server closes the connection after its reply. The next operation must not meet the close, and sometimes would.
    for (size, rounds) in [(MIB + 1, 40), (2 * MIB, 40), (20 * MIB, 2)] {
        let large = bytes(size, 2);
        let operations: [(&str, Operation<'_>); 3] = [
            ("put", &|| store.put("k", &large)),
            ("put_many", &|| store.put_many([("other", &b"v"[..]), ("k", &large)])),
            ("create", &|| store.create("absent", &large).map(drop)),
        ];
        let value = size.to_string();
        for (what, operation) in operations.into_iter().cycle().take(rounds * operations.len()) {
            // The next operation has to work at once, also a write, which cannot be sent twice.
            let next: [(&str, Operation<'_>); 3] = [
                ("put", &|| store.put("next", &value)),
                ("get", &|| store.get("next").map(|read| assert_eq!(read.unwrap(), value))),
                ("put_many", &|| store.put_many([("next", &value)])),
            ];
            for (after, next) in next {
                let (error, result) = (operation().unwrap_err(), next());
                assert!(result.is_ok(), "{after} after a {what} of {size} bytes that failed: {result:?}");
                check(error);
            }
        }
        assert!(store.get("k").unwrap().unwrap() == old, "{size}");
        assert_eq!(store.get("absent").unwrap(), None);
    }
}

#[test]
fn a_hundred_thousand_keys_go_into_one_call() {
    let (redis, keys) = (Redis::start(&[]), names(100_000));
    let store = open(&redis);
    // Each key twice, the second time right after it or at the very end.
    let (first, last) = (|key: &str| format!("first {key}"), |key: &str| format!("last {key}"));
    let near = keys.iter().take(50_000).flat_map(|key| [(key, first(key)), (key, last(key))]);
    let far = keys.iter().skip(50_000);
    let entries = near.chain(far.clone().map(|key| (key, first(key)))).chain(far.map(|key| (key, last(key))));
    store.put_many(entries).unwrap();

    // Backwards, with duplicates, and with some that are not there.
    let asked: Vec<_> = keys.iter().rev().flat_map(|key| [key.clone(), format!("{key}-absent")]).collect();
    let asked: Vec<_> = asked.iter().chain(&asked[..5000]).collect();
    let values = store.get_many(&asked).unwrap();
    assert_eq!(values.len(), asked.len());
    for (key, value) in asked.iter().zip(values) {
        assert_eq!(value, (!key.ends_with("-absent")).then(|| last(key).into()), "{key}");
    }

    let deleted = store.delete_many(asked.iter().filter(|key| key.as_str() < "key-070000")).unwrap();
    let mut there: HashSet<_> = keys.iter().take(70_000).collect();
    for (key, deleted) in asked.iter().filter(|key| key.as_str() < "key-070000").zip(deleted) {
        assert_eq!(deleted, there.remove(key), "{key}");
    }
    assert!(there.is_empty());
    assert_eq!(ask::<usize>(&redis, &["DBSIZE"]), 30_000);
    let deleted = store.delete_many(keys.iter().chain(&keys)).unwrap();
    assert!(deleted.iter().enumerate().all(|(at, &deleted)| deleted == (70_000..100_000).contains(&at)));
    assert_eq!(ask::<usize>(&redis, &["DBSIZE"]), 0);
}
