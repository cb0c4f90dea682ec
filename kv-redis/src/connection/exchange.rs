//! A connection to one server.

use std::io::{self, IoSlice, Read, Write};
use std::mem;
#[cfg(feature = "cluster")]
use std::net::IpAddr;
use std::time::Instant;

use redis::{ErrorKind, Parser, ServerError, ServerErrorKind, Value as Reply};

use crate::connection::credentials::{Credentials, Source};
use crate::connection::endpoint::Endpoint;
use crate::connection::resolve::Resolver;
use crate::connection::socket::{AddressChoice, Socket};
#[cfg(feature = "tls")]
use crate::connection::tls;
use crate::connection::upkeep::{Reusable, Upkeep};
use crate::protocol::commands::Commands;
use crate::protocol::fault::{Fault, Refusal, ServerName, in_script};
use crate::protocol::info::ServerInfo;
use crate::protocol::page::{Finder, NoPage, Page};
use crate::protocol::refusal::is_of_command;
use crate::protocol::request::{Request, Shape};

/// A parser that has held more than this is replaced, as it would keep the memory.
const LARGE: usize = 1 << 20;

/// How much is read at first of a reply that is one value. If that is not all of it, the rest is read to where it stays.
const HEAD: usize = 16 * 1024;

/// A value that is said to be longer than this is not taken at its word: memory for it is found as it comes. It is what servers allow, unless
/// they are configured otherwise (`proto-max-bulk-len`).
const LONGEST: usize = 512 << 20;

/// Who a server has to take us for, and what it has to be.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) credentials: Source,
    pub(crate) database: u32,
    pub(crate) role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A server that holds data, all by itself.
    Data,
    /// The same, of a pool of the application: what it is not is seen when something is asked for that it cannot do.
    ExternalPool,
    /// A node of a cluster.
    #[cfg(feature = "cluster")]
    Member,
    /// One that is the primary, and says so.
    #[cfg(feature = "sentinel")]
    Primary,
    #[cfg(feature = "sentinel")]
    Sentinel,
}

/// What to do if a server of which one store was made has a part of the keys.
pub(crate) const NODE_OF_A_CLUSTER: &str =
    "the server is a node of a cluster; use `cluster(…)` of the builder (feature `cluster`)";

impl Role {
    /// What to do if a server of this mode has been found in this role.
    pub(crate) fn hint_against(self, mode: &str) -> Option<&'static str> {
        match (self, mode) {
            #[cfg(feature = "sentinel")]
            (Self::Sentinel, "sentinel") => None,
            #[cfg(feature = "sentinel")]
            (Self::Sentinel, _) => Some("the server is no sentinel; use `url(…)` of the builder"),
            (_, "sentinel") => Some("the server is a sentinel; use `sentinels(…)` of the builder (feature `sentinel`)"),
            (Self::ExternalPool, _) => None,
            #[cfg(feature = "cluster")]
            (Self::Member, _) => None,
            (_, "cluster") => Some(NODE_OF_A_CLUSTER),
            _ => None,
        }
    }
}

/// A run of a server process: a number that is another one after a restart. `None` where the server does not tell.
pub(crate) type RunId = Option<u64>;

/// What came back for a request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// As many as the request has commands, each of its shape or a server's error.
    pub(crate) replies: Vec<Reply>,
    /// In place of a reply, what came for a request for a page of a listing, unless that is a server's error.
    pub(crate) page: Option<Page>,
    /// Which process answered.
    pub(crate) run_id: RunId,
    /// Which server, if there are several.
    pub(crate) server: Option<ServerName>,
}

