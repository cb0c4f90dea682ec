//! The last step of a builder: makes the store.

use std::sync::Arc;

use kv_core::Result;

use super::RedisStore;
use super::builder::{RedisStoreBuilder, Servers};
use super::check::check_name_of_namespace;

use super::client::{Client, Route};
use super::now;
use super::settings::Settings;
use crate::connection::external_pool::ExternalPool;

impl RedisStore {
    /// A store on the server at this URL, with the default settings. It connects, so that the server is known to answer.
    ///
    /// The URL is `redis://host:port/database`, with TLS `rediss://…` (feature `tls`), of a unix socket
    /// `redis+unix:///path?db=database`. User and password, percent-encoded, go before the host, `redis://user:password@host`
    /// or `redis://:password@host`, or into `?user=…&pass=…` of a unix socket.
    ///
    /// ```no_run
    /// use kv_redis::{KeyValueStoreExt, RedisStore};
    ///
    /// let store = RedisStore::connect("redis://127.0.0.1:6379/0")?;
    /// store.put("greeting", "hello")?;
    /// # Ok::<(), kv_redis::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`RedisStoreBuilder::connect`].
    pub fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder().url(url).connect()
    }

    /// A handle to the entries of a namespace, on the same connections: its keys begin on the server with this name and a colon. So each of
    /// many tenants has keys of its own, and none has a pool of its own.
    ///
    /// ```no_run
    /// use kv_redis::{KeyValueStoreExt, RedisStore};
    ///
    /// let store = RedisStore::connect("redis://127.0.0.1:6379/0")?;
    /// let tenant = store.with_namespace("acme")?;
    /// tenant.put("greeting", "hello")?;
    /// assert_eq!(store.get("acme:greeting")?, tenant.get("greeting")?);
    /// # Ok::<(), kv_redis::Error>(())
    /// ```
    ///
    /// In a store that has a [namespace](RedisStoreBuilder::namespace) it is a part of that one. The store itself still sees the entries of all namespaces
    /// in it. The name has at least one character, all of them visible ASCII characters and none a colon; it does not count for the length of keys.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`](crate::Error::InvalidSetting) if the name is not valid.
    pub fn with_namespace(&self, name: &str) -> Result<Self> {
        check_name_of_namespace(name)?;
        Ok(Self { client: Arc::new(self.client.within(name)) })
    }

    /// Configures a store.
    pub fn builder() -> RedisStoreBuilder {
        RedisStoreBuilder::default()
    }

    /// A store on a pool that the application made, with clients of the crate [`redis`](crate::redis) and the default settings.
    /// [`RedisStoreBuilder::build_on_pool`] has other settings, and says what differs from the store's own pool.
    pub fn from_pool(pool: r2d2::Pool<redis::Client>) -> Self {
        on_pool(Settings::default(), pool)
    }

    /// Needs the feature `r2d2_redis`. A store on an existing pool of the crate of that name, with the default settings.
    /// [`RedisStoreBuilder::build_on_r2d2_redis_pool`] has other settings.
    #[cfg(feature = "r2d2_redis")]
    pub fn from_r2d2_redis_pool(pool: r2d2::Pool<r2d2_redis::RedisConnectionManager>) -> Self {
        on_r2d2_redis_pool(Settings::default(), pool)
    }
}

impl RedisStoreBuilder {
    /// Makes the store and a first connection (or [more](Self::min_idle)), so that the server is known to answer and to be suitable: redis
    /// 2.8.12 or newer, valkey, KeyDB, or another server with their protocol.
    ///
    /// # Errors
    /// As [`build`](Self::build); [`Error::Unavailable`](crate::Error::Unavailable) or [`Error::Timeout`](crate::Error::Timeout) if no connection can be made,
    /// [`Error::Backend`](crate::Error::Backend) if the server does not accept user and password, or is not suitable.
    pub fn connect(self) -> Result<RedisStore> {
        let connections = self.min_idle;
        let store = self.build()?;
        now(store.client.warm_up(connections))?;
        Ok(store)
    }

    /// Makes the store. It does not connect: the first operation does. So it succeeds if the server is unreachable.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`](crate::Error::InvalidSetting) if a setting is not valid: a text that is not a URL, a limit that is too short, a feature that is not compiled in.
    pub fn build(self) -> Result<RedisStore> {
        self.check()?;
        match &self.servers {
            Servers::Url(url) => self.on_server(&self.address(url, "")?),
            #[cfg(feature = "cluster")]
            Servers::Cluster(urls) => self.on_cluster(urls),
            #[cfg(feature = "sentinel")]
            Servers::Sentinels { service, urls } => self.on_primary(service, urls),
        }
    }

    /// Makes the store on a pool that the application made, of the client of the crate `redis` 1 and with `r2d2` 0.8, as
    /// [`kv_redis::redis`](crate::redis) and [`kv_redis::r2d2`](crate::r2d2) have them. The pool
    /// determines the server, the user and the number of connections; the other settings are those of the builder.
    ///
    /// Make the pool with `test_on_check_out(false)`, or each operation costs two round trips. The store checks idle connections itself,
    /// with a `PING` after a second without use. It asks each new connection for `INFO`, and sets its time-outs. In these points it is
    /// weaker than with a pool of its own:
    ///
    /// - the pool makes connections, without a limit of the store ([N1](kv_core::contract#10-connections));
    /// - the [`response_timeout`](Self::response_timeout) is a limit for each piece of a reply, not for the whole ([N1](kv_core::contract#10-connections));
    /// - unrequested bytes after a reply are taken for the next reply ([N2](kv_core::contract#10-connections)).
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_on_pool(self, pool: r2d2::Pool<redis::Client>) -> Result<RedisStore> {
        self.check()?;
        self.check_nothing_shared("a pool of the application")?;
        Ok(on_pool(self.settings, pool))
    }

    /// Needs the feature `r2d2_redis`. As [`build_on_pool`](Self::build_on_pool), on a pool of the crate `r2d2_redis`. That crate is no longer maintained:
    /// this is for applications that use it already.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    #[cfg(feature = "r2d2_redis")]
    pub fn build_on_r2d2_redis_pool(self, pool: r2d2::Pool<r2d2_redis::RedisConnectionManager>) -> Result<RedisStore> {
        self.check()?;
        self.check_nothing_shared("a pool of the application")?;
        Ok(on_r2d2_redis_pool(self.settings, pool))
    }
}

fn on_pool(settings: Settings, pool: r2d2::Pool<redis::Client>) -> RedisStore {
    let settings = settings.ready();
    let pool = ExternalPool::new(pool, settings.timeouts);
    let label = "redis (pool of the application)".into();
    RedisStore { client: Arc::new(Client::new(label, settings, Route::ExternalPool(Box::new(pool)))) }
}

#[cfg(feature = "r2d2_redis")]
fn on_r2d2_redis_pool(settings: Settings, pool: r2d2::Pool<r2d2_redis::RedisConnectionManager>) -> RedisStore {
    let settings = settings.ready();
    let pool = ExternalPool::new(pool, settings.timeouts);
    let label = "redis (r2d2_redis pool of the application)".into();
    RedisStore { client: Arc::new(Client::new(label, settings, Route::ExternalPool(Box::new(pool)))) }
}
