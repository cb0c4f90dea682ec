//! One server, and the connections to it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(feature = "tokio")]
use super::async_node::AsyncNode;
use super::dialer::Dialer;
#[cfg(feature = "sentinel")]
use super::sentinel::Sentinels;
use crate::connection::Connection;
use crate::connection::endpoint::Endpoint;
use crate::connection::known_commands::KnownCommands;
use crate::connection::permits::{Permit, Permits, WaitLimits};
use crate::connection::transport::{Acquire, Transport};
use crate::protocol::answer::Answer;
use crate::protocol::fault::Fault;
use crate::protocol::request::Request;
use crate::protocol::server_name::ServerName;
use crate::protocol::timeouts::Timeouts;

/// Where a server is.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// At an endpoint. It has a name if it is one of several.
    Endpoint(Endpoint, Option<ServerName>),
    /// Where sentinels say that the primary is.
    #[cfg(feature = "sentinel")]
    Primary(Arc<Sentinels>),
}

impl Target {
    /// Makes a connection within this limit.
    fn connect(&self, dialer: &Dialer, limit: Duration) -> Result<Connection, Fault> {
        let deadline = Instant::now() + limit;
        match self {
            Self::Endpoint(endpoint, name) => match dialer.dial(endpoint, &dialer.login, deadline) {
                Ok(connection) => Ok(connection.with_name(name.clone())),
                Err(fault) => Err(fault.at(name.as_ref())),
            },
            #[cfg(feature = "sentinel")]
            Self::Primary(sentinels) => sentinels.dial_primary(dialer, deadline),
        }
    }
}

/// A server as its connections see it.
pub(crate) struct Server {
    target: Target,
    dialer: Dialer,
    known_commands: KnownCommands,
}

impl Server {
    /// Makes a connection within this limit.
    pub(super) fn connect(&self, limit: Duration) -> Result<Connection, Fault> {
        let connection = self.target.connect(&self.dialer, limit)?;
        self.known_commands.set(connection.server_info());
        Ok(connection.kept(&self.dialer.pool_settings))
    }

    #[cfg(feature = "tokio")]
    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }
}

/// One server, and the connections to it.
pub(crate) enum Node {
    /// For threads.
    Pooled(Box<PooledNode>),
    /// For tasks.
    #[cfg(feature = "tokio")]
    Async(Arc<AsyncNode>),
}

