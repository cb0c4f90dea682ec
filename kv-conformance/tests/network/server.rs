//! A key-value server in the test's own process, which can be killed, stopped, started again, paused and resumed.

use std::collections::hash_map::{HashMap, RandomState};
use std::hash::BuildHasher;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kv_conformance::{BoxError, ServerControl};
use kv_core::Bytes;

use crate::map::Map;
use crate::wire::{self, Op};

/// What is left of the data when the server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// Nothing.
    Never,
    /// All of it, unless the server was killed.
    AtStop,
    /// All of it.
    EachWrite,
    /// If it was killed, what there was some time before: up to this long.
    Every(Duration),
    /// All of it but what this operation has done.
    AllBut(Op),
    /// All of it but what batches have written.
    AllButBatches,
    /// All of it but large values.
    AllButLargeValues,
    /// All of it but the TTLs: what had one lives for ever.
    WithoutTtls,
    /// All of it, with longer TTLs.
    LongerTtls,
    /// All of it, with the TTLs that there were when it ended: they do not pass until it is started again.
    StoppedClock,
}

/// From which size on a value is lost by a server that loses large ones.
const LARGE: usize = 1 << 20;

/// How much longer TTLs are after a restart.
const LONGER: Duration = Duration::from_secs(600);

/// A server. It ends when this is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    /// Holds the number of the port while the server is down: see [`claim`].
    _claim: UdpSocket,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    persistence: Persistence,
    state: Mutex<State>,
    /// Told when the server is resumed, or ends.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    map: Map,
    /// What was saved last, and when, of a server that saves now and then.
    saved: Option<(Map, Instant)>,
    /// What a server has on its disk that does not save one operation.
    disk: Map,
    /// When the server has ended last.
    ended: Option<Instant>,
    /// How often the server has ended: what was begun in an earlier life has no effect in this one.
    life: u64,
    paused: bool,
    connections: HashMap<u64, TcpStream>,
    taken: u64,
}

