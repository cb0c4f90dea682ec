//! Work that blocks, such as making a connection, on a thread of its own.
//!
//! It is not a thread of the runtime: those are for the application, and a runtime that ends waits for them.

use std::{io, thread};

use tokio::sync::oneshot;

/// The name of these threads.
pub(crate) const NAME: &str = "kv-connect";

/// Does something on a thread of its own. If the task that waits goes away, the outcome is dropped there.
pub(crate) async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name(NAME.into()).spawn(move || drop(sender.send(work())))?;
    receiver.await.map_err(|_| panicked())
}

/// The error of a thread that has no outcome.
pub(crate) fn panicked() -> io::Error {
    io::Error::other("the thread that makes the connection panicked")
}
