//! The smallest part of a history that no order explains, for people to read.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use kv_core::Bytes;

use super::operation::{Action, Held, Operation, letters, show};
use super::search::Search;
use super::{History, Weakness};

/// The proof that a history has no order: a part of it that has no order by itself, and the operation in it whose answer is impossible.
///
/// It ends at the earliest moment at which no order was left; operations that had not returned by then have no answer. It leaves out what
/// was before the last writes, if there was a moment without running operations in between: instead it says what the key could hold at that
/// moment. It leaves out operations that changed nothing, if there is no order without them either. What remains is a proof by itself.
///
/// [`Display`](fmt::Display) shows a line per operation, in the order of the calls.
#[derive(Clone)]
pub struct Contradiction {
    history: History,
    at: usize,
    could_hold: Vec<Held>,
    weaknesses: Vec<Weakness>,
    /// Whether it is a read of a store whose reads may return older values.
    stale: bool,
}

impl Contradiction {
    /// The proof for the operation at which the search found that no order is left.
    pub(super) fn new(history: &History, at: usize, weaknesses: &[Weakness]) -> Self {
        let mut least = until(history, at);
        least = since_last_writes(least, weaknesses);
        least = without_idle(least, weaknesses);
        least = since_last_writes(least, weaknesses);
        // The operation that returned last is the one that no order explains. A smaller history must still end with it.
        let at = Search::of(&least, weaknesses).fails_at.unwrap_or_default();
        Self {
            could_hold: could_hold(&least, at, weaknesses),
            history: least,
            at,
            weaknesses: weaknesses.to_vec(),
            stale: false,
        }
    }

    /// The proof for a read whose answer was never possible.
    pub(super) fn of_read(read: History, could_hold: Vec<Held>, weaknesses: &[Weakness]) -> Self {
        Self { history: read, at: 0, could_hold, weaknesses: weaknesses.to_vec(), stale: true }
    }

    /// The part of the history that proves it.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The operation whose answer no order explains. It is one of those of [`history`](Self::history).
    pub fn operation(&self) -> Option<&Operation> {
        self.history.operations.get(self.at)
    }

    /// All that the key could hold at that operation, in orders that explain every earlier answer.
    pub fn could_hold(&self) -> &[Held] {
        &self.could_hold
    }

    /// The clauses of the contract that this breaks.
    pub fn clauses(&self) -> &'static [&'static str] {
        match self.operation().map(|operation| &operation.action) {
            Some(Action::Create(..)) => &["P4"],
            Some(Action::Delete(_)) => &["D1"],
            _ => &["P1", "P3"],
        }
    }

    /// The answers that an order would have explained.
    fn expected(&self) -> String {
        match self.operation().map(|operation| &operation.action) {
            Some(Action::Create(_, answer) | Action::Delete(answer) | Action::Contains(answer)) => {
                (!answer).to_string()
            }
            _ => either(&self.could_hold),
        }
    }
}

/// The history until an operation returned. Operations that had not returned by then have no answer. A write that turns out later to have
/// changed nothing is left out, because without its answer it could explain what it did not cause.
fn until(history: &History, at: usize) -> History {
    let end = history.operations.get(at).and_then(|operation| operation.ended).unwrap_or(Duration::MAX);
    let begun = history.operations.iter().enumerate().take_while(|(_, operation)| operation.began <= end);
    let cut = begun.filter_map(|(n, operation)| {
        // If several returned at the same time, the search took the first one first.
        let ended = operation.ended.filter(|ended| (*ended, n) <= (end, at));
        let never_mattered = ended != operation.ended && operation.action.changed_nothing();
        (!never_mattered).then(|| Operation { ended, ..operation.clone() })
    });
    History { operations: cut.collect(), ..history.clone() }
}

/// The history since the last moment without running operations that still has a write after it, besides the failing operation. Without a
/// write, nobody would see why the operation fails.
fn since_last_writes(history: History, weaknesses: &[Weakness]) -> History {
    let Search { fails_at: Some(at), quiet } = Search::of(&history, weaknesses) else { return history };
    let writes = |begun: usize| {
        let rest = history.operations.iter().enumerate().skip(begun);
        rest.filter(|(n, operation)| *n != at && !operation.action.changed_nothing()).count()
    };
    let Some(last) = quiet.into_iter().rev().find(|quiet| writes(quiet.begun) > 0) else { return history };
    let operations = history.operations.iter().skip(last.begun).cloned().collect();
    History { at_first: last.held, operations, ..history }
}

/// The history without operations that changed nothing, as long as there is no order without them either. This first tries to leave out
/// many at once, then fewer, because of thousands only few are needed.
fn without_idle(mut history: History, weaknesses: &[Weakness]) -> History {
    let is_idle = |operation: &Operation| operation.action.changed_nothing() && operation.ended.is_some();
    let mut many = history.operations.len();
    while many > 0 {
        let mut from = 0;
        while from < history.operations.len() {
            let mut without = history.clone();
            let mut at = 0..;
            without.operations.retain(|operation| {
                let in_part = at.next().is_some_and(|at| (from..from + many).contains(&at));
                !(in_part && is_idle(operation))
            });
            let is_less = without.operations.len() < history.operations.len();
            if is_less && Search::of(&without, weaknesses).fails_at.is_some() {
                from += many - (history.operations.len() - without.operations.len()).min(many);
                history = without;
            } else {
                from += many;
            }
        }
        many /= 2;
    }
    history
}

