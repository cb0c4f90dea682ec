//! The last operations of a check, for the message of its failure.
//!
//! Each thread notes its own operations, so that no thread waits for another, and races remain possible.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use kv_core::Error;

use super::show::kind_of;

/// How many operations are remembered, and how many of them are shown.
pub(super) const REMEMBERED: usize = 512;
const SHOWN: usize = 8;

thread_local! {
    static LAST: RefCell<VecDeque<Done>> = const { RefCell::new(VecDeque::new()) };
    /// How many operations there were.
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// Where this thread runs, if that matters: words after an operation.
    static LOCATION: Cell<&'static str> = const { Cell::new("") };
}

/// An operation. One without keys concerns all of them.
struct Done {
    keys: Vec<String>,
    text: String,
    /// The result of the operation, if it has returned.
    came: Option<String>,
    number: usize,
    /// Whether this is not an operation, but time that passed.
    is_wait: bool,
    /// How often in a row. Otherwise a check that repeats an operation until something happens would push out the operations before.
    times: usize,
}

impl Done {
    fn shown(&self) -> String {
        if self.is_wait {
            return self.text.clone();
        }
        let times = if self.times > 1 { format!(" ({} times)", self.times) } else { String::new() };
        format!("{} -> {}{times}", self.text, self.came.as_deref().unwrap_or("panicked"))
    }
}

/// Forgets what this thread has done.
pub(crate) fn forget() {
    LAST.with_borrow_mut(VecDeque::clear);
}

/// The operation of this thread that was the last to begin, if it has not returned.
pub(crate) fn unfinished() -> Option<String> {
    LAST.with_borrow(|last| last.back().filter(|last| last.came.is_none()).map(|last| last.text.clone()))
}

/// The last operation of this thread, if it failed with this error.
pub(crate) fn failed_with(error: &Error) -> Option<String> {
    let came = failed(error);
    LAST.with_borrow(|last| last.back().filter(|last| last.came.as_ref() == Some(&came)).map(|last| last.text.clone()))
}

/// Notes that time has passed for the store.
pub(crate) fn waited(time: Duration) {
    let text = format!("({time:?} pass)");
    add(Done { keys: Vec::new(), text, came: Some(String::new()), number: 0, is_wait: true, times: 1 });
}

fn add(done: Done) {
    LAST.with_borrow_mut(|last| {
        if last.len() == REMEMBERED {
            last.pop_front();
        }
        last.push_back(done);
    });
}

pub(super) fn failed(error: &Error) -> String {
    format!("Err({})", kind_of(error))
}

/// Notes that this thread begins an operation on these keys, or on all keys. Returns the number of the operation.
pub(super) fn begin(keys: Vec<String>, text: String) -> usize {
    let number = COUNT.replace(COUNT.get() + 1);
    add(Done { keys, text, came: None, number, is_wait: false, times: 1 });
    number
}

/// Notes the result of the operation with this number. It need not be the last operation: a reader that the store reads from may have used
/// the store meanwhile.
pub(super) fn end(number: usize, came: String) {
    LAST.with_borrow_mut(|last| {
        if let Some(done) = last.iter_mut().rev().find(|done| done.number == number) {
            done.came = Some(came);
        }
    });
}

/// Counts the last operation with the one before it, if both are the same.
pub(super) fn merge_repeated() {
    LAST.with_borrow_mut(|last| {
        if let [.., before, done] = last.make_contiguous()
            && (&before.text, &before.came) == (&done.text, &done.came)
        {
            before.times += done.times;
            last.pop_back();
        }
    });
}

/// Sets where this thread runs from now on.
#[cfg(feature = "tokio")]
pub(crate) fn set_location(location: &'static str) {
    LOCATION.set(location);
}

/// The operation, and where it runs.
pub(crate) fn located(what: &str) -> String {
    format!("{what}{}", LOCATION.get())
}

/// Notes something that is not an operation of a store, and runs it.
#[cfg(feature = "tokio")]
pub(crate) fn doing<T>(text: String, run: impl FnOnce() -> T) -> T {
    let number = begin(Vec::new(), text);
    let result = run();
    end(number, "done".into());
    result
}

/// The last operations of this thread on the keys of the last one, or on keys that were copied there, a line for each.
pub(crate) fn sequence() -> String {
    let done = LAST.with_borrow_mut(mem::take);
    let last = done.iter().rev().find(|done| !done.is_wait);
    let mut keys = last.map(|last| last.keys.clone()).unwrap_or_default();
    let mut shown = Vec::new();
    for done in done.into_iter().rev() {
        let of = &done.keys;
        if keys.is_empty() || of.is_empty() || of.iter().any(|key| keys.contains(key)) {
            shown.push(format!("\n  {}", done.shown()));
            if !keys.is_empty() && of.len() == 2 {
                keys.extend(of.iter().cloned());
            }
        }
    }
    if shown.is_empty() {
        return String::new();
    }
    shown.truncate(SHOWN);
    shown.reverse();
    format!("\nthe last of what was done:{}", shown.concat())
}