impl Server {
    /// Starts a server, on a port that is its own until it is dropped.
    pub(crate) fn start_new(persistence: Persistence) -> io::Result<Self> {
        let (claim, listener) = claim()?;
        let shared = Arc::new(Shared { persistence, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Mutex::default();
        let server = Self { address: listener.local_addr()?, _claim: claim, shared, accepting };
        *lock(&server.accepting) = Some(server.accept_from(listener));
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does something to the data behind the back of the stores.
    pub(crate) fn with_map(&self, act: impl FnOnce(&mut Map)) {
        act(&mut self.shared.lock().map);
    }

    /// Ends at once: every connection is closed, and the port is refused. What was not saved by then is lost.
    pub(crate) fn kill(&self) {
        self.end(|persistence, state| match persistence {
            Persistence::Never | Persistence::AtStop => state.map = Map::default(),
            Persistence::EachWrite
            | Persistence::AllBut(_)
            | Persistence::AllButBatches
            | Persistence::AllButLargeValues
            | Persistence::WithoutTtls
            | Persistence::LongerTtls
            | Persistence::StoppedClock => {}
            Persistence::Every(_) => state.map = state.saved.take().map(|(map, _)| map).unwrap_or_default(),
        });
    }

    /// Saves and ends.
    pub(crate) fn stop(&self) {
        self.end(|persistence, state| {
            if persistence == Persistence::Never {
                state.map = Map::default();
            }
        });
    }

    /// Starts again, on the same port, with what was saved.
    pub(crate) fn start(&self) -> io::Result<()> {
        let mut accepting = lock(&self.accepting);
        if accepting.is_none() {
            let mut state = self.shared.lock();
            if self.shared.persistence == Persistence::StoppedClock
                && let Some(ended) = state.ended.take()
            {
                state.map.prolong_ttls(ended.elapsed());
            }
            drop(state);
            *accepting = Some(self.accept_from(TcpListener::bind(self.address)?));
        }
        Ok(())
    }

    /// Takes connections and requests, and does nothing with them until it is resumed.
    pub(crate) fn pause(&self) {
        self.shared.lock().paused = true;
    }

    pub(crate) fn resume(&self) {
        self.shared.lock().paused = false;
        self.shared.changed.notify_all();
    }

    fn accept_from(&self, listener: TcpListener) -> JoinHandle<()> {
        let shared = Arc::clone(&self.shared);
        let life = shared.lock().life;
        thread::spawn(move || shared.accept(&listener, life))
    }

    fn end(&self, keep: impl FnOnce(Persistence, &mut State)) {
        // Held until the end: who starts the server meanwhile has to wait for the port.
        let mut accepting = lock(&self.accepting);
        let Some(thread) = accepting.take() else { return };
        {
            let mut state = self.shared.lock();
            state.life += 1;
            state.paused = false;
            for (_, connection) in state.connections.drain() {
                // It may have been closed already.
                let _ = connection.shutdown(Shutdown::Both);
            }
            keep(self.shared.persistence, &mut state);
            match self.shared.persistence {
                Persistence::AllBut(_) | Persistence::AllButBatches => state.map = state.disk.clone(),
                Persistence::AllButLargeValues => state.map.forget_values_of(LARGE),
                Persistence::WithoutTtls => state.map.forget_ttls(),
                Persistence::LongerTtls => state.map.prolong_ttls(LONGER),
                Persistence::StoppedClock => {
                    state.map.forget_expired();
                    state.ended = Some(Instant::now());
                }
                _ => {}
            }
        }
        self.shared.changed.notify_all();
        // A connection wakes the thread that waits for one. When it has ended the port is closed.
        while !thread.is_finished() {
            let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(100));
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl ServerControl for Server {
    fn kill(&self) -> Result<(), BoxError> {
        Self::kill(self);
        Ok(())
    }

    fn stop(&self) -> Result<(), BoxError> {
        Self::stop(self);
        Ok(())
    }

    fn start(&self) -> Result<(), BoxError> {
        Ok(Self::start(self)?)
    }

    fn pause(&self) -> Result<(), BoxError> {
        Self::pause(self);
        Ok(())
    }

    fn resume(&self) -> Result<(), BoxError> {
        Self::resume(self);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A listener on a port that stays our own while nobody listens there, for as long as the other socket lives.
///
/// It is one that the system gives nobody by itself: of those that it gives, one could be taken while the server is down, even by
/// a connection to it. And who looks for a port as this does, `kv_conformance::server` included, takes none whose UDP port is
/// held.
fn claim() -> io::Result<(UdpSocket, TcpListener)> {
    let random = RandomState::new();
    let ports = (0..1000_u64).map(|attempt| 20_000 + (random.hash_one(attempt) % 10_000) as u16);
    let claim = |port| {
        let claim = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        Some((claim, TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?))
    };
    let mut claims = ports.filter_map(claim);
    claims.next().ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, "no port is free"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes connections until the server ends.
    fn accept(self: &Arc<Self>, listener: &TcpListener, life: u64) {
        for connection in listener.incoming() {
            let mut state = self.lock();
            if state.life != life {
                return;
            }
            let Ok((connection, handle)) = connection.and_then(|taken| Ok((taken.try_clone()?, taken))) else {
                // There are too many: some will be closed.
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            let number = state.taken;
            state.taken += 1;
            state.connections.insert(number, handle);
            drop(state);
            let shared = Arc::clone(self);
            thread::spawn(move || {
                // Whatever ends the connection, it is over.
                let _ = shared.serve(&connection, life);
                if let Some(connection) = shared.lock().connections.remove(&number) {
                    let _ = connection.shutdown(Shutdown::Both);
                }
            });
        }
    }

    /// Answers requests until the connection or the server ends, or something comes that is not a request.
    fn serve(&self, mut connection: &TcpStream, life: u64) -> io::Result<()> {
        connection.set_nodelay(true)?;
        drop(self.wait_for_turn(life)?);
        connection.write_all(wire::GREETING)?;
        loop {
            let (op, fields) = wire::receive(&mut connection, wire::REQUEST)?;
            let fields = fields.into_iter().collect::<Option<Vec<Bytes>>>();
            let mut state = self.wait_for_turn(life)?;
            let (op, fields) = Op::of(op).zip(fields).ok_or(io::ErrorKind::InvalidData)?;
            if op.writes() {
                self.save(&mut state);
            }
            let reply = state.map.apply(op, &fields).ok_or(io::ErrorKind::InvalidData)?;
            let is_saved = match self.persistence {
                Persistence::AllBut(lost) => lost != op,
                // Key, value and TTL of an entry.
                Persistence::AllButBatches => op != Op::Write || fields.len() <= 3,
                _ => false,
            };
            if is_saved {
                state.disk.apply(op, &fields);
            }
            drop(state);
            let fields = reply.iter().map(Option::as_deref);
            connection.write_all(&wire::frame(wire::REPLY, wire::DONE, fields))?;
        }
    }

    /// The state, once the server is not paused; an error if this is another life.
    fn wait_for_turn(&self, life: u64) -> io::Result<MutexGuard<'_, State>> {
        let waits = |state: &mut State| state.paused && state.life == life;
        let state = self.changed.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner);
        if state.life == life { Ok(state) } else { Err(io::ErrorKind::ConnectionAborted.into()) }
    }

    /// Saves, if it is time, what a server that saves now and then has.
    fn save(&self, state: &mut State) {
        let Persistence::Every(interval) = self.persistence else { return };
        if state.saved.as_ref().is_none_or(|(_, at)| at.elapsed() > interval) {
            state.saved = Some((state.map.clone(), Instant::now()));
        }
    }
}
