//! Section 9: errors.

pub mod kinds;
pub mod runtimes;

use super::check::checks_of;

checks_of![kinds, runtimes];
