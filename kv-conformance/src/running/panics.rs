//! Panics of a store or of a fixture: caught, with message and place, and not printed in the middle of other tests.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
use std::thread;

use super::source::is_of_the_standard_library;
use super::trace;

thread_local! {
    /// Whether a check runs on this thread, so that its panics are caught.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    /// What the fixture is doing on this thread. If nothing, it is the store that runs.
    static FIXTURE: Cell<Option<&'static str>> = const { Cell::new(None) };
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// A caught panic.
#[derive(Debug)]
pub(crate) struct Panic {
    pub(crate) message: String,
    /// File, line and column. A payload that was passed on with `resume_unwind` has none.
    pub(crate) place: Option<String>,
    /// What the fixture was doing, if it was the fixture.
    pub(crate) fixture: Option<&'static str>,
    /// The operation of the store that has not returned.
    pub(crate) operation: Option<String>,
}

/// Runs this, and catches its panic.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !keep(info) {
                previous(info);
            }
        }));
    });
    let outer = WATCHED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    WATCHED.set(outer);
    result.map_err(|payload| {
        let unseen = || Panic { message: message(&*payload).into(), place: None, fixture: None, operation: None };
        Panic { operation: trace::unfinished(), ..LAST.take().unwrap_or_else(unseen) }
    })
}

/// The result of a thread that ran [`catch`].
pub(crate) fn joined<T>(result: thread::Result<Result<T, Panic>>) -> Result<T, Panic> {
    result.unwrap_or_else(|payload| {
        Err(Panic { message: message(&*payload).into(), place: None, fixture: None, operation: None })
    })
}

/// Runs a part of the fixture, not of the store.
pub(crate) fn in_fixture<T>(doing: &'static str, run: impl FnOnce() -> T) -> T {
    struct Before(Option<&'static str>);
    impl Drop for Before {
        fn drop(&mut self) {
            FIXTURE.set(self.0);
        }
    }
    let _before = Before(FIXTURE.replace(Some(doing)));
    run()
}

/// Keeps a panic if a check runs on this thread. A thread that is ending no longer has these variables.
fn keep(info: &PanicHookInfo<'_>) -> bool {
    if !WATCHED.try_with(Cell::get).unwrap_or(false) {
        return false;
    }
    let panic = Panic {
        message: message(info.payload()).into(),
        place: info.location().map(|at| place(at.file(), at.to_string())),
        fixture: FIXTURE.try_with(Cell::get).unwrap_or_default(),
        operation: None,
    };
    LAST.try_with(|last| last.replace(Some(panic))).is_ok()
}

/// The place of a panic. If it is in the standard library, this is the place of the caller, if known.
fn place(file: &str, place: String) -> String {
    if !is_of_the_standard_library(file) {
        return place;
    }
    let trace = Backtrace::force_capture().to_string();
    let frames = trace.lines().filter_map(|line| line.trim().strip_prefix("at "));
    // The frames of the hook come first, which std calls when it panics, and then those of the panic.
    let mut callers = frames.skip_while(|frame| !frame.contains("library/std/src/panicking.rs"));
    let caller = callers.find(|frame| !is_of_the_standard_library(frame));
    // Without debug information the caller is missing, and the next caller says nothing.
    let caller = caller.filter(|frame| frame.contains(".rs:") && !frame.contains("src/running/panics.rs"));
    caller.map_or_else(|| place.clone(), |caller| format!("{caller}, in a call of the standard library"))
}

fn message(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_message_and_place() {
        let panic = catch(|| panic!("at {}", "sea")).unwrap_err();
        assert_eq!((panic.message.as_str(), panic.fixture), ("at sea", None));
        let place = panic.place.unwrap();
        assert!(place.starts_with(file!()) && place.contains(".rs:"), "{place}");
        assert!(!WATCHED.get());
    }

    #[test]
    fn a_panic_of_the_fixture_says_so_and_what_follows_does_not() {
        let panic = catch(|| in_fixture("was made", || panic!("no")));
        assert_eq!(panic.unwrap_err().fixture, Some("was made"));
        let panic = catch(|| panic!("store"));
        assert_eq!(panic.unwrap_err().fixture, None);
    }

    #[test]
    fn what_a_check_catches_itself_is_not_taken_for_its_own_end() {
        let caught = catch(|| catch_unwind(|| panic!("on purpose")).is_err());
        assert_eq!(caught.ok(), Some(true));
        assert_eq!(catch(|| panic!("the store")).unwrap_err().message, "the store");
    }
}
