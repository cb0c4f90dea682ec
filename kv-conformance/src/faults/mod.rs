//! What the checks of faults share: stores behind a proxy, operations, faults, and the outcomes that are possible then.

mod case;
mod client;
mod errors;
mod exchange;
mod fault;
mod operations;
mod parallel;
mod possible;
mod proxied;
mod random;
mod scenario;
mod timing;
mod values;

pub(crate) use case::Case;
pub(crate) use client::{Action, Client};
pub(crate) use errors::{check_error, check_transient};
pub(crate) use exchange::{ExpectedResult, Kind, Point};
pub(crate) use fault::fault_at_random;
pub(crate) use operations::{Answer, Operation};
pub(crate) use parallel::{in_own_fixtures, in_parallel};
pub(crate) use proxied::ProxiedStore;
pub(crate) use random::{
    Breaking, Case as RandomCase, LISTING, Player, Stream, calls, cases, caught, pairs, writes, writes_of_short_lives,
};
pub(crate) use scenario::for_each_operation;
pub(crate) use timing::{IDLE, MARGIN, NOTICED, WAITING, expect_undisturbed, judge_undisturbed};
pub(crate) use values::value;
