//! Time-outs, and replies that come slowly (N1).

use super::*;

#[test]
fn every_operation_on_a_server_that_falls_silent_times_out() {
    let (redis, proxy, store) = one_connection();
    for (name, writes, operation) in operations() {
        redis.command(&["SET", "k", "v"]);
        store.get("k").unwrap();
        proxy.set(Behaviour::Hold);
        let begin = Instant::now();
        let error = within(LIMIT, name, || operation(&store)).unwrap_err();
        assert!(begin.elapsed() > LIMIT / 2, "{name}: {error} after {:?}", begin.elapsed());
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
        check(&error, &store, name);
        proxy.pass();
        assert_works(&store);
    }
}

#[test]
fn an_operation_on_a_server_that_never_answers_times_out_and_sends_nothing() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let store = builder(listener.local_addr().unwrap().port()).build().unwrap();
    for (name, _, operation) in operations() {
        let error = within(LIMIT, name, || operation(&store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{name}: {error:?}");
        check(&error, &store, name);
    }
    let error = within(LIMIT, "connect", || builder(listener.local_addr().unwrap().port()).connect()).unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
}

#[test]
fn a_reply_that_comes_byte_by_byte_has_to_end_by_the_limit() {
    let (redis, proxy, store) = one_connection();
    for (name, writes, operation) in operations() {
        redis.command(&["SET", "k", &"v".repeat(200)]);
        store.contains("k").unwrap();
        proxy.set(Behaviour::Split(Duration::from_millis(200)));
        let error = within(LIMIT, name, || operation(&store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
        assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
        // Now the handshake comes byte by byte.
        let error = within(LIMIT, name, || operation(&store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{name}: {error:?}");
        proxy.pass();
        assert_works(&store);
    }
}

#[test]
fn a_reply_in_single_bytes_is_accepted() {
    let (redis, proxy) = start(&[]);
    let store = patient(builder(proxy.port())).pool_size(1).connect().unwrap();
    redis.command(&["SET", "k", &"v".repeat(5000)]);
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
    let (_redis, proxy, _) = one_connection();
    let store = builder(proxy.port()).response_timeout(LIMIT + MARGIN).connect().unwrap();
    proxy.set(Behaviour::Delay(Duration::from_millis(100)));
    let begin = Instant::now();
    assert_eq!(store.get("k").unwrap().unwrap(), "v");
    assert!(begin.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_server_whose_backlog_is_full_is_a_time_out() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        match socket.connect_timeout(&address, Duration::from_millis(200)) {
            Ok(()) => waiting.push(socket),
            Err(_) => break,
        }
        assert!(waiting.len() < 1000, "the backlog does not fill");
    }
    let store = builder(address.as_socket().unwrap().port()).build().unwrap();
    for (name, _, operation) in operations() {
        let error = within(LIMIT, name, || operation(&store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{name}: {error:?}");
        check(&error, &store, name);
    }
}

#[test]
fn a_unix_socket_with_a_full_backlog_is_an_error_within_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full.sock");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        match socket.connect(&SockAddr::unix(&path).unwrap()) {
            Ok(()) => waiting.push(socket),
            Err(_) => break,
        }
        assert!(waiting.len() < 1000, "the backlog does not fill");
    }
    let store = settings(RedisStore::builder().url(format!("redis+unix://{}", path.display()))).build().unwrap();
    for (name, _, operation) in operations() {
        let error = within(LIMIT, name, || operation(&store)).unwrap_err();
        assert!(matches!(error, Error::Timeout(_) | Error::Unavailable(_)), "{name}: {error:?}");
        assert!(!error.outcome_unknown(), "{name}: {error:?}");
        check(&error, &store, name);
    }
}

#[test]
fn a_server_that_is_stopped_is_a_time_out_over_tcp_and_a_unix_socket() {
    let redis = Redis::start(&[]);
    let stores = [redis.url(), redis.unix_url()];
    let stores = stores.map(|url| settings(RedisStore::builder().url(url)).pool_size(1).build().unwrap());
    for (name, writes, operation) in operations() {
        redis.command(&["SET", "k", "v"]);
        for store in &stores {
            store.get("k").unwrap();
        }
        redis.pause();
        for store in &stores {
            let error = within(LIMIT, name, || operation(store)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)), "{name}: {error:?}");
            assert_eq!(error.outcome_unknown(), writes, "{name}: {error:?}");
            check(&error, store, name);
            let error = within(LIMIT, name, || operation(store)).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)) && !error.outcome_unknown(), "{name}: {error:?}");
        }
        redis.resume();
    }
    for store in &stores {
        assert_works(store);
    }
}

#[test]
fn waiting_for_the_pool_ends_by_its_limit() {
    let (_redis, proxy) = start(&[]);
    let store = builder(proxy.port()).pool_size(1).response_timeout(LIMIT * 60).connect().unwrap();
    proxy.set(Behaviour::Hold);
    thread::scope(|scope| {
        let holder = scope.spawn(|| store.get("k"));
        thread::sleep(LIMIT);
        for (name, _, operation) in operations() {
            let error = within(LIMIT, name, || operation(&store)).unwrap_err();
            assert!(matches!(error, Error::Unavailable(_)) && !error.outcome_unknown(), "{name}: {error:?}");
            check(&error, &store, name);
        }
        proxy.pass();
        let _ = holder.join().unwrap();
    });
    assert_works(&store);
}
