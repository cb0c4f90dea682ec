//! Section 3: reading, writing, deleting.

pub mod basics;
pub mod creating;
pub mod reopening;
pub mod visibility;

use super::check::checks_of;

checks_of![basics, reopening, visibility, creating];
