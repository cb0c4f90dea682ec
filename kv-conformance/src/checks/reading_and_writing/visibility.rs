//! Sections 3 to 7: every operation sees at once what the others have done.

use std::io::Read;
use std::time::Duration;

use kv_core::{Bytes, Capability, Error, KeyValueStore, KeyValueStoreExt, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{listed_by, ways_of_writing, write};
use crate::running::{Context, NotPassed, Outcome, expect, expect_eq};

checks![p1_every_operation_sees_what_every_other_has_done, p1_a_second_handle_sees_what_every_operation_has_done];

/// The ways in which an entry is removed.
fn ways_of_removing(context: &Context<'_>) -> Vec<&'static str> {
    let mut ways = vec!["delete", "delete_many"];
    if context.has(Capability::Ttls) {
        ways.extend(["put with a zero TTL", "put_many with a zero TTL"]);
    }
    if context.has(Capability::Touch) {
        ways.push("touch with a zero TTL");
    }
    if context.has(Capability::Copy) {
        ways.push("rename to another key");
    }
    ways
}

fn remove(store: &dyn KeyValueStore, way: &str, key: &str) -> Result<(), Error> {
    match way {
        "delete" => store.delete(key).map(drop),
        "delete_many" => store.delete_many([key]).map(drop),
        "put with a zero TTL" => store.put_with_ttl(key, "gone", Duration::ZERO),
        "put_many with a zero TTL" => store.put_many_with_ttl([(key, "gone", Ttl::After(Duration::ZERO))]),
        "touch with a zero TTL" => store.touch(key, Duration::ZERO).map(drop),
        _ => store.rename(key, "elsewhere"),
    }
}

/// Checks with every operation that reads that a key has this value, or is absent.
fn look(context: &Context<'_>, store: &dyn KeyValueStore, key: &str, value: Option<&str>, what: &str) -> Outcome {
    let bytes = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
    expect(format_args!("get {what}"), store.get(key), bytes.clone())?;
    expect(format_args!("get_many {what}"), store.get_many(["absent", key]), vec![None, bytes.clone()])?;
    let each = store.get_each(["absent", key]).into_iter().collect::<Result<Vec<_>, _>>();
    expect(format_args!("get_each {what}"), each, vec![None, bytes.clone()])?;
    let opened = match store.open(key) {
        Ok(mut reader) => {
            let mut opened = Vec::new();
            reader.read_to_end(&mut opened).map_err(NotPassed::failed)?;
            Some(Bytes::from(opened))
        }
        Err(Error::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    expect_eq(format_args!("what open gives {what}"), opened, bytes)?;
    if context.has(Capability::Contains) {
        expect(format_args!("contains {what}"), store.contains(key), value.is_some())?;
    }
    if context.has(Capability::TtlReading) {
        let there = store.ttl(key).map(|left| left.is_some());
        expect(format_args!("whether ttl finds it {what}"), there, value.is_some())?;
    }
    if context.has(Capability::Listing) {
        let listed = listed_by(store, key).map(|keys| keys.iter().any(|listed| listed == key));
        expect(format_args!("whether it is listed {what}"), listed, value.is_some())?;
    }
    Ok(())
}

/// Writes a key in every way, when it is absent and when it is present, and removes it in every way. Before and after each step it checks
/// the key with every operation that reads. A cache of present or absent keys that one operation forgets to clear fails here.
pub fn p1_every_operation_sees_what_every_other_has_done() -> Check {
    about(&["P1", "G1", "D1", "P2", "B1", "C1", "C2"]).run(|context| {
        let store = context.store();
        see_everything(context, store, store)
    })
}

/// Like [`p1_every_operation_sees_what_every_other_has_done`], with one handle that writes and removes, and another that reads.
pub fn p1_a_second_handle_sees_what_every_operation_has_done() -> Check {
    about(&["P1", "G1", "D1"]).run(|context| see_everything(context, context.store(), context.second_handle()?))
}

fn see_everything(context: &Context<'_>, writer: &dyn KeyValueStore, reader: &dyn KeyValueStore) -> Outcome {
    for way in ways_of_writing(context) {
        for old in [None, Some("old")] {
            writer.delete("k")?;
            if let Some(old) = old {
                writer.put("k", old)?;
            }
            look(context, reader, "k", old, &format!("before {way}, where {old:?} was"))?;
            write(writer, way, "k", "new")?;
            look(context, reader, "k", Some("new"), &format!("after {way}, where {old:?} was"))?;
        }
    }
    for way in ways_of_removing(context) {
        writer.put("k", "old")?;
        look(context, reader, "k", Some("old"), &format!("before {way}"))?;
        remove(writer, way, "k")?;
        look(context, reader, "k", None, &format!("after {way}"))?;
    }
    Ok(())
}
