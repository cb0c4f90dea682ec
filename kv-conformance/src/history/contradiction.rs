//! The smallest part of a history that no order explains, for people to read.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use kv_core::{Bytes, Remaining, Ttl};

use super::counters;
use super::operation::{Action, Held, Operation, show, show_sum, show_ttl};
use super::search::Search;
use super::shown::Table;
use super::ttls::remaining;
use super::{History, Start, Weakness};

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
    /// What `ttl` could tell, if that is what failed.
    could_tell: Vec<Option<Remaining>>,
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
            could_tell: could_tell(&least, at, weaknesses),
            history: least,
            at,
            weaknesses: weaknesses.to_vec(),
            stale: false,
        }
    }

    /// Of a read that tells of no time that was.
    pub(super) fn of_read(read: History, weaknesses: &[Weakness]) -> Self {
        let could_tell =
            read.at_first.iter().map(|start| start.held.as_ref().map(|_| remaining(start.ttl.unwrap_or_default())));
        let (mut could_hold, mut could_tell) = (held(&read.at_first), could_tell.collect::<Vec<_>>());
        could_hold.dedup();
        could_tell.sort_unstable_by_key(|told| told.map(|told| (told == Remaining::Forever, told.duration())));
        could_tell.dedup();
        Self { history: read, at: 0, could_hold, could_tell, weaknesses: weaknesses.to_vec(), stale: true }
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

    /// The clauses of the contract that this breaks, one of them at least.
    pub fn clauses(&self) -> Vec<&'static str> {
        let failed: &[&str] = match self.operation().map(|operation| (&operation.action, operation.call)) {
            Some((Action::Create(..), _)) => &["P4"],
            Some((Action::PutIf { .. } | Action::DeleteIf(..), _)) => &["U1"],
            Some((Action::Take(_), _)) => &["U4"],
            Some((Action::GetAndTouch(..), _)) => &["P1", "T6"],
            Some((Action::Increment { .. }, _)) => &["U5"],
            Some((Action::Touch(Ttl::After(Duration::ZERO), _) | Action::Delete(_), _)) => &["D1"],
            Some((Action::Touch(..), _)) => &["T6"],
            Some((Action::Ttl(_), _)) => &["P2", "T6"],
            Some((Action::RenamedAway(_), _) | (_, "rename")) => &["C2"],
            Some((Action::CopiedHere { .. }, _) | (_, "copy")) => &["C1"],
            Some((Action::Contains(_), call)) if call != Action::Contains(true).name() => &["L1"],
            _ => &["P1", "P3"],
        };
        // What others did to the key may be what broke it.
        let others = self.history.operations.iter().enumerate().filter(|(n, _)| *n != self.at);
        let others = others.filter_map(|(_, operation)| match &operation.action {
            Action::Create(.., true) => Some("P4"),
            Action::PutIf { stored: true, .. } | Action::DeleteIf(_, true) => Some("U1"),
            Action::Take(Some(_)) => Some("U4"),
            Action::Increment { sum: Some(_), .. } => Some("U5"),
            Action::Touch(_, true) | Action::GetAndTouch(_, Some(_)) => Some("T6"),
            Action::CopiedHere { .. } | Action::RenamedAway(_) => Some("C2"),
            _ => None,
        });
        let mut clauses = failed.iter().copied().chain(others).collect::<Vec<_>>();
        clauses.sort_unstable();
        clauses.dedup();
        clauses
    }

    /// The answers that an order would have explained.
    fn expected(&self) -> String {
        match self.operation().map(|operation| &operation.action) {
            Some(
                Action::Create(.., answer)
                | Action::Delete(answer)
                | Action::PutIf { stored: answer, .. }
                | Action::DeleteIf(_, answer)
                | Action::Touch(_, answer)
                | Action::Contains(answer),
            ) => (!answer).to_string(),
            Some(Action::Ttl(_)) => either(&self.could_tell.iter().map(|told| show_ttl(*told)).collect::<Vec<_>>()),
            Some(Action::Increment { by, .. }) => {
                let sum = |held: &Held| show_sum(sum_of(held.as_ref(), *by).map(counters::text).as_ref());
                either(&self.could_hold.iter().map(sum).collect::<Vec<_>>())
            }
            Some(Action::CopiedHere { .. }) => "NotFound: no such entry was ever written".to_owned(),
            Some(Action::RenamedAway(None)) => "NotFound".to_owned(),
            _ => self.values(),
        }
    }

    /// What the key could hold, in words.
    fn values(&self) -> String {
        either(&self.could_hold.iter().map(|held| show(held.as_ref())).collect::<Vec<_>>())
    }

    /// What it could hold, or what its TTL could be, in words.
    fn could(&self) -> String {
        match self.operation().map(|operation| &operation.action) {
            Some(Action::Ttl(Some(_))) if !self.could_tell.is_empty() => format!("have the TTL {}", self.expected()),
            _ => format!("hold {}", self.values()),
        }
    }

    /// What is wrong with a value that looks like one that was written.
    fn difference(&self) -> Option<String> {
        let got = self.operation()?.action.seen()?;
        let written = || self.history.operations.iter().flat_map(|operation| operation.action.values());
        let looks_alike =
            |value: &&Bytes| *value != got && value.get(..ALIKE).is_some() && value.get(..ALIKE) == got.get(..ALIKE);
        if written().any(|value| value == got) {
            return None;
        }
        let alike = written().find(looks_alike)?;
        let at = alike.iter().zip(got).position(|(one, other)| one != other).unwrap_or(alike.len().min(got.len()));
        Some(format!("nobody wrote that: it begins like {}, and is different from byte {at} on", show(Some(alike))))
    }
}

