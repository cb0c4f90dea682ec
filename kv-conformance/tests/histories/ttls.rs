//! TTLs in histories: an entry has the TTL of its value, or one that it was given since.

use std::time::Duration;

use kv_core::{Remaining, Ttl};

use super::by_hand::{right, wrong};
use super::{Action, BOTH, MAY_EVICT, STALE_READS, after, create, get, history, op, put, put_for, unanswered};

fn ttl(seconds: u64) -> Action {
    Action::Ttl(Some(Remaining::For(Duration::from_secs(seconds))))
}

const FOR_EVER: Action = Action::Ttl(Some(Remaining::Forever));

fn touch(seconds: u64, was: bool) -> Action {
    Action::Touch(after(seconds), was)
}

#[test]
fn an_entry_has_the_ttl_of_its_value() {
    right(
        &history([
            op(0, 0, 1, put_for("A1", 100)),
            op(0, 2, 3, ttl(100)),
            op(0, 4, 5, put("A2")),
            op(0, 6, 7, FOR_EVER),
        ]),
        &[],
    );
    // It may be of either of two writes, but not the value of one and the TTL of the other.
    let writes = [op(0, 0, 50, put_for("A1", 100)), op(1, 10, 60, put_for("B1", 200))];
    let with =
        |value, left| history(writes.iter().cloned().chain([op(2, 70, 71, get(value)), op(2, 72, 73, ttl(left))]));
    right(&with("A1", 100), &[]);
    right(&with("B1", 200), &[]);
    let shown = wrong(&with("A1", 200), &[]);
    assert_eq!(
        shown,
        "\
the history of \"k\": no order of these operations explains the answer that is marked
       µs  thread
  at first         it holds nothing
   0 – 50  A       put \"A1\" for 100s  ok
  10 – 60  B       put \"B1\" for 200s  ok
  70 – 71  C       get                \"A1\"
  72 – 73  C       ttl                200s   ← here it could have the TTL 100s
expected: 100s
got:      200s"
    );
    wrong(&with("B1", 100), MAY_EVICT);
    right(&with("A1", 200), STALE_READS);
    wrong(&with("A1", 300), STALE_READS);
    wrong(&with("A1", 300), BOTH);
}

#[test]
fn a_write_without_a_ttl_clears_the_old_one() {
    let written = [op(0, 0, 1, put_for("A1", 100)), op(0, 2, 3, put("A2"))];
    right(&history(written.clone().into_iter().chain([op(0, 4, 5, FOR_EVER)])), &[]);
    wrong(&history(written.into_iter().chain([op(0, 4, 5, ttl(100))])), &[]);
    // A create that was refused changes nothing.
    let refused = Action::Create("A2".into(), after(200), false);
    let refused = [op(0, 0, 1, put_for("A1", 100)), op(0, 2, 3, refused)];
    right(&history(refused.clone().into_iter().chain([op(0, 4, 5, ttl(100))])), &[]);
    wrong(&history(refused.into_iter().chain([op(0, 4, 5, ttl(200))])), &[]);
}

#[test]
fn a_touch_changes_the_ttl_alone() {
    let touched = [op(0, 0, 1, put_for("A1", 100)), op(1, 2, 50, touch(200, true))];
    right(&history(touched.clone().into_iter().chain([op(0, 60, 61, ttl(200)), op(0, 62, 63, get("A1"))])), &[]);
    wrong(&history(touched.clone().into_iter().chain([op(0, 60, 61, ttl(100))])), &[]);
    // What was written meanwhile stays, and has the TTL of either.
    let meanwhile = |left| {
        let meanwhile = [op(0, 10, 20, put_for("A2", 300)), op(0, 60, 61, left), op(0, 62, 63, get("A2"))];
        history(touched.iter().cloned().chain(meanwhile))
    };
    right(&meanwhile(ttl(200)), &[]);
    right(&meanwhile(ttl(300)), &[]);
    wrong(&meanwhile(ttl(100)), &[]);
    // It does not write back what was there.
    let back = touched.clone().into_iter().chain([op(0, 10, 20, put("A2")), op(0, 60, 61, get("A1"))]);
    let contradiction = history(back).check(&[]).unwrap_err();
    assert_eq!(contradiction.clauses(), ["P1", "P3", "T6"], "{contradiction}");
    let deleted = [op(0, 10, 20, Action::Delete(true)), op(0, 60, 61, get("A1"))];
    wrong(&history(touched.into_iter().chain(deleted)), &[]);
}

