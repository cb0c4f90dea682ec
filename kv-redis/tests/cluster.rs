//! A cluster: who has which keys, and what happens while that changes.

#![cfg(unix)]
#![cfg(feature = "cluster")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use kv_redis::{Error, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Remaining, Ttl};

mod support;
use support::{PATIENCE, Redis, RedisCluster, chain, timed, wait_until};

/// The three limits of a store that nobody told otherwise, a second each, and what a busy machine adds.
const WITHIN: Duration = Duration::from_millis(3000 + 1500);

/// A lifetime that no test lives to see the end of, and the least that is left of it then.
const LONG: Duration = Duration::from_secs(10_000);
const NEARLY_LONG: Duration = Duration::from_secs(9_000);

fn patient() -> RedisStoreBuilder {
    RedisStore::builder().pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

fn connect(cluster: &RedisCluster) -> RedisStore {
    patient().cluster(cluster.urls()).connect().unwrap()
}

type Act = fn(&RedisStore) -> Result<(), Error>;
type ActOn = fn(&RedisStore, &str) -> Result<(), Error>;

/// For each node a hash tag whose keys it has.
fn tags<const N: usize>(cluster: &RedisCluster) -> [String; N] {
    std::array::from_fn(|node| {
        let tags = (0..).map(|number| format!("{{{number}}}"));
        tags.into_iter().find(|tag| cluster.primary_of_slot(cluster.slot_of(tag)) == node).unwrap()
    })
}

/// What a node has counted: `calls` of a command, and so on.
fn counted(node: &Redis, line: &str, what: &str) -> u64 {
    let line = node.info(line).unwrap_or_default();
    let count = line.split(',').find_map(|field| field.strip_prefix(what)?.strip_prefix('='));
    count.map_or(0, |count| count.parse().unwrap())
}

/// Whether servers count the errors that they answer with.
fn counts_errors() -> bool {
    support::is_since((6, 2, 0))
}

fn redirections(cluster: &RedisCluster, kind: &str) -> u64 {
    cluster.nodes().iter().map(|node| counted(node, &format!("errorstat_{kind}"), "count")).sum()
}

fn forget_counts(cluster: &RedisCluster) {
    for node in cluster.nodes() {
        node.command(&["CONFIG", "RESETSTAT"]);
    }
}

fn has_lifetime(store: &RedisStore, key: &str, remaining: bool) {
    match store.ttl(key).unwrap() {
        Some(Remaining::For(left)) => assert!(remaining && left > NEARLY_LONG && left <= LONG, "{key}: {left:?}"),
        other => assert!(!remaining && other == Some(Remaining::Forever), "{key}: {other:?}"),
    }
}

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

    // Backwards, each twice, and one that is not there.
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
    for namespace in ["", "shop"] {
        let store = patient().cluster(cluster.urls()).namespace(namespace).connect().unwrap();
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
            has_lifetime(&store, key, true);
        }
        assert_eq!(store.get("{tag}from").unwrap(), None);
    }
}

#[test]
fn copy_and_rename_across_slots_keep_value_and_lifetime() {
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
            // What was there has the other kind of lifetime.
            store.put_with_ttl(to, "old", if has_ttl { Ttl::Forever } else { Ttl::After(LONG * 2) }).unwrap();
            store.copy(&one, to).unwrap();
            for key in [&one, to] {
                assert_eq!(store.get(key).unwrap().as_deref(), Some(value));
                has_lifetime(&store, key, has_ttl);
            }
            store.put(to, "old").unwrap();
            store.rename(&one, to).unwrap();
            assert_eq!(store.get(to).unwrap().as_deref(), Some(value));
            has_lifetime(&store, to, has_ttl);
            assert!(!store.contains(&one).unwrap());
        }
        store.put_with_ttl(to, "stays", LONG).unwrap();
        for error in [store.copy(&one, to).unwrap_err(), store.rename(&one, to).unwrap_err()] {
            assert!(matches!(&error, Error::NotFound { .. }), "{}", chain(&error));
            assert_eq!(error.key(), Some(one.as_str()));
        }
        assert_eq!(store.get(to).unwrap().as_deref(), Some(&b"stays"[..]));
        has_lifetime(&store, to, true);
    }
    store.copy(&two, &two).unwrap();
    store.rename(&two, &two).unwrap();
    assert_eq!(store.get(&two).unwrap().as_deref(), Some(&b"stays"[..]));
    has_lifetime(&store, &two, true);
}

#[test]
fn a_listing_is_of_every_primary_and_exact() {
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

/// A slot of which some keys have gone to another node and the others have not.
fn half_way<'a>(cluster: &'a RedisCluster, store: &RedisStore, tag: &str) -> (support::Migration<'a>, usize, usize) {
    let slot = cluster.slot_of(tag);
    let from = cluster.primary_of_slot(slot);
    let to = (from + 1) % 3;
    store.put_many((0..20).map(|number| (format!("{tag}gone{number}"), format!("gone{number}")))).unwrap();
    let migration = cluster.migrate_slot(slot, from, to);
    assert_eq!(migration.move_keys(), 20);
    // These stay: a key that its node has is served there until it goes.
    cluster.nodes()[from].command(&["CLUSTER", "SETSLOT", &slot.to_string(), "STABLE"]);
    for number in 0..20 {
        cluster.nodes()[from].command(&["SET", &format!("{tag}here{number}"), &format!("here{number}")]);
    }
    drop(migration);
    (cluster.migrate_slot(slot, from, to), from, to)
}

