//! Replies that come late, in part, wrong or unrequested: no operation gets the reply to another one (N2).

use super::*;

#[test]
fn after_a_time_out_the_connection_is_closed_and_the_late_reply_is_not_taken_for_another() {
    let (redis, proxy, store) = one_connection();
    redis.command(&["SET", "other", "the other's"]);
    for (name, _, operation) in operations() {
        redis.command(&["SET", "k", "v"]);
        store.get("k").unwrap();
        let before = wait_until(|| {
            // The server may not yet have noticed that a connection of the test has been closed.
            let now = clients(&redis);
            if now.len() == 1 { Ok(now) } else { Err(format!("{name}: there is not one connection: {now:?}")) }
        });
        proxy.set(Behaviour::HoldReplies);
        let error = operation(&store).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        wait_until(|| {
            let now = clients(&redis);
            if now.is_disjoint(&before) { Ok(()) } else { Err(format!("{name}: {before:?} is still there: {now:?}")) }
        });
        // Now the late reply comes.
        proxy.pass();
        assert_eq!(store.get("other").unwrap().unwrap(), "the other's", "after {name}");
        assert_eq!(store.get("absent").unwrap(), None, "after {name}");
        assert_works(&store);
    }
}

#[test]
fn after_half_a_reply_the_connection_is_closed_and_the_rest_is_not_taken_for_another() {
    let (redis, proxy, store) = one_connection();
    redis.command(&["SET", "k", "value"]);
    redis.command(&["SET", "other", "the other's"]);
    for bytes in 0.."$5\r\nvalue\r\n".len() {
        assert_eq!(store.get("k").unwrap().unwrap(), "value");
        proxy.set(Behaviour::Truncate { of: Direction::Replies, bytes });
        let error = within(LIMIT, "get", || store.get("k")).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
        // The rest comes between two operations.
        proxy.pass();
        assert_eq!(store.get("other").unwrap().unwrap(), "the other's", "after {bytes} bytes");
    }
    assert_eq!(proxy.accepted(), 1 + "$5\r\nvalue\r\n".len());
}

#[test]
fn a_reply_with_a_wrong_byte_is_an_error_or_right_and_closes_the_connection() {
    let (redis, proxy) = start(&[]);
    redis.command(&["SET", "k", "value"]);
    let store = builder(proxy.port()).response_timeout(Duration::from_millis(40)).pool_size(1).build().unwrap();
    for at in [0, 1, 2, 3, 9, 10] {
        for byte in 0..=u8::MAX {
            // The machine may take longer than 40 ms.
            let value = wait_until(|| store.get("k").map_err(|error| error.to_string()));
            assert_eq!(value.unwrap(), "value", "before byte {at} is {byte}");
            proxy.set(Behaviour::corrupt(at, byte));
            match within(LIMIT, "get", || store.get("k")) {
                Ok(value) => assert_eq!(value.as_deref(), Some(&b"value"[..]), "byte {at} is {byte}"),
                Err(error) => {
                    assert!(
                        matches!(error, Error::Timeout(_) | Error::Unavailable(_) | Error::Backend(_)),
                        "{error:?}"
                    );
                    assert!(!error.outcome_unknown() && error.key() == Some("k"), "{error:?}");
                    assert!(
                        !error.to_string().contains("value") && !format!("{error:?}").contains("value"),
                        "{error:?}"
                    );
                }
            }
            proxy.pass();
        }
    }
}

