//! One server, and the pool of connections to it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use std::{fmt, io, thread};

use r2d2::{ManageConnection, NopErrorHandler, Pool};
use scheduled_thread_pool::ScheduledThreadPool;

use crate::address::{Credentials, Place};
use crate::fault::{Fault, Limits};
use crate::greeting::About;
use crate::link::{Link, Opening};
use crate::reply::Reply;
use crate::request::Request;
use crate::resolve::Names;

/// How connections to a server are made.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(crate) place: Place,
    pub(crate) names: Arc<Names>,
    pub(crate) credentials: Option<Credentials>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::tls::Connector>,
    pub(crate) classic: bool,
    pub(crate) limits: Limits,
}

impl Dialer {
    /// Makes a connection, within the limit for that.
    fn dial(&self, is_taciturn: bool) -> Result<Link, Fault> {
        let opening = Opening {
            place: &self.place,
            names: &self.names,
            #[cfg(feature = "tls")]
            tls: self.tls.as_ref(),
            credentials: self.credentials.as_ref(),
            classic: self.classic,
            is_taciturn,
            deadline: Instant::now() + self.limits.connect,
        };
        opening.open()
    }
}

/// What is known of a server, by the connection that was made last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The largest item that it takes, in bytes.
    pub(crate) largest_item: Option<u64>,
    /// Whether it does not tell its time.
    pub(crate) lacks_clock: bool,
}

impl Known {
    const LACKS_CLOCK: u64 = 1 << 63;

    fn of(about: &About) -> Self {
        Self { largest_item: about.largest_item, lacks_clock: about.clock.is_none() }
    }

    fn pack(self) -> u64 {
        self.largest_item.unwrap_or(0) | if self.lacks_clock { Self::LACKS_CLOCK } else { 0 }
    }

    fn unpack(packed: u64) -> Self {
        let largest_item = Some(packed & !Self::LACKS_CLOCK).filter(|&size| size > 0);
        Self { largest_item, lacks_clock: packed & Self::LACKS_CLOCK != 0 }
    }
}

/// After so many connections in a row that a proxy closed when it was asked what it is, it is not asked any more.
const TACITURN_FROM: u8 = 2;

/// A place in the pool, with a connection or without.
///
/// The pool limits how many there are and hands out the one that was used last. The connections are made by who needs
/// one, not by the threads of the pool: so an error comes at once, with its cause, and a server that is back is used at
/// once.
#[derive(Default)]
struct Slot(Option<Link>);

struct Slots;

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

pub(crate) struct Node {
    dialer: Dialer,
    pool: Pool<Slots>,
    /// What messages call it.
    name: String,
    made_at: Instant,
    /// Connections that were used last before this, in nanoseconds since the node was made, are not trusted any more.
    distrusted: AtomicU64,
    /// A [`Known`], packed.
    known: AtomicU64,
    /// How many connections in a row it has closed when it was asked what it is.
    closed_when_asked: AtomicU8,
}

/// r2d2 has its connections made by threads. Ours cost nothing to make: one thread does for all pools. An error if there is no
/// thread to be had.
pub(crate) fn threads() -> io::Result<&'static Arc<ScheduledThreadPool>> {
    static THREADS: OnceLock<Arc<ScheduledThreadPool>> = OnceLock::new();
    if THREADS.get().is_none() {
        // The pool would panic.
        drop(thread::Builder::new().spawn(|| {})?.join());
    }
    let make = || ScheduledThreadPool::builder().num_threads(1).thread_name_pattern("kv-memcache-pool").build();
    Ok(THREADS.get_or_init(|| Arc::new(make())))
}

