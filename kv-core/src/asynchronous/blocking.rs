//! An async store for blocking code.
#![deny(clippy::missing_trait_methods, reason = "the blocking and the async trait have the same operations")]

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::Read;
use std::iter;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use futures_channel::mpsc as requests;
use futures_core::Stream;

use super::pieces::{FromTask, Pieces, next_piece};
use super::unblocked::{borrowed, owned};
use super::{AsyncKeyValueStore, KeyStream, ValueStream};
use crate::{
    Capabilities, Entry, Error, Failure, Key, KeyBuf, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl, Value,
    ValueReader, Version,
};

/// How many keys a thread takes of a listing at a time.
const PAGE: usize = 256;

/// A task for the runtime of a store.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A blocking store that calls an async one, for authors of backends whose client is async, and for the suite.
///
/// Each operation is a task of the runtime that `spawn` is of; the calling thread waits until the task has its result. The runtime has to
/// run on threads of its own: then the store works everywhere, also on a thread that is inside an async runtime, which it blocks, but
/// never waits for itself ([E4](crate::contract#9-errors)). When the runtime has ended, operations are errors
/// ([A4](crate::contract#13-async)). After a `fork` the child has no threads of the runtime: it makes a store of its own.
///
/// ```
/// use std::sync::Arc;
/// use kv_core::{AsyncKeyValueStore, Blocking, KeyValueStoreExt};
/// use kv_memory::MemoryStore;
///
/// let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
/// let handle = runtime.handle().clone();
/// let client: Arc<dyn AsyncKeyValueStore> = Arc::new(MemoryStore::new()); // in place of one with an async client
/// let store = Blocking::new(client, move |task| drop(handle.spawn(task)));
/// store.put("greeting", "hello")?;
/// assert_eq!(store.get("greeting")?.as_deref(), Some(&b"hello"[..]));
/// # Ok::<(), kv_core::Error>(())
/// ```
///
/// A task owns what it works with: keys and borrowed values are copied. A stream that is read is received whole.
pub struct Blocking<A> {
    store: Arc<A>,
    spawn: Box<dyn Fn(Task) + Send + Sync>,
}

