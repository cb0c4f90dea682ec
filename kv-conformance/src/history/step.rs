//! What operations do to the state of a key.
//!
//! An operation is a condition that has to hold when it takes effect, and what it makes of the state: to add one is to say these two.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use kv_core::{Bytes, Ttl};

use super::counters::{self, number};
use super::operation::{Action, Operation, is_zero};
use super::ttls::fits;
use super::{History, Start};

/// What a key holds: the number of a value, and that of its TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct State {
    value: usize,
    ttl: usize,
}

/// The state of a key that holds nothing.
pub(super) const NOTHING: State = State { value: 0, ttl: UNKNOWN };

/// The number of a TTL that is not known, or does not matter.
const UNKNOWN: usize = 0;

/// What an operation does if it is done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    when: When,
    then: Then,
}

/// The states in which it is possible.
#[derive(Clone, Debug, PartialEq, Eq)]
enum When {
    Always,
    Absent,
    Present,
    /// It holds this value.
    Holds(usize),
    /// It holds something else, or nothing.
    HoldsNot(usize),
    /// It has one of these TTLs.
    Lasts(Rc<[usize]>),
    /// It can be added to with one of these sums.
    Adds(Rc<Sums>),
    /// It holds something to which it cannot be added.
    AddsNot(Rc<Sums>),
}

/// What it makes of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Then {
    Stays,
    /// Is one of these afterwards.
    Becomes(Rc<[State]>),
    /// Has this TTL afterwards.
    Lasts(usize),
    /// Is removed, at once or in a second step.
    Leaves,
    /// Is this sum afterwards.
    Adds(Rc<Sums>),
}

/// The sums that an increment may come to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sums {
    /// What it makes of nothing.
    of_nothing: Option<State>,
    /// What it makes of a value.
    of: BTreeMap<usize, usize>,
}

impl Sums {
    /// A counter that is there keeps its TTL.
    fn after(&self, state: State) -> Option<State> {
        if state == NOTHING {
            return self.of_nothing;
        }
        self.of.get(&state.value).map(|&value| State { value, ..state })
    }
}

impl Step {
    fn new(when: When, then: Then) -> Self {
        Self { when, then }
    }

    fn becoming(when: When, state: State) -> Self {
        Self::new(when, Then::Becomes(Rc::new([state])))
    }

    /// Whether it can be done in this state.
    pub(super) fn is_possible(&self, state: State) -> bool {
        match &self.when {
            When::Always => true,
            When::Absent => state == NOTHING,
            When::Present => state != NOTHING,
            When::Holds(value) => state.value == *value,
            When::HoldsNot(value) => state.value != *value,
            When::Lasts(ttls) => state != NOTHING && (state.ttl == UNKNOWN || ttls.contains(&state.ttl)),
            When::Adds(sums) => sums.after(state).is_some(),
            When::AddsNot(sums) => state != NOTHING && sums.after(state).is_none(),
        }
    }

    pub(super) fn changes_nothing(&self) -> bool {
        self.then == Then::Stays
    }

    /// Whether it is done in two steps, of which the second one is a removal.
    pub(super) fn is_in_two_steps(&self) -> bool {
        self.then == Then::Leaves
    }

    /// The states in which it may leave one in which it is possible.
    pub(super) fn after(&self, state: State) -> impl Iterator<Item = State> {
        let (one, several): (Option<State>, &[State]) = match &self.then {
            Then::Stays => (Some(state), &[]),
            Then::Becomes(states) => (None, states),
            Then::Lasts(ttl) => (Some(State { ttl: *ttl, ..state }), &[]),
            Then::Leaves => (Some(NOTHING), &[]),
            Then::Adds(sums) => (sums.after(state), &[]),
        };
        one.into_iter().chain(several.iter().copied())
    }
}

/// The values and the TTLs of a history, each with its number.
pub(super) struct Numbers<'h> {
    history: &'h History,
    values: Vec<Bytes>,
    /// Those that somebody has seen.
    seen: BTreeSet<&'h Bytes>,
    /// Whether there are increments: they tell counters apart that nobody has seen.
    has_increments: bool,
    /// Whether there are increments whose sum is not known.
    has_unknown_sums: bool,
    /// Of a history in which nobody asks for a TTL there are none.
    ttls: Vec<Ttl>,
    /// Whether a value may have come to the key again by a copy: then it may have another version.
    has_copies: bool,
}

