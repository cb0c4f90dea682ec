//! What a store that keeps its data has to keep when it is closed, or when its server ends.

use std::time::Duration;

use kv_core::{Bytes, Capability, KeyValueStore, KeyValueStoreExt, Remaining, Ttl};

use super::listed::listed_by;
use super::versions::{expect_stored, version_of};
use crate::property::values::patterned;
use crate::running::{Context, Outcome, Time, expect, expect_eq, expect_that};

/// The expected value of a key.
type Want = (&'static str, Option<Bytes>);

/// Writes, overwrites, removes, copies and renames in every way that the store supports. Returns the expected entries.
pub(crate) fn change(context: &Context<'_>, store: &dyn KeyValueStore) -> Outcome<Vec<Want>> {
    let large = Bytes::from(patterned(context.size(70_000)));
    let mut want = Vec::<Want>::new();
    store.put("put", "v")?;
    store.put("over", "the old value, which was longer")?;
    store.put("over", "new")?;
    store.put("empty", "")?;
    store.put("bytes", &b"\0\r\n\xff"[..])?;
    store.put("large", &large)?;
    store.put_many([("many/1", "1"), ("many/2", "2"), ("deleted", "v"), ("deleted/many", "v"), ("again", "v")])?;
    store.put_from("from", &b"v"[..])?;
    expect("delete", store.delete("deleted"), true)?;
    expect("delete_many", store.delete_many(["deleted/many", "again"]), vec![true, true])?;
    store.put("again", "written again")?;
    let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    want.extend([("put", value("v")), ("over", value("new")), ("empty", value("")), ("from", value("v"))]);
    want.extend([("bytes", Some(Bytes::from_static(b"\0\r\n\xff"))), ("large", Some(large))]);
    want.extend([("many/1", value("1")), ("many/2", value("2")), ("again", value("written again"))]);
    want.extend([("deleted", None), ("deleted/many", None)]);
    if context.has(Capability::Create) {
        expect("create", store.create("created", "v"), true)?;
        expect("create of what is there", store.create("put", "other"), false)?;
        want.push(("created", value("v")));
    }
    if context.has(Capability::Versions) {
        store.put_many([("put_if", "old"), ("delete_if", "old")])?;
        let version = version_of(store, "put_if", "old")?;
        expect_stored("put_if", store.put_if("put_if", "new", Ttl::Default, &version))?;
        let version = version_of(store, "delete_if", "old")?;
        expect("delete_if", store.delete_if("delete_if", &version), true)?;
        want.extend([("put_if", value("new")), ("delete_if", None)]);
        if context.has(Capability::Create) {
            expect_stored("create_versioned", store.create_versioned("create_versioned", "v", Ttl::Default))?;
            want.push(("create_versioned", value("v")));
        }
    }
    if context.has(Capability::Take) {
        store.put("taken", "v")?;
        expect("take", store.take("taken"), value("v"))?;
        want.push(("taken", None));
    }
    if context.has(Capability::Counters) {
        store.put("counted", "9")?;
        expect("increment", store.increment("counted", 1, Ttl::Default), 10)?;
        expect("increment of an absent key", store.increment("counter", 7, Ttl::Default), 7)?;
        want.extend([("counted", value("10")), ("counter", value("7"))]);
    }
    if context.has(Capability::Copy) {
        store.put_many([("from/copy", "copied"), ("from/rename", "renamed"), ("to/rename", "old")])?;
        store.copy("from/copy", "to/copy")?;
        store.rename("from/rename", "to/rename")?;
        want.extend([("from/copy", value("copied")), ("to/copy", value("copied"))]);
        want.extend([("from/rename", None), ("to/rename", value("renamed"))]);
    }
    Ok(want)
}

/// Checks that the entries that [`change`] left are there, are listed, and make a create fail.
pub(crate) fn expect_changed(context: &Context<'_>, store: &dyn KeyValueStore, want: &[Want], after: &str) -> Outcome {
    for (key, want) in want {
        expect(format_args!("get({key:?}) after {after}"), store.get(key), want.clone())?;
    }
    if context.has(Capability::Listing) {
        let mut there = want.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| *key).collect::<Vec<_>>();
        there.sort_unstable();
        expect(format_args!("keys(\"\") after {after}"), listed_by(store, ""), there)?;
    }
    expect(format_args!("delete of what was deleted before {after}"), store.delete("deleted"), false)?;
    if context.has(Capability::Create) {
        let created = store.create("created", "other");
        expect(format_args!("create of what was created before {after}"), created, false)?;
    }
    store.put("put", "v")?;
    expect(format_args!("get after put after {after}"), store.get("put"), Some("v".into()))
}

