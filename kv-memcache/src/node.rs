//! One server, and the pool of connections to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::address::Place;
use crate::credentials::Source;
use crate::fault::{Fault, Limits};
use crate::gate::{Entry, Gate, Patience};
use crate::greeting::About;
use crate::link::{Link, Opening};
use crate::reply::Reply;
use crate::request::Request;
use crate::resolve::Names;
use crate::upkeep::{Sweeper, Upkeep};

/// How connections to a server are made.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(crate) place: Place,
    pub(crate) names: Arc<Names>,
    pub(crate) credentials: Source,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::tls::Connector>,
    pub(crate) classic: bool,
    pub(crate) limits: Limits,
    pub(crate) upkeep: Upkeep,
    /// One for all nodes of a store.
    pub(crate) sweeper: Arc<Sweeper>,
}

impl Dialer {
    /// Makes a connection, within this limit.
    fn dial(&self, is_taciturn: bool, limit: Duration) -> Result<Link, Fault> {
        let opening = Opening {
            place: &self.place,
            names: &self.names,
            #[cfg(feature = "tls")]
            tls: self.tls.as_ref(),
            credentials: &self.credentials,
            classic: self.classic,
            is_taciturn,
            deadline: Instant::now() + limit,
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
        Self {
            largest_item: Some(packed & !Self::LACKS_CLOCK).filter(|&size| size > 0),
            lacks_clock: packed & Self::LACKS_CLOCK != 0,
        }
    }
}

/// After so many connections in a row that a proxy closed when it was asked what it is, it is not asked any more.
const TACITURN_FROM: u8 = 2;

pub(crate) struct Node {
    dialer: Dialer,
    gate: Gate<Link>,
    /// What messages call it.
    name: String,
    /// A [`Known`], packed.
    known: AtomicU64,
    /// How many connections in a row it has closed when it was asked what it is.
    closed_when_asked: AtomicU8,
}

impl Node {
    /// A node to which there is no connection yet.
    pub(crate) fn new(dialer: Dialer, pool_size: u32) -> Self {
        Self {
            name: dialer.place.to_string(),
            gate: Gate::new(pool_size, dialer.upkeep, Arc::clone(&dialer.sweeper)),
            dialer,
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
        let mut entry = self.gate.enter(self.patience())?;
        let link = match self.gate.trusted(&mut entry, Link::is_current, Instant::now(), self.patience())? {
            Some(link) => link,
            None => self.dial(&mut entry)?,
        };
        let known = Known::of(link.server());
        self.learn(known);
        entry.keep(link);
        Ok(known)
    }

    fn learn(&self, known: Known) {
        self.known.store(known.pack(), Ordering::Relaxed);
    }

    /// Makes a connection, and learns from it.
    fn dial(&self, entry: &mut Entry<'_, Link>) -> Result<Link, Fault> {
        let closed = self.closed_when_asked.load(Ordering::Relaxed);
        let dial = |limit| self.dialer.dial(closed >= TACITURN_FROM, limit);
        let link = Gate::dial(entry, self.dialer.limits.connect, dial)?;
        let about = link.server();
        let closed = if about.is_taciturn { closed.saturating_add(1) } else { 0 };
        self.closed_when_asked.store(closed, Ordering::Relaxed);
        self.learn(Known::of(about));
        Ok(link.kept(&self.dialer.upkeep))
    }

    /// Sends a request and receives its replies, on an idle connection, if there is one to be trusted, or else on a new one. If
    /// the idle one proves dead the request is sent once more on a new one, provided that it changes nothing or that none of
    /// it was sent (N5).
    pub(crate) fn exchange(&self, request: Request<'_>) -> Result<Vec<Reply>, Fault> {
        let mut entry = self.gate.enter(self.patience())?;
        let (now, limit) = (Instant::now(), self.dialer.limits.response);
        let mut has_slow_clock = false;
        let serves = |link: &Link| {
            let (is_current, is_on_time) = (link.is_current(), !request.needs_clock() || link.knows_the_time(now));
            has_slow_clock = is_current && !is_on_time && link.has_slow_clock();
            is_current && is_on_time
        };
        if let Some(link) = self.gate.trusted(&mut entry, serves, now, self.patience())? {
            let result = exchange_on(link, &mut entry, request, (now, limit), true);
            if !result.as_ref().is_err_and(|fault| fault.may_be_repeated(request.writes())) {
                return result;
            }
        }
        let mut link = self.dial(&mut entry)?;
        if has_slow_clock {
            link.accept_slow_clock();
        }
        exchange_on(link, &mut entry, request, (Instant::now(), limit), false)
    }

    fn patience(&self) -> Patience {
        Patience { pool: self.dialer.limits.pool, connect: self.dialer.limits.connect }
    }
}

/// Sends a request, now, and receives its replies within a limit; then keeps the connection, if it may be used again.
fn exchange_on(
    mut link: Link,
    entry: &mut Entry<'_, Link>,
    request: Request<'_>,
    (now, limit): (Instant, Duration),
    had_been_idle: bool,
) -> Result<Vec<Reply>, Fault> {
    let result = link.exchange(request, now, now + limit);
    match &result {
        Err(fault) if fault.is_silence() => entry.was_not_answered(now, had_been_idle, fault),
        result if is_usable_after(result) => entry.keep(link),
        _ => {}
    }
    result
}

/// Whether the connection may be used again. An error of the server does not say to which command it belongs: what comes after
/// it is in doubt.
fn is_usable_after(result: &Result<Vec<Reply>, Fault>) -> bool {
    match result {
        Ok(replies) => !replies.iter().any(|reply| matches!(reply, Reply::Refused(_))),
        Err(fault) => fault.index().is_some(),
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("dialer", &self.dialer).finish_non_exhaustive()
    }
}
