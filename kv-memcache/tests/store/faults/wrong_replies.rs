//! N2: replies that are not what they should be.

use super::*;

/// Where in a reply the value or the remaining TTL is.
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

/// A wrong return code, length, tag or end of the value is noticed. Only the checksum of TCP protects the value itself.
#[test]
fn a_reply_with_a_wrong_byte_is_an_error_and_closes_the_connection() {
    if !can("a reply with a wrong byte is an error and closes the connection", Need::Meta) {
        return;
    }
    let wrong_bytes: Vec<u8> = b"\0 \r\n+-01289AODHEVNSFXYZadhev\x7f\xff".to_vec();
    let key = "key/0";
    side_by_side(EXCHANGES, |(name, _, writes, run)| {
        let (server, proxy) = start();
        // If a length becomes larger, the store waits for more bytes.
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
                    // It did, and no reply was changed. Try again.
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

#[test]
fn no_invalid_reply_makes_an_operation_panic_or_succeed() {
    if !can("no invalid reply makes an operation panic or succeed", Need::Meta) {
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
    // Many of them look like the beginning of a reply, and the store waits for the rest.
    let store = builder(proxy.port()).response_timeout(Duration::from_millis(30)).pool_size(1).build().unwrap();
    for reply in nonsense {
        for Operation { name, commands, writes, run } in single() {
            let what = format!("{name}, {:?}", &reply[..reply.len().min(60)]);
            // An operation ignores what else a server says with a value; and a read of a value accepts a miss without
            // a tag.
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

#[test]
fn an_invalid_handshake_is_an_error_and_nothing_else_is_sent() {
    if !can("an invalid handshake is an error and nothing else is sent", Need::Meta) {
        return;
    }
    let (server, proxy) = start();
    // A new store has no connection yet.
    let new = || patient(builder(proxy.port())).pool_size(1);
    let mut stats = Stats::of(&server);
    for number in 0..120_usize {
        for cut in [Cut::Close, Cut::Reset] {
            let what = format!("{cut:?} {number}");
            let store = new().build().unwrap();
            proxy.set(Behaviour::CutAfter { cut, of: Direction::Replies, bytes: number * 17 });
            let writes = stats.get("cmd_set");
            if number == 0 {
                // If a server closes a connection without an answer, it is asked once more.
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
        // The changed byte may be in a line that the store ignores.
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
    // A line without an end, and more lines than any handshake has.
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
