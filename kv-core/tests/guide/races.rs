//! Races of the programs on the page *Updates*, on any store: the tests of each backend run them, too.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy does not see that the helpers of tests are tests"
)]

#[path = "../../examples/updates/codes.rs"]
pub(crate) mod codes;
#[path = "../../examples/updates/counters.rs"]
pub(crate) mod counters;
#[path = "../../examples/updates/documents.rs"]
pub(crate) mod documents;
#[path = "../../examples/updates/lock.rs"]
pub(crate) mod lock;
#[path = "../../examples/updates/sessions.rs"]
pub(crate) mod sessions;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use documents::Saved;
use kv_core::{Error, KeyValueStore, KeyValueStoreExt, Ttl};
use lock::Lock;

const MINUTE: Duration = Duration::from_secs(60);

/// A race: it gets an empty store, and the number of threads.
type Race = fn(&dyn KeyValueStore, usize);

/// All races, with their names. Each uses its own keys.
pub(crate) const RACES: &[(&str, Race)] = &[
    ("a lock has one holder at a time", a_lock_has_one_holder_at_a_time),
    ("an expired lock is lost", an_expired_lock_is_lost),
    ("reports are made one after the other", reports_are_made_one_after_the_other),
    ("a limit admits exactly so many", a_limit_admits_exactly_so_many),
    ("a window ends", a_window_ends),
    ("no count is lost", no_count_is_lost),
    ("a text is not a counter", a_text_is_not_a_counter),
    ("a code is used once", a_code_is_used_once),
    ("a replaced code is void, and the new one is not", a_replaced_code_is_void_and_the_new_one_is_not),
    ("guesses are limited", guesses_are_limited),
    ("an invitation is used once", an_invitation_is_used_once),
    ("no item of a session is lost", no_item_of_a_session_is_lost),
    ("a session that has ended does not come back", a_session_that_has_ended_does_not_come_back),
    ("no change of a document is lost", no_change_of_a_document_is_lost),
    ("a document is not created twice", a_document_is_not_created_twice),
];

/// Runs all races.
pub(crate) fn run(store: &dyn KeyValueStore, threads: usize) {
    for (name, race) in RACES {
        eprintln!("{name}");
        race(store, threads);
    }
}

