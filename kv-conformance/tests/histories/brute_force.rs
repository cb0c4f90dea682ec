//! Random short histories, given to the search and to one that tries all orders.

use std::collections::BTreeSet;
use std::time::Duration;

use kv_conformance::history::{Action, History, Operation, Start, Weakness};
use kv_core::{Bytes, Remaining, Ttl};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use super::{BOTH, MAY_EVICT, STALE_READS, after as after_seconds, history};

/// Few values, so that many histories have an order, and some have one by chance. One of them is not a counter.
fn value() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("1"), 4 => Just("2"), 1 => Just("x")]
}

/// The sums of increments by 1 of these values.
fn sum() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![2 => Just(Some("1")), 3 => Just(Some("2")), 2 => Just(Some("3")), 1 => Just(None)]
}

/// Few TTLs, a zero one among them. What `ttl` tells is one of these, too: nothing passes.
fn ttl() -> impl Strategy<Value = Ttl> {
    prop_oneof![3 => Just(Ttl::Forever), 3 => Just(after_seconds(100)), 2 => Just(after_seconds(200)), 1 => Just(after_seconds(0))]
}

fn told() -> impl Strategy<Value = Option<Remaining>> {
    let left = |seconds| Just(Some(Remaining::For(Duration::from_secs(seconds))));
    prop_oneof![Just(None), Just(Some(Remaining::Forever)), left(100), left(200)]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (value(), ttl()).prop_map(|(value, ttl)| Action::Put(value.into(), ttl)),
        3 => (value(), ttl(), any::<bool>()).prop_map(|(value, ttl, created)| Action::Create(value.into(), ttl, created)),
        3 => any::<bool>().prop_map(Action::Delete),
        2 => (ttl(), any::<bool>()).prop_map(|(ttl, was)| Action::Touch(ttl, was)),
        3 => proptest::option::of(value()).prop_map(|value| Action::Get(value.map(Into::into))),
        2 => any::<bool>().prop_map(Action::Contains),
        2 => told().prop_map(Action::Ttl),
        1 => (vec(value(), 1..3), vec(ttl(), 1..3)).prop_map(|(values, mut ttls)| {
            // An entry with a zero TTL is nowhere to be copied.
            ttls.retain(|ttl| *ttl != after_seconds(0));
            ttls.push(Ttl::Forever);
            Action::CopiedHere { values: values.into_iter().map(Into::into).collect(), ttls }
        }),
        2 => proptest::option::of(value()).prop_map(|value| Action::RenamedAway(value.map(Into::into))),
        2 => proptest::option::of(value()).prop_map(|value| Action::Take(value.map(Into::into))),
        2 => (ttl(), proptest::option::of(value())).prop_map(|(ttl, value)| Action::GetAndTouch(ttl, value.map(Into::into))),
        4 => (ttl(), sum()).prop_map(|(ttl, sum)| Action::Increment { by: 1, ttl, sum: sum.map(Into::into) }),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let took = prop_oneof![9 => (0..6_u64).prop_map(Some), 1 => Just(None)];
    (0..10_u64, took, action()).prop_map(|(began, took, action)| {
        Operation::new(0, Duration::from_micros(began), took.map(|took| Duration::from_micros(began + took)), action)
    })
}

/// What a key holds.
type Entry = Option<(Bytes, Ttl)>;

/// What is done of a history: what it holds, which operations are done, and which renames have copied and not yet removed, with whether
/// anything was changed since.
#[derive(Clone, Default)]
struct Done {
    held: Entry,
    finished: Vec<usize>,
    half: Vec<(usize, bool)>,
}

impl Done {
    fn starting_with(held: &Start) -> Self {
        Self { held: held.held.clone().map(|value| (value, held.ttl.unwrap())), ..Self::default() }
    }

    /// The same after a change.
    fn becoming(&self, held: Entry) -> Self {
        let half = self.half.iter().map(|(at, _)| (*at, true)).collect();
        Self { held, half, finished: self.finished.clone() }
    }

    fn doing(mut self, at: usize) -> Self {
        self.half.retain(|(half, _)| *half != at);
        self.finished.push(at);
        self
    }

    /// What can come of an operation, or a part of it.
    fn doing_part(&self, at: usize, operation: &Operation) -> Vec<Self> {
        if let Some((_, changed)) = self.half.iter().find(|(half, _)| *half == at) {
            let mut next = vec![self.becoming(None).doing(at)];
            next.extend(changed.then(|| self.clone().doing(at)));
            return next;
        }
        if let (Action::RenamedAway(value), Some(_)) = (&operation.action, operation.ended) {
            let is_it = |held: &Bytes| value.as_ref().is_none_or(|value| held == value);
            let mut half = self.clone();
            half.half.push((at, false));
            return if self.held.as_ref().is_some_and(|(held, _)| is_it(held)) { vec![half] } else { Vec::new() };
        }
        let same = |after: &Entry| *after == self.held;
        let after = after(operation, &self.held).into_iter();
        let is_change = !operation.action_is_no_change();
        after
            .map(|after| if same(&after) && !is_change { self.clone() } else { self.becoming(after) }.doing(at))
            .collect()
    }
}

