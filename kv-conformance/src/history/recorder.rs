//! Records what threads do to a store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kv_core::{Bytes, Key, KeyBuf, KeyValueStore, KeyValueStoreExt, Result};

use super::operation::{Action, Held, Operation, letters};

/// Gives several threads one clock, so that each can record what it does.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    threads: AtomicUsize,
}

impl Recorder {
    /// A recorder whose time begins now.
    #[expect(clippy::new_without_default, reason = "a default does not begin to run")]
    pub fn new() -> Self {
        Self { start: Instant::now(), threads: AtomicUsize::new(0) }
    }

    /// A recording for one more thread, which uses this store or this handle.
    pub fn thread<'s>(&self, store: &'s dyn KeyValueStore) -> Recording<'s> {
        let thread = self.threads.fetch_add(1, Ordering::Relaxed);
        Recording { store, start: self.start, thread, values: 0, operations: Vec::new() }
    }
}

/// What one thread does to a store, and the store's answers.
///
/// Each method does the same as that of [`KeyValueStoreExt`], and returns the same result. If an operation fails and the error says that
/// the [outcome is unknown](kv_core::Error::outcome_unknown), it is recorded as one that may take effect at any time or never. So is every
/// entry of a failed batch, because a part of the batch may have been done (clause B5). An operation that fails with a known outcome
/// changed nothing, and is not recorded. So you can record during faults, too.
///
/// Each entry of a batch is an operation of its own that takes as long as the batch, because a batch is not atomic.
#[derive(Debug)]
pub struct Recording<'s> {
    store: &'s dyn KeyValueStore,
    start: Instant,
    thread: usize,
    values: usize,
    operations: Vec<(KeyBuf, Operation)>,
}

impl Recording<'_> {
    /// A value that no other thread of the same recorder uses: the letter of this thread, and a number.
    pub fn fresh_value(&mut self) -> Bytes {
        self.values += 1;
        format!("{}{}", letters(self.thread), self.values).into()
    }

    /// See [`KeyValueStoreExt::put`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn put(&mut self, key: Key<'_>, value: Bytes) -> Result<()> {
        let action = Action::Put(value.clone());
        let (result, began, ended) = self.time(|store| store.put(key, value));
        self.wrote(key, began, ended, result, |()| action.clone())
    }

    /// See [`KeyValueStoreExt::create`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn create(&mut self, key: Key<'_>, value: Bytes) -> Result<bool> {
        let action = value.clone();
        let (result, began, ended) = self.time(|store| store.create(key, value));
        self.wrote(key, began, ended, result, |created| Action::Create(action.clone(), created))
    }

    /// See [`KeyValueStoreExt::delete`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn delete(&mut self, key: Key<'_>) -> Result<bool> {
        let (result, began, ended) = self.time(|store| store.delete(key));
        self.wrote(key, began, ended, result, Action::Delete)
    }

    /// See [`KeyValueStoreExt::get`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn get(&mut self, key: Key<'_>) -> Result<Held> {
        let (result, began, ended) = self.time(|store| store.get(key));
        let held = result?;
        self.push(key, began, Some(ended), Action::Get(held.clone()));
        Ok(held)
    }

    /// See [`KeyValueStoreExt::contains`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn contains(&mut self, key: Key<'_>) -> Result<bool> {
        let (result, began, ended) = self.time(|store| store.contains(key));
        let contained = result?;
        self.push(key, began, Some(ended), Action::Contains(contained));
        Ok(contained)
    }

    /// See [`KeyValueStoreExt::put_many`]. Each key may be named once.
    ///
    /// # Errors
    /// Those of the store.
    pub fn put_many(&mut self, entries: &[(Key<'_>, Bytes)]) -> Result<()> {
        let given = entries.to_vec();
        let (result, began, ended) = self.time(|store| store.put_many(given));
        let ended = result.is_ok().then_some(ended);
        for (key, value) in entries {
            self.push(*key, began, ended, Action::Put(value.clone()));
        }
        result
    }

    /// See [`KeyValueStoreExt::delete_many`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn delete_many(&mut self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        let (result, began, ended) = self.time(|store| store.delete_many(keys));
        match &result {
            Ok(deleted) => {
                keys.iter()
                    .zip(deleted)
                    .for_each(|(&key, &was)| self.push(key, began, Some(ended), Action::Delete(was)));
            }
            Err(_) => keys.iter().for_each(|&key| self.push(key, began, None, Action::Delete(true))),
        }
        result
    }

    /// See [`KeyValueStoreExt::get_many`].
    ///
    /// # Errors
    /// Those of the store.
    pub fn get_many(&mut self, keys: &[Key<'_>]) -> Result<Vec<Held>> {
        let (result, began, ended) = self.time(|store| store.get_many(keys));
        let values = result?;
        for (&key, held) in keys.iter().zip(&values) {
            self.push(key, began, Some(ended), Action::Get(held.clone()));
        }
        Ok(values)
    }

    /// Runs something, and returns when it began and ended. Nothing else happens in between.
    fn time<T>(&self, action: impl FnOnce(&dyn KeyValueStore) -> T) -> (T, Duration, Duration) {
        let began = self.start.elapsed();
        let result = action(self.store);
        (result, began, self.start.elapsed())
    }

    /// Records a write of one entry. `action` makes the action from the answer; the answer is ignored if the outcome is unknown.
    fn wrote<T: Copy + Default>(
        &mut self,
        key: Key<'_>,
        began: Duration,
        ended: Duration,
        result: Result<T>,
        action: impl Fn(T) -> Action,
    ) -> Result<T> {
        match &result {
            Ok(answer) => self.push(key, began, Some(ended), action(*answer)),
            Err(error) if error.outcome_unknown() => self.push(key, began, None, action(T::default())),
            Err(_) => {}
        }
        result
    }

    fn push(&mut self, key: Key<'_>, began: Duration, ended: Option<Duration>, action: Action) {
        self.operations.push((key.into(), Operation { thread: self.thread, began, ended, action }));
    }
}

/// The operations of several threads, by key.
pub(super) fn by_key<'s>(recordings: impl IntoIterator<Item = Recording<'s>>) -> BTreeMap<KeyBuf, Vec<Operation>> {
    let mut by_key = BTreeMap::<KeyBuf, Vec<Operation>>::new();
    for (key, operation) in recordings.into_iter().flat_map(|recording| recording.operations) {
        by_key.entry(key).or_default().push(operation);
    }
    by_key
}
