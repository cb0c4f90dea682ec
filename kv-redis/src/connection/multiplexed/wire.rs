//! What the connections for tasks exchange with a server. No other file of this folder knows the protocol.

use std::time::Instant;

use redis::Value as Reply;

use super::Health;
use super::driver::Prepared;
use super::queue::Ask;
use super::state::Job;
use crate::connection::channel::Channel;
use crate::protocol::answer::leave_connection_usable;
use crate::protocol::fault::Fault;
use crate::protocol::incoming::{Incoming, Received};
use crate::protocol::info::ServerInfo;
use crate::protocol::page::Page;
use crate::protocol::reply::has_shape;
use crate::protocol::request::{Request, Shape};
use crate::protocol::server_name::ServerName;

pub(super) use crate::connection::Connection;
pub(super) use crate::protocol::answer::Answer;

/// A buffer for requests that has grown beyond this is given back.
const LARGE: usize = 1 << 20;

/// A request, and the replies to it.
pub(crate) struct Exchange {
    request: Request<'static>,
    replies: Vec<Reply>,
    page: Option<Page>,
    /// How many replies belong to the part of the request that is not the current one.
    replies_before: usize,
    is_continued: bool,
}

impl Ask for Request<'_> {
    fn is_short(&self) -> bool {
        self.is_short() || self.is_short_transaction()
    }

    fn exchange(&self) -> Exchange {
        let replies = Vec::with_capacity(self.shapes().len());
        Exchange { request: self.to_owned(), replies, page: None, replies_before: 0, is_continued: false }
    }
}

impl Exchange {
    pub(super) fn begin_again(&mut self) {
        self.replies.clear();
        self.page = None;
        (self.replies_before, self.is_continued) = (0, false);
    }

    pub(super) fn writes(&self) -> bool {
        self.request.writes()
    }

    /// How many bytes are sent before those of the next request.
    pub(super) fn len(&self) -> usize {
        self.request.len()
    }

    /// Whether some of it was sent, and answered.
    pub(super) fn is_begun(&self) -> bool {
        self.replies_before > 0
    }

    /// The part of the request that is sent now.
    fn part(&self) -> &Request<'static> {
        let before = self.replies.get(..self.replies_before).unwrap_or_default();
        let next = if before.is_empty() { None } else { self.request.next(before) };
        next.unwrap_or(&self.request)
    }

    /// The shape of the next reply; `None` if there is none left.
    fn next_shape(&self) -> Option<Shape> {
        let received = self.replies.len() - self.replies_before + usize::from(self.page.is_some());
        let shapes = self.part().shapes();
        // A page among other replies is parsed like any other reply.
        let shape = shapes.get(received).copied()?;
        Some(if shape == Shape::Page && shapes.len() > 1 { Shape::Any } else { shape })
    }
}

/// What a connection has for the requests that it sends together.
pub(super) struct Wire {
    server_info: ServerInfo,
    /// The name of the server, if it is one of several.
    server: Option<ServerName>,
    /// The requests, if they are several.
    joined: Vec<u8>,
    /// The request whose replies are received.
    current: usize,
}

impl Wire {
    pub(super) fn new(connection: Connection, _health: &Health) -> (Channel, Self) {
        let Connection { channel, server_info, server, .. } = connection;
        (channel, Self { server_info, server, joined: Vec::new(), current: 0 })
    }

    /// Prepares what is sent. Requests that need commands that the server lacks are taken out.
    pub(super) fn prepare(
        &mut self,
        jobs: &mut Vec<Job>,
        _now: Instant,
        _was_kept: bool,
        _health: &Health,
    ) -> Prepared {
        self.joined.clear();
        if self.joined.capacity() > LARGE {
            self.joined = Vec::new();
        }
        let commands = self.server_info.commands;
        let lacking = jobs.extract_if(.., |job| !commands.has(job.exchange.request.needs()));
        let refused = lacking.map(|job| (job, Fault::Lacks(commands))).collect();
        if jobs.len() > 1 {
            for job in jobs {
                job.exchange.request.copy_to(&mut self.joined);
            }
        }
        self.current = 0;
        Prepared { refused, is_usable: true }
    }

    /// What is to be sent at once after this many bytes; nothing at the end.
    pub(super) fn after<'a>(&'a self, written: usize, jobs: &'a [Job]) -> Option<&'a [u8]> {
        let bytes = match jobs {
            [job] => job.exchange.part().in_one_piece().unwrap_or_default(),
            _ => &self.joined,
        };
        bytes.get(written..).filter(|rest| !rest.is_empty())
    }

    /// Takes the replies that are complete. Returns whether these were the last ones.
    pub(super) fn receive(&mut self, jobs: &mut [Job], incoming: &mut Incoming) -> Result<bool, Fault> {
        while let Some(job) = jobs.get_mut(self.current) {
            let exchange = &mut job.exchange;
            let Some(shape) = exchange.next_shape() else {
                self.current += 1;
                continue;
            };
            match incoming.next(shape)? {
                None => return Ok(false),
                Some(Received::Page(page)) => exchange.page = Some(page),
                Some(Received::Reply(reply)) if has_shape(&reply, shape) => exchange.replies.push(reply),
                Some(Received::Reply(_)) => return Err(Fault::Desynchronized),
            }
        }
        Ok(true)
    }

    /// Goes on with what a request says is sent after its replies. Returns whether there is something. Only a request that has the
    /// connection to itself has that.
    pub(super) fn goes_on(&mut self, jobs: &mut [Job]) -> bool {
        let [Job { exchange, .. }] = jobs else { return false };
        if exchange.is_continued {
            return false;
        }
        exchange.is_continued = true;
        if exchange.request.next(&exchange.replies).is_none() {
            return false;
        }
        exchange.replies_before = exchange.replies.len();
        self.current = 0;
        true
    }

    /// Gives a caller its replies. Returns whether the connection may be used again.
    pub(super) fn answer(&self, job: Job) -> bool {
        let is_usable = leave_connection_usable(&job.exchange.replies);
        let (run_id, server) = (self.server_info.run_id, self.server.clone());
        job.end(|Exchange { replies, page, .. }| Ok(Answer { replies, page, run_id, server }));
        is_usable
    }

    /// What a server says that refuses a request before it has received all of it.
    pub(super) fn refusal(&self, jobs: &mut [Job], written: usize) -> Option<Fault> {
        self.after(written, jobs)?;
        let [job] = jobs else { return None };
        match job.exchange.replies.pop()? {
            Reply::ServerError(error) => Some(Fault::Refused(error.into())),
            _ => None,
        }
    }

    /// The fault with the server where it happened.
    pub(super) fn at_server(&self, fault: Fault) -> Fault {
        fault.at(self.server.as_ref())
    }
}
