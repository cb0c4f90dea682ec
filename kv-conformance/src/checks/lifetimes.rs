//! Section 4: when entries go.

use std::time::Duration;

use kv_core::{Capability, Error, KeyValueStoreExt, Remaining, Ttl};

use super::{checks, listed};
use crate::context::Context;
use crate::failure::{NotPassed, Outcome, expect, expect_eq, expect_error, expect_that};
use crate::time::{End, Known};

checks! {
    t1_without_a_configured_default_entries_stay [T1] needs Lifetimes;
    t1_a_configured_default_applies_unless_a_write_says_otherwise [T1] needs Lifetimes;
    t2_an_entry_goes_neither_early_nor_late [T2] needs Lifetimes;
    t2_lifetimes_from_a_nanosecond_to_a_second_are_kept [T2 T4] needs Lifetimes;
    t2_each_entry_of_a_batch_has_its_own_lifetime [T2 B2] needs Lifetimes;
    t2_reading_does_not_extend_a_lifetime [T2] needs Lifetimes;
    t3_a_zero_lifetime_leaves_the_key_absent [T3] needs Lifetimes;
}

/// Writes without a lifetime and waits a while: the entry has to be there, and to say that it stays.
pub fn t1_without_a_configured_default_entries_stay(context: &Context<'_>) -> Outcome {
    let store = context.store();
    store.put("k", "v")?;
    store.put_with_ttl("default", "v", Ttl::Default)?;
    context.time.wait(context.short());
    for key in ["k", "default"] {
        expect(format_args!("get({key:?}), written without a lifetime"), store.get(key), Some("v".into()))?;
        if context.has(Capability::TtlReading) {
            expect(format_args!("ttl({key:?})"), store.ttl(key), Some(Remaining::Forever))?;
        }
    }
    Ok(())
}

/// Configures a store with a default lifetime: every way of writing has to use it, and `Forever` and `After` to overrule it.
pub fn t1_a_configured_default_applies_unless_a_write_says_otherwise(context: &Context<'_>) -> Outcome {
    let ttl = context.short();
    let fixture = context.suite.open_with_default_ttl(ttl)?;
    let context = Context::new(context.suite, &fixture, 0, context.seed);
    let store = context.store();
    let mut by_default = vec!["put", "put_with_ttl", "put_many", "put_from"];
    let ((), end) = context.ending(ttl, || {
        store.put("put", "v")?;
        store.put_with_ttl("put_with_ttl", "v", Ttl::Default)?;
        store.put_many([("put_many", "v")])?;
        store.put_from("put_from", &b"v"[..])?;
        if context.has(Capability::Create) {
            by_default.push("create");
            store.create("create", "v")?;
        }
        if context.has(Capability::Touch) {
            by_default.push("touch");
            store.put_with_ttl("touch", "v", Ttl::Forever)?;
            store.touch("touch", Ttl::Default)?;
        }
        Ok::<_, Error>(())
    })?;
    store.put_with_ttl("long", "v", context.long())?;
    let mut forever = vec!["forever"];
    store.put_with_ttl("forever", "v", Ttl::Forever)?;
    if context.has(Capability::Copy) {
        forever.extend(["copied", "renamed"]);
        store.copy("forever", "copied")?;
        store.copy("forever", "to-be-renamed")?;
        store.rename("to-be-renamed", "renamed")?;
    }
    for key in &by_default {
        context.while_live(end, || expect("get within the default lifetime", store.get(key), Some("v".into())))?;
    }
    context.wait_for(end);
    for key in by_default {
        expect(format_args!("get after the default lifetime, written by {key}"), store.get(key), None)?;
    }
    for key in forever {
        expect(format_args!("get({key:?}), which is for ever"), store.get(key), Some("v".into()))?;
    }
    expect("get of an entry with a longer lifetime", store.get("long"), Some("v".into()))
}

/// Reads an entry over and over until its lifetime and the store's resolution have passed. At no moment before its lifetime
/// has passed may it be absent, and at none after may it be there, or reappear.
pub fn t2_an_entry_goes_neither_early_nor_late(context: &Context<'_>) -> Outcome {
    let ttl = context.short();
    let end = context.put_for("k", "v", ttl)?;
    watch(context, "k", ttl, end)?;
    context.time.wait(ttl);
    expect("get, a lifetime later", context.store().get("k"), None)
}

