//! No password is printed, logged or in a panic, when everything fails that can fail.

#![cfg(unix)]
#![cfg(feature = "tls")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

use std::time::Duration;

use kv_conformance::proxy::{Behaviour, Cut};
use kv_memcache::{KeyValueStoreExt, MemcacheStore, MemcacheStoreBuilder, Tls};

#[path = "../../kv-redis/tests/support/secrets.rs"]
mod secrets;
mod support;
use secrets::{CARELESS, SECRET, encoded, fail_in_every_way, fails, free_port, impostor, output_of};
use support::{Kind, Memcached, PASSWORD, USER};

#[test]
fn nothing_that_a_failure_prints_shows_a_password() {
    let output = output_of("all_that_can_fail");
    for said in [
        "the server does not accept user and password",
        "CLIENT_ERROR authentication failure",
        "the URL cannot be used",
        "Connection refused",
        "what answers there does not speak TLS",
        "UnknownIssuer",
        "the connection was lost before the reply came",
        "the server closed the connection at once",
        "the server did not answer within",
        "the URLs of the servers differ",
        "the server wants none",
        "the error contains the password",
        "called `Result::unwrap()` on an `Err` value",
    ] {
        assert!(output.contains(said), "nothing says {said:?}");
    }
}

#[test]
fn a_secret_is_found_in_whatever_form() {
    secrets::the_secret_is_found_in_whatever_form();
}

/// Not a test, but the child process of the first test.
#[test]
#[ignore = "it is run by another test"]
fn all_that_can_fail() {
    fail_in_every_way(|| {
        wrong_passwords();
        bad_urls();
        nobody_there();
        tls();
        several_servers();
        foreign_servers();
        after_it_worked();
    });
}

fn on(url: impl Into<String>) -> MemcacheStoreBuilder {
    MemcacheStore::builder().url(url)
}

/// Checks that a store cannot connect, and that if it is only built, each kind of operation fails.
#[track_caller]
fn is_refused(way: &str, builder: &MemcacheStoreBuilder, says: &str) {
    fails(way, builder, builder.clone().connect(), says);
    let Ok(store) = builder.clone().build() else { return };
    operations_fail(way, &store, says);
}

#[track_caller]
fn operations_fail(way: &str, store: &MemcacheStore, says: &str) {
    fails(&format!("{way}, get"), store, store.get("k"), says);
    fails(&format!("{way}, put"), store, store.put("k", "v"), says);
    fails(&format!("{way}, get_many"), store, store.get_many(["k", "l"]), says);
}

fn wrong_passwords() {
    let server = Memcached::start_as(Kind::WithPassword, &[]);
    let (address, says) = (format!("127.0.0.1:{}", server.port()), "the server does not accept user and password");
    is_refused("a wrong password", &on(format!("memcache://{USER}:{SECRET}@{address}")), says);
    is_refused("no such user", &on(format!("memcache://{SECRET}:{SECRET}@{address}")), says);
    is_refused("credentials given to the builder", &on(server.url()).credentials(USER, SECRET), says);
    for password in CARELESS.into_iter().filter(|password| !password.contains(' ')) {
        for in_capitals in [false, true] {
            let url = format!("memcache://{USER}:{}@{address}", encoded(password, in_capitals));
            is_refused("an encoded password", &on(url), says);
        }
    }
    let open = Memcached::start(&[]);
    let url = format!("memcache://u:{SECRET}@127.0.0.1:{}", open.port());
    is_refused("a password that nobody asked for", &on(url), "the server wants none");
}

