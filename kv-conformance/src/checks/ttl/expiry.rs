//! Section 4: when entries expire.

use std::collections::BTreeSet;
use std::time::Duration;

use kv_core::{Capability, Error, KeyValueStoreExt, Remaining, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::listed;
use crate::running::{Context, Expiry, Liveness, NotPassed, Outcome, expect, expect_eq, expect_error, expect_that};

checks![
    t1_without_a_configured_default_entries_stay,
    t1_a_configured_default_applies_unless_a_write_says_otherwise,
    t2_an_entry_expires_neither_early_nor_late,
    t2_ttls_from_a_nanosecond_to_a_second_are_kept,
    t2_each_entry_of_a_batch_has_its_own_ttl,
    t2_reading_does_not_extend_a_ttl,
    t3_a_zero_ttl_leaves_the_key_absent,
];

/// Writes without a TTL and waits a while: the entry has to be there, and to say that it stays.
pub fn t1_without_a_configured_default_entries_stay() -> Check {
    about(&["T1"]).needs(&[Capability::Ttls]).run(|context| {
        let store = context.store();
        store.put("k", "v")?;
        store.put_with_ttl("default", "v", Ttl::Default)?;
        context.time.wait(context.short());
        for key in ["k", "default"] {
            expect(format_args!("get({key:?}), written without a TTL"), store.get(key), Some("v".into()))?;
            if context.has(Capability::TtlReading) {
                expect(format_args!("ttl({key:?})"), store.ttl(key), Some(Remaining::Forever))?;
            }
        }
        Ok(())
    })
}

/// Configures a store with a default TTL. Every way of writing has to use it, and `Forever` and `After` have to override it.
pub fn t1_a_configured_default_applies_unless_a_write_says_otherwise() -> Check {
    about(&["T1"]).needs(&[Capability::Ttls]).run(|context| {
        let ttl = context.short();
        let fixture = context.scope.open_with_default_ttl(ttl)?;
        let context = context.with(&fixture);
        let store = context.store();
        let mut by_default = vec!["put", "put_with_ttl", "put_many", "put_from"];
        let ((), end) = context.expiring(ttl, || {
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
            if context.has(Capability::TouchingReads) {
                by_default.push("get_and_touch");
                store.put_with_ttl("get_and_touch", "v", Ttl::Forever)?;
                store.get_and_touch("get_and_touch", Ttl::Default)?;
            }
            if context.has(Capability::Versions) {
                by_default.push("put_if");
                store.put_with_ttl("put_if", "old", Ttl::Forever)?;
                if let Some((_, version)) = store.get_versioned("put_if")? {
                    store.put_if("put_if", "v", Ttl::Default, &version)?;
                }
                if context.has(Capability::Create) {
                    by_default.push("create_versioned");
                    store.create_versioned("create_versioned", "v", Ttl::Default)?;
                }
            }
            if context.has(Capability::Counters) {
                by_default.push("increment");
                store.increment("increment", 1, Ttl::Default)?;
            }
            Ok::<_, Error>(())
        })?;
        let long = context.put_long("long", "v")?;
        let mut forever = vec!["forever"];
        store.put_with_ttl("forever", "v", Ttl::Forever)?;
        if context.has(Capability::Copy) {
            forever.extend(["copied", "renamed"]);
            store.copy("forever", "copied")?;
            store.copy("forever", "to-be-renamed")?;
            store.rename("to-be-renamed", "renamed")?;
        }
        for key in &by_default {
            let value = if *key == "increment" { "1" } else { "v" };
            context.while_live(end, || expect("get within the default TTL", store.get(key), Some(value.into())))?;
        }
        context.wait_for(end);
        for key in by_default {
            expect(format_args!("get after the default TTL, written by {key}"), store.get(key), None)?;
        }
        for key in forever {
            expect(format_args!("get({key:?}), which is for ever"), store.get(key), Some("v".into()))?;
        }
        context.while_live(long, || expect("get of an entry with a longer TTL", store.get("long"), Some("v".into())))
    })
}

/// Reads an entry over and over until its TTL and the store's resolution have passed. At no moment before its TTL
/// has passed may it be absent, and at none after may it be there, or reappear. In real time it is read without a pause shortly
/// before it expires: a store that cuts its clock or its TTLs to milliseconds is early by less than one.
pub fn t2_an_entry_expires_neither_early_nor_late() -> Check {
    about(&["T2"]).needs(&[Capability::Ttls]).run(|context| {
        let ttl = context.short();
        let end = context.put_for("k", "v", ttl)?;
        let mut seen = watch(context, "k", ttl, end)?;
        // A reader that came late has not seen whether the entry expired early. Shorter TTLs compensate for that.
        for round in 0..ROUNDS {
            if seen {
                break;
            }
            let (key, ttl) = (format!("k/{round}"), close(context).min(context.short()));
            let end = context.put_for(&key, "v", ttl)?;
            seen = read_to_the_end(context, &key, ttl, end)?;
        }
        if !seen {
            return Err(NotPassed::TooSlow);
        }
        context.time.wait(ttl);
        expect("get, another TTL later", context.store().get("k"), None)
    })
}

/// TTLs shorter than this are watched one by one, from the write on.
const SHORT: Duration = Duration::from_millis(10);

/// How long before it expires an entry is read without a pause.
const CLOSE: Duration = Duration::from_millis(25);

/// How shortly before its expiry an entry has to be seen to show that it did not expire early.
const NEAR: Duration = Duration::from_millis(1);

/// How often the check tries that.
const ROUNDS: usize = 10;

/// [`CLOSE`] and [`NEAR`] for this machine and this store: what is read without a pause has to be read several times.
fn close(context: &Context<'_>) -> Duration {
    context.patiently(CLOSE.max(context.pace().operation * 8))
}

fn near(context: &Context<'_>) -> Duration {
    context.patiently(NEAR.max(context.pace().operation * 2))
}

/// Reads an entry at many moments until it expires, and just after. Returns whether it was seen shortly before it expired.
fn watch(context: &Context<'_>, key: &str, ttl: Duration, end: Expiry) -> Outcome<bool> {
    let step = (end.latest.saturating_sub(context.time.now()) / 20).max(Duration::from_nanos(1));
    let mut moments = (0..20).map(|n| end.latest.saturating_sub(step * (20 - n))).collect::<Vec<_>>();
    moments.extend([end.earliest, end.latest, end.latest + Duration::from_nanos(1)]);
    moments.sort_unstable();
    let close = end.earliest.saturating_sub(close(context));
    for moment in moments.iter().filter(|moment| **moment < close) {
        context.time.wait_until(*moment);
        look(context, key, ttl, end)?;
    }
    let seen = read_to_the_end(context, key, ttl, end)?;
    for moment in moments.into_iter().filter(|moment| *moment >= end.earliest) {
        context.time.wait_until(moment);
        look(context, key, ttl, end)?;
    }
    Ok(seen)
}

/// Reads an entry without a pause from shortly before its expiry until its TTL may have passed; if time is advanced by hand, at the last
/// nanosecond. Returns whether it was seen shortly before it expired.
fn read_to_the_end(context: &Context<'_>, key: &str, ttl: Duration, end: Expiry) -> Outcome<bool> {
    if context.time.is_advanced_by_hand() {
        context.time.wait_until(end.earliest.saturating_sub(Duration::from_nanos(1)));
        return Ok(look(context, key, ttl, end)?.0 == Liveness::Live);
    }
    context.time.wait_until(end.earliest.saturating_sub(close(context)));
    let near = end.earliest.saturating_sub(near(context));
    let mut seen = false;
    while context.time.now() < end.earliest {
        let (known, after) = look(context, key, ttl, end)?;
        seen |= known == Liveness::Live && after >= near;
    }
    Ok(seen)
}

/// Reads an entry once, and checks that it is neither early nor late. Returns whether it had expired, and when the read was over.
fn look(context: &Context<'_>, key: &str, ttl: Duration, end: Expiry) -> Outcome<(Liveness, Duration)> {
    let (got, before, after) = context.time.span(|| context.store().get(key));
    let got = got?;
    let Expiry { earliest, latest } = end;
    let what = || {
        format!(
            "get({key:?}), {before:?} to {after:?} after the start; with a TTL of {ttl:?} it expires {earliest:?} to {latest:?} after the start"
        )
    };
    let known = end.liveness(before, after);
    match known {
        Liveness::Live if got.is_none() => expect_that(what(), false, "the value: it must not expire early", got)?,
        Liveness::Expired if got.is_some() => expect_that(what(), false, "None: it has to have expired by now", got)?,
        _ => {}
    }
    Ok((known, after))
}

/// Writes entries that live from a nanosecond to a second, in each way of giving a TTL, and watches each: those of a few
/// milliseconds again and again and one by one, from the write on, all the others at once. A store that cuts TTLs or its clock
/// to milliseconds or seconds makes them expire early, or turns them into "for ever"; one that rounds them up, and its server once
/// more, is later than it says.
pub fn t2_ttls_from_a_nanosecond_to_a_second_are_kept() -> Check {
    about(&["T2", "T4"]).needs(&[Capability::Ttls]).run(|context| {
        let nanoseconds =
            [1, 1_000, 999_999, 1_000_000, 1_000_001, 1_500_000, 2_000_000, 10_000_000, 100_000_000, 500_000_000];
        let seconds = [999_000_000, 999_999_999, 1_000_000_000, 1_000_000_001, 1_001_000_000, 1_500_000_000];
        let ttls = nanoseconds.into_iter().chain(seconds).map(Duration::from_nanos);
        let ttls = ttls.filter(|ttl| *ttl <= context.long()).collect::<Vec<_>>();
        // All at the same time. A machine that was too slow for that gets one TTL after the other, and so does a store that is slow: some
        // of the TTLs, then, since each is waited for five times.
        let (is_slow, is_repeated) = (near(context) > NEAR, context.patiently(NEAR) > NEAR);
        let ttls = if context.pace().operation > NEAR && !context.time.is_advanced_by_hand() {
            few(context, &ttls)
        } else {
            ttls
        };
        let (mut given, mut seen) = (BTreeSet::new(), BTreeSet::new());
        for ttls in ttls.chunks(if is_slow { 1 } else { ttls.len() }) {
            watch_together(context, ttls, &mut given, &mut seen)?;
        }
        // If the reader came late each time, it has not seen whether entries that are written in this way expire early. A machine that is
        // too slow for some of the ways will be too slow again, so some of them have to be enough.
        if seen == given || is_repeated && !seen.is_empty() { Ok(()) } else { Err(NotPassed::TooSlow) }
    })
}

/// Two TTLs that may have passed before a slow store has answered, and two that it can be seen to keep, chosen at random.
fn few(context: &Context<'_>, ttls: &[Duration]) -> Vec<Duration> {
    let mut random = fastrand::Rng::with_seed(context.seed.used());
    let (short, long): (Vec<_>, Vec<_>) = ttls.iter().partition(|ttl| **ttl < context.pace().operation * 4);
    [short, long].into_iter().flat_map(|of| random.choose_multiple(of, 2)).collect()
}

/// Writes entries with these TTLs in each way, and reads each until it expires and just after. Adds the ways that the store has to `given`,
/// and the ways with an entry that was seen shortly before it expired to `seen`.
fn watch_together(
    context: &Context<'_>,
    ttls: &[Duration],
    given: &mut BTreeSet<&'static str>,
    seen: &mut BTreeSet<&'static str>,
) -> Outcome {
    let mut entries = Vec::new();
    for &ttl in ttls {
        for way in WAYS {
            watch_short(context, way, ttl)?;
            // The expiries are spread, so that the check can wait for each. In a store in memory, it would otherwise miss all but the first
            // of a group.
            if ttl >= SHORT && !context.time.is_advanced_by_hand() {
                context.time.wait(NEAR * 2);
            }
            let key = format!("{way}/{}", ttl.as_nanos());
            if let Some(end) = write_with_ttl(context, way, &key, ttl)? {
                given.insert(way);
                entries.push((way, key, ttl, end));
            }
        }
    }
    let moments = |(at, (.., end)): (usize, &(&str, String, Duration, Expiry))| {
        [(end.earliest, false, at), (end.latest, true, at)]
    };
    let mut moments = entries.iter().enumerate().flat_map(moments).collect::<Vec<_>>();
    moments.sort_unstable();
    for (moment, is_after, at) in moments {
        let Some((way, key, ttl, end)) = entries.get(at) else { continue };
        if is_after {
            context.time.wait_until(moment);
            look(context, key, *ttl, *end)?;
        } else if read_to_the_end(context, key, *ttl, *end)? {
            seen.insert(*way);
        }
    }
    Ok(())
}

/// The ways to give a TTL.
const WAYS: [&str; 5] = ["put", "put_many", "put_from", "create", "touch"];

/// Writes an entry with a TTL of a few milliseconds in one of the ways, again and again, reads it without a pause from then on, and checks
/// that it expires in time, if that does not take long. If the TTL is over before the write returns, no number of tries can show that the
/// entry is early; that is left to longer TTLs.
fn watch_short(context: &Context<'_>, way: &str, ttl: Duration) -> Outcome {
    if ttl >= SHORT {
        return Ok(());
    }
    let goes_soon = ttl.saturating_add(context.capabilities().ttl_resolution()) < SHORT;
    let mut seen = 0;
    for round in 0..context.items(ROUNDS, 50).max(1) {
        // Five rounds are enough if the expiries were seen. If not, more may help.
        if round >= ROUNDS / 2 && (seen > 0 || ttl < NEAR) {
            break;
        }
        let key = format!("{way}/{}/{round}", ttl.as_nanos());
        let Some(end) = write_with_ttl(context, way, &key, ttl)? else { break };
        seen += usize::from(read_to_the_end(context, &key, ttl, end)?);
        if goes_soon {
            context.wait_for(end);
            look(context, &key, ttl, end)?;
        }
    }
    Ok(())
}

/// Writes an entry with a TTL in one of the ways. Returns its expiry, or `None` if the store lacks this way.
fn write_with_ttl(context: &Context<'_>, way: &str, key: &str, ttl: Duration) -> Outcome<Option<Expiry>> {
    let store = context.store();
    let ((), end) = match way {
        "put" => context.expiring(ttl, || store.put_with_ttl(key, "v", ttl))?,
        "put_many" => context.expiring(ttl, || store.put_many_with_ttl([(key, "v", ttl)]))?,
        "put_from" => context.expiring(ttl, || store.put_from_with_ttl(key, &b"v"[..], ttl))?,
        "create" if context.has(Capability::Create) => {
            context.expiring(ttl, || store.create_with_ttl(key, "v", ttl).map(drop))?
        }
        "touch" if context.has(Capability::Touch) => {
            store.put(key, "v")?;
            context.expiring(ttl, || store.touch(key, ttl).map(drop))?
        }
        _ => return Ok(None),
    };
    Ok(Some(end))
}

/// Writes a batch of entries with different TTLs, without one, and with a zero one.
pub fn t2_each_entry_of_a_batch_has_its_own_ttl() -> Check {
    about(&["T2", "B2"]).needs(&[Capability::Ttls]).run(|context| {
        let store = context.store();
        let ttl = context.short();
        let (put, before, after) = context.time.span(|| {
            store.put_many_with_ttl([
                ("long", "v", Ttl::After(context.long())),
                ("short", "v", Ttl::After(ttl)),
                ("forever", "v", Ttl::Forever),
                ("zero", "v", Ttl::After(Duration::ZERO)),
                ("default", "v", Ttl::Default),
            ])
        });
        put?;
        let resolution = context.capabilities().ttl_resolution();
        let [end, long] = [ttl, context.long()].map(|ttl| Expiry::of(ttl, before, after, resolution));
        context.while_live(end, || expect("get within the short TTL", store.get("short"), Some("v".into())))?;
        context.wait_for(end);
        context.while_live(long, || {
            let got = store.get_many(["long", "short", "forever", "zero", "default"])?;
            let there = got.iter().map(Option::is_some).collect::<Vec<_>>();
            let want = vec![true, false, true, false, true];
            expect_eq("which of long, short, forever, zero, default are there", there, want)
        })
    })
}

/// Reads an entry in every way until it expires: it has to expire when it would have expired unread.
pub fn t2_reading_does_not_extend_a_ttl() -> Check {
    about(&["T2"]).needs(&[Capability::Ttls]).run(|context| {
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
                expect_error("get_into", Err::<(), _>(error), "NotFound", |error| {
                    matches!(error, Error::NotFound { .. })
                })?;
            }
        }
        context.wait_for(end);
        expect("get after the TTL of an entry that was read all the time", store.get("k"), None)
    })
}

/// Writes with a zero TTL in every way, to an absent and to a present key. Then the key has to be absent. (`PX 0` is an error for redis,
/// and `0` means for ever to memcached.)
pub fn t3_a_zero_ttl_leaves_the_key_absent() -> Check {
    about(&["T3"]).needs(&[Capability::Ttls]).run(|context| {
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
                        let what = format!("touch with a zero TTL, where the key is present: {present}");
                        expect(what, store.touch("k", zero), present)?;
                    }
                    _ => continue,
                }
                let what = format!("get after {way} with a zero TTL, where the key was present before: {present}");
                expect(what, store.get("k"), None)?;
                store.delete("k")?;
            }
        }
        Ok(())
    })
}
