//! A TCP proxy between a store and its server that does, when it is told to, what networks do.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, mem};

use socket2::SockRef;

/// How much is read at once. A small reply comes in one piece.
const PIECE: usize = 64 * 1024;

/// Where in a piece of requests the name of a command is looked for.
const BEGINNING: usize = 256;

/// How long the proxy may take to close connections.
const CLOSE: Duration = Duration::from_secs(10);

/// The ports from which one is taken: below those of outgoing connections, so that nobody connects to itself there while
/// connections are refused.
const PORTS: std::ops::Range<u16> = 10_240..32_768;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Requests,
    Replies,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// As when a server closes it.
    Close,
    /// As when there is nobody any more (RST).
    Reset,
}

/// Changes a piece of replies.
pub(crate) type Edit = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// What the proxy does, from when it is told on, to all connections.
#[derive(Default)]
pub(crate) enum Behaviour {
    #[default]
    Pass,
    /// Passes each piece, of up to 64 KiB, so much later.
    Delay(Duration),
    /// Accepts connections, and passes nothing. What came meanwhile is passed on afterwards, whatever is done then to what
    /// comes then.
    Hold,
    /// The same, of replies alone.
    HoldReplies,
    /// Passes replies byte for byte, with a pause after each.
    Split(Duration),
    /// Cuts the connection on which that many bytes in one direction are reached, counted over all connections; with 0, the
    /// one on which the next one comes. Then it passes.
    CutAfter { cut: Cut, of: Direction, bytes: usize },
    /// Cuts a connection in place of passing the reply to a request that has this text near its beginning, so many times. Then it passes.
    CutAnswer { cut: Cut, to: &'static str, times: usize },
    /// Passes that many bytes of replies, and holds the connection on which there are more, until it is told something else.
    /// All others pass.
    Truncate { bytes: usize },
    /// Passes the next piece of replies as it is after the change. Then it passes.
    Edit(Edit),
    /// Passes the next piece of replies and, so much later, these bytes. Then it passes.
    InjectLater(Vec<u8>, Duration),
}

impl Behaviour {
    /// Puts a byte in place of one of the next piece of replies.
    pub(crate) fn corrupt(at: usize, byte: u8) -> Self {
        Self::Edit(Box::new(move |piece| piece[at] = byte))
    }

    /// Adds bytes to the next piece of replies.
    pub(crate) fn inject(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::Edit(Box::new(move |piece| piece.extend(bytes)))
    }

    /// Adds bytes that come some time after the next piece of replies.
    pub(crate) fn inject_later(bytes: impl Into<Vec<u8>>, later: Duration) -> Self {
        Self::InjectLater(bytes.into(), later)
    }

    /// Puts bytes in place of the next piece of replies.
    pub(crate) fn replace(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::Edit(Box::new(move |piece| *piece = bytes))
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("Pass"),
            Self::Delay(time) => write!(f, "Delay({time:?})"),
            Self::Hold => f.write_str("Hold"),
            Self::HoldReplies => f.write_str("HoldReplies"),
            Self::Split(pause) => write!(f, "Split({pause:?})"),
            Self::CutAfter { cut, of, bytes } => write!(f, "{cut:?} after {bytes} bytes of {of:?}"),
            Self::CutAnswer { cut, to, times } => write!(f, "{cut:?} in place of the answer to {to}, {times} times"),
            Self::Truncate { bytes } => write!(f, "Truncate after {bytes} bytes"),
            Self::Edit(_) => f.write_str("Edit"),
            Self::InjectLater(_, time) => write!(f, "InjectLater({time:?})"),
        }
    }
}

