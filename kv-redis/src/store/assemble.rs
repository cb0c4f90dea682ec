//! Makes the store of a builder, on one server, a cluster, or a primary that sentinels know.

use std::fmt;
use std::slice;
use std::sync::Arc;

use kv_core::Result;

use super::RedisStore;
use super::address::Address;
use super::builder::RedisStoreBuilder;
#[cfg(any(feature = "cluster", feature = "sentinel"))]
use super::check::each;
use super::check::unsuitable;
#[cfg(feature = "sentinel")]
use super::check::{is_service, sentinel_address};
use super::client::label_of_namespace;
use super::client::{Client, Route};
use crate::connection::credentials::{Credentials, Source};
#[cfg(feature = "tls")]
use crate::connection::endpoint::Endpoint;
use crate::connection::handshake::Login;
use crate::connection::shared::Shared;
use crate::connection::sweeper::Sweeper;
#[cfg(feature = "tls")]
use crate::connection::tls;
use crate::protocol::role::Role;
#[cfg(feature = "cluster")]
use crate::servers::cluster::Cluster;
use crate::servers::dialer::Dialer;
use crate::servers::node::{Node, PooledNode, Target};
#[cfg(feature = "sentinel")]
use crate::servers::sentinel::{Sentinel, Sentinels};

impl RedisStoreBuilder {
    /// Where the credentials of new connections come from.
    pub(super) fn source(&self, credentials: &Credentials) -> Source {
        match &self.provider {
            Some(provider) => Source::Provider(provider.clone()),
            None => Source::Fixed(credentials.clone()),
        }
    }

    /// The name of the store in messages: where it is, and its namespace.
    pub(super) fn label(&self, endpoint: &dyn fmt::Display) -> String {
        format!("{endpoint}{}", label_of_namespace(&self.settings.namespace))
    }

    /// How connections are made. The URLs all say the same about TLS.
    pub(super) fn dialer(&self, login: Login, #[allow(unused_variables)] urls: &[Address]) -> Result<Dialer> {
        #[cfg(feature = "tls")]
        let tls = self.connector(urls)?;
        Ok(Dialer {
            login,
            resolver: Arc::default(),
            mapping: self.mapping.clone(),
            #[cfg(feature = "tls")]
            tls,
            timeouts: self.settings.clone().ready().timeouts,
            pool_settings: self.settings.pool.ready(),
            sweeper: Arc::new(Sweeper::new()),
            #[cfg(feature = "tokio")]
            shared_by_tasks: self.shared_by_tasks,
        })
    }

    /// How TLS is used, if the URLs say so.
    #[cfg(feature = "tls")]
    pub(super) fn connector(&self, urls: &[Address]) -> Result<Option<tls::Connector>> {
        if !urls.iter().any(|address| address.tls) {
            let unused = "TLS is configured, and the URL does not say `rediss://`";
            return if self.tls.is_some() { Err(unsuitable(unused)) } else { Ok(None) };
        }
        let connector = tls::Connector::new(&self.tls.clone().unwrap_or_default()).map_err(unsuitable)?;
        let fits =
            |address: &Address| matches!(&address.endpoint, Endpoint::Tcp { host, .. } if connector.accepts(host));
        if !urls.iter().all(fits) {
            return Err(unsuitable("the URL cannot be used: its host is not a name that a certificate can have"));
        }
        Ok(Some(connector))
    }

    pub(super) fn route(&self, target: Target, dialer: Dialer) -> Route {
        let timeouts = dialer.timeouts;
        #[cfg(feature = "tokio")]
        if self.shared_by_tasks.is_some() {
            return Route::Node(Box::new(Node::new(target, dialer, self.pool_size)));
        }
        match self.shared_connections {
            0 => Route::Node(Box::new(Node::new(target, dialer, self.pool_size))),
            connections => {
                let node = PooledNode::new(target, dialer, self.pool_size);
                Route::Shared(Box::new(Shared::new(node, connections, timeouts)))
            }
        }
    }

