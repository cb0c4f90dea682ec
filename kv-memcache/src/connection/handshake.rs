//! How a connection is made: connecting, then the handshake that finds out what the server is.

use std::io;
use std::time::{Instant, SystemTime};

use super::channel::Channel;
use super::credentials::{Credentials, Source};
use super::endpoint::Endpoint;
use super::exchange::Connection;
use super::resolve::Resolver;
use super::socket::{AddressChoice, Socket};
#[cfg(feature = "tls")]
use super::tls;
use crate::protocol::fault::Fault;
use crate::protocol::handshake::{self, Handshake, Step};
use crate::protocol::refusal::Refusal;
use crate::protocol::ttl::Moment;
use crate::protocol::{binary, foreign_protocols};

/// The cause of a time-out of a server that accepted the connection.
const SAYS_NOTHING: &str = "the server took the connection and said nothing: it may be stopped, take no more connections (-c), or not be a memcached";

/// How often a server has to close the connection at `stats` and then answer a question about a key, before it counts as a proxy. A server
/// that restarts may do that by chance.
const PROXY_ROUNDS: usize = 5;

/// The same, if the conclusion is an error that is not transient. On a network that cut connections all the time, five rounds happened by
/// chance.
const PROXY_ROUNDS_OF_AN_ERROR: usize = 10;

/// How a connection is made.
pub(crate) struct ConnectOptions<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) resolver: &'a Resolver,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<&'a tls::Connector>,
    pub(crate) credentials: &'a Source,
    /// Whether the classic commands are to be used.
    pub(crate) classic: bool,
    /// Whether the server is known to close connections at `stats`.
    pub(crate) closes_on_stats: bool,
    pub(crate) deadline: Instant,
}

