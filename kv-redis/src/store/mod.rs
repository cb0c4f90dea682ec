//! The store: what its operations do.

mod address;
mod assemble;
#[cfg(feature = "tokio")]
mod async_store;
mod batch;
mod build;
mod builder;
mod check;
mod choose;
mod client;
mod copy;
mod listing;
mod operations;
#[cfg(feature = "cluster")]
mod rename;
mod scan;
mod settings;
mod updates;
mod url;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use kv_core::{Bytes, Capabilities, Entry, Key, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl, Value, Version};

use client::Client;
use listing::{KeysOfPages, Listing};

#[cfg(feature = "tokio")]
pub use async_store::AsyncRedisStore;
pub use builder::RedisStoreBuilder;

/// A key-value store on redis. See [the crate](crate) for what it does and what that costs.
///
/// `get`, `put` and all the others that applications use are methods of [`KeyValueStoreExt`](crate::KeyValueStoreExt),
/// which has to be imported.
///
/// It is a handle: a clone has the same pool of connections, and so has the store that [`with_namespace`](Self::with_namespace) makes. Threads
/// share it by reference or by clones. They can also [share connections](RedisStoreBuilder::shared_connections).
#[derive(Clone)]
pub struct RedisStore {
    client: Arc<Client>,
}

/// Shows the name and the settings, and no password ([E3](kv_core::contract#9-errors)).
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("name", &self.client.label)
            .field("settings", &self.client.settings)
            .finish_non_exhaustive()
    }
}

/// Every operation is one request and one reply, a batch one for each chunk of up to 1024 keys or about 1 MiB; [the
/// crate](crate) has a table. All operations are commands of redis, and atomic on their keys unless the table says otherwise.
impl KeyValueStore for RedisStore {
    /// The URL without user and password; for a cluster or sentinels, the first of them.
    fn name(&self) -> &str {
        &self.client.label
    }

    /// Everything. An entry expires at most 3 ms late, and a value has at most 512 MiB, unless [the
    /// builder](RedisStoreBuilder::largest_value) sets another limit.
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

    /// Page by page with `SCAN`; [the builder](RedisStoreBuilder::page_size) sets the size of a page. Between two pages no connection
    /// is held. Memory: two pages, and 20 to 40 bytes for each key that was yielded, to leave out keys that redis returns
    /// twice ([L4](kv_core::contract#5-listing)).
    ///
    /// The server looks through the whole database, whatever the prefix. If the server is restarted or replaced meanwhile, or slots
    /// of a cluster are moved, the listing ends with an error, because it could not be complete ([L3](kv_core::contract#5-listing)).
    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        Ok(Keys::new(KeysOfPages::new(now(Listing::new(&self.client, prefix.as_str()))?)))
    }

    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        now(self.client.read_many(keys))
    }

    /// With a command for each key, so that each has a reply of its own. On a cluster, a primary that fails costs its own keys, and no
    /// others.
    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        now(self.client.read_each(keys))
    }

    /// All values and TTLs are checked before anything is sent.
    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        now(self.client.write_many(entries))
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        now(self.client.remove_many(keys))
    }

    /// One command, or a script on servers without `COPY`. In two cases it is a read of value and TTL and then a write, which is not
    /// atomic: on a cluster if the keys are of different slots or their slot is being moved, and below redis 6.2 where scripts are forbidden.
    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        now(self.client.copy_entry(from, to))
    }

    /// On a cluster, if the keys are of different slots or their slot is being moved, this is a copy and then a removal of what was copied,
    /// which is not atomic. A value that is written to `from` between them stays. The removal needs one of the commands `EVAL`, `DELIFEQ`
    /// and `DELEX`; if the server lacks them, or the user may not use them, this is an error, and nothing is changed.
    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        now(self.client.rename_entry(from, to))
    }

    /// The version is the value itself: equal bytes have equal versions.
    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        now(self.client.read_versioned(key))
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        now(self.client.write_if_absent_versioned(key, value, ttl))
    }

    /// By `SET … IFEQ`, which new servers have, or by a script; where those are refused, in two round trips: `WATCH` and `GET`, then
    /// `MULTI`, `SET` and `EXEC`. A script that the server does not know yet costs one round trip more.
    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        now(self.client.write_if_version(key, value, ttl, version))
    }

    /// In the same ways, with `DELIFEQ` or `DELEX`.
    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        now(self.client.remove_if_version(key, version))
    }

    /// `GETDEL`; before redis 6.2 a script, and where those are refused two round trips with `WATCH`.
    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        now(self.client.read_and_remove(key))
    }

    /// `GETEX`; before redis 6.2 a transaction.
    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        now(self.client.read_and_set_expiry(key, ttl))
    }

    /// `INCRBY`, with a TTL in a transaction after a `SET … NX`; before redis 7.0, where an entry may expire within a transaction, in a script.
    /// An error that a negative number was there costs a second round trip, which takes back what was added.
    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        now(self.client.add(key, by, ttl))
    }
}

/// The outcome of a future that waits for nothing, because the connections of its client block.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return outcome;
        }
        // Not reached: only the connections of an async store are waited for.
        thread::yield_now();
    }
}
