//! No password is printed, logged or in a panic, when everything fails that can fail.

#![cfg(unix)]
#![cfg(all(feature = "tls", feature = "cluster", feature = "sentinel"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

use std::time::Duration;

use kv_conformance::proxy::{Behaviour, Cut};
use kv_redis::{Credentials, Error, Failure, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Tls, r2d2};

#[path = "support/secrets.rs"]
mod secrets;
mod support;
use secrets::{CARELESS, SECRET, encoded, fail_in_every_way, fails, free_port, impostor, output_of};
use support::{Redis, TlsClients};

#[test]
fn nothing_that_a_failure_prints_shows_a_password() {
    if !crate::support::has_tls() {
        return;
    }
    let output = output_of("all_that_can_fail");
    for said in [
        "the server does not accept user and password",
        "WRONGPASS",
        "the user is not allowed to use the command",
        "the URL cannot be used",
        "Connection refused",
        "what answers there does not speak TLS",
        "UnknownIssuer",
        "the connection was lost before the reply came",
        "connecting failed the server closed the connection",
        "the server did not answer within",
        "the application's pool gave no connection",
        "the URLs of the nodes differ",
        "what it said had the password in it",
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
    if !crate::support::has_tls() {
        return;
    }
    fail_in_every_way(|| {
        let redis = Redis::start_tls(TlsClients::Anonymous, &["--requirepass", "theRightOne"]);
        wrong_passwords(&redis);
        bad_urls();
        nobody_there();
        tls(&redis);
        several_servers(&redis);
        a_pool_of_the_application(&redis);
        strangers();
        after_it_worked();
    });
}

/// The errors of a store that remembers a silent server.
const RETRY_AFTER: Duration = Duration::from_secs(60);

fn on(url: impl Into<String>) -> RedisStoreBuilder {
    // Each operation shows its own error, and not that a silent server is remembered, except in the test of that.
    RedisStore::builder().url(url).retry_after(Duration::ZERO)
}

/// Checks that a store cannot connect, and that if it is only built, each kind of operation fails.
#[track_caller]
fn is_refused(way: &str, builder: &RedisStoreBuilder, says: &str) {
    fails(way, builder, builder.clone().connect(), says);
    let Ok(store) = builder.clone().build() else { return };
    operations_fail(way, &store, says);
}

#[track_caller]
fn operations_fail(way: &str, store: &RedisStore, says: &str) {
    fails(&format!("{way}, get"), store, store.get("k"), says);
    fails(&format!("{way}, put"), store, store.put("k", "v"), says);
    fails(&format!("{way}, get_many"), store, store.get_many(["k", "l"]), says);
    let keys = store.keys("").and_then(Iterator::collect::<Result<Vec<_>, Error>>);
    fails(&format!("{way}, keys"), store, keys, says);
}

fn wrong_passwords(redis: &Redis) {
    redis.command(&["ACL", "SETUSER", "app", "on", ">theRightOne", "~*", "+@all"]);
    redis.command(&["ACL", "SETUSER", "reader", "on", &format!(">{SECRET}"), "~*", "+@read", "+info"]);
    let (address, says) = (redis.address(), "the server does not accept user and password");
    is_refused("a wrong password", &on(format!("redis://:{SECRET}@{address}")), says);
    is_refused("a wrong password of a user", &on(format!("redis://app:{SECRET}@{address}/3")), says);
    is_refused("no such user", &on(format!("redis://{SECRET}:{SECRET}@{address}")), says);
    is_refused("a password given to the builder", &on(redis.url()).password(SECRET), says);
    is_refused("a user given to the builder", &on(redis.url()).username(SECRET), says);
    let provided = on(redis.url()).credentials_provider(|| Ok::<_, Error>(Credentials::new(SECRET, SECRET)));
    fails("none beside", &provided, provided.clone().build(), "`credentials_provider` is set");
    let provided =
        on(format!("redis://{address}")).credentials_provider(|| Ok::<_, Error>(Credentials::new("app", SECRET)));
    is_refused("a provider", &provided, says);
    fails("credentials", &Credentials::new(SECRET, SECRET), Err::<(), _>(Error::Backend(Failure::new("s", "m"))), "");
    is_refused("in place of another one", &on(format!("redis://:{SECRET}@{address}")).username("app"), says);
    let socket = redis.socket();
    let url = format!("redis+unix://{}?user=app&pass={SECRET}", socket.display());
    is_refused("on a unix socket", &on(url), says);
    is_refused("on shared connections", &on(format!("redis://:{SECRET}@{address}")).shared_connections(1), says);
    for password in CARELESS {
        for in_capitals in [false, true] {
            let url = format!("redis://app:{}@{address}", encoded(password, in_capitals));
            is_refused("an encoded password", &on(url), says);
        }
    }
    let reader = on(format!("redis://reader:{SECRET}@{address}")).connect().unwrap();
    fails("not allowed", &reader, reader.put("k", "v"), "the user is not allowed to use the command");
}

/// URLs that are invalid, or that mean something else than their author meant.
fn bad_urls() {
    let mut urls = vec![
        format!("http://u:{SECRET}@host"),
        format!("u:{SECRET}@host"),
        format!(":{SECRET}@host"),
        format!("//u:{SECRET}@host"),
        format!("redis:u:{SECRET}@host"),
        format!("redis://u:{SECRET}@host:port"),
        format!("redis://u:{SECRET}@host:65536"),
        format!("redis://u:{SECRET}@host:1:2"),
        format!("redis://u:{SECRET}@"),
        format!("redis://u:{SECRET}@host/-1"),
        format!("redis://u:{SECRET}@host/first"),
        format!("redis://{SECRET}@host"),
        format!("redis://u:{SECRET}@host/#insecure"),
        format!("redis://u:x@host/0?password={SECRET}"),
        format!("redis://u:x@host/0?{SECRET}"),
        format!("redis://u:{SECRET}@host/0?protocol={SECRET}"),
        format!("redis+unix:///socket?pass=x&{SECRET}"),
        format!("redis+unix:///socket?pass=x&{SECRET}=y"),
        format!("redis+unix:///socket?db={SECRET}"),
        format!("redis+unix:///socket?user={SECRET}"),
        format!("redis://u:{SECRET}@[host"),
        format!("unix:///:{SECRET}@/tmp/s.sock"),
        format!("unix:///u:{SECRET}@/tmp/s.sock"),
        format!("unix:///{SECRET}@/tmp/s.sock"),
        format!("unix:///:{}@/tmp/s.sock", encoded(SECRET, true)),
        format!("unix:///%3A{SECRET}%40/tmp/s.sock"),
        format!("unix://:{SECRET}@/tmp/s.sock"),
        format!("unix:///tmp/s.sock,password={SECRET}"),
        format!("unix:///tmp/s.sock%3Fpass%3D{SECRET}"),
        format!("unix:///tmp/s.sock?password={SECRET}"),
        format!("unix:{SECRET}"),
        format!("redis://host,password={SECRET}"),
        format!("redis://host;password={SECRET}"),
        format!("redis://host:6379,password={SECRET},ssl=True"),
        format!("host:6379,password={SECRET},ssl=True"),
        format!("redis://host:6379,abortConnect=false,password={SECRET}"),
        format!("redis://host password={SECRET}"),
        format!("redis://host:{SECRET}"),
        format!("redis://host/{SECRET}"),
        format!("redis://host/0/{SECRET}"),
        format!("redis://host#{SECRET}"),
        format!("redis://host%2Cpassword={SECRET}"),
        format!("redis://host%40{SECRET}"),
        format!("redis://[::1%{SECRET}@host]"),
        format!("redis://[{SECRET}]"),
        format!("redis://host\\{SECRET}"),
        format!("redis://:x@host1,redis://:{SECRET}@host2"),
        format!("redis://:{SECRET}@host1 redis://:{SECRET}@host2"),
        format!("redis://:{SECRET}@host1\nredis://:{SECRET}@host2"),
        format!("\"redis://:{SECRET}@host\""),
        format!("redis://:{SECRET}@host\n"),
        format!("{{\"url\": \"redis://:{SECRET}@host\"}}"),
        format!("redis-sentinel://:{SECRET}@host/mymaster"),
        format!("rediss+unix://:{SECRET}@/tmp/s.sock"),
    ];
    for password in CARELESS.into_iter().skip(2) {
        urls.push(format!("redis://u:{password}@host/0"));
        urls.push(format!("rediss://:{password}@host"));
        urls.push(format!("redis+unix:///socket?pass=x&{password}#"));
    }
    for (number, url) in urls.iter().enumerate() {
        let builder = on(url).connect_timeout(Duration::from_millis(20));
        // Some of the careless texts happen to be valid URLs, of a host that does not exist.
        let says = if builder.clone().build().is_ok() { "connecting" } else { "the URL cannot be used" };
        fails(&format!("URL {number}"), &builder, builder.clone().connect(), says);
    }
    for service in [format!("redis://:{SECRET}@host"), format!("mymaster,password={SECRET}")] {
        let builder = RedisStore::builder().sentinels(service, ["redis://host"]);
        fails("no name of a primary", &builder, builder.clone().build(), "the name of the primary");
    }
    fails("no password", &on("redis://host"), on("redis://host").username(SECRET).build(), "a user without a password");
}

fn nobody_there() {
    let address = format!("127.0.0.1:{}", free_port());
    is_refused("nobody there", &on(format!("redis://u:{SECRET}@{address}")), "connecting failed");
    is_refused("nobody there, with TLS", &on(format!("rediss://u:{SECRET}@{address}")), "connecting failed");
    is_refused("no socket", &on(format!("redis+unix:///nowhere/socket?pass={SECRET}")), "connecting failed");
}

fn tls(redis: &Redis) {
    let with_tls = format!("rediss://:{SECRET}@localhost:{}", redis.tls_port());
    let strange = Tls::new().certificate_authority(redis.certificates().stranger_ca.clone());
    let trusting = Tls::new().certificate_authority(redis.certificates().ca.clone());
    is_refused("a server that is not trusted", &on(&with_tls).tls(strange), "the server's certificate");
    is_refused("a wrong password over TLS", &on(&with_tls).tls(trusting.clone()), "does not accept user and password");
    // Redis takes the bytes for a line, and waits for its end.
    let plain = on(format!("rediss://:{SECRET}@localhost:{}", redis.port())).tls(trusting.clone());
    let hurried = plain.connect_timeout(Duration::from_millis(50));
    is_refused("a server without TLS", &hurried, "connecting took longer than");
    let http = impostor(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    let http = on(format!("rediss://:{SECRET}@localhost:{http}")).tls(trusting.clone());
    is_refused("a server of HTTP, with TLS", &http, "does not speak TLS");
    let not_told = on(format!("redis://:{SECRET}@localhost:{}", redis.tls_port()));
    is_refused("a server with TLS", &not_told, "");
    is_refused("no TLS", &on(format!("redis://:{SECRET}@localhost")).tls(trusting), "the URL does not say");
    let nonsense = Tls::new().client_certificate(SECRET, SECRET);
    is_refused("no certificate", &on(with_tls).tls(nonsense), "is not a PEM file");
}

fn several_servers(redis: &Redis) {
    let (builder, address) = (RedisStore::builder, redis.address());
    let url = format!("redis://:{SECRET}@{address}");
    let other = format!("redis://u:{SECRET}@127.0.0.1:{}", free_port());
    is_refused("a cluster", &builder().cluster([&url]), "does not accept user and password");
    is_refused("a cluster of two kinds", &builder().cluster([&url, &other]), "the URLs of the nodes differ");
    is_refused(
        "a cluster, one URL",
        &builder().cluster([&url, &format!("{url}/x?{SECRET}")]),
        "the URL cannot be used",
    );
    let sentinels = builder().sentinels("service", [&url, &other]).password(SECRET);
    is_refused("sentinels", &sentinels, "");
    let sentinels = builder().sentinels("service", [redis.url()]).password(SECRET);
    is_refused("what is no sentinel", &sentinels, "");
}

/// The pool logs its own errors.
fn a_pool_of_the_application(redis: &Redis) {
    let client = redis::Client::open(format!("redis://:{SECRET}@{}", redis.address())).unwrap();
    let pool = r2d2::Pool::builder().connection_timeout(Duration::from_millis(50)).build_unchecked(client);
    let builder = RedisStore::builder().pool_timeout(Duration::from_millis(50));
    let store = builder.clone().build_on_pool(pool).unwrap();
    operations_fail("a pool of the application", &store, "the application's pool gave no connection");
}

/// The peer is not a redis, or it repeats what it was sent.
fn strangers() {
    let http = impostor(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    let says = "does not speak the protocol of redis";
    is_refused("a server of HTTP", &on(format!("redis://:{SECRET}@127.0.0.1:{http}")), says);
    let closing = impostor(|_| Vec::new());
    is_refused("one that closes", &on(format!("redis://:{SECRET}@127.0.0.1:{closing}")), "closed the connection");
    let echo = impostor(<[u8]>::to_vec);
    is_refused("an echo", &on(format!("redis://:{SECRET}@127.0.0.1:{echo}")), says);
    for begin in ["-ERR do not know", "-WRONGPASS not right", "-", "-EXECABORT Transaction discarded because of: "] {
        let repeating = impostor(move |request| {
            let request = String::from_utf8_lossy(request).replace("\r\n", " ");
            format!("{begin} {request}\r\n$0\r\n\r\n").into_bytes()
        });
        let url = format!("redis://u:{SECRET}@127.0.0.1:{repeating}");
        is_refused(&format!("one that repeats, {begin}"), &on(url), "what it said had the password in it");
    }
}

/// A store that worked before it fails.
fn after_it_worked() {
    let redis = Redis::start(&["--requirepass", SECRET]);
    let limit = Duration::from_millis(200);
    let hurried = || on(redis.url()).response_timeout(limit).connect_timeout(limit);
    let (store, remembers) = (hurried().connect().unwrap(), hurried().retry_after(RETRY_AFTER).connect().unwrap());
    redis.pause();
    fails("a server that falls silent", &store, store.put("k", "v"), "the server did not answer within");
    operations_fail("a server that is silent", &store, "connecting took longer than");
    fails("a server that falls silent", &remembers, remembers.put("k", "v"), "the server did not answer within");
    operations_fail("a server that is known to be silent", &remembers, "");
    redis.resume();
    let proxy = support::proxy(redis.port());
    let store = on(format!("redis://:{SECRET}@127.0.0.1:{}", proxy.port())).connect().unwrap();
    proxy.set(Behaviour::CutAnswer { cut: Cut::Reset, to: "SET", times: 1 });
    fails("a connection that is cut", &store, store.put("k", "v"), "the connection was lost before the reply came");
    redis.kill();
    operations_fail("a server that is gone", &store, "");
}
