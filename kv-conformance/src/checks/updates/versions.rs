//! Section 12: what changes a version, and what does not.

use std::time::Duration;

use kv_core::{Bytes, Capability, KeyValueStore, KeyValueStoreExt, Ttl, Version};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{BYSTANDER, expect_not_stored, expect_stored, listed, version_of, ways_of_writing, write};
use crate::checks::updates::holding::{expect_holds, expect_holds_not};
use crate::property::values::patterned;
use crate::running::{Context, NotPassed, Outcome, expect, expect_eq, mismatch, show_error};

checks![
    u2_get_versioned_reads_what_get_reads,
    u2_a_version_changes_with_the_bytes,
    u2_each_way_of_writing_changes_the_version,
    u2_a_version_holds_until_the_entry_is_changed,
    u2_setting_a_ttl_keeps_the_version,
    u2_a_version_of_another_key_matches_nothing,
    u2_a_version_does_not_outlive_its_entry,
    u2_an_exact_version_changes_with_each_write,
    u2_an_exact_version_does_not_come_back,
    u2_a_version_holds_through_a_second_handle,
];

/// Values of every kind, for what reads and compares them.
pub(super) fn values(context: &Context<'_>) -> Vec<Bytes> {
    #[rustfmt::skip]
    let short: [&[u8]; 12] = [
        b"", b"v", b"\0", b"\xFF\xFE", b"\r\n", b"VA 2\r\nxx\r\n", b"$-1\r\n", b"nil", b"0", b" 1 ", b"\xC3\x28", b"a\0b",
    ];
    let all = (0..=255_u8).collect::<Vec<_>>();
    let large = patterned(context.size(70_000));
    short.iter().map(|value| Bytes::from_static(value)).chain([all.into(), large.into()]).collect()
}

/// Reads entries with their versions: of any bytes, of an absent key, of one that has expired.
pub fn u2_get_versioned_reads_what_get_reads() -> Check {
    about(&["U2", "V1", "G1", "T5"]).needs(&[Capability::Versions]).run(|context| {
        let store = context.store();
        expect_absent(store, "absent", "of an absent key")?;
        for value in context.sample(values(context), 3) {
            store.put("k", &value)?;
            version_of(store, "k", &value)?;
            store.put_with_ttl("forever", &value, Ttl::Forever)?;
            version_of(store, "forever", &value)?;
        }
        store.delete("k")?;
        expect_absent(store, "k", "of a deleted key")?;
        if context.has(Capability::Ttls) {
            let end = context.put_for("k", "v", context.short())?;
            context.while_live(end, || version_of(store, "k", "v").map(drop))?;
            context.wait_for(end);
            expect_absent(store, "k", "of an expired key")?;
        }
        Ok(())
    })
}

fn expect_absent(store: &dyn KeyValueStore, key: &str, which: &str) -> Outcome {
    expect(format_args!("get_versioned {which}"), store.get_versioned(key).map(|got| got.map(|(value, _)| value)), None)
}

/// Overwrites values with others that are nearly the same: one byte more, less or other, other case, other bytes that are not UTF-8, large
/// ones that differ at one end. A store that compares text, lengths, beginnings or a short hash takes one for the other.
pub fn u2_a_version_changes_with_the_bytes() -> Check {
    about(&["U2", "U1", "V1"]).needs(&[Capability::Versions]).run(|context| {
        let store = context.store();
        #[rustfmt::skip]
        let small: [(&[u8], &[u8]); 20] = [
            (b"old", b"new"), (b"v", b"w"), (b"", b"v"), (b"v", b""), (b"", b"\0"), (b"v", b"v\0"), (b"v", b"v "),
            (b"v\r\n", b"v\n"), (b"v\n", b"v"), (b"abc", b"ABC"), (b"\xFF", b"\xFE"), (b"\xFF", b"\xEF\xBF\xBD"), (b"a\xFFb", b"a\xFEb"),
            (b"\xC3\xA9", b"e\xCC\x81"), (b"a\0b", b"a\0c"), (b"1", b"1.0"), (b"1", b"01"), (b"nil", b"null"), (b"10", b"9"), (b"{}", b"{ }"),
        ];
        let mut pairs = small.map(|(old, new)| (old.to_vec(), new.to_vec())).to_vec();
        for size in [64, 1024, 70_000] {
            let old = patterned(context.size(size));
            for at in [0, old.len() / 2, old.len() - 1] {
                let mut new = old.clone();
                new.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1);
                pairs.push((old.clone(), new));
            }
            pairs.push((old.clone(), old.get(1..).unwrap_or_default().to_vec()));
            pairs.push((old.clone(), old.get(..old.len() - 1).unwrap_or_default().to_vec()));
        }
        for (old, new) in context.sample(pairs, 6) {
            store.put("k", &old)?;
            let version = version_of(store, "k", &old)?;
            store.put("k", &new)?;
            let (old, new) = (Bytes::from(old), Bytes::from(new));
            let when = format!("the version of {old:?}, which {new:?} has replaced");
            expect_holds_not(store, "k", &version, &when)?;
            let newer = version_of(store, "k", &new)?;
            expect_holds(store, "k", "new", &newer, "the version of what is there")?;
        }
        Ok(())
    })
}

