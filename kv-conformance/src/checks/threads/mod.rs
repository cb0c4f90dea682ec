//! Several threads that use a store at once.

mod at_once;
pub mod expiring;
pub mod histories;
pub mod races;

use super::check::checks_of;

checks_of![races, histories, expiring];
