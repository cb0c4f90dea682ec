//! The store.

use std::fmt;
use std::io::Read;
use std::sync::Arc;

use kv_core::{Bytes, Capabilities, Entry, Error, Key, KeyValueStore, Remaining, Result, Ttl, Value, Version};

use super::client::Client;
use super::now;

/// A key-value store on memcached. See [the crate](crate) for what it does and what that costs.
///
/// `get`, `put` and all the others that applications use are methods of [`KeyValueStoreExt`](crate::KeyValueStoreExt),
/// which has to be imported.
///
/// It is a handle: a clone has the same pools of connections. Threads share it by reference or by clones.
#[derive(Clone)]
pub struct MemcacheStore {
    pub(super) client: Arc<Client>,
}

/// Shows its servers and settings, and no password ([E3](kv_core::contract#9-errors)).
impl fmt::Debug for MemcacheStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemcacheStore")
            .field("name", &self.client.label)
            .field("settings", &self.client.settings)
            .field("servers", &self.client.servers)
            .finish_non_exhaustive()
    }
}

/// Every operation is one request and one reply; a batch is one for each server and each chunk of up to 1024 keys. [The
/// crate](crate) has a table.
impl KeyValueStore for MemcacheStore {
    /// The URL without user and password; of several servers, that of the first and how many more there are.
    fn name(&self) -> &str {
        &self.client.label
    }

    /// Everything but listing and, unless [the builder](crate::MemcacheStoreBuilder::contains) was told otherwise, contains; with
    /// [`classic`](crate::MemcacheStoreBuilder::classic) neither TTL reading nor copying.
    ///
    /// The largest value and the longest TTL are the smallest that the servers have told so far. They may change when a store that was only
    /// built connects.
    ///
    /// An entry expires at most 4.4 s late ([T2](kv_core::contract#4-ttls)), and with a TTL of up to two minutes at most 3.1 s: see [the crate](crate). With a TTL of
    /// 30 days or more it is later by the time that the server took to tell its time, less the time that the write takes. The longest TTL is what is left
    /// until 19 January 2038, in whole days, so it is a day shorter each day; and at least 30 days less 2 s.
    fn capabilities(&self) -> Capabilities {
        self.client.capabilities()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        now(self.client.read(key))
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        now(self.client.write(key, value, ttl))
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        now(self.client.write_if_absent(key, value, ttl))
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        now(self.client.remove(key))
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        now(self.client.exists(key))
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        now(self.client.expiry(key))
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        now(self.client.set_expiry(key, ttl))
    }

    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        now(self.client.read_many(keys))
    }

    /// Asks all servers at once. A server that fails affects only its own keys.
    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        now(self.client.read_each(keys))
    }

    /// All TTLs and values are checked before anything is sent, by what the store knows about its servers.
    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        now(self.client.write_many(entries))
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        now(self.client.remove_many(keys))
    }

    /// Reads value and TTL, then writes: two round trips, not atomic. A value that is written to `to` in between is replaced.
    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        now(self.client.copy_entry(from, to))
    }

    /// Like [`copy_entry`](Self::copy_entry), and then a delete of what was copied: three round trips, not atomic. A value that is written
    /// to `from` in between stays there.
    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        now(self.client.rename_entry(from, to))
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        now(self.client.read_versioned(key))
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        now(self.client.write_if_absent_versioned(key, value, ttl))
    }

    /// A server before 1.6.18 is asked for the new version, which is a second round trip.
    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        now(self.client.write_if_version(key, value, ttl, version))
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        now(self.client.remove_if_version(key, version))
    }

    /// Reads value and version, then deletes this version: two round trips, and two more each time that the entry was changed in between.
    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        now(self.client.read_and_remove(key))
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        now(self.client.read_and_set_expiry(key, ttl))
    }

    /// memcached takes more for a number than the contract: digits after blanks, a `+` or zeros, and before a blank and anything behind it.
    /// What is there then is replaced by the sum, with blanks up to the length that it had. A sum over `i64::MAX` costs a second round
    /// trip, which takes back what was added.
    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        now(self.client.add(key, by, ttl))
    }

    /// Like [`write`](Self::write). It holds the value in memory, up to the limit for this key.
    fn write_stream(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        let sent = &self.client.key(key)?;
        let mut value = Vec::new();
        loop {
            let limit = self.client.largest_value_at(sent)?;
            // One byte more than the limit is enough to know that there is too much.
            let left = limit.saturating_add(1).saturating_sub(value.len() as u64);
            let read = Read::take(&mut *reader, left).read_to_end(&mut value);
            read.map_err(|error| Error::io(key, "reading the value to be stored", error))?;
            if value.len() as u64 <= limit {
                return self.write(key, Value::from(value.as_slice()), ttl);
            }
            now(self.client.check_size(sent, value.len()))?;
        }
    }
}
