//! A firewall that forgets idle connections: it drops what is sent on them, and tells neither side. New connections pass.
//!
//! For all backends.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy does not see that the helpers of tests are tests"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) struct Firewall {
    port: u16,
    accepted: Arc<AtomicUsize>,
}

impl Firewall {
    /// A firewall in front of a server on this machine. It forgets a connection after this idle time.
    pub(crate) fn start(server: u16, forgets_after: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        thread::spawn(move || {
            for inside in listener.incoming().map_while(Result::ok) {
                let Ok(outside) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { continue };
                count.fetch_add(1, SeqCst);
                let last_used = Arc::new(Mutex::new(Some(Instant::now())));
                let (back, forth) = (inside.try_clone().unwrap(), outside.try_clone().unwrap());
                let used = Arc::clone(&last_used);
                thread::spawn(move || pass(inside, forth, &used, forgets_after));
                thread::spawn(move || pass(outside, back, &last_used, forgets_after));
            }
        });
        Self { port, accepted }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The number of connections made through it.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }
}

/// Passes on what comes, until the connection is forgotten.
fn pass(mut from: TcpStream, mut to: TcpStream, last_used: &Mutex<Option<Instant>>, forgets_after: Duration) {
    let mut buffer = [0; 16 * 1024];
    from.set_nodelay(true).unwrap();
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        let mut last_used = last_used.lock().unwrap();
        *last_used = last_used.filter(|then| then.elapsed() < forgets_after).map(|_| Instant::now());
        if last_used.is_some() && to.write_all(&buffer[..read]).is_err() || read == 0 {
            if last_used.is_some() {
                let _ = to.shutdown(Shutdown::Write);
            }
            return;
        }
    }
}
