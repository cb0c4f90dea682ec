//! Writing wrongly: `put`, `put_many`, `touch`.

use std::collections::BTreeSet;
use std::time::Duration;

use kv_core::{Bytes, Capability, Entry, Error, Failure, Key, KeyValueStore, Result, Ttl};

use super::{Way, Wrong, between, pause};
use crate::faults::Fault;
use crate::right::{NAME, OWN, Right, Stored, own};

/// What is longer takes time to write, where the fault is about that.
const SLOW: usize = 1000;

impl Wrong {
    pub(super) fn put(&self, way: Way, key: Key<'_>, value: Bytes, ttl: Ttl) -> Result<()> {
        let value = self.mangle_value(way, key, value);
        let ttl = self.mangle_ttl(way, key, ttl);
        if let Err(error) = self.check(key, value.len(), ttl) {
            return self.refuse(key, &value, error);
        }
        if self.is(Fault::DebugShowsTextWithTtl) && matches!(ttl, Ttl::After(_)) {
            str::from_utf8(&value).unwrap_or("bytes").clone_into(&mut self.state().shown);
        }
        let zero = ttl == Ttl::After(Duration::ZERO);
        let old = self.inner.live(&self.inner.lock(), &key).cloned();
        let over_expired = self.expired(key);
        self.remember(way, key, ttl, old.as_ref());
        match self.fault {
            Fault::FirstWriteWins if old.is_some() => return Ok(()),
            Fault::Tombstones if self.state().deleted.contains(key.as_str()) => return Ok(()),
            Fault::LostWrite if self.state().writes.is_multiple_of(500) => return Ok(()),
            Fault::ZeroTtlKeepsOld if zero => return Ok(()),
            Fault::EvictsAt2MiB => {
                let mut map = self.inner.lock();
                while map.values().map(|stored| stored.value.len()).sum::<usize>() > 2 << 20 {
                    map.pop_first();
                }
            }
            Fault::EvictsAt500 => {
                let mut map = self.inner.lock();
                if map.len() >= 500 {
                    map.pop_first();
                }
            }
            _ => {}
        }
        let torn = matches!(
            (self.fault, way),
            (Fault::TornWrite, Way::One) | (Fault::TornMany, Way::Many) | (Fault::TornStream, Way::Stream)
        );
        if torn && value.len() > SLOW {
            self.inner.write(key, value.slice(..value.len() / 2).into(), ttl)?;
            pause();
        }
        if self.is(Fault::NothingBetween) && value.len() > SLOW {
            self.inner.remove(key)?;
            pause();
        }
        if self.is(Fault::LostUpdate) {
            return self.update(key, value, ttl);
        }
        if self.is(Fault::PutFlickers) {
            self.inner.write(key, value.clone().into(), ttl)?;
            between();
            self.inner.remove(key)?;
            between();
        }
        self.inner.write(key, value.into(), ttl)?;
        self.keep_version(key, old.as_ref(), way == Way::Many, way == Way::Stream);
        let keeps = match (self.fault, way) {
            (Fault::PutKeepsTtl, Way::One) => !matches!(ttl, Ttl::After(_)),
            (Fault::ManyKeepsTtl, Way::Many) | (Fault::StreamKeepsTtl, Way::Stream) => true,
            _ => false,
        };
        if let Some(old) = old.filter(|_| keeps) {
            self.change(key, |stored| stored.end = old.end);
        }
        if let Some(expired) = over_expired.filter(|_| self.is(Fault::ManyOverExpiredStays) && way == Way::Many) {
            self.change(key, |stored| stored.end = expired.end);
        }
        Ok(())
    }

    /// Writes all entries for one. A write that is alone loses none, and need not copy them.
    fn update(&self, key: Key<'_>, value: Bytes, ttl: Ttl) -> Result<()> {
        let alone = self.state().writing == 0;
        let all = (!alone).then(|| self.inner.lock().clone());
        self.state().writing += 1;
        between();
        if let Some(all) = all {
            *self.inner.lock() = all;
        }
        let written = self.inner.write(key, value.into(), ttl);
        self.state().writing -= 1;
        written
    }