impl Answer {
    /// Whether the connection that it came on may be used again. Where the server is not, or not any more, the one to
    /// talk to, the next operation has to look for it anew; and after a protocol error the server closes the connection.
    pub(crate) fn leaves_connection_usable(&self) -> bool {
        let ends = |reply: &Reply| match reply {
            Reply::ServerError(error) => {
                let code = in_script(error).map_or(error.code(), |(code, _)| code);
                matches!(code, "READONLY" | "MASTERDOWN" | "NOAUTH")
                    || error.details().is_some_and(|details| details.starts_with("Protocol error"))
            }
            _ => false,
        };
        !self.replies.iter().any(ends)
    }
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

enum Channel {
    Plain(Socket),
    #[cfg(feature = "tls")]
    Tls(Box<tls::Stream>),
}

/// A connection that can be used: connected, authenticated, checked.
///
/// Whoever uses it takes it out of where it is kept and puts it back after an exchange that came to its end. So whatever
/// else happens, a panic included, closes it (N2).
pub(crate) struct Connection {
    channel: Channel,
    parser: Parser,
    /// Where a reply that is one value begins.
    head: Box<[u8]>,
    /// How many bytes came since the exchange began.
    received: usize,
    last_used: Instant,
    use_until: Instant,
    server_info: ServerInfo,
    /// Which of several servers it leads to.
    server: Option<ServerName>,
}

impl Connection {
    /// Connects, and makes sure that the server is one to be used. One round trip, besides those of TCP and TLS.
    pub(crate) fn open(
        endpoint: &Endpoint,
        (names, reach): (&Resolver, AddressChoice),
        #[cfg(feature = "tls")] tls: Option<&tls::Connector>,
        login: &Login,
        deadline: Instant,
    ) -> Result<Self, Fault> {
        let socket = Socket::connect(endpoint, names, reach, deadline).map_err(Fault::NotConnected)?;
        #[cfg(feature = "tls")]
        let shows_certificate = tls.is_some_and(tls::Connector::shows_certificate);
        let channel = match endpoint {
            #[cfg(feature = "tls")]
            Endpoint::Tcp { host, .. } if tls.is_some() => {
                let Some(connector) = tls else { return Err(Fault::Desynchronized) };
                Channel::Tls(Box::new(connector.wrap(host, socket).map_err(Fault::NotConnected)?))
            }
            _ => Channel::Plain(socket),
        };
        let now = Instant::now();
        let mut connection = Self {
            channel,
            parser: Parser::new(),
            head: vec![0; HEAD].into(),
            received: 0,
            last_used: now,
            use_until: now,
            server_info: ServerInfo::untold(),
            server: None,
        };
        let asked = login.credentials.ask(deadline)?;
        connection.log_in(login, &asked.credentials, deadline).map_err(|fault| {
            #[cfg(feature = "tls")]
            let fault = with_advice(fault, shows_certificate);
            asked.blame(connection.with_guess(fault, endpoint))
        })?;
        Ok(connection)
    }

    /// Says what may be the matter with a new connection: that one side speaks TLS and the other does not. It may also be a slow
    /// network, or a server that goes down.
    fn with_guess(&self, fault: Fault, endpoint: &Endpoint) -> Fault {
        let Fault::NotConnected(cause) = fault else { return fault };
        let guess = match (&self.channel, cause.kind()) {
            (Channel::Plain(_), kind) if has_ended(kind) && matches!(endpoint, Endpoint::Tcp { .. }) => {
                "the server closed the connection at once; perhaps it wants TLS (`rediss://`)"
            }
            // One that takes no more connections cannot say so before the handshake, and closes them.
            #[cfg(feature = "tls")]
            (Channel::Tls(stream), kind) if has_ended(kind) && stream.conn.is_handshaking() => {
                "the server closed the connection during the TLS handshake; perhaps it takes no more connections (maxclients)"
            }
            #[cfg(feature = "tls")]
            (Channel::Tls(stream), io::ErrorKind::TimedOut) if stream.conn.is_handshaking() => {
                "the TLS handshake did not come to its end; perhaps the server does not speak TLS (`redis://`)"
            }
            _ => return Fault::NotConnected(cause),
        };
        Fault::NotConnected(io::Error::new(cause.kind(), guess))
    }

