//! How a store is configured.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, slice};

use kv_core::{Error, Failure, Prefix, Result};

use crate::RedisStore;
#[cfg(feature = "tls")]
use crate::Tls;
use crate::connection::credentials::{BoxError, Credentials, Provider, Source};
use crate::connection::endpoint::Endpoint;
use crate::connection::exchange::{Login, Role};
use crate::connection::external_pool::ExternalPool;
use crate::connection::shared::Shared;
use crate::connection::system;
use crate::connection::upkeep::{Sweeper, Upkeep};
use crate::protocol::fault::Limits;
use crate::servers::mapping::Mapping;
use crate::servers::node::{Dialer, Node, Target};
use crate::store::address::Address;
use crate::store::redis_store::{LONGEST_TTL, Route};

/// What redis takes unless its `proto-max-bulk-len` says otherwise.
const LARGEST_VALUE: u64 = 512 << 20;

/// In less than this no thread can be relied upon to do anything.
const SHORTEST_LIMIT: Duration = Duration::from_millis(10);

/// More connections than there are ports would be of no use, and the pool provides for them.
const LARGEST_POOL: u32 = u16::MAX as u32;

/// Longer limits are as good as this one.
const LONGEST_LIMIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a store does, wherever its data is.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) namespace: String,
    pub(crate) default_ttl: Option<Duration>,
    pub(crate) page_size: u64,
    pub(crate) largest_value: u64,
    pub(crate) limits: Limits,
    pub(crate) upkeep: Upkeep,
}

impl Default for Settings {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            namespace: String::new(),
            default_ttl: None,
            page_size: 1000,
            largest_value: LARGEST_VALUE,
            limits: Limits { pool: second, connect: second, response: second },
            upkeep: Upkeep::default(),
        }
    }
}

/// Where the data is.
#[derive(Clone)]
enum Whereabouts {
    Url(String),
    #[cfg(feature = "cluster")]
    Cluster(Vec<String>),
    #[cfg(feature = "sentinel")]
    Sentinels {
        service: String,
        urls: Vec<String>,
    },
}

/// Configures a [`RedisStore`]; made by [`RedisStore::builder`].
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
    whereabouts: Whereabouts,
    credentials: Credentials,
    provider: Option<Provider>,
    database: Option<u32>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    pool_size: u32,
    min_idle: u32,
    shared_connections: u32,
    mapping: Mapping,
    settings: Settings,
}

impl Default for RedisStoreBuilder {
    fn default() -> Self {
        Self {
            whereabouts: Whereabouts::Url("redis://127.0.0.1:6379/0".into()),
            credentials: Credentials::none(),
            provider: None,
            database: None,
            #[cfg(feature = "tls")]
            tls: None,
            pool_size: 10,
            min_idle: 0,
            shared_connections: 0,
            mapping: Mapping::default(),
            settings: Settings::default(),
        }
    }
}