impl<A: AsyncKeyValueStore + 'static> Blocking<A> {
    /// A blocking store on an async one. `spawn` starts a task, and does not wait for it.
    pub fn new(store: A, spawn: impl Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync + 'static) -> Self {
        Self { store: Arc::new(store), spawn: Box::new(spawn) }
    }

    /// The async store.
    pub fn inner(&self) -> &A {
        &self.store
    }

    /// Runs a future as a task, and waits for its result. `None` if the task ended without one; then whether it had begun.
    fn run<T, F>(&self, act: impl FnOnce(Arc<A>) -> F) -> std::result::Result<T, bool>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (sender, receiver) = mpsc::sync_channel(1);
        let has_begun = Arc::new(AtomicBool::new(false));
        let (begins, future) = (Arc::clone(&has_begun), act(Arc::clone(&self.store)));
        (self.spawn)(Box::pin(async move {
            begins.store(true, Ordering::SeqCst);
            // Nobody takes it only if the thread that waits has panicked.
            let _ = sender.send(future.await);
        }));
        receiver.recv().map_err(|_| has_begun.load(Ordering::SeqCst))
    }

    /// As [`run`](Self::run), of an operation on this key that changes nothing.
    fn read_in_task<T, F>(&self, key: Key<'_>, act: impl FnOnce(Arc<A>, KeyBuf) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let owned = key.to_key_buf();
        self.run(|store| act(store, owned)).unwrap_or_else(|_| Err(self.ended(Some(key), false)))
    }

    /// As [`run`](Self::run), of an operation on this key that may change it.
    fn write_in_task<T, F>(&self, key: Key<'_>, act: impl FnOnce(Arc<A>, KeyBuf) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let owned = key.to_key_buf();
        self.run(|store| act(store, owned)).unwrap_or_else(|has_begun| Err(self.ended(Some(key), has_begun)))
    }

    /// The error of a task that ended without a result.
    fn ended(&self, key: Option<Key<'_>>, is_unknown: bool) -> Error {
        let message = "the task of the operation ended without a result: its runtime was shut down, or it panicked";
        let failure = Failure::new(self.store.name(), message).at(key);
        Error::Unavailable(if is_unknown { failure.with_unknown_outcome() } else { failure })
    }

    /// The keys of a stream. Each time that one is asked for, a task takes it, and those that have been read with it.
    fn keys<O>(&self, open: O) -> Result<Keys<'_>>
    where
        O: FnOnce(&A) -> Result<KeyStream<'_>> + Send + 'static,
    {
        let (next, mut asked) = requests::unbounded::<()>();
        let (sender, receiver) = mpsc::sync_channel(1);
        let store = Arc::clone(&self.store);
        (self.spawn)(Box::pin(async move {
            let mut keys = match open(&store) {
                Ok(keys) => keys,
                Err(error) => return drop(sender.send(Err(error))),
            };
            if sender.send(Ok(Vec::new())).is_err() {
                return;
            }
            // How the listing ends, once that is known.
            let mut last = None;
            while poll_fn(|context| Pin::new(&mut asked).poll_next(context)).await.is_some() {
                let mut page = Vec::new();
                while last.is_none() && page.len() < PAGE && (page.is_empty() || keys.size_hint().0 > 0) {
                    match keys.next().await.transpose() {
                        Ok(Some(key)) => page.push(key),
                        Ok(None) => last = Some(Ok(Vec::new())),
                        Err(error) => last = Some(Err(error)),
                    }
                }
                if page.is_empty() {
                    // Whoever waits may be about to drop the store, and to open it again.
                    drop(keys);
                    drop(store);
                    let _ = last.map(|last| sender.send(last));
                    return;
                }
                if sender.send(Ok(page)).is_err() {
                    return;
                }
            }
        }));
        let lost = || Err(self.ended(None, false));
        // Whether there is a listing at all.
        receiver.recv().unwrap_or_else(|_| lost())?;
        let mut page = Vec::new().into_iter();
        Ok(Keys::new(iter::from_fn(move || {
            if let Some(key) = page.next() {
                return Some(Ok(key));
            }
            let _ = next.unbounded_send(());
            match receiver.recv().unwrap_or_else(|_| lost()) {
                Ok(keys) => {
                    page = Vec::into_iter(keys);
                    page.next().map(Ok)
                }
                Err(error) => Some(Err(error)),
            }
        })))
    }
}

/// Shows the async store.
impl<A: fmt::Debug> fmt::Debug for Blocking<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Blocking").field(&self.store).finish()
    }
}

