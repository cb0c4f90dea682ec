//! What a server holds, and what its operations do to it.

use std::array::TryFromSliceError;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use kv_core::Bytes;

use crate::wire::{Field, NOT_A_NUMBER, Op, TOO_LARGE};

/// How many names a page of a listing has.
pub(crate) const PAGE: usize = 100;

/// What is at a name: the value, and when it expires.
type Entry = (Bytes, Option<Instant>);

/// Names, which need not be keys, and what is at them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map(BTreeMap<Bytes, Entry>);

fn is_live((_, end): &Entry) -> bool {
    end.is_none_or(|end| Instant::now() < end)
}

/// A TTL as it is sent: milliseconds, or nothing for ever.
pub(crate) fn ttl_field(ttl: Option<Duration>) -> Vec<u8> {
    // What is less than a millisecond is one: never early.
    let milliseconds = |ttl: Duration| u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    ttl.map_or_else(Vec::new, |ttl| milliseconds(ttl).to_be_bytes().to_vec())
}

/// The TTL that a field says; an error if it is not a TTL.
pub(crate) fn ttl_of(field: &[u8]) -> Result<Option<Duration>, TryFromSliceError> {
    if field.is_empty() {
        return Ok(None);
    }
    Ok(Some(Duration::from_millis(u64::from_be_bytes(field.try_into()?))))
}

/// Yes or no, as a field.
fn flag(yes: bool) -> Vec<Field> {
    vec![yes.then(Bytes::new)]
}

impl Map {
    /// The reply to a request; none if it is no request.
    pub(crate) fn apply(&mut self, op: Op, fields: &[Bytes]) -> Option<Vec<Field>> {
        Some(match (op, fields) {
            (Op::Read, keys) => keys.iter().map(|key| self.live(key).map(|(value, _)| value.clone())).collect(),
            (Op::Write, entries) => {
                let (entries, []) = entries.as_chunks() else { return None };
                entries.iter().try_for_each(|[key, value, ttl]| self.put(key, value, ttl))?;
                Vec::new()
            }
            (Op::Create, [key, value, ttl]) => {
                let absent = self.live(key).is_none();
                if absent {
                    self.put(key, value, ttl)?;
                }
                flag(absent)
            }
            (Op::Remove, keys) => keys.iter().map(|key| self.take(key).map(|_| Bytes::new())).collect(),
            (Op::Exists, [key]) => flag(self.live(key).is_some()),
            (Op::Expiry, [key]) => {
                let left = |end: Instant| end.saturating_duration_since(Instant::now());
                vec![self.live(key).map(|(_, end)| ttl_field(end.map(left)).into())]
            }
            (Op::Touch, [key, ttl]) => {
                let value = self.live(key).map(|(value, _)| value.clone());
                let is_there = value.is_some();
                if let Some(value) = value {
                    self.put(key, &value, ttl)?;
                }
                flag(is_there)
            }
            (Op::List, [prefix, cursor]) => self.page(prefix, cursor),
            (Op::Copy, [from, to]) => {
                let entry = self.live(from).cloned();
                flag(entry.map(|entry| self.0.insert(to.clone(), entry)).is_some())
            }
            (Op::Rename, [from, to]) => {
                let entry = self.take(from);
                flag(entry.map(|entry| self.0.insert(to.clone(), entry)).is_some())
            }
            (Op::WriteIf, [key, value, ttl, old]) => {
                let holds = self.holds(key, old);
                if holds {
                    self.put(key, value, ttl)?;
                }
                flag(holds)
            }
            (Op::RemoveIf, [key, old]) => flag(self.holds(key, old) && self.take(key).is_some()),
            (Op::Take, [key]) => vec![self.take(key).map(|(value, _)| value)],
            (Op::ReadTouch, [key, ttl]) => {
                let value = self.live(key).map(|(value, _)| value.clone());
                if let Some(value) = &value {
                    self.put(key, value, ttl)?;
                }
                vec![value]
            }
            (Op::Add, [key, by, ttl]) => {
                vec![Some(self.add(key, u32::from_be_bytes((&**by).try_into().ok()?), ttl)?)]
            }
            _ => return None,
        })
    }

