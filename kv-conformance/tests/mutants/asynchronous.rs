//! Async stores that are wrong in one way each, and the checks of section 13 that reject them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use kv_conformance::{Fixture, Suite, Verdict};
use kv_core::{
    AsyncKeyValueStore, Bytes, Capabilities, Capability, Error, Failure, Key, KeyValueStore, Result, StoreFuture, Ttl,
    Value,
};
use libtest_mimic::{Failed, Trial};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::yield_now;

use crate::right::{Config, NAME, Right, lock};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// A write is done when it is called, and its future is ready.
    StartsBeforeItIsPolled,
    /// There is one connection, whose replies come in order. A future that is dropped leaves its reply for the next one.
    TakesTheNextReply,
    /// A permit is given back when the operation has ended, and not when its future is dropped.
    LeaksPermits,
    /// A lock is held over an `.await`.
    HoldsLock,
    /// A future holds one of many places, such as those of a channel, until it has ended.
    HoldsPlace,
    /// It waits for a task of its runtime, which is gone.
    WaitsForTask,
    /// Where there is no runtime, there is nothing.
    FindsNothingWithoutRuntime,
    /// It takes the result of a task of its runtime without a look at whether there is one.
    PanicsWithoutRuntime,
    /// It needs the context of a runtime on the thread that polls it, as many async clients do.
    PanicsOutside,
}

/// How often a future yields before it gives up waiting.
const YIELDS: usize = 20_000;

const PERMITS: usize = 10;

/// As many places as the channel of a client has.
const PLACES: usize = 100;

struct Store {
    inner: Right,
    fault: Fault,
    runtime: Handle,
    is_locked: AtomicBool,
    permits: AtomicUsize,
    replies: Mutex<VecDeque<Option<Bytes>>>,
}

/// A lock, which is free again when this is dropped.
struct Locked<'s>(&'s AtomicBool);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

/// A place, which is free again when this is dropped.
struct Place<'s>(&'s AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Store {
    fn new(fault: Fault, runtime: Handle) -> Self {
        Self {
            inner: Right::new(Config { lacking: Capability::ALL.to_vec(), largest_value: None, ..Config::new() }),
            fault,
            runtime,
            is_locked: AtomicBool::new(false),
            permits: AtomicUsize::new(if fault == Fault::HoldsPlace { PLACES } else { PERMITS }),
            replies: Mutex::default(),
        }
    }

    async fn lock(&self) -> Result<Locked<'_>> {
        for _ in 0..YIELDS {
            if !self.is_locked.swap(true, SeqCst) {
                return Ok(Locked(&self.is_locked));
            }
            yield_now().await;
        }
        Err(Error::Timeout(Failure::new(NAME, "the lock was not free")))
    }

    async fn take_permit(&self) -> Result<()> {
        for _ in 0..YIELDS {
            if self.permits.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
                return Ok(());
            }
            yield_now().await;
        }
        Err(Error::Timeout(Failure::new(NAME, "there was no permit")))
    }

    /// Does something where the fault is, if it has nothing to do with what it is.
    async fn reach<T>(&self, act: impl FnOnce(&Right) -> Result<T>) -> Result<T> {
        match self.fault {
            Fault::LeaksPermits => {
                self.take_permit().await?;
                yield_now().await;
                let done = act(&self.inner);
                self.permits.fetch_add(1, SeqCst);
                done
            }
            Fault::HoldsPlace => {
                self.take_permit().await?;
                let _place = Place(&self.permits);
                yield_now().await;
                act(&self.inner)
            }
            Fault::HoldsLock => {
                let _locked = self.lock().await?;
                yield_now().await;
                act(&self.inner)
            }
            Fault::WaitsForTask | Fault::FindsNothingWithoutRuntime | Fault::PanicsWithoutRuntime => {
                let is_done = Arc::new(AtomicBool::new(false));
                let done = Arc::clone(&is_done);
                let task = self.runtime.spawn(async move { done.store(true, SeqCst) });
                if self.fault == Fault::PanicsWithoutRuntime {
                    task.await.unwrap();
                }
                for _ in 0..YIELDS {
                    if is_done.load(SeqCst) {
                        return act(&self.inner);
                    }
                    yield_now().await;
                }
                std::future::pending().await
            }
            Fault::PanicsOutside => {
                tokio::time::sleep(Duration::ZERO).await;
                act(&self.inner)
            }
            _ => {
                yield_now().await;
                act(&self.inner)
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("fault", &self.fault).finish_non_exhaustive()
    }
}

impl AsyncKeyValueStore for Store {
    fn name(&self) -> &str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn read<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
        StoreFuture::new(async move {
            if self.fault == Fault::FindsNothingWithoutRuntime && self.runtime.spawn(async {}).await.is_err() {
                return Ok(None);
            }
            if self.fault != Fault::TakesTheNextReply {
                return self.reach(|inner| inner.read(key)).await;
            }
            let _connection = self.lock().await?;
            let reply = self.inner.read(key)?;
            lock(&self.replies).push_back(reply);
            yield_now().await;
            Ok(lock(&self.replies).pop_front().flatten())
        })
    }

    fn write<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
        if self.fault == Fault::StartsBeforeItIsPolled {
            let done = self.inner.write(key, value, ttl);
            return StoreFuture::new(async move { done });
        }
        StoreFuture::new(async move { self.reach(|inner| inner.write(key, value, ttl)).await })
    }

    fn remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(async move { self.reach(|inner| inner.remove(key)).await })
    }
}

