//! A primary behind sentinels, and what happens when it changes.

#![cfg(feature = "sentinel")]

use std::collections::BTreeSet;

use std::net::TcpListener;
use std::sync::Barrier;

use std::thread;
use std::time::{Duration, Instant};

use kv_redis::{Error, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Ttl};

mod failover;
mod roles;
mod sentinels;

use crate::support::{PATIENCE, Redis, Sentinels, can_test, chain, replicaof, timed, wait_until};

/// What a busy machine adds to a limit.
const NOISE: Duration = Duration::from_millis(1500);

/// The three default limits, one second each.
const WITHIN: Duration = Duration::from_secs(3).saturating_add(NOISE);

/// The name of the primary in the test support.
const NAME: &str = "mymaster";

fn patient() -> RedisStoreBuilder {
    RedisStore::builder().pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Writes until that works, and returns the errors until then. They must be transient and within the limits.
fn write_until_it_works(store: &RedisStore, value: &str) -> Vec<Error> {
    let mut errors = Vec::new();
    wait_until(|| {
        let (result, took) = timed(|| store.put("k", value));
        assert!(took < WITHIN, "{took:?}: {result:?}");
        result.map_err(|error| {
            assert!(error.is_transient(), "{}", chain(&error));
            let text = chain(&error);
            errors.push(error);
            text
        })
    });
    errors
}

fn value(store: &RedisStore) -> String {
    String::from_utf8(store.get("k").unwrap().unwrap().to_vec()).unwrap()
}

/// The ids of a server's clients, without replicas, sentinels and the asking connection.
fn clients(redis: &Redis) -> BTreeSet<u64> {
    let list: String = redis::from_redis_value(redis.command(&["CLIENT", "LIST"])).unwrap();
    let field = |line: &str, name: &str| line.split(' ').find_map(|field| field.strip_prefix(name).map(String::from));
    let is_own = |line: &&str| {
        // `client|list` since redis 7; the name is that of a sentinel, and other flags are those of a replica, a primary, a subscriber.
        let is_asking = field(line, "cmd=").unwrap_or_default().starts_with("client");
        let is_normal = !field(line, "flags=").unwrap_or_default().contains(['S', 'M', 'P']);
        is_normal && !is_asking && !line.contains("name=sentinel")
    };
    list.lines().filter(is_own).map(|line| line.split(['=', ' ']).nth(1).unwrap().parse().unwrap()).collect()
}

/// Waits until a server has this many clients. It may not have noticed yet that a connection of the test was closed.
fn wait_for_clients(redis: &Redis, count: usize) -> BTreeSet<u64> {
    wait_until(|| {
        let now = clients(redis);
        if now.len() == count { Ok(now) } else { Err(format!("not {count} clients: {now:?}")) }
    })
}

fn wait_for_replication(sentinels: &Sentinels) {
    wait_until(|| {
        let sent = sentinels.primary().info("master_repl_offset");
        let received = sentinels.replica().info("slave_repl_offset");
        if sent == received { Ok(()) } else { Err(format!("{received:?} of {sent:?} bytes have arrived")) }
    });
}