/// URLs that are invalid, or that mean something else than their author meant.
fn bad_urls() {
    let mut urls = vec![
        format!("http://u:{SECRET}@host"),
        format!("u:{SECRET}@host"),
        format!("memcache:u:{SECRET}@host"),
        format!("memcache://u:{SECRET}@host:port"),
        format!("memcache://u:{SECRET}@host:65536"),
        format!("memcache://u:{SECRET}@host:1:2"),
        format!("memcache://u:{SECRET}@host:1,other:2"),
        format!("memcache://u:{SECRET}@"),
        format!("memcache://u:{SECRET}@host/path"),
        format!("memcache://u:{SECRET}@/path"),
        format!("memcache://{SECRET}@host"),
        format!("memcache://:{SECRET}@host"),
        format!("memcache://u:{SECRET}@host?x={SECRET}"),
        format!("memcache://u:{SECRET}@host#{SECRET}"),
        format!("memcache://u:{SECRET}%20x@host"),
        format!("memcache://u%20:{SECRET}@host"),
        format!("memcache://u:{SECRET}%FF@host"),
        format!("memcache://u:{SECRET}@[host"),
        format!("memcache:///socket?password={SECRET}"),
        format!("memcache+tls:///u:{SECRET}@socket"),
        format!("memcache:///:{SECRET}@/tmp/s.sock"),
        format!("memcache:///u:{SECRET}@host"),
        format!("memcache:///{SECRET}@/tmp/s.sock"),
        format!("memcache:///:{}@/tmp/s.sock", encoded(SECRET, true)),
        format!("memcache:///tmp/s.sock,password={SECRET}"),
        format!("memcache:///tmp/s.sock%3Fpassword%3D{SECRET}"),
        format!("memcache://host,u:{SECRET}@host2"),
        format!("memcache://host,u:{SECRET}"),
        format!("memcache://host,password={SECRET}"),
        format!("memcache://host;user=u;password={SECRET}"),
        format!("host:11211,user=u,password={SECRET}"),
        format!("memcache://host password={SECRET}"),
        format!("memcache://host:{SECRET}"),
        format!("memcache://host/{SECRET}"),
        format!("memcache://host%40{SECRET}"),
        format!("memcache://[{SECRET}]"),
        format!("memcache://[::1%{SECRET}@host]"),
        format!("memcache://u:{SECRET}@host1 memcache://u:{SECRET}@host2"),
        format!("memcache://u:{SECRET}@host\n"),
        format!("'memcache://u:{SECRET}@host'"),
        format!("[\"memcache://u:{SECRET}@host\"]"),
        format!("memcached+sasl://u:{SECRET}@host"),
    ];
    for password in CARELESS.into_iter().skip(2) {
        urls.push(format!("memcache://u:{password}@host"));
        urls.push(format!("memcache+tls://u:{password}@host"));
    }
    for (number, url) in urls.iter().enumerate() {
        let builder = on(url).connect_timeout(Duration::from_millis(20));
        // Some of the careless texts happen to be valid URLs, of a host that does not exist.
        let says = if builder.clone().build().is_ok() { "connecting" } else { "the URL cannot be used" };
        fails(&format!("URL {number}"), &builder, builder.clone().connect(), says);
    }
    for (user, password) in [("u", &*format!("{SECRET} x")), ("", SECRET), (&*format!("{SECRET}:"), "x")] {
        let builder = on("memcache://host").credentials(user, password);
        fails("no credentials", &builder, builder.clone().build(), "some characters");
    }
}

fn nobody_there() {
    let address = format!("127.0.0.1:{}", free_port());
    is_refused("nobody there", &on(format!("memcache://u:{SECRET}@{address}")), "connecting failed");
    is_refused("nobody there, with TLS", &on(format!("memcache+tls://u:{SECRET}@{address}")), "connecting failed");
    is_refused("no socket", &on("memcache:///nowhere/socket").credentials("u", SECRET), "connecting failed");
}

fn tls() {
    let server = Memcached::start_as(Kind::TlsWithPassword, &[]);
    let with_tls = format!("memcache+tls://{USER}:{SECRET}@localhost:{}", server.tls_port());
    let strange = Tls::new().certificate_authority(server.certificates().stranger_ca.clone());
    let trusting = Tls::new().certificate_authority(server.certificates().ca.clone());
    is_refused("a server that is not trusted", &on(&with_tls).tls(strange), "the server's certificate");
    is_refused("a wrong password over TLS", &on(&with_tls).tls(trusting.clone()), "does not accept user and password");
    let plain = on(format!("memcache+tls://{USER}:{SECRET}@localhost:{}", server.port())).tls(trusting.clone());
    is_refused("a server without TLS", &plain, "does not speak TLS");
    is_refused("a server with TLS", &on(format!("memcache://u:{SECRET}@localhost:{}", server.tls_port())), "");
    is_refused("no TLS", &on(format!("memcache://u:{SECRET}@localhost")).tls(trusting), "the URL does not say");
    is_refused("no certificate", &on(with_tls).tls(Tls::new().client_certificate(SECRET, SECRET)), "is not a PEM file");
}

