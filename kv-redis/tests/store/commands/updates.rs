//! Conditional and atomic updates, by the commands that a server has.

use kv_redis::CounterFault;

use super::*;

/// Each kind of server, and users who may not use scripts, or a command of the ways without them.
fn on_each_way(act: impl Fn(&str, &RedisStore)) {
    let redis = Redis::start(&[]);
    on_each(&redis, &act);
    if !is_since((6, 0, 0)) {
        return;
    }
    for without in
        [&["-evalsha"][..], &["-@scripting"], &["-@scripting", "-getdel", "-getex"], &["-multi"], &["-multi", "-getex"]]
    {
        let without: Vec<_> =
            without.iter().filter(|right| is_since((6, 2, 0)) || !right.starts_with("-get")).copied().collect();
        let url = user(&redis, &redis.url(), &without);
        let builder = patient().url(&url).namespace("ns");
        act(&format!("{without:?}"), &builder.clone().connect().unwrap());
        act(&format!("{without:?}, shared connections"), &builder.clone().shared_connections(1).connect().unwrap());
        let pool = r2d2::Pool::builder().test_on_check_out(false).max_size(2);
        let pool = pool.build(redis::Client::open(&*url).unwrap()).unwrap();
        act(&format!("{without:?}, pool of the application"), &builder.build_on_pool(pool).unwrap());
    }
}

#[track_caller]
fn is_within(name: &str, left: Option<Remaining>, most: Duration) {
    let Some(Remaining::For(left)) = left else { panic!("{name}: {left:?}") };
    assert!(left <= most + Duration::from_millis(3) && left + PATIENCE > most, "{name}: {left:?} of {most:?}");
}

#[test]
fn a_value_is_replaced_or_removed_if_it_is_what_was_read_whatever_the_server_has() {
    on_each_way(|name, store| {
        let large = vec![0xC3; 100_000];
        for old in [&b""[..], b"v", b"\xFF\r\n\0", &large] {
            store.put("k", old).unwrap();
            let (read, version) = store.get_versioned("k").unwrap().unwrap();
            assert!(read == old, "{name}");
            let next =
                store.put_if("k", "new", LONG, &version).unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
            let next = next.unwrap_or_else(|| panic!("{name}: {} bytes are not what was read", old.len()));
            assert_eq!(store.get("k").unwrap().unwrap(), "new", "{name}");
            is_within(name, store.ttl("k").unwrap(), LONG);
            // The old version is refused, and changes nothing.
            assert!(store.put_if("k", "newer", Ttl::Forever, &version).unwrap().is_none(), "{name}");
            assert!(!store.delete_if("k", &version).unwrap(), "{name}");
            assert_eq!(store.get("k").unwrap().unwrap(), "new", "{name}");
            is_within(name, store.ttl("k").unwrap(), LONG);
            // Without a TTL the old one is gone.
            let next = store.put_if("k", "newest", Ttl::Forever, &next).unwrap().unwrap();
            assert_eq!(store.ttl("k").unwrap(), Some(Remaining::Forever), "{name}");
            assert!(store.delete_if("k", &next).unwrap(), "{name}");
            assert!(!store.delete_if("k", &next).unwrap(), "{name}");
            assert!(store.put_if("k", "again", Ttl::Forever, &next).unwrap().is_none(), "{name}");
            assert!(!store.contains("k").unwrap(), "{name}");
        }
        // A version of one key is none of another, although the values are equal.
        store.put_many([("a", "v"), ("b", "v")]).unwrap();
        let (_, of_a) = store.get_versioned("a").unwrap().unwrap();
        assert!(store.put_if("b", "w", Ttl::Forever, &of_a).unwrap().is_none(), "{name}");
        assert!(!store.delete_if("b", &of_a).unwrap(), "{name}");
        // With a zero TTL it is removed.
        assert!(store.put_if("a", "w", Duration::ZERO, &of_a).unwrap().is_some(), "{name}");
        assert!(store.get("a").unwrap().is_none(), "{name}");
        let version = store.create_versioned("a", "mine", LONG).unwrap().unwrap();
        assert!(store.create_versioned("a", "theirs", LONG).unwrap().is_none(), "{name}");
        assert!(store.delete_if("a", &version).unwrap(), "{name}");
    });
}

