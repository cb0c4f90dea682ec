//! A cluster: which node has which keys, and how a request gets there.
//!
//! After [the specification of redis cluster](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

use crc::{CRC_16_XMODEM, Crc};
use redis::{ServerErrorKind, Value as Reply};

use crate::connection::credentials::Source;
use crate::connection::endpoint::Endpoint;
use crate::connection::exchange::{Answer, Login, redirection};
use crate::connection::per_process::PerProcess;
use crate::protocol::fault::{Fault, Refusal, ServerName};
use crate::protocol::request::{Request, Shape};
use crate::servers::mapping::announced_endpoint;
use crate::servers::node::{Dialer, Node, Server as _};

/// How many slots there are.
const SLOTS: u16 = 16384;

/// The owner of a slot that has none.
const NOBODY: u16 = u16::MAX;

/// How long after the layout was asked for it is asked for again because of a node that is silent.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How often a request is sent elsewhere before that is taken for an error.
const REDIRECTIONS: usize = 5;

/// The slot of a key: a checksum of it, or of its hash tag, the first part in braces that is not empty.
pub(crate) fn slot(namespace: &str, key: &str) -> u16 {
    const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
    let whole = [namespace.as_bytes(), key.as_bytes()].concat();
    let tag = || {
        let begin = whole.iter().position(|&byte| byte == b'{')? + 1;
        let length = whole.get(begin..)?.iter().position(|&byte| byte == b'}').filter(|&length| length > 0)?;
        whole.get(begin..begin + length)
    };
    CRC.checksum(tag().unwrap_or(&whole)) % SLOTS
}

/// A node, and the indices of the keys that it has.
pub(crate) type Group = (Arc<Node>, Vec<usize>);

/// Which primary has which slots.
pub(crate) struct Layout {
    primaries: Vec<(Endpoint, Arc<Node>)>,
    /// For each slot the index of its primary, or one that there is not.
    owners: Box<[u16]>,
}

impl Layout {
    /// Whether each slot has an owner. A node may not know of all others.
    fn is_complete(&self) -> bool {
        !self.owners.contains(&NOBODY)
    }

    /// The indices of slots by their owner, and those of slots that have none.
    fn groups(&self, slots: &[u16]) -> (Vec<Group>, Vec<usize>) {
        let mut groups = self.primaries.iter().map(|(_, node)| (Arc::clone(node), Vec::new())).collect::<Vec<_>>();
        let mut homeless = Vec::new();
        for (index, &slot) in slots.iter().enumerate() {
            let owner = self.owners.get(usize::from(slot)).copied().unwrap_or(NOBODY);
            groups.get_mut(usize::from(owner)).map_or(&mut homeless, |(_, indices)| indices).push(index);
        }
        groups.retain(|(_, indices)| !indices.is_empty());
        (groups, homeless)
    }

    fn owner(&self, slot: u16) -> Option<&(Endpoint, Arc<Node>)> {
        self.primaries.get(usize::from(*self.owners.get(usize::from(slot))?))
    }
}

pub(crate) struct Cluster {
    seeds: Vec<Endpoint>,
    dialer: Dialer,
    pool_size: u32,
    here: PerProcess<Here>,
}

/// What is known of the cluster in a process.
#[derive(Default)]
struct Here {
    nodes: Mutex<HashMap<Endpoint, Arc<Node>>>,
    layout: RwLock<Option<Arc<Layout>>>,
    /// Whether the layout was seen to be wrong, or can be.
    is_stale: AtomicBool,
    /// When the layout was asked for last.
    looked: Mutex<Option<Instant>>,
    /// The node that failed last, which is asked last for the layout.
    suspect: Mutex<Option<Endpoint>>,
    asking: Mutex<()>,
    /// Which node is asked first for the layout.
    first: AtomicUsize,
}

impl Here {
    /// What a process that was forked knows: the same, but for what a thread of its parent was about to change, and will not.
    fn inherit(parent: &Self) -> Self {
        let layout = parent.layout.try_read().ok().and_then(|layout| layout.clone());
        let known = layout.iter().flat_map(|layout| layout.primaries.iter().cloned());
        let nodes = match parent.nodes.try_lock() {
            Ok(nodes) => nodes.clone(),
            Err(_) => known.collect(),
        };
        let (is_stale, first) = (parent.is_stale.load(Ordering::Relaxed), parent.first.load(Ordering::Relaxed));
        Self {
            nodes: Mutex::new(nodes),
            layout: RwLock::new(layout),
            is_stale: is_stale.into(),
            first: first.into(),
            ..Self::default()
        }
    }
}

