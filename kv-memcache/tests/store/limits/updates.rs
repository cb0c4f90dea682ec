//! Conditional and atomic updates.

use kv_memcache::{Bytes, CounterFault};

use super::*;

const LONG: Duration = Duration::from_secs(1000);

#[test]
fn a_version_is_good_for_one_write() {
    if !can("a version is good for one write", Need::Meta) {
        return;
    }
    let (_server, store, mut raw) = start(&[]);
    let large = vec![0xC3; 500_000];
    for old in [&b""[..], b"v", b"\r\nEN\r\n", &large] {
        store.put("k", old).unwrap();
        let (value, version) = store.get_versioned("k").unwrap().unwrap();
        assert!(value == old);
        assert_eq!(store.get_versioned("k").unwrap().unwrap().1, version);
        let next = store.put_if("k", &large, LONG, &version).unwrap().unwrap();
        assert!(store.get("k").unwrap().unwrap() == large);
        assert!((999..=1004).contains(&seconds_left(&mut raw, "k").unwrap()));
        assert!(store.put_if("k", "no", Ttl::Forever, &version).unwrap().is_none());
        assert!(!store.delete_if("k", &version).unwrap());
        assert!((990..=1004).contains(&seconds_left(&mut raw, "k").unwrap()));
        let next = store.put_if("k", &large, Ttl::Forever, &next).unwrap().unwrap();
        assert_eq!(seconds_left(&mut raw, "k"), Some(-1));
        // A touch keeps the version; equal bytes have another one.
        assert!(store.touch("k", LONG).unwrap());
        assert_eq!(store.get_and_touch("k", Ttl::Forever).unwrap().unwrap(), large);
        assert_eq!(store.get_versioned("k").unwrap().unwrap().1, next);
        store.put("k", &large).unwrap();
        assert!(!store.delete_if("k", &next).unwrap());
        let (_, version) = store.get_versioned("k").unwrap().unwrap();
        assert!(store.delete_if("k", &version).unwrap());
        assert!(store.put_if("k", "no", Ttl::Forever, &version).unwrap().is_none());
        assert!(store.get("k").unwrap().is_none());
    }
    let version = store.create_versioned("k", "mine", LONG).unwrap().unwrap();
    assert!(store.create_versioned("k", "theirs", LONG).unwrap().is_none());
    store.put("l", "mine").unwrap();
    assert!(store.put_if("l", "no", LONG, &version).unwrap().is_none());
    assert!(store.put_if("k", "v", Duration::ZERO, &version).unwrap().is_some());
    assert!(store.get("k").unwrap().is_none());
}

#[test]
fn what_is_taken_is_gone_and_a_read_can_set_a_ttl() {
    if !can("what is taken is gone and a read can set a TTL", Need::Meta) {
        return;
    }
    let (_server, store, mut raw) = start(&[]);
    store.put("k", "v").unwrap();
    assert_eq!(store.get_and_touch("k", LONG).unwrap().unwrap(), "v");
    assert!((999..=1004).contains(&seconds_left(&mut raw, "k").unwrap()));
    assert_eq!(store.get_and_touch("k", 45 * DAY).unwrap().unwrap(), "v");
    assert!(seconds_left(&mut raw, "k").unwrap() > 44 * 24 * 60 * 60);
    assert_eq!(store.get_and_touch("k", Ttl::Forever).unwrap().unwrap(), "v");
    assert_eq!(seconds_left(&mut raw, "k"), Some(-1));
    assert_eq!(store.take("k").unwrap().unwrap(), "v");
    assert_eq!(store.take("k").unwrap(), None);
    store.put("k", "w").unwrap();
    assert_eq!(store.get_and_touch("k", Duration::ZERO).unwrap().unwrap(), "w");
    assert_eq!(store.get_and_touch("k", LONG).unwrap(), None);
}

