//! Section 12 and clause T6: `get_and_touch`.

use std::time::Duration;

use kv_core::{Capability, KeyValueStoreExt, Remaining, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{expect_remaining, version_of};
use crate::checks::updates::holding::expect_holds;
use crate::checks::updates::versions::values;
use crate::running::{Expiry, Outcome, expect, expect_eq};

checks![
    t6_get_and_touch_reads_any_bytes,
    t6_get_and_touch_sets_the_ttl,
    t6_get_and_touch_shortens_a_ttl,
    t6_get_and_touch_extends_a_ttl,
    t6_get_and_touch_with_a_zero_ttl_removes_the_entry,
    t6_get_and_touch_of_what_is_absent_does_nothing,
    u2_get_and_touch_keeps_the_version,
];

const NEEDS: &[Capability] = &[Capability::TouchingReads];

/// Reads values of every kind, and leaves them as they are.
pub fn t6_get_and_touch_reads_any_bytes() -> Check {
    about(&["T6", "V1"]).needs(NEEDS).run(|context| {
        let store = context.store();
        store.put("other", "other")?;
        for value in context.sample(values(context), 4) {
            store.put("k", &value)?;
            for ttl in [Ttl::Default, Ttl::After(context.long()), Ttl::Forever] {
                let what = format!("get_and_touch with {ttl:?}");
                expect(&what, store.get_and_touch("k", ttl), Some(value.clone()))?;
                expect(format_args!("get after {what}"), store.get("k"), Some(value.clone()))?;
            }
        }
        expect("get of another entry", store.get("other"), Some("other".into()))
    })
}

/// Sets TTLs, replaces them and removes them.
pub fn t6_get_and_touch_sets_the_ttl() -> Check {
    about(&["T6", "T1"]).needs(&[Capability::TouchingReads, Capability::TtlReading]).run(|context| {
        let store = context.store();
        let long = context.long();
        for old in [Ttl::Forever, Ttl::After(long / 2)] {
            for new in [Ttl::After(long), Ttl::Forever, Ttl::After(long / 4), Ttl::Default] {
                let what = format!("get_and_touch with {new:?} of an entry with {old:?}");
                store.put_with_ttl("k", "v", old)?;
                let ttl = if let Ttl::After(ttl) = new { ttl } else { long };
                let (read, end) = context.expiring(ttl, || store.get_and_touch("k", new))?;
                expect_eq(&what, read, Some("v".into()))?;
                if matches!(new, Ttl::After(_)) {
                    expect_remaining(context, &format!("after {what}"), "k", end)?;
                } else {
                    expect(format_args!("ttl after {what}"), store.ttl("k"), Some(Remaining::Forever))?;
                }
            }
        }
        Ok(())
    })
}

/// Gives an entry without a TTL, and one with a long TTL, a short one: they expire, neither early nor late. Reading does not count on.
pub fn t6_get_and_touch_shortens_a_ttl() -> Check {
    about(&["T6", "T2"]).needs(NEEDS).run(|context| {
        let store = context.store();
        let ttl = context.short();
        let mut ends = Vec::<(&str, Expiry)>::new();
        for (key, old) in [("forever", Ttl::Forever), ("long", Ttl::After(context.long()))] {
            store.put_with_ttl(key, "v", old)?;
            let (read, end) = context.expiring(ttl, || store.get_and_touch(key, ttl))?;
            expect_eq("get_and_touch with a short TTL", read, Some("v".into()))?;
            ends.push((key, end));
        }
        for &(key, end) in &ends {
            let is_there = || expect(format_args!("get({key:?}) before the end"), store.get(key), Some("v".into()));
            context.while_live(end, is_there)?;
        }
        for (key, end) in ends {
            context.wait_for(end);
            expect(format_args!("get({key:?}) after the TTL given by get_and_touch"), store.get(key), None)?;
        }
        Ok(())
    })
}

/// Reads entries with a short TTL, as sessions are, and gives them a longer one, or none: they outlive the old one.
pub fn t6_get_and_touch_extends_a_ttl() -> Check {
    about(&["T6", "T2"]).needs(NEEDS).run(|context| {
        let store = context.store();
        for (key, new) in [("forever", Ttl::Forever), ("long", Ttl::After(context.long()))] {
            let end = context.put_for(key, "v", context.short())?;
            let (read, new_end) = context.expiring(context.long(), || Ok(store.get_and_touch(key, new)))?;
            context.while_live(end, || expect("get_and_touch within the TTL", read, Some("v".into())))?;
            context.wait_for(end);
            let what = format!("get after the first TTL of an entry that get_and_touch gave {new:?}");
            let is_there = || expect(what, store.get(key), Some("v".into()));
            if new == Ttl::Forever { is_there()? } else { context.while_live(new_end, is_there)? }
        }
        Ok(())
    })
}

/// Reads entries with a zero TTL: their values come, and they are gone.
pub fn t6_get_and_touch_with_a_zero_ttl_removes_the_entry() -> Check {
    about(&["T6", "T3"]).needs(NEEDS).run(|context| {
        let store = context.store();
        for old in [Ttl::Forever, Ttl::After(context.long())] {
            store.put_with_ttl("k", "v", old)?;
            expect("get_and_touch with a zero TTL", store.get_and_touch("k", Duration::ZERO), Some("v".into()))?;
            expect("get after that", store.get("k"), None)?;
            expect("get_and_touch after that", store.get_and_touch("k", Ttl::Forever), None)?;
            expect("get after that", store.get("k"), None)?;
        }
        Ok(())
    })
}

/// Reads an absent key and an entry that has expired, with every kind of TTL: nothing comes, and nothing is there afterwards.
pub fn t6_get_and_touch_of_what_is_absent_does_nothing() -> Check {
    about(&["T6", "T5", "T3"]).needs(NEEDS).run(|context| {
        let store = context.store();
        let absent = |key: &str, which: &str| -> Outcome {
            for ttl in [Ttl::Default, Ttl::Forever, Ttl::After(context.long()), Ttl::After(Duration::ZERO)] {
                let what = format!("get_and_touch of {which} with {ttl:?}");
                expect(&what, store.get_and_touch(key, ttl), None)?;
                expect(format_args!("get after {what}"), store.get(key), None)?;
            }
            Ok(())
        };
        absent("absent", "an absent key")?;
        let end = context.put_for("k", "v", context.short())?;
        context.wait_for(end);
        absent("k", "an expired entry")
    })
}

/// Reads an entry and gives it TTLs: its version stays.
pub fn u2_get_and_touch_keeps_the_version() -> Check {
    about(&["U2", "T6"]).needs(&[Capability::TouchingReads, Capability::Versions]).run(|context| {
        let store = context.store();
        for ttl in [Ttl::After(context.long()), Ttl::Forever, Ttl::Default] {
            store.put("k", "v")?;
            let version = version_of(store, "k", "v")?;
            let (read, end) = context.expiring(context.long(), || store.get_and_touch("k", ttl))?;
            expect_eq(format_args!("get_and_touch with {ttl:?}"), read, Some("v".into()))?;
            context.while_live(end, || {
                let when = format!("the version from before get_and_touch with {ttl:?}");
                expect_holds(store, "k", "new", &version, &when).map(drop)
            })?;
        }
        Ok(())
    })
}
