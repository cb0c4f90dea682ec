//! Section 5: listings, of keys and of their parts.

pub mod keys;
pub mod prefixes;

use super::check::checks_of;

checks_of![keys, prefixes];
