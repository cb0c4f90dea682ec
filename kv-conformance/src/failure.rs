//! What a check has found, told to the author of a backend.

use std::error::Error as StdError;
use std::fmt::{self, Debug, Display};
use std::mem;
use std::panic::Location;

use kv_core::{Capability, Error, InvalidKey};

use crate::panics::Panic;
use crate::{BoxError, trace};

/// The outcome of a check: passed, or why not.
pub type Outcome<T = ()> = Result<T, NotPassed>;

/// Why a check has not passed.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotPassed {
    /// The store does something else than the contract says.
    Failed(Box<Finding>),
    /// The fixture lacks something that the check needs.
    Ignored(String),
    /// In real time, the machine was too slow for the lifetimes of the check to tell anything: to be repeated with
    /// longer ones.
    TooSlow,
    /// An operation timed out that nothing was in the way of: if it does so again it is a failure.
    TimedOut(Box<Finding>),
}

impl NotPassed {
    /// A failure with a message of its own.
    #[track_caller]
    pub(crate) fn failed(message: impl Display) -> Self {
        let at = Location::caller();
        let place = if is_of_the_standard_library(at.file()) {
            // Handed over as a function, it was called from there: the place says nothing.
            String::new()
        } else {
            format!("\n(checked in {}:{})", at.file(), at.line())
        };
        Self::found(message.to_string()).map_text(|text| format!("{text}{place}"))
    }

    /// A failure that says where it is from itself.
    pub(crate) fn found(message: String) -> Self {
        Self::Failed(Box::new(Finding::new(message)))
    }

    /// A failure that is not the store's: it breaks no clause.
    #[track_caller]
    pub(crate) fn failed_beside_the_store(message: impl Display) -> Self {
        Self::failed(message).blaming(Blame::Nothing)
    }

    /// If an operation timed out that nothing was in the way of, the machine may have been slow.
    pub(crate) fn timed_out_if(self, timed_out: bool) -> Self {
        match self {
            Self::Failed(finding) if timed_out => Self::TimedOut(finding),
            other => other,
        }
    }

    /// If it was this error that came in place of a success, which says more than the check.
    pub(crate) fn because_of(self, error: &Error) -> Self {
        match error {
            Error::Unsupported { operation, .. } => self.blaming(Blame::Unsupported(*operation)),
            _ => self,
        }
    }

    /// These clauses, or one of them at least, are what a failure breaks.
    pub(crate) fn breaking(self, clauses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.blaming(Blame::Clauses(clauses.into_iter().map(Into::into).collect()))
    }

    /// Tells a failure in other words.
    pub(crate) fn map_text(mut self, text: impl FnOnce(String) -> String) -> Self {
        if let Self::Failed(finding) | Self::TimedOut(finding) = &mut self {
            finding.text = text(mem::take(&mut finding.text));
        }
        self
    }

    fn blaming(mut self, blame: Blame) -> Self {
        if let Self::Failed(finding) | Self::TimedOut(finding) = &mut self {
            finding.blame = blame;
        }
        self
    }
}

/// What a check has found: of a failure.
#[derive(Clone, Debug)]
pub struct Finding {
    pub(crate) text: String,
    pub(crate) blame: Blame,
    pub(crate) expected: Option<String>,
    pub(crate) got: Option<String>,
    /// Where it panicked.
    pub(crate) panicked_at: Option<String>,
}

/// What a failure breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The clause that the check is named after.
    Check,
    /// One of these at least.
    Clauses(Vec<String>),
    /// The store said that it does not support this.
    Unsupported(Capability),
    /// It is not the store's.
    Nothing,
}

/// What begins a line of a message.
const EXPECTED: &str = "\nexpected: ";
const GOT: &str = "\ngot:      ";
const CLAUSES: &str = "\nclauses:  ";

impl Finding {
    /// Of a message that says what was done, and then perhaps what was expected and what came. The clauses that it breaks are those
    /// that it names: in a line of their own, or in brackets, `(E1)` or `(N2, N6)`, before what came, which is the store's.
    fn new(text: String) -> Self {
        let (ours, got) = text.split_once(GOT).map_or((&*text, None), |(ours, got)| (ours, Some(got)));
        let expected = ours.split_once(EXPECTED).map(|(_, expected)| expected.to_owned());
        let (got, named) = match got.and_then(|got| got.split_once(CLAUSES)) {
            Some((got, line)) => (Some(got), clauses_in(line.lines().next().unwrap_or_default())),
            None => (got, ours.split('(').skip(1).flat_map(clauses_alone).collect()),
        };
        let blame = if named.is_empty() { Blame::Check } else { Blame::Clauses(named) };
        let got = got.map(str::to_owned);
        Self { blame, expected, got, panicked_at: None, text }
    }
}

