//! Section 11: the capabilities of a store, and its opt-outs.

use std::time::Duration;

use kv_core::{Capabilities, Capability, Error, Key, KeyValueStoreExt, Remaining, Ttl, Version};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{BYSTANDER, expect_remaining, expect_stored, version_of};
use crate::running::{Context, NotPassed, Outcome, expect, expect_eq, expect_error, expect_that, mismatch, show};

checks![
    o1_capabilities_are_those_that_were_not_opted_out_of,
    o1_capabilities_are_always_the_same,
    o1_a_second_handle_has_the_same_capabilities,
    o2_forever_is_accepted_without_ttls,
];

/// Compares `capabilities()` with the opt-outs: it has to promise every capability that was not opted out of, and no other.
pub fn o1_capabilities_are_those_that_were_not_opted_out_of() -> Check {
    about(&["O1"]).run(|context| {
    let (capabilities, scope) = (context.capabilities(), context.scope);
    let differ = |opted_out: bool| {
        let all = Capability::ALL.iter().copied();
        let differ = all.filter(|&of| scope.is_opted_out(of) == opted_out && capabilities.supports(of) == opted_out);
        differ.collect::<Vec<_>>()
    };
    let lines = |of: &[Capability], line: fn(Capability) -> String| of.iter().map(|&of| line(of)).collect::<String>();
    let (lacking, promised) = (differ(false), differ(true));
    if !lacking.is_empty() {
        let remedy = lines(&lacking, |of| format!("\n  {of}: .opt_out(Capability::{of:?}, \"why\") in the suite"));
        let found = mismatch(
            "what capabilities() lacks, and was not opted out of",
            &format!(
                "nothing. If the store cannot do it, say why:{remedy}\n  If it can, name it in capabilities(): .with(…)"
            ),
            &show(&lacking),
        );
        // It may be true.
        return Err(found.breaking(["O3"]));
    }
    let remedy = lines(&promised, |of| format!("\n  {of}: {}", either_way(of)));
    let want = format!("nothing{remedy}");
    expect_that("what capabilities() has, and was opted out of", promised.is_empty(), &want, &promised)
    })
}

/// What to do about an opt-out of something that the store supports.
fn either_way(of: Capability) -> String {
    format!("drop `.opt_out({of:?}, …)`, or have `capabilities()` not name it by `.with({of:?})`")
}

/// They have to be what they were before, but for a longest TTL that has become shorter.
#[track_caller]
fn expect_same(what: &str, got: &Capabilities, before: &Capabilities) -> Outcome {
    let all = |of: &Capabilities| {
        let has = Capability::ALL.iter().map(|&capability| (capability, of.supports(capability))).collect::<Vec<_>>();
        (has, of.ttl_resolution(), of.largest_value())
    };
    let holds = all(got) == all(before) && got.longest_ttl() <= before.longest_ttl();
    let want = format!("what they were before, but for a longest TTL that may have become shorter: {before:?}");
    expect_that(what, holds, &want, got)
}

/// Asks twice, with work and time in between.
pub fn o1_capabilities_are_always_the_same() -> Check {
    about(&["O1"]).run(|context| {
        let store = context.store();
        let before = store.capabilities();
        store.put("k", "v")?;
        expect_same("capabilities() after a put", &store.capabilities(), &before)?;
        if context.has(Capability::Ttls) {
            context.time.wait(context.short());
        }
        expect_same("capabilities() later", &store.capabilities(), &before)
    })
}

/// Asks through a second handle.
pub fn o1_a_second_handle_has_the_same_capabilities() -> Check {
    about(&["O1"]).run(|context| {
        let second = context.second_handle()?;
        let before = context.capabilities();
        expect_same("capabilities() of a second handle", &second.capabilities(), &before)
    })
}

/// If TTLs were opted out of, `Default` and `Forever` still work. (The check of the opt-out verifies that `After` is refused.)
pub fn o2_forever_is_accepted_without_ttls() -> Check {
    about(&["O2"]).run(|context| {
        if context.has(Capability::Ttls) {
            return Err(NotPassed::Ignored("the store has TTLs".into()));
        }
        let store = context.store();
        expect("put with Default", store.put_with_ttl("k", "v", Ttl::Default), ())?;
        expect("put with Forever", store.put_with_ttl("k", "v", Ttl::Forever), ())
    })
}