#[test]
fn takes_touching_reads_and_counters_work_whatever_the_server_has() {
    on_each_way(|name, store| {
        store.put("k", b"\0v").unwrap();
        assert_eq!(store.take("k").unwrap().unwrap(), &b"\0v"[..], "{name}");
        assert_eq!(store.take("k").unwrap(), None, "{name}");
        assert!(!store.contains("k").unwrap(), "{name}");

        store.put("k", "v").unwrap();
        assert_eq!(store.get_and_touch("k", LONG).unwrap().unwrap(), "v", "{name}");
        is_within(name, store.ttl("k").unwrap(), LONG);
        assert_eq!(store.get_and_touch("k", Ttl::Forever).unwrap().unwrap(), "v", "{name}");
        assert_eq!(store.ttl("k").unwrap(), Some(Remaining::Forever), "{name}");
        assert_eq!(store.get_and_touch("k", Duration::ZERO).unwrap().unwrap(), "v", "{name}");
        assert_eq!(store.get_and_touch("k", LONG).unwrap(), None, "{name}");
        assert_eq!(store.get_and_touch("k", Ttl::Forever).unwrap(), None, "{name}");

        assert_eq!(store.increment("n", 5, LONG).unwrap(), 5, "{name}");
        assert_eq!(store.increment("n", u32::MAX, Ttl::Forever).unwrap(), 5 + u64::from(u32::MAX), "{name}");
        assert_eq!(store.increment("n", 0, LONG / 2).unwrap(), 5 + u64::from(u32::MAX), "{name}");
        assert_eq!(store.get("n").unwrap().unwrap(), (5 + u64::from(u32::MAX)).to_string(), "{name}");
        is_within(name, store.ttl("n").unwrap(), LONG);
        assert_eq!(store.increment("gone", 3, Duration::ZERO).unwrap(), 3, "{name}");
        assert_eq!(store.get("gone").unwrap(), None, "{name}");
        assert_eq!(store.increment("n", 1, Duration::ZERO).unwrap(), 6 + u64::from(u32::MAX), "{name}");
        is_within(name, store.ttl("n").unwrap(), LONG);
        store.delete("n").unwrap();
        assert_eq!(store.increment("n", 7, Ttl::Forever).unwrap(), 7, "{name}");
        assert_eq!(store.ttl("n").unwrap(), Some(Remaining::Forever), "{name}");

        let most = i64::MAX.to_string();
        for (value, fault) in [
            ("", false),
            ("v", false),
            ("-7", false),
            ("-1", false),
            (" 7", false),
            ("7 ", false),
            ("007", false),
            ("+7", false),
            ("99999999999999999999", false),
            (&*most, true),
        ] {
            for ttl in [Ttl::Forever, Ttl::After(LONG)] {
                store.put("n", value).unwrap();
                let error = store.increment("n", 5, ttl).unwrap_err();
                let reason = if fault { CounterFault::TooLarge } else { CounterFault::NotANumber };
                assert!(
                    matches!(&error, Error::NotACounter { reason: found, .. } if *found == reason),
                    "{name}: {value:?}: {}",
                    chain(&error)
                );
                assert_eq!(store.get("n").unwrap().unwrap(), value, "{name}");
                assert_eq!(store.ttl("n").unwrap(), Some(Remaining::Forever), "{name}");
            }
        }
        assert_eq!(store.delete_many(["n", "k"]).unwrap(), [true, false], "{name}");
    });
}

/// A counter that expires between the `SET … NX` of one increment and its `INCRBY` would last for ever.
#[test]
fn a_counter_that_expires_over_and_over_never_loses_its_ttl_whatever_the_server_has() {
    const TTL: Duration = Duration::from_millis(2);
    let expires_again = |name: &str, store: &RedisStore, time: Duration| {
        let begun = Instant::now();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while begun.elapsed() < time {
                        store.increment("window", 1, TTL).unwrap();
                    }
                });
            }
        });
        thread::sleep(Duration::from_millis(20));
        assert_eq!(store.get("window").unwrap(), None, "{name}");
    };
    on_each_way(|name, store| expires_again(name, store, Duration::from_millis(100)));
    // Without scripts and transactions, `PTTL` tells.
    let redis = if is_since((6, 0, 0)) {
        Redis::start(&[])
    } else {
        Redis::start(&["--rename-command", "EVAL", "", "--rename-command", "EVALSHA", ""])
    };
    let url = if is_since((6, 0, 0)) { user(&redis, &redis.url(), &["-@scripting", "-multi"]) } else { redis.url() };
    for _ in 0..3 {
        let store = patient().url(&url).connect().unwrap();
        expires_again("without scripts and transactions", &store, Duration::from_millis(500));
    }
}

