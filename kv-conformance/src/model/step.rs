//! The steps of a sequence: an operation on one of two handles.

use std::fmt;
use std::io::SeekFrom;
use std::time::Duration;

use kv_core::{Bytes, KeyBuf};

use super::coverage::Class;
use super::pools::{Content, Expires};

/// One step of a sequence.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(super) handle: Handle,
    pub(super) operation: Operation,
    /// What it was made to try.
    pub(super) covers: Vec<Class>,
}

/// The handle on the data that a step uses. A store without a second one has the first in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handle {
    First,
    Second,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Get(KeyBuf),
    GetInto(KeyBuf),
    GetFile(KeyBuf),
    /// Opens it, and reads and seeks.
    Open(KeyBuf, Vec<Reading>),
    GetMany(Vec<KeyBuf>),
    GetEach(Vec<KeyBuf>),
    Contains(KeyBuf),
    Ttl(KeyBuf),
    Keys(String),
    Prefixes(KeyBuf, String),
    Put(Write),
    /// In portions of so many bytes.
    PutFrom(Write, usize),
    /// From a reader that fails after so many bytes.
    PutFromFailing(Write, usize),
    PutFile(Write),
    PutMany(Vec<Write>),
    Create(Write),
    Delete(KeyBuf),
    DeleteMany(Vec<KeyBuf>),
    Touch(KeyBuf, Expires),
    GetVersioned(KeyBuf),
    CreateVersioned(Write),
    PutIf(Write, Which),
    DeleteIf(KeyBuf, Which),
    Take(KeyBuf),
    GetAndTouch(KeyBuf, Expires),
    Increment(KeyBuf, u32, Expires),
    Copy(KeyBuf, KeyBuf),
    Rename(KeyBuf, KeyBuf),
    /// Takes so many keys of a listing, does something, and takes the rest, or drops it.
    WhileListing {
        prefix: String,
        taken: usize,
        steps: Vec<Step>,
        to_the_end: bool,
    },
    /// Reads so many bytes of a value, does something, and reads the rest.
    WhileReading {
        key: KeyBuf,
        read: usize,
        steps: Vec<Step>,
    },
    Wait(Wait),
    Reopen,
}

/// Which version a step names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one that the entry has now, which is read before.
    Current,
    /// One that the key had, or has: the last of those that are known, or one before.
    Earlier(usize),
    /// One of another key.
    Foreign,
}

/// An entry to be written.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(super) key: KeyBuf,
    pub(super) value: Content,
    pub(super) expires: Expires,
    /// Whether the value is handed over, and not lent.
    pub(super) is_owned: bool,
}

/// What is done with the reader of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reading {
    Read(usize),
    Seek(SeekFrom),
}

/// How long a step waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// Until just before the next entry may expire.
    BeforeNext,
    /// Until it may have expired.
    UntilNext,
    /// Until it has to have expired.
    AfterNext,
    /// Until all entries have to have expired, but for those that live for ever.
    AfterAll,
    For(Duration),
}