impl Cluster {
    pub(crate) fn new(seeds: Vec<Endpoint>, dialer: Dialer, pool_size: u32) -> Self {
        Self { seeds, dialer, pool_size, here: PerProcess::new(Here::default()) }
    }

    /// What is known in this process. A system call.
    fn here(&self) -> &Here {
        self.here.own(Here::inherit)
    }

    /// Makes connections to every primary.
    pub(crate) fn warm_up(&self, connections: u32) -> Result<(), Fault> {
        self.layout()?.primaries.iter().try_for_each(|(_, node)| node.warm_up(connections))
    }

    /// Sends a request whose keys are all of one slot to the primary that has it, and elsewhere if it says so.
    pub(crate) fn exchange(&self, slot: u16, request: &Request<'_>) -> Result<Answer, Fault> {
        let begin = Instant::now();
        let mut node = self.owner(slot)?;
        let mut asks = false;
        for _ in 0..REDIRECTIONS {
            let result = if asks { ask(&node, request) } else { node.exchange(request) };
            asks = false;
            match result {
                // Nothing was sent. It may have been replaced meanwhile: then the others know, if there is time to ask.
                Err(fault) if fault.is_unsent() || self.is_silent_for_long(&fault) => {
                    self.suspect(&node);
                    let is_late = begin.elapsed() >= self.dialer.limits.connect;
                    match if is_late { Ok(Arc::clone(&node)) } else { self.owner(slot) } {
                        Ok(next) if !Arc::ptr_eq(&next, &node) => node = next,
                        _ => return Err(fault),
                    }
                }
                Err(fault) => {
                    self.suspect_after(&fault, &node);
                    return Err(fault);
                }
                Ok(answer) => match way_on(&answer.replies, node.endpoint()) {
                    None => {
                        self.suspect_if_unfit(&answer, &node);
                        return Ok(answer);
                    }
                    Some(Redirection { to, for_once }) => {
                        asks = for_once;
                        if !for_once {
                            self.here.get().is_stale.store(true, Ordering::Relaxed);
                        }
                        node = match to {
                            Some(to) => self.node(&self.dialer.mapping.reach(to)),
                            None => self.owner(slot)?,
                        };
                    }
                },
            }
        }
        Err(Fault::Refused(Refusal::new(
            "TRYAGAIN",
            "the nodes of the cluster send this request from one to the other",
        )))
    }

    /// The node that has a slot, as far as is known without asking.
    pub(crate) fn known_owner(&self, slot: u16) -> Option<Arc<Node>> {
        self.known_layout()?.owner(slot).map(|(_, node)| Arc::clone(node))
    }

    /// The node that has a slot. If none has, as far as is known, the cluster is asked again.
    fn owner(&self, slot: u16) -> Result<Arc<Node>, Fault> {
        let owner = |layout: &Layout| layout.owner(slot).map(|(_, node)| Arc::clone(node));
        match owner(&*self.layout()?) {
            Some(node) => Ok(node),
            None => owner(&*self.look_again()?).ok_or_else(|| self.not_served()),
        }
    }

    pub(crate) fn not_served(&self) -> Fault {
        self.here.get().is_stale.store(true, Ordering::Relaxed);
        Fault::Refused(Refusal::new("CLUSTERDOWN", "no node has the slot"))
    }

    /// Sends a request whose keys are of several slots to a node that should have them all. What it has not is in the answer
    /// as a server's error.
    pub(crate) fn exchange_with(&self, node: &Node, request: &Request<'_>) -> Result<Answer, Fault> {
        let result = node.exchange(request);
        match &result {
            Ok(answer) if answer.replies.iter().any(|reply| redirection(reply).is_some()) => {
                self.here.get().is_stale.store(true, Ordering::Relaxed);
            }
            Ok(answer) => self.suspect_if_unfit(answer, node),
            Err(fault) => self.suspect_after(fault, node),
        }
        result
    }