/// Redis counts below zero. What is taken back of that must not begin a counter below zero that lasts for ever.
#[test]
fn what_is_taken_back_makes_no_entry_where_one_has_expired() {
    let redis = Redis::start(&[]);
    let store = patient().url(redis.url()).connect().unwrap();
    for round in 0..150 {
        store.put_with_ttl("n", "-7", Duration::from_millis(2)).unwrap();
        let begun = Instant::now();
        while store.increment("n", 5, LONG).is_err() {
            assert!(begun.elapsed() < PATIENCE, "{:?} stays, in round {round}", store.get("n"));
        }
        assert_eq!(store.get("n").unwrap().unwrap(), "5", "in round {round}");
        store.delete("n").unwrap();
    }
}

#[test]
fn many_writers_of_one_entry_lose_nothing_whatever_the_server_has() {
    const THREADS: usize = 8;
    const EACH: usize = 5;
    on_each_way(|name, store| {
        store.delete_many(["list", "n", "code"]).unwrap();
        thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    scope.spawn(move || {
                        let mut taken = 0;
                        for round in 0..EACH {
                            let add = |old: Option<kv_redis::Bytes>| {
                                Some([&old.unwrap_or_default()[..], &[u8::try_from(thread).unwrap()]].concat())
                            };
                            store
                                .update("list", Ttl::Forever, add)
                                .unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
                            store.increment("n", 2, LONG).unwrap();
                            store.create("code", round.to_string()).unwrap();
                            taken += usize::from(store.take("code").unwrap().is_some());
                        }
                        taken
                    })
                })
                .collect();
            let taken = threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>();
            assert!((1..=THREADS * EACH).contains(&taken), "{name}: {taken}");
        });
        let list = store.get("list").unwrap().unwrap();
        for thread in 0..THREADS {
            assert_eq!(list.iter().filter(|&&byte| usize::from(byte) == thread).count(), EACH, "{name}");
        }
        assert_eq!(store.get("n").unwrap().unwrap(), (2 * THREADS * EACH).to_string(), "{name}");
    });
}

#[test]
fn an_update_is_one_request_where_the_server_has_a_command_or_scripts() {
    let redis = Redis::start(&[]);
    let store = patient().url(redis.url()).pool_size(1).connect().unwrap();
    store.put("k", "v").unwrap();
    let version = store.get_versioned("k").unwrap().unwrap().1;
    let removed = store.create_versioned("l", "v", LONG).unwrap().unwrap();
    // The server learns the scripts.
    store.put_if("k", "v", Ttl::Forever, &version).unwrap().unwrap();
    assert!(store.delete_if("l", &removed).unwrap());
    redis.command(&["CONFIG", "RESETSTAT"]);
    for _ in 0..10 {
        store.put_if("k", "v", LONG, &version).unwrap().unwrap();
        assert!(!store.delete_if("l", &removed).unwrap());
    }
    let [scripts, sets] = ["evalsha", "set"].map(|command| redis.count_of_calls(command));
    let removals = calls(&redis, &["delifeq", "delex"]).iter().sum::<u64>();
    // Scripts call `SET`, too.
    assert_eq!(if scripts == 20 { scripts } else { scripts + sets + removals }, 20, "{scripts}, {sets}, {removals}");
    assert_eq!(calls(&redis, &["eval", "watch"]), [0, 0]);
    if scripts < 20 {
        return;
    }
    // A server that was told to forget them, or was restarted, learns them again.
    redis.command(&["SCRIPT", "FLUSH"]);
    assert!(store.put_if("k", "w", LONG, &version).unwrap().is_some());
    assert_eq!(store.get("k").unwrap().unwrap(), "w");
    let (_, version) = store.get_versioned("k").unwrap().unwrap();
    redis.restart();
    store.put("k", "w").unwrap();
    assert!(store.delete_if("k", &version).unwrap());
}

