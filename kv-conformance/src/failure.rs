//! What a check has found, told to the author of a backend.

use std::error::Error as StdError;
use std::fmt::{self, Debug, Display};
use std::panic::Location;

use kv_core::{Error, InvalidKey};

use crate::BoxError;

/// The outcome of a check: passed, or why not.
pub type Outcome<T = ()> = Result<T, NotPassed>;

/// Why a check has not passed.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotPassed {
    /// The store does something else than the contract says.
    Failed(String),
    /// The fixture lacks something that the check needs.
    Ignored(String),
    /// In real time, the machine was too slow for the lifetimes of the check to tell anything: to be repeated with
    /// longer ones.
    TooSlow,
    /// An operation timed out that nothing was in the way of: if it does so again it is a failure.
    TimedOut(String),
}

impl NotPassed {
    /// A failure with a message of its own.
    #[track_caller]
    pub(crate) fn failed(message: impl Display) -> Self {
        let at = Location::caller();
        Self::Failed(format!("{message}\n(checked in {}:{})", at.file(), at.line()))
    }

    /// If an operation timed out that nothing was in the way of, the machine may have been slow.
    pub(crate) fn timed_out_if(self, timed_out: bool) -> Self {
        match self {
            Self::Failed(message) if timed_out => Self::TimedOut(message),
            other => other,
        }
    }

    /// The store panicked, or the fixture did. Where, the panic itself has told on the standard error.
    pub(crate) fn failed_in_a_panic(panic: &str) -> Self {
        Self::Failed(format!("the store, or the fixture, panicked\nexpected: no panic (E4)\ngot:      {panic}"))
    }
}

impl From<Error> for NotPassed {
    #[track_caller]
    fn from(error: Error) -> Self {
        let failed = Self::failed(format_args!("expected: the operation works\ngot:      {}", show_error(&error)));
        failed.timed_out_if(matches!(error, Error::Timeout(_)))
    }
}

impl From<InvalidKey> for NotPassed {
    #[track_caller]
    fn from(error: InvalidKey) -> Self {
        Self::from(Error::from(error))
    }
}

impl From<BoxError> for NotPassed {
    #[track_caller]
    fn from(error: BoxError) -> Self {
        Self::failed(format_args!("the fixture failed: {}", show_error(&*error)))
    }
}