impl ConnectOptions<'_> {
    /// Connects, and checks that the server is suitable. One round trip, besides those of TCP and TLS.
    pub(crate) fn connect(&self) -> Result<Connection, Fault> {
        let mut connection = self.open()?;
        if self.closes_on_stats {
            if let Ok(()) = connection.ask_proxy(self.deadline) {
                return Ok(connection);
            }
            connection = self.open()?;
        }
        let provided = self.credentials.ask(self.deadline)?;
        self.shake_hands(connection, provided.credentials.as_ref()).map_err(|fault| provided.blame(fault))
    }

    /// A connection on which nothing was sent yet.
    fn open(&self) -> Result<Connection, Fault> {
        let socket = Socket::connect(self.endpoint, self.resolver, AddressChoice::Chosen, self.deadline)
            .map_err(Fault::NotConnected)?;
        #[cfg(feature = "tls")]
        let channel = match (self.endpoint, self.tls) {
            (Endpoint::Tcp { host, .. }, Some(connector)) => {
                Channel::Tls(Box::new(connector.wrap(host, socket).map_err(|cause| self.not_connected(cause))?))
            }
            _ => Channel::Plain(socket),
        };
        #[cfg(not(feature = "tls"))]
        let channel = Channel::Plain(socket);
        Ok(Connection::new(channel))
    }

    fn shake_hands(&self, mut connection: Connection, credentials: Option<&Credentials>) -> Result<Connection, Fault> {
        let mut has_answered = false;
        match connection.shake_hands(credentials, self.classic, self.deadline, &mut has_answered) {
            Ok(()) => Ok(connection),
            Err(Fault::Broken { cause, .. }) if !has_answered && is_end(&cause) => {
                drop(connection);
                self.identify(cause, credentials)
            }
            Err(Fault::Broken { cause, .. }) if !has_answered && cause.kind() == io::ErrorKind::TimedOut => {
                Err(Fault::NotConnected(io::Error::new(cause.kind(), SAYS_NOTHING)))
            }
            Err(Fault::Desynchronized) => Err(Fault::unsuitable(foreign_protocols::advice(&connection.line))),
            Err(fault) => Err(self.to_fault(fault, credentials)),
        }
    }

    /// Finds out what a server is that closes the connection at the first question. A server that is just restarting must not be taken for
    /// a proxy, so a lasting conclusion needs several rounds.
    fn identify(&self, cause: io::Error, credentials: Option<&Credentials>) -> Result<Connection, Fault> {
        let mut proxy = None;
        let is_supported = self.classic && credentials.is_none();
        let rounds = if is_supported { PROXY_ROUNDS } else { PROXY_ROUNDS_OF_AN_ERROR };
        for _ in 0..rounds {
            // The server may accept only one connection at a time.
            drop(proxy.take());
            let (mut connection, mut has_answered) = (self.open()?, false);
            match connection.shake_hands(credentials, self.classic, self.deadline, &mut has_answered) {
                // It has restarted.
                Ok(()) => return Ok(connection),
                Err(Fault::Broken { cause, .. }) if !has_answered && is_end(&cause) => {}
                Err(fault) => return Err(self.to_fault(fault, credentials)),
            }
            drop(connection);
            let mut connection = self.open()?;
            if let Err(fault) = connection.ask_proxy(self.deadline) {
                if fault.is_silence() {
                    return Err(self.to_fault(fault, credentials));
                }
                drop(connection);
                return Err(self.is_binary_or(cause));
            }
            match credentials {
                Some(_) => {}
                None if self.classic => proxy = Some(connection),
                None => match connection.has_meta(self.deadline).map_err(|fault| self.to_fault(fault, credentials))? {
                    Some(true) => return Err(self.not_connected(cause)),
                    Some(false) => break,
                    None => {}
                },
            }
        }
        proxy.ok_or_else(|| match credentials {
            Some(_) => Fault::unsuitable(
                "the server closes the connection when it is given user and password; a proxy wants none",
            ),
            None => Fault::without_meta(None),
        })
    }

    /// The fault of a server that answers no question: it speaks only the binary protocol, or wants TLS, or just closed the connection.
    fn is_binary_or(&self, cause: io::Error) -> Fault {
        let speaks_binary_alone = self.open().map(|mut connection| connection.speaks_binary_alone(self.deadline));
        if let Ok(Some(true)) = speaks_binary_alone {
            return Fault::unsuitable(
                "the server speaks the binary protocol alone: start memcached without `-B binary` and `-S`; it takes user and \
                password with `-Y`",
            );
        }
        if let Ok(None) = speaks_binary_alone
            && !self.has_tls()
            && self.open().is_ok_and(|mut connection| connection.answers_tls(self.deadline))
        {
            let advice = "the server wants TLS: `memcache+tls://` in the URL, and the feature `tls` of kv-memcache";
            return Fault::Unsuitable { advice: advice.to_owned(), cause: Some(cause) };
        }
        self.not_connected(cause)
    }

    #[cfg_attr(not(feature = "tls"), allow(clippy::unused_self, reason = "TLS needs it"))]
    fn has_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Why there is no connection. A certificate that is not accepted will not be accepted the next time either.
    #[cfg_attr(not(feature = "tls"), allow(clippy::unused_self, reason = "TLS needs it"))]
    fn not_connected(&self, cause: io::Error) -> Fault {
        #[cfg(feature = "tls")]
        if let Some(refusal) = cause.get_ref().and_then(|cause| cause.downcast_ref::<Refusal>()) {
            return Fault::ConnectionRefused(refusal.clone());
        }
        #[cfg(feature = "tls")]
        if let Some(advice) = tls::advice(&cause, self.tls.is_some_and(tls::Connector::shows_certificate)) {
            return Fault::Unsuitable { advice, cause: Some(cause) };
        }
        if is_end(&cause) {
            let hint = "the server closed the connection at once: it may be going down, want TLS (`memcache+tls://`), or not be a memcached";
            return Fault::NotConnected(io::Error::new(cause.kind(), hint));
        }
        Fault::NotConnected(cause)
    }

    /// The fault of the handshake as a caller gets it.
    fn to_fault(&self, fault: Fault, credentials: Option<&Credentials>) -> Fault {
        match fault {
            Fault::Broken { cause, .. } => self.not_connected(cause),
            Fault::Desynchronized => Fault::unsuitable("the server does not speak the protocol of memcached"),
            Fault::Refused(refusal) => Fault::ConnectionRefused(match credentials {
                // If memcached does not accept the password, its reply to the next command asks for authentication.
                Some(Credentials { password, .. }) => refusal.hiding(password).to_credentials(),
                None => refusal,
            }),
            other => other,
        }
    }
}