#[test]
fn a_slot_that_is_being_moved_is_used_as_any_other() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let store = connect(&cluster);
    let (tag, [elsewhere]) = ("{tag}", tags::<1>(&cluster));
    let (migration, from, to) = half_way(&cluster, &store, tag);
    let elsewhere = if from == 0 { tags::<3>(&cluster)[2].clone() } else { elsewhere };
    let (old, new) = (&cluster.nodes()[from], &cluster.nodes()[to]);
    let (gone, here) = (|number| format!("{tag}gone{number}"), |number| format!("{tag}here{number}"));
    forget_counts(&cluster);

    let text = |key: &str| store.get(key).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap());
    assert_eq!((text(&gone(0)).unwrap(), text(&here(0)).unwrap()), ("gone0".into(), "here0".into()));
    assert_eq!(text(&gone(99)), None);
    for key in [gone(1), here(1)] {
        store.put(&key, "new").unwrap();
        assert_eq!(text(&key).unwrap(), "new");
        assert!(!store.create(&key, "created").unwrap());
        assert!(store.contains(&key).unwrap());
        assert!(store.touch(&key, LONG).unwrap());
        has_lifetime(&store, &key, true);
        assert!(store.touch(&key, Ttl::Forever).unwrap());
        has_lifetime(&store, &key, false);
        assert!(store.delete(&key).unwrap());
        assert!(!store.delete(&key).unwrap());
        assert!(!store.touch(&key, Ttl::Forever).unwrap());
        assert!(!store.touch(&key, LONG).unwrap());
        assert_eq!(store.ttl(&key).unwrap(), None);
    }
    assert!(store.create(gone(50), "created").unwrap());
    assert_eq!(text(&gone(50)).unwrap(), "created");
    // New keys are the new node's.
    assert_eq!(redirections(&cluster, "MOVED"), 0);
    assert_eq!(new.try_command(&["GET", &gone(50)]).unwrap_err().code(), Some("MOVED"));
    // Both commands of a transaction were sent away, thrice.
    if counts_errors() {
        let [sent_away, asked] = [counted(old, "errorstat_ASK", "count"), counted(new, "cmdstat_asking", "calls")];
        // Valkey 9 counts one for each transaction.
        let of_transactions = sent_away - asked;
        assert!(of_transactions == 3 || of_transactions == 0 && !support::is_redis(), "{sent_away} {asked}");
    }

    // One batch with keys of both, of another slot, twice and absent.
    store.put(&elsewhere, "elsewhere").unwrap();
    let asked = [gone(2), here(2), elsewhere.clone(), gone(2), gone(98), here(3), gone(3)];
    let values = store.get_many(&asked).unwrap();
    let values: Vec<_> =
        values.iter().map(|value| value.as_deref().map(|value| str::from_utf8(value).unwrap())).collect();
    let expected = ["gone2", "here2", "elsewhere", "gone2", "", "here3", "gone3"];
    assert_eq!(values, expected.map(|value| Some(value).filter(|value| !value.is_empty())));

    forget_counts(&cluster);
    let written = [(gone(4), "1"), (here(4), "2"), (elsewhere.clone(), "3"), (gone(4), "4"), (gone(97), "5")];
    store.put_many(written.iter().map(|(key, value)| (key, *value))).unwrap();
    assert_eq!([gone(4), here(4), elsewhere.clone(), gone(97)].map(|key| text(&key).unwrap()), ["4", "2", "3", "5"]);
    let removed = store.delete_many([gone(4), here(4), gone(4), gone(96), elsewhere.clone()]).unwrap();
    assert_eq!(removed, [true, true, false, false, true]);
    // A batch is grouped anew some times before each of its keys is asked for alone. Two are read.
    assert!(redirections(&cluster, "ASK") <= 4 * (3 + 3) + 2, "{}", redirections(&cluster, "ASK"));
    assert_eq!(redirections(&cluster, "MOVED"), 0);

    // Across slots, in both directions; value and lifetime are read in one transaction.
    assert!(store.touch(gone(5), LONG).unwrap());
    store.copy(gone(5), &elsewhere).unwrap();
    assert_eq!(text(&elsewhere).unwrap(), "gone5");
    has_lifetime(&store, &elsewhere, true);
    store.rename(&elsewhere, gone(6)).unwrap();
    assert_eq!(text(&gone(6)).unwrap(), "gone5");
    has_lifetime(&store, &gone(6), true);
    store.rename(gone(7), &elsewhere).unwrap();
    assert_eq!((text(&gone(7)), text(&elsewhere).unwrap()), (None, "gone7".into()));
    assert!(matches!(store.copy(gone(95), &elsewhere).unwrap_err(), Error::NotFound { .. }));
    // Within the slot, where both are on one node.
    store.copy(gone(8), gone(9)).unwrap();
    store.copy(here(8), here(9)).unwrap();
    assert_eq!((text(&gone(9)).unwrap(), text(&here(9)).unwrap()), ("gone8".into(), "here8".into()));

    migration.move_keys();
    migration.finish();
    cluster.wait_until_ok();
    assert_eq!((text(&gone(0)).unwrap(), text(&here(0)).unwrap()), ("gone0".into(), "here0".into()));
    forget_counts(&cluster);
    assert_eq!(text(&here(8)).unwrap(), "here8");
    assert_eq!(redirections(&cluster, "MOVED") + redirections(&cluster, "ASK"), 0);
}

