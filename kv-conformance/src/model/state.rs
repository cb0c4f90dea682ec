//! What a store can hold, by what it has answered so far.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kv_core::{Bytes, KeyBuf, Remaining};

use super::step::value as shown;
use crate::running::{Expiry, Liveness};

/// An entry of the model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) value: Bytes,
    /// When it expires, if it does.
    pub(super) expiry: Option<Expiry>,
}

/// When an operation was under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct During {
    pub(super) before: Duration,
    pub(super) after: Duration,
}

/// What can be at a key: mostly one thing, and several after a batch that has failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Possible(Vec<Option<Entry>>);

/// What is at each key, and what listings that are open have to yield.
#[derive(Debug, Default)]
pub(super) struct State {
    keys: BTreeMap<KeyBuf, Possible>,
    /// How often something other than a TTL was written at each key.
    writes: BTreeMap<KeyBuf, u64>,
    listings: Vec<OpenListing>,
}

/// A listing that has begun.
#[derive(Debug)]
struct OpenListing {
    /// The keys that were there when it began, and have been since.
    must: BTreeSet<KeyBuf>,
    /// The keys that were there at some time.
    may: BTreeSet<KeyBuf>,
}

impl Entry {
    fn liveness(&self, during: During) -> Liveness {
        self.expiry.map_or(Liveness::Live, |expiry| expiry.liveness(during.before, during.after))
    }

    /// What is left of its TTL: at least and at most.
    fn left(&self, during: During, resolution: Duration) -> Option<(Duration, Duration)> {
        let expiry = self.expiry?;
        let least = expiry.earliest.saturating_sub(during.after.saturating_add(resolution));
        let most = expiry.latest.saturating_sub(during.before).saturating_add(resolution);
        Some((least, most))
    }
}

impl Possible {
    pub(super) fn nothing() -> Self {
        Self(vec![None])
    }

    pub(super) fn entry(entry: Option<Entry>) -> Self {
        Self(vec![entry])
    }

    /// This, or what is possible besides.
    pub(super) fn or(mut self, other: Self) -> Self {
        for one in other.0 {
            if !self.0.contains(&one) {
                self.0.push(one);
            }
        }
        self
    }

    /// The same with another TTL for what is there.
    pub(super) fn map(self, change: impl Fn(Entry) -> Option<Entry>) -> Self {
        Self(self.0.into_iter().map(|entry| entry.and_then(&change)).collect())
    }

    /// Whether there is an entry for certain (`Some(true)`), or is none.
    pub(super) fn is_live(&self, during: During) -> Option<bool> {
        let mut all = self.0.iter().map(|entry| match entry.as_ref().map(|entry| entry.liveness(during)) {
            Some(Liveness::Live) => Some(true),
            Some(Liveness::Expired) | None => Some(false),
            Some(Liveness::Unknown) => None,
        });
        let first = all.next()??;
        all.all(|other| other == Some(first)).then_some(first)
    }

    /// What is left of this when the store said that there is an entry, or none; nothing if that cannot be.
    pub(super) fn seen(&self, is_there: bool, during: During) -> Option<Self> {
        let could_be = |entry: &&Option<Entry>| match entry.as_ref().map(|entry| entry.liveness(during)) {
            Some(Liveness::Live) => is_there,
            Some(Liveness::Expired) | None => !is_there,
            Some(Liveness::Unknown) => true,
        };
        let left = self.0.iter().filter(could_be);
        let left = left.map(|entry| if is_there { entry.clone() } else { None }).collect::<Vec<_>>();
        Self::some(left)
    }

    /// The same when the store gave this value.
    pub(super) fn holding(self, value: &Bytes) -> Option<Self> {
        Self::some(
            self.0.into_iter().filter(|entry| entry.as_ref().is_some_and(|entry| entry.value == value)).collect(),
        )
    }

    /// The same when this was left of the TTL.
    pub(super) fn with_left(self, left: Remaining, during: During, resolution: Duration) -> Option<Self> {
        let could_be = |entry: &Option<Entry>| {
            let range = entry.as_ref().and_then(|entry| entry.left(during, resolution));
            match (range, left) {
                (None, Remaining::Forever) => true,
                (Some((least, most)), Remaining::For(left)) => least <= left && left <= most,
                _ => false,
            }
        };
        Self::some(self.0.into_iter().filter(could_be).collect())
    }

    /// What can be there while an operation is under way: an entry, or none.
    pub(super) fn alternatives(&self, during: During) -> Vec<Option<&Entry>> {
        let each = self.0.iter().flat_map(|entry| match entry.as_ref().map(|entry| entry.liveness(during)) {
            Some(Liveness::Live) => vec![entry.as_ref()],
            Some(Liveness::Expired) | None => vec![None],
            Some(Liveness::Unknown) => vec![entry.as_ref(), None],
        });
        each.collect()
    }

