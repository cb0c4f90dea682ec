//! A connection to one server.

use std::io::{self, BufReader, IoSlice, Read, Write};
use std::time::{Duration, Instant};

use crate::address::{Credentials, Place};
use crate::fault::{Fault, Refusal};
use crate::lifetime::Clock;
use crate::reply::{self, Reply};
use crate::request::Request;
use crate::resolve::Names;
use crate::socket::{Reach, Socket};
#[cfg(feature = "tls")]
use crate::tls;

/// From when on a connection that nobody used is looked at before it is trusted. The contract has a second (N4); but to look
/// is one system call, and a write on a connection that has just been closed could not be repeated (N5).
const IDLE: Duration = Duration::from_micros(50);

/// How much is read at once, unless a value is larger.
const BUFFER: usize = 16 * 1024;

/// The most that memcached's option `-I` takes.
pub(crate) const LARGEST_OF_ALL: u64 = 1 << 30;

/// More lines than this are no reply to `stats`: 1.6.18 sends 93.
const MOST_STATS: usize = 1000;

/// The oldest server that will do: before it the meta commands were other ones (1.6.10), and told wrong versions of entries.
const OLDEST: [u32; 3] = [1, 6, 13];

/// No version is longer: `1.5.22_5_g1234`.
const LONGEST_VERSION: usize = 40;

/// The first server whose misses say which command they belong to.
const TAGS_MISSES: [u32; 3] = [1, 6, 18];

/// The key of the `set` by which user and password are given. To a server that wants them it does not matter; one that wants none
/// takes it for a write. So it is no key of any store, and what is written is gone at once.
const NOBODYS_KEY: &str = "\u{b7}";

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
    server: About,
}

/// What a server tells of itself when the connection is made.
#[derive(Clone, Copy, Debug)]
struct About {
    /// The largest item, in bytes.
    largest_item: u64,
    clock: Clock,
    tags_misses: bool,
}

impl Link {
    /// Connects, and makes sure that the server is one to be used. One round trip, besides those of TCP and TLS.
    pub(crate) fn open(
        place: &Place,
        names: &Names,
        #[cfg(feature = "tls")] tls: Option<&tls::Connector>,
        credentials: Option<&Credentials>,
        deadline: Instant,
    ) -> Result<Self, Fault> {
        let socket = Socket::connect(place, names, Reach::TheServer, deadline).map_err(Fault::NotConnected)?;
        #[cfg(feature = "tls")]
        let channel = match (place, tls) {
            (Place::Tcp { host, .. }, Some(connector)) => {
                Channel::Tls(Box::new(connector.wrap(host, socket).map_err(not_connected)?))
            }
            _ => Channel::Plain(socket),
        };
        #[cfg(not(feature = "tls"))]
        let channel = Channel::Plain(socket);
        let now = Instant::now();
        let server = About { largest_item: 0, clock: Clock::new(0, now), tags_misses: true };
        let reader = BufReader::with_capacity(BUFFER, channel);
        let mut link = Self { reader, line: Vec::new(), last_used: now, server };
        link.greet(credentials, now, deadline).map_err(|fault| match fault {
            Fault::Broken { cause, .. } => not_connected(cause),
            Fault::OutOfStep => Fault::unfit("what answers there does not speak the protocol of memcached"),
            Fault::Refused(refusal) => Fault::Unusable(match credentials {
                // memcached goes on to the next command, and for that it says that nobody is known yet.
                Some(Credentials { password, .. }) => refusal.hiding(password).to_credentials(),
                None => refusal,
            }),
            other => other,
        })?;
        Ok(link)
    }

