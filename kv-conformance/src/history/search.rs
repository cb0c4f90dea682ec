//! The search for an order.
//!
//! Wing and Gong ([*Testing and Verifying Concurrent Objects*][wg], 1993) try the orders one after the other. Lowe ([*Testing
//! for Linearizability*][lowe], 2017) remembers which pairs of operations done and state were seen already, and does an
//! operation just in time, when another one that returns now needs it. This is his graph search of that kind, breadth first: at each
//! return it knows all configurations that are left, and so where the last one ends, what the key could hold there, and what it
//! could hold whenever nothing was under way. Of the operations done a configuration keeps those that are under way: all others
//! are done in every one, and none that has not begun is.
//!
//! Own code: `todc-utils` has Lowe's depth-first search for operations that all returned and states that follow from them, with
//! yes or no for an answer, and `stateright` has Wing and Gong's in a whole model checker; what is asked of ours are unknown
//! outcomes, eviction, and the place.
//!
//! [wg]: https://doi.org/10.1006/jpdc.1993.1015
//! [lowe]: https://doi.org/10.1002/cpe.3928

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kv_core::Bytes;

use super::operation::{Action, Held, Operation};
use super::{History, Weakness};

/// The result of the search.
#[derive(Debug)]
pub(super) struct Search {
    /// The operation whose answer no order explains, if there is one. Up to there an order exists.
    pub(super) fails_at: Option<usize>,
    /// The moments before it at which no operation was running.
    pub(super) quiet: Vec<Quiet>,
}

/// A moment at which no operation was running.
#[derive(Debug)]
pub(super) struct Quiet {
    /// How many operations began before it.
    pub(super) begun: usize,
    /// What the key could hold.
    pub(super) held: Vec<Held>,
}

/// What a key holds: the number of a value.
type State = usize;

/// The state of a key that holds nothing.
const NOTHING: State = 0;

/// What an operation does if it takes effect now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Put(State),
    Create(State),
    Delete,
    /// It is possible only in this state, and changes nothing.
    Holds(State),
    /// It is possible only if there is an entry, and changes nothing.
    HoldsSomething,
}

impl Step {
    /// The state afterwards, if it is possible.
    fn from(self, state: State) -> Option<State> {
        match self {
            Self::Put(value) => Some(value),
            Self::Create(value) => (state == NOTHING).then_some(value),
            Self::Delete => (state != NOTHING).then_some(NOTHING),
            Self::Holds(held) => (state == held).then_some(state),
            Self::HoldsSomething => (state != NOTHING).then_some(state),
        }
    }

    fn changes_nothing(self) -> bool {
        matches!(self, Self::Holds(_) | Self::HoldsSomething)
    }
}

/// What may have happened up to a moment. Operations are numbered by their place in the history.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Configuration {
    state: State,
    /// The running operations that have taken effect.
    done: Vec<usize>,
    /// The operations with an unknown outcome that have taken effect.
    late: Vec<usize>,
}

/// Configurations, without those that another one makes superfluous. If an operation may never take effect, it is better that it has not
/// taken effect yet.
#[derive(Default)]
struct Configurations(BTreeMap<(State, Vec<usize>), Vec<Vec<usize>>>);

impl Configurations {
    /// Adds a configuration. Returns whether neither it nor a better one was there.
    fn add(&mut self, configuration: &Configuration) -> bool {
        let Configuration { state, done, late } = configuration;
        let known = self.0.entry((*state, done.clone())).or_default();
        let is_part = |of: &[usize], part: &[usize]| part.iter().all(|at| of.contains(at));
        if known.iter().any(|known| is_part(late, known)) {
            return false;
        }
        known.retain(|known| !is_part(known, late));
        known.push(late.clone());
        true
    }

    fn into_vec(self) -> Vec<Configuration> {
        let with = |((state, done), lates): ((State, Vec<usize>), Vec<Vec<usize>>)| {
            lates.into_iter().map(move |late| Configuration { state, done: done.clone(), late })
        };
        self.0.into_iter().flat_map(with).collect()
    }
}

