//! What an operation returns.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The future of an operation of an [`AsyncKeyValueStore`](super::AsyncKeyValueStore). It does nothing before it is polled
/// ([A1](crate::contract#13-async)).
///
/// It is a box, so that a store can be a `dyn AsyncKeyValueStore`: an operation allocates once for it.
///
/// ```
/// use kv_core::StoreFuture;
///
/// fn answer<'a>() -> StoreFuture<'a, u32> {
///     StoreFuture::new(async move { 42 })
/// }
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(std::pin::pin!(answer()).poll(&mut context).is_ready());
/// # use std::future::Future;
/// ```
#[must_use = "a future does nothing before it is awaited"]
pub struct StoreFuture<'a, T>(Pin<Box<dyn Future<Output = T> + Send + 'a>>);

impl<'a, T> StoreFuture<'a, T> {
    /// Makes one of any future, mostly of a block `async move { … }`.
    pub fn new(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self(Box::pin(future))
    }
}

impl<T> Future for StoreFuture<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.0.as_mut().poll(context)
    }
}

impl<T> fmt::Debug for StoreFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreFuture").finish_non_exhaustive()
    }
}
