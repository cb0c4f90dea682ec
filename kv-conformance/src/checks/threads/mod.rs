//! Several threads that use a store at once.

mod at_once;
pub mod deadlocks;
pub mod expiring;
pub mod histories;
pub mod listings;
pub mod races;

use super::check::checks_of;

checks_of![races, listings, deadlocks, histories, expiring];
