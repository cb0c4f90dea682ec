//! Listings, by the commands that a server has.

use super::*;

#[test]
fn a_listing_yields_only_strings_whatever_commands_the_server_has() {
    const KEYS: usize = 3000;
    let redis = Redis::start(&[]);
    let keys: BTreeSet<_> = (0..KEYS).map(|number| format!("k{number}")).collect();
    let plain = patient().url(redis.url()).namespace("ns").connect().unwrap();
    plain.put_many(keys.iter().map(|key| (key, ""))).unwrap();
    let mut other = redis::pipe();
    for number in 0..KEYS {
        other.cmd("RPUSH").arg(format!("ns:list{number}")).arg("v");
        other.cmd("SET").arg(format!("elsewhere:{number}")).arg("v");
    }
    other.exec(&mut redis.connection()).unwrap();
    on_each(&redis, |name, store| assert_eq!(listed(store), keys, "{name}"));
    for (name, url) in servers(&redis) {
        for (namespace, page_size, expected) in [("ns", 7, KEYS), ("", 50, 2 * KEYS), ("none", 1000, 0)] {
            let store = patient().url(&url).namespace(namespace).page_size(page_size).connect().unwrap();
            redis.command(&["CONFIG", "RESETSTAT"]);
            assert_eq!(listed(&store).len(), expected, "{name}");
            let [scans, scripts, types, _] = calls(&redis, &["scan", "eval", "type", "exists"])[..] else { panic!() };
            if name == "as it is" && is_since((6, 0, 0)) || name == "said to be 6.0" || name == "without EVAL" {
                assert_eq!((scripts, types), (0, 0), "{name}");
            } else if name.ends_with("without EVAL") {
                assert_eq!(scripts, 0, "{name}");
                assert!(types >= expected as u64, "{name}: {types}");
            } else {
                assert!(scripts == scans && types >= expected as u64, "{name}: {scripts} {scans} {types}");
            }
        }
    }
}

/// The last page may have no names, whose types would be asked for.
#[test]
fn an_empty_listing_ends_whatever_commands_the_server_has() {
    let redis = Redis::start(&[]);
    on_each(&redis, |name, store| assert_eq!(listed(store), BTreeSet::new(), "{name}"));
}

/// KeyDB takes pages of 100 and more from a snapshot that may lack what was written just before.
#[test]
fn pages_of_keydb_are_of_a_transaction_and_those_of_a_server_that_does_not_tell_what_it_is_are_small() {
    let redis = Redis::start(&[]);
    let store = patient().url(redis.url()).connect().unwrap();
    store.put_many((0..1000).map(|number| (format!("k{number}"), ""))).unwrap();
    let program = redis.info("executable").unwrap_or_default();
    let keydb = format!("keydb{}", "-".repeat(program.len().saturating_sub(5)));
    let mut servers = vec![("as it is", redis.url(), 1..=3)];
    if program.len() >= keydb.len() {
        let edit = (format!("executable:{program}"), format!("executable:{keydb}"));
        let keydb = seen_as(&redis, vec![edit]);
        if is_since((6, 0, 0)) {
            // No command outside of the list in the README is used instead of MULTI.
            redis.command(&["ACL", "SETUSER", "other", "on", ">secret", "~*", "+@all", "-multi", "-eval", "-type"]);
            servers.push(("KeyDB without MULTI", keydb.replace("redis://", "redis://other:secret@"), 10..=30));
        }
        servers.push(("KeyDB", keydb, 1..=3));
    }
    if is_since((6, 0, 0)) {
        servers.push(("without INFO", user(&redis, &redis.url(), &["-info"]), 10..=30));
    }
    for (name, url, pages) in servers {
        for shared in [0, 1] {
            let store = patient().url(&url).shared_connections(shared).connect().unwrap();
            redis.command(&["CONFIG", "RESETSTAT"]);
            assert_eq!(listed(&store).len(), 1000, "{name}");
            let [scans, scripts, types] = calls(&redis, &["scan", "eval", "type"])[..] else { panic!() };
            assert!(pages.contains(&scans), "{name}: {scans}");
            assert!(!is_since((6, 0, 0)) || (scripts, types) == (0, 0), "{name}: {scripts} {types}");
        }
    }
}

/// If the server does not say what it is, each listing sends `EXISTS` and `MGET` of two keys once.
#[test]
fn a_listing_asks_whether_a_server_is_a_node_of_a_cluster_if_it_does_not_say() {
    let redis = Redis::start(&[]);
    for (url, questions) in [(redis.url(), 0), (seen_as(&redis, mode_hidden()), 1)] {
        let store = patient().url(url).page_size(10).connect().unwrap();
        store.put_many((0..100).map(|number| (format!("k{number}"), "v"))).unwrap();
        redis.command(&["CONFIG", "RESETSTAT"]);
        assert_eq!(listed(&store).len(), 100);
        assert_eq!(calls(&redis, &["mget"]), [questions]);
    }
}

#[track_caller]
fn is_not_listed(store: &RedisStore, says: &str) {
    let error = match store.keys("") {
        Err(error) => error,
        Ok(keys) => keys.map(|key| key.map(drop)).find_map(Result::err).expect("a listing of one node looks whole"),
    };
    assert!(matches!(error, Error::Backend(_)) && !error.is_transient(), "{}", chain(&error));
    assert!(chain(&error).contains(says), "{}", chain(&error));
}

#[test]
fn one_node_of_a_cluster_is_never_listed_as_if_it_were_all() {
    const SAYS: &str = "node of a cluster; use `cluster(…)`";
    if !can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let whole = patient().cluster(cluster.urls()).connect().unwrap();
    whole.put_many((0..300).map(|number| (format!("k{number}"), "v"))).unwrap();
    let node = &cluster.nodes()[0];
    let text = chain(&patient().url(node.url()).connect().unwrap_err());
    assert!(text.contains(SAYS), "{text}");
    let pool = |url: String| {
        let pool = r2d2::Pool::builder().test_on_check_out(false).max_size(2);
        RedisStore::from_pool(pool.build(redis::Client::open(url).unwrap()).unwrap())
    };
    is_not_listed(&pool(node.url()), SAYS);
    let mut urls = vec![seen_as(node, mode_hidden())];
    if is_since((6, 0, 0)) {
        urls.push(user(node, &node.url(), &["-info"]));
        // Which of the two it may ask does not matter.
        let both = user(node, &node.url(), &["-info", "-exists"]);
        is_not_listed(&patient().url(&both).connect().unwrap(), SAYS);
        user(node, &node.url(), &["-info", "-exists", "-mget"]);
        is_not_listed(&patient().url(&both).connect().unwrap(), "does not say whether it is a node of a cluster");
        user(node, &node.url(), &["-info"]);
    }
    for url in urls {
        for namespace in ["", "shop"] {
            is_not_listed(&patient().url(&url).namespace(namespace).connect().unwrap(), SAYS);
            is_not_listed(&patient().url(&url).namespace(namespace).shared_connections(1).connect().unwrap(), SAYS);
        }
        is_not_listed(&pool(url), SAYS);
    }
    // Without INFO on any node a cluster is listed as ever.
    assert_eq!(listed(&whole).len(), 300);
}