/// The result of an operation has to be this value.
#[track_caller]
pub(crate) fn expect<T, W>(what: impl Display, got: Result<T, Error>, want: W) -> Outcome
where
    T: PartialEq<W> + Debug,
    W: Debug,
{
    match got {
        Ok(got) if got == want => Ok(()),
        Ok(got) => Err(mismatch(what, &show(&want), &show(&got))),
        Err(error) => {
            let failed = mismatch(what, &show(&want), &show_error(&error));
            Err(failed.timed_out_if(matches!(error, Error::Timeout(_))))
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

/// Something has to hold; `got` says what was found instead.
#[track_caller]
pub(crate) fn expect_that(what: impl Display, holds: bool, want: &str, got: impl Debug) -> Outcome {
    if holds { Ok(()) } else { Err(mismatch(what, want, &show(&got))) }
}

/// The result of an operation has to be an error of this kind, which is handed back.
#[track_caller]
pub(crate) fn expect_error<T: Debug>(
    what: impl Display,
    got: Result<T, Error>,
    kind: &str,
    is_kind: impl Fn(&Error) -> bool,
) -> Outcome<Error> {
    match got {
        Err(error) if is_kind(&error) => Ok(error),
        Err(error) => Err(mismatch(what, &format!("Err({kind})"), &show_error(&error))),
        Ok(value) => Err(mismatch(what, &format!("Err({kind})"), &format!("Ok({})", show(&value)))),
    }
}

/// What was done, what was expected, and what came.
#[track_caller]
pub(crate) fn mismatch(what: impl Display, want: &str, got: &str) -> NotPassed {
    let what = shorten(&what.to_string(), QUOTED);
    NotPassed::failed(format_args!("{what}\nexpected: {want}\ngot:      {got}"))
}

/// How long a key may be in what is said to have been done.
const QUOTED: usize = 60;

/// A text with each quoted string in it, as `Debug` shows it, that is longer than this shortened in its middle. Its length is told
/// beside it.
pub(crate) fn shorten(text: &str, longest: usize) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some((before, quoted)) = rest.split_once('"') {
        let mut escaped = false;
        let end = quoted.find(|c| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        let Some((inner, after)) = end.and_then(|end| Some((quoted.get(..end)?, quoted.get(end + 1..)?))) else {
            break;
        };
        // An escape stands for one character, and is neither counted nor cut as more.
        let mut characters = Vec::new();
        let mut at = inner.chars();
        while let Some(c) = at.next() {
            characters.push(if c == '\\' { format!("{c}{}", at.next().unwrap_or_default()) } else { c.to_string() });
        }
        let half = longest / 2;
        shown.push_str(before);
        let ends = (characters.get(..half), characters.get(characters.len().saturating_sub(half)..));
        let quoted = match ends {
            (Some(begin), Some(end)) if characters.len() > longest => {
                format!("\"{}…{}\" ({} bytes)", begin.concat(), end.concat(), characters.len())
            }
            _ => format!("\"{inner}\""),
        };
        shown.push_str(&quoted);
        rest = after;
    }
    shown + rest
}

/// An error with its kind and its chain of causes.
pub(crate) fn show_error(error: &(dyn StdError + 'static)) -> String {
    let mut shown = match error.downcast_ref::<Error>() {
        Some(error) => format!("Err({}): {error}", kind_of(error)),
        None => error.to_string(),
    };
    if let Some(Error::Unsupported { operation, .. }) = error.downcast_ref() {
        shown.push_str(&ADVICE.replace("CAPABILITY", &format!("{operation:?}")));
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        shown.push_str("\n          caused by: ");
        shown.push_str(&error.to_string());
        cause = error.source();
    }
    shown
}

/// What to do about an operation that is not supported.
const ADVICE: &str = "
          (if the store cannot do this, say so: .without(Capability::CAPABILITY) in capabilities(),
          .opt_out(Capability::CAPABILITY, \"why\") in the suite)";

/// The name of the variant of an error.
pub(crate) fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::InvalidKey(_) => "InvalidKey",
        Error::InvalidTtl { .. } => "InvalidTtl",
        Error::ValueTooLarge { .. } => "ValueTooLarge",
        Error::NotFound { .. } => "NotFound",
        Error::Unsupported { .. } => "Unsupported",
        Error::Unavailable(_) => "Unavailable",
        Error::Timeout(_) => "Timeout",
        Error::Io { .. } => "Io",
        Error::Backend(_) => "Backend",
        _ => "an error of an unknown kind",
    }
}

/// The `Debug` of something, cut where it gets long.
pub(crate) fn show(value: &dyn Debug) -> String {
    const SHOWN: usize = 300;
    let shown = format!("{value:?}");
    if shown == "()" {
        return "success".into();
    }
    match shown.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} characters)", shown.get(..end).unwrap_or_default(), shown.len()),
        None => shown,
    }
}

impl Display for NotPassed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(message) | Self::TimedOut(message) => f.write_str(message),
            Self::Ignored(reason) => write!(f, "ignored: {reason}"),
            Self::TooSlow => f.write_str("the machine was too slow to tell early from late"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_key_is_shortened_in_its_middle() {
        let key = format!("a{}z", "\"".repeat(248));
        let shown = shorten(&format!("copy({key:?}, {:?}), and \"no more", "b\\"), 4);
        assert_eq!(shown, r#"copy("a\"…\"z" (250 bytes), "b\\"), and "no more"#);
        assert_eq!(shorten(&format!("get({:?})", "k".repeat(60)), 60), format!("get({:?})", "k".repeat(60)));
    }
}
