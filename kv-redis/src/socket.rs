//! A stream socket, TCP or unix, on which everything has to be done by a deadline (N1).
//!
//! The time-outs of the operating system count for one system call each; a peer that sends a byte now and then would hold
//! its reader for ever. Here an exchange as a whole has a deadline.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket as RawSocket, Type};

use crate::address::Place;

/// What each byte that is sent or received adds to a deadline: large values need not be fast, only get on, with 10 MB a
/// second or more.
const PER_BYTE: Duration = Duration::from_nanos(100);

/// A peer that has closed the connection is an error, and no signal that ends the process.
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;
/// There the socket is told so when it is made.
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: i32 = 0;

/// A request of up to this many bytes is short.
const SHORT: usize = 16 * 1024;

pub(crate) struct Socket {
    raw: RawSocket,
    deadline: Instant,
    /// The time, unless a system call may have waited since it was read. To read it costs as much as all that is done here
    /// besides.
    now: Option<Instant>,
    /// The time-outs that the operating system has been told.
    read_timeout: Duration,
    write_timeout: Duration,
    sent: usize,
}

impl Socket {
    /// Connects to the first address of a place that answers, before the deadline.
    pub(crate) fn connect(place: &Place, deadline: Instant) -> io::Result<Self> {
        let raw = match place {
            Place::Tcp { host, port } => connect_to_any(&resolve(host, *port, deadline)?, deadline)?,
            Place::Unix(path) => connect_to_unix(&SockAddr::unix(path)?, left(deadline, Instant::now())?)?,
        };
        let none = Duration::ZERO;
        Ok(Self { raw, deadline, now: None, read_timeout: none, write_timeout: none, sent: 0 })
    }

    /// Begins an exchange, now, which has to end by the deadline.
    pub(crate) fn begin(&mut self, now: Instant, deadline: Instant) {
        self.now = Some(now);
        self.deadline = deadline;
        self.sent = 0;
    }

    /// Whether any byte was sent since the exchange began.
    pub(crate) fn has_sent(&self) -> bool {
        self.sent > 0
    }

    /// Whether the peer has neither sent anything nor closed the connection, without waiting (N4).
    pub(crate) fn is_quiet(&self) -> bool {
        let peeked = self.raw.recv_with_flags(&mut [MaybeUninit::uninit()], libc::MSG_PEEK | libc::MSG_DONTWAIT);
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Repeats a system call until it does something or the deadline has passed.
    fn until_deadline(
        &mut self,
        mut call: impl FnMut(&RawSocket) -> io::Result<usize>,
        writes: bool,
    ) -> io::Result<usize> {
        loop {
            self.arm(writes)?;
            let result = call(&self.raw);
            // What is short goes into the buffer of the socket, which is empty when an exchange begins: that does not wait.
            if !(writes && matches!(result, Ok(..=SHORT))) {
                self.now = None;
            }
            match result {
                Ok(bytes) => {
                    self.deadline += PER_BYTE.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX));
                    return Ok(bytes);
                }
                // Whether the time is up is known better here: see `arm`.
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sets the time-out of the next system call to what is left. As that is a system call itself, it is left out where the
    /// time-out that is set is nearly right: after it nothing but the deadline counts.
    fn arm(&mut self, writes: bool) -> io::Result<()> {
        let left = left(self.deadline, *self.now.get_or_insert_with(Instant::now))?;
        let set = if writes { &mut self.write_timeout } else { &mut self.read_timeout };
        if left.abs_diff(*set) > left / 16 {
            if writes {
                self.raw.set_write_timeout(Some(left))?;
            } else {
                self.raw.set_read_timeout(Some(left))?;
            }
            *set = left;
        }
        Ok(())
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.until_deadline(|mut raw| raw.read(buffer), false)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.until_deadline(|raw| raw.send_with_flags(bytes, NO_SIGNAL), true)?;
        self.has_written(sent, bytes.len());
        Ok(sent)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let sent = self.until_deadline(|raw| raw.send_vectored_with_flags(pieces, NO_SIGNAL), true)?;
        self.has_written(sent, pieces.iter().map(|piece| piece.len()).sum());
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket {
    fn has_written(&mut self, sent: usize, all: usize) {
        self.sent += sent;
        if sent < all {
            // The buffer is full: it may have waited for it.
            self.now = None;
        }
    }
}

/// The time until a deadline; an error if it has passed.
fn left(deadline: Instant, now: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(now);
    // The operating system counts in microseconds, and takes zero for none.
    if left < Duration::from_micros(1) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The addresses of a host. A name server that does not answer is not waited for any longer than the deadline.
fn resolve(host: &str, port: u16, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let (sender, receiver) = mpsc::channel();
    let host = host.to_owned();
    thread::Builder::new().name("kv-resolve".into()).spawn(move || {
        let addresses = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // Nobody listens any more if it took too long.
        let _ = sender.send(addresses);
    })?;
    receiver.recv_timeout(left(deadline, Instant::now())?).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Tries one address after the other, and gives each its share of the time.
fn connect_to_any(addresses: &[SocketAddr], deadline: Instant) -> io::Result<RawSocket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (&address, share) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let share = left(deadline, Instant::now())? / u32::try_from(share).unwrap_or(u32::MAX);
        match connect(Domain::for_address(address), &address.into(), share) {
            Ok(raw) => {
                // A request is written at once and waits for its reply: nothing is won by waiting for more (Nagle).
                raw.set_tcp_nodelay(true)?;
                return Ok(raw);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect(domain: Domain, address: &SockAddr, limit: Duration) -> io::Result<RawSocket> {
    let raw = RawSocket::new(domain, Type::STREAM, None)?;
    raw.connect_timeout(address, limit)?;
    Ok(raw)
}

/// A unix socket is connected, or refused, or waits as a write does until its listener takes more.
fn connect_to_unix(address: &SockAddr, limit: Duration) -> io::Result<RawSocket> {
    let raw = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    raw.set_write_timeout(Some(limit))?;
    raw.connect(address).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })?;
    Ok(raw)
}
