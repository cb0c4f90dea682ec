//! Connections to one server: how they are made, used, pooled and shared.

mod channel;
pub(crate) mod circuit_breaker;
pub(crate) mod credentials;
pub(crate) mod endpoint;
mod exchange;
pub(crate) mod external_pool;
pub(crate) mod handshake;
pub(crate) mod host;
pub(crate) mod known_commands;
#[cfg(feature = "tokio")]
pub(crate) mod multiplexed;
pub(crate) mod per_process;
pub(crate) mod permits;
pub(crate) mod pool;
pub(crate) mod pool_settings;
mod receive;
pub(crate) mod resolve;
pub(crate) mod shared;
pub(crate) mod socket;
pub(crate) mod sweeper;
pub(crate) mod system;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod transport;

#[cfg(feature = "cluster")]
use std::net::IpAddr;
use std::time::Instant;

use redis::Parser;

use crate::protocol::commands::Commands;
use crate::protocol::info::ServerInfo;
use crate::protocol::server_name::ServerName;
use channel::Channel;
use pool_settings::{PoolSettings, Reusable};

/// How much of a reply that is one value is read at first. If there is more, the rest is read to where it stays.
const HEAD: usize = 16 * 1024;

/// A connection that can be used: connected, authenticated, checked.
///
/// A caller takes it out of the pool, and puts it back after a complete exchange. So anything else that happens, a panic included, closes
/// it (N2).
pub(crate) struct Connection {
    channel: Channel,
    parser: Parser,
    /// The buffer for the beginning of a reply that is one value.
    head: Box<[u8]>,
    /// How many bytes were received since the exchange began.
    received: usize,
    last_used: Instant,
    use_until: Instant,
    server_info: ServerInfo,
    /// The name of its server, if it is one of several.
    server: Option<ServerName>,
}

impl Connection {
    /// A connection on which nothing was sent yet.
    fn new(channel: Channel) -> Self {
        let now = Instant::now();
        Self {
            channel,
            parser: Parser::new(),
            head: vec![0; HEAD].into(),
            received: 0,
            last_used: now,
            use_until: now,
            server_info: ServerInfo::untold(),
            server: None,
        }
    }

    /// The same with the name of its server.
    pub(crate) fn with_name(mut self, server: Option<ServerName>) -> Self {
        self.server = server;
        self
    }

    /// What the server said about itself.
    pub(crate) fn server_info(&self) -> ServerInfo {
        self.server_info
    }

    /// The commands that the server has, by what it said.
    pub(crate) fn commands(&self) -> Commands {
        self.server_info.commands
    }

    /// Whether it leads to the server for which its host name stands now.
    pub(crate) fn is_current(&self) -> bool {
        self.channel.socket().is_current()
    }

    /// A new connection as it is kept.
    pub(crate) fn kept(mut self, pool_settings: &PoolSettings) -> Self {
        self.use_until = pool_settings.use_until(Instant::now());
        if !pool_settings.tcp_keepalive.is_zero() {
            self.channel.socket().keep_alive(pool_settings.tcp_keepalive);
        }
        self
    }

    /// The address of the server, if its host name has several.
    #[cfg(feature = "cluster")]
    pub(crate) fn one_of_several(&self) -> Option<IpAddr> {
        self.channel.socket().one_of_several()
    }
}

impl Reusable for Connection {
    fn last_used(&self) -> Instant {
        self.last_used
    }

    fn use_until(&self) -> Instant {
        self.use_until
    }

    fn is_quiet(&self) -> bool {
        self.channel.socket().is_quiet()
    }
}
