//! Versions, and what conditional writes return.

use std::fmt::Display;

use kv_core::{Error, KeyValueStore, KeyValueStoreExt, Version};

use crate::running::{NotPassed, Outcome, expect_bytes, mismatch, show_error};

/// The version of an entry, which has to be there with this value.
#[track_caller]
pub(crate) fn version_of(store: &dyn KeyValueStore, key: &str, value: impl AsRef<[u8]>) -> Outcome<Version> {
    let what = format!("get_versioned({key:?})");
    match store.get_versioned(key) {
        Ok(Some((got, version))) => expect_bytes(&what, got, value).map(|()| version),
        Ok(None) => Err(mismatch(what, "a value and its version", "None")),
        Err(error) => Err(failed(what, "a value and its version", &error)),
    }
}

/// A conditional write, or `create_versioned`, has to store its value. Returns the new version.
#[track_caller]
pub(crate) fn expect_stored(what: impl Display, got: Result<Option<Version>, Error>) -> Outcome<Version> {
    match got {
        Ok(Some(version)) => Ok(version),
        Ok(None) => Err(mismatch(what, "Some(the new version): it is stored", "None: it is not")),
        Err(error) => Err(failed(what, "Some(the new version): it is stored", &error)),
    }
}

/// A conditional write, or `create_versioned`, has to store nothing.
#[track_caller]
pub(crate) fn expect_not_stored(what: impl Display, got: Result<Option<Version>, Error>) -> Outcome {
    match got {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(mismatch(what, "None: nothing is stored", "Some(a version)")),
        Err(error) => Err(failed(what, "None: nothing is stored", &error)),
    }
}

#[track_caller]
fn failed(what: impl Display, want: &str, error: &Error) -> NotPassed {
    mismatch(what, want, &show_error(error)).because_of(error).timed_out_if(matches!(error, Error::Timeout(_)))
}
