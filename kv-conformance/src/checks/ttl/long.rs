//! Section 4: TTLs at the limits of what a store can express.

use std::time::Duration;

use kv_core::{Capability, Error, KeyValueStoreExt, Remaining};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{OldEntry, refused_ttl};
use crate::running::{Context, Expiry, Outcome, expect, expect_eq, expect_error, expect_that};

checks![
    t4_long_ttls_are_kept_or_refused,
    t4_a_refused_ttl_changes_nothing,
    t4_a_create_with_a_refused_ttl_stores_nothing,
    t4_a_touch_with_a_refused_ttl_changes_nothing,
];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A TTL to be tried. The longest one may have become shorter by then.
#[derive(Clone, Copy)]
enum Tried {
    Of(Duration),
    Longest,
    /// A second less than the longest, and a second more.
    Shorter,
    Longer,
}

impl Tried {
    fn ttl(self, context: &Context<'_>) -> Option<Duration> {
        let (longest, second) = (context.capabilities().longest_ttl(), Duration::from_secs(1));
        match self {
            Self::Of(ttl) => Some(ttl),
            Self::Longest => Some(longest),
            Self::Shorter => longest.checked_sub(second),
            Self::Longer => longest.checked_add(second),
        }
    }
}

/// TTLs at which some store or protocol behaves differently.
fn long_ttls() -> Vec<Tried> {
    let second = Duration::from_secs(1);
    let ttls = [
        DAY,
        // memcached takes anything longer than 30 days for a Unix time.
        (30 * DAY).saturating_sub(second),
        30 * DAY,
        30 * DAY + second,
        31 * DAY,
        365 * DAY,
        // Seconds and milliseconds in 31 and 32 bits, milliseconds, microseconds and nanoseconds in 63 and 64.
        Duration::from_millis(i32::MAX as u64),
        Duration::from_millis(u64::from(u32::MAX) + 1),
        Duration::from_secs(i32::MAX as u64),
        Duration::from_secs(u64::from(u32::MAX) + 1),
        Duration::from_nanos(i64::MAX as u64),
        Duration::from_nanos(u64::MAX),
        Duration::from_micros(i64::MAX as u64),
        Duration::from_millis(i64::MAX as u64),
        Duration::from_millis(u64::MAX),
        Duration::from_secs(i64::MAX as u64),
        Duration::MAX,
    ];
    ttls.into_iter().map(Tried::Of).chain([Tried::Longest, Tried::Shorter, Tried::Longer]).collect()
}

/// Writes, touches and creates with TTLs around 30 days, the year 2038 and the overflow of every width of integer. Each
/// has to be kept (the entry is there, and the TTL that is read back is the one given) or refused with `InvalidTtl`; none
/// that `capabilities()` promises may be refused.
pub fn t4_long_ttls_are_kept_or_refused() -> Check {
    about(&["T4", "T6", "O1"]).needs(&[Capability::Ttls]).run(|context| {
        let store = context.store();
        for tried in context.sample(long_ttls(), 20) {
            for way in ["put", "put_many", "put_from", "create", "touch"] {
                let Some(ttl) = tried.ttl(context).filter(|ttl| !ttl.is_zero()) else { continue };
                let (begun, longest) = (context.time.now(), context.capabilities().longest_ttl());
                let result = match way {
                    "put" => store.put_with_ttl("k", "v", ttl),
                    "put_many" => store.put_many_with_ttl([("k", "v", ttl)]),
                    "put_from" => store.put_from_with_ttl("k", &b"v"[..], ttl),
                    "create" if context.has(Capability::Create) => {
                        store.delete("k")?;
                        store.create_with_ttl("k", "v", ttl).map(drop)
                    }
                    "touch" if context.has(Capability::Touch) => {
                        store.put("k", "v")?;
                        store.touch("k", ttl).map(drop)
                    }
                    _ => continue,
                };
                let what = format!("{way} with a TTL of {ttl:?}");
                // What it may have become meanwhile: it has to be taken if it is no longer than this.
                let shortened = context.capabilities().longest_ttl();
                match result {
                    Err(error) if ttl > shortened => expect_invalid_ttl(&what, Err(error), ttl)?,
                    result => {
                        expect(
                            format_args!("{what}; capabilities() says that the longest is {longest:?}"),
                            result,
                            (),
                        )?;
                        expect_kept(context, ttl, begun, &what)?;
                    }
                }
            }
        }
        Ok(())
    })
}

