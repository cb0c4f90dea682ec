//! What is sent again (N5), and what an error says about the outcome (E5) and the cause (E2).

use super::*;

#[test]
fn a_write_on_a_connection_that_was_reset_is_sent_once_on_another() {
    let (redis, proxy) = start(&[]);
    let store = patient(builder(proxy.port())).pool_size(1).connect().unwrap();
    redis.command(&["CONFIG", "RESETSTAT"]);
    for number in 1..=20 {
        proxy.cut_now(Cut::Reset).unwrap();
        store.put("k", "v").unwrap();
        assert_eq!(redis.count_of_calls("set"), number);
    }
}

#[test]
fn a_write_whose_reply_was_cut_off_is_not_sent_again_and_says_so() {
    let (redis, proxy) = start(&[]);
    let store = patient(builder(proxy.port())).pool_size(1).connect().unwrap();
    let external = patient(RedisStore::builder()).build_on_pool(pool(proxy.port(), 1)).unwrap();
    for store in [store, external] {
        for (number, cut) in [Cut::Close, Cut::Reset].into_iter().cycle().take(20).enumerate() {
            // An external pool may still be making a connection.
            wait_until(|| store.get("k").map_err(|error| error.to_string()));
            redis.command(&["CONFIG", "RESETSTAT"]);
            let behaviour = match number % 4 {
                0 | 1 => Behaviour::CutAnswer { cut, to: "SET", times: 1 },
                _ => Behaviour::CutAfter { cut, of: Direction::Replies, bytes: number % 5 },
            };
            proxy.set(behaviour);
            let error = store.put("k", "v").unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)) && error.outcome_unknown(), "{error:?}");
            check(&error, &store, "put");
            assert_eq!(redis.count_of_calls("set"), 1);
        }
    }
}

#[test]
fn a_create_never_returns_false_because_of_its_own_entry() {
    let (redis, proxy) = start(&[]);
    let store = patient(builder(proxy.port())).pool_size(1).connect().unwrap();
    for number in 0..40 {
        let (key, cut) = (format!("new/{number}"), if number % 2 == 0 { Cut::Close } else { Cut::Reset });
        let (of, bytes) = if number % 4 < 2 { (Direction::Replies, number % 5) } else { (Direction::Requests, number) };
        store.get("k").unwrap();
        proxy.set(Behaviour::CutAfter { cut, of, bytes });
        match store.create(&key, "mine") {
            Ok(created) => assert!(created, "{key}"),
            Err(error) => assert!(error.outcome_unknown(), "{key}: {error:?}"),
        }
        proxy.pass();
        let before = redis.command(&["EXISTS", &key]);
        let created = store.create(&key, "another").unwrap();
        assert_eq!(created, before == redis::Value::Int(0), "{key}");
    }
}

#[test]
fn only_writes_that_were_sent_have_an_unknown_outcome() {
    let (redis, proxy) = start(&[]);
    for (store, is_external) in both(proxy.port()) {
        for (name, writes, operation) in operations() {
            for cut in [Cut::Close, Cut::Reset] {
                let what = format!("{name}, {cut:?}, {}", store.name());
                redis.command(&["SET", "k", "v"]);
                // Reads are tried twice: so all the replies of requests are cut off.
                let to = match name {
                    "touch for ever" => "PERSIST",
                    "touch" => "PEXPIRE",
                    "put" | "put of 4 MB" | "create" | "put_many" => "SET",
                    "delete" | "delete_many" => "DEL",
                    "copy" if support::is_since((6, 2, 0)) => "COPY",
                    "copy" => "EVAL",
                    "rename" => "RENAME",
                    "contains" => "EXISTS",
                    "ttl" => "PTTL",
                    "get_many" => "MGET",
                    "keys" => listing(),
                    _ => "GET",
                };
                wait_until(|| store.contains("k").map_err(|error| format!("{what}: {error}")));
                proxy.set(Behaviour::CutAnswer { cut, to, times: usize::MAX });
                let error = operation(&store).expect_err(&what);
                assert!(matches!(error, Error::Unavailable(_)), "{what}: {error:?}");
                assert_eq!(error.outcome_unknown(), writes, "{what}: {error:?}");
                assert!(is_external || error.source().is_some(), "{what}: {error:?}");
                check(&error, &store, name);
                proxy.pass();
            }
        }
    }
}

#[test]
fn a_read_is_tried_once_more_and_only_once() {
    let (redis, proxy) = start(&[]);
    for (store, _) in both(proxy.port()) {
        for cut in [Cut::Close, Cut::Reset] {
            wait_until(|| store.contains("k").map_err(|error| error.to_string()));
            redis.command(&["CONFIG", "RESETSTAT"]);
            proxy.set(Behaviour::CutAnswer { cut, to: "GET", times: 1 });
            assert_eq!(store.get("k").unwrap().unwrap(), "v");
            assert_eq!(redis.count_of_calls("get"), 2);

            store.contains("k").unwrap();
            proxy.set(Behaviour::CutAnswer { cut, to: "GET", times: usize::MAX });
            let error = within(3 * LIMIT, "get", || store.get("k")).unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{error:?}");
            check(&error, &store, "get");
            assert_eq!(redis.count_of_calls("get"), 4);
            proxy.pass();
        }
    }
}

