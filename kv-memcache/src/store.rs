//! The store.

use std::fmt;
use std::io::Read;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kv_core::{Bytes, Capabilities, Capability, Entry, Error, Key, KeyValueStore, Remaining, Result, Ttl, Value};

use crate::MemcacheStoreBuilder;
use crate::batch::Item;
use crate::builder::{Settings, USUAL_ITEM};
use crate::dialect::CLASSIC_EXTRA;
use crate::fault::{Fault, Scene};
use crate::lifetime::{self, Lifetime};
use crate::node::Node;
use crate::reply::Reply;
use crate::request::{Command, Request, item_size};
use crate::servers::Servers;

/// The length of the longest key (K1).
const LONGEST_KEY: usize = 250;

/// A key-value store on memcached. See [the crate](crate) for what it does and what that costs.
///
/// `get`, `put` and all the others that applications use are methods of [`KeyValueStoreExt`](crate::KeyValueStoreExt),
/// which has to be imported.
///
/// It is shared by threads by reference or in an [`Arc`](std::sync::Arc); they share its pools of connections.
pub struct MemcacheStore {
    label: String,
    settings: Settings,
    servers: Servers,
    /// The number of the next command: its reply repeats it.
    next_tag: AtomicU64,
}

impl MemcacheStore {
    /// A store on the server at this URL, with everything else as it is by default. It makes sure that the server answers.
    ///
    /// The URL is `memcache://host:port`, with TLS `memcache+tls://…` (feature `tls`), of a unix socket
    /// `memcache:///path/to.sock`. User and password, percent-encoded, go before the host, `memcache://user:password@host`.
    ///
    /// ```no_run
    /// use kv_memcache::{KeyValueStoreExt, MemcacheStore};
    ///
    /// let store = MemcacheStore::connect("memcache://127.0.0.1:11211")?;
    /// store.put("greeting", "hello")?;
    /// # Ok::<(), kv_memcache::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`MemcacheStoreBuilder::connect`].
    pub fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder().url(url).connect()
    }

    /// Configures a store.
    pub fn builder() -> MemcacheStoreBuilder {
        MemcacheStoreBuilder::default()
    }

    pub(crate) fn new(label: String, settings: Settings, servers: Servers) -> Self {
        Self { label, settings, servers, next_tag: AtomicU64::new(1) }
    }

    /// Makes a connection to each server, so that all are known to answer, and what they take is known.
    pub(crate) fn warm_up(&self) -> Result<()> {
        for node in self.servers.all() {
            let known = node.warm_up().map_err(|fault| self.error(node, fault, &[]))?;
            let default_ttl = self.settings.default_ttl.filter(|ttl| *ttl > lifetime::LONGEST_WITHOUT_CLOCK);
            if let Some(ttl) = default_ttl.filter(|_| known.lacks_clock) {
                let fault = Fault::unfit(format!(
                    "`default_ttl` is {ttl:?}, and the longest TTL on this server is {:?}: it does not tell its time, which longer ones \
                    need, as a proxy or a managed service",
                    lifetime::LONGEST_WITHOUT_CLOCK
                ));
                return Err(self.error(node, fault, &[]));
            }
        }
        Ok(())
    }

    pub(crate) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Numbers for so many commands; the first of them.
    pub(crate) fn tags(&self, count: usize) -> u64 {
        self.next_tag.fetch_add(count as u64, Ordering::Relaxed)
    }

    /// The server that has this key.
    pub(crate) fn node(&self, key: Key<'_>) -> Result<&Node> {
        self.servers.all().get(self.servers.index_of(&key)).ok_or_else(|| {
            let message = "there is no server";
            Error::Backend(kv_core::Failure::new(&self.label, message))
        })
    }

    /// Sends a command; its reply, which is no error of the server.
    fn ask(&self, key: Key<'_>, command: Command<'_>) -> Result<Reply> {
        let (node, item) = (self.node(key)?, (0, key, command));
        let answer = node.exchange(Request::new(&[item], self.tags(1)));
        let reply = answer.map_err(|fault| self.error(node, fault, &[item]))?.pop();
        self.no_refusal(node, reply.unwrap_or(Reply::Miss), item)
    }

    /// A reply that is no error of the server.
    pub(crate) fn no_refusal(&self, node: &Node, reply: Reply, item: Item<'_>) -> Result<Reply> {
        match reply {
            Reply::Refused(refusal) => Err(self.error(node, Fault::Refused(refusal), &[item])),
            reply => Ok(reply),
        }
    }

    /// What a caller is told of a fault of the exchange of these commands.
    pub(crate) fn error(&self, node: &Node, fault: Fault, items: &[Item<'_>]) -> Error {
        let items = fault.index().and_then(|index| items.get(index)).map_or(items, slice::from_ref);
        match (&fault, items) {
            (&Fault::ItemTooLarge { limit, .. }, &[(_, key, command)]) => {
                let size = command.value().map_or(0, <[u8]>::len) as u64;
                return Error::value_too_large(&self.label, key, size, largest_value(key.len(), limit));
            }
            (&Fault::TtlTooLong { longest, .. }, [(_, key, command)]) => {
                if let Some(Lifetime::Until(ttl)) = command.lifetime() {
                    return Error::invalid_ttl(&self.label, *key, ttl, longest);
                }
            }
            _ => {}
        }
        let server = Some(node.name()).filter(|_| self.servers.all().len() > 1);
        // A key is named only where it is the one that failed.
        let key = if let [(_, key, _)] = items { Some(*key) } else { None };
        let writes = items.iter().any(|(_, _, command)| command.writes());
        fault.into_error(&Scene { store: &self.label, server, key, writes, limits: self.settings.limits })
    }

    /// How a TTL is sent (T1, T4). Whether its server can have it is known when its connection is.
    fn lifetime(&self, key: Key<'_>, ttl: Ttl) -> Result<Lifetime> {
        let lifetime = Lifetime::new(ttl.or_default(self.settings.default_ttl));
        match lifetime {
            Lifetime::Until(ttl) if ttl > lifetime::longest() => {
                Err(Error::invalid_ttl(&self.label, key, ttl, lifetime::longest()))
            }
            lifetime => Ok(lifetime),
        }
    }

    /// An error if the server of this key does not tell its time, and the TTL needs that (T4). A connection confirms it first, as in
    /// [`less_than`](Self::less_than).
    fn check_clock(&self, key: Key<'_>, lifetime: Lifetime) -> Result<()> {
        let (node, Lifetime::Until(ttl)) = (self.node(key)?, lifetime) else { return Ok(()) };
        if node.known().lacks_clock && node.warm_up().map_or(true, |known| known.lacks_clock) {
            return Err(Error::invalid_ttl(&self.label, key, ttl, lifetime::LONGEST_WITHOUT_CLOCK));
        }
        Ok(())
    }

    /// The longest TTL that all servers are known to take now: one that does not tell its time takes what it can count.
    fn longest_ttl(&self) -> Duration {
        if self.servers.all().iter().any(|node| node.known().lacks_clock) {
            lifetime::LONGEST_WITHOUT_CLOCK
        } else {
            lifetime::longest()
        }
    }

    /// The largest item that a server takes which has told this.
    fn largest_item(&self, told: Option<u64>) -> u64 {
        let given = self.settings.largest_item;
        match told {
            Some(told) => told.min(given.unwrap_or(told)),
            None if self.settings.classic => given.unwrap_or(USUAL_ITEM).saturating_sub(CLASSIC_EXTRA),
            None => given.unwrap_or(USUAL_ITEM),
        }
    }

    /// The length of the largest value that there may be with this key, if it is less than `length` (V3).
    ///
    /// Before a value is refused, an idle connection confirms what the server told, or a new one asks: it may not have been asked yet, or
    /// have been started again with another `-I`.
    fn less_than(&self, key: Key<'_>, length: u64, client_flags: u64) -> Result<Option<u64>> {
        let (node, size) = (self.node(key)?, item_size(key.len(), length, client_flags));
        let mut told = node.known().largest_item;
        if size <= self.largest_item(told) {
            return Ok(None);
        }
        if self.settings.largest_item.is_none_or(|given| size <= given) {
            told = match (node.warm_up(), told) {
                (Ok(known), _) => known.largest_item,
                // By what it told last.
                (Err(_), Some(told)) => Some(told),
                (Err(fault), None) => return Err(self.error(node, fault, &[])),
            };
        }
        let limit = self.largest_item(told);
        Ok((size > limit).then(|| largest_value(key.len(), limit)))
    }

    fn check_size(&self, key: Key<'_>, length: usize) -> Result<()> {
        let length = length as u64;
        match self.less_than(key, length, 0)? {
            Some(limit) => Err(Error::value_too_large(&self.label, key, length, limit)),
            None => Ok(()),
        }
    }
}

