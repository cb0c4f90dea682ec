//! Section 8: streams and files.

pub mod files;
pub mod reading;
pub mod writing;

use kv_core::Error;

use super::check::checks_of;

checks_of![reading, writing, files];

fn is_io(error: &Error) -> bool {
    matches!(error, Error::Io { .. })
}

fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. })
}
