//! One operation of a history.

use std::fmt;
use std::time::Duration;

use kv_core::Bytes;

/// What a key holds: a value, or nothing.
pub type Held = Option<Bytes>;

/// What a thread did to a key, when, and the store's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The thread, counted from zero. It is shown as a letter.
    pub thread: usize,
    /// When it was called, counted from the beginning of the recording.
    pub began: Duration,
    /// When it returned, on the same clock. `None` if its outcome is unknown: then it may take effect at any time after its
    /// call, or never.
    pub ended: Option<Duration>,
    /// What was measured.
    pub action: Action,
}

/// An operation and its answer. If the operation has not returned, the answer is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// `put` of this value.
    Put(Bytes),
    /// `create` of this value; whether it was stored.
    Create(Bytes, bool),
    /// `delete`; whether there was an entry.
    Delete(bool),
    /// `get`; what it returned.
    Get(Held),
    /// `contains`; what it returned.
    Contains(bool),
}

impl Action {
    /// Whether it is a read, which changes nothing whatever the answer is.
    pub(super) fn is_read(&self) -> bool {
        matches!(self, Self::Get(_) | Self::Contains(_))
    }

    /// Whether it has changed nothing, by its answer.
    pub(super) fn changed_nothing(&self) -> bool {
        matches!(self, Self::Get(_) | Self::Contains(_) | Self::Create(_, false) | Self::Delete(false))
    }

    /// The value that it writes, or wanted to write.
    pub(super) fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Put(value) | Self::Create(value, _) => Some(value),
            Self::Delete(_) | Self::Get(_) | Self::Contains(_) => None,
        }
    }

    /// The answer, as a text.
    pub(super) fn answer(&self) -> String {
        match self {
            Self::Put(_) => "ok".to_owned(),
            Self::Create(_, answer) | Self::Delete(answer) | Self::Contains(answer) => answer.to_string(),
            Self::Get(held) => show(held.as_ref()),
        }
    }
}

/// The operation, without the answer.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(value) => write!(f, "put {}", show(Some(value))),
            Self::Create(value, _) => write!(f, "create {}", show(Some(value))),
            Self::Delete(_) => f.write_str("delete"),
            Self::Get(_) => f.write_str("get"),
            Self::Contains(_) => f.write_str("contains"),
        }
    }
}

/// What a key holds, in a few words.
pub(super) fn show(held: Option<&Bytes>) -> String {
    const SHOWN: usize = 24;
    let Some(value) = held else { return "nothing".to_owned() };
    let text = String::from_utf8_lossy(value);
    if text.chars().count() <= SHOWN {
        return format!("{text:?}");
    }
    format!("{:?}… ({} bytes)", text.chars().take(SHOWN).collect::<String>(), value.len())
}

/// The name of a thread: A to Z, then AA and so on.
pub(super) fn letters(thread: usize) -> String {
    let letter = |n: usize| char::from(b'A' + u8::try_from(n % 26).unwrap_or_default());
    if thread < 26 { letter(thread).to_string() } else { format!("{}{}", letters(thread / 26 - 1), letter(thread)) }
}