    /// Whether this value is there.
    fn holds(&self, key: &Bytes, old: &Bytes) -> bool {
        self.live(key).is_some_and(|(value, _)| value == old)
    }

    /// Adds to the number at a key: the sum, or why there is none.
    fn add(&mut self, key: &Bytes, by: u32, ttl: &[u8]) -> Option<Bytes> {
        let Some((value, end)) = self.live(key).cloned() else {
            let sum = Bytes::from(by.to_string());
            self.put(key, &sum, ttl)?;
            return Some(sum);
        };
        let is_number = value.iter().all(u8::is_ascii_digit) && (&*value == b"0" || !value.starts_with(b"0"));
        let text = std::str::from_utf8(&value).ok().filter(|text| is_number && !text.is_empty());
        let Some(text) = text else { return Some(Bytes::from_static(NOT_A_NUMBER)) };
        let sum = text.parse::<i64>().ok().and_then(|number| number.checked_add(by.into()));
        let Some(sum) = sum else { return Some(Bytes::from_static(TOO_LARGE)) };
        let sum = Bytes::from(sum.to_string());
        self.0.insert(Bytes::copy_from_slice(key), (sum.clone(), end));
        Some(sum)
    }

    /// Puts names beside those of the stores that are no keys.
    pub(crate) fn plant(&mut self) {
        for name in ["", " ", "not a key", "\u{fc}", "zzz\n"] {
            self.0.insert(name.into(), ("foreign".into(), None));
        }
    }

    /// Lets everything live for ever.
    pub(crate) fn forget_ttls(&mut self) {
        self.forget_expired();
        self.0.values_mut().for_each(|(_, end)| *end = None);
    }

    /// Lets what has a TTL live so much longer.
    pub(crate) fn prolong_ttls(&mut self, time: Duration) {
        self.0.values_mut().for_each(|(_, end)| *end = end.and_then(|end| end.checked_add(time)));
    }

    /// Removes what has expired.
    pub(crate) fn forget_expired(&mut self) {
        self.0.retain(|_, entry| is_live(entry));
    }

    /// Removes the values of this size and larger ones.
    pub(crate) fn forget_values_of(&mut self, size: usize) {
        self.0.retain(|_, (value, _)| value.len() < size);
    }

    fn live(&self, key: &Bytes) -> Option<&Entry> {
        self.0.get(key).filter(|entry| is_live(entry))
    }

    fn take(&mut self, key: &Bytes) -> Option<Entry> {
        self.0.remove(key).filter(is_live)
    }

    /// Puts an entry. Without anything to live for it removes it.
    fn put(&mut self, key: &Bytes, value: &Bytes, ttl: &[u8]) -> Option<()> {
        let ttl = ttl_of(ttl).ok()?;
        if ttl == Some(Duration::ZERO) {
            self.0.remove(key);
        } else {
            // What ends after all time is for ever.
            let end = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
            // A field is a part of its request, which would stay in memory as a whole.
            self.0.insert(Bytes::copy_from_slice(key), (Bytes::copy_from_slice(value), end));
        }
        Some(())
    }

    /// The names after a cursor, and the next cursor before them.
    fn page(&self, prefix: &Bytes, cursor: &Bytes) -> Vec<Field> {
        let begin = if cursor.is_empty() { Bound::Included(prefix) } else { Bound::Excluded(cursor) };
        let names =
            self.0.range::<Bytes, _>((begin, Bound::Unbounded)).take_while(|(name, _)| name.starts_with(prefix));
        let mut live = names.filter(|(_, entry)| is_live(entry)).map(|(name, _)| Some(name.clone()));
        let mut reply = vec![None];
        reply.extend(live.by_ref().take(PAGE));
        if live.next().is_some() {
            reply[0] = reply.last().cloned().flatten();
        }
        reply
    }
}
