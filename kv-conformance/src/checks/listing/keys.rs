//! Section 5: listing keys.

use std::collections::BTreeSet;

use kv_core::{Capability, Error, KeyValueStoreExt, Remaining, Ttl};
use proptest::collection::btree_set;
use proptest::prelude::any;

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{OPERATIONS, act, acts, listed, sorted};
use crate::property::{self, keys};
use crate::running::{Context, expect, expect_eq, expect_error};

checks![
    k4_every_byte_of_a_prefix_is_literal,
    k4_a_prefix_may_be_as_long_as_a_key,
    k4_an_invalid_prefix_is_refused,
    k4_random_prefixes_of_random_keys_match_literally,
    l1_what_is_there_is_listed_exactly_once,
    l1_every_way_of_writing_and_removing_shows_in_the_listing,
    l1_thousands_of_keys_are_listed_exactly_once,
    l2_the_store_can_be_used_inside_the_loop,
    l2_every_operation_can_be_used_inside_the_loop,
    l2_everything_works_while_a_listing_is_open,
    l2_a_listing_can_be_dropped_early,
    l2_listings_can_be_interleaved,
    l5_another_store_s_keys_are_not_listed,
    l5_foreign_data_is_skipped,
];

fn strings(keys: &[&str]) -> Vec<String> {
    let mut keys = keys.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
    keys.sort_unstable();
    keys
}

/// Lists with prefixes that are patterns to redis, to a shell, to SQL and to a regular expression. Only what begins with just
/// these bytes may come.
pub fn k4_every_byte_of_a_prefix_is_literal() -> Check {
    about(&["K4", "L1"]).needs(&[Capability::Listing]).run(|context| {
    let store = context.store();
    #[rustfmt::skip]
    let keys = [
        "a", "ab", "abc", "a*", "a*c", "a?", "a?c", "a[b]", "a[b]c", "a[^b]", "a[a-c]", "a\\", "a\\*", "a\\b", "*", "**", "?",
        "[a]", "[", "]", "^", "^a", "-", "\\", "\\\\", "a%", "a_", "%", "_", "a.", "a.*", ".*", "a+", "a|b", "(a)", "a$", "$",
        "{a,b}", "a{2}", "!a", "a/b", "a/**", "A", "Ab", "'a'", "\"a\"", "a;b", "a--", "a#", "a!", "a~", "a~b", "a~~~", "~", "~a", "~~",
        "b", "!", "!!",
    ];
    store.put_many(keys.map(|key| (key, "v")))?;
    let more = ["a[a-c", "[a-z]", "[^x]", "a[", "\\*", "ab*", "??", "a\\\\", "%%", "a*c*", "~~~", ""];
    for prefix in context.sample(keys.iter().copied().chain(more), 2) {
        let want = keys.iter().copied().filter(|key| key.starts_with(prefix)).collect::<Vec<_>>();
        expect(format_args!("keys({prefix:?})"), listed(context, prefix), strings(&want))?;
    }
    Ok(())
    })
}

/// Lists two of the longest keys, which differ in their last character, with prefixes of every length. A backend that adds a name space or
/// escapes, and then exceeds a limit of its own, fails here.
pub fn k4_a_prefix_may_be_as_long_as_a_key() -> Check {
    about(&["K4", "K1"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        let beginning = "k/".repeat((context.longest_key() - 1) / 2);
        let stem = beginning.get(..context.longest_key() - 2).unwrap_or_default().to_owned() + "*";
        let keys = [format!("{stem}1"), format!("{stem}2")];
        store.put_many(keys.iter().map(|key| (key, "v")))?;
        for length in context.sample(0..=stem.len(), 2) {
            let prefix = stem.get(..length).unwrap_or_default();
            expect(format_args!("keys of a prefix of {length} bytes"), listed(context, prefix), keys.to_vec())?;
            let parts = store.prefixes("1", prefix).and_then(sorted);
            expect(format_args!("prefixes of a prefix of {length} bytes"), parts, keys.to_vec())?;
        }
        let [first, _] = &keys;
        expect("keys of a prefix that is the longest key", listed(context, first), vec![first.clone()])
    })
}

