//! The store, and what its operations do.

use std::fmt;
use std::io::Read;
use std::sync::Arc;

use kv_core::{
    Bytes, Capabilities, CapabilitiesBuilder, Capability, Entry, Error, Key, KeyValueStore, Remaining, Result, Ttl,
    Value, Version,
};

use super::client::{Client, largest_value};
use super::settings::USUAL_ITEM;
use super::updates;
use crate::protocol::command::{Command, SentKey};
use crate::protocol::reply::Reply;
use crate::protocol::ttl::{self, Expiry};

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
        use Capability::{
            Contains, Copy, Counters, Create, ExactVersions, Take, Touch, TouchingReads, TtlReading, Ttls, Versions,
        };
        let largest_item =
            self.client.servers.all().iter().map(|node| self.client.largest_item(node.limits().largest_item)).min();
        let capabilities = Capabilities::builder()
            .with_all(&[
                Contains,
                Create,
                Ttls,
                TtlReading,
                Touch,
                Copy,
                Versions,
                ExactVersions,
                Take,
                TouchingReads,
                Counters,
            ])
            .ttl_resolution(ttl::RESOLUTION)
            .longest_ttl(self.client.longest_ttl())
            .largest_value(largest_value(Key::MAX_LEN, largest_item.unwrap_or(USUAL_ITEM)))
            .longest_key(self.client.longest_key());
        let capabilities = if self.client.settings.contains { capabilities } else { capabilities.without(Contains) };
        if self.client.settings.classic {
            let lacking = [TtlReading, Copy, Versions, Take, TouchingReads, Counters];
            lacking.into_iter().fold(capabilities, CapabilitiesBuilder::without).build()
        } else {
            capabilities.build()
        }
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        let key = &self.client.key(key)?;
        Ok(self.client.ask(key, Command::Get)?.hit().map(|hit| hit.value))
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        let key = &self.client.key(key)?;
        self.client.check_size(key, value.len())?;
        let expiry = self.client.expiry(key, ttl)?;
        self.client.ask(key, Command::put(value.as_bytes(), expiry)).map(drop)
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        let key = &self.client.key(key)?;
        self.client.check_size(key, value.len())?;
        let expiry = self.client.expiry(key, ttl)?;
        self.client.ask(key, Command::Create(value.as_bytes(), expiry)).map(|reply| reply.is_hit())
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        let key = &self.client.key(key)?;
        self.client.ask(key, Command::Delete).map(|reply| reply.is_hit())
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        if !self.client.settings.contains {
            return Err(Error::unsupported(&self.client.label, Capability::Contains));
        }
        let key = &self.client.key(key)?;
        self.client.ask(key, Command::Contains).map(|reply| reply.is_hit())
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        self.not_classic(Capability::TtlReading)?;
        let key = &self.client.key(key)?;
        Ok(self.client.ask(key, Command::TtlOf)?.hit().map(|hit| ttl::remaining(hit.seconds_left)))
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        let key = &self.client.key(key)?;
        let expiry = self.client.expiry(key, ttl)?;
        self.client.ask(key, Command::touch(expiry)).map(|reply| reply.is_hit())
    }

    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        let keys = self.client.keys(keys)?;
        let replies = self.client.pipeline(keys.iter().map(|key| (key, Command::Get)).collect())?;
        Ok(replies.into_iter().map(|reply| reply.hit().map(|hit| hit.value)).collect())
    }

    /// Asks all servers at once. A server that fails affects only its own keys.
    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        let keys = keys.iter().map(|&key| self.client.key(key)).collect::<Vec<_>>();
        let fitting = keys.iter().flatten().map(|key| (key, Command::Get)).collect();
        let mut outcomes = self.client.pipeline_each(fitting).into_iter();
        let mut outcome = |key: &SentKey<'_>| outcomes.next().unwrap_or_else(|| self.client.lost(key, Command::Get));
        keys.into_iter().map(|key| Ok(outcome(&key?)?.hit().map(|hit| hit.value))).collect()
    }

    /// All TTLs and values are checked before anything is sent, by what the store knows about its servers.
    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        let mut commands = Vec::with_capacity(entries.len());
        let keys = entries.iter().map(|entry| self.client.key(entry.key)).collect::<Result<Vec<_>>>()?;
        for (Entry { value, ttl, .. }, key) in entries.iter().zip(&keys) {
            self.client.check_size(key, value.len())?;
            let expiry = self.client.expiry(key, *ttl)?;
            self.client.check_clock(key, expiry)?;
            commands.push((key, Command::put(value.as_bytes(), expiry)));
        }
        self.client.pipeline(commands).map(drop)
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        let keys = self.client.keys(keys)?;
        let replies = self.client.pipeline(keys.iter().map(|key| (key, Command::Delete)).collect())?;
        Ok(replies.iter().map(Reply::is_hit).collect())
    }

    /// Reads value and TTL, then writes: two round trips, not atomic. A value that is written to `to` in between is replaced.
    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.copy_version(from, to).map(drop)
    }

    /// Like [`copy_entry`](Self::copy_entry), and then a delete of what was copied: three round trips, not atomic. A value that is written
    /// to `from` in between stays there.
    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let version = self.copy_version(from, to)?;
        self.client.ask(&self.client.key(from)?, Command::DeleteVersion(version)).map(drop)
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        self.not_classic(Capability::Versions)?;
        let key = &self.client.key(key)?;
        let read = self.client.read_versioned(key)?;
        Ok(read.map(|(value, version)| (value, Version::of_number(key.sent(), version))))
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        self.not_classic(Capability::Versions)?;
        let key = &self.client.key(key)?;
        self.client.check_size(key, value.len())?;
        let expiry = self.client.expiry(key, ttl)?;
        self.client.store_versioned(key, Command::CreateVersioned(value.as_bytes(), expiry))
    }

    /// A server before 1.6.18 is asked for the new version, which is a second round trip.
    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        self.not_classic(Capability::Versions)?;
        let key = &self.client.key(key)?;
        self.client.check_size(key, value.len())?;
        let expiry = self.client.expiry(key, ttl)?;
        let Some(version) = updates::number(version, key) else { return Ok(None) };
        self.client.store_versioned(key, Command::PutVersion { value: value.as_bytes(), expiry, version })
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        self.not_classic(Capability::Versions)?;
        let key = &self.client.key(key)?;
        let Some(version) = updates::number(version, key) else { return Ok(false) };
        self.client.ask(key, Command::DeleteVersion(version)).map(|reply| reply.is_hit())
    }

    /// Reads value and version, then deletes this version: two round trips, and two more each time that the entry was changed in between.
    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.not_classic(Capability::Take)?;
        let key = &self.client.key(key)?;
        self.client.take(key)
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        self.not_classic(Capability::TouchingReads)?;
        let key = &self.client.key(key)?;
        let expiry = self.client.expiry(key, ttl)?;
        Ok(self.client.ask(key, Command::GetAndTouch(expiry))?.hit().map(|hit| hit.value))
    }

    /// memcached takes more for a number than the contract: digits after blanks, a `+` or zeros, and before a blank and anything behind it.
    /// What is there then is replaced by the sum, with blanks up to the length that it had. A sum over `i64::MAX` costs a second round
    /// trip, which takes back what was added.
    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        self.not_classic(Capability::Counters)?;
        let key = &self.client.key(key)?;
        let expiry = self.client.expiry(key, ttl)?;
        self.client.add(key, by, expiry)
    }

    /// Like [`write`](Self::write). It holds the value in memory, up to the limit for this key.
    fn write_stream(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        let sent = &self.client.key(key)?;
        let mut value = Vec::new();
        loop {
            let limit = largest_value(
                sent.sent().len(),
                self.client.largest_item(self.client.node(sent)?.limits().largest_item),
            );
            // One byte more than the limit is enough to know that there is too much.
            let left = limit.saturating_add(1).saturating_sub(value.len() as u64);
            let read = Read::take(&mut *reader, left).read_to_end(&mut value);
            read.map_err(|error| Error::io(key, "reading the value to be stored", error))?;
            if value.len() as u64 <= limit {
                return self.write(key, Value::from(value.as_slice()), ttl);
            }
            self.client.check_size(sent, value.len())?;
        }
    }
}

impl MemcacheStore {
    /// An error if the classic commands are used, which cannot do this.
    fn not_classic(&self, capability: Capability) -> Result<()> {
        if self.client.settings.classic { Err(Error::unsupported(&self.client.label, capability)) } else { Ok(()) }
    }

    /// Copies an entry. Returns the version that was copied.
    fn copy_version(&self, from: Key<'_>, to: Key<'_>) -> Result<u64> {
        self.not_classic(Capability::Copy)?;
        let (from, to) = (&self.client.key(from)?, &self.client.key(to)?);
        let Some(original) = self.client.ask(from, Command::GetAll)?.hit() else {
            return Err(Error::not_found(&self.client.label, from.given));
        };
        let (value, client_flags) = (&original.value, original.client_flags);
        let length = value.len() as u64;
        if let Some(limit) = self.client.less_than(to, length, client_flags)? {
            return Err(Error::value_too_large(&self.client.label, to.given, length, limit));
        }
        let expiry = Expiry::of_copy(original.seconds_left);
        self.client.ask(to, Command::Put { value, expiry, client_flags })?;
        Ok(original.version)
    }
}
