//! Listing wrongly: `keys`, `prefixes`.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;
use std::{mem, thread};

use kv_core::{Capability, Error, Failure, Key, KeyBuf, KeyValueStore, Keys, Prefix, Result};

use super::Wrong;
use super::mangling::percent_decoded;
use crate::faults::Fault;
use crate::right::{LONGEST_KEY, NAME, OWN, PAGE, own, part};

/// The short keys that any store was asked for.
pub(super) static NEIGHBOURS: Mutex<BTreeSet<KeyBuf>> = Mutex::new(BTreeSet::new());

/// Shows a listing as what a backend returns.
fn keys<'a>(keys: impl IntoIterator<Item = KeyBuf, IntoIter: Send + 'a>) -> Keys<'a> {
    Keys::new(keys.into_iter().map(Ok))
}

impl Wrong {
    /// All that is listed, at once.
    fn all(&self, prefix: Prefix<'_>) -> Result<Vec<KeyBuf>> {
        self.inner.list(prefix)?.collect()
    }

    /// All keys for which this holds.
    fn all_that(&self, holds: impl Fn(&str) -> bool) -> Result<Keys<'_>> {
        let mut all = self.all(Prefix::EMPTY)?;
        all.retain(|key| holds(key));
        Ok(keys(all))
    }

    /// All keys of a prefix, shown as something else, if that is a key.
    fn all_as(&self, prefix: Prefix<'_>, shown: impl Fn(&str) -> String) -> Result<Keys<'_>> {
        let all = self.all(prefix)?.into_iter();
        Ok(keys(all.map(|key| KeyBuf::new(shown(&key)).unwrap_or(key)).collect::<Vec<_>>()))
    }

    pub(super) fn list_wrongly(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        let whole = || Ok(keys(self.whole().list(prefix)?.collect::<Result<Vec<_>>>()?));
        let effect = || match self.fault {
            Fault::OptedOutHasEffect => {
                self.whole().lock().clear();
                whole()
            }
            _ => whole(),
        };
        if let Some(result) = self.opted_out(Capability::Listing, effect) {
            return result;
        }
        let pattern = prefix.as_str();
        match self.fault {
            Fault::PrefixIsPattern => self.all_that(|key| matches_pattern(&format!("{pattern}*"), key)),
            Fault::PrefixIsLike => self.all_that(|key| like(&format!("{pattern}%"), key)),
            Fault::PrefixIgnoresCase => self.all_that(|key| key.to_lowercase().starts_with(&pattern.to_lowercase())),
            Fault::TooLongPrefixCut => {
                let cut = pattern.chars().take(LONGEST_KEY).collect::<String>();
                self.all_that(|key| key.starts_with(&cut))
            }
            Fault::PrefixUpToTilde => {
                let last = format!("{pattern}~");
                self.all_that(|key| pattern <= key && key <= last.as_str())
            }
            Fault::PrefixSlashDecoded => self.all_that(|key| slashes(key).starts_with(&slashes(pattern))),
            Fault::PrefixDecoded => self.all_that(|key| percent_decoded(key).starts_with(&percent_decoded(pattern))),
            Fault::PrefixOfDecodedKey => self.all_that(|key| percent_decoded(key).starts_with(pattern)),
            Fault::PrefixUnescaped => {
                self.all_that(|key| key.replace("&amp;", "&").starts_with(&pattern.replace("&amp;", "&")))
            }
            Fault::ListedDecoded => self.all_as(prefix, percent_decoded),
            Fault::ListedSlashDecoded => self.all_as(prefix, slashes),
            Fault::ListsNeighbours => {
                let mut listed = self.all(prefix)?.into_iter().collect::<BTreeSet<_>>();
                listed.extend(NEIGHBOURS.lock().unwrap().iter().filter(|key| key.starts_with(pattern)).cloned());
                Ok(keys(listed))
            }
            Fault::PrefixAnywhere => self.all_that(|key| key.contains(pattern)),
            Fault::LongPrefixFails if prefix.len() > 250 => {
                Err(Error::Backend(Failure::new(NAME, "the server refused the prefix")))
            }
            Fault::ListingPanics => panic!("a listing that panics, for the suite to report"),
            Fault::LongPrefixFindsNothing if prefix.len() > 200 => Ok(keys(None)),
            Fault::PageLosesKey => Ok(keys(
                self.all(prefix)?.into_iter().enumerate().filter(|(n, _)| n % PAGE != PAGE - 1).map(|(_, k)| k),
            )),
            Fault::PageRepeatsKey => {
                let twice = |(n, key): (usize, KeyBuf)| vec![key; if n > 0 && n % PAGE == 0 { 2 } else { 1 }];
                Ok(keys(self.all(prefix)?.into_iter().enumerate().flat_map(twice)))
            }
            Fault::ListEndsAt1000 => Ok(keys(self.all(prefix)?.into_iter().take(1000))),
            Fault::PagesByOffset => Ok(self.by_offset(prefix)),
            Fault::ListsSnapshotOfOthers => self.of_shared_snapshot(pattern),
            Fault::DeletedListed | Fault::DeletedManyListed | Fault::ZeroTtlListed | Fault::IndexOfHandle => {
                self.list_by_index(prefix)
            }
            Fault::ManyNotListed
            | Fault::CreatedNotListed
            | Fault::StreamNotListed
            | Fault::CopiedNotListed
            | Fault::RenamedNotListed => self.list_by_index(prefix),
            Fault::ListHoldsLock | Fault::ListHoldsOtherLock => Ok(self.holding(self.all(prefix)?)),
            Fault::SharedCursor => {
                self.state().cursor = Some(self.all(prefix)?.into_iter());
                Ok(keys(std::iter::from_fn(|| self.state().cursor.as_mut()?.next())))
            }
            Fault::CursorsLeak => self.leaking(self.all(prefix)?),
            Fault::ListEndsAtRemoved => {
                let mut last: Option<KeyBuf> = None;
                Ok(keys(self.all(prefix)?.into_iter().enumerate().map_while(move |(n, key)| {
                    let gone = last.replace(key.clone()).is_some_and(|last| !self.inner.exists_whole(last.as_key()));
                    (n % PAGE != 0 || !gone).then_some(key)
                })))
            }
            Fault::ListSkipsAfterRemoved => {
                let mut is_skipped = false;
                Ok(keys(self.all(prefix)?.into_iter().enumerate().filter_map(move |(n, key)| {
                    if n % 16 == 0 {
                        thread::sleep(Duration::from_micros(20));
                    }
                    let is_there = self.inner.exists_whole(key.as_key());
                    let was_skipped = mem::replace(&mut is_skipped, !is_there);
                    (is_there && !was_skipped).then_some(key)
                })))
            }
            Fault::ListExtends => {
                let all = self.all(prefix)?;
                for key in &all {
                    self.extend(key.as_key());
                }
                Ok(keys(all))
            }
            Fault::ForeignListed | Fault::ForeignFails | Fault::ForeignEnds | Fault::ExpiredListed => {
                Ok(Keys::new(self.names(prefix).into_iter()))
            }
            _ => self.inner.list(prefix),
        }
    }

    /// A listing with what is forgotten by the index, or without what it does not know.
    fn list_by_index(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        let mut all = self.all(prefix)?;
        let state = self.state();
        all.retain(|key| state.index.contains(key) == self.is(Fault::IndexOfHandle));
        all.extend(state.deleted.iter().filter(|key| key.starts_with(prefix.as_str())).cloned());
        all.sort_unstable();
        all.dedup();
        Ok(keys(all))
    }

    /// A listing of what is in the map, with what should be skipped.
    fn names(&self, prefix: Prefix<'_>) -> Vec<Result<KeyBuf>> {
        let map = self.inner.lock();
        let mut found = Vec::new();
        for (name, stored) in map.iter() {
            let live = self.inner.is_live(stored) || self.is(Fault::ExpiredListed);
            let key = match name.strip_prefix(OWN) {
                Some(key) => key,
                None if self.is(Fault::ForeignListed) => name.strip_prefix("another ").unwrap_or(name),
                None => continue,
            };
            match KeyBuf::new(key) {
                Ok(key) if live && key.starts_with(prefix.as_str()) => found.push(Ok(key)),
                Err(error) if self.is(Fault::ForeignFails) => found.push(Err(error.into())),
                Err(_) if self.is(Fault::ForeignEnds) => break,
                _ => {}
            }
        }
        found
    }

    /// A listing that reads page after page by its number.
    fn by_offset(&self, prefix: Prefix<'_>) -> Keys<'_> {
        let prefix = prefix.as_str().to_owned();
        let mut offset = 0;
        let mut page = Vec::new().into_iter();
        keys(std::iter::from_fn(move || {
            if page.len() == 0 {
                let all = self.all(Prefix::new(&prefix).ok()?).ok()?;
                page = all.into_iter().skip(offset).take(PAGE).collect::<Vec<_>>().into_iter();
                offset += PAGE;
            }
            page.next()
        }))
    }

    /// What was there when the first of the listings began that are under way.
    fn of_shared_snapshot(&self, prefix: &str) -> Result<Keys<'_>> {
        let snapshot = {
            let mut state = self.state();
            if state.listings == 0 {
                state.snapshot = self.all(Prefix::EMPTY)?;
            }
            state.listings += 1;
            state.snapshot.clone()
        };
        thread::sleep(Duration::from_micros(500));
        self.state().listings -= 1;
        Ok(keys(snapshot.into_iter().filter(|key| key.starts_with(prefix)).collect::<Vec<_>>()))
    }

    /// A listing that holds a lock until it is dropped.
    fn holding(&self, all: Vec<KeyBuf>) -> Keys<'_> {
        let held = self.hold();
        keys(all.into_iter().inspect(move |_| {
            let _ = &held;
        }))
    }

    /// A listing with a cursor that is closed at its end alone.
    fn leaking(&self, all: Vec<KeyBuf>) -> Result<Keys<'_>> {
        self.state().cursors += 1;
        if self.state().cursors > 100 {
            return Err(Error::Unavailable(Failure::new(NAME, "too many open cursors")));
        }
        let end = std::iter::from_fn(|| {
            self.state().cursors -= 1;
            None
        });
        Ok(keys(all.into_iter().chain(end)))
    }

    pub(super) fn list_parts(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        let effect = || Ok(keys(self.whole().list_prefixes(delimiter, prefix)?.collect::<Result<Vec<_>>>()?));
        if let Some(result) = self.opted_out(Capability::Listing, effect) {
            return result;
        }
        let cut = |key: &KeyBuf, end: usize| key.get(..end).and_then(|part| KeyBuf::new(part).ok());
        let begin = prefix.len();
        let mut parts = Vec::new();
        let all = match self.fault {
            Fault::PartsHoldLock => {
                return Ok(self.holding(self.inner.list_prefixes(delimiter, prefix)?.collect::<Result<_>>()?));
            }
            Fault::PartCursorsLeak => {
                return self.leaking(self.inner.list_prefixes(delimiter, prefix)?.collect::<Result<_>>()?);
            }
            Fault::PartsSkipExpired => {
                let (all, delimiter) = (self.all(prefix)?, delimiter.to_key_buf());
                let mut seen = BTreeSet::new();
                return Ok(keys(all.into_iter().filter_map(move |key| {
                    let part = part(&key, &delimiter, begin);
                    let is_live = self.inner.exists_whole(key.as_key());
                    (seen.insert(part.clone()) && is_live).then_some(part)
                })));
            }
            Fault::ForeignInParts => self.foreign_too(prefix)?,
            Fault::ExpiredPart => self.expired_too(prefix),
            Fault::PartsByLastDelimiter
            | Fault::PartsFromBeginning
            | Fault::PartsWithoutDelimiter
            | Fault::PartsLeaveOutWhole
            | Fault::PartsRepeat => self.all(prefix)?,
            // What a wrong listing yields, its parts do too.
            _ => self.list_wrongly(prefix)?.collect::<Result<_>>()?,
        };
        let mut seen = BTreeSet::new();
        for (n, key) in all.iter().enumerate() {
            let right = part(key, &delimiter, begin);
            let whole = !right.get(begin..).is_some_and(|rest| rest.contains(delimiter.as_str()));
            let found = match self.fault {
                Fault::PartsByLastDelimiter if !whole => {
                    key.rfind(delimiter.as_str()).and_then(|at| cut(key, at + delimiter.len()))
                }
                Fault::PartsFromBeginning => Some(part(key, &delimiter, 0)),
                Fault::PartsWithoutDelimiter if !whole => cut(&right, right.len() - delimiter.len()).or(Some(right)),
                Fault::PartsLeaveOutWhole if whole => None,
                _ => Some(right),
            };
            if self.is(Fault::PartsRepeat) && n % PAGE == 0 {
                seen.clear();
            }
            parts.extend(found.filter(|part| seen.insert(part.clone())));
        }
        Ok(keys(parts))
    }

    fn foreign_too(&self, prefix: Prefix<'_>) -> Result<Vec<KeyBuf>> {
        let mut all = self.all(prefix)?;
        let map = self.inner.lock();
        let foreign = map.keys().filter_map(|name| name.strip_prefix("another "));
        all.extend(foreign.filter(|key| key.starts_with(prefix.as_str())).filter_map(|key| KeyBuf::new(key).ok()));
        Ok(all)
    }

    fn expired_too(&self, prefix: Prefix<'_>) -> Vec<KeyBuf> {
        let prefix = own(&prefix);
        let map = self.inner.lock();
        let names = map.keys().filter(|name| name.starts_with(&prefix));
        names.filter_map(|name| KeyBuf::new(name.strip_prefix(OWN)?).ok()).collect()
    }
}