/// A chunk that fails does not hide the chunks before it, and no key is reported as absent.
#[test]
fn get_each_of_one_server_returns_what_came_before_it_failed() {
    let (redis, proxy) = start(&[]);
    let keys: Vec<_> = (0..5000).map(|number| format!("many/{number}")).collect();
    let direct = builder(redis.port()).connect().unwrap();
    direct.put_many(keys.iter().map(|key| (key, key))).unwrap();
    let stores = [
        builder(proxy.port()).pool_size(1).connect().unwrap(),
        builder(proxy.port()).shared_connections(1).connect().unwrap(),
        on_external_pool(proxy.port(), 1),
    ];
    for store in stores {
        store.get("k").unwrap();
        let before = proxy.bytes(Direction::Replies);
        assert!(store.get_each(&keys).into_iter().all(|outcome| outcome.is_ok()));
        let bytes = proxy.bytes(Direction::Replies) - before;
        // In the third of five chunks.
        proxy.set(Behaviour::Truncate { of: Direction::Replies, bytes: bytes / 2 });
        let outcomes = within(LIMIT, "get_each", || store.get_each(&keys));
        proxy.cut_now(Cut::Reset).unwrap();
        proxy.pass();
        let found = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(found, 2 * 1024);
        for (key, outcome) in keys.iter().zip(outcomes) {
            match outcome {
                Ok(got) => assert_eq!(got.as_deref(), Some(key.as_bytes())),
                Err(error) => {
                    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
                    assert_eq!(error.key(), Some(key.as_str()), "{error:?}");
                    check(&error, &store, "get_each");
                }
            }
        }
        wait_until(|| store.get("k").map(drop).map_err(|error| error.to_string()));
        assert!(store.get_each(&keys).into_iter().all(|outcome| outcome.is_ok()));
    }
}

/// B7. A batch waits once for an external pool without a connection, and not for each of twenty chunks.
#[test]
fn get_each_waits_for_an_external_pool_once() {
    let (_redis, proxy) = start(&[]);
    let store = on_external_pool(proxy.port(), 1);
    store.get("k").unwrap();
    proxy.refuse();
    proxy.cut_now(Cut::Reset).unwrap();
    // The check finds the cut connection, and the pool has no other one.
    let _ = store.get("k");
    let keys: Vec<_> = (0..20 * 1024).map(|number| format!("many/{number}")).collect();
    let outcomes = within(3 * LIMIT, "get_each", || store.get_each(&keys));
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Error::Timeout(_) | Error::Unavailable(_)))));
}

#[test]
fn a_read_that_timed_out_is_not_tried_again() {
    let (redis, proxy, store) = one_connection();
    redis.command(&["CONFIG", "RESETSTAT"]);
    proxy.set(Behaviour::HoldReplies);
    assert!(matches!(store.get("k"), Err(Error::Timeout(_))));
    proxy.pass();
    assert_eq!(redis.count_of_calls("get"), 1);
}

/// N4, if the check is a PING: no part of the write is sent before the PING is answered.
#[test]
fn a_write_that_did_not_get_beyond_the_check_of_an_external_connection_has_a_known_outcome() {
    let (redis, proxy) = start(&[]);
    let store = on_external_pool(proxy.port(), 1);
    for behaviour in [Behaviour::Hold, Behaviour::HoldReplies] {
        wait_until(|| store.get("k").map_err(|error| error.to_string()));
        thread::sleep(IDLE);
        redis.command(&["CONFIG", "RESETSTAT"]);
        proxy.set(behaviour);
        let error = within(3 * LIMIT, "put", || store.put("k", "new")).unwrap_err();
        proxy.pass();
        wait_until(|| store.get("k").map_err(|error| error.to_string()));
        assert_eq!(redis.count_of_calls("set"), 0);
        assert!(!error.outcome_unknown(), "nothing of it was sent: {error:?}");
    }
}

#[test]
fn an_error_names_key_and_store_and_has_its_cause() {
    let (_redis, proxy, store) = one_connection();
    proxy.set(Behaviour::CutAnswer { cut: Cut::Reset, to: "SET", times: 1 });
    let reset = store.put("k", "v").unwrap_err();
    assert_eq!(kind_of_cause(&reset), Some(io::ErrorKind::ConnectionReset), "{reset:?}");
    proxy.set(Behaviour::CutAnswer { cut: Cut::Close, to: "SET", times: 1 });
    let closed = store.put("k", "v").unwrap_err();
    assert_eq!(kind_of_cause(&closed), Some(io::ErrorKind::UnexpectedEof), "{closed:?}");
    store.get("k").unwrap();
    proxy.set(Behaviour::Hold);
    let late = store.put("k", "v").unwrap_err();
    assert!(matches!(late, Error::Timeout(_)) && late.to_string().contains(&format!("{LIMIT:?}")), "{late}");
    proxy.pass();
    proxy.cut_now(Cut::Reset).unwrap();
    proxy.refuse();
    let refused = store.put("k", "v").unwrap_err();
    assert_eq!(kind_of_cause(&refused), Some(io::ErrorKind::ConnectionRefused), "{refused:?}");
    assert!(!refused.outcome_unknown());
    for error in [reset, closed, late, refused] {
        check(&error, &store, "put");
    }
    proxy.accept().unwrap();
    assert_works(&store);
}
