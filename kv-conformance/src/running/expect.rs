//! Compares an operation's answer with the expected one, and makes the failure.

use std::fmt::{Debug, Display};

use kv_core::{Bytes, Error};

use super::outcome::{EXPECTED, GOT, NotPassed, Outcome};
use super::show::{shorten, show, show_both, show_error};

/// The result of an operation has to be this value.
#[track_caller]
pub(crate) fn expect<T, W>(what: impl Display, got: Result<T, Error>, want: W) -> Outcome
where
    T: PartialEq<W> + Debug,
    W: Debug,
{
    match got {
        Ok(got) if got == want => Ok(()),
        Ok(got) => {
            let (want, got) = show_both(&want, &got);
            Err(mismatch(what, &want, &got))
        }
        Err(error) => {
            let failed = mismatch(what, &show(&want), &show_error(&error));
            Err(failed.because_of(&error).timed_out_if(matches!(error, Error::Timeout(_))))
        }
    }
}

/// A value has to be this one.
#[track_caller]
pub(crate) fn expect_eq<T, W>(what: impl Display, got: T, want: W) -> Outcome
where
    T: PartialEq<W> + Debug,
    W: Debug,
{
    expect(what, Ok(got), want)
}

/// The bytes of a value have to be these, whatever they are held in.
#[track_caller]
pub(crate) fn expect_bytes(what: impl Display, got: impl AsRef<[u8]>, want: impl AsRef<[u8]>) -> Outcome {
    let (got, want) = (got.as_ref(), want.as_ref());
    if got == want {
        return Ok(());
    }
    expect_eq(what, Bytes::copy_from_slice(got), Bytes::copy_from_slice(want))
}

/// Something has to hold; `got` says what was found instead.
#[track_caller]
pub(crate) fn expect_that(what: impl Display, holds: bool, want: &str, got: impl Debug) -> Outcome {
    if holds { Ok(()) } else { Err(mismatch(what, want, &show(&got))) }
}

/// The result of an operation has to be an error of this kind. Returns the error.
#[track_caller]
pub(crate) fn expect_error<T: Debug>(
    what: impl Display,
    got: Result<T, Error>,
    kind: &str,
    is_kind: impl Fn(&Error) -> bool,
) -> Outcome<Error> {
    match got {
        Err(error) if is_kind(&error) => Ok(error),
        Err(error) => Err(mismatch(what, &format!("Err({kind})"), &show_error(&error)).because_of(&error)),
        Ok(value) => Err(mismatch(what, &format!("Err({kind})"), &format!("Ok({})", show(&value)))),
    }
}

/// What was done, what was expected, and what came.
#[track_caller]
pub(crate) fn mismatch(what: impl Display, want: &str, got: &str) -> NotPassed {
    let what = shorten(&what.to_string(), QUOTED);
    NotPassed::failed(format_args!("{what}{EXPECTED}{want}{GOT}{got}"))
}

/// How much of a key a message shows.
const QUOTED: usize = 60;
