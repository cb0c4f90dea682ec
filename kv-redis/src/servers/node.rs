//! One server, and the pool of connections to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::connection::endpoint::Endpoint;
use crate::connection::exchange::{Answer, Connection, Login};
use crate::connection::permits::{Permit, Permits, WaitLimits};
use crate::connection::resolve::Resolver;
use crate::connection::socket::AddressChoice;
use crate::connection::upkeep::{Sweeper, Upkeep};
use crate::protocol::commands::Commands;
use crate::protocol::fault::{Fault, Limits, ServerName};
use crate::protocol::info::ServerInfo;
use crate::protocol::request::Request;
use crate::servers::mapping::Mapping;

/// What takes requests: a server, or a pool of connections to one that the application made.
pub(crate) trait Server: Send + Sync {
    /// Sends a request and receives its replies.
    ///
    /// If it lacks what the request needs, as far as is known of the connection, nothing is sent ([`Fault::Lacks`]).
    fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault>;

    /// What the server has, as far as is known.
    fn known(&self) -> &KnownCommands;
}

/// For how long a refusal is remembered: the server may have refused a command for the moment only, or the user may have been allowed to
/// use it since.
const REFUSAL_LASTS: Duration = Duration::from_secs(5);

/// What a server has, as its newest connection was told, without what it has refused. A refusal is remembered for [a
/// time](REFUSAL_LASTS), and only while the server is the same process, or says the same of itself where it does not tell that.
pub(crate) struct KnownCommands {
    told: AtomicU16,
    refused: AtomicU16,
    /// When the first of these refusals was remembered, in milliseconds since `begin`.
    refused_at: AtomicU64,
    begin: Instant,
    /// Which server that is.
    identity: AtomicU64,
}

impl KnownCommands {
    pub(crate) fn new() -> Self {
        Self {
            told: AtomicU16::new(Commands::ALL.bits()),
            refused: AtomicU16::new(Commands::NONE.bits()),
            refused_at: AtomicU64::new(0),
            begin: Instant::now(),
            identity: AtomicU64::new(0),
        }
    }

    /// What the server has, as far as is known. The clock is read only if something was refused.
    pub(crate) fn get(&self) -> Commands {
        self.get_at(Instant::now)
    }

    fn get_at(&self, now: impl FnOnce() -> Instant) -> Commands {
        let mut refused = Commands::of_bits(self.refused.load(Relaxed));
        if refused != Commands::NONE {
            let since = Duration::from_millis(self.refused_at.load(Relaxed));
            if now().saturating_duration_since(self.begin) >= since + REFUSAL_LASTS {
                self.forget_refusals();
                refused = Commands::NONE;
            }
        }
        Commands::of_bits(self.told.load(Relaxed)).without(refused)
    }

    /// Notes what a server said of itself.
    pub(crate) fn set(&self, server_info: ServerInfo) {
        let identity = server_info.run_id.unwrap_or(server_info.commands.bits().into());
        if self.identity.swap(identity, Relaxed) != identity {
            self.forget_refusals();
        }
        self.told.store(server_info.commands.bits(), Relaxed);
    }

    /// Notes that the server refused something.
    pub(crate) fn remove(&self, refused: Commands) {
        if self.refused.load(Relaxed) == Commands::NONE.bits() {
            let passed = self.begin.elapsed().as_millis();
            self.refused_at.store(u64::try_from(passed).unwrap_or(u64::MAX), Relaxed);
        }
        self.refused.fetch_or(refused.bits(), Relaxed);
    }

    pub(crate) fn forget_refusals(&self) {
        self.refused.store(Commands::NONE.bits(), Relaxed);
    }
}

/// How connections to a server are made.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(crate) target: Target,
    pub(crate) login: Login,
    /// The server, if it is one of several.
    pub(crate) server: Option<ServerName>,
    pub(crate) resolver: Arc<Resolver>,
    #[cfg_attr(
        not(any(feature = "cluster", feature = "sentinel")),
        allow(dead_code, reason = "nobody announces addresses")
    )]
    pub(crate) mapping: Mapping,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::connection::tls::Connector>,
    pub(crate) limits: Limits,
    pub(crate) upkeep: Upkeep,
    /// One for all nodes of a store.
    pub(crate) sweeper: Arc<Sweeper>,
}

