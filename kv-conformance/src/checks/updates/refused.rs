//! Section 12: values that are too large and TTLs that are too long.

use kv_core::{Bytes, Capability, Error, KeyValueStoreExt, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{OldEntry, expect_stored, largest_length, refused_ttl, version_of};
use crate::checks::updates::holding::expect_holds;
use crate::running::{Context, NotPassed, Outcome, expect, expect_eq, expect_error};

checks![
    v3_a_conditional_write_over_the_limit_changes_nothing,
    v3_a_create_versioned_over_the_limit_stores_nothing,
    t4_a_conditional_write_with_a_refused_ttl_changes_nothing,
    t4_a_create_versioned_with_a_refused_ttl_stores_nothing,
    t4_a_get_and_touch_with_a_refused_ttl_changes_nothing,
    t4_an_increment_with_a_refused_ttl_changes_nothing,
];

/// A value of one byte more than the store takes for any key.
fn too_large(context: &Context<'_>) -> Outcome<Bytes> {
    let limit = largest_length(context)?;
    // For a short key it may be more.
    let size = usize::try_from(limit.saturating_add(4096)).map_err(NotPassed::failed)?;
    // Only its length counts, so the operating system never has to provide the memory.
    Ok(vec![0; size].into())
}

#[track_caller]
fn expect_too_large<T: std::fmt::Debug>(what: &str, got: Result<T, Error>, key: &str, size: usize) -> Outcome {
    let error = expect_error(what, got, "ValueTooLarge", |error| matches!(error, Error::ValueTooLarge { .. }))?;
    expect_eq(format_args!("the key in the error of {what}"), error.key(), Some(key))?;
    match error {
        Error::ValueTooLarge { size: told, .. } => {
            expect_eq(format_args!("the size in the error of {what}"), told, size as u64)
        }
        _ => Ok(()),
    }
}

#[track_caller]
fn expect_invalid_ttl<T: std::fmt::Debug>(what: &str, got: Result<T, Error>, key: &str) -> Outcome {
    let error = expect_error(what, got, "InvalidTtl", |error| matches!(error, Error::InvalidTtl { .. }))?;
    expect_eq(format_args!("the key in the error of {what}"), error.key(), Some(key))
}

/// Replaces an entry, by its version, by a value that is too large: it is refused, value and TTL stay, and the version holds.
pub fn v3_a_conditional_write_over_the_limit_changes_nothing() -> Check {
    about(&["V3", "U1"]).needs(&[Capability::Versions]).run(|context| {
        let (store, value) = (context.store(), too_large(context)?);
        let old = OldEntry::put(context, "k")?;
        let version = version_of(store, "k", "old")?;
        let size = value.len();
        expect_too_large("put_if over the limit", store.put_if("k", value, Ttl::Default, &version), "k", size)?;
        old.expect_unchanged(context, "after put_if over the limit")?;
        expect_holds(store, "k", "new", &version, "the version from before a refused put_if").map(drop)
    })
}

/// Creates an entry with a value that is too large.
pub fn v3_a_create_versioned_over_the_limit_stores_nothing() -> Check {
    about(&["V3", "P4"]).needs(&[Capability::Versions, Capability::Create]).run(|context| {
        let (store, value) = (context.store(), too_large(context)?);
        let size = value.len();
        let created = store.create_versioned("k", value, Ttl::Default);
        expect_too_large("create_versioned over the limit", created, "k", size)?;
        expect("get after that", store.get("k"), None)?;
        expect_stored("create_versioned after that", store.create_versioned("k", "v", Ttl::Default)).map(drop)
    })
}

/// Replaces an entry, by its version, with a TTL that is too long: it is refused, value and TTL stay, and the version holds.
pub fn t4_a_conditional_write_with_a_refused_ttl_changes_nothing() -> Check {
    about(&["T4", "U1"]).needs(&[Capability::Versions, Capability::Ttls]).run(|context| {
        let (store, ttl) = (context.store(), refused_ttl(context)?);
        let old = OldEntry::put(context, "k")?;
        let version = version_of(store, "k", "old")?;
        expect_invalid_ttl("put_if with a TTL that is too long", store.put_if("k", "new", ttl, &version), "k")?;
        old.expect_unchanged(context, "after put_if with a TTL that is too long")?;
        expect_holds(store, "k", "new", &version, "the version from before a refused put_if").map(drop)
    })
}

/// Creates an entry with a TTL that is too long.
pub fn t4_a_create_versioned_with_a_refused_ttl_stores_nothing() -> Check {
    about(&["T4", "P4"]).needs(&[Capability::Versions, Capability::Create, Capability::Ttls]).run(|context| {
        let (store, ttl) = (context.store(), refused_ttl(context)?);
        let created = store.create_versioned("k", "v", ttl);
        expect_invalid_ttl("create_versioned with a TTL that is too long", created, "k")?;
        expect("get after that", store.get("k"), None)
    })
}

/// Reads an entry and gives it a TTL that is too long: it is refused, and the entry keeps its own.
pub fn t4_a_get_and_touch_with_a_refused_ttl_changes_nothing() -> Check {
    about(&["T4", "T6"]).needs(&[Capability::TouchingReads]).run(|context| {
        let (store, ttl) = (context.store(), refused_ttl(context)?);
        let old = OldEntry::put(context, "k")?;
        expect_invalid_ttl("get_and_touch with a TTL that is too long", store.get_and_touch("k", ttl), "k")?;
        old.expect_unchanged(context, "after get_and_touch with a TTL that is too long")
    })
}

/// Begins a counter with a TTL that is too long.
pub fn t4_an_increment_with_a_refused_ttl_changes_nothing() -> Check {
    about(&["T4", "U5"]).needs(&[Capability::Counters, Capability::Ttls]).run(|context| {
        let (store, ttl) = (context.store(), refused_ttl(context)?);
        expect_invalid_ttl("increment with a TTL that is too long", store.increment("k", 1, ttl), "k")?;
        expect("get after that", store.get("k"), None)?;
        expect("increment after that", store.increment("k", 2, Ttl::Default), 2)
    })
}
