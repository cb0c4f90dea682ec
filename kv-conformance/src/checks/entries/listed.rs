//! The listings of a store.

use kv_core::{Error, KeyValueStore, KeyValueStoreExt, Keys};

use crate::running::Context;

/// The keys of a listing, sorted.
pub(crate) fn listed(context: &Context<'_>, prefix: &str) -> Result<Vec<String>, Error> {
    listed_by(context.store(), prefix)
}

/// The keys of a listing of this store, sorted.
pub(crate) fn listed_by(store: &dyn KeyValueStore, prefix: &str) -> Result<Vec<String>, Error> {
    sorted(store.keys(prefix)?)
}

/// The results of a listing, sorted.
pub(crate) fn sorted(keys: Keys<'_>) -> Result<Vec<String>, Error> {
    let mut keys = keys.map(|key| Ok(key?.into())).collect::<Result<Vec<String>, Error>>()?;
    keys.sort_unstable();
    Ok(keys)
}
