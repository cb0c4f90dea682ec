//! A connection of a proxy: the socket of the client, and the one to the server.

use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::Socket;

use super::behaviour::{Cut, Direction};

/// How long a write waits for the reader before it checks whether the connection was cut.
const BLOCKED: Duration = Duration::from_millis(100);

/// A connection to the proxy and the one to the server that belongs to it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Socket,
    pub(super) server: Socket,
    pub(super) is_cut: AtomicBool,
    /// Whether a request has come, and no reply since.
    pub(super) is_asked: AtomicBool,
    /// Whether the next reply must not be passed.
    pub(super) is_doomed: AtomicBool,
    /// The number of the behaviour that truncated it, and the direction.
    truncated: Mutex<Option<(usize, Direction)>>,
    /// How many bytes were passed under which order that counts them for each connection.
    passed: Mutex<(usize, usize)>,
}

impl Connection {
    pub(super) fn new(client: Socket, server: Socket) -> Self {
        for socket in [&client, &server] {
            // Errors do not matter: a unix socket has no such option, or it is already closed.
            let _ = socket.set_tcp_nodelay(true);
            let _ = socket.set_write_timeout(Some(BLOCKED));
        }
        Self {
            client,
            server,
            is_cut: AtomicBool::new(false),
            is_asked: AtomicBool::new(false),
            is_doomed: AtomicBool::new(false),
            truncated: Mutex::new(None),
            passed: Mutex::default(),
        }
    }

    /// Writes all of it, unless the connection is cut meanwhile.
    pub(super) fn write(&self, to: &mut &Socket, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match to.write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                    if self.is_cut.load(SeqCst) {
                        return Err(error);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Shuts down both sockets. This wakes the two threads that use them, and they close them.
    pub(super) fn cut(&self, cut: Cut) {
        if self.is_cut.swap(true, SeqCst) {
            return;
        }
        for socket in [&self.client, &self.server] {
            // Errors do not matter: it is already closed.
            let _ = match cut {
                Cut::Close => socket.shutdown(Shutdown::Both),
                // With this option, closing it resets it.
                Cut::Reset => socket.set_linger(Some(Duration::ZERO)).and_then(|()| socket.shutdown(Shutdown::Read)),
            };
        }
    }

    pub(super) fn truncated(&self) -> MutexGuard<'_, Option<(usize, Direction)>> {
        self.truncated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of these bytes may still be passed under an order that passes so many on each connection, of which these are counted.
    pub(super) fn pass_at_most(&self, order: usize, most: usize, bytes: usize) -> usize {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if passed.0 != order {
            *passed = (order, 0);
        }
        let left = most.saturating_sub(passed.1).min(bytes);
        passed.1 += left;
        left
    }
}