/// A key with its `%2F` as `/`.
fn slashes(key: &str) -> String {
    key.replace("%2F", "/")
}

/// Whether a name matches a pattern of a shell, as redis does it: `*`, `?`, `[a-c]`, `[^a]`, `\`.
pub(super) fn matches_pattern(pattern: &str, name: &str) -> bool {
    glob(pattern.as_bytes(), name.as_bytes())
}

#[allow(clippy::match_same_arms, reason = "the order of the arms is their precedence")]
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => glob(rest, name) || name.split_first().is_some_and(|(_, name)| glob(pattern, name)),
        ([b'?', rest @ ..], [_, name @ ..]) => glob(rest, name),
        ([b'\\', literal, rest @ ..], [byte, name @ ..]) => literal == byte && glob(rest, name),
        ([b'[', rest @ ..], [byte, name @ ..]) => {
            let end = rest.iter().position(|byte| *byte == b']').unwrap_or(rest.len());
            let (set, rest) = rest.split_at(end);
            let (negated, set) = set.strip_prefix(b"^").map_or((false, set), |set| (true, set));
            let in_range = set.windows(3).any(|range| matches!(range, [from, b'-', to] if (from..=to).contains(&byte)));
            (set.contains(byte) || in_range) != negated && glob(rest.get(1..).unwrap_or_default(), name)
        }
        ([literal, rest @ ..], [byte, name @ ..]) => literal == byte && glob(rest, name),
        _ => false,
    }
}

/// Whether a name matches a pattern of SQL: `%`, `_`.
fn like(pattern: &str, name: &str) -> bool {
    let mut escaped = String::new();
    for c in pattern.chars() {
        match c {
            '%' => escaped.push('*'),
            '_' => escaped.push('?'),
            c => escaped.extend(['\\', c]),
        }
    }
    matches_pattern(&escaped, name)
}
