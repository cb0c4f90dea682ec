//! Reading wrongly: `get`, `get_many`, `contains`, `ttl`, `open`.

use std::collections::BTreeSet;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use kv_core::{Bytes, Capability, Error, Key, KeyBuf, KeyValueStore, Remaining, Result, ValueReader};

use super::{Held, Wrong, pause};
use crate::faults::Fault;
use crate::right::{LONGEST_KEY, NAME, Right, own};

impl Wrong {
    pub(super) fn get(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        let value = self.inner.read(key)?;
        Ok(match self.fault {
            Fault::EmptyValueIsAbsent => value.filter(|value| !value.is_empty()),
            Fault::AbsentIsError => Some(value.ok_or_else(|| Error::not_found(NAME, key))?),
            Fault::AbsentIsEmpty => Some(value.unwrap_or_default()),
            Fault::ReadConsumes => {
                self.inner.remove(key)?;
                value
            }
            Fault::SecondReadEmpty => {
                let mut state = self.state();
                let read = Some((KeyBuf::from(key), state.writes));
                let again = state.last_get == read;
                state.last_get = read;
                value.filter(|_| !again)
            }
            Fault::HandleCaches => self.state().cache.entry(key.into()).or_insert(value).clone(),
            Fault::AbsenceRemembered => {
                let mut state = self.state();
                let known = state.cache.contains_key(key.as_str());
                if value.is_none() {
                    state.cache.insert(key.into(), None);
                }
                value.filter(|_| !known)
            }
            Fault::CacheForgetsPutsAlone => {
                let cached = self.state().cache.get(key.as_str()).cloned().flatten();
                let forever = self.raw(key).is_some_and(|stored| stored.end.is_none());
                if cached.is_none() && value.is_some() && forever {
                    self.state().cache.insert(key.into(), value.clone());
                }
                cached.or(value)
            }
            Fault::SweepRemovesNew if self.expired(key).is_some() => {
                pause();
                self.inner.lock().remove(&own(&key));
                None
            }
            Fault::ReplyOfAnother => {
                self.state().reply = value;
                thread::yield_now();
                thread::yield_now();
                self.state().reply.clone()
            }
            Fault::StaleRead => {
                let mut state = self.state();
                state.reads += 1;
                let lags = state.reads.is_multiple_of(200);
                let previous = state.previous.get(key.as_str()).cloned();
                if lags { previous.unwrap_or(value) } else { value }
            }
            Fault::StaleCache => {
                let mut state = self.state();
                state.reads += 1;
                let hits = state.reads.is_multiple_of(100);
                let last = state.last.insert(key.into(), value.clone());
                last.filter(|_| hits).unwrap_or(value)
            }
            Fault::GetExtends => {
                self.extend(key);
                value
            }
            Fault::ExpiredRead => value.or(self.expired(key).map(|stored| stored.value)),
            Fault::ExpiredReappears => {
                let long_ago = |end: Duration| end + Duration::from_secs(5) <= self.inner.now();
                let back = self.expired(key).filter(|stored| stored.end.is_some_and(long_ago));
                value.or(back.map(|stored| stored.value))
            }
            Fault::CopyIsLink => {
                let link = self.state().links.get(key.as_str()).cloned();
                match link {
                    Some(link) => self.inner.read(link.as_key())?,
                    None => value,
                }
            }
            Fault::DebugShowsLastRead => {
                self.state().last_read = value.clone().unwrap_or_default();
                value
            }
            _ => value,
        })
    }