fn several_servers() {
    let server = Memcached::start_as(Kind::WithPassword, &[]);
    let at = |password: &str, port: u16| format!("memcache://{USER}:{password}@127.0.0.1:{port}");
    let several = |urls: [String; 2]| MemcacheStore::builder().servers(urls);
    let twice = several([at(SECRET, server.port()), at(SECRET, server.port())]);
    is_refused("one twice", &twice, "is listed twice");
    let two_kinds = several([at(SECRET, server.port()), at("another", free_port())]);
    is_refused("two kinds", &two_kinds, "the URLs of the servers differ");
    let builder = several([at(SECRET, server.port()), at(SECRET, free_port())]);
    fails("a server of two", &builder, builder.clone().connect(), "");
    let store = builder.build().unwrap();
    fails("a batch", &store, store.get_many((0..20).map(|number| format!("k{number}"))), "");
}

/// The peer is not a memcached, or it repeats what it was sent.
fn foreign_servers() {
    let to = |port: u16| on(format!("memcache://u:{SECRET}@127.0.0.1:{port}"));
    let says = "does not speak the protocol of memcached";
    is_refused("a server of HTTP", &to(impostor(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())), says);
    is_refused("one that closes", &to(impostor(|_| Vec::new())), "closed the connection");
    is_refused("an echo", &to(impostor(<[u8]>::to_vec)), says);
    for begin in ["CLIENT_ERROR", "CLIENT_ERROR unauthenticated", "SERVER_ERROR out of memory storing", "ERROR"] {
        let repeating = impostor(move |_| format!("{begin} u {SECRET}\r\n").into_bytes());
        is_refused("one that repeats", &to(repeating), "");
    }
    let repeating = impostor(|_| format!("STORED\r\nCLIENT_ERROR u {SECRET}\r\n").into_bytes());
    is_refused("one that repeats it later", &to(repeating), "the error contains the password");
    let repeating = impostor(|_| {
        format!("STORED\r\nSTAT version 1.2.{SECRET}\r\nSTAT time 1\r\nEND\r\nSTAT item_size_max 9000\r\nEND\r\n")
            .into_bytes()
    });
    is_refused("one whose version it is", &to(repeating), "lacks the meta commands");
}

/// A store that worked before it fails.
fn after_it_worked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwords");
    // The user of the test support, which checks that the server answers, and one with the secret.
    std::fs::write(&file, format!("{USER}:{PASSWORD}\nother:{SECRET}\n")).unwrap();
    // The last of two such arguments counts.
    let server = Memcached::start_as(Kind::WithPassword, &[&format!("-Y{}", file.display())]);
    let limit = Duration::from_millis(200);
    let url = |port: u16| format!("memcache://other:{SECRET}@127.0.0.1:{port}");
    let builder = || on(url(server.port())).response_timeout(limit).connect_timeout(limit);
    let (store, remembers) = (builder().retry_after(Duration::ZERO).connect().unwrap(), builder().connect().unwrap());
    server.pause();
    fails("a server that falls silent", &store, store.put("k", "v"), "the server did not answer within");
    operations_fail("a server that is silent", &store, "connecting took longer than");
    fails("a server that falls silent", &remembers, remembers.put("k", "v"), "the server did not answer within");
    operations_fail("a server that is known to be silent", &remembers, "");
    server.resume();
    let proxy = support::proxy(server.port());
    let store = on(url(proxy.port())).connect().unwrap();
    proxy.set(Behaviour::CutAnswer { cut: Cut::Reset, to: "ms k", times: 1 });
    fails("a connection that is cut", &store, store.put("k", "v"), "the connection was lost before the reply came");
    server.kill();
    operations_fail("a server that is gone", &store, "");
}
