//! A bounded number of threads for calls that block.

use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a thread waits for another call before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// A call. It is told whether a thread was free in time.
type Call = Box<dyn FnOnce(bool) + Send>;

/// The threads of a store. They exist while there are calls, and a little longer.
pub(super) struct Threads(Arc<Shared>);

struct Shared {
    /// The greatest number of threads that call.
    most: usize,
    /// How long a call waits for a thread.
    patience: Duration,
    state: Mutex<State>,
    /// There is a call, or nothing more comes.
    called: Condvar,
    /// The first call has another deadline, or there is none.
    first_changed: Condvar,
}

#[derive(Default)]
struct State {
    /// With their deadlines, which are in order.
    waiting: VecDeque<(Instant, Call)>,
    threads: usize,
    idle: usize,
    /// Whether a thread looks at the deadlines.
    is_watched: bool,
    is_closed: bool,
}

impl Threads {
    pub(super) fn new(most: usize, patience: Duration) -> Self {
        let (state, called, first_changed) = <(Mutex<State>, Condvar, Condvar)>::default();
        Self(Arc::new(Shared { most, patience, state, called, first_changed }))
    }

    /// The greatest number of threads that call.
    pub(super) fn most(&self) -> usize {
        self.0.most
    }

    /// How long a call waits for a thread.
    pub(super) fn patience(&self) -> Duration {
        self.0.patience
    }

    /// Has a thread do this, soon. It returns at once.
    pub(super) fn call(&self, call: Call) {
        let shared = &self.0;
        let mut state = shared.lock();
        state.waiting.push_back((Instant::now() + shared.patience, call));
        if state.waiting.len() <= state.idle {
            return shared.called.notify_one();
        }
        if state.threads < shared.most {
            state.threads += 1;
            let mine = Arc::clone(shared);
            if thread::Builder::new().name("kv-unblocked".into()).spawn(move || mine.work()).is_ok() {
                return;
            }
            state.threads -= 1;
            if state.threads == 0 {
                let refused = mem::take(&mut state.waiting);
                drop(state);
                return refused.into_iter().for_each(|(_, call)| call(false));
            }
        }
        if !state.is_watched {
            let mine = Arc::clone(shared);
            // Without this thread a call waits until another one has ended.
            state.is_watched = thread::Builder::new().name("kv-deadlines".into()).spawn(move || mine.watch()).is_ok();
        }
    }
}

/// Calls that wait are still made: they may be writes.
impl Drop for Threads {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.called.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some((deadline, call)) = state.waiting.pop_front() {
                self.first_changed.notify_one();
                drop(state);
                // A panic of the store: the one who waits for the result gets none, and an error.
                let _ = catch_unwind(AssertUnwindSafe(|| call(Instant::now() <= deadline)));
                state = self.lock();
                continue;
            }
            if state.is_closed {
                break;
            }
            state.idle += 1;
            let waited;
            (state, waited) = self.called.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            if waited.timed_out() && state.waiting.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }

    /// Ends calls that have waited too long, as long as any wait.
    fn watch(&self) {
        let mut state = self.lock();
        while let Some((deadline, _)) = state.waiting.front() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let Some((_, call)) = state.waiting.pop_front() else { break };
                drop(state);
                call(false);
                state = self.lock();
            } else {
                state = self.first_changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        state.is_watched = false;
    }
}