/// Entries with TTLs and without.
pub(crate) struct Given {
    lasting: Vec<&'static str>,
    forever: Vec<&'static str>,
    long: Duration,
    /// The TTL of the entry that expires meanwhile.
    pub(crate) short: Duration,
    /// When the first was given.
    at: Duration,
}

impl Given {
    /// Sets and removes TTLs in every way.
    pub(crate) fn to(context: &Context<'_>, store: &dyn KeyValueStore, time: &Time<'_>) -> Outcome<Self> {
        let (long, short, at) = (context.long(), context.short().min(context.long() / 2), time.now());
        let (mut lasting, mut forever) = (vec!["long", "many"], vec!["forever", "cleared"]);
        store.put_with_ttl("long", "v", long)?;
        store.put_many_with_ttl([("many", "v", Ttl::After(long)), ("forever", "v", Ttl::Forever)])?;
        store.put_with_ttl("cleared", "v", long)?;
        store.put_with_ttl("cleared", "v", Ttl::Forever)?;
        if context.has(Capability::Create) {
            expect("create with a TTL", store.create_with_ttl("created/long", "v", long), true)?;
            lasting.push("created/long");
        }
        if context.has(Capability::Touch) {
            store.put_many([("touched", "v"), ("kept", "v")])?;
            expect("touch", store.touch("touched", long), true)?;
            expect("touch", store.touch("kept", long), true)?;
            expect("touch for ever", store.touch("kept", Ttl::Forever), true)?;
            lasting.push("touched");
            forever.push("kept");
        }
        if context.has(Capability::TouchingReads) {
            store.put_many([("read", "v"), ("read/kept", "v")])?;
            expect("get_and_touch", store.get_and_touch("read", long), Some("v".into()))?;
            expect("get_and_touch", store.get_and_touch("read/kept", long), Some("v".into()))?;
            expect("get_and_touch for ever", store.get_and_touch("read/kept", Ttl::Forever), Some("v".into()))?;
            lasting.push("read");
            forever.push("read/kept");
        }
        if context.has(Capability::Versions) {
            store.put("put_if/long", "old")?;
            let version = version_of(store, "put_if/long", "old")?;
            expect_stored("put_if with a TTL", store.put_if("put_if/long", "v", long, &version))?;
            lasting.push("put_if/long");
        }
        if context.has(Capability::Copy) {
            store.put_with_ttl("original", "v", long)?;
            store.copy("original", "copy")?;
            store.rename("original", "renamed")?;
            lasting.extend(["copy", "renamed"]);
        }
        store.put_with_ttl("short", "v", short)?;
        Ok(Self { lasting, forever, long, short, at })
    }

    /// Expired entries have to be absent, live ones have to be there with their remaining TTL, and entries without a TTL have to stay for
    /// ever. The short TTL must be over.
    pub(crate) fn expect(
        &self,
        context: &Context<'_>,
        store: &dyn KeyValueStore,
        time: &Time<'_>,
        after: &str,
    ) -> Outcome {
        let Self { lasting, forever, long, short, at } = self;
        let resolution = context.capabilities().ttl_resolution();
        expect(format_args!("get of what has expired before {after}"), store.get("short"), None)?;
        for (keys, is_forever) in [(lasting, false), (forever, true)] {
            for key in keys {
                let got = store.get(key)?;
                let is_over =
                    || !is_forever && time.now().saturating_sub(*at) >= long.saturating_sub(Duration::from_millis(1));
                if is_over() {
                    continue;
                }
                expect_eq(format_args!("get({key:?}) after {after}"), got, Some("v".into()))?;
                if context.has(Capability::TtlReading) {
                    let left = store.ttl(key)?;
                    if is_over() {
                        continue;
                    }
                    let holds = match left {
                        Some(Remaining::Forever) => is_forever,
                        Some(Remaining::For(left)) => !is_forever && left <= long.saturating_sub(*short) + resolution,
                        None => false,
                    };
                    let want =
                        if is_forever { "for ever" } else { "what was left when it was closed, less what has passed" };
                    expect_that(format_args!("ttl({key:?}) after {after}"), holds, want, left)?;
                }
            }
        }
        Ok(())
    }
}
