//! What `RedisStore` does on one real server, beyond the shared suite: its commands and round trips, foreign data, and its limits.

mod names;
mod persistence;
mod pool;
mod refusals;
mod round_trips;
mod shared;
mod silence;
mod sizes;
mod ttls;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::error::Error as _;
use std::fmt::{Debug, Write as _};
use std::io::{self, Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kv_redis::{
    Bytes, Capability, Error, Key, KeyValueStore, KeyValueStoreExt, RedisStore, RedisStoreBuilder, Remaining, Ttl,
};
use redis::{Connection, FromRedisValue, Value};

use crate::support::{self, DURABLE_OVER_KILL, PATIENCE, Redis, wait_until};

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

/// The most keys of a batch in one round trip.
const CHUNK: usize = 1024;

/// Calls of commands, by their names.
type Calls = BTreeMap<String, u64>;

fn builder(url: impl Into<String>) -> RedisStoreBuilder {
    let builder = RedisStore::builder().url(url);
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

fn open(redis: &Redis) -> RedisStore {
    builder(redis.url()).connect().unwrap()
}

/// Sends a command and converts the reply.
#[track_caller]
fn ask<T: FromRedisValue>(redis: &Redis, command: &[&str]) -> T {
    redis::from_redis_value(redis.command(command)).unwrap()
}

/// The calls of all clients while something runs.
fn calls_of(redis: &Redis, what: impl FnOnce()) -> Calls {
    redis.command(&["CONFIG", "RESETSTAT"]);
    what();
    let stats: String = ask(redis, &["INFO", "commandstats"]);
    let call = |line: &str| {
        let (name, stats) = line.trim().strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let own = name == "config" || name == "config|resetstat";
        (!own).then(|| (name.to_owned(), stats.split(',').next().unwrap().parse().unwrap()))
    };
    stats.lines().filter_map(call).collect()
}

fn calls<const N: usize>(calls: [(&str, usize); N]) -> Calls {
    calls.map(|(name, count)| (name.to_owned(), count as u64)).into()
}

/// How many connections there are to a database other than 0, which nobody but a store of the test uses.
fn connections_to(redis: &Redis, database: u16) -> usize {
    count_connections(&mut redis.connection(), database)
}

fn count_connections(connection: &mut Connection, database: u16) -> usize {
    let clients: String = redis::cmd("CLIENT").arg("LIST").query(connection).unwrap();
    clients.lines().filter(|client| client.split(' ').any(|field| field == format!("db={database}"))).count()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("key-{number:06}")).collect()
}

/// What a listing yields, each key once.
#[track_caller]
fn listed(store: &RedisStore, prefix: &str) -> BTreeSet<String> {
    let keys: Vec<String> = store.keys(prefix).unwrap().map(|key| key.unwrap().into()).collect();
    let set: BTreeSet<_> = keys.iter().cloned().collect();
    assert_eq!(set.len(), keys.len(), "{prefix:?} gave a key twice");
    set
}

fn set<T: Into<String>>(keys: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    keys.into_iter().map(Into::into).collect()
}

/// Everything that an error shows: itself and its causes, by `Display` and `Debug`.
fn told(error: &Error) -> String {
    let mut text = format!("{error}\n{error:?}\n{error:#?}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, "{error}\n{error:?}\n{error:#?}\n").unwrap();
        cause = error.source();
    }
    text
}

fn cause_of(error: &Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// Bytes that are like no others of this length and seed.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(length);
    bytes
}
