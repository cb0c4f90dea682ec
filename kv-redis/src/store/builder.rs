//! How a store is configured.

use std::fmt;
use std::time::Duration;

use super::address::Address;
use super::settings::Settings;
use crate::connection::credentials::{BoxError, Credentials, Provider};
#[cfg(feature = "tls")]
use crate::connection::tls::Tls;
use crate::servers::mapping::Mapping;

/// Which servers have the data.
#[derive(Clone)]
pub(super) enum Servers {
    Url(String),
    #[cfg(feature = "cluster")]
    Cluster(Vec<String>),
    #[cfg(feature = "sentinel")]
    Sentinels {
        service: String,
        urls: Vec<String>,
    },
}

/// Configures a [`RedisStore`](crate::RedisStore); made by [`RedisStore::builder`](crate::RedisStore::builder).
///
/// ```
/// use std::time::Duration;
/// use kv_redis::RedisStore;
///
/// let store = RedisStore::builder()
///     .url("redis://cache.example:6379/2")
///     .namespace("shop")
///     .pool_size(20)
///     .response_timeout(Duration::from_millis(250))
///     .default_ttl(Duration::from_secs(3600))
///     .build()?; // does not connect
/// assert_eq!(format!("{store:?}").contains("cache.example"), true);
/// # Ok::<(), kv_redis::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "the store is made by `connect` or `build`"]
pub struct RedisStoreBuilder {
    pub(super) servers: Servers,
    pub(super) credentials: Credentials,
    pub(super) provider: Option<Provider>,
    pub(super) database: Option<u32>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Tls>,
    pub(super) pool_size: u32,
    pub(super) min_idle: u32,
    pub(super) shared_connections: u32,
    /// If the store is for tasks: how many connections to a server they share.
    #[cfg(feature = "tokio")]
    pub(super) shared_by_tasks: Option<u32>,
    pub(super) mapping: Mapping,
    pub(super) settings: Settings,
}

impl Default for RedisStoreBuilder {
    fn default() -> Self {
        Self {
            servers: Servers::Url("redis://127.0.0.1:6379/0".into()),
            credentials: Credentials::none(),
            provider: None,
            database: None,
            #[cfg(feature = "tls")]
            tls: None,
            pool_size: 10,
            min_idle: 0,
            shared_connections: 0,
            #[cfg(feature = "tokio")]
            shared_by_tasks: None,
            mapping: Mapping::default(),
            settings: Settings::default(),
        }
    }
}