    /// Says who we are, and asks the server who it is.
    fn greet(&mut self, credentials: Option<&Credentials>, now: Instant, deadline: Instant) -> Result<(), Fault> {
        let mut greeting = Vec::new();
        if let Some(Credentials { user, password }) = credentials {
            let length = user.len() + " ".len() + password.len();
            greeting.extend_from_slice(format!("set {NOBODYS_KEY} 0 -1 {length}\r\n{user} {password}\r\n").as_bytes());
        }
        greeting.extend_from_slice(b"stats\r\nstats settings\r\n");
        self.channel_mut().begin(now, deadline);
        if let Err(cause) = self.channel_mut().write_all(&greeting).and_then(|()| self.channel_mut().flush()) {
            return Err(self.why_not_sent(cause, 1));
        }
        if credentials.is_some() {
            reply::receive_line(&mut self.reader, &mut self.line)?;
            match self.line.as_slice() {
                b"STORED" => {}
                line => return Err(Refusal::parse(line).map_or(Fault::OutOfStep, Fault::Refused)),
            }
        }
        let (mut version, mut time, mut item_size_max, mut wants_password) = (None, None, None, true);
        for _ in ["stats", "stats settings"] {
            self.receive_stats(|name, value| match name {
                "version" => version = Some(value.to_owned()),
                "time" => time = reply::number(value.as_bytes()),
                "item_size_max" => item_size_max = reply::number(value.as_bytes()),
                "auth_enabled_ascii" => wants_password = value != "no",
                _ => {}
            })?;
        }
        let version = version.ok_or(Fault::OutOfStep)?;
        let numbers = numbers_of(&version);
        if numbers < OLDEST {
            let [in_numbers, oldest] =
                [numbers, OLDEST].map(|[major, minor, patch]| format!("{major}.{minor}.{patch}"));
            // Whatever else comes from there is not to be shown, a password that is repeated least of all.
            let is_one = version.len() <= LONGEST_VERSION && !version.contains(char::is_control);
            let repeats = credentials.is_some_and(|credentials| version.contains(&credentials.password));
            let version = if is_one && !repeats { version } else { in_numbers };
            let advice = format!("the server is memcached {version}, and {oldest} is the oldest that will do");
            return Err(Fault::unfit(advice));
        }
        if credentials.is_some() && !wants_password {
            return Err(Fault::unfit(
                "the server lets in everybody (it has no option -Y), and user and password were given",
            ));
        }
        self.server = About {
            largest_item: item_size_max.map(|size: u64| size.min(LARGEST_OF_ALL)).ok_or(Fault::OutOfStep)?,
            clock: Clock::new(time.ok_or(Fault::OutOfStep)?, now),
            tags_misses: numbers >= TAGS_MISSES,
        };
        self.end_exchange()
    }

    /// Receives the reply to a `stats`, and shows each name and value.
    fn receive_stats(&mut self, mut show: impl FnMut(&str, &str)) -> Result<(), Fault> {
        for _ in 0..MOST_STATS {
            reply::receive_line(&mut self.reader, &mut self.line)?;
            if self.line == b"END" {
                return Ok(());
            }
            if let Some(refusal) = Refusal::parse(&self.line) {
                return Err(Fault::Refused(refusal));
            }
            let line = str::from_utf8(&self.line).map_err(|_| Fault::OutOfStep)?;
            let (name, value) = line.strip_prefix("STAT ").ok_or(Fault::OutOfStep)?.split_once(' ').unwrap_or_default();
            show(name, value);
        }
        Err(Fault::OutOfStep)
    }

    /// The largest item that the server takes, in bytes.
    pub(crate) fn largest_item(&self) -> u64 {
        self.server.largest_item
    }

    pub(crate) fn last_used(&self) -> Instant {
        self.last_used
    }

    /// Whether it can be told what time it is for the server.
    pub(crate) fn knows_the_time(&self, now: Instant) -> bool {
        self.server.clock.is_fresh(now)
    }

    /// Whether the connection may be used now: it leads to the server that its name stands for, and it was used just before, or has
    /// neither been closed nor brought anything that nobody asked for (N4). Nothing is sent.
    pub(crate) fn is_trustworthy(&self, now: Instant) -> bool {
        let socket = self.reader.get_ref().socket();
        socket.is_current() && (now.saturating_duration_since(self.last_used) < IDLE || socket.is_quiet())
    }

