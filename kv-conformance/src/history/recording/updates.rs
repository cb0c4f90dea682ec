//! Operations that depend on what is there.

use kv_core::{Bytes, Error, Key, KeyValueStoreExt, Result, Ttl, Version};

use super::{Recording, Span};
use crate::history::{Action, Held, counters};

impl Recording<'_> {
    /// See [`KeyValueStoreExt::get_versioned`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn get_versioned(&mut self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        let (result, span) = self.time(|store| store.get_versioned(key));
        let found = result?;
        self.push(key, "get_versioned", span, Action::Get(found.as_ref().map(|(value, _)| value.clone())));
        Ok(found)
    }

    /// See [`KeyValueStoreExt::create_versioned`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn create_versioned(&mut self, key: Key<'_>, value: Bytes, ttl: Ttl) -> Result<Option<Version>> {
        let (new, given) = (value.clone(), self.given(ttl));
        let (result, span) = self.time(|store| store.create_versioned(key, value, ttl));
        let action = |created: &Option<_>| Action::Create(new.clone(), given, created.is_some());
        self.answered(key, "create_versioned", (&result, span), action);
        result
    }

    /// See [`KeyValueStoreExt::put_if`]. `old` is a value that the key had, and its version; the key must not have had it twice.
    ///
    /// # Errors
    /// Those of the store.
    pub fn put_if(
        &mut self,
        key: Key<'_>,
        (old, version): &(Bytes, Version),
        value: Bytes,
        ttl: Ttl,
    ) -> Result<Option<Version>> {
        let (new, given) = (value.clone(), self.given(ttl));
        let (result, span) = self.time(|store| store.put_if(key, value, ttl, version));
        let action = |stored: &Option<_>| Action::PutIf {
            old: old.clone(),
            value: new.clone(),
            ttl: given,
            stored: stored.is_some(),
        };
        self.answered(key, "put_if", (&result, span), action);
        result
    }

    /// See [`KeyValueStoreExt::delete_if`]. `old` is a value that the key had, and its version; the key must not have had it twice.
    ///
    /// # Errors
    /// Those of the store.
    pub fn delete_if(&mut self, key: Key<'_>, (old, version): &(Bytes, Version)) -> Result<bool> {
        let (result, span) = self.time(|store| store.delete_if(key, version));
        self.answered(key, "delete_if", (&result, span), |deleted| Action::DeleteIf(old.clone(), *deleted));
        result
    }

    /// See [`KeyValueStoreExt::take`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn take(&mut self, key: Key<'_>) -> Result<Held> {
        let (result, span) = self.time(|store| store.take(key));
        self.answered(key, "take", (&result, span), |taken: &Held| Action::Take(taken.clone()));
        result
    }

    /// See [`KeyValueStoreExt::get_and_touch`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn get_and_touch(&mut self, key: Key<'_>, ttl: Ttl) -> Result<Held> {
        let given = self.given(ttl);
        let (result, span) = self.time(|store| store.get_and_touch(key, ttl));
        self.answered(key, "get_and_touch", (&result, span), |read: &Held| Action::GetAndTouch(given, read.clone()));
        result
    }

    /// See [`KeyValueStoreExt::increment`]; the sum. `None` if the value is not a counter.
    ///
    /// # Errors
    /// Those of the store. `NotACounter` is not an error.
    pub fn increment(&mut self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<Option<u64>> {
        let given = self.given(ttl);
        let (result, span) = self.time(|store| store.increment(key, by, ttl));
        let result = match result {
            Err(Error::NotACounter { .. }) => Ok(None),
            result => result.map(Some),
        };
        let action = |sum: &Option<u64>| Action::Increment { by, ttl: given, sum: sum.map(counters::text) };
        self.answered(key, "increment", (&result, span), action);
        result
    }

    /// Writes down what was answered, or what may take effect at any time: the answer of that counts for nothing.
    fn answered<T: Default>(
        &mut self,
        key: Key<'_>,
        call: &'static str,
        (result, span): (&Result<T>, Span),
        action: impl Fn(&T) -> Action,
    ) {
        match result {
            Ok(answer) => self.push(key, call, span, action(answer)),
            Err(error) if error.outcome_unknown() => self.push_unanswered(key, call, span, action(&T::default())),
            Err(_) => {}
        }
    }
}
