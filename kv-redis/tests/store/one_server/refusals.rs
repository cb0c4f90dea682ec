//! What a server refuses, the errors for it, and that they show no secret.

use super::*;

const PASSWORD: &str = "Pa55wordOfNobody";
const SECRET: &str = "ValueOfNobody";

#[test]
fn a_full_server_takes_no_writes_and_goes_on_with_the_rest() {
    let full = ["--databases", "1", "--maxmemory", "2mb", "--maxmemory-policy", "noeviction"];
    let redis = Redis::start(&full);
    let store = open(&redis);
    let value = bytes(10_000, 1);
    let is_full = |error: &Error| {
        assert!(matches!(error, Error::Backend(_)) && !error.outcome_unknown(), "{error:?}");
        assert!(error.to_string().contains("maxmemory"), "{error}");
        assert!(cause_of(error).starts_with("OOM"), "{error:?}");
        assert_eq!(error.store(), Some(store.name()));
    };
    for _ in 0..3 {
        let mut written = Vec::new();
        let error = loop {
            assert!(written.len() < 1000, "it is never full");
            let key = format!("key-{}", written.len());
            match store.put(&key, &value) {
                Ok(()) => written.push(key),
                Err(error) => break error,
            }
        };
        is_full(&error);
        assert_eq!(error.key(), Some(format!("key-{}", written.len()).as_str()));
        assert!(written.len() > 10, "{} were written", written.len());
        // A request takes memory, too. With this little memory, all requests are certainly refused.
        redis.command(&["CONFIG", "SET", "maxmemory", "1048576"]);
        is_full(&store.create("absent", &value).unwrap_err());
        is_full(&store.put(&written[0], b"new").unwrap_err());
        is_full(&store.put_many([("absent", &value)]).unwrap_err());
        is_full(&store.copy(&written[0], "absent").unwrap_err());

        let called = calls_of(&redis, || {
            for key in &written {
                assert!(store.get(key).unwrap().unwrap() == value, "{key}");
                assert!(store.contains(key).unwrap() && store.touch(key, MINUTE).unwrap());
            }
            assert_eq!(listed(&store, ""), set(&written));
            assert_eq!(store.get("absent").unwrap(), None);
        });
        assert_eq!(called.get("info"), None, "the connection was closed");
        redis.command(&["CONFIG", "SET", "maxmemory", "2097152"]);
        assert!(written.iter().all(|key| store.delete(key).unwrap()));
        // The server frees what it can in its own time.
        wait_until(|| store.put("k", &value).map_err(|error| error.to_string()));
        assert!(store.get("k").unwrap().unwrap() == value);
        assert!(store.delete("k").unwrap());
    }
}

#[test]
fn a_server_that_loads_its_data_says_so_and_then_has_it() {
    if !support::can_test("answer while it loads little, and slowly", (7, 0, 0)) {
        return;
    }
    // It takes 10 ms for a key and looks after its clients after each 1024 bytes.
    let slowly = ["--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"];
    let redis = Redis::start(&slowly);
    let store = open(&redis);
    let keys = names(1000);
    store.put_many(keys.iter().map(|key| (key, format!("{key} {}", "x".repeat(100))))).unwrap();
    redis.command(&["SAVE"]);
    redis.kill();
    redis.restart();
    let late = open(&redis);
    let results = [
        ("get", store.get("k").map(drop)),
        ("put", store.put("k", "v")),
        ("put_many", store.put_many([("k", "v")])),
        ("get_many", store.get_many(["k"]).map(drop)),
        ("keys", store.keys("").unwrap().next().unwrap().map(drop)),
        ("put, by a new one", late.put("k", "v")),
    ];
    for (what, result) in results {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Backend(_)), "{what}: {error:?}");
        assert!(error.is_transient() && !error.outcome_unknown(), "{what}: {error:?}");
        assert!(error.to_string().contains("loading"), "{what}: {error}");
        assert!(cause_of(&error).starts_with("LOADING"), "{what}: {error:?}");
    }
    redis.command(&["CONFIG", "SET", "key-load-delay", "0"]);
    wait_until(|| store.get(&keys[999]).map_err(|error| error.to_string())).unwrap();
    assert!(listed(&store, "") == set(&keys));
    late.put("k", "v").unwrap();
    assert_eq!(store.get("k").unwrap().unwrap(), "v");
}

/// Neither the password nor the value may be seen.
#[track_caller]
fn hides(what: &str, shown: &str) {
    for secret in [PASSWORD, SECRET] {
        assert!(!shown.contains(secret), "{what} shows {secret}: {shown}");
    }
}

