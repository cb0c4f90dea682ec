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
    /// The length of the longest key.
    pub(super) longest_key: usize,
    /// The largest value that is tried, but for those at the limit.
    pub(super) size: usize,
    pub(super) has_second_handle: bool,
    pub(super) can_reopen: bool,
    pub(super) waiting: Waiting,
    /// How many keys a batch has at most.
    pub(super) most: usize,
    /// How many operations one part of the pools may take.
    pub(super) operations: usize,
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

/// How many keys a batch has at most, and how long it may take.
const MOST: usize = 1500;
const LONGEST: Duration = Duration::from_secs(1);

/// How long going through the keys, the values or the TTLs may take.
const SWEEP: Duration = Duration::from_secs(2);

impl Abilities {
    pub(crate) fn of(context: &Context<'_>) -> Self {
        let operation = context.pace().operation.as_nanos();
        let operations = SWEEP.as_nanos().checked_div(operation).and_then(|most| most.try_into().ok());
        let capabilities = context.capabilities();
        let has = |capability: &&Capability| context.has(**capability);
        Self {
            most: context.keys_within(MOST, 1, LONGEST),
            operations: operations.unwrap_or(usize::MAX),
            capabilities: Capability::ALL.iter().filter(has).copied().collect(),
            largest: capabilities
                .largest_value()
                .filter(|&limit| limit <= LARGEST)
                .and_then(|limit| limit.try_into().ok()),
            longest_key: capabilities.longest_key(),
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

    /// Whether an operation costs next to nothing.
    pub(super) fn is_in_process(&self) -> bool {
        self.waiting == Waiting::ByHand
    }

    pub(super) fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}
