//! Section 5: listing the parts of keys.

use kv_core::{Capability, Error, KeyValueStoreExt};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::sorted;
use crate::running::{expect, expect_eq, expect_error};

checks![
    l6_parts_end_with_the_first_delimiter_after_the_prefix,
    l6_a_part_comes_once_however_many_keys_share_it,
    l6_a_part_comes_although_another_of_its_keys_expires_meanwhile,
    l2_the_store_can_be_used_inside_the_loop_over_parts,
    l2_a_listing_of_parts_can_be_dropped_early,
    l6_an_invalid_delimiter_is_refused,
];

/// Lists the parts of a few keys that look like files in folders, with delimiters of one and of several characters, at the end, at the
/// beginning and next to each other.
pub fn l6_parts_end_with_the_first_delimiter_after_the_prefix() -> Check {
    about(&["L6"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        store.put_many(
            ["a", "a/b", "a/b/c", "a/d", "b/", "b//", "/c", "ab/c", "x::y::z", "x:y", "a/b/"].map(|key| (key, "v")),
        )?;
        #[rustfmt::skip]
    let cases: [(&str, &str, &[&str]); 12] = [
        ("/", "", &["/", "a", "a/", "ab/", "b/", "x::y::z", "x:y"]),
        ("/", "a", &["a", "a/", "ab/"]),
        ("/", "a/", &["a/b", "a/b/", "a/d"]),
        ("/", "a/b", &["a/b", "a/b/"]),
        ("/", "a/b/", &["a/b/", "a/b/c"]),
        ("/", "b/", &["b/", "b//"]),
        ("/", "/", &["/c"]),
        ("/", "nothing", &[]),
        ("::", "", &["/c", "a", "a/b", "a/b/", "a/b/c", "a/d", "ab/c", "b/", "b//", "x::", "x:y"]),
        ("::", "x", &["x::", "x:y"]),
        ("::", "x:", &["x::y::", "x:y"]),
        ("b/", "a/", &["a/b", "a/b/", "a/d"]),
    ];
        for (delimiter, prefix, want) in cases {
            let want = want.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
            let what = format!("prefixes({delimiter:?}, {prefix:?})");
            expect(what, store.prefixes(delimiter, prefix).and_then(sorted), want)?;
        }
        Ok(())
    })
}

/// Lists the parts of 3000 keys in 30 folders.
pub fn l6_a_part_comes_once_however_many_keys_share_it() -> Check {
    about(&["L6", "L1"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        let count = context.keys(3000, 1, 0).max(30);
        store.put_many((0..count).map(|n| (format!("in/{:02}/{n}", n % 30), "v")))?;
        let want = (0..30).map(|folder| format!("in/{folder:02}/")).collect::<Vec<_>>();
        expect("prefixes(\"/\", \"in/\")", store.prefixes("/", "in/").and_then(sorted), want)?;
        let taken = store.prefixes("/", "in/")?.take(3).collect::<Result<Vec<_>, _>>()?;
        expect_eq("the number of parts taken", taken.len(), 3)?;
        expect("get after that", store.get("in/00/0"), Some("v".into()))
    })
}

/// Begins to list parts, and goes on when the first or the last key in each has expired. The other one stays.
pub fn l6_a_part_comes_although_another_of_its_keys_expires_meanwhile() -> Check {
    about(&["L6", "T5"]).needs(&[Capability::Listing, Capability::Ttls]).run(|context| {
        let store = context.store();
        let count = context.keys(1500, 2, 0).max(30);
        let key = |n: usize, place: usize| format!("in/{n:04}/{place}");
        store.put_many((0..count).map(|n| (key(n, 1), "v")))?;
        let ttl = context.short();
        let expiring = (0..count).map(|n| (key(n, 2 * (n % 2)), "v", ttl));
        let ((), end) = context.expiring(ttl, || store.put_many_with_ttl(expiring))?;
        let mut parts = store.prefixes("/", "in/")?;
        let first = parts.next().transpose()?;
        context.wait_for(end);
        let mut listed = first.into_iter().map(Ok).chain(parts).collect::<Result<Vec<_>, _>>()?;
        listed.sort_unstable();
        let want = (0..count).map(|n| format!("in/{n:04}/")).collect::<Vec<_>>();
        expect_eq("prefixes(\"/\", \"in/\"), while keys expire", listed, want)
    })
}

/// Reads, overwrites, deletes, creates and lists in the loop over parts, on the same thread. A store that holds a lock while the
/// caller's code runs hangs here. Each part was there at the beginning, and has to come once.
pub fn l2_the_store_can_be_used_inside_the_loop_over_parts() -> Check {
    about(&["L2", "L6"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        let written = context.keys(300, 1, 4);
        store.put_many((0..written).map(|n| (format!("in/{n}/key"), "v")))?;
        let mut count = 0;
        for part in store.prefixes("/", "in/")? {
            let key = format!("{}key", part?);
            expect(format_args!("get({key:?})"), store.get(&key), Some("v".into()))?;
            store.put(&key, "overwritten")?;
            store.put(format!("other/{key}"), "v")?;
            expect("delete of a key whose part came", store.delete(&key), true)?;
            count += 1;
        }
        expect_eq("the number of parts that came", count, written)?;
        expect("prefixes(\"/\", \"in/\") after all were deleted", store.prefixes("/", "in/").map(Iterator::count), 0)
    })
}

/// Drops listings of parts after no part, after one, and after some, and goes on, hundreds of times.
pub fn l2_a_listing_of_parts_can_be_dropped_early() -> Check {
    about(&["L2", "L6"]).needs(&[Capability::Listing]).run(|context| {
        let store = context.store();
        store.put_many((0..context.keys(300, 1, 0).max(60)).map(|n| (format!("{}/{n}", n % 60), "v")))?;
        for (taken, times) in [(0, 150), (1, 150), (50, 20)] {
            for _ in 0..context.items(times, 8) {
                let got = store.prefixes("/", "")?.take(taken).collect::<Result<Vec<_>, _>>()?;
                expect_eq("the number of parts taken", got.len(), taken)?;
                expect("get after a listing of parts was dropped early", store.get("1/1"), Some("v".into()))?;
            }
        }
        Ok(())
    })
}

/// Asks for parts with invalid delimiters.
pub fn l6_an_invalid_delimiter_is_refused() -> Check {
    about(&["L6", "K2"]).needs(&[Capability::Listing]).run(|context| {
        for delimiter in ["", " ", "\n", "ü"] {
            let result = context.store().prefixes(delimiter, "").map(drop);
            let what = format!("prefixes({delimiter:?}, \"\")");
            expect_error(what, result, "InvalidKey", |error| matches!(error, Error::InvalidKey(_)))?;
        }
        Ok(())
    })
}
