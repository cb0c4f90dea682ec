//! The trait that callers use.

use std::future::Future;

use bytes::Bytes;

use super::{AsyncKeyValueStore, KeyStream, ValueStream, each, update};
use crate::ext::{as_delimiter, may_copy, some_entry};
use crate::update::as_change;
use crate::{
    AsKey, AsPrefix, Capability, Change, Entry, Error, InvalidKey, Key, Remaining, Result, Ttl, Value, Version,
};

/// A key-value store, as async callers use it: [`KeyValueStoreExt`](crate::KeyValueStoreExt) with futures.
///
/// Every [`AsyncKeyValueStore`] has these methods; nobody implements them by hand. They have the names, the parameters and the errors of
/// those of [`KeyValueStoreExt`](crate::KeyValueStoreExt), whose page has an example of each. A store that has both traits, such as the
/// one in memory, is used with the one that is imported.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// use std::sync::Arc;
/// use std::time::Duration;
/// use kv_memory::{AsyncKeyValueStore, AsyncKeyValueStoreExt, MemoryStore};
///
/// let store: Arc<dyn AsyncKeyValueStore> = Arc::new(MemoryStore::new());
/// store.put("greeting", "hello").await?;
/// store.put_with_ttl(String::from("session:42"), vec![1, 2, 3], Duration::from_secs(1800)).await?;
/// assert_eq!(store.get("greeting").await?.as_deref(), Some(&b"hello"[..]));
/// assert_eq!(store.increment("visits", 1, Duration::from_secs(60)).await?, 1);
/// # Ok::<(), kv_memory::Error>(())
/// # }).unwrap();
/// ```
///
/// # Dropping a future
/// A future does nothing before it is polled. One that is dropped later gives back what it held, and nobody gets its reply; a write may
/// or may not happen ([A1](crate::contract#13-async)). So a time-out around a call, or a request that the client has cancelled, does no
/// harm to other callers.
///
/// # Files and readers
/// [`open`](Self::open) and [`put_from`](Self::put_from) have streams of bytes in place of `Read` and `Write`. There is no `put_file` and
/// no `get_file`, because reading a file without blocking is a matter of the runtime: `store.put(key, tokio::fs::read(path).await?)`.
pub trait AsyncKeyValueStoreExt: AsyncKeyValueStore {
    /// As [`KeyValueStoreExt::get`](crate::KeyValueStoreExt::get).
    fn get(&self, key: impl AsKey + Send + Sync) -> impl Future<Output = Result<Option<Bytes>>> + Send {
        async move { self.read(key.as_key()?).await }
    }