#[track_caller]
fn hides_all<T: Debug>(what: &str, it: &T) {
    hides(what, &format!("{it:?} {it:#?}"));
}

/// Checks that an error and its text name the store and a key, and show no secret.
#[track_caller]
fn is_told(what: &str, store: &str, key: Option<&str>, error: &Error) {
    hides(what, &told(error));
    assert_eq!((error.store(), error.key()), (Some(store), key), "{what}: {error:?}");
    let text = error.to_string();
    assert!(text.contains(store) && text.contains(key.unwrap_or_default()), "{what}: {text}");
}

#[test]
fn no_debug_shows_a_password() {
    let redis = Redis::start(&["--requirepass", PASSWORD]);
    assert!(redis.url().contains(PASSWORD) && redis.unix_url().contains(PASSWORD));
    let plain = || builder(format!("redis://{}", redis.address())).password(PASSWORD);
    let with_user = support::is_since((6, 0, 0)).then(|| plain().username("default"));
    for builder in [builder(redis.url()), builder(redis.unix_url()), plain()].into_iter().chain(with_user) {
        hides_all("the builder", &builder);
        let store = builder.connect().unwrap();
        hides_all("the store", &store);
        hides("the name", store.name());
        store.put("k", SECRET).unwrap();
        hides_all("a listing", &store.keys("").unwrap());
    }
}

#[test]
fn a_url_that_is_invalid_is_not_shown() {
    let urls = [
        format!("redis://:{PASSWORD}@host:port/0"),
        format!("redis://:{PASSWORD}@host:6379/database"),
        format!("redis://:{PASSWORD}@host:6379/-1"),
        format!("redis://:{PASSWORD}@"),
        format!("redis:///{PASSWORD}@host"),
        format!("rediss://:{PASSWORD}@host:6379/#insecure"),
        format!("http://:{PASSWORD}@host:6379/"),
        format!("{PASSWORD}@host:6379"),
        format!(":{PASSWORD}@host:6379"),
        format!("redis://{PASSWORD}@host:6379"),
        format!("redis+unix:///socket?db={PASSWORD}"),
    ];
    for url in urls {
        let builder = builder(&url);
        hides_all("the builder", &builder);
        match builder.build() {
            Ok(store) => panic!("{url}: {store:?}"),
            Err(error) => hides(&url, &told(&error)),
        }
    }
}

#[test]
fn a_wrong_password_is_an_error_that_says_so_and_does_not_show_it() {
    let redis = Redis::start(&["--requirepass", "theRightOne"]);
    let address = redis.address();
    let name = format!("redis://{address}/0");
    let has_users = support::is_since((6, 0, 0));
    let cases = [
        ("wrong", format!("redis://:{PASSWORD}@{address}"), "ERR invalid password", "password"),
        (
            "of a user",
            format!("redis://default:{PASSWORD}@{address}"),
            "ERR wrong number of arguments",
            "older than redis 6",
        ),
        ("no user and no password", format!("redis://{address}"), "NOAUTH", "password"),
    ];
    let cases_with_users = [
        ("wrong", format!("redis://:{PASSWORD}@{address}"), "WRONGPASS", "password"),
        ("wrong, of a user", format!("redis://default:{PASSWORD}@{address}"), "WRONGPASS", "password"),
        ("no such user", format!("redis://nobody:{PASSWORD}@{address}"), "WRONGPASS", "password"),
        ("none", format!("redis://{address}"), "NOAUTH", "password"),
    ];
    let cases = if has_users { Vec::from(cases_with_users) } else { Vec::from(cases) };
    for (what, url, code, says) in cases {
        let error = builder(&url).connect().unwrap_err();
        is_told(what, &name, None, &error);
        let store = builder(&url).build().unwrap();
        let results = [
            store.get("the-key").map(drop),
            store.put("the-key", SECRET),
            store.create("the-key", SECRET).map(drop),
            store.touch("the-key", MINUTE).map(drop),
            store.put_many([("the-key", SECRET)]),
        ];
        for error in [error].into_iter().chain(results.map(Result::unwrap_err)) {
            is_told(what, &name, error.key(), &error);
            assert!(matches!(error, Error::Backend(_)), "{what}: {error:?}");
            assert!(!error.is_transient() && !error.outcome_unknown(), "{what}: {error:?}");
            assert!(error.to_string().contains(says) && cause_of(&error).starts_with(code), "{what}: {error:?}");
        }
    }
    if !has_users {
        return;
    }
    redis.command(&["ACL", "SETUSER", "reader", "on", ">reading", "~*", "+@read", "+info"]);
    let store = builder(format!("redis://reader:reading@{address}")).connect().unwrap();
    assert_eq!(store.get("the-key").unwrap(), None);
    let error = store.put("the-key", SECRET).unwrap_err();
    is_told("not allowed", store.name(), Some("the-key"), &error);
    assert!(matches!(error, Error::Backend(_)) && cause_of(&error).starts_with("NOPERM"), "{error:?}");
}