/// The check that rejects such a store.
fn expected_by(fault: Fault) -> &'static str {
    match fault {
        Fault::Nothing => "",
        Fault::StartsBeforeItIsPolled => "a1_nothing_is_done_before_the_first_poll",
        Fault::TakesTheNextReply | Fault::LeaksPermits => "a1_a_dropped_future_disturbs_nobody",
        Fault::HoldsLock | Fault::HoldsPlace => "a1_a_future_that_is_not_polled_holds_up_nobody",
        Fault::WaitsForTask | Fault::FindsNothingWithoutRuntime | Fault::PanicsWithoutRuntime => {
            "a4_a_store_whose_runtime_has_ended_answers"
        }
        Fault::PanicsOutside => "a4_a_thread_without_a_runtime_gets_an_answer",
    }
}

fn suite(fault: Fault) -> Suite {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    let suite = Suite::new("asynchronous", move || {
        let runtime = RUNTIME.handle();
        let store = Store::new(fault, runtime.clone());
        Ok(Fixture::of_async(store, runtime).made_on(move |runtime| Ok(Store::new(fault, runtime.clone()))))
    });
    Capability::ALL.iter().fold(suite, |suite, of| suite.opt_out(*of, "of no interest here"))
}

/// The checks that a store without a network gets.
const CHECKS: [&str; 5] = [
    "a1_nothing_is_done_before_the_first_poll",
    "a1_a_dropped_future_disturbs_nobody",
    "a1_a_future_that_is_not_polled_holds_up_nobody",
    "a4_a_store_whose_runtime_has_ended_answers",
    "a4_a_thread_without_a_runtime_gets_an_answer",
];

pub(crate) fn trials() -> Vec<Trial> {
    let wrong = [
        Fault::StartsBeforeItIsPolled,
        Fault::TakesTheNextReply,
        Fault::LeaksPermits,
        Fault::HoldsLock,
        Fault::HoldsPlace,
        Fault::WaitsForTask,
        Fault::FindsNothingWithoutRuntime,
        Fault::PanicsWithoutRuntime,
        Fault::PanicsOutside,
    ];
    let mut trials = wrong
        .into_iter()
        .map(|fault| Trial::test(format!("asynchronous/{fault:?}"), move || reject(fault)))
        .collect::<Vec<_>>();
    trials.push(Trial::test("asynchronous/right", || {
        CHECKS.iter().try_for_each(|check| {
            let report = suite(Fault::Nothing).run_matching(check);
            let mut results = report.results.iter().filter(|result| result.name == *check);
            let passed = results.next().is_some_and(|result| result.verdict == Verdict::Passed);
            if passed { Ok(()) } else { Err(report.to_string().into()) }
        })
    }));
    trials
}

fn reject(fault: Fault) -> std::result::Result<(), Failed> {
    let check = expected_by(fault);
    // Whatever else a panic breaks, it breaks E4.
    let panics = matches!(fault, Fault::PanicsWithoutRuntime | Fault::PanicsOutside);
    let clause = if panics { "E4".into() } else { check.split('_').next().unwrap_or_default().to_uppercase() };
    let report = suite(fault).run_matching(check);
    let told = report.failures().any(|failure| {
        let broken = failure.failure.as_ref().map(|failure| failure.broken.clone()).unwrap_or_default();
        failure.name == check && broken.iter().any(|broken| **broken == *clause)
    });
    if told { Ok(()) } else { Err(report.to_string().into()) }
}