/// What a read at the place of this operation could have returned.
fn could_hold(history: &History, at: usize, weaknesses: &[Weakness]) -> Vec<Held> {
    // Values that were certainly overwritten need not be tried.
    let before = history.operations.get(at).map(|operation| operation.began).unwrap_or_default();
    let puts = history.operations.iter().filter(|operation| matches!(operation.action, Action::Put(_)));
    let last = puts.filter(|put| put.ended.is_some_and(|ended| ended < before)).map(|put| put.began).max();
    let is_stale = |operation: &Operation| {
        !weaknesses.contains(&Weakness::StaleReads) && operation.ended.is_some_and(|ended| Some(ended) < last)
    };
    let written = history.operations.iter().filter(|operation| !is_stale(operation));
    let written = written.filter_map(|operation| Some(operation.action.value()?.clone()));
    let mut could = history.at_first.iter().cloned().chain([None]).chain(written.map(Some)).collect::<Vec<_>>();
    could.sort_unstable();
    could.dedup();
    // The states for which an operation with a yes-or-no answer would have given the other answer.
    let is_other = |held: Option<&Bytes>| match history.operations.get(at).map(|operation| &operation.action) {
        Some(Action::Create(_, created)) => held.is_some() == *created,
        Some(Action::Delete(was) | Action::Contains(was)) => held.is_some() != *was,
        _ => true,
    };
    could.retain(|held| {
        let mut asked = history.clone();
        if let Some(operation) = asked.operations.get_mut(at) {
            operation.action = Action::Get(held.clone());
        }
        is_other(held.as_ref()) && Search::of(&asked, weaknesses).fails_at.is_none()
    });
    could
}

/// One of several values, in words.
fn either(held: &[Held]) -> String {
    const SHOWN: usize = 6;
    let mut shown = held.iter().take(SHOWN).map(|held| show(held.as_ref())).collect::<Vec<_>>();
    if held.len() > SHOWN {
        shown.push(format!("one of {} others", held.len() - SHOWN));
    }
    match shown.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "nothing that it ever held".to_owned(),
    }
}

/// The title, the operations, and what was expected instead of the marked answer.
impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the history of {:?}: no order of these operations explains the answer that is marked",
            self.history.key.as_str()
        )?;
        for weakness in &self.weaknesses {
            write!(f, ",\nalthough {weakness}")?;
        }
        let table = Table::of(&self.history);
        writeln!(f, "\n{}", table.heading())?;
        if !self.stale {
            writeln!(f, "{}it holds {}", table.margin("at first"), either(&self.history.at_first))?;
        }
        let when = if self.stale { "until here" } else { "here" };
        for (at, operation) in self.history.operations.iter().enumerate() {
            let line = table.line(operation);
            if at == self.at {
                writeln!(f, "{line}   ← {when} it could hold {}", either(&self.could_hold))?;
            } else {
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        let got = self.operation().map(|operation| operation.action.answer()).unwrap_or_default();
        write!(f, "expected: {}\ngot:      {got}", self.expected())
    }
}

/// The same as `Display`, because `?` in a test shows this.
impl fmt::Debug for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Contradiction {}

/// A table of operations, with columns as wide as their content.
struct Table {
    /// When the first operation began. Times are shown relative to it.
    start: Duration,
    /// The number of digits after the point of a microsecond: none, unless different moments would look the same.
    digits: usize,
    time: usize,
    thread: usize,
    action: usize,
    answer: usize,
}

const NO_ANSWER: &str = "no answer";

impl Table {
    fn of(history: &History) -> Self {
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
        table.action = operations.iter().map(|operation| width(operation.action.to_string())).max().unwrap_or_default();
        table.answer = operations.iter().map(|operation| width(answer(operation))).max().unwrap_or_default();
        table
    }

    /// A moment, in microseconds since the first operation.
    fn time(&self, at: Duration) -> String {
        let nanoseconds = at.saturating_sub(self.start).as_nanos();
        let whole = nanoseconds / 1000;
        if self.digits == 0 { whole.to_string() } else { format!("{whole}.{:03}", nanoseconds % 1000) }
    }

    fn heading(&self) -> String {
        let times = 2 * self.time + 3;
        format!("  {:>times$}  thread", "µs")
    }

    /// The text before an operation that has no thread.
    fn margin(&self, text: &str) -> String {
        let width = 2 * self.time + 3 + 2 + self.thread + 2;
        format!("  {text:<width$}")
    }

    fn line(&self, operation: &Operation) -> String {
        let (time, thread, action, width) = (self.time, self.thread, self.action, self.answer);
        let began = self.time(operation.began);
        let ended = operation.ended.map(|ended| self.time(ended)).unwrap_or_default();
        format!(
            "  {began:>time$} – {ended:>time$}  {:<thread$}  {:<action$}  {:<width$}",
            letters(operation.thread),
            operation.action.to_string(),
            answer(operation)
        )
    }
}

fn answer(operation: &Operation) -> String {
    if operation.ended.is_some() { operation.action.answer() } else { NO_ANSWER.to_owned() }
}