impl Node {
    /// A server to which there is no connection yet.
    pub(crate) fn new(target: Target, dialer: Dialer, pool_size: u32) -> Self {
        #[cfg(feature = "tokio")]
        if let Some(shared_connections) = dialer.shared_by_tasks {
            let server = Server { target, dialer, known_commands: KnownCommands::new() };
            return Self::Async(Arc::new(AsyncNode::new(server, pool_size, shared_connections)));
        }
        Self::Pooled(Box::new(PooledNode::new(target, dialer, pool_size)))
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

    /// Where it is, if that is known without asking.
    #[cfg(feature = "cluster")]
    pub(crate) fn endpoint(&self) -> Option<&Endpoint> {
        match &self.server().target {
            Target::Endpoint(endpoint, _) => Some(endpoint),
            #[cfg(feature = "sentinel")]
            Target::Primary(_) => None,
        }
    }

    pub(crate) fn known_commands(&self) -> &KnownCommands {
        &self.server().known_commands
    }

    /// Makes this number of connections, at least one, so that the server is known to answer.
    pub(crate) async fn warm_up(&self, connections: u32) -> Result<(), Fault> {
        match self {
            Self::Pooled(node) => node.warm_up(connections),
            #[cfg(feature = "tokio")]
            Self::Async(node) => node.warm_up(connections).await,
        }
    }

    /// Sends a request and receives its replies.
    pub(crate) async fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault> {
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
    /// A server to which there is no connection yet.
    pub(crate) fn new(target: Target, dialer: Dialer, pool_size: u32) -> Self {
        let permits = Permits::new(pool_size, dialer.pool_settings, Arc::clone(&dialer.sweeper));
        Self { server: Server { target, dialer, known_commands: KnownCommands::new() }, permits }
    }

    fn connect(&self, permit: &mut Permit<'_, Connection>) -> Result<Connection, Fault> {
        Permits::connect(permit, self.timeouts().connect, |limit| self.server.connect(limit))
    }

    fn timeouts(&self) -> Timeouts {
        self.server.dialer.timeouts
    }

    fn wait_limits(&self, pool: Duration) -> WaitLimits {
        WaitLimits { pool, connect: self.timeouts().connect }
    }

    /// Makes this number of connections, at least one, so that the server is known to answer.
    pub(crate) fn warm_up(&self, connections: u32) -> Result<(), Fault> {
        let mut permits = Vec::new();
        for _ in 0..connections.max(1) {
            let limits = self.wait_limits(self.timeouts().pool);
            let mut permit = self.acquire(limits.pool)?;
            let idle = self.permits.take_idle(&mut permit, Connection::is_current, Instant::now(), limits)?;
            let connection = match idle {
                Some(connection) => connection,
                None => self.connect(&mut permit)?,
            };
            permit.keep(connection);
            permits.push(permit);
        }
        Ok(())
    }
}

impl Acquire for PooledNode {
    type Permit<'a> = Permit<'a, Connection>;

    fn is_in_question(&self) -> bool {
        self.permits.is_in_question()
    }

    fn acquire(&self, limit: Duration) -> Result<Permit<'_, Connection>, Fault> {
        Ok(self.permits.acquire(self.wait_limits(limit))?)
    }

    /// Uses an idle connection if there is one to be trusted, and makes a new one otherwise. If an idle one proves dead, the request is
    /// sent once more on a new one, unless it is a write of which something was sent (N5).
    fn exchange_with<'a>(
        &'a self,
        permit: &mut Permit<'a, Connection>,
        request: &Request<'_>,
    ) -> Result<Answer, Fault> {
        let (now, timeouts) = (Instant::now(), self.timeouts());
        let idle = self.permits.take_idle(permit, Connection::is_current, now, self.wait_limits(timeouts.pool))?;
        if let Some(connection) = idle {
            match exchange_on(connection, permit, request, (now, timeouts.response), true) {
                Err(fault) if fault.is_dead_connection() && !(request.writes() && fault.was_sent()) => {}
                result => return result,
            }
        }
        let connection = self.connect(permit)?;
        exchange_on(connection, permit, request, (Instant::now(), timeouts.response), false)
    }
}

/// Sends a request and receives its replies within a limit. Then it keeps the connection, if that may be used again.
fn exchange_on(
    mut connection: Connection,
    permit: &mut Permit<'_, Connection>,
    request: &Request<'_>,
    (now, limit): (Instant, Duration),
    had_been_idle: bool,
) -> Result<Answer, Fault> {
    if !connection.commands().has(request.needs()) {
        let commands = connection.commands();
        permit.keep(connection);
        return Err(Fault::Lacks(commands));
    }
    let result = connection.exchange(request, now, now + limit).and_then(|mut answer| {
        if let Some(next) = request.next(&answer.replies) {
            let now = Instant::now();
            answer.replies.extend(connection.exchange(next, now, now + limit)?.replies);
        }
        Ok(answer)
    });
    match &result {
        Ok(answer) if answer.leaves_connection_usable() => permit.keep(connection),
        Err(fault) if fault.is_silence() => permit.note_time_out(now, had_been_idle, fault),
        _ => {}
    }
    result
}

impl Transport for PooledNode {
    fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault> {
        self.exchange_with(&mut self.acquire(self.timeouts().pool)?, request)
    }

    fn known_commands(&self) -> &KnownCommands {
        &self.server.known_commands
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("target", &self.server().target).finish_non_exhaustive()
    }
}
