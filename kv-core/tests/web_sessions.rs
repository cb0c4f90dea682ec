//! Tests the service of the example over HTTP: with a store in memory, as an application's tests use it, and with a real redis, as
//! in production.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy does not see that the helpers of tests are tests"
)]

use std::env::VarError;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kv_conformance::server::{Sandbox, Server};
use kv_core::{
    AsyncKeyValueStore, Bytes, Capabilities, Capability, Key, KeyValueStore, KeyValueStoreExt, Result, Ttl, Unblocked,
    Value,
};
use kv_memory::{ManualClock, MemoryStore};
use kv_redis::RedisStore;
use sessions::Sessions;
use tokio::runtime::Runtime;

#[path = "../examples/web_sessions/open.rs"]
mod open;
#[path = "../examples/web_sessions/service.rs"]
mod service;
#[path = "../examples/web_sessions/sessions.rs"]
mod sessions;
#[path = "../examples/choose_backend/text.rs"]
mod text;

const TTL: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// Starts the service on a free port. It runs until the process ends.
fn start(store: Arc<dyn AsyncKeyValueStore>) -> SocketAddr {
    start_on(runtime(), store)
}

/// The same with the store at this URL.
fn start_at(url: &str) -> SocketAddr {
    let runtime = runtime();
    let store = runtime.block_on(open::open(url)).unwrap();
    start_on(runtime, store)
}

fn start_on(runtime: Runtime, store: Arc<dyn AsyncKeyValueStore>) -> SocketAddr {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let router = service::router(Sessions::new(store, TTL));
    thread::spawn(move || runtime.block_on(async { axum::serve(listener, router).await }));
    address
}

/// A store that blocks, as the service takes it.
fn unblocked(store: Arc<dyn KeyValueStore>, threads: u32) -> Arc<dyn AsyncKeyValueStore> {
    Arc::new(Unblocked::builder().threads(threads).patience(Duration::from_millis(500)).build(store))
}

/// Sends a request; returns the status and the text of the answer.
fn ask(service: SocketAddr, method: &str, path: &str, token: &str, body: &str) -> io::Result<(u16, String)> {
    let mut connection = TcpStream::connect(service)?;
    connection.set_read_timeout(Some(Duration::from_secs(60)))?;
    let length = body.len();
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other(answer.clone()))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(|| io::Error::other(head))?, body.to_owned()))
}

fn log_in(service: SocketAddr, user: &str) -> String {
    let (status, token) = ask(service, "POST", "/login", "", user).unwrap();
    assert_eq!((status, token.len()), (200, 32), "{token}");
    token
}

fn who_am_i(service: SocketAddr, token: &str) -> (u16, String) {
    ask(service, "GET", "/whoami", token, "").unwrap()
}

/// A redis that nobody else can reach, and its URL.
fn redis() -> (Server, String) {
    fn url(sandbox: &Sandbox) -> String {
        format!("redis+unix://{}/redis.sock", sandbox.dir().display())
    }
    let server = Server::builder("redis-server")
        .debian_package("redis-server")
        .args(|_| ["--port", "0", "--unixsocket", "redis.sock", "--save", ""].map(OsString::from))
        .ready(|sandbox, _| Ok(RedisStore::connect(url(sandbox)).map(drop)?))
        .start()
        .unwrap();
    let url = url(server.sandbox());
    (server, url)
}

/// Sixteen users log in, are recognised, and log out at the same time.
fn serves_concurrent_users(service: SocketAddr) {
    thread::scope(|scope| {
        for number in 0..16 {
            scope.spawn(move || {
                let user = format!("user {number}");
                let token = log_in(service, &user);
                assert_eq!(who_am_i(service, &token), (200, user));
                assert_eq!(ask(service, "POST", "/logout", &token, "").unwrap().0, 200);
                assert_eq!(who_am_i(service, &token).0, 401);
                assert_eq!(ask(service, "POST", "/logout", &token, "").unwrap().0, 401);
            });
        }
    });
}

#[test]
fn it_serves_concurrent_users_from_memory() {
    let store = Arc::new(MemoryStore::new());
    serves_concurrent_users(start(store.clone()));
    assert!(store.is_empty());
}

#[test]
fn it_serves_concurrent_users_from_a_store_that_blocks() {
    let store = Arc::new(MemoryStore::new());
    serves_concurrent_users(start(unblocked(store.clone(), 4)));
    assert!(store.is_empty());
}

#[test]
fn it_serves_concurrent_users_from_redis() {
    let (_server, url) = redis();
    serves_concurrent_users(start_at(&url));
}