impl Operation {
    /// The clauses that a wrong answer may break, but for those of [earlier steps](Self::leaves).
    pub(super) fn clauses(&self) -> &'static str {
        match self {
            Self::Get(_) => "P1, P2, T2, T5, V1 or K3",
            Self::GetInto(_) => "S3, or P1, P2, T2, T5, V1 or K3",
            Self::GetFile(_) => "S4, or P1, P2, T2, T5, V1 or K3",
            Self::Open(..) | Self::WhileReading { .. } => "S1, or P1, P2, T2, T5, V1 or K3",
            Self::GetMany(_) => "B1, or P1, P2, T2, T5, V1 or K3",
            Self::GetEach(_) => "B7, or P1, P2, T2, T5, V1 or K3",
            Self::Put(_) => "P1, T1, T4 or V3",
            Self::PutFrom(..) | Self::PutFromFailing(..) => "S2, T4 or V3",
            Self::PutFile(_) => "S4, T4 or V3",
            Self::PutMany(_) => "B2, B5, T4 or V3",
            Self::Create(_) => "P4, T5, T4, V3 or K3",
            Self::Delete(_) => "D1, T5 or K3",
            Self::DeleteMany(_) => "B3, T5 or K3",
            Self::Contains(_) => "T5, P1 or K3",
            Self::Ttl(_) => "T6, T1, T5, P2 or K3",
            Self::Touch(..) => "T6, T5, T4, P2 or K3",
            Self::GetVersioned(_) => "U2, or P1, P2, T2, T5, V1 or K3",
            Self::CreateVersioned(_) => "P4, U1, T5, T4, V3 or K3",
            Self::PutIf(..) => "U1, U2, T5, T4, V3 or K3",
            Self::DeleteIf(..) => "U1, U2, T5 or K3",
            Self::Take(_) => "U4, or P1, P2, T2, T5, V1 or K3",
            Self::GetAndTouch(..) => "T6, T5, T4, P2, V1 or K3",
            Self::Increment(..) => "U5, T5, T4 or K3",
            Self::Copy(..) => "C1, C3, C4, T5 or K3",
            Self::Rename(..) => "C2, C3, C4, T5 or K3",
            Self::Keys(_) => "L1, K4, T5 or K3",
            Self::WhileListing { .. } => "L1, L2, K4, T5 or K3",
            Self::Prefixes(..) => "L6, L1 or T5",
            Self::Wait(_) => "T2",
            Self::Reopen => "P5",
        }
    }

    /// The clause of which a later step may show that this one has broken it.
    pub(super) fn leaves(&self) -> Option<&'static str> {
        match self {
            Self::PutFrom(..) | Self::PutFromFailing(..) => Some("S2"),
            Self::PutFile(_) => Some("S4"),
            Self::PutMany(_) => Some("B2"),
            Self::Create(_) | Self::CreateVersioned(_) => Some("P4"),
            Self::Delete(_) => Some("D1"),
            Self::DeleteMany(_) => Some("B3"),
            Self::Touch(..) | Self::GetAndTouch(..) => Some("T6"),
            Self::PutIf(..) | Self::DeleteIf(..) => Some("U1"),
            Self::Take(_) => Some("U4"),
            Self::Increment(..) => Some("U5"),
            Self::Copy(..) => Some("C1"),
            Self::Rename(..) => Some("C2"),
            Self::Reopen => Some("P5"),
            _ => None,
        }
    }

    /// Simpler ones that may fail in the same way.
    fn simpler(&self) -> Vec<Self> {
        match self {
            Self::Put(write) => write.simpler().map(Self::Put).collect(),
            Self::Create(write) => write.simpler().map(Self::Create).collect(),
            Self::CreateVersioned(write) => {
                std::iter::once(Self::Create(write.clone())).chain(write.simpler().map(Self::CreateVersioned)).collect()
            }
            Self::PutIf(write, which) => write.simpler().map(|write| Self::PutIf(write, *which)).collect(),
            Self::GetVersioned(key) => vec![Self::Get(key.clone())],
            Self::Increment(key, by, expires) if *expires != Expires::Forever || *by != 1 => {
                vec![Self::Increment(key.clone(), 1, Expires::Forever)]
            }
            Self::PutFile(write) => write.simpler().map(Self::PutFile).collect(),
            Self::PutFrom(write, portion) => write.simpler().map(|write| Self::PutFrom(write, *portion)).collect(),
            Self::PutFromFailing(write, after) => {
                write.simpler().map(|write| Self::PutFromFailing(write, *after)).collect()
            }
            Self::PutMany(writes) => {
                let each = writes.iter().enumerate().take(8).flat_map(|(at, write)| {
                    write.simpler().map(move |simpler| {
                        let mut writes = writes.clone();
                        writes.splice(at..=at, [simpler]);
                        writes
                    })
                });
                shorter(writes).chain(each).map(Self::PutMany).collect()
            }
            Self::GetMany(keys) => shorter(keys).map(Self::GetMany).collect(),
            Self::GetEach(keys) => shorter(keys).map(Self::GetEach).collect(),
            Self::DeleteMany(keys) => shorter(keys).map(Self::DeleteMany).collect(),
            Self::Open(key, readings) => shorter(readings).map(|readings| Self::Open(key.clone(), readings)).collect(),
            Self::WhileListing { prefix, taken, steps, to_the_end } => {
                let with = |steps| Self::WhileListing {
                    prefix: prefix.clone(),
                    taken: *taken,
                    steps,
                    to_the_end: *to_the_end,
                };
                std::iter::once(Self::Keys(prefix.clone())).chain(simpler(steps).map(with)).collect()
            }
            Self::WhileReading { key, read, steps } => {
                let with = |steps| Self::WhileReading { key: key.clone(), read: *read, steps };
                std::iter::once(Self::Get(key.clone())).chain(simpler(steps).map(with)).collect()
            }
            Self::Touch(key, expires) if *expires != Expires::Forever => {
                vec![Self::Touch(key.clone(), Expires::Forever)]
            }
            _ => Vec::new(),
        }
    }
}

