//! A stream socket, TCP or unix, with one deadline for an exchange as a whole (N1).
//!
//! The time-outs of the operating system count for one system call each, so a peer that sends a byte now and then could hold its reader
//! for ever.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket as RawSocket, Type};

use super::endpoint::Endpoint;
use super::resolve::{HostName, Resolver};
use super::system;

/// How much more time an exchange has, once, if its time is up and something has come: the process may have stood still since.
pub(crate) const LATE: Duration = Duration::from_millis(50);

/// What each byte that is sent or received adds to a deadline. So a large value has the time that it takes at 10 MB/s.
pub(crate) const PER_BYTE: Duration = Duration::from_nanos(100);

/// Sending up to this many bytes without waiting takes no time that matters.
const SHORT: usize = 16 * 1024;

/// How many bytes are sent by a system call that waits until the buffer of the socket has room.
const FEW: usize = 4096;

/// To which addresses of a host name a connection may be made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AddressChoice {
    /// The addresses of the one server that the name stands for.
    Chosen,
    /// All addresses, until one accepts the connection.
    #[allow(dead_code, reason = "kv-redis uses it, for nodes and sentinels of which any will do")]
    Any,
}

pub(crate) struct Socket {
    raw: RawSocket,
    /// The address of the peer, if its host name has several and any was allowed.
    one_of_several: Option<IpAddr>,
    /// The host name of the peer, and its generation when this was connected.
    name: Option<(Arc<HostName>, u64)>,
    deadline: Instant,
    /// The time, unless a system call may have waited since it was read. Reading the clock costs as much as all the rest here.
    now: Option<Instant>,
    /// The time-outs that are set in the operating system.
    read_timeout: Duration,
    write_timeout: Duration,
    sent: usize,
    /// Whether the deadline has passed, and what had come by then is read.
    is_late: bool,
}

impl Socket {
    /// Connects to an endpoint before the deadline.
    pub(crate) fn connect(
        endpoint: &Endpoint,
        resolver: &Resolver,
        choice: AddressChoice,
        deadline: Instant,
    ) -> io::Result<Self> {
        match endpoint {
            Endpoint::Unix(path) => Ok(Self::new(connect_to_unix(&system::unix_socket(path)?, deadline)?, deadline)),
            Endpoint::Tcp { host, port } => match (resolver.host(host), choice) {
                (Err(address), _) => {
                    let (raw, _) = connect_to_any(&[(address, 0).into()], *port, deadline)?;
                    Ok(Self::new(raw, deadline))
                }
                (Ok(name), AddressChoice::Any) => {
                    let addresses = name.addresses(deadline)?;
                    let (raw, peer) = connect_to_any(&addresses, *port, deadline)?;
                    let one_of_several = (addresses.len() > 1).then_some(peer.ip());
                    Ok(Self { one_of_several, ..Self::new(raw, deadline) })
                }
                (Ok(name), AddressChoice::Chosen) => {
                    let server = name.server(deadline)?;
                    let connected = connect_to_any(&server.addresses, *port, deadline);
                    let (raw, _) = connected.map_err(|error| match server.addresses.as_slice() {
                        [only] if server.of > 1 => {
                            let (of, ip) = (server.of, only.ip());
                            let text = format!("{host} has {of} addresses, of which {ip} is used: {error}");
                            io::Error::new(error.kind(), text)
                        }
                        _ => error,
                    })?;
                    Ok(Self { name: Some((name, server.generation)), ..Self::new(raw, deadline) })
                }
            },
        }
    }

    fn new(raw: RawSocket, deadline: Instant) -> Self {
        let none = Duration::ZERO;
        Self {
            raw,
            one_of_several: None,
            name: None,
            deadline,
            now: None,
            read_timeout: none,
            write_timeout: none,
            sent: 0,
            is_late: false,
        }
    }

    /// The address of the peer, if its host name has several and any was allowed.
    #[allow(dead_code, reason = "kv-redis uses it, with `AddressChoice::Any`")]
    pub(crate) fn one_of_several(&self) -> Option<IpAddr> {
        self.one_of_several
    }

    /// The socket itself, without its time-outs.
    #[allow(dead_code, reason = "async stores use it")]
    pub(crate) fn into_raw(self) -> RawSocket {
        self.raw
    }

    /// The host name of the peer, and its generation when this was connected.
    #[allow(dead_code, reason = "async stores use it")]
    pub(crate) fn name(&self) -> Option<(Arc<HostName>, u64)> {
        self.name.clone()
    }

    /// Makes the system probe the peer after this time without traffic.
    pub(crate) fn keep_alive(&self, idle: Duration) {
        system::keep_alive(&self.raw, idle);
    }

    /// Whether the peer is still the server that its name stands for.
    pub(crate) fn is_current(&self) -> bool {
        self.name.as_ref().is_none_or(|(name, generation)| name.is_current(*generation))
    }