#[test]
fn a_session_that_is_used_does_not_expire() {
    let clock = ManualClock::new();
    let service = start(Arc::new(MemoryStore::builder().clock(clock.clone()).build().unwrap()));
    let token = log_in(service, "ada");
    for _ in 0..3 {
        clock.advance(TTL / 2);
        assert_eq!(who_am_i(service, &token), (200, "ada".into()));
    }
    clock.advance(TTL);
    assert_eq!(who_am_i(service, &token).0, 401);
}

#[test]
fn a_made_up_token_is_refused() {
    let store = Arc::new(MemoryStore::new());
    let service = start(store.clone());
    let token = log_in(service, "ada");
    for wrong in ["", "x", "a b", &"x".repeat(5000), &token[1..], "../../etc/passwd", "*"] {
        assert_eq!(who_am_i(service, wrong).0, 401, "{wrong}");
    }
    assert_eq!(ask(service, "POST", "/login", "", "").unwrap().0, 400);
    assert_eq!(ask(service, "POST", "/login", "", &"x".repeat(2000)).unwrap().0, 413);
    // The key under which the token is stored is not a token either.
    let keys: Vec<_> = store.keys("").unwrap().map(|key| key.unwrap().to_string()).collect();
    assert!(keys.len() == 1 && !keys[0].contains(&token), "{keys:?}");
}

#[test]
fn while_the_store_is_unreachable_users_are_asked_to_try_again() {
    let (server, url) = redis();
    let service = start_at(&url);
    let token = log_in(service, "ada");
    server.kill().unwrap();
    assert_eq!(who_am_i(service, &token), (503, "try again\n".into()));
    server.restart().unwrap();
    assert_eq!(who_am_i(service, &token).0, 401, "this redis keeps nothing");
    let token = log_in(service, "ada");
    assert_eq!(who_am_i(service, &token).0, 200);
}

/// A store that reports when it is asked for a value, and answers when the test tells it to.
#[derive(Debug)]
struct Slow {
    asked: Mutex<Sender<()>>,
    go_on: Mutex<Receiver<()>>,
}

impl KeyValueStore for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::builder().with(Capability::TouchingReads).build()
    }

    fn read(&self, _: Key<'_>) -> Result<Option<Bytes>> {
        self.asked.lock().unwrap().send(()).unwrap();
        self.go_on.lock().unwrap().recv().unwrap();
        Ok(None)
    }

    fn read_and_set_expiry(&self, key: Key<'_>, _: Ttl) -> Result<Option<Bytes>> {
        self.read(key)
    }

    fn write(&self, _: Key<'_>, _: Value<'_>, _: Ttl) -> Result<()> {
        Ok(())
    }

    fn remove(&self, _: Key<'_>) -> Result<bool> {
        Ok(false)
    }
}

#[test]
fn while_the_store_is_silent_requests_do_not_wait_for_each_other() {
    let ((asked, is_asked), (go_on, may_go_on)) = (channel(), channel());
    let service = start(unblocked(Arc::new(Slow { asked: asked.into(), go_on: may_go_on.into() }), 1));
    thread::scope(|scope| {
        let first = scope.spawn(move || who_am_i(service, "first"));
        is_asked.recv().unwrap();
        assert_eq!(who_am_i(service, "second").0, 503);
        go_on.send(()).unwrap();
        assert_eq!(first.join().unwrap().0, 401, "the store had its time");
    });
}

#[test]
fn a_url_with_an_unknown_scheme_is_not_shown() {
    let runtime = runtime();
    let open = |url: &str| runtime.block_on(open::open(url));
    for url in ["nothing", "http://:secret@host", "memcached://:secret@host", "secret"] {
        let error = text::with_causes(&*open(url).unwrap_err());
        assert!(error.contains("redis://") && !error.contains("secret"), "{error}");
    }
    for (url, says) in [
        ("", "is empty"),
        (" redis://:secret@host", "begins or ends with a space"),
        ("redis://:secret@host\n", "begins or ends with a space"),
    ] {
        let error = text::with_causes(&*open(url).unwrap_err());
        assert!(error.contains(says) && !error.contains("secret"), "{error}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("no such socket");
    assert!(open(&format!("redis+unix://{}", path.display())).is_err());
    assert!(open("memory:").is_ok());
}

#[test]
fn a_variable_that_cannot_be_read_is_an_error() {
    assert_eq!(text::variable("KV_URL", Ok("redis:".into()), "memory:"), Ok("redis:".into()));
    assert_eq!(text::variable("KV_URL", Err(VarError::NotPresent), "memory:"), Ok("memory:".into()));
    let unreadable = Err(VarError::NotUnicode("secret".into()));
    assert_eq!(text::variable("KV_URL", unreadable, "memory:"), Err("KV_URL is not UTF-8".into()));
}