    /// Keeps what the faults need to know of a write.
    pub(super) fn remember(&self, way: Way, key: Key<'_>, ttl: Ttl, old: Option<&Stored>) {
        let mut state = self.state();
        state.writes += 1;
        if self.is(Fault::StaleRead) {
            state.previous.insert(key.into(), old.map(|old| old.value.clone()));
        }
        if let Ttl::After(ttl) = ttl {
            state.given.insert(key.into(), ttl);
        }
        state.links.remove(key.as_str());
        if !self.is(Fault::Tombstones) && !self.is(Fault::ContainsDeleted) {
            state.deleted.remove(key.as_str());
        }
        if self.is(Fault::ZeroTtlListed) && ttl == Ttl::After(Duration::ZERO) && old.is_some() {
            state.deleted.insert(key.into());
        }
        let indexed = match self.fault {
            Fault::ManyNotListed => way == Way::Many,
            Fault::CreatedNotListed => way == Way::Create,
            Fault::StreamNotListed => way == Way::Stream,
            Fault::IndexOfHandle => true,
            _ => false,
        };
        if indexed {
            state.index.insert(key.into());
        } else {
            state.index.remove(key.as_str());
        }
        // Only reads fill the cache. What is written is forgotten by this handle alone.
        let forgets = match self.fault {
            Fault::AbsenceRemembered => matches!(way, Way::One | Way::Create),
            Fault::CacheForgetsPutsAlone => way == Way::One,
            _ => true,
        };
        if forgets {
            state.cache.remove(key.as_str());
        }
        if let (Fault::TimerNotCancelled, Ttl::After(ttl)) = (self.fault, ttl) {
            state.timers.push((self.inner.now().saturating_add(ttl), key.into()));
        }
    }

    /// Whether this can be written.
    pub(super) fn check(&self, key: Key<'_>, size: usize, ttl: Ttl) -> Result<()> {
        let limit = self.inner.config.largest_value.unwrap_or(u64::MAX);
        let longest = Duration::from_secs(365 * 24 * 60 * 60);
        match (self.fault, ttl) {
            (Fault::LimitOneLow, _) if size as u64 == limit => {
                return Err(Error::value_too_large(NAME, key, size as u64, limit - 1));
            }
            (Fault::LongTtlRefused, Ttl::After(ttl)) if ttl > longest => {
                return Err(Error::invalid_ttl(NAME, key, ttl, longest));
            }
            (Fault::ForeverRefused, Ttl::Forever) => return Err(Error::unsupported(NAME, Capability::Ttls)),
            _ => {}
        }
        if self.of == Some(Capability::Ttls) && self.fault.is_of_opt_out() {
            // Then `refuse` sees to it.
            self.inner.check(key, 0, ttl)?;
            return Ok(());
        }
        self.inner.check(key, size, ttl).map(drop)
    }

