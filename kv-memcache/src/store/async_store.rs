//! The store for tasks of tokio.

use std::fmt;
use std::sync::Arc;

use kv_core::{
    AsyncKeyValueStore, Bytes, Capabilities, Entry, Key, Remaining, Result, StoreFuture, Ttl, Value, ValueStream,
    Version,
};

use super::build::within;
use super::builder::MemcacheStoreBuilder;
use super::client::Client;
use crate::servers::node::Node;

/// Needs the feature `tokio`. A key-value store on memcached for tasks of tokio: the same operations, settings and guarantees as those of
/// [`MemcacheStore`](crate::MemcacheStore), and no call blocks a thread ([A2](kv_core::contract#13-async)).
///
/// `get`, `put` and all the others that applications use are methods of [`AsyncKeyValueStoreExt`](crate::AsyncKeyValueStoreExt), which has
/// to be imported.
///
/// ```no_run
/// use kv_memcache::{AsyncKeyValueStoreExt, AsyncMemcacheStore};
///
/// # async fn example() -> Result<(), kv_memcache::Error> {
/// let store = AsyncMemcacheStore::connect("memcache://127.0.0.1:11211").await?;
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
/// Operations on one key with values of less than 16 KiB share two connections to each server. Everything else has a connection to itself
/// meanwhile, up to the [`pool_size`](MemcacheStoreBuilder::pool_size) in all. When a shared connection fails, so do all operations on it
/// that were sent, and the outcome of all writes among them is unknown ([E5](kv_core::contract#9-errors)). A batch asks all
/// servers at the same time, without threads.
///
/// Each runtime on which the store is used has connections of its own, up to the [`pool_size`](MemcacheStoreBuilder::pool_size). One that ends
/// closes them, and what waits for them gets an error ([A4](kv_core::contract#13-async)); other runtimes go on. A call is answered, a limit is
/// kept, and an idle connection is closed while the runtime is driven on which the call was polled first. A runtime has to have I/O and
/// time (`enable_all`). Connections are made on threads of their own, at most one for each connection, since looking up a name and a TLS handshake may take long;
/// [`credentials_provider`](MemcacheStoreBuilder::credentials_provider) is called there.
#[derive(Clone)]
pub struct AsyncMemcacheStore {
    client: Arc<Client>,
}

impl AsyncMemcacheStore {
    /// A store on the server at this URL, with the default settings: as [`MemcacheStore::connect`](crate::MemcacheStore::connect).
    ///
    /// # Errors
    /// As [`MemcacheStoreBuilder::connect_async`].
    pub async fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder().url(url).connect_async().await
    }

    /// Configures a store; [`connect_async`](MemcacheStoreBuilder::connect_async) or [`build_async`](MemcacheStoreBuilder::build_async)
    /// makes it.
    pub fn builder() -> MemcacheStoreBuilder {
        MemcacheStoreBuilder::default()
    }

    /// A handle to the entries of a namespace, on the same connections: as
    /// [`MemcacheStore::with_namespace`](crate::MemcacheStore::with_namespace).
    ///
    /// # Errors
    /// [`Error::InvalidSetting`](crate::Error::InvalidSetting) if the name is not valid, or leaves no room for a key.
    pub fn with_namespace(&self, name: &str) -> Result<Self> {
        Ok(Self { client: within(&self.client, name)? })
    }
}

impl MemcacheStoreBuilder {
    /// Needs the feature `tokio`. Makes the store for tasks and a first connection to each server: as [`connect`](Self::connect). It has to
    /// be awaited on a runtime of tokio.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect); [`Error::Unavailable`](crate::Error::Unavailable) if there is no runtime.
    pub async fn connect_async(self) -> Result<AsyncMemcacheStore> {
        let store = self.build_async()?;
        store.client.warm_up().await?;
        Ok(store)
    }

    /// Needs the feature `tokio`. Makes the store for tasks. It does not connect, and needs no runtime: as [`build`](Self::build). All
    /// settings apply.
    ///
    /// # Errors
    /// Those of [`build`](Self::build).
    pub fn build_async(self) -> Result<AsyncMemcacheStore> {
        Ok(AsyncMemcacheStore { client: self.client(Node::for_tasks)? })
    }
}

/// Shows its servers and settings, and no password ([E3](kv_core::contract#9-errors)).
impl fmt::Debug for AsyncMemcacheStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncMemcacheStore")
            .field("name", &self.client.label)
            .field("settings", &self.client.settings)
            .field("servers", &self.client.servers)
            .finish_non_exhaustive()
    }
}

/// As those of [`MemcacheStore`](crate::MemcacheStore), one future each.
impl AsyncKeyValueStore for AsyncMemcacheStore {
    /// The URL without user and password; of several servers, that of the first and how many more there are.
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

    /// It holds the value in memory, up to the limit for this key.
    fn write_stream<'a>(&'a self, key: Key<'a>, value: ValueStream<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(self.client.write_stream(key, value, ttl))
    }
}