    pub(super) fn get_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        let mut values = self.inner.read_many(keys)?;
        match self.fault {
            Fault::GetManyCutsAt64K => {
                values.iter_mut().flatten().for_each(|value| value.truncate(1 << 16));
            }
            Fault::GetManyExtends => keys.iter().for_each(|&key| self.extend(key)),
            Fault::ExpiredGetMany => {
                for (&key, value) in keys.iter().zip(&mut values) {
                    *value = value.take().or(self.expired(key).map(|stored| stored.value));
                }
            }
            Fault::GetManySorted => {
                let mut sorted = keys.iter().zip(values).collect::<Vec<_>>();
                sorted.sort_by_key(|(key, _)| **key);
                values = sorted.into_iter().map(|(_, value)| value).collect();
            }
            Fault::GetManyWithoutDuplicates => {
                let mut seen = BTreeSet::new();
                values = keys.iter().zip(values).filter(|(key, _)| seen.insert(**key)).map(|(_, v)| v).collect();
            }
            Fault::GetManyWithoutAbsent => values.retain(Option::is_some),
            Fault::GetManyCutAt65536 => values.iter_mut().skip(1 << 16).for_each(|value| *value = None),
            Fault::GetManyChunksSwapped if values.len() > 1000 => values.get_mut(..1000).unwrap().rotate_left(500),
            Fault::EmptyValueIsAbsent
            | Fault::HandleCaches
            | Fault::AbsenceRemembered
            | Fault::CacheForgetsPutsAlone
            | Fault::CopyIsLink
            | Fault::StaleRead => {
                values = keys.iter().map(|&key| self.get(key)).collect::<Result<_>>()?;
            }
            _ => {}
        }
        Ok(values)
    }

    pub(super) fn get_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        let read = |&key: &Key<'_>| {
            let value = self.read(key)?;
            Ok(match self.fault {
                Fault::ExpiredGetEach => value.or(self.expired(key).map(|stored| stored.value)),
                Fault::GetEachCutsAt64K => value.map(|value| value.slice(..value.len().min(1 << 16))),
                _ => value,
            })
        };
        let mut outcomes = keys.iter().map(read).collect::<Vec<_>>();
        match self.fault {
            Fault::GetEachWithoutDuplicates => {
                let mut seen = BTreeSet::new();
                let is_first = |key: &Key<'_>| seen.insert(key.to_key_buf());
                let is_first = keys.iter().map(is_first).collect::<Vec<_>>();
                outcomes = outcomes.into_iter().zip(is_first).filter(|(_, first)| *first).map(|(got, _)| got).collect();
            }
            Fault::TooLongKeyFailsEach => {
                if let Some(key) = keys.iter().find(|key| key.len() > LONGEST_KEY) {
                    outcomes = keys.iter().map(|_| Err(Error::key_too_long(NAME, *key, LONGEST_KEY))).collect();
                }
            }
            Fault::GetEachWithoutAbsent => outcomes.retain(|outcome| !matches!(outcome, Ok(None))),
            Fault::GetEachChunksSwapped if outcomes.len() > 1000 => outcomes.get_mut(..1000).unwrap().rotate_left(500),
            _ => {}
        }
        outcomes
    }

    pub(super) fn contains(&self, key: Key<'_>) -> Result<bool> {
        if let Some(result) = self.opted_out(Capability::Contains, || {
            self.whole().remove(key)?;
            Ok(true)
        }) {
            return result;
        }
        let contained = self.inner.exists(key)?;
        Ok(match self.fault {
            Fault::ContainsAlways => true,
            Fault::ContainsDeleted => contained || self.state().deleted.contains(key.as_str()),
            Fault::ContainsByPrefix => contained || self.inner.list(key.into())?.next().is_some(),
            Fault::EmptyValueIsAbsent => self.get(key)?.is_some(),
            Fault::ContainsExtends => {
                self.extend(key);
                contained
            }
            Fault::ExpiredContained => contained || self.raw(key).is_some(),
            _ => contained,
        })
    }

    pub(super) fn ttl(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        if let Some(result) = self.opted_out(Capability::TtlReading, || {
            self.whole().remove(key)?;
            self.whole().expiry(key)
        }) {
            return result;
        }
        let left = self.inner.expiry(key)?;
        let map = |change: &dyn Fn(Duration) -> Duration| match left {
            Some(Remaining::For(left)) => Some(Remaining::For(change(left))),
            other => other,
        };
        Ok(match self.fault {
            Fault::TtlExtends => {
                self.extend(key);
                left
            }
            Fault::ExpiredHasTtl => left.or(self.expired(key).map(|_| Remaining::For(Duration::ZERO))),
            Fault::TtlOfAbsentForever => left.or(Some(Remaining::Forever)),
            Fault::TtlInMilliseconds => map(&|left| Duration::from_millis(left.as_secs())),
            Fault::TtlNeverShrinks => map(&|left| self.state().given.get(key.as_str()).copied().unwrap_or(left)),
            Fault::TtlRoundedUp => {
                map(&|left| Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0)))
            }
            _ => left,
        })
    }

    pub(super) fn open(&self, key: Key<'_>) -> Result<Option<ValueReader>> {
        let value = self.get(key)?;
        Ok(match self.fault {
            Fault::OpenExtends => {
                self.extend(key);
                value.map(ValueReader::from)
            }
            Fault::ExpiredOpened => value.or(self.expired(key).map(|stored| stored.value)).map(ValueReader::from),
            Fault::OpenOfAbsentEmpty => Some(value.unwrap_or_default().into()),
            Fault::ReaderEndsEarly => value.map(|value| value.slice(..value.len().saturating_sub(1)).into()),
            Fault::ReaderSeesLater => value.map(|_| {
                let live = Live { store: Arc::new(self.inner.clone()), key: key.into(), at: 0 };
                ValueReader::new(live)
            }),
            Fault::ReaderTellsBuffer
            | Fault::ReaderSeekOverflows
            | Fault::ReaderEndsAtNothing
            | Fault::ReaderReadsLate
            | Fault::ReaderExpires
            | Fault::ReaderNeedsStore => value.map(|value| self.open_wrongly(key, value)),
            Fault::ReaderHoldsLock | Fault::ReaderHoldsOtherLock => {
                value.map(|value| ValueReader::new(Holding { reader: Cursor::new(value), _held: self.hold() }))
            }
            Fault::ReaderSeeksWrong => value.map(|value| ValueReader::new(SeeksWrong(Cursor::new(value)))),
            _ => value.map(ValueReader::from),
        })
    }
}

/// A reader that asks the store for each piece.
struct Live {
    store: Arc<Right>,
    key: KeyBuf,
    at: usize,
}

impl Live {
    fn value(&self) -> io::Result<Bytes> {
        let value = self.store.read(self.key.as_key()).map_err(io::Error::other)?;
        Ok(value.unwrap_or_default())
    }
}

impl Read for Live {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let value = self.value()?;
        let count = value.get(self.at..).unwrap_or_default().read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

impl Seek for Live {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let mut cursor = Cursor::new(self.value()?);
        cursor.set_position(self.at as u64);
        let at = cursor.seek(to)?;
        self.at = usize::try_from(at).map_err(io::Error::other)?;
        Ok(at)
    }
}

/// A reader that holds the lock.
struct Holding {
    reader: Cursor<Bytes>,
    _held: Held,
}

impl Read for Holding {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl Seek for Holding {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}

/// A reader that takes `End(-5)` for `End(5)`.
struct SeeksWrong(Cursor<Bytes>);

impl Read for SeeksWrong {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for SeeksWrong {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(match to {
            SeekFrom::End(by) => SeekFrom::End(-by),
            other => other,
        })
    }
}