/// Lists with prefixes outside the alphabet, which is `InvalidKey`, and with one that is longer than any key, which finds
/// nothing.
pub fn k4_an_invalid_prefix_is_refused() -> Check {
    about(&["K4", "K2"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        store.put("k", "v")?;
        for prefix in ["a b", "\r\n", "k\0", "ü", " "] {
            let is_kind = |error: &Error| matches!(error, Error::InvalidKey(_));
            expect_error(format_args!("keys({prefix:?})"), store.keys(prefix).map(drop), "InvalidKey", is_kind)?;
            expect_error(
                format_args!("prefixes({prefix:?})"),
                store.prefixes("/", prefix).map(drop),
                "InvalidKey",
                is_kind,
            )?;
        }
        store.put(context.long_key("k"), "v")?;
        for length in [context.longest_key() + 1, 251, 1000] {
            let what = format_args!("keys of a prefix of {length} bytes");
            expect(what, listed(context, &"k".repeat(length)), Vec::<String>::new())?;
        }
        Ok(())
    })
}

/// A property: of random keys, exactly those that begin with a random prefix are listed; `prefixes` yields their parts.
pub fn k4_random_prefixes_of_random_keys_match_literally() -> Check {
    about(&["K4", "L1", "K3", "L6"]).needs(&[Capability::Listing]).run(|context| {
        let inputs = (btree_set(keys::any_key(context.longest_key()), 0..30), keys::any_prefix(), any::<bool>());
        property::check(&context.seed, &inputs, |(keys, prefix, slash)| {
            let fixture = context.scope.open()?;
            let store = &*fixture.store;
            store.put_many(keys.iter().map(|key| (key, key)))?;
            let want = keys.iter().filter(|key| key.starts_with(prefix.as_str())).cloned().collect::<Vec<_>>();
            let what = format!("keys({prefix:?}) of a store with {keys:?}");
            expect(what, store.keys(prefix).and_then(sorted), want.clone())?;
            let delimiter = if *slash { "/" } else { "**" };
            let what = format!("prefixes({delimiter:?}, {prefix:?}) of a store with {keys:?}");
            expect(what, store.prefixes(delimiter, prefix).and_then(sorted), parts(&want, delimiter, prefix))
        })
    })
}

/// The expected results of `prefixes`.
fn parts(keys: &[String], delimiter: &str, prefix: &str) -> Vec<String> {
    let part = |key: &String| {
        let end = key.get(prefix.len()..)?.find(delimiter)? + prefix.len() + delimiter.len();
        key.get(..end).map(str::to_owned)
    };
    let parts = keys.iter().map(|key| part(key).unwrap_or_else(|| key.clone())).collect::<BTreeSet<_>>();
    parts.into_iter().collect()
}

/// Lists an empty store, a few keys, overwritten and deleted ones, with prefixes that match all, some, one and none.
pub fn l1_what_is_there_is_listed_exactly_once() -> Check {
    about(&["L1"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        expect("keys(\"\") of an empty store", listed(context, ""), Vec::<String>::new())?;
        for key in ["foo", "foo.bar", "foo.baz", "fo", "bar", "foo.bar"] {
            store.put(key, "v")?;
            store.put(key, "overwritten")?;
        }
        store.put("deleted", "v")?;
        store.delete("deleted")?;
        let cases: [(&str, &[&str]); 8] = [
            ("", &["foo", "foo.bar", "foo.baz", "fo", "bar"]),
            ("f", &["foo", "foo.bar", "foo.baz", "fo"]),
            ("foo", &["foo", "foo.bar", "foo.baz"]),
            ("foo.", &["foo.bar", "foo.baz"]),
            ("foo.bar", &["foo.bar"]),
            ("foo.bar.", &[]),
            ("deleted", &[]),
            ("oo", &[]),
        ];
        for (prefix, want) in cases {
            expect(format_args!("keys({prefix:?})"), listed(context, prefix), strings(want))?;
        }
        expect("the number of keys(\"\")", store.keys("").map(Iterator::count), 5)
    })
}

