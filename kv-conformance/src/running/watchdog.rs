//! What the threads of a check are doing, seen from outside, so that a check that hangs is reported and given up.
//!
//! A thread that hangs cannot be ended. It is left behind, the check counts as failed, and the others go on.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use kv_core::{Error, Failure, KeyBuf, Keys, Result};

use crate::proxy::{Cut, Proxy};

/// The additional time for each key of a batch.
const FOR_EACH_KEY: Duration = Duration::from_millis(1);

/// How much longer than an operation a check may take.
const CHECK: u32 = 10;

/// How many keys a listing may yield beyond those that the check has written.
const FOREIGN: u64 = 10_000;

thread_local! {
    /// What this thread does, for its check.
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// What a thread does, and for which check.
type Here = (Weak<Watchdog>, Arc<Mutex<Activity>>);

/// What a check does.
#[derive(Debug)]
pub(crate) struct Watchdog {
    started: Instant,
    threads: Mutex<Vec<Arc<Mutex<Activity>>>>,
    /// The proxies of its fixtures.
    proxies: Mutex<Vec<Arc<Proxy>>>,
    /// How many keys it has written.
    written: AtomicU64,
    /// A listing that has yielded more keys than can exist.
    endless: Mutex<Option<(Arc<str>, u64)>>,
    is_given_up: AtomicBool,
}

/// What a thread does.
#[derive(Debug, Default)]
struct Activity {
    /// The operations that have not returned. There can be several, if the store reads from a reader that uses the store.
    under_way: Vec<UnderWay>,
    /// The operation that returned last.
    last: Option<Arc<str>>,
    /// The listings that this thread has begun and not dropped.
    listings: Vec<Arc<str>>,
}

#[derive(Clone, Debug)]
struct UnderWay {
    what: Arc<str>,
    since: Instant,
    keys: usize,
}

/// An operation, for as long as this lives.
pub(crate) struct Operation(Arc<Mutex<Activity>>);

/// A hanging operation or check.
pub(crate) struct Hang {
    pub(super) what: String,
    pub(super) time: Duration,
    /// Whether it is an operation, and not the check as a whole.
    pub(super) is_operation: bool,
    /// The operation of the same thread that returned last.
    pub(super) before: Option<Arc<str>>,
    /// A listing that the thread has open.
    pub(super) listing: Option<Arc<str>>,
    /// The operations for which other threads wait.
    pub(super) others: Vec<String>,
}

/// A listing that does not end.
pub(crate) struct Endless {
    pub(super) listing: Arc<str>,
    /// How many keys it has yielded.
    pub(super) yielded: u64,
    /// How many keys the check has written.
    pub(super) written: u64,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            threads: Mutex::default(),
            proxies: Mutex::default(),
            written: AtomicU64::new(0),
            endless: Mutex::default(),
            is_given_up: AtomicBool::new(false),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watchdog {
    /// Notes that this thread begins an operation on this number of keys. Ends the thread if the check was given up.
    pub(crate) fn begin(self: &Arc<Self>, what: impl Into<Arc<str>>, keys: usize) -> Operation {
        if self.is_given_up.load(Ordering::Relaxed) {
            // Not a panic, which the hook would print.
            resume_unwind(Box::new("the check was given up"));
        }
        let here = self.here();
        lock(&here).under_way.push(UnderWay { what: what.into(), since: Instant::now(), keys });
        Operation(here)
    }

    /// Notes that this many keys are about to be written.
    pub(crate) fn writes(&self, keys: usize) {
        self.written.fetch_add(keys as u64, Ordering::Relaxed);
    }

    /// Adds the proxy of a fixture. Cutting its connections may end a hanging operation.
    pub(crate) fn add_proxy(&self, proxy: &Arc<Proxy>) {
        lock(&self.proxies).push(Arc::clone(proxy));
    }

    /// What this thread does.
    fn here(self: &Arc<Self>) -> Arc<Mutex<Activity>> {
        HERE.with_borrow_mut(|here| match here {
            Some((of, activity)) if of.as_ptr() == Arc::as_ptr(self) => Arc::clone(activity),
            _ => {
                let activity = Arc::<Mutex<Activity>>::default();
                lock(&self.threads).push(Arc::clone(&activity));
                *here = Some((Arc::downgrade(self), Arc::clone(&activity)));
                activity
            }
        })
    }

    /// What hangs: an operation that has not returned for this long, or a check that takes much longer than that.
    pub(crate) fn hang(&self, limit: Duration, more_for_check: Duration) -> Option<Hang> {
        let mut all = lock(&self.threads)
            .iter()
            .filter_map(|thread| {
                let thread = lock(thread);
                let under_way = thread.under_way.last()?.clone();
                Some((under_way, thread.last.clone(), thread.listings.last().cloned()))
            })
            .collect::<Vec<_>>();
        all.sort_by_key(|(under_way, ..)| under_way.since);
        let overdue = |under_way: &UnderWay| {
            let keys = u32::try_from(under_way.keys).unwrap_or(u32::MAX);
            under_way.since.elapsed() > limit + FOR_EACH_KEY * keys
        };
        if let Some(at) = all.iter().position(|(under_way, ..)| overdue(under_way)) {
            let (UnderWay { what, since, .. }, before, listing) = all.remove(at);
            let others =
                all.iter().take(3).map(|(other, ..)| format!("{} ({:.0?})", other.what, other.since.elapsed()));
            let (what, others) = (what.to_string(), others.collect());
            return Some(Hang { what, time: since.elapsed(), is_operation: true, before, listing, others });
        }
        let time = self.started.elapsed();
        if time <= limit * CHECK + more_for_check {
            return None;
        }
        let before = lock(&self.threads).iter().filter_map(|thread| lock(thread).last.clone()).next_back();
        Some(Hang { what: "the check".into(), time, is_operation: false, before, listing: None, others: Vec::new() })
    }

    /// Ends what can be ended: threads that wait for the network, and threads that begin another operation.
    pub(crate) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
        for proxy in &*lock(&self.proxies) {
            proxy.refuse();
            // If it cannot be cut, the operation continues to hang.
            let _ = proxy.cut_now(Cut::Reset);
        }
    }

    /// The listing that does not end, if there was one.
    pub(crate) fn endless(&self) -> Option<Endless> {
        let endless = lock(&self.endless).clone();
        let written = self.written.load(Ordering::Relaxed);
        endless.map(|(listing, yielded)| Endless { listing, yielded, written })
    }

    /// The keys of a listing. It ends with an error after more keys than can exist.
    pub(crate) fn follow<'a>(self: &Arc<Self>, listing: String, keys: Keys<'a>) -> Keys<'a> {
        let (listing, begun_by) = (Arc::<str>::from(listing), self.here());
        lock(&begun_by).listings.push(Arc::clone(&listing));
        let next = format!("the next key of {listing}").into();
        Keys::new(Followed { watchdog: Arc::clone(self), keys, listing, next, begun_by, yielded: 0 })
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let mut activity = lock(&self.0);
        activity.last = activity.under_way.pop().map(|under_way| under_way.what);
    }
}

/// A listing that is watched.
struct Followed<'a> {
    watchdog: Arc<Watchdog>,
    keys: Keys<'a>,
    listing: Arc<str>,
    /// The name of the next step.
    next: Arc<str>,
    begun_by: Arc<Mutex<Activity>>,
    yielded: u64,
}

impl Iterator for Followed<'_> {
    type Item = Result<KeyBuf>;

    fn next(&mut self) -> Option<Self::Item> {
        let operation = self.watchdog.begin(Arc::clone(&self.next), 1);
        let key = self.keys.next()?;
        drop(operation);
        self.yielded += 1;
        if self.yielded > self.watchdog.written.load(Ordering::Relaxed) + FOREIGN {
            lock(&self.watchdog.endless).get_or_insert_with(|| (Arc::clone(&self.listing), self.yielded));
            return Some(Err(Error::Backend(Failure::new("kv-conformance", "the listing does not end"))));
        }
        Some(key)
    }
}

impl Drop for Followed<'_> {
    fn drop(&mut self) {
        let mut begun_by = lock(&self.begun_by);
        if let Some(at) = begun_by.listings.iter().rposition(|listing| Arc::ptr_eq(listing, &self.listing)) {
            begun_by.listings.remove(at);
        }
    }
}