/// Whether a source file is one of the standard library's: as it is distributed, or as it was compiled.
pub(crate) fn is_of_the_standard_library(file: &str) -> bool {
    file.starts_with("/rustc/") || file.contains("/lib/rustlib/src/rust/library/")
}

/// The clauses in the text before a bracket closes, if there is nothing else.
fn clauses_alone(text: &str) -> Vec<String> {
    let named = text.split_once(')').map_or("", |(named, _)| named);
    if named.split(", ").all(is_clause) { clauses_in(named) } else { Vec::new() }
}

/// The clauses among the words of a text, each once.
fn clauses_in(text: &str) -> Vec<String> {
    let mut clauses = Vec::<String>::new();
    for word in text.split([' ', ',']).filter(|word| is_clause(word)) {
        if !clauses.iter().any(|known| known == word) {
            clauses.push(word.into());
        }
    }
    clauses
}

fn is_clause(word: &str) -> bool {
    kv_core::contract::TEXT.contains(&format!("\n- **{word}** "))
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
        finding.blame = if fixture.is_some() { Blame::Nothing } else { Blame::Clauses(vec!["E4".into()]) };
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
            Self::Failed(finding) | Self::TimedOut(finding) => f.write_str(&finding.text),
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

    fn blame(message: &str) -> Blame {
        Finding::new(message.into()).blame
    }

    fn clauses(of: &[&str]) -> Blame {
        Blame::Clauses(of.iter().map(|&clause| clause.into()).collect())
    }

    #[test]
    fn the_clauses_that_a_message_names_are_those_that_it_breaks() {
        assert_eq!(blame("get\nexpected: None\ngot:      Some"), Blame::Check);
        assert_eq!(blame("get (N2, N6), then\nexpected: an error (N5)\ngot:      Ok"), clauses(&["N2", "N6", "N5"]));
        assert_eq!(blame("get(\"K1\") of (some E1) and (Z9)\nexpected: a\ngot:      b"), Blame::Check);
        // What came is the store's.
        assert_eq!(blame("get\nexpected: a\ngot:      b (K1)"), Blame::Check);
        let of_model = "Get(\"a\")\nexpected: a\ngot:      b\nclauses:  S3, or P1 or V1";
        assert_eq!(blame(of_model), clauses(&["S3", "P1", "V1"]));
        assert_eq!(Finding::new(of_model.into()).got.as_deref(), Some("b"));
    }

    #[test]
    fn of_a_panic_in_the_standard_library_the_caller_is_told() {
        let longest = std::hint::black_box(std::time::Duration::MAX);
        let panic = crate::panics::catch(|| longest + longest).unwrap_err();
        let failed = NotPassed::from(panic).to_string();
        let told = failed.rsplit_once("\n(panicked at ").map_or("", |(_, told)| told);
        assert!(failed.contains("overflow when adding durations") && !failed.contains("/rustc/"), "{failed}");
        assert!(told.contains("failure.rs:") && told.ends_with(", in a call of the standard library)"), "{failed}");
    }

    #[test]
    fn a_place_in_the_standard_library_is_not_told() {
        let no = std::hint::black_box(Err::<(), _>("no"));
        let failed = no.map_err(NotPassed::failed).unwrap_err().to_string();
        assert!(!failed.contains("/rustc/") && !failed.contains("library"), "{failed}");
        assert!(NotPassed::failed("no").to_string().contains("(checked in "));
    }

    #[test]
    fn what_a_store_does_not_support_breaks_no_clause_of_the_check() {
        let error = Error::unsupported("store", Capability::Touch);
        let NotPassed::Failed(found) = NotPassed::from(error) else { panic!("it has failed") };
        assert_eq!(found.blame, Blame::Unsupported(Capability::Touch));
        let NotPassed::Failed(found) = NotPassed::from(BoxError::from("no (K1)")) else { panic!("it has failed") };
        assert_eq!(found.blame, Blame::Nothing);
    }
}
