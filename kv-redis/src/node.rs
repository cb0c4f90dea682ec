//! One server, and the pool of connections to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::address::Place;
use crate::commands::Commands;
use crate::fault::{Fault, Limits};
use crate::link::{Answer, Link, Login};
use crate::mapping::Mapping;
use crate::pool::{PerProcess, Permit, Pool};
use crate::request::Request;
use crate::resolve::Names;
use crate::socket::Reach;

/// What takes requests: a server, or a pool of connections to one that the application made.
pub(crate) trait Server: Send + Sync {
    /// Sends a request and receives its replies.
    ///
    /// If it lacks what the request needs, as far as is known of the connection, nothing is sent ([`Fault::Lacks`]).
    fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault>;

    /// What the server has, as far as is known.
    fn known(&self) -> &Known;
}

/// What a server has, as the last connection was told that was made, without what the server refused since.
pub(crate) struct Known(AtomicU8);

impl Known {
    pub(crate) const fn new() -> Self {
        Self(AtomicU8::new(Commands::ALL.bits()))
    }

    pub(crate) fn get(&self) -> Commands {
        Commands::of_bits(self.0.load(Relaxed))
    }

    pub(crate) fn set(&self, commands: Commands) {
        self.0.store(commands.bits(), Relaxed);
    }

    /// Notes that the server refused something.
    pub(crate) fn remove(&self, refused: Commands) {
        self.0.fetch_and(Commands::ALL.without(refused).bits(), Relaxed);
    }
}

/// How connections to a server are made.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(crate) target: Target,
    pub(crate) login: Login,
    pub(crate) names: Arc<Names>,
    #[cfg_attr(
        not(any(feature = "cluster", feature = "sentinel")),
        allow(dead_code, reason = "nobody announces addresses")
    )]
    pub(crate) mapping: Mapping,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::tls::Connector>,
    pub(crate) limits: Limits,
}

/// Where a server is.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Place(Place),
    /// Where sentinels say that the primary is.
    #[cfg(feature = "sentinel")]
    Primary(Arc<crate::sentinel::Sentinels>),
}

impl Dialer {
    /// Makes a connection, within the limit for that.
    pub(crate) fn dial(&self) -> Result<Link, Fault> {
        let deadline = Instant::now() + self.limits.connect;
        match &self.target {
            Target::Place(place) => self.dial_at(place, &self.login, deadline),
            #[cfg(feature = "sentinel")]
            Target::Primary(sentinels) => sentinels.dial_primary(self, deadline),
        }
    }

    pub(crate) fn dial_at(&self, place: &Place, login: &Login, deadline: Instant) -> Result<Link, Fault> {
        self.open(place, Reach::TheServer, login, deadline)
    }

    /// The same where any of the addresses of a name will do.
    #[cfg(any(feature = "cluster", feature = "sentinel"))]
    pub(crate) fn dial_any_at(&self, place: &Place, login: &Login, deadline: Instant) -> Result<Link, Fault> {
        self.open(place, Reach::Any, login, deadline)
    }

    fn open(&self, place: &Place, reach: Reach, login: &Login, deadline: Instant) -> Result<Link, Fault> {
        Link::open(
            place,
            (&self.names, reach),
            #[cfg(feature = "tls")]
            self.tls.as_ref(),
            login,
            deadline,
        )
    }

    /// The same for another server.
    #[cfg(feature = "cluster")]
    pub(crate) fn at(&self, place: Place) -> Self {
        Self { target: Target::Place(place), ..self.clone() }
    }
}

pub(crate) struct Node {
    dialer: Dialer,
    pool_size: u32,
    pool: PerProcess<Pool<Link>>,
    known: Known,
}

impl Node {
    /// A node to which there is no connection yet.
    pub(crate) fn new(dialer: Dialer, pool_size: u32) -> Self {
        Self { dialer, pool_size, pool: PerProcess::new(Pool::new(pool_size)), known: Known::new() }
    }

    /// Where it is, if that is known without asking.
    #[cfg(feature = "cluster")]
    pub(crate) fn place(&self) -> Option<&Place> {
        match &self.dialer.target {
            Target::Place(place) => Some(place),
            #[cfg(feature = "sentinel")]
            Target::Primary(_) => None,
        }
    }

    fn dial(&self) -> Result<Link, Fault> {
        let link = self.dialer.dial()?;
        self.known.set(link.commands());
        Ok(link)
    }

