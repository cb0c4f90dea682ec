//! When entries expire.

use super::*;

/// The longest TTL becomes a day shorter at one moment of each day, which must not come in the middle of a test.
fn longest(store: &MemcacheStore) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let left_today = (u64::from(i32::MAX.unsigned_abs()) - now) % DAY.as_secs();
    if left_today < 60 {
        thread::sleep(Duration::from_secs(left_today + 1));
    }
    store.capabilities().longest_ttl()
}

#[test]
fn a_ttl_is_taken_for_what_it_is() {
    if !can("a ttl is taken for what it is", Need::Meta) {
        return;
    }
    let (_server, store, mut raw) = start(&[]);
    let longest = longest(&store);
    let resolution = store.capabilities().ttl_resolution();
    assert!(longest > 2 * MONTH, "{longest:?}");
    // TTLs that the server counts are exact. A date may be later by a second, and by the time that the server took to tell its time.
    let late = |given| if given <= MONTH.saturating_sub(2 * SECOND) { 3 * SECOND } else { 4 * SECOND + SECOND / 3 };
    assert!(resolution >= late(MONTH), "{resolution:?}");
    let less = |one: Duration, other| one.checked_sub(other).unwrap();
    let ttls = [
        Duration::from_nanos(1),
        Duration::from_millis(1),
        Duration::from_millis(999),
        SECOND,
        Duration::from_millis(1001),
        59 * SECOND,
        less(MONTH, 3 * SECOND),
        less(MONTH, 2 * SECOND),
        less(MONTH, SECOND),
        less(MONTH, Duration::from_millis(1)),
        MONTH,
        MONTH + Duration::from_millis(1),
        MONTH + SECOND,
        2 * MONTH,
        less(longest, SECOND),
        longest,
    ];
    for (number, given) in ttls.into_iter().enumerate() {
        for (name, write) in WRITES {
            let (key, what) = (format!("{name}:{number}"), format!("{name} {given:?}"));
            let begin = Instant::now();
            write(&store, &key, b"v", Ttl::After(given)).unwrap_or_else(|error| panic!("{what}: {}", chain(&error)));
            let (told, seconds) = (store.ttl(&key).unwrap(), seconds_left(&mut raw, &key));
            let passed = begin.elapsed();
            let (Some(Remaining::For(left)), Some(seconds)) = (told, seconds) else {
                panic!("{what}: {told:?}, {seconds:?} after {passed:?}")
            };
            assert!(
                left + passed + 2 * SECOND >= given && left + 2 * SECOND <= given + late(given),
                "{what}: {left:?}"
            );
            let seconds = Duration::from_secs(u64::try_from(seconds).unwrap());
            assert!(seconds + passed >= given && seconds <= given + late(given), "{what}: {seconds:?}");
        }
    }
}

