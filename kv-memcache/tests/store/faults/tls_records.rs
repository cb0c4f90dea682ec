//! N2: TLS records that are cut, changed or unsolicited.

use super::*;

/// TLS reveals every change of a reply.
#[test]
fn a_tls_record_that_is_cut_or_changed_is_read_again_or_the_outcome_is_unknown() {
    if !can("a tls record that is cut or changed is read again or the outcome is unknown", Need::Tls) {
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
    // A record is about 22 bytes larger than its content.
    for (name, length, writes, run) in EXCHANGES {
        for bytes in 0..length + 22 {
            for fault in 0..3 {
                let what = format!("{name}, fault {fault} at {bytes} bytes");
                warm(&store);
                proxy.set(match fault {
                    0 => Behaviour::CutAfter { cut: Cut::Close, of: Direction::Replies, bytes },
                    1 => Behaviour::CutAfter { cut: Cut::Reset, of: Direction::Replies, bytes },
                    _ => edit(move |piece| {
                        // If the length becomes larger, the store waits for more bytes.
                        let at = if bytes == 3 || bytes == 4 { 5 } else { bytes % piece.len() };
                        piece[at] ^= 1;
                    }),
                });
                let mut result = None;
                let grown = stats.growth(|| result = Some(run(&store, key)));
                let sets = grown.get("cmd_set").copied().unwrap_or(0);
                match result.unwrap() {
                    // The first bytes of a record do not matter.
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

/// Neither a whole record nor a part of one. rustls may read a part together with the reply, and keep it. Then the next operation fails,
/// because nothing that follows can make it a valid record.
#[test]
fn an_unsolicited_tls_record_is_not_taken_for_a_reply() {
    if !can("an unsolicited tls record is not taken for a reply", Need::Tls) {
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
                thread::sleep(ARRIVAL / 2);
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

#[test]
fn an_incomplete_tls_record_is_a_time_out_and_its_rest_is_not_taken_for_a_reply() {
    if !can("an incomplete tls record is a time out and its rest is not taken for a reply", Need::Tls) {
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