trait NoChange {
    fn action_is_no_change(&self) -> bool;
}

impl NoChange for Operation {
    /// Whether it changes nothing even if what is there afterwards is the same: a write of the same value is a write.
    fn action_is_no_change(&self) -> bool {
        match &self.action {
            Action::Get(_) | Action::Contains(_) | Action::Ttl(_) => true,
            Action::Create(.., did) | Action::Delete(did) | Action::Touch(_, did) => self.ended.is_some() && !did,
            Action::Increment { sum: held, .. } | Action::Take(held) | Action::GetAndTouch(_, held) => {
                self.ended.is_some() && held.is_none()
            }
            _ => false,
        }
    }
}

/// Whether there is an order, by trying all of them.
fn has_order(operations: &[Operation], so_far: &Done, weaknesses: &[Weakness]) -> bool {
    let left = (0..operations.len()).filter(|at| !so_far.finished.contains(at)).collect::<Vec<_>>();
    if left.iter().all(|&at| operations[at].ended.is_none()) {
        return true;
    }
    if weaknesses.contains(&Weakness::MayEvict)
        && so_far.held.is_some()
        && has_order(operations, &so_far.becoming(None), weaknesses)
    {
        return true;
    }
    left.iter().any(|&at| {
        let operation = &operations[at];
        // What ended before it began has to be done.
        let too_early = left.iter().any(|&other| operations[other].ended.is_some_and(|end| end < operation.began));
        !too_early && so_far.doing_part(at, operation).iter().any(|next| has_order(operations, next, weaknesses))
    })
}

