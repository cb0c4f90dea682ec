//! Section 3: get, put, delete.

use kv_core::{Capability, KeyValueStoreExt, Remaining, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::BYSTANDER;
use crate::running::{NotPassed, expect};

checks![
    g1_an_absent_key_reads_as_none,
    g1_an_absent_key_is_not_contained,
    p1_what_was_written_is_read,
    p1_the_last_write_is_read,
    p1_many_entries_are_all_there,
    p1_a_hundred_large_entries_are_all_there,
    p1_a_second_handle_sees_what_is_written_and_deleted,
    p1_contains_follows_writes_and_deletes,
    p2_overwriting_without_a_ttl_clears_the_old_one,
    p2_overwriting_with_a_ttl_sets_it,
    p2_every_way_of_writing_replaces_the_ttl,
    d1_delete_tells_whether_it_removed_an_entry,
    d1_deleting_touches_nothing_else,
];

/// Asks for keys that were never written, with `get` and `get_many`. It has to be `None`, not an error.
pub fn g1_an_absent_key_reads_as_none() -> Check {
    about(&["G1"]).run(|context| {
        let store = context.store();
        expect("get of an absent key, in an empty store", store.get("absent"), None)?;
        expect("get_many of absent keys", store.get_many(["absent", "too"]), vec![None, None])?;
        store.put("present", "v")?;
        expect("get of an absent key, with another one present", store.get("absent"), None)
    })
}

/// Asks whether a key that was never written is there.
pub fn g1_an_absent_key_is_not_contained() -> Check {
    about(&["G1", "T5"])
        .needs(&[Capability::Contains])
        .run(|context| expect("contains of an absent key", context.store().contains("absent"), false))
}

/// Writes and reads one entry, twice: reading must not consume it.
pub fn p1_what_was_written_is_read() -> Check {
    about(&["P1"]).run(|context| {
        let store = context.store();
        store.put("k", "v")?;
        expect("get after put", store.get("k"), Some("v".into()))?;
        expect("get again", store.get("k"), Some("v".into()))
    })
}

/// Overwrites an entry with other values, with the same one, with a shorter and an empty one.
pub fn p1_the_last_write_is_read() -> Check {
    about(&["P1"]).run(|context| {
        let store = context.store();
        for value in ["first", "second, which is longer", "second, which is longer", "3", "", "first"] {
            store.put("k", value)?;
            expect(format_args!("get after put of {value:?}"), store.get("k"), Some(value.into()))?;
        }
        Ok(())
    })
}

/// Writes a thousand entries before it reads the first.
pub fn p1_many_entries_are_all_there() -> Check {
    about(&["P1", "K3"]).run(|context| {
        let store = context.store();
        let count = context.items(1000, 2);
        for n in 0..count {
            store.put(format!("k{n}"), format!("v{n}"))?;
        }
        for n in 0..count {
            expect(
                format_args!("get of entry {n} of {count}"),
                store.get(format!("k{n}")),
                Some(format!("v{n}").into()),
            )?;
        }
        Ok(())
    })
}

/// Writes a hundred values of 40 000 bytes, or of the largest size, before it reads the first. A store that keeps only a limited number of
/// bytes, and silently drops old entries, fails here.
pub fn p1_a_hundred_large_entries_are_all_there() -> Check {
    about(&["P1", "V1"]).run(|context| {
        let store = context.store();
        let size = context.size(40_000);
        let value = |n: u8| vec![n; size];
        let numbers = context.sample(0..100_u8, 2);
        for &n in &numbers {
            store.put(format!("k{n}"), value(n))?;
        }
        for n in numbers {
            let what = format!("get of value {n} of 100, of {size} bytes each");
            expect(what, store.get(format!("k{n}")), Some(value(n).into()))?;
        }
        Ok(())
    })
}

/// Writes and deletes through one handle and reads through the other, both ways. A cache that is not the store's fails here.
pub fn p1_a_second_handle_sees_what_is_written_and_deleted() -> Check {
    about(&["P1", "D1"]).run(|context| {
        let (store, second) = (context.store(), context.second_handle()?);
        for (writer, reader) in [(store, second), (second, store)] {
            expect("get through the other handle, before", reader.get("k"), None)?;
            for value in ["one", "two"] {
                writer.put("k", value)?;
                expect("get through the other handle", reader.get("k"), Some(value.into()))?;
            }
            expect("delete through the other handle", reader.delete("k"), true)?;
            expect("get after delete through the other handle", writer.get("k"), None)?;
        }
        Ok(())
    })
}

/// Follows `contains` through writing, overwriting, deleting, and writing again. The empty value is one.
pub fn p1_contains_follows_writes_and_deletes() -> Check {
    about(&["P1", "D1"]).needs(&[Capability::Contains]).run(|context| {
        let store = context.store();
        for _ in 0..2 {
            store.put("key", "")?;
            expect("contains after put of the empty value", store.contains("key"), true)?;
            store.put("key", "v")?;
            expect("contains after put", store.contains("key"), true)?;
            for other in ["k", "ke", "key.", "Key", "ey", "*"] {
                expect(format_args!("contains({other:?}), where \"key\" is there"), store.contains(other), false)?;
            }
            store.delete("key")?;
            expect("contains after delete", store.contains("key"), false)?;
        }
        Ok(())
    })
}

/// Writes with a TTL, overwrites without one, and waits: the entry must not vanish.
pub fn p2_overwriting_without_a_ttl_clears_the_old_one() -> Check {
    about(&["P2", "T1"]).needs(&[Capability::Ttls]).run(|context| {
        let store = context.store();
        let end = context.put_for("k", "old", context.short())?;
        store.put("k", "new")?;
        let forever = context.put_for("forever", "old", context.short())?;
        store.put_with_ttl("forever", "new", Ttl::Forever)?;
        let many = context.put_for("many", "old", context.short())?;
        store.put_many([("many", "new")])?;
        for (key, end) in [("k", end), ("forever", forever), ("many", many)] {
            context.wait_for(end);
            let what = format!("get({key:?}), overwritten without a TTL, when the old TTL has passed");
            expect(what, store.get(key), Some("new".into()))?;
        }
        Ok(())
    })
}

/// Writes without a TTL, overwrites with one, and waits: the entry has to vanish, the old one must not reappear.
pub fn p2_overwriting_with_a_ttl_sets_it() -> Check {
    about(&["P2", "T2"]).needs(&[Capability::Ttls]).run(|context| {
        let store = context.store();
        store.put("k", "old")?;
        let end = context.put_for("k", "new", context.short())?;
        context.while_live(end, || expect("get within the TTL", store.get("k"), Some("new".into())))?;
        context.wait_for(end);
        expect("get after the TTL", store.get("k"), None)
    })
}

/// Overwrites an entry in every way of writing, once with and once without a TTL, and reads the TTL.
pub fn p2_every_way_of_writing_replaces_the_ttl() -> Check {
    about(&["P2", "T6", "S2", "B2"]).needs(&[Capability::Ttls, Capability::TtlReading]).run(|context| {
        let store = context.store();
        let long = context.long();
        let folder = tempfile::NamedTempFile::new().map_err(NotPassed::failed)?;
        for ttl in [Ttl::Forever, Ttl::After(long / 2)] {
            for way in ["put_with_ttl", "put_many_with_ttl", "put_from_with_ttl", "put_file_with_ttl"] {
                let before = if ttl == Ttl::Forever { Ttl::After(long) } else { Ttl::Forever };
                store.put_with_ttl("k", "old", before)?;
                let ((), end) = context.expiring(long / 2, || match way {
                    "put_with_ttl" => store.put_with_ttl("k", "new", ttl),
                    "put_many_with_ttl" => store.put_many_with_ttl([("k", "new", ttl)]),
                    "put_from_with_ttl" => store.put_from_with_ttl("k", &b"new"[..], ttl),
                    _ => store.put_file_with_ttl("k", folder.path(), ttl),
                })?;
                let what = format!("whether ttl is Forever after {way} with {ttl:?} over an entry with {before:?}");
                let is_forever = || store.ttl("k").map(|ttl| ttl.map(|remaining| remaining == Remaining::Forever));
                context.while_live(end, || expect(&what, is_forever(), Some(ttl == Ttl::Forever)))?;
            }
        }
        Ok(())
    })
}

/// Deletes an entry twice, and a key that never existed.
pub fn d1_delete_tells_whether_it_removed_an_entry() -> Check {
    about(&["D1", "G1"]).run(|context| {
        let store = context.store();
        expect("delete of an absent key", store.delete("k"), false)?;
        store.put("k", "v")?;
        expect("delete of an entry", store.delete("k"), true)?;
        expect("get after delete", store.get("k"), None)?;
        expect("delete again", store.delete("k"), false)?;
        store.put("empty", "")?;
        expect("delete of an entry with the empty value", store.delete("empty"), true)
    })
}

/// Deletes keys that are beginnings, endings and patterns of another one, which has to stay.
pub fn d1_deleting_touches_nothing_else() -> Check {
    about(&["D1", "K3"]).run(|context| {
        let store = context.store();
        let (bystander, unharmed) = BYSTANDER;
        store.put(bystander, unharmed)?;
        for key in ["b", "bystande", "bystander/", "*", "bystander*", "?ystander", "[b]ystander", "Bystander"] {
            expect(format_args!("delete({key:?}), which is absent"), store.delete(key), false)?;
            expect(
                format_args!("get of a bystander after delete({key:?})"),
                store.get(bystander),
                Some(unharmed.into()),
            )?;
        }
        Ok(())
    })
}
