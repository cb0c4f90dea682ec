//! Operations that are polled outside of every runtime.

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

use super::inside::{hangs_after, of};
use crate::running::panics;
use crate::running::{Context, NotPassed, Outcome, expect_that, mismatch};

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
    use Capability::{Contains, Copy, Counters, Create, Listing, Take, Touch, TouchingReads, Versions};

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
    if has(Touch) {
        ends(end, "touch", store.touch("k", Ttl::Forever))?;
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
