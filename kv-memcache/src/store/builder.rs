//! How a store is configured.

use std::fmt;
use std::time::Duration;

use super::address::Address;
use super::settings::Settings;
use crate::connection::credentials::{BoxError, Credentials, Provider};
use crate::connection::pool_settings::PoolSettings;
#[cfg(feature = "tls")]
use crate::connection::tls::Tls;
use crate::protocol::fault::Timeouts;

/// Configures a [`MemcacheStore`](crate::MemcacheStore); made by [`MemcacheStore::builder`](crate::MemcacheStore::builder).
///
/// ```
/// use std::time::Duration;
/// use kv_memcache::MemcacheStore;
///
/// let store = MemcacheStore::builder()
///     .servers(["memcache://cache1.example:11211", "memcache://cache2.example:11211"])
///     .pool_size(20)
///     .response_timeout(Duration::from_millis(250))
///     .default_ttl(Duration::from_secs(3600))
///     .build()?; // does not connect
/// assert_eq!(format!("{store:?}").contains("cache2.example"), true);
/// # Ok::<(), kv_memcache::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "the store is made by `connect` or `build`"]
pub struct MemcacheStoreBuilder {
    pub(super) urls: Vec<String>,
    pub(super) credentials: Option<Credentials>,
    pub(super) provider: Option<Provider>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Tls>,
    pub(super) pool_size: u32,
    pub(super) settings: Settings,
}

impl Default for MemcacheStoreBuilder {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            urls: vec!["memcache://127.0.0.1:11211".into()],
            credentials: None,
            provider: None,
            #[cfg(feature = "tls")]
            tls: None,
            pool_size: 10,
            settings: Settings {
                namespace: String::new(),
                default_ttl: None,
                largest_item: None,
                contains: false,
                classic: false,
                timeouts: Timeouts { pool: second, connect: second, response: second },
                pool: PoolSettings::default(),
            },
        }
    }
}

impl MemcacheStoreBuilder {
    /// The server, as [`MemcacheStore::connect`](crate::MemcacheStore::connect) takes it. Default: `memcache://127.0.0.1:11211`.
    ///
    /// A name with several addresses stands for one server, the same in every process: see the crate's page. To use all addresses, list
    /// them with [`servers`](Self::servers).
    pub fn url(self, url: impl Into<String>) -> Self {
        self.servers([url])
    }

    /// Several servers, by their URLs, in any order, instead of [`url`](Self::url). Keys are spread over them by host and port,
    /// or by the path of the socket, as the URL has it: all processes have to be given the same names.
    ///
    /// User, password and TLS are the same for all servers, so the URLs must not differ in them. Each server has a pool of its own.
    pub fn servers<U: Into<String>>(mut self, urls: impl IntoIterator<Item = U>) -> Self {
        self.urls = urls.into_iter().map(Into::into).collect();
        self
    }

