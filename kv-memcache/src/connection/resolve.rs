//! Host names: which addresses they have, and for which server a name stands.
//!
//! The resolver of the system has no time limit, so each lookup runs on a thread of its own. Callers that need the same name wait for the
//! same lookup, and the number of lookups in a process is limited. So a resolver that hangs holds a few threads, however many callers
//! there are. There is no static lock: a lock that another thread holds during a `fork` stays locked in the child process.
//!
//! This file is the same in kv-redis and kv-memcache.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io, process, thread};

use limit::{LOOKUPS, LookupLimit, LookupPermit};

use super::per_process::PerProcess;

mod limit;
#[cfg(test)]
mod tests;

/// How many lookups may run for one name of a store.
const MOST_OF_A_NAME: u32 = 4;

/// After this time another lookup begins beside a slow one: the resolver may be back long before it repeats its question (glibc: after
/// 5 s).
const SLOW: Duration = Duration::from_secs(1);

/// How often a caller checks whether a lookup may begin.
const POLL: Duration = Duration::from_millis(5);

/// Looks up a host. The ports in the addresses mean nothing.
type Lookup = fn(&str) -> io::Result<Vec<SocketAddr>>;

fn ask_the_system(host: &str) -> io::Result<Vec<SocketAddr>> {
    (host, 0).to_socket_addrs().map(Iterator::collect)
}

/// The host names that a store has needed.
pub(crate) struct Resolver {
    names: PerProcess<Mutex<HashMap<String, Arc<HostName>>>>,
    lookup: Lookup,
    limit: &'static LookupLimit,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { names: PerProcess::new(Mutex::default()), lookup: ask_the_system, limit: &LOOKUPS }
    }
}

impl Resolver {
    /// The host by its name, or its IP address if the text is one. Nothing is looked up.
    pub(crate) fn host(&self, host: &str) -> Result<Arc<HostName>, IpAddr> {
        if let Ok(address) = host.parse() {
            return Err(address);
        }
        let new = || {
            Arc::new(HostName {
                host: host.to_owned(),
                lookup: self.lookup,
                limit: self.limit,
                state: Mutex::default(),
                answered: Condvar::new(),
                generation: AtomicU64::new(0),
            })
        };
        // In a process that was forked, a thread of the parent may hold this lock for ever, or that of a name.
        let names = self.names.own(|_| Mutex::default());
        Ok(Arc::clone(lock(names).entry(host.to_owned()).or_insert_with(new)))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

/// A host by its name.
pub(crate) struct HostName {
    host: String,
    lookup: Lookup,
    limit: &'static LookupLimit,
    state: Mutex<State>,
    answered: Condvar,
    /// Grows when the name stands for another server than before.
    generation: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The process in which these lookups run.
    process: u32,
    running: u32,
    /// How many lookups have begun, and when the last one began, if it is still running.
    begun: u64,
    newest: Option<Instant>,
    /// How many answers there were, and the last one of them.
    answers: u64,
    answer: Option<Result<Vec<SocketAddr>, (io::ErrorKind, String)>>,
    /// The addresses of the server that the name stands for, sorted.
    server: Vec<SocketAddr>,
}

/// The addresses of the server for which a name stands.
#[derive(Debug)]
pub(crate) struct ServerAddresses {
    /// One address, or one of each family, in the resolver's order.
    pub(crate) addresses: Vec<SocketAddr>,
    /// How many addresses the name has.
    pub(crate) of: usize,
    /// For [`HostName::is_current`].
    pub(crate) generation: u64,
}

impl HostName {
    /// The server for which the name stands now. Two processes that get the same addresses, in any order, get the same server.
    pub(crate) fn server(self: &Arc<Self>, deadline: Instant) -> io::Result<ServerAddresses> {
        let found = self.addresses(deadline)?;
        let addresses = choose(&found);
        let mut server = addresses.clone();
        server.sort_unstable();
        let mut state = lock(&self.state);
        let is_part = |some: &[SocketAddr], all: &[SocketAddr]| some.iter().all(|address| all.contains(address));
        // A resolver may leave out the addresses of a family. That is the same server.
        if !is_part(&server, &state.server) {
            if !is_part(&state.server, &server) {
                self.generation.fetch_add(1, Ordering::Relaxed);
            }
            state.server = server;
        }
        Ok(ServerAddresses { addresses, of: found.len(), generation: self.generation.load(Ordering::Relaxed) })
    }

    /// Whether the name still stands for the server of this generation, by the last lookup.
    pub(crate) fn is_current(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Relaxed) == generation
    }

    /// All addresses of the host, each once, in the resolver's order.
    pub(crate) fn addresses(self: &Arc<Self>, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
        let mut state = lock(&self.state);
        let process = process::id();
        if state.process != process {
            // The lookups that are counted here run in the parent process.
            (state.process, state.running, state.newest) = (process, 0, None);
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
                && state.running < MOST_OF_A_NAME
                && let Some(permit) = self.limit.permit(process)
            {
                self.begin(&mut state, permit, now)?;
            }
            let pause = if state.running == 0 { POLL } else { SLOW / 10 };
            let waited = self.answered.wait_timeout(state, left.min(pause));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn begin(self: &Arc<Self>, state: &mut State, permit: LookupPermit, now: Instant) -> io::Result<()> {
        let (name, number) = (Arc::clone(self), state.begun + 1);
        thread::Builder::new().name("kv-resolve".into()).spawn(move || {
            let found = (name.lookup)(&name.host);
            drop(permit);
            name.end(number, found);
        })?;
        state.begun = number;
        state.newest = Some(now);
        state.running += 1;
        Ok(())
    }

    fn end(&self, number: u64, found: io::Result<Vec<SocketAddr>>) {
        let mut state = lock(&self.state);
        state.running = state.running.saturating_sub(1);
        let is_newest = state.begun == number;
        if is_newest {
            state.newest = None;
        }
        // If an older lookup failed, the newest one may still succeed.
        if is_newest || found.is_ok() {
            state.answer = Some(found.map(distinct).map_err(|error| (error.kind(), error.to_string())));
            state.answers += 1;
            self.answered.notify_all();
        }
    }

    fn silence(&self, state: &State) -> io::Error {
        let host = &self.host;
        let text = if state.running == 0 {
            let most = self.limit.most;
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

/// Chooses, of the addresses of a name, those of the server for which it stands. With at most one address of each family they are one
/// server. Otherwise it is the lowest IPv4 address, or the lowest IPv6 address where there is no IPv4 address.
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
