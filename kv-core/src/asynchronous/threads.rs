//! A bounded number of threads for calls that block.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a thread waits for another call before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// A call. It is told whether it may be made.
type Call = Box<dyn FnOnce(Result<(), Refusal>) + Send>;

/// Why a call is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// All threads were in use for too long.
    AllInUse,
    /// The operating system starts no thread.
    NoThread,
}

/// The threads of a store. They exist while there are calls, and a little longer.
pub(super) struct Threads(Arc<Shared>);

struct Shared {
    /// The greatest number of threads that call.
    most: u32,
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
    /// With their deadlines, which are in order. A call for which there is a thread has none.
    waiting: VecDeque<(Option<Instant>, Call)>,
    threads: u32,
    idle: usize,
    /// Whether a thread looks at the deadlines.
    is_watched: bool,
    is_closed: bool,
}

impl Threads {
    pub(super) fn new(most: u32, patience: Duration) -> Self {
        let (state, called, first_changed) = <(Mutex<State>, Condvar, Condvar)>::default();
        Self(Arc::new(Shared { most, patience, state, called, first_changed }))
    }

    /// The greatest number of threads that call.
    pub(super) fn most(&self) -> u32 {
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
        if state.waiting.len() < state.idle {
            state.waiting.push_back((None, call));
            return shared.called.notify_one();
        }
        if state.threads < shared.most {
            let mine = Arc::clone(shared);
            if thread::Builder::new().name("kv-unblocked".into()).spawn(move || mine.work()).is_ok() {
                state.threads += 1;
                return state.waiting.push_back((None, call));
            }
            if state.threads == 0 {
                drop(state);
                return make(call, Err(Refusal::NoThread));
            }
        }
        state.waiting.push_back((Some(Instant::now() + shared.patience), call));
        if !state.is_watched {
            let mine = Arc::clone(shared);
            // Without this thread a call waits until another one has ended.
            state.is_watched = thread::Builder::new().name("kv-deadlines".into()).spawn(move || mine.watch()).is_ok();
        }
    }
}

/// Makes a call, or ends it. If it panics, the one who waits for its result gets none, and an error.
fn make(call: Call, turn: Result<(), Refusal>) {
    let _ = catch_unwind(AssertUnwindSafe(|| call(turn)));
}

/// The threads end when nothing waits any more.
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
            if let Some((_, call)) = state.waiting.pop_front() {
                self.first_changed.notify_one();
                drop(state);
                make(call, Ok(()));
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

    /// Ends calls that have waited too long, as long as any wait that may.
    fn watch(&self) {
        let mut state = self.lock();
        // Those for which there is a thread may still be before them.
        while let Some((at, deadline)) = state.first_deadline() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let Some((_, call)) = state.waiting.remove(at) else { break };
                drop(state);
                make(call, Err(Refusal::AllInUse));
                state = self.lock();
            } else {
                state = self.first_changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        state.is_watched = false;
    }
}

impl State {
    /// The first call that waits for a thread at most so long: its place, and until when.
    fn first_deadline(&self) -> Option<(usize, Instant)> {
        self.waiting.iter().enumerate().find_map(|(at, (deadline, _))| Some((at, (*deadline)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_end_when_no_call_can_come_any_more() {
        let threads = Threads::new(3, Duration::from_secs(60));
        let (sender, receiver) = std::sync::mpsc::channel();
        for _ in 0..10 {
            let sender = sender.clone();
            threads.call(Box::new(move |turn| sender.send(turn).unwrap()));
        }
        assert!((0..10).all(|_| receiver.recv().unwrap() == Ok(())));
        let shared = Arc::downgrade(&threads.0);
        let begin = Instant::now();
        drop(threads);
        while shared.strong_count() > 0 {
            assert!(begin.elapsed() < IDLE * 9 / 10, "a thread is there although nothing can come");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_call_for_which_there_is_a_thread_needs_no_patience() {
        let threads = Threads::new(2, Duration::ZERO);
        let (sender, receiver) = std::sync::mpsc::channel();
        for _ in 0..50 {
            let sender = sender.clone();
            threads.call(Box::new(move |turn| sender.send(turn).unwrap()));
            assert_eq!(receiver.recv().unwrap(), Ok(()));
            // Until its thread is idle again, it is in use.
            while threads.0.lock().idle == 0 {
                thread::yield_now();
            }
        }
        assert!(threads.0.lock().threads <= 2);
    }

    #[test]
    fn a_panic_ends_neither_a_thread_nor_the_watch() {
        let threads = Threads::new(1, Duration::from_millis(20));
        let (sender, receiver) = std::sync::mpsc::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
        threads.call(Box::new(move |_| {
            let _ = may_go_on.recv();
        }));
        for number in 0..4 {
            let sender = sender.clone();
            threads.call(Box::new(move |turn| {
                sender.send(turn).unwrap();
                assert_ne!(number % 2, 0, "on purpose");
            }));
            assert_eq!(receiver.recv().unwrap(), Err(Refusal::AllInUse));
        }
        drop(go_on);
        threads.call(Box::new(move |_| panic!("on purpose")));
        let begin = Instant::now();
        loop {
            let sender = sender.clone();
            threads.call(Box::new(move |turn| sender.send(turn).unwrap()));
            if receiver.recv().unwrap().is_ok() {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "the thread is gone");
        }
    }
}