/// The nodes refuse a command with two keys of such a slot if it has one of them and not the other.
#[test]
fn copy_and_rename_within_a_slot_that_is_being_moved_work() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let store = connect(&cluster);
    let tag = "{tag}";
    let (_migration, ..) = half_way(&cluster, &store, tag);
    let pairs = [("gone0", "absent0"), ("here0", "absent1"), ("gone1", "here1"), ("here2", "gone2")];
    for (from, to) in pairs {
        let (source, target) = (format!("{tag}{from}"), format!("{tag}{to}"));
        let copied = store.copy(&source, &target);
        assert!(copied.is_ok(), "{from} to {to}: {}", chain(&copied.unwrap_err()));
        assert_eq!(store.get(&target).unwrap().as_deref(), Some(from.as_bytes()), "{from} to {to}");
        store.delete(&target).unwrap();
        let renamed = store.rename(&source, &target);
        assert!(renamed.is_ok(), "{from} to {to}: {}", chain(&renamed.unwrap_err()));
        assert_eq!(store.get(&target).unwrap().as_deref(), Some(from.as_bytes()), "{from} to {to}");
        assert_eq!(store.get(&source).unwrap(), None, "{from} to {to}");
    }
    let absent = store.copy(format!("{tag}absent8"), format!("{tag}absent9")).unwrap_err();
    assert!(matches!(absent, Error::NotFound { .. }), "{}", chain(&absent));
}

#[test]
fn a_slot_that_has_moved_is_found_by_whatever_comes_first_and_learnt() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let first: [(&str, ActOn); 9] = [
        ("get", |store, tag| store.get(tag).map(|value| assert_eq!(value.as_deref(), Some(&b"v"[..])))),
        ("put", |store, tag| store.put(tag, "v")),
        ("create", |store, tag| store.create(tag, "no").map(|created| assert!(!created))),
        ("delete", |store, tag| store.delete(format!("{tag}absent")).map(|removed| assert!(!removed))),
        ("touch for ever", |store, tag| store.touch(tag, Ttl::Forever).map(|was_there| assert!(was_there))),
        ("copy", |store, tag| store.copy(tag, format!("{tag}copy"))),
        ("copy across", |store, tag| store.copy(tag, "elsewhere")),
        ("get_many", |store, tag| {
            let values = store.get_many([tag, "elsewhere-absent", tag])?;
            assert_eq!((values[0].as_deref(), values[2].as_deref()), (Some(&b"v"[..]), Some(&b"v"[..])));
            Ok(())
        }),
        ("put_many", |store, tag| store.put_many([(tag, "no"), ("elsewhere", "v"), (tag, "v")])),
    ];
    let cluster = RedisCluster::start(3, 0);
    let store = connect(&cluster);
    for (number, (name, act)) in first.into_iter().enumerate() {
        let tag = format!("{{moves{number}}}");
        store.put(&tag, "v").unwrap();
        let slot = cluster.slot_of(&tag);
        let from = cluster.primary_of_slot(slot);
        let migration = cluster.migrate_slot(slot, from, (from + 1) % 3);
        assert_eq!(migration.move_keys(), 1);
        migration.finish();
        cluster.wait_until_ok();
        forget_counts(&cluster);
        act(&store, &tag).unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
        // One for each command that was sent, of which the longest transaction has three with a key.
        let moved = redirections(&cluster, "MOVED");
        assert!((1..=3).contains(&moved) || !counts_errors(), "{name}: {moved} redirections");
        forget_counts(&cluster);
        act(&store, &tag).unwrap_or_else(|error| panic!("{name} again: {}", chain(&error)));
        assert_eq!(store.get(&tag).unwrap().as_deref(), Some(&b"v"[..]), "{name}");
        assert_eq!((redirections(&cluster, "MOVED"), redirections(&cluster, "ASK")), (0, 0), "{name} again");
    }
}

#[test]
fn a_batch_that_meets_a_moved_slot_is_sent_away_once_and_then_no_more() {
    const KEYS: u64 = 2000;
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let store = connect(&cluster);
    let keys: Vec<_> = (0..KEYS).map(|number| format!("{{tag}}{number}")).collect();
    store.put_many(keys.iter().map(|key| (key, key))).unwrap();
    let slot = cluster.slot_of("{tag}");
    let from = cluster.primary_of_slot(slot);
    let migration = cluster.migrate_slot(slot, from, (from + 1) % 3);
    assert_eq!(migration.move_keys() as u64, KEYS);
    migration.finish();
    cluster.wait_until_ok();
    let all_there = || {
        let values = store.get_many(&keys).unwrap();
        assert!(values.iter().zip(&keys).all(|(value, key)| value.as_deref() == Some(key.as_bytes())));
    };
    forget_counts(&cluster);
    all_there();
    let moved = redirections(&cluster, "MOVED");
    assert!((1..=KEYS).contains(&moved) || !counts_errors(), "{moved}");
    forget_counts(&cluster);
    all_there();
    assert_eq!(redirections(&cluster, "MOVED"), 0);
}

