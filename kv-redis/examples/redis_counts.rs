//! The program whose instructions `scripts/instructions.sh` counts, on a server that it starts: `counts STORE OPERATION TIMES`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "it is a part of the tests")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::env;
use std::hint::black_box;

use kv_redis::{KeyValueStoreExt, RedisStore, redis};
use support::{PATIENCE, Redis};

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [who, what, times] = arguments.as_slice() else { panic!("counts STORE OPERATION TIMES") };
    let times = times.parse().unwrap();
    let server = Redis::start(&[]);
    let store = RedisStore::builder().url(server.url()).response_timeout(PATIENCE).connect().unwrap();
    let mut bare = server.connection();
    let (key, value) = (black_box("key"), vec![b'v'; 100]);
    store.put(key, &value).unwrap();
    match (who.as_str(), what.as_str()) {
        ("kv-redis", "get") => count(times, || drop(black_box(store.get(key).unwrap()))),
        ("kv-redis", "put") => count(times, || store.put(key, &value).unwrap()),
        ("redis::Connection", "get") => {
            count(times, || drop(black_box(redis::cmd("GET").arg(key).query::<Vec<u8>>(&mut bare).unwrap())));
        }
        ("redis::Connection", "put") => {
            count(times, || redis::cmd("SET").arg(key).arg(&value).exec(&mut bare).unwrap());
        }
        other => panic!("{other:?}"),
    }
}

/// Warms up, and then runs the operation that is counted.
fn count(times: u32, mut act: impl FnMut()) {
    (0..100).for_each(|_| act());
    counted(times, &mut act);
}

/// The script knows the name of this function.
#[inline(never)]
fn counted(times: u32, act: &mut dyn FnMut()) {
    (0..times).for_each(|_| act());
}
