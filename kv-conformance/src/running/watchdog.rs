//! What the threads of a check are doing, seen from outside, so that a check that hangs is reported and given up.
//!
//! A thread that hangs cannot be ended. It is left behind, the check counts as failed, and the others go on.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::proxy::{Cut, Proxy};

/// The additional time for each key of a batch.
const FOR_EACH_KEY: Duration = Duration::from_millis(1);

/// How much longer than an operation a check may take.
const CHECK: u32 = 10;

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
    /// The one of those that have returned that took longest.
    slowest: Option<(Arc<str>, Duration)>,
    /// The listings and the readers that this thread has opened and not dropped.
    open: Vec<Arc<str>>,
}

#[derive(Clone, Debug)]
struct UnderWay {
    what: Arc<str>,
    since: Instant,
    keys: usize,
    /// Whether it is told what a thread did last: not that it asked for a name.
    is_told: bool,
}

/// An operation, for as long as this lives.
pub(crate) struct Operation(Arc<Mutex<Activity>>);

/// A listing or a reader that a thread has open, for as long as this lives.
pub(super) struct Open {
    what: Arc<str>,
    opened_by: Arc<Mutex<Activity>>,
}

/// A hanging operation or check.
pub(crate) struct Hang {
    pub(super) what: String,
    pub(super) time: Duration,
    /// Whether it is an operation, and not the check as a whole.
    pub(super) is_operation: bool,
    /// The operation of the same thread that returned last.
    pub(super) before: Option<Arc<str>>,
    /// The operation that has called the code which has called this one: one that reads from a reader of the check.
    pub(super) inside: Option<Arc<str>>,
    /// A listing or a reader that the thread has open.
    pub(super) open: Option<Arc<str>>,
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
        self.note(what.into(), keys, true)
    }

    /// Notes that this thread does something that may hang and is no operation. It does not end the thread, since it may be under way in
    /// a destructor.
    pub(crate) fn begin_beside(self: &Arc<Self>, what: impl Into<Arc<str>>) -> Operation {
        self.note(what.into(), 1, false)
    }

    fn note(self: &Arc<Self>, what: Arc<str>, keys: usize, is_told: bool) -> Operation {
        let here = self.here();
        lock(&here).under_way.push(UnderWay { what, since: Instant::now(), keys, is_told });
        Operation(here)
    }

    /// Notes that this thread has opened a listing or a reader.
    pub(super) fn open(self: &Arc<Self>, what: Arc<str>) -> Open {
        let opened_by = self.here();
        lock(&opened_by).open.push(Arc::clone(&what));
        Open { what, opened_by }
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
        let new = || {
            let activity = Arc::<Mutex<Activity>>::default();
            lock(&self.threads).push(Arc::clone(&activity));
            activity
        };
        let here = HERE.try_with(|here| {
            let mut here = here.borrow_mut();
            match &*here {
                Some((of, activity)) if of.as_ptr() == Arc::as_ptr(self) => Arc::clone(activity),
                _ => Arc::clone(&here.insert((Arc::downgrade(self), new())).1),
            }
        });
        // A thread that is ending no longer has the variable.
        here.unwrap_or_else(|_| new())
    }

    /// What hangs: an operation that has not returned for this long, or a check that takes much longer than that.
    pub(crate) fn hang(&self, limit: Duration, more_for_check: Duration) -> Option<Hang> {
        let mut all = lock(&self.threads)
            .iter()
            .filter_map(|thread| {
                let thread = lock(thread);
                let [.., under_way] = &*thread.under_way else { return None };
                let outer = thread.under_way.iter().rev().skip(1).find(|outer| outer.is_told && under_way.is_told);
                let inside = outer.map(|outer| Arc::clone(&outer.what));
                Some((under_way.clone(), thread.last.clone(), inside, thread.open.last().cloned()))
            })
            .collect::<Vec<_>>();
        all.sort_by_key(|(under_way, ..)| under_way.since);
        let overdue = |under_way: &UnderWay| {
            let keys = u32::try_from(under_way.keys).unwrap_or(u32::MAX);
            under_way.since.elapsed() > limit + FOR_EACH_KEY * keys
        };
        if let Some(at) = all.iter().position(|(under_way, ..)| overdue(under_way)) {
            let (UnderWay { what, since, .. }, before, inside, open) = all.remove(at);
            let others =
                all.iter().take(3).map(|(other, ..)| format!("{} ({:.0?})", other.what, other.since.elapsed()));
            let (what, others) = (what.to_string(), others.collect());
            return Some(Hang { what, time: since.elapsed(), is_operation: true, before, inside, open, others });
        }
        let time = self.started.elapsed();
        if time <= limit * CHECK + more_for_check {
            return None;
        }
        let before = lock(&self.threads).iter().filter_map(|thread| lock(thread).last.clone()).next_back();
        let (what, others) = ("the check".into(), Vec::new());
        Some(Hang { what, time, is_operation: false, before, inside: None, open: None, others })
    }

    /// The operation that took longest of those that have returned, and its time.
    pub(crate) fn slowest(&self) -> Option<(Arc<str>, Duration)> {
        lock(&self.threads).iter().filter_map(|thread| lock(thread).slowest.clone()).max_by_key(|(_, time)| *time)
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
        endless.map(|(listing, yielded)| Endless { listing, yielded, written: self.written() })
    }

    /// How many keys the check has written.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Notes that a listing has yielded more keys than there can be.
    pub(super) fn does_not_end(&self, listing: &Arc<str>, yielded: u64) {
        lock(&self.endless).get_or_insert_with(|| (Arc::clone(listing), yielded));
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let mut activity = lock(&self.0);
        let Some(UnderWay { what, since, is_told: true, .. }) = activity.under_way.pop() else { return };
        let time = since.elapsed();
        if activity.slowest.as_ref().is_none_or(|(_, slowest)| time > *slowest) {
            activity.slowest = Some((Arc::clone(&what), time));
        }
        activity.last = Some(what);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut opened_by = lock(&self.opened_by);
        if let Some(at) = opened_by.open.iter().rposition(|open| Arc::ptr_eq(open, &self.what)) {
            opened_by.open.remove(at);
        }
    }
}
