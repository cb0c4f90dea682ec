//! What comes back for a command.

use std::str::FromStr;

use kv_core::Bytes;

use super::refusal::Refusal;

/// The reply to one command.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// The entry was there, or the command was carried out.
    Hit(Hit),
    /// The entry was not there, or a condition did not hold.
    Miss,
    Refused(Refusal),
}

impl Reply {
    pub(crate) fn is_hit(&self) -> bool {
        matches!(self, Self::Hit(_))
    }

    pub(crate) fn hit(self) -> Option<Hit> {
        if let Self::Hit(hit) = self { Some(hit) } else { None }
    }
}

/// Whether one of the replies is an error that the server sent.
pub(crate) fn are_refused(replies: &[Reply]) -> bool {
    replies.iter().any(|reply| matches!(reply, Reply::Refused(_)))
}

/// What a reply says about an entry, as far as it was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hit {
    pub(crate) value: Bytes,
    /// The seconds that are left of its TTL; -1 if it does not expire.
    pub(crate) seconds_left: i64,
    /// 0 if the server did not tell it.
    pub(crate) version: u64,
    /// The number that another client stored with the value.
    pub(crate) client_flags: u64,
}

/// What the first line of a reply says.
#[derive(Debug)]
pub(crate) enum FirstLine {
    /// It is the whole reply.
    Whole(Reply),
    /// A value of this many bytes follows, and its end.
    Value { length: usize, hit: Hit },
}

/// A number of the protocol: digits without a sign.
pub(crate) fn number<N: FromStr>(digits: &[u8]) -> Option<N> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}
