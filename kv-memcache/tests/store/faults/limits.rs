//! N1: limits.

use super::*;

#[test]
fn every_operation_on_a_server_that_falls_silent_times_out() {
    for_each_operation(operations(), |Operation { name, writes, run, .. }, server, proxy, store| {
        proxy.set(Behaviour::Hold);
        let begin = Instant::now();
        let error = within(LIMIT, name, || run(store)).unwrap_err();
        assert!(begin.elapsed() > LIMIT / 2, "{name}: {error} after {:?}", begin.elapsed());
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
        check(&error, store, name);
        proxy.pass();
        assert_works(store);
        set(server, "k", "v");
        assert_eq!(store.get("k").unwrap().unwrap(), "v", "after {name}");
    });
}

/// Its port accepts connections, and nobody answers on them.
#[test]
fn an_operation_on_a_server_that_never_answers_times_out_and_sends_nothing() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    for kind in transports().into_iter().filter(|kind| *kind != Kind::Unix) {
        let scheme = if kind == Kind::Tcp { "memcache" } else { "memcache+tls" };
        let server = Memcached::start_as(kind, &[]);
        let builder = || trusting(&[&server], settings(support::builder())).url(format!("{scheme}://localhost:{port}"));
        side_by_side(operations(), |Operation { name, run, .. }| {
            let store = builder().build().unwrap();
            let error = within(LIMIT, name, || run(&store)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{name}: {error:?}");
            check(&error, &store, name);
        });
        let error = within(LIMIT, "connect", || builder().connect()).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    }
}

