//! Makes a store from its settings, if they are valid.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kv_core::{Error, Key, Result};

use super::address::Address;
use super::builder::MemcacheStoreBuilder;
use super::client::{Client, label_of_namespace};
use super::memcache_store::MemcacheStore;
use super::now;
use crate::connection::credentials::{Credentials, Source};
#[cfg(feature = "tls")]
use crate::connection::endpoint::Endpoint;
use crate::connection::resolve::Resolver;
use crate::connection::sweeper::Sweeper;
#[cfg(feature = "tls")]
use crate::connection::tls;
use crate::protocol::fault::Timeouts;
use crate::protocol::handshake::LARGEST_ITEM;
use crate::protocol::ttl;
use crate::servers::node::{Dialer, Node};
use crate::servers::placement::Servers;

/// The numbers that memcached's option `-I` takes.
const ITEM_SIZES: std::ops::RangeInclusive<u64> = 1024..=LARGEST_ITEM;

/// A shorter limit can run out on a busy machine before a thread does anything.
const SHORTEST_LIMIT: Duration = Duration::from_millis(10);

/// Longer limits are shortened to this.
const LONGEST_LIMIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// There cannot be more connections than ports.
const LARGEST_POOL: u32 = u16::MAX as u32;

impl MemcacheStore {
    /// A store on the server at this URL, with the default settings. It connects, so that the server is known to answer.
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

    /// A handle to the entries of a namespace, on the same connections: its keys begin on the servers with this name and a colon. So each of
    /// many tenants has keys of its own, and none has a pool of its own.
    ///
    /// ```no_run
    /// use kv_memcache::{KeyValueStore, KeyValueStoreExt, MemcacheStore};
    ///
    /// let store = MemcacheStore::connect("memcache://127.0.0.1:11211")?;
    /// let tenant = store.with_namespace("acme")?;
    /// tenant.put("greeting", "hello")?;
    /// assert_eq!(store.get("acme:greeting")?, tenant.get("greeting")?);
    /// assert_eq!(tenant.capabilities().longest_key(), 245);
    /// # Ok::<(), kv_memcache::Error>(())
    /// ```
    ///
    /// In a store that has a [namespace](MemcacheStoreBuilder::namespace) it is a part of that one. The store itself still sees the entries
    /// of all namespaces in it. The name has at least one character, all of them visible ASCII characters and none a colon. The prefix is
    /// part of the 250 bytes of a key, so the [longest key](crate::Capabilities::longest_key) is shorter by it
    /// ([K5](kv_core::contract#1-keys)).
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] if the name is not valid, or leaves no room for a key.
    pub fn with_namespace(&self, name: &str) -> Result<Self> {
        Ok(Self { client: within(&self.client, name)? })
    }

    /// Configures a store.
    pub fn builder() -> MemcacheStoreBuilder {
        MemcacheStoreBuilder::default()
    }
}

impl MemcacheStoreBuilder {
    /// Makes the store and a first connection to each server, so that all servers are known to answer and to be suitable: memcached 1.6.0
    /// or newer, or with [`classic`](Self::classic) any.
    ///
    /// # Errors
    /// As [`build`](Self::build); [`Error::Unavailable`] or [`Error::Timeout`] if a server cannot be
    /// reached, [`Error::Backend`] if it does not accept user and password or is unsuitable, [`Error::InvalidSetting`] if it cannot
    /// express [`default_ttl`](Self::default_ttl).
    pub fn connect(self) -> Result<MemcacheStore> {
        let store = self.build()?;
        now(store.client.warm_up())?;
        Ok(store)
    }

    /// Makes the store, and does not connect: the first operation will. So this does not fail if a server is unreachable.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] if a setting is invalid: a text that is not a URL, a limit that is too short, a feature that is not compiled in.
    pub fn build(self) -> Result<MemcacheStore> {
        Ok(MemcacheStore { client: self.client(Node::new)? })
    }

    /// What the store is a handle to. `node` makes the connections to a server.
    pub(super) fn client(self, node: impl Fn(Dialer, u32) -> Node) -> Result<Arc<Client>> {
        let (addresses, credentials) = self.check()?;
        #[cfg(feature = "tls")]
        let tls = match addresses.first() {
            Some(first) if first.tls => {
                let connector = tls::Connector::new(&self.tls.clone().unwrap_or_default()).map_err(invalid)?;
                let fits = |address: &Address| matches!(&address.endpoint, Endpoint::Tcp { host, .. } if connector.accepts(host));
                if !addresses.iter().all(fits) {
                    return Err(invalid("the URL cannot be used: its host is not a name that a certificate can have"));
                }
                Some(connector)
            }
            _ => None,
        };
        let mut settings = self.settings;
        // Limits that can be added to any moment.
        let Timeouts { pool, connect, response } = &mut settings.timeouts;
        for limit in [pool, connect, response] {
            *limit = (*limit).min(LONGEST_LIMIT);
        }
        if !settings.namespace.is_empty() {
            settings.namespace.push(':');
        }
        let label = match addresses.as_slice() {
            [first, _, ..] => format!("{first} and {} more", addresses.len() - 1),
            one => one.first().map(ToString::to_string).unwrap_or_default(),
        };
        let label = label + &label_of_namespace(&settings.namespace);
        let (resolver, sweeper) = (Arc::new(Resolver::default()), Arc::new(Sweeper::new()));
        let node_of = |address: Address| {
            let dialer = Dialer {
                endpoint: address.endpoint,
                resolver: Arc::clone(&resolver),
                credentials: credentials.clone(),
                #[cfg(feature = "tls")]
                tls: tls.clone(),
                classic: settings.classic,
                timeouts: settings.timeouts,
                pool_settings: settings.pool.ready(),
                sweeper: Arc::clone(&sweeper),
            };
            node(dialer, self.pool_size)
        };
        let servers = Servers::new(addresses.into_iter().map(node_of).collect());
        Ok(Arc::new(Client::new(label, settings, servers)))
    }