    /// Whether a node is silent, and the layout was not asked for just before: a replica may have taken over. Operations on such a node
    /// fail at once, and not each of them is to ask.
    fn is_silent_for_long(&self, fault: &Fault) -> bool {
        let looked = *lock(&self.here().looked);
        matches!(fault.itself(), Fault::Silent(_)) && looked.is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN)
    }

    /// A node of which all connections are in use has not failed.
    fn suspect_after(&self, fault: &Fault, node: &Node) {
        if self.is_silent_for_long(fault) {
            self.suspect(node);
        }
        if !matches!(
            fault.itself(),
            Fault::PoolExhausted | Fault::Silent(_) | Fault::NoCredentials(_) | Fault::Lacks(_)
        ) {
            self.suspect(node);
        }
    }

    /// A node that serves nobody at the moment may have been replaced without knowing.
    fn suspect_if_unfit(&self, answer: &Answer, node: &Node) {
        let is_unfit = |reply: &Reply| match reply {
            Reply::ServerError(error) => {
                matches!(error.code(), "CLUSTERDOWN" | "MASTERDOWN" | "READONLY" | "LOADING")
            }
            _ => false,
        };
        if answer.replies.iter().any(is_unfit) {
            self.suspect(node);
        }
    }

    /// Notes that a node failed: before the next request the others are asked whether it has been replaced.
    fn suspect(&self, node: &Node) {
        let here = self.here();
        *lock(&here.suspect) = node.endpoint().cloned();
        here.is_stale.store(true, Ordering::Relaxed);
    }

    /// The indices of keys, by the node that has them, and those that no node has.
    pub(crate) fn by_node(&self, slots: impl Iterator<Item = u16>) -> Result<(Vec<Group>, Vec<usize>), Fault> {
        let slots = slots.collect::<Vec<_>>();
        let (groups, homeless) = self.layout()?.groups(&slots);
        if homeless.is_empty() { Ok((groups, homeless)) } else { Ok(self.look_again()?.groups(&slots)) }
    }

    /// The layout as it is known, or asked for if it is not known or known to be stale.
    pub(crate) fn layout(&self) -> Result<Arc<Layout>, Fault> {
        let known = self.known_layout();
        match known {
            Some(layout) if !self.here.get().is_stale.load(Ordering::Relaxed) => Ok(layout),
            // Better the stale one than none: who is not where it says, says so.
            Some(layout) => Ok(self.look_again().unwrap_or(layout)),
            None => self.look_again(),
        }
    }

    fn known_layout(&self) -> Option<Arc<Layout>> {
        match self.here.get().layout.try_read() {
            Ok(layout) => layout.clone(),
            // A thread changes it just now, perhaps one of the process that this one was forked from.
            Err(_) => self.here().layout.read().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Asks the cluster for its layout. If another thread is asking already, the known one has to do, if there is one.
    fn look_again(&self) -> Result<Arc<Layout>, Fault> {
        match (self.here().asking.try_lock(), self.known_layout()) {
            (Err(TryLockError::WouldBlock), Some(known)) => Ok(known),
            _ => self.look(),
        }
    }

    /// Asks the cluster for its layout.
    fn look(&self) -> Result<Arc<Layout>, Fault> {
        let here = self.here();
        here.is_stale.store(false, Ordering::Relaxed);
        *lock(&here.looked) = Some(Instant::now());
        let suspect = lock(&here.suspect).clone();
        let layout = self.ask_for_layout(suspect.as_ref());
        let layout = Arc::new(layout.inspect_err(|_| here.is_stale.store(true, Ordering::Relaxed))?);
        // Only now: if nobody answered, or nobody was asked because there were no credentials, it is still the last to be asked. Another
        // thread may suspect another node by now.
        lock(&here.suspect).take_if(|current| Some(&*current) == suspect.as_ref());
        *here.layout.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&layout));
        let is_known = |endpoint: &Endpoint| layout.primaries.iter().any(|(known, _)| known == endpoint);
        self.lock_nodes().retain(|endpoint, _| is_known(endpoint) || self.seeds.contains(endpoint));
        Ok(layout)
    }

    /// Asks one node after the other, those that are known first, within the time that a connection may take.
    fn ask_for_layout(&self, suspect: Option<&Endpoint>) -> Result<Layout, Fault> {
        let known = self.known_layout();
        let known = known.iter().flat_map(|layout| layout.primaries.iter().map(|(endpoint, _)| endpoint.clone()));
        let mut places = known.collect::<Vec<_>>();
        places.extend(self.seeds.iter().filter(|seed| !places.contains(seed)).cloned().collect::<Vec<_>>());
        let here = self.here();
        // Begin where the last one began to answer, or gave up.
        let first = here.first.load(Ordering::Relaxed) % places.len().max(1);
        places.rotate_left(first);
        places.sort_by_key(|endpoint| suspect == Some(endpoint));
        let limit = self.dialer.limits.connect;
        let deadline = Instant::now() + limit;
        // Once, as its time is to be no part of a node's share.
        let asked_who = self.dialer.login.credentials.ask(deadline)?;
        let login = Login { credentials: Source::Fixed(asked_who.credentials.clone()), ..self.dialer.login.clone() };
        let (mut best, mut last) = (None::<Layout>, None);
        for (asked, endpoint) in places.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                here.first.store(first + asked, Ordering::Relaxed);
                break;
            }
            // One that does not answer must not use up the time of all the others, and one that is far away needs some.
            let share = left / u32::try_from(places.len() - asked).unwrap_or(u32::MAX);
            match self.ask_one(endpoint, &login, Instant::now() + share.max(limit / 4).min(left)) {
                Ok(layout) if layout.is_complete() => {
                    here.first.store(first + asked, Ordering::Relaxed);
                    return Ok(layout);
                }
                Ok(layout) => {
                    let known = |layout: &Layout| layout.owners.iter().filter(|&&owner| owner != NOBODY).count();
                    if best.as_ref().is_none_or(|best| known(best) < known(&layout)) {
                        best = Some(layout);
                    }
                }
                Err(fault) => last = Some(fault.at(Some(&self.name_of(endpoint)))),
            }
        }
        match best {
            Some(layout) => Ok(layout),
            None => Err(asked_who.blame(last.unwrap_or_else(|| self.not_served()))),
        }
    }

    /// Asks a node for the layout, on a connection for that alone: those of the pool may all be in use.
    fn ask_one(&self, endpoint: &Endpoint, login: &Login, deadline: Instant) -> Result<Layout, Fault> {
        let mut connection = self.dialer.dial_any_at(endpoint, login, deadline)?;
        let question = Request::reading().with(Shape::Any, ["CLUSTER".into(), "SLOTS".into()]);
        let answer = connection.exchange(&question, Instant::now(), deadline).map_err(|fault| match fault {
            Fault::Broken { cause, .. } => Fault::NotConnected(cause),
            other => other,
        })?;
        match answer.replies.into_iter().next() {
            Some(Reply::Array(ranges)) => {
                // A node that leaves out its host is where this connection leads, and not all that its name may stand for.
                let answered = match (endpoint, connection.one_of_several()) {
                    (Endpoint::Tcp { port, .. }, Some(ip)) => Endpoint::Tcp { host: ip.to_string(), port: *port },
                    _ => endpoint.clone(),
                };
                self.read_layout(&ranges, &answered).ok_or(Fault::Desynchronized)
            }
            Some(Reply::ServerError(error)) => Err(Fault::Refused(error.into())),
            _ => Err(Fault::Desynchronized),
        }
    }

    /// What is to be listed, and how its keys are spread, so that a listing can see whether that changes.
    pub(crate) fn spread(&self) -> Result<Spread, Fault> {
        let primaries = self.look()?.primaries.iter().map(|(_, node)| Arc::clone(node)).collect();
        Spread::new(primaries)
    }

    /// Reads the reply to `CLUSTER SLOTS`: arrays of first slot, last slot, primary, replicas; a node is an array of host,
    /// port and more. A node without a host is the one that answered.
    fn read_layout(&self, ranges: &[Reply], answered: &Endpoint) -> Option<Layout> {
        let mut primaries = Vec::<(Endpoint, Arc<Node>)>::new();
        let mut owners = vec![NOBODY; usize::from(SLOTS)].into_boxed_slice();
        for range in ranges {
            let Reply::Array(range) = range else { return None };
            let [Reply::Int(first), Reply::Int(last), Reply::Array(primary), ..] = range.as_slice() else {
                return None;
            };
            let [host, Reply::Int(port), ..] = primary.as_slice() else { return None };
            let host = match host {
                Reply::BulkString(host) => str::from_utf8(host).ok()?,
                Reply::Nil => "",
                _ => return None,
            };
            let endpoint = self.dialer.mapping.reach(endpoint(host, u16::try_from(*port).ok()?, answered)?);
            let owner = primaries.iter().position(|(known, _)| *known == endpoint).unwrap_or_else(|| {
                primaries.push((endpoint.clone(), self.node(&endpoint)));
                primaries.len() - 1
            });
            let range = usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?;
            owners.get_mut(range)?.fill(u16::try_from(owner).ok()?);
        }
        // A node that has just started knows of no slots. Another one may.
        (!primaries.is_empty()).then_some(Layout { primaries, owners })
    }

    fn node(&self, endpoint: &Endpoint) -> Arc<Node> {
        let mut nodes = self.lock_nodes();
        let node = nodes.entry(endpoint.clone()).or_insert_with(|| {
            let dialer = self.dialer.at(endpoint.clone(), self.name_of(endpoint));
            Arc::new(Node::new(dialer, self.pool_size))
        });
        Arc::clone(node)
    }

    /// How messages name a node.
    fn name_of(&self, endpoint: &Endpoint) -> ServerName {
        if self.seeds.contains(endpoint) {
            ServerName::given(endpoint)
        } else {
            self.dialer.name_of(endpoint, "the cluster")
        }
    }

    fn lock_nodes(&self) -> MutexGuard<'_, HashMap<Endpoint, Arc<Node>>> {
        lock(&self.here().nodes)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