/// The running operations, and their future.
struct OpenOperations {
    steps: Vec<Option<Step>>,
    may_evict: bool,
    /// Operations that return.
    open: BTreeSet<usize>,
    /// Operations whose outcome is unknown.
    late: BTreeSet<usize>,
}

impl OpenOperations {
    fn step(&self, at: usize) -> Option<Step> {
        self.steps.get(at).copied().flatten()
    }

    /// Lets operations take effect that change nothing and are possible now. Waiting would not help them.
    fn look(&self, configuration: &mut Configuration) {
        for &at in &self.open {
            let possible = |step: Step| step.changes_nothing() && step.from(configuration.state).is_some();
            if self.step(at).is_some_and(possible) {
                insert(&mut configuration.done, at);
            }
        }
    }

    /// What can happen next.
    fn next(&self, from: &Configuration) -> impl Iterator<Item = Configuration> {
        let can = move |&at: &usize| Some((at, self.step(at)?.from(from.state)?));
        let open = self.open.iter().filter(|at| !from.done.contains(at)).filter_map(can);
        let late = self.late.iter().filter(|at| self.is_first(from, **at)).filter_map(can);
        let open = open.map(|(at, state)| {
            let mut next = Configuration { state, ..from.clone() };
            insert(&mut next.done, at);
            next
        });
        let late = late.map(|(at, state)| {
            let mut next = Configuration { state, ..from.clone() };
            insert(&mut next.late, at);
            next
        });
        let evicted =
            (self.may_evict && from.state != NOTHING).then(|| Configuration { state: NOTHING, ..from.clone() });
        open.chain(late).chain(evicted)
    }

    /// Whether an operation with an unknown outcome has not taken effect, nor an earlier one that does the same. It does not matter which
    /// of them takes effect, and trying each would take for ever if there are many.
    fn is_first(&self, from: &Configuration, at: usize) -> bool {
        let mut left = self.late.iter().filter(|other| !from.late.contains(other));
        left.find(|other| self.step(**other) == self.step(at)) == Some(&at)
    }

    /// What may have happened when an operation returns, which must have taken effect by then.
    fn returned(&mut self, at: usize, before: Vec<Configuration>) -> Vec<Configuration> {
        // Configurations with the fewest effects of unknown outcomes come first, so that the others turn out to be no better.
        let mut queue = before.into_iter().map(|from| (from.late.len(), from)).collect::<BTreeSet<_>>();
        let (mut seen, mut after) = (Configurations::default(), Configurations::default());
        while let Some((_, mut from)) = queue.pop_first() {
            self.look(&mut from);
            if !seen.add(&from) {
                continue;
            }
            if from.done.contains(&at) {
                from.done.retain(|&done| done != at);
                after.add(&from);
            } else {
                queue.extend(self.next(&from).map(|next| (next.late.len(), next)));
            }
        }
        self.open.remove(&at);
        after.into_vec()
    }
}

fn insert(sorted: &mut Vec<usize>, at: usize) {
    if let Err(place) = sorted.binary_search(&at) {
        sorted.insert(place, at);
    }
}

/// The values of a history, each with its number.
struct Numbers<'h> {
    values: Vec<&'h Bytes>,
    /// The values that a read returned.
    read: BTreeSet<&'h Bytes>,
}