/// Lists the keys of a store, and does something when about half of them have come. The other half must not be lost
/// without a word.
fn list_with_a_break(store: &RedisStore, expected: &BTreeSet<String>, act: impl FnOnce()) -> Option<Error> {
    let mut listing = store.keys("").unwrap();
    let mut listed = Vec::new();
    for _ in 0..expected.len() / 2 {
        listed.push(listing.next().unwrap().unwrap().to_string());
    }
    act();
    let mut error = None;
    for key in listing.by_ref() {
        match key {
            Ok(key) => listed.push(key.to_string()),
            Err(failure) => error = Some(failure),
        }
    }
    assert!(listing.next().is_none());
    let distinct: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(distinct.len(), listed.len(), "a key came twice");
    assert!(distinct.is_subset(expected), "a key that is none");
    match &error {
        None => {
            let missing: Vec<_> = expected.difference(&distinct).collect();
            assert!(missing.is_empty(), "the listing ends as if it were whole, and lacks {missing:?}");
        }
        Some(error) => assert!(error.is_transient(), "{}", chain(error)),
    }
    error
}

/// A cluster with many keys, some of which are of slots of which each is of another node.
fn cluster_to_list() -> (RedisCluster, RedisStore, [String; 3], BTreeSet<String>) {
    let cluster = RedisCluster::start(3, 0);
    let store = patient().cluster(cluster.urls()).page_size(10).connect().unwrap();
    let tags = tags::<3>(&cluster);
    let tagged = tags.iter().flat_map(|tag| (0..20).map(move |number| format!("{tag}{number}")));
    let keys: BTreeSet<_> = (0..600).map(|number| format!("k{number}")).chain(tagged).collect();
    store.put_many(keys.iter().map(|key| (key, ""))).unwrap();
    (cluster, store, tags, keys)
}

const WAYS: [(usize, usize); 6] = [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)];

#[test]
fn a_listing_while_a_slot_moves_is_complete_or_ends_with_an_error() {
    let (cluster, store, tags, keys) = cluster_to_list();
    for (from, to) in WAYS {
        let slot = cluster.slot_of(&tags[from]);
        list_with_a_break(&store, &keys, || {
            let migration = cluster.migrate_slot(slot, from, to);
            assert_eq!(migration.move_keys(), 20);
            migration.finish();
            cluster.wait_until_ok();
        });
        assert!(list_with_a_break(&store, &keys, || {}).is_none(), "nothing moved");
        let back = cluster.migrate_slot(slot, to, from);
        back.move_keys();
        back.finish();
        cluster.wait_until_ok();
        assert!(list_with_a_break(&store, &keys, || {}).is_none(), "nothing moved");
    }
}

/// The nodes have not been told yet that the slot has moved: `CLUSTER SLOTS` says what it said before.
#[test]
fn a_listing_in_which_a_migration_begins_and_does_not_end_is_complete_or_ends_with_an_error() {
    let (cluster, store, tags, keys) = cluster_to_list();
    for (from, to) in WAYS {
        let slot = cluster.slot_of(&tags[from]);
        let mut migration = None;
        list_with_a_break(&store, &keys, || {
            let begun = migration.insert(cluster.migrate_slot(slot, from, to));
            assert_eq!(begun.move_keys(), 20);
        });
        migration.unwrap().finish();
        cluster.wait_until_ok();
        let back = cluster.migrate_slot(slot, to, from);
        back.move_keys();
        back.finish();
        cluster.wait_until_ok();
    }
}

/// In the end every slot is where it was.
#[test]
fn a_listing_in_which_a_slot_goes_away_and_comes_back_is_complete_or_ends_with_an_error() {
    let (cluster, store, tags, keys) = cluster_to_list();
    let order = [0, 1, 2];
    // Away from the node that comes last while another one is listed, and back when that one is nearly done.
    for from in order {
        let to = (from + 1) % 3;
        let slot = cluster.slot_of(&tags[from]);
        let move_it = |from, to| {
            let migration = cluster.migrate_slot(slot, from, to);
            assert_eq!(migration.move_keys(), 20);
            migration.finish();
            cluster.wait_until_ok();
        };
        let mut listed = BTreeSet::new();
        let (mut is_away, mut is_back, mut error) = (false, false, None);
        for key in store.keys("").unwrap() {
            match key {
                Ok(key) => assert!(listed.insert(key.to_string()), "{key} came twice"),
                Err(failure) => error = Some(failure),
            }
            if !is_away && listed.len() >= keys.len() / 2 {
                move_it(from, to);
                is_away = true;
            } else if !is_back && listed.len() >= keys.len() - 25 {
                move_it(to, from);
                is_back = true;
            }
        }
        let missing: Vec<_> = keys.difference(&listed).collect();
        assert!(error.is_some() || missing.is_empty(), "ends as if it were whole, and lacks {missing:?}");
        if !is_back {
            move_it(to, from);
        }
    }
}

