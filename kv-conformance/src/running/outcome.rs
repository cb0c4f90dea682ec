//! The outcome of a check, in words for the author of a backend.

use std::fmt::{self, Display};
use std::mem;
use std::panic::Location;

use kv_core::{Capability, Error, InvalidKey};

use super::clauses::{clauses_alone, clauses_in};
use super::panics::Panic;
use super::show::show_error;
use super::source::is_of_the_standard_library;
use super::trace;
use crate::error::BoxError;

/// The outcome of a check: passed, or why not.
pub(crate) type Outcome<T = ()> = Result<T, NotPassed>;

/// Why a check has not passed.
#[derive(Debug)]
pub(crate) enum NotPassed {
    /// The store does something else than the contract says.
    Failed(Box<Finding>),
    /// The fixture lacks something that the check needs.
    Ignored(String),
    /// The TTLs of the check were too short to tell anything, for this machine or this store: to be repeated with longer ones.
    TooSlow,
    /// An operation timed out without a fault. If that happens again, it is a failure.
    TimedOut(Box<Finding>),
}

impl NotPassed {
    /// A failure with a message of its own.
    #[track_caller]
    pub(crate) fn failed(message: impl Display) -> Self {
        let at = Location::caller();
        let place = if is_of_the_standard_library(at.file()) {
            // If it was passed as a function, the caller's place says nothing.
            String::new()
        } else {
            format!("\n(checked in {}:{})", at.file(), at.line())
        };
        Self::found(message.to_string()).map_text(|text| format!("{text}{place}"))
    }

    /// A failure whose message says where it is from.
    pub(crate) fn found(message: String) -> Self {
        Self::Failed(Box::new(Finding::new(message)))
    }

    /// A failure that is not the store's: it breaks no clause.
    #[track_caller]
    pub(crate) fn failed_beside_the_store(message: impl Display) -> Self {
        Self::failed(message).beside_the_store()
    }

    /// The same failure, as one that is not the store's.
    pub(crate) fn beside_the_store(self) -> Self {
        self.with_broken(Broken::Nothing)
    }

    /// If an operation timed out without a fault, the machine may have been slow.
    pub(crate) fn timed_out_if(self, timed_out: bool) -> Self {
        match self {
            Self::Failed(finding) if timed_out => Self::TimedOut(finding),
            other => other,
        }
    }

    /// Notes the error that came instead of a success, if it says more than the check.
    pub(crate) fn because_of(self, error: &Error) -> Self {
        match error {
            Error::Unsupported { operation, .. } => self.with_broken(Broken::Unsupported(*operation)),
            _ => self,
        }
    }

    /// Sets the clauses of which a failure breaks at least one.
    pub(crate) fn breaking(self, clauses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.with_broken(Broken::Clauses(clauses.into_iter().map(Into::into).collect()))
    }

    /// Changes the text of a failure.
    pub(crate) fn map_text(mut self, text: impl FnOnce(String) -> String) -> Self {
        if let Self::Failed(finding) | Self::TimedOut(finding) = &mut self {
            finding.text = text(mem::take(&mut finding.text));
        }
        self
    }

    fn with_broken(mut self, broken: Broken) -> Self {
        if let Self::Failed(finding) | Self::TimedOut(finding) = &mut self {
            finding.broken = broken;
        }
        self
    }
}

/// What a check found about a failure.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) text: String,
    pub(crate) broken: Broken,
    pub(crate) expected: Option<String>,
    pub(crate) got: Option<String>,
    /// Where it panicked.
    pub(crate) panicked_at: Option<String>,
}

/// The clauses that a failure breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The clause that the check is named after.
    Check,
    /// At least one of these.
    Clauses(Vec<String>),
    /// The store said that it does not support this.
    Unsupported(Capability),
    /// The failure is not the store's.
    Nothing,
}

/// Texts with which a line of a message begins.
pub(super) const EXPECTED: &str = "\nexpected: ";
pub(super) const GOT: &str = "\ngot:      ";
const CLAUSES: &str = "\nclauses:  ";

impl Finding {
    /// Makes a finding of a message that says what was done, and perhaps what was expected and what came. It breaks the clauses that it
    /// names on a line of their own or in brackets, `(E1)` or `(N2, N6)`, but not in what came, which is the store's text.
    fn new(text: String) -> Self {
        let (ours, got) = text.split_once(GOT).map_or((&*text, None), |(ours, got)| (ours, Some(got)));
        let expected = ours.split_once(EXPECTED).map(|(_, expected)| expected.to_owned());
        let (got, named) = match got.and_then(|got| got.split_once(CLAUSES)) {
            Some((got, line)) => (Some(got), clauses_in(line.lines().next().unwrap_or_default())),
            None => (got, ours.split('(').skip(1).flat_map(clauses_alone).collect()),
        };
        let broken = if named.is_empty() { Broken::Check } else { Broken::Clauses(named) };
        let got = got.map(str::to_owned);
        Self { broken, expected, got, panicked_at: None, text }
    }
}

