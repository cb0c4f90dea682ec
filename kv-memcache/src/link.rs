//! A connection to one server.

use std::io::{self, BufReader, IoSlice, Read, Write};
use std::time::Instant;

use crate::address::Place;
use crate::binary;
use crate::credentials::{Credentials, Source};
use crate::dialect::Dialect;
use crate::fault::{Fault, Refusal};
use crate::greeting::{self, About, Greeting, Then};
use crate::reply::{self, Reply};
use crate::request::{Encoded, Request};
use crate::resolve::Names;
use crate::socket::{Reach, Socket};
use crate::strangers;
#[cfg(feature = "tls")]
use crate::tls;
use crate::upkeep::{Connection, Upkeep};

/// How much is read at once, unless a value is larger.
const BUFFER: usize = 16 * 1024;

/// What is told of a server that took a connection, and then was silent.
const SAYS_NOTHING: &str = "the server took the connection and said nothing: it may be stopped, take no more connections (-c), or be no memcached";

/// How often a server has to close the connection at the same question before that is said of it.
const TIMES_TO_BE_SURE: usize = 5;

impl Connection for Link {
    fn last_used(&self) -> Instant {
        self.last_used
    }

    fn use_until(&self) -> Instant {
        self.use_until
    }

    fn is_quiet(&self) -> bool {
        self.reader.get_ref().socket().is_quiet()
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
pub(crate) struct Link {
    reader: BufReader<Channel>,
    /// The line that was received last; kept for its memory.
    line: Vec<u8>,
    last_used: Instant,
    use_until: Instant,
    server: About,
    /// Whether dates are made by its clock even if the server took long to tell its time.
    accepts_slow_clock: bool,
}

/// How a connection is made.
pub(crate) struct Opening<'a> {
    pub(crate) place: &'a Place,
    pub(crate) names: &'a Names,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<&'a tls::Connector>,
    pub(crate) credentials: &'a Source,
    /// Whether the classic commands are to be used.
    pub(crate) classic: bool,
    /// Whether the server closes connections when it is asked what it is.
    pub(crate) is_taciturn: bool,
    pub(crate) deadline: Instant,
}

impl Opening<'_> {
    /// Connects.
    fn connect(&self) -> Result<Link, Fault> {
        let socket =
            Socket::connect(self.place, self.names, Reach::TheServer, self.deadline).map_err(Fault::NotConnected)?;
        #[cfg(feature = "tls")]
        let channel = match (self.place, self.tls) {
            (Place::Tcp { host, .. }, Some(connector)) => {
                Channel::Tls(Box::new(connector.wrap(host, socket).map_err(|cause| self.not_connected(cause))?))
            }
            _ => Channel::Plain(socket),
        };
        #[cfg(not(feature = "tls"))]
        let channel = Channel::Plain(socket);
        let reader = BufReader::with_capacity(BUFFER, channel);
        let now = Instant::now();
        Ok(Link {
            reader,
            line: Vec::new(),
            last_used: now,
            use_until: now,
            server: About::TACITURN,
            accepts_slow_clock: false,
        })
    }

    /// Connects, and makes sure that the server is one to be used. One round trip, besides those of TCP and TLS.
    pub(crate) fn open(&self) -> Result<Link, Fault> {
        let mut link = self.connect()?;
        if self.is_taciturn {
            if let Ok(()) = link.greet_shortly(self.deadline) {
                return Ok(link);
            }
            link = self.connect()?;
        }
        let asked = self.credentials.ask(self.deadline)?;
        self.greet(link, asked.credentials.as_ref()).map_err(|fault| asked.blame(fault))
    }

    fn greet(&self, mut link: Link, credentials: Option<&Credentials>) -> Result<Link, Fault> {
        let mut heard = false;
        match link.greet(credentials, self.classic, self.deadline, &mut heard) {
            Ok(()) => Ok(link),
            Err(Fault::Broken { cause, .. }) if !heard && is_end(&cause) => {
                drop(link);
                self.ask_again(cause, credentials)
            }
            Err(Fault::Broken { cause, .. }) if !heard && cause.kind() == io::ErrorKind::TimedOut => {
                Err(Fault::NotConnected(io::Error::new(cause.kind(), SAYS_NOTHING)))
            }
            Err(Fault::OutOfStep) => Err(Fault::unfit(strangers::advice(&link.line))),
            Err(fault) => Err(self.not_greeted(fault, credentials)),
        }
    }

