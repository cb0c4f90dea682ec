//! The store for tasks of tokio.

use std::fmt;
use std::sync::Arc;

use kv_core::{
    AsyncKeyValueStore, Bytes, Capabilities, Entry, Key, KeyBuf, KeyStream, Prefix, Remaining, Result, StoreFuture,
    Ttl, Value, Version,
};

use super::RedisStore;
use super::builder::RedisStoreBuilder;
use super::check::check_name_of_namespace;
use super::client::Client;
use super::listing::Listing;

/// How many connections to a server tasks share, unless the builder says it.
const SHARED: u32 = 2;

/// Needs the feature `tokio`. A key-value store on redis for tasks of tokio: the same operations, settings and guarantees as those of
/// [`RedisStore`], and no call blocks a thread ([A2](kv_core::contract#13-async)).
///
/// `get`, `put` and all the others that applications use are methods of [`AsyncKeyValueStoreExt`](crate::AsyncKeyValueStoreExt), which has
/// to be imported.
///
/// ```no_run
/// use kv_redis::{AsyncKeyValueStoreExt, AsyncRedisStore};
///
/// # async fn example() -> Result<(), kv_redis::Error> {
/// let store = AsyncRedisStore::connect("redis://127.0.0.1:6379/0").await?;
/// store.put("greeting", "hello").await?;
/// assert_eq!(store.get("greeting").await?.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
///
/// It is a handle: a clone has the same connections, and so has the store that [`with_namespace`](Self::with_namespace) makes.
///
/// # Connections
///
/// Each connection is owned by a task on the runtime of its callers. That task sends the requests of all callers that have
/// come meanwhile in one packet, and hands out the replies. A future that is dropped has its reply received there, and nobody gets
/// it: no connection is closed for it ([A1](kv_core::contract#13-async)).
///
/// Operations on one key with values of less than 16 KiB share a few connections: two, or what
/// [`shared_connections`](RedisStoreBuilder::shared_connections) says. Everything else has a connection to itself meanwhile, up to the
/// [`pool_size`](RedisStoreBuilder::pool_size) in all. When a shared connection fails, so do all operations on it that were
/// sent, and the outcome of all writes among them is unknown ([E5](kv_core::contract#9-errors)).
///
/// Each runtime on which the store is used has connections of its own, up to the [`pool_size`](RedisStoreBuilder::pool_size). One that ends
/// closes them, and what waits for them gets an error ([A4](kv_core::contract#13-async)); other runtimes go on. A call is answered, a limit is
/// kept, and an idle connection is closed while the runtime is driven on which the call was polled first. A runtime has to have I/O and
/// time (`enable_all`). Connections are made on threads of their own, at most one for each connection, since looking up a name and a TLS handshake may take long.
#[derive(Clone)]
pub struct AsyncRedisStore {
    client: Arc<Client>,
}

impl AsyncRedisStore {
    /// A store on the server at this URL, with the default settings: as [`RedisStore::connect`].
    ///
    /// # Errors
    /// As [`RedisStoreBuilder::connect_async`].
    pub async fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder().url(url).connect_async().await
    }

    /// Configures a store; [`connect_async`](RedisStoreBuilder::connect_async) or [`build_async`](RedisStoreBuilder::build_async) makes it.
    pub fn builder() -> RedisStoreBuilder {
        RedisStoreBuilder::default()
    }

    /// A handle to the entries of a namespace, on the same connections: as [`RedisStore::with_namespace`].
    ///
    /// # Errors
    /// [`Error::InvalidSetting`](crate::Error::InvalidSetting) if the name is not valid.
    pub fn with_namespace(&self, name: &str) -> Result<Self> {
        check_name_of_namespace(name)?;
        Ok(Self { client: Arc::new(self.client.within(name)) })
    }
}

impl RedisStoreBuilder {
    /// Needs the feature `tokio`. Makes the store for tasks, and a first connection (or [more](Self::min_idle)): as
    /// [`connect`](Self::connect). It has to be awaited on a runtime of tokio.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect); [`Error::Unavailable`](crate::Error::Unavailable) if there is no runtime.
    pub async fn connect_async(self) -> Result<AsyncRedisStore> {
        let connections = self.min_idle;
        let store = self.build_async()?;
        store.client.warm_up(connections).await?;
        Ok(store)
    }

