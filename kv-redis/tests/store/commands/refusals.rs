//! Commands that a server refuses.

use super::*;

#[test]
fn a_refused_command_is_sent_only_once() {
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
fn a_refused_command_is_tried_again_after_a_time() {
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

/// E5. Without a transaction `PERSIST` is carried out, although the request fails.
#[test]
fn a_touch_without_the_right_to_a_transaction_has_an_unknown_outcome() {
    if !can_test("ACL", (6, 0, 0)) {
        return;
    }
    let redis = Redis::start(&[]);
    let store = patient().url(user(&redis, &redis.url(), &["-multi"])).connect().unwrap();
    store.put_with_ttl("k", "v", LONG).unwrap();
    let error = store.touch("k", Ttl::Forever).unwrap_err();
    assert!(error.outcome_unknown() && chain(&error).contains("MULTI"), "{}", chain(&error));
    assert_eq!(store.ttl("k").unwrap(), Some(Remaining::Forever));
}

/// N2. Later commands on a connection with an open transaction would become a part of it.
#[test]
fn a_connection_whose_transaction_was_not_ended_is_not_used_again() {
    let redis = Redis::start(&["--rename-command", "EXEC", ""]);
    for shared in [0, 1] {
        let store = patient().url(redis.url()).pool_size(1).shared_connections(shared).connect().unwrap();
        store.put_with_ttl("k", "v", LONG).unwrap();
        let error = store.touch("k", Ttl::Forever).unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && chain(&error).contains("EXEC"), "{}", chain(&error));
        assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"v"[..]));
        store.put("k", "w").unwrap();
    }
    let pool = r2d2::Pool::builder().test_on_check_out(false).max_size(1);
    let store = RedisStore::from_pool(pool.build(redis::Client::open(redis.url()).unwrap()).unwrap());
    store.touch("k", Ttl::Forever).unwrap_err();
    assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"w"[..]));
}

/// The lists in the README.
#[test]
fn a_user_with_the_rights_that_the_readme_names_has_the_whole_store() {
    if !can_test("ACL", (6, 0, 0)) {
        return;
    }
    let redis = Redis::start(&[]);
    let readme = include_str!("../../../README.md");
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

/// Servers before redis 2.8, and some proxies, ask for a password in these words.
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
