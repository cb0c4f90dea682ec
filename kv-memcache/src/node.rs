//! One server, and the pool of connections to it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use std::{fmt, io, thread};

use r2d2::{ManageConnection, NopErrorHandler, Pool};
use scheduled_thread_pool::ScheduledThreadPool;

use crate::address::{Credentials, Place};
use crate::fault::{Fault, Limits};
use crate::link::Link;
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
    pub(crate) limits: Limits,
}

impl Dialer {
    /// Makes a connection, within the limit for that.
    fn dial(&self) -> Result<Link, Fault> {
        let deadline = Instant::now() + self.limits.connect;
        Link::open(
            &self.place,
            &self.names,
            #[cfg(feature = "tls")]
            self.tls.as_ref(),
            self.credentials.as_ref(),
            deadline,
        )
    }
}

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
        Self { name: dialer.place.to_string(), dialer, pool, made_at: Instant::now(), distrusted: AtomicU64::new(0) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Makes a connection unless there is one, so that the server is known to answer. The largest item that it takes, in bytes.
    pub(crate) fn warm_up(&self) -> Result<u64, Fault> {
        let mut slot = self.pool.get().map_err(|_| Fault::PoolExhausted)?;
        let link = match slot.0.take() {
            Some(link) => link,
            None => self.dialer.dial()?,
        };
        let largest_item = link.largest_item();
        slot.0 = Some(link);
        Ok(largest_item)
    }

    /// Sends a request and receives its replies, on an idle connection, if there is one to be trusted, or else on a new one. If
    /// the idle one proves dead the request is sent once more on a new one, provided that it changes nothing or that none of
    /// it was sent (N5).
    pub(crate) fn exchange(&self, request: &mut Request<'_>) -> Result<Vec<Reply>, Fault> {
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
        let mut link = self.dialer.dial()?;
        let now = Instant::now();
        let result = link.exchange(request, now, now + limit);
        slot.0 = Some(link).filter(|_| is_usable_after(&result));
        result
    }

    /// Whether an idle connection may be used for this request. Where one was silent, the path may have forgotten all that were
    /// made before.
    fn trusts(&self, link: &Link, request: &Request<'_>, now: Instant) -> bool {
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