impl Write {
    fn simpler(&self) -> impl Iterator<Item = Self> + use<> {
        let shorter = match &self.value {
            Content::Bytes(bytes) if bytes.len() > 1 => Some(Content::Bytes(bytes.slice(..bytes.len() / 2))),
            Content::Bytes(bytes) if bytes.len() == 1 && bytes != "v" => Some(Content::Bytes(Bytes::from_static(b"v"))),
            _ => None,
        };
        let small = matches!(&self.value, Content::Bytes(bytes) if bytes.len() > 1)
            .then(|| Content::Bytes(Bytes::from_static(b"v")));
        let values = small.into_iter().chain(shorter).map(|value| Self { value, ..self.clone() });
        let forever = (self.expires != Expires::Forever).then(|| Self { expires: Expires::Forever, ..self.clone() });
        values.chain(forever).collect::<Vec<_>>().into_iter()
    }
}

impl Step {
    /// Whether the store is to be opened again.
    pub(crate) fn reopens(&self) -> bool {
        matches!(self.operation, Operation::Reopen)
    }

    /// The steps in it.
    pub(super) fn steps(&self) -> &[Self] {
        match &self.operation {
            Operation::WhileListing { steps, .. } | Operation::WhileReading { steps, .. } => steps,
            _ => &[],
        }
    }

    /// Simpler ones that may fail in the same way.
    pub(super) fn simpler(&self) -> impl Iterator<Item = Self> + use<> {
        let first = (self.handle == Handle::Second).then(|| Self { handle: Handle::First, ..self.clone() });
        let simpler = self.operation.simpler().into_iter().map(|operation| Self { operation, ..self.clone() });
        first.into_iter().chain(simpler).collect::<Vec<_>>().into_iter()
    }
}

/// Parts of something of several.
fn shorter<T: Clone>(of: &[T]) -> impl Iterator<Item = Vec<T>> + use<T> {
    let (begin, end) = of.split_at(of.len() / 2);
    let mut parts = vec![begin.to_vec(), end.to_vec()];
    if of.len() <= 12 {
        let without = |at: usize| {
            of.iter().enumerate().filter(move |(place, _)| *place != at).map(|(_, one)| one.clone()).collect()
        };
        parts.extend((0..of.len()).map(without));
    }
    parts.retain(|part: &Vec<T>| part.len() < of.len());
    parts.into_iter()
}

