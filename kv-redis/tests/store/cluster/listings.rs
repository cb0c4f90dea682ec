//! Listings while slots move, and while no node answers.

use super::*;

/// Lists the keys of a store, and runs something when about half of them have come. The other half must not be lost without an error.
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
    assert!(distinct.is_subset(expected), "not a key that was written");
    match &error {
        None => {
            let missing: Vec<_> = expected.difference(&distinct).collect();
            assert!(missing.is_empty(), "the listing ends as if it were whole, and lacks {missing:?}");
        }
        Some(error) => assert!(error.is_transient(), "{}", chain(error)),
    }
    error
}

/// A cluster with many keys, and keys of one slot of each node.
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
