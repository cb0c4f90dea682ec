//! The store: its operations, and how it is configured.

mod address;
#[cfg(feature = "tokio")]
pub(crate) mod async_store;
mod batch;
mod build;
pub(crate) mod builder;
mod client;
mod limits;
pub(crate) mod memcache_store;
mod operations;
mod settings;
mod updates;
mod url;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;

/// The outcome of a future that waits for nothing, because the connections of its client block.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return outcome;
        }
        // Not reached: only the connections of an async store are waited for.
        thread::yield_now();
    }
}
