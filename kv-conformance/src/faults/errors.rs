//! Requirements for the errors that a fault causes.

use std::error::Error as StdError;

use kv_core::Error;

use super::values::SECRET;
use crate::running::leaks::{expect_none, told_by};
use crate::running::{Outcome, expect_eq, expect_that, kind_of, show_error};

/// Checks what every error that a fault causes has to fulfil (E1, E2, E3, E5). The error of an operation on one key names the key.
pub(crate) fn check_error(what: &str, error: &Error, store: &str, keys: &[&str]) -> Outcome {
    let kinds = "Unavailable, Timeout or Backend (E1)";
    let is_one = matches!(error, Error::Unavailable(_) | Error::Timeout(_) | Error::Backend(_));
    expect_that(format_args!("the kind of the error of {what}"), is_one, kinds, show_error(error))?;
    expect_eq(format_args!("the store in the error of {what} (E1): {error}"), error.store(), Some(store))?;
    if !keys.is_empty() {
        let named = error.key().is_some_and(|key| keys.contains(&key));
        let want = keys.join(" or ");
        expect_that(format_args!("the key in the error of {what} (E1): {error}"), named, &want, error.key())?;
    }
    let shown = error.to_string();
    if let Some(cause) = error.source() {
        let text = cause.to_string();
        let what = format!("whether the message of the error of {what} repeats its cause, {text:?} (E2): {shown}");
        expect_eq(what, text.len() > 3 && shown.contains(&text), false)?;
    }
    expect_none(&format!("the error of {what}"), &told_by(error), SECRET.repeat(2).as_bytes())
}

/// Like [`check_error`], and trying again may help (E5).
pub(crate) fn check_transient(what: &str, error: &Error, store: &str, keys: &[&str]) -> Outcome {
    check_error(what, error, store, keys)?;
    let what = format!("is_transient() of the error of {what} (E5): {}: {error}", kind_of(error));
    expect_eq(what, error.is_transient(), true)
}
