//! Copies and renames in histories: a write at one key, a read or a removal at the other.

use kv_conformance::history::{History, Operation, Recorder};
use kv_core::{KeyValueStoreExt, Ttl, key};
use kv_memory::MemoryStore;

use super::by_hand::{right, wrong};
use super::{Action, MAY_EVICT, NOTHING, after, get, held, history, op, put, unanswered};

fn copied(values: &[&'static str]) -> Action {
    Action::CopiedHere { values: values.iter().map(|&value| value.into()).collect(), ttls: vec![Ttl::Forever] }
}

fn renamed(value: &'static str) -> Action {
    Action::RenamedAway(held(value))
}

#[test]
fn a_copy_writes_one_of_the_values_that_were_there() {
    let copied = |reads: &[Action]| {
        let reads = (0..).zip(reads).map(|(n, action)| op(1, 30 + 10 * n, 35 + 10 * n, action.clone()));
        history([op(0, 0, 10, put("A1")), op(0, 20, 25, copied(&["X1", "X2"]))].into_iter().chain(reads))
    };
    right(&copied(&[get("X1"), get("X1")]), &[]);
    right(&copied(&[get("X2")]), &[]);
    wrong(&copied(&[get("X1"), get("X2")]), &[]);
    wrong(&copied(&[get("A1")]), &[]);
    wrong(&copied(&[NOTHING]), &[]);
    right(&copied(&[NOTHING]), MAY_EVICT);
    // What nobody sees it may be, too, and then it is what it was.
    right(&copied(&[Action::Contains(true), Action::Delete(true), NOTHING]), &[]);
    // Nothing was ever there.
    let shown = wrong(&history([op(0, 0, 1, self::copied(&[]))]), &[]);
    assert!(shown.contains("copy to here  ok"), "{shown}");
}

#[test]
fn what_was_renamed_is_there_no_more() {
    right(&history([op(0, 0, 10, put("A1")), op(0, 20, 30, renamed("A1")), op(0, 40, 50, NOTHING)]), &[]);
    let stays = history([op(0, 0, 10, put("A1")), op(0, 20, 30, renamed("A1")), op(0, 40, 50, get("A1"))]);
    let contradiction = stays.check(&[]).unwrap_err();
    assert!(contradiction.clauses().contains(&"C2"), "{contradiction}");
    wrong(&history([op(0, 0, 10, put("A1")), op(0, 20, 30, renamed("B1"))]), &[]);
    wrong(&history([op(0, 20, 30, Action::RenamedAway(None))]), &[]);
    right(&history([op(0, 0, 10, put("A1")), op(0, 20, 30, Action::RenamedAway(None)), op(0, 40, 50, NOTHING)]), &[]);
}

#[test]
fn a_rename_may_be_a_copy_and_a_removal() {
    // Two at once may move the same entry, or one finds none. (The documentation of `rename_entry` says so.)
    let both = [op(0, 0, 10, put("A1")), op(1, 20, 30, renamed("A1")), op(2, 21, 31, renamed("A1"))];
    right(&history(both), &[]);
    right(&history([op(0, 0, 10, put("A1")), op(1, 20, 30, renamed("A1")), op(2, 21, 31, NOTHING)]), &[]);
    // One after the other they may not.
    wrong(&history([op(0, 0, 10, put("A1")), op(1, 20, 30, renamed("A1")), op(2, 40, 50, renamed("A1"))]), &[]);
    // What is written in between stays or not. What was there before does not come back.
    let meanwhile = [op(0, 0, 10, put("A1")), op(1, 20, 60, renamed("A1")), op(2, 30, 40, put("C1"))];
    right(&history(meanwhile.clone().into_iter().chain([op(0, 70, 80, get("C1"))])), &[]);
    right(&history(meanwhile.clone().into_iter().chain([op(0, 70, 80, NOTHING)])), &[]);
    wrong(&history(meanwhile.into_iter().chain([op(0, 70, 80, get("A1"))])), &[]);
    // And a new TTL may make it another entry.
    let touched = [op(0, 0, 10, put("A1")), op(1, 20, 60, renamed("A1")), op(2, 30, 40, Action::Touch(after(9), true))];
    right(&history(touched.into_iter().chain([op(0, 70, 80, get("A1"))])), &[]);
}

#[test]
fn a_rename_without_an_answer_removes_late_or_never() {
    let unknown = [op(0, 0, 10, put("A1")), unanswered(1, 20, Action::RenamedAway(None)), op(0, 30, 40, get("A1"))];
    right(&history(unknown.clone().into_iter().chain([op(0, 50, 60, NOTHING)])), &[]);
    wrong(&history(unknown.into_iter().chain([op(0, 50, 60, NOTHING), op(0, 70, 80, get("A1"))])), &[]);
}

/// The history of a key.
fn of<'h>(histories: &'h [History], key: &str) -> &'h [Operation] {
    histories.iter().find(|history| history.key().as_str() == key).unwrap().operations()
}

#[test]
fn transfers_are_recorded_at_both_keys() {
    let (store, recorder) = (MemoryStore::new(), Recorder::new().default_ttl(None));
    let mut thread = recorder.thread(&store);
    let (a, b, own) = (key!("a"), key!("b"), key!("own"));
    thread.put_with_ttl(own, "1".into(), after(100)).unwrap();
    thread.put_by_copy(a, own, "1".into(), after(100)).unwrap();
    assert_eq!(thread.get_by_copy(a, own).unwrap(), held("1"));
    assert!(thread.copy(a, b).unwrap());
    assert!(thread.rename(b, a).unwrap());
    assert!(!thread.rename(b, a).unwrap());
    assert!(!thread.copy(b, a).unwrap());
    thread.put(own, "2".into()).unwrap();
    thread.put_by_rename(b, own, "2".into(), Ttl::Default).unwrap();
    assert_eq!(thread.get_by_rename(b, own).unwrap(), held("2"));
    assert_eq!(thread.get_by_rename(b, own).unwrap(), None);
    assert_eq!(store.get_many([a, b, own]).unwrap(), [held("1"), None, held("2")]);

    let histories = History::of([thread]);
    for history in &histories {
        right(history, &[]);
    }
    let shown = |key| of(&histories, key).iter().map(|of| format!("{of} -> {:?}", of.action)).collect::<Vec<_>>();
    // What may have been copied to `a`: what was copied from there before, too.
    let copied = r#"CopiedHere { values: [b"1"], ttls: [After(100s)] }"#;
    assert_eq!(
        shown("a"),
        [
            r#"copy "1" for 100s -> Put(b"1", After(100s))"#.to_owned(),
            r#"copy -> Get(Some(b"1"))"#.to_owned(),
            "copy -> Contains(true)".to_owned(),
            format!("rename to here -> {copied}"),
        ]
    );
    assert_eq!(
        shown("b"),
        [
            format!("copy to here -> {copied}"),
            "rename from here -> RenamedAway(None)".to_owned(),
            "rename -> Get(None)".to_owned(),
            "copy -> Get(None)".to_owned(),
            r#"rename "2" -> Put(b"2", Forever)"#.to_owned(),
            r#"rename from here -> RenamedAway(Some(b"2"))"#.to_owned(),
            "rename -> Get(None)".to_owned(),
        ]
    );
}