/// The primaries of a cluster, and what each says of itself.
pub(crate) struct Spread {
    pub(crate) primaries: Vec<Arc<Node>>,
    standing: Vec<String>,
}

impl Spread {
    fn new(primaries: Vec<Arc<Node>>) -> Result<Self, Fault> {
        let standing = primaries.iter().map(|node| standing(node)).collect::<Result<_, _>>()?;
        Ok(Self { primaries, standing })
    }

    /// Whether these nodes have all slots between them, and none is on its way from one to another.
    pub(crate) fn is_settled(&self) -> bool {
        let counts = self.standing.iter().map(|standing| count_slots(standing));
        counts.sum::<Option<u32>>() == Some(SLOTS.into())
    }

    /// Whether it is settled and was so all the time: a node that gets a slot gets a new epoch, too.
    pub(crate) fn is_unchanged(&self) -> Result<bool, Fault> {
        let now = Self::new(self.primaries.clone())?;
        Ok(now.is_settled() && now.standing == self.standing)
    }
}

/// How many slots a node says that it has; `None` if some are on their way.
fn count_slots(standing: &str) -> Option<u32> {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<u32>().ok()?.checked_sub(first.parse().ok()?)? + 1)
    };
    standing.split(' ').skip(3).filter(|range| !range.is_empty()).map(count).sum()
}

