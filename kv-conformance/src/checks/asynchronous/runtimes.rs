//! Stores whose runtime has ended, and operations that are polled outside of every runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use kv_core::{
    AsyncKeyValueStore, AsyncKeyValueStoreExt, Bytes, Capabilities, Capability, Error, KeyValueStoreExt, Ttl,
    ValueStream,
};
use tokio::runtime::{Builder, Handle, Runtime};

use super::inside::{self, hangs_after, of, polled};
use crate::running::{Context, NotPassed, Outcome, expect, expect_that, mismatch, panics};

/// A runtime that ends when it is dropped, and does not wait for that: inside another one that would panic.
struct Ending(Option<Runtime>);

impl Ending {
    fn handle(&self) -> Outcome<&Handle> {
        let gone = || NotPassed::failed_beside_the_store("the runtime is gone");
        self.0.as_ref().map(Runtime::handle).ok_or_else(gone)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

pub(super) fn a_store_whose_runtime_has_ended_answers(context: &Context<'_>) -> Outcome {
    let asynchronous = of(context)?;
    let lacking = || NotPassed::Ignored("the fixture does not say how to make the store (`Fixture::made_on`)".into());
    let make = asynchronous.made_on.as_ref().ok_or_else(lacking)?;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| NotPassed::failed_beside_the_store(format_args!("no runtime: {error}")))?;
    let runtime = Ending(Some(runtime));
    let failed = |error| NotPassed::failed_beside_the_store(format_args!("`made_on` failed: {error}"));
    let store = make(runtime.handle()?).map_err(failed)?;
    inside::run(context, "operations while the runtime of the store ends, and afterwards", async {
        expect("put before the runtime has ended", store.put("k", "v").await, ())?;
        let (mut get, mut put) = (pin!(store.get("k")), pin!(store.put("k", "w")));
        let early = (polled(1, get.as_mut()).await, polled(1, put.as_mut()).await);
        drop(runtime);
        if early.0.is_none() {
            let _ = get.await;
        }
        if early.1.is_none() {
            let _ = put.await;
        }
        let ended = "after the runtime of the store has ended";
        let is_there = |value: &Option<Bytes>| value.as_deref().is_some_and(|value| value == b"v" || value == b"w");
        for _ in 0..3 {
            let got = store.get("k").await;
            let is_right = got.as_ref().map_or(true, is_there);
            expect_that(format_args!("get {ended}"), is_right, "an error, or what was put", got)?;
            let got = store.get_many(["k", "absent"]).await;
            let is_right = got.as_ref().map_or(true, |values| values.first().is_some_and(is_there));
            expect_that(format_args!("get_many {ended}"), is_right, "an error, or what was put", got)?;
            let mut got = store.get_each(["k"]).await;
            let got = got.pop().unwrap_or(Ok(None));
            let is_right = got.as_ref().map_or(true, is_there);
            expect_that(format_args!("get_each {ended}"), is_right, "an error, or what was put", got)?;
            let _ = store.put("k", "v").await;
            if context.has(Capability::Listing) {
                let listed = match store.keys("") {
                    Ok(keys) => keys.collect::<Vec<_>>().await,
                    Err(error) => Err(error),
                };
                let is_right = listed.as_ref().map_or(true, |keys| keys.iter().any(|key| *key == "k"));
                expect_that(
                    format_args!("keys(\"\") {ended}"),
                    is_right,
                    "an error, or the key that was put (L3)",
                    listed,
                )?;
            }
        }
        let _ = store.delete("k").await;
        Ok(())
    })
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread, with nothing around it; `None` if it has not ended by then.
fn run<T>(future: impl Future<Output = T>, end: Instant) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut context, mut future) = (std::task::Context::from_waker(&waker), pin!(future));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let left = end.checked_duration_since(Instant::now())?;
        thread::park_timeout(left);
    }
}