#[test]
fn an_address_where_nobody_listens_is_unavailable_at_once() {
    let (server, dir) = (Memcached::start(&[]), tempfile::tempdir().unwrap());
    server.kill();
    let absent = dir.path().join("absent.sock");
    for url in [server.url(), format!("memcache://{}", absent.display())] {
        let builder = || patient(builder(1).url(&url));
        let store = builder().build().unwrap();
        for Operation { name, run, .. } in operations() {
            let error = within(Duration::ZERO, name, || run(&store)).unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{name}: {error:?}");
            assert!(kind_of_cause(&error).is_some(), "{name}: {error:?}");
            check(&error, &store, name);
        }
        let error = within(Duration::ZERO, "connect", || builder().connect()).unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
}

#[test]
fn a_reply_that_comes_byte_by_byte_has_to_end_by_the_limit() {
    for_each_operation(operations(), |Operation { name, writes, run, .. }, server, proxy, store| {
        set(server, "k", &"v".repeat(200));
        proxy.set(Behaviour::Split(Duration::from_millis(200)));
        let error = within(LIMIT, name, || run(store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
        check(&error, store, name);
        // Now the handshake comes byte by byte.
        let error = within(LIMIT, name, || run(store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{name}: {error:?}");
        check(&error, store, name);
        proxy.pass();
        assert_works(store);
    });
}

#[test]
fn a_reply_in_single_bytes_is_accepted() {
    let (server, proxy, store) = one_connection();
    set(&server, "k", &"v".repeat(5000));
    proxy.set(Behaviour::Split(Duration::ZERO));
    assert_eq!(store.get("k").unwrap().unwrap(), "v".repeat(5000));
    proxy.set(Behaviour::Split(Duration::from_millis(2)));
    assert!(store.contains("k").unwrap());
    assert_eq!(store.get_many(["absent", "absent"]).unwrap(), [None, None]);
    assert_works(&store);
    assert_eq!(proxy.accepted(), 1);
}

#[test]
fn a_slow_reply_within_the_limit_is_accepted() {
    let (_server, proxy) = start();
    let store = builder(proxy.port()).response_timeout(LIMIT + MARGIN).build().unwrap();
    warm(&store);
    proxy.set(Behaviour::Delay(Duration::from_millis(100)));
    let begin = Instant::now();
    assert_eq!(store.get("k").unwrap().unwrap(), "v");
    assert!(begin.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_full_backlog_is_an_error_within_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full.sock");
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for (domain, address) in [(Domain::IPV4, local.into()), (Domain::UNIX, SockAddr::unix(&path).unwrap())] {
        let listener = Socket::new(domain, Type::STREAM, None).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        loop {
            let socket = Socket::new(domain, Type::STREAM, None).unwrap();
            let connected = if domain == Domain::UNIX {
                socket.set_nonblocking(true).unwrap();
                socket.connect(&address)
            } else {
                socket.connect_timeout(&address, ARRIVAL)
            };
            match connected {
                Ok(()) => waiting.push(socket),
                Err(_) => break,
            }
            assert!(waiting.len() < 1000, "the backlog does not fill");
        }
        let url = match address.as_socket() {
            Some(address) => format!("memcache://{address}"),
            None => format!("memcache://{}", path.display()),
        };
        side_by_side(operations(), |Operation { name, run, .. }| {
            let store = settings(support::builder().url(&url)).build().unwrap();
            let error = within(LIMIT, name, || run(&store)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_) | Error::Unavailable(_)), "{name}: {error:?}");
            assert!(!error.outcome_unknown(), "{name}: {error:?}");
            check(&error, &store, name);
        });
    }
}

/// N6 as well: when the server continues, everything works, and no operation gets its late replies.
#[test]
fn operations_on_a_stopped_server_time_out_and_work_when_it_continues() {
    for kind in kinds() {
        let server = Memcached::start_as(kind, &[]);
        let stores: Vec<_> =
            operations().map(|operation| (operation, builder_for(&[&server]).pool_size(1).build().unwrap())).collect();
        for (_, store) in &stores {
            wait_until(|| store.put("k", "v").map_err(|error| error.to_string()));
        }
        server.pause();
        side_by_side(&stores, |(Operation { name, writes, run, .. }, store)| {
            let error = within(LIMIT, name, || run(store)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)), "{kind:?}, {name}: {error:?}");
            assert_eq!(error.outcome_unknown(), *writes, "{kind:?}, {name}: {error:?}");
            check(&error, store, name);
            let error = within(LIMIT, name, || run(store)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{kind:?}, {name}: {error:?}");
        });
        server.resume();
        for (_, store) in &stores {
            wait_until(|| store.put("other", "the other's").map_err(|error| error.to_string()));
            assert_eq!(store.get("other").unwrap().unwrap(), "the other's", "{kind:?}");
            assert_works(store);
        }
    }
}

#[test]
fn waiting_for_the_pool_ends_by_its_limit() {
    let (_server, proxy) = start();
    let store = builder(proxy.port()).pool_size(1).response_timeout(60 * LIMIT).build().unwrap();
    warm(&store);
    proxy.set(Behaviour::Hold);
    thread::scope(|scope| {
        let holder = scope.spawn(|| store.get("k"));
        thread::sleep(LIMIT);
        side_by_side(operations(), |Operation { name, run, .. }| {
            let begin = Instant::now();
            let error = within(LIMIT, name, || run(&store)).unwrap_err();
            assert!(begin.elapsed() > LIMIT / 2, "{name}: {error} after {:?}", begin.elapsed());
            assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{name}: {error:?}");
            check(&error, &store, name);
        });
        proxy.pass();
        assert_eq!(holder.join().unwrap().unwrap().unwrap(), "v");
    });
    assert_works(&store);
}

/// Each kind of waiting has its own limit, and the other limits do not affect it.
#[test]
fn each_limit_is_the_configured_one() {
    let (_server, proxy) = start();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let connecting = patient(builder(silent.local_addr().unwrap().port())).connect_timeout(LIMIT).build().unwrap();
    let waiting = patient(builder(proxy.port())).pool_timeout(LIMIT).pool_size(1).connect().unwrap();
    let exchanging = patient(builder(proxy.port())).response_timeout(LIMIT).connect().unwrap();
    let by_default = support::builder().url(format!("memcache://127.0.0.1:{}", proxy.port()));
    let by_default = by_default.build().unwrap();
    warm(&by_default);
    warm(&exchanging);
    proxy.set(Behaviour::Hold);
    thread::scope(|scope| {
        let holder = scope.spawn(|| waiting.get("k"));
        thread::sleep(ARRIVAL);
        let second = Duration::from_secs(1);
        let cases = [
            (&connecting, LIMIT, "(`connect_timeout`)"),
            (&waiting, LIMIT, "`pool_timeout`"),
            (&exchanging, LIMIT, "(`response_timeout`)"),
            (&by_default, second, "(`response_timeout`)"),
            // Now it has no connection.
            (&by_default, second, "(`connect_timeout`)"),
        ];
        for (store, limit, named) in cases {
            let begin = Instant::now();
            let error = within(limit, named, || store.get("k")).unwrap_err();
            assert!(begin.elapsed() > limit / 2, "{named}: {error} after {:?}", begin.elapsed());
            let shown = error.to_string();
            assert!(shown.contains(named) && shown.contains(&format!("{limit:?}")), "{shown}");
        }
        proxy.pass();
        assert_eq!(holder.join().unwrap().unwrap().unwrap(), "v");
    });
}

/// The limits of several servers do not add up.
#[test]
fn a_batch_over_several_silent_servers_takes_as_long_as_one_limit() {
    // Longer than the margin, so that the test notices if two limits add up.
    let limit = MARGIN * 5 / 4;
    let limited = |servers: &[String]| {
        let builder = settings(support::builder()).servers(servers);
        builder.pool_timeout(limit).connect_timeout(limit).response_timeout(limit).pool_size(1).build().unwrap()
    };
    let live = Memcached::start(&[]);
    // Ports on which no connection can be made.
    let silent: Vec<_> = (0..3).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let mut urls: Vec<_> = silent.iter().map(|silent| format!("memcache://{}", silent.local_addr().unwrap())).collect();
    urls.insert(1, live.url());
    // Servers that stop after connections to them were made.
    let paused: Vec<_> = (0..4).map(|_| Memcached::start(&[])).collect();
    let of_paused: Vec<_> = paused.iter().map(Memcached::url).collect();
    let mut all = Vec::new();
    for operation in BATCH {
        let established = limited(&of_paused);
        wait_until(|| established.put_many(many().map(|key| (key, "v"))).map_err(|error| error.to_string()));
        all.push((operation, true, limited(&urls)));
        all.push((operation, false, established));
    }
    for server in &paused[1..] {
        server.pause();
    }
    side_by_side(&all, |(Operation { name, writes, run, .. }, is_new, store)| {
        let error = within(limit, name, || run(store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        assert_eq!(error.outcome_unknown(), *writes && !is_new, "{name}: {error:?}");
        check(&error, store, name);
        // Those connections are closed: now no connection to the stopped servers can be made.
        let error = within(limit, name, || run(store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
    });
    for server in &paused {
        server.resume();
    }
    for (Operation { name, run, .. }, is_new, store) in &all {
        if !is_new {
            wait_until(|| run(store).map_err(|error| format!("{name}: {error}")));
        }
    }
}

/// Nor do the waits for their pools.
#[test]
fn a_batch_over_servers_with_exhausted_pools_takes_as_long_as_one_limit() {
    let limit = MARGIN * 5 / 4;
    let servers: Vec<_> = (0..3).map(|_| Memcached::start(&[])).collect();
    let store = patient(builder_for(&servers.iter().collect::<Vec<_>>())).pool_timeout(limit).pool_size(1);
    let store = store.build().unwrap();
    store.put_many(many().map(|key| (key, "v"))).unwrap();
    let one_of_each: Vec<_> = servers
        .iter()
        .map(|server| {
            let mut connection = server.connection();
            many().find(|key| fetch(&mut connection, key).is_some()).unwrap()
        })
        .collect();
    for server in &servers {
        server.pause();
    }
    thread::scope(|scope| {
        let store = &store;
        let holders: Vec<_> = one_of_each.iter().map(|key| scope.spawn(move || store.get(key))).collect();
        thread::sleep(ARRIVAL);
        side_by_side(BATCH, |Operation { name, run, .. }| {
            let error = within(limit, name, || run(store)).unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{name}: {error:?}");
            check(&error, store, name);
        });
        for server in &servers {
            server.resume();
        }
        for holder in holders {
            assert_eq!(holder.join().unwrap().unwrap().unwrap(), "v");
        }
    });
    assert_works(&store);
}

/// A large value extends the limit by 0.1 s for each megabyte.
#[test]
fn a_server_that_stops_within_a_large_value_is_a_time_out_and_the_rest_is_not_taken_for_a_reply() {
    let server = Memcached::start(&["-I", "32m", "-m", "256"]);
    let proxy = support::proxy(server.port());
    let direct = patient(builder(server.port())).connect().unwrap();
    direct.put("other", value("other", 1, 10)).unwrap();
    // The first value fits into the buffers on the way. Of the second one, the server has sent a part when it stops.
    for length in [LARGE, 20 << 20] {
        let extra = Duration::from_millis(100) * u32::try_from(length >> 20).unwrap();
        let large = value("large", 1, length);
        direct.put("large", &large).unwrap();
        let store = builder(proxy.port()).pool_size(1).connect().unwrap();
        warm(&store);
        let operations: [fn(&MemcacheStore) -> Result<()>; 2] =
            [|store| store.get("large").map(drop), |store| store.copy("large", "copy")];
        for operation in operations.into_iter().take(if is_old() { 1 } else { 2 }) {
            warm(&store);
            proxy.set(Behaviour::Truncate { of: Direction::Replies, bytes: length / 2 });
            let error = thread::scope(|scope| {
                let reader = scope.spawn(|| within(LIMIT + extra, "get", || operation(&store)).unwrap_err());
                thread::sleep(LIMIT / 4);
                server.pause();
                reader.join().unwrap()
            });
            assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{error:?}");
            assert_eq!(error.key(), Some("large"));
            // Now what the server had sent arrives.
            proxy.pass();
            let error = within(LIMIT, "get", || store.get("other")).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{error:?}");
            server.resume();
            warm(&store);
            assert_eq!(parse(&store.get("other").unwrap().unwrap()), ("other".into(), 1));
            assert_eq!(store.get("absent").unwrap(), None);
        }
        let patient = patient(builder(proxy.port())).build().unwrap();
        assert_eq!(patient.get("large").unwrap().unwrap(), large);
        assert_works(&store);
    }
}

#[test]
fn a_server_that_stops_while_it_receives_a_large_value_is_a_time_out() {
    let server = Memcached::start(&["-I", "32m", "-m", "256"]);
    let store = builder(server.port()).largest_item(32 << 20).pool_size(1).build().unwrap();
    let large = vec![b'x'; 20 << 20];
    for _ in 0..3 {
        warm(&store);
        server.pause();
        // The bytes that the buffers take extend the limit, too.
        let error = within(LIMIT + Duration::from_secs(2), "put", || store.put("k", &large)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)) && error.outcome_unknown(), "{error:?}");
        check(&error, &store, "put");
        server.resume();
        warm(&store);
        assert_works(&store);
    }
}
