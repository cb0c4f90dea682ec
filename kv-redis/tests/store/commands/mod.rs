//! Which commands a server gets: each row of the table in `src/protocol/commands.rs`, on any server. A newer server loses a command by
//! another version in its `INFO`, by `rename-command`, or by the permissions of a user.

#![cfg(feature = "cluster")]

use std::collections::BTreeSet;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use std::thread;
use std::time::{Duration, Instant};

use kv_redis::{Error, KeyValueStore, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Remaining, Ttl, r2d2, redis};

mod copies;
mod listings;
mod refusals;
mod renames;
mod updates;
mod versions;

use crate::support::{self, PATIENCE, RENAMED_INFO, Redis, RedisCluster, can_test, chain, is_since, wait_until};

const LONG: Duration = Duration::from_secs(10_000);

fn patient() -> RedisStoreBuilder {
    RedisStore::builder().pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// A proxy that replaces texts in what the server sends by others of the same length. Returns its URL.
fn seen_as(redis: &Redis, edits: Vec<(String, String)>) -> String {
    for (old, new) in &edits {
        assert_eq!(old.len(), new.len(), "{old} {new}");
    }
    let (listener, server) = (TcpListener::bind("127.0.0.1:0").unwrap(), redis.address());
    let url = redis.url().replace(&server, &listener.local_addr().unwrap().to_string());
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
            let (edits, mut from, mut to) = (edits.clone(), server, client);
            thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(read) = from.read(&mut buffer) {
                    let mut bytes = buffer[..read].to_vec();
                    for (old, new) in &edits {
                        for at in 0..bytes.len().saturating_sub(old.len()) {
                            if bytes[at..].starts_with(old.as_bytes()) {
                                bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
                            }
                        }
                    }
                    if read == 0 || to.write_all(&bytes).is_err() {
                        let _ = to.shutdown(std::net::Shutdown::Both);
                        break;
                    }
                }
            });
        }
    });
    url
}

/// The replacements that make a server tell a version of redis with this beginning, such as `5.0.`.
fn version(redis: &Redis, begin: &str) -> (String, String) {
    let own = redis.info("redis_version").unwrap();
    let other = format!("{begin}{}", "9".repeat(own.len() - begin.len()));
    (format!("redis_version:{own}"), format!("redis_version:{other}"))
}

/// The replacements that hide whether a server is a node of a cluster.
fn mode_hidden() -> Vec<(String, String)> {
    ["redis", "server"].map(|name| (format!("{name}_mode:"), format!("{name}_mood:"))).into()
}

/// Makes a user without some permissions. Returns the URL with this user.
pub(crate) fn user(redis: &Redis, url: &str, without: &[&str]) -> String {
    // A right to a command that the server does not have is an error.
    let has = |right: &&&str| {
        right.starts_with("-@")
            || redis.command(&["COMMAND", "INFO", &right[1..]]) != redis.command(&["COMMAND", "INFO", "no-such"])
    };
    let without = without.iter().filter(has).copied().collect::<Vec<_>>();
    redis.command(&[&["ACL", "SETUSER", "app", "reset", "on", ">secret", "~*", "+@all"][..], &without].concat());
    url.replace("redis://", "redis://app:secret@")
}

/// A server without `COPY`, which it may never have had.
fn without_copy() -> Redis {
    Redis::start(if is_since((6, 2, 0)) { &["--rename-command", "COPY", ""] } else { &[] })
}

fn calls(redis: &Redis, commands: &[&str]) -> Vec<u64> {
    commands.iter().map(|command| redis.count_of_calls(command)).collect()
}

fn listed(store: &RedisStore) -> BTreeSet<String> {
    let keys: Vec<_> = store.keys("").unwrap().map(|key| key.unwrap().to_string()).collect();
    let set: BTreeSet<_> = keys.iter().cloned().collect();
    assert_eq!(set.len(), keys.len());
    set
}

/// Servers each of which lacks something: a name, and the URL.
fn servers(redis: &Redis) -> Vec<(&'static str, String)> {
    let mut servers = vec![("as it is", redis.url())];
    for (name, begin) in [("said to be 3.0", "3.0."), ("said to be 5.0", "5.0."), ("said to be 6.0", "6.0.")] {
        if is_since((6, 2, 0)) {
            servers.push((name, seen_as(redis, vec![version(redis, begin)])));
        }
    }
    if is_since((6, 0, 0)) {
        servers.push(("without EVAL", user(redis, &redis.url(), &["-eval"])));
        servers.push((
            "said to be 5.0, without EVAL",
            user(redis, &seen_as(redis, vec![version(redis, "5.0.")]), &["-eval"]),
        ));
    }
    servers
}

/// Runs the same on a store on each of them, over each kind of connection.
fn on_each(redis: &Redis, act: impl Fn(&str, &RedisStore)) {
    for (name, url) in servers(redis) {
        let builder = patient().url(&url).namespace("ns");
        act(name, &builder.clone().connect().unwrap());
        act(&format!("{name}, not connected before"), &builder.clone().build().unwrap());
        act(&format!("{name}, shared connections"), &builder.clone().shared_connections(1).connect().unwrap());
        let pool = r2d2::Pool::builder().test_on_check_out(false).max_size(2);
        let pool = pool.build(redis::Client::open(&*url).unwrap()).unwrap();
        act(&format!("{name}, pool of the application"), &builder.build_on_pool(pool).unwrap());
    }
}