pub(super) fn a_thread_without_a_runtime_gets_an_answer(context: &Context<'_>) -> Outcome {
    let asynchronous = of(context)?;
    context.store().put("k", "v")?;
    // A thread of its own: this one may be inside a runtime.
    let (capabilities, end) = (context.capabilities(), Instant::now() + hangs_after(context));
    let ended = thread::scope(|scope| {
        let run = || panics::catch(|| all_operations(&*asynchronous.store, &capabilities, end));
        scope.spawn(run).join()
    });
    panics::joined(ended)??;
    context.store().get("k").map(drop).map_err(NotPassed::from)
}

fn all_operations(store: &dyn AsyncKeyValueStore, capabilities: &Capabilities, end: Instant) -> Outcome {
    use Capability::{Contains, Copy, Counters, Create, Listing, Take, Touch, TouchingReads, TtlReading, Versions};

    let has = |capability| capabilities.supports(capability);
    ends(end, "put", store.put("k", "v"))?;
    let got = ends(end, "get", store.get("k"))?;
    let is_right = got.as_ref().is_none_or(|value| value.as_deref() == Some(b"v"));
    expect_that("get on a thread without a runtime", is_right, "an error, or the value", got)?;
    let read = ends(end, "get_many", store.get_many(["k", "absent"]))?;
    let is_right = read.as_ref().is_none_or(|values| matches!(&values[..], [Some(value), None] if value == "v"));
    expect_that("get_many on a thread without a runtime", is_right, "an error, or the values", read)?;
    ends(end, "get_each", async { Ok(store.get_each(["k", "absent"]).await) })?;
    ends(end, "put_many", store.put_many([("k", "v"), ("other", "v")]))?;
    ends(end, "open", store.open("k"))?;
    ends(end, "put_from", store.put_from("k", ValueStream::from(Bytes::from("v"))))?;
    if has(Contains) {
        ends(end, "contains", store.contains("k"))?;
    }
    if has(Create) {
        ends(end, "create", store.create("k", "w"))?;
    }
    if has(Copy) {
        ends(end, "copy", store.copy("k", "copy"))?;
        ends(end, "rename", store.rename("copy", "renamed"))?;
    }
    if has(TtlReading) {
        ends(end, "ttl", store.ttl("k"))?;
    }
    if has(Touch) {
        ends(end, "touch", store.touch("k", Ttl::Forever))?;
    }
    if has(Versions) && has(Create) {
        ends(end, "create_versioned", store.create_versioned("new", "v", Ttl::Forever))?;
    }
    if has(Versions)
        && let Some(Some((_, version))) = ends(end, "get_versioned", store.get_versioned("k"))?
        && let Some(Some(version)) = ends(end, "put_if", store.put_if("k", "v", Ttl::Forever, &version))?
    {
        ends(end, "delete_if", store.delete_if("k", &version))?;
    }
    if has(TouchingReads) {
        ends(end, "get_and_touch", store.get_and_touch("k", Ttl::Forever))?;
    }
    if has(Take) {
        ends(end, "take", store.take("k"))?;
    }
    if has(Counters) {
        ends(end, "increment", store.increment("count", 1, Ttl::Forever))?;
    }
    if has(Listing) {
        ends(end, "keys", async { store.keys("")?.collect::<Vec<_>>().await })?;
        ends(end, "prefixes", async { store.prefixes("/", "")?.collect::<Vec<_>>().await })?;
    }
    ends(end, "delete_many", store.delete_many(["k", "other"]))?;
    ends(end, "delete", store.delete("k"))?;
    Ok(())
}

/// The result of an operation; `None` if it is an error.
fn ends<T>(end: Instant, operation: &str, future: impl Future<Output = Result<T, Error>>) -> Outcome<Option<T>> {
    let what = format!("{operation} on a thread without a runtime");
    let hangs = || mismatch(&what, "it ends, with a result or an error", "it hangs").timed_out_if(true);
    Ok(run(future, end).ok_or_else(hangs)?.ok())
}