#[test]
fn the_arguments_in_an_unknown_command_error_are_not_shown() {
    let renamed = ["SET", "GET", "MGET", "DEL", "COPY"];
    let renamed = renamed.into_iter().filter(|name| *name != "COPY" || support::is_since((6, 2, 0)));
    let args: Vec<_> = renamed.flat_map(|command| ["--rename-command", command, ""]).collect();
    let redis = Redis::start(&args);
    let store = open(&redis);
    let repeated = redis.try_command(&["SET", "k", SECRET]).unwrap_err().to_string();
    let repeats = support::is_since((5, 0, 0));
    assert!(repeated.contains(SECRET) || !repeats, "the server does not repeat the arguments: {repeated}");
    let key = Some("the-key");
    let results = [
        ("put", key, store.put("the-key", SECRET)),
        ("put_with_ttl", key, store.put_with_ttl("the-key", SECRET, MINUTE)),
        ("create", key, store.create("the-key", SECRET).map(drop)),
        ("put_many", key, store.put_many([("the-key", SECRET), ("another", SECRET)])),
        ("put_from", key, store.put_from("the-key", SECRET.as_bytes())),
        ("get", key, store.get("the-key").map(drop)),
        ("delete", key, store.delete("the-key").map(drop)),
        ("delete_many", key, store.delete_many(["the-key", "another"]).map(drop)),
        ("copy", key, store.copy("the-key", "another")),
        ("get_many", None, store.get_many(["the-key", "another"]).map(drop)),
    ];
    for (what, key, result) in results {
        let error = result.unwrap_err();
        is_told(what, store.name(), key, &error);
        assert!(matches!(error, Error::Backend(_)) && !error.is_transient(), "{what}: {error:?}");
        assert!(cause_of(&error).contains("unknown command"), "{what}: {error:?}");
    }

    // A server may know the command, but not the one that logs in.
    let redis = Redis::start(&["--rename-command", "AUTH", ""]);
    for user in ["", "default"] {
        let error = builder(format!("redis://{user}:{PASSWORD}@{}", redis.address())).connect().unwrap_err();
        hides("AUTH", &told(&error));
        assert!(cause_of(&error).contains("unknown command"), "{error:?}");
    }
}

#[test]
fn an_error_names_key_and_store_and_shows_no_value() {
    let redis = Redis::start(&["--requirepass", PASSWORD]);
    let builder = RedisStore::builder().url(redis.url()).response_timeout(Duration::from_millis(200));
    let store = builder.clone().largest_value(1000).connect().unwrap();
    let key = Some("the-key");
    let long = SECRET.repeat(100);
    let check = |what: &str, result: Result<(), Error>| {
        is_told(what, store.name(), key, &result.expect_err(what));
    };
    redis.command(&["HSET", "the-key", "field", SECRET]);
    check("of another type", store.get("the-key").map(drop));
    check("too large", store.put("the-key", &long));
    check("a TTL that is too long", store.put_with_ttl("the-key", SECRET, Duration::MAX));
    redis.command(&["DEL", "the-key"]);
    check("not found", store.copy("the-key", "another"));
    check("not found", store.rename("the-key", "another"));
    check("not found", store.open("the-key").map(drop));

    let store = builder.connect().unwrap();
    store.put("the-key", &long).unwrap();
    redis.pause();
    let error = store.put("the-key", &long).unwrap_err();
    is_told("no answer", store.name(), key, &error);
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    redis.resume();
    redis.kill();
    let error = store.put("the-key", &long).unwrap_err();
    is_told("no server", store.name(), key, &error);
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    let error = store.put_many([("the-key", &long), ("another", &long)]).unwrap_err();
    is_told("no server", store.name(), None, &error);
}

#[test]
fn the_key_in_an_error_is_the_callers_key() {
    let redis = Redis::start(&[]);
    let store = builder(redis.url()).namespace("ns").connect().unwrap();
    redis.command(&["HSET", "ns:the-key", "field", "v"]);
    let error = store.read(Key::new("the-key").unwrap()).unwrap_err();
    assert_eq!(error.key(), Some("the-key"), "without the namespace");
    let error = store.rename("absent", "other").unwrap_err();
    assert!(matches!(&error, Error::NotFound { key, .. } if key.as_str() == "absent"), "{error:?}");
}