/// What `increment` makes of what the key holds, if that is a counter.
fn sum_of(held: Option<&Bytes>, by: u32) -> Option<u64> {
    held.map_or(Some(by.into()), |held| counters::sum(counters::number(held)?, by))
}

/// How long the same beginning of two values is that look alike.
const ALIKE: usize = 8;

/// What was held, without the TTLs.
fn held(starts: &[Start]) -> Vec<Held> {
    let mut held = starts.iter().map(|start| start.held.clone()).collect::<Vec<_>>();
    held.sort_unstable();
    held.dedup();
    held
}

/// The history until an operation returned. Operations that had not returned by then have no answer. A write that turns out later to have
/// changed nothing is left out, because without its answer it could explain what it did not cause.
fn until(history: &History, at: usize) -> History {
    let end = history.operations.get(at).and_then(|operation| operation.ended).unwrap_or(Duration::MAX);
    let begun = history.operations.iter().enumerate().take_while(|(_, operation)| operation.began <= end);
    let cut = begun.filter_map(|(n, operation)| {
        // Of those that returned at the same time the search took the first one first.
        // What an operation has moved, taken, touched or counted limits what it can do, too.
        let is_limited = match &operation.action {
            Action::RenamedAway(seen) | Action::Take(seen) | Action::GetAndTouch(_, seen) => seen.is_some(),
            Action::Increment { sum, .. } => sum.is_some(),
            _ => false,
        };
        let ended = operation.ended.filter(|ended| is_limited || (*ended, n) <= (end, at));
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
    let puts = history.operations.iter().filter(|operation| matches!(operation.action, Action::Put(..)));
    let last = puts.filter(|put| put.ended.is_some_and(|ended| ended < before)).map(|put| put.began).max();
    let is_stale = |operation: &Operation| {
        !weaknesses.contains(&Weakness::StaleReads) && operation.ended.is_some_and(|ended| Some(ended) < last)
    };
    let written = history.operations.iter().filter(|operation| !is_stale(operation));
    let written = written.flat_map(|operation| operation.action.values()).cloned().map(Some);
    let at_first = history.at_first.iter().map(|start| start.held.clone());
    let mut could = at_first.chain([None]).chain(written).collect::<Vec<_>>();
    could.sort_unstable();
    could.dedup();
    // The states for which an operation with a yes-or-no answer would have given the other answer.
    let is_other = |held: Option<&Bytes>| match history.operations.get(at).map(|operation| &operation.action) {
        Some(Action::Create(.., created)) => held.is_some() == *created,
        Some(Action::Delete(was) | Action::Touch(_, was) | Action::Contains(was)) => held.is_some() != *was,
        _ => true,
    };
    // A read, or an increment with the sum that it would have had.
    let asked = |held: &Held| match history.operations.get(at).map(|operation| &operation.action) {
        Some(&Action::Increment { by, ttl, .. }) => {
            Action::Increment { by, ttl, sum: sum_of(held.as_ref(), by).map(counters::text) }
        }
        _ => Action::Get(held.clone()),
    };
    could.retain(|held| is_other(held.as_ref()) && would_do(history, at, asked(held), weaknesses));
    could
}

/// What `ttl` could have told in place of what it did.
fn could_tell(history: &History, at: usize, weaknesses: &[Weakness]) -> Vec<Option<Remaining>> {
    if !matches!(history.operations.get(at).map(|operation| &operation.action), Some(Action::Ttl(_))) {
        return Vec::new();
    }
    let given = history.operations.iter().flat_map(|operation| operation.action.ttls()).copied();
    let given = given.chain(history.at_first.iter().filter_map(|start| start.ttl));
    let mut could =
        given.filter(|ttl| *ttl != Ttl::Default).map(|ttl| Some(remaining(ttl))).chain([None]).collect::<Vec<_>>();
    could.sort_unstable_by_key(|told: &Option<Remaining>| {
        told.map(|told| (told == Remaining::Forever, told.duration()))
    });
    could.dedup();
    could.retain(|told| would_do(history, at, Action::Ttl(*told), weaknesses));
    could
}

/// Whether there would be an order if this had been done in place of an operation.
fn would_do(history: &History, at: usize, action: Action, weaknesses: &[Weakness]) -> bool {
    let mut asked = history.clone();
    if let Some(operation) = asked.operations.get_mut(at) {
        operation.action = action;
    }
    Search::of(&asked, weaknesses).fails_at.is_none()
}

/// What a key holds, with the TTL if there is one.
fn show_start(start: &Start) -> String {
    match start.ttl {
        Some(Ttl::After(ttl)) => format!("{} for {ttl:?}", show(start.held.as_ref())),
        _ => show(start.held.as_ref()),
    }
}

/// One of several, in words.
fn either(of: &[String]) -> String {
    const SHOWN: usize = 6;
    let mut shown = of.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    if of.len() > SHOWN {
        shown.push(format!("one of {} others", of.len() - SHOWN));
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
            let at_first = self.history.at_first.iter().map(show_start).collect::<Vec<_>>();
            writeln!(f, "{}it holds {}", table.margin("at first"), either(&at_first))?;
        }
        let when = if self.stale { "until here" } else { "here" };
        for (at, operation) in self.history.operations.iter().enumerate() {
            let line = table.line(operation);
            if at == self.at {
                writeln!(f, "{line}   ← {when} it could {}", self.could())?;
            } else {
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        let got = self.operation().map(|operation| operation.action.answer()).unwrap_or_default();
        write!(f, "expected: {}\ngot:      {got}", self.expected())?;
        self.difference().map_or(Ok(()), |difference| write!(f, "\n          ({difference})"))
    }
}

/// The same as `Display`, because `?` in a test shows this.
impl fmt::Debug for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Contradiction {}