/// One operation of one of the threads.
struct Used {
    node: usize,
    began: Instant,
    took: Duration,
    result: Result<(), Error>,
}

/// Eight threads use keys of each primary, half of them no keys of the first one, while something happens.
fn use_it_while(store: &RedisStore, tags: &[String; 3], act: impl FnOnce()) -> Vec<Used> {
    let is_over = AtomicBool::new(false);
    let is_over = &is_over;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                scope.spawn(move || {
                    let mut all = Vec::new();
                    let mut round = 0;
                    while !is_over.load(Relaxed) {
                        round += 1;
                        for (node, tag) in tags.iter().enumerate().skip(thread % 2) {
                            let key = format!("{tag}of-{thread}");
                            let began = Instant::now();
                            let result = if round % 2 == 1 {
                                store.put(&key, format!("{key}#{round}"))
                            } else {
                                store.get(&key).map(|value| {
                                    // An old one perhaps, never another's: what a replica has not heard of is lost.
                                    let value = String::from_utf8(value.unwrap().to_vec()).unwrap();
                                    let written =
                                        value.strip_prefix(&format!("{key}#")).unwrap_or_else(|| panic!("{value}"));
                                    assert!(written.parse::<u32>().unwrap() < round, "{value} in round {round}");
                                })
                            };
                            all.push(Used { node, began, took: began.elapsed(), result });
                        }
                        thread::sleep(Duration::from_millis(2));
                    }
                    all
                })
            })
            .collect();
        // Until it has come to the replicas that each key is there.
        thread::sleep(Duration::from_millis(500));
        act();
        is_over.store(true, Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// What the first primary does, and how it comes back, while the cluster is used; its replica takes over in between.
fn a_primary_fails(fail: fn(&Redis), come_back: fn(&Redis)) {
    // Without this the other nodes would refuse everything until the replica has taken over.
    let cluster = RedisCluster::start_with(3, 1, &["--cluster-require-full-coverage", "no"]);
    let store = RedisStore::builder().cluster(cluster.urls()).connect().unwrap();
    let tags = tags::<3>(&cluster);
    let victim = &cluster.nodes()[0];
    // A write that is not answered keeps the one before: so each key is there from the beginning.
    for (tag, thread) in tags.iter().flat_map(|tag| (0..8).map(move |thread| (tag, thread))) {
        store.put(format!("{tag}of-{thread}"), format!("{tag}of-{thread}#0")).unwrap();
    }
    let (mut failed, mut replaced) = (None, None);
    let all = use_it_while(&store, &tags, || {
        failed = Some(Instant::now());
        fail(victim);
        cluster.wait_until_ok();
        replaced = Some(Instant::now());
        // The last operations that were sent to the old primary end.
        thread::sleep(Duration::from_millis(1500));
    });
    let (failed, replaced) = (failed.unwrap(), replaced.unwrap());
    assert_ne!(cluster.primary_of_slot(cluster.slot_of(&tags[0])), 0);

    for Used { took, result, .. } in &all {
        assert!(*took < WITHIN, "{took:?}: {result:?}");
        assert!(result.as_ref().is_ok_and(|()| true) || result.as_ref().is_err_and(Error::is_transient), "{result:?}");
    }
    let meanwhile = |used: &&Used| used.began > failed && used.began < replaced;
    let of_others: Vec<_> = all.iter().filter(|used| used.node != 0).collect();
    let errors: Vec<_> = of_others.iter().filter_map(|used| used.result.as_ref().err()).map(chain).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let of_others: Vec<_> = of_others.into_iter().filter(meanwhile).collect();
    let slow = of_others.iter().filter(|used| used.took > Duration::from_millis(500)).count();
    assert!(of_others.len() > 200 && slow * 50 < of_others.len(), "{slow} slow ones of {}", of_others.len());
    let errors = all.iter().filter(|used| used.result.is_err()).count();
    assert!(errors > 0, "the primary did not fail");
    let late = all.iter().filter(|used| used.began > replaced + Duration::from_millis(1200));
    let late: Vec<_> = late.filter_map(|used| used.result.as_ref().err()).map(chain).collect();
    assert!(late.is_empty(), "the replica has taken over, and {late:?}");

    for all_is_well in [false, true] {
        if all_is_well {
            come_back(victim);
            cluster.wait_until_ok();
            assert_eq!(cluster.replicas_of(cluster.primary_of_slot(cluster.slot_of(&tags[0]))), [0]);
        }
        for tag in &tags {
            store.put(tag, "after").unwrap();
            assert_eq!(store.get(tag).unwrap().as_deref(), Some(&b"after"[..]));
        }
        assert_eq!(store.keys("").unwrap().map(Result::unwrap).count(), 24 + 3);
    }
    assert_eq!(counted(victim, "errorstat_MOVED", "count"), 0, "the old primary is still asked");
}

#[test]
fn a_primary_is_killed_and_comes_back_as_a_replica() {
    a_primary_fails(Redis::kill, Redis::restart);
}

#[test]
fn a_primary_is_paused_and_goes_on_as_a_replica() {
    a_primary_fails(Redis::pause, Redis::resume);
}

#[test]
fn with_all_nodes_down_there_is_an_error_within_the_limits() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let store = RedisStore::builder().cluster(cluster.urls()).connect().unwrap();
    store.put("k", "v").unwrap();
    let acts: [(&str, Act); 5] = [
        ("get", |store| store.get("k").map(drop)),
        ("put", |store| store.put("k", "v")),
        ("get_many", |store| store.get_many(["k"]).map(drop)),
        ("copy", |store| store.copy("k", "l")),
        ("keys", |store| store.keys("").and_then(|mut keys| keys.next().map_or(Ok(()), |key| key.map(drop)))),
    ];
    for node in cluster.nodes() {
        node.pause();
    }
    let mut late = Vec::new();
    for _ in 0..2 {
        for (name, act) in acts {
            let (result, took) = timed(|| act(&store));
            let error = result.unwrap_err();
            assert!(matches!(&error, Error::Timeout(_)), "{name}: {}", chain(&error));
            if took > WITHIN {
                late.push((name, took));
            }
        }
    }
    for node in cluster.nodes() {
        node.resume();
    }
    cluster.wait_until_ok();
    store.put("k", "v").unwrap();
    assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
    for node in cluster.nodes() {
        node.kill();
    }
    for (name, act) in acts {
        let (result, took) = timed(|| act(&store));
        let error = result.unwrap_err();
        // A write on a connection that was in use just now may have been sent.
        assert!(matches!(&error, Error::Unavailable(_)), "{name}: {}", chain(&error));
        assert!(took < WITHIN, "{name}: {took:?}");
    }
    for node in cluster.nodes() {
        node.restart();
    }
    cluster.wait_until_ok();
    store.put("k", "v").unwrap();
    assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
    assert!(late.is_empty(), "took longer than the limits together: {late:?}");
}

