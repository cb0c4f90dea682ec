//! Updating wrongly: versions, `take`, `get_and_touch`, `increment`.

use std::time::Duration;

use kv_core::{Bytes, Capability, CounterFault, Error, Key, KeyBuf, KeyValueStore, Result, Ttl, Version};

use super::{Wrong, between, pause};
use crate::faults::Fault;
use crate::right::{Right, Stored, new_version, own};

const ZERO: Ttl = Ttl::After(Duration::ZERO);

impl Wrong {
    /// What stands for the version of an entry, where the fault is about that.
    fn version(&self, key: Key<'_>, stored: &Stored) -> Version {
        let value = &stored.value;
        let content = match self.fault {
            Fault::VersionIsText => String::from_utf8_lossy(value).into_owned().into(),
            Fault::VersionIsLength => value.len().to_string().into(),
            Fault::VersionIsBeginning => value.slice(..value.len().min(64)),
            Fault::VersionIgnoresCase => value.to_ascii_lowercase().into(),
            Fault::VersionIsContent => value.clone(),
            Fault::VersionOfAnyKey => return Version::of_content(kv_core::key!("any"), value.clone()),
            Fault::VersionCopied => return Version::of_number(kv_core::key!("any"), stored.version),
            Fault::VersionOfHandle => return Version::of_number(key, stored.version * 2 + u64::from(self.second)),
            Fault::OptedOutWorks => return self.whole().version(key, stored),
            _ => return self.inner.version(key, stored),
        };
        Version::of_content(key, content)
    }

    fn live(&self, key: Key<'_>) -> Option<Stored> {
        self.inner.live(&self.inner.lock(), &key).cloned()
    }

    fn holds(&self, key: Key<'_>, version: &Version) -> bool {
        self.live(key).is_some_and(|stored| self.version(key, &stored) == *version)
    }

    /// The version of what is there now.
    fn version_now(&self, key: Key<'_>) -> Option<Version> {
        self.live(key).map(|stored| self.version(key, &stored))
    }

    /// The key that an operation uses in place of another, where the fault is about that.
    pub(super) fn key_of_update(&self, mangles: Fault, key: KeyBuf) -> KeyBuf {
        if !self.is(mangles) {
            return key;
        }
        let other = match mangles {
            Fault::CreateVersionedKeysCut => key.chars().take(100).collect(),
            Fault::TakeKeysDecoded => super::mangling::percent_decoded(&key),
            _ => key.to_ascii_lowercase(),
        };
        KeyBuf::new(other).unwrap_or(key)
    }

    /// The TTL that an operation gives in place of another, where the fault is about that.
    fn ttl_of_update(&self, changes: Fault, ttl: Ttl) -> Ttl {
        let Ttl::After(given) = ttl else { return ttl };
        if !self.is(changes) || given.is_zero() || given > self.inner.config.longest_ttl {
            return ttl;
        }
        let wrapped = |bits: u32| {
            let left = given.as_millis() % (1_u128 << bits);
            Ttl::After(Duration::from_millis(u64::try_from(left).unwrap_or_default()))
        };
        match changes {
            Fault::CreateVersionedLongTtlIsDate if given > Duration::from_secs(30 * 86_400) => ZERO,
            Fault::PutIfTtlIn32Bits if given.as_millis() >> 32 > 0 => wrapped(32),
            Fault::TouchingReadTtlIn31Bits if given.as_millis() >> 31 > 0 => wrapped(31),
            Fault::IncrementTtlInSeconds => Ttl::After(Duration::from_secs(given.as_secs())),
            _ => ttl,
        }
    }