    /// Makes that many connections, at least one, so that the server is known to answer.
    pub(crate) fn warm_up(&self, connections: u32) -> Result<(), Fault> {
        let mut permits = Vec::new();
        for _ in 0..connections.max(1) {
            let mut permit = self.wait(self.dialer.limits.pool)?;
            if permit.connection.is_none() {
                permit.connection = Some(self.dial()?);
            }
            permits.push(permit);
        }
        Ok(())
    }
}

/// A server whose connections can be waited for before it is known what to send.
pub(crate) trait Lanes: Server {
    /// May use one connection, which nobody else does until it is dropped.
    type Permit<'a>
    where
        Self: 'a;

    /// Waits for a permit, for so long at most.
    fn wait(&self, limit: Duration) -> Result<Self::Permit<'_>, Fault>;

    /// Sends a request and receives its replies.
    fn exchange_by<'a>(&'a self, permit: &mut Self::Permit<'a>, request: &Request<'_>) -> Result<Answer, Fault>;
}

impl Lanes for Node {
    type Permit<'a> = Permit<'a, Link>;

    fn wait(&self, limit: Duration) -> Result<Permit<'_, Link>, Fault> {
        if let Some(permit) = self.pool.get().try_take() {
            return Ok(permit);
        }
        self.wait_for_own(limit)
    }

    /// With the connection that is there, if it is one to be trusted, or else a new one. If it proves dead the request is
    /// sent once more on a new one, provided that it changes nothing or that none of it was sent (N5).
    fn exchange_by<'a>(&'a self, permit: &mut Permit<'a, Link>, request: &Request<'_>) -> Result<Answer, Fault> {
        let (now, limit) = (Instant::now(), self.dialer.limits.response);
        if let Some(mut link) = self.trusted(permit, now)? {
            if !link.commands().has(request.needs()) {
                return Err(lacks(permit, link));
            }
            match link.exchange(request, now, now + limit) {
                Err(fault) if fault.is_dead_connection() && !(request.writes() && fault.was_sent()) => {}
                Err(fault) => {
                    if fault.is_silence() {
                        // The path may have forgotten all that were there before.
                        self.pool.get().close_idle(|idle| idle.last_used() < now);
                    }
                    return Err(fault);
                }
                Ok(answer) => {
                    permit.connection = Some(link).filter(|_| answer.leaves_connection_usable());
                    return Ok(answer);
                }
            }
        }
        let mut link = self.dial()?;
        if !link.commands().has(request.needs()) {
            return Err(lacks(permit, link));
        }
        let now = Instant::now();
        let answer = link.exchange(request, now, now + limit)?;
        permit.connection = Some(link).filter(|_| answer.leaves_connection_usable());
        Ok(answer)
    }
}

impl Node {
    /// Waits for a permit of this process, for so long at most.
    fn wait_for_own(&self, limit: Duration) -> Result<Permit<'_, Link>, Fault> {
        let pool = self.pool.own(|inherited| inherited.of_child(self.pool_size));
        pool.take(limit).ok_or(Fault::PoolExhausted)
    }

    /// The connection that a permit came with, if it may be used: it was used just before, or it is this process's, has not been closed,
    /// and has brought nothing that nobody asked for (N4). In a process that was forked the permit becomes one of its own.
    fn trusted<'a>(&'a self, permit: &mut Permit<'a, Link>, now: Instant) -> Result<Option<Link>, Fault> {
        let idle = permit.connection.take().filter(Link::is_current);
        if idle.as_ref().is_some_and(|link| link.was_just_used(now)) {
            return Ok(idle);
        }
        // Either way a system call follows: a look at the connection, or many to make one.
        if !self.pool.is_own(permit.pool()) {
            *permit = self.wait_for_own(self.dialer.limits.pool)?;
            return Ok(None);
        }
        Ok(idle.filter(Link::is_quiet))
    }
}

/// Keeps a connection on which a request was not sent.
fn lacks(permit: &mut Permit<'_, Link>, link: Link) -> Fault {
    let commands = link.commands();
    permit.connection = Some(link);
    Fault::Lacks(commands)
}

impl Server for Node {
    fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault> {
        self.exchange_by(&mut self.wait(self.dialer.limits.pool)?, request)
    }

    fn known(&self) -> &Known {
        &self.known
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("target", &self.dialer.target).finish_non_exhaustive()
    }
}