/// The proxy. When it is dropped all its connections are cut.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    /// The UDP port of that number: where it is taken, other test processes look for another port.
    _claim: UdpSocket,
    listener: Mutex<Option<Listener>>,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy on a port of 127.0.0.1 in front of another port, that passes.
    pub(crate) fn start(server: u16) -> Self {
        for _ in 0..1000 {
            let random = RandomState::new().hash_one("port") % u64::try_from(PORTS.len()).unwrap();
            let port = PORTS.start + u16::try_from(random).unwrap();
            let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else { continue };
            let shared = Arc::new(Shared::new(server));
            let Ok(listener) = Listener::start(port, &shared) else { continue };
            return Self { port, _claim: claim, listener: Mutex::new(Some(listener)), shared };
        }
        panic!("no port of 127.0.0.1 is free");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on.
    pub(crate) fn set(&self, behaviour: Behaviour) {
        self.shared.lock().set(behaviour);
        self.shared.changed.notify_all();
    }

    pub(crate) fn pass(&self) {
        self.set(Behaviour::Pass);
    }

    /// Cuts all connections, and returns when they are closed.
    pub(crate) fn cut_now(&self, cut: Cut) {
        let links = self.shared.lock().links.clone();
        for link in &links {
            link.cut(cut);
        }
        self.shared.changed.notify_all();
        let cut = |state: &mut State| state.links.iter().any(|link| links.iter().any(|cut| Arc::ptr_eq(cut, link)));
        let (state, waited) = self.shared.changed.wait_timeout_while(self.shared.lock(), CLOSE, cut).unwrap();
        drop(state);
        assert!(!waited.timed_out(), "connections of the proxy are still open");
    }

    /// Refuses connections; those that there are remain.
    pub(crate) fn refuse(&self) {
        drop(self.listener().take());
    }

    /// Accepts connections again.
    pub(crate) fn accept(&self) {
        let mut listener = self.listener();
        if listener.is_none() {
            *listener = Some(Listener::start(self.port, &self.shared).unwrap());
        }
    }

    /// How many connections there have been.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.lock().accepted
    }

    fn listener(&self) -> MutexGuard<'_, Option<Listener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
        for link in &self.shared.lock().links {
            link.cut(Cut::Close);
        }
        self.shared.changed.notify_all();
    }
}

/// A thread that accepts connections, until this is dropped.
#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    fn start(port: u16, shared: &Arc<Shared>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let (address, is_over) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let (shared, until) = (Arc::clone(shared), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            while let Ok((client, _)) = listener.accept()
                && !until.load(SeqCst)
            {
                Shared::serve(&shared, client);
            }
        });
        Ok(Self { address, is_over, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        // It waits for a connection: here is one.
        let _wake = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
    /// Notified when the behaviour changes, a connection is cut, or one is gone.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    /// How often the proxy was told something.
    orders: usize,
    accepted: usize,
    links: Vec<Arc<Link>>,
}

impl State {
    fn set(&mut self, behaviour: Behaviour) {
        self.behaviour = behaviour;
        self.orders += 1;
    }
}

/// A connection to the proxy and the one to the server that belongs to it.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    server: TcpStream,
    is_cut: AtomicBool,
    /// Whether a reply is due that is not to be passed.
    is_doomed: AtomicBool,
    /// The number of the order under which it was truncated.
    truncated: Mutex<Option<usize>>,
}

impl Link {
    /// Closes both connections, as soon as the two threads are through that use them: they wake up.
    fn cut(&self, cut: Cut) {
        if self.is_cut.swap(true, SeqCst) {
            return;
        }
        for stream in [&self.client, &self.server] {
            // Errors: it is closed already.
            let _ = match cut {
                Cut::Close => stream.shutdown(std::net::Shutdown::Both),
                Cut::Reset => SockRef::from(stream)
                    .set_linger(Some(Duration::ZERO))
                    .and_then(|()| stream.shutdown(std::net::Shutdown::Read)),
            };
        }
    }
}

/// What is to be done with a piece.
enum Step {
    /// Pass so many bytes of it, then wait.
    Pass(usize, Duration),
    /// Wait, then pass it.
    PassLater(Duration),
    /// Pass so many bytes of it, then cut.
    PassAndCut(usize, Cut),
    Edit(Edit),
    /// Pass it, wait, and pass these bytes.
    PassAndAdd(Duration, Vec<u8>),
    /// Nothing: the connection is cut.
    Stop,
}