    /// Sends a request, now, and receives its replies: as many as it has commands, each of its shape or a server's error. After
    /// an error the connection must not be used any more.
    pub(crate) fn exchange(
        &mut self,
        request: &mut Request<'_>,
        now: Instant,
        deadline: Instant,
    ) -> Result<Vec<Reply>, Fault> {
        let ((index, size), limit) = (request.largest(), self.server.largest_item);
        if size > limit {
            return Err(Fault::ItemTooLarge { index, limit });
        }
        request.set_clock(&self.server.clock, now)?;
        self.channel_mut().begin(now, deadline);
        if let Err(cause) = self.reader.get_mut().send(request) {
            return Err(self.why_not_sent(cause, request.shapes().len()));
        }
        let mut replies = Vec::with_capacity(request.shapes().len());
        for shape in request.shapes() {
            let About { tags_misses, largest_item, .. } = self.server;
            replies.push(reply::receive(&mut self.reader, &mut self.line, shape, tags_misses, largest_item)?);
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
        if !sent || commands > 1 || cause.kind() == io::ErrorKind::TimedOut {
            return Fault::Broken { cause, sent };
        }
        match reply::receive_line(&mut self.reader, &mut self.line) {
            Ok(()) => Refusal::parse(&self.line).map_or(Fault::Broken { cause, sent }, Fault::Refused),
            #[cfg(feature = "tls")]
            Err(Fault::Broken { cause: said, .. }) if tls::advice(&said).is_some() => {
                Fault::Broken { cause: said, sent }
            }
            Err(_) => Fault::Broken { cause, sent },
        }
    }

    fn channel_mut(&mut self) -> &mut Channel {
        self.reader.get_mut()
    }
}

/// Why there is no connection. A certificate that is not accepted will not be the next time either.
fn not_connected(cause: io::Error) -> Fault {
    #[cfg(feature = "tls")]
    if let Some(refusal) = cause.get_ref().and_then(|cause| cause.downcast_ref::<Refusal>()) {
        return Fault::Unusable(refusal.clone());
    }
    #[cfg(feature = "tls")]
    if let Some(advice) = tls::advice(&cause) {
        return Fault::Unfit { advice: advice.into(), cause: Some(cause) };
    }
    if matches!(cause.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) {
        let hint = "the server closed the connection at once; does it want TLS (`memcache+tls://`), or what is it?";
        return Fault::NotConnected(io::Error::new(cause.kind(), hint));
    }
    Fault::NotConnected(cause)
}

/// The numbers of a version such as `1.6.18` or `1.6.9-rc1`. One that is not made of numbers is newer than any.
fn numbers_of(version: &str) -> [u32; 3] {
    let mut numbers = version.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    match numbers.next() {
        Some(Ok(major)) => {
            [major, numbers.next().and_then(Result::ok).unwrap_or(0), numbers.next().and_then(Result::ok).unwrap_or(0)]
        }
        _ => [u32::MAX; 3],
    }
}

impl Channel {
    fn begin(&mut self, now: Instant, deadline: Instant) {
        self.socket_mut().begin(now, deadline);
    }

    fn has_sent(&self) -> bool {
        self.socket().has_sent()
    }

    fn send(&mut self, request: &Request<'_>) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for older in ["1.4.39", "1.6.12", "1.6.9-rc1", "1.6", "1", "0.9.20", "1.5.22_5_gabc"] {
            assert!(numbers_of(older) < OLDEST, "{older}");
        }
        for newer in ["1.6.13", "1.6.18", "1.6.100", "1.7", "2.0.0-beta", "10", "unknown", ""] {
            assert!(numbers_of(newer) >= OLDEST, "{newer}");
        }
    }
}