#[test]
fn a_touch_says_whether_there_was_an_entry() {
    right(&history([op(0, 0, 1, touch(100, false)), op(0, 2, 3, put("A1")), op(0, 4, 5, touch(100, true))]), &[]);
    wrong(&history([op(0, 0, 1, touch(100, true))]), &[]);
    let shown = wrong(&history([op(0, 0, 1, put("A1")), op(0, 4, 5, Action::Touch(Ttl::Forever, false))]), &[]);
    assert!(shown.contains("touch for ever  false   ← here it could hold \"A1\"\nexpected: true"), "{shown}");
}

#[test]
fn with_a_zero_ttl_a_touch_is_a_delete_and_a_write_leaves_nothing() {
    let both = |deleted, touched| {
        let both = [op(1, 2, 20, Action::Delete(deleted)), op(2, 3, 30, touch(0, touched))];
        history([op(0, 0, 1, put("A1"))].into_iter().chain(both))
    };
    right(&both(true, false), &[]);
    right(&both(false, true), &[]);
    wrong(&both(true, true), &[]);
    wrong(&both(false, false), &[]);
    right(&history([op(0, 0, 1, put("A1")), op(0, 2, 3, put_for("A2", 0)), op(0, 4, 5, Action::Contains(false))]), &[]);
    wrong(&history([op(0, 0, 1, put_for("A2", 0)), op(0, 4, 5, get("A2"))]), &[]);
    // A create with a zero TTL says whether there was an entry, and leaves none.
    let zero = |created| Action::Create("A1".into(), after(0), created);
    right(&history([op(0, 0, 1, zero(true)), op(0, 2, 3, create("A2", true)), op(0, 4, 5, zero(false))]), &[]);
    wrong(&history([op(0, 0, 1, zero(true)), op(0, 2, 3, create("A2", false))]), &[]);
}

#[test]
fn what_is_left_is_told_with_an_error() {
    let told = |left: Duration| {
        history([op(0, 0, 1, put_for("A1", 100)), op(0, 2, 10, Action::Ttl(Some(Remaining::For(left))))])
    };
    let second = Duration::from_secs(1);
    // Time passes for the store, or does not.
    right(&told(Duration::from_secs(100)), &[]);
    right(&told(Duration::from_micros(100_000_000 - 10)), &[]);
    wrong(&told(Duration::from_micros(100_000_000 - 11)), &[]);
    right(&told(Duration::from_secs(99)).ttl_tolerance(second), &[]);
    right(&told(Duration::from_secs(101)).ttl_tolerance(second), &[]);
    wrong(&told(Duration::from_secs(102)).ttl_tolerance(second), &[]);
}

#[test]
fn a_touch_without_an_answer_happens_late_or_never() {
    let touched = [op(0, 0, 1, put_for("A1", 100)), unanswered(1, 2, touch(200, true)), op(0, 4, 5, ttl(100))];
    right(&history(touched.clone().into_iter().chain([op(0, 6, 7, ttl(200))])), &[]);
    wrong(&history(touched.into_iter().chain([op(0, 6, 7, ttl(200)), op(0, 8, 9, ttl(100))])), &[]);
}

#[test]
fn a_ttl_that_is_not_known_may_be_any() {
    let unknown = history([op(0, 0, 1, ttl(7))]).starting_with([super::held("Z1")]);
    right(&unknown, &[]);
    right(&history([op(0, 0, 1, Action::Put("A1".into(), Ttl::Default)), op(0, 2, 3, ttl(7))]), &[]);
    wrong(&history([op(0, 0, 1, ttl(7))]), &[]);
}