    /// User and password of ASCII authentication (memcached's option `-Y`), instead of those in the URLs. They are never shown, and
    /// sent in clear unless the URLs say `memcache+tls://`.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::new(user, password));
        self
    }

    /// User and password from a function that is called anew for each connection: for passwords that are rotated and tokens
    /// that expire. With user and password in a URL, or [`credentials`](Self::credentials), [`build`](Self::build) fails.
    ///
    /// ```
    /// use std::fs;
    /// use kv_memcache::{Credentials, MemcacheStore};
    ///
    /// let store = MemcacheStore::builder()
    ///     .url("memcache+tls://cache.example")
    ///     .credentials_provider(|| {
    ///         let password = fs::read_to_string("/run/secrets/cache")?; // a small file, written anew when it changes
    ///         Ok::<_, std::io::Error>(Credentials::new("app", password.trim_end()))
    ///     });
    /// # let _ = store;
    /// ```
    ///
    /// It is called on the thread of the operation that needs a new connection, after TCP and TLS, and never for an
    /// operation on an existing connection. Its time is part of the [`connect_timeout`](Self::connect_timeout), and
    /// nothing can interrupt it: so it has to be quick, and to keep a token instead of fetching it each time. It must not use
    /// this store. Several threads may call it at once. All servers get the same user and password.
    ///
    /// If it returns an error, the operation fails with [`Error::Unavailable`](crate::Error::Unavailable), which is transient and has that
    /// error as its source. The text of that error is shown, so it must not contain the password. A panic is such an
    /// error, too.
    ///
    /// An existing connection stays authenticated when the password changes: memcached checks it only when a connection is
    /// made. memcached reads its file of passwords (`-Y`) when it starts, and again when it gets the signal SIGHUP.
    pub fn credentials_provider<E: Into<BoxError>>(
        mut self,
        provider: impl Fn() -> Result<Credentials, E> + Send + Sync + 'static,
    ) -> Self {
        self.provider = Some(Provider::new(provider));
        self
    }

    /// Needs the feature `tls`. Which servers to trust, and which client certificate to show. The URLs have to say `memcache+tls://`.
    /// Default: the certificate authorities of the operating system, and no client certificate.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The most connections to each server: 1 to 65 535. They are made when they are needed. Default: 10. An async store has as many on
    /// each runtime.
    pub const fn pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections;
        self
    }

    /// How long an operation waits for a connection of the pool while others use them all ([N1](kv_core::contract#10-connections)): 10 ms or more. Default: a second.
    pub const fn pool_timeout(mut self, limit: Duration) -> Self {
        self.settings.timeouts.pool = limit;
        self
    }

    /// How long making a connection may take: finding the address, connecting, TLS, authentication ([N1](kv_core::contract#10-connections)). 10 ms or
    /// more. Default: a second.
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.timeouts.connect = limit;
        self
    }

    /// How long an exchange may take, from the first byte of the request to the last byte of the reply, and 0.1 s more for each
    /// megabyte that is sent or received ([N1](kv_core::contract#10-connections)). Of a batch, each chunk. 10 ms or more. Default: a second.
    pub const fn response_timeout(mut self, limit: Duration) -> Self {
        self.settings.timeouts.response = limit;
        self
    }

    /// After how long without traffic the operating system asks whether the other side of a TCP connection is there, without an
    /// operation: a second or more, in whole seconds; zero turns it off. Default: a minute. It asks again each 15 seconds, four times.
    ///
    /// Firewalls, NAT and load balancers forget idle connections without a message. Set this below their
    /// time, which is 350 s for AWS's, 4 minutes for Azure's, 10 minutes for Google's, and 5 minutes to an hour for most firewalls.
    pub const fn tcp_keepalive(mut self, idle: Duration) -> Self {
        self.settings.pool.tcp_keepalive = idle;
        self
    }

    /// After how long an idle connection is closed ([N4](kv_core::contract#10-connections)), by a thread that exists only while there are idle connections: 10 ms or more;
    /// zero turns it off. Default: two minutes.
    ///
    /// So a burst leaves no connections behind. If keepalive does not help (a proxy counts data only), set it below the
    /// time after which the proxy forgets or closes connections; and below the server's `-o idle_timeout`, if it has one.
    pub const fn idle_timeout(mut self, limit: Duration) -> Self {
        self.settings.pool.idle_timeout = limit;
        self
    }

    /// How long a connection is used after it was made, however busy it is ([N4](kv_core::contract#10-connections)): 10 ms or more; zero turns it off. Default:
    /// half an hour. It is up to a tenth less, at random, so that connections that were made together do not end together.
    ///
    /// After this time at the latest the store follows a name that leads to another server, and a password that has changed.
    pub const fn max_lifetime(mut self, limit: Duration) -> Self {
        self.settings.pool.max_lifetime = limit;
        self
    }

    /// How long operations on a server that does not answer fail at once ([`Unavailable`](crate::Error::Unavailable), and nothing is
    /// sent), before one of them tries it again ([N6](kv_core::contract#10-connections)): 10 ms or more; zero turns it off, and then each operation waits for its
    /// limits. Default: half a second.
    ///
    /// After a time-out the next operation makes a new connection, and the others wait for that. If it succeeds (one command was
    /// slow), all go on. If it fails, this time begins. A server that is back is used after
    /// this time at the latest, and a [`connect_timeout`](Self::connect_timeout) more if it was tried just before.
    pub const fn retry_after(mut self, pause: Duration) -> Self {
        self.settings.pool.retry_after = pause;
        self
    }

    /// The TTL of an entry that is written without one, as by `put` ([T1](kv_core::contract#4-ttls)). Default: for ever, until the server
    /// needs the memory.
    ///
    /// It is treated as any other TTL: with zero such a write leaves the key absent ([T3](kv_core::contract#4-ttls)). If memcached
    /// cannot express it, [`build`](Self::build) fails ([T4](kv_core::contract#4-ttls)). memcached can express a day less each day, until 2038: with a long one writes
    /// may fail with [`InvalidTtl`](crate::Error::InvalidTtl) later.
    ///
    /// More than 30 days less 2 s needs a server that tells its time; proxies and serverless services do not. On such a server
    /// [`connect`](Self::connect) fails, and after [`build`](Self::build) each write without a TTL is
    /// [`InvalidTtl`](crate::Error::InvalidTtl).
    pub const fn default_ttl(mut self, ttl: Duration) -> Self {
        self.settings.default_ttl = Some(ttl);
        self
    }

    /// A name with which the store's keys begin on the servers, followed by a colon. So stores with different names share servers and do
    /// not see each other's keys. Default: no name; then all keys belong to the store, those of other namespaces included.
    ///
    /// The name has visible ASCII characters without a colon. It is part of the 250 bytes of a key, so the
    /// [longest key](crate::Capabilities::longest_key) is shorter by the name and the colon ([K5](kv_core::contract#1-keys)).
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.settings.namespace = name.into();
        self
    }

    /// The largest item in bytes, as memcached's option `-I` counts it: value, key, and about 60 bytes that the server adds. A
    /// value that would make a larger item is [`ValueTooLarge`](crate::Error::ValueTooLarge) at once ([V3](kv_core::contract#2-values)).
    ///
    /// Default: the least limit that the servers have told; each new connection asks. It is 1 MiB, memcached's own default, for a server that
    /// was not asked yet (as after [`build`](Self::build)), and for one that does not tell (a proxy, a managed service).
    /// A smaller limit of a server counts, too.
    pub const fn largest_item(mut self, bytes: u64) -> Self {
        self.settings.largest_item = Some(bytes);
        self
    }

    /// Whether the store answers `contains`, and says so in its capabilities. Default: no, and then `contains` is
    /// [`Unsupported`](crate::Error::Unsupported).
    ///
    /// The server may evict an entry at any time, also between the question and what you do with the answer: to ask first is a
    /// race. Mostly a `get` or a `create` is what you need. The question costs one round trip and brings no value.
    pub const fn contains(mut self, on: bool) -> Self {
        self.settings.contains = on;
        self
    }

    /// Whether the store uses the classic commands of memcached (`get`, `set`, `add`, `touch`, `delete`) and not its meta commands: for
    /// memcached 1.4.25 to 1.5.22, and for proxies such as twemproxy and mcrouter. Default: no, which is for memcached 1.6.0 and newer.
    ///
    /// Such servers do not tell what is left of a TTL. So `ttl`, `copy` and `rename` are
    /// [`Unsupported`](crate::Error::Unsupported), and the capabilities say so; `contains` has the server send the value. Everything else
    /// is as without this setting. A proxy that does not say how large an item may be is taken to accept 1 MiB: see
    /// [`largest_item`](Self::largest_item). One that does not tell its time takes TTLs of less than 30 days alone.
    ///
    /// ```no_run
    /// use kv_memcache::{KeyValueStoreExt, MemcacheStore};
    ///
    /// let store = MemcacheStore::builder().url("memcache://twemproxy.example:22121").classic(true).connect()?;
    /// store.put("greeting", "hello")?;
    /// # Ok::<(), kv_memcache::Error>(())
    /// ```
    pub const fn classic(mut self, on: bool) -> Self {
        self.settings.classic = on;
        self
    }
}

/// Shows the servers without user and password ([E3](kv_core::contract#9-errors)).
impl fmt::Debug for MemcacheStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |url: &String| Address::parse(url).map_or_else(|_| "?".to_owned(), |address| address.to_string());
        f.debug_struct("MemcacheStoreBuilder")
            .field("servers", &self.urls.iter().map(shown).collect::<Vec<_>>())
            .field("credentials", &self.credentials)
            .field("has_credentials_provider", &self.provider.is_some())
            .field("pool_size", &self.pool_size)
            .field("namespace", &self.settings.namespace)
            .field("largest_item", &self.settings.largest_item)
            .field("default_ttl", &self.settings.default_ttl)
            .field("contains", &self.settings.contains)
            .field("classic", &self.settings.classic)
            .field("timeouts", &self.settings.timeouts)
            .field("pool", &self.settings.pool)
            .finish_non_exhaustive()
    }
}
