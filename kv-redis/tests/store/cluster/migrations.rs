//! Slots that are being moved, or have moved.

use super::*;

/// A slot that is being moved: some keys are on the new node, the others are not.
fn half_way<'a>(cluster: &'a RedisCluster, store: &RedisStore, tag: &str) -> (support::Migration<'a>, usize, usize) {
    let slot = cluster.slot_of(tag);
    let from = cluster.primary_of_slot(slot);
    let to = (from + 1) % 3;
    store.put_many((0..20).map(|number| (format!("{tag}gone{number}"), format!("gone{number}")))).unwrap();
    let migration = cluster.migrate_slot(slot, from, to);
    assert_eq!(migration.move_keys(), 20);
    // These stay: a node serves a key of such a slot as long as it has the key.
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
        check_ttl(&store, &key, true);
        assert!(store.touch(&key, Ttl::Forever).unwrap());
        check_ttl(&store, &key, false);
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
    // Both commands of a transaction were redirected three times.
    if counts_errors() {
        let [redirected, asked] = [counted(old, "errorstat_ASK", "count"), counted(new, "cmdstat_asking", "calls")];
        // Valkey 9 counts one for each transaction.
        let of_transactions = redirected - asked;
        assert!(of_transactions == 3 || of_transactions == 0 && !support::is_redis(), "{redirected} {asked}");
    }

    // One batch with keys of both nodes, of another slot, duplicates and absent keys.
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

    // Across slots, in both directions; value and TTL are read in one transaction.
    assert!(store.touch(gone(5), LONG).unwrap());
    store.copy(gone(5), &elsewhere).unwrap();
    assert_eq!(text(&elsewhere).unwrap(), "gone5");
    check_ttl(&store, &elsewhere, true);
    store.rename(&elsewhere, gone(6)).unwrap();
    assert_eq!(text(&gone(6)).unwrap(), "gone5");
    check_ttl(&store, &gone(6), true);
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
fn any_first_operation_finds_a_moved_slot_and_remembers_it() {
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
fn a_batch_that_meets_a_moved_slot_is_redirected_only_once() {
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
