//! Which commands a server gets: each row of the table of `src/commands.rs`, on whatever server there is. What a newer server has
//! is taken from it by another version in its `INFO`, by `rename-command`, or by the rights of a user.

#![cfg(unix)]
#![cfg(feature = "cluster")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use kv_redis::{Error, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Remaining, Ttl, r2d2, redis};

mod support;
use support::{PATIENCE, RENAMED_INFO, Redis, RedisCluster, can_test, chain, is_since, wait_until};

const LONG: Duration = Duration::from_secs(10_000);

fn patient() -> RedisStoreBuilder {
    RedisStore::builder().pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// A server as somebody sees it who is told something else than it says: in what it sends, each text is replaced by another
/// one of the same length. Its URL.
fn seen_as(redis: &Redis, edits: Vec<(String, String)>) -> String {
    for (old, new) in &edits {
        assert_eq!(old.len(), new.len(), "{old} {new}");
    }
    let (listener, server) = (TcpListener::bind("127.0.0.1:0").unwrap(), redis.address());
    let url = redis.url().replace(&server, &listener.local_addr().unwrap().to_string());
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
            let (edits, mut from, mut to) = (edits.clone(), server, client);
            thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(read) = from.read(&mut buffer) {
                    let mut bytes = buffer[..read].to_vec();
                    for (old, new) in &edits {
                        for at in 0..bytes.len().saturating_sub(old.len()) {
                            if bytes[at..].starts_with(old.as_bytes()) {
                                bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
                            }
                        }
                    }
                    if read == 0 || to.write_all(&bytes).is_err() {
                        let _ = to.shutdown(std::net::Shutdown::Both);
                        break;
                    }
                }
            });
        }
    });
    url
}

/// What makes a server say another version: one of redis that begins so, such as `5.0.`.
fn version(redis: &Redis, begin: &str) -> (String, String) {
    let own = redis.info("redis_version").unwrap();
    let other = format!("{begin}{}", "9".repeat(own.len() - begin.len()));
    (format!("redis_version:{own}"), format!("redis_version:{other}"))
}

/// What makes a server hide whether it is a node of a cluster.
fn mode_hidden() -> Vec<(String, String)> {
    ["redis", "server"].map(|name| (format!("{name}_mode:"), format!("{name}_mood:"))).into()
}

/// A user without some rights; its URL in place of this one.
fn user(redis: &Redis, url: &str, without: &[&str]) -> String {
    redis.command(&[&["ACL", "SETUSER", "app", "reset", "on", ">secret", "~*", "+@all"], without].concat());
    url.replace("redis://", "redis://app:secret@")
}

/// A server without `COPY`, which it may never have had.
fn without_copy() -> Redis {
    Redis::start(if is_since((6, 2, 0)) { &["--rename-command", "COPY", ""] } else { &[] })
}

fn calls(redis: &Redis, commands: &[&str]) -> Vec<u64> {
    commands.iter().map(|command| redis.count_of_calls(command)).collect()
}

fn listed(store: &RedisStore) -> BTreeSet<String> {
    let keys: Vec<_> = store.keys("").unwrap().map(|key| key.unwrap().to_string()).collect();
    let set: BTreeSet<_> = keys.iter().cloned().collect();
    assert_eq!(set.len(), keys.len());
    set
}

/// All ways to be a server of which something is missing: a name, and the URL.
fn servers(redis: &Redis) -> Vec<(&'static str, String)> {
    let mut servers = vec![("as it is", redis.url())];
    for (name, begin) in [("said to be 3.0", "3.0."), ("said to be 5.0", "5.0."), ("said to be 6.0", "6.0.")] {
        if is_since((6, 2, 0)) {
            servers.push((name, seen_as(redis, vec![version(redis, begin)])));
        }
    }
    if is_since((6, 0, 0)) {
        servers.push(("without EVAL", user(redis, &redis.url(), &["-eval"])));
        servers.push((
            "said to be 5.0, without EVAL",
            user(redis, &seen_as(redis, vec![version(redis, "5.0.")]), &["-eval"]),
        ));
    }
    servers
}