#[test]
fn no_invalid_reply_makes_an_operation_panic_or_succeed() {
    let (redis, proxy) = start(&[]);
    let nonsense: [&[u8]; 28] = [
        b"$9223372036854775807\r\n",
        b"$536870913\r\nx",
        b"*9223372036854775807\r\n",
        b"*4611686018427387904\r\n",
        b"*1000000000\r\n$1\r\na\r\n",
        b"%9223372036854775807\r\n",
        b"%4611686018427387904\r\n",
        b"|4611686018427387904\r\n",
        b"~9223372036854775807\r\n",
        b">9223372036854775807\r\n",
        b">2\r\n$7\r\nmessage\r\n$1\r\nx\r\n",
        b"*5\r\n,1.5\r\n,1.5\r\n,1.5\r\n,1.5\r\n,1.5\r\n",
        b"*6\r\n#t\r\n#t\r\n#t\r\n#t\r\n#t\r\n#t\r\n",
        b"*2\r\n$1\r\n0\r\n*5\r\n,1\r\n,1\r\n,1\r\n,1\r\n,1\r\n",
        b"~5\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"|0\r\n",
        b"(123456789012345678901234567890\r\n",
        b"=9\r\ntxt:value\r\n",
        b"=-1\r\n",
        b"!-1\r\n",
        b"!5\r\nERR x\r\n",
        b"*2\r\n$1\r\n0\r\n*1\r\n:1\r\n",
        b"*2\r\n:0\r\n*0\r\n",
        b"*0\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n",
        b"\xFF\xFF\r\n",
    ];
    let deep = "*1\r\n".repeat(100_000);
    let mut wrong = Vec::new();
    // Many of them look like the beginning of a reply, and the store waits for the rest.
    let limit = Duration::from_millis(60);
    let own = builder(proxy.port()).response_timeout(limit).pool_size(1).build().unwrap();
    let external =
        settings(RedisStore::builder()).response_timeout(limit).build_on_pool(pool(proxy.port(), 1)).unwrap();
    for store in [own, external] {
        for reply in nonsense.into_iter().chain([deep.as_bytes()]) {
            for (name, writes, operation) in SINGLE.into_iter().chain([BATCH[3]]).filter(|it| it.0 != "put of 4 MB") {
                let shown = String::from_utf8_lossy(&reply[..reply.len().min(60)]);
                let what = format!("{name}, {shown:?}, {}", store.name());
                redis.command(&["SET", "k", "v"]);
                // An external pool needs a moment to make another connection.
                wait_until(|| store.contains("k").map_err(|error| format!("{what}: {error}")));
                proxy.set(Behaviour::replace(reply));
                let result = within(LIMIT, &what, || catch_unwind(AssertUnwindSafe(|| operation(&store))));
                match result {
                    Ok(Err(error)) => assert!(error.outcome_unknown() <= writes, "{what}: {error:?}"),
                    Ok(Ok(())) => wrong.push(format!("{what}: a success")),
                    Err(_) => wrong.push(format!("{what}: a panic")),
                }
                proxy.pass();
                let value = wait_until(|| store.get("k").map_err(|error| format!("{what}: {error}")));
                assert!(matches!(value.as_deref(), None | Some(b"v" | b"new")), "{what}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsolicited_bytes_after_a_reply_are_not_taken_for_another() {
    let (redis, proxy) = start(&[]);
    let store = patient(builder(proxy.port())).pool_size(1).connect().unwrap();
    redis.command(&["SET", "other", "the other's"]);
    for extra in ["$5\r\nwrong\r\n", "$-1\r\n", ":1\r\n", "+OK\r\n", "$5\r\nwr", "\r\n", "x"] {
        for (name, writes, operation) in SINGLE.into_iter().chain([BATCH[3]]) {
            redis.command(&["SET", "k", "v"]);
            store.get("k").unwrap();
            proxy.set(Behaviour::inject(extra));
            let error = operation(&store).expect_err(name);
            assert!(matches!(error, Error::Backend(_)), "{name}: {error:?}");
            assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
            check(&error, &store, name);
            assert_eq!(store.get("other").unwrap().unwrap(), "the other's", "after {name} with {extra:?}");
        }
    }
}

#[test]
fn unsolicited_bytes_on_an_idle_connection_are_not_taken_for_a_reply() {
    let (redis, proxy, store) = one_connection();
    redis.command(&["SET", "other", "the other's"]);
    let before = proxy.accepted();
    // The unsolicited bytes come after the reply was read.
    proxy.set(Behaviour::inject_later("$5\r\nwrong\r\n", Duration::from_millis(100)));
    assert_eq!(store.get("k").unwrap().unwrap(), "v");
    thread::sleep(IDLE);
    assert_eq!(store.get("other").unwrap().unwrap(), "the other's");
    assert_eq!(proxy.accepted(), before + 1);
}

/// No server does this, but N2 has no exception for it.
#[test]
fn unsolicited_bytes_within_a_second_are_not_taken_for_a_reply() {
    let (redis, proxy) = start(&[]);
    let store = patient(builder(proxy.port())).pool_size(1).connect().unwrap();
    redis.command(&["SET", "other", "the other's"]);
    proxy.set(Behaviour::inject_later("$5\r\nwrong\r\n", Duration::from_millis(50)));
    assert_eq!(store.get("k").unwrap().unwrap(), "v");
    thread::sleep(Duration::from_millis(300));
    match store.get("other") {
        Ok(value) => assert_eq!(value.unwrap(), "the other's"),
        Err(error) => check(&error, &store, "get of other"),
    }
    assert_eq!(store.get("absent").unwrap(), None);
}
