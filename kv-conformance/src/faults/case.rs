//! The keys and values that an operation uses in a check.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use kv_core::{Bytes, Capability, Error, Failure, KeyValueStore, KeyValueStoreExt, Version};

use super::values::value;
use crate::running::Context;

/// The size of a large value. Its request has several pieces, so that it has a middle.
const LARGE: usize = 200_000;

/// The keys and values of one case. No other case uses them.
pub(crate) struct Case {
    pub(super) prefix: String,
    large: usize,
    /// The version of the entry at `k` at the beginning, in a store that has versions.
    version: OnceLock<Version>,
}

/// The value at each key of a case.
pub(crate) type State = BTreeMap<String, Option<Bytes>>;

/// The names of the keys of a case.
const NAMES: &[&str] = &["k", "other", "new", "to", "more"];

impl Case {
    pub(crate) fn new(context: &Context<'_>, prefix: String) -> Self {
        Self { prefix, large: context.size(LARGE).saturating_sub(100), version: OnceLock::new() }
    }

    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) fn old(&self, name: &str) -> Bytes {
        value(&self.key(name), 0, 50).into()
    }

    pub(super) fn new_value(&self, name: &str) -> Bytes {
        value(&self.key(name), 1, 70).into()
    }

    pub(super) fn large(&self, name: &str) -> Bytes {
        value(&self.key(name), 1, self.large).into()
    }

    /// The entries at the beginning: two keys have values.
    pub(crate) fn before(&self) -> State {
        let old = |name: &&str| ["k", "other"].contains(name).then(|| self.old(name));
        NAMES.iter().map(|name| (self.key(name), old(name))).collect()
    }

    /// Writes the entries of the beginning.
    pub(crate) fn prepare(&self, store: &dyn KeyValueStore) -> Result<(), Error> {
        store.put_many(["k", "other"].map(|name| (self.key(name), self.old(name))))?;
        if store.capabilities().supports(Capability::Versions) {
            self.version(store)?;
        }
        Ok(())
    }

    /// The version of the entry at `k` at the beginning. It is read while there is no fault, so that the operations that need it are one
    /// exchange each.
    pub(super) fn version(&self, store: &dyn KeyValueStore) -> Result<Version, Error> {
        if let Some(version) = self.version.get() {
            return Ok(version.clone());
        }
        let key = self.key("k");
        let (_, version) = store.get_versioned(&key)?.ok_or_else(|| {
            Error::Backend(Failure::new("kv-conformance", "there is no entry of which the version could be read"))
        })?;
        Ok(self.version.get_or_init(|| version).clone())
    }

    /// Writes a large value, which no operation changes.
    pub(crate) fn prepare_large(&self, store: &dyn KeyValueStore) -> Result<(), Error> {
        store.put(self.key("large"), self.large("large"))
    }

    /// The values that the keys have now.
    pub(crate) fn now(&self, store: &dyn KeyValueStore) -> Result<State, Error> {
        let keys = NAMES.iter().map(|name| self.key(name)).collect::<Vec<_>>();
        let values = store.get_many(&keys)?;
        Ok(keys.into_iter().zip(values).collect())
    }
}
