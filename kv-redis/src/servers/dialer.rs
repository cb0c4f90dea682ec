//! How connections to the servers of a store are made.

#[cfg(any(feature = "cluster", feature = "sentinel"))]
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::mapping::Mapping;
use crate::connection::Connection;
use crate::connection::endpoint::Endpoint;
use crate::connection::handshake::Login;
use crate::connection::pool_settings::PoolSettings;
use crate::connection::resolve::Resolver;
use crate::connection::socket::AddressChoice;
use crate::connection::sweeper::Sweeper;
#[cfg(feature = "tls")]
use crate::connection::tls;
use crate::protocol::fault::Fault;
#[cfg(any(feature = "cluster", feature = "sentinel"))]
use crate::protocol::server_name::ServerName;
use crate::protocol::timeouts::Timeouts;

/// Makes connections. The servers of a store share it.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(crate) login: Login,
    pub(crate) resolver: Arc<Resolver>,
    #[cfg_attr(
        not(any(feature = "cluster", feature = "sentinel")),
        allow(dead_code, reason = "only a cluster and sentinels announce addresses")
    )]
    pub(crate) mapping: Mapping,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<tls::Connector>,
    pub(crate) timeouts: Timeouts,
    pub(crate) pool_settings: PoolSettings,
    pub(crate) sweeper: Arc<Sweeper>,
    /// If the store is for tasks: how many connections to a server they share.
    #[cfg(feature = "tokio")]
    pub(crate) shared_by_tasks: Option<u32>,
}

impl Dialer {
    /// Makes a connection to the server for which the host of an endpoint stands.
    pub(crate) fn dial(&self, endpoint: &Endpoint, login: &Login, deadline: Instant) -> Result<Connection, Fault> {
        self.open(endpoint, AddressChoice::Chosen, login, deadline)
    }

    /// Makes a connection to any of the addresses of a host.
    #[cfg(any(feature = "cluster", feature = "sentinel"))]
    pub(crate) fn dial_any(&self, endpoint: &Endpoint, login: &Login, deadline: Instant) -> Result<Connection, Fault> {
        self.open(endpoint, AddressChoice::Any, login, deadline)
    }

    fn open(
        &self,
        endpoint: &Endpoint,
        choice: AddressChoice,
        login: &Login,
        deadline: Instant,
    ) -> Result<Connection, Fault> {
        Connection::open(
            endpoint,
            (&self.resolver, choice),
            #[cfg(feature = "tls")]
            self.tls.as_ref(),
            login,
            deadline,
        )
    }

    /// How messages name a server that another server announced. That one may know the password, so a host that contains it is not shown
    /// (E3).
    #[cfg(any(feature = "cluster", feature = "sentinel"))]
    pub(crate) fn name_of(&self, endpoint: &Endpoint, by: &str) -> ServerName {
        let is_hidden = match endpoint {
            Endpoint::Tcp { host, .. } => host.parse::<IpAddr>().is_err() && self.login.credentials.is_in(host),
            Endpoint::Unix(_) => false,
        };
        let name = if is_hidden { "a server with the password in its name".into() } else { endpoint.to_string() };
        let is_mapped = self.mapping.is_given();
        let mapped = if is_mapped { ", as `map_address` has it" } else { "" };
        ServerName::announced(format!("{name}, which {by} named{mapped}"), is_hidden, is_mapped)
    }
}
