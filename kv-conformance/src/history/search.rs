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

use super::operation::Operation;
use super::step::{NOTHING, Numbers, State, Step};
use super::{History, Start, Weakness};

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
    pub(super) held: Vec<Start>,
}

/// What may have happened up to a moment. Operations are numbered by their place in the history.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Configuration {
    state: State,
    /// The running operations that have taken effect.
    done: Vec<usize>,
    /// What is half done of them, and whether something has changed since.
    half: Vec<(usize, bool)>,
    /// What is done of those whose outcome is unknown.
    late: Vec<usize>,
}

impl Configuration {
    /// The same after a change.
    fn becoming(&self, state: State) -> Self {
        let half = self.half.iter().map(|&(at, _)| (at, true)).collect();
        Self { state, half, ..self.clone() }
    }

    fn is_half_done(&self, at: usize) -> Option<bool> {
        self.half.iter().find(|(half, _)| *half == at).map(|(_, changed)| *changed)
    }
}

/// Of a configuration, all but what is done of unknown outcome.
type Sure = (State, Vec<usize>, Vec<(usize, bool)>);

/// Configurations, without those that can do no more than another one: an operation that may as well never take effect
/// is better not yet done.
#[derive(Default)]
struct Configurations(BTreeMap<Sure, Vec<Vec<usize>>>);

impl Configurations {
    /// Adds a configuration. Returns whether neither it nor a better one was there.
    fn add(&mut self, configuration: &Configuration) -> bool {
        let Configuration { state, done, half, late } = configuration;
        let known = self.0.entry((*state, done.clone(), half.clone())).or_default();
        let is_part = |of: &[usize], part: &[usize]| part.iter().all(|at| of.contains(at));
        if known.iter().any(|known| is_part(late, known)) {
            return false;
        }
        known.retain(|known| !is_part(known, late));
        known.push(late.clone());
        true
    }

    fn into_vec(self) -> Vec<Configuration> {
        let with = |((state, done, half), lates): (Sure, Vec<Vec<usize>>)| {
            let with = move |late| Configuration { state, done: done.clone(), half: half.clone(), late };
            lates.into_iter().map(with)
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
    fn step(&self, at: usize) -> Option<&Step> {
        self.steps.get(at).and_then(Option::as_ref)
    }

    /// Lets operations take effect that change nothing and are possible now. Waiting would not help them.
    fn look(&self, configuration: &mut Configuration) {
        for &at in &self.open {
            let possible = |step: &Step| step.changes_nothing() && step.is_possible(configuration.state);
            if self.step(at).is_some_and(possible) {
                insert(&mut configuration.done, at);
            }
        }
    }

    /// What can happen next.
    fn next(&self, from: &Configuration) -> Vec<Configuration> {
        let mut next = Vec::new();
        for &at in self.open.iter().filter(|at| !from.done.contains(at)) {
            self.do_open(at, from, &mut next);
        }
        for &at in self.late.iter().filter(|at| self.is_first(from, **at)) {
            let Some(step) = self.step(at).filter(|step| step.is_possible(from.state)) else { continue };
            next.extend(step.after(from.state).map(|state| {
                let mut next = from.becoming(state);
                insert(&mut next.late, at);
                next
            }));
        }
        if self.may_evict && from.state != NOTHING {
            next.push(from.becoming(NOTHING));
        }
        next
    }

    /// What can come of doing an operation that returns, or a part of it.
    fn do_open(&self, at: usize, from: &Configuration, next: &mut Vec<Configuration>) {
        let Some(step) = self.step(at) else { return };
        let done = |mut next: Configuration| {
            next.half.retain(|(half, _)| *half != at);
            insert(&mut next.done, at);
            next
        };
        match from.is_half_done(at) {
            // What was copied is removed; what has come since then may be, too.
            Some(changed) => {
                next.push(done(from.becoming(NOTHING)));
                next.extend(changed.then(|| done(from.clone())));
            }
            None if !step.is_possible(from.state) => {}
            None if step.is_in_two_steps() => {
                let mut half = from.clone();
                half.half.push((at, false));
                half.half.sort_unstable();
                next.push(half);
            }
            None => next.extend(step.after(from.state).map(|state| done(from.becoming(state)))),
        }
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
                queue.extend(self.next(&from).into_iter().map(|next| (next.late.len(), next)));
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
        let at_first = history.at_first.iter().map(|start| numbers.start(start)).collect::<BTreeSet<_>>();
        let mut left = at_first
            .into_iter()
            .map(|state| Configuration { state, done: Vec::new(), half: Vec::new(), late: Vec::new() })
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