impl<'h> Numbers<'h> {
    pub(super) fn of(history: &'h History) -> Self {
        let actions = || history.operations.iter().map(|operation| &operation.action);
        let seen = actions().filter_map(Action::seen).collect::<BTreeSet<_>>();
        let mut values = actions().flat_map(Action::values).chain(seen.iter().copied()).cloned().collect::<Vec<_>>();
        values.extend(history.at_first.iter().filter_map(|start| start.held.clone()));
        let unknown = history.operations.iter().filter(|operation| operation.ended.is_none());
        let unknown = unknown.filter_map(|operation| match operation.action {
            Action::Increment { by, .. } => Some(by),
            _ => None,
        });
        let unknown = unknown.collect::<Vec<_>>();
        values.extend(counters::all_sums(&values, unknown.iter().copied()));
        values.sort_unstable();
        values.dedup();
        let mut ttls = Vec::new();
        if actions().any(|action| matches!(action, Action::Ttl(Some(_)))) {
            let given = history.at_first.iter().filter_map(|start| start.ttl);
            for ttl in actions().flat_map(Action::ttls).copied().chain(given) {
                if ttl != Ttl::Default && !ttls.contains(&ttl) {
                    ttls.push(ttl);
                }
            }
        }
        let has_copies = actions().any(|action| matches!(action, Action::CopiedHere { .. }));
        let has_increments = actions().any(|action| matches!(action, Action::Increment { .. }));
        Self { history, values, seen, has_increments, has_unknown_sums: !unknown.is_empty(), ttls, has_copies }
    }

    fn value(&self, value: &Bytes) -> usize {
        // Every value of the history is among them.
        self.values.binary_search(value).map_or(0, |at| at + 1)
    }

    fn ttl(&self, ttl: Ttl) -> usize {
        self.ttls.iter().position(|known| *known == ttl).map_or(UNKNOWN, |at| at + 1)
    }

    fn entry(&self, value: &Bytes, ttl: Ttl) -> State {
        if is_zero(ttl) { NOTHING } else { State { value: self.value(value), ttl: self.ttl(ttl) } }
    }

    /// Whether a later answer may tell this value from another one.
    fn is_told_apart(&self, value: &Bytes) -> bool {
        self.seen.contains(value) || self.has_increments && number(value).is_some()
    }

    /// Whether the key may have had this value twice, each time with another version.
    fn may_recur(&self, value: &Bytes) -> bool {
        let is_counter = self.has_increments && number(value).is_some();
        let writes = || self.history.operations.iter().filter(|operation| operation.action.values().contains(value));
        let was_there = self.history.at_first.iter().any(|start| start.held.as_ref() == Some(value));
        self.has_copies || is_counter && (self.has_unknown_sums || writes().count() + usize::from(was_there) > 1)
    }

    /// What an increment makes of each value, if its answer is this sum, or may be any.
    fn sums(&self, by: u32, ttl: Ttl, answer: Option<&Bytes>) -> Rc<Sums> {
        let fits = |sum: &Bytes| answer.is_none_or(|answer| answer == sum);
        let first = Some(counters::text(by.into())).filter(fits);
        let of = self.values.iter().enumerate().filter_map(|(at, value)| {
            let sum = counters::text(counters::sum(number(value)?, by)?);
            fits(&sum).then(|| (at + 1, self.value(&sum)))
        });
        Rc::new(Sums { of_nothing: first.map(|first| self.entry(&first, ttl)), of: of.collect() })
    }

    /// What an unanswered write leaves. Of values that nobody has seen it is no matter which: they are one.
    fn unanswered(&self, value: &Bytes, ttl: Ttl) -> State {
        match self.entry(value, ttl) {
            NOTHING => NOTHING,
            entry if self.is_told_apart(value) => entry,
            entry => State { value: self.values.len() + 1, ..entry },
        }
    }

    /// What a copy may leave. Of values that nobody has seen one will do.
    fn copied(&self, values: &[Bytes], ttls: &[Ttl]) -> Rc<[State]> {
        let unseen = values.iter().find(|value| !self.is_told_apart(value));
        let values = values.iter().filter(|value| self.is_told_apart(value)).chain(unseen);
        let ttls = if ttls.is_empty() { &[Ttl::Default] } else { ttls };
        let mut states = Vec::new();
        for value in values {
            states.extend(ttls.iter().map(|&ttl| self.entry(value, ttl)));
        }
        states.sort_unstable();
        states.dedup();
        states.into()
    }

    pub(super) fn start(&self, start: &Start) -> State {
        let ttl = start.ttl.unwrap_or_default();
        start.held.as_ref().map_or(NOTHING, |value| self.entry(value, ttl))
    }