    /// Needs the feature `tokio`. Makes the store for tasks. It does not connect, and needs no runtime: as [`build`](Self::build). All
    /// settings apply, for a cluster and sentinels, too.
    ///
    /// # Errors
    /// Those of [`build`](Self::build).
    pub fn build_async(mut self) -> Result<AsyncRedisStore> {
        self.check()?;
        let shared = std::mem::take(&mut self.shared_connections);
        self.shared_by_tasks = Some(if shared == 0 { SHARED } else { shared });
        let RedisStore { client } = self.build()?;
        Ok(AsyncRedisStore { client })
    }
}

/// Shows the name and the settings, and no password ([E3](kv_core::contract#9-errors)).
impl fmt::Debug for AsyncRedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRedisStore")
            .field("name", &self.client.label)
            .field("settings", &self.client.settings)
            .finish_non_exhaustive()
    }
}

/// A listing, before its first page and after it.
enum Pages<'a> {
    Begin(&'a Client, String),
    GoOn(Box<Listing<'a>>),
}

impl Pages<'_> {
    async fn next(self) -> Result<(Vec<KeyBuf>, Option<Self>)> {
        let mut listing = match self {
            Self::Begin(client, prefix) => Box::new(Listing::new(client, &prefix).await?),
            Self::GoOn(listing) => listing,
        };
        Ok(match listing.next_page().await? {
            Some(page) => (page, Some(Self::GoOn(listing))),
            None => (Vec::new(), None),
        })
    }
}

/// As those of [`RedisStore`], one future each.
impl AsyncKeyValueStore for AsyncRedisStore {
    /// The URL without user and password; for a cluster or sentinels, the first of them.
    fn name(&self) -> &str {
        &self.client.label
    }

    fn capabilities(&self) -> Capabilities {
        self.client.capabilities()
    }

    fn read<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
        StoreFuture::new(self.client.read(key))
    }

    fn write<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(self.client.write(key, value, ttl))
    }

    fn write_if_absent<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(self.client.write_if_absent(key, value, ttl))
    }

    fn remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(self.client.remove(key))
    }

    fn exists<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(self.client.exists(key))
    }

    fn expiry<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Remaining>>> {
        StoreFuture::new(self.client.expiry(key))
    }

    fn set_expiry<'a>(&'a self, key: Key<'a>, ttl: Ttl) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(self.client.set_expiry(key, ttl))
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<KeyStream<'_>> {
        let begin = Pages::Begin(&self.client, prefix.as_str().to_owned());
        Ok(KeyStream::pages(begin, |pages| StoreFuture::new(pages.next())))
    }

    fn read_many<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Result<Vec<Option<Bytes>>>> {
        StoreFuture::new(self.client.read_many(keys))
    }

    fn read_each<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Vec<Result<Option<Bytes>>>> {
        StoreFuture::new(self.client.read_each(keys))
    }

    fn write_many<'a>(&'a self, entries: Vec<Entry<'a>>) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(self.client.write_many(entries))
    }

    fn remove_many<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Result<Vec<bool>>> {
        StoreFuture::new(self.client.remove_many(keys))
    }

    fn copy_entry<'a>(&'a self, from: Key<'a>, to: Key<'a>) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(self.client.copy_entry(from, to))
    }

    fn rename_entry<'a>(&'a self, from: Key<'a>, to: Key<'a>) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(self.client.rename_entry(from, to))
    }

    fn read_versioned<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<(Bytes, Version)>>> {
        StoreFuture::new(self.client.read_versioned(key))
    }

    fn write_if_absent_versioned<'a>(
        &'a self,
        key: Key<'a>,
        value: Value<'a>,
        ttl: Ttl,
    ) -> StoreFuture<'a, Result<Option<Version>>> {
        StoreFuture::new(self.client.write_if_absent_versioned(key, value, ttl))
    }

    fn write_if_version<'a>(
        &'a self,
        key: Key<'a>,
        value: Value<'a>,
        ttl: Ttl,
        version: &'a Version,
    ) -> StoreFuture<'a, Result<Option<Version>>> {
        StoreFuture::new(self.client.write_if_version(key, value, ttl, version))
    }

    fn remove_if_version<'a>(&'a self, key: Key<'a>, version: &'a Version) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(self.client.remove_if_version(key, version))
    }

    fn read_and_remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
        StoreFuture::new(self.client.read_and_remove(key))
    }

    fn read_and_set_expiry<'a>(&'a self, key: Key<'a>, ttl: Ttl) -> StoreFuture<'a, Result<Option<Bytes>>> {
        StoreFuture::new(self.client.read_and_set_expiry(key, ttl))
    }

    fn add<'a>(&'a self, key: Key<'a>, by: u32, ttl: Ttl) -> StoreFuture<'a, Result<u64>> {
        StoreFuture::new(self.client.add(key, by, ttl))
    }
}
