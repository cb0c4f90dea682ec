//! Section 12: `create_versioned`, which is `create` and returns a version.

use std::time::Duration;

use kv_core::{Capability, KeyValueStoreExt, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{OldEntry, expect_not_stored, expect_stored, version_of};
use crate::checks::updates::holding::{expect_holds, expect_holds_not};
use crate::checks::updates::versions::values;
use crate::running::{expect, expect_eq};

checks![
    p4_create_versioned_creates_and_returns_the_version,
    p4_a_refused_create_versioned_changes_nothing,
    p4_create_versioned_takes_a_ttl,
    p4_create_versioned_with_a_zero_ttl_leaves_the_key_as_it_is,
];

const NEEDS: &[Capability] = &[Capability::Create, Capability::Versions];

/// Creates entries with values of every kind. The version is that of what is stored: it is the one that `get_versioned` returns, and releases
/// a lock once, also by another holder's turn.
pub fn p4_create_versioned_creates_and_returns_the_version() -> Check {
    about(&["P4", "U1", "U2", "V1"]).needs(NEEDS).run(|context| {
        let store = context.store();
        for value in context.sample(values(context), 6) {
            let created = store.create_versioned("k", &value, Ttl::Default);
            let version = expect_stored("create_versioned of an absent key", created)?;
            expect("get after create_versioned", store.get("k"), Some(value.clone()))?;
            let read = version_of(store, "k", &value)?;
            expect_eq(
                "the version that create_versioned returned, and the one that get_versioned does",
                &version,
                &read,
            )?;
            expect("delete_if with the version of create_versioned", store.delete_if("k", &version), true)?;
            expect("get after that", store.get("k"), None)?;
        }
        let first = expect_stored("create_versioned", store.create_versioned("k", "first", Ttl::Default))?;
        let renewed = expect_holds(store, "k", "renewed", &first, "the version of create_versioned")?;
        expect_holds_not(store, "k", &first, "the version of create_versioned, after put_if")?;
        expect("delete_if", store.delete_if("k", &renewed), true)?;
        expect_stored("create_versioned, again", store.create_versioned("k", "second", Ttl::Default))?;
        for version in [first, renewed] {
            expect_holds_not(store, "k", &version, "a version of the holder before")?;
        }
        expect("get of the lock of the second holder", store.get("k"), Some("second".into()))
    })
}

/// Creates over an entry, with each kind of TTL: nothing changes.
pub fn p4_a_refused_create_versioned_changes_nothing() -> Check {
    about(&["P4", "U1"]).needs(NEEDS).run(|context| {
        let store = context.store();
        let old = OldEntry::put(context, "k")?;
        let mut ttls = vec![Ttl::Default, Ttl::Forever];
        if context.has(Capability::Ttls) {
            ttls.extend([Ttl::After(context.long() / 2), Ttl::After(Duration::ZERO)]);
        }
        for ttl in ttls {
            let what = format!("create_versioned with {ttl:?} over an entry");
            expect_not_stored(&what, store.create_versioned("k", "new", ttl))?;
            old.expect_unchanged(context, &format!("after {what}"))?;
        }
        store.put("same", "v")?;
        let created = store.create_versioned("same", "v", Ttl::Default);
        expect_not_stored("create_versioned with the value that is there", created)
    })
}

/// Creates with a short TTL, is refused within it, and creates again after it. Over what has expired a new entry has a new version.
pub fn p4_create_versioned_takes_a_ttl() -> Check {
    about(&["P4", "T2", "T5", "U2"]).needs(&[Capability::Create, Capability::Versions, Capability::Ttls]).run(
        |context| {
            let store = context.store();
            let ttl = context.short();
            let (created, end) = context.expiring(ttl, || Ok(store.create_versioned("k", "first", ttl)))?;
            let first = expect_stored("create_versioned of an absent key", created)?;
            context.while_live(end, || {
                expect("get within the TTL", store.get("k"), Some("first".into()))?;
                expect_not_stored(
                    "create_versioned within the TTL",
                    store.create_versioned("k", "second", Ttl::Forever),
                )
            })?;
            context.wait_for(end);
            let second =
                expect_stored("create_versioned after the TTL", store.create_versioned("k", "second", Ttl::Forever))?;
            expect("get after that", store.get("k"), Some("second".into()))?;
            expect_holds_not(store, "k", &first, "the version of the entry that has expired")?;
            expect("delete_if with the version of the entry that is there", store.delete_if("k", &second), true)
        },
    )
}

/// Creates with a zero TTL: where the key is absent, it says that it did, and the key stays absent; where there is an entry, that stays.
pub fn p4_create_versioned_with_a_zero_ttl_leaves_the_key_as_it_is() -> Check {
    about(&["P4", "T3", "U1"]).needs(&[Capability::Create, Capability::Versions, Capability::Ttls]).run(|context| {
        let store = context.store();
        let created = store.create_versioned("k", "v", Duration::ZERO);
        let of_nothing = expect_stored("create_versioned with a zero TTL of an absent key", created)?;
        expect("get after that", store.get("k"), None)?;
        expect_holds_not(store, "k", &of_nothing, "what create_versioned with a zero TTL returned")?;
        expect("get after that", store.get("k"), None)?;
        store.put("k", "old")?;
        let created = store.create_versioned("k", "v", Duration::ZERO);
        expect_not_stored("create_versioned with a zero TTL over an entry", created)?;
        expect_holds_not(store, "k", &of_nothing, "what create_versioned with a zero TTL returned")?;
        expect("get after that", store.get("k"), Some("old".into()))
    })
}
