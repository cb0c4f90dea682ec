//! Where a server is, and how it proves its identity: names with several addresses, announced addresses, certificates.

#![cfg(all(feature = "tls", feature = "cluster", feature = "sentinel"))]

mod certificates;
mod mapping;
mod names;

use std::time::{Duration, Instant};
use std::{fs, thread};

use kv_redis::{Error, KeyValueStore, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Tls};

use crate::support::{self, PATIENCE, Redis, RedisCluster, Sentinels, chain, timed};

/// The default limit for connecting, one second, and what a busy machine adds.
const WITHIN: Duration = Duration::from_millis(1000 + 1500);

fn patient() -> RedisStoreBuilder {
    RedisStore::builder().pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

#[track_caller]
fn works(store: &RedisStore) {
    if let Err(error) = store.put("works", "v") {
        panic!("{}", chain(&error));
    }
    assert_eq!(store.get("works").unwrap().as_deref(), Some(&b"v"[..]));
    assert!(store.delete("works").unwrap());
}

#[track_caller]
fn connected(builder: RedisStoreBuilder) -> RedisStore {
    match builder.connect() {
        Ok(store) => {
            works(&store);
            store
        }
        Err(error) => panic!("{}", chain(&error)),
    }
}

/// Why a store cannot connect.
#[track_caller]
fn refused(builder: RedisStoreBuilder) -> (Error, String) {
    let (error, took) = timed(|| builder.connect().unwrap_err());
    let text = chain(&error);
    assert!(took < WITHIN, "{took:?}: {text}");
    (error, text)
}
