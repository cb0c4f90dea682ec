//! The ways in which an entry is written.

use kv_core::{Capability, Error, KeyValueStore, KeyValueStoreExt};

use crate::running::{Context, Outcome, expect};

/// The ways of writing an entry that a store with these capabilities has.
pub(crate) fn ways_of_writing(context: &Context<'_>) -> Vec<&'static str> {
    let mut ways = vec!["put", "put_many", "put_from"];
    if context.has(Capability::Create) {
        ways.push("create");
    }
    if context.has(Capability::Copy) {
        ways.extend(["copy", "rename"]);
    }
    ways
}

/// Writes a value in one of the ways. `create` first deletes an existing entry.
pub(crate) fn write(store: &dyn KeyValueStore, way: &str, key: &str, value: &str) -> Result<(), Error> {
    match way {
        "put" => store.put(key, value),
        "put_many" => store.put_many([(key, value)]),
        "put_from" => store.put_from(key, value.as_bytes()),
        "create" => {
            if !store.create(key, value)? {
                store.delete(key)?;
                store.create(key, value)?;
            }
            Ok(())
        }
        "copy" => store.put("from", value).and_then(|()| store.copy("from", key)),
        _ => store.put("from", value).and_then(|()| store.rename("from", key)),
    }
}

/// Writes a value in one of the ways, to an absent key.
pub(crate) fn write_new(store: &dyn KeyValueStore, way: &str, key: &str, value: &[u8]) -> Outcome {
    match way {
        "put" => store.put(key, value)?,
        "put_many" => store.put_many([(key, value)])?,
        "put_from" => store.put_from(key, value)?,
        _ => expect("create of an absent key", store.create(key, value), true)?,
    }
    Ok(())
}

/// The ways of writing a value to an absent key.
pub(crate) fn ways_of_writing_new(context: &Context<'_>) -> &'static [&'static str] {
    let all = &["put", "put_many", "put_from", "create"];
    if context.has(Capability::Create) { all } else { all.split_last().map_or(all, |(_create, others)| others) }
}