/// Writes and removes in every way and lists after each. An index that is kept beside the data, and forgotten by one of the
/// operations, fails here.
pub fn l1_every_way_of_writing_and_removing_shows_in_the_listing() -> Check {
    about(&["L1", "C1", "C2", "B2", "B3"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        store.put("put", "v")?;
        store.put_many([("many/1", "v"), ("many/2", "v")])?;
        store.put_from("stream", &b"v"[..])?;
        let mut want = vec!["put", "many/1", "many/2", "stream"];
        if context.has(Capability::Create) {
            store.create("create", "v")?;
            want.push("create");
        }
        if context.has(Capability::Copy) {
            store.copy("put", "copied")?;
            store.copy("put", "copied/again")?;
            store.rename("copied/again", "renamed")?;
            want.extend(["copied", "renamed"]);
        }
        expect("keys(\"\") after writing in every way", listed(context, ""), strings(&want))?;
        store.delete("put")?;
        store.delete_many(["many/1", "stream", "absent"])?;
        want.retain(|key| !["put", "many/1", "stream"].contains(key));
        if context.has(Capability::Ttls) {
            store.put_with_ttl("many/2", "v", std::time::Duration::ZERO)?;
            want.retain(|key| *key != "many/2");
        }
        if context.has(Capability::Ttls) && context.has(Capability::Touch) && context.has(Capability::Copy) {
            store.touch("copied", std::time::Duration::ZERO)?;
            want.retain(|key| *key != "copied");
        }
        expect("keys(\"\") after removing in every way", listed(context, ""), strings(&want))
    })
}

/// Lists 2500 keys, which is more than a page of any store known here, by prefixes that match all, some and few of them.
pub fn l1_thousands_of_keys_are_listed_exactly_once() -> Check {
    about(&["L1"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        let count = context.keys(2500, 2, 0);
        let keys = (0..count).map(|n| format!("k/{}/{n:04}", n % 3)).collect::<Vec<_>>();
        store.put_many(keys.iter().map(|key| (key, "v")))?;
        store.put_many((0..count / 5).map(|n| (format!("other/{n}"), "v")))?;
        for prefix in ["k/", "k/1/", "k/2/00", "k/0/0000"] {
            let mut want = keys.iter().filter(|key| key.starts_with(prefix)).cloned().collect::<Vec<_>>();
            want.sort_unstable();
            let got = listed(context, prefix)?;
            expect_eq(format_args!("the number of keys({prefix:?})"), got.len(), want.len())?;
            expect_eq(format_args!("keys({prefix:?})"), got, want)?;
        }
        Ok(())
    })
}

/// Reads, overwrites, deletes and creates in the loop of a listing, on the same thread, and lists again inside it. A store that
/// holds a lock while the caller's code runs hangs here. Every key was there at the beginning, and each has to come once
/// before it is deleted.
pub fn l2_the_store_can_be_used_inside_the_loop() -> Check {
    about(&["L2"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        let keys = (0..context.keys(600, 1, 4)).map(|n| format!("k{n}")).collect::<Vec<_>>();
        store.put_many(keys.iter().map(|key| (key, "v")))?;
        let mut seen = BTreeSet::new();
        for key in store.keys("k")? {
            let key = key?;
            expect(format_args!("get of a listed key, {key}"), store.get(&key), Some("v".into()))?;
            store.put(&key, "overwritten")?;
            store.put(format!("other/{key}"), "v")?;
            expect("delete of a listed key", store.delete(&key), true)?;
            expect_eq(format_args!("whether {key} comes for the first time"), seen.insert(key.to_string()), true)?;
        }
        expect_eq("the number of keys that came", seen.len(), keys.len())?;
        expect("keys(\"k\") after all were deleted", listed(context, "k"), Vec::<String>::new())?;
        expect("keys(\"other/\")", store.keys("other/").map(Iterator::count), keys.len())
    })
}

