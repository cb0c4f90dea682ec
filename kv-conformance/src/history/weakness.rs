//! What a store promises where it does not promise one order.

use std::fmt;

/// Something that a store does not promise to threads that use it at the same time, of what
/// [linearizability](crate::history) asks for. To be declared with [`Suite::weaker`](crate::Suite::weaker).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Weakness {
    /// An entry may vanish at any time: a volatile store that evicts. It counts as a delete that may happen at any time.
    MayEvict,
    /// A read may tell of an older time: a replica that lags. It may give any value whose write began before the read returned,
    /// and nothing if the key may have held nothing before. Writes, and what they answer, are in order all the same.
    StaleReads,
}

/// What it is called in messages and in a report.
impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MayEvict => "an entry may be evicted at any time",
            Self::StaleReads => "a read may tell of an older time",
        })
    }
}
