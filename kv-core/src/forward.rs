//! `&S`, `Box<S>` and `Arc<S>` are stores if `S` is one, also if `S` is `dyn KeyValueStore`.
#![deny(
    clippy::missing_trait_methods,
    reason = "a method that is not forwarded would silently replace the store's own by the default"
)]

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Capabilities, Entry, Key, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl, Value, ValueReader, Version,
};

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: KeyValueStore + ?Sized> KeyValueStore for $pointer {
            fn name(&self) -> &str {
                (**self).name()
            }

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
                (**self).read(key)
            }

            fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
                (**self).write(key, value, ttl)
            }

            fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
                (**self).write_if_absent(key, value, ttl)
            }

            fn remove(&self, key: Key<'_>) -> Result<bool> {
                (**self).remove(key)
            }

            fn exists(&self, key: Key<'_>) -> Result<bool> {
                (**self).exists(key)
            }

            fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
                (**self).expiry(key)
            }

            fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
                (**self).set_expiry(key, ttl)
            }

            fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
                (**self).list(prefix)
            }

            fn list_prefixes(&self, delimiter: Key<'_>, prefix: Prefix<'_>) -> Result<Keys<'_>> {
                (**self).list_prefixes(delimiter, prefix)
            }

            fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
                (**self).read_many(keys)
            }

            fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
                (**self).read_each(keys)
            }

            fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
                (**self).write_many(entries)
            }

            fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
                (**self).remove_many(keys)
            }

            fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
                (**self).copy_entry(from, to)
            }

            fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
                (**self).rename_entry(from, to)
            }

            fn read_stream(&self, key: Key<'_>) -> Result<Option<ValueReader>> {
                (**self).read_stream(key)
            }

            fn write_stream(&self, key: Key<'_>, reader: &mut dyn std::io::Read, ttl: Ttl) -> Result<()> {
                (**self).write_stream(key, reader, ttl)
            }

            fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
                (**self).read_versioned(key)
            }

            fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
                (**self).write_if_absent_versioned(key, value, ttl)
            }

            fn write_if_version(
                &self,
                key: Key<'_>,
                value: Value<'_>,
                ttl: Ttl,
                version: &Version,
            ) -> Result<Option<Version>> {
                (**self).write_if_version(key, value, ttl, version)
            }

            fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
                (**self).remove_if_version(key, version)
            }

            fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
                (**self).read_and_remove(key)
            }

            fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
                (**self).read_and_set_expiry(key, ttl)
            }

            fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
                (**self).add(key, by, ttl)
            }
        }
    )*};
}
forward!(&S, Box<S>, Arc<S>);