/// Never early (T2), and not later than the store says.
#[test]
fn a_short_ttl_is_kept_and_expires() {
    let (_server, store, _raw) = start(&[]);
    // During a short TTL, the tick stays at the same place within the second.
    let resolution = 3 * SECOND + SECOND / 10;
    assert!(store.capabilities().ttl_resolution() <= resolution + SECOND + SECOND / 3);
    let mut entries = Vec::new();
    // At several moments within the server's second.
    for moment in 0..4 {
        for given in [1, 999, 1000].map(Duration::from_millis) {
            for (name, write) in WRITES {
                let key = format!("{name}:{}:{moment}", given.as_millis());
                let called = Instant::now();
                write(&store, &key, b"v", Ttl::After(given)).unwrap();
                entries.push((key, given, called, Instant::now()));
            }
        }
        thread::sleep(Duration::from_millis(270));
    }
    while !entries.is_empty() {
        entries.retain(|(key, given, called, returned)| {
            let asked = Instant::now();
            let is_there = store.get(key).unwrap().is_some();
            let answered = Instant::now();
            if is_there {
                assert!(asked < *returned + *given + resolution + SLACK, "{key} is still there");
            } else {
                assert!(answered >= *called + *given, "{key} went after {:?}", answered - *called);
            }
            is_there
        });
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_ttl_that_cannot_be_expressed_is_refused_and_changes_nothing() {
    if !can("a ttl that cannot be expressed is refused and changes nothing", Need::Meta) {
        return;
    }
    let (server, store, mut raw) = start(&[]);
    let longest = longest(&store);
    let too_long =
        [longest + Duration::from_nanos(1), longest + SECOND, 50 * 365 * DAY, 200 * 365 * DAY, Duration::MAX];
    store.put_with_ttl("k", "old", 1000 * SECOND).unwrap();
    let before = server.stat("bytes_read");
    for given in too_long {
        let errors = [
            store.put_with_ttl("k", "new", given).unwrap_err(),
            store.put_many_with_ttl([("other", "new", SECOND), ("k", "new", given)]).unwrap_err(),
            store.put_from_with_ttl("k", "new".as_bytes(), given).unwrap_err(),
            store.create_with_ttl("k", "new", given).unwrap_err(),
            store.touch("k", given).unwrap_err(),
        ];
        for error in errors {
            let Error::InvalidTtl { ttl, longest: told, .. } = &error else { panic!("{}", chain(&error)) };
            assert_eq!((*ttl, *told, error.key()), (given, longest, Some("k")));
            assert!(!error.is_transient() && !error.outcome_unknown());
        }
    }
    // Two questions of seven bytes.
    let sent = server.stat("bytes_read") - before;
    assert!(sent <= 14, "{sent}");
    assert_eq!(value_of(&mut raw, "k").as_deref(), Some("old"));
    assert!(seconds_left(&mut raw, "k").is_some_and(|left| (900..=1003).contains(&left)));
    assert_eq!(seconds_left(&mut raw, "other"), None);
    // A key that is absent stays so.
    store.create_with_ttl("absent", "new", Duration::MAX).unwrap_err();
    store.touch("absent", Duration::MAX).unwrap_err();
    assert_eq!(seconds_left(&mut raw, "absent"), None);
}

/// Lets the handshake of the next connection tell another time.
fn set_clock(proxy: &Proxy, change: impl Fn(u64) -> u64 + Send + 'static) {
    proxy.set(Behaviour::Edit(Box::new(move |piece| {
        const NAME: &str = "STAT time ";
        let text = String::from_utf8(piece.clone()).unwrap();
        let at = text.find(NAME).unwrap() + NAME.len();
        let end = at + text[at..].find("\r\n").unwrap();
        let time = change(text[at..end].parse().unwrap());
        *piece = format!("{}{time}{}", &text[..at], &text[end..]).into_bytes();
    })));
}

/// The server takes more than 30 days for a time by its own clock. So neither its clock nor ours has to be right.
#[test]
fn a_long_ttl_follows_the_clock_of_the_server() {
    if !can("a long ttl follows the clock of the server", Need::Meta) {
        return;
    }
    for hours in [2, 0, -2_i64] {
        let (_server, proxy, store, mut raw) = start_behind_a_proxy();
        set_clock(&proxy, move |time| time.checked_add_signed(hours * 3600).unwrap());
        // On the connection that was told so.
        for (name, write) in WRITES {
            for days in [20, 40] {
                let key = format!("{name}:{days}");
                write(&store, &key, b"v", Ttl::After(days * DAY)).unwrap();
                let shift = if days == 40 { hours * 3600 } else { 0 };
                let expected = i64::from(days) * 86_400 + shift;
                let left = seconds_left(&mut raw, &key).unwrap();
                assert!((expected - 20..=expected + 4).contains(&left), "{key}, {hours} h: {left}");
            }
        }
        assert_eq!(proxy.accepted(), 1);
    }
}

/// On a slow network, each new connection has a slow clock, so a connection for each write would gain nothing.
#[test]
fn on_a_slow_network_a_long_ttl_costs_one_connection_more_and_not_one_for_each_write() {
    if !can("on a slow network a long ttl costs one connection more and not one for each write", Need::Meta) {
        return;
    }
    thread::scope(|scope| {
        for one_way in [Duration::from_millis(300), SECOND] {
            scope.spawn(move || {
                let (_server, proxy, store, mut raw) = start_behind_a_proxy();
                let resolution = store.capabilities().ttl_resolution();
                proxy.set(Behaviour::Delay(one_way));
                store.put("k", "v").unwrap();
                assert_eq!(proxy.accepted(), 1);
                for write in 0..4 {
                    let begin = Instant::now();
                    store.put_with_ttl("k", "v", 40 * DAY).unwrap();
                    let left = Duration::from_secs(u64::try_from(seconds_left(&mut raw, "k").unwrap()).unwrap());
                    assert!(left + begin.elapsed() >= 40 * DAY, "{write}: {left:?}");
                    // Counted from the return: the write takes as long as the question did.
                    assert!(left <= 40 * DAY + resolution, "{write}: {left:?}");
                    assert_eq!(proxy.accepted(), 2, "{write}");
                }
                // And for what is read and written between two of them.
                store.get("k").unwrap();
                assert!(store.touch("k", 40 * DAY).unwrap());
                assert_eq!(proxy.accepted(), 2);
            });
        }
    });
}

/// A clock that happened to be slow is soon replaced.
#[test]
fn after_a_slow_handshake_a_long_ttl_follows_the_clock_of_a_new_connection() {
    if !can("after a slow handshake a long ttl follows the clock of a new connection", Need::Meta) {
        return;
    }
    let (_server, proxy, store, mut raw) = start_behind_a_proxy();
    proxy.set(Behaviour::Delay(2 * SECOND));
    store.put("k", "v").unwrap();
    proxy.pass();
    for _ in 0..3 {
        store.put_with_ttl("k", "v", 40 * DAY).unwrap();
        let left = Duration::from_secs(u64::try_from(seconds_left(&mut raw, "k").unwrap()).unwrap());
        assert!(left <= 40 * DAY + store.capabilities().ttl_resolution(), "{left:?}");
    }
    assert_eq!(proxy.accepted(), 2);
}

/// If the server's clock is ahead, we may be able to express longer TTLs than the server.
#[test]
fn a_ttl_that_the_servers_clock_cannot_express_is_refused() {
    if !can("a ttl that the servers clock cannot express is refused", Need::Meta) {
        return;
    }
    let (_server, proxy, store, mut raw) = start_behind_a_proxy();
    set_clock(&proxy, |_| u64::from(i32::MAX.unsigned_abs()) - 30 * 86_400);
    store.put_with_ttl("k", "old", 1000 * SECOND).unwrap();
    for error in [
        store.put_with_ttl("k", "new", 40 * DAY).unwrap_err(),
        store.put_many_with_ttl([("k", "new", 40 * DAY), ("l", "new", SECOND)]).unwrap_err(),
        store.create_with_ttl("l", "new", 40 * DAY).unwrap_err(),
        store.touch("k", 40 * DAY).unwrap_err(),
    ] {
        let text = chain(&error);
        assert!(matches!(&error, Error::InvalidTtl { .. }), "{text}");
        if let Error::InvalidTtl { longest, .. } = error {
            assert!((29 * DAY..30 * DAY).contains(&longest), "{text}");
        }
    }
    assert_eq!(value_of(&mut raw, "k").as_deref(), Some("old"));
    assert!(seconds_left(&mut raw, "k").is_some_and(|left| (900..=1003).contains(&left)));
    assert_eq!(seconds_left(&mut raw, "l"), None);
    // The connection is still used.
    store.put_with_ttl("k", "new", 20 * DAY).unwrap();
    assert_eq!(proxy.accepted(), 1);
}

#[test]
fn with_a_ttl_of_zero_the_key_is_absent() {
    if !can("with a ttl of zero the key is absent", Need::Meta) {
        return;
    }
    let (_server, store, mut raw) = start(&[]);
    let writes = WRITES.into_iter().filter(|(name, _)| !matches!(*name, "create" | "touch"));
    for (name, write) in writes {
        for old in [None, Some(Ttl::Forever), Some(Ttl::After(1000 * SECOND))] {
            if let Some(ttl) = old {
                store.put_with_ttl(name, "old", ttl).unwrap();
            }
            write(&store, name, b"new", Ttl::After(Duration::ZERO)).unwrap();
            assert_eq!(store.get(name).unwrap(), None, "{name} over {old:?}");
            assert_eq!(seconds_left(&mut raw, name), None, "{name} over {old:?}");
        }
    }
    assert!(store.create_with_ttl("create", "new", Duration::ZERO).unwrap());
    assert_eq!(value_of(&mut raw, "create"), None);
    store.put("create", "old").unwrap();
    assert!(!store.create_with_ttl("create", "new", Duration::ZERO).unwrap());
    assert_eq!(value_of(&mut raw, "create").as_deref(), Some("old"));
    assert!(!store.touch("touch", Duration::ZERO).unwrap());
    store.put("touch", "old").unwrap();
    assert!(store.touch("touch", Duration::ZERO).unwrap());
    assert_eq!(value_of(&mut raw, "touch"), None);
    // Of the same key the last one wins, whichever that is.
    let (zero, long) = (Ttl::After(Duration::ZERO), Ttl::After(1000 * SECOND));
    store.put_many_with_ttl([("k", "1", long), ("k", "2", zero)]).unwrap();
    assert_eq!(value_of(&mut raw, "k"), None);
    store.put_many_with_ttl([("k", "1", zero), ("k", "2", long)]).unwrap();
    assert_eq!(value_of(&mut raw, "k").as_deref(), Some("2"));
}

#[test]
fn writes_without_a_ttl_have_the_default_ttl() {
    if !can("writes without a ttl have the default ttl", Need::Meta) {
        return;
    }
    let (server, for_ever, mut raw) = start(&[]);
    for given in [100 * SECOND, MONTH + DAY] {
        let store = patient(&server).default_ttl(given).connect().unwrap();
        let expected = i64::try_from(given.as_secs()).unwrap();
        store.put("put", "v").unwrap();
        store.put_many([("put_many", "v")]).unwrap();
        store.put_from("put_from", "v".as_bytes()).unwrap();
        store.delete("create").unwrap();
        assert!(store.create("create", "v").unwrap());
        for_ever.put("touch", "v").unwrap();
        assert!(store.touch("touch", Ttl::Default).unwrap());
        for key in ["put", "put_many", "put_from", "create", "touch"] {
            let left = seconds_left(&mut raw, key).unwrap();
            assert!((expected - 20..=expected + 4).contains(&left), "{key}: {left}");
            // Without one it is for ever.
            for_ever.put(key, "v").unwrap();
            assert_eq!(seconds_left(&mut raw, key), Some(-1), "{key}");
            assert_eq!(for_ever.ttl(key).unwrap(), Some(Remaining::Forever));
        }
        store.put_with_ttl("put", "v", Ttl::Forever).unwrap();
        assert_eq!(seconds_left(&mut raw, "put"), Some(-1));
    }
}

#[test]
fn a_default_ttl_is_treated_as_any_other() {
    if !can("a default ttl is treated as any other", Need::Meta) {
        return;
    }
    let (server, store, mut raw) = start(&[]);
    let longest = store.capabilities().longest_ttl();
    for ttl in [longest + SECOND, Duration::MAX] {
        let error = patient(&server).default_ttl(ttl).build().unwrap_err();
        let says = format!("`default_ttl` is {ttl:?}, and the longest that memcached takes is ");
        assert!(chain(&error).contains(&says), "{}", chain(&error));
    }
    store.put("k", "old").unwrap();

    let store = patient(&server).default_ttl(Duration::ZERO).connect().unwrap();
    store.put("k", "new").unwrap();
    assert_eq!(seconds_left(&mut raw, "k"), None);
    store.put_with_ttl("k", "v", 100 * SECOND).unwrap();
    assert!(store.touch("k", Ttl::Default).unwrap());
    assert_eq!(seconds_left(&mut raw, "k"), None);
}
