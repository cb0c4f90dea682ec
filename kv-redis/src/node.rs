//! One server, and the pool of connections to it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use r2d2::{ManageConnection, NopErrorHandler, Pool, PooledConnection};
use scheduled_thread_pool::ScheduledThreadPool;

use crate::address::Place;
use crate::commands::Commands;
use crate::fault::{Fault, Limits};
use crate::link::{Answer, Link, Login};
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

/// A place in the pool, with a connection or without.
///
/// The pool limits how many there are and hands out the one that was used last. The connections are made by who needs
/// one, not by the threads of the pool: so an error comes at once, with its cause, and a server that is back is used at
/// once.
#[derive(Default)]
pub(crate) struct Slot(Option<Link>);

pub(crate) struct Slots;

impl ManageConnection for Slots {
    type Connection = Slot;
    type Error = Infallible;

    fn connect(&self) -> Result<Slot, Infallible> {
        Ok(Slot::default())
    }

    fn is_valid(&self, _: &mut Slot) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Slot) -> bool {
        false
    }
}

/// r2d2 has its connections made by threads. Ours cost nothing to make: one thread does for all pools.
static THREADS: OnceLock<Arc<ScheduledThreadPool>> = OnceLock::new();

fn make_threads() -> Arc<ScheduledThreadPool> {
    Arc::new(ScheduledThreadPool::builder().num_threads(1).thread_name_pattern("kv-redis-pool").build())
}

/// Makes sure that pools can be made: without a thread to be had, that would panic.
pub(crate) fn start_threads() -> io::Result<()> {
    if THREADS.get().is_none() {
        drop(thread::Builder::new().spawn(|| {})?.join());
        THREADS.get_or_init(make_threads);
    }
    Ok(())
}

pub(crate) struct Node {
    dialer: Dialer,
    pool: Pool<Slots>,
    known: Known,
}

impl Node {
    /// A node to which there is no connection yet.
    pub(crate) fn new(dialer: Dialer, pool_size: u32) -> Self {
        let pool = Pool::builder()
            .max_size(pool_size)
            // None is made before it is needed: it would be used before one that is connected.
            .min_idle(Some(0))
            .connection_timeout(dialer.limits.pool)
            .test_on_check_out(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .error_handler(Box::new(NopErrorHandler))
            .thread_pool(Arc::clone(THREADS.get_or_init(make_threads)))
            .build_unchecked(Slots);
        Self { dialer, pool, known: Known::new() }
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
        let mut slots = Vec::new();
        for _ in 0..connections.max(1) {
            let mut slot = self.pool.get().map_err(|_| Fault::PoolExhausted)?;
            if slot.0.is_none() {
                slot.0 = Some(self.dial()?);
            }
            slots.push(slot);
        }
        Ok(())
    }
}

/// A server whose connections can be waited for before it is known what to send.
pub(crate) trait Lanes: Server {
    /// A place in the pool that nobody else uses until it is dropped.
    type Slot;

    /// Waits for a place, for so long at most.
    fn wait(&self, limit: Duration) -> Result<Self::Slot, Fault>;

    /// Sends a request from this place and receives its replies.
    fn exchange_from(&self, slot: &mut Self::Slot, request: &Request<'_>) -> Result<Answer, Fault>;
}

impl Lanes for Node {
    type Slot = PooledConnection<Slots>;

    fn wait(&self, limit: Duration) -> Result<Self::Slot, Fault> {
        self.pool.get_timeout(limit).map_err(|_| Fault::PoolExhausted)
    }

    /// With the connection that is there, if it is one to be trusted, or else a new one. If it proves dead the request is
    /// sent once more on a new one, provided that it changes nothing or that none of it was sent (N5).
    fn exchange_from(&self, slot: &mut Self::Slot, request: &Request<'_>) -> Result<Answer, Fault> {
        let (now, limit) = (Instant::now(), self.dialer.limits.response);
        if let Some(mut link) = slot.0.take().filter(|link| link.is_trustworthy(now)) {
            if !link.commands().has(request.needs()) {
                return Err(lacks(slot, link));
            }
            match link.exchange(request, now, now + limit) {
                Err(fault) if fault.is_dead_connection() && !(request.writes() && fault.was_sent()) => {}
                Err(fault) => return Err(fault),
                Ok(answer) => {
                    slot.0 = Some(link).filter(|_| answer.leaves_connection_usable());
                    return Ok(answer);
                }
            }
        }
        let mut link = self.dial()?;
        if !link.commands().has(request.needs()) {
            return Err(lacks(slot, link));
        }
        let now = Instant::now();
        let answer = link.exchange(request, now, now + limit)?;
        slot.0 = Some(link).filter(|_| answer.leaves_connection_usable());
        Ok(answer)
    }
}

/// Keeps a connection on which a request was not sent.
fn lacks(slot: &mut Slot, link: Link) -> Fault {
    let commands = link.commands();
    slot.0 = Some(link);
    Fault::Lacks(commands)
}

impl Server for Node {
    fn exchange(&self, request: &Request<'_>) -> Result<Answer, Fault> {
        self.exchange_from(&mut self.wait(self.dialer.limits.pool)?, request)
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