/// Lists 150 keys, and runs in the loop, on the same thread, every operation of the store, one after the other. A store whose listing holds
/// a lock for reading hangs or fails at the first operation that writes.
pub fn l2_every_operation_can_be_used_inside_the_loop() -> Check {
    about(&["L2"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        let written = context.keys(150, 1, 2);
        store.put_many((0..written).map(|n| (format!("k{n}"), "v")))?;
        let mut count = 0;
        for (at, key) in store.keys("k")?.enumerate() {
            let (key, other) = (key?, format!("other/{at}"));
            count += 1;
            match at % 15 {
                0 if context.has(Capability::Create) => expect("create in a listing", store.create(&other, "v"), true)?,
                1 if context.has(Capability::Touch) => {
                    expect("touch in a listing", store.touch(&key, Ttl::Forever), true)?;
                }
                2 if context.has(Capability::Copy) => expect("copy in a listing", store.copy(&key, &other), ())?,
                3 if context.has(Capability::Copy) => expect("rename in a listing", store.rename(&key, &other), ())?,
                4 if context.has(Capability::TtlReading) => {
                    expect("ttl in a listing", store.ttl(&key), Some(Remaining::Forever))?;
                }
                5 if context.has(Capability::Contains) => expect("contains in a listing", store.contains(&key), true)?,
                6 => expect("get_many in a listing", store.get_many([&key]), vec![Some("v".into())])?,
                7 => expect("get_each in a listing", store.get_each([&key]).remove(0), Some("v".into()))?,
                8 => expect("put_many in a listing", store.put_many([(&*key, "v"), (&*other, "v")]), ())?,
                9 => expect("delete_many in a listing", store.delete_many([&key]), vec![true])?,
                10 => expect("put_from in a listing", store.put_from(&other, &b"v"[..]), ())?,
                11 => expect("get_into in a listing", store.get_into(&key, std::io::sink()), 1)?,
                12 => expect("prefixes in a listing", listed_prefixes(context), true)?,
                13 if context.has(Capability::Ttls) => {
                    expect("put_with_ttl in a listing", store.put_with_ttl(&other, "v", context.long()), ())?;
                }
                _ => expect("put in a listing", store.put(&key, "v"), ())?,
            }
        }
        expect_eq("how many keys came, of which those were removed that had come", count, written)
    })
}

/// Does everything that the store can do, on the same thread, while listings are open: one that was not begun, one of which a key was
/// taken, or half of them, and one that has ended and was not dropped. Then it goes on, and has to yield each key that was there once.
pub fn l2_everything_works_while_a_listing_is_open() -> Check {
    about(&["L2", "L1", "L6"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        let count = context.keys(150, 1, 0);
        let keys = (0..count).map(|n| format!("k/{n:03}/x")).collect::<BTreeSet<_>>();
        let parts = (0..count).map(|n| format!("k/{n:03}/")).collect::<BTreeSet<_>>();
        store.put_many(keys.iter().map(|key| (key, "v")))?;
        let acts = context.sample(acts(context), OPERATIONS * 8);
        for (at, taken) in [0, 1, count / 2, count + 1].into_iter().enumerate() {
            for (name, want) in [("keys(\"k/\")", &keys), ("prefixes(\"/\", \"k/\")", &parts)] {
                let mut listing =
                    if name.starts_with("keys") { store.keys("k/")? } else { store.prefixes("/", "k/")? };
                let mut came = listing.by_ref().take(taken).collect::<Result<Vec<_>, _>>()?;
                for (n, what) in acts.iter().enumerate() {
                    let when = format!("while {name} is open, of which {taken} of {count} were taken");
                    act(context, store, what, &format!("other/{at}/{n}/{}", name.len()), b"v", &when)?;
                }
                came.extend(listing.collect::<Result<Vec<_>, _>>()?);
                let came = came.into_iter().map(String::from).collect::<Vec<_>>();
                expect_eq(
                    format_args!("how many {name} gave, while everything was done with other keys"),
                    came.len(),
                    count,
                )?;
                let what = format!("what {name} gave, while everything was done with other keys");
                expect_eq(what, &came.into_iter().collect::<BTreeSet<_>>(), want)?;
            }
        }
        Ok(())
    })
}

