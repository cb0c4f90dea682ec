//! Random short histories, given to the search and to one that tries all orders.

use std::time::Duration;

use kv_conformance::history::{Action, Held, History, Operation, Weakness};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use super::{BOTH, MAY_EVICT, STALE_READS, history};

/// Few values, so that many histories have an order, and some have one by chance.
fn value() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("1"), Just("2")]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        value().prop_map(|value| Action::Put(value.into())),
        (value(), any::<bool>()).prop_map(|(value, created)| Action::Create(value.into(), created)),
        any::<bool>().prop_map(Action::Delete),
        proptest::option::of(value()).prop_map(|value| Action::Get(value.map(Into::into))),
        any::<bool>().prop_map(Action::Contains),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let took = prop_oneof![9 => (0..6_u64).prop_map(Some), 1 => Just(None)];
    (0..10_u64, took, action()).prop_map(|(began, took, action)| Operation {
        thread: 0,
        began: Duration::from_micros(began),
        ended: took.map(|took| Duration::from_micros(began + took)),
        action,
    })
}

/// Whether there is an order, by trying all of them. `done` says which operations are.
fn has_order(operations: &[Operation], done: &mut Vec<usize>, held: &Held, weaknesses: &[Weakness]) -> bool {
    let left = (0..operations.len()).filter(|at| !done.contains(at)).collect::<Vec<_>>();
    if left.iter().all(|&at| operations[at].ended.is_none()) {
        return true;
    }
    if weaknesses.contains(&Weakness::MayEvict) && held.is_some() && has_order(operations, done, &None, weaknesses) {
        return true;
    }
    left.iter().any(|&at| {
        let operation = &operations[at];
        // What ended before it began has to be done.
        let too_early = left.iter().any(|&other| operations[other].ended.is_some_and(|end| end < operation.began));
        let Some(after) = after(operation, held).filter(|_| !too_early) else { return false };
        done.push(at);
        let found = has_order(operations, done, &after, weaknesses);
        done.pop();
        found
    })
}

/// What a key holds after an operation, if it can be done with this answer, or without one.
fn after(operation: &Operation, held: &Held) -> Option<Held> {
    let (answer, same) = (operation.ended.is_some(), || held.clone());
    match &operation.action {
        Action::Put(value) => Some(Some(value.clone())),
        Action::Create(value, created) if !answer || *created => held.is_none().then(|| Some(value.clone())),
        Action::Create(..) => held.is_some().then(same),
        Action::Delete(deleted) if !answer || *deleted => held.is_some().then_some(None),
        Action::Delete(_) => held.is_none().then(same),
        Action::Get(got) => (!answer || got == held).then(same),
        Action::Contains(contained) => (!answer || held.is_some() == *contained).then(same),
        _ => None,
    }
}

/// Whether reads that may be old and writes in order explain a history: every read that returned is given the answers of all
/// moments before its end, in some order of what began by then, whether or not it had to have ended.
fn has_order_with_stale_reads(history: &History, weaknesses: &[Weakness]) -> bool {
    let is_read = |operation: &&Operation| matches!(operation.action, Action::Get(_) | Action::Contains(_));
    let (reads, writes): (Vec<_>, Vec<_>) = history.operations().iter().partition(is_read);
    let explained = reads.iter().all(|read| {
        let Some(end) = read.ended else { return true };
        let mut held = history.at_first().to_vec();
        held.extend(weaknesses.contains(&Weakness::MayEvict).then_some(None));
        held.extend(writes.iter().filter(|write| write.began <= end).filter_map(|write| match &write.action {
            Action::Create(_, false) | Action::Delete(false) if write.ended.is_some() => None,
            Action::Put(value) | Action::Create(value, _) => Some(Some(value.clone())),
            _ => Some(None),
        }));
        held.iter().any(|held| after(read, held).is_some())
    });
    let writes = writes.into_iter().cloned().collect::<Vec<_>>();
    explained && history.at_first().iter().any(|held| has_order(&writes, &mut Vec::new(), held, weaknesses))
}

#[test]
fn the_search_finds_an_order_exactly_if_there_is_one() {
    let inputs = (vec(operation(), 0..6), vec(proptest::option::of(value()), 1..3));
    let mut found = [[0_u32; 2]; 4];
    let mut runner = TestRunner::new(Config { cases: 3000, failure_persistence: None, ..Config::default() });
    let count = std::cell::RefCell::new(&mut found);
    runner
        .run(&inputs, |(operations, at_first)| {
            let at_first = at_first.into_iter().map(|value| value.map(Into::into)).collect::<Vec<Held>>();
            let history = history(operations).starting_with(at_first.clone());
            for (n, weaknesses) in [&[], MAY_EVICT, STALE_READS, BOTH].into_iter().enumerate() {
                let has_order = if weaknesses.contains(&Weakness::StaleReads) {
                    has_order_with_stale_reads(&history, weaknesses)
                } else {
                    let all = history.operations();
                    at_first.iter().any(|held| has_order(all, &mut Vec::new(), held, weaknesses))
                };
                let checked = history.check(weaknesses);
                assert_eq!(checked.is_ok(), has_order, "{weaknesses:?}: {checked:?}");
                count.borrow_mut()[n][usize::from(has_order)] += 1;
                if let Err(contradiction) = checked
                    && !weaknesses.contains(&Weakness::StaleReads)
                {
                    // What is left of it has no order either.
                    let least = contradiction.history();
                    let none = !least.at_first().iter().any(|held| has_order_of(least, held, weaknesses));
                    assert!(none, "{contradiction}");
                    assert!(!contradiction.could_hold().is_empty(), "{contradiction}");
                }
            }
            Ok(())
        })
        .unwrap();
    // Both happen often, or this has proven little.
    assert!(found.iter().flatten().all(|count| *count > 100), "{found:?}");
}

fn has_order_of(history: &History, held: &Held, weaknesses: &[Weakness]) -> bool {
    has_order(history.operations(), &mut Vec::new(), held, weaknesses)
}
