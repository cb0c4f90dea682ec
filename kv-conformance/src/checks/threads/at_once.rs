//! Several threads that begin at the same time.

use std::fmt::Display;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kv_core::Error;

use crate::running::{Context, NotPassed, Outcome, mismatch, panics};

/// How many threads race unless a check says otherwise.
pub(crate) const THREADS: usize = 8;

/// Runs the same in several threads at the same time, each with a number, and collects the results.
pub(crate) fn at_once<T: Send>(threads: usize, run: impl Fn(usize) -> Result<T, Error> + Sync) -> Outcome<Vec<T>> {
    let barrier = Barrier::new(threads);
    let results = thread::scope(|scope| {
        let threads = (0..threads).map(|thread| {
            let (run, barrier) = (&run, &barrier);
            scope.spawn(move || {
                barrier.wait();
                // Reported here, where the operation is known.
                panics::catch(|| run(thread).map_err(NotPassed::from))
            })
        });
        threads.collect::<Vec<_>>().into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    results.into_iter().map(|result| panics::joined(result)?).collect()
}

/// How often the threads of a race start together, and over how many keys they then run.
const ROUNDS: usize = 20;
const KEYS: usize = 25;

/// How often they start together with this store: less often with a slow one.
pub(crate) fn rounds(context: &Context<'_>) -> usize {
    context.items(ROUNDS, 4 * KEYS)
}

pub(crate) fn keys_of(round: usize) -> Vec<String> {
    (0..KEYS).map(|key| format!("{round}/{key}")).collect()
}

/// Tells the other threads of a race that it is over, also if its owner panics.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Fails if a thread has found something wrong.
#[track_caller]
pub(crate) fn expect_nothing(what: impl Display, want: &str, wrong: Vec<Option<String>>) -> Outcome {
    match wrong.into_iter().flatten().next() {
        None => Ok(()),
        Some(wrong) => Err(mismatch(what, want, &wrong)),
    }
}
