//! The keys and values on which an operation is tried.

use std::collections::BTreeMap;

use kv_core::{Bytes, Error, KeyValueStore, KeyValueStoreExt};

use super::values::value;
use crate::running::Context;

/// The size of a large value: several pieces, so that there is a middle of its request.
const LARGE: usize = 200_000;

/// The keys and values of one case, which no other case has.
pub(crate) struct Case {
    pub(super) prefix: String,
    large: usize,
}

/// What is at each of the keys of a case.
pub(crate) type State = BTreeMap<String, Option<Bytes>>;

/// The names of the keys of a case.
const NAMES: &[&str] = &["k", "other", "new", "to", "more"];

impl Case {
    pub(crate) fn new(context: &Context<'_>, prefix: String) -> Self {
        Self { prefix, large: context.size(LARGE).saturating_sub(100) }
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

    /// What is there in the beginning: two of the entries.
    pub(crate) fn before(&self) -> State {
        let old = |name: &&str| ["k", "other"].contains(name).then(|| self.old(name));
        NAMES.iter().map(|name| (self.key(name), old(name))).collect()
    }

    /// Puts there what is there in the beginning.
    pub(crate) fn prepare(&self, store: &dyn KeyValueStore) -> Result<(), Error> {
        store.put_many(["k", "other"].map(|name| (self.key(name), self.old(name))))
    }

    /// Puts a large value there, which no operation changes.
    pub(crate) fn prepare_large(&self, store: &dyn KeyValueStore) -> Result<(), Error> {
        store.put(self.key("large"), self.large("large"))
    }

    /// What is there now.
    pub(crate) fn now(&self, store: &dyn KeyValueStore) -> Result<State, Error> {
        let keys = NAMES.iter().map(|name| self.key(name)).collect::<Vec<_>>();
        let values = store.get_many(&keys)?;
        Ok(keys.into_iter().zip(values).collect())
    }
}