    /// Finds out what a server is that closes the connection when it is greeted. A server that went down just then, and is back, must
    /// not be taken for another kind: what is said for good has been seen several times in a row.
    fn ask_again(&self, cause: io::Error, credentials: Option<&Credentials>) -> Result<Link, Fault> {
        let mut proxy = None;
        for _ in 0..TIMES_TO_BE_SURE {
            // It may take one connection at a time.
            drop(proxy.take());
            let (mut link, mut heard) = (self.connect()?, false);
            match link.greet(credentials, self.classic, self.deadline, &mut heard) {
                // It was going down just then, and is back.
                Ok(()) => return Ok(link),
                Err(Fault::Broken { cause, .. }) if !heard && is_end(&cause) => {}
                Err(fault) => return Err(self.not_greeted(fault, credentials)),
            }
            drop(link);
            let mut link = self.connect()?;
            if let Err(fault) = link.greet_shortly(self.deadline) {
                if fault.is_silence() {
                    return Err(self.not_greeted(fault, credentials));
                }
                drop(link);
                return Err(self.is_binary_or(cause));
            }
            match credentials {
                Some(_) => {}
                None if self.classic => proxy = Some(link),
                None => match link.has_meta(self.deadline).map_err(|fault| self.not_greeted(fault, credentials))? {
                    Some(true) => return Err(self.not_connected(cause)),
                    Some(false) => break,
                    None => {}
                },
            }
        }
        proxy.ok_or_else(|| match credentials {
            Some(_) => {
                Fault::unfit("the server closes the connection when it is given user and password; a proxy wants none")
            }
            None => Fault::without_meta(None),
        })
    }

