//! A listing of kv-redis gives the keys that begin with its prefix, whatever bytes that is made of, and no others (K4): by what
//! redis documents of its patterns, and on a real server.
//!
//! The input is lines: a prefix, then keys. A key that begins with a `+` goes on after the prefix.

#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use kv_conformance::server::Server;
use kv_core::{Key, KeyBuf, KeyValueStoreExt, Prefix};
use kv_redis::RedisStore;
use libfuzzer_sys::fuzz_target;

#[path = "../../../kv-redis/src/protocol/pattern.rs"]
mod pattern;

/// A real server, and a store on it. Killed with this process.
static REDIS: LazyLock<(Server, [RedisStore; 2])> = LazyLock::new(|| {
    let server = Server::builder("redis-server")
        .debian_package("redis-server")
        .args(|sandbox| ["--port".into(), sandbox.port().to_string(), "--save".into(), String::new()])
        .start()
        .expect("a server");
    let url = format!("redis://127.0.0.1:{}", server.sandbox().port());
    let stores = ["", "n*[?"].map(|name| RedisStore::builder().url(&url).namespace(name).connect().expect("a store"));
    (server, stores)
});

/// Whether a text matches a pattern as [the documentation of `KEYS`](https://redis.io/docs/latest/commands/keys/) has it.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], _) => text.is_empty(),
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| matches(rest, &text[skipped..])),
        ([b'?', rest @ ..], [_, others @ ..]) => matches(rest, others),
        ([b'[', set @ ..], [byte, others @ ..]) => {
            let (is_in, rest) = is_in_set(set, *byte);
            is_in && matches(rest, others)
        }
        ([b'\\', literal, rest @ ..] | [literal, rest @ ..], [byte, others @ ..]) => {
            literal == byte && matches(rest, others)
        }
        (_, []) => false,
    }
}

/// Whether a byte is in the set that begins here, after its `[`; and what comes after the set.
fn is_in_set(set: &[u8], byte: u8) -> (bool, &[u8]) {
    let (is_inverted, mut set) = set.strip_prefix(b"^").map_or((false, set), |set| (true, set));
    let mut is_in = false;
    loop {
        set = match set {
            [] => break,
            [b']', rest @ ..] => {
                set = rest;
                break;
            }
            [b'\\', literal, rest @ ..] => {
                is_in |= *literal == byte;
                rest
            }
            [first, b'-', last, rest @ ..] => {
                is_in |= (*first.min(last)..=*first.max(last)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                is_in |= *literal == byte;
                rest
            }
        };
    }
    (is_in != is_inverted, set)
}

fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let Ok(prefix) = Prefix::new(lines.next().unwrap_or_default()) else { return };
    let keys = lines
        .take(20)
        .map(|line| line.strip_prefix('+').map_or_else(|| line.to_owned(), |rest| format!("{prefix}{rest}")))
        .filter_map(|key| KeyBuf::new(key).ok())
        .collect::<BTreeSet<_>>();
    let pattern = pattern::of_prefix(prefix.as_bytes());
    for key in &keys {
        assert_eq!(matches(&pattern, key.as_bytes()), key.starts_with(&*prefix), "{pattern:?} {key}");
    }
    // The last byte changed is another prefix.
    if let Some((last, others)) = prefix.as_bytes().split_last() {
        for other in (0x21..=0x7E).filter(|other| other != last) {
            assert!(!matches(&pattern, &[others, &[other]].concat()), "{pattern:?} {other}");
        }
    }
    assert!(matches(&pattern, prefix.as_bytes()) && matches(&pattern, &[prefix.as_bytes(), b"*"].concat()));

    if prefix.len() > Key::MAX_LEN || keys.is_empty() {
        return;
    }
    let expected = keys.iter().filter(|key| key.starts_with(&*prefix)).collect::<Vec<_>>();
    // The one without a namespace sees also what is in namespaces, so it comes when the other has cleaned up.
    for store in REDIS.1.iter().rev() {
        store.put_many(keys.iter().map(|key| (key, ""))).expect("a server that answers");
        let mut listed = store.keys(prefix).and_then(Iterator::collect::<Result<Vec<_>, _>>).expect("a listing");
        listed.sort();
        assert!(listed.iter().eq(expected.iter().copied()), "{prefix}: {listed:?} and not {expected:?}");
        let deleted = store.delete_many(&keys).expect("a server that answers");
        assert!(deleted.into_iter().all(|was_there| was_there));
    }
});
