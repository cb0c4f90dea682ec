//! A blocking store for async code.
#![deny(clippy::missing_trait_methods, reason = "the blocking and the async trait have the same operations")]

use std::fmt;
use std::io::{Cursor, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_channel::oneshot;
use self_cell::self_cell;

use super::threads::{Refusal, Threads};
use super::value::{Gathered, Unfinished};
use super::{AsyncKeyValueStore, KeyStream, StoreFuture, ValueStream};
use crate::{
    Capabilities, Capability, Entry, Error, Failure, Key, KeyBuf, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl,
    Value, Version,
};

/// How many keys of a listing are fetched by one call.
const PAGE: usize = 256;

/// An async store that calls a blocking one on threads of its own, for backends that have no async store.
///
/// Their number has a limit that holds, also if futures are dropped while their calls go on: so there are never more calls at a time than
/// the store was made for (its `pool_size`). A call for which no thread is free within [`patience`](UnblockedBuilder::patience) is
/// [`Error::Unavailable`], and nothing was sent. The threads exist while there are calls, and ten seconds longer.
///
/// It needs no runtime, and works on every one:
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// use kv_core::{AsyncKeyValueStoreExt, Unblocked};
/// use kv_memory::MemoryStore;
///
/// let blocking = MemoryStore::new(); // in place of one that waits for a server
/// let store = Unblocked::new(blocking);
/// store.put("greeting", "hello").await?;
/// assert_eq!(store.get("greeting").await?.as_deref(), Some(&b"hello"[..]));
/// # Ok::<(), kv_core::Error>(())
/// # }).unwrap();
/// ```
///
/// A call owns what it works with: keys and borrowed values are copied. A stream that is written is first read whole, as far as the store
/// takes values of its length, and one that is read comes in one piece.
///
/// It is a handle: a clone has the same store and threads.
pub struct Unblocked<S> {
    store: Arc<S>,
    threads: Arc<Threads>,
}

#[expect(clippy::missing_trait_methods, reason = "that lint is about the stores' traits")]
impl<S> Clone for Unblocked<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), threads: Arc::clone(&self.threads) }
    }
}

/// Configures an [`Unblocked`].
#[derive(Clone, Copy, Debug)]
#[must_use = "the store is made by `build`"]
pub struct UnblockedBuilder {
    threads: u32,
    patience: Duration,
}

impl UnblockedBuilder {
    /// The most calls at a time, each on a thread: 1 or more; 0 counts as 1. Default: 10, as the `pool_size` of this project's stores.
    pub const fn threads(mut self, most: u32) -> Self {
        self.threads = if most == 0 { 1 } else { most };
        self
    }

    /// How long a call waits for a thread while all are in use. Default: a second.
    pub const fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Makes the async store of a blocking one.
    pub fn build<S: KeyValueStore + 'static>(self, store: S) -> Unblocked<S> {
        // A limit that can be added to any moment.
        let patience = self.patience.min(Duration::from_secs(365 * 24 * 60 * 60));
        Unblocked { store: Arc::new(store), threads: Arc::new(Threads::new(self.threads, patience)) }
    }
}

impl Unblocked<()> {
    /// Configures how many threads there are.
    pub const fn builder() -> UnblockedBuilder {
        UnblockedBuilder { threads: 10, patience: Duration::from_secs(1) }
    }
}

/// Why there is no result.
enum Lost {
    /// Nothing was done.
    Refused(Refusal),
    Panicked,
}