/// Simpler steps of an operation that has some in it.
fn simpler(steps: &[Step]) -> impl Iterator<Item = Vec<Step>> + use<> {
    let each = steps.iter().enumerate().flat_map(|(at, step)| {
        step.simpler().map(move |simpler| {
            let mut steps = steps.to_vec();
            steps.splice(at..=at, [simpler]);
            steps
        })
    });
    shorter(steps).chain(each).collect::<Vec<_>>().into_iter()
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.handle == Handle::Second {
            f.write_str("second handle: ")?;
        }
        self.operation.fmt(f)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(key) => write!(f, "get({})", text(key)),
            Self::GetInto(key) => write!(f, "get_into({})", text(key)),
            Self::GetFile(key) => write!(f, "get_file({})", text(key)),
            Self::Open(key, readings) => {
                write!(f, "open({})", text(key))?;
                readings.iter().try_for_each(|reading| write!(f, ", {reading:?}"))
            }
            Self::GetMany(keys) => write!(f, "get_many([{}])", few(keys, |key| text(key))),
            Self::GetEach(keys) => write!(f, "get_each([{}])", few(keys, |key| text(key))),
            Self::Contains(key) => write!(f, "contains({})", text(key)),
            Self::Ttl(key) => write!(f, "ttl({})", text(key)),
            Self::Keys(prefix) => write!(f, "keys({})", text(prefix)),
            Self::Prefixes(delimiter, prefix) => write!(f, "prefixes({}, {})", text(delimiter), text(prefix)),
            Self::Put(entry) => write!(f, "put({entry})"),
            Self::PutFrom(entry, portion) => write!(f, "put_from({entry}), {portion} bytes at a time"),
            Self::PutFromFailing(entry, after) => {
                write!(f, "put_from({entry}), whose reader fails after {after} bytes")
            }
            Self::PutFile(entry) => write!(f, "put_file({entry})"),
            Self::PutMany(entries) => write!(f, "put_many([{}])", few(entries, |entry| format!("({entry})"))),
            Self::Create(entry) => write!(f, "create({entry})"),
            Self::Delete(key) => write!(f, "delete({})", text(key)),
            Self::DeleteMany(keys) => write!(f, "delete_many([{}])", few(keys, |key| text(key))),
            Self::Touch(key, expires) => write!(f, "touch({}, {expires:?})", text(key)),
            Self::GetVersioned(key) => write!(f, "get_versioned({})", text(key)),
            Self::CreateVersioned(entry) => write!(f, "create_versioned({entry})"),
            Self::PutIf(entry, which) => write!(f, "put_if({entry}, {which})"),
            Self::DeleteIf(key, which) => write!(f, "delete_if({}, {which})", text(key)),
            Self::Take(key) => write!(f, "take({})", text(key)),
            Self::GetAndTouch(key, expires) => write!(f, "get_and_touch({}, {expires:?})", text(key)),
            Self::Increment(key, by, expires) => write!(f, "increment({}, {by}, {expires:?})", text(key)),
            Self::Copy(from, to) => write!(f, "copy({}, {})", text(from), text(to)),
            Self::Rename(from, to) => write!(f, "rename({}, {})", text(from), text(to)),
            Self::WhileListing { prefix, taken, steps, to_the_end } => {
                write!(f, "the first {taken} of keys({}), then [", text(prefix))?;
                nested(f, steps)?;
                write!(f, "], then {}", if *to_the_end { "the rest of it" } else { "no more of it" })
            }
            Self::WhileReading { key, read, steps } => {
                write!(f, "the first {read} bytes of open({}), then [", text(key))?;
                nested(f, steps)?;
                f.write_str("], then the rest of it")
            }
            Self::Wait(wait) => write!(f, "wait: {wait:?}"),
            Self::Reopen => f.write_str("close the store and open it again"),
        }
    }
}

fn nested(f: &mut fmt::Formatter<'_>, steps: &[Step]) -> fmt::Result {
    for (at, step) in steps.iter().enumerate() {
        write!(f, "{}{step}", if at == 0 { "" } else { "; " })?;
    }
    Ok(())
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("the version that get_versioned gives before"),
            Self::Earlier(0) => f.write_str("the last version that is known"),
            Self::Earlier(before) => write!(f, "the version that was known {before} before the last"),
            Self::Foreign => f.write_str("a version of another key"),
        }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {:?}", text(&self.key), Shown(&self.value), self.expires)
    }
}

struct Shown<'a>(&'a Content);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Content::Bytes(bytes) => f.write_str(&value(bytes)),
            Content::AtLimit(0) => f.write_str("as many bytes as the store takes"),
            Content::AtLimit(more @ 1..) => write!(f, "{more} bytes more than the store takes"),
            Content::AtLimit(less) => write!(f, "{} bytes less than the store takes", less.unsigned_abs()),
        }
    }
}

/// A key or a prefix, shortened in its middle.
pub(super) fn text(key: &str) -> String {
    const SHOWN: usize = 60;
    match (key.get(..SHOWN / 2), key.get(key.len().saturating_sub(SHOWN / 2)..)) {
        (Some(begin), Some(end)) if key.len() > SHOWN => {
            format!("\"{}…{}\" ({} bytes)", begin.escape_debug(), end.escape_debug(), key.len())
        }
        _ => format!("{key:?}"),
    }
}

/// A value, shortened.
pub(super) fn value(value: &[u8]) -> String {
    const SHOWN: usize = 24;
    let shown = value.get(..SHOWN).unwrap_or(value).escape_ascii();
    if value.len() > SHOWN { format!("\"{shown}…\" ({} bytes)", value.len()) } else { format!("\"{shown}\"") }
}

/// The first few, and how many there are.
pub(super) fn few<T>(of: &[T], shown: impl Fn(&T) -> String) -> String {
    const SHOWN: usize = 6;
    let rest = if of.len() > SHOWN { format!(", … {} in all", of.len()) } else { String::new() };
    format!("{}{rest}", of.iter().take(SHOWN).map(shown).collect::<Vec<_>>().join(", "))
}