impl Connection {
    /// Gives user and password, and asks the server what it is. `has_answered` becomes true when anything comes.
    fn shake_hands(
        &mut self,
        credentials: Option<&Credentials>,
        classic: bool,
        deadline: Instant,
        has_answered: &mut bool,
    ) -> Result<(), Fault> {
        let now = Instant::now();
        let login = credentials.map(Credentials::login);
        self.say(&handshake::encode(login), now, deadline)?;
        let mut handshake = Handshake::new(login, classic);
        let mut came = 0;
        loop {
            let received = self.receive_stat();
            *has_answered |= !self.line.is_empty();
            let is_first = came == 0;
            came += self.line.len();
            if came > handshake::LONGEST {
                return Err(Fault::Desynchronized);
            }
            let step = match received {
                Ok(()) => handshake.take(&self.line)?,
                // A refused question explains why the server closes the connection, but not why it stops answering.
                Err(Fault::Broken { cause, .. })
                    if is_end(&cause) && (!is_first || foreign_protocols::may_be_memcached(&self.line)) =>
                {
                    let refused = handshake.into_refusal().map(Fault::Refused);
                    return Err(refused.unwrap_or(Fault::Broken { cause, sent: true }));
                }
                Err(Fault::Broken { cause, .. }) if is_end(&cause) => return Err(Fault::Desynchronized),
                Err(fault) => return Err(fault),
            };
            match step {
                Step::Receive => {}
                Step::Send(question) => self.say(question, Instant::now(), deadline)?,
                Step::Finish => break,
            }
        }
        self.server = handshake.finish(now, Moment { instant: Instant::now(), time: SystemTime::now() })?;
        self.end_exchange()
    }

    /// Checks that a proxy answers questions about keys. The servers behind it may be unreachable.
    fn ask_proxy(&mut self, deadline: Instant) -> Result<(), Fault> {
        self.say(handshake::PROXY_QUESTIONS, Instant::now(), deadline)?;
        for _ in 0..handshake::PROXY_REPLIES {
            self.receive_line()?;
            let is_answer = Refusal::parse(&self.line).is_some_and(|refusal| !refusal.is_of_authentication());
            if self.line != b"END" && !is_answer {
                return Err(Fault::Desynchronized);
            }
        }
        self.end_exchange()
    }

    /// Whether the server has meta commands. `None` if it closes the connection; an error if it says nothing.
    fn has_meta(&mut self, deadline: Instant) -> Result<Option<bool>, Fault> {
        let answered = self.say(handshake::META_QUESTION, Instant::now(), deadline).and_then(|()| self.receive_line());
        match answered {
            Ok(()) => Ok(Some(self.line == handshake::META_ANSWER)),
            Err(fault) if fault.is_silence() => Err(fault),
            Err(_) => Ok(None),
        }
    }

    /// Whether the server speaks only the binary protocol. `None` if it does not answer in it.
    fn speaks_binary_alone(&mut self, deadline: Instant) -> Option<bool> {
        self.say(binary::QUESTION, Instant::now(), deadline).ok()?;
        self.tells_binary_alone().ok()
    }

    fn tells_binary_alone(&mut self) -> Result<bool, Fault> {
        for _ in 0..handshake::MOST_STATS {
            let mut header = [0; binary::HEADER];
            self.receive_exactly(&mut header)?;
            match binary::read_header(header) {
                binary::Header::WantsAuthentication => return Ok(true),
                binary::Header::End => return Ok(false),
                binary::Header::Setting { name, both } => {
                    let mut setting = vec![0; both];
                    self.receive_exactly(&mut setting)?;
                    let tells = setting
                        .split_at_checked(name)
                        .and_then(|(name, value)| binary::speaks_only_binary(name, value));
                    if let Some(tells) = tells {
                        return Ok(tells);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Whether the server answers a client that offers TLS.
    fn answers_tls(&mut self, deadline: Instant) -> bool {
        let mut answer = [0; 2];
        self.say(foreign_protocols::TLS_HELLO, Instant::now(), deadline).is_ok()
            && self.receive_exactly(&mut answer).is_ok()
            && foreign_protocols::is_tls(answer)
    }
}

/// Whether the server ended the connection.
fn is_end(cause: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(cause.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}