/// Whether there is something under a prefix.
fn listed_prefixes(context: &Context<'_>) -> Result<bool, Error> {
    Ok(context.store().prefixes("/", "")?.next().transpose()?.is_some())
}

/// Drops listings after no key, after one, and after some, and goes on, hundreds of times: more than a pool has connections, or a server
/// cursors.
pub fn l2_a_listing_can_be_dropped_early() -> Check {
    about(&["L2"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        let count = context.keys(600, 1, 0);
        store.put_many((0..count).map(|n| (format!("k{n}"), "v")))?;
        for (taken, times) in [(0, 150), (1, 150), (10, 20), (count / 2, 20)] {
            for _ in 0..context.items(times, 8) {
                let mut keys = store.keys("k")?;
                let got = keys.by_ref().take(taken).collect::<Result<Vec<_>, _>>()?;
                expect_eq("the number of keys taken", got.len(), taken)?;
                drop(keys);
                expect("get after a listing was dropped early", store.get("k1"), Some("v".into()))?;
            }
        }
        store.put("k1", "new")?;
        expect("get after put", store.get("k1"), Some("new".into()))
    })
}

/// Interleaves three listings, two of them with the same prefix.
pub fn l2_listings_can_be_interleaved() -> Check {
    about(&["L2"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        let count = context.keys(300, 4, 0);
        store.put_many((0..count).flat_map(|n| [(format!("a/{n}"), "v"), (format!("b/{n}"), "v")]))?;
        let (mut a, mut b, mut again) = (store.keys("a/")?, store.keys("b/")?, store.keys("a/")?);
        let mut counts = [0; 3];
        loop {
            let next = [a.next(), b.next(), again.next()];
            if next.iter().all(Option::is_none) {
                break;
            }
            for (count, key) in counts.iter_mut().zip(next) {
                *count += usize::from(key.transpose()?.is_some());
            }
        }
        expect_eq("how many keys came of each of three listings in turns", counts, [count; 3])
    })
}

/// Opens another store of the same suite, with the same keys: neither may see the other's.
pub fn l5_another_store_s_keys_are_not_listed() -> Check {
    about(&["L5"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        let other = context.scope.open()?;
        store.put_many([("mine", "v"), ("same", "mine")])?;
        other.store.put_many([("theirs", "v"), ("same", "theirs")])?;
        expect("keys(\"\") of one of two stores", listed(context, ""), strings(&["mine", "same"]))?;
        expect("get of a key that another store has too", store.get("same"), Some("mine".into()))?;
        expect("get of a key that only another store has", store.get("theirs"), None)?;
        expect("keys(\"\") of the other one", other.store.keys("").and_then(sorted), strings(&["same", "theirs"]))
    })
}

/// Lets the fixture put data beside the store's own, and lists: none of it may be listed, and nothing may fail.
pub fn l5_foreign_data_is_skipped() -> Check {
    about(&["L5"]).needs(&[Capability::Listing]).run(|context| {
        context.plant_foreign_data()?;
        expect("keys(\"\") of an empty store beside foreign data", listed(context, ""), Vec::<String>::new())?;
        let parts = || context.store().prefixes("/", "").and_then(sorted);
        expect("prefixes(\"/\", \"\") of an empty store beside foreign data", parts(), Vec::<String>::new())?;
        context.store().put_many([("a", "v"), ("b/c", "v")])?;
        context.plant_foreign_data()?;
        expect("keys(\"\") beside foreign data", listed(context, ""), strings(&["a", "b/c"]))?;
        expect("prefixes(\"/\", \"\") beside foreign data", parts(), strings(&["a", "b/"]))
    })
}