    /// As [`KeyValueStoreExt::put`](crate::KeyValueStoreExt::put).
    fn put<'v>(
        &self,
        key: impl AsKey + Send + Sync,
        value: impl Into<Value<'v>>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.put_with_ttl(key, value, Ttl::Default)
    }

    /// As [`KeyValueStoreExt::put_with_ttl`](crate::KeyValueStoreExt::put_with_ttl).
    fn put_with_ttl<'v>(
        &self,
        key: impl AsKey + Send + Sync,
        value: impl Into<Value<'v>>,
        ttl: impl Into<Ttl>,
    ) -> impl Future<Output = Result<()>> + Send {
        let (value, ttl) = (value.into(), ttl.into());
        async move { self.write(key.as_key()?, value, ttl).await }
    }

    /// As [`KeyValueStoreExt::create`](crate::KeyValueStoreExt::create).
    fn create<'v>(
        &self,
        key: impl AsKey + Send + Sync,
        value: impl Into<Value<'v>>,
    ) -> impl Future<Output = Result<bool>> + Send {
        self.create_with_ttl(key, value, Ttl::Default)
    }

    /// As [`KeyValueStoreExt::create_with_ttl`](crate::KeyValueStoreExt::create_with_ttl).
    fn create_with_ttl<'v>(
        &self,
        key: impl AsKey + Send + Sync,
        value: impl Into<Value<'v>>,
        ttl: impl Into<Ttl>,
    ) -> impl Future<Output = Result<bool>> + Send {
        let (value, ttl) = (value.into(), ttl.into());
        async move { self.write_if_absent(key.as_key()?, value, ttl).await }
    }

    /// As [`KeyValueStoreExt::delete`](crate::KeyValueStoreExt::delete).
    fn delete(&self, key: impl AsKey + Send + Sync) -> impl Future<Output = Result<bool>> + Send {
        async move { self.remove(key.as_key()?).await }
    }

    /// As [`KeyValueStoreExt::contains`](crate::KeyValueStoreExt::contains).
    fn contains(&self, key: impl AsKey + Send + Sync) -> impl Future<Output = Result<bool>> + Send {
        async move { self.exists(key.as_key()?).await }
    }

    /// As [`KeyValueStoreExt::ttl`](crate::KeyValueStoreExt::ttl).
    fn ttl(&self, key: impl AsKey + Send + Sync) -> impl Future<Output = Result<Option<Remaining>>> + Send {
        async move { self.expiry(key.as_key()?).await }
    }

    /// As [`KeyValueStoreExt::touch`](crate::KeyValueStoreExt::touch).
    fn touch(&self, key: impl AsKey + Send + Sync, ttl: impl Into<Ttl>) -> impl Future<Output = Result<bool>> + Send {
        let ttl = ttl.into();
        async move { self.set_expiry(key.as_key()?, ttl).await }
    }

    /// As [`KeyValueStoreExt::keys`](crate::KeyValueStoreExt::keys). It does no I/O itself; the stream does.
    ///
    /// # Errors
    /// [`Error::InvalidKey`]; [`Error::Unsupported`] if the store lacks [`Listing`](Capability::Listing).
    fn keys(&self, prefix: impl AsPrefix) -> Result<KeyStream<'_>> {
        self.list(prefix.as_prefix()?)
    }

    /// As [`KeyValueStoreExt::prefixes`](crate::KeyValueStoreExt::prefixes). It does no I/O itself; the stream does.
    ///
    /// # Errors
    /// As [`keys`](Self::keys).
    fn prefixes(&self, delimiter: impl AsKey, prefix: impl AsPrefix) -> Result<KeyStream<'_>> {
        self.list_prefixes(as_delimiter(&delimiter)?, prefix.as_prefix()?)
    }

    /// As [`KeyValueStoreExt::get_many`](crate::KeyValueStoreExt::get_many).
    fn get_many<I>(&self, keys: I) -> impl Future<Output = Result<Vec<Option<Bytes>>>> + Send
    where
        I: IntoIterator,
        I::Item: AsKey + Send + Sync,
    {
        let keys = keys.into_iter().collect::<Vec<_>>();
        async move {
            let keys = checked(&keys)?;
            if keys.is_empty() { Ok(Vec::new()) } else { self.read_many(&keys).await }
        }
    }

    /// As [`KeyValueStoreExt::get_each`](crate::KeyValueStoreExt::get_each).
    fn get_each<I>(&self, keys: I) -> impl Future<Output = Vec<Result<Option<Bytes>>>> + Send
    where
        I: IntoIterator,
        I::Item: AsKey + Send + Sync,
    {
        let keys = keys.into_iter().collect::<Vec<_>>();
        async move { each::get_each(self, keys.iter().map(AsKey::as_key).collect()).await }
    }

    /// As [`KeyValueStoreExt::put_many`](crate::KeyValueStoreExt::put_many).
    fn put_many<'v, I, K, V>(&self, entries: I) -> impl Future<Output = Result<()>> + Send
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsKey + Send + Sync,
        V: Into<Value<'v>>,
    {
        self.put_many_with_ttl(entries.into_iter().map(|(key, value)| (key, value, Ttl::Default)).collect::<Vec<_>>())
    }

    /// As [`KeyValueStoreExt::put_many_with_ttl`](crate::KeyValueStoreExt::put_many_with_ttl).
    fn put_many_with_ttl<'v, I, K, V, T>(&self, entries: I) -> impl Future<Output = Result<()>> + Send
    where
        I: IntoIterator<Item = (K, V, T)>,
        K: AsKey + Send + Sync,
        V: Into<Value<'v>>,
        T: Into<Ttl>,
    {
        let (keys, contents): (Vec<K>, Vec<(Value<'v>, Ttl)>) =
            entries.into_iter().map(|(key, value, ttl)| (key, (value.into(), ttl.into()))).unzip();
        async move {
            let entries = checked(&keys)?.into_iter().zip(contents);
            let entries = entries.map(|(key, (value, ttl))| Entry::new(key, value, ttl)).collect::<Vec<_>>();
            if entries.is_empty() { Ok(()) } else { self.write_many(entries).await }
        }
    }

    /// As [`KeyValueStoreExt::delete_many`](crate::KeyValueStoreExt::delete_many).
    fn delete_many<I>(&self, keys: I) -> impl Future<Output = Result<Vec<bool>>> + Send
    where
        I: IntoIterator,
        I::Item: AsKey + Send + Sync,
    {
        let keys = keys.into_iter().collect::<Vec<_>>();
        async move {
            let keys = checked(&keys)?;
            if keys.is_empty() { Ok(Vec::new()) } else { self.remove_many(&keys).await }
        }
    }

    /// As [`KeyValueStoreExt::copy`](crate::KeyValueStoreExt::copy).
    fn copy(
        &self,
        from: impl AsKey + Send + Sync,
        to: impl AsKey + Send + Sync,
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            let (from, to) = (from.as_key()?, to.as_key()?);
            if from == to { has_entry(self, from).await } else { self.copy_entry(from, to).await }
        }
    }

    /// As [`KeyValueStoreExt::rename`](crate::KeyValueStoreExt::rename).
    fn rename(
        &self,
        from: impl AsKey + Send + Sync,
        to: impl AsKey + Send + Sync,
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            let (from, to) = (from.as_key()?, to.as_key()?);
            if from == to { has_entry(self, from).await } else { self.rename_entry(from, to).await }
        }
    }

    /// Opens a value as a stream of bytes. It is what [`KeyValueStoreExt::open`](crate::KeyValueStoreExt::open) is to blocking code.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no entry.
    fn open(&self, key: impl AsKey + Send + Sync) -> impl Future<Output = Result<ValueStream<'static>>> + Send {
        async move {
            let key = key.as_key()?;
            self.read_stream(key).await?.ok_or_else(|| Error::not_found(self.name(), key))
        }
    }

    /// Stores all that a stream yields, with the store's default TTL: as
    /// [`KeyValueStoreExt::put_from`](crate::KeyValueStoreExt::put_from).
    ///
    /// # Errors
    /// [`Error::Io`] if the stream fails, [`Error::ValueTooLarge`] if it yields too much. In both cases nothing is stored
    /// and the old entry is still there.
    fn put_from<'a>(
        &'a self,
        key: impl AsKey + Send + Sync + 'a,
        value: ValueStream<'a>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.put_from_with_ttl(key, value, Ttl::Default)
    }

    /// Stores all that a stream yields, with a TTL: as [`put_from`](Self::put_from).
    ///
    /// # Errors
    /// As [`put_from`](Self::put_from), and [`Error::InvalidTtl`].
    fn put_from_with_ttl<'a>(
        &'a self,
        key: impl AsKey + Send + Sync + 'a,
        value: ValueStream<'a>,
        ttl: impl Into<Ttl>,
    ) -> impl Future<Output = Result<()>> + Send {
        let ttl = ttl.into();
        async move { self.write_stream(key.as_key()?, value, ttl).await }
    }

    /// As [`KeyValueStoreExt::get_versioned`](crate::KeyValueStoreExt::get_versioned).
    fn get_versioned(
        &self,
        key: impl AsKey + Send + Sync,
    ) -> impl Future<Output = Result<Option<(Bytes, Version)>>> + Send {
        async move { self.read_versioned(key.as_key()?).await }
    }

    /// As [`KeyValueStoreExt::create_versioned`](crate::KeyValueStoreExt::create_versioned).
    fn create_versioned<'v>(
        &self,
        key: impl AsKey + Send + Sync,
        value: impl Into<Value<'v>>,
        ttl: impl Into<Ttl>,
    ) -> impl Future<Output = Result<Option<Version>>> + Send {
        let (value, ttl) = (value.into(), ttl.into());
        async move { self.write_if_absent_versioned(key.as_key()?, value, ttl).await }
    }

    /// As [`KeyValueStoreExt::put_if`](crate::KeyValueStoreExt::put_if).
    fn put_if<'v>(
        &self,
        key: impl AsKey + Send + Sync,
        value: impl Into<Value<'v>>,
        ttl: impl Into<Ttl>,
        version: &Version,
    ) -> impl Future<Output = Result<Option<Version>>> + Send {
        let (value, ttl) = (value.into(), ttl.into());
        async move { self.write_if_version(key.as_key()?, value, ttl, version).await }
    }

    /// As [`KeyValueStoreExt::delete_if`](crate::KeyValueStoreExt::delete_if).
    fn delete_if(&self, key: impl AsKey + Send + Sync, version: &Version) -> impl Future<Output = Result<bool>> + Send {
        async move { self.remove_if_version(key.as_key()?, version).await }
    }

    /// As [`KeyValueStoreExt::update`](crate::KeyValueStoreExt::update). Between two tries it lets other tasks go first.
    fn update<'v, V: Into<Value<'v>>>(
        &self,
        key: impl AsKey + Send + Sync,
        ttl: impl Into<Ttl>,
        change: impl FnMut(Option<Bytes>) -> Option<V> + Send,
    ) -> impl Future<Output = Result<bool>> + Send {
        let ttl = ttl.into();
        async move { update::try_update(self, key.as_key()?, ttl, as_change(change)).await }
    }

    /// As [`KeyValueStoreExt::try_update`](crate::KeyValueStoreExt::try_update). Between two tries it lets other tasks go first.
    fn try_update<'v, T: Send, E: From<Error> + Send>(
        &self,
        key: impl AsKey + Send + Sync,
        ttl: impl Into<Ttl>,
        rule: impl FnMut(Option<Bytes>) -> Result<(Change<'v>, T), E> + Send,
    ) -> impl Future<Output = Result<T, E>> + Send {
        let ttl = ttl.into();
        async move { update::try_update(self, key.as_key().map_err(Error::from)?, ttl, rule).await }
    }

    /// As [`KeyValueStoreExt::take`](crate::KeyValueStoreExt::take).
    fn take(&self, key: impl AsKey + Send + Sync) -> impl Future<Output = Result<Option<Bytes>>> + Send {
        async move { self.read_and_remove(key.as_key()?).await }
    }

    /// As [`KeyValueStoreExt::get_and_touch`](crate::KeyValueStoreExt::get_and_touch).
    fn get_and_touch(
        &self,
        key: impl AsKey + Send + Sync,
        ttl: impl Into<Ttl>,
    ) -> impl Future<Output = Result<Option<Bytes>>> + Send {
        let ttl = ttl.into();
        async move { self.read_and_set_expiry(key.as_key()?, ttl).await }
    }

    /// As [`KeyValueStoreExt::increment`](crate::KeyValueStoreExt::increment).
    fn increment(
        &self,
        key: impl AsKey + Send + Sync,
        by: u32,
        ttl: impl Into<Ttl>,
    ) -> impl Future<Output = Result<u64>> + Send {
        let ttl = ttl.into();
        async move { self.add(key.as_key()?, by, ttl).await }
    }
}

impl<S: AsyncKeyValueStore + ?Sized> AsyncKeyValueStoreExt for S {}

/// Copying a key to itself only checks that there is an entry.
async fn has_entry<S: AsyncKeyValueStore + ?Sized>(store: &S, key: Key<'_>) -> Result<()> {
    let capabilities = store.capabilities();
    may_copy(store.name(), &capabilities)?;
    let exists = if capabilities.supports(Capability::Contains) {
        store.exists(key).await?
    } else {
        store.read(key).await?.is_some()
    };
    some_entry(store.name(), key, exists)
}

/// The keys of a batch, if all are valid.
fn checked<K: AsKey>(keys: &[K]) -> Result<Vec<Key<'_>>, InvalidKey> {
    keys.iter().map(AsKey::as_key).collect()
}