    /// The addresses of the servers, and user and password for them, if the settings are valid.
    fn check(&self) -> Result<(Vec<Address>, Source)> {
        let Timeouts { pool, connect, response } = self.settings.timeouts;
        self.settings.pool.check().map_err(invalid)?;
        check_namespace(&self.settings.namespace, Key::MAX_LEN)?;
        for (name, limit) in [("pool_timeout", pool), ("connect_timeout", connect), ("response_timeout", response)] {
            if limit < SHORTEST_LIMIT {
                return Err(invalid(format!("`{name}` is {limit:?}, and has to be {SHORTEST_LIMIT:?} or more")));
            }
        }
        let longest = ttl::longest(SystemTime::now());
        if let Some(ttl) = self.settings.default_ttl.filter(|ttl| *ttl > longest) {
            return Err(invalid(format!(
                "`default_ttl` is {ttl:?}, and the longest that memcached takes is {longest:?}"
            )));
        }
        let pool_size = self.pool_size;
        if !(1..=LARGEST_POOL).contains(&pool_size) {
            return Err(invalid(format!("`pool_size` is {pool_size}, and has to be 1 to {LARGEST_POOL}")));
        }
        if let Some(bytes) = self.settings.largest_item.filter(|bytes| !ITEM_SIZES.contains(bytes)) {
            let (least, most) = ITEM_SIZES.into_inner();
            return Err(invalid(format!(
                "`largest_item` is {bytes}, and has to be {least} to {most} bytes, as with memcached's -I"
            )));
        }
        if self.provider.is_some() && self.credentials.is_some() {
            return Err(invalid("both `credentials_provider` and `credentials` are set; set one of them"));
        }
        if let Some(Err(problem)) = self.credentials.as_ref().map(Credentials::check) {
            return Err(invalid(format!("`credentials` cannot be sent: {problem}")));
        }
        let count = self.urls.len();
        let which =
            |index: usize| if count == 1 { String::new() } else { format!(" (number {} of {count})", index + 1) };
        let addresses = self.urls.iter().enumerate().map(|(index, url)| self.address(url, &which(index)));
        let (addresses, credentials): (Vec<_>, Vec<_>) = addresses.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let Some(first) = addresses.first() else { return Err(invalid("`servers` has no URL of a server")) };
        let is_other = |other: &Address| other.tls != first.tls;
        // All servers get the same credentials: no server may get them in clear, or get those of another one.
        if addresses.iter().any(is_other) || credentials.iter().any(|other| Some(other) != credentials.first()) {
            return Err(invalid("the URLs of the servers differ in TLS (`memcache+tls://`), user or password"));
        }
        for (index, address) in addresses.iter().enumerate() {
            if addresses.iter().skip(index + 1).any(|other| other.endpoint == address.endpoint) {
                return Err(invalid(format!("the server {} is listed twice", address.endpoint)));
            }
        }
        #[cfg(feature = "tls")]
        if self.tls.is_some() && !first.tls {
            return Err(invalid("TLS is configured, and the URL does not say `memcache+tls://`"));
        }
        let source = match &self.provider {
            Some(provider) => Source::Provider(provider.clone()),
            None => Source::Fixed(credentials.into_iter().next().flatten()),
        };
        Ok((addresses, source))
    }

    /// What a URL says, with the settings that replace parts of it. `which` says which one of several URLs it is.
    fn address(&self, url: &str, which: &str) -> Result<(Address, Option<Credentials>)> {
        let useless = |problem: &str| invalid(format!("the URL cannot be used{which}: {problem}"));
        let mut address = Address::parse(url).map_err(|problem| useless(&problem))?;
        address.check().map_err(useless)?;
        if address.tls && cfg!(not(feature = "tls")) {
            return Err(invalid("the URL wants TLS: compile kv-memcache with its feature `tls`"));
        }
        let login = (address.user.take(), address.password.take());
        if self.provider.is_some() && login != (None, None) {
            return Err(invalid(format!(
                "`credentials_provider` is set, and the URL{which} has a user or a password, too; leave them out of the URL"
            )));
        }
        let credentials = match (&self.credentials, login) {
            (Some(credentials), _) => Some(credentials.clone()),
            (None, (None, None)) => None,
            (None, (Some(user), Some(password))) => {
                let credentials = Credentials::new(user, password);
                credentials.check().map_err(useless)?;
                Some(credentials)
            }
            (None, _) => {
                return Err(useless(
                    "it has a user without a password, or the reverse; write memcache://user:password@host, or set both by \
                    `credentials`",
                ));
            }
        };
        Ok((address, credentials))
    }
}

/// What a handle to the entries of a namespace is a handle to.
pub(super) fn within(client: &Client, name: &str) -> Result<Arc<Client>> {
    check_namespace(name, client.longest_key())?;
    if name.is_empty() {
        return Err(invalid("`namespace` is empty"));
    }
    Ok(Arc::new(client.within(name)))
}

/// Whether keys of at most this length can begin with this name and a colon. It may be empty, for none.
fn check_namespace(name: &str, longest_key: usize) -> Result<()> {
    if !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        return Err(invalid("`namespace` has to be made of visible ASCII characters without a colon"));
    }
    if name.len() + 1 >= longest_key {
        return Err(invalid(format!("`namespace` has {} bytes, which leave no room for a key", name.len())));
    }
    Ok(())
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::invalid_setting("memcache", message)
}
