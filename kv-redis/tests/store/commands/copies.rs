//! Copies, by the commands that a server has.

use super::*;

#[test]
fn an_entry_is_copied_whatever_commands_the_server_has() {
    let redis = Redis::start(&[]);
    let large = vec![0xC3; 1 << 20];
    on_each(&redis, |name, store| {
        let longest = store.capabilities().longest_ttl();
        for value in [&b""[..], b"v\r\n\0\xFF", &large] {
            for ttl in [Ttl::Forever, Ttl::After(LONG), Ttl::After(longest)] {
                store.put_with_ttl("from", value, ttl).unwrap();
                store.put_with_ttl("to", "old", Duration::from_secs(5)).unwrap();
                store.copy("from", "to").unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
                assert!(store.get("to").unwrap().unwrap() == value, "{name}");
                match (store.ttl("from").unwrap().unwrap(), store.ttl("to").unwrap().unwrap()) {
                    (Remaining::Forever, Remaining::Forever) => assert_eq!(ttl, Ttl::Forever, "{name}"),
                    (Remaining::For(from), Remaining::For(to)) => {
                        let late = Duration::from_millis(500);
                        assert!(to + late > from && from + late > to, "{name}: {from:?} {to:?}");
                    }
                    other => panic!("{name}: {other:?}"),
                }
            }
        }
        store.put_with_ttl("to", "stays", LONG).unwrap();
        assert!(matches!(store.copy("absent", "to").unwrap_err(), Error::NotFound { .. }), "{name}");
        assert_eq!(store.get("to").unwrap().unwrap(), "stays", "{name}");
        assert!(matches!(store.ttl("to").unwrap(), Some(Remaining::For(_))), "{name}");
        // A target of another type is replaced. A source of another type may be copied or refused.
        redis.command(&["DEL", "ns:to", "ns:hash"]);
        redis.command(&["HSET", "ns:hash", "field", "value"]);
        redis.command(&["HSET", "ns:to", "field", "value"]);
        store.copy("from", "to").unwrap();
        assert!(store.get("to").unwrap().unwrap() == large, "{name}");
        match store.copy("hash", "to") {
            Ok(()) => {}
            Err(error) => assert!(chain(&error).contains("WRONGTYPE"), "{name}: {}", chain(&error)),
        }
    });
}

/// How often a server gets a command during a hundred copies.
#[track_caller]
fn copies(redis: &Redis, url: &str, expected: [u64; 6]) {
    let store = patient().url(url).pool_size(1).connect().unwrap();
    store.put("from", "v").unwrap();
    // A refused command is sent only once.
    store.copy("from", "to").unwrap();
    redis.command(&["CONFIG", "RESETSTAT"]);
    for _ in 0..100 {
        store.copy("from", "to").unwrap();
    }
    // Some servers count a command that they refused.
    assert_eq!(calls(redis, &["copy", "eval", "get", "pttl", "set", "multi"]), expected);
}

#[test]
fn a_copy_is_one_request_where_scripts_are_allowed_and_two_where_they_are_not() {
    let redis = Redis::start(&[]);
    let script = [0, 100, 100, 100, 100, 0];
    if !is_since((6, 2, 0)) {
        return copies(&redis, &redis.url(), script);
    }
    copies(&redis, &redis.url(), [100, 0, 0, 0, 0, 0]);
    copies(&redis, &user(&redis, &redis.url(), &["-eval"]), [100, 0, 0, 0, 0, 0]);
    copies(&redis, &seen_as(&redis, vec![version(&redis, "6.0.")]), script);
    copies(&redis, &user(&redis, &redis.url(), &["-copy"]), script);
    copies(&redis, &user(&redis, &redis.url(), &["-copy", "-eval"]), [0, 0, 100, 100, 100, 100]);
    let renamed = without_copy();
    copies(&renamed, &renamed.url(), script);
}

#[test]
fn nodes_of_a_cluster_may_differ_in_what_they_have() {
    if !can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let acl = is_since((6, 0, 0));
    if acl {
        for (node, without) in cluster.nodes().iter().zip([&[][..], &["-copy"], &["-copy", "-eval"]]) {
            let without: Vec<_> =
                without.iter().filter(|right| is_since((6, 2, 0)) || **right != "-copy").copied().collect();
            user(node, "", &without);
        }
    }
    let (user, password) = if acl { ("app:secret@", true) } else { ("", false) };
    let urls = cluster.urls().into_iter().map(|url| url.replace("redis://", &format!("redis://{user}")));
    let store = patient().cluster(urls).connect().unwrap();
    for number in 0..300 {
        let [from, to] = ["from", "to"].map(|name| format!("{{{number}}}{name}"));
        store.put(&from, "v").unwrap();
        store.copy(&from, &to).unwrap_or_else(|error| panic!("{password}: {}", chain(&error)));
        assert_eq!(store.get(&to).unwrap().unwrap(), "v");
    }
    assert_eq!(listed(&store).len(), 600);
}

#[test]
fn many_threads_that_share_connections_meet_a_refused_command_together() {
    let redis = without_copy();
    for shared in [1, 2] {
        let store = patient().url(redis.url()).shared_connections(shared).build().unwrap();
        thread::scope(|scope| {
            for thread in 0..16 {
                let store = &store;
                scope.spawn(move || {
                    let [from, to] = ["from", "to"].map(|name| format!("{name}{thread}"));
                    for round in 0..50 {
                        store.put(&from, round.to_string()).unwrap();
                        store.copy(&from, &to).unwrap();
                        assert_eq!(store.get(&to).unwrap().unwrap(), round.to_string());
                    }
                });
            }
        });
    }
}
