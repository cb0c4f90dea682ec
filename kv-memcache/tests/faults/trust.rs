//! N2: connections that nobody may trust any more.

use super::*;

#[test]
fn after_a_time_out_the_connection_is_closed_and_the_late_reply_is_nobody_s() {
    if !can("after a time out the connection is closed and the late reply is nobody s", Need::Meta) {
        return;
    }
    for_each_operation(operations(), |Operation { name, run, .. }, server, proxy, store| {
        let mut stats = Stats::of(server);
        set(server, "other", &value("other", 1, 10));
        let others = stats.connections() - 1;
        proxy.set(Behaviour::HoldReplies);
        let error = run(store).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        // Of a batch the server has not all, and it is in no hurry.
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

/// One get, put and so on, with the length of the reply, and whether it writes.
type Exchange = (&'static str, usize, bool, fn(&MemcacheStore, &str) -> Result<()>);

/// Each kind of reply, to commands about a key that holds `value(key, 1, 5)` and about one that is absent. Their lengths are those
/// with a tag of one digit.
const EXCHANGES: [Exchange; 6] = [
    ("a value", "VA 17 O1\r\nkey/0|1|xxxxx|end\r\n".len(), false, |store, key| {
        store.get(key).map(|value| assert_eq!(parse(&value.unwrap()), (key.to_owned(), 1)))
    }),
    ("a hit", "HD t-1 O1\r\n".len(), false, |store, key| {
        store.ttl(key).map(|left| assert_eq!(left, Some(Remaining::Forever)))
    }),
    ("a miss", "EN O1\r\n".len(), false, |store, key| {
        store.get(format!("no/{key}")).map(|value| assert_eq!(value, None))
    }),
    ("a write", "HD O1\r\n".len(), true, |store, key| store.put(format!("new/{key}"), value(key, 2, 5))),
    ("a create", "NS O1\r\n".len(), true, |store, key| store.create(key, value(key, 3, 5)).map(|won| assert!(!won))),
    ("a delete", "NF O1\r\n".len(), true, |store, key| store.delete(format!("no/{key}")).map(|was| assert!(!was))),
];

#[test]
fn after_half_a_reply_the_connection_is_closed_and_the_rest_is_nobody_s() {
    if !can("after half a reply the connection is closed and the rest is nobody s", Need::Meta) {
        return;
    }
    let server = Memcached::start(&[]);
    set(&server, "other", &value("other", 1, 10));
    let positions = EXCHANGES.iter().flat_map(|exchange| (0..exchange.1).map(move |bytes| (exchange, bytes)));
    let positions: Vec<_> = positions.map(|position| (position, support::proxy(server.port()))).collect();
    // Not too many at the same time: they are to be slow for the reason alone that is in question.
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

/// N5 as well: a read is sent again, a write is not.
#[test]
fn a_reply_that_breaks_off_at_any_byte_is_read_again_or_its_outcome_is_unknown() {
    if !can("a reply that breaks off at any byte is read again or its outcome is unknown", Need::Meta) {
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

/// Where the server has only a part of the request, too.
#[test]
fn a_request_that_breaks_off_at_any_byte_is_a_read_that_works_or_a_write_that_may_have_been() {
    if !can("a request that breaks off at any byte is a read that works or a write that may have been", Need::Meta) {
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

/// Where in a reply the value stands, or what is left of a lifetime.
fn content_of(reply: &[u8]) -> Range<usize> {
    let line = reply.iter().position(|&byte| byte == b'\n').unwrap();
    if reply.starts_with(b"VA") {
        line + 1..reply.len() - 2
    } else if reply.starts_with(b"HD t") {
        4..tag_in(reply).start - 2
    } else {
        0..0
    }
}

/// What of a reply can be known to be wrong is known: return code, length, tag, the end of the value. For what is inside of a
/// value there is only the sum that TCP makes.
#[test]
fn a_reply_with_a_wrong_byte_is_an_error_and_closes_the_connection() {
    if !can("a reply with a wrong byte is an error and closes the connection", Need::Meta) {
        return;
    }
    let wrong_bytes: Vec<u8> = b"\0 \r\n+-01289AODHEVNSFXYZadhev\x7f\xff".to_vec();
    let key = "key/0";
    side_by_side(EXCHANGES, |(name, _, writes, run)| {
        let (server, proxy) = start();
        // Where a length becomes a larger one, more is waited for.
        let store = builder(proxy.port()).response_timeout(Duration::from_millis(50)).pool_size(1).build().unwrap();
        set(&server, key, &value(key, 1, 5));
        set(&server, "other", &value("other", 1, 10));
        let mut at = 0;
        let mut length = 1;
        while at < length {
            let mut bytes = wrong_bytes.iter().copied().peekable();
            while let Some(&byte) = bytes.peek() {
                // The machine may take longer than 50 ms.
                let other = wait_until(|| store.get("other").map_err(|error| error.to_string()));
                assert_eq!(parse(&other.unwrap()), ("other".into(), 1), "before byte {at} of {name} is {byte}");
                let before = proxy.accepted();
                let original = Arc::new(Mutex::new(Vec::new()));
                let seen = Arc::clone(&original);
                proxy.set(edit(move |piece| {
                    seen.lock().unwrap().clone_from(piece);
                    if !content_of(piece).contains(&at) {
                        piece[at] = byte;
                    }
                }));
                let result = within(LIMIT, name, || run(&store, key));
                proxy.pass();
                let original = original.lock().unwrap().clone();
                if original.is_empty() {
                    // It did, before there was a reply: once more.
                    continue;
                }
                bytes.next();
                length = original.len();
                let what = format!("byte {at} of {:?} is {byte:?}", String::from_utf8_lossy(&original));
                if original[at] == byte || content_of(&original).contains(&at) {
                    result.unwrap_or_else(|error| assert!(matches!(error, Error::Timeout(_)), "{what}: {error:?}"));
                    continue;
                }
                let error = result.expect_err(&what);
                assert!(
                    matches!(error, Error::Timeout(_) | Error::Unavailable(_) | Error::Backend(_)),
                    "{what}: {error:?}"
                );
                assert_eq!(error.outcome_unknown(), writes, "{what}: {error:?}");
                check(&error, &store, name);
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains("xxxxx") && !shown.contains("|end"), "{what}: {shown}");
                wait_until(|| store.get("absent").map_err(|error| error.to_string()));
                assert!(proxy.accepted() > before, "{what}: the connection is used");
            }
            at += 1;
        }
        assert!(length > 6, "{name}");
    });
}

type Tagged = (&'static str, usize, bool, fn(&MemcacheStore) -> Result<()>);

/// A reply that is complete and well-formed in everything but that it belongs to another command. By its kind, how many others come
/// before it, and whether the command writes.
const TAGGED: [Tagged; 18] = [
    ("VA, get", 0, false, |store| store.get("k").map(drop)),
    ("VA, get_many", 0, false, |store| store.get_many(["k"]).map(drop)),
    ("VA, copy", 0, false, |store| store.copy("k", "copy")),
    ("EN, get", 0, false, |store| store.get("absent").map(drop)),
    ("EN, ttl", 0, false, |store| store.ttl("absent").map(drop)),
    ("EN, contains", 0, false, |store| store.contains("absent").map(drop)),
    ("EN, touch", 0, true, |store| store.touch("absent", MINUTES).map(drop)),
    ("HD, ttl", 0, false, |store| store.ttl("k").map(drop)),
    ("HD, contains", 0, false, |store| store.contains("k").map(drop)),
    ("HD, touch", 0, true, |store| store.touch("k", MINUTES).map(drop)),
    ("HD, put", 0, true, |store| store.put("new", "v")),
    ("HD, create", 0, true, |store| store.create("created", "v").map(drop)),
    ("HD, delete", 0, true, |store| store.delete("k").map(drop)),
    ("HD, copy", 1, true, |store| store.copy("k", "copy")),
    ("HD, rename", 2, true, |store| store.rename("k", "renamed")),
    ("NS, create", 0, true, |store| store.create("k", "v").map(drop)),
    ("NF, delete", 0, true, |store| store.delete("absent").map(drop)),
    ("NF, delete_many", 0, true, |store| store.delete_many(["absent"]).map(drop)),
];

#[test]
fn a_reply_with_the_tag_of_another_command_is_not_accepted() {
    if !can("a reply with the tag of another command is not accepted", Need::Meta) {
        return;
    }
    let (server, proxy, store) = one_connection();
    let proxy = Arc::new(proxy);
    let tags: [fn(u64) -> String; 9] = [
        |tag| format!(" O{}", tag + 1),
        |tag| format!(" O{}", tag - 1),
        |tag| format!(" O{}", tag + 1024),
        |tag| format!(" O{tag}0"),
        |_| " O0".into(),
        |tag| format!(" O-{tag}"),
        |_| " O".into(),
        |_| String::new(),
        |tag| format!(" o{tag}"),
    ];
    for (name, others, writes, run) in TAGGED {
        for (number, tag) in tags.into_iter().enumerate() {
            let what = format!("{name}, tag {number}");
            if name == "EN, get" && tag(7).is_empty() {
                // A server with an extstore may lack it.
                continue;
            }
            let _ = store.delete("created");
            set(&server, "k", "v");
            store.get("k").unwrap();
            let before = proxy.accepted();
            let seen = Arc::new(Mutex::new(Vec::new()));
            let see = Arc::clone(&seen);
            let change = move |piece: &mut Vec<u8>| {
                let at = tag_in(piece);
                let other = tag(tag_of(piece));
                piece.splice(at.start - 2..at.end, other.bytes());
                see.lock().unwrap().clone_from(piece);
            };
            edit_after(&proxy, others, Box::new(change));
            let error = run(&store).expect_err(&what);
            let reply = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
            assert!(reply.starts_with(&name[..2]), "{what}: {reply:?}");
            assert!(matches!(error, Error::Backend(_)), "{what}: {reply:?}: {error:?}");
            assert_eq!(error.outcome_unknown(), writes, "{what}: {reply:?}: {error:?}");
            check(&error, &store, &what);
            // A batch of one key names it, too.
            assert!(error.key().is_some(), "{what}: {error:?}");
            assert_eq!(store.get("absent").unwrap(), None, "{what}");
            assert_eq!(proxy.accepted(), before + 1, "{what}");
        }
    }
}

/// Between the second and the third step of a rename somebody else writes: the third says that it is another version now.
#[test]
fn a_rename_whose_original_changes_leaves_the_new_one_whatever_its_tag() {
    if !can("a rename whose original changes leaves the new one whatever its tag", Need::Meta) {
        return;
    }
    let (server, proxy, store) = one_connection();
    let (server, proxy) = (Arc::new(server), Arc::new(proxy));
    for wrong in [false, true] {
        set(&server, "k", "v");
        warm(&store);
        let (of_change, of_edit) = (Arc::clone(&server), Arc::clone(&proxy));
        edit_after(
            &proxy,
            1,
            Box::new(move |_| {
                set(&of_change, "k", "new");
                of_edit.set(edit(move |piece| {
                    assert!(piece.starts_with(b"EX"), "{piece:?}");
                    let (at, tag) = (tag_in(piece), tag_of(piece));
                    piece.splice(at, (tag + u64::from(wrong)).to_string().into_bytes());
                }));
            }),
        );
        let result = store.rename("k", "renamed");
        if wrong {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Backend(_)) && error.outcome_unknown(), "{error:?}");
            check(&error, &store, "rename");
        } else {
            result.unwrap();
        }
        assert_eq!(store.get("k").unwrap().unwrap(), "new");
        assert_eq!(store.get("renamed").unwrap().unwrap(), "v");
    }
}

/// Both belong to the batch, and neither to its command.
#[test]
fn replies_of_a_batch_that_are_exchanged_are_not_accepted() {
    if !can("replies of a batch that are exchanged are not accepted", Need::Meta) {
        return;
    }
    let (server, proxy, store) = one_connection();
    set(&server, "a", "1");
    set(&server, "b", "2");
    let swap = || {
        edit(|piece| {
            let text = String::from_utf8(piece.clone()).unwrap();
            let mut lines: Vec<_> = text.split_inclusive("\r\n").collect();
            let half = lines.len() / 2;
            lines.rotate_left(half);
            *piece = lines.concat().into_bytes();
        })
    };
    for _ in 0..10 {
        assert_eq!(store.get_many(["a", "b"]).unwrap().into_iter().flatten().collect::<Vec<_>>(), ["1", "2"]);
        proxy.set(swap());
        let error = store.get_many(["a", "b"]).unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && !error.outcome_unknown(), "{error:?}");
        check(&error, &store, "get_many");
        store.get("a").unwrap();
        proxy.set(swap());
        let error = store.delete_many(["no/1", "no/2"]).unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && error.outcome_unknown(), "{error:?}");
        check(&error, &store, "delete_many");
        // One reply less, and one of somebody else.
        store.get("a").unwrap();
        proxy.set(edit(|piece| {
            let half = piece.len() / 2;
            piece.truncate(half);
            piece.extend_from_slice(b"HD O1\r\n");
        }));
        let error = store.put_many([("a", "1"), ("b", "2")]).unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && error.outcome_unknown(), "{error:?}");
        check(&error, &store, "put_many");
    }
}

#[test]
fn no_reply_makes_an_operation_panic_or_succeed_where_it_makes_no_sense() {
    if !can("no reply makes an operation panic or succeed where it makes no sense", Need::Meta) {
        return;
    }
    let (server, proxy) = start();
    let endless = "VA 5 ".repeat(2000);
    let flags = format!("VA 5 {}O#\r\nvalue\r\n", "x1 ".repeat(2000));
    let nonsense = [
        "\r\n",
        "\n",
        " O#\r\n",
        "VA\r\n",
        "VA O#\r\n",
        "VA  5 O#\r\nvalue\r\n",
        "VA -1 O#\r\nvalue\r\n",
        "VA 5.0 O#\r\nvalue\r\n",
        "VA 0x5 O#\r\nvalue\r\n",
        "VA 1048576 O#\r\nvalue\r\n",
        "VA 1073741824 O#\r\nvalue\r\n",
        "VA 1073741825 O#\r\nvalue\r\n",
        "VA 18446744073709551615 O#\r\nvalue\r\n",
        "VA 18446744073709551616 O#\r\nvalue\r\n",
        "VA 4 O#\r\nvalue\r\n",
        "VA 6 O#\r\nvalue\r\n",
        "VA 5 O#\nvalue\r\n",
        "VA 5 O18446744073709551616\r\nvalue\r\n",
        "VA 5 t c O#\r\nvalue\r\n",
        "VA 5 t-1 c99999999999999999999 O#\r\nvalue\r\n",
        "VA 5 t9223372036854775808 c1 O#\r\nvalue\r\n",
        "va 5 O#\r\nvalue\r\n",
        "MN\r\n",
        "MN O#\r\n",
        "ME k exp=-1\r\n",
        "HD t99999999999999999999 O#\r\n x",
        "HD O#\r\nHD O+\r\n",
        "EN\r\n",
        "EN O#\r\nEN O+\r\n",
        "NS O#\r\nx",
        "NF O#\r\nx",
        "EX O#\r\nx",
        "END\r\n",
        "OK\r\n",
        "STORED\r\n",
        "VALUE k 0 5\r\nvalue\r\nEND\r\n",
        "STAT pid 1\r\nEND\r\n",
        "ERROR\r\n",
        "ERROR O#\r\nVA 5 O#\r\nvalue\r\n",
        "CLIENT_ERROR bad data chunk\r\n",
        "CLIENT_ERROR bad command line format\r\nERROR\r\n",
        "SERVER_ERROR\r\n",
        "SERVER_ERROR out of memory storing object\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "$5\r\nvalue\r\n",
        "\0\0\0\0\0\0\0\0\r\n",
        "\u{fffd}\u{7f}\r\n",
        &endless,
        &flags,
    ];
    let mut wrong = Vec::new();
    // Much of it is taken for the beginning of a reply, and waited for.
    let store = builder(proxy.port()).response_timeout(Duration::from_millis(30)).pool_size(1).build().unwrap();
    for reply in nonsense {
        for Operation { name, commands, writes, run } in single() {
            let what = format!("{name}, {:?}", &reply[..reply.len().min(60)]);
            // What else a server tells with a value is nothing to those that do not ask; a miss may lack its tag where a value
            // is read.
            let is_sense = reply.starts_with("VA 5 t") && commands.len() == 1 || reply == "EN\r\n" && name == "get";
            if is_sense || name == "put of a large value" {
                continue;
            }
            set(&server, "k", "v");
            warm(&store);
            proxy.set(answer(reply));
            let result = within(LIMIT, &what, || catch_unwind(AssertUnwindSafe(|| run(&store))));
            proxy.pass();
            match result {
                Ok(Err(error)) => {
                    assert!(error.outcome_unknown() <= writes, "{what}: {error:?}");
                    assert_eq!(error.key(), Some("k"), "{what}: {error:?}");
                    assert_eq!(error.store(), Some(store.name()), "{what}: {error:?}");
                    let shown = format!("{error} {error:?}");
                    assert!(!shown.contains("value\\r\\n"), "{what}: {shown}");
                }
                Ok(Ok(())) => wrong.push(format!("{what}: a success")),
                Err(_) => wrong.push(format!("{what}: a panic")),
            }
            let value = wait_until(|| store.get("k").map_err(|error| format!("{what}: {error}")));
            assert!(matches!(value.as_deref(), None | Some(b"v" | b"new")), "{what}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Nor when a connection is made.
#[test]
fn whatever_a_server_says_first_is_an_error_and_nothing_was_sent() {
    if !can("whatever a server says first is an error and nothing was sent", Need::Meta) {
        return;
    }
    let (server, proxy) = start();
    // Each without a connection.
    let new = || patient(builder(proxy.port())).pool_size(1);
    let mut stats = Stats::of(&server);
    for number in 0..120_usize {
        for cut in [Cut::Close, Cut::Reset] {
            let what = format!("{cut:?} {number}");
            let store = new().build().unwrap();
            proxy.set(Behaviour::CutAfter { cut, of: Direction::Replies, bytes: number * 17 });
            let writes = stats.get("cmd_set");
            if number == 0 {
                // A server that closes a connection before it says a word is greeted once more.
                store.put("k", "v").expect(&what);
                assert_eq!(stats.get("cmd_set"), writes + 1, "{what}");
                continue;
            }
            let error = store.put("k", "v").expect_err(&what);
            assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{what}: {error:?}");
            check(&error, &store, "put");
            assert_eq!(stats.get("cmd_set"), writes, "{what}");
        }
        let store = new().connect_timeout(Duration::from_millis(50)).build().unwrap();
        let mut bytes = [b'?', b'\n', b' ', 0xff][number % 4..].iter().copied().cycle();
        proxy.set(edit(move |piece| {
            let length = piece.len();
            piece[(number * 37) % length] = bytes.next().unwrap();
        }));
        // A name that nobody looks at may well be another one.
        if let Err(error) = store.put("k", "v") {
            assert!(!error.outcome_unknown(), "{number}: {error:?}");
            assert_eq!(error.key(), Some("k"), "{number}: {error:?}");
        }
        proxy.pass();
        assert_works(&new().build().unwrap());
    }
    let answers = [
        "\r\n",
        "SERVER_ERROR busy\r\n",
        "END\r\nEND\r\n",
        "STAT version 1.6.18\r\nEND\r\nEND\r\n",
        "HTTP/1.1 400 Bad\r\n",
    ];
    // Without an end, and longer than any greeting.
    let endless = ["x".repeat(5000), format!("STAT x {}\r\n", "y".repeat(200_000)).repeat(4)];
    for answer in answers.into_iter().map(String::from).chain(endless) {
        let store = new().build().unwrap();
        proxy.set(Behaviour::replace(answer.as_bytes()));
        let error = within(LIMIT, &answer, || store.put("k", "v")).unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && !error.outcome_unknown(), "{answer:?}: {error:?}");
        assert_eq!((error.key(), error.store()), (Some("k"), Some(store.name())), "{answer:?}: {error:?}");
        assert_works(&store);
    }
}

#[test]
fn what_comes_with_a_reply_and_was_not_asked_for_is_nobody_s_reply() {
    if !can("what comes with a reply and was not asked for is nobody s reply", Need::Meta) {
        return;
    }
    let (server, proxy, store) = one_connection();
    set(&server, "other", &value("other", 1, 10));
    // The third is what the next command would wait for.
    let extras = [
        "VA 5 O1\r\nwrong\r\n",
        "VA 5 O#\r\nwrong\r\n",
        "VA 5 O+\r\nwrong\r\n",
        "HD O+\r\n",
        "EN O+\r\n",
        "ERROR\r\n",
        "VA",
        "\r\n",
        "x",
    ];
    for extra in extras {
        for Operation { name, writes, run, .. } in single() {
            set(&server, "k", "v");
            store.get("k").unwrap();
            let before = proxy.accepted();
            proxy.set(add(extra));
            let error = run(&store).expect_err(name);
            assert!(matches!(error, Error::Backend(_)), "{name}: {error:?}");
            assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
            check(&error, &store, name);
            assert_eq!(
                parse(&store.get("other").unwrap().unwrap()),
                ("other".into(), 1),
                "after {name} with {extra:?}"
            );
            assert_eq!(proxy.accepted(), before + 1, "after {name} with {extra:?}");
        }
    }
}

#[test]
fn what_an_idle_connection_brings_is_nobody_s_reply() {
    if !can("what an idle connection brings is nobody s reply", Need::Meta) {
        return;
    }
    let replies = ["VA 5 O+\r\nwrong\r\n", "EN O+\r\n", "HD O+\r\n", "ERROR\r\n", "x"];
    let started: Vec<_> = replies.into_iter().map(|reply| (reply, one_connection())).collect();
    side_by_side(started, |(reply, (server, proxy, store))| {
        set(&server, "other", &value("other", 1, 10));
        for idle in [TRAVEL, IDLE] {
            // What was not asked for comes after the reply was taken, and has the tag of the next.
            let tag = next_tag(&store, &proxy);
            let inject = |tag: u64| {
                let later = Duration::from_millis(50);
                proxy.set(Behaviour::inject_later(reply.replace('+', &tag.to_string()), later));
                assert_eq!(store.get("k").unwrap().unwrap(), "v");
                thread::sleep(later + idle);
            };
            let before = proxy.accepted();
            inject(tag + 1);
            let other = store.get("other").unwrap();
            assert_eq!(parse(&other.unwrap()), ("other".into(), 1), "after {reply:?}");
            assert_eq!(proxy.accepted(), before + 1, "after {reply:?}");
            // A write, too, is not to be the one that finds it.
            inject(tag + 3);
            store.put("k", "v").unwrap();
            assert_eq!(proxy.accepted(), before + 2, "after {reply:?}");
        }
    });
}

/// Whenever it comes: there is no moment in which it is taken for a reply.
#[test]
fn what_a_busy_connection_brings_is_nobody_s_reply() {
    if !can("what a busy connection brings is nobody s reply", Need::Meta) {
        return;
    }
    let (server, proxy) = start();
    // It may be taken for the beginning of a reply, and waited for.
    let store = builder(proxy.port()).pool_size(1).build().unwrap();
    set(&server, "other", &value("other", 1, 10));
    warm(&store);
    for number in 0..40 {
        let reply = ["VA 5 O1\r\nwrong\r\n", "HD O1\r\n", "EN O1\r\n", "MN\r\n"][number % 4];
        proxy.set(Behaviour::inject_later(reply, Duration::from_micros(number as u64 * 50)));
        for _ in 0..20 {
            match store.get("other") {
                Ok(value) => assert_eq!(parse(&value.unwrap()), ("other".into(), 1)),
                Err(error) => check(&error, &store, "get of other"),
            }
            match store.get("absent") {
                Ok(value) => assert_eq!(value, None),
                Err(error) => check(&error, &store, "get of absent"),
            }
        }
    }
}

/// Through TLS nobody can change a reply without being noticed.
#[cfg(feature = "tls")]
#[test]
fn a_record_of_tls_that_is_cut_or_changed_is_read_again_or_the_outcome_is_unknown() {
    if !can("a record of tls that is cut or changed is read again or the outcome is unknown", Need::Tls) {
        return;
    }
    let server = Memcached::start_as(Kind::Tls { with_certificate: false }, &[]);
    let proxy = support::proxy(server.tls_port());
    let url = format!("memcache+tls://localhost:{}", proxy.port());
    let store = patient(builder_for(&[&server]).url(&url)).pool_size(1).connect().unwrap();
    let mut stats = Stats::of(&server);
    set(&server, "k", "v");
    let key = "key/0";
    store.put(key, value(key, 1, 5)).unwrap();
    // A record is larger than what is in it by about 22 bytes.
    for (name, length, writes, run) in EXCHANGES {
        for bytes in 0..length + 22 {
            for fault in 0..3 {
                let what = format!("{name}, fault {fault} at {bytes} bytes");
                warm(&store);
                proxy.set(match fault {
                    0 => Behaviour::CutAfter { cut: Cut::Close, of: Direction::Replies, bytes },
                    1 => Behaviour::CutAfter { cut: Cut::Reset, of: Direction::Replies, bytes },
                    _ => edit(move |piece| {
                        // A length that becomes a larger one would be waited for.
                        let at = if bytes == 3 || bytes == 4 { 5 } else { bytes % piece.len() };
                        piece[at] ^= 1;
                    }),
                });
                let mut result = None;
                let grown = stats.growth(|| result = Some(run(&store, key)));
                let sets = grown.get("cmd_set").copied().unwrap_or(0);
                match result.unwrap() {
                    // The first bytes of a record say nothing that matters.
                    Ok(()) => assert!(!writes || fault == 2 && bytes < 3, "{what}"),
                    Err(error) => {
                        assert!(writes && error.outcome_unknown() && sets <= 1, "{what}: {error:?}, {grown:?}");
                        check(&error, &store, name);
                    }
                }
                proxy.pass();
            }
        }
    }
}

/// Be it a whole record, or none. A part of one rustls may have read with the reply, and keeps to itself: then the next operation
/// fails, since nobody can put more behind it that would pass for a record.
#[cfg(feature = "tls")]
#[test]
fn what_comes_after_a_record_of_tls_and_was_not_asked_for_is_nobody_s_reply() {
    if !can("what comes after a record of tls and was not asked for is nobody s reply", Need::Tls) {
        return;
    }
    let server = Memcached::start_as(Kind::Tls { with_certificate: false }, &[]);
    let proxy = support::proxy(server.tls_port());
    let url = format!("memcache+tls://localhost:{}", proxy.port());
    let store = builder_for(&[&server]).url(&url).connect_timeout(PATIENCE).pool_size(1).build().unwrap();
    let key = "key/0";
    set(&server, "k", "v");
    set(&server, key, &value(key, 1, 5));
    for extra in [&b"\x17"[..], b"\x17\x03\x03", b"\x17\x03\x03\0\x05wrong", b"VA 5 O1\r\nwrong\r\n", b"x"] {
        let is_part = extra.len() <= 3;
        for later in [false, true] {
            for write_next in [false, true] {
                let what = format!("{extra:?}, later: {later}, writing: {write_next}");
                proxy.pass();
                warm(&store);
                proxy.set(if later {
                    Behaviour::inject_later(extra, Duration::from_millis(20))
                } else {
                    Behaviour::inject(extra)
                });
                match store.get(key) {
                    Ok(value) => assert_eq!(parse(&value.unwrap()), (key.to_owned(), 1), "{what}"),
                    Err(error) => check(&error, &store, "get of key/0"),
                }
                thread::sleep(TRAVEL / 2);
                let next = if write_next { store.put("k", "v") } else { store.get("k").map(drop) };
                if let Err(error) = next {
                    assert!(is_part && !later && error.is_transient(), "{what}: {error:?}");
                    assert_eq!(error.outcome_unknown(), write_next, "{what}: {error:?}");
                }
                assert_works(&store);
            }
        }
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_record_of_tls_that_does_not_come_whole_is_a_time_out_and_its_rest_is_nobody_s() {
    if !can("a record of tls that does not come whole is a time out and its rest is nobody s", Need::Tls) {
        return;
    }
    let server = Memcached::start_as(Kind::Tls { with_certificate: false }, &[]);
    set(&server, "k", "v");
    set(&server, "other", &value("other", 1, 10));
    let url = |proxy: &Proxy| format!("memcache+tls://localhost:{}", proxy.port());
    let positions: Vec<_> = (0..24).step_by(2).map(|bytes| (bytes, support::proxy(server.tls_port()))).collect();
    side_by_side(&positions, |(bytes, proxy)| {
        let store = builder_for(&[&server]).url(url(proxy)).pool_size(1).build().unwrap();
        for (name, writes) in [("get", false), ("put", true)] {
            warm(&store);
            proxy.set(Behaviour::Truncate { of: Direction::Replies, bytes: *bytes });
            let act = || if writes { store.put("k", "v") } else { store.get("k").map(drop) };
            let error = within(LIMIT, name, act).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)), "{name}, {bytes} bytes: {error:?}");
            assert_eq!(error.outcome_unknown(), writes, "{name}, {bytes} bytes: {error:?}");
            check(&error, &store, name);
            proxy.pass();
            let other = wait_until(|| store.get("other").map_err(|error| error.to_string()));
            assert_eq!(parse(&other.unwrap()), ("other".into(), 1), "after {bytes} bytes");
        }
    });
}
