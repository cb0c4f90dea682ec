//! Section 12: conditional and atomic updates.

pub mod conditional;
pub mod counters;
pub mod creating;
mod holding;
pub mod races;
pub mod refused;
pub mod taking;
pub mod touching;
pub mod versions;

use super::check::checks_of;

checks_of![versions, conditional, creating, refused, taking, touching, counters, races];