/// What the other primaries have is not lost with one that is dead or silent, and that one is waited for once.
#[test]
fn get_each_gives_what_the_other_primaries_have_and_an_error_for_each_key_of_one_that_fails() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    // As soon as a primary is seen to be down, the others would serve nobody.
    let cluster = RedisCluster::start_with(3, 0, &["--cluster-require-full-coverage", "no"]);
    let limit = Duration::from_millis(500);
    let builder = RedisStore::builder().pool_timeout(limit).connect_timeout(limit).response_timeout(limit);
    let store = builder.cluster(cluster.urls()).connect().unwrap();
    // Several chunks for each node.
    let keys: Vec<_> = (0..6000).map(|number| format!("key/{number}")).collect();
    let absent: BTreeSet<_> = keys.iter().step_by(10).collect();
    store.put_many(keys.iter().filter(|key| !absent.contains(key)).map(|key| (key, key))).unwrap();
    let get_each = || {
        let (outcomes, took) = timed(|| store.get_each(&keys));
        assert_eq!(outcomes.len(), keys.len());
        for (key, outcome) in keys.iter().zip(&outcomes) {
            match outcome {
                Ok(got) => assert_eq!(got.as_deref(), (!absent.contains(key)).then_some(key.as_bytes())),
                Err(error) => assert_eq!(error.key(), Some(key.as_str()), "{}", chain(error)),
            }
        }
        (outcomes.iter().filter(|outcome| outcome.is_ok()).count(), took)
    };
    assert_eq!(get_each().0, keys.len());
    let part = keys.len() / 4..keys.len() * 3 / 4;
    cluster.nodes()[1].pause();
    for _ in 0..3 {
        let (found, took) = get_each();
        assert!(part.contains(&found), "{found} of {}", keys.len());
        // To send and wait, to ask for the layout, to connect anew.
        assert!(took < 4 * limit + Duration::from_millis(1500), "{took:?}");
    }
    cluster.nodes()[1].resume();
    wait_until(|| if get_each().0 == keys.len() { Ok(()) } else { Err("not all can be read".into()) });
    cluster.kill(1);
    for _ in 0..3 {
        let (found, took) = get_each();
        assert!(part.contains(&found), "{found} of {}", keys.len());
        assert!(took < 4 * limit + Duration::from_millis(1500), "{took:?}");
        store.get_many(&keys).unwrap_err();
        thread::sleep(Duration::from_millis(700));
    }
}

#[test]
fn listings_do_not_wait_for_one_another_while_nobody_answers() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let store = RedisStore::builder().cluster(cluster.urls()).connect().unwrap();
    for node in cluster.nodes() {
        node.pause();
    }
    let list = || {
        let (result, took) = timed(|| store.keys("").and_then(|mut keys| keys.next().transpose()));
        let error = result.unwrap_err();
        assert!(error.is_transient(), "{}", chain(&error));
        took
    };
    let alone = list();
    let together = thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(list)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for node in cluster.nodes() {
        node.resume();
    }
    assert!(together.iter().all(|&took| took < WITHIN + alone), "one {alone:?}, six {together:?}");
}

