//! Section 6: many at once.

use std::collections::BTreeSet;
use std::iter;
use std::time::Duration;

use kv_core::{Bytes, Capability, Error, KeyValueStoreExt, Remaining, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{BYSTANDER, expect_remaining, largest_length, listed, refused_ttl, sorted};
use crate::property::values::patterned;
use crate::running::{Context, NotPassed, Outcome, expect, expect_eq, expect_error, expect_that};

checks![
    b1_get_many_keeps_length_and_order,
    b1_thousands_of_keys_with_duplicates_far_apart_are_answered_in_order,
    b2_of_duplicates_in_put_many_the_last_wins,
    b2_of_duplicates_with_ttls_the_last_wins,
    b2_put_many_overwrites_and_touches_nothing_else,
    b3_delete_many_tells_of_each_key_whether_it_was_there,
    b4_an_empty_batch_gives_an_empty_result,
    b5_an_invalid_key_in_the_middle_changes_nothing,
    b5_a_refused_ttl_in_the_middle_changes_no_other_key,
    b5_a_value_too_large_in_the_middle_changes_no_other_key,
    b6_a_hundred_thousand_keys_in_one_call_work,
    b6_large_values_in_one_call_work,
    b7_get_each_gives_each_key_its_own_outcome,
    b7_thousands_of_keys_with_duplicates_far_apart_are_answered_in_order,
];

#[expect(clippy::unnecessary_wraps, reason = "it is what a get gives")]
fn value(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

/// Asks for present and absent keys, in another order than they were written, some several times. A backend that gathers the
/// answers in a map loses the duplicates.
pub fn b1_get_many_keeps_length_and_order() -> Check {
    about(&["B1"]).run(|context| {
        let store = context.store();
        for n in 0..10 {
            store.put(format!("k{n}"), n.to_string())?;
        }
        let keys = ["k3", "absent", "k1", "k3", "k9", "also-absent", "k0", "absent", "k3"];
        let want = ["3", "", "1", "3", "9", "", "0", "", "3"].map(|v| if v.is_empty() { None } else { value(v) });
        expect(format_args!("get_many({keys:?})"), store.get_many(keys), want.to_vec())?;
        let backwards = (0..10).rev().map(|n| format!("k{n}")).collect::<Vec<_>>();
        let want = (0..10).rev().map(|n| value(&n.to_string())).collect::<Vec<_>>();
        expect("get_many backwards", store.get_many(&backwards), want)?;
        store.put("empty", "")?;
        expect(
            "get_many of the empty value and an absent key",
            store.get_many(["empty", "absent"]),
            vec![value(""), None],
        )?;
        expect("get_many of one key", store.get_many(["k5"]), vec![value("5")])
    })
}

/// Reads and deletes 2500 keys in one call, each twice, first forwards and then backwards, with absent keys in between. A backend fails
/// here if it takes chunks in the order in which their answers come, or handles duplicates only within a chunk.
pub fn b1_thousands_of_keys_with_duplicates_far_apart_are_answered_in_order() -> Check {
    about(&["B1", "B3", "B6"]).run(|context| {
        let store = context.store();
        let (count, is_absent) = (context.keys(2500, 5, 0), |n: &usize| n.is_multiple_of(7));
        store.put_many((0..count).filter(|n| !is_absent(n)).map(|n| (format!("k{n}"), n.to_string())))?;
        let asked = (0..count).chain((0..count).rev()).collect::<Vec<_>>();
        let keys = asked.iter().map(|n| format!("k{n}")).collect::<Vec<_>>();
        let got = store.get_many(&keys)?;
        expect_eq(format_args!("the number of values of get_many of {} keys", keys.len()), got.len(), keys.len())?;
        let wrong = asked.iter().zip(&got).find(|(n, got)| {
            let want = if is_absent(n) { None } else { value(&n.to_string()) };
            **got != want
        });
        expect_eq(format_args!("the first wrong value of get_many of {count} keys, there and back"), wrong, None)?;
        let removed = store.delete_many(&keys)?;
        let want = asked.iter().enumerate().map(|(at, n)| at < count && !is_absent(n)).collect::<Vec<_>>();
        expect_eq(
            format_args!("the number of answers of delete_many of {} keys", keys.len()),
            removed.len(),
            want.len(),
        )?;
        let wrong = removed.iter().zip(want).position(|(removed, want)| *removed != want);
        expect_eq(
            format_args!("the place of the first wrong answer of delete_many of {count} keys, there and back"),
            wrong,
            None,
        )
    })
}

/// Writes one key several times in a batch.
pub fn b2_of_duplicates_in_put_many_the_last_wins() -> Check {
    about(&["B2"]).run(|context| {
        let store = context.store();
        store.put_many([("a", "1"), ("b", "1"), ("a", "2"), ("b", "2"), ("a", "3")])?;
        expect("get_many after put_many with duplicates", store.get_many(["a", "b"]), vec![value("3"), value("2")])?;
        let each = context.keys(1000, 2, 0);
        store.put_many((0..each * 2).map(|n| (format!("k{}", n % 2), n.to_string())))?;
        let want = vec![value(&(each * 2 - 2).to_string()), value(&(each * 2 - 1).to_string())];
        expect(format_args!("get_many after put_many of {each} duplicates each"), store.get_many(["k0", "k1"]), want)
    })
}

/// Writes one key twice in a batch, with every pair of TTLs: for ever, long, zero. Value and TTL have to be those of the last entry. A
/// backend that sends the entries with a TTL after the others fails here.
pub fn b2_of_duplicates_with_ttls_the_last_wins() -> Check {
    about(&["B2", "T1", "T3"]).needs(&[Capability::Ttls]).run(|context| {
        let store = context.store();
        let ttls = [Ttl::Forever, Ttl::Default, Ttl::After(context.long()), Ttl::After(Duration::ZERO)];
        for (first, last) in ttls.iter().flat_map(|first| ttls.iter().map(move |last| (*first, *last))) {
            store.put_many_with_ttl([("k", "first", first), ("other", "v", last), ("k", "last", last)])?;
            let what = format!("put_many of a key with {first:?} and again with {last:?}");
            let stays = last != Ttl::After(Duration::ZERO);
            expect(format_args!("get after {what}"), store.get("k"), stays.then(|| "last".into()))?;
            if stays && context.has(Capability::TtlReading) {
                let forever = store.ttl("k")?.map(|left| left == Remaining::Forever);
                let want = Some(!matches!(last, Ttl::After(_)));
                expect_eq(format_args!("whether ttl is Forever after {what}"), forever, want)?;
            }
        }
        Ok(())
    })
}

/// Writes a batch over entries, and beside them.
pub fn b2_put_many_overwrites_and_touches_nothing_else() -> Check {
    about(&["B2", "B5", "P2"]).run(|context| {
        let store = context.store();
        let (bystander, unharmed) = BYSTANDER;
        store.put(bystander, unharmed)?;
        store.put("old", "old")?;
        store.put_many([("old", "new"), ("new", ""), ("third", "3")])?;
        let want = vec![value("new"), value(""), value("3"), value(unharmed)];
        expect("get_many after put_many", store.get_many(["old", "new", "third", bystander]), want)
    })
}

/// Deletes present and absent keys, some several times.
pub fn b3_delete_many_tells_of_each_key_whether_it_was_there() -> Check {
    about(&["B3", "D1"]).run(|context| {
        let store = context.store();
        let (bystander, unharmed) = BYSTANDER;
        store.put(bystander, unharmed)?;
        store.put_many([("a", "1"), ("b", ""), ("c", "3")])?;
        let keys = ["absent", "c", "a", "absent", "a", "b", "c"];
        let want = vec![false, true, true, false, false, true, false];
        expect(format_args!("delete_many({keys:?})"), store.delete_many(keys), want)?;
        expect("get_many after delete_many", store.get_many(["a", "b", "c"]), vec![None, None, None])?;
        expect("get of a bystander", store.get(bystander), Some(unharmed.into()))?;
        expect("delete_many again", store.delete_many(["a", "b", "c"]), vec![false; 3])
    })
}

/// Calls the three batches without keys.
pub fn b4_an_empty_batch_gives_an_empty_result() -> Check {
    about(&["B4"]).run(|context| {
        let store = context.store();
        expect("get_many of nothing", store.get_many(iter::empty::<&str>()), Vec::<Option<Bytes>>::new())?;
        expect("put_many of nothing", store.put_many(iter::empty::<(&str, &str)>()), ())?;
        expect("delete_many of nothing", store.delete_many(iter::empty::<&str>()), Vec::<bool>::new())
    })
}

/// The entries that a batch names beside the one that is refused, and one that it does not name.
fn put_old(context: &Context<'_>) -> Outcome {
    let (bystander, unharmed) = BYSTANDER;
    context.store().put_many([("a", "old"), ("b", "old"), ("c", "old"), (bystander, unharmed)])?;
    Ok(())
}

/// After a failed batch, each of its keys has its old or its new value, and no other one; all other keys are unchanged.
#[track_caller]
fn expect_old_or_new(context: &Context<'_>, what: &str) -> Outcome {
    let (store, (bystander, unharmed)) = (context.store(), BYSTANDER);
    for key in ["a", "b", "c"] {
        let got = store.get(key)?;
        let holds = got == value("old") || got == value("new");
        expect_that(format_args!("get({key:?}) after {what}"), holds, "the old or the new value", got)?;
    }
    expect(format_args!("get of a bystander after {what}"), store.get(bystander), value(unharmed))
}

/// Puts an invalid key into the middle of a batch. The batch has to fail before anything is written.
pub fn b5_an_invalid_key_in_the_middle_changes_nothing() -> Check {
    about(&["B5", "K2"]).run(|context| {
        let store = context.store();
        put_old(context)?;
        let what = "a put_many with an invalid key in the middle";
        let result = store.put_many([("a", "new"), ("in valid", "new"), ("c", "new")]);
        expect_error(what, result, "InvalidKey", |error| matches!(error, Error::InvalidKey(_)))?;
        let got = store.get_many(["a", "b", "c"]);
        expect(format_args!("get_many after {what}, which is checked first"), got, vec![value("old"); 3])?;
        expect_old_or_new(context, what)
    })
}

/// Puts a TTL that is too long into the middle of a batch. The batch has to fail. Then each of its keys has its old or its new value, and
/// the refused key its old one; all other keys are unchanged.
pub fn b5_a_refused_ttl_in_the_middle_changes_no_other_key() -> Check {
    about(&["B5", "T4"]).needs(&[Capability::Ttls]).run(|context| {
        let store = context.store();
        let too_long = refused_ttl(context)?;
        put_old(context)?;
        let what = "a put_many with a TTL that is too long in the middle";
        let entries = [("a", Ttl::Forever), ("b", Ttl::After(too_long)), ("c", Ttl::Forever)];
        let result = store.put_many_with_ttl(entries.map(|(key, ttl)| (key, "new", ttl)));
        expect_error(what, result, "InvalidTtl", |error| matches!(error, Error::InvalidTtl { .. }))?;
        expect(format_args!("get of the refused entry after {what}"), store.get("b"), value("old"))?;
        expect_old_or_new(context, what)
    })
}

/// Puts a value that is too large into the middle of a batch, as a TTL that is too long in
/// [`b5_a_refused_ttl_in_the_middle_changes_no_other_key`].
pub fn b5_a_value_too_large_in_the_middle_changes_no_other_key() -> Check {
    about(&["B5", "V3"]).run(|context| {
        let store = context.store();
        let limit = largest_length(context)?;
        put_old(context)?;
        let what = "a put_many with a value that is too large in the middle";
        let too_large = vec![0; usize::try_from(limit + 1).map_err(NotPassed::failed)?];
        // If the limit depends on the key, it is that of the longest key.
        let longest = context.long_key("b");
        store.put(&longest, "old")?;
        let result = store.put_many([("a", &b"new"[..]), (&longest, &too_large), ("c", b"new")]);
        expect_error(what, result, "ValueTooLarge", |error| matches!(error, Error::ValueTooLarge { .. }))?;
        expect(format_args!("get of the refused entry after {what}"), store.get(&longest), value("old"))?;
        expect_old_or_new(context, what)
    })
}

/// How long the check may take that has most keys. A store that is too slow for it gets fewer.
const LONGEST: Duration = Duration::from_secs(60);

/// How far before an entry of the largest batch an earlier one with its key is: chunks of thousands have one of them each.
const APART: usize = 10_000;

/// Writes, reads, lists and deletes 100 000 keys, each in one call: half of them with a TTL, and some twice, of which the second counts. This
/// finds a limit of a server, a socket buffer that nobody empties, and what is wrong in a later chunk or on a later page alone, also of
/// their parts.
pub fn b6_a_hundred_thousand_keys_in_one_call_work() -> Check {
    about(&["B6", "B1", "B2", "B3"]).run(|context| {
        let (store, count) = (context.store(), context.keys_within(100_000, 5, LONGEST));
        let keys = (0..count).map(|n| format!("k{n}")).collect::<Vec<_>>();
        let has_ttls = context.has(Capability::Ttls) && context.long() > 2 * LONGEST;
        let ttl = |n: usize| if has_ttls && n % 2 == 1 { Ttl::After(context.long()) } else { Ttl::Forever };
        let entries = keys.iter().enumerate().flat_map(|(n, key)| {
            let again = keys.get(n + APART).filter(|_| n.is_multiple_of(APART - 1));
            again.map(|again| (again, "earlier", Ttl::Forever)).into_iter().chain([(key, key.as_str(), ttl(n))])
        });
        let (written, expiry) = context.expiring(context.long(), || store.put_many_with_ttl(entries))?;
        let () = written;
        let got = store.get_many(&keys)?;
        expect_eq(format_args!("the number of values of get_many of {count} keys"), got.len(), count)?;
        let wrong = keys.iter().zip(&got).find(|(key, got)| got.as_deref() != Some(key.as_bytes()));
        expect_eq(format_args!("the first wrong value of get_many of {count} keys"), wrong, None)?;
        if context.has(Capability::TtlReading) {
            // Those that were written twice, with a TTL and without.
            for (n, key) in keys.iter().enumerate().skip(APART).step_by(APART - 1) {
                if ttl(n) == Ttl::Forever {
                    let what = format!("ttl of {key:?} after a put_many of {count} keys");
                    expect(what, store.ttl(key), Some(Remaining::Forever))?;
                } else {
                    expect_remaining(context, &format!("after a put_many of {count} keys"), key, expiry)?;
                }
            }
        }
        if context.has(Capability::Listing) {
            expect_listed("keys(\"\")", &listed(context, "")?, keys.iter().map(String::as_str), "L1")?;
            // Two in three are keys without the delimiter, so there are more parts than fit into 16 bits, too.
            let part = |key: &str| key.find('0').map_or(key.len(), |at| at + 1);
            let parts = keys.iter().filter_map(|key| key.get(..part(key)));
            expect_listed("prefixes(\"0\", \"k\")", &store.prefixes("0", "k").and_then(sorted)?, parts, "L6")?;
        }
        let with_absent = keys.iter().map(String::as_str).chain(["absent"]);
        let deleted = store.delete_many(with_absent)?;
        let want = iter::repeat_n(true, count).chain([false]).collect::<Vec<_>>();
        expect_eq(
            format_args!("the number of answers of delete_many of {} keys", want.len()),
            deleted.len(),
            want.len(),
        )?;
        let wrong = deleted.iter().zip(&want).position(|(deleted, want)| deleted != want);
        let what = format!("the place of the first wrong answer of delete_many of {count} keys and an absent one");
        expect_eq(what, wrong, None)?;
        expect("get after that", store.get(format!("k{}", count - 1)), None)
    })
}

/// Compares a long listing with what is in the store.
fn expect_listed<'a>(
    what: &str,
    listed: &[String],
    want: impl Iterator<Item = &'a str>,
    clause: &'static str,
) -> Outcome {
    let want = want.collect::<BTreeSet<_>>();
    let is_whole = expect_eq(format_args!("the number of {what}"), listed.len(), want.len()).and_then(|()| {
        let wrong = listed.iter().zip(&want).find(|(got, want)| got != *want);
        expect_eq(format_args!("the first wrong one of {what}"), wrong, None)
    });
    is_whole.map_err(|outcome| outcome.breaking([clause]))
}

/// Writes, reads and deletes 32 values of a megabyte, or of the largest size if that is less, each in one call. Each value is small enough
/// by itself. But a backend that makes chunks only by the number of keys exceeds what a server accepts, or the time limit.
pub fn b6_large_values_in_one_call_work() -> Check {
    about(&["B6", "B1", "V1"]).run(|context| {
        let (store, length, count) = (context.store(), context.size(1 << 20), context.keys(32, 3, 0));
        let patterned = patterned(length);
        let value = |n: usize| {
            let number = format!("{n:02}");
            [number.as_bytes(), patterned.get(number.len()..).unwrap_or_default()].concat()
        };
        let keys = (0..count).map(|n| format!("k{n:02}")).collect::<Vec<_>>();
        store.put_many(keys.iter().enumerate().map(|(n, key)| (key, value(n))))?;
        let got = store.get_many(&keys)?;
        let what = format!("of get_many of {count} values of {length} bytes");
        expect_eq(format_args!("the number {what}"), got.len(), count)?;
        let wrong = (0..).zip(&got).find(|(n, got)| got.as_deref() != Some(&value(*n))).map(|(n, _)| n);
        expect_eq(format_args!("the first wrong value {what}"), wrong, None)?;
        expect(
            format_args!("delete_many of {count} values of {length} bytes"),
            store.delete_many(&keys),
            vec![true; count],
        )
    })
}

/// The outcomes of `get_each` for these keys.
fn each(context: &Context<'_>, keys: &[impl kv_core::AsKey + Copy]) -> Result<Vec<Option<Bytes>>, Error> {
    context.store().get_each(keys.iter().copied()).into_iter().collect()
}

/// Asks with `get_each` for present and absent keys, in another order than they were written, some several times, and with an invalid
/// one among them: that one gets an error, and all others their values.
pub fn b7_get_each_gives_each_key_its_own_outcome() -> Check {
    about(&["B7", "K2"]).run(|context| {
        let store = context.store();
        store.put_many([("a", "1"), ("b", ""), ("c", "3")])?;
        let keys = ["c", "absent", "a", "c", "b", "absent", "a"];
        let want = vec![value("3"), None, value("1"), value("3"), value(""), None, value("1")];
        expect(format_args!("get_each({keys:?})"), each(context, &keys), want)?;
        expect("get_each of one key", each(context, &["b"]), vec![value("")])?;
        expect("get_each of nothing", each(context, &[""; 0]), vec![])?;
        let mut outcomes = store.get_each(["c", "in valid", "absent", "a"]);
        let what = "get_each of an invalid key among others";
        expect_eq(format_args!("the number of outcomes of {what}"), outcomes.len(), 4)?;
        let refused = outcomes.remove(1);
        expect_error(format_args!("of the invalid key, {what}"), refused, "InvalidKey", |error| {
            matches!(error, Error::InvalidKey(_))
        })?;
        let others = outcomes.into_iter().collect::<Result<Vec<_>, _>>();
        expect(format_args!("of the others, {what}"), others, vec![value("3"), None, value("1")])
    })
}

/// Reads 2500 keys in one call of `get_each`, each twice, first forwards and then backwards, with absent keys in between.
pub fn b7_thousands_of_keys_with_duplicates_far_apart_are_answered_in_order() -> Check {
    about(&["B7", "B6"]).run(|context| {
        let store = context.store();
        let (count, is_absent) = (context.keys(2500, 3, 0), |n: &usize| n.is_multiple_of(7));
        store.put_many((0..count).filter(|n| !is_absent(n)).map(|n| (format!("k{n}"), n.to_string())))?;
        let asked = (0..count).chain((0..count).rev()).collect::<Vec<_>>();
        let keys = asked.iter().map(|n| format!("k{n}")).collect::<Vec<_>>();
        let got = store.get_each(&keys).into_iter().collect::<Result<Vec<_>, _>>()?;
        expect_eq(format_args!("the number of outcomes of get_each of {} keys", keys.len()), got.len(), keys.len())?;
        let wrong = asked.iter().zip(&got).find(|(n, got)| {
            let want = if is_absent(n) { None } else { value(&n.to_string()) };
            **got != want
        });
        expect_eq(format_args!("the first wrong value of get_each of {count} keys, there and back"), wrong, None)
    })
}
