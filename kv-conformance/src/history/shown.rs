//! Histories as tables, for a person to read.

use std::time::Duration;

use super::History;
use super::operation::{Operation, letters};

/// A table of operations: the columns as wide as what is in them.
pub(super) struct Table {
    /// When the first one began: times are shown from there.
    start: Duration,
    /// The digits after the point of a microsecond: none, unless moments would look the same that are not.
    digits: usize,
    time: usize,
    thread: usize,
    action: usize,
    answer: usize,
}

const NO_ANSWER: &str = "no answer";

impl Table {
    pub(super) fn of(history: &History) -> Self {
        let operations = &history.operations;
        let start = operations.first().map(|operation| operation.began).unwrap_or_default();
        let mut times = operations
            .iter()
            .flat_map(|operation| [Some(operation.began), operation.ended])
            .flatten()
            .collect::<Vec<_>>();
        times.sort_unstable();
        times.dedup();
        let exact = times.windows(2).all(|pair| match pair {
            [one, next] => one.saturating_sub(start).as_micros() < next.saturating_sub(start).as_micros(),
            _ => true,
        });
        let mut table = Self { start, digits: if exact { 0 } else { 3 }, time: 0, thread: 6, action: 0, answer: 0 };
        table.time = times.last().map_or(0, |last| table.time(*last).len()).max(2);
        let width = |text: String| text.chars().count();
        table.action = operations.iter().map(|operation| width(operation.to_string())).max().unwrap_or_default();
        table.answer = operations.iter().map(|operation| width(answer(operation))).max().unwrap_or_default();
        table
    }

    /// A moment, in microseconds from the first operation on.
    fn time(&self, at: Duration) -> String {
        let nanoseconds = at.saturating_sub(self.start).as_nanos();
        let whole = nanoseconds / 1000;
        if self.digits == 0 { whole.to_string() } else { format!("{whole}.{:03}", nanoseconds % 1000) }
    }

    pub(super) fn heading(&self) -> String {
        let times = 2 * self.time + 3;
        format!("  {:>times$}  thread", "µs")
    }

    /// What comes before what was done, where there is no thread.
    pub(super) fn margin(&self, text: &str) -> String {
        let width = 2 * self.time + 3 + 2 + self.thread + 2;
        format!("  {text:<width$}")
    }

    pub(super) fn line(&self, operation: &Operation) -> String {
        let (time, thread, action, width) = (self.time, self.thread, self.action, self.answer);
        let began = self.time(operation.began);
        let ended = operation.ended.map(|ended| self.time(ended)).unwrap_or_default();
        format!(
            "  {began:>time$} – {ended:>time$}  {:<thread$}  {:<action$}  {:<width$}",
            letters(operation.thread),
            operation.to_string(),
            answer(operation)
        )
    }
}

fn answer(operation: &Operation) -> String {
    if operation.ended.is_some() { operation.action.answer() } else { NO_ANSWER.to_owned() }
}