/// Checks that the entry is there, and that nearly all of its TTL is left.
fn expect_kept(context: &Context<'_>, ttl: Duration, begun: Duration, what: &str) -> Outcome {
    let store = context.store();
    let expiry = Expiry::of(ttl, begun, begun, Duration::ZERO);
    context.while_live(expiry, || expect(format_args!("get after {what}"), store.get("k"), Some("v".into())))?;
    if context.has(Capability::TtlReading) {
        let got = store.ttl("k")?;
        let resolution = context.capabilities().ttl_resolution();
        let slack = if context.time.is_advanced_by_hand() { resolution } else { resolution + Duration::from_secs(60) };
        let kept = |left: Duration| left <= ttl.saturating_add(resolution) && left.saturating_add(slack) >= ttl;
        let is_over = got.is_none() && context.time.now() >= expiry.earliest;
        let holds = is_over || matches!(got, Some(Remaining::For(left)) if kept(left));
        expect_that(format_args!("ttl after {what}"), holds, &format!("all but {slack:?} of {ttl:?}"), got)?;
    }
    Ok(())
}

#[track_caller]
fn expect_invalid_ttl(what: &str, result: Result<(), Error>, ttl: Duration) -> Outcome {
    let error = expect_error(what, result, "InvalidTtl", |error| matches!(error, Error::InvalidTtl { .. }))?;
    if let Error::InvalidTtl { ttl: refused, longest, .. } = &error {
        expect_that(format_args!("the TTL in the error of {what}"), *refused == ttl, &format!("{ttl:?}"), refused)?;
        let want = "a longest TTL that is shorter than the refused one";
        expect_that(format_args!("the longest TTL in the error of {what}"), *longest < ttl, want, longest)?;
    }
    Ok(())
}

/// Writes with a TTL that is too long, to an absent and to a present key. The error has to be `InvalidTtl`. An old entry has to stay with
/// its TTL, and an absent key has to stay absent.
pub fn t4_a_refused_ttl_changes_nothing() -> Check {
    about(&["T4"]).needs(&[Capability::Ttls]).run(|context| {
        let store = context.store();
        let ttl = refused_ttl(context)?;
        let old = OldEntry::put(context, "k")?;
        for key in ["k", "absent"] {
            let results = [
                ("put_with_ttl", store.put_with_ttl(key, "new", ttl)),
                ("put_many_with_ttl", store.put_many_with_ttl([(key, "new", ttl)])),
                ("put_from_with_ttl", store.put_from_with_ttl(key, &b"new"[..], ttl)),
            ];
            for (way, result) in results {
                expect_invalid_ttl(&format!("{way} with a TTL of {ttl:?}"), result, ttl)?;
            }
        }
        old.expect_unchanged(context, "after a TTL was refused")?;
        expect("get of an absent key after a TTL was refused", store.get("absent"), None)
    })
}

/// Creates with a TTL that is too long, for an absent and for a present key: nothing may be stored.
pub fn t4_a_create_with_a_refused_ttl_stores_nothing() -> Check {
    about(&["T4"]).needs(&[Capability::Ttls, Capability::Create]).run(|context| {
        let store = context.store();
        let ttl = refused_ttl(context)?;
        let result = store.create_with_ttl("absent", "new", ttl).map(drop);
        expect_invalid_ttl("create_with_ttl of an absent key", result, ttl)?;
        expect("get after that", store.get("absent"), None)?;
        // Over an entry, it may be refused for either reason.
        let old = OldEntry::put(context, "k")?;
        match store.create_with_ttl("k", "new", ttl) {
            Ok(created) => expect_eq("whether create_with_ttl over an entry says that it stored", created, false)?,
            Err(error) => expect_invalid_ttl("create_with_ttl over an entry", Err(error), ttl)?,
        }
        old.expect_unchanged(context, "after a create with a TTL that is too long")
    })
}

/// Touches with a TTL that is too long: the old TTL has to hold.
pub fn t4_a_touch_with_a_refused_ttl_changes_nothing() -> Check {
    about(&["T4"]).needs(&[Capability::Ttls, Capability::Touch]).run(|context| {
        let store = context.store();
        let ttl = refused_ttl(context)?;
        let old = OldEntry::put(context, "k")?;
        expect_invalid_ttl("touch", store.touch("k", ttl).map(drop), ttl)?;
        old.expect_unchanged(context, "after a touch with a TTL that is too long")?;
        let end = context.put_for("short", "v", context.short())?;
        expect_invalid_ttl("touch of an entry with a short TTL", store.touch("short", ttl).map(drop), ttl)?;
        context.wait_for(end);
        expect("get after the short TTL, which a touch tried to make too long", store.get("short"), None)
    })
}
