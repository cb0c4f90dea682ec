//! The programs on the page *Updates*: races in memory, and replies that are lost.

#![allow(clippy::unwrap_used, reason = "clippy does not see that the helpers of tests are tests")]

use std::fmt;
use std::time::Duration;

use kv_core::{KeyValueStore, KeyValueStoreExt, Result};
use kv_memory::{ManualClock, MemoryStore};

use crate::races::documents::{self, Saved};
use crate::races::lock::Lock;
use crate::races::{self, codes, sessions};
use crate::stores::{ByContent, Lost, Unsteady};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn the_programs_win_their_races() {
    for threads in [16, 100] {
        races::run(&MemoryStore::new(), threads);
    }
}

#[test]
fn the_programs_win_their_races_where_a_version_is_the_value() {
    races::run(&ByContent::default(), 16);
}

/// Both kinds of stores: with exact versions, and without.
fn with_both(test: impl Fn(&dyn KeyValueStore)) {
    test(&MemoryStore::new());
    test(&ByContent::default());
}

#[test]
fn the_programs_are_on_their_page() {
    let page = include_str!("../../guide/updates.md");
    for code in [
        include_str!("../../examples/updates/lock.rs"),
        include_str!("../../examples/updates/counters.rs"),
        include_str!("../../examples/updates/codes.rs"),
        include_str!("../../examples/updates/sessions.rs"),
        include_str!("../../examples/updates/documents.rs"),
    ] {
        let (_what_it_is, code) = code.split_once("\n\n").unwrap();
        super::is_on_page(code, page);
    }
}

#[test]
fn a_session_expires_some_time_after_its_last_use() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    sessions::begin(&store, "42", "ada").unwrap();
    for _ in 0..3 {
        clock.advance(20 * MINUTE);
        assert!(sessions::read(&store, "42").unwrap().is_some());
        clock.advance(20 * MINUTE);
        assert!(sessions::add_item(&store, "42", "a book").unwrap());
    }
    clock.advance(30 * MINUTE);
    assert_eq!(sessions::read(&store, "42").unwrap(), None);
    assert!(!sessions::add_item(&store, "42", "a pen").unwrap());
}

fn is_unknown<T: fmt::Debug>(result: Result<T>) -> bool {
    result.unwrap_err().outcome_unknown()
}

#[test]
fn a_lock_whose_reply_is_lost_is_ours_or_expires() {
    let clock = ManualClock::new();
    let inner = MemoryStore::builder().clock(clock.clone()).build().unwrap();
    let store = Unsteady::new(&inner);
    let acquire = || Lock::acquire(&store, "lock", MINUTE);

    store.lose(Lost::Reply);
    let ours = acquire().unwrap().expect("the token says so");
    assert!(acquire().unwrap().is_none());
    assert!(ours.release().unwrap());

    store.lose(Lost::Request);
    assert!(is_unknown(acquire()));
    assert!(acquire().unwrap().unwrap().release().unwrap());

    store.lose(Lost::Late);
    assert!(is_unknown(acquire()));
    store.deliver();
    assert!(acquire().unwrap().is_none(), "nobody has it");
    clock.advance(MINUTE);
    assert!(acquire().unwrap().unwrap().release().unwrap());
}

#[test]
fn a_renewal_whose_reply_is_lost_does_not_lose_the_lock() {
    with_both(|inner| {
        let store = Unsteady::new(inner);
        for lost in [Lost::Reply, Lost::Request, Lost::Late] {
            let mut lock = Lock::acquire(&store, "lock", MINUTE).unwrap().unwrap();
            store.lose(lost);
            assert!(is_unknown(lock.renew()), "{lost:?}");
            assert!(lock.left() > Duration::ZERO && lock.renew().unwrap(), "{lost:?}");
            store.lose(lost);
            assert!(is_unknown(lock.renew()), "{lost:?}");
            store.deliver();
            assert!(lock.release().unwrap(), "{lost:?}");
            assert!(inner.get("lock:lock").unwrap().is_none(), "{lost:?}");
        }
    });
}

#[test]
fn a_late_renewal_does_not_bring_back_what_was_released() {
    with_both(|inner| {
        let store = Unsteady::new(inner);
        let mut lock = Lock::acquire(&store, "lock", MINUTE).unwrap().unwrap();
        store.lose(Lost::Late);
        assert!(is_unknown(lock.renew()));
        assert!(lock.release().unwrap());
        let next = Lock::acquire(&store, "lock", MINUTE).unwrap().unwrap();
        store.deliver();
        assert!(next.release().unwrap(), "it is still the next one's");
    });
}

