//! A pool of connections to one server.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kv_core::Error;

use crate::client::Scene;
use crate::connection::{Broken, Connection};
use crate::wire::{Field, Op, Request};

/// How many connections a pool has at most: as many as the threads that the checks of outages have, so that none waits for
/// another.
pub(crate) const SIZE: usize = 16;

/// How long an operation waits for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For a connection of the pool to become free.
    pub(crate) pool: Duration,
    /// For a new connection.
    pub(crate) connect: Duration,
    /// For a request to be sent and its whole reply to come.
    pub(crate) exchange: Duration,
}

impl Limits {
    pub(crate) fn of_each(limit: Duration) -> Self {
        Self { pool: limit, connect: limit, exchange: limit }
    }

    /// The longest that an operation with one request may take (N1).
    pub(crate) fn sum(&self) -> Duration {
        self.pool + self.connect + self.exchange
    }
}

/// What takes requests to a server and brings replies back.
pub(crate) trait Transport: Send + Sync {
    /// Sends a request and receives its reply, within the limits.
    fn exchange(&self, request: &Request) -> Result<Vec<Field>, Broken>;

    fn limits(&self) -> Limits;

    /// What a caller is told of a request of this kind that has no reply.
    fn explain(&self, broken: Broken, op: Op, scene: &Scene<'_>) -> Error {
        let _ = op;
        broken.into_error(scene)
    }
}

/// A pool of connections. The operation that needs a connection makes it, so an error comes at once and with its cause, and a
/// server that is back is used at once (N6).
pub(crate) struct Pool {
    address: SocketAddr,
    limits: Limits,
    closes: Closes,
    slots: Arc<Mutex<Slots>>,
    freed: Condvar,
}

struct Slots {
    /// How many more may be borrowed.
    free: usize,
    /// Connections that nobody uses; the last was used last.
    idle: Vec<Idle>,
}

/// A connection, when it was made, and when it was used last.
struct Idle {
    connection: Connection,
    made: Instant,
    used: Instant,
}

/// Which connections a pool closes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Closes {
    /// Those that nobody has used for so long.
    pub(crate) idle: Option<Duration>,
    /// Those that are older than this.
    pub(crate) old: Option<Duration>,
    /// Whether they wait for the next operation until they are.
    pub(crate) later: bool,
    /// Whether the old ones are closed only while nobody uses them: one that is given back is not looked at.
    pub(crate) only_idle: bool,
}

impl Closes {
    /// Closes, of those that nobody uses, those that are due.
    fn sweep(self, idle: &mut Vec<Idle>) {
        let is_due = |since: Instant, after: Option<Duration>| after.is_some_and(|after| since.elapsed() > after);
        let old = |idle: &Idle| is_due(idle.made, self.old) && (!self.only_idle || is_due(idle.used, self.old));
        idle.retain(|idle| !is_due(idle.used, self.idle) && !old(idle));
    }
}

/// A slot in the pool, for as long as this lives.
struct Borrowed<'p> {
    pool: &'p Pool,
    /// The connection that is left in the slot: taken out while it is used.
    connection: Option<Idle>,
}

impl Pool {
    pub(crate) fn new(address: SocketAddr, limits: Limits) -> Self {
        Self::closing(address, limits, Closes::default())
    }

    /// A pool that closes what is idle or old, by a thread of its own, which ends with the pool.
    pub(crate) fn closing(address: SocketAddr, limits: Limits, closes: Closes) -> Self {
        let slots = Arc::new(Mutex::new(Slots { free: SIZE, idle: Vec::new() }));
        if (closes.idle.is_some() || closes.old.is_some()) && !closes.later {
            let slots = Arc::downgrade(&slots);
            thread::spawn(move || {
                while let Some(slots) = slots.upgrade() {
                    closes.sweep(&mut lock(&slots).idle);
                    drop(slots);
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
        Self { address, limits, closes, slots, freed: Condvar::new() }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        lock(&self.slots)
    }

    /// A slot in the pool, with an idle connection if there is one.
    fn borrow(&self) -> Result<Borrowed<'_>, Broken> {
        let none_free = |slots: &mut Slots| slots.free == 0;
        let waited = self.freed.wait_timeout_while(self.slots(), self.limits.pool, none_free);
        let (mut slots, _) = waited.unwrap_or_else(PoisonError::into_inner);
        slots.free = slots.free.checked_sub(1).ok_or(Broken::PoolExhausted)?;
        self.closes.sweep(&mut slots.idle);
        Ok(Borrowed { pool: self, connection: slots.idle.pop() })
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut slots = self.pool.slots();
        slots.free += 1;
        slots.idle.extend(self.connection.take());
        drop(slots);
        self.pool.freed.notify_one();
    }
}

impl Transport for Pool {
    /// On an idle connection, if it is to be trusted, or else on a new one. If the idle one proves dead the request is sent
    /// once more on a new one, provided that it changes nothing or that none of it was sent (N5).
    fn exchange(&self, request: &Request) -> Result<Vec<Field>, Broken> {
        let mut slot = self.borrow()?;
        let begun = Instant::now();
        if let Some(mut idle) = slot.connection.take().filter(|idle| idle.connection.is_quiet()) {
            match idle.connection.exchange(request, begun + self.limits.exchange) {
                Ok(reply) => {
                    slot.connection = Some(Idle { used: Instant::now(), ..idle });
                    return Ok(reply);
                }
                Err(broken) if broken.is_dead() && !(request.op.writes() && broken.is_sent()) => {}
                Err(broken) => return Err(broken),
            }
        }
        let mut connection = Connection::connect(self.address, self.limits.connect)?;
        // What the first connection took is not given to the second again.
        let last = begun + self.limits.connect + self.limits.exchange;
        let reply = connection.exchange(request, last.min(Instant::now() + self.limits.exchange))?;
        let now = Instant::now();
        slot.connection = Some(Idle { connection, made: now, used: now });
        Ok(reply)
    }

    fn limits(&self) -> Limits {
        self.limits
    }
}

fn lock(slots: &Mutex<Slots>) -> MutexGuard<'_, Slots> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}
