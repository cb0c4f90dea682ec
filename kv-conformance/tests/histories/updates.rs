//! Conditional and atomic updates in histories.

use std::time::Duration;

use kv_core::{Remaining, Ttl};

use super::by_hand::{right, wrong};
use super::{Action, NOTHING, create, get, held, history, op, put, put_for, unanswered};

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

fn increment(sum: Option<&'static str>) -> Action {
    Action::Increment { by: 1, ttl: Ttl::Forever, sum: sum.map(Into::into) }
}

#[test]
fn no_increment_is_lost() {
    let at_once = |one, other, last| {
        let increments = [op(1, 20, 40, increment(Some(one))), op(2, 25, 45, increment(Some(other)))];
        history([op(0, 0, 10, put("5"))].into_iter().chain(increments).chain([op(0, 50, 60, get(last))]))
    };
    right(&at_once("6", "7", "7"), &[]);
    right(&at_once("7", "6", "7"), &[]);
    let shown = wrong(&at_once("6", "6", "6"), &[]);
    assert!(shown.contains("increment by 1") && shown.contains("expected: 7\ngot:      6"), "{shown}");
    wrong(&at_once("6", "7", "6"), &[]);
    wrong(&at_once("7", "7", "7"), &[]);
    // Nothing begins at 0.
    right(&history([op(0, 0, 10, increment(Some("1"))), op(0, 20, 30, increment(Some("2")))]), &[]);
    wrong(&history([op(0, 0, 10, increment(Some("2")))]), &[]);
    let taken = Action::Take(held("5"));
    right(&history([op(0, 0, 10, put("5")), op(1, 20, 40, taken.clone()), op(2, 25, 45, increment(Some("1")))]), &[]);
    wrong(&history([op(0, 0, 10, put("5")), op(1, 20, 30, taken), op(2, 35, 45, increment(Some("6")))]), &[]);
}

#[test]
fn an_increment_is_refused_only_where_there_is_text() {
    right(&history([op(0, 0, 10, put("A1")), op(1, 20, 30, increment(None)), op(1, 40, 50, get("A1"))]), &[]);
    right(&history([op(0, 0, 10, put("9223372036854775807")), op(1, 20, 30, increment(None))]), &[]);
    let shown = wrong(&history([op(0, 0, 10, put("5")), op(1, 20, 30, increment(None))]), &[]);
    assert!(shown.contains("expected: 6\ngot:      NotACounter"), "{shown}");
    wrong(&history([op(0, 0, 10, increment(None))]), &[]);
    let shown = wrong(&history([op(0, 0, 10, put("A1")), op(1, 20, 30, increment(Some("1")))]), &[]);
    assert!(shown.contains("expected: NotACounter\ngot:      1"), "{shown}");
}

#[test]
fn an_increment_without_an_answer_counts_once_or_never() {
    let then = |reads: [&'static str; 3]| {
        let reads = (3..).zip(reads).map(|(n, value)| op(2, n * 10, n * 10 + 5, get(value)));
        history([op(0, 0, 10, put("5")), unanswered(1, 20, increment(None))].into_iter().chain(reads))
    };
    right(&then(["5", "5", "5"]), &[]);
    right(&then(["5", "6", "6"]), &[]);
    wrong(&then(["6", "5", "5"]), &[]);
    wrong(&then(["6", "7", "7"]), &[]);
    let two = [unanswered(1, 20, increment(None)), unanswered(3, 22, increment(None))];
    let after =
        |value| history([op(0, 0, 10, put("5"))].into_iter().chain(two.clone()).chain([op(2, 30, 40, get(value))]));
    right(&after("7"), &[]);
    wrong(&after("8"), &[]);
}

#[test]
fn a_counter_keeps_the_ttl_that_it_began_with() {
    let left = |seconds| Action::Ttl(Some(Remaining::For(Duration::from_secs(seconds))));
    let hour = Ttl::After(Duration::from_secs(3600));
    let by_one = |sum| Action::Increment { by: 1, ttl: hour, sum: held(sum) };
    let then = |first, sum, last| history([op(0, 0, 10, first), op(1, 20, 30, by_one(sum)), op(2, 40, 50, last)]);
    right(&then(put_for("5", 100), "6", left(100)).ttl_tolerance(Duration::from_secs(1)), &[]);
    wrong(&then(put_for("5", 100), "6", left(3600)).ttl_tolerance(Duration::from_secs(1)), &[]);
    right(&then(NOTHING, "1", left(3600)).ttl_tolerance(Duration::from_secs(1)), &[]);
    wrong(&then(NOTHING, "1", Action::Ttl(Some(Remaining::Forever))), &[]);
    // With a zero TTL nothing begins, and what is there counts on.
    let zero = |sum| Action::Increment { by: 1, ttl: Ttl::After(Duration::ZERO), sum: held(sum) };
    right(&history([op(0, 0, 10, zero("1")), op(0, 20, 30, NOTHING)]), &[]);
    wrong(&history([op(0, 0, 10, zero("1")), op(0, 20, 30, get("1"))]), &[]);
    right(&history([op(0, 0, 10, put("5")), op(0, 20, 30, zero("6")), op(0, 40, 50, get("6"))]), &[]);
}

#[test]
fn a_counter_may_have_a_value_again_with_another_version() {
    let again = [op(0, 0, 10, put("5")), op(0, 20, 30, increment(Some("6"))), op(0, 40, 50, put("5"))];
    right(&history(again.into_iter().chain([op(1, 60, 70, put_if("5", "B1", false))])), &[]);
    let once = [op(0, 0, 10, put("5")), op(0, 20, 30, increment(Some("6")))];
    wrong(&history(once.into_iter().chain([op(1, 40, 50, put_if("6", "B1", false))])), &[]);
}

#[test]
fn a_copy_may_be_of_a_counter() {
    let copied = Action::CopiedHere { values: vec!["5".into(), "7".into()], ttls: Vec::new() };
    let then = |sum| history([op(0, 0, 10, copied.clone()), op(1, 20, 30, increment(Some(sum)))]);
    right(&then("6"), &[]);
    right(&then("8"), &[]);
    wrong(&then("7"), &[]);
}

#[test]
fn what_is_created_has_the_version_that_was_returned() {
    let create = create("A1", true);
    let then = |action| history([op(0, 0, 10, create.clone()), op(1, 20, 30, put("B1")), op(0, 40, 50, action)]);
    right(&then(put_if("A1", "A2", false)), &[]);
    // The version that was returned was that of the later write.
    wrong(&then(put_if("A1", "A2", true)), &[]);
    wrong(&then(delete_if("A1", true)), &[]);
}
