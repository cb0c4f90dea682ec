//! Names: which addresses a host has, and which server its name stands for.
//!
//! The system's resolver takes no limit, so each lookup has a thread, which ends with it. Callers who need the same name wait
//! for the same lookup, and a process has only so many under way: a resolver that hangs holds a few threads, however many
//! callers come and go. There is no static lock: one that another thread holds during a `fork` stays locked in the child.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io, process, thread};

use bound::{BOUND, Bound, Permit};

use crate::pool::PerProcess;

mod bound;
#[cfg(test)]
mod tests;

/// How many lookups may be under way for one name of a store.
const MOST_OF_A_NAME: u32 = 4;

/// After this a lookup is not relied upon, and another one begins: the resolver may be back long before it repeats its question
/// (glibc: after 5 s).
const SLOW: Duration = Duration::from_secs(1);

/// How often a caller looks whether a lookup may begin.
const POLL: Duration = Duration::from_millis(5);

/// How a host is looked up. The ports in the addresses mean nothing.
type Lookup = fn(&str) -> io::Result<Vec<SocketAddr>>;

fn ask_the_system(host: &str) -> io::Result<Vec<SocketAddr>> {
    (host, 0).to_socket_addrs().map(Iterator::collect)
}

/// The names that a store has needed.
pub(crate) struct Names {
    known: PerProcess<Mutex<HashMap<String, Arc<Name>>>>,
    lookup: Lookup,
    bound: &'static Bound,
}

impl Default for Names {
    fn default() -> Self {
        Self { known: PerProcess::new(Mutex::default()), lookup: ask_the_system, bound: &BOUND }
    }
}

