//! Section 4: entries that have expired, and may still take up memory.

use std::time::Duration;

use kv_core::{Capability, Error, KeyValueStore, KeyValueStoreExt, Remaining, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{BYSTANDER, listed, sorted, ways_of_writing, write};
use crate::running::{Context, NotPassed, Outcome, expect, expect_eq, expect_error};

checks![
    t5_an_expired_entry_is_absent_for_every_operation,
    t5_of_thousands_that_expire_at_once_each_is_absent,
    t5_an_expired_key_is_not_listed,
    t5_an_expired_entry_is_created_anew,
    t5_an_expired_entry_is_not_copied,
    t5_a_write_over_an_expired_entry_stays,
];

/// Lets entries expire and asks for them in every way that a store without any capability has.
pub fn t5_an_expired_entry_is_absent_for_every_operation() -> Check {
    about(&["T5", "G1", "D1", "C3", "S1", "S3", "S4"]).needs(&[Capability::Ttls]).run(|context| {
        let store = context.store();
        let (bystander, unharmed) = BYSTANDER;
        store.put(bystander, unharmed)?;
        expire(context, &["k", "m", "deleted"])?;
        let is_not_found = |error: &Error| matches!(error, Error::NotFound { .. });
        expect("get of an expired entry", store.get("k"), None)?;
        expect("get_many", store.get_many(["m", bystander]), vec![None, Some(unharmed.into())])?;
        let each = store.get_each(["m", bystander]).into_iter().collect::<Result<Vec<_>, _>>();
        expect("get_each", each, vec![None, Some(unharmed.into())])?;
        expect("delete of an expired entry", store.delete("deleted"), false)?;
        expect("delete_many", store.delete_many(["m"]), vec![false])?;
        expect_error("open", store.open("k"), "NotFound", is_not_found)?;
        let mut written = Vec::new();
        expect_error("get_into", store.get_into("k", &mut written), "NotFound", is_not_found)?;
        expect_eq("what get_into wrote of an expired entry", written, Vec::<u8>::new())?;
        let folder = tempfile::tempdir().map_err(NotPassed::failed)?;
        let path = folder.path().join("file");
        expect_error("get_file", store.get_file("k", &path), "NotFound", is_not_found)?;
        expect_eq("whether get_file of an expired entry made a file", path.exists(), false)?;
        if context.has(Capability::Contains) {
            expect("contains of an expired entry", store.contains("k"), false)?;
        }
        if context.has(Capability::TtlReading) {
            expect("ttl of an expired entry", store.ttl("k"), None)?;
        }
        Ok(())
    })
}

/// Writes these keys with a TTL, and waits until they have expired.
fn expire(context: &Context<'_>, keys: &[&str]) -> Outcome {
    let ttl = Duration::from_millis(5);
    let mut last = None;
    for key in keys {
        last = Some(context.put_for(key, "expired", ttl)?);
    }
    if let Some(end) = last {
        context.wait_for(end);
    }
    Ok(())
}

/// Lets 2000 entries expire at once, and asks for them in every way, each way with its own keys. A store that removes a few expired entries
/// with each write still has most of them.
pub fn t5_of_thousands_that_expire_at_once_each_is_absent() -> Check {
    about(&["T5", "D1", "B3", "P4", "T6", "C3", "L1", "U2", "U4", "U5"]).needs(&[Capability::Ttls]).run(|context| {
        let store = context.store();
        let mut ways = vec!["get", "get_many", "get_each", "delete", "delete_many", "open"];
        let further = [
            (Capability::Contains, "contains"),
            (Capability::TtlReading, "ttl"),
            (Capability::Create, "create"),
            (Capability::Touch, "touch"),
            (Capability::Touch, "touch with a zero TTL"),
            (Capability::Copy, "copy"),
            (Capability::Copy, "rename"),
            (Capability::Versions, "get_versioned"),
            (Capability::Take, "take"),
            (Capability::TouchingReads, "get_and_touch"),
        ];
        ways.extend(further.into_iter().filter(|(capability, _)| context.has(*capability)).map(|(_, way)| way));
        let (ttl, count) = (Duration::from_millis(5), context.keys(2000, 1, 1));
        let ((), end) =
            context.expiring(ttl, || store.put_many_with_ttl((0..count).map(|n| (format!("k{n}"), "v", ttl))))?;
        context.wait_for(end);
        for (n, way) in (0..count).zip(ways.iter().cycle()) {
            let key = format!("k{n}");
            let copied = |result: Result<(), Error>| match result {
                Err(Error::NotFound { .. }) => Ok(false),
                result => result.map(|()| true),
            };
            let live = match *way {
                "get" => store.get(&key)?.is_some(),
                "get_many" => store.get_many([&key])? != [None],
                "get_each" => store.get_each([&key]).into_iter().collect::<Result<Vec<_>, _>>()? != [None],
                "delete" => store.delete(&key)?,
                "delete_many" => store.delete_many([&key])? != [false],
                "open" => copied(store.open(&key).map(drop))?,
                "contains" => store.contains(&key)?,
                "ttl" => store.ttl(&key)?.is_some(),
                "create" => !store.create(&key, "new")?,
                "touch" => store.touch(&key, Ttl::Forever)?,
                "touch with a zero TTL" => store.touch(&key, Duration::ZERO)?,
                "get_versioned" => store.get_versioned(&key)?.is_some(),
                "take" => store.take(&key)?.is_some(),
                "get_and_touch" => store.get_and_touch(&key, Ttl::Forever)?.is_some(),
                "copy" => copied(store.copy(&key, "copy"))?,
                _ => copied(store.rename(&key, "renamed"))?,
            };
            expect_eq(format_args!("whether {way} found entry {n} of {count} that have expired"), live, false)?;
        }
        if context.has(Capability::Listing) {
            let created = ways.iter().position(|way| *way == "create");
            let count = created.map_or(0, |first| (0..count).skip(first).step_by(ways.len()).count());
            expect_eq("how many keys are listed, which are those created anew", listed(context, "")?.len(), count)?;
        }
        Ok(())
    })
}

/// Lets keys expire and lists: all, by prefix, and by parts.
pub fn t5_an_expired_key_is_not_listed() -> Check {
    about(&["T5", "L1"]).needs(&[Capability::Ttls, Capability::Listing]).run(|context| {
        let store = context.store();
        store.put("folder/live", "v")?;
        expire(context, &["expired", "folder/expired", "gone/expired"])?;
        expect("keys(\"\") beside expired ones", listed(context, ""), vec!["folder/live".to_owned()])?;
        expect("keys(\"folder/\")", listed(context, "folder/"), vec!["folder/live".to_owned()])?;
        expect("keys(\"gone/\")", listed(context, "gone/"), Vec::<String>::new())?;
        expect("prefixes(\"/\", \"\")", store.prefixes("/", "").and_then(sorted), vec!["folder/".to_owned()])
    })
}

/// Creates where an entry has expired.
pub fn t5_an_expired_entry_is_created_anew() -> Check {
    about(&["T5", "P4"]).needs(&[Capability::Ttls, Capability::Create]).run(|context| {
        let store = context.store();
        expire(context, &["k"])?;
        expect("create over an expired entry", store.create("k", "new"), true)?;
        expect("get after that", store.get("k"), Some("new".into()))
    })
}

/// Copies and renames an expired entry: it is not found, and the target stays.
pub fn t5_an_expired_entry_is_not_copied() -> Check {
    about(&["T5", "C3"]).needs(&[Capability::Ttls, Capability::Copy]).run(|context| {
        let store = context.store();
        let (bystander, unharmed) = BYSTANDER;
        store.put(bystander, unharmed)?;
        expire(context, &["k"])?;
        for (operation, result) in operations(store, "k", bystander) {
            expect_error(operation, result, "NotFound", |error| matches!(error, Error::NotFound { .. }))?;
            expect("get of the other key after that", store.get(bystander), Some(unharmed.into()))?;
        }
        Ok(())
    })
}

fn operations(store: &dyn KeyValueStore, from: &str, to: &str) -> [(&'static str, Result<(), Error>); 4] {
    [
        ("copy of an expired entry", store.copy(from, to)),
        ("rename of an expired entry", store.rename(from, to)),
        ("copy of an expired entry to itself", store.copy(from, from)),
        ("rename of an expired entry to itself", store.rename(from, from)),
    ]
}

/// Writes over expired entries in every way, without a TTL. For every operation this is a new entry, which has nothing of the old one,
/// above all not its expiry.
pub fn t5_a_write_over_an_expired_entry_stays() -> Check {
    about(&["T5", "P2", "B2", "C1", "D1"]).needs(&[Capability::Ttls]).run(|context| {
        let store = context.store();
        let ways = ways_of_writing(context);
        expire(context, &ways)?;
        for way in &ways {
            write(store, way, way, "new")?;
        }
        context.time.wait(context.short());
        for way in ways {
            let what = format!("of what {way} wrote over an expired entry");
            expect(format_args!("get {what}"), store.get(way), Some("new".into()))?;
            if context.has(Capability::TtlReading) {
                expect(format_args!("ttl {what}"), store.ttl(way), Some(Remaining::Forever))?;
            }
            if context.has(Capability::Listing) {
                expect(
                    format_args!("keys {what}"),
                    listed(context, way).map(|keys| keys.contains(&way.to_owned())),
                    true,
                )?;
            }
            expect(format_args!("delete {what}"), store.delete(way), true)?;
            expect(format_args!("get after delete {what}"), store.get(way), None)?;
        }
        Ok(())
    })
}
