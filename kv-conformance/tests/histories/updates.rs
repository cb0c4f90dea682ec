//! Conditional and atomic updates in histories.

use std::time::Duration;

use kv_core::{Remaining, Ttl};

use super::by_hand::{right, wrong};
use super::{Action, NOTHING, get, held, history, op, put, unanswered};

fn put_if(old: &'static str, value: &'static str, stored: bool) -> Action {
    Action::PutIf { old: old.into(), value: value.into(), ttl: Ttl::Forever, stored }
}

fn delete_if(old: &'static str, deleted: bool) -> Action {
    Action::DeleteIf(old.into(), deleted)
}

#[test]
fn of_updates_with_one_version_one_succeeds() {
    let at_once =
        |one: Action, other: Action| history([op(0, 0, 10, put("A1")), op(1, 20, 40, one), op(2, 25, 45, other)]);
    for (one, other) in [(true, false), (false, true)] {
        right(&at_once(put_if("A1", "B1", one), put_if("A1", "C1", other)), &[]);
        right(&at_once(put_if("A1", "B1", one), delete_if("A1", other)), &[]);
        right(&at_once(delete_if("A1", one), delete_if("A1", other)), &[]);
    }
    for both in [true, false] {
        let shown = wrong(&at_once(put_if("A1", "B1", both), put_if("A1", "C1", both)), &[]);
        assert!(shown.contains("put_if \"C1\" over \"A1\"") || shown.contains("put_if \"B1\" over \"A1\""), "{shown}");
        wrong(&at_once(delete_if("A1", both), delete_if("A1", both)), &[]);
        wrong(&at_once(put_if("A1", "B1", both), delete_if("A1", both)), &[]);
    }
}

#[test]
fn an_update_is_of_what_is_there() {
    let after = |action: Action| history([op(0, 0, 10, put("A1")), op(0, 20, 30, put("A2")), op(1, 40, 50, action)]);
    right(&after(put_if("A2", "B1", true)), &[]);
    right(&after(put_if("A1", "B1", false)), &[]);
    wrong(&after(put_if("A1", "B1", true)), &[]);
    wrong(&after(delete_if("A1", true)), &[]);
    wrong(&after(put_if("A2", "B1", false)), &[]);
    // What was removed has no version.
    let gone = |action| history([op(0, 0, 10, put("A1")), op(0, 20, 30, Action::Delete(true)), op(1, 40, 50, action)]);
    right(&gone(put_if("A1", "B1", false)), &[]);
    wrong(&gone(put_if("A1", "B1", true)), &[]);
}

#[test]
fn what_came_by_a_copy_may_have_another_version() {
    let copied = Action::CopiedHere { values: vec!["A1".into()], ttls: Vec::new() };
    let operations = [op(0, 0, 10, put("A1")), op(1, 20, 30, copied), op(0, 40, 50, put_if("A1", "A2", false))];
    right(&history(operations), &[]);
}

#[test]
fn an_update_without_an_answer_may_have_happened() {
    let before = [op(0, 0, 10, put("A1")), unanswered(1, 20, put_if("A1", "B1", false)), op(2, 30, 40, get("A1"))];
    let then = |actions: [Action; 2]| {
        let later = (5..).zip(actions).map(|(n, action)| op(2, n * 10, n * 10 + 5, action));
        history(before.iter().cloned().chain(later))
    };
    right(&then([get("A1"), get("A1")]), &[]);
    right(&then([get("A1"), get("B1")]), &[]);
    wrong(&then([get("B1"), get("A1")]), &[]);
    // After another value it is too late.
    right(&then([put("C1"), get("C1")]), &[]);
    wrong(&then([put("C1"), get("B1")]), &[]);
    let taken = [op(0, 0, 10, put("A1")), unanswered(1, 20, Action::Take(None)), op(2, 30, 40, NOTHING)];
    right(&history(taken), &[]);
}

#[test]
fn one_take_gets_the_value() {
    let take = |value| Action::Take(held(value));
    let then = |one, other| history([op(0, 0, 10, put("A1")), op(1, 20, 40, one), op(2, 25, 45, other)]);
    right(&then(take("A1"), Action::Take(None)), &[]);
    right(&then(take("A1"), NOTHING), &[]);
    right(&then(take("A1"), get("A1")), &[]);
    let shown = wrong(&then(take("A1"), take("A1")), &[]);
    assert!(shown.contains("take"), "{shown}");
    wrong(&then(take("A2"), NOTHING), &[]);
    wrong(&then(Action::Take(None), NOTHING), &[]);
    wrong(&history([op(0, 0, 10, put("A1")), op(0, 20, 30, take("A1")), op(1, 40, 50, get("A1"))]), &[]);
}

#[test]
fn a_read_that_touches_gives_the_value_and_sets_the_ttl() {
    let hour = Ttl::After(Duration::from_secs(3600));
    let left = |seconds| Action::Ttl(Some(Remaining::For(Duration::from_secs(seconds))));
    let then = |touch, last| {
        let operations = [op(0, 0, 10, put("A1")), op(1, 20, 30, touch), op(2, 40, 50, last)];
        history(operations).ttl_tolerance(Duration::from_secs(10))
    };
    let touch = |ttl, value| Action::GetAndTouch(ttl, held(value));
    right(&then(touch(hour, "A1"), left(3600)), &[]);
    wrong(&then(touch(hour, "A1"), left(60)), &[]);
    wrong(&then(touch(hour, "A2"), left(3600)), &[]);
    wrong(&then(Action::GetAndTouch(hour, None), get("A1")), &[]);
    right(&then(touch(Ttl::After(Duration::ZERO), "A1"), NOTHING), &[]);
    wrong(&then(touch(Ttl::After(Duration::ZERO), "A1"), get("A1")), &[]);
}