/// A node that failed is asked last for the layout, also if the nodes could not be asked in between.
#[test]
fn a_provider_that_fails_does_not_make_the_store_forget_which_node_failed() {
    let cluster = RedisCluster::start_with(3, 0, &["--cluster-node-timeout", "60000"]);
    for node in cluster.nodes() {
        node.command(&["CONFIG", "SET", "masterauth", "secret"]);
    }
    let (urls, tags) = (cluster.urls(), tags::<3>(&cluster));
    let mut connections: Vec<_> = cluster.nodes().iter().map(Redis::connection).collect();
    for connection in &mut connections {
        redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("secret").exec(connection).unwrap();
    }
    let fails = std::sync::Arc::new(AtomicBool::new(false));
    let provider = std::sync::Arc::clone(&fails);
    let provide = move || {
        let is_there = !provider.load(Relaxed);
        is_there.then(|| kv_redis::Credentials::from_password("secret")).ok_or("there is no token at the moment")
    };
    let limit = Duration::from_millis(300);
    let builder = RedisStore::builder().cluster(urls).credentials_provider(provide).response_timeout(limit);
    let store = builder.connect_timeout(Duration::from_secs(3)).connect().unwrap();
    for tag in &tags {
        store.put(tag, "v").unwrap();
    }
    let victim = &cluster.nodes()[0];
    victim.pause();
    assert!(matches!(store.get(&tags[0]), Err(Error::Timeout(_))));
    // The layout is to be asked for, and cannot be.
    fails.store(true, Relaxed);
    assert_eq!(store.get(&tags[1]).unwrap().as_deref(), Some(&b"v"[..]));
    fails.store(false, Relaxed);
    // The first node would have a share of a second.
    let (value, took) = timed(|| store.get(&tags[1]).unwrap());
    victim.resume();
    assert_eq!(value.as_deref(), Some(&b"v"[..]));
    assert!(took < Duration::from_millis(700), "{took:?}");
}

#[test]
fn one_seed_that_is_up_will_do() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let down = || format!("redis://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let store = patient().cluster([down(), down(), cluster.urls()[1].clone()]).connect().unwrap();
    for tag in tags::<3>(&cluster) {
        store.put(&tag, "v").unwrap();
        assert_eq!(store.get(&tag).unwrap().as_deref(), Some(&b"v"[..]));
    }
    let error = RedisStore::builder().cluster([down(), down()]).connect().unwrap_err();
    assert!(matches!(&error, Error::Unavailable(_)), "{}", chain(&error));
}

#[test]
fn a_seed_that_accepts_and_never_answers_does_not_keep_the_others_from_being_asked() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let silent = listeners.each_ref().map(|listener| format!("redis://{}", listener.local_addr().unwrap()));
    for count in [1, 2] {
        let seeds = silent[..count].iter().chain([&cluster.urls()[2]]).cloned().collect::<Vec<_>>();
        let (store, took) = timed(|| RedisStore::builder().cluster(seeds).connect());
        assert!(took < WITHIN, "{count} silent: {took:?}");
        let store = store.unwrap_or_else(|error| panic!("{count} silent: {}", chain(&error)));
        store.put("k", "v").unwrap();
    }
    let (result, took) = timed(|| RedisStore::builder().cluster(silent).connect());
    let error = result.unwrap_err();
    assert!(matches!(&error, Error::Timeout(_)) && took < WITHIN, "{took:?}: {}", chain(&error));
}

#[test]
fn a_server_that_is_no_node_of_a_cluster_is_said_to_be_none() {
    let redis = Redis::start(&[]);
    let error = RedisStore::builder().cluster([redis.url()]).connect().unwrap_err();
    let text = chain(&error);
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    assert!(text.contains("cluster support disabled"), "{text}");
    assert!(text.contains("url("), "it does not say what to do: {text}");
}

#[test]
fn a_plain_store_on_a_node_of_a_cluster_is_told_what_to_do() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let store = match RedisStore::connect(cluster.urls()[0].clone()) {
        Ok(store) => store,
        Err(error) => return assert!(chain(&error).contains("cluster("), "{}", chain(&error)),
    };
    let [_, other, _] = tags::<3>(&cluster);
    let keys: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    let results = [
        ("get", store.get(&other).map(drop)),
        ("put", store.put(&other, "v")),
        ("touch", store.touch(&other, Ttl::Forever).map(drop)),
        ("put_many", store.put_many(keys.iter().map(|key| (key, "v")))),
        ("get_many", store.get_many(&keys).map(drop)),
        ("copy", store.copy("a", "b")),
        // It would be a third of all keys.
        ("keys", store.keys("").and_then(|mut keys| keys.find_map(Result::err).map_or(Ok(()), Err))),
    ];
    let says_what_to_do = |error: &Error| {
        matches!(error, Error::Backend(_)) && !error.is_transient() && chain(error).contains("cluster(")
    };
    let others: Vec<_> =
        results.into_iter().filter(|(_, result)| !result.as_ref().is_err_and(says_what_to_do)).collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn a_cluster_that_does_not_cover_all_slots_is_down_for_the_time_being() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let store = RedisStore::builder().cluster(cluster.urls()).connect().unwrap();
    let [one, two, three] = tags::<3>(&cluster);
    store.put_many([(&one, "v"), (&two, "v"), (&three, "v")]).unwrap();
    cluster.kill(2);
    let up = &cluster.nodes()[..2];
    let is_down = |node: &Redis| {
        let info: String = redis::from_redis_value(node.command(&["CLUSTER", "INFO"])).unwrap();
        info.contains("cluster_state:fail")
    };
    wait_until(|| if up.iter().all(is_down) { Ok(()) } else { Err("the cluster is not down".into()) });
    let errors = [store.get(&one).unwrap_err(), store.put(&two, "v").unwrap_err(), store.get_many([&one]).unwrap_err()];
    for error in errors {
        let text = chain(&error);
        assert!(matches!(&error, Error::Backend(_)) && error.is_transient() && !error.outcome_unknown(), "{text}");
        assert!(text.contains("CLUSTERDOWN"), "{text}");
    }
    let error = store.get(&three).unwrap_err();
    assert!(error.is_transient(), "{}", chain(&error));
    cluster.restart(2);
    cluster.wait_until_ok();
    assert_eq!(store.get(&one).unwrap().as_deref(), Some(&b"v"[..]));
    store.put(&three, "again").unwrap();
}