/// Writes other bytes, of the same length, in each way that the store has.
pub fn u2_each_way_of_writing_changes_the_version() -> Check {
    about(&["U2", "U1"]).needs(&[Capability::Versions]).run(|context| {
        let store = context.store();
        for way in ways_of_changing(context) {
            store.put("k", "1")?;
            let version = version_of(store, "k", "1")?;
            change(store, way, "k", "2")?;
            let when = format!("the version from before {way}");
            expect_holds_not(store, "k", &version, &when)?;
            let newer = version_of(store, "k", "2")?;
            expect_holds(store, "k", "3", &newer, &format!("the version of what {way} wrote"))?;
        }
        Ok(())
    })
}

/// The ways in which an entry is given another value, or the same again.
fn ways_of_changing(context: &Context<'_>) -> Vec<&'static str> {
    let mut ways = ways_of_writing(context);
    ways.extend(["put_if", "update"]);
    let further = [
        (Capability::Create, "create_versioned"),
        (Capability::Counters, "increment"),
        (Capability::Ttls, "put with a TTL"),
    ];
    ways.extend(further.into_iter().filter(|(needs, _)| context.has(*needs)).map(|(_, way)| way));
    ways
}

/// Writes a value in one of the ways. `increment` adds 1 to what is there.
fn change(store: &dyn KeyValueStore, way: &str, key: &str, value: &str) -> Outcome {
    match way {
        "put_if" => {
            let Some((_, version)) = store.get_versioned(key)? else { return Err(NotPassed::failed("no entry")) };
            expect_stored(
                "put_if with the version of what is there",
                store.put_if(key, value, Ttl::Default, &version),
            )?;
        }
        "create_versioned" => {
            expect("delete", store.delete(key), true)?;
            expect_stored("create_versioned", store.create_versioned(key, value, Ttl::Default))?;
        }
        "update" => {
            let updated = store.update(key, Ttl::Default, |_| Some(value.to_owned()));
            expect("update", updated, true)?;
        }
        "increment" => drop(store.increment(key, 1, Ttl::Default)?),
        "put with a TTL" => {
            // Not the longest: that may become shorter.
            let ttl = Duration::from_secs(3600).min(store.capabilities().longest_ttl() / 2);
            store.put_with_ttl(key, value, ttl)?;
        }
        way => write(store, way, key, value)?,
    }
    Ok(())
}

/// Does much that changes nothing: reads in every way, is refused, writes beside. The version holds.
pub fn u2_a_version_holds_until_the_entry_is_changed() -> Check {
    about(&["U2", "K3"]).needs(&[Capability::Versions]).run(|context| {
        let store = context.store();
        store.put("k", "v")?;
        let version = version_of(store, "k", "v")?;
        expect_eq("the version of an entry, read again", version_of(store, "k", "v")?, version.clone())?;
        store.get("k")?;
        store.get_many(["k", "absent"])?;
        store.get_into("k", std::io::sink())?;
        for key in ["K", "kk", "k/", "absent"] {
            store.put(key, "other")?;
            store.delete(key)?;
        }
        if context.has(Capability::Create) {
            expect("create over an entry", store.create("k", "other"), false)?;
            let created = store.create_versioned("k", "other", Ttl::Default);
            expect_not_stored("create_versioned over an entry", created)?;
        }
        if context.has(Capability::Contains) {
            store.contains("k")?;
        }
        if context.has(Capability::TtlReading) {
            store.ttl("k")?;
        }
        if context.has(Capability::Listing) {
            listed(context, "")?;
        }
        if context.has(Capability::Copy) {
            store.copy("k", "copy")?;
        }
        if context.has(Capability::Ttls) {
            context.time.wait(context.short());
        }
        store.put("other", "v")?;
        let other = version_of(store, "other", "v")?;
        expect_holds_not(store, "k", &other, "the version of another key")?;
        expect_holds(store, "k", "new", &version, "the version of an entry that nobody has changed").map(drop)
    })
}

/// Sets the TTL by `touch`: longer, shorter, for ever. The version stays.
pub fn u2_setting_a_ttl_keeps_the_version() -> Check {
    about(&["U2", "T6"]).needs(&[Capability::Versions, Capability::Touch]).run(|context| {
        let store = context.store();
        for ttl in [Ttl::After(context.long()), Ttl::Forever, Ttl::Default, Ttl::After(context.long() / 2)] {
            store.put("k", "v")?;
            let version = version_of(store, "k", "v")?;
            let (touched, end) = context.expiring(context.long() / 2, || store.touch("k", ttl))?;
            expect_eq(format_args!("touch with {ttl:?}"), touched, true)?;
            context.while_live(end, || {
                expect_holds(store, "k", "new", &version, &format!("the version from before touch with {ttl:?}"))
                    .map(drop)
            })?;
        }
        Ok(())
    })
}

/// Uses the version of one key at others, with the same bytes and with other ones, with keys that are nearly the same, and at what was
/// copied or renamed.
pub fn u2_a_version_of_another_key_matches_nothing() -> Check {
    about(&["U2", "K3"]).needs(&[Capability::Versions]).run(|context| {
        let store = context.store();
        let keys = ["k", "K", "kk", "k/", "k%41", "kA", "other"];
        store.put_many(keys.map(|key| (key, "v")))?;
        let versions = keys.iter().map(|key| version_of(store, key, "v")).collect::<Outcome<Vec<_>>>()?;
        for key in keys {
            for (of, version) in keys.iter().zip(&versions).filter(|(of, _)| **of != key) {
                let when = format!("the version of {of:?}, whose value is the same");
                expect_holds_not(store, key, version, &when)?;
                expect(format_args!("get({key:?}) after that"), store.get(key), Some("v".into()))?;
            }
        }
        let (Some(k), Some(other)) = (versions.first(), versions.last()) else { return Ok(()) };
        expect_holds_not(store, "absent", k, "the version of another key, where nothing is")?;
        expect("get of the absent key after that", store.get("absent"), None)?;
        expect_holds(store, "other", "new", other, "its own version, after all that")?;
        if context.has(Capability::Copy) {
            store.copy("k", "copy")?;
            expect_holds_not(store, "copy", k, "the version of what it was copied from")?;
            store.rename("k", "renamed")?;
            expect_holds_not(store, "renamed", k, "the version that it had under its old name")?;
            expect("get of what was renamed", store.get("renamed"), Some("v".into()))?;
        }
        Ok(())
    })
}

/// Removes an entry in each way, and lets it expire. While the key is absent its version matches nothing, and nothing is stored; nor when an
/// entry with other bytes is there again.
pub fn u2_a_version_does_not_outlive_its_entry() -> Check {
    about(&["U2", "U1", "T5", "T3"]).needs(&[Capability::Versions]).run(|context| {
        let store = context.store();
        for way in ways_of_removing(context) {
            let version = put_and_remove(context, way, "old")?;
            let when = format!("the version of an entry that is gone by {way}");
            expect_holds_not(store, "k", &version, &when)?;
            expect(format_args!("get after put_if with {when}"), store.get("k"), None)?;
            store.put("k", "new")?;
            expect_holds_not(store, "k", &version, &format!("{when}, where there is another one"))?;
            expect("get of the other one", store.get("k"), Some("new".into()))?;
        }
        Ok(())
    })
}

fn ways_of_removing(context: &Context<'_>) -> Vec<&'static str> {
    let further = [
        (Capability::Ttls, "put with a zero TTL"),
        (Capability::Ttls, "expiry"),
        (Capability::Touch, "touch with a zero TTL"),
        (Capability::Copy, "rename"),
        (Capability::Take, "take"),
        (Capability::TouchingReads, "get_and_touch with a zero TTL"),
    ];
    let can = further.into_iter().filter(|(needs, _)| context.has(*needs)).map(|(_, way)| way);
    ["delete", "delete_many", "delete_if"].into_iter().chain(can).collect()
}

/// Puts an entry at `k`, and removes it in one of the ways. Returns the version that it had.
fn put_and_remove(context: &Context<'_>, way: &str, value: &'static str) -> Outcome<Version> {
    let store = context.store();
    if way == "expiry" {
        let end = context.put_for("k", value, context.short())?;
        let read = store.get_versioned("k");
        context.wait_for(end);
        return match read {
            Ok(Some((_, version))) => Ok(version),
            // It has expired already, on a busy machine.
            Ok(None) => Err(NotPassed::TooSlow),
            Err(error) => Err(mismatch("get_versioned", "a value and its version", &show_error(&error))),
        };
    }
    store.put("k", value)?;
    let version = version_of(store, "k", value)?;
    match way {
        "delete" => expect(way, store.delete("k"), true)?,
        "delete_many" => expect(way, store.delete_many(["k"]), vec![true])?,
        "delete_if" => expect(way, store.delete_if("k", &version), true)?,
        "put with a zero TTL" => store.put_with_ttl("k", "v", Duration::ZERO)?,
        "touch with a zero TTL" => expect(way, store.touch("k", Duration::ZERO), true)?,
        "rename" => store.rename("k", "renamed")?,
        "take" => expect(way, store.take("k"), Some(value.into()))?,
        _ => expect(way, store.get_and_touch("k", Duration::ZERO), Some(value.into()))?,
    }
    Ok(version)
}

/// Writes the bytes that are there already, in each way.
pub fn u2_an_exact_version_changes_with_each_write() -> Check {
    about(&["U2", "O1"]).needs(&[Capability::ExactVersions]).run(|context| {
        let store = context.store();
        for way in ways_of_changing(context).into_iter().filter(|way| *way != "increment") {
            store.put("k", "v")?;
            let version = version_of(store, "k", "v")?;
            change(store, way, "k", "v")?;
            expect_holds_not(store, "k", &version, &format!("the version from before {way} of equal bytes"))?;
            expect("get after that", store.get("k"), Some("v".into()))?;
        }
        Ok(())
    })
}

/// Changes an entry and changes it back, removes it in each way and writes it anew, copies and renames the same onto it twice: the old
/// version does not hold.
pub fn u2_an_exact_version_does_not_come_back() -> Check {
    about(&["U2", "O1"]).needs(&[Capability::ExactVersions]).run(|context| {
        let store = context.store();
        store.put("k", "v")?;
        let version = version_of(store, "k", "v")?;
        store.put("k", "other")?;
        store.put("k", "v")?;
        expect_holds_not(store, "k", &version, "the version of a value that was changed, and changed back")?;
        for way in ways_of_removing(context) {
            let version = put_and_remove(context, way, "v")?;
            store.put("k", "v")?;
            let when = format!("the version of an entry that was gone by {way}, where its bytes are again");
            expect_holds_not(store, "k", &version, &when)?;
            store.delete("k")?;
        }
        if context.has(Capability::Copy) {
            store.put("from", "v")?;
            store.copy("from", "k")?;
            let version = version_of(store, "k", "v")?;
            store.put("k", "other")?;
            store.copy("from", "k")?;
            expect_holds_not(store, "k", &version, "the version from the first of two copies")?;
            let version = version_of(store, "k", "v")?;
            store.rename("k", "away")?;
            store.rename("away", "k")?;
            expect_holds_not(store, "k", &version, "the version from before a rename away and back")?;
        }
        Ok(())
    })
}

/// Uses a version through another handle than the one it is from, and changes the entry through the other one.
pub fn u2_a_version_holds_through_a_second_handle() -> Check {
    about(&["U2", "U1"]).needs(&[Capability::Versions]).run(|context| {
        let (store, second) = (context.store(), context.second_handle()?);
        let (bystander, unharmed) = BYSTANDER;
        store.put(bystander, unharmed)?;
        for (one, other) in [(store, second), (second, store)] {
            one.put("k", "1")?;
            let version = version_of(one, "k", "1")?;
            let newer = expect_holds(other, "k", "2", &version, "a version from another handle")?;
            expect_holds_not(one, "k", &version, "the version from before another handle's put_if")?;
            other.put("k", "3")?;
            expect_holds_not(one, "k", &newer, "the version from before another handle's put")?;
            let newest = version_of(one, "k", "3")?;
            expect("delete_if with a version from another handle", other.delete_if("k", &newest), true)?;
            expect("get after that", one.get("k"), None)?;
        }
        expect("get of another entry", store.get(bystander), Some(unharmed.into()))
    })
}