impl RedisStoreBuilder {
    /// The server, as [`RedisStore::connect`] takes it. Default: `redis://127.0.0.1:6379/0`.
    ///
    /// A name with several addresses stands for one server, the same in every process: see the crate's page.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.whereabouts = Whereabouts::Url(url.into());
        self
    }

    /// Needs the feature `cluster`. A cluster, by the URLs of some of its nodes, of which one has to answer. In endpoint of [`url`](Self::url).
    ///
    /// User, password and TLS are the same for all nodes, so the URLs must not differ in them. A pool is made for each primary.
    #[cfg(feature = "cluster")]
    pub fn cluster<U: Into<String>>(mut self, urls: impl IntoIterator<Item = U>) -> Self {
        self.whereabouts = Whereabouts::Cluster(urls.into_iter().map(Into::into).collect());
        self
    }

    /// Needs the feature `sentinel`. The primary that sentinels call by this name, and after a failover the new one. In endpoint of [`url`](Self::url).
    ///
    /// User and password in these URLs are for the sentinels; those for the primary come from
    /// [`username`](Self::username), [`password`](Self::password) and [`database`](Self::database). If the URLs say
    /// `rediss://`, all of them, the primary is reached by TLS, too. So they must not name a database.
    #[cfg(feature = "sentinel")]
    pub fn sentinels<U: Into<String>>(mut self, service: impl Into<String>, urls: impl IntoIterator<Item = U>) -> Self {
        let urls = urls.into_iter().map(Into::into).collect();
        self.whereabouts = Whereabouts::Sentinels { service: service.into(), urls };
        self
    }

    /// Needs the feature `cluster` or `sentinel`. Where a server is to be reached whose address sentinels or nodes of a cluster
    /// announce, as host and port. Default: there.
    ///
    /// For servers that know themselves by another address than the one at which they can be reached from here: in containers, behind
    /// NAT, by port forwarding. It is asked whenever an address is announced, and has to answer at once; what it has nothing to say
    /// about it returns as it came. An address that a URL of the builder names is not mapped. A node that announces no host is
    /// passed with the host at which the node was reached that told of it.
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
    /// With TLS the name in a certificate has to be the host that this returns, or [`Tls::server_name`](crate::Tls::server_name). For a
    /// store on one server [`build`](Self::build) fails: nothing announces an address there.
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

    /// User and password from a function that is called anew for each connection: for tokens that expire (IAM of a cloud) and
    /// passwords that are rotated. In place of those in the URL and of [`username`](Self::username) and
    /// [`password`](Self::password): if any of these is there, too, [`build`](Self::build) fails.
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
    /// It is called on the thread of the operation that needs a new connection, once that is connected, and never for an
    /// operation on an existing one. Before nodes of a cluster are asked for the layout, and before sentinels are asked for the primary, it is called once
    /// for all of them. The time that it takes is part of the [`connect_timeout`](Self::connect_timeout), though
    /// nothing can interrupt it: so it has to be quick, and to keep the token rather than fetch it each time. It must not use
    /// this store. Several threads may call it at once.
    ///
    /// If it returns an error, so does the operation: [`Error::Unavailable`](crate::Error::Unavailable), transient, with that
    /// error as its source; the text of that error is shown, so it must not have the password in it. A panic in it is such an
    /// error, too.
    ///
    /// Of a cluster all nodes get these credentials; behind sentinels the primary does, and the sentinels get what is in their
    /// URLs. An existing connection stays what it was when the password changes, as redis checks it only when a connection is
    /// made (but closes those of a user that is deleted or switched off).
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
    /// Default: the certificate authorities of the operating system, and none.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// A name that this store's keys begin with on the server, followed by a colon: stores with different names share a
    /// database and see nothing of each other. Default: none, and then all keys of the database are this store's, those of
    /// other namespaces included.
    ///
    /// It is made of visible ASCII characters without a colon, and does not count for the length of keys.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.settings.namespace = name.into();
        self
    }

    /// How many connections there are at most, to each primary if there are several: 1 to 65 535. Default: 10.
    pub const fn pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections;
        self
    }

    /// How many connections [`connect`](Self::connect) makes before it returns, to each primary if there are several. The
    /// others are made when they are needed. Default: 0, which makes the one that proves that
    /// the server answers.
    pub const fn min_idle(mut self, connections: u32) -> Self {
        self.min_idle = connections;
        self
    }

    /// On how many connections of the pool threads share what they ask: what several ask at the same time is sent in one go, and
    /// answered in one go. Default: 0, and then each operation has a connection to itself.
    ///
    /// For stores that many threads ask for small values. On a machine of two cores, the server on it, 64 threads were 3 to 5 times as
    /// quick as with a pool of 10, 16 threads twice, 4 threads 1.5 times, and one was as quick. Take 2: with 1 two threads
    /// are half as quick as with the pool, as each waits for the other.
    ///
    /// It goes for operations on one key, except `touch` for ever. Batches, listings, and what is written with 16 KiB and
    /// more have a connection to themselves, so the [`pool_size`](Self::pool_size) should be larger than this; it must not be
    /// smaller. What it costs:
    ///
    /// - Everybody waits for all that is sent together. How large a value is that is read is not known before: whoever reads one of
    ///   64 MB is waited for by those who asked at the same time. Leave it off where values are large.
    /// - When a connection fails, so do all operations that were on it, and of all writes among them the outcome is unknown
    ///   (E5). Reads are tried once more, as always (N5).
    /// - Whoever has joined what another thread sends waits for it for as long as that may take at most: the sum of
    ///   [`pool_timeout`](Self::pool_timeout), [`connect_timeout`](Self::connect_timeout) and twice the
    ///   [`response_timeout`](Self::response_timeout) (N1). The thread that sends has 0.1 s more for each megabyte that any of
    ///   them sends or receives.
    ///
    /// It is for one server, or a primary that sentinels watch: for a cluster, and on a pool of the application,
    /// [`build`](Self::build) and [`connect`](Self::connect) fail.
    pub const fn shared_connections(mut self, connections: u32) -> Self {
        self.shared_connections = connections;
        self
    }

    /// How long an operation waits for a connection of the pool, while others use them all (N1): 10 ms or more. Default: a second.
    pub const fn pool_timeout(mut self, limit: Duration) -> Self {
        self.settings.limits.pool = limit;
        self
    }

    /// How long making a connection may take: finding the address, connecting, TLS, authentication (N1): 10 ms or
    /// more. Default: a second.
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.limits.connect = limit;
        self
    }

    /// How long an exchange may take, from the first byte of the request to the last one of the reply, on top of 0.1 s for each
    /// megabyte that is sent or received (N1). Of a batch, each chunk. 10 ms or more. Default: a second.
    pub const fn response_timeout(mut self, limit: Duration) -> Self {
        self.settings.limits.response = limit;
        self
    }

    /// After how long without traffic the operating system asks whether the other side of a TCP connection is there, without an
    /// operation: a second or more, in whole seconds; zero turns it off. Default: a minute. It asks again each 15 seconds, four times.
    ///
    /// So that what forgets idle connections without a word (firewalls, NAT, load balancers) does not forget these: set it below their
    /// time, which is 350 s for AWS's and 4 minutes for Azure's, 10 minutes for Google's, 5 minutes to an hour for most firewalls.
    pub const fn tcp_keepalive(mut self, idle: Duration) -> Self {
        self.settings.upkeep.tcp_keepalive = idle;
        self
    }

    /// An idle connection is closed after this, by a thread that exists only while there are idle connections: 10 ms or more; zero turns
    /// it off. Default: two minutes.
    ///
    /// So a burst leaves no connections behind. Where keepalive does not help (a proxy that counts only data), set it below the
    /// time after which connections are forgotten or closed there; and below the server's `timeout`, if it has one.
    pub const fn idle_timeout(mut self, limit: Duration) -> Self {
        self.settings.upkeep.idle_timeout = limit;
        self
    }

    /// A connection is not used for longer than this after it was made, however busy it is: 10 ms or more; zero turns it off. Default:
    /// half an hour. It is up to a tenth less, at random, so that connections that were made together do not end together.
    ///
    /// So a name that leads to another server and a password that has changed are followed after this at the latest.
    pub const fn max_lifetime(mut self, limit: Duration) -> Self {
        self.settings.upkeep.max_lifetime = limit;
        self
    }

    /// For how long operations on a server that does not answer fail at once ([`Unavailable`](crate::Error::Unavailable), nothing was
    /// sent), before one of them tries it again: 10 ms or more; zero turns it off, and then each waits for its limits. Default:
    /// half a second.
    ///
    /// After an operation that timed out the next one makes a new connection, and the others wait for that. If it succeeds, as
    /// when one command was slow, all go on. If not, this time begins. A server that is back is used after
    /// this, and a [`connect_timeout`](Self::connect_timeout) if the connection was tried just before, at the latest (N6).
    pub const fn retry_after(mut self, pause: Duration) -> Self {
        self.settings.upkeep.retry_after = pause;
        self
    }

    /// The lifetime of what is written without naming one, as `put` does (T1). Default: for ever.
    ///
    /// It is treated as any other lifetime: zero means that such a write leaves the key absent (T3). With one that redis cannot
    /// express [`build`](Self::build) fails (T4).
    pub const fn default_ttl(mut self, ttl: Duration) -> Self {
        self.settings.default_ttl = Some(ttl);
        self
    }

    /// About how many keys of the database the server looks at for each page of a listing (`COUNT`). More means fewer round
    /// trips, and longer pauses for others while the server looks. 1 or more; default: 1000.
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

    /// Makes the store and a first connection (or [more](Self::min_idle)), so that the server is known to answer, and to be one
    /// that will do: redis 2.8.12 or newer, valkey, KeyDB, or another one that speaks their protocol.
    ///
    /// # Errors
    /// As [`build`](Self::build); [`Error::Unavailable`] or [`Error::Timeout`] if there is no connection to be had,
    /// [`Error::Backend`] if the server does not accept user and password, or will not do.
    pub fn connect(self) -> Result<RedisStore> {
        let connections = self.min_idle;
        let store = self.build()?;
        store.warm_up(connections)?;
        Ok(store)
    }

    /// Makes the store, and does not connect: the first operation will. So this does not fail if the server is away.
    ///
    /// # Errors
    /// [`Error::Backend`] if the settings are of no use: a URL that is none, a limit that is too short, a feature that is not compiled in.
    pub fn build(self) -> Result<RedisStore> {
        self.check()?;
        match &self.whereabouts {
            Whereabouts::Url(url) => self.on_server(&self.address(url, "")?),
            #[cfg(feature = "cluster")]
            Whereabouts::Cluster(urls) => self.on_cluster(urls),
            #[cfg(feature = "sentinel")]
            Whereabouts::Sentinels { service, urls } => self.on_primary(service, urls),
        }
    }

    /// Makes the store on a pool that the application made, of the client of the crate `redis` 1 and with `r2d2` 0.8, as
    /// [`kv_redis::redis`](crate::redis) and [`kv_redis::r2d2`](crate::r2d2) have them. Where the server is,
    /// who we are, and how large the pool is, is the pool's; the other settings count.
    ///
    /// Make the pool with `test_on_check_out(false)`, or each operation costs two round trips; the store looks after idle
    /// connections itself, with a `PING` after a second without use, asks each new one for `INFO`, and sets its time-outs. As the
    /// connections are not its own, it is weaker than with a pool of its own in this:
    ///
    /// - a connection is made by the pool, without a limit of its own (N1);
    /// - the [`response_timeout`](Self::response_timeout) counts for each piece of a reply, not for the whole (N1);
    /// - bytes that a server sends after a reply, and that nobody asked for, are taken for the next one (N2).
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_on_pool(self, pool: r2d2::Pool<redis::Client>) -> Result<RedisStore> {
        self.check()?;
        self.check_nothing_shared("a pool of the application")?;
        Ok(on_pool(self.settings, pool))
    }

    /// Needs the feature `r2d2_redis`. As [`build_on_pool`](Self::build_on_pool), on a pool of the crate `r2d2_redis`. That crate is no longer maintained: this
    /// is for applications that have it already.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    #[cfg(feature = "r2d2_redis")]
    pub fn build_on_r2d2_redis_pool(self, pool: r2d2::Pool<r2d2_redis::RedisConnectionManager>) -> Result<RedisStore> {
        self.check()?;
        self.check_nothing_shared("a pool of the application")?;
        Ok(on_r2d2_redis_pool(self.settings, pool))
    }

    fn check(&self) -> Result<()> {
        let Settings { namespace, page_size, limits, default_ttl, .. } = &self.settings;
        if Prefix::new(namespace).is_err() || namespace.contains(':') {
            return Err(unfit("the namespace has to be made of visible ASCII characters without a colon"));
        }
        let Limits { pool, connect, response } = *limits;
        self.settings.upkeep.check().map_err(unfit)?;
        for (name, limit) in [("pool_timeout", pool), ("connect_timeout", connect), ("response_timeout", response)] {
            if limit < SHORTEST_LIMIT {
                return Err(unfit(format!("`{name}` is {limit:?}, and has to be {SHORTEST_LIMIT:?} or more")));
            }
        }
        if let Some(ttl) = default_ttl.filter(|ttl| *ttl > LONGEST_TTL) {
            return Err(unfit(format!(
                "`default_ttl` is {ttl:?}, and the longest that redis takes is {LONGEST_TTL:?}"
            )));
        }
        self.check_credentials()?;
        let Self { pool_size, min_idle, shared_connections, .. } = self;
        if !(1..=LARGEST_POOL).contains(pool_size) {
            return Err(unfit(format!("`pool_size` is {pool_size}, and has to be 1 to {LARGEST_POOL}")));
        }
        if *page_size == 0 {
            return Err(unfit("`page_size` is 0, and has to be 1 or more"));
        }
        for (name, connections) in [("min_idle", min_idle), ("shared_connections", shared_connections)] {
            if connections > pool_size {
                return Err(unfit(format!("`{name}` is {connections}, more than the `pool_size` of {pool_size}")));
            }
        }
        Ok(())
    }

    fn check_credentials(&self) -> Result<()> {
        let Credentials { user, password } = &self.credentials;
        if self.provider.is_some() && (user.is_some() || password.is_some()) {
            return Err(unfit("both `credentials_provider` and `username` or `password` are set; set one of them"));
        }
        match (user.as_deref(), password.as_deref()) {
            (Some(""), _) => Err(unfit("`username` is empty; do not set it for the default user")),
            (None, Some("")) => Err(unfit("`password` is empty; do not set it if the server wants none")),
            _ => Ok(()),
        }
    }

    /// What a URL says, with what the builder was told in place of it.
    fn address(&self, url: &str, which: &str) -> Result<Address> {
        let mut address = parse(url, which)?;
        address.database = self.database.unwrap_or(address.database);
        let Credentials { user, password } = &mut address.credentials;
        if self.provider.is_some() && (user.is_some() || password.is_some()) {
            return Err(unfit(format!(
                "`credentials_provider` is set, and the URL{which} has a user or a password, too; leave them out of the URL"
            )));
        }
        *user = self.credentials.user.clone().or(user.take());
        *password = self.credentials.password.clone().or(password.take());
        match (&self.credentials.user, user, password) {
            (Some(_), _, None) => Err(unfit(format!(
                "`username` is a user without a password; set `password`, too, or write it into the URL{which}, \
                redis://:password@host"
            ))),
            (None, Some(_), None) => Err(unfit(format!(
                "the URL cannot be used{which}: it has a user without a password; write redis://user:password@host, a password alone \
                redis://:password@host, or set `password`"
            ))),
            _ => Ok(address),
        }
    }

    /// Where the credentials of new connections come from.
    fn source(&self, credentials: &Credentials) -> Source {
        match &self.provider {
            Some(provider) => Source::Provider(provider.clone()),
            None => Source::Fixed(credentials.clone()),
        }
    }

    /// What messages call the store: where it is, and which part of it this is.
    fn label(&self, endpoint: &dyn fmt::Display) -> String {
        match self.settings.namespace.as_str() {
            "" => endpoint.to_string(),
            namespace => format!("{endpoint} (namespace {namespace})"),
        }
    }

    /// How connections are made, given what the URLs say, which is the same of TLS.
    fn dialer(&self, target: Target, login: Login, #[allow(unused_variables)] urls: &[Address]) -> Result<Dialer> {
        #[cfg(feature = "tls")]
        let tls = self.connector(urls)?;
        Ok(Dialer {
            target,
            login,
            server: None,
            resolver: Arc::default(),
            mapping: self.mapping.clone(),
            #[cfg(feature = "tls")]
            tls,
            limits: self.settings.clone().ready().limits,
            upkeep: self.settings.upkeep.ready(),
            sweeper: Arc::new(Sweeper::new()),
        })
    }

    /// How TLS is spoken, if the URLs want it.
    #[cfg(feature = "tls")]
    fn connector(&self, urls: &[Address]) -> Result<Option<crate::connection::tls::Connector>> {
        if !urls.iter().any(|address| address.tls) {
            let unused = "TLS is configured, and the URL does not say `rediss://`";
            return if self.tls.is_some() { Err(unfit(unused)) } else { Ok(None) };
        }
        let connector = crate::connection::tls::Connector::new(&self.tls.clone().unwrap_or_default()).map_err(unfit)?;
        let fits =
            |address: &Address| matches!(&address.endpoint, Endpoint::Tcp { host, .. } if connector.accepts(host));
        if !urls.iter().all(fits) {
            return Err(unfit("the URL cannot be used: its host is not a name that a certificate can have"));
        }
        Ok(Some(connector))
    }

    fn route(&self, dialer: Dialer) -> Route {
        let limits = dialer.limits;
        let node = Node::new(dialer, self.pool_size);
        match self.shared_connections {
            0 => Route::Node(Box::new(node)),
            connections => Route::Shared(Box::new(Shared::new(node, connections, limits))),
        }
    }

    /// Makes sure that no connections are to be shared where they cannot be.
    fn check_nothing_shared(&self, with: &str) -> Result<()> {
        if self.shared_connections == 0 {
            return Ok(());
        }
        Err(unfit(format!("shared_connections are for one server, not for {with}")))
    }

    fn on_server(&self, address: &Address) -> Result<RedisStore> {
        if self.mapping.is_given() {
            return Err(unfit(
                "`map_address` is for a cluster, or for sentinels: nothing announces an address otherwise",
            ));
        }
        let credentials = self.source(&address.credentials);
        let login = Login { credentials, database: address.database, role: Role::Data };
        let dialer = self.dialer(Target::Endpoint(address.endpoint.clone()), login, slice::from_ref(address))?;
        Ok(RedisStore::new(self.label(address), self.settings.clone().ready(), self.route(dialer)))
    }

    #[cfg(feature = "cluster")]
    fn on_cluster(&self, urls: &[String]) -> Result<RedisStore> {
        self.check_nothing_shared("a cluster")?;
        let addresses = each(urls).map(|(which, url)| self.address(url, &which)).collect::<Result<Vec<_>>>()?;
        let first = addresses.first().ok_or_else(|| unfit("`cluster` has no URL of a node"))?;
        // Credentials are for every node: they must not go to one in clear, nor to one that they are not for.
        if addresses.iter().any(|other| (other.tls, &other.credentials) != (first.tls, &first.credentials)) {
            return Err(unfit("the URLs of the nodes differ in TLS (`rediss://`), user or password"));
        }
        if addresses.iter().any(|address| address.database != 0) {
            return Err(unfit(
                "a cluster has only the database 0; leave the database out of the URLs, and `database` unset",
            ));
        }
        let login = Login { credentials: self.source(&first.credentials), database: 0, role: Role::Member };
        let dialer = self.dialer(Target::Endpoint(first.endpoint.clone()), login, &addresses)?;
        let label = self.label(&format_args!("redis-cluster://{}", first.endpoint));
        let seeds = addresses.into_iter().map(|address| address.endpoint).collect();
        let cluster = crate::servers::cluster::Cluster::new(seeds, dialer, self.pool_size);
        Ok(RedisStore::new(label, self.settings.clone().ready(), Route::Cluster(Box::new(cluster))))
    }

    #[cfg(feature = "sentinel")]
    fn on_primary(&self, service: &str, urls: &[String]) -> Result<RedisStore> {
        if !is_service(service) {
            return Err(unfit(
                "the name of the primary, which `sentinels` takes first, has to be as in the sentinels' configuration \
                (`sentinel monitor NAME …`): of letters, digits and . - _",
            ));
        }
        let sentinels = each(urls).map(|(which, url)| sentinel(url, &which)).collect::<Result<Vec<_>>>()?;
        let first = sentinels.first().ok_or_else(|| unfit("`sentinels` has no URL of a sentinel"))?;
        if sentinels.iter().any(|other| other.tls != first.tls) {
            return Err(unfit("some URLs of sentinels say `rediss://`, and some do not"));
        }
        if self.credentials.user.is_some() && self.credentials.password.is_none() {
            return Err(unfit(
                "`username` is a user without a password; set `password`, too: they are those of the primary",
            ));
        }
        let database = self.database.unwrap_or(0);
        let login = Login { credentials: self.source(&self.credentials), database, role: Role::Primary };
        let label = self.label(&format_args!("redis-sentinel://{}/{service}/{database}", first.endpoint));
        let target = crate::servers::sentinel::Sentinels::new(service.to_owned(), sentinels.clone());
        let dialer = self.dialer(Target::Primary(Arc::new(target)), login, &sentinels)?;
        Ok(RedisStore::new(label, self.settings.clone().ready(), self.route(dialer)))
    }
}

