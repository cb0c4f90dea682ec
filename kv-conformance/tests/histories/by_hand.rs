//! Histories written by hand.

use kv_core::Ttl;

use super::{
    Action, BOTH, History, MAY_EVICT, NOTHING, STALE_READS, Weakness, create, get, held, history, op, put, unanswered,
};

#[track_caller]
pub(super) fn right(history: &History, weaknesses: &[Weakness]) {
    history.check(weaknesses).unwrap_or_else(|contradiction| panic!("{contradiction}"));
}

/// There is no order; what is shown of that.
#[track_caller]
pub(super) fn wrong(history: &History, weaknesses: &[Weakness]) -> String {
    let contradiction = history.check(weaknesses).unwrap_err();
    // What remains of it is a proof by itself, if it is not about what reads have told before.
    if !weaknesses.contains(&Weakness::StaleReads) {
        contradiction.history().check(weaknesses).unwrap_err();
    }
    contradiction.to_string()
}

#[test]
fn what_one_thread_does_is_in_its_order() {
    right(&history([]), &[]);
    let steps = [NOTHING, put("A1"), get("A1"), create("A2", false), Action::Contains(true), Action::Delete(true)];
    let then = [Action::Delete(false), Action::Contains(false), create("A3", true), get("A3")];
    let operations = (0..).zip(steps.into_iter().chain(then));
    right(&history(operations.map(|(n, action)| op(0, 10 * n, 10 * n + 9, action))), &[]);
}

#[test]
fn what_overlaps_may_be_in_any_order() {
    let writes = [op(0, 0, 50, put("A1")), op(1, 10, 60, put("B1"))];
    for last in ["A1", "B1"] {
        right(&history(writes.iter().cloned().chain([op(2, 70, 80, get(last))])), &[]);
    }
    // A read in the middle sees any of them, or nothing yet.
    for read in [get("A1"), get("B1"), NOTHING] {
        right(&history(writes.iter().cloned().chain([op(2, 20, 30, read)])), &[]);
    }
    // At the same time is no order.
    right(&history([op(0, 0, 10, put("A1")), op(1, 10, 20, NOTHING)]), &[]);
}

#[test]
fn a_stale_read_has_no_order() {
    let stale = history([op(0, 0, 10, put("A1")), op(0, 20, 30, put("A2")), op(1, 40, 50, get("A1"))]);
    let shown = wrong(&stale, &[]);
    assert_eq!(
        shown,
        "\
the history of \"k\": no order of these operations explains the answer that is marked
       µs  thread
  at first         it holds \"A1\"
   0 – 10  A       put \"A2\"  ok
  20 – 30  B       get       \"A1\"   ← here it could hold \"A2\"
expected: \"A2\"
got:      \"A1\""
    );
    wrong(&stale, MAY_EVICT);
    right(&stale, STALE_READS);
    right(&stale, BOTH);
}

#[test]
fn two_reads_do_not_go_back() {
    // The write is under way: one may see it, but then nobody may see what was before.
    let back = history([op(0, 0, 100, put("A1")), op(1, 10, 20, get("A1")), op(2, 30, 40, NOTHING)]);
    wrong(&back, &[]);
    right(&back, MAY_EVICT);
    right(&back, STALE_READS);
}

#[test]
fn a_lost_write_has_no_order() {
    let lost = history([op(0, 0, 10, put("A1")), op(1, 5, 15, put("B1")), op(0, 20, 30, NOTHING)]);
    let shown = wrong(&lost, &[]);
    assert!(
        shown.contains("← here it could hold \"A1\" or \"B1\"\nexpected: \"A1\" or \"B1\"\ngot:      nothing"),
        "{shown}"
    );
    right(&lost, MAY_EVICT);
    right(&lost, STALE_READS);

    // That an answer has to fit is not a matter of reads.
    let lost = history([op(0, 0, 10, put("A1")), op(0, 20, 30, Action::Delete(false))]);
    wrong(&lost, &[]);
    wrong(&lost, STALE_READS);
    right(&lost, MAY_EVICT);
}

#[test]
fn two_creates_succeed_only_with_a_delete_in_between() {
    let creates = [op(0, 0, 50, create("A1", true)), op(1, 10, 60, create("B1", true))];
    let shown = wrong(&history(creates.clone()), &[]);
    assert!(shown.contains("expected: false\ngot:      true"), "{shown}");
    wrong(&history(creates.clone()), STALE_READS);
    right(&history(creates.clone()), MAY_EVICT);
    right(&history(creates.into_iter().chain([op(2, 5, 70, Action::Delete(true))])), &[]);
    right(&history([op(0, 0, 50, create("A1", true)), op(1, 10, 60, create("B1", false))]), &[]);
    // Nothing is there that could refuse it.
    wrong(&history([op(0, 0, 50, create("A1", false))]), &[]);
    wrong(&history([op(0, 0, 50, create("A1", false))]), BOTH);
}

#[test]
fn what_was_never_there_is_not_deleted() {
    for weaknesses in [&[], MAY_EVICT, STALE_READS, BOTH] {
        wrong(&history([op(0, 0, 10, Action::Delete(true))]), weaknesses);
        let twice = [op(0, 0, 10, put("A1")), op(0, 20, 40, Action::Delete(true)), op(1, 30, 50, Action::Delete(true))];
        wrong(&history(twice), weaknesses);
    }
    // Unless it was there before.
    right(&history([op(0, 0, 10, Action::Delete(true))]).starting_with([None, held("Z1")]), &[]);
}

