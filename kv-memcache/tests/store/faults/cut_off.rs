//! N2, N5: requests and replies that are cut off, and replies that come late.

use super::*;

#[test]
fn after_a_time_out_the_connection_is_closed_and_the_late_reply_is_not_taken_for_another() {
    if !can("after a time out the connection is closed and the late reply is not taken for another", Need::Meta) {
        return;
    }
    for_each_operation(operations(), |Operation { name, run, .. }, server, proxy, store| {
        let mut stats = Stats::of(server);
        set(server, "other", &value("other", 1, 10));
        let others = stats.connections() - 1;
        proxy.set(Behaviour::HoldReplies);
        let error = run(store).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        // The server may take a while to notice, because it did not receive all of a batch.
        wait_until(|| match stats.get("curr_connections") {
            now if now <= others => Ok(()),
            now => Err(format!("{name}: there are {now} connections, and without the store's {others}")),
        });
        // Now the late reply comes.
        let before = proxy.accepted();
        proxy.pass();
        assert_eq!(parse(&store.get("other").unwrap().unwrap()), ("other".into(), 1), "after {name}");
        assert_eq!(store.get("absent").unwrap(), None, "after {name}");
        assert_works(store);
        assert_eq!(proxy.accepted(), before + 1, "after {name}");
    });
}

#[test]
fn after_half_a_reply_the_connection_is_closed_and_the_rest_is_not_taken_for_another() {
    if !can("after half a reply the connection is closed and the rest is not taken for another", Need::Meta) {
        return;
    }
    let server = Memcached::start(&[]);
    set(&server, "other", &value("other", 1, 10));
    let positions = EXCHANGES.iter().flat_map(|exchange| (0..exchange.1).map(move |bytes| (exchange, bytes)));
    let positions: Vec<_> = positions.map(|position| (position, support::proxy(server.port()))).collect();
    // Not too many at the same time, so that only the fault makes them slow.
    for some in positions.chunks(32) {
        side_by_side(some, |(((name, _, writes, run), bytes), proxy)| {
            let key = format!("key/{}", bytes % 10);
            let store = builder(proxy.port()).pool_size(1).build().unwrap();
            wait_until(|| store.put(&key, value(&key, 1, 5)).map_err(|error| error.to_string()));
            let before = proxy.accepted();
            proxy.set(Behaviour::Truncate { of: Direction::Replies, bytes: *bytes });
            let error = within(LIMIT, name, || run(&store, &key)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)), "{name}, {bytes} bytes: {error:?}");
            assert_eq!(error.outcome_unknown(), *writes, "{name}, {bytes} bytes: {error:?}");
            check(&error, &store, name);
            // The rest comes between two operations.
            proxy.pass();
            let other = wait_until(|| store.get("other").map_err(|error| format!("after {bytes} bytes: {error}")));
            assert_eq!(parse(&other.unwrap()), ("other".into(), 1), "after {bytes} bytes of {name}");
            run(&store, &key).unwrap();
            assert_eq!(store.get("absent").unwrap(), None, "after {bytes} bytes of {name}");
            assert!(proxy.accepted() > before, "after {bytes} bytes of {name} the connection is used");
        });
    }
}

/// N5: a read is sent again, a write is not.
#[test]
fn a_reply_that_is_cut_off_at_any_byte_is_read_again_or_the_outcome_is_unknown() {
    if !can("a reply that is cut off at any byte is read again or the outcome is unknown", Need::Meta) {
        return;
    }
    let (server, proxy, store) = one_connection();
    let mut stats = Stats::of(&server);
    let key = "key/0";
    store.put(key, value(key, 1, 5)).unwrap();
    for (name, length, writes, run) in EXCHANGES {
        for bytes in 0..length {
            for cut in [Cut::Close, Cut::Reset] {
                let what = format!("{name}, {cut:?} after {bytes} bytes");
                warm(&store);
                let before = proxy.accepted();
                proxy.set(Behaviour::CutAfter { cut, of: Direction::Replies, bytes });
                let mut result = None;
                let grown = stats.growth(|| result = Some(run(&store, key)));
                let commands: u64 =
                    ["cmd_get", "cmd_set", "delete_misses"].iter().filter_map(|name| grown.get(*name)).sum();
                match result.unwrap() {
                    Ok(()) => assert!(!writes && commands == 2, "{what}: {grown:?}"),
                    Err(error) => {
                        assert!(writes && error.outcome_unknown() && commands == 1, "{what}: {error:?}, {grown:?}");
                        assert!(matches!(error, Error::Unavailable(_)), "{what}: {error:?}");
                        check(&error, &store, name);
                    }
                }
                warm(&store);
                assert_eq!(proxy.accepted(), before + 1, "{what}");
            }
        }
    }
}

/// Also if the server has received only a part of the request.
#[test]
fn a_request_that_is_cut_off_at_any_byte_is_a_read_that_works_or_a_write_with_an_unknown_outcome() {
    if !can("a request that is cut off at any byte is a read that works or a write with an unknown outcome", Need::Meta)
    {
        return;
    }
    let (server, proxy, store) = one_connection();
    let mut connection = server.connection();
    let new = value("k", 2, 5);
    for bytes in 0..=format!("ms k {} O100 T0\r\n{new}\r\n", new.len()).len() {
        for cut in [Cut::Close, Cut::Reset] {
            let what = format!("{cut:?} after {bytes} bytes");
            set(&server, "k", "v");
            warm(&store);
            proxy.set(Behaviour::CutAfter { cut, of: Direction::Requests, bytes });
            match store.put("k", &new) {
                // It is the next request that is cut.
                Ok(()) => assert!(bytes > 20, "{what}"),
                Err(error) => {
                    assert!(matches!(error, Error::Unavailable(_)) && error.outcome_unknown(), "{what}: {error:?}");
                    check(&error, &store, "put");
                }
            }
            let there = fetch(&mut connection, "k").unwrap();
            assert!(there == "v" || there == new, "{what}: {there}");
            proxy.pass();

            warm(&store);
            set(&server, "k", "v");
            proxy.set(Behaviour::CutAfter { cut, of: Direction::Requests, bytes });
            assert_eq!(store.get("k").unwrap().unwrap(), "v", "{what}");
            proxy.pass();
        }
    }
}
