//! Section 9: errors.

pub mod kinds;
pub mod runtimes;
pub mod secrets;

use super::check::checks_of;

checks_of![kinds, secrets, runtimes];