impl<'h> Numbers<'h> {
    fn of(history: &'h History) -> Self {
        let of_act = |action: &'h Action| match action {
            Action::Get(held) => held.as_ref(),
            action => action.value(),
        };
        let at_first = history.at_first.iter().flatten();
        let mut values =
            history.operations.iter().filter_map(|operation| of_act(&operation.action)).collect::<Vec<_>>();
        values.extend(at_first);
        values.sort_unstable();
        values.dedup();
        let read = history.operations.iter().filter_map(|operation| match &operation.action {
            Action::Get(held) => held.as_ref(),
            _ => None,
        });
        Self { values, read: read.collect() }
    }

    fn state(&self, held: Option<&Bytes>) -> State {
        // Every value of the history has a number.
        held.map_or(NOTHING, |value| self.values.binary_search(&value).map_or(NOTHING, |at| at + 1))
    }

    /// The state that an unanswered write of this value leaves. Values that nobody has read count as one, because it does not matter which
    /// it is.
    fn unanswered(&self, value: &Bytes) -> State {
        if self.read.contains(value) { self.state(Some(value)) } else { self.values.len() + 1 }
    }

    /// What a state means if every write was answered.
    fn held(&self, state: State) -> Held {
        state.checked_sub(1).and_then(|at| self.values.get(at)).map(|&value| value.clone())
    }

    /// What an operation does. A read without an answer does nothing.
    fn step(&self, operation: &Operation) -> Option<Step> {
        let returned = operation.ended.is_some();
        Some(match &operation.action {
            Action::Create(_, false) | Action::Contains(true) if returned => Step::HoldsSomething,
            Action::Delete(false) | Action::Contains(false) if returned => Step::Holds(NOTHING),
            Action::Get(held) if returned => Step::Holds(self.state(held.as_ref())),
            Action::Put(value) if !returned => Step::Put(self.unanswered(value)),
            Action::Create(value, _) if !returned => Step::Create(self.unanswered(value)),
            Action::Put(value) => Step::Put(self.state(Some(value))),
            Action::Create(value, _) => Step::Create(self.state(Some(value))),
            Action::Delete(_) => Step::Delete,
            Action::Get(_) | Action::Contains(_) => return None,
        })
    }
}

impl Search {
    /// Searches up to the first operation at which no order is left.
    pub(super) fn of(history: &History, weaknesses: &[Weakness]) -> Self {
        let numbers = Numbers::of(history);
        let mut under_way = OpenOperations {
            steps: history.operations.iter().map(|operation| numbers.step(operation)).collect(),
            may_evict: weaknesses.contains(&Weakness::MayEvict),
            open: BTreeSet::new(),
            late: BTreeSet::new(),
        };
        let at_first = history.at_first.iter().map(|held| numbers.state(held.as_ref())).collect::<BTreeSet<_>>();
        let mut left = at_first
            .into_iter()
            .map(|state| Configuration { state, done: Vec::new(), late: Vec::new() })
            .collect::<Vec<_>>();
        let mut quiet = Vec::new();
        for (_, event) in events(&history.operations) {
            match event {
                Event::Call(at) => {
                    if under_way.open.is_empty() && under_way.late.is_empty() {
                        let held = left.iter().map(|configuration| numbers.held(configuration.state)).collect();
                        quiet.push(Quiet { begun: at, held });
                    }
                    let returns = history.operations.get(at).is_some_and(|operation| operation.ended.is_some());
                    if returns {
                        under_way.open.insert(at)
                    } else {
                        under_way.late.insert(at)
                    };
                }
                Event::Return(at) => {
                    left = under_way.returned(at, left);
                    if left.is_empty() {
                        return Self { fails_at: Some(at), quiet };
                    }
                }
            }
        }
        Self { fails_at: None, quiet }
    }
}

/// A call or a return of an operation. At the same time, calls come before returns. Otherwise an operation could count as over before
/// another one began, although it was not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Call(usize),
    Return(usize),
}

/// The calls and returns in the order of time.
fn events(operations: &[Operation]) -> Vec<(Duration, Event)> {
    let calls = operations.iter().enumerate().map(|(at, operation)| (operation.began, Event::Call(at)));
    let returns =
        operations.iter().enumerate().filter_map(|(at, operation)| Some((operation.ended?, Event::Return(at))));
    let mut events = calls.chain(returns).collect::<Vec<_>>();
    events.sort_unstable();
    events
}
