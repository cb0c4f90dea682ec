//! Section 3: `create`, which stores only if absent.

use kv_core::{Capability, KeyValueStoreExt, Remaining, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::expect_remaining;
use crate::running::expect;

checks![
    p4_create_stores_when_the_key_is_absent,
    p4_a_refused_create_changes_neither_value_nor_ttl,
    p4_a_refused_create_leaves_a_short_ttl_as_it_is,
    p4_create_takes_a_ttl,
    p4_create_with_a_zero_ttl_leaves_the_key_as_it_is,
];

/// Creates entries that are absent: never written, and deleted.
pub fn p4_create_stores_when_the_key_is_absent() -> Check {
    about(&["P4"]).needs(&[Capability::Create]).run(|context| {
        let store = context.store();
        expect("create of an absent key", store.create("k", "v"), true)?;
        expect("get after create", store.get("k"), Some("v".into()))?;
        store.delete("k")?;
        expect("create of a deleted key", store.create("k", "w"), true)?;
        expect("get after create", store.get("k"), Some("w".into()))?;
        expect("create of the empty value", store.create("empty", ""), true)?;
        expect("create over the empty value", store.create("empty", "v"), false)?;
        expect("get of the empty value", store.get("empty"), Some("".into()))
    })
}

/// Creates where there is an entry, with and without TTLs on either side. It has to say `false`; value and TTL
/// have to stay.
pub fn p4_a_refused_create_changes_neither_value_nor_ttl() -> Check {
    about(&["P4"]).needs(&[Capability::Create]).run(|context| {
        let store = context.store();
        let mut ttls = vec![Ttl::Forever];
        if context.has(Capability::Ttls) {
            ttls.extend([context.long(), context.long() / 3].map(Ttl::After));
        }
        for &old in &ttls {
            for &new in &ttls {
                let what = format!("create with {new:?} over an entry with {old:?}");
                let refused = || {
                    expect(&what, store.create_with_ttl("k", "new", new), false)?;
                    expect(format_args!("get after {what}"), store.get("k"), Some("old".into()))
                };
                if let Ttl::After(old) = old {
                    let end = context.put_for("k", "old", old)?;
                    context.while_live(end, refused)?;
                    if context.has(Capability::TtlReading) {
                        expect_remaining(context, &format!("after {what}"), "k", end)?;
                    }
                    continue;
                }
                store.put("k", "old")?;
                refused()?;
                if context.has(Capability::TtlReading) {
                    expect(format_args!("ttl after {what}"), store.ttl("k"), Some(Remaining::Forever))?;
                }
            }
        }
        Ok(())
    })
}

/// Creates over an entry with a short TTL: it has to expire when it would have expired.
pub fn p4_a_refused_create_leaves_a_short_ttl_as_it_is() -> Check {
    about(&["P4", "T2"]).needs(&[Capability::Create, Capability::Ttls]).run(|context| {
        let store = context.store();
        let ends = [
            ("forever", Ttl::Forever, context.put_for("forever", "old", context.short())?),
            ("long", Ttl::After(context.long()), context.put_for("long", "old", context.short())?),
        ];
        for (key, ttl, end) in ends {
            context
                .while_live(end, || expect("create over an entry", store.create_with_ttl(key, "new", ttl), false))?;
        }
        for (key, ttl, end) in ends {
            context.wait_for(end);
            let what = format!("get after the TTL of an entry over which create with {ttl:?} was refused");
            expect(what, store.get(key), None)?;
        }
        Ok(())
    })
}

/// Creates with a TTL, is refused within it, and creates again after it, like a lock that expires.
pub fn p4_create_takes_a_ttl() -> Check {
    about(&["P4", "T2", "T5"]).needs(&[Capability::Create, Capability::Ttls]).run(|context| {
        let store = context.store();
        let ttl = context.short();
        let (created, end) = context.expiring(ttl, || store.create_with_ttl("k", "first", ttl))?;
        expect("create of an absent key", Ok(created), true)?;
        context.while_live(end, || {
            expect("get within the TTL", store.get("k"), Some("first".into()))?;
            expect("create within the TTL", store.create("k", "second"), false)
        })?;
        context.wait_for(end);
        expect("create after the TTL", store.create("k", "third"), true)?;
        expect("get after that", store.get("k"), Some("third".into()))
    })
}

/// Creates with a zero TTL: `true` where the key is absent, which it stays; `false` where it is not, and the entry stays.
pub fn p4_create_with_a_zero_ttl_leaves_the_key_as_it_is() -> Check {
    about(&["P4", "T3"]).needs(&[Capability::Create, Capability::Ttls]).run(|context| {
        let store = context.store();
        let zero = std::time::Duration::ZERO;
        expect("create with a zero TTL of an absent key", store.create_with_ttl("k", "v", zero), true)?;
        expect("get after that", store.get("k"), None)?;
        store.put("k", "old")?;
        expect("create with a zero TTL over an entry", store.create_with_ttl("k", "v", zero), false)?;
        expect("get after that", store.get("k"), Some("old".into()))
    })
}