    /// Says who we are, and looks at what the server says of itself.
    fn log_in(&mut self, login: &Login, credentials: &Credentials, deadline: Instant) -> Result<(), Fault> {
        let Credentials { user, password } = credentials;
        let mut request = Request::reading();
        match (user.as_deref(), password.as_deref()) {
            (Some(user), Some(password)) => request.add(Shape::Done, ["AUTH".into(), user.into(), password.into()]),
            (None, Some(password)) => request.add(Shape::Done, ["AUTH".into(), password.into()]),
            (_, None) => {}
        }
        if login.database != 0 {
            request.add(Shape::Done, ["SELECT".into(), u64::from(login.database).into()]);
        }
        #[cfg(feature = "sentinel")]
        if login.role == Role::Primary {
            request.add(Shape::Any, ["ROLE".into()]);
        }
        request.add(Shape::Value, ["INFO".into(), "server".into()]);
        let refused = |refusal: Refusal| Err(Fault::Unusable(refusal.hiding(password.as_deref())));
        let mut replies = Vec::new();
        if let Err(fault) = self.exchange_into(&mut replies, &request, Instant::now(), deadline) {
            return match fault {
                Fault::Broken { cause, .. } => match self.last_words(replies, &cause) {
                    Some(error) => refused(error.into()),
                    None => Err(Fault::NotConnected(cause)),
                },
                Fault::Refused(refusal) => refused(refusal),
                Fault::Desynchronized => Err(Fault::unfit("what answers there does not speak the protocol of redis")),
                other => Err(other),
            };
        }
        let info = replies.pop();
        #[cfg(feature = "sentinel")]
        let role = if login.role == Role::Primary { replies.pop() } else { None };
        for reply in replies {
            if let Reply::ServerError(error) = reply {
                return refused(error.into());
            }
        }
        #[cfg(feature = "sentinel")]
        match role {
            Some(Reply::Array(role)) if role.first() == Some(&Reply::BulkString(b"master".to_vec())) => {}
            Some(Reply::Array(_)) => return Err(not_primary()),
            Some(Reply::ServerError(error)) if is_of_command(&error, &["role"]) => {
                self.ask_otherwise_for_role(deadline)?.map_or_else(|| refused(error.into()), Ok)?;
            }
            Some(Reply::ServerError(error)) => return refused(error.into()),
            _ => {}
        }
        match info {
            Some(Reply::BulkString(info)) => {
                self.server_info = ServerInfo::read(&String::from_utf8_lossy(&info), login.role)?;
                Ok(())
            }
            // All that is needed may be there and not this.
            Some(Reply::ServerError(error)) if is_of_command(&error, &["info"]) => Ok(()),
            Some(Reply::ServerError(error)) => refused(error.into()),
            _ => Err(Fault::Desynchronized),
        }
    }

    /// Makes sure that the server is the primary, where `ROLE` is renamed or forbidden. `None` if it does not tell this way either.
    #[cfg(feature = "sentinel")]
    fn ask_otherwise_for_role(&mut self, deadline: Instant) -> Result<Option<()>, Fault> {
        let question = Request::reading().with(Shape::Value, ["INFO".into(), "replication".into()]);
        let answer = self.exchange(&question, Instant::now(), deadline).map_err(|fault| match fault {
            Fault::Broken { cause, .. } => Fault::NotConnected(cause),
            other => other,
        })?;
        match answer.replies.first() {
            Some(Reply::BulkString(info)) if info.split(|&byte| byte == b'\n').any(|line| line == b"role:master\r") => {
                Ok(Some(()))
            }
            Some(Reply::BulkString(_)) => Err(not_primary()),
            _ => Ok(None),
        }
    }

    /// The error by which a server said why it closes a new connection: as the reply to the first command, whatever that was, or
    /// before it had read any.
    fn last_words(&mut self, replies: Vec<Reply>, cause: &io::Error) -> Option<ServerError> {
        let is_error = |reply| if let Reply::ServerError(error) = reply { Some(error) } else { None };
        if replies.is_empty() && cause.kind() != io::ErrorKind::TimedOut {
            return self.receive().ok().and_then(is_error);
        }
        replies.into_iter().find_map(is_error)
    }

    /// The same of which errors say that it leads to this server.
    pub(crate) fn to(mut self, server: Option<ServerName>) -> Self {
        self.server = server;
        self
    }

    /// What the server said of itself.
    pub(crate) fn server_info(&self) -> ServerInfo {
        self.server_info
    }

    /// What the server has, as far as it has told.
    pub(crate) fn commands(&self) -> Commands {
        self.server_info.commands
    }

    /// Whether it leads to the server that its name stands for.
    pub(crate) fn is_current(&self) -> bool {
        self.channel.socket().is_current()
    }

    /// A new connection as it is kept.
    pub(crate) fn kept(mut self, upkeep: &Upkeep) -> Self {
        self.use_until = upkeep.use_until(Instant::now());
        if !upkeep.tcp_keepalive.is_zero() {
            self.channel.socket().keep_alive(upkeep.tcp_keepalive);
        }
        self
    }

    /// The address of the server, if it is one of several that its name has.
    #[cfg(feature = "cluster")]
    pub(crate) fn one_of_several(&self) -> Option<IpAddr> {
        self.channel.socket().one_of_several()
    }

