//! Section 4: `ttl` and `touch`.

use std::time::Duration;

use kv_core::{Capability, KeyValueStoreExt, Remaining, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::expect_remaining;
use crate::property::values::patterned;
use crate::running::{expect, expect_that};

checks![
    t6_ttl_tells_what_remains,
    t6_touch_sets_a_ttl_and_leaves_the_value,
    t6_touch_shortens_a_ttl,
    t6_touch_extends_a_ttl,
    t6_touch_of_an_absent_key_does_nothing,
];

/// Reads TTLs: of an absent key, of an entry without one, of entries with one at several moments. What is left has to
/// shrink as time passes, and must not be more than was given.
pub fn t6_ttl_tells_what_remains() -> Check {
    about(&["T6"]).needs(&[Capability::TtlReading]).run(|context| {
        let store = context.store();
        expect("ttl of an absent key", store.ttl("absent"), None)?;
        store.put("forever", "v")?;
        expect("ttl of an entry without a TTL", store.ttl("forever"), Some(Remaining::Forever))?;
        let long = context.long();
        let ttls = [long, Duration::from_secs(100).min(long), Duration::from_millis(90_500).min(long), context.short()];
        let mut ends = Vec::new();
        for (at, ttl) in ttls.into_iter().enumerate() {
            let key = format!("k{at}");
            let end = context.put_for(&key, "v", ttl)?;
            ends.push((key, end));
        }
        for _ in 0..3 {
            for (key, end) in &ends {
                expect_remaining(context, "as time passes", key, *end)?;
            }
            context.time.wait(context.short() / 4);
        }
        Ok(())
    })
}

/// Sets TTLs by touching entries, and removes them again. The value has to stay unchanged.
pub fn t6_touch_sets_a_ttl_and_leaves_the_value() -> Check {
    about(&["T6", "V1"]).needs(&[Capability::Touch]).run(|context| {
        let store = context.store();
        let value = patterned(context.size(5000));
        store.put("k", &value)?;
        for ttl in [Ttl::After(context.long()), Ttl::Forever, Ttl::After(context.long() / 2), Ttl::Default] {
            // Of one that is for ever, this end is none.
            let (touched, end) = context.expiring(context.long() / 2, || Ok(store.touch("k", ttl)))?;
            expect(format_args!("touch with {ttl:?}"), touched, true)?;
            context.while_live(end, || {
                expect(format_args!("get after touch with {ttl:?}"), store.get("k"), Some(value.clone().into()))?;
                if context.has(Capability::TtlReading) {
                    let got = store.ttl("k")?;
                    let forever = !matches!(ttl, Ttl::After(_));
                    let holds = got.is_some_and(|remaining| (remaining == Remaining::Forever) == forever);
                    expect_that(format_args!("ttl after touch with {ttl:?}"), holds, "the TTL of the touch", got)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    })
}

/// Touches an entry without a TTL, and one with a long TTL, with a short TTL: they have to expire, neither early nor late.
pub fn t6_touch_shortens_a_ttl() -> Check {
    about(&["T6", "T2"]).needs(&[Capability::Touch]).run(|context| {
        let store = context.store();
        let ttl = context.short();
        let mut ends = Vec::new();
        for (key, old) in [("forever", Ttl::Forever), ("long", Ttl::After(context.long()))] {
            store.put_with_ttl(key, "v", old)?;
            let (touched, end) = context.expiring(ttl, || store.touch(key, ttl))?;
            expect("touch", Ok(touched), true)?;
            ends.push((key, end));
        }
        for &(key, end) in &ends {
            context.while_live(end, || {
                expect(format_args!("get({key:?}) before the end"), store.get(key), Some("v".into()))
            })?;
        }
        for (key, end) in ends {
            context.wait_for(end);
            expect(format_args!("get({key:?}) after the TTL given by touch"), store.get(key), None)?;
        }
        Ok(())
    })
}

/// Touches entries with a short TTL with a longer one, and with none: they have to outlive the old one.
pub fn t6_touch_extends_a_ttl() -> Check {
    about(&["T6", "T2"]).needs(&[Capability::Touch]).run(|context| {
        let store = context.store();
        for (key, new) in [("forever", Ttl::Forever), ("long", Ttl::After(context.long()))] {
            let end = context.put_for(key, "v", context.short())?;
            let (touched, new_end) = context.expiring(context.long(), || Ok(store.touch(key, new)))?;
            context.while_live(end, || expect("touch within the TTL", touched, true))?;
            context.wait_for(end);
            let what = format!("get after the first TTL of an entry that was touched with {new:?}");
            let is_there = || expect(what, store.get(key), Some("v".into()));
            if new == Ttl::Forever { is_there()? } else { context.while_live(new_end, is_there)? }
        }
        Ok(())
    })
}

/// Touches a key that is absent, with every kind of TTL: `false`, and it stays absent.
pub fn t6_touch_of_an_absent_key_does_nothing() -> Check {
    about(&["T6", "T3"]).needs(&[Capability::Touch]).run(|context| {
        let store = context.store();
        for ttl in [Ttl::Default, Ttl::Forever, Ttl::After(context.long()), Ttl::After(Duration::ZERO)] {
            expect(format_args!("touch of an absent key with {ttl:?}"), store.touch("k", ttl), false)?;
            expect("get after that", store.get("k"), None)?;
        }
        Ok(())
    })
}
