//! One server, and the pool of connections to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[cfg(feature = "tokio")]
use super::async_node::AsyncNode;
use crate::connection::credentials::Source;
use crate::connection::endpoint::Endpoint;
use crate::connection::exchange::Connection;
use crate::connection::handshake::ConnectOptions;
use crate::connection::permits::{Permit, Permits, WaitLimits};
use crate::connection::pool_settings::PoolSettings;
use crate::connection::resolve::Resolver;
use crate::connection::sweeper::Sweeper;
#[cfg(feature = "tls")]
use crate::connection::tls;
use crate::protocol::fault::{Fault, Timeouts};
use crate::protocol::handshake::ServerInfo;
use crate::protocol::reply::{Reply, are_refused};
use crate::protocol::request::Request;

/// How connections to a server are made.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(crate) endpoint: Endpoint,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) credentials: Source,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<tls::Connector>,
    pub(crate) classic: bool,
    pub(crate) timeouts: Timeouts,
    pub(crate) pool_settings: PoolSettings,
    /// One for all nodes of a store.
    pub(crate) sweeper: Arc<Sweeper>,
}

impl Dialer {
    /// Makes a connection, within this limit.
    fn dial(&self, closes_on_stats: bool, limit: Duration) -> Result<Connection, Fault> {
        let options = ConnectOptions {
            endpoint: &self.endpoint,
            resolver: &self.resolver,
            #[cfg(feature = "tls")]
            tls: self.tls.as_ref(),
            credentials: &self.credentials,
            classic: self.classic,
            closes_on_stats,
            deadline: Instant::now() + limit,
        };
        options.connect()
    }
}

/// What the server said on the connection that was made or checked last. Another connection may lead to another server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerLimits {
    /// The largest item that it takes, in bytes.
    pub(crate) largest_item: Option<u64>,
    /// Whether it does not tell its time.
    pub(crate) lacks_clock: bool,
}

impl ServerLimits {
    const LACKS_CLOCK: u64 = 1 << 63;

    fn of(server: &ServerInfo) -> Self {
        Self { largest_item: server.largest_item, lacks_clock: server.clock.is_none() }
    }

    fn pack(self) -> u64 {
        self.largest_item.unwrap_or(0) | if self.lacks_clock { Self::LACKS_CLOCK } else { 0 }
    }

    fn unpack(packed: u64) -> Self {
        Self {
            largest_item: Some(packed & !Self::LACKS_CLOCK).filter(|&size| size > 0),
            lacks_clock: packed & Self::LACKS_CLOCK != 0,
        }
    }
}

/// After a proxy has closed this many connections in a row at `stats`, new connections no longer ask that. The count wraps, so that each
/// 256th connection asks again, because a memcached may have taken the place of the proxy.
const PROXY_FROM: u8 = 2;

/// A server as its connections see it.
pub(crate) struct Server {
    dialer: Dialer,
    /// Its name in messages.
    name: String,
    /// [`ServerLimits`], packed.
    limits: AtomicU64,
    /// How many connections in a row it has closed at `stats`.
    closed_on_stats: AtomicU8,
}

impl Server {
    fn new(dialer: Dialer) -> Self {
        Self {
            name: dialer.endpoint.to_string(),
            dialer,
            limits: AtomicU64::new(ServerLimits::default().pack()),
            closed_on_stats: AtomicU8::new(0),
        }
    }

    #[cfg(feature = "tokio")]
    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// What the server last said about its limits.
    pub(super) fn limits(&self) -> ServerLimits {
        ServerLimits::unpack(self.limits.load(Ordering::Relaxed))
    }

    fn learn(&self, limits: ServerLimits) {
        self.limits.store(limits.pack(), Ordering::Relaxed);
    }

    /// Makes a connection within this limit, and learns from it.
    pub(super) fn connect(&self, limit: Duration) -> Result<Connection, Fault> {
        let closed = self.closed_on_stats.load(Ordering::Relaxed);
        let connection = self.dialer.dial(closed >= PROXY_FROM, limit)?;
        let server = connection.server();
        let closed = if server.closes_on_stats { closed.wrapping_add(1) } else { 0 };
        self.closed_on_stats.store(closed, Ordering::Relaxed);
        self.learn(ServerLimits::of(server));
        Ok(connection.kept(&self.dialer.pool_settings))
    }
}

/// One server, and the connections to it.
pub(crate) enum Node {
    /// For threads.
    Pooled(Box<PooledNode>),
    /// For tasks.
    #[cfg(feature = "tokio")]
    Async(AsyncNode),
}

#[cfg_attr(not(feature = "tokio"), allow(clippy::unused_async, reason = "with tasks there is something to wait for"))]
impl Node {
    /// A server to which there is no connection yet.
    pub(crate) fn new(dialer: Dialer, pool_size: u32) -> Self {
        let permits = Permits::new(pool_size, dialer.pool_settings, Arc::clone(&dialer.sweeper));
        Self::Pooled(Box::new(PooledNode { server: Server::new(dialer), permits }))
    }