    /// Begins an exchange that has to end by the deadline.
    pub(crate) fn begin(&mut self, now: Instant, deadline: Instant) {
        self.now = Some(now);
        self.deadline = deadline;
        self.sent = 0;
        self.is_late = false;
    }

    /// Whether any byte was sent since the exchange began.
    pub(crate) fn has_sent(&self) -> bool {
        self.sent > 0
    }

    /// Whether the peer has neither sent anything nor closed the connection (N4). Does not wait.
    pub(crate) fn is_quiet(&self) -> bool {
        system::is_quiet(&self.raw)
    }

    /// Repeats a system call until it transfers something or the deadline has passed.
    fn until_deadline(
        &mut self,
        mut call: impl FnMut(&RawSocket) -> io::Result<usize>,
        writes: bool,
    ) -> io::Result<usize> {
        loop {
            match self.arm(writes) {
                Err(_) if !writes && !self.is_late && !self.is_quiet() => {
                    (self.is_late, self.now, self.deadline) = (true, None, Instant::now() + LATE);
                    continue;
                }
                armed => armed?,
            }
            let result = call(&self.raw);
            if !(writes && matches!(result, Ok(..=SHORT))) {
                self.now = None;
            }
            match result {
                Ok(bytes) => {
                    self.deadline += PER_BYTE.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX));
                    return Ok(bytes);
                }
                // `arm` decides whether the time is up.
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what the buffer of the socket has room for. If that is nothing, waits until there is room for a few bytes.
    ///
    /// A call that sends much waits for room many times, on unix sockets each time for the whole time-out. So what waits sends few bytes.
    fn send(&mut self, all: impl Fn(&RawSocket, i32) -> io::Result<usize>, first: &[u8]) -> io::Result<usize> {
        let few = first.get(..FEW).unwrap_or(first);
        let mut waits = false;
        let sent = self.until_deadline(
            |raw| match all(raw, system::NO_SIGNAL | system::AT_ONCE) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    waits = true;
                    raw.send_with_flags(few, system::NO_SIGNAL)
                }
                result => result,
            },
            true,
        )?;
        self.sent += sent;
        if waits {
            self.now = None;
        }
        Ok(sent)
    }

    /// Sets the time-out of the next system call to the time that is left. Setting it is a system call, too, so a time-out that is nearly
    /// right stays: the deadline is checked again after it.
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
        self.send(|raw, flags| raw.send_with_flags(bytes, flags), bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let first = pieces.iter().find(|piece| !piece.is_empty());
        self.send(|raw, flags| raw.send_vectored_with_flags(pieces, flags), first.map_or(&[], |piece| piece))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The time until a deadline; an error if it has passed.
fn left(deadline: Instant, now: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(now);
    // The operating system counts in microseconds, and zero means no time-out.
    if left < Duration::from_micros(1) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Tries one address after the other, each with its share of the time. Returns the one that accepted the connection.
fn connect_to_any(addresses: &[SocketAddr], port: u16, deadline: Instant) -> io::Result<(RawSocket, SocketAddr)> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (&address, share) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let share = left(deadline, Instant::now())? / u32::try_from(share).unwrap_or(u32::MAX);
        let mut with_port = address;
        with_port.set_port(port);
        match connect(Domain::for_address(address), &with_port.into(), share) {
            Ok(raw) => {
                // A request is written at once and waits for its reply, so Nagle's algorithm would only delay it.
                raw.set_tcp_nodelay(true)?;
                return Ok((raw, address));
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

/// Connecting to a unix socket waits like a write does, until its listener accepts more connections.
fn connect_to_unix(address: &SockAddr, deadline: Instant) -> io::Result<RawSocket> {
    let raw = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    loop {
        raw.set_write_timeout(Some(left(deadline, Instant::now())?))?;
        match raw.connect(address) {
            Ok(()) => return Ok(raw),
            // `left` decides whether the time is up.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn sending_ends_by_the_deadline_although_the_peer_reads_something_all_the_time() {
        let (ours, peer) = RawSocket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        let mut socket = Socket::new(ours, Instant::now() + Duration::from_millis(300));
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while (&peer).read(&mut buffer).unwrap() > 0 {
                thread::sleep(Duration::from_millis(20));
            }
        });
        // At this rate the reader takes 2.5 s for all of it.
        let error = socket.write_all(&vec![0; 8 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!((1..4 << 20).contains(&socket.sent), "{} bytes", socket.sent);
        drop(socket);
        reader.join().unwrap();
    }

    #[test]
    fn what_has_come_is_read_after_the_deadline_and_nothing_is_waited_for() {
        let (ours, peer) = RawSocket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        let mut socket = Socket::new(ours, Instant::now());
        let mut buffer = [0; 8];
        for _ in 0..2 {
            // As if the process had stood still since it sent the request.
            let begun = Instant::now();
            socket.begin(begun, begun);
            (&peer).write_all(b"reply").unwrap();
            assert_eq!(socket.read(&mut buffer).unwrap(), 5);
            let error = socket.read(&mut buffer).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            socket.begin(begun, begun);
            assert_eq!(socket.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
    }
}