#[test]
fn a_slot_that_was_nobody_s_is_used_as_soon_as_it_is_somebody_s() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start_with(3, 0, &["--cluster-require-full-coverage", "no"]);
    let [key, ..] = tags::<1>(&cluster);
    let slot = cluster.slot_of(&key).to_string();
    let before = RedisStore::builder().cluster(cluster.urls()).connect().unwrap();
    before.put(&key, "v").unwrap();
    for node in cluster.nodes() {
        node.command(&["CLUSTER", "DELSLOTS", &slot]);
    }
    let meanwhile = RedisStore::builder().cluster(cluster.urls()).connect().unwrap();
    for store in [&before, &meanwhile] {
        for error in [store.get(&key).unwrap_err(), store.put_many([(&key, "v")]).unwrap_err()] {
            let text = chain(&error);
            assert!(matches!(&error, Error::Backend(_)) && error.is_transient(), "{text}");
            assert!(text.contains("CLUSTERDOWN"), "{text}");
        }
    }
    // To another node than before.
    cluster.nodes()[1].command(&["CLUSTER", "ADDSLOTS", &slot]);
    cluster.nodes()[1].command(&["CLUSTER", "BUMPEPOCH"]);
    cluster.wait_until_ok();
    for (name, store) in [("before", before), ("meanwhile", meanwhile)] {
        let put = store.put(&key, "new");
        assert!(put.is_ok(), "connected {name}: {}", chain(&put.unwrap_err()));
        assert_eq!(store.get_many([&key]).unwrap()[0].as_deref(), Some(&b"new"[..]));
    }
}

#[test]
fn a_node_that_does_not_know_of_all_others_misleads_nobody() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start_with(3, 0, &["--cluster-require-full-coverage", "no"]);
    let before = connect(&cluster);
    let keys: BTreeSet<_> = (0..300).map(|number| format!("k{number}")).collect();
    before.put_many(keys.iter().map(|key| (key, key))).unwrap();
    let nodes = cluster.nodes();
    let redis::Value::BulkString(id) = nodes[2].command(&["CLUSTER", "MYID"]) else { panic!("no id") };
    nodes[0].command(&["CLUSTER", "FORGET", str::from_utf8(&id).unwrap()]);

    let of_one = patient().cluster([nodes[0].url()]).connect().unwrap();
    for (name, store) in [("before", &before), ("afterwards", &connect(&cluster)), ("to that node alone", &of_one)] {
        let values = store.get_many(&keys).unwrap_or_else(|error| panic!("connected {name}: {}", chain(&error)));
        assert_eq!(values.iter().flatten().count(), keys.len(), "connected {name}");
        for key in &keys {
            assert_eq!(store.get(key).unwrap().as_deref(), Some(key.as_bytes()), "connected {name}");
        }
        let listed: Result<BTreeSet<_>, _> = store.keys("").unwrap().map(|key| key.map(String::from)).collect();
        assert_eq!(listed.unwrap_or_else(|error| panic!("connected {name}: {}", chain(&error))), keys);
    }
}

#[test]
fn a_primary_that_is_cut_off_from_the_others_is_not_asked_for_ever() {
    if !crate::support::can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 1);
    let [key, ..] = tags::<1>(&cluster);
    let store = connect(&cluster);
    store.put(&key, "v").unwrap();
    // Clients still reach it, and nobody tells it that it has been replaced.
    let nodes = cluster.nodes();
    let replica = &nodes[cluster.replicas_of(0)[0]];
    for other in &nodes[1..] {
        if let redis::Value::BulkString(id) = other.command(&["CLUSTER", "MYID"]) {
            // One that it replicates with it does not forget: a primary has none.
            let _ = nodes[0].try_command(&["CLUSTER", "FORGET", str::from_utf8(&id).unwrap()]);
        }
    }
    replica.command(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    let begin = Instant::now();
    while let Err(error) = store.get(&key) {
        assert!(error.is_transient(), "{}", chain(&error));
        assert!(begin.elapsed() < PATIENCE, "{}", chain(&error));
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(store.get(&key).unwrap().as_deref(), Some(&b"v"[..]));
}

#[test]
fn an_object_of_another_type_is_nothing_to_a_batch() {
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
    assert!(matches!(error, Error::Backend(_)) && !error.is_transient(), "{error:?}");
    assert!(text.contains("shared_connections") && text.contains("cluster"), "{text}");
}
