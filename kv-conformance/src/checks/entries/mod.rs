//! Entries that checks of several sections write, and expect.

mod acts;
mod kept;
mod limits;
mod listed;
mod old;
mod versions;
mod writing;

pub(super) use acts::{OPERATIONS, act, acts};
pub(super) use kept::{Given, change, expect_changed};
pub(super) use limits::{largest_length, largest_value, refused_ttl};
pub(super) use listed::{listed, listed_by, sorted};
pub(super) use old::{BYSTANDER, OldEntry, expect_remaining};
pub(super) use versions::{expect_not_stored, expect_stored, version_of};
pub(super) use writing::{ways_of_writing, ways_of_writing_new, write, write_new};