    /// The same for tasks.
    #[cfg(feature = "tokio")]
    pub(crate) fn for_tasks(dialer: Dialer, pool_size: u32) -> Self {
        Self::Async(AsyncNode::new(Server::new(dialer), pool_size))
    }

    fn server(&self) -> &Server {
        match self {
            Self::Pooled(node) => &node.server,
            #[cfg(feature = "tokio")]
            Self::Async(node) => node.server(),
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn is_async(&self) -> bool {
        matches!(self, Self::Async(_))
    }

    pub(crate) fn name(&self) -> &str {
        &self.server().name
    }

    /// What the server last said about its limits.
    pub(crate) fn limits(&self) -> ServerLimits {
        self.server().limits()
    }

    /// Makes a connection, unless there is an idle one that can be trusted. So the server answers, and its limits are current.
    pub(crate) async fn warm_up(&self) -> Result<ServerLimits, Fault> {
        match self {
            Self::Pooled(node) => node.warm_up(),
            #[cfg(feature = "tokio")]
            Self::Async(node) => node.warm_up().await,
        }
    }

    /// Sends a request and receives its replies.
    pub(crate) async fn exchange(&self, request: Request<'_>) -> Result<Vec<Reply>, Fault> {
        match self {
            Self::Pooled(node) => node.exchange(request),
            #[cfg(feature = "tokio")]
            Self::Async(node) => node.exchange(request).await,
        }
    }
}

/// One server, and the pool of connections to it.
pub(crate) struct PooledNode {
    server: Server,
    permits: Permits<Connection>,
}

impl PooledNode {
    /// Makes a connection, unless there is an idle one that can be trusted. So the server answers, and its limits are current.
    fn warm_up(&self) -> Result<ServerLimits, Fault> {
        let mut permit = self.permits.acquire(self.wait_limits())?;
        let connection =
            match self.permits.take_idle(&mut permit, Connection::is_current, Instant::now(), self.wait_limits())? {
                Some(connection) => connection,
                None => self.dial(&mut permit)?,
            };
        let limits = ServerLimits::of(connection.server());
        self.server.learn(limits);
        permit.keep(connection);
        Ok(limits)
    }

    fn dial(&self, permit: &mut Permit<'_, Connection>) -> Result<Connection, Fault> {
        Permits::connect(permit, self.server.dialer.timeouts.connect, |limit| self.server.connect(limit))
    }

    /// Uses an idle connection if there is one to be trusted, and makes a new one otherwise. If an idle one proves dead, the request is
    /// sent once more on a new one, unless it is a write of which something was sent (N5).
    fn exchange(&self, request: Request<'_>) -> Result<Vec<Reply>, Fault> {
        let mut permit = self.permits.acquire(self.wait_limits())?;
        let (now, limit) = (Instant::now(), self.server.dialer.timeouts.response);
        let mut has_slow_clock = false;
        let serves = |connection: &Connection| {
            let (is_current, has_clock) =
                (connection.is_current(), !request.needs_clock() || connection.has_good_clock(now));
            has_slow_clock = is_current && !has_clock && connection.has_slow_clock();
            is_current && has_clock
        };
        if let Some(connection) = self.permits.take_idle(&mut permit, serves, now, self.wait_limits())? {
            let result = exchange_on(connection, &mut permit, request, (now, limit), true);
            if !result.as_ref().is_err_and(|fault| fault.may_be_repeated(request.writes())) {
                return result;
            }
        }
        let mut connection = self.dial(&mut permit)?;
        if has_slow_clock {
            connection.accept_slow_clock();
        }
        exchange_on(connection, &mut permit, request, (Instant::now(), limit), false)
    }

    fn wait_limits(&self) -> WaitLimits {
        WaitLimits { pool: self.server.dialer.timeouts.pool, connect: self.server.dialer.timeouts.connect }
    }
}

/// Sends a request and receives its replies within a limit. Then it keeps the connection, if that may be used again.
fn exchange_on(
    mut connection: Connection,
    permit: &mut Permit<'_, Connection>,
    request: Request<'_>,
    (now, limit): (Instant, Duration),
    had_been_idle: bool,
) -> Result<Vec<Reply>, Fault> {
    let result = connection.exchange(request, now, now + limit);
    match &result {
        Err(fault) if fault.is_silence() => permit.note_time_out(now, had_been_idle, fault),
        result if is_usable_after(result) => permit.keep(connection),
        _ => {}
    }
    result
}

/// Whether the connection may be used again. An error of the server does not say to which command it belongs, so the next reply may belong
/// to any command.
fn is_usable_after(result: &Result<Vec<Reply>, Fault>) -> bool {
    match result {
        Ok(replies) => !are_refused(replies),
        Err(fault) => fault.index().is_some(),
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("dialer", &self.server().dialer).finish_non_exhaustive()
    }
}
