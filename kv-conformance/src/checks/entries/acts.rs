//! Everything that a thread can do with a store, each by itself: for the checks that something else is not in the way of it.

use std::io::Read;

use kv_core::{Bytes, Capability, Error, KeyValueStore, KeyValueStoreExt, Remaining, Ttl};

use super::versions::{expect_stored, version_of};
use crate::running::{Context, NotPassed, Outcome, expect, expect_bytes, expect_error, expect_that};

/// What can be done, and what the store has to be able to do for it.
const ACTS: &[(&str, &[Capability])] = &[
    ("put", &[]),
    ("put with a TTL", &[Capability::Ttls]),
    ("put with a zero TTL", &[Capability::Ttls]),
    ("put_many", &[]),
    ("put_many with TTLs", &[Capability::Ttls]),
    ("put_from", &[]),
    ("create", &[Capability::Create]),
    ("get", &[]),
    ("get of an absent key", &[]),
    ("get_many", &[]),
    ("get_each", &[]),
    ("open", &[]),
    ("get_into", &[]),
    ("delete", &[]),
    ("delete_many", &[]),
    ("contains", &[Capability::Contains]),
    ("ttl", &[Capability::TtlReading]),
    ("touch", &[Capability::Touch]),
    ("copy", &[Capability::Copy]),
    ("rename", &[Capability::Copy]),
    ("put_if", &[Capability::Versions]),
    ("delete_if", &[Capability::Versions]),
    ("create_versioned", &[Capability::Versions, Capability::Create]),
    ("take", &[Capability::Take]),
    ("get_and_touch", &[Capability::TouchingReads]),
    ("increment", &[Capability::Counters]),
    ("keys", &[Capability::Listing]),
    ("prefixes", &[Capability::Listing]),
];

/// How many operations one of them is, more or less.
pub(crate) const OPERATIONS: usize = 3;

/// The names of what can be done with this store.
pub(crate) fn acts(context: &Context<'_>) -> impl Iterator<Item = &'static str> {
    let acts = ACTS.iter().filter(|(_, needs)| needs.iter().all(|&need| context.has(need)));
    acts.map(|(act, _)| *act)
}

/// Does one of them with keys that begin in this way, which were absent before, and with this value: it has to work. `when` says what is in
/// its way.
pub(crate) fn act(
    context: &Context<'_>,
    store: &dyn KeyValueStore,
    act: &str,
    prefix: &str,
    value: &[u8],
    when: &str,
) -> Outcome {
    let what = format!("{act} {when}");
    let (key, other) = (format!("{prefix}a"), format!("{prefix}b"));
    let want = || Some(Bytes::copy_from_slice(value));
    let is_there = |key: &str| expect(format_args!("get after {what}"), store.get(key), want());
    let put = || store.put(&key, value);
    match act {
        "put" => {
            expect(&what, put(), ())?;
            is_there(&key)
        }
        "put with a TTL" => {
            let (put, end) =
                context.expiring(context.long(), || Ok(store.put_with_ttl(&key, value, context.long())))?;
            expect(&what, put, ())?;
            context.while_live(end, || is_there(&key))
        }
        "put with a zero TTL" => {
            expect(&what, store.put_with_ttl(&key, value, Ttl::After(std::time::Duration::ZERO)), ())
        }
        "put_many" => {
            expect(&what, store.put_many([(&key, value), (&other, value)]), ())?;
            is_there(&other)
        }
        "put_many with TTLs" => {
            let entries = [(&key, value, Ttl::Forever), (&other, value, Ttl::After(context.long()))];
            expect(&what, store.put_many_with_ttl(entries), ())?;
            is_there(&key)
        }
        "put_from" => {
            expect(&what, store.put_from(&key, value), ())?;
            is_there(&key)
        }
        "create" => {
            expect(&what, store.create(&key, value), true)?;
            expect(format_args!("{what}, again"), store.create(&key, value), false)
        }
        "create_versioned" => {
            let version = expect_stored(&what, store.create_versioned(&key, value, Ttl::Default))?;
            is_there(&key)?;
            expect(format_args!("delete_if after {what}"), store.delete_if(&key, &version), true)
        }
        "increment" => expect(&what, store.increment(&key, 7, Ttl::Default), 7),
        act => do_with_what_is_there(context, store, act, prefix, value, &what),
    }
}

/// As [`act`], of the acts that need an entry, which is put first.
fn do_with_what_is_there(
    context: &Context<'_>,
    store: &dyn KeyValueStore,
    act: &str,
    prefix: &str,
    value: &[u8],
    what: &str,
) -> Outcome {
    let (key, other, absent) = (format!("{prefix}a"), format!("{prefix}b"), format!("{prefix}absent"));
    let want = || Some(Bytes::copy_from_slice(value));
    let is_there = |key: &str| expect(format_args!("get after {what}"), store.get(key), want());
    store.put(&key, value)?;
    match act {
        "get" => expect(what, store.get(&key), want()),
        "get of an absent key" => expect(what, store.get(&absent), None),
        "get_many" => expect(what, store.get_many([&absent, &key]), vec![None, want()]),
        "get_each" => {
            let each = store.get_each([&key, &absent]).into_iter().collect::<Result<Vec<_>, _>>();
            expect(what, each, vec![want(), None])
        }
        "open" => {
            let mut read = Vec::new();
            store.open(&key)?.read_to_end(&mut read).map_err(NotPassed::failed)?;
            expect_bytes(what, read, value)
        }
        "get_into" => {
            let mut written = Vec::new();
            expect(what, store.get_into(&key, &mut written), value.len() as u64)?;
            expect_bytes(what, written, value)
        }
        "delete" => expect(what, store.delete(&key), true),
        "delete_many" => expect(what, store.delete_many([&key, &absent]), vec![true, false]),
        "contains" => expect(what, store.contains(&key), true),
        "ttl" => expect(what, store.ttl(&key), Some(Remaining::Forever)),
        "touch" => expect(what, store.touch(&key, context.long()), true),
        "copy" => {
            expect(what, store.copy(&key, &other), ())?;
            is_there(&other)
        }
        "rename" => {
            expect(what, store.rename(&key, &other), ())?;
            is_there(&other)?;
            let is_not_found = |error: &Error| matches!(error, Error::NotFound { .. });
            expect_error(what, store.rename(&absent, &other), "NotFound", is_not_found).map(drop)
        }
        "put_if" => {
            let version = version_of(store, &key, value)?;
            expect_stored(what, store.put_if(&key, "new", Ttl::Default, &version)).map(drop)
        }
        "delete_if" => {
            let version = version_of(store, &key, value)?;
            expect(what, store.delete_if(&key, &version), true)
        }
        "take" => expect(what, store.take(&key), want()),
        "get_and_touch" => expect(what, store.get_and_touch(&key, Ttl::Forever), want()),
        listing => {
            let keys = if listing == "keys" { store.keys(prefix) } else { store.prefixes("/", prefix) };
            let keys = keys?.collect::<Result<Vec<_>, _>>()?;
            expect_that(what, keys.iter().any(|listed| *listed == *key), &format!("{key:?} among them"), keys)
        }
    }
}