#[test]
fn counters_begin_at_zero_keep_their_ttl_and_are_text() {
    if !can("counters begin at zero, keep their TTL and are text", Need::Meta) {
        return;
    }
    let (_server, store, mut raw) = start(&[]);
    assert_eq!(store.increment("n", 7, LONG).unwrap(), 7);
    assert_eq!(store.increment("n", u32::MAX, Ttl::Forever).unwrap(), 7 + u64::from(u32::MAX));
    assert_eq!(store.increment("n", 0, Duration::ZERO).unwrap(), 7 + u64::from(u32::MAX));
    assert!((990..=1004).contains(&seconds_left(&mut raw, "n").unwrap()));
    assert_eq!(store.get("n").unwrap().unwrap(), (7 + u64::from(u32::MAX)).to_string());
    assert_eq!(store.increment("gone", 3, Duration::ZERO).unwrap(), 3);
    assert_eq!(store.get("gone").unwrap(), None);
    store.put("n", "99").unwrap();
    assert_eq!(store.increment("n", 1, LONG).unwrap(), 100);
    assert_eq!(store.get("n").unwrap().unwrap(), "100");
    store.put("n", (i64::MAX - 1).to_string()).unwrap();
    assert_eq!(store.increment("n", 1, LONG).unwrap(), u64::try_from(i64::MAX).unwrap());
    for (value, expected) in [
        ("", CounterFault::NotANumber),
        ("v", CounterFault::NotANumber),
        ("-1", CounterFault::NotANumber),
        ("1.5", CounterFault::NotANumber),
        ("99999999999999999999", CounterFault::NotANumber),
        ("9223372036854775807", CounterFault::TooLarge),
    ] {
        store.put("n", value).unwrap();
        let error = store.increment("n", 1, LONG).unwrap_err();
        assert!(
            matches!(&error, Error::NotACounter { reason, .. } if *reason == expected),
            "{value:?}: {}",
            chain(&error)
        );
        assert_eq!(store.get("n").unwrap().unwrap(), value);
        assert_eq!(seconds_left(&mut raw, "n"), Some(-1));
    }
}

#[test]
fn many_writers_of_one_entry_lose_nothing() {
    const THREADS: usize = 8;
    const EACH: usize = 20;
    if !can("many writers of one entry lose nothing", Need::Meta) {
        return;
    }
    let (_server, store, _) = start(&[]);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for round in 0..EACH {
                    let own = u8::try_from(thread).unwrap();
                    let add = |old: Option<Bytes>| Some([&old.unwrap_or_default()[..], &[own]].concat());
                    store.update("list", Ttl::Forever, add).unwrap();
                    store.increment("n", 2, LONG).unwrap();
                    store.create("code", round.to_string()).unwrap();
                    store.take("code").unwrap();
                }
            });
        }
    });
    let list = store.get("list").unwrap().unwrap();
    for thread in 0..THREADS {
        assert_eq!(list.iter().filter(|&&byte| usize::from(byte) == thread).count(), EACH);
    }
    assert_eq!(store.get("n").unwrap().unwrap(), (2 * THREADS * EACH).to_string());
}

#[test]
fn a_server_without_versions_is_an_error_that_says_so() {
    if !can("a server without versions is an error that says so", Need::Meta) {
        return;
    }
    let (_server, store, _) = start(&["-C"]);
    store.put("k", "v").unwrap();
    for error in [store.get_versioned("k").unwrap_err(), store.take("k").unwrap_err()] {
        assert!(chain(&error).contains("`-C`"), "{}", chain(&error));
    }
    assert_eq!(store.get("k").unwrap().unwrap(), "v");
    // What was made there can never be told from what others make.
    let version = store.create_versioned("lock", "mine", LONG).unwrap().unwrap();
    assert!(!store.delete_if("lock", &version).unwrap());
    assert!(store.put_if("lock", "mine", LONG, &version).unwrap().is_none());
    assert_eq!(store.get("lock").unwrap().unwrap(), "mine");
    assert_eq!(store.increment("n", 1, LONG).unwrap(), 1);
}
