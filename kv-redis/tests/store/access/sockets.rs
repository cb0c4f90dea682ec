//! Unix sockets, databases, and connections that are made when they are needed.

use super::*;

#[test]
fn a_path_may_have_any_characters() {
    let redis = Redis::start(&[]);
    let folder = tempfile::Builder::new().prefix("kv").tempdir_in("/tmp").unwrap();
    for name in ["with space", "ümläut ß", "per%cent%20", "hash#and?query&plus+", "semi;colon=@:"] {
        let path = folder.path().join(name);
        symlink(redis.server().sandbox().dir().join("redis.sock"), &path).unwrap();
        let encoded = percent_encoded(path.to_str().unwrap());
        for scheme in ["redis+unix", "unix"] {
            let store = RedisStore::connect(format!("{scheme}://{encoded}?db=3"));
            works(&store.unwrap_or_else(|error| panic!("{name}: {}", chain(&error))));
        }
    }
}

#[test]
fn the_database_is_chosen() {
    let redis = Redis::start(&[]);
    let [zero, seven] = [0, 7].map(|number| RedisStore::connect(redis.unix_url_of_database(number)).unwrap());
    let by_builder = RedisStore::builder().url(redis.unix_url()).database(7).connect().unwrap();
    let by_tcp = RedisStore::connect(redis.url_of_database(7)).unwrap();
    seven.put("k", "seven").unwrap();
    assert_eq!(zero.get("k").unwrap(), None);
    for store in [&by_builder, &by_tcp] {
        assert_eq!(store.get("k").unwrap().as_deref(), Some(&b"seven"[..]));
    }
    // Not only the first connection.
    redis.command(&["CLIENT", "KILL", "TYPE", "NORMAL"]);
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(seven.get("k").unwrap().as_deref(), Some(&b"seven"[..]));
    let (error, text) = refused(RedisStore::builder().url(redis.unix_url()).database(20_000));
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient() && text.contains("DB index"), "{text}");
}

#[test]
fn a_path_without_a_socket_is_named_in_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent.sock");
    let url = |path: &str| RedisStore::builder().url(format!("redis+unix://{path}"));
    let (error, text) = refused(url(path.to_str().unwrap()));
    assert!(matches!(&error, Error::Unavailable(_)) && error.is_transient(), "{text}");
    assert!(text.contains("absent.sock") && text.contains("No such file"), "{text}");
    // This file is not a socket.
    fs::write(&path, "").unwrap();
    let (error, text) = refused(url(path.to_str().unwrap()));
    assert!(matches!(&error, Error::Unavailable(_)) && text.contains("refused"), "{text}");
    let long = format!("/{}", "l".repeat(200));
    let (_, text) = refused(url(&long));
    assert!(text.contains("SUN_LEN") || text.contains("too long"), "{text}");
}

/// The existing connection is used, however large the pool is.
#[test]
fn one_thread_makes_one_connection() {
    const STORES: usize = 20;
    let redis = Redis::start(&[]);
    let before = connections(&redis);
    // Several at a time, as on a busy machine.
    thread::scope(|scope| {
        for _ in 0..STORES {
            scope.spawn(|| {
                let store = patient().url(redis.unix_url()).pool_size(50).connect().unwrap();
                for number in 0..100 {
                    store.put("k", number.to_string()).unwrap();
                }
            });
        }
    });
    assert_eq!(connections(&redis) - before, STORES as u64 + 1, "one for each store, and this one");
}

#[test]
fn a_server_that_comes_later_is_used_then() {
    let redis = Redis::start(&[]);
    let store = RedisStore::builder().url(redis.unix_url()).build().unwrap();
    redis.stop();
    let error = store.get("k").unwrap_err();
    assert!(matches!(&error, Error::Unavailable(_)), "{}", chain(&error));
    redis.restart();
    works(&store);
    redis.kill();
    redis.restart();
    thread::sleep(Duration::from_millis(1100));
    works(&store);
}
