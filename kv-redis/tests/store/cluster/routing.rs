//! Which node a request goes to.

use super::*;

#[test]
fn a_batch_is_split_by_node_and_takes_a_round_trip_a_chunk() {
    const KEYS: usize = 10_000;
    // A server reads 16 KiB at a time, and a chunk of 1024 keys has some of that.
    const READS: u64 = 100;
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 1);
    let primaries = &cluster.nodes()[..3];
    let store = connect(&cluster);
    // Counted since redis 6.
    let read = |node: &Redis| match node.info("total_reads_processed") {
        Some(reads) => reads.parse().unwrap(),
        None if !support::is_since((6, 0, 0)) => 0,
        None => panic!("it does not count what it reads"),
    };
    let reads = || primaries.iter().map(|node| -> u64 { read(node) });
    let keys: Vec<_> = (0..KEYS).map(|number| format!("key{number}")).collect();
    // Every hundredth once more, with another value.
    let entries = keys.iter().map(|key| (key, format!("{key}'s")));
    let again = keys.iter().step_by(100).map(|key| (key, format!("{key}'s last")));
    let value = |number: usize| format!("key{number}'s{}", if number.is_multiple_of(100) { " last" } else { "" });

    forget_counts(&cluster);
    store.put_many(entries.chain(again)).unwrap();
    assert!(reads().all(|reads| reads <= READS), "{:?}", reads().collect::<Vec<_>>());
    let sets: Vec<_> = primaries.iter().map(|node| node.count_of_calls("set")).collect();
    assert_eq!(sets.iter().sum::<u64>(), 10_100, "{sets:?}");
    let sizes: Vec<u64> =
        primaries.iter().map(|node| redis::from_redis_value(node.command(&["DBSIZE"])).unwrap()).collect();
    assert_eq!(sizes.iter().sum::<u64>(), KEYS as u64);
    assert!(sizes.iter().all(|&size| size > 3000), "{sizes:?}");

    // Backwards, each twice, and an absent one.
    let asked = (0..KEYS).rev().flat_map(|number| [number, number]).chain([KEYS]);
    forget_counts(&cluster);
    let values = store.get_many(asked.clone().map(|number| format!("key{number}"))).unwrap();
    assert!(reads().all(|reads| reads <= READS), "{:?}", reads().collect::<Vec<_>>());
    let gets: u64 = primaries.iter().map(|node| node.count_of_calls("mget")).sum();
    assert_eq!(gets, 2 * KEYS as u64 + 1);
    assert_eq!(values.len(), 2 * KEYS + 1);
    for (value_got, number) in values.iter().zip(asked) {
        let expected = (number < KEYS).then(|| value(number));
        assert_eq!(value_got.as_deref(), expected.as_deref().map(str::as_bytes), "key{number}");
    }

    forget_counts(&cluster);
    let asked = keys.iter().map(String::as_str).chain(["absent", "key7", "key0"]);
    let removed = store.delete_many(asked).unwrap();
    assert!(reads().all(|reads| reads <= READS), "{:?}", reads().collect::<Vec<_>>());
    assert_eq!(primaries.iter().map(|node| node.count_of_calls("del")).sum::<u64>(), KEYS as u64 + 3);
    assert_eq!(removed, [vec![true; KEYS], vec![false; 3]].concat());
    assert_eq!((redirections(&cluster, "MOVED"), redirections(&cluster, "ASK")), (0, 0));
}

#[test]
fn keys_with_a_hash_tag_are_together_and_are_copied_and_renamed_by_one_command() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let builder = || patient().cluster(cluster.urls());
    let (plain, shop) = (builder().connect().unwrap(), builder().namespace("shop").connect().unwrap());
    for store in [plain, shop.clone(), shop.with_namespace("acme").unwrap()] {
        store.put_with_ttl("{tag}from", "v", LONG).unwrap();
        store.put("{tag}to", "old").unwrap();
        forget_counts(&cluster);
        store.copy("{tag}from", "{tag}to").unwrap();
        store.rename("{tag}from", "and{tag}").unwrap();
        let calls = |command| cluster.nodes().iter().map(|node| node.count_of_calls(command)).sum::<u64>();
        let counts = ["copy", "rename", "get", "set", "del", "pttl", "exec", "pexpire"].map(calls);
        // Without `COPY` one script.
        let expected = if support::is_since((6, 2, 0)) { [1, 1, 0, 0, 0, 0, 0, 0] } else { [0, 1, 1, 1, 0, 2, 0, 1] };
        assert_eq!(counts, expected);
        for key in ["{tag}to", "and{tag}"] {
            assert_eq!(store.get(key).unwrap().as_deref(), Some(&b"v"[..]));
            check_ttl(&store, key, true);
        }
        assert_eq!(store.get("{tag}from").unwrap(), None);
    }
}