#[test]
fn what_was_never_written_is_not_read() {
    for weaknesses in [&[], MAY_EVICT, STALE_READS, BOTH] {
        wrong(&history([op(0, 0, 10, put("A1")), op(0, 20, 30, get("B1"))]), weaknesses);
        // Not before it was written.
        wrong(&history([op(0, 0, 10, get("B1")), op(1, 20, 30, put("B1"))]), weaknesses);
        // And not where it was refused.
        let refused = [op(0, 0, 10, put("A1")), op(1, 20, 30, create("B1", false)), op(0, 40, 50, get("B1"))];
        wrong(&history(refused), weaknesses);
        wrong(&history([op(0, 0, 10, Action::Contains(true))]), weaknesses);
    }
    let shown = wrong(&history([op(0, 0, 10, put("A1")), op(0, 20, 30, get("B1"))]), STALE_READS);
    assert!(shown.contains("← until here it could hold nothing or \"A1\"\n"), "{shown}");
}

#[test]
fn a_write_without_an_answer_happens_late_or_never() {
    let late = |reads: &[Action]| {
        let reads = (0..).zip(reads).map(|(n, action)| op(1, 30 + 10 * n, 35 + 10 * n, action.clone()));
        let unknown = [unanswered(0, 0, put("A1")), op(1, 10, 20, put("B1"))];
        history(unknown.into_iter().chain(reads))
    };
    right(&late(&[get("B1"), get("B1")]), &[]);
    right(&late(&[get("B1"), get("A1")]), &[]);
    right(&late(&[get("A1"), get("A1")]), &[]);
    // Once it has happened it does not happen again.
    wrong(&late(&[get("A1"), get("B1")]), &[]);
    // Nor before it was called.
    wrong(&history([op(1, 0, 10, get("A1")), unanswered(0, 20, put("A1"))]), &[]);

    let deleted = [op(0, 0, 10, put("A1")), unanswered(1, 20, Action::Delete(true)), op(0, 30, 40, get("A1"))];
    right(&history(deleted.clone().into_iter().chain([op(0, 50, 60, NOTHING)])), &[]);
    wrong(&history(deleted.into_iter().chain([op(0, 50, 60, NOTHING), op(0, 70, 80, get("A1"))])), &[]);

    let created = [unanswered(0, 0, create("A1", true)), op(1, 10, 20, create("B1", false)), op(1, 30, 40, get("A1"))];
    right(&history(created), &[]);
    wrong(&history([unanswered(0, 0, create("A1", true)), op(1, 10, 20, put("B1")), op(1, 30, 40, get("A1"))]), &[]);
}

#[test]
fn many_writes_without_an_answer_are_no_trouble() {
    let unknown = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18"];
    let mut operations = (0..).zip(unknown).map(|(n, value)| unanswered(9, n, put(value))).collect::<Vec<_>>();
    operations.extend((20..40).map(|n| unanswered(8, n, Action::Delete(true))));
    for n in 0..30 {
        let action = if n % 3 == 0 { NOTHING } else { Action::Put(format!("A{n}").into(), Ttl::Forever) };
        operations.push(op(0, 100 + 10 * n, 105 + 10 * n, action));
    }
    right(&history(operations.clone()), &[]);
    operations.push(op(0, 1000, 1001, get("never")));
    wrong(&history(operations), &[]);
}

#[test]
fn what_had_not_returned_where_the_order_ends_has_no_answer_yet() {
    let shown = wrong(
        &history([
            op(0, 0, 10, put("A1")),
            op(0, 20, 30, get("A1")),
            op(1, 40, 50, create("B1", false)),
            op(0, 60, 90, put("A2")),
            op(1, 70, 400, put("B2")),
            op(3, 75, 500, create("D1", false)),
            op(3, 76, 500, get("A2")),
            op(2, 100, 110, NOTHING),
            op(0, 120, 130, Action::Delete(true)),
        ]),
        &[],
    );
    assert_eq!(
        shown,
        "\
the history of \"k\": no order of these operations explains the answer that is marked
       µs  thread
  at first         it holds \"A1\"
   0 – 30  A       put \"A2\"  ok
  10 –     B       put \"B2\"  no answer
  40 – 50  C       get       nothing     ← here it could hold \"A2\" or \"B2\"
expected: \"A2\" or \"B2\"
got:      nothing"
    );
}

#[test]
fn moments_that_would_look_the_same_are_shown_with_more_digits() {
    let nanoseconds = std::time::Duration::from_nanos;
    let at = |began, ended, action| {
        history([op(0, 0, 0, put("A1"))]).operations()[0].clone().with(nanoseconds(began), nanoseconds(ended), action)
    };
    let shown = wrong(
        &history([at(7_100, 7_250, put("A1")), at(7_300, 8_900, Action::Contains(false))]),
        MAY_EVICT.get(1..).unwrap(),
    );
    assert!(shown.contains("\n  0.000 – 0.150  A       put \"A1\"  ok"), "{shown}");
    assert!(shown.contains("\n  0.200 – 1.800  A       contains  false   ← here it could hold \"A1\""), "{shown}");
}

trait With {
    fn with(self, began: std::time::Duration, ended: std::time::Duration, action: Action) -> Self;
}

impl With for kv_conformance::history::Operation {
    fn with(self, began: std::time::Duration, ended: std::time::Duration, action: Action) -> Self {
        Self::new(self.thread, began, Some(ended), action)
    }
}

#[test]
fn a_refused_create_is_not_explained_by_a_stale_read() {
    let refused = [op(0, 0, 1, put("A1")), op(0, 2, 3, Action::Delete(true)), op(1, 4, 5, create("B1", false))];
    let contradiction = history(refused).check(STALE_READS).unwrap_err();
    assert_eq!(contradiction.could_hold(), [None], "{contradiction}");
}