    /// What a state is, where nothing is unanswered.
    pub(super) fn held(&self, state: State) -> Start {
        let held = state.value.checked_sub(1).and_then(|at| self.values.get(at)).cloned();
        let ttl = state.ttl.checked_sub(1).and_then(|at| self.ttls.get(at)).copied();
        Start { held, ttl }
    }

    /// What an operation does. A question that was not answered does nothing.
    pub(super) fn step(&self, operation: &Operation) -> Option<Step> {
        let returned = operation.ended.is_some();
        let remove = |when| Step::becoming(when, NOTHING);
        Some(match &operation.action {
            Action::Put(value, ttl) if returned => Step::becoming(When::Always, self.entry(value, *ttl)),
            Action::Put(value, ttl) => Step::becoming(When::Always, self.unanswered(value, *ttl)),
            Action::Create(_, _, false) | Action::Contains(true) if returned => Step::new(When::Present, Then::Stays),
            Action::Create(value, ttl, _) if returned => Step::becoming(When::Absent, self.entry(value, *ttl)),
            Action::Create(value, ttl, _) => Step::becoming(When::Absent, self.unanswered(value, *ttl)),
            Action::Delete(false) | Action::Touch(_, false) | Action::Contains(false) if returned => {
                Step::new(When::Absent, Then::Stays)
            }
            Action::Touch(ttl, _) if is_zero(*ttl) => remove(When::Present),
            Action::Touch(ttl, _) => Step::new(When::Present, Then::Lasts(self.ttl(*ttl))),
            Action::PutIf { old, value, ttl, stored: true } if returned => {
                Step::becoming(When::Holds(self.value(old)), self.entry(value, *ttl))
            }
            Action::PutIf { old, stored: false, .. } | Action::DeleteIf(old, false) if returned => {
                let other = if self.may_recur(old) { When::Always } else { When::HoldsNot(self.value(old)) };
                Step::new(other, Then::Stays)
            }
            Action::PutIf { old, value, ttl, .. } => {
                Step::becoming(When::Holds(self.value(old)), self.unanswered(value, *ttl))
            }
            Action::DeleteIf(old, _) => remove(When::Holds(self.value(old))),
            Action::Take(Some(value)) if returned => remove(When::Holds(self.value(value))),
            Action::GetAndTouch(ttl, Some(value)) if returned => {
                let holds = When::Holds(self.value(value));
                if is_zero(*ttl) { remove(holds) } else { Step::new(holds, Then::Lasts(self.ttl(*ttl))) }
            }
            Action::GetAndTouch(ttl, _) if !returned && !is_zero(*ttl) => {
                Step::new(When::Present, Then::Lasts(self.ttl(*ttl)))
            }
            Action::Take(_) | Action::GetAndTouch(..) if !returned => remove(When::Present),
            Action::Take(_) | Action::GetAndTouch(..) => Step::new(When::Absent, Then::Stays),
            Action::Increment { by, ttl, sum: None } if returned => {
                Step::new(When::AddsNot(self.sums(*by, *ttl, None)), Then::Stays)
            }
            Action::Increment { by, ttl, sum } => {
                let sums = self.sums(*by, *ttl, sum.as_ref().filter(|_| returned));
                Step::new(When::Adds(Rc::clone(&sums)), Then::Adds(sums))
            }
            Action::Get(None) | Action::Ttl(None) if returned => Step::new(When::Absent, Then::Stays),
            Action::Get(Some(value)) if returned => Step::new(When::Holds(self.value(value)), Then::Stays),
            Action::Ttl(Some(told)) if returned => {
                let ended = operation.ended.unwrap_or_default();
                let fits = |ttl: Ttl| fits(ttl, *told, ended, self.history.ttl_tolerance);
                let ttls = self.ttls.iter().enumerate().filter(|(_, ttl)| fits(**ttl)).map(|(at, _)| at + 1);
                Step::new(When::Lasts(ttls.collect()), Then::Stays)
            }
            Action::CopiedHere { values, ttls } => Step::new(When::Always, Then::Becomes(self.copied(values, ttls))),
            Action::RenamedAway(Some(value)) if returned => Step::new(When::Holds(self.value(value)), Then::Leaves),
            Action::RenamedAway(None) if returned => Step::new(When::Present, Then::Leaves),
            Action::Delete(_) | Action::RenamedAway(_) => remove(When::Present),
            Action::Get(_) | Action::Contains(_) | Action::Ttl(_) => return None,
        })
    }
}