#[test]
fn copy_and_rename_across_slots_keep_value_and_ttl() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let store = connect(&cluster);
    let [one, two, three] = tags::<3>(&cluster);
    let is_of_the_first = |key: &String| cluster.primary_of_slot(cluster.slot_of(key)) == 0;
    let same_node = (0..1000).map(|number| format!("n{number}")).find(is_of_the_first).unwrap();
    assert_ne!(cluster.slot_of(&same_node), cluster.slot_of(&one));
    let large = vec![0xC3; 2 << 20];
    let values = [&b""[..], b"v\r\n\0\xFF", &large];
    for (value, to) in values.into_iter().zip([&two, &three, &same_node]) {
        for has_ttl in [false, true] {
            let ttl = if has_ttl { Ttl::After(LONG) } else { Ttl::Forever };
            store.put_with_ttl(&one, value, ttl).unwrap();
            // The target has the other kind of TTL.
            store.put_with_ttl(to, "old", if has_ttl { Ttl::Forever } else { Ttl::After(LONG * 2) }).unwrap();
            store.copy(&one, to).unwrap();
            for key in [&one, to] {
                assert_eq!(store.get(key).unwrap().as_deref(), Some(value));
                check_ttl(&store, key, has_ttl);
            }
            store.put(to, "old").unwrap();
            store.rename(&one, to).unwrap();
            assert_eq!(store.get(to).unwrap().as_deref(), Some(value));
            check_ttl(&store, to, has_ttl);
            assert!(!store.contains(&one).unwrap());
        }
        store.put_with_ttl(to, "stays", LONG).unwrap();
        for error in [store.copy(&one, to).unwrap_err(), store.rename(&one, to).unwrap_err()] {
            assert!(matches!(&error, Error::NotFound { .. }), "{}", chain(&error));
            assert_eq!(error.key(), Some(one.as_str()));
        }
        assert_eq!(store.get(to).unwrap().as_deref(), Some(&b"stays"[..]));
        check_ttl(&store, to, true);
    }
    store.copy(&two, &two).unwrap();
    store.rename(&two, &two).unwrap();
    assert_eq!(store.get(&two).unwrap().as_deref(), Some(&b"stays"[..]));
    check_ttl(&store, &two, true);
}

#[test]
fn a_listing_reads_every_primary_and_is_exact() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 1);
    let names = ["", "a", "b*"];
    let stores = names.map(|name| patient().cluster(cluster.urls()).namespace(name).page_size(50).connect().unwrap());
    let keys = |name: &str| (0..2000).map(|number| format!("{name}{number}")).collect::<BTreeSet<_>>();
    for (store, name) in stores[1..].iter().zip(["of-a-", "of-b-"]) {
        store.put_many(keys(name).iter().map(|key| (key, ""))).unwrap();
    }
    for node in &cluster.nodes()[..3] {
        let size: u64 = redis::from_redis_value(node.command(&["DBSIZE"])).unwrap();
        assert!(size > 1000, "{size}");
    }
    let listed = |store: &RedisStore, prefix: &str| {
        let keys = store.keys(prefix).unwrap().map(|key| key.unwrap().to_string()).collect::<Vec<_>>();
        let distinct: BTreeSet<_> = keys.iter().cloned().collect();
        assert_eq!(keys.len(), distinct.len());
        distinct
    };
    assert_eq!(listed(&stores[1], ""), keys("of-a-"));
    assert_eq!(listed(&stores[2], ""), keys("of-b-"));
    assert_eq!(
        listed(&stores[1], "of-a-77"),
        keys("of-a-").into_iter().filter(|key| key.starts_with("of-a-77")).collect()
    );
    assert!(listed(&stores[1], "of-b-").is_empty());
    let all = keys("a:of-a-").into_iter().chain(keys("b*:of-b-")).collect();
    assert_eq!(listed(&stores[0], ""), all);
    let prefixes = stores[0].prefixes(":", "").unwrap().map(|prefix| prefix.unwrap().to_string());
    assert_eq!(prefixes.collect::<BTreeSet<_>>(), ["a:", "b*:"].map(String::from).into());
}

#[test]
fn an_object_of_another_type_does_not_fail_a_batch() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let store = connect(&cluster);
    let [one, other] = tags::<2>(&cluster);
    store.put_many([(&one, "1"), (&other, "2")]).unwrap();
    let list = format!("{one}list");
    cluster.nodes()[0].command(&["RPUSH", &list, "value"]);
    let values = store.get_many([&one, &list, &other]).unwrap();
    assert_eq!(values.iter().map(Option::as_deref).collect::<Vec<_>>(), [Some(&b"1"[..]), None, Some(&b"2"[..])]);
}

#[test]
fn connections_to_a_cluster_cannot_be_shared() {
    let error = RedisStore::builder().cluster(["redis://127.0.0.1:1"]).shared_connections(1).build().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::InvalidSetting { .. }) && !error.is_transient(), "{error:?}");
    assert!(text.contains("shared_connections") && text.contains("cluster"), "{text}");
}
