//! What the connections for tasks exchange with a server. No other file of this folder knows the protocol.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use super::Health;
use super::driver::Prepared;
use super::queue::Ask;
use super::state::Job;
use crate::connection::channel::Channel;
use crate::protocol::fault::Fault;
use crate::protocol::handshake::ServerInfo;
use crate::protocol::incoming::Incoming;
use crate::protocol::owned::{Outgoing, OwnedRequest};
use crate::protocol::reply::{Reply, are_refused};
use crate::protocol::ttl::Moment;

pub(super) use crate::connection::exchange::Connection;

/// What a caller gets: a reply to each command.
pub(super) type Answer = Vec<Reply>;

/// A request, and the replies to it.
pub(crate) struct Exchange {
    request: Arc<OwnedRequest>,
    /// How many bytes it has for the server of the connection that has taken it.
    length: usize,
    replies: Vec<Reply>,
}

impl Ask for Arc<OwnedRequest> {
    fn is_short(&self) -> bool {
        OwnedRequest::is_short(self)
    }

    fn exchange(&self) -> Exchange {
        Exchange { request: Self::clone(self), length: 0, replies: Vec::with_capacity(self.count()) }
    }
}

impl Exchange {
    pub(super) fn begin_again(&mut self) {
        self.replies.clear();
    }

    pub(super) fn writes(&self) -> bool {
        self.request.writes()
    }

    /// How many bytes are sent before those of the next request.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Whether some of it was sent, and answered.
    pub(super) fn is_begun(&self) -> bool {
        !self.replies.is_empty()
    }
}

/// What a connection has for the requests that it sends together.
pub(super) struct Wire {
    server: ServerInfo,
    /// Whether dates are made with the server's clock even if that is slow.
    accepts_slow_clock: bool,
    outgoing: Outgoing,
    /// The request whose replies are received.
    current: usize,
}

impl Wire {
    pub(super) fn new(connection: Connection, health: &Health) -> (Channel, Self) {
        let Connection { channel, server, .. } = connection;
        let outgoing = Outgoing::new(channel.has_records());
        let accepts_slow_clock = health.had_slow_clock.swap(false, Ordering::Relaxed);
        (channel, Self { server, accepts_slow_clock, outgoing, current: 0 })
    }

    /// Prepares what is sent. Requests that the server does not take are taken out.
    pub(super) fn prepare(&mut self, jobs: &mut Vec<Job>, now: Instant, was_kept: bool, health: &Health) -> Prepared {
        if was_kept && !self.has_clock_for(jobs, now, health) {
            return Prepared { refused: Vec::new(), is_usable: false };
        }
        self.outgoing.clear();
        let mut faults = Vec::new();
        let is_refused = |job: &mut Job| match self.outgoing.add(&job.exchange.request, &self.server, now) {
            Ok(length) => {
                job.exchange.length = length;
                false
            }
            Err(fault) => {
                faults.push(fault);
                true
            }
        };
        let refused = jobs.extract_if(.., is_refused).collect::<Vec<_>>();
        self.current = 0;
        Prepared { refused: refused.into_iter().zip(faults).collect(), is_usable: true }
    }

    /// Whether dates can be made with the server's clock now, if a request needs that. What a new connection says is taken as it is.
    fn has_clock_for(&self, jobs: &[Job], now: Instant, health: &Health) -> bool {
        if !jobs.iter().any(|job| job.exchange.request.needs_clock()) {
            return true;
        }
        let is_slow = self.server.has_slow_clock() && !self.accepts_slow_clock;
        if is_slow {
            health.had_slow_clock.store(true, Ordering::Relaxed);
        }
        !is_slow && self.server.has_fresh_clock(Moment { instant: now, time: SystemTime::now() })
    }

    /// What is to be sent at once after this many bytes; nothing at the end.
    pub(super) fn after<'a>(&'a self, written: usize, _jobs: &'a [Job]) -> Option<&'a [u8]> {
        self.outgoing.after(written)
    }

    /// Takes the replies that are complete. Returns whether these were the last ones.
    pub(super) fn receive(&mut self, jobs: &mut [Job], incoming: &mut Incoming) -> Result<bool, Fault> {
        let count = jobs.len();
        while let Some(Job { exchange, .. }) = jobs.get_mut(self.current) {
            let Some(reply) = exchange.request.receive(exchange.replies.len(), incoming, &self.server)? else {
                if exchange.replies.len() < exchange.request.count() {
                    return Ok(false);
                }
                self.current += 1;
                continue;
            };
            let is_in_doubt = self.server.dialect.doubts_what_follows(&reply);
            exchange.replies.push(reply);
            if is_in_doubt && (exchange.replies.len() < exchange.request.count() || self.current + 1 < count) {
                return Err(Fault::Desynchronized);
            }
        }
        Ok(true)
    }

    /// Gives a caller its replies. Returns whether the connection may be used again: an error of the server does not say to which command it
    /// belongs, so the next reply may belong to any command.
    #[expect(clippy::unused_self, reason = "on redis an answer says which server it is from")]
    pub(super) fn answer(&self, job: Job) -> bool {
        let is_usable = !are_refused(&job.exchange.replies);
        job.end(|exchange| Ok(exchange.replies));
        is_usable
    }

    /// What a server says that refuses a request before it has received all of it.
    pub(super) fn refusal(&self, jobs: &mut [Job], written: usize) -> Option<Fault> {
        self.outgoing.after(written)?;
        let [Job { exchange, .. }] = jobs else { return None };
        match exchange.replies.pop()? {
            Reply::Refused(refusal) if exchange.request.count() == 1 => Some(Fault::Refused(refusal)),
            _ => None,
        }
    }

    /// Prepares nothing more: a memcached request has one part.
    #[expect(clippy::unused_self, reason = "on redis some requests have two parts")]
    pub(super) fn goes_on(&mut self, _jobs: &mut [Job]) -> bool {
        false
    }

    /// The fault as it is: the store knows which server it asked.
    #[expect(clippy::unused_self, reason = "on redis a connection knows its server")]
    pub(super) fn at_server(&self, fault: Fault) -> Fault {
        fault
    }
}
