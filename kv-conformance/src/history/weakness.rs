//! What a store promises if it does not promise one order.

use std::fmt;

/// A part of [linearizability](crate::history) that a store does not promise to concurrent threads. Declare it with
/// [`Suite::weaker`](crate::Suite::weaker).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Weakness {
    /// An entry may vanish at any time: a volatile store that evicts. It counts as a delete that may happen at any time.
    MayEvict,
    /// A read may return an older value, like that of a replica that lags. It may return any value whose write began before the read
    /// returned, and nothing if the key may have held nothing before. Writes and their answers still need an order.
    StaleReads,
}

/// Its name in messages and in a report.
impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MayEvict => "an entry may be evicted at any time",
            Self::StaleReads => "a read may tell of an older time",
        })
    }
}