    /// Sends a request, now, and receives its replies. After an error the connection must not be used any more.
    pub(crate) fn exchange(&mut self, request: &Request<'_>, now: Instant, deadline: Instant) -> Result<Answer, Fault> {
        let mut replies = Vec::with_capacity(request.shapes().len());
        match self.exchange_into(&mut replies, request, now, deadline) {
            Ok(page) => Ok(Answer { replies, page, run_id: self.server_info.run_id, server: self.server.clone() }),
            Err(fault) => Err(fault.at(self.server.as_ref())),
        }
    }

    /// The same, and what came before an error is there, too.
    fn exchange_into(
        &mut self,
        replies: &mut Vec<Reply>,
        request: &Request<'_>,
        now: Instant,
        deadline: Instant,
    ) -> Result<Option<Page>, Fault> {
        self.channel.socket_mut().begin(now, deadline);
        self.received = 0;
        if let Err(cause) = self.send(request) {
            return Err(self.why_not_sent(cause));
        }
        request.do_meanwhile();
        let (mut page, mut length) = (None, 0);
        for &shape in request.shapes() {
            let reply = match shape {
                Shape::Page if request.shapes().len() == 1 => match self.receive_page()? {
                    Paged::Page(found) => {
                        page = Some(found);
                        length = self.received;
                        continue;
                    }
                    Paged::Other(reply) => reply,
                },
                Shape::Value if request.shapes().len() == 1 => self.receive_value()?,
                _ => self.receive()?,
            };
            if !has_shape(&reply, shape) {
                return Err(Fault::Desynchronized);
            }
            length += encoded_length(&reply).ok_or(Fault::Desynchronized)?;
            replies.push(reply);
        }
        // The parser has read to the end of the last reply and perhaps beyond. What lies beyond nobody asked for: then the
        // replies are not what they seem to be.
        if self.received != length || self.channel.has_more() {
            return Err(Fault::Desynchronized);
        }
        if self.received > LARGE {
            self.parser = Parser::new();
        }
        self.last_used = Instant::now();
        Ok(page)
    }

    fn send(&mut self, request: &Request<'_>) -> io::Result<()> {
        if let Some(bytes) = request.in_one_piece() {
            self.channel.write_all(bytes)?;
            return self.channel.flush();
        }
        let mut pieces = request.pieces();
        let mut pieces = pieces.as_mut_slice();
        while !pieces.is_empty() {
            match self.channel.write_vectored(pieces)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => IoSlice::advance_slices(&mut pieces, written),
            }
        }
        self.channel.flush()
    }

    /// A server that refuses a request before it has all of it says why, and closes the connection.
    fn why_not_sent(&mut self, cause: io::Error) -> Fault {
        let sent = self.channel.socket().has_sent();
        if sent
            && cause.kind() != io::ErrorKind::TimedOut
            && let Ok(Reply::ServerError(error)) = self.receive()
        {
            return Fault::Refused(error.into());
        }
        Fault::Broken { cause, sent }
    }

    /// Receives the only reply to a request, which is a value if all is well. A long one is read to where it stays: the parser would copy it.
    fn receive_value(&mut self) -> Result<Reply, Fault> {
        let mut head = mem::take(&mut self.head);
        let reply = self.read(&mut head).map_err(broken).and_then(|read| {
            let read = head.get(..read).unwrap_or_default();
            match length_of_value(read) {
                Some((start, length)) if start + length + END.len() > read.len() => {
                    self.receive_rest(read.get(start..).unwrap_or_default(), length)
                }
                _ => self.parse(read),
            }
        });
        self.head = head;
        reply
    }

    /// Receives a value of which this is the beginning.
    fn receive_rest(&mut self, beginning: &[u8], length: usize) -> Result<Reply, Fault> {
        let whole = length + END.len();
        // With room for a byte that nobody asked for, which is seen then.
        let mut value = vec![0; whole + 1];
        let mut filled = beginning.len();
        if let Some(start) = value.get_mut(..filled) {
            start.copy_from_slice(beginning);
        }
        while filled < whole {
            match self.read(value.get_mut(filled..).unwrap_or_default()).map_err(broken)? {
                0 => return Err(closed()),
                read => filled += read,
            }
        }
        if value.get(length..filled) != Some(END) {
            return Err(Fault::Desynchronized);
        }
        value.truncate(length);
        Ok(Reply::BulkString(value))
    }