#[test]
fn a_release_whose_reply_is_lost_does_not_release_the_lock_of_the_next() {
    with_both(|inner| {
        let store = Unsteady::new(inner);
        let lock = Lock::acquire(&store, "lock", MINUTE).unwrap().unwrap();
        store.lose(Lost::Reply);
        assert!(is_unknown(lock.release()));
        let next = Lock::acquire(&store, "lock", MINUTE).unwrap().unwrap();
        assert!(next.release().unwrap());
    });
}

#[test]
fn a_document_is_saved_once_however_often_it_is_tried() {
    for lost in [Lost::Reply, Lost::Request, Lost::Late] {
        with_both(|inner| {
            let store = Unsteady::new(inner);
            documents::create(&store, "plan", "draft", "a").unwrap();
            store.lose(lost);
            assert!(is_unknown(documents::save(&store, "plan", "ours", "a", "b")), "{lost:?}");
            assert_eq!(documents::save(&store, "plan", "ours", "a", "b").unwrap(), Saved::Yes, "{lost:?}");
            assert_eq!(documents::save(&store, "plan", "theirs", "b", "c").unwrap(), Saved::Yes, "{lost:?}");
            store.deliver();
            let (_, text) = documents::load(&store, "plan").unwrap().unwrap();
            assert_eq!(text, "theirs", "{lost:?}: what arrives late changes nothing");

            let rule = |text| format!("{text}!");
            store.lose(lost);
            assert!(is_unknown(documents::edit(&store, "plan", "d", rule)), "{lost:?}");
            assert!(documents::edit(&store, "plan", "d", rule).unwrap(), "{lost:?}");
            store.deliver();
            let (_, text) = documents::load(&store, "plan").unwrap().unwrap();
            assert_eq!(text, "theirs!", "{lost:?}");
        });
    }
}

#[test]
fn a_code_whose_reply_is_lost_is_never_used_twice() {
    for lost in [Lost::Reply, Lost::Request, Lost::Late] {
        with_both(|inner| {
            let store = Unsteady::new(inner);
            codes::issue(&store, "ada", "4711").unwrap();
            store.lose(lost);
            assert!(is_unknown(codes::redeem(&store, "ada", "4711")), "{lost:?}");
            let was_done = matches!(lost, Lost::Reply);
            assert_eq!(codes::redeem(&store, "ada", "4711").unwrap(), !was_done, "{lost:?}");
            codes::issue(&store, "ada", "0815").unwrap();
            store.deliver();
            assert!(codes::redeem(&store, "ada", "0815").unwrap(), "{lost:?}: what arrives late is not for this code");
        });
    }
}

#[test]
fn a_code_that_is_replaced_after_it_was_read_is_void() {
    with_both(|inner| {
        let store = Unsteady::new(inner);
        codes::issue(&store, "ada", "old").unwrap();
        store.after_read(|| codes::issue(inner, "ada", "new").unwrap());
        assert!(!codes::redeem(&store, "ada", "old").unwrap());
        assert!(codes::redeem(&store, "ada", "new").unwrap());
    });
}

#[test]
fn a_session_that_changes_after_it_was_read_is_read_again() {
    with_both(|inner| {
        let store = Unsteady::new(inner);
        sessions::begin(&store, "42", "ada").unwrap();
        store.after_read(|| assert!(sessions::add_item(inner, "42", "theirs").unwrap()));
        assert!(sessions::add_item(&store, "42", "ours").unwrap());
        assert_eq!(sessions::read(&store, "42").unwrap().unwrap(), ["ada", "theirs", "ours"]);
        store.after_read(|| assert!(sessions::end(inner, "42").unwrap()));
        assert!(!sessions::add_item(&store, "42", "late").unwrap());
        assert_eq!(sessions::read(inner, "42").unwrap(), None);
    });
}

#[test]
fn a_document_that_changes_after_it_was_read_is_not_overwritten() {
    with_both(|inner| {
        let store = Unsteady::new(inner);
        documents::create(&store, "plan", "draft", "a").unwrap();
        store.after_read(|| assert_eq!(documents::save(inner, "plan", "theirs", "a", "b").unwrap(), Saved::Yes));
        assert_eq!(documents::save(&store, "plan", "ours", "a", "c").unwrap(), Saved::Changed);
        store.after_read(|| assert_eq!(documents::save(inner, "plan", "theirs too", "b", "d").unwrap(), Saved::Yes));
        assert!(documents::edit(&store, "plan", "e", |text| format!("{text}!")).unwrap());
        assert_eq!(documents::load(&store, "plan").unwrap(), Some(("e".into(), "theirs too!".into())));
    });
}
