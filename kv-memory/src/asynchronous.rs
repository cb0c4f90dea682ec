//! The store for async code: its operations wait for nothing, so each future is ready when it is first polled.
#![deny(clippy::missing_trait_methods, reason = "a default would be another operation than the blocking one")]

use kv_core::{
    AsyncKeyValueStore, Bytes, Capabilities, Entry, Error, Key, KeyStream, KeyValueStore, Prefix, Remaining, Result,
    StoreFuture, Ttl, Value, ValueStream, Version,
};

use crate::MemoryStore;

/// Needs the feature `async`. The same entries, for async code: no operation waits. Each allocates once, for its future.
impl AsyncKeyValueStore for MemoryStore {
    fn name(&self) -> &str {
        KeyValueStore::name(self)
    }

    fn capabilities(&self) -> Capabilities {
        KeyValueStore::capabilities(self)
    }

    fn read<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
        StoreFuture::new(async move { KeyValueStore::read(self, key) })
    }

    fn write<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(async move { KeyValueStore::write(self, key, value, ttl) })
    }

    fn write_if_absent<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(async move { KeyValueStore::write_if_absent(self, key, value, ttl) })
    }

    fn remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(async move { KeyValueStore::remove(self, key) })
    }

    fn exists<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(async move { KeyValueStore::exists(self, key) })
    }

    fn expiry<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Remaining>>> {
        StoreFuture::new(async move { KeyValueStore::expiry(self, key) })
    }

    fn set_expiry<'a>(&'a self, key: Key<'a>, ttl: Ttl) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(async move { KeyValueStore::set_expiry(self, key, ttl) })
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<KeyStream<'_>> {
        KeyValueStore::list(self, prefix).map(KeyStream::from)
    }

    fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<KeyStream<'_>> {
        KeyValueStore::list_prefixes(self, delimiter, prefix).map(KeyStream::from)
    }

    fn read_many<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Result<Vec<Option<Bytes>>>> {
        StoreFuture::new(async move { KeyValueStore::read_many(self, keys) })
    }

    fn read_each<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Vec<Result<Option<Bytes>>>> {
        StoreFuture::new(async move { KeyValueStore::read_each(self, keys) })
    }

    fn write_many<'a>(&'a self, entries: Vec<Entry<'a>>) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(async move { KeyValueStore::write_many(self, entries) })
    }

    fn remove_many<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Result<Vec<bool>>> {
        StoreFuture::new(async move { KeyValueStore::remove_many(self, keys) })
    }

    fn copy_entry<'a>(&'a self, from: Key<'a>, to: Key<'a>) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(async move { KeyValueStore::copy_entry(self, from, to) })
    }

    fn rename_entry<'a>(&'a self, from: Key<'a>, to: Key<'a>) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(async move { KeyValueStore::rename_entry(self, from, to) })
    }

    fn read_stream<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<ValueStream<'static>>>> {
        StoreFuture::new(async move { Ok(KeyValueStore::read(self, key)?.map(ValueStream::from)) })
    }

    fn write_stream<'a>(&'a self, key: Key<'a>, value: ValueStream<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(async move {
            let value = value.read_up_to(u64::MAX).await;
            let value = value.map_err(|error| Error::io(key, "reading the value to be stored", error))?;
            KeyValueStore::write(self, key, value.into(), ttl)
        })
    }

    fn read_versioned<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<(Bytes, Version)>>> {
        StoreFuture::new(async move { KeyValueStore::read_versioned(self, key) })
    }

    fn write_if_absent_versioned<'a>(
        &'a self,
        key: Key<'a>,
        value: Value<'a>,
        ttl: Ttl,
    ) -> StoreFuture<'a, Result<Option<Version>>> {
        StoreFuture::new(async move { KeyValueStore::write_if_absent_versioned(self, key, value, ttl) })
    }

    fn write_if_version<'a>(
        &'a self,
        key: Key<'a>,
        value: Value<'a>,
        ttl: Ttl,
        version: &'a Version,
    ) -> StoreFuture<'a, Result<Option<Version>>> {
        StoreFuture::new(async move { KeyValueStore::write_if_version(self, key, value, ttl, version) })
    }

    fn remove_if_version<'a>(&'a self, key: Key<'a>, version: &'a Version) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(async move { KeyValueStore::remove_if_version(self, key, version) })
    }

    fn read_and_remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
        StoreFuture::new(async move { KeyValueStore::read_and_remove(self, key) })
    }

    fn read_and_set_expiry<'a>(&'a self, key: Key<'a>, ttl: Ttl) -> StoreFuture<'a, Result<Option<Bytes>>> {
        StoreFuture::new(async move { KeyValueStore::read_and_set_expiry(self, key, ttl) })
    }

    fn add<'a>(&'a self, key: Key<'a>, by: u32, ttl: Ttl) -> StoreFuture<'a, Result<u64>> {
        StoreFuture::new(async move { KeyValueStore::add(self, key, by, ttl) })
    }
}