impl<S: KeyValueStore + 'static> Unblocked<S> {
    /// With ten threads.
    pub fn new(store: S) -> Self {
        Unblocked::builder().build(store)
    }

    /// The blocking store.
    pub fn inner(&self) -> &S {
        &self.store
    }

    /// Another store on the same threads, for one that shares its connections with this one, such as a tenant's:
    ///
    /// ```
    /// use kv_core::Unblocked;
    /// use kv_memory::MemoryStore;
    ///
    /// let store = Unblocked::new(MemoryStore::new());
    /// let tenant = store.on_same_threads(store.inner().with_namespace("acme")?);
    /// # Ok::<(), kv_core::Error>(())
    /// ```
    pub fn on_same_threads<T: KeyValueStore + 'static>(&self, store: T) -> Unblocked<T> {
        Unblocked { store: Arc::new(store), threads: Arc::clone(&self.threads) }
    }

    /// Calls the store on a thread.
    async fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Arc<S>) -> T + Send + 'static,
    ) -> std::result::Result<T, Lost> {
        let (sender, receiver) = oneshot::channel();
        let store = Arc::clone(&self.store);
        self.threads.call(Box::new(move |turn| {
            // Nobody may be waiting any more.
            if sender.is_canceled() {
                return;
            }
            let outcome = turn.map(|()| act(&store)).map_err(Lost::Refused);
            // Whoever waits may be about to drop the store, and to open it again.
            drop(store);
            let _ = sender.send(outcome);
        }));
        receiver.await.unwrap_or(Err(Lost::Panicked))
    }

    fn error(&self, lost: &Lost, key: Option<Key<'_>>, writes: bool) -> Error {
        match lost {
            Lost::Refused(Refusal::NoThread) => {
                let message = "the operating system could not start a thread for the call";
                Error::Unavailable(Failure::new(self.name(), message).at(key))
            }
            Lost::Refused(Refusal::AllInUse) => {
                let (most, patience) = (self.threads.most(), self.threads.patience());
                let message = format!("no thread was free for {patience:?}: all {most} were calling the store");
                Error::Unavailable(Failure::new(self.name(), message).at(key))
            }
            Lost::Panicked => {
                let failure = Failure::new(self.name(), "the store panicked").at(key);
                Error::Backend(if writes { failure.with_unknown_outcome() } else { failure })
            }
        }
    }

    /// Calls the store with a key, for an operation that changes nothing.
    fn read_on_thread<'a, T: Send + 'static>(
        &'a self,
        key: Key<'a>,
        act: impl FnOnce(&S, Key<'_>) -> Result<T> + Send + 'static,
    ) -> StoreFuture<'a, Result<T>> {
        StoreFuture::new(self.on_thread(key, false, act))
    }

    /// Calls the store with a key, for an operation that may change the entry.
    fn write_on_thread<'a, T: Send + 'static>(
        &'a self,
        key: Key<'a>,
        act: impl FnOnce(&S, Key<'_>) -> Result<T> + Send + 'static,
    ) -> StoreFuture<'a, Result<T>> {
        StoreFuture::new(self.on_thread(key, true, act))
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        key: Key<'_>,
        writes: bool,
        act: impl FnOnce(&S, Key<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let owned = key.to_key_buf();
        let outcome = self.call(move |store| act(store, owned.as_key())).await;
        outcome.unwrap_or_else(|lost| Err(self.error(&lost, Some(key), writes)))
    }

    /// A listing, a page for each call.
    fn keys(&self, open: Open) -> Result<KeyStream<'_>> {
        if !self.store.capabilities().supports(Capability::Listing) {
            return Err(Error::unsupported(self.name(), Capability::Listing));
        }
        Ok(KeyStream::pages(Position::Begin(open), move |position| {
            StoreFuture::new(async move {
                let page = self.call(move |store| position.next_page(store)).await;
                page.unwrap_or_else(|lost| Err(self.error(&lost, None, false)))
            })
        }))
    }
}

/// Opens the listing of a store.
type Open = Box<dyn for<'s> FnOnce(&'s dyn KeyValueStore) -> Result<Keys<'s>> + Send>;

self_cell! {
    /// A listing with the store that it borrows from.
    struct Listing {
        owner: Arc<dyn KeyValueStore>,
        #[not_covariant]
        dependent: Keys,
    }
}

/// Where a listing is.
enum Position {
    Begin(Open),
    Going(Listing),
    /// After the keys before this error were taken.
    Failed(Error),
}