/// Reads an entry at many moments up to its end and just after.
fn watch(context: &Context<'_>, key: &str, ttl: Duration, end: End) -> Outcome {
    let step = (end.latest.saturating_sub(context.time.now()) / 20).max(Duration::from_nanos(1));
    let mut moments = (0..20).map(|n| end.latest.saturating_sub(step * (20 - n))).collect::<Vec<_>>();
    let nanosecond = Duration::from_nanos(1);
    moments.extend([end.earliest.saturating_sub(nanosecond), end.earliest, end.latest, end.latest + nanosecond]);
    moments.sort_unstable();
    let mut seen_live = false;
    for moment in moments {
        context.time.wait_until(moment);
        seen_live |= look(context, key, ttl, end)? == Known::Live;
    }
    // Who came too late each time has not seen that it does not go early.
    if seen_live { Ok(()) } else { Err(NotPassed::TooSlow) }
}

/// Reads an entry once, which must not be gone early and has to be gone in time; which of these it was.
fn look(context: &Context<'_>, key: &str, ttl: Duration, end: End) -> Outcome<Known> {
    let (got, before, after) = context.time.span(|| context.store().get(key));
    let got = got?;
    let End { earliest, latest } = end;
    let what = format!(
        "get({key:?}), {before:?} to {after:?} after the start; its lifetime of {ttl:?} ends {earliest:?} to {latest:?} after it"
    );
    let known = end.known(before, after);
    match known {
        Known::Live => expect_that(what, got.is_some(), "the value: it must not go early", got)?,
        Known::Gone => expect_that(what, got.is_none(), "None: it has to be gone by now", got)?,
        Known::Either => {}
    }
    Ok(known)
}

/// Writes entries that live from a nanosecond to a second, in each way of giving a lifetime, and watches each: those of a few
/// milliseconds again and again and one by one, all the others at once. A store that cuts lifetimes to milliseconds or seconds
/// makes them end early, or turns them into "for ever"; one that rounds them up, and its server once more, is later than it says.
pub fn t2_lifetimes_from_a_nanosecond_to_a_second_are_kept(context: &Context<'_>) -> Outcome {
    const SHORT: Duration = Duration::from_millis(10);
    let nanoseconds =
        [1, 1_000, 999_999, 1_000_000, 1_000_001, 1_500_000, 2_000_000, 10_000_000, 100_000_000, 500_000_000];
    let seconds = [999_000_000, 999_999_999, 1_000_000_000, 1_000_000_001, 1_001_000_000, 1_500_000_000];
    let mut entries = Vec::new();
    for ttl in nanoseconds.into_iter().chain(seconds).map(Duration::from_nanos) {
        for way in ["put", "put_many", "put_from", "create", "touch"] {
            let key = format!("{way}/{}", ttl.as_nanos());
            if ttl.saturating_add(context.capabilities().ttl_resolution()) < SHORT {
                for round in 0..5 {
                    let key = format!("{key}/{round}");
                    let Some(end) = give_a_lifetime(context, way, &key, ttl)? else { break };
                    context.wait_for(end);
                    look(context, &key, ttl, end)?;
                }
            }
            if let Some(end) = give_a_lifetime(context, way, &key, ttl)? {
                entries.push((key, ttl, end));
            }
        }
    }
    // The lifetimes run at the same time. Each entry is looked at shortly before and just after its own, as time goes by.
    let by_hand = context.time.is_advanced_by_hand();
    let margin = if by_hand { Duration::from_nanos(1) } else { Duration::from_millis(20) };
    let moments = |(at, (_, _, end)): (usize, &(String, Duration, End))| {
        [(end.earliest.saturating_sub(margin), at), (end.latest, at)]
    };
    let mut moments = entries.iter().enumerate().flat_map(moments).collect::<Vec<_>>();
    moments.sort_unstable();
    let mut seen_live = false;
    for (moment, at) in moments {
        context.time.wait_until(moment);
        if let Some((key, ttl, end)) = entries.get(at) {
            seen_live |= look(context, key, *ttl, *end)? == Known::Live;
        }
    }
    if seen_live { Ok(()) } else { Err(NotPassed::TooSlow) }
}