/// Calls `act` on so many threads at the same time; returns the results in the order of their numbers.
fn at_once<T: Send>(threads: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn({
                    let act = &act;
                    move || act(number)
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn count<T: PartialEq>(results: &[T], wanted: &T) -> usize {
    results.iter().filter(|result| *result == wanted).count()
}

/// Waits until an entry that was stored at `stored` or before has expired.
fn wait_for_end(store: &dyn KeyValueStore, stored: Instant, ttl: Duration) {
    thread::sleep((ttl + store.capabilities().ttl_resolution()).saturating_sub(stored.elapsed()));
}

fn a_lock_has_one_holder_at_a_time(store: &dyn KeyValueStore, threads: usize) {
    let (inside, fences) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    at_once(threads, |number| {
        let mut lock = loop {
            match Lock::acquire(store, "race", MINUTE).unwrap() {
                Some(lock) => break lock,
                None => thread::sleep(Duration::from_micros(100 + 37 * number as u64)),
            }
        };
        assert_eq!(inside.fetch_add(1, SeqCst), 0, "two holders");
        fences.lock().unwrap().push(lock.fence());
        assert!(lock.renew().unwrap() && lock.left() > MINUTE / 2);
        inside.fetch_sub(1, SeqCst);
        assert!(lock.release().unwrap(), "it was ours");
    });
    let fences = fences.into_inner().unwrap();
    assert!(fences.len() == threads && fences.is_sorted_by(|one, next| one < next), "{fences:?}");
}

fn an_expired_lock_is_lost(store: &dyn KeyValueStore, _: usize) {
    let ttl = Duration::from_secs(1);
    let Some(mut first) = Lock::acquire(store, "brief", ttl).unwrap() else {
        return eprintln!("  SKIPPED: the machine was too busy");
    };
    let stored = Instant::now(); // or earlier: the TTL ends at the latest so much later
    let other = Lock::acquire(store, "brief", MINUTE).unwrap();
    if first.left().is_zero() {
        return eprintln!("  SKIPPED: the machine was too busy");
    }
    assert!(other.is_none());
    wait_for_end(store, stored, ttl);
    assert_eq!(first.left(), Duration::ZERO);
    let second = Lock::acquire(store, "brief", MINUTE).unwrap().unwrap();
    assert!(second.fence() > first.fence());
    assert!(!first.renew().unwrap());
    assert!(!first.release().unwrap(), "it is another's");
    assert!(Lock::acquire(store, "brief", MINUTE).unwrap().is_none(), "the second has it still");
    assert!(second.release().unwrap());
}

fn reports_are_made_one_after_the_other(store: &dyn KeyValueStore, threads: usize) {
    let saved = Mutex::new((0, Vec::new()));
    let made = at_once(threads, |_| {
        let pages = ["page 1", "page 2", "page 3"].map(str::to_owned);
        let save = |number, page| {
            let mut saved = saved.lock().unwrap();
            let is_newest = number >= saved.0;
            if is_newest {
                saved.0 = number;
                saved.1.push((number, page));
            }
            is_newest
        };
        lock::make_report(store, pages, save).unwrap()
    });
    let (last, pages) = saved.into_inner().unwrap();
    let reports = count(&made, &true);
    assert!(reports >= 1 && last == reports as u64 && pages.len() == 3 * reports, "{pages:?}");
    assert!(pages.is_sorted(), "they were made one after the other: {pages:?}");
}

fn a_limit_admits_exactly_so_many(store: &dyn KeyValueStore, threads: usize) {
    let admitted = at_once(threads, |_| (0..10).filter(|_| counters::admit(store, "192.0.2.1", 25, MINUTE)).count());
    assert_eq!(admitted.iter().sum::<usize>(), 25.min(10 * threads));
    assert!(counters::admit(store, "192.0.2.2", 25, MINUTE), "another client");
    assert!(!counters::admit(store, "not a key", 25, MINUTE), "a name that cannot be counted");
    store.put("requests:192.0.2.4", "no number").unwrap();
    assert!(!counters::admit(store, "192.0.2.4", 25, MINUTE), "a key that is no counter");
}

fn a_window_ends(store: &dyn KeyValueStore, _: usize) {
    let window = Duration::from_secs(1);
    let admit = || counters::admit(store, "192.0.2.3", 1, window);
    let began = Instant::now(); // the window begins between this and `stored`
    let first = admit();
    let stored = Instant::now();
    let second = admit();
    thread::sleep(window / 2);
    let later = admit(); // which does not make the window longer
    if began.elapsed() >= window {
        return eprintln!("  SKIPPED: the machine was too busy");
    }
    assert!(first && !second && !later);
    wait_for_end(store, stored, window);
    assert!(admit());
}

fn no_count_is_lost(store: &dyn KeyValueStore, threads: usize) {
    let sums = at_once(threads, |_| (0..50).map(|_| counters::count(store, "visits", 1).unwrap()).collect::<Vec<_>>());
    let numbers: BTreeSet<_> = sums.into_iter().flatten().collect();
    let all = 50 * threads as u64;
    assert!(numbers.iter().copied().eq(1..=all), "each number is given once");
    assert_eq!(counters::counted(store, "visits").unwrap(), all);
    assert_eq!(counters::counted(store, "nothing").unwrap(), 0);
}

fn a_text_is_not_a_counter(store: &dyn KeyValueStore, _: usize) {
    store.put("count:text", "many").unwrap();
    let error = counters::count(store, "text", 1).unwrap_err();
    assert!(matches!(error, Error::NotACounter { .. }) && !error.is_transient(), "{error}");
    assert_eq!(store.get("count:text").unwrap().as_deref(), Some(&b"many"[..]));
    assert!(counters::counted(store, "text").is_err());
}

fn a_code_is_used_once(store: &dyn KeyValueStore, threads: usize) {
    for round in 0..20 {
        let user = format!("once{round}");
        codes::issue(store, &user, "4711").unwrap();
        let redeemed = at_once(threads, |_| codes::redeem(store, &user, "4711").unwrap());
        assert_eq!(count(&redeemed, &true), 1);
    }
}

fn a_replaced_code_is_void_and_the_new_one_is_not(store: &dyn KeyValueStore, _: usize) {
    for round in 0..50 {
        let user = format!("replaced{round}");
        codes::issue(store, &user, "old").unwrap();
        assert!(!codes::redeem(store, &user, "wrong").unwrap());
        let is_replaced = AtomicBool::new(false);
        let results = at_once(3, |number| {
            if number == 1 {
                codes::issue(store, &user, "new").unwrap();
                is_replaced.store(true, SeqCst);
                return false;
            }
            let is_late = is_replaced.load(SeqCst);
            let redeemed = codes::redeem(store, &user, "old").unwrap();
            assert!(!(is_late && redeemed), "a replaced code");
            redeemed
        });
        assert!(count(&results, &true) <= 1);
        assert!(!codes::redeem(store, &user, "old").unwrap(), "it is void");
        assert!(codes::redeem(store, &user, "new").unwrap(), "the new code was destroyed");
    }
}

fn guesses_are_limited(store: &dyn KeyValueStore, threads: usize) {
    codes::issue(store, "guessed", "4711").unwrap();
    let guessed = at_once(threads.max(5), |number| codes::redeem(store, "guessed", &number.to_string()).unwrap());
    assert_eq!(count(&guessed, &true), 0);
    assert!(!codes::redeem(store, "guessed", "4711").unwrap(), "there were five guesses");
}

fn an_invitation_is_used_once(store: &dyn KeyValueStore, threads: usize) {
    for round in 0..20 {
        let digest = format!("{round:04x}");
        assert!(codes::invite(store, &digest, "the party").unwrap());
        let accepted = at_once(threads, |_| codes::accept(store, &digest).unwrap());
        assert_eq!(count(&accepted, &Some("the party".into())), 1);
        assert_eq!(count(&accepted, &None), threads - 1);
    }
}

fn no_item_of_a_session_is_lost(store: &dyn KeyValueStore, threads: usize) {
    assert!(sessions::begin(store, "busy", "ada").unwrap() && !sessions::begin(store, "busy", "eve").unwrap());
    at_once(threads, |number| {
        for item in 0..5 {
            // Each item twice: it is in the basket once.
            assert!(sessions::add_item(store, "busy", &format!("{number}.{item}")).unwrap());
            assert!(sessions::add_item(store, "busy", &format!("{number}.{item}")).unwrap());
        }
        assert!(sessions::read(store, "busy").unwrap().is_some());
    });
    let mut lines = sessions::read(store, "busy").unwrap().unwrap();
    assert_eq!(lines.remove(0), "ada");
    assert_eq!(lines.len(), 5 * threads);
    assert_eq!(lines.into_iter().collect::<BTreeSet<_>>().len(), 5 * threads);
}

fn a_session_that_has_ended_does_not_come_back(store: &dyn KeyValueStore, threads: usize) {
    for round in 0..10 {
        let id = format!("ended{round}");
        sessions::begin(store, &id, "ada").unwrap();
        let ended = AtomicBool::new(false);
        at_once(threads, |number| {
            if number == threads / 2 {
                assert!(sessions::end(store, &id).unwrap());
                ended.store(true, SeqCst);
            } else {
                let is_late = ended.load(SeqCst);
                let was_added = sessions::add_item(store, &id, &number.to_string()).unwrap();
                assert!(!(is_late && was_added), "the session had ended");
            }
        });
        assert_eq!(sessions::read(store, &id).unwrap(), None);
    }
}

fn no_change_of_a_document_is_lost(store: &dyn KeyValueStore, threads: usize) {
    assert!(documents::create(store, "plan", "", "begin").unwrap());
    at_once(threads, |number| {
        let new_etag = format!("save{number}");
        loop {
            let (etag, text) = documents::load(store, "plan").unwrap().unwrap();
            match documents::save(store, "plan", &format!("{text}{number}\n"), &etag, &new_etag).unwrap() {
                Saved::Yes => break,
                Saved::Changed => thread::sleep(Duration::from_micros(10 * number as u64)),
                Saved::Gone => unreachable!("nobody removes it"),
            }
        }
        let rule = |text| format!("{text}{}\n", 1000 + number);
        assert!(documents::edit(store, "plan", &format!("edit{number}"), rule).unwrap());
    });
    let (etag, text) = documents::load(store, "plan").unwrap().unwrap();
    let mut lines: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    assert!(lines.into_iter().eq((0..threads).chain(1000..1000 + threads)), "{text}");

    assert_eq!(documents::save(store, "plan", "stale", "begin", "x").unwrap(), Saved::Changed);
    for _again in 0..2 {
        assert_eq!(documents::save(store, "plan", "last", &etag, "y").unwrap(), Saved::Yes);
    }
    assert_eq!(documents::load(store, "plan").unwrap(), Some(("y".into(), "last".into())));
    assert_eq!(documents::save(store, "no-plan", "", "begin", "x").unwrap(), Saved::Gone);
    assert!(!documents::edit(store, "no-plan", "x", |text| text).unwrap());
}

fn a_document_is_not_created_twice(store: &dyn KeyValueStore, threads: usize) {
    let created = at_once(threads, |number| {
        let etag = number.to_string();
        let first = documents::create(store, "new", "", &etag).unwrap();
        assert_eq!(documents::create(store, "new", "", &etag).unwrap(), first, "the same again");
        first
    });
    assert_eq!(count(&created, &true), 1);
    store.put_with_ttl("document:new", "", Ttl::Forever).unwrap();
}
