//! Section 11: what a store says that it can do, and what it opts out of.

use std::time::Duration;

use kv_core::{Capability, Error, KeyValueStore, KeyValueStoreExt, Ttl};

use super::{BYSTANDER, Check, checks};
use crate::context::Context;
use crate::failure::{NotPassed, Outcome, expect, expect_eq, expect_error};

checks! {
    o1_capabilities_are_those_that_were_not_opted_out_of [O1];
    o1_capabilities_are_always_the_same [O1];
    o2_a_lifetime_is_not_taken_where_there_are_none [O2];
}

/// Compares `capabilities()` with the opt-outs: what was opted out of must not be promised, what was not has to be.
pub fn o1_capabilities_are_those_that_were_not_opted_out_of(context: &Context<'_>) -> Outcome {
    let capabilities = context.capabilities();
    for &capability in Capability::ALL {
        let what = format!(
            "whether capabilities() says that the store supports {capability}, which {} opted out of",
            if context.has(capability) { "was not" } else { "was" }
        );
        expect_eq(what, capabilities.supports(capability), context.has(capability))?;
    }
    Ok(())
}

/// Asks twice, with work in between, and through a second handle if there is one.
pub fn o1_capabilities_are_always_the_same(context: &Context<'_>) -> Outcome {
    let store = context.store();
    let before = store.capabilities();
    store.put("k", "v")?;
    expect_eq("capabilities() after a put", store.capabilities(), before.clone())?;
    if let Ok(second) = context.second_handle() {
        expect_eq("capabilities() of a second handle", second.capabilities(), before)?;
    }
    Ok(())
}

/// Where lifetimes were opted out of: `Default` and `Forever` work, and `After` is refused by every operation that takes it.
pub fn o2_a_lifetime_is_not_taken_where_there_are_none(context: &Context<'_>) -> Outcome {
    if context.has(Capability::Lifetimes) {
        return Err(NotPassed::Ignored("the store has lifetimes".into()));
    }
    let store = context.store();
    expect("put with Default", store.put_with_ttl("k", "v", Ttl::Default), ())?;
    expect("put with Forever", store.put_with_ttl("k", "v", Ttl::Forever), ())
}

/// The check that verifies an opt-out.
pub(crate) fn opt_out_of(capability: Capability) -> Check {
    let (name, run): (_, fn(&Context<'_>) -> Outcome) = match capability {
        Capability::Listing => ("o3_opt_out_of_listing", |context| verify(context, Capability::Listing)),
        Capability::Contains => ("o3_opt_out_of_contains", |context| verify(context, Capability::Contains)),
        Capability::Create => ("o3_opt_out_of_create", |context| verify(context, Capability::Create)),
        Capability::Lifetimes => ("o3_opt_out_of_lifetimes", |context| verify(context, Capability::Lifetimes)),
        Capability::TtlReading => ("o3_opt_out_of_ttl_reading", |context| verify(context, Capability::TtlReading)),
        Capability::Touch => ("o3_opt_out_of_touch", |context| verify(context, Capability::Touch)),
        Capability::Copy => ("o3_opt_out_of_copy", |context| verify(context, Capability::Copy)),
        _ => ("o3_opt_out_of_something_unknown", |_| Err(NotPassed::failed("the suite does not know this capability"))),
    };
    Check { name, clauses: &["O3", "O2"], needs: &[], run }
}

/// The operations that were opted out of have to return `Unsupported`, with operation and store, and to change nothing.
fn verify(context: &Context<'_>, capability: Capability) -> Outcome {
    let store = context.store();
    let (bystander, unharmed) = BYSTANDER;
    store.put(bystander, unharmed)?;
    for (what, result) in opted_out(store, capability) {
        let what = format!("{what}, after an opt-out of {capability}");
        let error = expect_error(&what, result, "Unsupported", |error| matches!(error, Error::Unsupported { .. }))?;
        if let Error::Unsupported { operation, store: named, .. } = &error {
            expect_eq(format_args!("the operation in the error of {what}"), *operation, capability)?;
            expect_eq(format_args!("the store in the error of {what}"), &**named, store.name())?;
        }
        expect(format_args!("get of an entry after {what}"), store.get(bystander), Some(unharmed.into()))?;
        expect(format_args!("get of an absent key after {what}"), store.get("absent"), None)?;
    }
    Ok(())
}

/// The results of everything that a store without this lacks, on an entry and on an absent key.
fn opted_out(store: &dyn KeyValueStore, capability: Capability) -> Vec<(String, Result<(), Error>)> {
    let (bystander, _) = BYSTANDER;
    let mut results = Vec::new();
    for key in [bystander, "absent"] {
        let mut add = |what: &str, result: Result<(), Error>| results.push((format!("{what} of {key:?}"), result));
        let ttl = Ttl::After(Duration::from_secs(1000));
        match capability {
            Capability::Listing => {
                add("keys", store.keys(key).map(drop));
                add("prefixes", store.prefixes("/", key).map(drop));
            }
            Capability::Contains => add("contains", store.contains(key).map(drop)),
            Capability::Create => {
                add("create", store.create(key, "harmed").map(drop));
                add("create for ever", store.create_with_ttl(key, "harmed", Ttl::Forever).map(drop));
            }
            Capability::Lifetimes => {
                for ttl in [ttl, Ttl::After(Duration::ZERO), Ttl::After(Duration::MAX)] {
                    add(&format!("put with {ttl:?}"), store.put_with_ttl(key, "harmed", ttl));
                    add(&format!("put_many with {ttl:?}"), store.put_many_with_ttl([(key, "harmed", ttl)]));
                    add(&format!("put_from with {ttl:?}"), store.put_from_with_ttl(key, &b"harmed"[..], ttl));
                }
            }
            Capability::TtlReading => add("ttl", store.ttl(key).map(drop)),
            Capability::Touch => {
                for ttl in [ttl, Ttl::Forever, Ttl::Default, Ttl::After(Duration::ZERO)] {
                    add(&format!("touch with {ttl:?}"), store.touch(key, ttl).map(drop));
                }
            }
            Capability::Copy => {
                add("copy", store.copy(key, "other"));
                add("copy onto it", store.copy("other", key));
                add("copy to itself", store.copy(key, key));
                add("rename", store.rename(key, "other"));
                add("rename onto it", store.rename("other", key));
                add("rename to itself", store.rename(key, key));
            }
            _ => {}
        }
    }
    results
}