    /// Refuses a write, or not.
    pub(super) fn refuse(&self, key: Key<'_>, value: &Bytes, error: Error) -> Result<()> {
        let forever = |value: &Bytes| {
            Right::insert(&mut self.inner.lock(), key, value.clone(), None);
        };
        match (self.fault, &error) {
            (_, Error::Unsupported { operation, .. }) => {
                let write = || self.whole().write(key, value.clone().into(), Ttl::Forever);
                return self.opted_out(*operation, write).unwrap_or(Err(error));
            }
            (Fault::TooLargeDeletes, Error::ValueTooLarge { .. })
            | (Fault::RefusedTtlDeletes, Error::InvalidTtl { .. }) => {
                self.inner.remove(key)?;
            }
            (Fault::TooLargeClearsTtl, Error::ValueTooLarge { .. })
            | (Fault::RefusedTtlClearsOld, Error::InvalidTtl { .. }) => self.change(key, |stored| stored.end = None),
            (Fault::TooLargeWrongNumbers, Error::ValueTooLarge { size, limit, .. }) => {
                return Err(Error::value_too_large(NAME, key, *limit, *size));
            }
            (Fault::TooLargeShowsEnd, Error::ValueTooLarge { size, limit, .. }) => {
                let end = value.get(value.len().saturating_sub(5)..).unwrap_or_default();
                return Err(Error::value_too_large(&format!("{NAME}, of …{end:?}"), key, *size, *limit));
            }
            (Fault::LimitOneHigh, Error::ValueTooLarge { size, limit, .. }) if *size == limit + 1 => {
                forever(value);
                return Ok(());
            }
            (Fault::RefusedTtlWrites, Error::InvalidTtl { .. }) => forever(value),
            (_, Error::InvalidTtl { ttl, longest, .. }) => {
                return Err(self.invalid_ttl(key, value, *ttl, *longest).unwrap_or(error));
            }
            _ => {}
        }
        Err(error)
    }

    /// An `InvalidTtl` that tells something wrong.
    fn invalid_ttl(&self, key: Key<'_>, value: &Bytes, ttl: Duration, longest: Duration) -> Option<Error> {
        let shown = || format!("{NAME}, of {}", String::from_utf8_lossy(value));
        match self.fault {
            Fault::InvalidTtlWrongNumbers => Some(Error::invalid_ttl(NAME, key, ttl, ttl)),
            Fault::ErrorShowsValue => Some(Error::invalid_ttl(&shown(), key, ttl, longest)),
            Fault::ErrorShowsBeginning => {
                let beginning = value.get(..value.len().min(8)).unwrap_or_default();
                Some(Error::invalid_ttl(&format!("{NAME}, of {beginning:?}…"), key, ttl, longest))
            }
            Fault::ErrorShowsBase64 => {
                Some(Error::invalid_ttl(&format!("{NAME}, of {}", base64(value)), key, ttl, longest))
            }
            Fault::ErrorWithoutStore => Some(Error::invalid_ttl("", key, ttl, longest)),
            Fault::ErrorWithoutKey => Some(Error::invalid_ttl(NAME, kv_core::key!("?"), ttl, longest)),
            Fault::RefusedUnknown => {
                Some(Error::Backend(Failure::new(NAME, "the TTL was refused").at(key).with_unknown_outcome()))
            }
            _ => None,
        }
    }

    pub(super) fn put_many(&self, mut entries: Vec<Entry<'_>>) -> Result<()> {
        match self.fault {
            Fault::ManyOneTtl => {
                let first = entries.first().map_or(Ttl::Default, |entry| entry.ttl);
                for entry in &mut entries {
                    entry.ttl = first;
                }
            }
            Fault::ManyFirstWins => {
                let mut seen = BTreeSet::new();
                entries.retain(|entry| seen.insert(entry.key));
            }
            Fault::ManyGroupsByTtl => entries.sort_by_key(|entry| matches!(entry.ttl, Ttl::After(_))),
            Fault::ManySkipsExisting => {
                entries.retain(|entry| self.inner.read(entry.key).is_ok_and(|old| old.is_none()));
            }
            Fault::ManyClearsOthers => self.inner.lock().retain(|name, _| !name.starts_with(OWN)),
            Fault::ManyCutAt1000 => entries.truncate(1000),
            Fault::ManyCutAt65536 => entries.truncate(1 << 16),
            Fault::ManyTooLargeTogether if entries.iter().map(|entry| entry.value.len()).sum::<usize>() > 4 << 20 => {
                return Err(Error::Unavailable(Failure::new(NAME, "the request is too large")));
            }
            _ => {}
        }
        let keys = entries.iter().map(|entry| own(&entry.key)).collect::<BTreeSet<_>>();
        let all = self.is(Fault::ManyRewritesAll).then(|| self.inner.lock().clone());
        if all.is_some() {
            pause();
        }
        for entry in entries {
            let written = self.put(Way::Many, entry.key, entry.value.into_bytes(), entry.ttl);
            match self.fault {
                Fault::ManySkipsRefused => {}
                Fault::ManyRefusedLosesNamed if written.is_err() => {
                    self.inner.lock().retain(|name, _| !keys.contains(name));
                    return written;
                }
                Fault::ManyRefusedLosesOthers if written.is_err() => {
                    self.inner.lock().retain(|name, _| keys.contains(name));
                    return written;
                }
                _ => written?,
            }
        }
        if let Some(mut all) = all {
            let mut map = self.inner.lock();
            for key in keys {
                match map.remove(&key) {
                    Some(stored) => all.insert(key, stored),
                    None => all.remove(&key),
                };
            }
            *map = all;
        }
        Ok(())
    }