impl Shared {
    fn new(server: u16) -> Self {
        let state = State { behaviour: Behaviour::Pass, orders: 0, accepted: 0, links: Vec::new() };
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
        Self { server, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes what comes on a new connection, in two threads.
    fn serve(shared: &Arc<Self>, client: TcpStream) {
        shared.lock().accepted += 1;
        let Ok(server) = TcpStream::connect(shared.server) else {
            let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            return;
        };
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
        }
        let link = Arc::new(Link {
            client,
            server,
            is_cut: AtomicBool::new(false),
            is_doomed: AtomicBool::new(false),
            truncated: Mutex::new(None),
        });
        shared.lock().links.push(Arc::clone(&link));
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            thread::scope(|scope| {
                scope.spawn(|| shared.pump(&link, Direction::Requests));
                shared.pump(&link, Direction::Replies);
            });
            // With the last of both the sockets are closed. Whoever waits for that is told while it cannot look.
            let mut state = shared.lock();
            state.links.retain(|other| !Arc::ptr_eq(other, &link));
            drop(link);
            drop(state);
            shared.changed.notify_all();
        });
    }

    /// Passes what comes in one direction, until it ends.
    fn pump(&self, link: &Link, direction: Direction) {
        let (mut from, mut to) = match direction {
            Direction::Requests => (&link.client, &link.server),
            Direction::Replies => (&link.server, &link.client),
        };
        let mut buffer = vec![0; PIECE];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    if self.pass(link, direction, &mut to, &buffer[..length]).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    link.cut(Cut::Reset);
                    break;
                }
            }
        }
        if link.is_cut.load(SeqCst) {
            return;
        }
        match direction {
            // The server may still answer.
            Direction::Requests => drop(to.shutdown(std::net::Shutdown::Write)),
            Direction::Replies => link.cut(Cut::Close),
        }
    }

    fn pass(&self, link: &Link, direction: Direction, to: &mut &TcpStream, mut piece: &[u8]) -> io::Result<()> {
        while !piece.is_empty() {
            match self.step(link, direction, piece) {
                Step::Pass(bytes, pause) => {
                    to.write_all(&piece[..bytes])?;
                    piece = &piece[bytes..];
                    if !pause.is_zero() {
                        thread::sleep(pause);
                    }
                }
                Step::PassLater(time) => {
                    thread::sleep(time);
                    to.write_all(piece)?;
                    return Ok(());
                }
                Step::PassAndCut(bytes, cut) => {
                    to.write_all(&piece[..bytes])?;
                    link.cut(cut);
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                Step::Edit(edit) => {
                    let mut edited = piece.to_vec();
                    edit(&mut edited);
                    to.write_all(&edited)?;
                    return Ok(());
                }
                Step::PassAndAdd(time, bytes) => {
                    to.write_all(piece)?;
                    thread::sleep(time);
                    to.write_all(&bytes)?;
                    return Ok(());
                }
                Step::Stop => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        Ok(())
    }

    /// What is to be done with a piece, as soon as something is to be done.
    fn step(&self, link: &Link, direction: Direction, piece: &[u8]) -> Step {
        let replies = direction == Direction::Replies;
        let mut was_held = false;
        let is_held = |state: &mut State| {
            let truncated = *link.truncated.lock().unwrap() == Some(state.orders);
            let held = match state.behaviour {
                Behaviour::Hold => true,
                Behaviour::HoldReplies => replies,
                _ => truncated,
            };
            let held = held && !link.is_cut.load(SeqCst);
            was_held |= held;
            held
        };
        let mut state = self.changed.wait_while(self.lock(), is_held).unwrap();
        if link.is_cut.load(SeqCst) {
            return Step::Stop;
        }
        let all = Step::Pass(piece.len(), Duration::ZERO);
        if was_held {
            return all;
        }
        match &mut state.behaviour {
            Behaviour::Delay(time) => Step::PassLater(*time),
            Behaviour::Split(pause) if replies => Step::Pass(1, *pause),
            Behaviour::CutAfter { cut, of, bytes } if *of == direction => {
                if piece.len() < *bytes {
                    *bytes -= piece.len();
                    return all;
                }
                let step = Step::PassAndCut(*bytes, *cut);
                state.behaviour = Behaviour::Pass;
                step
            }
            Behaviour::CutAnswer { to, .. } if !replies => {
                let beginning = &piece[..piece.len().min(BEGINNING)];
                if beginning.windows(to.len()).any(|part| part == to.as_bytes()) {
                    link.is_doomed.store(true, SeqCst);
                }
                all
            }
            Behaviour::CutAnswer { cut, times, .. } if link.is_doomed.load(SeqCst) => {
                let step = Step::PassAndCut(0, *cut);
                *times -= 1;
                if *times == 0 {
                    state.behaviour = Behaviour::Pass;
                }
                step
            }
            Behaviour::Truncate { bytes } if replies => {
                if piece.len() <= *bytes {
                    *bytes -= piece.len();
                    return all;
                }
                let step = Step::Pass(*bytes, Duration::ZERO);
                *link.truncated.lock().unwrap() = Some(state.orders);
                state.behaviour = Behaviour::Pass;
                step
            }
            Behaviour::Edit(_) | Behaviour::InjectLater(..) if replies => match mem::take(&mut state.behaviour) {
                Behaviour::Edit(edit) => Step::Edit(edit),
                Behaviour::InjectLater(bytes, time) => Step::PassAndAdd(time, bytes),
                _ => all,
            },
            _ => all,
        }
    }
}