impl RedisStoreBuilder {
    /// The server, as [`RedisStore::connect`](crate::RedisStore::connect) takes it. Default: `redis://127.0.0.1:6379/0`.
    ///
    /// A name with several addresses stands for one server, the same in every process: see the crate's page.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.servers = Servers::Url(url.into());
        self
    }

    /// Needs the feature `cluster`. A cluster, by the URLs of some of its nodes; one of them has to answer. In place of [`url`](Self::url).
    ///
    /// User, password and TLS are the same for all nodes, so the URLs must not differ in them. A pool is made for each primary.
    #[cfg(feature = "cluster")]
    pub fn cluster<U: Into<String>>(mut self, urls: impl IntoIterator<Item = U>) -> Self {
        self.servers = Servers::Cluster(urls.into_iter().map(Into::into).collect());
        self
    }

    /// Needs the feature `sentinel`. The primary that sentinels call by this name, and after a failover the new one. In place of [`url`](Self::url).
    ///
    /// User and password in these URLs are for the sentinels; those for the primary come from
    /// [`username`](Self::username), [`password`](Self::password) and [`database`](Self::database). If the URLs say
    /// `rediss://`, all of them, the primary is reached by TLS, too. The URLs must not name a database.
    #[cfg(feature = "sentinel")]
    pub fn sentinels<U: Into<String>>(mut self, service: impl Into<String>, urls: impl IntoIterator<Item = U>) -> Self {
        let urls = urls.into_iter().map(Into::into).collect();
        self.servers = Servers::Sentinels { service: service.into(), urls };
        self
    }

    /// Needs the feature `cluster` or `sentinel`. Maps an address (host and port) that sentinels or nodes of a cluster
    /// announce to the one at which the server is reached. Default: the announced address.
    ///
    /// For servers that announce another address than the one at which they are reached from here: in containers, behind NAT, with port
    /// forwarding. The function is called for each announced address, and must return at once; an address that needs no mapping it
    /// returns unchanged. Addresses in URLs of the builder are not mapped. For a node that is announced without a host, the function gets
    /// the host of the node that announced it.
    ///
    /// ```
    /// use kv_redis::RedisStore;
    ///
    /// // `docker run -p 17000:7000 -p 17001:7001 -p 17002:7002 …`
    /// # #[cfg(feature = "cluster")]
    /// let store = RedisStore::builder()
    ///     .cluster(["redis://127.0.0.1:17000"])
    ///     .map_address(|host, port| match host {
    ///         _ if host.starts_with("172.") => ("127.0.0.1".into(), port.wrapping_add(10_000)),
    ///         _ => (host.into(), port),
    ///     })
    ///     .build()?;
    /// # Ok::<(), kv_redis::Error>(())
    /// ```
    ///
    /// With TLS the certificate has to have the host that this returns, or [`Tls::server_name`](crate::Tls::server_name). For a store on one
    /// server [`build`](Self::build) fails, because nothing announces an address there.
    #[cfg(any(feature = "cluster", feature = "sentinel"))]
    pub fn map_address(mut self, map: impl Fn(&str, u16) -> (String, u16) + Send + Sync + 'static) -> Self {
        self.mapping = Mapping::new(map);
        self
    }

    /// The user (an ACL user of redis 6 and newer), in place of the one in the URL.
    pub fn username(mut self, user: impl Into<String>) -> Self {
        self.credentials.user = Some(user.into());
        self
    }

    /// The password, in place of the one in the URL. It is shown nowhere.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.credentials.password = Some(password.into());
        self
    }

    /// User and password from a function that is called for each new connection: for tokens that expire (IAM of a cloud) and
    /// passwords that are rotated. It replaces those in the URL and [`username`](Self::username) and [`password`](Self::password); if one
    /// of these is set, too, [`build`](Self::build) fails.
    ///
    /// ```
    /// use std::sync::{Arc, RwLock};
    /// use kv_redis::{Credentials, RedisStore};
    ///
    /// let token = Arc::new(RwLock::new("the first token".to_owned())); // that another thread renews
    /// let current = Arc::clone(&token);
    /// let store = RedisStore::builder()
    ///     .url("rediss://cache.example:6379")
    ///     .credentials_provider(move || {
    ///         let token = current.read().map_err(|_| "the thread that renews the token panicked")?;
    ///         Ok::<_, &str>(Credentials::new("app", token.as_str()))
    ///     });
    /// # let _ = store;
    /// ```
    ///
    /// It is called on the thread of the operation that needs a new connection (of an async store, on a thread of its own), after TCP and TLS are connected, and never for an
    /// operation on an existing connection. Before nodes of a cluster are asked for the layout, and before sentinels are asked for the
    /// primary, it is called once for all of them. Its time is part of the [`connect_timeout`](Self::connect_timeout), but
    /// nothing can interrupt it. So it has to be quick: it should keep the token, not fetch it each time. It must not use
    /// this store. Several threads may call it at once.
    ///
    /// If it returns an error, so does the operation: [`Error::Unavailable`](crate::Error::Unavailable), transient, with that
    /// error as its source. The text of that error is shown, so it must not contain the password. A panic in the function is such an
    /// error, too.
    ///
    /// In a cluster all nodes get these credentials. Behind sentinels the primary does, and the sentinels get those in their URLs.
    /// An existing connection stays as it is when the password changes, because redis checks the password only when a connection is
    /// made (but it closes the connections of a user that is deleted or switched off).
    pub fn credentials_provider<E: Into<BoxError>>(
        mut self,
        provider: impl Fn() -> Result<Credentials, E> + Send + Sync + 'static,
    ) -> Self {
        self.provider = Some(Provider::new(provider));
        self
    }

    /// The number of the database, in place of the one in the URL. A cluster has only number 0.
    pub const fn database(mut self, database: u32) -> Self {
        self.database = Some(database);
        self
    }

    /// Needs the feature `tls`. Which servers to trust, and which certificate to show. The URL has to say `rediss://`.
    /// Default: the certificate authorities of the operating system, and no client certificate.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// A name with which the store's keys begin on the server, followed by a colon. So stores with different names share a
    /// database and do not see each other's keys. Default: no name; then all keys of the database belong to the store, those of
    /// other namespaces included.
    ///
    /// The name has visible ASCII characters without a colon. It does not count for the length of keys.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.settings.namespace = name.into();
        self
    }

    /// The largest number of connections, to each primary if there are several: 1 to 65 535. Default: 10. An async store has as many
    /// on each runtime.
    pub const fn pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections;
        self
    }

    /// How many connections [`connect`](Self::connect) makes before it returns, to each primary if there are several. The
    /// others are made when they are needed. Default: 0; then it makes one, so that the server is known to answer.
    pub const fn min_idle(mut self, connections: u32) -> Self {
        self.min_idle = connections;
        self
    }

    /// How many connections of the pool the threads share: requests of several threads at the same time are sent together, and answered
    /// together. Default: 0; then each operation has a connection to itself.
    ///
    /// For stores that many threads ask for small values. On a machine with two cores that also runs the server, 64 threads were 3 to 5
    /// times as quick as with a pool of 10, 16 threads twice, 4 threads 1.5 times, and one was as quick. Use 2: with 1, two threads
    /// are half as quick as with the pool, because each waits for the other.
    ///
    /// It applies to operations on one key, except `touch` for ever. Batches, listings, and writes of 16 KiB and more have a connection to
    /// themselves, so the [`pool_size`](Self::pool_size) should be larger than this; it must not be smaller. What it costs:
    ///
    /// - Each caller waits for everything that is sent together. The size of a value is not known before it is read: if one caller reads
    ///   64 MB, the others that asked at the same time wait for it. Leave this off where values are large.
    /// - When a connection fails, so do all operations on it, and the outcome of all writes among them is unknown
    ///   ([E5](kv_core::contract#9-errors)). Reads are tried once more, as always ([N5](kv_core::contract#10-connections)).
    /// - A caller whose request another thread sends waits at most for the sum of
    ///   [`pool_timeout`](Self::pool_timeout), [`connect_timeout`](Self::connect_timeout) and twice the
    ///   [`response_timeout`](Self::response_timeout) ([N1](kv_core::contract#10-connections)). The thread that sends has 0.1 s more for each megabyte that any of
    ///   them sends or receives.
    ///
    /// It is for one server, or a primary that sentinels watch. For a cluster, and on a pool of the application,
    /// [`build`](Self::build) and [`connect`](Self::connect) fail. An async store (feature `tokio`) always shares connections, also of a cluster:
    /// two, or this number.
    pub const fn shared_connections(mut self, connections: u32) -> Self {
        self.shared_connections = connections;
        self
    }

    /// How long an operation waits for a connection of the pool while other operations use all of them ([N1](kv_core::contract#10-connections)): 10 ms or more. Default: a second.
    pub const fn pool_timeout(mut self, limit: Duration) -> Self {
        self.settings.timeouts.pool = limit;
        self
    }

    /// How long making a connection may take: finding the address, connecting, TLS, authentication ([N1](kv_core::contract#10-connections)): 10 ms or
    /// more. Default: a second.
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.timeouts.connect = limit;
        self
    }

    /// How long an exchange may take, from the first byte of the request to the last one of the reply, on top of 0.1 s for each
    /// megabyte that is sent or received ([N1](kv_core::contract#10-connections)). In a batch this is the limit of each chunk. 10 ms or more. Default: a second.
    pub const fn response_timeout(mut self, limit: Duration) -> Self {
        self.settings.timeouts.response = limit;
        self
    }

    /// After this time without traffic the operating system probes the peer of a TCP connection: a second or more, in whole seconds; zero
    /// turns it off. Default: a minute. It repeats the probe every 15 seconds, four times.
    ///
    /// Firewalls, NAT and load balancers drop idle connections silently. Set this below their time, which is 350 s for AWS's and 4
    /// minutes for Azure's, 10 minutes for Google's, 5 minutes to an hour for most firewalls.
    pub const fn tcp_keepalive(mut self, idle: Duration) -> Self {
        self.settings.pool.tcp_keepalive = idle;
        self
    }

    /// An idle connection is closed after this, by a thread that exists only while there are idle connections: 10 ms or more; zero turns
    /// it off. Default: two minutes.
    ///
    /// So a burst leaves no connections behind. Where keepalive does not help (a proxy that counts only data), set this below the
    /// time after which connections are dropped there, and below the server's `timeout`, if it has one.
    pub const fn idle_timeout(mut self, limit: Duration) -> Self {
        self.settings.pool.idle_timeout = limit;
        self
    }

    /// A connection is not used for longer than this after it was made, however busy it is: 10 ms or more; zero turns it off. Default:
    /// half an hour. The actual time is up to a tenth less, at random, so that connections that were made together do not expire together.
    ///
    /// So after this time at the latest, all connections lead to the server for which the name stands now, and use the current password.
    pub const fn max_lifetime(mut self, limit: Duration) -> Self {
        self.settings.pool.max_lifetime = limit;
        self
    }

    /// How long operations on a server that does not answer fail at once ([`Unavailable`](crate::Error::Unavailable), nothing was
    /// sent), before one of them tries again: 10 ms or more; zero turns it off, and then each operation waits for its time-outs. Default:
    /// half a second.
    ///
    /// After an operation that timed out, the next one makes a new connection, and the others wait for the outcome. If it succeeds, as
    /// when one command was slow, all go on. If not, this time begins. A server that is back is used after
    /// this time, and a [`connect_timeout`](Self::connect_timeout) if the connection was tried just before, at the latest ([N6](kv_core::contract#10-connections)).
    pub const fn retry_after(mut self, pause: Duration) -> Self {
        self.settings.pool.retry_after = pause;
        self
    }

    /// The TTL of entries that are written without one, as `put` does ([T1](kv_core::contract#4-ttls)). Default: for ever.
    ///
    /// It is treated like any other TTL: with zero, such a write leaves the key absent ([T3](kv_core::contract#4-ttls)). With one that redis cannot
    /// express [`build`](Self::build) fails ([T4](kv_core::contract#4-ttls)).
    pub const fn default_ttl(mut self, ttl: Duration) -> Self {
        self.settings.default_ttl = Some(ttl);
        self
    }

    /// About how many keys of the database the server visits for each page of a listing (`COUNT`). A larger number means fewer round
    /// trips, and longer pauses for other clients while the server is busy. 1 or more; default: 1000.
    pub const fn page_size(mut self, keys: u32) -> Self {
        self.settings.page_size = keys as u64;
        self
    }

    /// The largest value in bytes that is sent; a larger one is [`ValueTooLarge`](crate::Error::ValueTooLarge) at once. It has
    /// to be the server's `proto-max-bulk-len` or less. Default: 512 MiB, as it is there.
    pub const fn largest_value(mut self, bytes: u64) -> Self {
        self.settings.largest_value = bytes;
        self
    }
}

/// Shows no password ([E3](kv_core::contract#9-errors)), and no URL, which may contain one.
impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |url: &String| Address::parse(url).map_or_else(|_| "?".to_owned(), |address| address.to_string());
        let urls = match &self.servers {
            Servers::Url(url) => vec![shown(url)],
            #[cfg(feature = "cluster")]
            Servers::Cluster(urls) => urls.iter().map(shown).collect(),
            #[cfg(feature = "sentinel")]
            Servers::Sentinels { urls, .. } => urls.iter().map(shown).collect(),
        };
        f.debug_struct("RedisStoreBuilder")
            .field("urls", &urls)
            .field("credentials", &self.source(&self.credentials))
            .field("pool_size", &self.pool_size)
            .field("min_idle", &self.min_idle)
            .field("shared_connections", &self.shared_connections)
            .field("mapping", &self.mapping)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