impl Names {
    /// What is known of a host, or its address, if it is one. Nothing is looked up.
    pub(crate) fn host(&self, host: &str) -> Result<Arc<Name>, IpAddr> {
        if let Ok(address) = host.parse() {
            return Err(address);
        }
        let new = || {
            Arc::new(Name {
                host: host.to_owned(),
                lookup: self.lookup,
                bound: self.bound,
                state: Mutex::default(),
                answered: Condvar::new(),
                generation: AtomicU64::new(0),
            })
        };
        // In a process that was forked a thread of the parent may have a lock here for ever, or one of a name.
        let known = self.known.own(|_| Mutex::default());
        Ok(Arc::clone(lock(known).entry(host.to_owned()).or_insert_with(new)))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

/// A host that is known by its name.
pub(crate) struct Name {
    host: String,
    lookup: Lookup,
    bound: &'static Bound,
    state: Mutex<State>,
    answered: Condvar,
    /// Grows when the name stands for another server than before.
    generation: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The process that has these lookups under way.
    process: u32,
    under_way: u32,
    /// How many lookups have begun, and when the last one did, if it is under way.
    begun: u64,
    newest: Option<Instant>,
    /// How many answers there were, and the last one.
    answers: u64,
    answer: Option<Result<Vec<SocketAddr>, (io::ErrorKind, String)>>,
    /// The addresses of the server that the name stands for, sorted.
    server: Vec<SocketAddr>,
}

/// The server that a name stands for.
#[derive(Debug)]
pub(crate) struct Server {
    /// One, or one of each family, in the resolver's order.
    pub(crate) addresses: Vec<SocketAddr>,
    /// How many addresses the name has.
    pub(crate) of: usize,
    /// For [`Name::is_current`].
    pub(crate) generation: u64,
}

impl Name {
    /// The server that the name stands for now. Two processes that get the same addresses, in whatever order, get the same server.
    pub(crate) fn server(self: &Arc<Self>, deadline: Instant) -> io::Result<Server> {
        let found = self.addresses(deadline)?;
        let addresses = choose(&found);
        let mut server = addresses.clone();
        server.sort_unstable();
        let mut state = lock(&self.state);
        let is_part = |some: &[SocketAddr], all: &[SocketAddr]| some.iter().all(|address| all.contains(address));
        // A resolver may leave out the addresses of a family. That is no other server.
        if !is_part(&server, &state.server) {
            if !is_part(&state.server, &server) {
                self.generation.fetch_add(1, Ordering::Relaxed);
            }
            state.server = server;
        }
        Ok(Server { addresses, of: found.len(), generation: self.generation.load(Ordering::Relaxed) })
    }

    /// Whether the name still stands for the server of this generation, as far as is known.
    pub(crate) fn is_current(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Relaxed) == generation
    }

    /// All addresses of the host, each once, in the resolver's order.
    pub(crate) fn addresses(self: &Arc<Self>, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
        let mut state = lock(&self.state);
        let process = process::id();
        if state.process != process {
            // What is under way, if anything, is so in the process that this one is a fork of.
            (state.process, state.under_way, state.newest) = (process, 0, None);
        }
        let answers = state.answers;
        loop {
            if let Some(answer) = state.answer.as_ref().filter(|_| state.answers > answers) {
                return answer.clone().map_err(|(kind, text)| io::Error::new(kind, text));
            }
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return Err(self.silence(&state));
            }
            let is_slow = |begin| now.saturating_duration_since(begin) >= SLOW;
            if state.newest.is_none_or(is_slow)
                && state.under_way < MOST_OF_A_NAME
                && let Some(permit) = self.bound.permit(process)
            {
                self.begin(&mut state, permit, now)?;
            }
            let pause = if state.under_way == 0 { POLL } else { SLOW / 10 };
            let waited = self.answered.wait_timeout(state, left.min(pause));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn begin(self: &Arc<Self>, state: &mut State, permit: Permit, now: Instant) -> io::Result<()> {
        let (name, number) = (Arc::clone(self), state.begun + 1);
        thread::Builder::new().name("kv-resolve".into()).spawn(move || {
            let found = (name.lookup)(&name.host);
            drop(permit);
            name.end(number, found);
        })?;
        state.begun = number;
        state.newest = Some(now);
        state.under_way += 1;
        Ok(())
    }

    fn end(&self, number: u64, found: io::Result<Vec<SocketAddr>>) {
        let mut state = lock(&self.state);
        state.under_way = state.under_way.saturating_sub(1);
        let is_newest = state.begun == number;
        if is_newest {
            state.newest = None;
        }
        // What an older lookup failed to get, the newest one may get.
        if is_newest || found.is_ok() {
            state.answer = Some(found.map(distinct).map_err(|error| (error.kind(), error.to_string())));
            state.answers += 1;
            self.answered.notify_all();
        }
    }

    fn silence(&self, state: &State) -> io::Error {
        let host = &self.host;
        let text = if state.under_way == 0 {
            let most = self.bound.most;
            format!("{host} was not looked up: the resolver (DNS) has not answered {most} other lookups")
        } else {
            format!("the resolver (DNS) does not answer, {host} was to be looked up")
        };
        io::Error::new(io::ErrorKind::TimedOut, text)
    }
}

/// Each address once, without a port.
fn distinct(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut distinct = Vec::with_capacity(found.len());
    for mut address in found {
        if let IpAddr::V4(mapped) = address.ip().to_canonical() {
            address = (mapped, 0).into();
        }
        address.set_port(0);
        if !distinct.contains(&address) {
            distinct.push(address);
        }
    }
    distinct
}

/// The addresses of the server that a name with these addresses stands for. With one of each family at most it is one server that
/// can be reached by both. Otherwise it is the lowest IPv4 address, or the lowest IPv6 address where there is no other.
fn choose(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let of_v4 = addresses.iter().filter(|address| address.is_ipv4()).count();
    if of_v4 <= 1 && addresses.len() - of_v4 <= 1 {
        return addresses.to_vec();
    }
    // IPv4 comes before IPv6.
    addresses.iter().min().copied().into_iter().collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
