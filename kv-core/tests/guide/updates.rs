//! The programs on the page *Updates*: races in memory, and replies that are lost.

#![allow(clippy::unwrap_used, reason = "clippy does not see that the helpers of tests are tests")]

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use kv_core::{Bytes, Capabilities, Error, Failure, Key, KeyValueStore, KeyValueStoreExt, Result, Ttl, Value, Version};
use kv_memory::{ManualClock, MemoryStore};

use crate::races::documents::{self, Saved};
use crate::races::lock::Lock;
use crate::races::{self, codes, sessions};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn the_programs_win_their_races() {
    for threads in [16, 100] {
        races::run(&MemoryStore::new(), threads);
    }
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

/// What becomes of a conditional write whose reply does not come.
#[derive(Clone, Copy, Debug)]
enum Lost {
    /// The server does it: the reply is lost.
    Reply,
    /// The server never gets it.
    Request,
    /// It is under way until the test delivers it.
    Late,
}

type Write<'s> = Box<dyn FnOnce() + Send + 's>;

/// A store that does not answer the next conditional write when the test says so.
struct Unsteady<'s> {
    inner: &'s MemoryStore,
    next: Mutex<Option<Lost>>,
    under_way: Mutex<Vec<Write<'s>>>,
}

impl<'s> Unsteady<'s> {
    fn new(inner: &'s MemoryStore) -> Self {
        Self { inner, next: Mutex::default(), under_way: Mutex::default() }
    }

    /// The next conditional write is not answered.
    fn lose(&self, what: Lost) {
        *self.next.lock().unwrap() = Some(what);
    }

    /// What was under way arrives.
    fn deliver(&self) {
        let arriving = std::mem::take(&mut *self.under_way.lock().unwrap());
        for write in arriving {
            write();
        }
    }

    fn send<T>(&self, key: Key<'_>, write: impl FnOnce(&MemoryStore) -> Result<T> + Send + 's) -> Result<T> {
        let inner = self.inner;
        match self.next.lock().unwrap().take() {
            None => return write(inner),
            Some(Lost::Reply) => drop(write(inner)),
            Some(Lost::Request) => {}
            Some(Lost::Late) => self.under_way.lock().unwrap().push(Box::new(move || drop(write(inner)))),
        }
        Err(Error::Timeout(Failure::new(self.name(), "no answer").at(key).with_unknown_outcome()))
    }
}

impl fmt::Debug for Unsteady<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unsteady")
    }
}

impl KeyValueStore for Unsteady<'_> {
    fn name(&self) -> &'static str {
        "unsteady"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.inner.read(key)
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        self.inner.write(key, value, ttl)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.inner.remove(key)
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        self.inner.write_if_absent(key, value, ttl)
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        self.inner.read_versioned(key)
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        let (of, value) = (key.to_key_buf(), value.into_bytes());
        self.send(key, move |inner| inner.create_versioned(of, value, ttl))
    }

    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        let (of, value, version) = (key.to_key_buf(), value.into_bytes(), version.clone());
        self.send(key, move |inner| inner.put_if(of, value, ttl, &version))
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        let (of, version) = (key.to_key_buf(), version.clone());
        self.send(key, move |inner| inner.delete_if(of, &version))
    }

    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        self.inner.add(key, by, ttl)
    }
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
    let inner = MemoryStore::new();
    let store = Unsteady::new(&inner);
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
}

#[test]
fn a_late_renewal_does_not_bring_back_what_was_released() {
    let inner = MemoryStore::new();
    let store = Unsteady::new(&inner);
    let mut lock = Lock::acquire(&store, "lock", MINUTE).unwrap().unwrap();
    store.lose(Lost::Late);
    assert!(is_unknown(lock.renew()));
    assert!(lock.release().unwrap());
    let next = Lock::acquire(&store, "lock", MINUTE).unwrap().unwrap();
    store.deliver();
    assert!(next.release().unwrap(), "it is still the next one's");
}

#[test]
fn a_release_whose_reply_is_lost_does_not_release_the_lock_of_the_next() {
    let inner = MemoryStore::new();
    let store = Unsteady::new(&inner);
    let lock = Lock::acquire(&store, "lock", MINUTE).unwrap().unwrap();
    store.lose(Lost::Reply);
    assert!(is_unknown(lock.release()));
    let next = Lock::acquire(&store, "lock", MINUTE).unwrap().unwrap();
    assert!(next.release().unwrap());
}

#[test]
fn a_document_is_saved_once_however_often_it_is_tried() {
    for lost in [Lost::Reply, Lost::Request, Lost::Late] {
        let inner = MemoryStore::new();
        let store = Unsteady::new(&inner);
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
    }
}

#[test]
fn a_code_whose_reply_is_lost_is_never_used_twice() {
    for lost in [Lost::Reply, Lost::Request, Lost::Late] {
        let inner = MemoryStore::new();
        let store = Unsteady::new(&inner);
        codes::issue(&store, "ada", "4711").unwrap();
        store.lose(lost);
        assert!(is_unknown(codes::redeem(&store, "ada", "4711")), "{lost:?}");
        let was_done = matches!(lost, Lost::Reply);
        assert_eq!(codes::redeem(&store, "ada", "4711").unwrap(), !was_done, "{lost:?}");
        codes::issue(&store, "ada", "0815").unwrap();
        store.deliver();
        assert!(codes::redeem(&store, "ada", "0815").unwrap(), "{lost:?}: what arrives late is not for this code");
    }
}
