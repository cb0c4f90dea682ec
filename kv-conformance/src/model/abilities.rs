//! What sequences for a store may have in them.

use std::time::Duration;

use kv_core::Capability;

use crate::running::Context;

/// What a store can do and takes, and what its fixture can do.
#[derive(Clone, Debug)]
pub(crate) struct Abilities {
    capabilities: Vec<Capability>,
    /// The largest value that the store takes, if it is not too large to be tried.
    pub(super) largest: Option<usize>,
    /// The largest value that is tried, but for those at the limit.
    pub(super) size: usize,
    pub(super) has_second_handle: bool,
    pub(super) can_reopen: bool,
    pub(super) waiting: Waiting,
}

/// What waiting costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nothing: the clock is advanced by hand.
    ByHand,
    /// Milliseconds.
    Short,
    /// Seconds, since the store expires entries late.
    Long,
}

/// The largest limit that is tried, in bytes.
const LARGEST: u64 = 3 << 20;

/// The largest value.
const SIZE: usize = (1 << 20) + 1;

/// A resolution from which on it takes long until entries have expired.
const LATE: Duration = Duration::from_millis(100);

impl Abilities {
    pub(crate) fn of(context: &Context<'_>) -> Self {
        let capabilities = context.capabilities();
        let has = |capability: &&Capability| context.has(**capability);
        Self {
            capabilities: Capability::ALL.iter().filter(has).copied().collect(),
            largest: capabilities
                .largest_value()
                .filter(|&limit| limit <= LARGEST)
                .and_then(|limit| limit.try_into().ok()),
            size: context.size(SIZE),
            has_second_handle: context.fixture().second_handle.is_some(),
            can_reopen: context.fixture().reopen.is_some(),
            waiting: if context.time.is_advanced_by_hand() {
                Waiting::ByHand
            } else if capabilities.ttl_resolution() < LATE {
                Waiting::Short
            } else {
                Waiting::Long
            },
        }
    }

    pub(super) fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}