/// Does the same to a store on each of them, over each kind of connection.
fn on_each(redis: &Redis, act: impl Fn(&str, &RedisStore)) {
    for (name, url) in servers(redis) {
        let builder = patient().url(&url).namespace("ns");
        act(name, &builder.clone().connect().unwrap());
        act(&format!("{name}, not connected before"), &builder.clone().build().unwrap());
        act(&format!("{name}, shared connections"), &builder.clone().shared_connections(1).connect().unwrap());
        let pool = r2d2::Pool::builder().test_on_check_out(false).max_size(2);
        let pool = pool.build(redis::Client::open(&*url).unwrap()).unwrap();
        act(&format!("{name}, pool of the application"), &builder.build_on_pool(pool).unwrap());
    }
}

#[test]
fn an_entry_is_copied_by_whatever_the_server_has() {
    let redis = Redis::start(&[]);
    let large = vec![0xC3; 1 << 20];
    on_each(&redis, |name, store| {
        for value in [&b""[..], b"v\r\n\0\xFF", &large] {
            for ttl in [Ttl::Forever, Ttl::After(LONG), Ttl::After(Duration::from_millis(i64::MAX as u64 / 2))] {
                store.put_with_ttl("from", value, ttl).unwrap();
                store.put_with_ttl("to", "old", Duration::from_secs(5)).unwrap();
                store.copy("from", "to").unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
                assert!(store.get("to").unwrap().unwrap() == value, "{name}");
                match (store.ttl("from").unwrap().unwrap(), store.ttl("to").unwrap().unwrap()) {
                    (Remaining::Forever, Remaining::Forever) => assert_eq!(ttl, Ttl::Forever, "{name}"),
                    (Remaining::For(from), Remaining::For(to)) => {
                        // Lua's numbers are exact up to 2^53, 285 000 years.
                        let late = Duration::from_millis(if ttl == Ttl::After(LONG) { 500 } else { 2048 });
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
        // An object of another type is in the way of nobody, and no secret.
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

/// How often a server is told a command by a hundred copies.
#[track_caller]
fn copies(redis: &Redis, url: &str, expected: [u64; 6]) {
    let store = patient().url(url).pool_size(1).connect().unwrap();
    store.put("from", "v").unwrap();
    // What is refused is refused once.
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
fn what_the_server_refuses_is_refused_once() {
    let redis = without_copy();
    let proxy = support::proxy(redis.port());
    let store = patient().url(format!("redis://127.0.0.1:{}", proxy.port())).pool_size(4).connect().unwrap();
    store.put("from", "v").unwrap();
    redis.command(&["CONFIG", "RESETSTAT"]);
    for _ in 0..10 {
        store.copy("from", "to").unwrap();
    }
    assert_eq!(calls(&redis, &["eval"]), [10]);
    assert_eq!(proxy.accepted(), 1, "a refusal is no reason for another connection");
    if !can_test("COPY", (6, 2, 0)) {
        return;
    }
    // Nor do other connections ask again, as long as the server is the same.
    let exchanges = |expected: usize, what: &str| {
        let before = proxy.exchanges();
        store.copy("from", "to").unwrap();
        assert_eq!(proxy.exchanges() - before, expected, "{what}");
    };
    exchanges(1, "the script");
    redis.command(&["CLIENT", "KILL", "TYPE", "NORMAL"]);
    thread::sleep(Duration::from_millis(50));
    exchanges(2, "the login and the script");
    redis.restart();
    wait_until(|| store.put("from", "v").map_err(|error| chain(&error)));
    exchanges(2, "what may be another server is asked for COPY");
    exchanges(1, "once");
}

/// A server may refuse a command for the moment only.
#[test]
fn what_the_server_refused_is_asked_for_again_after_a_time() {
    if !can_test("COPY", (6, 2, 0)) {
        return;
    }
    let redis = Redis::start(&[]);
    let store = patient().url(user(&redis, &redis.url(), &["-copy"])).connect().unwrap();
    store.put("from", "v").unwrap();
    store.copy("from", "to").unwrap();
    user(&redis, "", &[]);
    redis.command(&["CONFIG", "RESETSTAT"]);
    store.copy("from", "to").unwrap();
    assert_eq!(calls(&redis, &["copy", "eval"]), [0, 1], "it is remembered");
    thread::sleep(Duration::from_millis(5100));
    store.copy("from", "to").unwrap();
    assert_eq!(calls(&redis, &["copy", "eval"]), [1, 1]);
}

#[test]
fn a_listing_is_of_strings_alone_by_whatever_the_server_has() {
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
            redis.command(&["ACL", "SETUSER", "other", "on", ">secret", "~*", "+@all", "-multi"]);
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
            let [scans] = calls(&redis, &["scan"])[..] else { panic!() };
            assert!(pages.contains(&scans), "{name}: {scans}");
        }
    }
}

#[test]
fn for_ever_is_one_transaction_and_revives_nothing_that_has_expired() {
    let redis = Redis::start(&[]);
    on_each(&redis, |name, store| {
        store.put_with_ttl("k", "v", LONG).unwrap();
        redis.command(&["CONFIG", "RESETSTAT"]);
        assert!(store.touch("k", Ttl::Forever).unwrap() && store.touch("k", Ttl::Forever).unwrap(), "{name}");
        assert!(!store.touch("absent", Ttl::Forever).unwrap());
        let looks_first = name.starts_with("said to be 3.0") || !is_since((3, 2, 0));
        let exists = if looks_first { 6 } else { 3 };
        // With redis 3 what is in a transaction counts as its EXEC.
        let called = calls(&redis, &["exec", "persist", "exists"]);
        let is_of_exec = is_since((3, 0, 0)) && !is_since((4, 0, 0));
        assert_eq!(called, if is_of_exec { [3 + 3 + exists, 0, 0] } else { [3, 3, exists] }, "{name}");
        assert_eq!(store.ttl("k").unwrap(), Some(Remaining::Forever));
        store.put_with_ttl("short", "v", Duration::from_millis(20)).unwrap();
        thread::sleep(Duration::from_millis(40));
        assert!(!store.touch("short", Ttl::Forever).unwrap(), "{name}");
        assert_eq!(store.get("short").unwrap(), None, "{name}");
    });
}

#[test]
fn nothing_changes_on_a_server_that_has_everything() {
    if !can_test("COPY", (6, 2, 0)) {
        return;
    }
    let redis = Redis::start(&[]);
    redis.command(&["CONFIG", "RESETSTAT"]);
    let store = patient().url(redis.url()).build().unwrap();
    assert_eq!(listed(&store).len(), 0);
    store.put("k", "v").unwrap();
    store.copy("k", "l").unwrap();
    store.touch("k", Ttl::Forever).unwrap();
    let commands = ["info", "scan", "set", "copy", "multi", "persist", "exists", "exec", "eval", "mget"];
    assert_eq!(calls(&redis, &commands), [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
}

/// The lists in the README.
#[test]
fn a_user_with_the_rights_that_the_readme_names_has_the_whole_store() {
    if !can_test("ACL", (6, 0, 0)) {
        return;
    }
    let redis = Redis::start(&[]);
    let readme = include_str!("../README.md");
    let line = readme.lines().find_map(|line| line.strip_prefix("ACL SETUSER app on >secret ~* -@all ")).unwrap();
    let rights: Vec<_> = line.split_whitespace().collect();
    let is_known = |right: &&&str| is_since((6, 2, 0)) || !matches!(**right, "+copy");
    let mut rights: Vec<_> = rights.iter().filter(is_known).copied().collect();
    if !is_since((6, 2, 0)) {
        rights.push("+eval");
    }
    redis.command(&[&["ACL", "SETUSER", "app", "reset", "on", ">secret", "~ns:*", "-@all"], &rights[..]].concat());
    let url = redis.url().replace("redis://", "redis://app:secret@");
    let store = patient().url(url).namespace("ns").connect().unwrap();
    store.put_with_ttl("a", "v", LONG).unwrap();
    store.touch("a", Ttl::Forever).unwrap();
    store.copy("a", "b").unwrap();
    store.rename("b", "c").unwrap();
    assert_eq!(listed(&store), ["a", "c"].map(String::from).into());
    assert_eq!(store.delete_many(["a", "b", "c"]).unwrap(), [true, false, true]);
}

#[test]
fn a_server_that_is_too_old_is_named_with_the_oldest_that_will_do() {
    let redis = Redis::start(&[]);
    let url = seen_as(&redis, vec![version(&redis, "2.6.")]);
    let error = patient().url(&url).connect().unwrap_err();
    let text = chain(&error);
    assert!(matches!(error, Error::Backend(_)) && !error.is_transient(), "{text}");
    assert!(text.contains("the server is redis 2.6.9") && text.contains("needs 2.8.12 or newer"), "{text}");
    let pool = r2d2::Pool::builder().test_on_check_out(false).max_size(2);
    let store = RedisStore::from_pool(pool.build(redis::Client::open(url).unwrap()).unwrap());
    let text = chain(&store.get("k").unwrap_err());
    assert!(text.contains("the server is redis 2.6.9") && text.contains("needs 2.8.12 or newer"), "{text}");
}

#[test]
fn without_info_everything_works() {
    let renamed = Redis::start(&["--rename-command", "INFO", RENAMED_INFO]);
    let plain = Redis::start(&[]);
    let mut urls = vec![renamed.url(), seen_as(&plain, mode_hidden())];
    if is_since((6, 0, 0)) {
        urls.push(user(&plain, &plain.url(), &["-info"]));
    }
    let pools = [0, 1];
    for (url, shared) in urls.iter().flat_map(|url| pools.map(|shared| (url, shared))) {
        let builder = patient().url(url).namespace("ns").shared_connections(shared).page_size(10);
        let pool = r2d2::Pool::builder().test_on_check_out(false).max_size(2);
        let pool = pool.build(redis::Client::open(&**url).unwrap()).unwrap();
        let lent = patient().namespace("ns").page_size(10).build_on_pool(pool).unwrap();
        for store in [builder.connect().unwrap(), lent] {
            let keys: BTreeSet<_> = (0..100).map(|number| format!("k{number}")).collect();
            store.put_many(keys.iter().map(|key| (key, "v"))).unwrap();
            assert_eq!(listed(&store), keys);
            store.copy("k1", "copy").unwrap();
            assert!(store.touch("copy", Ttl::Forever).unwrap());
            store.rename("copy", "k1").unwrap();
            assert_eq!(listed(&store), keys);
            store.delete_many(keys).unwrap();
        }
    }
}

/// `EXISTS` and `MGET` of two keys are asked for once for each listing, where nobody tells.
#[test]
fn whether_a_server_is_a_node_of_a_cluster_is_asked_for_where_nobody_tells() {
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

#[test]
fn a_command_that_is_renamed_or_forbidden_is_named() {
    type Act = fn(&RedisStore) -> Result<(), Error>;
    let acts: [(&str, Act); 12] = [
        ("GET", |store| store.get("k").map(drop)),
        ("SET", |store| store.put("k", "v")),
        ("DEL", |store| store.delete("k").map(drop)),
        ("EXISTS", |store| store.contains("k").map(drop)),
        ("PTTL", |store| store.ttl("k").map(drop)),
        ("PEXPIRE", |store| store.touch("k", LONG).map(drop)),
        ("PERSIST", |store| store.touch("k", Ttl::Forever).map(drop)),
        ("MULTI", |store| store.touch("k", Ttl::Forever).map(drop)),
        ("MGET", |store| store.get_many(["k"]).map(drop)),
        ("RENAME", |store| store.rename("k", "l")),
        ("SCAN", |store| store.keys("")?.try_for_each(|key| key.map(drop))),
        ("SET", |store| store.put_many([("k", "v")])),
    ];
    for (name, act) in acts {
        let redis = Redis::start(&["--rename-command", name, ""]);
        let error = act(&patient().url(redis.url()).connect().unwrap()).unwrap_err();
        let text = format!("the server does not know the command {name}:");
        assert!(error.to_string().contains(&text) && !error.is_transient(), "{name}: {}", chain(&error));
    }
    if is_since((6, 0, 0)) {
        let redis = Redis::start(&[]);
        redis.command(&["SET", "k", "v"]);
        for (name, act) in acts {
            let url = user(&redis, &redis.url(), &[&format!("-{name}").to_lowercase()]);
            let error = act(&patient().url(url).connect().unwrap()).unwrap_err();
            let text = format!("not allowed to use the command {name};");
            assert!(error.to_string().contains(&text) && !error.is_transient(), "{name}: {}", chain(&error));
        }
    }
    let redis = Redis::start(&["--rename-command", "SELECT", ""]);
    let error = patient().url(format!("{}/1", redis.url())).connect().unwrap_err();
    assert!(error.to_string().contains("does not know the command SELECT:"), "{}", chain(&error));
}

/// Before redis 2.8, and behind some proxies, that is how a password is asked for.
#[test]
fn a_server_that_permits_nothing_wants_a_password() {
    let redis = Redis::start(&["--requirepass", "secret"]);
    let edit = ("-NOAUTH Authentication required.", "-ERR operation not permitted ...");
    let url = seen_as(&redis, vec![(edit.0.into(), edit.1.into())]);
    for (database, shared) in [("", 0), ("/1", 0), ("", 1)] {
        let builder = patient().url(format!("{}{database}", url.replace(":secret@", ""))).shared_connections(shared);
        let error = builder.connect().unwrap_err();
        let text = chain(&error);
        assert!(text.contains("wants a password; put it into the URL") && !error.is_transient(), "{text}");
        assert!(text.ends_with("ERR operation not permitted ..."), "{text}");
    }
}

#[test]
fn an_error_that_names_a_command_is_not_taken_for_one_of_a_command_that_is_unknown() {
    let redis = Redis::start(&[]);
    redis.command(&["RPUSH", "list", "v"]);
    let own = redis.try_command(&["GET", "list"]).unwrap_err().to_string();
    let own = &own[own.find("Operation against").unwrap()..];
    for words in ["command 'get' against a key ", "unknown command 'get' or a key "] {
        let edit = format!("WRONGTYPE {words}{}", "-".repeat(own.len() - words.len()));
        let store = patient().url(seen_as(&redis, vec![(format!("WRONGTYPE {own}"), edit)])).connect().unwrap();
        let text = chain(&store.get("list").unwrap_err());
        assert!(text.contains("WRONGTYPE ") && text.contains("redis object of another type"), "{text}");
        assert!(!text.contains("does not know"), "{text}");
    }
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
fn many_threads_that_share_connections_find_out_together() {
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

/// What somebody does to a key while it is renamed to a key of another slot, and what is there afterwards.
type Meanwhile = (&'static str, &'static [&'static str], Option<&'static str>);

const MEANWHILE: [Meanwhile; 8] = [
    ("nothing", &["PING"], None),
    ("another value", &["SET", "KEY", "other"], Some("other")),
    ("another value with a TTL", &["SET", "KEY", "other", "PX", "5000000"], Some("other")),
    ("the same value for ever", &["SET", "KEY", "v"], Some("v")),
    ("a longer TTL", &["PEXPIRE", "KEY", "99000000"], Some("v")),
    ("a shorter TTL", &["PEXPIRE", "KEY", "1000000"], Some("v")),
    ("a removal", &["DEL", "KEY"], None),
    ("more of the same", &["APPEND", "KEY", "v"], Some("vv")),
];

#[test]
fn what_is_written_to_a_key_while_it_is_renamed_across_slots_stays() {
    if !can_test("cluster", (3, 0, 0)) {
        return;
    }
    // A node that is paused is not given up.
    let cluster = RedisCluster::start_with(3, 0, &["--cluster-node-timeout", "60000"]);
    let store = patient().cluster(cluster.urls()).connect().unwrap();
    let tag = |node| {
        let mut tags = (0..).map(|number| format!("{{{number}}}"));
        tags.find(|tag| cluster.primary_of_slot(cluster.slot_of(tag)) == node).unwrap()
    };
    let ([from, to], [source, target]) = ([tag(0), tag(1)], [&cluster.nodes()[0], &cluster.nodes()[1]]);
    for ttl in [Ttl::After(LONG), Ttl::Forever] {
        for (name, command, expected) in MEANWHILE {
            // What has the same value and lives as long is the same.
            if ttl == Ttl::Forever && name == "the same value for ever" {
                continue;
            }
            store.put_with_ttl(&from, "v", ttl).unwrap();
            store.put(&to, "old").unwrap();
            let before = source.count_of_calls("exec");
            target.pause();
            thread::scope(|scope| {
                let rename = scope.spawn(|| store.rename(&from, &to));
                let is_read = || if source.count_of_calls("exec") > before { Ok(()) } else { Err("not read".into()) };
                wait_until(is_read);
                let command: Vec<_> = command.iter().map(|&word| if word == "KEY" { &*from } else { word }).collect();
                source.command(&command);
                target.resume();
                rename.join().unwrap().unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
            });
            assert_eq!(store.get(&to).unwrap().unwrap(), "v", "{name}");
            assert_eq!(matches!(store.ttl(&to).unwrap(), Some(Remaining::For(_))), ttl != Ttl::Forever, "{name}");
            let left = store.get(&from).unwrap();
            assert_eq!(left.as_deref(), expected.map(str::as_bytes), "{name} {ttl:?}");
        }
    }
}

/// A cluster, and a store on it of a user without some rights.
fn cluster_without(rights: &[&str]) -> (RedisCluster, RedisStore) {
    let cluster = RedisCluster::start(3, 0);
    let store = patient().cluster(cluster.urls().iter().map(|url| url.replace("redis://", "redis://app:secret@")));
    for node in cluster.nodes() {
        user(node, "", rights);
    }
    let store = store.connect().unwrap();
    (cluster, store)
}

fn allow(cluster: &RedisCluster, right: &str) {
    for node in cluster.nodes() {
        node.command(&["ACL", "SETUSER", "app", right]);
    }
}

#[test]
fn a_user_who_may_not_read_is_told_so_by_a_rename_across_slots_and_renames_once_that_is_allowed() {
    if !can_test("ACL", (6, 0, 0)) {
        return;
    }
    let (cluster, store) = cluster_without(&["-get"]);
    store.put("{1}", "v").unwrap();
    let text = chain(&store.rename("{1}", "{2}").unwrap_err());
    assert!(text.contains("not allowed to use the command GET"), "{text}");
    for node in cluster.nodes() {
        node.command(&["CONFIG", "RESETSTAT"]);
    }
    allow(&cluster, "+get");
    store.rename("{1}", "{2}").unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!((store.get("{1}").unwrap(), store.get("{2}").unwrap().unwrap()), (None, "v".into()));
    let [evals, others] =
        ["eval", "multi"].map(|name| cluster.nodes().iter().map(|node| node.count_of_calls(name)).sum::<u64>());
    assert_eq!((evals, others), (2, 1), "a script was refused to nobody: one reads with it, one removes");
}

#[test]
fn a_rename_across_slots_works_as_soon_as_the_user_may_use_what_it_needs() {
    if !can_test("ACL", (6, 0, 0)) {
        return;
    }
    let (cluster, store) = cluster_without(&["-copy", "-eval"]);
    store.put("{1}", "v").unwrap();
    // So it is known that there is no EVAL for this user.
    store.copy("{1}", "{1}copy").unwrap();
    allow(&cluster, "+eval");
    store.rename("{1}", "{2}").unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!((store.get("{1}").unwrap(), store.get("{2}").unwrap().unwrap()), (None, "v".into()));
}

#[test]
fn a_rename_across_slots_without_a_way_to_remove_only_what_was_copied_changes_nothing() {
    if !can_test("cluster", (3, 0, 0)) {
        return;
    }
    let cluster = RedisCluster::start_with(3, 0, &["--rename-command", "EVAL", ""]);
    let store = patient().cluster(cluster.urls()).connect().unwrap();
    let [from, to] = ["{1}", "{2}"];
    assert_ne!(cluster.slot_of(from), cluster.slot_of(to));
    store.put_with_ttl(from, "v", LONG).unwrap();
    store.put(to, "old").unwrap();
    let node = &cluster.nodes()[cluster.primary_of_slot(cluster.slot_of(from))];
    let has =
        |command: &[&str]| !matches!(node.try_command(command), Err(error) if error.to_string().contains("unknown"));
    if has(&["DELIFEQ", from, "other"]) || has(&["DELEX", from, "IFEQ", "other"]) {
        store.rename(from, to).unwrap();
        assert_eq!((store.get(from).unwrap(), store.get(to).unwrap().unwrap()), (None, "v".into()));
        return;
    }
    let error = store.rename(from, to).unwrap_err();
    let text = chain(&error);
    assert!(matches!(error, Error::Backend(_)) && !error.is_transient() && !error.outcome_unknown(), "{text}");
    assert!(text.contains("needs EVAL (or DELIFEQ or DELEX") && text.contains("nothing was changed"), "{text}");
    assert_eq!(error.key(), Some(from));
    assert_eq!((store.get(from).unwrap().unwrap(), store.get(to).unwrap().unwrap()), ("v".into(), "old".into()));
    // Within a slot it is RENAME, and a copy needs nothing of this.
    store.rename(from, format!("{from}x")).unwrap();
    store.copy(format!("{from}x"), to).unwrap();
    assert_eq!(store.get(to).unwrap().unwrap(), "v");
}