#[test]
fn nodes_of_a_cluster_and_slots_on_their_way_take_updates() {
    if !can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let store = patient().cluster(cluster.urls()).connect().unwrap();
    let all = |store: &RedisStore, begin: &str| {
        for number in 0..30 {
            let key = format!("{begin}{number}");
            let version = store.create_versioned(&key, "1", LONG).unwrap().unwrap();
            let version = store.put_if(&key, "2", LONG, &version).unwrap().unwrap();
            assert_eq!(store.increment(&key, 5, LONG).unwrap(), 7);
            assert!(!store.delete_if(&key, &version).unwrap());
            assert_eq!(store.get_and_touch(&key, Ttl::Forever).unwrap().unwrap(), "7");
            assert_eq!(store.take(&key).unwrap().unwrap(), "7");
        }
    };
    all(&store, "");
    let without_scripts = is_since((6, 0, 0)).then(|| {
        let without = &["-@scripting", "-delifeq", "-delex"];
        for node in cluster.nodes() {
            user(node, "", without);
        }
        let urls = cluster.urls().into_iter().map(|url| url.replace("redis://", "redis://app:secret@"));
        let store = patient().cluster(urls).connect().unwrap();
        all(&store, "without_scripts");
        store
    });
    let slot = cluster.slot_of("{tag}");
    let from = cluster.primary_of_slot(slot);
    let migration = cluster.migrate_slot(slot, from, (from + 1) % 3);
    store.put("{tag}there", "v").unwrap();
    migration.move_keys();
    let (_, version) = store.get_versioned("{tag}there").unwrap().unwrap();
    assert!(store.put_if("{tag}there", "w", LONG, &version).unwrap().is_some());
    assert_eq!(store.take("{tag}there").unwrap().unwrap(), "w");
    if let Some(store) = without_scripts {
        // On the node that gets the slot `WATCH` decides nothing, which is an error and no "changed".
        store.put("{tag}there", "v").unwrap();
        let (_, version) = store.get_versioned("{tag}there").unwrap().unwrap();
        let error = store.delete_if("{tag}there", &version).unwrap_err();
        assert!(error.is_transient() && !error.outcome_unknown(), "{}", chain(&error));
        assert!(store.delete("{tag}there").unwrap());
    }
    migration.finish();
    cluster.wait_until_ok();
    all(&store, "{tag}");
}

#[test]
fn a_user_who_has_no_way_to_compare_is_told_so_and_nothing_is_changed() {
    if !is_since((6, 0, 0)) {
        return;
    }
    let redis = Redis::start(&[]);
    let without = &["-@scripting", "-watch", "-delifeq", "-delex"];
    let store = patient().url(user(&redis, &redis.url(), without)).connect().unwrap();
    store.put("k", "v").unwrap();
    let (_, version) = store.get_versioned("k").unwrap().unwrap();
    let error = store.delete_if("k", &version).unwrap_err();
    assert!(matches!(error, Error::Backend(_)) && !error.outcome_unknown(), "{}", chain(&error));
    assert!(chain(&error).contains("EVAL") && chain(&error).contains("WATCH"), "{}", chain(&error));
    assert_eq!(store.get("k").unwrap().unwrap(), "v");
}

#[test]
fn another_type_at_the_key_is_an_error_and_stays() {
    let redis = Redis::start(&[]);
    for (name, url) in servers(&redis) {
        let store = patient().url(&url).connect().unwrap();
        redis.command(&["DEL", "list"]);
        redis.command(&["RPUSH", "list", "item"]);
        let version = kv_redis::Version::of_content(kv_redis::Key::new("list").unwrap(), "v".into());
        let errors = [
            store.put_if("list", "w", LONG, &version).unwrap_err(),
            store.delete_if("list", &version).unwrap_err(),
            store.take("list").unwrap_err(),
            store.get_versioned("list").unwrap_err(),
            store.increment("list", 1, LONG).unwrap_err(),
        ];
        for error in errors {
            assert!(chain(&error).contains("WRONGTYPE"), "{name}: {}", chain(&error));
        }
        assert_eq!(redis.command(&["LLEN", "list"]), redis::Value::Int(1), "{name}");
    }
}