impl Position {
    /// The next keys.
    fn next_page<S: KeyValueStore + 'static>(self, store: &Arc<S>) -> Result<(Vec<KeyBuf>, Option<Self>)> {
        let mut listing = match self {
            Self::Begin(open) => {
                let store: Arc<dyn KeyValueStore> = Arc::clone(store) as _;
                Listing::try_new(store, |store| open(&**store))?
            }
            Self::Going(listing) => listing,
            Self::Failed(error) => return Err(error),
        };
        let mut page = Vec::new();
        let end = listing.with_dependent_mut(|_, keys| {
            while page.len() < PAGE {
                match keys.next() {
                    Some(Ok(key)) => page.push(key),
                    Some(Err(error)) => return Some(Some(Self::Failed(error))),
                    None => return Some(None),
                }
            }
            None
        });
        Ok((page, end.unwrap_or_else(|| Some(Self::Going(listing)))))
    }
}

/// Shows the blocking store.
impl<S: fmt::Debug> fmt::Debug for Unblocked<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unblocked").field(&self.store).finish()
    }
}

impl<S: KeyValueStore + 'static> AsyncKeyValueStore for Unblocked<S> {
    fn name(&self) -> &str {
        self.store.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn read<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
        self.read_on_thread(key, S::read)
    }

    fn write<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
        let value = value.into_bytes();
        self.write_on_thread(key, move |store, key| store.write(key, value.into(), ttl))
    }

    fn write_if_absent<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<bool>> {
        let value = value.into_bytes();
        self.write_on_thread(key, move |store, key| store.write_if_absent(key, value.into(), ttl))
    }

    fn remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
        self.write_on_thread(key, S::remove)
    }

    fn exists<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
        self.read_on_thread(key, S::exists)
    }

    fn expiry<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Remaining>>> {
        self.read_on_thread(key, S::expiry)
    }

    fn set_expiry<'a>(&'a self, key: Key<'a>, ttl: Ttl) -> StoreFuture<'a, Result<bool>> {
        self.write_on_thread(key, move |store, key| store.set_expiry(key, ttl))
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<KeyStream<'_>> {
        let prefix = prefix.as_str().to_owned();
        self.keys(Box::new(move |store| store.list(Prefix::new(&prefix)?)))
    }

    fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<KeyStream<'_>> {
        let (delimiter, prefix) = (delimiter.to_key_buf(), prefix.as_str().to_owned());
        self.keys(Box::new(move |store| store.list_prefixes(delimiter.as_key(), Prefix::new(&prefix)?)))
    }

    fn read_many<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Result<Vec<Option<Bytes>>>> {
        StoreFuture::new(async move {
            let keys = owned(keys);
            let values = self.call(move |store| store.read_many(&borrowed(&keys))).await;
            values.unwrap_or_else(|lost| Err(self.error(&lost, None, false)))
        })
    }

    fn read_each<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Vec<Result<Option<Bytes>>>> {
        StoreFuture::new(async move {
            let sent = owned(keys);
            let outcomes = self.call(move |store| store.read_each(&borrowed(&sent))).await;
            outcomes.unwrap_or_else(|lost| keys.iter().map(|&key| Err(self.error(&lost, Some(key), false))).collect())
        })
    }

    fn write_many<'a>(&'a self, entries: Vec<Entry<'a>>) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(async move {
            let entries = entries.into_iter();
            let entries = entries.map(|entry| (entry.key.to_key_buf(), entry.value.into_bytes(), entry.ttl));
            let entries = entries.collect::<Vec<_>>();
            let written = self.call(move |store| {
                let entries =
                    entries.iter().map(|(key, value, ttl)| Entry::new(key.as_key(), value.clone().into(), *ttl));
                store.write_many(entries.collect())
            });
            written.await.unwrap_or_else(|lost| Err(self.error(&lost, None, true)))
        })
    }

    fn remove_many<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Result<Vec<bool>>> {
        StoreFuture::new(async move {
            let keys = owned(keys);
            let removed = self.call(move |store| store.remove_many(&borrowed(&keys))).await;
            removed.unwrap_or_else(|lost| Err(self.error(&lost, None, true)))
        })
    }

    fn copy_entry<'a>(&'a self, from: Key<'a>, to: Key<'a>) -> StoreFuture<'a, Result<()>> {
        let to = to.to_key_buf();
        self.write_on_thread(from, move |store, from| store.copy_entry(from, to.as_key()))
    }

    fn rename_entry<'a>(&'a self, from: Key<'a>, to: Key<'a>) -> StoreFuture<'a, Result<()>> {
        let to = to.to_key_buf();
        self.write_on_thread(from, move |store, from| store.rename_entry(from, to.as_key()))
    }

    fn read_stream<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<ValueStream<'static>>>> {
        StoreFuture::new(async move { Ok(self.read(key).await?.map(ValueStream::from)) })
    }

    fn write_stream<'a>(&'a self, key: Key<'a>, value: ValueStream<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(async move {
            let mut value = Gathered::new(value);
            loop {
                let limit = self.capabilities().largest_value().unwrap_or(u64::MAX);
                let is_whole = value.read_up_to(limit).await;
                let is_whole = is_whole.map_err(|error| Error::io(key, "reading the value to be stored", error))?;
                let begun = value.so_far();
                let written = self.write_on_thread(key, move |store, key| {
                    let mut reader = Cursor::new(begun).chain(Unfinished { is_whole });
                    store.write_stream(key, &mut reader, ttl)
                });
                match written.await {
                    // The store takes a larger value than it said: it has just asked its server.
                    Err(Error::Io { .. }) if !is_whole => {
                        let now = self.capabilities().largest_value().unwrap_or(u64::MAX);
                        if now <= limit {
                            return Err(Error::value_too_large(self.name(), key, value.so_far().len() as u64, limit));
                        }
                    }
                    written => return written,
                }
            }
        })
    }

    fn read_versioned<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<(Bytes, Version)>>> {
        self.read_on_thread(key, S::read_versioned)
    }

    fn write_if_absent_versioned<'a>(
        &'a self,
        key: Key<'a>,
        value: Value<'a>,
        ttl: Ttl,
    ) -> StoreFuture<'a, Result<Option<Version>>> {
        let value = value.into_bytes();
        self.write_on_thread(key, move |store, key| store.write_if_absent_versioned(key, value.into(), ttl))
    }

    fn write_if_version<'a>(
        &'a self,
        key: Key<'a>,
        value: Value<'a>,
        ttl: Ttl,
        version: &'a Version,
    ) -> StoreFuture<'a, Result<Option<Version>>> {
        let (value, version) = (value.into_bytes(), version.clone());
        self.write_on_thread(key, move |store, key| store.write_if_version(key, value.into(), ttl, &version))
    }

    fn remove_if_version<'a>(&'a self, key: Key<'a>, version: &'a Version) -> StoreFuture<'a, Result<bool>> {
        let version = version.clone();
        self.write_on_thread(key, move |store, key| store.remove_if_version(key, &version))
    }

    fn read_and_remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
        self.write_on_thread(key, S::read_and_remove)
    }

    fn read_and_set_expiry<'a>(&'a self, key: Key<'a>, ttl: Ttl) -> StoreFuture<'a, Result<Option<Bytes>>> {
        self.write_on_thread(key, move |store, key| store.read_and_set_expiry(key, ttl))
    }

    fn add<'a>(&'a self, key: Key<'a>, by: u32, ttl: Ttl) -> StoreFuture<'a, Result<u64>> {
        self.write_on_thread(key, move |store, key| store.add(key, by, ttl))
    }
}

pub(super) fn owned(keys: &[Key<'_>]) -> Vec<KeyBuf> {
    keys.iter().map(|key| key.to_key_buf()).collect()
}

pub(super) fn borrowed(keys: &[KeyBuf]) -> Vec<Key<'_>> {
    keys.iter().map(KeyBuf::as_key).collect()
}
