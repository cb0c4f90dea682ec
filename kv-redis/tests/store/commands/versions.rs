//! Servers of several versions, and servers that do not tell theirs.

use super::*;

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
        // Redis 3 counts the commands of a transaction as its EXEC.
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
        let on_external_pool = patient().namespace("ns").page_size(10).build_on_pool(pool).unwrap();
        for store in [builder.connect().unwrap(), on_external_pool] {
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
