//! How a store gets to a server: URLs, unix sockets, TLS, user and password. Which servers are suitable. And that no secret is shown.

#![cfg(feature = "tls")]

mod authentication;
mod builder;
mod capabilities;
mod certificates;
mod classic;
mod credentials;
mod impostors;
mod limits;
mod mcrouter;
mod names;
mod reach;
mod tls;
mod urls;
mod versions;

use std::error::Error as _;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use kv_memcache::{Capability, Error, KeyValueStore, KeyValueStoreExt, MemcacheStore, MemcacheStoreBuilder, Tls, Ttl};

use crate::support::{self, Kind, Memcached, Need, PASSWORD, PATIENCE, Twemproxy, USER, can, skip, wait_until};
use kv_conformance::proxy::{Behaviour, Proxy};

/// The default limit for connecting, one second, and what a busy machine adds.
const WITHIN: Duration = Duration::from_millis(1000 + 1500);

/// A part of every password and every secret value here.
const HUSH: &str = "hush";

fn patient() -> MemcacheStoreBuilder {
    MemcacheStore::builder().pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// Checks that a text shows no user, no password and no part of a private key, in any form.
#[track_caller]
fn shows_no_secret(shown: &str) {
    let secrets = [HUSH, "%68ush", "104, 117, 115, 104", "PRIVATE KEY", USER, PASSWORD, "kv-secret"];
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret:?} is in {shown}");
    }
}

/// The text of an error with all its causes. Checks that none of them shows a secret, by `Display` or by `Debug` (E3), and that none is
/// repeated (E2).
#[track_caller]
fn chain(error: &Error) -> String {
    let mut texts = vec![error.to_string()];
    shows_no_secret(&format!("{error:?} {error:#?}"));
    let mut cause = error.source();
    while let Some(error) = cause {
        shows_no_secret(&format!("{error:?}"));
        let text = error.to_string();
        assert!(!texts[0].contains(&text), "{text} is in {}", texts[0]);
        texts.push(text);
        cause = error.source();
    }
    let chain = texts.join(": ");
    shows_no_secret(&chain);
    chain
}

/// Tries to connect, with limits, and returns why that does not work.
#[track_caller]
fn refused(builder: MemcacheStoreBuilder) -> (Error, String) {
    shows_no_secret(&format!("{builder:?} {builder:#?}"));
    let begin = Instant::now();
    let error = builder.connect().unwrap_err();
    let took = begin.elapsed();
    let text = chain(&error);
    assert!(took < WITHIN, "{took:?}: {text}");
    assert!(!error.outcome_unknown(), "{text}");
    (error, text)
}

/// The same, for a setting that is not valid.
#[track_caller]
fn invalid(builder: MemcacheStoreBuilder) -> String {
    let (error, text) = refused(builder);
    assert!(matches!(&error, Error::InvalidSetting { .. }) && !error.is_transient(), "{text}");
    text
}

/// The same, for an error of the server that is not transient.
#[track_caller]
fn refused_for_good(builder: MemcacheStoreBuilder) -> String {
    let (error, text) = refused(builder);
    assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{text}");
    text
}

#[track_caller]
fn works(store: &MemcacheStore) {
    shows_no_secret(&format!("{store:?} {store:#?}"));
    // Not a closure: `track_caller` has to name the caller.
    if let Err(error) = store.put("works", "v") {
        panic!("{}", chain(&error));
    }
    assert_eq!(store.get("works").unwrap().as_deref(), Some(&b"v"[..]));
    assert!(store.delete("works").unwrap());
}

#[track_caller]
fn connected(builder: MemcacheStoreBuilder) -> MemcacheStore {
    shows_no_secret(&format!("{builder:?} {builder:#?}"));
    let store = match builder.connect() {
        Ok(store) => store,
        Err(error) => panic!("{}", chain(&error)),
    };
    works(&store);
    store
}

/// With all but slashes encoded.
fn percent_encoded(text: &str) -> String {
    let encoded = |byte| if byte == b'/' { "/".to_owned() } else { format!("%{byte:02X}") };
    text.bytes().map(encoded).collect::<Vec<_>>().concat()
}

/// Forwards connections of a listener to a port of 127.0.0.1, as long as the test process lives.
fn forward(listener: TcpListener, to: u16) -> u16 {
    let port = listener.local_addr().unwrap().port();
    impostor_on(listener, move |client| tunnel(&client, &TcpStream::connect(("127.0.0.1", to))?));
    port
}

/// Passes everything between a client and a server, until one of them ends it.
fn tunnel(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let copied = io::copy(&mut from_client, &mut to_server);
        to_server.shutdown(Shutdown::Write).and(copied)
    });
    io::copy(&mut &*server, &mut &*client)?;
    client.shutdown(Shutdown::Write)
}

/// A server that does this with each connection. Returns its port.
fn impostor(act: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    impostor_on(listener, act);
    port
}

fn impostor_on(listener: TcpListener, act: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let act = act.clone();
            // If this fails, the peer is the reason.
            thread::spawn(move || stream.and_then(act));
        }
    });
}

/// Changes a text in the next piece of replies, which has to be there.
fn instead_of(old: &'static str, new: &'static str) -> Behaviour {
    Behaviour::Edit(Box::new(move |piece| {
        let at = piece.windows(old.len()).position(|part| part == old.as_bytes()).unwrap();
        piece.splice(at..at + old.len(), new.bytes());
    }))
}

/// Configures stores in every way, and makes them fail. Nothing that they show contains a secret: `chain` checks everything.
#[test]
fn no_secret_is_shown() {
    let server = Memcached::start_as(Kind::WithPassword, &["-m8", "-M"]);
    let store = connected(patient().url(server.url()));
    let value = "v-hush".repeat(1000);
    let large = "v-hush".repeat(100_000);
    let mut errors = vec![
        store.put("k", "hush".repeat(1 << 19)).unwrap_err(),
        store.put_with_ttl("k", &*value, Duration::MAX).unwrap_err(),
        store.copy("absent", "k").unwrap_err(),
        store.open("absent").unwrap_err(),
        store.put_from("k", "hush".repeat(1 << 19).as_bytes()).unwrap_err(),
        (0..100).find_map(|number| store.put(format!("k{number}"), &*large).err()).unwrap(),
        store.put_many([("m", &*large), ("n", &*large)]).unwrap_err(),
        store.create("o", &*large).unwrap_err(),
    ];
    let hurried = MemcacheStore::builder().url(server.url()).response_timeout(Duration::from_millis(50));
    let in_use = connected(hurried.clone().response_timeout(Duration::from_secs(1)));
    server.pause();
    errors.push(hurried.connect_timeout(Duration::from_millis(50)).connect().unwrap_err());
    errors.push(in_use.put("k", &*value).unwrap_err());
    server.resume();
    server.kill();
    errors.push(store.put("k", &*value).unwrap_err());
    errors.push(store.get_many(["k"]).unwrap_err());
    for error in errors {
        assert!(!chain(&error).is_empty());
    }
}
