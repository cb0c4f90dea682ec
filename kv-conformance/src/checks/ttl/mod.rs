//! Section 4: TTLs.

pub mod expired;
pub mod expiry;
pub mod long;
pub mod remaining;

use super::check::checks_of;

checks_of![expiry, expired, long, remaining];
