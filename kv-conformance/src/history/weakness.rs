//! What a store promises if it does not promise everything.

use std::fmt;

use crate::report::LENIENT_COUNTERS;

/// A part of the contract that a store does not promise: of [linearizability](crate::history) to concurrent threads, or of what a counter is.
/// Declare it with [`Suite::weaker`](crate::Suite::weaker).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Weakness {
    /// An entry may vanish at any time: a volatile store that evicts. It counts as a delete that may happen at any time.
    MayEvict,
    /// A read may return an older value, like that of a replica that lags. It may return any value whose write began before the read
    /// returned, and nothing if the key may have held nothing before. Writes and their answers still need an order.
    StaleReads,
    /// `increment` takes more for a number than digits, such as `007`, or `5` and a blank
    /// ([U5](kv_core::contract#12-conditional-and-atomic-updates)). A check verifies that it takes at least one such value. What does not
    /// begin with a number is refused all the same.
    LenientCounters,
}

impl Weakness {
    /// Whether it is about the order of what concurrent threads do, and not about what one thread sees.
    pub(crate) fn is_of_order(self) -> bool {
        self != Self::LenientCounters
    }
}

/// Its name in messages and in a report.
impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MayEvict => "an entry may be evicted at any time",
            Self::StaleReads => "a read may tell of an older time",
            Self::LenientCounters => LENIENT_COUNTERS,
        })
    }
}
