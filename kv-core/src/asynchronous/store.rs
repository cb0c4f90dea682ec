//! The trait that an async backend implements.

use std::fmt::Debug;

use bytes::Bytes;

use super::{KeyStream, StoreFuture, ValueStream, each};
use crate::store::{can_copy, ttl_of_copy};
use crate::{Capabilities, Capability, Entry, Error, Key, Prefix, Remaining, Result, Ttl, Value, Version};

/// A key-value store for async code, as a backend implements it: [`KeyValueStore`](crate::KeyValueStore) with futures.
///
/// It has the same methods under the same names, and the same contract; the page of [`KeyValueStore`](crate::KeyValueStore) says what
/// each method does, names its clauses, and what a backend guarantees. [Section 13](crate::contract#13-async) of the contract says what
/// futures add. Callers use [`AsyncKeyValueStoreExt`](super::AsyncKeyValueStoreExt), whose methods have the names `get`, `put` and so on.
///
/// # For implementers
///
/// A method returns [`StoreFuture::new`] of a block `async move { … }`. Nothing is sent before the future is polled
/// ([A1](crate::contract#13-async)), and no call blocks the thread that polls it ([A2](crate::contract#13-async)). A future may be dropped
/// at any `.await`: whatever is half-way then has to be finished or given up without it. A task of your own that owns the connection does
/// that best.
///
/// Five methods are required, and the others have defaults as those of [`KeyValueStore`](crate::KeyValueStore#for-implementers).
///
#[doc = "```"]
#[doc = include_str!("../../examples/tiny_async_store.rs")]
#[doc = "```"]
///
/// The suite of `kv-conformance` runs on it through [`Blocking`](super::Blocking).
///
/// # For authors of wrappers
///
/// Forward every method: put `#![deny(clippy::missing_trait_methods)]` on the module.
pub trait AsyncKeyValueStore: Debug + Send + Sync {
    /// As [`KeyValueStore::name`](crate::KeyValueStore::name).
    fn name(&self) -> &str;

    /// As [`KeyValueStore::capabilities`](crate::KeyValueStore::capabilities).
    fn capabilities(&self) -> Capabilities;

    /// As [`KeyValueStore::read`](crate::KeyValueStore::read).
    fn read<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>>;

    /// As [`KeyValueStore::write`](crate::KeyValueStore::write).
    fn write<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>>;

    /// As [`KeyValueStore::write_if_absent`](crate::KeyValueStore::write_if_absent). **Default:** unsupported.
    fn write_if_absent<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<bool>> {
        let _ = (key, value, ttl);
        unsupported(self.name(), Capability::Create)
    }

    /// As [`KeyValueStore::remove`](crate::KeyValueStore::remove).
    fn remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>>;

