//! Section 9: errors.

use super::*;

#[test]
fn an_error_names_key_and_store_and_has_its_cause() {
    if !can("an error names key and store and has its cause", Need::Meta) {
        return;
    }
    let (_server, proxy, store) = one_connection();
    proxy.set(Behaviour::CutAnswer { cut: Cut::Reset, to: "ms", times: 1 });
    let reset = store.put("k", "v").unwrap_err();
    assert_eq!(kind_of_cause(&reset), Some(io::ErrorKind::ConnectionReset), "{reset:?}");
    proxy.set(Behaviour::CutAnswer { cut: Cut::Close, to: "ms", times: 1 });
    let closed = store.put("k", "v").unwrap_err();
    assert_eq!(kind_of_cause(&closed), Some(io::ErrorKind::UnexpectedEof), "{closed:?}");
    let limited = builder(proxy.port()).build().unwrap();
    warm(&limited);
    proxy.set(Behaviour::Hold);
    let late = limited.put("k", "v").unwrap_err();
    assert!(matches!(late, Error::Timeout(_)) && late.to_string().contains(&format!("{LIMIT:?}")), "{late}");
    proxy.pass();
    cut_and_wait(&proxy, Cut::Reset);
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

#[test]
fn an_error_of_a_batch_names_the_key_only_if_there_is_one_key() {
    if !can("an error of a batch names the key only if there is one key", Need::Meta) {
        return;
    }
    let (_server, proxy, store) = one_connection();
    let one: [fn(&MemcacheStore) -> Result<()>; 3] = [
        |store| store.get_many(["k"]).map(drop),
        |store| store.put_many([("k", "v")]),
        |store| store.delete_many(["k"]).map(drop),
    ];
    let two: [fn(&MemcacheStore) -> Result<()>; 3] = [
        |store| store.get_many(["k", "l"]).map(drop),
        |store| store.put_many([("k", "v"), ("l", "v")]),
        |store| store.delete_many(["k", "l"]).map(drop),
    ];
    for (batches, key) in [(one, Some("k")), (two, None)] {
        for (run, command) in batches.into_iter().zip(["mg", "ms", "md"]) {
            store.get("k").unwrap();
            proxy.set(Behaviour::CutAnswer { cut: Cut::Close, to: command, times: 2 });
            let error = run(&store).unwrap_err();
            proxy.pass();
            assert_eq!(error.key(), key, "{command}: {error:?}");
            assert_eq!(error.to_string().contains("\"k\""), key.is_some(), "{command}: {error}");
            assert_eq!(error.outcome_unknown(), command != "mg", "{command}: {error:?}");
            check(&error, &store, command);
            assert_works(&store);
        }
    }
}

/// Acts as a server that answers the handshake, reads a part of a request, answers it with this text, and closes the connection.
fn take_some_and_refuse(mut client: impl Read + Write, refusal: &str) {
    let stats = "STAT version 1.6.18\r\nSTAT time 1800000000\r\nEND\r\nSTAT item_size_max 1048576\r\nEND\r\n";
    for answer in [stats, refusal] {
        let read = client.read(&mut [0; 4096]);
        if !matches!(read, Ok(1..)) || client.write_all(answer.as_bytes()).is_err() {
            break;
        }
    }
}

/// A write that was refused has not happened. Other writes, which were sent and not answered, may have.
#[test]
fn a_refusal_before_the_close_is_reported_and_the_outcome_of_other_writes_is_unknown() {
    const REFUSAL: &str = "SERVER_ERROR out of memory storing object\r\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("refusing.sock");
    let (tcp, unix) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), UnixListener::bind(&path).unwrap());
    let urls = [format!("memcache://{}", tcp.local_addr().unwrap()), format!("memcache://{}", path.display())];
    thread::spawn(move || tcp.incoming().for_each(|client| take_some_and_refuse(client.unwrap(), REFUSAL)));
    thread::spawn(move || unix.incoming().for_each(|client| take_some_and_refuse(client.unwrap(), REFUSAL)));
    // The server does not read all of this. Over a unix socket it cannot even be sent.
    let large = vec![0; LARGE];
    for url in urls {
        let store = patient(builder(1).url(url)).build().unwrap();
        let error = store.put("k", "v").unwrap_err();
        assert!(matches!(error, Error::Backend(_)) && !error.outcome_unknown(), "{error:?}");
        check(&error, &store, "put");
        let error = store.put("k", &large).unwrap_err();
        assert!(matches!(error, Error::Backend(_) | Error::Unavailable(_)), "{error:?}");
        check(&error, &store, "put of a large value");
        let error = store.get_many(["k", "l"]).unwrap_err();
        assert!(!error.outcome_unknown(), "{error:?}");
        for last in [&b"v"[..], &large] {
            let error = store.put_many([("k", &b"v"[..]), ("l", b"v"), ("m", last)]).unwrap_err();
            assert!(error.outcome_unknown(), "two of three writes were sent and not answered: {error:?}");
        }
    }
}

/// A reader or writer that panics after this many bytes.
struct PanicsAfter(usize);

impl Read for PanicsAfter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(self.0 > 0, "this panic is part of the test");
        let length = self.0.min(buffer.len());
        self.0 -= length;
        Ok(length)
    }
}

impl Write for PanicsAfter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(self.0 > 0, "this panic is part of the test");
        self.0 = self.0.saturating_sub(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        panic!("this panic is part of the test")
    }
}

#[test]
fn a_panic_of_the_caller_leaves_the_store_working() {
    let (server, _proxy, store) = one_connection();
    let panics: [fn(&MemcacheStore); 6] = [
        |store| store.put_from("k", PanicsAfter(0)).unwrap(),
        |store| store.put_from("k", PanicsAfter(100_000)).unwrap(),
        |store| assert_eq!(store.get_into("k", PanicsAfter(0)).unwrap(), 1),
        |store| assert_eq!(store.get_into("k", PanicsAfter(1)).unwrap(), 1),
        |store| store.put_many((0..10).map(|number| (assert_ne!(number, 5), "v")).map(|_| ("k", "v"))).unwrap(),
        |store| drop(store.get_many((0..10).map(|number| format!("k/{}", 1 / (5 - number)))).unwrap()),
    ];
    for panic in panics.into_iter().cycle().take(24) {
        assert!(catch_unwind(AssertUnwindSafe(|| panic(&store))).is_err());
        assert_eq!(store.get("k").unwrap().unwrap(), "v", "what was there is still there");
        assert_works(&store);
    }
    drop(server);
}

/// A caller that uses the store while it passes values to it does not wait for itself, even with one connection.
#[test]
fn a_caller_may_use_the_store_within_a_batch_or_a_reader() {
    struct Copies<'a>(&'a MemcacheStore, usize);

    impl Read for Copies<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 += 1;
            let value = self.0.get("k").unwrap().unwrap();
            let length = if self.1 > 3 { 0 } else { value.len() };
            buffer[..length].copy_from_slice(&value[..length]);
            Ok(length)
        }
    }

    let (_server, _proxy, store) = one_connection();
    store.put_from("copies", Copies(&store, 0)).unwrap();
    assert_eq!(store.get("copies").unwrap().unwrap(), "vvv");
    store.put_many((0..5).map(|number| (format!("copy/{number}"), store.get("k").unwrap().unwrap()))).unwrap();
    let read = store.get_many((0..5).map(|number| {
        assert_eq!(store.get("k").unwrap().unwrap(), "v");
        format!("copy/{number}")
    }));
    assert_eq!(read.unwrap().into_iter().flatten().collect::<Vec<_>>(), ["v"; 5]);
}