/// What a node says of itself: its identity, role, epoch and slots, with those that are on their way, such as `[42->-id]`.
fn standing(node: &Node) -> Result<String, Fault> {
    let question = Request::reading().with(Shape::Any, ["CLUSTER".into(), "NODES".into()]);
    let nodes = match node.exchange(&question)?.replies.into_iter().next() {
        Some(Reply::BulkString(nodes)) => String::from_utf8(nodes).map_err(|_| Fault::Desynchronized)?,
        Some(Reply::ServerError(error)) => return Err(Fault::Refused(error.into())),
        _ => return Err(Fault::Desynchronized),
    };
    // `id address flags primary ping pong epoch connection slot slot …`
    let own = nodes.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let own = own.into_iter().find(|fields| fields.get(2).is_some_and(|flags| flags.contains("myself")));
    let fields = own.ok_or(Fault::Desynchronized)?;
    let told = fields.iter().enumerate().filter(|(at, _)| !matches!(at, 1 | 3 | 4 | 5 | 7)).map(|(_, field)| *field);
    Ok(told.collect::<Vec<_>>().join(" "))
}

/// The place of a node that a cluster names. It may leave out the host: then it is that of the node that answered.
fn endpoint(host: &str, port: u16, answered: &Endpoint) -> Option<Endpoint> {
    match answered {
        Endpoint::Tcp { host: same, .. } if matches!(host, "" | "?" | "0.0.0.0" | "::") => {
            Some(Endpoint::Tcp { host: same.clone(), port })
        }
        _ => announced_endpoint(host, port),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Redirection {
    to: Option<Endpoint>,
    /// Only this request, while the slot is being moved.
    for_once: bool,
}

/// Where the request has to go instead, if any command of it was sent away.
fn way_on(replies: &[Reply], from: Option<&Endpoint>) -> Option<Redirection> {
    let error = replies.iter().find(|reply| redirection(reply).is_some());
    let Some(Reply::ServerError(error)) = error else { return None };
    // `MOVED 3999 127.0.0.1:6381`
    let to = error.details().and_then(|details| {
        let (host, port) = details.split(' ').nth(1)?.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        endpoint(host, port.parse().ok()?, from?)
    });
    Some(Redirection { to, for_once: error.kind() == Some(ServerErrorKind::Ask) })
}

/// Sends a request to a node that is just getting the slot: it takes it if it is told that it was sent there.
fn ask(node: &Node, request: &Request<'_>) -> Result<Answer, Fault> {
    let mut answer = node.exchange(&request.after_asking())?;
    answer.replies.remove(0);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // The first two are in the specification; the numbers of the others are what `CLUSTER KEYSLOT` says.
        assert_eq!(slot("", "123456789"), 0x31C3);
        assert_eq!(slot("", "{user1000}.following"), slot("", "{user1000}.followers"));
        assert_eq!(slot("", "foo"), 12182);
        assert_eq!(slot("", "bar"), 5061);
        assert_eq!(slot("fo", "o"), 12182);
        assert_eq!(slot("ns:", "{foo}"), 12182);
        assert_ne!(slot("", "foo{}{bar}"), slot("", "bar"));
        assert_eq!(slot("", "foo{{bar}}zap"), slot("", "{bar"));
        assert_eq!(slot("", "foo{bar}{zap}"), slot("", "bar"));
    }

    #[test]
    fn slots_are_counted() {
        assert_eq!(count_slots("id myself,master 3"), Some(0));
        assert_eq!(count_slots("id myself,master 3 0-5460"), Some(5461));
        assert_eq!(count_slots("id myself,master 3 0-99 200 300-301"), Some(103));
        assert_eq!(count_slots("id myself,master 3 0-99 [42->-other]"), None);
    }

    #[test]
    fn a_redirection_is_understood() {
        let reply = |text: &str| redis::parse_redis_value(text.as_bytes()).unwrap();
        let from = Endpoint::Tcp { host: "10.0.0.1".into(), port: 6380 };
        let way_on = |replies: &[Reply]| way_on(replies, Some(&from));
        let moved = way_on(&[Reply::Okay, reply("-MOVED 3999 127.0.0.1:6381\r\n")]).unwrap();
        assert!(!moved.for_once);
        assert_eq!(moved.to, Some(Endpoint::Tcp { host: "127.0.0.1".into(), port: 6381 }));
        let ask = way_on(&[reply("-ASK 3999 ::1:6381\r\n")]).unwrap();
        assert!(ask.for_once);
        assert_eq!(ask.to, Some(Endpoint::Tcp { host: "::1".into(), port: 6381 }));
        for nameless in ["-MOVED 3999 :6381\r\n", "-ASK 3999 ?:6381\r\n"] {
            let endpoint = Endpoint::Tcp { host: "10.0.0.1".into(), port: 6381 };
            assert_eq!(way_on(&[reply(nameless)]).unwrap().to, Some(endpoint));
        }
        for strange in ["-MOVED 3999 a,b:6381\r\n", "-MOVED 3999 u@h:6381\r\n", "-MOVED 3999 h:port\r\n", "-MOVED\r\n"]
        {
            assert_eq!(way_on(&[reply(strange)]).unwrap().to, None, "{strange}");
        }
        assert!(way_on(&[reply("-ERR no\r\n"), Reply::Okay]).is_none());
    }
}
