//! One operation of a history.

use std::fmt;
use std::time::Duration;

use kv_core::{Bytes, Remaining, Ttl};

/// What a key holds: a value, or nothing.
pub type Held = Option<Bytes>;

/// What a thread did to a key, when, and the store's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// The operation that was called, as it is shown: several do the same to a key, as `put` and `put_from` do.
    pub call: &'static str,
}

impl Operation {
    /// An operation of the store that is called like the action.
    pub fn new(thread: usize, began: Duration, ended: Option<Duration>, action: Action) -> Self {
        let call = action.name();
        Self { thread, began, ended, action, call }
    }

    /// The same done by another operation.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kv_conformance::history::{Action, Operation};
    /// use kv_core::Ttl;
    ///
    /// let put = Operation::new(0, Duration::ZERO, None, Action::Put("A1".into(), Ttl::Forever));
    /// assert_eq!(put.clone().called("put_from").to_string(), r#"put_from "A1""#);
    /// ```
    #[must_use]
    pub fn called(self, call: &'static str) -> Self {
        Self { call, ..self }
    }
}

/// What was done, without the answer.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.call)?;
        match &self.action {
            Action::PutIf { old, value, ttl, .. } => {
                write!(f, " {} over {}", show(Some(value)), show(Some(old)))?;
                if let Ttl::After(ttl) = ttl { write!(f, " for {ttl:?}") } else { Ok(()) }
            }
            Action::DeleteIf(old, _) => write!(f, " of {}", show(Some(old))),
            Action::Increment { by, ttl, .. } => {
                write!(f, " by {by}")?;
                if let Ttl::After(ttl) = ttl { write!(f, " for {ttl:?}") } else { Ok(()) }
            }
            Action::Put(value, ttl) | Action::Create(value, ttl, _) => {
                write!(f, " {}", show(Some(value)))?;
                match ttl {
                    Ttl::After(ttl) => write!(f, " for {ttl:?}"),
                    Ttl::Default | Ttl::Forever => Ok(()),
                }
            }
            Action::Touch(Ttl::After(ttl), _) | Action::GetAndTouch(Ttl::After(ttl), _) => write!(f, " for {ttl:?}"),
            Action::Touch(..) | Action::GetAndTouch(..) => f.write_str(" for ever"),
            Action::CopiedHere { .. } => f.write_str(" to here"),
            Action::RenamedAway(_) => f.write_str(" from here"),
            Action::Delete(_) | Action::Take(_) | Action::Get(_) | Action::Contains(_) | Action::Ttl(_) => Ok(()),
        }
    }
}

/// An operation and its answer. If the operation has not returned, the answer is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// A write of this value with this TTL. With a zero TTL nothing is there afterwards.
    Put(Bytes, Ttl),
    /// `create` of this value with this TTL; whether it was stored.
    Create(Bytes, Ttl, bool),
    /// `delete`; whether there was an entry.
    Delete(bool),
    /// `touch` with this TTL; whether there was an entry. It changes the TTL alone; with a zero TTL it is a `delete`.
    Touch(Ttl, bool),
    /// `put_if` with the version that the key had with one value, of another value with this TTL; whether it was stored.
    PutIf {
        /// The value of which the version was named.
        old: Bytes,
        /// The value to be stored.
        value: Bytes,
        /// Its TTL.
        ttl: Ttl,
        /// Whether it was stored.
        stored: bool,
    },
    /// `delete_if` with the version that the key had with this value; whether there was such an entry.
    DeleteIf(Bytes, bool),
    /// `take`; the value that it gave, and removed.
    Take(Held),
    /// `get_and_touch` with this TTL; the value that it gave. With a zero TTL it is a `take`.
    GetAndTouch(Ttl, Held),
    /// `increment`. A counter that was there keeps its TTL.
    Increment {
        /// What was to be added.
        by: u32,
        /// The TTL of a counter that begins with this. With a zero TTL it does not begin.
        ttl: Ttl,
        /// The sum, as a counter holds it. `None` if it was refused (`NotACounter`).
        sum: Held,
    },
    /// A read; the value that it gave.
    Get(Held),
    /// A question whether there is an entry; what was said.
    Contains(bool),
    /// `ttl`; what it said.
    Ttl(Option<Remaining>),
    /// `copy` or `rename` of another key to this one. It was not seen what was there: it has written one of these values with
    /// one of these TTLs. (A copy is not always one step: it may have the value of one entry and the TTL of the next one.)
    CopiedHere {
        /// What may have been copied.
        values: Vec<Bytes>,
        /// The TTLs that it may have.
        ttls: Vec<Ttl>,
    },
    /// `rename` of this key to another one; the value that was moved, if that is known.
    ///
    /// A `rename` is not always one step: it may be a copy and then a removal, so that two of them can move the same
    /// entry. What was moved is there no more when it returns. What is written between the two steps may stay or not.
    RenamedAway(Held),
}

