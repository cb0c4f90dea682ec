//! A proxy between a store and its server that causes faults of a network when a test asks for them.
//!
//! It runs in the test's own process, in front of a TCP port or a Unix socket, and knows nothing of the protocol. Give the store the
//! proxy's address in place of the server's. The proxy passes on everything, until a test makes it hold back, cut, garble or refuse:
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//! use std::thread;
//!
//! use kv_conformance::BoxError;
//! use kv_conformance::proxy::{Behaviour, Cut, Direction, Proxy};
//!
//! fn main() -> Result<(), BoxError> {
//!     let server = TcpListener::bind("127.0.0.1:0")?;
//!     let proxy = Proxy::tcp(server.local_addr()?)?;
//!     thread::spawn(move || server.accept().and_then(|(mut to, _)| to.write_all(b"a long reply")));
//!
//!     proxy.set(Behaviour::CutAfter { cut: Cut::Close, of: Direction::Replies, bytes: 6 });
//!     let mut reply = String::new();
//!     TcpStream::connect(("127.0.0.1", proxy.port()))?.read_to_string(&mut reply)?;
//!     assert_eq!(reply, "a long");
//!     Ok(())
//! }
//! ```
//!
//! The checks of faults use it: see [`Suite::with_faults`](crate::Suite::with_faults).

mod behaviour;
mod connection;
mod listener;
mod passing;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::SockAddr;
#[cfg(unix)]
use tempfile::TempDir;

use crate::error::BoxError;
use crate::isolation::Port;
pub use behaviour::{Behaviour, Cut, Direction, Edit};
use listener::Listener;
use passing::Shared;

/// How long the proxy may take to close connections.
const CLOSE: Duration = Duration::from_secs(10);

/// The name of the unix socket in its folder.
#[cfg(unix)]
const SOCKET: &str = "proxy.sock";

/// The proxy: see the [module](self). When it is dropped all its connections are cut.
pub struct Proxy {
    bound: Bound,
    address: SockAddr,
    listener: Mutex<Option<Listener>>,
    shared: Arc<Shared>,
}

/// The port or the folder of the socket, for as long as the proxy lives.
enum Bound {
    Port(Port),
    #[cfg(unix)]
    Folder {
        _removed_last: TempDir,
    },
}

impl Proxy {
    /// A proxy on a port of 127.0.0.1, in front of another address. It passes everything on until its behaviour is set.
    ///
    /// # Errors
    ///
    /// If it is not an address, or no port is free.
    pub fn tcp(server: impl ToSocketAddrs) -> Result<Self, BoxError> {
        let server = server.to_socket_addrs()?.next().ok_or("the name of the server has no address")?;
        let port = Port::claim()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        Self::start(Bound::Port(port), address.into(), server.into())
    }

    /// A proxy on a unix socket in a temporary folder of its own, in front of another one.
    ///
    /// # Errors
    ///
    /// If the path is too long for a socket, or the system refuses something.
    #[cfg(unix)]
    pub fn unix(server: impl AsRef<Path>) -> Result<Self, BoxError> {
        let folder = crate::isolation::folder()?;
        let address = SockAddr::unix(folder.path().join(SOCKET))?;
        Self::start(Bound::Folder { _removed_last: folder }, address, SockAddr::unix(server)?)
    }

    fn start(bound: Bound, address: SockAddr, server: SockAddr) -> Result<Self, BoxError> {
        let shared = Arc::new(Shared::new(server));
        let listener = Listener::start(&address, &shared)?;
        Ok(Self { bound, address, listener: Mutex::new(Some(listener)), shared })
    }

    /// The port of 127.0.0.1 on which it listens; 0 if it listens on a unix socket.
    pub fn port(&self) -> u16 {
        match &self.bound {
            Bound::Port(port) => port.number(),
            #[cfg(unix)]
            Bound::Folder { .. } => 0,
        }
    }

    /// The unix socket on which it listens, if it does.
    pub fn path(&self) -> Option<PathBuf> {
        self.address.as_pathname().map(Path::to_owned)
    }

    /// Sets its behaviour from now on.
    pub fn set(&self, behaviour: Behaviour) {
        self.shared.set(behaviour);
    }

    /// From now on it passes everything on.
    pub fn pass(&self) {
        self.set(Behaviour::Pass);
    }

    /// Cuts all connections, and returns when they are closed.
    ///
    /// # Errors
    ///
    /// If that takes longer than 10 s.
    pub fn cut_now(&self, cut: Cut) -> Result<(), BoxError> {
        if self.shared.cut_all(cut, CLOSE) { Ok(()) } else { Err("connections of the proxy are still open".into()) }
    }

    /// Refuses new connections from now on. Open connections stay open.
    pub fn refuse(&self) {
        drop(self.listener().take());
    }

    /// Accepts connections again.
    ///
    /// # Errors
    ///
    /// If the system refuses that.
    pub fn accept(&self) -> Result<(), BoxError> {
        let mut listener = self.listener();
        if listener.is_none() {
            *listener = Some(Listener::start(&self.address, &self.shared)?);
        }
        Ok(())
    }

    /// How many connections have been accepted.
    pub fn accepted(&self) -> usize {
        self.shared.accepted()
    }

    /// How many connections are open. A connection that the store has closed counts until the server has closed it as well.
    pub fn open(&self) -> usize {
        self.shared.open()
    }

    /// On how many connections a request has come to which no reply has come.
    pub fn waiting_for_reply(&self) -> usize {
        self.shared.waiting_for_reply()
    }

    /// How many exchanges have begun: how often a request came on a new connection, or after a reply.
    pub fn exchanges(&self) -> usize {
        self.shared.exchanges()
    }

    /// Whether [`Behaviour::CutAfter`], [`Behaviour::CutAnswer`], [`Behaviour::Truncate`] or [`Behaviour::Garble`] has still to happen: fewer
    /// bytes, or fewer such answers, have come than it says.
    pub fn is_waiting(&self) -> bool {
        self.shared.is_waiting()
    }

    /// How often it has passed on the bytes of [`Behaviour::Add`] or [`Behaviour::InjectLater`], or could not because the connection was
    /// closed.
    pub fn injected(&self) -> usize {
        self.shared.injected()
    }

    /// How many bytes have come in one direction.
    pub fn bytes(&self, of: Direction) -> usize {
        self.shared.bytes(of)
    }

    fn listener(&self) -> MutexGuard<'_, Option<Listener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
        self.shared.cut_all(Cut::Close, Duration::ZERO);
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}
