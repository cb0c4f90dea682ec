//! What an operation returns.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use stackfuture::StackFuture;

/// The room for a future of a few variables, such as an operation in memory.
const ROOM: usize = 128;

pin_project! {
    /// The future of an operation of an [`AsyncKeyValueStore`](super::AsyncKeyValueStore). It does nothing before it is polled
    /// ([A1](crate::contract#13-async)).
    ///
    /// A small future is stored in it, and only a larger one on the heap: an operation on a store in memory allocates nothing, also on a
    /// `dyn AsyncKeyValueStore`.
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
    pub struct StoreFuture<'a, T> {
        #[pin]
        future: StackFuture<'a, T, ROOM>,
    }
}

impl<'a, T> StoreFuture<'a, T> {
    /// Makes one of any future, mostly of a block `async move { … }`.
    pub fn new(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self { future: StackFuture::from_or_box(future) }
    }
}

impl<T> Future for StoreFuture<'_, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.project().future.poll(context)
    }
}

impl<T> fmt::Debug for StoreFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreFuture").finish_non_exhaustive()
    }
}