impl Node {
    /// A node to which there is no connection yet.
    pub(crate) fn new(dialer: Dialer, pool_size: u32, threads: &Arc<ScheduledThreadPool>) -> Self {
        let pool = Pool::builder()
            .max_size(pool_size)
            // None is made before it is needed: it would be used before one that is connected.
            .min_idle(Some(0))
            .connection_timeout(dialer.limits.pool)
            .test_on_check_out(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .error_handler(Box::new(NopErrorHandler))
            .thread_pool(Arc::clone(threads))
            .build_unchecked(Slots);
        Self {
            name: dialer.place.to_string(),
            dialer,
            pool,
            made_at: Instant::now(),
            distrusted: AtomicU64::new(0),
            known: AtomicU64::new(Known::default().pack()),
            closed_when_asked: AtomicU8::new(0),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What is known of the server.
    pub(crate) fn known(&self) -> Known {
        Known::unpack(self.known.load(Ordering::Relaxed))
    }

    /// Makes a connection unless there is one to be trusted, so that the server is known to answer, and what is known of it is right.
    pub(crate) fn warm_up(&self) -> Result<Known, Fault> {
        let mut slot = self.pool.get().map_err(|_| Fault::PoolExhausted)?;
        let now = Instant::now();
        let link = match slot.0.take().filter(|link| link.is_trustworthy(now)) {
            Some(link) => link,
            None => self.dial()?,
        };
        let known = Known::of(link.server());
        self.learn(known);
        slot.0 = Some(link);
        Ok(known)
    }

    fn learn(&self, known: Known) {
        self.known.store(known.pack(), Ordering::Relaxed);
    }

    /// Makes a connection, and learns from it.
    fn dial(&self) -> Result<Link, Fault> {
        let closed = self.closed_when_asked.load(Ordering::Relaxed);
        let link = self.dialer.dial(closed >= TACITURN_FROM)?;
        let about = link.server();
        let closed = if about.is_taciturn { closed.saturating_add(1) } else { 0 };
        self.closed_when_asked.store(closed, Ordering::Relaxed);
        self.learn(Known::of(about));
        Ok(link)
    }

    /// Sends a request and receives its replies, on an idle connection, if there is one to be trusted, or else on a new one. If
    /// the idle one proves dead the request is sent once more on a new one, provided that it changes nothing or that none of
    /// it was sent (N5).
    pub(crate) fn exchange(&self, request: Request<'_>) -> Result<Vec<Reply>, Fault> {
        let mut slot = self.pool.get().map_err(|_| Fault::PoolExhausted)?;
        let (now, limit) = (Instant::now(), self.dialer.limits.response);
        if let Some(mut link) = slot.0.take().filter(|link| self.trusts(link, request, now)) {
            let result = link.exchange(request, now, now + limit);
            if result.as_ref().is_err_and(Fault::is_silence) {
                self.distrusted.fetch_max(self.stamp(now), Ordering::Relaxed);
            }
            if !result.as_ref().is_err_and(|fault| fault.may_be_repeated(request.writes())) {
                slot.0 = Some(link).filter(|_| is_usable_after(&result));
                return result;
            }
        }
        let mut link = self.dial()?;
        let now = Instant::now();
        let result = link.exchange(request, now, now + limit);
        slot.0 = Some(link).filter(|_| is_usable_after(&result));
        result
    }

    /// Whether an idle connection may be used for this request. Where one was silent, the path may have forgotten all that were
    /// made before.
    fn trusts(&self, link: &Link, request: Request<'_>, now: Instant) -> bool {
        self.stamp(link.last_used()) >= self.distrusted.load(Ordering::Relaxed)
            && (!request.needs_clock() || link.knows_the_time(now))
            && link.is_trustworthy(now)
    }

    fn stamp(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.made_at).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Whether the connection may be used again. An error of the server does not say to which command it belongs: what comes after
/// it is in doubt.
fn is_usable_after(result: &Result<Vec<Reply>, Fault>) -> bool {
    match result {
        Ok(replies) => !replies.iter().any(|reply| matches!(reply, Reply::Refused(_))),
        Err(fault) => matches!(fault, Fault::ItemTooLarge { .. } | Fault::TtlTooLong { .. }),
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("dialer", &self.dialer).finish_non_exhaustive()
    }
}
