//! Section 12: `take`.

use kv_core::{Capability, KeyValueStoreExt, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{BYSTANDER, listed};
use crate::checks::updates::versions::values;
use crate::running::expect;

checks![
    u4_take_returns_what_it_removes,
    u4_what_was_taken_can_be_written_anew,
    u4_take_through_one_handle_is_seen_by_the_other,
];

/// Takes entries with values of every kind, with a TTL and without: the value comes once, and the entry is gone for every operation.
pub fn u4_take_returns_what_it_removes() -> Check {
    about(&["U4", "V1", "K3"]).needs(&[Capability::Take]).run(|context| {
        let store = context.store();
        let (bystander, unharmed) = BYSTANDER;
        for key in [bystander, "K", "kk", "k/"] {
            store.put(key, unharmed)?;
        }
        expect("take of an absent key", store.take("k"), None)?;
        for value in context.sample(values(context), 8) {
            for with_ttl in [false, true] {
                if with_ttl && context.has(Capability::Ttls) {
                    store.put_with_ttl("k", &value, context.long())?;
                } else {
                    store.put("k", &value)?;
                }
                expect("take", store.take("k"), Some(value.clone()))?;
                expect("take of what was taken", store.take("k"), None)?;
                expect("get of what was taken", store.get("k"), None)?;
            }
        }
        expect("delete of what was taken", store.delete("k"), false)?;
        expect("get_many of what was taken", store.get_many(["k", bystander]), vec![None, Some(unharmed.into())])?;
        if context.has(Capability::Contains) {
            expect("contains of what was taken", store.contains("k"), false)?;
        }
        if context.has(Capability::TtlReading) {
            expect("ttl of what was taken", store.ttl("k"), None)?;
        }
        if context.has(Capability::Listing) {
            let left = ["K", bystander, "k/", "kk"].map(String::from).to_vec();
            expect("keys(\"\") after take", listed(context, ""), left)?;
        }
        for key in [bystander, "K", "kk", "k/"] {
            expect(format_args!("get({key:?}) after take of another key"), store.get(key), Some(unharmed.into()))?;
        }
        Ok(())
    })
}

/// Writes an entry anew after it was taken: nothing of the old one is left, its TTL least of all.
pub fn u4_what_was_taken_can_be_written_anew() -> Check {
    about(&["U4", "P1", "P2"]).needs(&[Capability::Take]).run(|context| {
        let store = context.store();
        let mut end = None;
        for n in 0..3 {
            if context.has(Capability::Ttls) {
                end = Some(context.put_for("k", "old", context.short())?);
            } else {
                store.put("k", "old")?;
            }
            let take = || expect("take", store.take("k"), Some("old".into()));
            if let Some(end) = end {
                context.while_live(end, take)?;
            } else {
                take()?;
            }
            if n == 1 && context.has(Capability::Create) {
                expect("create of what was taken", store.create("k", "new"), true)?;
            } else {
                store.put_with_ttl("k", "new", Ttl::Forever)?;
            }
            expect("get after that", store.get("k"), Some("new".into()))?;
        }
        if let Some(end) = end {
            context.wait_for(end);
        }
        expect("get after the TTL of what was taken", store.get("k"), Some("new".into()))?;
        expect("take of what was written anew", store.take("k"), Some("new".into()))
    })
}

/// Takes through each handle what the other has put.
pub fn u4_take_through_one_handle_is_seen_by_the_other() -> Check {
    about(&["U4", "P1"]).needs(&[Capability::Take]).run(|context| {
        let (store, second) = (context.store(), context.second_handle()?);
        for (one, other) in [(store, second), (second, store)] {
            one.put("k", "v")?;
            expect("get through the other handle", other.get("k"), Some("v".into()))?;
            expect("take through the other handle", other.take("k"), Some("v".into()))?;
            expect("get of what another handle took", one.get("k"), None)?;
            expect("take of what another handle took", one.take("k"), None)?;
        }
        Ok(())
    })
}
