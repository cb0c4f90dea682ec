//! Listings: page by page, without a lock between two keys.

use std::collections::btree_set::Range;
use std::collections::{HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use kv_core::{Key, KeyBuf, Prefix, Result};

use crate::MemoryStore;
use crate::namespace::Namespace;
use crate::shard::Shard;

/// How many keys are read under one lock.
const PAGE: usize = 256;

/// The keys of a store, or of its namespace, that begin with a prefix ([L1](kv_core::contract#5-listing)).
pub(crate) fn keys<'s>(
    store: &'s MemoryStore,
    prefix: Prefix<'_>,
) -> impl Iterator<Item = Result<KeyBuf>> + Send + use<'s> {
    Walk::new(store, prefix, |position| {
        take_keys(position);
        Ok(())
    })
}

/// Their distinct parts up to a delimiter ([L6](kv_core::contract#5-listing)).
pub(crate) fn parts<'s>(
    store: &'s MemoryStore,
    delimiter: Key<'_>,
    prefix: Prefix<'_>,
) -> impl Iterator<Item = Result<KeyBuf>> + Send + use<'s> {
    let delimiter = delimiter.to_key_buf();
    let begin = store.namespace.as_ref().map_or(0, |namespace| namespace.prefix().len()) + prefix.len();
    let mut yielded = HashSet::new();
    Walk::new(store, prefix, move |position| take_parts(position, begin, &delimiter, &mut yielded))
}

/// Walks through the parts of a store one after the other, and through each part in the order of its keys.
struct Walk<'s, F> {
    store: &'s MemoryStore,
    take: F,
    prefix: Arc<str>,
    end: Bound<Arc<str>>,
    shard: usize,
    from: Bound<Arc<str>>,
    page: VecDeque<KeyBuf>,
}

impl<'s, F: FnMut(&mut Position<'_>) -> Result<()>> Walk<'s, F> {
    fn new(store: &'s MemoryStore, prefix: Prefix<'_>, take: F) -> Self {
        let before = store.namespace.as_ref().map_or("", Namespace::prefix);
        let prefix: Arc<str> = [before, prefix.as_str()].concat().into();
        let end = after_all_with(&prefix);
        let from = Bound::Included(prefix.clone());
        Self { store, take, prefix, end, shard: 0, from, page: VecDeque::new() }
    }

    /// Fills the page under one lock. `None` at the end.
    fn fill(&mut self) -> Option<Result<()>> {
        let shard = self.store.shards.nth(self.shard)?.read();
        let mut position = Position {
            store: self.store,
            shard: &shard,
            now: None,
            from: &mut self.from,
            end: as_str(&self.end),
            budget: PAGE,
            page: &mut self.page,
        };
        let taken = (self.take)(&mut position);
        if position.budget > 0 {
            self.shard += 1;
            self.from = Bound::Included(self.prefix.clone());
        }
        Some(taken)
    }
}

impl<F: FnMut(&mut Position<'_>) -> Result<()>> Iterator for Walk<'_, F> {
    type Item = Result<KeyBuf>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some(key) = self.page.pop_front() {
                let Some(namespace) = &self.store.namespace else { return Some(Ok(key)) };
                if let Some(key) = namespace.after(&key) {
                    return Some(Ok(key));
                }
            }
            if let Err(error) = self.fill()? {
                return Some(Err(error));
            }
        }
    }
}

/// The position of a listing, in a part of the store that is locked for reading.
struct Position<'p> {
    store: &'p MemoryStore,
    shard: &'p Shard,
    now: Option<u64>,
    /// The keys from here on have not been read.
    from: &'p mut Bound<Arc<str>>,
    end: Bound<&'p str>,
    /// How many more keys may be read under this lock. If some of it is left, the part has no more keys.
    budget: usize,
    page: &'p mut VecDeque<KeyBuf>,
}

impl<'p> Position<'p> {
    fn ahead(&self) -> Range<'p, KeyBuf> {
        self.shard.keys(as_str(self.from), self.end)
    }

    /// Whether the entry of a key of this part is live. If no entry of the part has a deadline, this reads neither the table nor
    /// the clock.
    fn is_live(&mut self, key: &KeyBuf) -> bool {
        if !self.shard.has_deadlines() {
            return true;
        }
        let (clock, now) = (&self.store.clock, &mut self.now);
        let slot = self.shard.find(self.store.shards.hashed(key.as_key()));
        slot.is_some_and(|slot| slot.is_live(|| *now.get_or_insert_with(|| clock.now())))
    }
}

/// Takes the next keys.
fn take_keys(position: &mut Position<'_>) {
    let mut last = None;
    for key in position.ahead().take(position.budget) {
        position.budget -= 1;
        if position.is_live(key) {
            position.page.push_back(key.clone());
        }
        last = Some(key);
    }
    if let Some(last) = last {
        *position.from = Bound::Excluded(last.clone().into());
    }
}

