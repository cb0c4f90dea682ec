//! Section 7: copy and rename.

use kv_core::{Capability, Error, KeyValueStoreExt, Remaining, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{BYSTANDER, expect_remaining};
use crate::property::values;
use crate::running::{Context, Expiry, Outcome, expect, expect_eq, expect_error};

checks![
    c1_a_copy_has_the_value_and_is_independent,
    c1_a_copy_replaces_what_was_there,
    c1_a_copy_expires_with_the_original,
    c2_rename_moves_the_value,
    c2_rename_moves_the_ttl,
    c3_an_absent_source_is_not_found_and_the_target_stays,
    c4_from_a_key_to_itself_changes_nothing,
    c4_from_a_key_to_itself_keeps_the_ttl,
];

/// Copies an entry, then changes and deletes the original, and then the copy.
pub fn c1_a_copy_has_the_value_and_is_independent() -> Check {
    about(&["C1"]).needs(&[Capability::Copy]).run(|context| {
        let store = context.store();
        let value = values::patterned(context.size(200_000));
        store.put("from", &value)?;
        expect("copy", store.copy("from", "to"), ())?;
        expect("get of the copy", store.get("to"), Some(value.clone().into()))?;
        expect("get of the original", store.get("from"), Some(value.clone().into()))?;
        store.put("from", "changed")?;
        expect("get of the copy after the original changed", store.get("to"), Some(value.clone().into()))?;
        store.delete("from")?;
        expect("get of the copy after the original was deleted", store.get("to"), Some(value.clone().into()))?;
        store.copy("to", "from")?;
        store.put("to", "changed")?;
        store.delete("to")?;
        expect("get of a copy of the copy after that was deleted", store.get("from"), Some(value.into()))?;
        store.put("empty", "")?;
        store.copy("empty", "from")?;
        expect("get of a copy of the empty value", store.get("from"), Some("".into()))
    })
}

/// Copies and renames over an existing entry: value and TTL have to be those of the source.
pub fn c1_a_copy_replaces_what_was_there() -> Check {
    about(&["C1", "P2"]).needs(&[Capability::Copy]).run(|context| {
        let store = context.store();
        for operation in ["copy", "rename"] {
            store.put("from", "new")?;
            if context.has(Capability::Ttls) {
                store.put_with_ttl("to", "an old and longer value", context.long())?;
            } else {
                store.put("to", "an old and longer value")?;
            }
            match operation {
                "copy" => store.copy("from", "to")?,
                _ => store.rename("from", "to")?,
            }
            expect(format_args!("get after {operation} over an entry"), store.get("to"), Some("new".into()))?;
            if context.has(Capability::TtlReading) {
                let what = format!("ttl after {operation} of an entry that is for ever over one with a TTL");
                expect(what, store.ttl("to"), Some(Remaining::Forever))?;
            }
        }
        Ok(())
    })
}

/// When a copy expires: a backend may read the remaining TTL and write it again, both only as exactly as it can.
fn end_of_copy(context: &Context<'_>, original: Expiry, took: std::time::Duration) -> Expiry {
    let resolution = context.capabilities().ttl_resolution();
    let earliest = original.earliest.saturating_sub(resolution);
    Expiry { earliest, latest: original.latest.saturating_add(resolution + took) }
}

/// Copies entries with a long TTL, and reads the TTL. Copies an entry with a short TTL, and waits: the copy has to expire when the original
/// does.
pub fn c1_a_copy_expires_with_the_original() -> Check {
    about(&["C1", "T2"]).needs(&[Capability::Copy, Capability::Ttls]).run(|context| ttls_follow(context, "copy"))
}

/// Renames entries with a long and a short TTL, as [`c1_a_copy_expires_with_the_original`].
pub fn c2_rename_moves_the_ttl() -> Check {
    about(&["C2", "T2"]).needs(&[Capability::Copy, Capability::Ttls]).run(|context| ttls_follow(context, "rename"))
}

fn ttls_follow(context: &Context<'_>, operation: &str) -> Outcome {
    let store = context.store();
    let act = |from: &str, to: &str| match operation {
        "copy" => store.copy(from, to),
        _ => store.rename(from, to),
    };
    for (ttl, to) in [(context.long(), "to-long"), (context.short(), "to-short")] {
        store.put_with_ttl(to, "old", Ttl::Forever)?;
        let end = context.put_for("from", "v", ttl)?;
        context.time.wait(context.short() / 4);
        let (result, before, after) = context.time.span(|| act("from", to));
        context.while_live(end, || expect(operation, result, ()))?;
        let end = end_of_copy(context, end, after.saturating_sub(before));
        if context.has(Capability::TtlReading) {
            expect_remaining(context, &format!("after {operation}"), to, end)?;
        }
        context.while_live(end, || expect(format_args!("get after {operation}"), store.get(to), Some("v".into())))?;
        if ttl == context.short() {
            context.wait_for(end);
            expect(format_args!("get after {operation} and the TTL"), store.get(to), None)?;
        }
    }
    Ok(())
}

/// Renames an entry, to a key that is absent and to one that is there.
pub fn c2_rename_moves_the_value() -> Check {
    about(&["C2"]).needs(&[Capability::Copy]).run(|context| {
        let store = context.store();
        store.put("to", "old")?;
        for to in ["new", "to"] {
            store.put("from", "v")?;
            expect("rename", store.rename("from", to), ())?;
            expect(format_args!("get({to:?}) after rename"), store.get(to), Some("v".into()))?;
            expect("get of the old key after rename", store.get("from"), None)?;
            expect("delete of the old key after rename", store.delete("from"), false)?;
        }
        Ok(())
    })
}

/// Copies and renames from an absent key: the error is `NotFound` and names it, and the other key stays as it is, absent or not.
pub fn c3_an_absent_source_is_not_found_and_the_target_stays() -> Check {
    about(&["C3"]).needs(&[Capability::Copy]).run(|context| {
        let store = context.store();
        let (bystander, unharmed) = BYSTANDER;
        store.put(bystander, unharmed)?;
        for (to, want) in [(bystander, Some(unharmed.into())), ("nothing", None)] {
            for (operation, result) in [("copy", store.copy("absent", to)), ("rename", store.rename("absent", to))] {
                let what = format!("{operation} of an absent key");
                let error = expect_error(&what, result, "NotFound", |error| matches!(error, Error::NotFound { .. }))?;
                expect_eq(format_args!("the key in the error of {what}"), error.key(), Some("absent"))?;
                expect(format_args!("get({to:?}) after {what}"), store.get(to), want.clone())?;
            }
        }
        Ok(())
    })
}

/// Copies and renames an entry to itself: the value stays. An absent one is not found.
pub fn c4_from_a_key_to_itself_changes_nothing() -> Check {
    about(&["C4", "C3"]).needs(&[Capability::Copy]).run(|context| {
        let store = context.store();
        for operation in ["copy", "rename"] {
            let act = |key: &str| if operation == "copy" { store.copy(key, key) } else { store.rename(key, key) };
            store.put("k", "v")?;
            expect(format_args!("{operation} to itself"), act("k"), ())?;
            expect(format_args!("get after {operation} to itself"), store.get("k"), Some("v".into()))?;
            let is_not_found = |error: &Error| matches!(error, Error::NotFound { .. });
            expect_error(
                format_args!("{operation} of an absent key to itself"),
                act("absent"),
                "NotFound",
                is_not_found,
            )?;
            expect("get after that", store.get("absent"), None)?;
        }
        Ok(())
    })
}

/// Copies and renames an entry with a TTL to itself: the TTL stays.
pub fn c4_from_a_key_to_itself_keeps_the_ttl() -> Check {
    about(&["C4"]).needs(&[Capability::Copy, Capability::TtlReading]).run(|context| {
        let store = context.store();
        for operation in ["copy", "rename"] {
            let end = context.put_for("k", "v", context.long() / 2)?;
            let act = || if operation == "copy" { store.copy("k", "k") } else { store.rename("k", "k") };
            context.while_live(end, || expect(format_args!("{operation} to itself"), act(), ()))?;
            expect_remaining(context, &format!("after {operation} to itself"), "k", end)?;
        }
        Ok(())
    })
}