    /// As [`KeyValueStore::exists`](crate::KeyValueStore::exists). **Default:** reads the value.
    fn exists<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
        StoreFuture::new(async move {
            if !self.capabilities().supports(Capability::Contains) {
                return Err(Error::unsupported(self.name(), Capability::Contains));
            }
            Ok(self.read(key).await?.is_some())
        })
    }

    /// As [`KeyValueStore::expiry`](crate::KeyValueStore::expiry). **Default:** unsupported.
    fn expiry<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Remaining>>> {
        let _ = key;
        unsupported(self.name(), Capability::TtlReading)
    }

    /// As [`KeyValueStore::set_expiry`](crate::KeyValueStore::set_expiry). **Default:** unsupported.
    fn set_expiry<'a>(&'a self, key: Key<'a>, ttl: Ttl) -> StoreFuture<'a, Result<bool>> {
        let _ = (key, ttl);
        unsupported(self.name(), Capability::Touch)
    }

    /// As [`KeyValueStore::list`](crate::KeyValueStore::list). It does no I/O itself; the stream does. **Default:** unsupported.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store lacks [`Capability::Listing`].
    fn list(&self, prefix: Prefix<'_>) -> Result<KeyStream<'_>> {
        let _ = prefix;
        Err(Error::unsupported(self.name(), Capability::Listing))
    }

    /// As [`KeyValueStore::list_prefixes`](crate::KeyValueStore::list_prefixes). **Default:** lists all keys, and yields each part once.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store lacks [`Capability::Listing`].
    fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<KeyStream<'_>> {
        Ok(self.list(prefix)?.parts(delimiter.to_key_buf(), prefix.len()))
    }

    /// As [`KeyValueStore::read_many`](crate::KeyValueStore::read_many). **Default:** one `read` for each key.
    fn read_many<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Result<Vec<Option<Bytes>>>> {
        StoreFuture::new(async move {
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                values.push(self.read(*key).await?);
            }
            Ok(values)
        })
    }

    /// As [`KeyValueStore::read_each`](crate::KeyValueStore::read_each). **Default:** one `read_many`; if that fails, one `read` for each
    /// key, until the failed ones have taken too long.
    fn read_each<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Vec<Result<Option<Bytes>>>> {
        StoreFuture::new(each::read_each(self, keys))
    }

    /// As [`KeyValueStore::write_many`](crate::KeyValueStore::write_many). **Default:** one `write` for each entry.
    fn write_many<'a>(&'a self, entries: Vec<Entry<'a>>) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(async move {
            for entry in entries {
                self.write(entry.key, entry.value, entry.ttl).await?;
            }
            Ok(())
        })
    }

    /// As [`KeyValueStore::remove_many`](crate::KeyValueStore::remove_many). **Default:** one `remove` for each key.
    fn remove_many<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Result<Vec<bool>>> {
        StoreFuture::new(async move {
            let mut removed = Vec::with_capacity(keys.len());
            for key in keys {
                removed.push(self.remove(*key).await?);
            }
            Ok(removed)
        })
    }

    /// As [`KeyValueStore::copy_entry`](crate::KeyValueStore::copy_entry). **Default:** reads the value and the rest of the TTL, and
    /// writes both.
    fn copy_entry<'a>(&'a self, from: Key<'a>, to: Key<'a>) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(async move {
            let capabilities = self.capabilities();
            let has_ttls = can_copy(self.name(), &capabilities)?;
            let not_found = || Error::not_found(self.name(), from);
            let value = self.read(from).await?.ok_or_else(not_found)?;
            let left = if has_ttls { self.expiry(from).await?.ok_or_else(not_found)? } else { Remaining::Forever };
            self.write(to, value.into(), ttl_of_copy(&capabilities, left)).await
        })
    }

    /// As [`KeyValueStore::rename_entry`](crate::KeyValueStore::rename_entry). **Default:** `copy_entry`, and then `remove`.
    fn rename_entry<'a>(&'a self, from: Key<'a>, to: Key<'a>) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(async move {
            self.copy_entry(from, to).await?;
            self.remove(from).await.map(drop)
        })
    }

    /// Returns the value of a live entry as a stream, or `None` if there is no live entry: as
    /// [`KeyValueStore::read_stream`](crate::KeyValueStore::read_stream). **Default:** reads the value whole.
    fn read_stream<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<ValueStream<'static>>>> {
        StoreFuture::new(async move { Ok(self.read(key).await?.map(ValueStream::from)) })
    }

    /// Writes all that a stream yields: as [`KeyValueStore::write_stream`](crate::KeyValueStore::write_stream). **Default:** holds the value
    /// in memory, up to the limit of the store.
    fn write_stream<'a>(&'a self, key: Key<'a>, value: ValueStream<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
        StoreFuture::new(async move {
            let value = read_value(self, key, value).await?;
            self.write(key, value, ttl).await
        })
    }

    /// As [`KeyValueStore::read_versioned`](crate::KeyValueStore::read_versioned). **Default:** unsupported.
    fn read_versioned<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<(Bytes, Version)>>> {
        let _ = key;
        unsupported(self.name(), Capability::Versions)
    }

    /// As [`KeyValueStore::write_if_absent_versioned`](crate::KeyValueStore::write_if_absent_versioned). **Default:** unsupported.
    fn write_if_absent_versioned<'a>(
        &'a self,
        key: Key<'a>,
        value: Value<'a>,
        ttl: Ttl,
    ) -> StoreFuture<'a, Result<Option<Version>>> {
        let _ = (key, value, ttl);
        let has_versions = self.capabilities().supports(Capability::Versions);
        unsupported(self.name(), if has_versions { Capability::Create } else { Capability::Versions })
    }

    /// As [`KeyValueStore::write_if_version`](crate::KeyValueStore::write_if_version). **Default:** unsupported.
    fn write_if_version<'a>(
        &'a self,
        key: Key<'a>,
        value: Value<'a>,
        ttl: Ttl,
        version: &'a Version,
    ) -> StoreFuture<'a, Result<Option<Version>>> {
        let _ = (key, value, ttl, version);
        unsupported(self.name(), Capability::Versions)
    }

    /// As [`KeyValueStore::remove_if_version`](crate::KeyValueStore::remove_if_version). **Default:** unsupported.
    fn remove_if_version<'a>(&'a self, key: Key<'a>, version: &'a Version) -> StoreFuture<'a, Result<bool>> {
        let _ = (key, version);
        unsupported(self.name(), Capability::Versions)
    }

    /// As [`KeyValueStore::read_and_remove`](crate::KeyValueStore::read_and_remove). **Default:** unsupported.
    fn read_and_remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
        let _ = key;
        unsupported(self.name(), Capability::Take)
    }

    /// As [`KeyValueStore::read_and_set_expiry`](crate::KeyValueStore::read_and_set_expiry). **Default:** unsupported.
    fn read_and_set_expiry<'a>(&'a self, key: Key<'a>, ttl: Ttl) -> StoreFuture<'a, Result<Option<Bytes>>> {
        let _ = (key, ttl);
        unsupported(self.name(), Capability::TouchingReads)
    }

    /// As [`KeyValueStore::add`](crate::KeyValueStore::add). **Default:** unsupported.
    fn add<'a>(&'a self, key: Key<'a>, by: u32, ttl: Ttl) -> StoreFuture<'a, Result<u64>> {
        let _ = (key, by, ttl);
        unsupported(self.name(), Capability::Counters)
    }
}

/// The value that a stream yields, if the store takes one as large.
async fn read_value<S: AsyncKeyValueStore + ?Sized>(
    store: &S,
    key: Key<'_>,
    value: ValueStream<'_>,
) -> Result<Value<'static>> {
    let capabilities = store.capabilities();
    let read = value.read_up_to(capabilities.largest_value().unwrap_or(u64::MAX)).await;
    let value = read.map_err(|error| Error::io(key, "reading the value to be stored", error))?;
    // If the limit depends on the key, `write` might accept this beginning of the value.
    capabilities.check_value(store.name(), key, value.len() as u64)?;
    Ok(value.into())
}

fn unsupported<'a, T: 'a>(store: &str, operation: Capability) -> StoreFuture<'a, Result<T>> {
    let error = Error::unsupported(store, operation);
    StoreFuture::new(async move { Err(error) })
}
