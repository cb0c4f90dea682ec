//! Section 6: many at once.

use std::iter;

use kv_core::{Bytes, Error, KeyValueStoreExt, Ttl};

use super::{BYSTANDER, checks, listed};
use crate::context::Context;
use crate::failure::{NotPassed, Outcome, expect, expect_eq, expect_error};

checks! {
    b1_get_many_keeps_length_and_order [B1];
    b2_of_duplicates_in_put_many_the_last_wins [B2];
    b2_put_many_overwrites_and_touches_nothing_else [B2 B5 P2];
    b3_delete_many_tells_of_each_key_whether_it_was_there [B3 D1];
    b4_an_empty_batch_gives_an_empty_result [B4];
    b5_an_invalid_entry_in_the_middle_harms_nothing_that_is_not_named [B5 K2];
    b6_a_hundred_thousand_keys_in_one_call_work [B6 B1 B3];
}

#[expect(clippy::unnecessary_wraps, reason = "it is what a get gives")]
fn value(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

/// Asks for present and absent keys, in another order than they were written, some several times. A backend that gathers the
/// answers in a map loses the duplicates.
pub fn b1_get_many_keeps_length_and_order(context: &Context<'_>) -> Outcome {
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
}

/// Writes one key several times in a batch.
pub fn b2_of_duplicates_in_put_many_the_last_wins(context: &Context<'_>) -> Outcome {
    let store = context.store();
    store.put_many([("a", "1"), ("b", "1"), ("a", "2"), ("b", "2"), ("a", "3")])?;
    expect("get_many after put_many with duplicates", store.get_many(["a", "b"]), vec![value("3"), value("2")])?;
    store.put_many((0..2000).map(|n| (format!("k{}", n % 2), n.to_string())))?;
    let want = vec![value("1998"), value("1999")];
    expect("get_many after put_many of 1000 duplicates each", store.get_many(["k0", "k1"]), want)
}

/// Writes a batch over entries, and beside them.
pub fn b2_put_many_overwrites_and_touches_nothing_else(context: &Context<'_>) -> Outcome {
    let store = context.store();
    let (bystander, unharmed) = BYSTANDER;
    store.put(bystander, unharmed)?;
    store.put("old", "old")?;
    store.put_many([("old", "new"), ("new", ""), ("third", "3")])?;
    let want = vec![value("new"), value(""), value("3"), value(unharmed)];
    expect("get_many after put_many", store.get_many(["old", "new", "third", bystander]), want)
}

/// Deletes present and absent keys, some several times.
pub fn b3_delete_many_tells_of_each_key_whether_it_was_there(context: &Context<'_>) -> Outcome {
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
}

/// Calls the three with nothing.
pub fn b4_an_empty_batch_gives_an_empty_result(context: &Context<'_>) -> Outcome {
    let store = context.store();
    expect("get_many of nothing", store.get_many(iter::empty::<&str>()), Vec::<Option<Bytes>>::new())?;
    expect("put_many of nothing", store.put_many(iter::empty::<(&str, &str)>()), ())?;
    expect("delete_many of nothing", store.delete_many(iter::empty::<&str>()), Vec::<bool>::new())
}

/// Puts an invalid key, a lifetime that is too long, and a value that is too large into the middle of a batch. The batch has to
/// fail. What it names has its old or its new value then, never another one; what it does not name is as it was.
pub fn b5_an_invalid_entry_in_the_middle_harms_nothing_that_is_not_named(context: &Context<'_>) -> Outcome {
    let store = context.store();
    let (bystander, unharmed) = BYSTANDER;
    store.put_many([("a", "old"), ("b", "old"), ("c", "old"), (bystander, unharmed)])?;
    let expect_old_or_new = |what: &str| -> Outcome {
        for key in ["a", "b", "c"] {
            let got = store.get(key)?;
            let holds = got == value("old") || got == value("new");
            crate::failure::expect_that(
                format_args!("get({key:?}) after {what}"),
                holds,
                "the old or the new value",
                got,
            )?;
        }
        expect(format_args!("get of a bystander after {what}"), store.get(bystander), value(unharmed))
    };
    let what = "a put_many with an invalid key in the middle";
    let result = store.put_many([("a", "new"), ("in valid", "new"), ("c", "new")]);
    expect_error(what, result, "InvalidKey", |error| matches!(error, Error::InvalidKey(_)))?;
    expect("get after that, since keys are checked before anything is sent", store.get("a"), value("old"))?;
    expect_old_or_new(what)?;
    let capabilities = context.capabilities();
    if context.has(kv_core::Capability::Lifetimes) && capabilities.longest_ttl() < std::time::Duration::MAX {
        let what = "a put_many with a lifetime that is too long in the middle";
        let entries = [("a", Ttl::Forever), ("b", Ttl::After(std::time::Duration::MAX)), ("c", Ttl::Forever)];
        let result = store.put_many_with_ttl(entries.map(|(key, ttl)| (key, "new", ttl)));
        expect_error(what, result, "InvalidTtl", |error| matches!(error, Error::InvalidTtl { .. }))?;
        expect(format_args!("get of the refused entry after {what}"), store.get("b"), value("old"))?;
        expect_old_or_new(what)?;
    }
    if let Some(limit) = capabilities.largest_value().filter(|limit| *limit <= 1 << 30) {
        let what = "a put_many with a value that is too large in the middle";
        let too_large = vec![0; usize::try_from(limit + 1).map_err(NotPassed::failed)?];
        // Where the limit depends on the key, it is the longest key's.
        let longest = "b".repeat(250);
        store.put(&longest, "old")?;
        let result = store.put_many([("a", &b"new"[..]), (&longest, &too_large), ("c", b"new")]);
        expect_error(what, result, "ValueTooLarge", |error| matches!(error, Error::ValueTooLarge { .. }))?;
        expect(format_args!("get of the refused entry after {what}"), store.get(&longest), value("old"))?;
        expect_old_or_new(what)?;
    }
    Ok(())
}

/// Writes, reads, lists and deletes 100 000 keys, each in one call. A limit of a server, or of a socket buffer that nobody
/// empties, is found here.
pub fn b6_a_hundred_thousand_keys_in_one_call_work(context: &Context<'_>) -> Outcome {
    const COUNT: usize = 100_000;
    let store = context.store();
    let keys = (0..COUNT).map(|n| format!("k{n}")).collect::<Vec<_>>();
    store.put_many(keys.iter().map(|key| (key, key)))?;
    let got = store.get_many(&keys)?;
    expect_eq("the number of values of get_many of 100 000 keys", got.len(), COUNT)?;
    let wrong = keys.iter().zip(&got).find(|(key, got)| got.as_deref() != Some(key.as_bytes()));
    expect_eq("the first wrong value of get_many of 100 000 keys", wrong, None)?;
    if context.has(kv_core::Capability::Listing) {
        expect_eq("the number of keys(\"\")", listed(context, "")?.len(), COUNT)?;
    }
    let with_absent = keys.iter().map(String::as_str).chain(["absent"]);
    let deleted = store.delete_many(with_absent)?;
    let want = iter::repeat_n(true, COUNT).chain([false]).collect::<Vec<_>>();
    expect_eq("the number of answers of delete_many of 100 001 keys", deleted.len(), want.len())?;
    expect_eq("whether delete_many removed the 100 000 and not the one that is absent", deleted == want, true)?;
    expect("get after that", store.get("k99999"), None)
}