/// Where a server is.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Endpoint(Endpoint),
    /// Where sentinels say that the primary is.
    #[cfg(feature = "sentinel")]
    Primary(Arc<crate::servers::sentinel::Sentinels>),
}

impl Dialer {
    /// Makes a connection, within this limit.
    fn dial(&self, limit: Duration) -> Result<Connection, Fault> {
        let deadline = Instant::now() + limit;
        match &self.target {
            Target::Endpoint(endpoint) => match self.dial_at(endpoint, &self.login, deadline) {
                Ok(connection) => Ok(connection.to(self.server.clone())),
                Err(fault) => Err(fault.at(self.server.as_ref())),
            },
            #[cfg(feature = "sentinel")]
            Target::Primary(sentinels) => sentinels.dial_primary(self, deadline),
        }
    }

    pub(crate) fn dial_at(&self, endpoint: &Endpoint, login: &Login, deadline: Instant) -> Result<Connection, Fault> {
        self.open(endpoint, AddressChoice::Chosen, login, deadline)
    }

    /// The same where any of the addresses of a name will do.
    #[cfg(any(feature = "cluster", feature = "sentinel"))]
    pub(crate) fn dial_any_at(
        &self,
        endpoint: &Endpoint,
        login: &Login,
        deadline: Instant,
    ) -> Result<Connection, Fault> {
        self.open(endpoint, AddressChoice::Any, login, deadline)
    }

    fn open(
        &self,
        endpoint: &Endpoint,
        reach: AddressChoice,
        login: &Login,
        deadline: Instant,
    ) -> Result<Connection, Fault> {
        Connection::open(
            endpoint,
            (&self.resolver, reach),
            #[cfg(feature = "tls")]
            self.tls.as_ref(),
            login,
            deadline,
        )
    }

    /// How messages name a server that another one has named.
    #[cfg(any(feature = "cluster", feature = "sentinel"))]
    pub(crate) fn name_of(&self, endpoint: &Endpoint, by: &str) -> ServerName {
        ServerName::named(endpoint, by, self.mapping.is_given(), &self.login.credentials)
    }

    /// The same for another server.
    #[cfg(feature = "cluster")]
    pub(crate) fn at(&self, endpoint: Endpoint, server: ServerName) -> Self {
        Self { target: Target::Endpoint(endpoint), server: Some(server), ..self.clone() }
    }
}

pub(crate) struct Node {
    dialer: Dialer,
    permits: Permits<Connection>,
    known: KnownCommands,
}

impl Node {
    /// A node to which there is no connection yet.
    pub(crate) fn new(dialer: Dialer, pool_size: u32) -> Self {
        let permits = Permits::new(pool_size, dialer.upkeep, Arc::clone(&dialer.sweeper));
        Self { dialer, permits, known: KnownCommands::new() }
    }

    /// Where it is, if that is known without asking.
    #[cfg(feature = "cluster")]
    pub(crate) fn endpoint(&self) -> Option<&Endpoint> {
        match &self.dialer.target {
            Target::Endpoint(endpoint) => Some(endpoint),
            #[cfg(feature = "sentinel")]
            Target::Primary(_) => None,
        }
    }

    fn dial(&self, permit: &mut Permit<'_, Connection>) -> Result<Connection, Fault> {
        let dial = |limit| self.dialer.dial(limit);
        let connection = Permits::connect(permit, self.dialer.limits.connect, dial)?;
        self.known.set(connection.server_info());
        Ok(connection.kept(&self.dialer.upkeep))
    }

    fn wait_limits(&self, pool: Duration) -> WaitLimits {
        WaitLimits { pool, connect: self.dialer.limits.connect }
    }

    /// Makes that many connections, at least one, so that the server is known to answer.
    pub(crate) fn warm_up(&self, connections: u32) -> Result<(), Fault> {
        let mut permits = Vec::new();
        for _ in 0..connections.max(1) {
            let limit = self.dialer.limits.pool;
            let mut permit = self.wait(limit)?;
            let connection = match self.permits.take_idle(
                &mut permit,
                Connection::is_current,
                Instant::now(),
                self.wait_limits(limit),
            )? {
                Some(connection) => connection,
                None => self.dial(&mut permit)?,
            };
            permit.keep(connection);
            permits.push(permit);
        }
        Ok(())
    }
}