    /// Any of these.
    pub(super) fn any(of: Vec<Option<Entry>>) -> Option<Self> {
        Self::some(of)
    }

    fn some(mut left: Vec<Option<Entry>>) -> Option<Self> {
        left.dedup();
        (!left.is_empty()).then_some(Self(left))
    }

    /// The next times at which an entry may expire, and has to have expired.
    fn expiries(&self) -> impl Iterator<Item = Expiry> + '_ {
        self.0.iter().flatten().filter_map(|entry| entry.expiry)
    }

    /// What is expected, in words.
    pub(super) fn described(&self, during: During, resolution: Duration) -> String {
        let described = self.0.iter().map(|entry| match entry {
            None => "no entry".to_owned(),
            Some(entry) => {
                let left = entry.left(during, resolution).map_or("for ever".to_owned(), |(least, most)| {
                    if least == most { format!("for {least:?}") } else { format!("for {least:?} to {most:?}") }
                });
                match entry.liveness(during) {
                    Liveness::Live => format!("the entry {}, {left}", shown(&entry.value)),
                    Liveness::Expired => format!("no entry, since {} has expired", shown(&entry.value)),
                    Liveness::Unknown => format!("the entry {}, which may have expired", shown(&entry.value)),
                }
            }
        });
        described.collect::<Vec<_>>().join(", or ")
    }
}

impl State {
    pub(super) fn at(&self, key: &KeyBuf) -> Possible {
        self.keys.get(key).cloned().unwrap_or_else(Possible::nothing)
    }

    /// An operation has changed what is at a key.
    pub(super) fn set(&mut self, key: &KeyBuf, possible: Possible, during: During) {
        *self.writes.entry(key.clone()).or_default() += 1;
        self.set_ttl(key, possible, during);
    }

    /// How often something was written at a key, other than a TTL.
    pub(super) fn writes(&self, key: &KeyBuf) -> u64 {
        self.writes.get(key).copied().unwrap_or_default()
    }

    /// An operation has changed the TTL of what is at a key.
    pub(super) fn set_ttl(&mut self, key: &KeyBuf, possible: Possible, during: During) {
        let is_live = |possible: &Possible| possible.is_live(during);
        let (old, new) = (self.at(key), possible);
        for listing in &mut self.listings {
            if is_live(&old) != Some(true) || is_live(&new) != Some(true) {
                listing.must.remove(key);
            }
            if is_live(&old) != Some(false) || is_live(&new) != Some(false) {
                listing.may.insert(key.clone());
            }
        }
        self.learn(key, new);
    }

    /// An operation has shown what is at a key.
    pub(super) fn learn(&mut self, key: &KeyBuf, possible: Possible) {
        // Kept also if there is nothing: it is looked at in the end.
        self.keys.insert(key.clone(), possible);
    }

    /// Every key that was ever used.
    pub(super) fn keys(&self) -> impl Iterator<Item = &KeyBuf> {
        self.keys.keys()
    }

    /// The keys that a listing has to yield, and those that it may.
    pub(super) fn listed(&self, prefix: &str, during: During) -> (BTreeSet<KeyBuf>, BTreeSet<KeyBuf>) {
        let with_prefix = || self.keys.iter().filter(|(key, _)| key.starts_with(prefix));
        let must = with_prefix().filter(|(_, possible)| possible.is_live(during) == Some(true));
        let may = with_prefix().filter(|(_, possible)| possible.is_live(during) != Some(false));
        (must.map(|(key, _)| key.clone()).collect(), may.map(|(key, _)| key.clone()).collect())
    }

    /// A listing begins.
    pub(super) fn open(&mut self, prefix: &str, during: During) {
        let (must, may) = self.listed(prefix, during);
        self.listings.push(OpenListing { must, may });
    }

    /// The listing that began last ends: the keys that it had to yield, and those that it may have.
    pub(super) fn close(&mut self, prefix: &str, during: During) -> (BTreeSet<KeyBuf>, BTreeSet<KeyBuf>) {
        let OpenListing { mut must, mut may } =
            self.listings.pop().unwrap_or(OpenListing { must: BTreeSet::new(), may: BTreeSet::new() });
        must.retain(|key| self.at(key).is_live(during) == Some(true));
        may.retain(|key| key.starts_with(prefix));
        (must, may)
    }

    /// When the next entry may expire, after this time.
    pub(super) fn next_expiry(&self, now: Duration) -> Option<Expiry> {
        let all = self.keys.values().flat_map(Possible::expiries);
        all.filter(|expiry| expiry.latest > now).min_by_key(|expiry| expiry.earliest)
    }

    /// When all entries have to have expired, but for those that live for ever.
    pub(super) fn last_expiry(&self) -> Option<Duration> {
        self.keys.values().flat_map(Possible::expiries).map(|expiry| expiry.latest).max()
    }
}
