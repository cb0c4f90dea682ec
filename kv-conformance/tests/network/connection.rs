//! One connection to a server, on which everything has to be done by a deadline.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::wire::{self, Field, Request};

/// Why a request has no reply.
#[derive(Debug)]
pub(crate) enum Broken {
    /// No connection of the pool became free in time. Nothing was sent.
    PoolExhausted,
    /// No connection could be made. Nothing was sent.
    NotConnected(io::Error),
    /// The connection failed, or nothing came in time. Whether any of the request had been sent by then.
    Lost { cause: io::Error, sent: bool },
    /// What came is no reply to this request.
    Nonsense,
    /// The server has refused the request, with this text.
    Refused(String),
}

impl Broken {
    /// Whether the connection has ended, so that it may have been dead before it was used.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self, Self::Lost { cause, .. } if cause.kind() != io::ErrorKind::TimedOut)
    }

    /// Whether the server may have got any of the request.
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self, Self::Lost { sent: true, .. } | Self::Nonsense | Self::Refused(_))
    }
}

/// A connection. The caller takes it out of the pool and puts it back after an exchange that came to its end: whatever else
/// happens, a panic included, closes it (N2).
#[derive(Debug)]
pub(crate) struct Connection(pub(crate) TcpStream);

impl Connection {
    /// Connects, and makes sure that there is a server that answers.
    pub(crate) fn connect(address: SocketAddr, limit: Duration) -> Result<Self, Broken> {
        let deadline = Instant::now() + limit;
        let connect = || {
            let stream = TcpStream::connect_timeout(&address, limit)?;
            stream.set_nodelay(true)?;
            let mut greeting = [0; wire::GREETING.len()];
            Within::new(&stream, deadline).read_exact(&mut greeting)?;
            if greeting != *wire::GREETING {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "what answers there is no such server"));
            }
            Ok(Self(stream))
        };
        connect().map_err(Broken::NotConnected)
    }

    /// Sends a request and receives its reply.
    pub(crate) fn exchange(&mut self, request: &Request, deadline: Instant) -> Result<Vec<Field>, Broken> {
        let mut stream = Within::new(&self.0, deadline);
        let reply = stream.write_all(&request.bytes).and_then(|()| wire::receive(&mut stream, wire::REPLY));
        match reply {
            Ok((wire::DONE, fields)) => Ok(fields),
            Ok((wire::FAILED, fields)) => {
                let text = fields.into_iter().flatten().next().unwrap_or_default();
                Err(Broken::Refused(String::from_utf8_lossy(&text).into_owned()))
            }
            Ok(_) => Err(Broken::Nonsense),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Broken::Nonsense),
            Err(cause) => Err(Broken::Lost { cause, sent: stream.sent > 0 }),
        }
    }

    /// Whether the server has neither closed the connection nor sent anything that nobody asked for (N4).
    pub(crate) fn is_quiet(&self) -> bool {
        matches!(self.peek(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// How many bytes have come, without waiting for any: 0 if the connection was closed.
    pub(crate) fn peek(&self) -> io::Result<usize> {
        self.0.set_nonblocking(true)?;
        let peeked = self.0.peek(&mut [0]);
        self.0.set_nonblocking(false)?;
        peeked
    }
}

/// A stream with one deadline for all that is done with it: the time-outs of the operating system count for one call each, and
/// a server that sends a byte now and then would hold its reader for ever (N1).
pub(crate) struct Within<'s> {
    stream: &'s TcpStream,
    deadline: Instant,
    /// How many bytes were sent.
    sent: usize,
}

impl<'s> Within<'s> {
    pub(crate) fn new(stream: &'s TcpStream, deadline: Instant) -> Self {
        Self { stream, deadline, sent: 0 }
    }

    /// The time that is left; an error if there is none. The operating system counts in microseconds, and takes zero for no limit.
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_micros(1) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// On unix a call that took too long says that it would block.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

impl Read for Within<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Within<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        let sent = self.stream.write(bytes).map_err(timed_out)?;
        self.sent += sent;
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
