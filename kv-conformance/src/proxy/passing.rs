//! What the threads of a proxy share, and how they pass on the bytes of its connections.

use std::io::{self, Read};
use std::mem;
use std::net::Shutdown;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::{SockAddr, Socket, Type};

use super::behaviour::{Behaviour, Cut, Direction, Edit};
use super::connection::Connection;

/// How many bytes are read at once. A small reply comes in one piece.
const PIECE: usize = 64 * 1024;

/// How many bytes at the beginning of a reply are garbled.
const GARBLED: usize = 8;

/// How far into a piece of requests the name of a command is searched.
const BEGINNING: usize = 256;

/// What the threads of a proxy share.
#[derive(Debug)]
pub(super) struct Shared {
    server: SockAddr,
    state: Mutex<State>,
    /// Notified when the behaviour changes, or a connection is cut or closed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    behaviour: Behaviour,
    /// How often the behaviour was set.
    orders: usize,
    accepted: usize,
    exchanges: usize,
    requested: usize,
    replied: usize,
    injected: usize,
    connections: Vec<Arc<Connection>>,
}

/// How a piece was passed.
enum Passed {
    All,
    /// After a time, in which more may have come.
    Late,
}

/// What to do with a piece.
enum Step {
    /// Pass this many bytes of it, then wait.
    Pass(usize, Duration),
    /// Wait, then pass it.
    PassLater(Duration),
    /// Pass this many bytes of it, then cut.
    PassAndCut(usize, Cut),
    Edit(Edit),
    /// Pass it, wait, and pass the added bytes.
    PassAndAdd(Duration, Vec<u8>),
    /// Nothing, because the connection is cut.
    Stop,
}

impl Shared {
    pub(super) fn new(server: SockAddr) -> Self {
        Self { server, state: Mutex::default(), changed: Condvar::new() }
    }

    pub(super) fn set(&self, behaviour: Behaviour) {
        let mut state = self.lock();
        state.behaviour = behaviour;
        state.orders += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Cuts all connections, and waits up to this long until they are closed. Returns whether they are.
    pub(super) fn cut_all(&self, cut: Cut, patience: Duration) -> bool {
        let connections = self.lock().connections.clone();
        for connection in &connections {
            connection.cut(cut);
        }
        // A thread that checked before the cut is waiting by now.
        drop(self.lock());
        self.changed.notify_all();
        let open = |state: &mut State| {
            state.connections.iter().any(|connection| connections.iter().any(|cut| Arc::ptr_eq(cut, connection)))
        };
        let waited = self.changed.wait_timeout_while(self.lock(), patience, open);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(state);
        !waited.timed_out()
    }

    pub(super) fn accepted(&self) -> usize {
        self.lock().accepted
    }

    pub(super) fn open(&self) -> usize {
        self.lock().connections.len()
    }

    pub(super) fn waiting_for_reply(&self) -> usize {
        self.lock().connections.iter().filter(|connection| connection.is_asked.load(SeqCst)).count()
    }

    pub(super) fn exchanges(&self) -> usize {
        self.lock().exchanges
    }

    pub(super) fn is_waiting(&self) -> bool {
        let behaviour = &self.lock().behaviour;
        matches!(
            behaviour,
            Behaviour::CutAfter { .. }
                | Behaviour::CutAnswer { .. }
                | Behaviour::Truncate { .. }
                | Behaviour::Garble
                | Behaviour::GarbleAfter(_)
        )
    }

    pub(super) fn injected(&self) -> usize {
        self.lock().injected
    }

    pub(super) fn bytes(&self, of: Direction) -> usize {
        match of {
            Direction::Requests => self.lock().requested,
            Direction::Replies => self.lock().replied,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self) -> io::Result<Socket> {
        let server = Socket::new(self.server.domain(), Type::STREAM, None)?;
        server.connect(&self.server)?;
        Ok(server)
    }

    /// Passes the bytes of a new connection, in two threads of its own.
    pub(super) fn serve(shared: &Arc<Self>, client: Socket) {
        shared.lock().accepted += 1;
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // A server that accepts slowly does not delay other connections.
            let Ok(server) = shared.connect() else {
                let _ = client.set_linger(Some(Duration::ZERO));
                return;
            };
            let connection = Arc::new(Connection::new(client, server));
            shared.lock().connections.push(Arc::clone(&connection));
            thread::scope(|scope| {
                scope.spawn(|| shared.pump(&connection, Direction::Requests));
                shared.pump(&connection, Direction::Replies);
            });
            // The last of the two threads closes the sockets, under the lock, and then notifies the threads that wait for it.
            let mut state = shared.lock();
            state.connections.retain(|other| !Arc::ptr_eq(other, &connection));
            drop(connection);
            drop(state);
            shared.changed.notify_all();
        });
    }

