//! Servers that answer, and that do not.

use super::*;

#[test]
fn connect_names_the_server_that_does_not_answer() {
    let servers = [Memcached::start(&[]), Memcached::start(&[]), Memcached::start(&[])];
    let builder = || MemcacheStore::builder().servers(servers.iter().map(Memcached::url));
    works(&builder().connect().unwrap());
    for dead in &servers {
        dead.kill();
        let (error, text) = refused(builder());
        assert!(matches!(&error, Error::Unavailable(_)), "{text}");
        assert!(text.contains(&format!("127.0.0.1:{}: connecting failed", dead.port())), "{text}");
        assert!(text.contains("refused") && text.contains("and 2 more"), "{text}");
        dead.restart();
    }
    servers[1].pause();
    let (error, text) = refused(builder());
    assert!(matches!(&error, Error::Timeout(_)), "{text}");
    assert!(text.contains(&format!("127.0.0.1:{}: connecting took longer than 1s", servers[1].port())), "{text}");
    servers[1].resume();
}

#[test]
fn a_store_that_is_built_waits_for_its_first_operation() {
    let server = Memcached::start(&[]);
    let proxy = support::proxy(server.port());
    let url = format!("memcache://127.0.0.1:{}", proxy.port());
    let store = patient().url(url).build().unwrap();
    let _ = (format!("{store:?}"), store.name(), store.capabilities());
    assert_eq!(proxy.accepted(), 0);
    works(&store);
    assert_eq!(proxy.accepted(), 1);
}

#[test]
fn a_server_that_comes_later_is_used_then() {
    for kind in [Kind::Tcp, Kind::Unix] {
        let server = Memcached::start_as(kind, &[]);
        server.kill();
        let store = patient().url(server.url()).build().unwrap();
        let error = store.get("k").unwrap_err();
        let text = chain(&error);
        assert!(matches!(&error, Error::Unavailable(_)) && error.is_transient(), "{text}");
        let error = store.put("k", "v").unwrap_err();
        assert!(matches!(&error, Error::Unavailable(_)) && !error.outcome_unknown(), "{}", chain(&error));
        server.restart();
        works(&store);
    }
}

/// One thread uses its connection again, however large the pool is.
#[test]
fn one_thread_makes_one_connection() {
    let server = Memcached::start(&[]);
    let before = server.stat("total_connections");
    let store = patient().url(server.url()).pool_size(50).connect().unwrap();
    for number in 0..100 {
        store.put("k", number.to_string()).unwrap();
    }
    assert_eq!(server.stat("total_connections"), before + 2, "that of the store, and of this question");
}

/// The server says so and closes the connection. That must not be mistaken for something else.
#[test]
fn a_server_that_takes_no_more_connections_says_so() {
    if !can("a server that takes no more connections says so", Need::SaysNoMore) {
        return;
    }
    // memcached keeps about a dozen connections for itself.
    let server = Memcached::start(&["-c40"]);
    let builder = || MemcacheStore::builder().url(server.url());
    let store = builder().pool_size(50).build().unwrap();
    let mut taken = Vec::new();
    while taken.len() < 40 {
        let mut connection = server.connection();
        match connection.ask(b"mn\r\n") {
            Ok(answer) if answer == "MN" => taken.push(connection),
            answer => {
                assert!(matches!(&answer, Ok(answer) if answer.contains("Too many open connections")), "{answer:?}");
                break;
            }
        }
    }
    assert!((1..40).contains(&taken.len()), "{}", taken.len());
    for _ in 0..20 {
        let errors = [store.get("k").unwrap_err(), store.put("k", "v-hush").unwrap_err(), refused(builder()).0];
        for error in errors {
            let text = chain(&error);
            assert!(matches!(&error, Error::Backend(_)) && error.is_transient(), "{text}");
            assert!(!error.outcome_unknown(), "{text}");
            assert!(text.contains("takes no more connections (-c)"), "{text}");
            assert!(text.contains("Too many open connections"), "{text}");
        }
    }
    taken.pop();
    wait_until(|| store.put("works", "v").map_err(|error| chain(&error)));
    works(&store);
}

/// The server says so in clear text, also to clients that want TLS. The error must not say that the port is wrong.
#[test]
fn a_server_with_tls_that_takes_no_more_connections_is_a_transient_error() {
    if !can("a server with TLS that takes no more connections is worth another try", Need::SaysNoMore) {
        return;
    }
    let server = Memcached::start_as(Kind::Tls { with_certificate: false }, &["-c40"]);
    let tls = Tls::new().certificate_authority(server.certificates().ca.clone());
    let mut taken = Vec::new();
    // Connections from the start of the server may still count, and make room only later.
    let error = wait_until(|| {
        for _ in 0..40 {
            let mut connection = server.connection();
            if connection.ask(b"mn\r\n").is_ok_and(|answer| answer == "MN") {
                taken.push(connection);
            }
        }
        let connected = MemcacheStore::builder().url(server.url()).tls(tls.clone()).connect();
        connected.err().ok_or_else(|| format!("it takes more than {} connections", taken.len()))
    });
    assert!(error.is_transient(), "{}", chain(&error));
    drop(taken);
    let store = wait_until(|| patient().url(server.url()).tls(tls.clone()).connect().map_err(|error| chain(&error)));
    works(&store);
}