impl<A: AsyncKeyValueStore + 'static> KeyValueStore for Blocking<A> {
    fn name(&self) -> &str {
        self.store.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.read_in_task(key, |store, key| async move { store.read(key.as_key()).await })
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        let value = value.into_bytes();
        self.write_in_task(key, move |store, key| async move { store.write(key.as_key(), value.into(), ttl).await })
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        let value = value.into_bytes();
        self.write_in_task(key, move |store, key| async move {
            store.write_if_absent(key.as_key(), value.into(), ttl).await
        })
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.write_in_task(key, |store, key| async move { store.remove(key.as_key()).await })
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        self.read_in_task(key, |store, key| async move { store.exists(key.as_key()).await })
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        self.read_in_task(key, |store, key| async move { store.expiry(key.as_key()).await })
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        self.write_in_task(key, move |store, key| async move { store.set_expiry(key.as_key(), ttl).await })
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        let prefix = prefix.as_str().to_owned();
        self.keys(move |store| store.list(Prefix::new(&prefix)?))
    }

    fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        let (delimiter, prefix) = (delimiter.to_key_buf(), prefix.as_str().to_owned());
        self.keys(move |store| store.list_prefixes(delimiter.as_key(), Prefix::new(&prefix)?))
    }

    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        let keys = owned(keys);
        let values = self.run(|store| async move { store.read_many(&borrowed(&keys)).await });
        values.unwrap_or_else(|_| Err(self.ended(None, false)))
    }

    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        let sent = owned(keys);
        let outcomes = self.run(|store| async move { store.read_each(&borrowed(&sent)).await });
        outcomes.unwrap_or_else(|_| keys.iter().map(|&key| Err(self.ended(Some(key), false))).collect())
    }

    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        let entries = entries.into_iter().map(|entry| (entry.key.to_key_buf(), entry.value.into_bytes(), entry.ttl));
        let entries = entries.collect::<Vec<_>>();
        let written = self.run(|store| async move {
            let entries = entries.iter().map(|(key, value, ttl)| Entry::new(key.as_key(), value.clone().into(), *ttl));
            store.write_many(entries.collect()).await
        });
        written.unwrap_or_else(|has_begun| Err(self.ended(None, has_begun)))
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        let keys = owned(keys);
        let removed = self.run(|store| async move { store.remove_many(&borrowed(&keys)).await });
        removed.unwrap_or_else(|has_begun| Err(self.ended(None, has_begun)))
    }

    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let to = to.to_key_buf();
        self.write_in_task(from, |store, from| async move { store.copy_entry(from.as_key(), to.as_key()).await })
    }

    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let to = to.to_key_buf();
        self.write_in_task(from, |store, from| async move { store.rename_entry(from.as_key(), to.as_key()).await })
    }

    fn read_stream(&self, key: Key<'_>) -> Result<Option<ValueReader>> {
        let value = self.read_in_task(key, |store, key| async move {
            let Some(value) = store.read_stream(key.as_key()).await? else { return Ok(None) };
            let half_way = "reading the value failed half-way";
            let failed = |error| Error::Backend(Failure::new(store.name(), half_way).at(key.as_key()).caused_by(error));
            value.read_up_to(u64::MAX).await.map(Some).map_err(failed)
        });
        Ok(value?.map(ValueReader::from))
    }

    fn write_stream(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        // The task asks for each piece, and this thread reads it.
        let (to_reader, from_task) = mpsc::channel();
        let (pieces, received) = requests::unbounded();
        let (owned, store) = (key.to_key_buf(), Arc::clone(&self.store));
        let has_begun = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&has_begun);
        (self.spawn)(Box::pin(async move {
            begins.store(true, Ordering::SeqCst);
            let value = ValueStream::new(Pieces::new(to_reader.clone(), received));
            let written = store.write_stream(owned.as_key(), value, ttl).await;
            drop(store);
            let _ = to_reader.send(FromTask::Written(written));
        }));
        loop {
            match from_task.recv() {
                Ok(FromTask::Asked) => {
                    let _ = pieces.unbounded_send(next_piece(reader));
                }
                Ok(FromTask::Written(written)) => return written,
                Err(_) => return Err(self.ended(Some(key), has_begun.load(Ordering::SeqCst))),
            }
        }
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        self.read_in_task(key, |store, key| async move { store.read_versioned(key.as_key()).await })
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        let value = value.into_bytes();
        self.write_in_task(key, move |store, key| async move {
            store.write_if_absent_versioned(key.as_key(), value.into(), ttl).await
        })
    }

    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        let (value, version) = (value.into_bytes(), version.clone());
        self.write_in_task(key, move |store, key| async move {
            store.write_if_version(key.as_key(), value.into(), ttl, &version).await
        })
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        let version = version.clone();
        self.write_in_task(key, |store, key| async move { store.remove_if_version(key.as_key(), &version).await })
    }

    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.write_in_task(key, |store, key| async move { store.read_and_remove(key.as_key()).await })
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        self.write_in_task(key, move |store, key| async move { store.read_and_set_expiry(key.as_key(), ttl).await })
    }

    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        self.write_in_task(key, move |store, key| async move { store.add(key.as_key(), by, ttl).await })
    }
}
