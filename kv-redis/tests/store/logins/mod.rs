//! How a store logs in: where user and password come from, how a server reacts, and which server an error names.

#![cfg(all(feature = "tls", feature = "cluster", feature = "sentinel"))]

use std::io::{Read, Write};

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use std::sync::{Arc, Mutex};
use std::thread;

use kv_redis::{Credentials, Error, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Tls};
use std::time::Duration;

mod names;
mod providers;
mod refusals;
mod settings;

use crate::support::{self, PATIENCE, Redis, TlsClients, chain};

fn patient() -> RedisStoreBuilder {
    RedisStore::builder().pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

fn on(url: impl Into<String>) -> RedisStoreBuilder {
    patient().url(url)
}

#[track_caller]
fn works(builder: RedisStoreBuilder) {
    match builder.connect() {
        Ok(store) => store.put("k", "v").unwrap(),
        Err(error) => panic!("{}", chain(&error)),
    }
}

/// Checks that no store can be made, and the words that say why.
#[track_caller]
fn says(builder: &RedisStoreBuilder, words: &str) -> Error {
    let error = builder.clone().connect().unwrap_err();
    let text = chain(&error);
    assert!(text.contains(words), "{words:?} is not in {text}");
    assert!(!format!("{builder:?} {error:?} {text}").contains("hush"), "{builder:?} {error:?} {text}");
    error
}