    pub(super) fn get_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        let act = || self.whole().read_versioned(key);
        if let Some(result) = self.opted_out(Capability::Versions, act) {
            return result;
        }
        self.inner.need(Capability::Versions)?;
        if let (Fault::VersionedReadOfExpired, Some(stored)) = (self.fault, self.expired(key)) {
            return Ok(Some((stored.value.clone(), self.version(key, &stored))));
        }
        if self.is(Fault::ReadChangesVersion) {
            self.change(key, |stored| stored.version = new_version());
        }
        let found = self.live(key).map(|stored| (stored.value.clone(), self.version(key, &stored)));
        Ok(found.map(|(value, version)| match self.fault {
            Fault::VersionedReadTrimmed => (Bytes::copy_from_slice(value.trim_ascii()), version),
            _ => (value, version),
        }))
    }

    pub(super) fn put_if(&self, key: Key<'_>, value: Bytes, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        let act = || self.whole().write_if_version(key, value.clone().into(), ttl, version);
        if let Some(result) = self.opted_out(Capability::Versions, act) {
            return result;
        }
        self.inner.need(Capability::Versions)?;
        let ttl = self.ttl_of_update(Fault::PutIfTtlIn32Bits, ttl);
        if let Err(error) = self.inner.check(key, value.len(), ttl) {
            match (self.fault, &error) {
                (Fault::PutIfTooLargeDeletes, Error::ValueTooLarge { .. }) => drop(self.inner.remove(key)?),
                (Fault::PutIfHugeTtlForever, Error::InvalidTtl { .. }) => {
                    self.inner.write(key, value.into(), Ttl::Forever)?;
                    return Ok(self.version_now(key));
                }
                (_, Error::Unsupported { operation, .. }) => {
                    let write = || self.whole().write(key, value.clone().into(), Ttl::Forever).map(|()| None);
                    return self.opted_out(*operation, write).unwrap_or(Err(error));
                }
                _ => {}
            }
            return Err(error);
        }
        let cut = if self.is(Fault::PutIfCutsAt64K) { value.len().min(1 << 16) } else { value.len() };
        let value = value.slice(..cut);
        let old = self.live(key);
        let of_nothing = || Version::of_number(key, new_version());
        let write = |ttl| -> Result<Option<Version>> {
            self.inner.write(key, value.clone().into(), ttl)?;
            Ok(Some(self.version_now(key).unwrap_or_else(of_nothing)))
        };
        if self.is(Fault::PutIfCreates) && old.is_none() {
            return write(ttl);
        }
        if self.is(Fault::PutIfZeroRemovesAny) && ttl == ZERO {
            return Ok(self.inner.remove(key)?.then(of_nothing));
        }
        if !self.holds(key, version) {
            match self.fault {
                Fault::RefusedPutIfSetsTtl if ttl != ZERO => drop(self.inner.set_expiry(key, ttl)?),
                Fault::RefusedPutIfSaysStored => return Ok(Some(of_nothing())),
                _ => {}
            }
            return Ok(None);
        }
        match self.fault {
            Fault::PutIfRace => {
                pause();
                write(ttl)
            }
            Fault::PutIfIgnoresTtl if ttl != ZERO => write(Ttl::Forever),
            Fault::PutIfZeroStays if ttl == ZERO => write(Ttl::Forever),
            Fault::PutIfKeepsTtl => {
                let written = write(ttl)?;
                self.change(key, |stored| stored.end = old.and_then(|old| old.end));
                Ok(written)
            }
            Fault::PutIfReturnsOld => write(ttl).map(|_| Some(version.clone())),
            _ => {
                // The right ones, in one step.
                let mut map = self.inner.lock();
                let holds = self.inner.live(&map, &key).is_some_and(|stored| self.version(key, stored) == *version);
                if !holds {
                    return Ok(None);
                }
                let end = self.inner.check(key, value.len(), ttl)?;
                Right::insert(&mut map, key, value.clone(), end);
                Ok(Some(map.get(&own(&key)).map_or_else(of_nothing, |stored| self.version(key, stored))))
            }
        }
    }

    pub(super) fn delete_if(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        let act = || self.whole().remove_if_version(key, version);
        if let Some(result) = self.opted_out(Capability::Versions, act) {
            return result;
        }
        self.inner.need(Capability::Versions)?;
        match self.fault {
            Fault::DeleteIfIsDelete => return self.inner.remove(key),
            Fault::DeleteIfAlwaysTrue => {
                if self.holds(key, version) {
                    self.inner.remove(key)?;
                }
                return Ok(true);
            }
            Fault::DeleteIfRace => {
                let holds = self.holds(key, version);
                if holds {
                    pause();
                    self.inner.remove(key)?;
                }
                return Ok(holds);
            }
            _ => {}
        }
        let mut map = self.inner.lock();
        let holds = self.inner.live(&map, &key).is_some_and(|stored| self.version(key, stored) == *version);
        if !holds {
            drop(map);
            if self.is(Fault::RefusedDeleteIfClearsTtl) {
                self.change(key, |stored| stored.end = None);
            }
            return Ok(false);
        }
        Ok(self.inner.take(&mut map, key).is_some())
    }

    pub(super) fn create_versioned(&self, key: Key<'_>, value: Bytes, ttl: Ttl) -> Result<Option<Version>> {
        let act = || {
            self.whole().write(key, value.clone().into(), Ttl::Forever)?;
            Ok(Some(Version::of_number(key, 0)))
        };
        let opted_out = [Capability::Versions, Capability::Create].into_iter().find_map(|of| self.opted_out(of, act));
        if let Some(result) = opted_out {
            return result;
        }
        self.inner.need(Capability::Versions)?;
        self.inner.need(Capability::Create)?;
        if let Err(error) = self.inner.check(key, value.len(), ttl) {
            let stores = match &error {
                Error::ValueTooLarge { .. } => self.is(Fault::CreateVersionedTooLarge),
                Error::InvalidTtl { .. } => self.is(Fault::CreateVersionedHugeTtlForever),
                Error::Unsupported { operation, .. } => return self.opted_out(*operation, act).unwrap_or(Err(error)),
                _ => false,
            };
            if stores && self.live(key).is_none() {
                Right::insert(&mut self.inner.lock(), key, value, None);
                return Ok(self.version_now(key));
            }
            return Err(error);
        }
        let (is_there, other) = (self.live(key).is_some(), || Version::of_number(key, new_version()));
        match self.fault {
            Fault::CreateVersionedOverwrites => {
                self.inner.write(key, value.into(), ttl)?;
                return Ok(Some(self.version_now(key).unwrap_or_else(other)));
            }
            Fault::CreateVersionedSaysStored if is_there => return Ok(Some(other())),
            Fault::CreateVersionedRace if !is_there => {
                pause();
                self.inner.write(key, value.into(), ttl)?;
                return Ok(Some(self.version_now(key).unwrap_or_else(other)));
            }
            _ => {}
        }
        let ttl = self.ttl_of_update(Fault::CreateVersionedLongTtlIsDate, ttl);
        let ttl = match self.fault {
            Fault::CreateVersionedIgnoresTtl if ttl != ZERO => Ttl::Forever,
            Fault::CreateVersionedZeroStays if ttl == ZERO => Ttl::Forever,
            _ => ttl,
        };
        let end = self.inner.check(key, value.len(), ttl)?;
        let mut map = self.inner.lock();
        if self.inner.live(&map, &key).is_some() {
            return Ok(None);
        }
        Right::insert(&mut map, key, value, end);
        let version = self.inner.live(&map, &key).map(|stored| self.version(key, stored));
        drop(map);
        let version = match self.fault {
            Fault::CreateVersionedOther => None,
            Fault::CreateVersionedTellsLater => {
                between();
                self.version_now(key)
            }
            _ => version,
        };
        Ok(Some(version.unwrap_or_else(other)))
    }

    pub(super) fn take(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        if let Some(result) = self.opted_out(Capability::Take, || self.whole().read_and_remove(key)) {
            return result;
        }
        match (self.fault, self.live(key)) {
            (Fault::TakeRace, Some(stored)) => {
                pause();
                self.inner.remove(key)?;
                Ok(Some(stored.value))
            }
            (Fault::TakeLeaves, stored) => Ok(stored.map(|stored| stored.value)),
            (Fault::TakeOfEmptyIsNone, Some(stored)) if stored.value.is_empty() => {
                self.inner.remove(key)?;
                Ok(None)
            }
            (Fault::TakeOfExpired, None) => {
                let expired = self.expired(key).map(|stored| stored.value);
                self.inner.remove(key)?;
                Ok(expired)
            }
            (Fault::TakeLeavesTtl, Some(Stored { end: Some(end), .. })) => {
                self.state().timers.push((end, key.into()));
                self.inner.read_and_remove(key)
            }
            (Fault::TakeOfHandle, Some(stored)) if self.second => Ok(Some(stored.value)),
            _ => self.inner.read_and_remove(key),
        }
    }

    pub(super) fn get_and_touch(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        let act = || self.whole().read_and_set_expiry(key, ttl);
        if let Some(result) = self.opted_out(Capability::TouchingReads, act) {
            return result;
        }
        self.inner.need(Capability::TouchingReads)?;
        let ttl = self.ttl_of_update(Fault::TouchingReadTtlIn31Bits, ttl);
        let Ok(end) = self.inner.check(key, 0, ttl) else {
            if self.is(Fault::TouchingReadHugeTtlForever) {
                return self.inner.read_and_set_expiry(key, Ttl::Forever);
            }
            return self.inner.read_and_set_expiry(key, ttl);
        };
        let old = self.live(key);
        let is_longer = |old: &Stored| match (old.end, end) {
            (None, Some(_)) => false,
            (_, None) => true,
            (Some(old), Some(new)) => new > old,
        };
        let longer = old.as_ref().is_some_and(is_longer);
        let ignored = match self.fault {
            Fault::TouchingReadIsRead => true,
            Fault::TouchingReadOnlyExtends => !longer && ttl != ZERO,
            Fault::TouchingReadOnlyShortens => longer,
            Fault::TouchingReadZeroStays => ttl == ZERO,
            _ => false,
        };
        if ignored {
            return Ok(old.map(|stored| stored.value));
        }
        if let (Fault::TouchingReadRevives, Some(stored)) = (self.fault, self.expired(key)) {
            self.inner.write(key, stored.value.clone().into(), ttl)?;
            return Ok(Some(stored.value));
        }
        if self.is(Fault::TouchingReadCreates) && old.is_none() {
            self.inner.write(key, Bytes::new().into(), ttl)?;
            return Ok(None);
        }
        if let (Fault::TouchingReadRace, Some(old)) = (self.fault, &old) {
            pause();
            self.inner.write(key, old.value.clone().into(), ttl)?;
            return Ok(Some(old.value.clone()));
        }
        let read = self.inner.read_and_set_expiry(key, ttl)?;
        if self.is(Fault::TouchingReadChangesVersion) {
            self.change(key, |stored| stored.version = new_version());
        }
        let as_text = |value: Bytes| Bytes::from(String::from_utf8_lossy(&value).into_owned());
        Ok(if self.is(Fault::TouchingReadAsUtf8) { read.map(as_text) } else { read })
    }

    pub(super) fn increment(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        if let Some(result) = self.opted_out(Capability::Counters, || self.whole().add(key, by, ttl)) {
            return result;
        }
        self.inner.need(Capability::Counters)?;
        let ttl = self.ttl_of_update(Fault::IncrementTtlInSeconds, ttl);
        let end = match self.inner.check(key, 0, ttl) {
            Ok(end) => end,
            Err(Error::InvalidTtl { .. }) if self.is(Fault::IncrementHugeTtlForever) => None,
            Err(Error::Unsupported { operation, store, .. }) => {
                let add = || self.whole().add(key, by, Ttl::Forever);
                let error = Err(Error::unsupported(&store, operation));
                return self.opted_out(operation, add).unwrap_or(error);
            }
            Err(error) => return Err(error),
        };
        let put = |sum: u64, end| -> Result<u64> {
            Right::insert(&mut self.inner.lock(), key, sum.to_string().into(), end);
            Ok(sum)
        };
        if let (true, Some(expired)) = (self.is(Fault::IncrementContinuesExpired), self.expired(key)) {
            let old = std::str::from_utf8(&expired.value).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
            return put(old + u64::from(by), end);
        }
        if self.is(Fault::IncrementExpiredForever) && self.expired(key).is_some() {
            return put(by.into(), None);
        }
        let Some(old) = self.live(key) else {
            return match self.fault {
                Fault::IncrementRace => {
                    pause();
                    put(by.into(), end)
                }
                Fault::IncrementIgnoresTtl if ttl != ZERO => put(by.into(), None),
                Fault::IncrementZeroStores if ttl == ZERO => put(by.into(), None),
                Fault::IncrementHugeTtlForever => put(by.into(), end),
                Fault::IncrementReturnsOld => put(by.into(), end).map(|_| 0),
                _ => self.inner.add(key, by, ttl),
            };
        };
        self.increment_live(key, &old, by, ttl, end)
    }

    fn increment_live(&self, key: Key<'_>, old: &Stored, by: u32, ttl: Ttl, end: Option<Duration>) -> Result<u64> {
        let put = |sum: u64, end| -> Result<u64> {
            Right::insert(&mut self.inner.lock(), key, sum.to_string().into(), end);
            Ok(sum)
        };
        let text = String::from_utf8_lossy(&old.value).into_owned();
        let number = number_of(old);
        let by_ = u64::from(by);
        match (self.fault, number) {
            (Fault::IncrementRace, Some(number)) => {
                pause();
                return put(number + by_, old.end);
            }
            (Fault::IncrementKeepsLarger, Some(number)) if i64::try_from(number + by_).is_ok() => {
                between();
                let sum = number + by_;
                let mut map = self.inner.lock();
                let now = self.inner.live(&map, &key).and_then(number_of);
                if now.is_none_or(|now| now < sum) {
                    Right::insert(&mut map, key, sum.to_string().into(), old.end);
                }
                return Ok(sum);
            }
            (Fault::IncrementExpiresBetween, Some(_)) => {
                between();
                if self.live(key).is_none() {
                    return put(by_, None);
                }
            }
            (Fault::IncrementWraps, Some(number)) if number + by_ > i64::MAX as u64 => {
                return put(number + by_ - (i64::MAX as u64), old.end);
            }
            (Fault::IncrementSaturates, Some(number)) if number + by_ > i64::MAX as u64 => {
                return put(i64::MAX as u64, old.end);
            }
            (Fault::IncrementTakesText, None) => return put(by_, old.end),
            (Fault::IncrementReadsBeginning, _) => {
                let digits = text.chars().take_while(char::is_ascii_digit).collect::<String>();
                if let Ok(number) = digits.parse::<i64>().map(i64::unsigned_abs)
                    && !digits.is_empty()
                    && i64::try_from(number + by_).is_ok()
                {
                    return put(number + by_, old.end);
                }
            }
            (Fault::IncrementTrims, _) => {
                if let Ok(number) = text.trim().parse::<u64>()
                    && i64::try_from(number + by_).is_ok()
                {
                    return put(number + by_, old.end);
                }
            }
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the fault"
            )]
            (Fault::IncrementFloats, Some(number)) if i64::try_from(number + by_).is_ok() => {
                return put((number as f64 + f64::from(by)) as u64, old.end);
            }
            (Fault::IncrementOfHandle, Some(number)) if self.second => {
                let key = KeyBuf::from(key);
                let mut state = self.state();
                let sum = state.counted.get(&key).copied().unwrap_or(number) + by_;
                state.counted.insert(key, sum);
                return Ok(sum);
            }
            _ => {}
        }
        let sum = match self.inner.add(key, by, ttl) {
            Err(error @ Error::NotACounter { reason: CounterFault::NotANumber, .. })
                if self.is(Fault::RefusedIncrementClearsTtl) =>
            {
                self.change(key, |stored| stored.end = None);
                return Err(error);
            }
            sum => sum?,
        };
        match self.fault {
            Fault::IncrementTellsLater => {
                between();
                return Ok(self.counter(key).unwrap_or(sum));
            }
            Fault::IncrementLosesTtl => self.change(key, |stored| stored.end = None),
            Fault::IncrementSetsTtl if ttl != ZERO => self.change(key, |stored| stored.end = end),
            Fault::IncrementStoresBinary => {
                self.change(key, |stored| stored.value = Bytes::copy_from_slice(&sum.to_be_bytes()));
            }
            Fault::VersionKeptByIncrement => self.change(key, |stored| stored.version = old.version),
            Fault::IncrementReturnsOld => return Ok(sum - by_),
            _ => {}
        }
        Ok(sum)
    }

    /// The number that is there now.
    fn counter(&self, key: Key<'_>) -> Option<u64> {
        self.live(key).as_ref().and_then(number_of)
    }

    /// Gives what was written the version of what it has replaced, or one that was there before, where the fault is about that.
    pub(super) fn keep_version(&self, key: Key<'_>, old: Option<&Stored>, is_batch: bool, is_stream: bool) {
        let keeps = match self.fault {
            Fault::VersionKeptByMany => is_batch,
            Fault::VersionKeptByStream => is_stream,
            Fault::VersionCountsAnew => {
                let next = old.map_or(1, |old| old.version + 1);
                return self.change(key, |stored| stored.version = next);
            }
            _ => false,
        };
        if let Some(old) = old.filter(|_| keeps) {
            self.change(key, |stored| stored.version = old.version);
        }
    }
}

/// The number that an entry is, if it is one.
fn number_of(stored: &Stored) -> Option<u64> {
    String::from_utf8_lossy(&stored.value).parse::<i64>().ok().and_then(|number| u64::try_from(number).ok())
}
