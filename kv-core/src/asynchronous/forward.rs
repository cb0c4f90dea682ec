//! `&S`, `Box<S>` and `Arc<S>` are stores if `S` is one, also if `S` is `dyn AsyncKeyValueStore`.
#![deny(
    clippy::missing_trait_methods,
    reason = "a method that is not forwarded would silently replace the store's own by the default"
)]

use std::sync::Arc;

use bytes::Bytes;

use super::{AsyncKeyValueStore, KeyStream, StoreFuture, ValueStream};
use crate::{Capabilities, Entry, Key, Prefix, Remaining, Result, Ttl, Value, Version};

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: AsyncKeyValueStore + ?Sized> AsyncKeyValueStore for $pointer {
            fn name(&self) -> &str {
                (**self).name()
            }

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            fn read<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
                (**self).read(key)
            }

            fn write<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
                (**self).write(key, value, ttl)
            }

            fn write_if_absent<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<bool>> {
                (**self).write_if_absent(key, value, ttl)
            }

            fn remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
                (**self).remove(key)
            }

            fn exists<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<bool>> {
                (**self).exists(key)
            }

            fn expiry<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Remaining>>> {
                (**self).expiry(key)
            }

            fn set_expiry<'a>(&'a self, key: Key<'a>, ttl: Ttl) -> StoreFuture<'a, Result<bool>> {
                (**self).set_expiry(key, ttl)
            }

            fn list(&self, prefix: Prefix<'_>) -> Result<KeyStream<'_>> {
                (**self).list(prefix)
            }

            fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<KeyStream<'_>> {
                (**self).list_prefixes(delimiter, prefix)
            }

            fn read_many<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Result<Vec<Option<Bytes>>>> {
                (**self).read_many(keys)
            }

            fn read_each<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Vec<Result<Option<Bytes>>>> {
                (**self).read_each(keys)
            }

            fn write_many<'a>(&'a self, entries: Vec<Entry<'a>>) -> StoreFuture<'a, Result<()>> {
                (**self).write_many(entries)
            }

            fn remove_many<'a>(&'a self, keys: &'a [Key<'a>]) -> StoreFuture<'a, Result<Vec<bool>>> {
                (**self).remove_many(keys)
            }

            fn copy_entry<'a>(&'a self, from: Key<'a>, to: Key<'a>) -> StoreFuture<'a, Result<()>> {
                (**self).copy_entry(from, to)
            }

            fn rename_entry<'a>(&'a self, from: Key<'a>, to: Key<'a>) -> StoreFuture<'a, Result<()>> {
                (**self).rename_entry(from, to)
            }

            fn read_stream<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<ValueStream<'static>>>> {
                (**self).read_stream(key)
            }

            fn write_stream<'a>(&'a self, key: Key<'a>, value: ValueStream<'a>, ttl: Ttl) -> StoreFuture<'a, Result<()>> {
                (**self).write_stream(key, value, ttl)
            }

            fn read_versioned<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<(Bytes, Version)>>> {
                (**self).read_versioned(key)
            }

            fn write_if_absent_versioned<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl) -> StoreFuture<'a, Result<Option<Version>>> {
                (**self).write_if_absent_versioned(key, value, ttl)
            }

            fn write_if_version<'a>(&'a self, key: Key<'a>, value: Value<'a>, ttl: Ttl, version: &'a Version) -> StoreFuture<'a, Result<Option<Version>>> {
                (**self).write_if_version(key, value, ttl, version)
            }

            fn remove_if_version<'a>(&'a self, key: Key<'a>, version: &'a Version) -> StoreFuture<'a, Result<bool>> {
                (**self).remove_if_version(key, version)
            }

            fn read_and_remove<'a>(&'a self, key: Key<'a>) -> StoreFuture<'a, Result<Option<Bytes>>> {
                (**self).read_and_remove(key)
            }

            fn read_and_set_expiry<'a>(&'a self, key: Key<'a>, ttl: Ttl) -> StoreFuture<'a, Result<Option<Bytes>>> {
                (**self).read_and_set_expiry(key, ttl)
            }

            fn add<'a>(&'a self, key: Key<'a>, by: u32, ttl: Ttl) -> StoreFuture<'a, Result<u64>> {
                (**self).add(key, by, ttl)
            }
        }
    )*};
}

forward!(&S, Box<S>, Arc<S>);