/// Writes an entry with a lifetime in one of the ways there are; when it ends. `None` if the store lacks the way.
fn give_a_lifetime(context: &Context<'_>, way: &str, key: &str, ttl: Duration) -> Outcome<Option<End>> {
    let store = context.store();
    let ((), end) = match way {
        "put" => context.ending(ttl, || store.put_with_ttl(key, "v", ttl))?,
        "put_many" => context.ending(ttl, || store.put_many_with_ttl([(key, "v", ttl)]))?,
        "put_from" => context.ending(ttl, || store.put_from_with_ttl(key, &b"v"[..], ttl))?,
        "create" if context.has(Capability::Create) => {
            context.ending(ttl, || store.create_with_ttl(key, "v", ttl).map(drop))?
        }
        "touch" if context.has(Capability::Touch) => {
            store.put(key, "v")?;
            context.ending(ttl, || store.touch(key, ttl).map(drop))?
        }
        _ => return Ok(None),
    };
    Ok(Some(end))
}

/// Writes a batch of entries with different lifetimes, without one, and with a zero one.
pub fn t2_each_entry_of_a_batch_has_its_own_lifetime(context: &Context<'_>) -> Outcome {
    let store = context.store();
    let ttl = context.short();
    let ((), end) = context.ending(ttl, || {
        store.put_many_with_ttl([
            ("long", "v", Ttl::After(context.long())),
            ("short", "v", Ttl::After(ttl)),
            ("forever", "v", Ttl::Forever),
            ("zero", "v", Ttl::After(Duration::ZERO)),
            ("default", "v", Ttl::Default),
        ])
    })?;
    context.while_live(end, || expect("get within the short lifetime", store.get("short"), Some("v".into())))?;
    context.wait_for(end);
    let got = store.get_many(["long", "short", "forever", "zero", "default"])?;
    let there = got.iter().map(Option::is_some).collect::<Vec<_>>();
    expect_eq("which of long, short, forever, zero, default are there", there, vec![true, false, true, false, true])
}

/// Reads an entry in every way until it goes: it has to go when it would have gone unread.
pub fn t2_reading_does_not_extend_a_lifetime(context: &Context<'_>) -> Outcome {
    let store = context.store();
    let end = context.put_for("k", "v", context.short())?;
    for _ in 0..5 {
        context.time.wait(context.short() / 8);
        store.get("k")?;
        store.get_many(["k"])?;
        if context.has(Capability::Contains) {
            store.contains("k")?;
        }
        if context.has(Capability::TtlReading) {
            store.ttl("k")?;
        }
        if context.has(Capability::Listing) {
            listed(context, "")?;
        }
        if let Err(error) = store.get_into("k", std::io::sink()) {
            expect_error("get_into", Err::<(), _>(error), "NotFound", |error| matches!(error, Error::NotFound { .. }))?;
        }
    }
    context.wait_for(end);
    expect("get after the lifetime of an entry that was read all the time", store.get("k"), None)
}

/// Writes with a zero lifetime in every way, where nothing is and where something is. The key has to be absent. (To redis
/// `PX 0` is an error, to memcached `0` is for ever.)
pub fn t3_a_zero_lifetime_leaves_the_key_absent(context: &Context<'_>) -> Outcome {
    let store = context.store();
    let zero = Duration::ZERO;
    for present in [false, true] {
        for way in ["put_with_ttl", "put_many_with_ttl", "put_from_with_ttl", "touch"] {
            if present {
                store.put("k", "old")?;
            }
            match way {
                "put_with_ttl" => store.put_with_ttl("k", "v", zero)?,
                "put_many_with_ttl" => store.put_many_with_ttl([("k", "v", zero)])?,
                "put_from_with_ttl" => store.put_from_with_ttl("k", &b"v"[..], zero)?,
                _ if context.has(Capability::Touch) => {
                    let what = format!("touch with a zero lifetime, where the key is present: {present}");
                    expect(what, store.touch("k", zero), present)?;
                }
                _ => continue,
            }
            let what = format!("get after {way} with a zero lifetime, where the key was present before: {present}");
            expect(what, store.get("k"), None)?;
            store.delete("k")?;
        }
    }
    Ok(())
}