    /// That a server speaks the binary protocol alone, or wants TLS, or else why there is no connection.
    fn is_binary_or(&self, cause: io::Error) -> Fault {
        let speaks_binary_alone = self.connect().map(|mut link| link.speaks_binary_alone(self.deadline));
        if let Ok(Some(true)) = speaks_binary_alone {
            return Fault::unfit(
                "the server speaks the binary protocol alone: start memcached without `-B binary` and `-S`; it takes user and \
                password with `-Y`",
            );
        }
        if let Ok(None) = speaks_binary_alone
            && !self.has_tls()
            && self.connect().is_ok_and(|mut link| link.answers_tls(self.deadline))
        {
            let advice = "the server wants TLS: `memcache+tls://` in the URL, and the feature `tls` of kv-memcache";
            return Fault::Unfit { advice: advice.to_owned(), cause: Some(cause) };
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

    /// Why there is no connection. A certificate that is not accepted will not be the next time either.
    #[cfg_attr(not(feature = "tls"), allow(clippy::unused_self, reason = "TLS needs it"))]
    fn not_connected(&self, cause: io::Error) -> Fault {
        #[cfg(feature = "tls")]
        if let Some(refusal) = cause.get_ref().and_then(|cause| cause.downcast_ref::<Refusal>()) {
            return Fault::Unusable(refusal.clone());
        }
        #[cfg(feature = "tls")]
        if let Some(advice) = tls::advice(&cause, self.tls.is_some_and(tls::Connector::shows_certificate)) {
            return Fault::Unfit { advice, cause: Some(cause) };
        }
        if is_end(&cause) {
            let hint = "the server closed the connection at once: it may be going down, want TLS (`memcache+tls://`), or be no memcached";
            return Fault::NotConnected(io::Error::new(cause.kind(), hint));
        }
        Fault::NotConnected(cause)
    }

    /// What a caller is told of a fault while it was found out what the server is.
    fn not_greeted(&self, fault: Fault, credentials: Option<&Credentials>) -> Fault {
        match fault {
            Fault::Broken { cause, .. } => self.not_connected(cause),
            Fault::OutOfStep => Fault::unfit("what answers there does not speak the protocol of memcached"),
            Fault::Refused(refusal) => Fault::Unusable(match credentials {
                // memcached goes on to the next command, and for that it says that nobody is known yet.
                Some(Credentials { password, .. }) => refusal.hiding(password).to_credentials(),
                None => refusal,
            }),
            other => other,
        }
    }
}

impl Link {
    /// Says who we are, and asks the server what it is. `heard` becomes true when anything comes.
    fn greet(
        &mut self,
        credentials: Option<&Credentials>,
        classic: bool,
        deadline: Instant,
        heard: &mut bool,
    ) -> Result<(), Fault> {
        let now = Instant::now();
        self.say(&greeting::encode(credentials), now, deadline)?;
        let mut greeting = Greeting::new(credentials, classic);
        let mut came = 0;
        loop {
            let received = reply::receive_stat(&mut self.reader, &mut self.line);
            *heard |= !self.line.is_empty();
            let is_first = came == 0;
            came += self.line.len();
            if came > greeting::LONGEST {
                return Err(Fault::OutOfStep);
            }
            let then = match received {
                Ok(()) => greeting.take(&self.line)?,
                // What it refused is why it closes the connection, and not why it says nothing more.
                Err(Fault::Broken { cause, .. })
                    if is_end(&cause) && (!is_first || strangers::may_be_memcached(&self.line)) =>
                {
                    let refused = greeting.into_refusal().map(Fault::Refused);
                    return Err(refused.unwrap_or(Fault::Broken { cause, sent: true }));
                }
                Err(Fault::Broken { cause, .. }) if is_end(&cause) => return Err(Fault::OutOfStep),
                Err(fault) => return Err(fault),
            };
            match then {
                Then::Receive => {}
                Then::Send(question) => self.say(question, Instant::now(), deadline)?,
                Then::Finish => break,
            }
        }
        self.server = greeting.finish(now)?;
        self.end_exchange()
    }

    /// Makes sure that the server answers when it is asked for a key. One that is behind it may be unreachable.
    fn greet_shortly(&mut self, deadline: Instant) -> Result<(), Fault> {
        self.say(greeting::SHORT, Instant::now(), deadline)?;
        for _ in 0..greeting::SHORT_REPLIES {
            reply::receive_line(&mut self.reader, &mut self.line)?;
            let is_answer = Refusal::parse(&self.line).is_some_and(|refusal| !refusal.is_of_authentication());
            if self.line != b"END" && !is_answer {
                return Err(Fault::OutOfStep);
            }
        }
        self.end_exchange()
    }

    /// Whether the server has meta commands. `None` if it closes the connection; an error if it says nothing.
    fn has_meta(&mut self, deadline: Instant) -> Result<Option<bool>, Fault> {
        let answered = self
            .say(greeting::META_QUESTION, Instant::now(), deadline)
            .and_then(|()| reply::receive_line(&mut self.reader, &mut self.line));
        match answered {
            Ok(()) => Ok(Some(self.line == greeting::META_ANSWER)),
            Err(fault) if fault.is_silence() => Err(fault),
            Err(_) => Ok(None),
        }
    }

    /// Whether the server speaks the binary protocol alone. `None` if it does not answer in it.
    fn speaks_binary_alone(&mut self, deadline: Instant) -> Option<bool> {
        self.say(binary::QUESTION, Instant::now(), deadline).ok()?;
        self.tells_binary_alone().ok()
    }

    /// Whether the server answers somebody who wants TLS.
    fn answers_tls(&mut self, deadline: Instant) -> bool {
        let mut answer = [0; 2];
        self.say(strangers::TLS_HELLO, Instant::now(), deadline).is_ok()
            && self.reader.read_exact(&mut answer).is_ok()
            && strangers::is_tls(answer)
    }

    fn tells_binary_alone(&mut self) -> io::Result<bool> {
        for _ in 0..greeting::MOST_STATS {
            let mut header = [0; binary::HEADER];
            self.reader.read_exact(&mut header)?;
            match binary::read_header(header) {
                binary::Header::WantsAuthentication => return Ok(true),
                binary::Header::End => return Ok(false),
                binary::Header::Setting { name, both } => {
                    let mut setting = vec![0; both];
                    self.reader.read_exact(&mut setting)?;
                    let tells =
                        setting.split_at_checked(name).and_then(|(name, value)| binary::is_binary_alone(name, value));
                    if let Some(tells) = tells {
                        return Ok(tells);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Begins an exchange with these bytes.
    fn say(&mut self, bytes: &[u8], now: Instant, deadline: Instant) -> Result<(), Fault> {
        let channel = self.channel_mut();
        channel.begin(now, deadline);
        channel.write_all(bytes).and_then(|()| channel.flush()).map_err(|cause| self.last_words(cause))
    }

    /// What the server told of itself.
    pub(crate) fn server(&self) -> &About {
        &self.server
    }

    /// A new connection as it is kept.
    pub(crate) fn kept(mut self, upkeep: &Upkeep) -> Self {
        self.use_until = upkeep.use_until(Instant::now());
        if !upkeep.tcp_keepalive.is_zero() {
            self.reader.get_ref().socket().keep_alive(upkeep.tcp_keepalive);
        }
        self
    }

    /// Whether dates can be made by the clock of the server, unless the server does not tell its time.
    pub(crate) fn knows_the_time(&self, now: Instant) -> bool {
        let is_accepted = self.accepts_slow_clock || !self.has_slow_clock();
        is_accepted && self.server.clock.is_none_or(|clock| clock.is_fresh(now))
    }

    /// Whether the server took long to tell its time. A new connection may do better.
    pub(crate) fn has_slow_clock(&self) -> bool {
        self.server.clock.is_some_and(|clock| clock.is_slow())
    }

    /// Notes that this connection was made since another one had a slow clock: the next one would do no better.
    pub(crate) fn accept_slow_clock(&mut self) {
        self.accepts_slow_clock = true;
    }

    /// Whether it leads to the server that its name stands for.
    pub(crate) fn is_current(&self) -> bool {
        self.reader.get_ref().socket().is_current()
    }

    /// Sends a request, now, and receives its replies: as many as it has commands, each of its shape or a server's error. After
    /// an error the connection must not be used any more.
    pub(crate) fn exchange(
        &mut self,
        request: Request<'_>,
        now: Instant,
        deadline: Instant,
    ) -> Result<Vec<Reply>, Fault> {
        let About { dialect, largest_item, clock, is_mcrouter, .. } = &self.server;
        if *is_mcrouter && let Some(index) = request.routed_key() {
            return Err(Fault::RoutedKey { index });
        }
        if let Some(limit) = *largest_item
            && let Some(index) = request.larger_than(limit)
        {
            return Err(Fault::ItemTooLarge { index, limit });
        }
        let (dialect, largest_item) = (*dialect, largest_item.unwrap_or(greeting::LARGEST_OF_ALL));
        let encoded = request.encode(dialect, clock.as_ref(), now)?;
        self.channel_mut().begin(now, deadline);
        if let Err(cause) = self.reader.get_mut().send(&encoded) {
            return Err(self.why_not_sent(cause, request.count()));
        }
        let mut replies = Vec::with_capacity(request.count());
        for command in request.commands() {
            let reply = reply::receive(&mut self.reader, &mut self.line, dialect, command, largest_item)?;
            // A server that took a value for commands refuses each of them, and nothing else tells classic replies apart.
            let is_in_doubt =
                matches!((dialect, &reply), (Dialect::Classic(_), Reply::Refused(refusal)) if refusal.is_of_request());
            replies.push(reply);
            if is_in_doubt && replies.len() < request.count() {
                return Err(Fault::OutOfStep);
            }
        }
        self.end_exchange()?;
        Ok(replies)
    }

    /// Nothing may be left of what came: nobody asked for it, and then the replies are not what they seem to be.
    fn end_exchange(&mut self) -> Result<(), Fault> {
        if !self.reader.buffer().is_empty() || self.reader.get_mut().has_more() {
            return Err(Fault::OutOfStep);
        }
        self.last_used = Instant::now();
        Ok(())
    }

    /// A server that closes a connection before it has all of a request may have said why. Of one of several commands that tells
    /// nothing about the others.
    fn why_not_sent(&mut self, cause: io::Error, commands: usize) -> Fault {
        let sent = self.channel_mut().has_sent();
        if !sent || commands > 1 { Fault::Broken { cause, sent } } else { self.last_words(cause) }
    }

    /// What a server said before it closed a connection. One that takes no more connections says so before it has read anything.
    fn last_words(&mut self, cause: io::Error) -> Fault {
        let sent = self.channel_mut().has_sent();
        if cause.kind() == io::ErrorKind::TimedOut {
            return Fault::Broken { cause, sent };
        }
        match reply::receive_line(&mut self.reader, &mut self.line) {
            Ok(()) => Refusal::parse(&self.line).map_or(Fault::Broken { cause, sent }, Fault::Refused),
            #[cfg(feature = "tls")]
            Err(Fault::Broken { cause: said, .. }) if tls::advice(&said, false).is_some() => {
                Fault::Broken { cause: said, sent }
            }
            Err(_) => Fault::Broken { cause, sent },
        }
    }

    fn channel_mut(&mut self) -> &mut Channel {
        self.reader.get_mut()
    }
}

/// Whether the server ended the connection.
fn is_end(cause: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(cause.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

impl Channel {
    fn begin(&mut self, now: Instant, deadline: Instant) {
        self.socket_mut().begin(now, deadline);
    }

    fn has_sent(&self) -> bool {
        self.socket().has_sent()
    }

    fn send(&mut self, request: &Encoded<'_>) -> io::Result<()> {
        match self {
            Self::Plain(socket) => match request.in_one_piece() {
                Some(bytes) => socket.write_all(bytes),
                None => write_all_vectored(socket, &mut request.pieces()),
            },
            #[cfg(feature = "tls")]
            Self::Tls(stream) => {
                // What was written before is sent before the next is encrypted: each begins a record.
                request.records().into_iter().try_for_each(|record| stream.write_all(record))?;
                stream.flush()
            }
        }
    }

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

    fn stream(&mut self) -> &mut dyn Stream {
        match self {
            Self::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream,
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
}

fn write_all_vectored(to: &mut impl Write, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !pieces.is_empty() {
        match to.write_vectored(pieces)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut pieces, written),
        }
    }
    Ok(())
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream().read(buffer)
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream().flush()
    }
}