    /// An error if connections are to be shared where that is not possible.
    pub(super) fn check_nothing_shared(&self, with: &str) -> Result<()> {
        if self.shared_connections == 0 {
            return Ok(());
        }
        Err(unsuitable(format!("shared_connections are for one server, not for {with}")))
    }

    fn store(&self, label: String, route: Route) -> RedisStore {
        RedisStore { client: Arc::new(Client::new(label, self.settings.clone().ready(), route)) }
    }

    pub(super) fn on_server(&self, address: &Address) -> Result<RedisStore> {
        if self.mapping.is_given() {
            return Err(unsuitable(
                "`map_address` is for a cluster, or for sentinels: nothing announces an address otherwise",
            ));
        }
        let credentials = self.source(&address.credentials);
        let login = Login { credentials, database: address.database, role: Role::Data };
        let dialer = self.dialer(login, slice::from_ref(address))?;
        let target = Target::Endpoint(address.endpoint.clone(), None);
        Ok(self.store(self.label(address), self.route(target, dialer)))
    }

    #[cfg(feature = "cluster")]
    pub(super) fn on_cluster(&self, urls: &[String]) -> Result<RedisStore> {
        self.check_nothing_shared("a cluster")?;
        let addresses = each(urls).map(|(which, url)| self.address(url, &which)).collect::<Result<Vec<_>>>()?;
        let first = addresses.first().ok_or_else(|| unsuitable("`cluster` has no URL of a node"))?;
        // All nodes get the credentials, so they must not go to a node in clear text, nor to a node for which they are not meant.
        if addresses.iter().any(|other| (other.tls, &other.credentials) != (first.tls, &first.credentials)) {
            return Err(unsuitable("the URLs of the nodes differ in TLS (`rediss://`), user or password"));
        }
        if addresses.iter().any(|address| address.database != 0) {
            return Err(unsuitable(
                "a cluster has only the database 0; leave the database out of the URLs, and `database` unset",
            ));
        }
        let login = Login { credentials: self.source(&first.credentials), database: 0, role: Role::Member };
        let dialer = self.dialer(login, &addresses)?;
        let label = self.label(&format_args!("redis-cluster://{}", first.endpoint));
        let seeds = addresses.into_iter().map(|address| address.endpoint).collect();
        let cluster = Cluster::new(seeds, dialer, self.pool_size);
        Ok(self.store(label, Route::Cluster(Arc::new(cluster))))
    }

    #[cfg(feature = "sentinel")]
    pub(super) fn on_primary(&self, service: &str, urls: &[String]) -> Result<RedisStore> {
        if !is_service(service) {
            return Err(unsuitable(
                "the name of the primary, which `sentinels` takes first, has to be as in the sentinels' configuration \
                (`sentinel monitor NAME …`): of letters, digits and . - _",
            ));
        }
        let addresses = each(urls).map(|(which, url)| sentinel_address(url, &which)).collect::<Result<Vec<_>>>()?;
        let first = addresses.first().ok_or_else(|| unsuitable("`sentinels` has no URL of a sentinel"))?;
        if addresses.iter().any(|other| other.tls != first.tls) {
            return Err(unsuitable("some URLs of sentinels say `rediss://`, and some do not"));
        }
        if self.credentials.user.is_some() && self.credentials.password.is_none() {
            return Err(unsuitable(
                "`username` is a user without a password; set `password`, too: they are those of the primary",
            ));
        }
        let database = self.database.unwrap_or(0);
        let login = Login { credentials: self.source(&self.credentials), database, role: Role::Primary };
        let label = self.label(&format_args!("redis-sentinel://{}/{service}/{database}", first.endpoint));
        let dialer = self.dialer(login, &addresses)?;
        let sentinel = |Address { endpoint, credentials, .. }| Sentinel { endpoint, credentials };
        let sentinels = Sentinels::new(service.to_owned(), addresses.into_iter().map(sentinel).collect());
        Ok(self.store(label, self.route(Target::Primary(Arc::new(sentinels)), dialer)))
    }
}