/// A server whose connections can be waited for before it is known what to send.
pub(crate) trait Acquire: Server {
    /// May use one connection, which nobody else does until it is dropped.
    type Permit<'a>
    where
        Self: 'a;

    /// Whether the server did not answer in time, and has not answered since.
    fn is_in_question(&self) -> bool;

    /// Waits until a connection may be used, for so long at most while others use them.
    fn wait(&self, limit: Duration) -> Result<Self::Permit<'_>, Fault>;

    /// Sends a request and receives its replies.
    fn exchange_by<'a>(&'a self, permit: &mut Self::Permit<'a>, request: &Request<'_>) -> Result<Answer, Fault>;
}

impl Acquire for Node {
    type Permit<'a> = Permit<'a, Connection>;

    fn is_in_question(&self) -> bool {
        self.permits.is_in_question()
    }

    fn wait(&self, limit: Duration) -> Result<Permit<'_, Connection>, Fault> {
        Ok(self.permits.acquire(self.wait_limits(limit))?)
    }

    /// On an idle connection, if there is one to be trusted, or else a new one. If it proves dead the request is
    /// sent once more on a new one, provided that it changes nothing or that none of it was sent (N5).
    fn exchange_by<'a>(&'a self, permit: &mut Permit<'a, Connection>, request: &Request<'_>) -> Result<Answer, Fault> {
        let (now, limits) = (Instant::now(), self.dialer.limits);
        if let Some(connection) =
            self.permits.take_idle(permit, Connection::is_current, now, self.wait_limits(limits.pool))?
        {
            match exchange_on(connection, permit, request, (now, limits.response), true) {
                Err(fault) if fault.is_dead_connection() && !(request.writes() && fault.was_sent()) => {}
                result => return result,
            }
        }
        let connection = self.dial(permit)?;
        exchange_on(connection, permit, request, (Instant::now(), limits.response), false)
    }
}

/// Sends a request, now, and receives its replies within a limit; then keeps the connection, if it may be used again.
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
    let result = connection.exchange(request, now, now + limit);
    match &result {
        Ok(answer) if answer.leaves_connection_usable() => permit.keep(connection),
        Err(fault) if fault.is_silence() => permit.note_time_out(now, had_been_idle, fault),
        _ => {}
    }
    result
}

impl Server for Node {
    fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault> {
        self.exchange_by(&mut self.wait(self.dialer.limits.pool)?, request)
    }

    fn known(&self) -> &KnownCommands {
        &self.known
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("target", &self.dialer.target).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_remembered_for_as_long_as_the_server_is_the_same() {
        let without_copy = Commands::ALL.without(Commands::COPY);
        let of = |run_id, commands| ServerInfo { commands, run_id };
        for (first, same, other) in [
            (of(Some(1), Commands::ALL), of(Some(1), Commands::ALL), of(Some(2), Commands::ALL)),
            // It does not tell which process it is.
            (of(None, Commands::ALL), of(None, Commands::ALL), of(None, Commands::ALL.without(Commands::WHOLE))),
        ] {
            let known = KnownCommands::new();
            known.set(first);
            known.remove(Commands::COPY);
            assert_eq!(known.get(), without_copy);
            known.set(same);
            assert_eq!(known.get(), without_copy);
            known.set(other);
            assert!(known.get().has(Commands::COPY));
            known.set(same);
            assert!(known.get().has(Commands::COPY));
        }
    }

    #[test]
    fn a_refusal_is_remembered_for_a_time_and_what_the_server_never_had_stays_so() {
        let known = KnownCommands::new();
        known.set(ServerInfo { commands: Commands::ALL.without(Commands::PERSIST), run_id: Some(1) });
        known.remove(Commands::EVAL);
        known.remove(Commands::COPY);
        let had = Commands::ALL.without(Commands::PERSIST);
        let refused = had.without(Commands::EVAL).without(Commands::COPY);
        let at = |passed: Duration| known.get_at(|| Instant::now() + passed);
        assert_eq!((at(Duration::ZERO), at(REFUSAL_LASTS / 2)), (refused, refused));
        assert_eq!((at(REFUSAL_LASTS), at(Duration::ZERO)), (had, had));
    }
}