/// The check that verifies an opt-out.
pub(crate) fn opt_out_of(capability: Capability) -> Check {
    let (name, run): (_, fn(&Context<'_>) -> Outcome) = match capability {
        Capability::Listing => ("o3_opt_out_of_listing", |context| verify(context, Capability::Listing)),
        Capability::Contains => ("o3_opt_out_of_contains", |context| verify(context, Capability::Contains)),
        Capability::Create => ("o3_opt_out_of_create", |context| verify(context, Capability::Create)),
        Capability::Ttls => ("o3_opt_out_of_ttls", |context| verify(context, Capability::Ttls)),
        Capability::TtlReading => ("o3_opt_out_of_ttl_reading", |context| verify(context, Capability::TtlReading)),
        Capability::Touch => ("o3_opt_out_of_touch", |context| verify(context, Capability::Touch)),
        Capability::Copy => ("o3_opt_out_of_copy", |context| verify(context, Capability::Copy)),
        Capability::Versions => ("o3_opt_out_of_versions", |context| verify(context, Capability::Versions)),
        Capability::ExactVersions => ("o3_opt_out_of_exact_versions", verify_inexact),
        Capability::Take => ("o3_opt_out_of_take", |context| verify(context, Capability::Take)),
        Capability::TouchingReads => {
            ("o3_opt_out_of_touching_reads", |context| verify(context, Capability::TouchingReads))
        }
        Capability::Counters => ("o3_opt_out_of_counters", |context| verify(context, Capability::Counters)),
        _ => ("o3_opt_out_of_something_unknown", |_| Err(NotPassed::failed("the suite does not know this capability"))),
    };
    about(&["O3", "O2"]).run(run).named(name, module_path!())
}

/// The opt-out has to have a reason.
fn expect_reason(context: &Context<'_>, capability: Capability) -> Outcome {
    let reason = context.scope.opt_outs.get(&capability).map(String::as_str).unwrap_or_default();
    let what = format!("the reason of the opt-out of {capability}");
    expect_that(what, !reason.trim().is_empty(), "a reason, for the readers of the report", reason)
}

/// No operation needs exact versions, so their opt-out is verified by what U2 says of a store that lacks them: an entry that is overwritten with
/// equal bytes has its old version still.
fn verify_inexact(context: &Context<'_>) -> Outcome {
    expect_reason(context, Capability::ExactVersions)?;
    if !context.has(Capability::Versions) {
        // There is no version that could hold, as the opt-out of versions verifies.
        return Ok(());
    }
    let store = context.store();
    store.put("k", "v")?;
    let version = version_of(store, "k", "v")?;
    store.put("k", "v")?;
    let what = "put_if with the version from before a put of equal bytes, after an opt-out of exact versions";
    let advice = format!("\n{}", either_way(Capability::ExactVersions));
    let stored = expect_stored(what, store.put_if("k", "new", Ttl::Forever, &version));
    stored.map_err(|outcome| outcome.map_text(|text| text + &advice)).map(drop)
}

/// The operations that were opted out of have to return `Unsupported`, which names operation and store, and to change nothing.
fn verify(context: &Context<'_>, capability: Capability) -> Outcome {
    let store = context.store();
    let (bystander, unharmed) = BYSTANDER;
    expect_reason(context, capability)?;
    store.put(bystander, unharmed)?;
    let expiry = context.has(Capability::Ttls).then(|| context.put_long(EXPIRES, unharmed)).transpose()?;
    for (what, operation) in opted_out(context, capability) {
        let what = format!("{what}, after an opt-out of {capability}");
        let result = operation();
        let works = result.is_ok();
        let error = expect_error(&what, result, "Unsupported", |error| matches!(error, Error::Unsupported { .. }));
        let advice = if works { format!("\nit works:  {}", either_way(capability)) } else { String::new() };
        let error = error.map_err(|outcome| outcome.map_text(|text| text + &advice))?;
        if let Error::Unsupported { operation, store: named, .. } = &error {
            expect_eq(format_args!("the operation in the error of {what}"), *operation, capability)?;
            expect_eq(format_args!("the store in the error of {what}"), &**named, store.name())?;
        }
        expect(format_args!("get of an entry after {what}"), store.get(bystander), Some(unharmed.into()))?;
        for absent in ["absent", "other"] {
            expect(format_args!("get of the absent key {absent:?} after {what}"), store.get(absent), None)?;
        }
        if context.has(Capability::TtlReading) {
            expect(format_args!("ttl of an entry after {what}"), store.ttl(bystander), Some(Remaining::Forever))?;
        }
        let get = |want: Option<&'static str>| {
            expect(format_args!("get({EXPIRES:?}) after {what}"), store.get(EXPIRES), want.map(Into::into))
        };
        match expiry {
            Some(expiry) => context.while_live(expiry, || get(Some(unharmed)))?,
            None => get(None)?,
        }
        if let (Some(expiry), true) = (expiry, context.has(Capability::TtlReading)) {
            expect_remaining(context, &format!("after {what}"), EXPIRES, expiry)?;
        }
    }
    Ok(())
}

/// The key of an entry with a TTL, in stores that have TTLs.
const EXPIRES: &str = "expires";

type Operation<'a> = Box<dyn Fn() -> Result<(), Error> + 'a>;