/// What a key may hold after an operation, if it can be done with this answer, or without one.
fn after(operation: &Operation, held: &Entry) -> Vec<Entry> {
    let (answer, same) = (operation.ended.is_some(), || held.clone());
    let entry = |value: &Bytes, ttl: Ttl| (ttl != after_seconds(0)).then(|| (value.clone(), ttl));
    let one = |after: Option<Entry>| after.into_iter().collect::<Vec<_>>();
    match &operation.action {
        Action::Put(value, ttl) => vec![entry(value, *ttl)],
        Action::Create(value, ttl, created) if !answer || *created => one(held.is_none().then(|| entry(value, *ttl))),
        Action::Create(..) => one(held.is_some().then(same)),
        Action::Delete(deleted) if !answer || *deleted => one(held.is_some().then_some(None)),
        Action::Touch(ttl, touched) if !answer || *touched => one(held.as_ref().map(|(value, _)| entry(value, *ttl))),
        Action::Delete(_) | Action::Touch(..) => one(held.is_none().then(same)),
        Action::Get(got) => one((!answer || *got == held.clone().map(|(value, _)| value)).then(same)),
        Action::Contains(contained) => one((!answer || held.is_some() == *contained).then(same)),
        Action::Ttl(told) => {
            let left = held.as_ref().map(|(_, ttl)| match ttl {
                Ttl::After(left) => Remaining::For(*left),
                _ => Remaining::Forever,
            });
            one((!answer || *told == left).then(same))
        }
        Action::CopiedHere { values, ttls } => {
            values.iter().flat_map(|value| ttls.iter().map(|ttl| Some((value.clone(), *ttl)))).collect()
        }
        Action::RenamedAway(_) => one(held.is_some().then_some(None)),
        Action::Take(_) if !answer => one(held.is_some().then_some(None)),
        Action::GetAndTouch(ttl, _) if !answer => one(held.as_ref().map(|(value, _)| entry(value, *ttl))),
        Action::Take(got) | Action::GetAndTouch(_, got) if *got != held.clone().map(|(value, _)| value) => Vec::new(),
        Action::Take(_) => vec![None],
        Action::GetAndTouch(ttl, _) => vec![held.as_ref().and_then(|(value, _)| entry(value, *ttl))],
        Action::Increment { by, ttl, sum } => {
            let (counted, ttl) = match held {
                None => (Some(u64::from(*by)), *ttl),
                Some((value, ttl)) => (number(value).map(|number| number + u64::from(*by)), *ttl),
            };
            let counted = counted.map(|sum| Bytes::from(sum.to_string()));
            match counted {
                Some(counted) if !answer || sum.as_ref() == Some(&counted) => vec![entry(&counted, ttl)],
                None if answer && sum.is_none() => vec![same()],
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

fn number(value: &Bytes) -> Option<u64> {
    str::from_utf8(value).ok()?.parse().ok()
}

/// Whether reads that may be old and writes in order explain a history: every read that returned is given the answers of all
/// moments before its end, in some order of what began by then, whether or not it had to have ended. (Of values and TTLs any go
/// together that were ever given.)
fn has_order_with_stale_reads(history: &History, weaknesses: &[Weakness]) -> bool {
    let is_read =
        |operation: &&Operation| matches!(operation.action, Action::Get(_) | Action::Contains(_) | Action::Ttl(_));
    let (reads, writes): (Vec<_>, Vec<_>) = history.operations().iter().partition(is_read);
    let explained = reads.iter().all(|read| {
        let Some(end) = read.ended else { return true };
        let at_first = history.at_first().iter().map(|start| Done::starting_with(start).held);
        let mut held = at_first.collect::<Vec<_>>();
        held.extend(weaknesses.contains(&Weakness::MayEvict).then_some(None));
        let begun = writes.iter().filter(|write| write.began <= end).collect::<Vec<_>>();
        for write in &begun {
            held.extend(match &write.action {
                _ if write.ended.is_some() && write.action_is_no_change() => Vec::new(),
                Action::Put(value, ttl) | Action::Create(value, ttl, _) if *ttl != after_seconds(0) => {
                    vec![Some((value.clone(), *ttl))]
                }
                Action::Increment { sum: Some(sum), .. } if write.ended.is_some() => with_any_ttl(sum),
                Action::Create(..) | Action::Increment { .. } => Vec::new(),
                Action::Touch(ttl, _) | Action::GetAndTouch(ttl, _) if *ttl != after_seconds(0) => Vec::new(),
                Action::CopiedHere { values, ttls } => {
                    values.iter().flat_map(|value| ttls.iter().map(|ttl| Some((value.clone(), *ttl)))).collect()
                }
                _ => vec![None],
            });
        }
        for write in &begun {
            if let (Action::Increment { by, .. }, None) = (&write.action, write.ended) {
                let numbers = held.iter().flatten().filter_map(|(value, _)| number(value)).chain([0]);
                let sums = numbers.map(|number| number + u64::from(*by)).collect::<BTreeSet<_>>();
                held.extend(sums.into_iter().flat_map(|sum| with_any_ttl(&sum.to_string().into())));
            }
        }
        for touch in begun {
            let touched = match &touch.action {
                Action::Touch(ttl, touched) => Some((ttl, *touched)),
                Action::GetAndTouch(ttl, read) => Some((ttl, read.is_some())),
                _ => None,
            };
            if let Some((ttl, touched)) = touched
                && (touched || touch.ended.is_none())
            {
                let again = held.iter().flatten().map(|(value, _)| Some((value.clone(), *ttl))).collect::<Vec<_>>();
                held.extend(again);
            }
        }
        held.iter().any(|held| !after(read, held).is_empty())
    });
    let writes = writes.into_iter().cloned().collect::<Vec<_>>();
    explained && history.at_first().iter().any(|held| has_order(&writes, &Done::starting_with(held), weaknesses))
}

/// An entry with each of the TTLs that there are: those of a counter are those that it had before.
fn with_any_ttl(value: &Bytes) -> Vec<Entry> {
    [Ttl::Forever, after_seconds(100), after_seconds(200)].map(|ttl| Some((value.clone(), ttl))).to_vec()
}

#[test]
fn the_search_finds_an_order_exactly_if_there_is_one() {
    let start = (proptest::option::of(value()), prop_oneof![Just(Ttl::Forever), Just(after_seconds(100))]);
    let inputs = (vec(operation(), 0..6), vec(start, 1..3));
    let mut found = [[0_u32; 2]; 4];
    let mut runner = TestRunner::new(Config { cases: 4000, failure_persistence: None, ..Config::default() });
    let count = std::cell::RefCell::new(&mut found);
    runner
        .run(&inputs, |(operations, at_first)| {
            let start = |(value, ttl): (Option<&'static str>, _)| {
                let mut start = Start::from(value.map(Bytes::from));
                start.ttl = Some(ttl);
                start
            };
            let at_first = at_first.into_iter().map(start).collect::<Vec<_>>();
            let history = history(operations).starting_with(at_first.clone());
            for (n, weaknesses) in [&[], MAY_EVICT, STALE_READS, BOTH].into_iter().enumerate() {
                let has_order = if weaknesses.contains(&Weakness::StaleReads) {
                    has_order_with_stale_reads(&history, weaknesses)
                } else {
                    has_order_of(&history, &at_first, weaknesses)
                };
                let checked = history.check(weaknesses);
                assert_eq!(checked.is_ok(), has_order, "{weaknesses:?}: {checked:?}");
                count.borrow_mut()[n][usize::from(has_order)] += 1;
                if let Err(contradiction) = checked
                    && !weaknesses.contains(&Weakness::StaleReads)
                {
                    // What is left of it has no order either.
                    let least = contradiction.history();
                    assert!(!has_order_of(least, least.at_first(), weaknesses), "{contradiction}");
                    assert!(!contradiction.clauses().is_empty());
                }
            }
            Ok(())
        })
        .unwrap();
    // Both happen often, or this has proven little.
    assert!(found.iter().flatten().all(|count| *count > 100), "{found:?}");
}

fn has_order_of(history: &History, at_first: &[Start], weaknesses: &[Weakness]) -> bool {
    at_first.iter().any(|start| {
        // Where the TTL is not known any more it does not matter.
        let start = Start { ttl: start.ttl.or(Some(Ttl::Forever)), held: start.held.clone() };
        has_order(history.operations(), &Done::starting_with(&start), weaknesses)
    })
}