/// The length of the largest value that makes an item of at most this size with a key of this length.
fn largest_value(key_length: usize, largest_item: u64) -> u64 {
    largest_item.saturating_sub(item_size(key_length, 0, 0))
}

/// Shows where it is and how it is configured: no password (E3).
impl fmt::Debug for MemcacheStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemcacheStore")
            .field("name", &self.label)
            .field("settings", &self.settings)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

/// Every operation is one request and one reply, a batch one for each server and each chunk of up to 1024 keys; [the
/// crate](crate) has a table.
impl KeyValueStore for MemcacheStore {
    /// The URL without user and password; of several servers, that of the first and how many more there are.
    fn name(&self) -> &str {
        &self.label
    }

    /// Everything but listing and, unless [the builder](MemcacheStoreBuilder::contains) was told otherwise, contains; with
    /// [`classic`](MemcacheStoreBuilder::classic) neither TTL reading nor copying.
    ///
    /// The largest value and the longest TTL are what the connections of this store have learned so far, the least of it: of a store that was
    /// only built, they may change when it connects.
    ///
    /// An entry expires at most 4.4 s late, whatever its TTL is, and those with a TTL of a few minutes at most 3.1 s: see [the crate](crate).
    /// (With a TTL of 30 days or more it is later by what it took the server to tell its time and does not take it to write.) The longest TTL is what is left until 19 January 2038, in whole days, so that it is a day shorter each day; and at least 30 days less 2 s.
    fn capabilities(&self) -> Capabilities {
        let largest_item = self.servers.all().iter().map(|node| self.largest_item(node.known().largest_item)).min();
        let capabilities = Capabilities::builder()
            .without(Capability::Listing)
            .ttl_resolution(lifetime::RESOLUTION)
            .longest_ttl(self.longest_ttl())
            .largest_value(largest_value(LONGEST_KEY, largest_item.unwrap_or(USUAL_ITEM)));
        let capabilities =
            if self.settings.contains { capabilities } else { capabilities.without(Capability::Contains) };
        if self.settings.classic {
            capabilities.without(Capability::TtlReading).without(Capability::Copy).build()
        } else {
            capabilities.build()
        }
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        Ok(self.ask(key, Command::Get)?.hit().map(|hit| hit.value))
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        self.check_size(key, value.len())?;
        let lifetime = self.lifetime(key, ttl)?;
        self.ask(key, Command::put(value.as_bytes(), lifetime)).map(drop)
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        self.check_size(key, value.len())?;
        let lifetime = self.lifetime(key, ttl)?;
        self.ask(key, Command::Create(value.as_bytes(), lifetime)).map(|reply| reply.is_hit())
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.ask(key, Command::Delete).map(|reply| reply.is_hit())
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        if !self.settings.contains {
            return Err(Error::unsupported(&self.label, Capability::Contains));
        }
        self.ask(key, Command::Contains).map(|reply| reply.is_hit())
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        self.not_classic(Capability::TtlReading)?;
        Ok(self.ask(key, Command::TtlOf)?.hit().map(|hit| lifetime::remaining(hit.seconds_left)))
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        let lifetime = self.lifetime(key, ttl)?;
        self.ask(key, Command::touch(lifetime)).map(|reply| reply.is_hit())
    }

    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        let replies = self.pipeline(keys.iter().map(|&key| (key, Command::Get)).collect())?;
        Ok(replies.into_iter().map(|reply| reply.hit().map(|hit| hit.value)).collect())
    }

    /// To all servers at once: a server that fails costs its own keys, and no others.
    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        let outcomes = self.pipeline_each(keys.iter().map(|&key| (key, Command::Get)).collect());
        outcomes.into_iter().map(|reply| Ok(reply?.hit().map(|hit| hit.value))).collect()
    }

    /// TTLs and values are all checked before anything is sent, by what the store knows of its servers.
    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        let mut commands = Vec::with_capacity(entries.len());
        for Entry { key, value, ttl, .. } in &entries {
            self.check_size(*key, value.len())?;
            let lifetime = self.lifetime(*key, *ttl)?;
            self.check_clock(*key, lifetime)?;
            commands.push((*key, Command::put(value.as_bytes(), lifetime)));
        }
        self.pipeline(commands).map(drop)
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        let replies = self.pipeline(keys.iter().map(|&key| (key, Command::Delete)).collect())?;
        Ok(replies.iter().map(Reply::is_hit).collect())
    }

    /// A read of value and lifetime, then a write: two round trips, and not atomic. What is written to `to` between them is
    /// replaced.
    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.copy_version(from, to).map(drop)
    }

    /// As [`copy_entry`](Self::copy_entry), and then a delete of what was copied: three round trips, and not atomic. What is
    /// written to `from` meanwhile stays there.
    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        let version = self.copy_version(from, to)?;
        self.ask(from, Command::DeleteVersion(version)).map(drop)
    }

    /// As [`write`](Self::write), with as much of it as this key allows held in memory.
    fn write_stream(&self, key: Key<'_>, reader: &mut dyn Read, ttl: Ttl) -> Result<()> {
        let mut value = Vec::new();
        loop {
            let limit = largest_value(key.len(), self.largest_item(self.node(key)?.known().largest_item));
            // One byte more than the limit is enough to know that there is too much.
            let left = limit.saturating_add(1).saturating_sub(value.len() as u64);
            let read = Read::take(&mut *reader, left).read_to_end(&mut value);
            read.map_err(|error| Error::io(key, "reading the value to be stored", error))?;
            if value.len() as u64 <= limit {
                return self.write(key, Value::from(value.as_slice()), ttl);
            }
            self.check_size(key, value.len())?;
        }
    }
}

impl MemcacheStore {
    /// An error if the classic commands are used, which cannot do this.
    fn not_classic(&self, capability: Capability) -> Result<()> {
        if self.settings.classic { Err(Error::unsupported(&self.label, capability)) } else { Ok(()) }
    }

    /// Copies an entry; the version of it that was copied.
    fn copy_version(&self, from: Key<'_>, to: Key<'_>) -> Result<u64> {
        self.not_classic(Capability::Copy)?;
        let Some(original) = self.ask(from, Command::GetAll)?.hit() else {
            return Err(Error::not_found(&self.label, from));
        };
        let (value, client_flags) = (&original.value, original.client_flags);
        let length = value.len() as u64;
        if let Some(limit) = self.less_than(to, length, client_flags)? {
            return Err(Error::value_too_large(&self.label, to, length, limit));
        }
        let lifetime = Lifetime::of_copy(original.seconds_left);
        self.ask(to, Command::Put { value, lifetime, client_flags })?;
        Ok(original.version)
    }
}
