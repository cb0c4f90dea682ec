//! The thread that accepts connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};

use socket2::{SockAddr, Socket, Type};

use super::link::Shared;

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
        let listener = Socket::new(address.domain(), Type::STREAM, None)?;
        match address.as_pathname() {
            // That of a listener before this one.
            Some(path) if path.exists() => std::fs::remove_file(path)?,
            Some(_) => {}
            // Connections of a listener before this one may linger.
            #[cfg(unix)]
            None => listener.set_reuse_address(true)?,
            #[cfg(not(unix))]
            None => {}
        }
        listener.bind(address)?;
        listener.listen(BACKLOG)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let (shared, until) = (Arc::clone(shared), Arc::clone(&is_over));
        let thread = thread::Builder::new().name("proxy".into()).spawn(move || {
            while let Ok((client, _)) = listener.accept()
                && !until.load(SeqCst)
            {
                Shared::serve(&shared, client);
            }
        })?;
        Ok(Self { address: address.clone(), is_over, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        // It waits for a connection: here is one.
        let _wake =
            Socket::new(self.address.domain(), Type::STREAM, None).and_then(|socket| socket.connect(&self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