/// Takes the parts of the next keys, and skips keys that begin with a part that was taken.
fn take_parts(position: &mut Position<'_>, begin: usize, delimiter: &str, yielded: &mut HashSet<KeyBuf>) -> Result<()> {
    while position.budget > 0 {
        let Some(key) = position.ahead().next() else { break };
        position.budget -= 1;
        let part = key
            .get(begin..)
            .and_then(|rest| rest.find(delimiter))
            .and_then(|at| key.get(..begin + at + delimiter.len()));
        let known = part.is_some_and(|part| yielded.contains(part));
        let taken = known || position.is_live(key);
        *position.from = match part {
            Some(part) if taken => start_after(part),
            _ => Bound::Excluded(key.clone().into()),
        };
        if taken && !known {
            let found = part.map_or_else(|| Ok(key.clone()), KeyBuf::new)?;
            if part.is_some() {
                yielded.insert(found.clone());
            }
            position.page.push_back(found);
        }
    }
    Ok(())
}

/// The end of the keys that begin with a text.
fn after_all_with(text: &str) -> Bound<Arc<str>> {
    successor(text).map_or(Bound::Unbounded, Bound::Excluded)
}

/// The start of the keys after all those that begin with a text.
fn start_after(text: &str) -> Bound<Arc<str>> {
    successor(text).map_or_else(|| Bound::Excluded(text.into()), Bound::Included)
}

/// The smallest text greater than every text that begins with this one. The empty text has none, because every text begins with it.
///
/// All characters are below 0x7F, so the last one always has a successor that is ASCII, too.
fn successor(text: &str) -> Option<Arc<str>> {
    let mut text = text.to_owned();
    let last = text.pop()?;
    text.extend(char::from_u32(u32::from(last) + 1));
    Some(text.into())
}

fn as_str(bound: &Bound<Arc<str>>) -> Bound<&str> {
    bound.as_ref().map(|text| &**text)
}

#[cfg(test)]
mod tests {
    use kv_core::{KeyValueStoreExt, key};

    use super::*;

    /// How many keys of the index a listing reads.
    fn keys_read(store: &MemoryStore, prefix: Prefix<'_>, mut take: impl FnMut(&mut Position<'_>)) -> usize {
        let mut sum = 0;
        let mut walk = Walk::new(store, prefix, |position| {
            let budget = position.budget;
            take(position);
            sum += budget - position.budget;
            Ok(())
        });
        assert!(walk.by_ref().all(|key| key.is_ok()));
        drop(walk);
        sum
    }

    #[test]
    fn a_listing_of_100_keys_of_a_million_reads_no_others() {
        let store = MemoryStore::new();
        for number in 0..1_000_000 {
            store.put(format!("k:{number:06}"), "").unwrap();
        }
        let prefix = Prefix::from_static("k:1234");
        assert_eq!(keys(&store, prefix).count(), 100);
        assert_eq!(keys_read(&store, prefix, take_keys), 100);
    }

    #[test]
    fn a_listing_of_parts_skips_keys_that_share_a_part() {
        let store = MemoryStore::new();
        for number in 0..50_000 {
            store.put(format!("big/{number}"), "").unwrap();
        }
        store.put_many([("small/1", ""), ("whole", "")]).unwrap();
        let mut found = parts(&store, key!("/"), Prefix::EMPTY).map(Result::unwrap).collect::<Vec<_>>();
        found.sort();
        assert_eq!(found, ["big/", "small/", "whole"]);

        let mut yielded = HashSet::new();
        let reads = keys_read(&store, Prefix::EMPTY, |position| take_parts(position, 0, "/", &mut yielded).unwrap());
        assert!(reads <= 128 + 2, "once in each shard for the big part, once for each other key: {reads}");
    }

    #[test]
    fn a_page_begins_where_the_last_one_ended() {
        let store = MemoryStore::new();
        let mut expected = Vec::new();
        for number in 0..PAGE * 300 {
            let key: KeyBuf = format!("k{number:05}").parse().unwrap();
            store.put(&key, "").unwrap();
            expected.push(key);
        }
        let mut listed = keys(&store, Prefix::EMPTY).map(Result::unwrap).collect::<Vec<_>>();
        listed.sort();
        assert_eq!(listed, expected);

        // No two keys share a part here, so each page is full.
        let mut found = parts(&store, key!("x"), Prefix::EMPTY).map(Result::unwrap).collect::<Vec<_>>();
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_text_but_the_empty_one_has_a_successor() {
        assert_eq!(successor("a/"), Some("a0".into()));
        assert_eq!(successor("a~"), Some("a\x7F".into()));
        assert_eq!(successor(""), None);
    }
}
