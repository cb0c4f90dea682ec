//! Section 12: what `put_if` and `delete_if` do, and what they leave alone.

use std::time::Duration;

use kv_core::{Bytes, Capability, Change, Error, KeyValueStoreExt, Remaining, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{BYSTANDER, OldEntry, expect_not_stored, expect_remaining, expect_stored, version_of};
use crate::checks::updates::holding::expect_holds_not;
use crate::checks::updates::versions::values;
use crate::running::{Expiry, expect};

checks![
    u1_put_if_stores_any_bytes_and_returns_their_version,
    u1_put_if_replaces_value_and_ttl_together,
    u1_what_put_if_stores_expires,
    u1_put_if_with_a_zero_ttl_removes_the_entry,
    u1_delete_if_removes_what_has_the_version,
    u1_a_refusal_changes_nothing,
    u1_update_changes_creates_or_leaves,
];

/// Replaces values of every kind by others: the version that `put_if` returns is that of what it has stored, and the one before does not
/// hold.
pub fn u1_put_if_stores_any_bytes_and_returns_their_version() -> Check {
    about(&["U1", "U2", "V1", "V2"]).needs(&[Capability::Versions]).run(|context| {
        let store = context.store();
        store.put("k", "the first")?;
        let mut version = version_of(store, "k", "the first")?;
        for value in context.sample(values(context), 5) {
            let when = format!("of the value {value:?}");
            let mut buffer = value.to_vec();
            let stored = store.put_if("k", &*buffer, Ttl::Default, &version);
            buffer.fill(b'!');
            let newer = expect_stored(format_args!("put_if {when}"), stored)?;
            expect(format_args!("get after put_if {when}"), store.get("k"), Some(value.clone()))?;
            version_of(store, "k", &value)?;
            expect_holds_not(store, "k", &version, &format!("the version that a put_if {when} was told"))?;
            version = newer;
        }
        expect("delete_if with the version that the last put_if returned", store.delete_if("k", &version), true)
    })
}

/// Replaces entries without a TTL, with a short one and with a long one, each by `put_if` with each kind of TTL: the new one counts, and
/// nothing of the old one is left.
pub fn u1_put_if_replaces_value_and_ttl_together() -> Check {
    about(&["U1", "P2", "T1"]).needs(&[Capability::Versions]).run(|context| {
        let store = context.store();
        if !context.has(Capability::Ttls) {
            for new in [Ttl::Default, Ttl::Forever] {
                store.put("k", "old")?;
                let version = version_of(store, "k", "old")?;
                expect_stored(format_args!("put_if with {new:?}"), store.put_if("k", "new", new, &version))?;
                expect("get after that", store.get("k"), Some("new".into()))?;
            }
            return Ok(());
        }
        let (short, long) = (context.short(), context.long());
        let mut outlive = Vec::<(String, Option<Expiry>)>::new();
        let mut last = None;
        for (at, old) in [Ttl::Forever, Ttl::After(short), Ttl::After(long / 2)].into_iter().enumerate() {
            for (other, new) in [Ttl::Default, Ttl::Forever, Ttl::After(long)].into_iter().enumerate() {
                let key = format!("{at}/{other}");
                let what = format!("put_if with {new:?} of an entry with {old:?}");
                let given = if let Ttl::After(ttl) = old { ttl } else { long };
                let ((), end) = context.expiring(given, || store.put_with_ttl(&key, "old", old))?;
                let mut new_end = None;
                context.while_live(end, || {
                    let version = version_of(store, &key, "old")?;
                    let (stored, end) = context.expiring(long, || Ok(store.put_if(&key, "new", new, &version)))?;
                    new_end = matches!(new, Ttl::After(_)).then_some(end);
                    expect_stored(&what, stored).map(drop)
                })?;
                match new_end {
                    Some(end) if context.has(Capability::TtlReading) => {
                        expect_remaining(context, &format!("after {what}"), &key, end)?;
                    }
                    None if context.has(Capability::TtlReading) => {
                        expect(format_args!("ttl after {what}"), store.ttl(&key), Some(Remaining::Forever))?;
                    }
                    _ => {}
                }
                last = if old == Ttl::After(short) { Some(end) } else { last };
                outlive.push((key, new_end));
            }
        }
        if let Some(end) = last {
            context.wait_for(end);
        }
        for (key, end) in outlive {
            let is_there = || {
                let what = format!("get({key:?}) after put_if, and after the TTL of what it replaced");
                expect(what, store.get(&key), Some("new".into()))
            };
            if let Some(end) = end { context.while_live(end, is_there)? } else { is_there()? }
        }
        Ok(())
    })
}

/// Gives entries a short TTL by `put_if`: they expire, neither early nor late.
pub fn u1_what_put_if_stores_expires() -> Check {
    about(&["U1", "T2", "P2"]).needs(&[Capability::Versions, Capability::Ttls]).run(|context| {
        let store = context.store();
        let ttl = context.short();
        let mut ends = Vec::new();
        for (key, old) in [("forever", Ttl::Forever), ("long", Ttl::After(context.long()))] {
            store.put_with_ttl(key, "old", old)?;
            let version = version_of(store, key, "old")?;
            let (stored, end) = context.expiring(ttl, || Ok(store.put_if(key, "new", ttl, &version)))?;
            expect_stored("put_if with a short TTL", stored)?;
            ends.push((key, end));
        }
        for &(key, end) in &ends {
            let is_there = || expect(format_args!("get({key:?}) before the end"), store.get(key), Some("new".into()));
            context.while_live(end, is_there)?;
        }
        for (key, end) in ends {
            context.wait_for(end);
            expect(format_args!("get({key:?}) after the TTL given by put_if"), store.get(key), None)?;
        }
        Ok(())
    })
}

/// `put_if` with a zero TTL: where the version holds, it succeeds, the key is absent, and the version that it returns matches nothing. Where
/// it does not hold, the entry stays.
pub fn u1_put_if_with_a_zero_ttl_removes_the_entry() -> Check {
    about(&["U1", "T3"]).needs(&[Capability::Versions, Capability::Ttls]).run(|context| {
        let store = context.store();
        for old in [Ttl::Forever, Ttl::After(context.long())] {
            store.put("k", "older")?;
            let older = version_of(store, "k", "older")?;
            store.put_with_ttl("k", "old", old)?;
            let refused = store.put_if("k", "new", Duration::ZERO, &older);
            expect_not_stored("put_if with a zero TTL and an old version", refused)?;
            let version = version_of(store, "k", "old")?;
            let stored = store.put_if("k", "new", Duration::ZERO, &version);
            let of_nothing = expect_stored("put_if with a zero TTL", stored)?;
            expect("get after put_if with a zero TTL", store.get("k"), None)?;
            for version in [&version, &of_nothing] {
                expect_holds_not(store, "k", version, "a version, after put_if with a zero TTL")?;
                expect("get after that", store.get("k"), None)?;
            }
            store.put("k", "other")?;
            expect_holds_not(
                store,
                "k",
                &of_nothing,
                "what put_if with a zero TTL returned, where there is another entry",
            )?;
        }
        Ok(())
    })
}

/// Removes by version: the entry that has it, once, and nothing else.
pub fn u1_delete_if_removes_what_has_the_version() -> Check {
    about(&["U1", "D1"]).needs(&[Capability::Versions]).run(|context| {
        let store = context.store();
        let (bystander, unharmed) = BYSTANDER;
        store.put(bystander, unharmed)?;
        for value in context.sample(values(context), 5) {
            store.put("k", &value)?;
            let version = version_of(store, "k", &value)?;
            expect("delete_if with the version of the entry", store.delete_if("k", &version), true)?;
            expect("get after that", store.get("k"), None)?;
            expect("delete_if of what is gone", store.delete_if("k", &version), false)?;
            expect("delete of what is gone", store.delete("k"), false)?;
            expect("get of another entry", store.get(bystander), Some(unharmed.into()))?;
        }
        Ok(())
    })
}

/// Tries to write and to remove by an old version, with each kind of TTL, over an entry with a TTL: it keeps its value and its TTL. The same
/// with a short TTL, which still passes.
pub fn u1_a_refusal_changes_nothing() -> Check {
    about(&["U1", "P2", "T2"]).needs(&[Capability::Versions]).run(|context| {
        let store = context.store();
        store.put("k", "older")?;
        let version = version_of(store, "k", "older")?;
        let old = OldEntry::put(context, "k")?;
        let mut ttls = vec![Ttl::Default, Ttl::Forever];
        if context.has(Capability::Ttls) {
            ttls.extend([Ttl::After(context.long() / 2), Ttl::After(context.short()), Ttl::After(Duration::ZERO)]);
        }
        for ttl in ttls {
            let what = format!("put_if with {ttl:?} and an old version");
            expect_not_stored(&what, store.put_if("k", "new", ttl, &version))?;
            old.expect_unchanged(context, &format!("after {what}"))?;
        }
        expect("delete_if with an old version", store.delete_if("k", &version), false)?;
        old.expect_unchanged(context, "after delete_if with an old version")?;
        if !context.has(Capability::Ttls) {
            return Ok(());
        }
        let end = context.put_for("k", "old", context.short())?;
        context.while_live(end, || {
            let refused = store.put_if("k", "new", Ttl::Forever, &version);
            expect_not_stored("put_if with Forever and an old version", refused)
        })?;
        context.wait_for(end);
        expect("get after the TTL of an entry over which put_if was refused", store.get("k"), None)
    })
}

/// `update` of an entry that is there, of one that is absent, and with a function that wants no change.
pub fn u1_update_changes_creates_or_leaves() -> Check {
    about(&["U1", "P2", "P4"]).needs(&[Capability::Versions]).run(|context| {
        let store = context.store();
        let append = |old: Option<Bytes>| Some([old.unwrap_or_default().as_ref(), b"+"].concat());
        store.put("k", "v")?;
        expect("update of an entry", store.update("k", Ttl::Default, append), true)?;
        expect("get after that", store.get("k"), Some("v+".into()))?;
        let old = OldEntry::put(context, "old")?;
        expect("update that wants no change", store.update("old", Ttl::Forever, |_| None::<&str>), false)?;
        old.expect_unchanged(context, "after update that wants no change")?;
        expect("update that wants no entry", store.update("absent", Ttl::Forever, |_| None::<&str>), false)?;
        expect("get after that", store.get("absent"), None)?;
        if context.has(Capability::Create) {
            expect("update of an absent key", store.update("absent", Ttl::Default, append), true)?;
            expect("get after that", store.get("absent"), Some("+".into()))?;
        }
        if context.has(Capability::Ttls) {
            let (updated, end) = context.expiring(context.short(), || store.update("k", context.short(), append))?;
            expect("update with a short TTL", Ok(updated), true)?;
            context.while_live(end, || expect("get within the TTL", store.get("k"), Some("v++".into())))?;
            context.wait_for(end);
            expect("get after the TTL given by update", store.get("k"), None)?;
        }
        store.put("k", "v")?;
        let delete = |old: Option<Bytes>| Ok::<_, Error>((Change::Delete, old));
        expect("try_update that deletes", store.try_update("k", Ttl::Forever, delete), Some("v".into()))?;
        expect("get after that", store.get("k"), None)?;
        expect("try_update that deletes an absent entry", store.try_update("k", Ttl::Forever, delete), None)
    })
}
