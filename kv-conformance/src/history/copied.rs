//! Copies of what was not seen: what they may have copied.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kv_core::{Bytes, KeyBuf, Ttl};

use super::counters;
use super::operation::{Action, Operation};
use super::recording::Recorded;
use super::{History, Recording};

/// The histories of all keys that were used.
pub(super) fn histories<'s>(recordings: impl IntoIterator<Item = Recording<'s>>) -> Vec<History> {
    let (mut recorded, mut tolerance) = (Vec::new(), Duration::ZERO);
    for recording in recordings {
        tolerance = tolerance.max(recording.ttl_tolerance);
        recorded.extend(recording.operations);
    }
    resolve(&mut recorded);
    let mut by_key = BTreeMap::<KeyBuf, Vec<Operation>>::new();
    for Recorded { key, operation, .. } in recorded {
        by_key.entry(key).or_default().push(operation);
    }
    let history = |(key, operations)| History::new(key, operations).ttl_tolerance(tolerance);
    by_key.into_iter().map(history).collect()
}

/// Says of each copy what it may have copied: whatever was written there, or at a key from which something was copied there, before
/// the copy returned.
fn resolve(recorded: &mut [Recorded]) {
    let mut sources = BTreeMap::<KeyBuf, BTreeSet<KeyBuf>>::new();
    for Recorded { key, from, .. } in recorded.iter() {
        sources.entry(key.clone()).or_default().extend(from.clone());
    }
    sources.retain(|_, sources| !sources.is_empty());
    if sources.is_empty() {
        return;
    }
    let mut written = BTreeMap::<KeyBuf, Vec<(Duration, Action)>>::new();
    for Recorded { key, operation, .. } in recorded.iter() {
        if !operation.action.changed_nothing() || operation.ended.is_none() {
            written.entry(key.clone()).or_default().push((operation.began, operation.action.clone()));
        }
    }
    for Recorded { operation, from: source, .. } in recorded {
        let Some(from) = source else { continue };
        let (mut all_values, mut all_ttls) = (Vec::<Bytes>::new(), Vec::<Ttl>::new());
        let mut unknown = Vec::new();
        let ended = operation.ended.unwrap_or(Duration::MAX);
        for key in all_sources(from, &sources) {
            let written = written.get(&key).into_iter().flatten().filter(|(began, _)| *began <= ended);
            for (_, action) in written {
                all_values.extend(action.values().iter().cloned());
                if let Action::Increment { by, sum: None, .. } = action {
                    unknown.push(*by);
                }
                all_ttls
                    .extend(action.ttls().iter().filter(|ttl| !all_ttls.contains(ttl)).copied().collect::<Vec<_>>());
            }
        }
        all_values.extend(counters::all_sums(&all_values, unknown));
        if let Action::CopiedHere { values, ttls } = &mut operation.action {
            (*values, *ttls) = (all_values, all_ttls);
        }
    }
}

/// A key and all from which something came there.
fn all_sources(from: &KeyBuf, sources: &BTreeMap<KeyBuf, BTreeSet<KeyBuf>>) -> BTreeSet<KeyBuf> {
    let (mut all, mut left) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(key) = left.pop() {
        left.extend(sources.get(&key).into_iter().flatten().filter(|source| !all.contains(*source)).cloned());
        all.insert(key);
    }
    all
}
