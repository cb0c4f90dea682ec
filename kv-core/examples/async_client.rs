//! A backend on an async client: an async store, and a blocking store on it with a runtime of its own.

use std::fmt;
use std::io;

use kv_core::{
    AsyncKeyValueStore, Blocking, Bytes, Capabilities, Error, Failure, Key, Result, StoreFuture, Ttl, Value,
};
use tokio::runtime::{Builder, Handle, Runtime};

/// The store for async code.
#[derive(Debug)]
pub(crate) struct AsyncToyStore(toy::Client);

impl AsyncToyStore {
    /// The tasks of the client run on this runtime.
    pub(crate) fn connect(runtime: &Handle) -> Self {
        Self(toy::Client::connect(runtime))
    }

    fn error(&self, key: Key<'_>, closed: toy::Closed, writes: bool) -> Error {
        let failure = Failure::new(self.name(), "the connection is closed").at(key).caused_by(closed);
        Error::Unavailable(if closed.was_sent && writes { failure.with_unknown_outcome() } else { failure })
    }
}

impl AsyncKeyValueStore for AsyncToyStore {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::builder().build()
    }

    fn read<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
        StoreFuture::new(async move { self.0.get(key.as_str()).await.map_err(|closed| self.error(key, closed, false)) })
    }

    fn write<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(async move {
            self.capabilities().check_ttl(self.name(), key, ttl.or_default(None))?;
            self.0.set(key.as_str(), value.into_bytes()).await.map_err(|closed| self.error(key, closed, true))
        })
    }

    fn remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(
            async move { self.0.delete(key.as_str()).await.map_err(|closed| self.error(key, closed, true)) },
        )
    }
}

/// The store for blocking code.
pub(crate) type ToyStore = Blocking<AsyncToyStore>;

/// Makes the store for blocking code, with a runtime of its own.
pub(crate) fn connect() -> io::Result<ToyStore> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (store, runtime) = (AsyncToyStore::connect(runtime.handle()), OwnRuntime(Some(runtime)));
    Ok(Blocking::new(store, move |task| runtime.spawn(task)))
}

/// A runtime that can be dropped inside another one. The closure owns it, and the store owns the closure.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            runtime.spawn(task);
        }
    }
}

/// Does not wait for the tasks: dropping a `Runtime` waits, and so panics inside another one.
impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// In place of your async client. A task is the connection and the server.
mod toy {
    use std::collections::HashMap;

    use kv_core::Bytes;
    use tokio::runtime::Handle;
    use tokio::sync::{mpsc, oneshot};

    enum Command {
        Get(String, oneshot::Sender<Option<Bytes>>),
        Set(String, Bytes, oneshot::Sender<()>),
        Delete(String, oneshot::Sender<bool>),
    }

    /// No queue with a limit: a caller that waits for room and is not polled any more would hold up the others (A1).
    #[derive(Clone, Debug)]
    pub(super) struct Client(mpsc::UnboundedSender<Command>);

    /// The connection is closed: its task has ended with its runtime.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Closed {
        pub(super) was_sent: bool,
    }

    impl Client {
        pub(super) fn connect(runtime: &Handle) -> Self {
            let (client, mut commands) = mpsc::unbounded_channel();
            runtime.spawn(async move {
                let mut entries = HashMap::new();
                while let Some(command) = commands.recv().await {
                    // A reply fails if its caller has left. The connection goes on: the task owns it, not the caller (A1).
                    match command {
                        Command::Get(key, reply) => {
                            let _ = reply.send(entries.get(&key).cloned());
                        }
                        Command::Set(key, value, reply) => {
                            entries.insert(key, value);
                            let _ = reply.send(());
                        }
                        Command::Delete(key, reply) => {
                            let _ = reply.send(entries.remove(&key).is_some());
                        }
                    }
                }
            });
            Self(client)
        }

        pub(super) async fn get(&self, key: &str) -> Result<Option<Bytes>, Closed> {
            self.ask(|reply| Command::Get(key.into(), reply)).await
        }

        pub(super) async fn set(&self, key: &str, value: Bytes) -> Result<(), Closed> {
            self.ask(|reply| Command::Set(key.into(), value, reply)).await
        }

        pub(super) async fn delete(&self, key: &str) -> Result<bool, Closed> {
            self.ask(|reply| Command::Delete(key.into(), reply)).await
        }

        async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Closed> {
            let (reply, is_answered) = oneshot::channel();
            self.0.send(command(reply)).map_err(|_| Closed { was_sent: false })?;
            is_answered.await.map_err(|_| Closed { was_sent: true })
        }
    }
}

impl fmt::Display for toy::Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.was_sent { "no reply came" } else { "nothing was sent" })
    }
}

impl std::error::Error for toy::Closed {}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    use kv_core::KeyValueStoreExt;

    let store = connect()?;
    store.put("greeting", "hello")?;
    // Inside a runtime the store blocks the thread, and works.
    Builder::new_current_thread().build()?.block_on(async move {
        assert_eq!(store.get("greeting")?.as_deref(), Some(&b"hello"[..]));
        drop(store);
        Ok(())
    })
}
