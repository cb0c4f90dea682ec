//! Several threads that use a store at once.

mod at_once;
pub mod deadlocks;
pub mod expiring;
pub mod histories;
pub mod listings;
pub mod races;

pub(super) use at_once::{THREADS, at_once, expect_nothing, keys_of, rounds};
pub(super) use races::expect_no_write_undone;

use super::check::checks_of;

checks_of![races, listings, deadlocks, histories, expiring];
