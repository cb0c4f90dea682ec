//! Reading several keys, each with its own outcome ([B7](crate::contract#6-many-at-once)): the default for stores that do not
//! implement it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::AsyncKeyValueStore;
use crate::each::{PATIENCE, TIMES, given_up, lost};
use crate::{InvalidKey, Key, Result};

/// Reads all keys at once. If that fails, reads them one by one until the failures, or all reads, have taken too long.
pub(super) async fn read_each<S: AsyncKeyValueStore + ?Sized>(
    store: &S,
    keys: &[Key<'_>],
) -> Vec<Result<Option<Bytes>>> {
    if let [key] = keys {
        return vec![store.read(*key).await];
    }
    let started = Instant::now();
    let mut cause = match store.read_many(keys).await {
        Ok(values) if values.len() == keys.len() => return values.into_iter().map(Ok).collect(),
        // Nobody knows which keys have failed, or, if there are too few values, which value belongs to which key.
        Ok(_) => String::from("the store returned too few values, or too many"),
        Err(error) => error.report().to_string(),
    };
    let patience = started.elapsed().max(PATIENCE);
    let (end, mut failing) = (Instant::now() + patience * TIMES, Duration::ZERO);
    let mut outcomes = Vec::with_capacity(keys.len());
    for &key in keys {
        if failing >= patience || Instant::now() >= end {
            outcomes.push(Err(given_up(store.name(), key, patience, &cause)));
            continue;
        }
        let started = Instant::now();
        let outcome = store.read(key).await;
        if let Err(error) = &outcome {
            failing += started.elapsed();
            cause = error.report().to_string();
        }
        outcomes.push(outcome);
    }
    outcomes
}

/// Returns an outcome for each key: the store's for a valid key, an error for an invalid one.
pub(super) async fn get_each<S: AsyncKeyValueStore + ?Sized>(
    store: &S,
    keys: Vec<Result<Key<'_>, InvalidKey>>,
) -> Vec<Result<Option<Bytes>>> {
    let valid = keys.iter().filter_map(|key| key.as_ref().ok().copied()).collect::<Vec<_>>();
    let outcomes = if valid.is_empty() { Vec::new() } else { store.read_each(&valid).await };
    let mut outcomes = outcomes.into_iter();
    // If the store returns fewer outcomes than keys, it has failed for the rest.
    let mut outcome = |key| outcomes.next().unwrap_or_else(|| Err(lost(store.name(), key)));
    keys.into_iter().map(|key| outcome(key?)).collect()
}