impl Action {
    /// The operation that it is named after.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Put(..) => "put",
            Self::Create(..) => "create",
            Self::Delete(_) => "delete",
            Self::Touch(..) => "touch",
            Self::PutIf { .. } => "put_if",
            Self::DeleteIf(..) => "delete_if",
            Self::Take(_) => "take",
            Self::GetAndTouch(..) => "get_and_touch",
            Self::Increment { .. } => "increment",
            Self::Get(_) => "get",
            Self::Contains(_) => "contains",
            Self::Ttl(_) => "ttl",
            Self::CopiedHere { .. } => "copy",
            Self::RenamedAway(_) => "rename",
        }
    }

    /// Whether it is a question, which changes nothing whatever the answer.
    pub(super) fn is_read(&self) -> bool {
        matches!(self, Self::Get(_) | Self::Contains(_) | Self::Ttl(_))
    }

    /// Whether it has changed nothing, by its answer.
    pub(super) fn changed_nothing(&self) -> bool {
        match self {
            Self::Get(_)
            | Self::Contains(_)
            | Self::Ttl(_)
            | Self::Delete(false)
            | Self::Touch(_, false)
            | Self::PutIf { stored: false, .. }
            | Self::DeleteIf(_, false)
            | Self::Take(None)
            | Self::GetAndTouch(_, None)
            | Self::Increment { sum: None, .. } => true,
            Self::Create(_, ttl, created) => !created || is_zero(*ttl),
            _ => false,
        }
    }

    /// The values that it writes, or wanted to write.
    pub(super) fn values(&self) -> &[Bytes] {
        match self {
            Self::Put(value, ttl) | Self::Create(value, ttl, _) | Self::PutIf { value, ttl, .. } if !is_zero(*ttl) => {
                std::slice::from_ref(value)
            }
            Self::Increment { sum: Some(sum), .. } => std::slice::from_ref(sum),
            Self::CopiedHere { values, .. } => values,
            _ => &[],
        }
    }

    /// The TTLs that it gives.
    pub(super) fn ttls(&self) -> &[Ttl] {
        match self {
            Self::Put(_, ttl)
            | Self::Create(_, ttl, _)
            | Self::PutIf { ttl, .. }
            | Self::Touch(ttl, _)
            | Self::GetAndTouch(ttl, _)
            | Self::Increment { ttl, .. }
                if !is_zero(*ttl) =>
            {
                std::slice::from_ref(ttl)
            }
            Self::CopiedHere { ttls, .. } => ttls,
            _ => &[],
        }
    }

    /// Whether it removes what is there, if something is.
    pub(super) fn removes(&self) -> bool {
        match self {
            Self::Put(_, ttl) | Self::PutIf { ttl, .. } | Self::Touch(ttl, _) | Self::GetAndTouch(ttl, _) => {
                is_zero(*ttl)
            }
            Self::Delete(_) | Self::DeleteIf(..) | Self::Take(_) | Self::RenamedAway(_) => true,
            _ => false,
        }
    }

    /// The value that was seen, or was to be there.
    pub(super) fn seen(&self) -> Option<&Bytes> {
        match self {
            Self::Get(held) | Self::RenamedAway(held) | Self::Take(held) | Self::GetAndTouch(_, held) => held.as_ref(),
            Self::PutIf { old, .. } | Self::DeleteIf(old, _) => Some(old),
            _ => None,
        }
    }

    /// The answer, as a text.
    pub(super) fn answer(&self) -> String {
        match self {
            Self::Put(..) | Self::CopiedHere { .. } | Self::RenamedAway(None) => "ok".to_owned(),
            Self::Create(.., answer)
            | Self::Delete(answer)
            | Self::PutIf { stored: answer, .. }
            | Self::DeleteIf(_, answer)
            | Self::Touch(_, answer)
            | Self::Contains(answer) => answer.to_string(),
            Self::Get(held) | Self::RenamedAway(held) | Self::Take(held) | Self::GetAndTouch(_, held) => {
                show(held.as_ref())
            }
            Self::Increment { sum, .. } => show_sum(sum.as_ref()),
            Self::Ttl(told) => show_ttl(*told),
        }
    }
}

/// Whether a write with this TTL leaves nothing behind.
pub(super) fn is_zero(ttl: Ttl) -> bool {
    ttl == Ttl::After(Duration::ZERO)
}

/// What a key holds, in a few words.
pub(super) fn show(held: Option<&Bytes>) -> String {
    const SHOWN: usize = 24;
    let Some(value) = held else { return "nothing".to_owned() };
    if value.len() <= SHOWN {
        return format!("{:?}", String::from_utf8_lossy(value));
    }
    let ends = [value.get(..SHOWN / 2), value.get(value.len() - SHOWN / 2..)];
    let [begin, end] = ends.map(|end| end.unwrap_or_default().escape_ascii());
    format!("\"{begin}…{end}\" ({} bytes)", value.len())
}

/// What `increment` says, in few words.
pub(super) fn show_sum(sum: Option<&Bytes>) -> String {
    sum.map_or("NotACounter".to_owned(), |sum| String::from_utf8_lossy(sum).into_owned())
}

/// What `ttl` says, in few words.
pub(super) fn show_ttl(told: Option<Remaining>) -> String {
    match told {
        None => "nothing".to_owned(),
        Some(Remaining::Forever) => "for ever".to_owned(),
        Some(Remaining::For(left)) => format!("{left:?}"),
    }
}

/// The name of a thread: A to Z, then AA and so on.
pub(super) fn letters(thread: usize) -> String {
    let letter = |n: usize| char::from(b'A' + u8::try_from(n % 26).unwrap_or_default());
    if thread < 26 { letter(thread).to_string() } else { format!("{}{}", letters(thread / 26 - 1), letter(thread)) }
}
