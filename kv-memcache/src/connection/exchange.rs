//! A connection: requests and their replies.

use std::io::{self, Write};
use std::time::{Instant, SystemTime};

use super::channel::Channel;
use super::pool_settings::{PoolSettings, Reusable};
use super::receive;
#[cfg(feature = "tls")]
use super::tls;
use crate::protocol::fault::Fault;
use crate::protocol::handshake::ServerInfo;
use crate::protocol::incoming::Incoming;
use crate::protocol::refusal::Refusal;
use crate::protocol::reply::Reply;
use crate::protocol::request::Request;
use crate::protocol::ttl::Moment;

/// A connection that can be used: connected, authenticated, checked.
///
/// A caller takes it out of the pool, and puts it back after a complete exchange. So anything else that happens, a panic included, closes
/// it (N2).
pub(crate) struct Connection {
    pub(super) channel: Channel,
    pub(super) incoming: Incoming,
    /// The line that was received last, of the handshake.
    pub(super) line: Vec<u8>,
    last_used: Instant,
    use_until: Instant,
    pub(super) server: ServerInfo,
    /// Whether dates are made with the server's clock even if that is slow.
    accepts_slow_clock: bool,
}

impl Reusable for Connection {
    fn last_used(&self) -> Instant {
        self.last_used
    }

    fn use_until(&self) -> Instant {
        self.use_until
    }

    fn is_quiet(&self) -> bool {
        self.channel.socket().is_quiet()
    }
}

impl Connection {
    /// A connection on which nothing was sent yet.
    pub(super) fn new(channel: Channel) -> Self {
        let now = Instant::now();
        Self {
            channel,
            incoming: Incoming::default(),
            line: Vec::new(),
            last_used: now,
            use_until: now,
            server: ServerInfo::PROXY,
            accepts_slow_clock: false,
        }
    }

    /// Begins an exchange with these bytes.
    pub(super) fn say(&mut self, bytes: &[u8], now: Instant, deadline: Instant) -> Result<(), Fault> {
        self.channel.begin(now, deadline);
        let said = self.channel.write_all(bytes).and_then(|()| self.channel.flush());
        said.map_err(|cause| self.last_words(cause))
    }

    /// What the server said about itself.
    pub(crate) fn server(&self) -> &ServerInfo {
        &self.server
    }

    /// A new connection as it is kept.
    pub(crate) fn kept(mut self, pool_settings: &PoolSettings) -> Self {
        self.use_until = pool_settings.use_until(Instant::now());
        if !pool_settings.tcp_keepalive.is_zero() {
            self.channel.socket().keep_alive(pool_settings.tcp_keepalive);
        }
        self
    }

    /// Whether dates can be made with the server's clock now, or the server does not tell its time.
    pub(crate) fn has_good_clock(&self, now: Instant) -> bool {
        let is_accepted = self.accepts_slow_clock || !self.has_slow_clock();
        is_accepted && self.server.has_fresh_clock(Moment { instant: now, time: SystemTime::now() })
    }

    /// Whether the server took long to tell its time. A new connection may do better.
    pub(crate) fn has_slow_clock(&self) -> bool {
        self.server.has_slow_clock()
    }

    /// Notes that this connection replaces one with a slow clock. The next one would not be faster.
    pub(crate) fn accept_slow_clock(&mut self) {
        self.accepts_slow_clock = true;
    }

    /// Whether it leads to the server for which its host name stands now.
    pub(crate) fn is_current(&self) -> bool {
        self.channel.socket().is_current()
    }

    /// Sends a request and receives its replies: one for each command, in its shape or a server's error. After an error the connection must
    /// not be used again, unless the fault is about [one command](Fault::index).
    pub(crate) fn exchange(
        &mut self,
        request: Request<'_>,
        now: Instant,
        deadline: Instant,
    ) -> Result<Vec<Reply>, Fault> {
        let encoded = request.encode_for(&self.server, now)?;
        self.channel.begin(now, deadline);
        if let Err(cause) = self.channel.send(&encoded) {
            return Err(self.why_not_sent(cause, request.count()));
        }
        let (dialect, most) = (self.server.dialect, self.server.most());
        let mut replies = Vec::with_capacity(request.count());
        for command in request.commands() {
            let reply = receive::receive(&mut self.channel, &mut self.incoming, dialect, command, most)?;
            let is_in_doubt = dialect.doubts_what_follows(&reply);
            replies.push(reply);
            if is_in_doubt && replies.len() < request.count() {
                return Err(Fault::Desynchronized);
            }
        }
        self.end_exchange()?;
        Ok(replies)
    }

    /// Checks that no received byte is left. Such bytes are unrequested, and then the replies may belong to other commands.
    pub(super) fn end_exchange(&mut self) -> Result<(), Fault> {
        if !self.incoming.is_empty() || self.channel.has_more() {
            return Err(Fault::Desynchronized);
        }
        self.last_used = Instant::now();
        Ok(())
    }

    /// Why a request could not be sent. A server that closes the connection before it has received all of a request may have said why. That
    /// is about one command, and says nothing about the others.
    fn why_not_sent(&mut self, cause: io::Error, commands: usize) -> Fault {
        let sent = self.channel.has_sent();
        if !sent || commands > 1 { Fault::Broken { cause, sent } } else { self.last_words(cause) }
    }

    /// What a server said before it closed a connection. A server that accepts no more connections says so before it reads anything.
    fn last_words(&mut self, cause: io::Error) -> Fault {
        let sent = self.channel.has_sent();
        if cause.kind() == io::ErrorKind::TimedOut {
            return Fault::Broken { cause, sent };
        }
        match self.receive_line() {
            Ok(()) => Refusal::parse(&self.line).map_or(Fault::Broken { cause, sent }, Fault::Refused),
            #[cfg(feature = "tls")]
            Err(Fault::Broken { cause: said, .. }) if tls::advice(&said, false).is_some() => {
                Fault::Broken { cause: said, sent }
            }
            Err(_) => Fault::Broken { cause, sent },
        }
    }

    /// Receives a line, without its end.
    pub(super) fn receive_line(&mut self) -> Result<(), Fault> {
        receive::receive_line(&mut self.channel, &mut self.incoming, &mut self.line)
    }

    /// Receives a line in reply to `stats`, without its end.
    pub(super) fn receive_stat(&mut self) -> Result<(), Fault> {
        receive::receive_stat(&mut self.channel, &mut self.incoming, &mut self.line)
    }

    /// Receives as many bytes as there is room for.
    pub(super) fn receive_exactly(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        receive::receive_exactly(&mut self.channel, &mut self.incoming, bytes)
    }
}
