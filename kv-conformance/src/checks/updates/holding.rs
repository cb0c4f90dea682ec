//! Whether a version holds.

use kv_core::{KeyValueStore, KeyValueStoreExt, Ttl, Version};

use crate::checks::entries::{expect_not_stored, expect_stored};
use crate::running::{Outcome, expect};

/// The entry has this version: a conditional write succeeds, which leaves this value. Returns the new version.
#[track_caller]
pub(super) fn expect_holds(
    store: &dyn KeyValueStore,
    key: &str,
    value: &str,
    version: &Version,
    when: &str,
) -> Outcome<Version> {
    let stored = store.put_if(key, value, Ttl::Default, version);
    let new = expect_stored(format_args!("put_if({key:?}) with {when}"), stored)?;
    expect(format_args!("get after put_if({key:?}) with {when}"), store.get(key), Some(value.to_owned().into()))?;
    Ok(new)
}

/// Nothing at the key has this version: neither a conditional write nor a conditional removal succeeds. What is there is the caller's to see.
#[track_caller]
pub(super) fn expect_holds_not(store: &dyn KeyValueStore, key: &str, version: &Version, when: &str) -> Outcome {
    let stored = store.put_if(key, "harmed", Ttl::Default, version);
    expect_not_stored(format_args!("put_if({key:?}) with {when}"), stored)?;
    expect(format_args!("delete_if({key:?}) with {when}"), store.delete_if(key, version), false)
}