impl From<Panic> for NotPassed {
    /// A panic of the store breaks E4, whatever the check is about.
    fn from(panic: Panic) -> Self {
        let Panic { message, place, fixture, operation } = panic;
        let (who, want) = match (fixture, operation) {
            (Some(doing), _) => (format!("the fixture panicked while {doing}"), "no panic"),
            (None, Some(operation)) => (format!("the store panicked in {operation}"), "no panic (E4)"),
            (None, None) => ("the store panicked".to_owned(), "no panic (E4)"),
        };
        let mut finding = Finding::new(format!("{who}{EXPECTED}{want}{GOT}{message}"));
        if let Some(place) = &place {
            finding.text = format!("{}\n(panicked at {place})", finding.text);
        }
        finding.panicked_at = place;
        finding.broken = if fixture.is_some() { Broken::Nothing } else { Broken::Clauses(vec!["E4".into()]) };
        Self::Failed(Box::new(finding))
    }
}

impl From<Error> for NotPassed {
    #[track_caller]
    fn from(error: Error) -> Self {
        let what = trace::failed_with(&error).unwrap_or_else(|| "an operation".into());
        let failed = Self::failed(format_args!("{what}{EXPECTED}it works{GOT}{}", show_error(&error)));
        failed.because_of(&error).timed_out_if(matches!(error, Error::Timeout(_)))
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
        Self::failed_beside_the_store(format_args!("the fixture failed: {}", show_error(&*error)))
    }
}

impl Display for NotPassed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(finding) | Self::TimedOut(finding) => f.write_str(&finding.text),
            Self::Ignored(reason) => write!(f, "ignored: {reason}"),
            Self::TooSlow => f.write_str("it took too long to tell early from late"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(message: &str) -> Broken {
        Finding::new(message.into()).broken
    }

    fn clauses(of: &[&str]) -> Broken {
        Broken::Clauses(of.iter().map(|&clause| clause.into()).collect())
    }

    #[test]
    fn the_clauses_that_a_message_names_are_those_that_it_breaks() {
        assert_eq!(broken("get\nexpected: None\ngot:      Some"), Broken::Check);
        assert_eq!(broken("get (N2, N6), then\nexpected: an error (N5)\ngot:      Ok"), clauses(&["N2", "N6", "N5"]));
        assert_eq!(broken("get(\"K1\") of (some E1) and (Z9)\nexpected: a\ngot:      b"), Broken::Check);
        // The text after `got:` is the store's, so it names no clause.
        assert_eq!(broken("get\nexpected: a\ngot:      b (K1)"), Broken::Check);
        let of_model = "Get(\"a\")\nexpected: a\ngot:      b\nclauses:  S3, or P1 or V1";
        assert_eq!(broken(of_model), clauses(&["S3", "P1", "V1"]));
        assert_eq!(Finding::new(of_model.into()).got.as_deref(), Some("b"));
    }

    #[test]
    fn a_panic_in_the_standard_library_shows_its_caller() {
        let longest = std::hint::black_box(std::time::Duration::MAX);
        let panic = crate::running::panics::catch(|| longest + longest).unwrap_err();
        let failed = NotPassed::from(panic).to_string();
        let told = failed.rsplit_once("\n(panicked at ").map_or("", |(_, told)| told);
        assert!(failed.contains("overflow when adding durations") && !failed.contains("/rustc/"), "{failed}");
        assert!(told.contains("outcome.rs:") && told.ends_with(", in a call of the standard library)"), "{failed}");
    }

    #[test]
    fn a_place_in_the_standard_library_is_not_shown() {
        let no = std::hint::black_box(Err::<(), _>("no"));
        let failed = no.map_err(NotPassed::failed).unwrap_err().to_string();
        assert!(!failed.contains("/rustc/") && !failed.contains("library"), "{failed}");
        assert!(NotPassed::failed("no").to_string().contains("(checked in "));
    }

    #[test]
    fn what_a_store_does_not_support_breaks_no_clause_of_the_check() {
        let error = Error::unsupported("store", Capability::Touch);
        let NotPassed::Failed(found) = NotPassed::from(error) else { panic!("it has failed") };
        assert_eq!(found.broken, Broken::Unsupported(Capability::Touch));
        let NotPassed::Failed(found) = NotPassed::from(BoxError::from("no (K1)")) else { panic!("it has failed") };
        assert_eq!(found.broken, Broken::Nothing);
    }
}
