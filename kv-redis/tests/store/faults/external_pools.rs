//! Pools of the application.

use super::*;

/// Faults on an external pool, which reports its number of connections.
fn survives_fifty_faults(store: &RedisStore, redis: &Redis, proxy: &Proxy, state: impl Fn() -> r2d2::State) {
    redis.command(&["SET", "other", "the other's"]);
    for number in 0..50 {
        let what = format!("fault {number}");
        wait_until(|| store.contains("k").map_err(|error| format!("{what}: {error}")));
        let cut = if number % 2 == 0 { Cut::Close } else { Cut::Reset };
        let behaviour = match number % 5 {
            0 => Behaviour::HoldReplies,
            1 => Behaviour::Truncate { of: Direction::Replies, bytes: number % 7 },
            2 => Behaviour::CutAfter { cut, of: Direction::Replies, bytes: number % 7 },
            3 => Behaviour::CutAnswer { cut, to: "GET", times: usize::MAX },
            _ => Behaviour::corrupt(0, b'?'),
        };
        let before = clients(redis);
        proxy.set(behaviour);
        let result = within(4 * LIMIT, &what, || store.get("k"));
        match number % 5 {
            // It was tried again.
            2 => assert_eq!(result.as_ref().unwrap().as_deref(), Some(&b"v"[..]), "{what}"),
            0 | 1 => assert!(matches!(result, Err(Error::Timeout(_))), "{what}: {result:?}"),
            3 => assert!(matches!(result, Err(Error::Unavailable(_))), "{what}: {result:?}"),
            _ => assert!(matches!(result, Err(Error::Backend(_))), "{what}: {result:?}"),
        }
        if let Err(error) = &result {
            check(error, store, "get");
        }
        // Now the late reply comes.
        proxy.pass();
        let other = wait_until(|| store.get("other").map_err(|error| format!("{what}: {error}")));
        assert_eq!(other.unwrap(), "the other's", "{what}");
        wait_until(|| match (state(), clients(redis)) {
            (r2d2::State { connections: 2, idle_connections: 2, .. }, now) if now.len() == 2 && now != before => Ok(()),
            (state, now) => Err(format!("{what}: {state:?}, {before:?} became {now:?}")),
        });
    }
    for result in [store.put("k", "v"), store.put("k", "v")] {
        result.unwrap();
    }
}

#[test]
fn an_external_pool_keeps_its_size_and_its_replies_apart() {
    let (redis, proxy) = start(&[]);
    let pool = pool(proxy.port(), 2);
    let store = settings(RedisStore::builder()).build_on_pool(pool.clone()).unwrap();
    survives_fifty_faults(&store, &redis, &proxy, || pool.state());
}

#[cfg(feature = "r2d2_redis")]
#[test]
fn an_external_pool_of_r2d2_redis_keeps_its_size_and_its_replies_apart() {
    let (redis, proxy) = start(&[]);
    let pool = old_pool(proxy.port(), 2);
    let store = settings(RedisStore::builder()).build_on_r2d2_redis_pool(pool.clone()).unwrap();
    survives_fifty_faults(&store, &redis, &proxy, || pool.state());
}

#[cfg(feature = "r2d2_redis")]
#[test]
fn a_reply_that_does_not_parse_closes_a_connection_of_r2d2_redis() {
    let (redis, proxy) = start(&[]);
    redis.command(&["SET", "other", "the other's"]);
    let store = settings(RedisStore::builder()).build_on_r2d2_redis_pool(old_pool(proxy.port(), 1)).unwrap();
    store.contains("k").unwrap();
    proxy.set(Behaviour::replace("?$5\r\nwrong\r\n"));
    let error = store.get("k").unwrap_err();
    let again = |_| {
        thread::sleep(Duration::from_millis(100));
        store.get("other").ok()
    };
    let other = (0..50).find_map(again).expect("nothing is read on this pool any more");
    assert_eq!(other.unwrap(), "the other's");
    check(&error, &store, "get");
    proxy.set(Behaviour::replace("?OK\r\n"));
    assert!(store.put("k", "new").unwrap_err().outcome_unknown());
}

#[test]
fn an_external_pool_s_limits_hold_where_the_server_falls_silent() {
    let (redis, proxy) = start(&[]);
    let store = on_external_pool(proxy.port(), 1);
    for (name, writes, operation) in operations() {
        redis.command(&["SET", "k", "v"]);
        wait_until(|| store.get("k").map_err(|error| format!("{name}: {error}")));
        proxy.set(Behaviour::HoldReplies);
        let error = within(2 * LIMIT, name, || operation(&store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
        check(&error, &store, name);
        // Now no connection can be made.
        let error = within(3 * LIMIT, name, || operation(&store)).unwrap_err();
        assert!(!error.outcome_unknown(), "{name}: {error:?}");
        check(&error, &store, name);
        proxy.pass();
    }
}