/// All operations that a store without this capability lacks, on an entry, on one with a TTL, and on an absent key.
fn opted_out<'a>(context: &'a Context<'_>, capability: Capability) -> Vec<(String, Operation<'a>)> {
    let store = context.store();
    let ttls = [Ttl::After(Duration::from_secs(1000)), Ttl::After(Duration::ZERO), Ttl::After(Duration::MAX)];
    let mut operations = Vec::<(String, Operation<'a>)>::new();
    for key in [BYSTANDER.0, EXPIRES, "absent"] {
        let mut add = |what: &str, operation: Operation<'a>| operations.push((format!("{what} of {key:?}"), operation));
        match capability {
            Capability::Listing => {
                add("keys", Box::new(move || store.keys(key).map(drop)));
                add("prefixes", Box::new(move || store.prefixes("/", key).map(drop)));
            }
            Capability::Contains => add("contains", Box::new(move || store.contains(key).map(drop))),
            Capability::Create => {
                add("create", Box::new(move || store.create(key, "harmed").map(drop)));
                let forever = move || store.create_with_ttl(key, "harmed", Ttl::Forever).map(drop);
                add("create for ever", Box::new(forever));
                if context.has(Capability::Ttls) {
                    let hour = Ttl::After(Duration::from_secs(3600).min(context.capabilities().longest_ttl()));
                    let passing = move || store.create_with_ttl(key, "harmed", hour).map(drop);
                    add("create with a TTL", Box::new(passing));
                }
                if context.has(Capability::Versions) {
                    let versioned = move || store.create_versioned(key, "harmed", Ttl::Forever).map(drop);
                    add("create_versioned", Box::new(versioned));
                }
            }
            Capability::Ttls => {
                for ttl in ttls {
                    let many = move || store.put_many_with_ttl([(key, "harmed", ttl)]);
                    let stream = move || store.put_from_with_ttl(key, &b"harmed"[..], ttl);
                    let create = move || store.create_with_ttl(key, "harmed", ttl).map(drop);
                    add(&format!("put with {ttl:?}"), Box::new(move || store.put_with_ttl(key, "harmed", ttl)));
                    add(&format!("put_many with {ttl:?}"), Box::new(many));
                    add(&format!("put_from with {ttl:?}"), Box::new(stream));
                    if context.has(Capability::Create) {
                        add(&format!("create with {ttl:?}"), Box::new(create));
                    }
                    let increment = move || store.increment(key, 1, ttl).map(drop);
                    if context.has(Capability::Counters) {
                        add(&format!("increment with {ttl:?}"), Box::new(increment));
                    }
                    let versioned = move || store.create_versioned(key, "harmed", ttl).map(drop);
                    if context.has(Capability::Create) && context.has(Capability::Versions) {
                        add(&format!("create_versioned with {ttl:?}"), Box::new(versioned));
                    }
                    if context.has(Capability::Versions) {
                        for version in foreign_versions(key) {
                            let put_if = move || store.put_if(key, "harmed", ttl, &version).map(drop);
                            add(&format!("put_if with {ttl:?}"), Box::new(put_if));
                        }
                    }
                }
            }
            Capability::TtlReading => add("ttl", Box::new(move || store.ttl(key).map(drop))),
            Capability::Touch => {
                for ttl in ttls.into_iter().chain([Ttl::Forever, Ttl::Default]) {
                    add(&format!("touch with {ttl:?}"), Box::new(move || store.touch(key, ttl).map(drop)));
                }
            }
            Capability::Copy => {
                add("copy", Box::new(move || store.copy(key, "other")));
                add("copy onto it", Box::new(move || store.copy("other", key)));
                add("copy to itself", Box::new(move || store.copy(key, key)));
                add("rename", Box::new(move || store.rename(key, "other")));
                add("rename onto it", Box::new(move || store.rename("other", key)));
                add("rename to itself", Box::new(move || store.rename(key, key)));
            }
            Capability::Versions => {
                add("get_versioned", Box::new(move || store.get_versioned(key).map(drop)));
                // Of both kinds that there are, one of which would hold.
                for version in foreign_versions(key) {
                    let other = version.clone();
                    let put_if = move || store.put_if(key, "harmed", Ttl::Forever, &version).map(drop);
                    add("put_if", Box::new(put_if));
                    add("delete_if", Box::new(move || store.delete_if(key, &other).map(drop)));
                }
                add("update", Box::new(move || store.update(key, Ttl::Forever, |_| Some("harmed")).map(drop)));
                if context.has(Capability::Create) {
                    let create = move || store.create_versioned(key, "harmed", Ttl::Forever).map(drop);
                    add("create_versioned", Box::new(create));
                }
            }
            Capability::Take => add("take", Box::new(move || store.take(key).map(drop))),
            Capability::TouchingReads => {
                for ttl in ttls.into_iter().chain([Ttl::Forever, Ttl::Default]) {
                    let run = move || store.get_and_touch(key, ttl).map(drop);
                    add(&format!("get_and_touch with {ttl:?}"), Box::new(run));
                }
            }
            Capability::Counters => {
                let ttls = ttls.into_iter().take(usize::from(context.has(Capability::Ttls)));
                for ttl in ttls.chain([Ttl::Forever, Ttl::Default]) {
                    let run = move || store.increment(key, 1, ttl).map(drop);
                    add(&format!("increment with {ttl:?}"), Box::new(run));
                }
            }
            _ => {}
        }
    }
    operations
}

/// Versions of the entry at a key as a store without versions may be given them: a number, and the content that is there.
fn foreign_versions(key: &'static str) -> Vec<Version> {
    let versions = |key| [Version::of_number(key, 1), Version::of_content(key, BYSTANDER.1.into())];
    Key::new(key).into_iter().flat_map(versions).collect()
}
