//! What runs a check: its stores, its time, and what notices when it fails, panics or hangs.

mod budget;
mod clauses;
mod context;
mod expect;
mod followed;
mod hang;
pub(crate) mod leaks;
mod outcome;
mod pace;
pub(crate) mod panics;
mod scope;
mod seed;
mod show;
mod source;
mod time;
pub(crate) mod trace;
mod traced;
mod watchdog;
mod watched;

pub(crate) use budget::{Budget, check_effort, effort, part_for_effort};
pub(crate) use context::Context;
pub(crate) use expect::{expect, expect_bytes, expect_eq, expect_error, expect_that, mismatch};
pub(crate) use outcome::{Broken, Finding, NotPassed, Outcome};
pub(crate) use pace::ENOUGH;

pub(crate) use scope::Scope;
pub(crate) use seed::Seed;
pub(crate) use show::{kind_of, show, show_error};
pub(crate) use time::{Expiry, Liveness, Time, TimeSoFar};
pub(crate) use watchdog::{Hang, Watchdog};