    /// Receives the only reply to a request for a page of a listing.
    fn receive_page(&mut self) -> Result<Paged, Fault> {
        let (mut bytes, mut filled, mut finder) = (Vec::new(), 0, Finder::default());
        loop {
            bytes.resize(filled + HEAD, 0);
            match self.read(bytes.get_mut(filled..).unwrap_or_default()).map_err(broken)? {
                0 => return Err(closed()),
                read => filled += read,
            }
            bytes.truncate(filled);
            if !Finder::may_begin(&bytes) {
                return self.parse(&bytes).map(Paged::Other);
            }
            if finder.go_on(&bytes).map_err(|NoPage| Fault::Desynchronized)? {
                return Ok(Paged::Page(finder.page(bytes)));
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.channel.read(buffer)?;
        self.received += read;
        Ok(read)
    }

    fn receive(&mut self) -> Result<Reply, Fault> {
        self.parse(&[])
    }

    /// Parses a reply that begins with these bytes, which have been received.
    fn parse(&mut self, beginning: &[u8]) -> Result<Reply, Fault> {
        let mut failure = None;
        let incoming =
            Incoming { beginning, channel: &mut self.channel, received: &mut self.received, failure: &mut failure };
        self.parser.parse_value(incoming).map_err(|error| match failure {
            Some(cause) => broken(cause),
            None if error.kind() == ErrorKind::Io => closed(),
            // Not the parser's own words: they quote what came.
            None => Fault::Desynchronized,
        })
    }
}

/// What came for a request for a page.
enum Paged {
    Page(Page),
    Other(Reply),
}

#[cfg(feature = "sentinel")]
fn not_primary() -> Fault {
    Fault::Unusable(Refusal::new("READONLY", "the server says that it is not the primary"))
}

fn broken(cause: io::Error) -> Fault {
    Fault::Broken { cause, sent: true }
}

fn closed() -> Fault {
    broken(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"))
}

/// Whether the peer closed the connection.
fn has_ended(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

/// What ends a value.
const END: &[u8] = b"\r\n";

/// Where the value begins in the beginning of a reply, and how long it is, if it is one that can be taken at its word.
fn length_of_value(reply: &[u8]) -> Option<(usize, usize)> {
    // As many digits as the longest has.
    const LINE: usize = "$536870912\r\n".len();
    let line = reply.get(..LINE.min(reply.len()))?;
    let end = line.windows(END.len()).position(|bytes| bytes == END)?;
    let digits = line.get(..end)?.strip_prefix(b"$").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let length = str::from_utf8(digits).ok()?.parse().ok().filter(|length| *length <= LONGEST)?;
    Some((end + END.len(), length))
}

/// Says what to do about an error of TLS: a certificate that is not accepted will not be the next time either.
#[cfg(feature = "tls")]
fn with_advice(fault: Fault, shows_certificate: bool) -> Fault {
    let Fault::NotConnected(cause) = fault else { return fault };
    match tls::advice(&cause, shows_certificate) {
        Some(advice) => Fault::Unfit { advice, cause: Some(cause) },
        None => Fault::NotConnected(cause),
    }
}

/// What the parser reads from. It counts, and keeps the error, which the parser's own error would hide.
struct Incoming<'a> {
    /// What has been received already.
    beginning: &'a [u8],
    channel: &'a mut Channel,
    received: &'a mut usize,
    failure: &'a mut Option<io::Error>,
}

impl Read for Incoming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.beginning.is_empty() {
            return self.beginning.read(buffer);
        }
        match self.channel.read(buffer) {
            Ok(bytes) => {
                *self.received += bytes;
                Ok(bytes)
            }
            Err(error) => {
                let kind = error.kind();
                *self.failure = Some(error);
                Err(kind.into())
            }
        }
    }
}

impl Channel {
    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => &stream.sock,
        }
    }

    fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    /// Whether something has been decrypted that was not read.
    fn has_more(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => {
                !matches!(stream.conn.process_new_packets(), Ok(state) if state.plaintext_bytes_to_read() == 0)
            }
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write_all(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write_vectored(pieces),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Whether a node of a cluster says that the key is elsewhere, and in which way.
pub(crate) fn redirection(reply: &Reply) -> Option<ServerErrorKind> {
    match reply {
        Reply::ServerError(error) => {
            error.kind().filter(|kind| matches!(kind, ServerErrorKind::Moved | ServerErrorKind::Ask))
        }
        _ => None,
    }
}

/// Whether a reply is what the command has to bring, or an error of the server.
pub(crate) fn has_shape(reply: &Reply, shape: Shape) -> bool {
    let is_value = |reply: &Reply| matches!(reply, Reply::BulkString(_) | Reply::Nil);
    match (shape, reply) {
        (Shape::Page, Reply::Array(replies)) => match replies.as_slice() {
            [Reply::BulkString(_), Reply::Array(names)] => {
                names.iter().all(|name| matches!(name, Reply::BulkString(_)))
            }
            _ => false,
        },
        (Shape::Values(count), Reply::Array(replies)) => replies.len() == count && replies.iter().all(is_value),
        (_, Reply::ServerError(_))
        | (Shape::Any, _)
        | (Shape::Value, Reply::BulkString(_) | Reply::Nil)
        | (Shape::Done, Reply::Okay | Reply::Nil)
        | (Shape::Integer, Reply::Int(_)) => true,
        _ => false,
    }
}

/// The length in bytes of a reply as a server writes it, if it is one of RESP2.
fn encoded_length(reply: &Reply) -> Option<usize> {
    const END: usize = "\r\n".len();
    let number =
        |number: i64| usize::from(number < 0) + number.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
    let count = |count: usize| 1 + number(i64::try_from(count).unwrap_or(i64::MAX)) + END;
    Some(match reply {
        // `$-1` or `*-1`.
        Reply::Nil => 3 + END,
        Reply::Int(value) => 1 + number(*value) + END,
        Reply::BulkString(bytes) => count(bytes.len()) + bytes.len() + END,
        Reply::Array(replies) => count(replies.len()) + replies.iter().map(encoded_length).sum::<Option<usize>>()?,
        Reply::SimpleString(text) => 1 + text.len() + END,
        Reply::Okay => "+OK".len() + END,
        Reply::ServerError(error) => {
            1 + error.code().len() + error.details().map_or(0, |details| 1 + details.len()) + END
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_reply_is_what_the_parser_took() {
        let replies = [
            "$-1\r\n",
            "*-1\r\n",
            "$0\r\n\r\n",
            "$5\r\nhello\r\n",
            "$12\r\nhello, world\r\n",
            ":0\r\n",
            ":-10\r\n",
            ":9223372036854775807\r\n",
            ":-9223372036854775808\r\n",
            "+OK\r\n",
            "+QUEUED\r\n",
            "-ERR\r\n",
            "-ERR no such key\r\n",
            "-WRONGTYPE Operation against a key\r\n",
            "-MOVED 3999 127.0.0.1:6381\r\n",
            "*0\r\n",
            "*3\r\n$1\r\n0\r\n*1\r\n$3\r\nkey\r\n:7\r\n",
        ];
        for encoded in replies {
            let reply = redis::parse_redis_value(encoded.as_bytes()).unwrap();
            assert_eq!(encoded_length(&reply), Some(encoded.len()), "{encoded:?}");
        }
    }

    #[test]
    fn a_reply_that_is_not_of_resp2_has_no_length() {
        for encoded in ["#t\r\n", "*3\r\n,1.5\r\n,1.5\r\n,1.5\r\n", "_\r\n", "%1\r\n:1\r\n:2\r\n"] {
            let reply = redis::parse_redis_value(encoded.as_bytes()).unwrap();
            assert_ne!(encoded_length(&reply), Some(encoded.len()), "{encoded:?}");
        }
    }

    #[test]
    fn the_length_of_a_value_is_in_its_first_line() {
        assert_eq!(length_of_value(b"$5\r\nhello\r\n"), Some((4, 5)));
        assert_eq!(length_of_value(b"$0\r\n"), Some((4, 0)));
        assert_eq!(length_of_value(b"$536870912\r\nv"), Some((12, LONGEST)));
        for other in
            ["", "$", "$5", "$5\r", "$-1\r\n", "$536870913\r\n", "$9999999999999999\r\n", "$+5\r\n", "$\r\n", ":5\r\n"]
        {
            assert_eq!(length_of_value(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn a_reply_of_another_shape_is_seen() {
        let value = Reply::BulkString(b"v".to_vec());
        assert!(has_shape(&value, Shape::Value) && !has_shape(&value, Shape::Integer));
        assert!(has_shape(&Reply::Array(vec![value.clone(), Reply::Nil]), Shape::Values(2)));
        assert!(!has_shape(&Reply::Array(vec![value]), Shape::Values(2)));
        assert!(!has_shape(&Reply::Int(1), Shape::Done) && has_shape(&Reply::Okay, Shape::Done));
    }
}
