//! A cluster: which node has which keys, and what happens while that changes.

#![cfg(feature = "cluster")]

use std::collections::BTreeSet;

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use std::thread;
use std::time::{Duration, Instant};

use kv_redis::{Error, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Remaining, Ttl};

mod discovery;
mod failures;
mod listings;
mod migrations;
mod routing;

use crate::support::{self, PATIENCE, Redis, RedisCluster, chain, timed, wait_until};

/// The three default limits, one second each, and what a busy machine adds.
const WITHIN: Duration = Duration::from_millis(3000 + 1500);

/// A TTL that does not expire during a test, and the least that is left of it then.
const LONG: Duration = Duration::from_secs(10_000);

const NEARLY_LONG: Duration = Duration::from_secs(9_000);

fn patient() -> RedisStoreBuilder {
    RedisStore::builder().pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

fn connect(cluster: &RedisCluster) -> RedisStore {
    patient().cluster(cluster.urls()).connect().unwrap()
}

type ActOn = fn(&RedisStore, &str) -> Result<(), Error>;

/// For each node, a hash tag whose keys the node has.
fn tags<const N: usize>(cluster: &RedisCluster) -> [String; N] {
    std::array::from_fn(|node| {
        let tags = (0..).map(|number| format!("{{{number}}}"));
        tags.into_iter().find(|tag| cluster.primary_of_slot(cluster.slot_of(tag)) == node).unwrap()
    })
}

/// What a node has counted: `calls` of a command, and so on.
fn counted(node: &Redis, line: &str, what: &str) -> u64 {
    let line = node.info(line).unwrap_or_default();
    let count = line.split(',').find_map(|field| field.strip_prefix(what)?.strip_prefix('='));
    count.map_or(0, |count| count.parse().unwrap())
}

/// Whether servers count the errors that they answer with.
fn counts_errors() -> bool {
    support::is_since((6, 2, 0))
}

fn redirections(cluster: &RedisCluster, kind: &str) -> u64 {
    cluster.nodes().iter().map(|node| counted(node, &format!("errorstat_{kind}"), "count")).sum()
}

fn forget_counts(cluster: &RedisCluster) {
    for node in cluster.nodes() {
        node.command(&["CONFIG", "RESETSTAT"]);
    }
}

type Act = fn(&RedisStore) -> Result<(), Error>;

fn check_ttl(store: &RedisStore, key: &str, remaining: bool) {
    match store.ttl(key).unwrap() {
        Some(Remaining::For(left)) => assert!(remaining && left > NEARLY_LONG && left <= LONG, "{key}: {left:?}"),
        other => assert!(!remaining && other == Some(Remaining::Forever), "{key}: {other:?}"),
    }
}