    pub(super) fn touch(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        if let Some(result) = self.opted_out(Capability::Touch, || self.whole().set_expiry(key, ttl)) {
            return result;
        }
        if self.is(Fault::OptedOutSetsTtl) && ttl != Ttl::After(Duration::ZERO) {
            self.whole().set_expiry(key, ttl)?;
        }
        if !self.inner.capabilities().supports(Capability::Touch) {
            return self.inner.set_expiry(key, ttl);
        }
        let ttl = self.mangle_ttl(Way::Touch, key, ttl);
        let zero = ttl == Ttl::After(Duration::ZERO);
        if let Err(error) = self.check(key, 0, ttl) {
            if self.is(Fault::RefusedTouchDeletes) {
                self.inner.remove(key)?;
            }
            // What a refused write stores, a touch would not.
            return if self.is(Fault::RefusedTtlWrites) {
                Err(error)
            } else {
                self.refuse(key, &Bytes::new(), error).map(|()| true)
            };
        }
        let old = self.inner.live(&self.inner.lock(), &key).cloned();
        match self.fault {
            Fault::TouchCreates if old.is_none() => self.inner.write(key, Bytes::new().into(), ttl)?,
            Fault::TouchRace => {
                let Some(old) = old else { return Ok(false) };
                pause();
                self.inner.write(key, old.value.into(), ttl)?;
                return Ok(true);
            }
            Fault::TouchOfExpiring => {
                let Some(_) = old else { return Ok(false) };
                pause();
                self.inner.set_expiry(key, ttl)?;
                return Ok(true);
            }
            Fault::TouchForeverIgnored if ttl == Ttl::Forever => return Ok(old.is_some()),
            Fault::ExpiredTouched if self.expired(key).is_some() => {
                self.change(key, |stored| stored.end = None);
                return Ok(true);
            }
            _ => {}
        }
        let touched = self.inner.set_expiry(key, ttl)?;
        if touched {
            let mut state = self.state();
            if let Ttl::After(ttl) = ttl {
                state.given.insert(key.into(), ttl);
            }
            if self.is(Fault::ZeroTtlListed) && zero {
                state.deleted.insert(key.into());
            }
        }
        if self.is(Fault::TouchChangesVersion) {
            self.change(key, |stored| stored.version = crate::right::new_version());
        }
        if self.is(Fault::TouchCutsValue) {
            self.change(key, |stored| stored.value.truncate(4096));
        }
        Ok(touched || self.is(Fault::TouchAlwaysTrue))
    }
}

/// A value in base64.
fn base64(value: &[u8]) -> String {
    let digit = |bits: u32| {
        let alphabet = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']);
        alphabet.into_iter().nth((bits & 63) as usize).unwrap()
    };
    let group = |group: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or_default()));
        (0..=group.len()).map(|at| digit(bits >> (18 - 6 * at))).collect::<String>()
    };
    value.chunks(3).map(group).collect()
}
