//! The thread that accepts connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket, Type};

use super::passing::Shared;

/// How long to wait when a connection cannot be accepted, or the address is in use.
const RETRY: Duration = Duration::from_millis(10);

/// How long an address that was free may be in use.
const BUSY: Duration = Duration::from_secs(2);

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 128;

/// A thread that accepts connections, until this is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    address: SockAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(super) fn start(address: &SockAddr, shared: &Arc<Shared>) -> io::Result<Self> {
        let begin = Instant::now();
        let listener = loop {
            match Self::listen(address) {
                // A child process has copies of its parent's sockets for a moment after its start, also of the socket that looked for a
                // free port.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && begin.elapsed() < BUSY => {
                    thread::sleep(RETRY);
                }
                other => break other?,
            }
        };
        let is_over = Arc::new(AtomicBool::new(false));
        let (shared, until) = (Arc::clone(shared), Arc::clone(&is_over));
        let thread =
            thread::Builder::new().name("proxy".into()).spawn(move || Self::accept(&listener, &until, &shared))?;
        Ok(Self { address: address.clone(), is_over, thread: Some(thread) })
    }

    fn listen(address: &SockAddr) -> io::Result<Socket> {
        let listener = Socket::new(address.domain(), Type::STREAM, None)?;
        match address.as_pathname() {
            // The socket file of an earlier listener.
            Some(path) if path.exists() => std::fs::remove_file(path)?,
            Some(_) => {}
            // Connections of an earlier listener may linger.
            #[cfg(unix)]
            None => listener.set_reuse_address(true)?,
            #[cfg(not(unix))]
            None => {}
        }
        listener.bind(address)?;
        listener.listen(BACKLOG)?;
        Ok(listener)
    }

    fn accept(listener: &Socket, until: &AtomicBool, shared: &Arc<Shared>) {
        loop {
            let accepted = listener.accept();
            if until.load(SeqCst) {
                return;
            }
            match accepted {
                Ok((client, _)) => Shared::serve(shared, client),
                // There are too many connections, or this one is already closed.
                Err(_) => thread::sleep(RETRY),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        // The thread waits for a connection, so this makes one.
        let _wake =
            Socket::new(self.address.domain(), Type::STREAM, None).and_then(|socket| socket.connect(&self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