/// Several URLs, and how a message says which one it is about.
#[cfg(any(feature = "cluster", feature = "sentinel"))]
fn each(urls: &[String]) -> impl Iterator<Item = (String, &String)> {
    let count = urls.len();
    let which = move |number| if count == 1 { String::new() } else { format!(" (number {number} of {count})") };
    urls.iter().enumerate().map(move |(index, url)| (which(index + 1), url))
}

/// Whether sentinels may know a primary by this name. It is shown: so it is nothing with a password in it, such as a URL.
#[cfg(feature = "sentinel")]
fn is_service(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'/' | b'+');
    !name.is_empty() && name.bytes().all(is_letter) && !name.contains("://")
}

/// Shows no password (E3), and no URL, which may hold one.
impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |url: &String| Address::parse(url).map_or_else(|_| "?".to_owned(), |address| address.to_string());
        let urls = match &self.whereabouts {
            Whereabouts::Url(url) => vec![shown(url)],
            #[cfg(feature = "cluster")]
            Whereabouts::Cluster(urls) => urls.iter().map(shown).collect(),
            #[cfg(feature = "sentinel")]
            Whereabouts::Sentinels { urls, .. } => urls.iter().map(shown).collect(),
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

impl Settings {
    /// As they are used: with limits that can be added to any moment, and the namespace with its colon.
    fn ready(mut self) -> Self {
        let Limits { pool, connect, response } = &mut self.limits;
        for limit in [pool, connect, response] {
            *limit = (*limit).min(LONGEST_LIMIT);
        }
        if !self.namespace.is_empty() {
            self.namespace.push(':');
        }
        self
    }
}

pub(crate) fn on_pool(settings: Settings, pool: r2d2::Pool<redis::Client>) -> RedisStore {
    let settings = settings.ready();
    let lent = ExternalPool::new(pool, settings.limits);
    RedisStore::new("redis (pool of the application)".into(), settings, Route::ExternalPool(Box::new(lent)))
}

#[cfg(feature = "r2d2_redis")]
pub(crate) fn on_r2d2_redis_pool(
    settings: Settings,
    pool: r2d2::Pool<r2d2_redis::RedisConnectionManager>,
) -> RedisStore {
    let settings = settings.ready();
    let lent = ExternalPool::new(pool, settings.limits);
    RedisStore::new("redis (r2d2_redis pool of the application)".into(), settings, Route::ExternalPool(Box::new(lent)))
}

/// What a URL says, which of several that is.
fn parse(url: &str, which: &str) -> Result<Address> {
    let address = Address::parse(url).map_err(|problem| unfit(format!("the URL cannot be used{which}: {problem}")))?;
    if address.tls && cfg!(not(feature = "tls")) {
        return Err(unfit("the URL wants TLS: compile kv-redis with its feature `tls`"));
    }
    if matches!(&address.endpoint, Endpoint::Unix(path) if system::unix_socket(path).is_err()) {
        return Err(unfit(format!("the URL cannot be used{which}: {}", system::NO_UNIX_SOCKET)));
    }
    Ok(address)
}

/// A sentinel. What the builder was told is for the primary.
#[cfg(feature = "sentinel")]
fn sentinel(url: &str, which: &str) -> Result<Address> {
    let address = parse(url, which)?;
    if address.database != 0 {
        return Err(unfit(format!(
            "the URL of a sentinel{which} names a database, which sentinels do not have; that of the primary is \
            `database` of the builder"
        )));
    }
    if address.credentials.user.is_some() && address.credentials.password.is_none() {
        return Err(unfit(format!(
            "the URL of a sentinel{which} has a user without a password; it needs both, redis://user:password@host, as \
            `username` and `password` are those of the primary"
        )));
    }
    Ok(address)
}

fn unfit(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::Backend(Failure::new("redis", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuses(builder: RedisStoreBuilder, says: &str) {
        let error = builder.build().unwrap_err();
        assert!(matches!(&error, Error::Backend(_)) && !error.is_transient(), "{error}");
        assert!(error.to_string().contains(says), "{says:?} is not in {error}");
    }

    #[test]
    fn a_setting_that_is_of_no_use_is_named_with_its_value() {
        let new = RedisStore::builder;
        for size in [0, 70_000] {
            refuses(new().pool_size(size), &format!("`pool_size` is {size}, and has to be 1 to 65535"));
        }
        refuses(new().page_size(0), "`page_size` is 0, and has to be 1 or more");
        for (limit, shown) in [(Duration::ZERO, "0ns"), (Duration::from_millis(1), "1ms")] {
            let says = |name| format!("`{name}` is {shown}, and has to be 10ms or more");
            refuses(new().pool_timeout(limit), &says("pool_timeout"));
            refuses(new().connect_timeout(limit), &says("connect_timeout"));
            refuses(new().response_timeout(limit), &says("response_timeout"));
        }
        refuses(new().min_idle(11), "`min_idle` is 11, more than the `pool_size` of 10");
        refuses(new().shared_connections(11), "`shared_connections` is 11, more than the `pool_size` of 10");
        let long = Duration::MAX;
        refuses(new().default_ttl(long), &format!("`default_ttl` is {long:?}, and the longest that redis takes is "));
        new().default_ttl(LONGEST_TTL).build().unwrap();
    }
}
