//! Section 12: counters.

use std::time::Duration;

use kv_core::{Bytes, Capability, CounterFault, Error, KeyValueStore, KeyValueStoreExt, Remaining, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{expect_remaining, ways_of_writing, write};
use crate::history::Weakness;
use crate::running::{Context, NotPassed, Outcome, expect, expect_eq, expect_error, expect_that};

checks![
    u5_increment_begins_at_0_and_returns_the_sum,
    u5_increment_continues_what_was_written_as_text,
    u5_increment_counts_up_to_the_largest_number,
    u5_a_value_that_is_no_number_is_refused,
    u5_a_number_is_digits_and_nothing_else,
    u5_a_counter_begins_with_its_ttl_and_keeps_it,
    u5_an_increment_changes_no_ttl,
    u5_an_expired_counter_begins_anew,
    u5_an_increment_with_a_zero_ttl_stores_nothing,
    u5_handles_count_together,
];

const NEEDS: &[Capability] = &[Capability::Counters];

const MOST: u64 = i64::MAX as u64;

/// Increments, and reads the sum as text.
#[track_caller]
fn expect_sum(store: &dyn KeyValueStore, key: &str, by: u32, sum: u64, what: &str) -> Outcome {
    expect(what, store.increment(key, by, Ttl::Default), sum)?;
    expect(format_args!("get after {what}"), store.get(key), Some(Bytes::from(sum.to_string())))
}

/// Increments absent keys, by 0, by 1 and by as much as there is, across powers of ten, and reads the sums as text in several ways.
pub fn u5_increment_begins_at_0_and_returns_the_sum() -> Check {
    about(&["U5", "K3"]).needs(NEEDS).run(|context| {
        let store = context.store();
        for by in [0, 1, 9, 10, 99, 1000, 1 << 31, u32::MAX] {
            let key = format!("from/{by}");
            expect_sum(store, &key, by, by.into(), &format!("increment of an absent key by {by}"))?;
        }
        let mut sum = 0_u64;
        for by in [1, 8, 1, 0, 89, 1, 899, 1, 1, 8999, 1000, u32::MAX, u32::MAX, 0, 1] {
            sum += u64::from(by);
            expect_sum(store, "k", by, sum, &format!("increment by {by} to {sum}"))?;
        }
        for key in ["K", "kk", "k/"] {
            expect_sum(store, key, 1, 1, "increment of another key")?;
        }
        let text = || Some(Bytes::from(sum.to_string()));
        expect("get of a counter", store.get("k"), text())?;
        expect("get_many of a counter", store.get_many(["k"]), vec![text()])?;
        let mut written = Vec::new();
        expect("get_into of a counter", store.get_into("k", &mut written), sum.to_string().len() as u64)?;
        expect_eq("what get_into wrote of a counter", Some(written.into()), text())?;
        expect("delete of a counter", store.delete("k"), true)?;
        expect_sum(store, "k", 5, 5, "increment after delete")
    })
}

/// Increments numbers that were written as text, in each way of writing, and overwrites counters with text.
pub fn u5_increment_continues_what_was_written_as_text() -> Check {
    about(&["U5", "P1"]).needs(NEEDS).run(|context| {
        let store = context.store();
        for way in ways_of_writing(context) {
            for (text, by, sum) in [("0", 1, 1), ("7", 0, 7), ("9", 1, 10), ("41", 1, 42), ("4294967295", 1, 1 << 32)] {
                write(store, way, "k", text)?;
                expect_sum(store, "k", by, sum, &format!("increment of {text:?}, written by {way}, by {by}"))?;
            }
        }
        store.put("k", "not a number")?;
        expect("get of text that has replaced a counter", store.get("k"), Some("not a number".into()))
    })
}

/// Counts up to 2⁶³ − 1, where floating-point numbers and 32 bits have long lost something, and not beyond: what would exceed it is refused,
/// and nothing changes.
pub fn u5_increment_counts_up_to_the_largest_number() -> Check {
    about(&["U5"]).needs(NEEDS).run(|context| {
        let store = context.store();
        for power in (0..63).step_by(context.items(21, 6).min(3)).chain([31, 32, 53, 54, 62]) {
            for begin in [(1_u64 << power) - 1, 1 << power] {
                store.put("k", begin.to_string())?;
                expect_sum(store, "k", 1, begin + 1, &format!("increment of {begin}"))?;
            }
        }
        for (begin, by) in [(MOST - 1, 1), (MOST, 0), (MOST - u64::from(u32::MAX), u32::MAX)] {
            store.put("k", begin.to_string())?;
            expect_sum(store, "k", by, MOST, &format!("increment of {begin} by {by}"))?;
        }
        for (begin, by) in [(MOST, 1), (MOST, u32::MAX), (MOST - 1, 2), (MOST - 10, u32::MAX)] {
            store.put("k", begin.to_string())?;
            refused(context, "k", by, &begin.to_string(), CounterFault::TooLarge)?;
            expect_sum(store, "k", 0, begin, "increment by 0 after a refused one")?;
        }
        Ok(())
    })
}

/// An increment of this value has to be refused, and to change nothing.
#[track_caller]
fn refused(context: &Context<'_>, key: &str, by: u32, value: &str, fault: CounterFault) -> Outcome {
    let store = context.store();
    let what = format!("increment of {value:?} by {by}");
    let error = expect_error(&what, store.increment(key, by, Ttl::Default), "NotACounter", |error| {
        matches!(error, Error::NotACounter { .. })
    })?;
    expect_eq(format_args!("the key in the error of {what}"), error.key(), Some(key))?;
    expect_eq(format_args!("the store in the error of {what}"), error.store(), Some(store.name()))?;
    if let Error::NotACounter { reason, .. } = error {
        expect_eq(format_args!("the reason in the error of {what}"), reason, fault)?;
    }
    expect(format_args!("get after {what}"), store.get(key), Some(value.to_owned().into()))
}

/// Texts that no reader of numbers takes for one that a counter can be.
const NO_NUMBERS: &[&str] = &["-1", "", "abc", "one", "a1", "nil", "\0", "-", "+", ".5", "\u{663}", "{\"n\": 1}"];

/// Texts that a reader of numbers may take for one if it does not look at all of them.
const LENIENT: &[&str] = &[" 1", "1 ", "+1", "007", "00", "5 apples", "1\r\n", "\t1", "1\0", " ", "-0"];

/// Texts that begin like a number, and go on with what no blank follows.
const BEGINNINGS: &[&str] =
    &["1.5", "1a", "0x10", "1e3", "1,000", "1_000", "99999999999999999999", "9223372036854775808"];

/// Increments what is not a number: words, signs, fractions, other systems, numbers that are too large. Value and TTL stay.
pub fn u5_a_value_that_is_no_number_is_refused() -> Check {
    about(&["U5"]).needs(NEEDS).run(|context| {
        let store = context.store();
        for value in context.sample(NO_NUMBERS.iter().chain(BEGINNINGS), 5) {
            store.put("k", *value)?;
            // A number that no counter can be is too large, or is not one.
            let is_large = value.len() > 18 && value.bytes().all(|byte| byte.is_ascii_digit());
            for by in [1, 0] {
                if is_large {
                    let what = format!("increment of {value:?} by {by}");
                    let is_kind = |error: &Error| matches!(error, Error::NotACounter { .. });
                    expect_error(&what, store.increment("k", by, Ttl::Default), "NotACounter", is_kind)?;
                    expect(format_args!("get after {what}"), store.get("k"), Some((*value).into()))?;
                } else {
                    refused(context, "k", by, value, CounterFault::NotANumber)?;
                }
            }
        }
        store.put("k", &b"1\xFF"[..])?;
        let is_kind = |error: &Error| matches!(error, Error::NotACounter { .. });
        expect_error(
            "increment of bytes that are not text",
            store.increment("k", 1, Ttl::Default),
            "NotACounter",
            is_kind,
        )?;
        expect("get after that", store.get("k"), Some(Bytes::from_static(b"1\xFF")))?;
        if context.has(Capability::Ttls) {
            let end = context.put_long("k", "abc")?;
            refused(context, "k", 1, "abc", CounterFault::NotANumber)?;
            if context.has(Capability::TtlReading) {
                expect_remaining(context, "after a refused increment", "k", end)?;
            }
        }
        Ok(())
    })
}

/// Increments a number with a sign, with blanks or zeros before it, or with more after it: it is refused. With
/// [`Weakness::LenientCounters`], which is verified here, at least one of them is taken, and what is refused does not change.
pub fn u5_a_number_is_digits_and_nothing_else() -> Check {
    about(&["U5"]).needs(NEEDS).run(|context| {
        let store = context.store();
        let Some(reason) = context.scope.weaknesses.get(&Weakness::LenientCounters) else {
            for value in LENIENT {
                store.put("k", *value)?;
                refused(context, "k", 1, value, CounterFault::NotANumber)?;
            }
            return Ok(());
        };
        let what = "the reason for weaker(Weakness::LenientCounters, reason)";
        expect_that(what, !reason.trim().is_empty(), "a reason that a reader of the report understands", reason)?;
        let mut taken = Vec::new();
        for value in LENIENT {
            store.put("k", *value)?;
            match store.increment("k", 1, Ttl::Default) {
                Ok(_) => taken.push(*value),
                Err(Error::NotACounter { .. }) => {
                    let what = format!("get after a refused increment of {value:?}");
                    expect(what, store.get("k"), Some((*value).into()))?;
                }
                Err(error) => return Err(NotPassed::from(error)),
            }
        }
        let what = "which values that are more than digits increment takes, as was declared by weaker(Weakness::LenientCounters, …)";
        let want = format!("one of {LENIENT:?} at least: drop it if the store takes none of them");
        expect_that(what, !taken.is_empty(), &want, taken)
    })
}

/// Begins counters with TTLs, and increments them with other ones: the first counts, also if it was none.
pub fn u5_a_counter_begins_with_its_ttl_and_keeps_it() -> Check {
    about(&["U5", "T2", "T1"]).needs(&[Capability::Counters, Capability::Ttls]).run(|context| {
        let store = context.store();
        let (short, long) = (context.short(), context.long());
        expect("increment with Forever", store.increment("forever", 1, Ttl::Forever), 1)?;
        expect("increment with Default", store.increment("default", 1, Ttl::Default), 1)?;
        let (sum, long_end) = context.expiring(long, || store.increment("long", 1, long))?;
        expect_eq("increment with a long TTL", sum, 1)?;
        let (sum, end) = context.expiring(short, || store.increment("short", 1, short))?;
        expect_eq("increment with a short TTL", sum, 1)?;
        let further = [Ttl::Default, Ttl::Forever, Ttl::After(long), Ttl::After(short)];
        for (n, ttl) in (2..).zip(further) {
            let within = || expect(format_args!("increment with {ttl:?}"), store.increment("short", 1, ttl), n);
            context.while_live(end, within)?;
        }
        for key in ["forever", "default"] {
            expect(format_args!("increment of {key:?} with a short TTL"), store.increment(key, 1, short), 2)?;
        }
        context.while_live(long_end, || expect("increment with a short TTL", store.increment("long", 1, short), 2))?;
        context.while_live(end, || expect("get within the first TTL", store.get("short"), Some("5".into())))?;
        if context.has(Capability::TtlReading) {
            expect_remaining(context, "after an increment with a short TTL", "long", long_end)?;
            expect("ttl after an increment with a short TTL", store.ttl("forever"), Some(Remaining::Forever))?;
        }
        context.wait_for(end);
        expect("get of a counter after its first TTL", store.get("short"), None)?;
        for key in ["forever", "default"] {
            expect(format_args!("get({key:?}) of a counter without a TTL"), store.get(key), Some("2".into()))?;
        }
        context.while_live(long_end, || expect("get of a counter with a long TTL", store.get("long"), Some("2".into())))
    })
}

/// Increments entries that were written as text with a TTL and without: they keep it.
pub fn u5_an_increment_changes_no_ttl() -> Check {
    about(&["U5", "T2"]).needs(&[Capability::Counters, Capability::Ttls]).run(|context| {
        let store = context.store();
        let end = context.put_for("short", "9", context.short())?;
        let long = context.put_long("long", "9")?;
        store.put_with_ttl("forever", "9", Ttl::Forever)?;
        context
            .while_live(end, || expect("increment within the TTL", store.increment("short", 1, Ttl::Forever), 10))?;
        context.while_live(long, || expect("increment", store.increment("long", 1, context.short()), 10))?;
        expect("increment", store.increment("forever", 1, context.short()), 10)?;
        if context.has(Capability::TtlReading) {
            expect_remaining(context, "after increment", "long", long)?;
            expect("ttl after increment", store.ttl("forever"), Some(Remaining::Forever))?;
        }
        context.wait_for(end);
        expect("get after the TTL of an entry that was incremented", store.get("short"), None)?;
        expect("get of an entry without a TTL that was incremented", store.get("forever"), Some("10".into()))
    })
}

/// Increments a counter after it has expired: it begins at 0, with the TTL that is named now. So does one over something else that has
/// expired.
pub fn u5_an_expired_counter_begins_anew() -> Check {
    about(&["U5", "T5", "T2"]).needs(&[Capability::Counters, Capability::Ttls]).run(|context| {
        let store = context.store();
        let short = context.short();
        let (sum, end) = context.expiring(short, || {
            store.increment("again", 41, short)?;
            store.put_with_ttl("text", "abc", short)?;
            store.increment("forever", 41, short)
        })?;
        expect_eq("increment with a short TTL", sum, 41)?;
        context.wait_for(end);
        expect("increment of an expired counter, with Forever", store.increment("forever", 1, Ttl::Forever), 1)?;
        expect("increment of an expired text", store.increment("text", 1, Ttl::Forever), 1)?;
        let (sum, end) = context.expiring(short, || store.increment("again", 2, short))?;
        expect_eq("increment of an expired counter, with a short TTL", sum, 2)?;
        context.while_live(end, || expect("get within the second TTL", store.get("again"), Some("2".into())))?;
        context.wait_for(end);
        expect("get after the second TTL", store.get("again"), None)?;
        for key in ["forever", "text"] {
            expect(
                format_args!("get({key:?}) of a counter that began anew, for ever"),
                store.get(key),
                Some("1".into()),
            )?;
        }
        Ok(())
    })
}

/// Increments with a zero TTL: where the key is absent, the sum comes and the key stays absent; where there is a counter, it is incremented
/// and keeps its TTL.
pub fn u5_an_increment_with_a_zero_ttl_stores_nothing() -> Check {
    about(&["U5", "T3"]).needs(&[Capability::Counters, Capability::Ttls]).run(|context| {
        let store = context.store();
        let zero = Duration::ZERO;
        for _ in 0..2 {
            expect("increment of an absent key with a zero TTL", store.increment("k", 3, zero), 3)?;
            expect("get after that", store.get("k"), None)?;
        }
        expect("increment with Forever", store.increment("k", 3, Ttl::Forever), 3)?;
        expect("increment of a counter with a zero TTL", store.increment("k", 4, zero), 7)?;
        expect("get after that", store.get("k"), Some("7".into()))?;
        if context.has(Capability::TtlReading) {
            expect("ttl after that", store.ttl("k"), Some(Remaining::Forever))?;
        }
        Ok(())
    })
}

/// Increments through two handles in turn.
pub fn u5_handles_count_together() -> Check {
    about(&["U5", "P1"]).needs(NEEDS).run(|context| {
        let (store, second) = (context.store(), context.second_handle()?);
        for n in 1..=6 {
            let (one, other) = if n % 2 == 0 { (store, second) } else { (second, store) };
            expect("increment through one of two handles", one.increment("k", 1, Ttl::Default), n)?;
            expect("get through the other", other.get("k"), Some(Bytes::from(n.to_string())))?;
        }
        Ok(())
    })
}
