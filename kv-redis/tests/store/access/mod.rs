//! Access to a server: TLS, users and passwords, unix sockets. And that no secret is shown.

#![cfg(feature = "tls")]

use std::error::Error as _;

use std::os::unix::fs::symlink;
use std::process::Command;

use std::time::{Duration, Instant};
use std::{env, fs, thread};

use kv_redis::{Error, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Tls, Ttl};

mod secrets;
mod sockets;
mod tls;
mod users;

use crate::support::{self, PATIENCE, Redis, TlsClients};

/// The default limit for connecting, one second, and what a busy machine adds.
const WITHIN: Duration = Duration::from_millis(1000 + 1500);

/// A part of every password here.
const HUSH: &str = "hush";

fn patient() -> RedisStoreBuilder {
    RedisStore::builder().pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// Checks that a text shows no password and no part of a private key, in any form.
#[track_caller]
fn shows_no_secret(shown: &str) {
    for secret in [HUSH, "PRIVATE KEY", "%68ush", "104, 117, 115, 104"] {
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
fn refused(builder: RedisStoreBuilder) -> (Error, String) {
    shows_no_secret(&format!("{builder:?} {builder:#?}"));
    let begin = Instant::now();
    let error = builder.connect().unwrap_err();
    let took = begin.elapsed();
    let text = chain(&error);
    assert!(took < WITHIN, "{took:?}: {text}");
    (error, text)
}

#[track_caller]
fn works(store: &RedisStore) {
    shows_no_secret(&format!("{store:?} {store:#?}"));
    // Not a closure: `track_caller` has to name the caller.
    if let Err(error) = store.put("works", "v") {
        panic!("{}", chain(&error));
    }
    assert_eq!(store.get("works").unwrap().as_deref(), Some(&b"v"[..]));
    assert!(store.delete("works").unwrap());
}

/// With all but slashes encoded.
fn percent_encoded(text: &str) -> String {
    let encoded = |byte| if byte == b'/' { "/".to_owned() } else { format!("%{byte:02X}") };
    text.bytes().map(encoded).collect::<Vec<_>>().concat()
}

fn connections(redis: &Redis) -> u64 {
    redis.info("total_connections_received").unwrap().parse().unwrap()
}