    /// Passes bytes in one direction, until the connection ends.
    fn pump(&self, connection: &Connection, direction: Direction) {
        let (mut from, mut to) = match direction {
            Direction::Requests => (&connection.client, &connection.server),
            Direction::Replies => (&connection.server, &connection.client),
        };
        let mut buffer = vec![0; PIECE];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    let piece = buffer.get(..length).unwrap_or_default();
                    let is_first = self.count(connection, direction, length);
                    let passed = match self.pass(connection, direction, is_first, &mut to, piece) {
                        Ok(Passed::Late) => self.pass_what_came(connection, direction, from, &mut to),
                        passed => passed.map(drop),
                    };
                    if passed.is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    connection.cut(Cut::Reset);
                    break;
                }
            }
        }
        if connection.is_cut.load(SeqCst) {
            return;
        }
        match direction {
            // The server may still answer.
            Direction::Requests => drop(to.shutdown(Shutdown::Write)),
            Direction::Replies => {
                connection.cut(Cut::Close);
                drop(self.lock());
                self.changed.notify_all();
            }
        }
    }

    /// Passes what has come while a piece was delayed: a reply in two pieces is not delayed twice. Does not wait.
    fn pass_what_came(
        &self,
        connection: &Connection,
        direction: Direction,
        from: &Socket,
        to: &mut &Socket,
    ) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        // At the end of the connection the next read says so once more.
        while matches!(self.lock().behaviour, Behaviour::Delay(_))
            && let Ok(length @ 1..) = receive_at_once(from, &mut buffer)
        {
            self.count(connection, direction, length);
            connection.write(to, buffer.get(..length).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Counts a piece. Returns whether it is the first of a request or of a reply.
    fn count(&self, connection: &Connection, direction: Direction, bytes: usize) -> bool {
        let mut state = self.lock();
        match direction {
            Direction::Requests => {
                state.requested += bytes;
                let is_first = !connection.is_asked.swap(true, SeqCst);
                state.exchanges += usize::from(is_first);
                is_first
            }
            Direction::Replies => {
                state.replied += bytes;
                connection.is_asked.swap(false, SeqCst)
            }
        }
    }

    fn pass(
        &self,
        connection: &Connection,
        direction: Direction,
        mut is_first: bool,
        to: &mut &Socket,
        mut piece: &[u8],
    ) -> io::Result<Passed> {
        while !piece.is_empty() {
            match self.step(connection, direction, is_first, piece) {
                Step::Pass(bytes, pause) => {
                    let (now, then) = piece.split_at_checked(bytes).unwrap_or((piece, &[]));
                    connection.write(to, now)?;
                    piece = then;
                    is_first = false;
                    if !pause.is_zero() {
                        thread::sleep(pause);
                    }
                }
                Step::PassLater(time) => {
                    thread::sleep(time);
                    connection.write(to, piece)?;
                    return Ok(Passed::Late);
                }
                Step::PassAndCut(bytes, cut) => {
                    connection.write(to, piece.get(..bytes).unwrap_or(piece))?;
                    connection.cut(cut);
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                Step::Edit(edit) => {
                    let mut edited = piece.to_vec();
                    edit(&mut edited);
                    connection.write(to, &edited)?;
                    return Ok(Passed::All);
                }
                Step::PassAndAdd(time, bytes) if time.is_zero() => {
                    let written = connection.write(to, &[piece, &bytes].concat());
                    self.lock().injected += 1;
                    return written.map(|()| Passed::All);
                }
                Step::PassAndAdd(time, bytes) => {
                    connection.write(to, piece)?;
                    thread::sleep(time);
                    let written = connection.write(to, &bytes);
                    self.lock().injected += 1;
                    return written.map(|()| Passed::All);
                }
                Step::Stop => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        Ok(Passed::All)
    }

    /// What to do with a piece. This waits until there is something to do.
    fn step(&self, connection: &Connection, direction: Direction, is_first: bool, piece: &[u8]) -> Step {
        let replies = direction == Direction::Replies;
        let mut was_held = false;
        let is_held = |state: &mut State| {
            let held = match state.behaviour {
                Behaviour::Hold => true,
                Behaviour::HoldReplies => replies,
                _ => *connection.truncated() == Some((state.orders, direction)),
            };
            let held = held && !connection.is_cut.load(SeqCst);
            was_held |= held;
            held
        };
        let state = self.changed.wait_while(self.lock(), is_held);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if connection.is_cut.load(SeqCst) {
            return Step::Stop;
        }
        let all = Step::Pass(piece.len(), Duration::ZERO);
        if was_held {
            return all;
        }
        let order = state.orders;
        match &mut state.behaviour {
            Behaviour::Delay(time) => Step::PassLater(*time),
            Behaviour::Split(pause) if replies => Step::Pass(1, *pause),
            Behaviour::CutAfter { cut, of, bytes } if *of == direction => {
                // With the next byte, if there is one.
                if piece.len() <= *bytes {
                    *bytes -= piece.len();
                    return all;
                }
                let step = Step::PassAndCut(*bytes, *cut);
                state.behaviour = Behaviour::Pass;
                step
            }
            Behaviour::CutAnswer { to, .. } if !replies => {
                let beginning = piece.get(..BEGINNING).unwrap_or(piece);
                if beginning.windows(to.len()).any(|part| part == to.as_bytes()) {
                    connection.is_doomed.store(true, SeqCst);
                }
                all
            }
            Behaviour::CutAnswer { cut, times, .. } if connection.is_doomed.load(SeqCst) => {
                let step = Step::PassAndCut(0, *cut);
                *times -= 1;
                if *times == 0 {
                    state.behaviour = Behaviour::Pass;
                }
                step
            }
            Behaviour::Truncate { of, bytes } if *of == direction => {
                if piece.len() <= *bytes {
                    *bytes -= piece.len();
                    return all;
                }
                let step = Step::Pass(*bytes, Duration::ZERO);
                *connection.truncated() = Some((state.orders, direction));
                state.behaviour = Behaviour::Pass;
                step
            }
            Behaviour::TruncateEach { of, bytes } if *of == direction => {
                let now = connection.pass_at_most(order, *bytes, piece.len());
                if now < piece.len() {
                    *connection.truncated() = Some((order, direction));
                }
                Step::Pass(now, Duration::ZERO)
            }
            Behaviour::GarbleAfter(others) if replies && is_first && *others > 0 => {
                *others -= 1;
                all
            }
            Behaviour::Garble | Behaviour::GarbleAfter(_) if replies && is_first => {
                state.behaviour = Behaviour::Pass;
                Step::Edit(Box::new(|piece| piece.iter_mut().take(GARBLED).for_each(|byte| *byte ^= 0x80)))
            }
            Behaviour::Add { after, .. } if replies && piece.len() < *after => {
                *after -= piece.len();
                all
            }
            // After the whole piece: a reply may be longer than the one that was counted.
            Behaviour::Add { bytes, later, .. } if replies => {
                let step = Step::PassAndAdd(*later, mem::take(bytes));
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

/// Receives what is there.
#[cfg(unix)]
fn receive_at_once(from: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    let (length, _) = rustix::net::recv(from, buffer, rustix::net::RecvFlags::DONTWAIT)?;
    Ok(length)
}

/// Other systems have no such flag: a second piece is delayed by itself.
#[cfg(not(unix))]
fn receive_at_once(_: &Socket, _: &mut [u8]) -> io::Result<usize> {
    Ok(0)
}
