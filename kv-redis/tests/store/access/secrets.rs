//! Nothing shows a password, a user or a value.

use super::*;

/// Configures stores in every way, and makes them fail. Nothing that they show contains a secret: `chain`, `refused` and `works` check
/// everything.
#[test]
fn no_secret_is_shown() {
    let limit: &[&str] = if support::is_since((4, 0, 0)) { &["--proto-max-bulk-len", "1mb"] } else { &[] };
    let redis = Redis::start(&[&["--requirepass", "server0hush"], limit].concat());
    let store = patient().url(redis.url()).largest_value(1 << 20).connect().unwrap();
    works(&store);
    let urls = [
        "hush",
        "redis://user:p-hush@host:port",
        "redis://user:p-hush@host/first-hush",
        "redis://p-hush@host",
        "http://user:p-hush@host",
        "redis://:p-hush@",
        "rediss://user:p-hush@host/#insecure",
        "redis+unix://relative-hush?pass=p-hush",
        "redis+unix:///path?db=hush&pass=p-hush",
        "redis://user:p-hush@host/0?protocol=hush",
        "redis://user:p-%68ush%@host:1:2",
    ];
    for url in urls {
        let builder = RedisStore::builder().url(url);
        shows_no_secret(&format!("{builder:?} {builder:#?}"));
        if let Err(error) = builder.build() {
            chain(&error);
        }
    }
    // A value is a secret, too (E3).
    let value = "v-hush".repeat(1000);
    redis.command(&["HSET", "hash", "field", &value]);
    let mut errors = vec![store.get("hash").unwrap_err(), store.get_into("hash", Vec::new()).unwrap_err()];
    errors.push(store.put("large", "hush".repeat(1 << 19)).unwrap_err());
    errors.push(store.put_with_ttl("k", &*value, Duration::MAX).unwrap_err());
    errors.push(store.copy("absent", "k").unwrap_err());
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    errors.push(store.put("k", &*value).unwrap_err());
    errors.push(store.put_many([("k", &*value), ("l", &*value)]).unwrap_err());
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    // An unknown command, whose arguments the server repeats.
    let has_users = support::is_since((6, 0, 0));
    if has_users {
        redis.command(&["ACL", "SETUSER", "app", "reset", "on", ">user-hush", "~*", "+@all", "-set"]);
        let app = RedisStore::builder().url(redis.url()).username("app").password("user-hush").connect().unwrap();
        shows_no_secret(&format!("{app:?}"));
        errors.push(app.put("k", &*value).unwrap_err());
    }
    redis.pause();
    let hurried = RedisStore::builder().url(redis.url()).response_timeout(Duration::from_millis(50));
    errors.push(hurried.clone().connect_timeout(Duration::from_millis(50)).connect().unwrap_err());
    redis.resume();
    let hurried = hurried.connect().unwrap();
    redis.pause();
    errors.push(hurried.put("k", &*value).unwrap_err());
    redis.resume();
    redis.kill();
    errors.push(store.put("k", &*value).unwrap_err());
    errors.push(store.get_many(["k"]).unwrap_err());
    assert_eq!(errors.len(), if has_users { 12 } else { 11 });
    for error in errors {
        assert!(!chain(&error).is_empty());
    }
}

/// A command that the server lacks. The server repeats the arguments, also the value.
#[test]
fn a_server_that_does_not_know_a_command_does_not_give_the_value_away() {
    let redis = Redis::start(&["--rename-command", "SET", "", "--rename-command", "AUTH", ""]);
    let store = RedisStore::connect(redis.url()).unwrap();
    for error in [store.put("k", "v-hush").unwrap_err(), store.put_many([("k", "v-hush")]).unwrap_err()] {
        let text = chain(&error);
        assert!(matches!(&error, Error::Backend(_)) && text.contains("unknown command"), "{text}");
    }
    let (error, text) = refused(RedisStore::builder().url(redis.url()).password("p-hush"));
    assert!(matches!(&error, Error::Backend(_)) && text.contains("unknown command"), "{text}");
}
