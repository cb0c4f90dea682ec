//! The program whose instructions `scripts/instructions.sh` counts: `counts STORE OPERATION TIMES`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "it is a part of the tests")]

use std::env;
use std::hint::black_box;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use kv_memory::{Bytes, KeyValueStoreExt, MemoryStore};

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [who, what, times] = arguments.as_slice() else { panic!("counts STORE OPERATION TIMES") };
    let times = times.parse().unwrap();
    let (key, value) = (black_box("key"), Bytes::from(vec![b'v'; 100]));
    let store = MemoryStore::new();
    let map: DashMap<Box<str>, Bytes, RandomState> = DashMap::default();
    store.put(key, &value).unwrap();
    map.insert(key.into(), value.clone());
    match (who.as_str(), what.as_str()) {
        ("kv-memory", "get") => count(times, || drop(black_box(store.get(key).unwrap()))),
        ("kv-memory", "put") => count(times, || store.put(key, &value).unwrap()),
        ("dashmap", "get") => count(times, || drop(black_box(map.get(key).map(|value| value.clone())))),
        ("dashmap", "put") => count(times, || *map.get_mut(key).unwrap() = value.clone()),
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
