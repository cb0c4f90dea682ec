//! A cluster: which node has which keys, and how a request gets there.
//!
//! After [the specification of redis cluster](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::time::Instant;

use crc::{CRC_16_XMODEM, Crc};
use redis::{ServerErrorKind, Value as Reply};

use crate::address::Place;
use crate::fault::{Fault, Refusal};
use crate::link::{Answer, is_redirection};
use crate::node::{Dialer, Node, Server as _};
use crate::request::{Request, Shape};

/// How many slots there are.
const SLOTS: u16 = 16384;

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
#[derive(Clone)]
pub(crate) struct Layout {
    primaries: Vec<(Place, Arc<Node>)>,
    /// For each slot the index of its primary, or one that there is not.
    owners: Box<[u16]>,
}

impl Layout {
    fn owner(&self, slot: u16) -> Option<&(Place, Arc<Node>)> {
        self.primaries.get(usize::from(*self.owners.get(usize::from(slot))?))
    }

    pub(crate) fn primaries(&self) -> &[(Place, Arc<Node>)] {
        &self.primaries
    }

    /// Whether every slot has the same owner in both.
    pub(crate) fn is_the_same(&self, other: &Self) -> bool {
        let place = |layout: &Self, slot| layout.owner(slot).map(|(place, _)| place.clone());
        (0..SLOTS).all(|slot| place(self, slot) == place(other, slot))
    }
}

pub(crate) struct Cluster {
    seeds: Vec<Place>,
    dialer: Dialer,
    pool_size: u32,
    nodes: Mutex<HashMap<Place, Arc<Node>>>,
    layout: RwLock<Option<Arc<Layout>>>,
    /// Whether the layout was seen to be wrong, or can be.
    is_stale: AtomicBool,
    /// The node that failed last, which is asked last for the layout.
    suspect: Mutex<Option<Place>>,
    asking: Mutex<()>,
}

impl Cluster {
    pub(crate) fn new(seeds: Vec<Place>, dialer: Dialer, pool_size: u32) -> Self {
        Self {
            seeds,
            dialer,
            pool_size,
            nodes: Mutex::default(),
            layout: RwLock::default(),
            is_stale: AtomicBool::new(false),
            suspect: Mutex::default(),
            asking: Mutex::default(),
        }
    }

    /// Makes connections to every primary.
    pub(crate) fn warm_up(&self, connections: u32) -> Result<(), Fault> {
        self.layout()?.primaries.iter().try_for_each(|(_, node)| node.warm_up(connections))
    }

    /// Sends a request whose keys are all of one slot to the primary that has it, and elsewhere if it says so.
    pub(crate) fn exchange(&self, slot: u16, request: &Request<'_>) -> Result<Answer, Fault> {
        let owner = |layout: &Layout| layout.owner(slot).map(|(_, node)| Arc::clone(node)).ok_or_else(not_served);
        let mut node = owner(&*self.layout()?)?;
        let mut asks = false;
        for _ in 0..REDIRECTIONS {
            let result = if asks { ask(&node, request) } else { node.exchange(request) };
            asks = false;
            match result {
                // Nothing was sent. It may have been replaced meanwhile: then the others know.
                Err(fault @ (Fault::NotConnected(_) | Fault::Unusable(_))) => {
                    self.suspect(&node);
                    match self.look_again().and_then(|layout| owner(&layout)) {
                        Ok(next) if !Arc::ptr_eq(&next, &node) => node = next,
                        _ => return Err(fault),
                    }
                }
                Err(fault) => {
                    self.suspect(&node);
                    return Err(fault);
                }
                Ok(answer) => match redirection(&answer.replies) {
                    None => return Ok(answer),
                    Some(Redirection { to, for_once }) => {
                        asks = for_once;
                        if !for_once {
                            self.is_stale.store(true, Ordering::Relaxed);
                        }
                        node = match to {
                            Some(to) => self.node(&to),
                            None => owner(&*self.look_again()?)?,
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

    /// Sends a request whose keys are of several slots to a node that should have them all. What it has not is in the answer
    /// as a server's error.
    pub(crate) fn exchange_with(&self, node: &Node, request: &Request<'_>) -> Result<Answer, Fault> {
        let result = node.exchange(request);
        match &result {
            Ok(answer) if answer.replies.iter().any(is_redirection) => self.is_stale.store(true, Ordering::Relaxed),
            Ok(_) => {}
            Err(_) => self.suspect(node),
        }
        result
    }

    /// Notes that a node failed: before the next request the others are asked whether it has been replaced.
    fn suspect(&self, node: &Node) {
        *self.suspect.lock().unwrap_or_else(PoisonError::into_inner) = node.place().cloned();
        self.is_stale.store(true, Ordering::Relaxed);
    }

    /// The indices of keys, by the node that has them.
    pub(crate) fn by_node(&self, slots: impl Iterator<Item = u16>) -> Result<Vec<Group>, Fault> {
        let layout = self.layout()?;
        let mut groups = layout.primaries.iter().map(|(_, node)| (Arc::clone(node), Vec::new())).collect::<Vec<_>>();
        for (index, slot) in slots.enumerate() {
            let owner = layout.owners.get(usize::from(slot)).and_then(|&owner| groups.get_mut(usize::from(owner)));
            owner.ok_or_else(not_served)?.1.push(index);
        }
        groups.retain(|(_, indices)| !indices.is_empty());
        Ok(groups)
    }

    /// The layout as it is known, or asked for if it is not known or known to be stale.
    pub(crate) fn layout(&self) -> Result<Arc<Layout>, Fault> {
        let known = self.known_layout();
        match known {
            Some(layout) if !self.is_stale.load(Ordering::Relaxed) => Ok(layout),
            // Better the stale one than none: who is not where it says, says so.
            Some(layout) => Ok(self.look_again().unwrap_or(layout)),
            None => self.look_again(),
        }
    }

    fn known_layout(&self) -> Option<Arc<Layout>> {
        self.layout.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the cluster for its layout. If another thread is asking already, the known one has to do.
    fn look_again(&self) -> Result<Arc<Layout>, Fault> {
        match (self.asking.try_lock(), self.known_layout()) {
            (Ok(guard), _) => self.look(&guard),
            (Err(TryLockError::Poisoned(guard)), _) => self.look(&guard.into_inner()),
            (Err(TryLockError::WouldBlock), Some(known)) => Ok(known),
            (Err(TryLockError::WouldBlock), None) => {
                let guard = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
                self.known_layout().map_or_else(|| self.look(&guard), Ok)
            }
        }
    }

    /// The layout as it is at this moment.
    pub(crate) fn layout_now(&self) -> Result<Arc<Layout>, Fault> {
        self.look(&self.asking.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn look(&self, _asking: &MutexGuard<'_, ()>) -> Result<Arc<Layout>, Fault> {
        self.is_stale.store(false, Ordering::Relaxed);
        let layout = self.ask_for_layout().inspect_err(|_| self.is_stale.store(true, Ordering::Relaxed))?;
        let layout = Arc::new(layout);
        *self.layout.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&layout));
        let is_known = |place: &Place| layout.primaries.iter().any(|(known, _)| known == place);
        self.lock_nodes().retain(|place, _| is_known(place) || self.seeds.contains(place));
        Ok(layout)
    }

    /// Asks one node after the other, those that are known first, and no longer than a request may take.
    fn ask_for_layout(&self) -> Result<Layout, Fault> {
        let begin = Instant::now();
        let limit = self.dialer.limits.connect + self.dialer.limits.response;
        let known = self.known_layout();
        let known = known.iter().flat_map(|layout| layout.primaries.iter().map(|(place, _)| place.clone()));
        let mut places = known.collect::<Vec<_>>();
        places.extend(self.seeds.iter().filter(|seed| !places.contains(seed)).cloned().collect::<Vec<_>>());
        let suspect = self.suspect.lock().unwrap_or_else(PoisonError::into_inner).take();
        places.sort_by_key(|place| suspect.as_ref() == Some(place));
        let mut last = not_served();
        for place in places {
            let request = Request::reading().with(Shape::Any, ["CLUSTER".into(), "SLOTS".into()]);
            match self.node(&place).exchange(&request) {
                Ok(answer) => match answer.replies.into_iter().next() {
                    Some(Reply::Array(ranges)) => match self.read_layout(&ranges, &place) {
                        Some(layout) => return Ok(layout),
                        None => last = Fault::OutOfStep,
                    },
                    Some(Reply::ServerError(error)) => last = Fault::Refused(error.into()),
                    _ => last = Fault::OutOfStep,
                },
                Err(fault) => last = fault,
            }
            if begin.elapsed() > limit {
                break;
            }
        }
        Err(last)
    }

    /// Reads the reply to `CLUSTER SLOTS`: arrays of first slot, last slot, primary, replicas; a node is an array of host,
    /// port and more. A node without a host is the one that answered.
    fn read_layout(&self, ranges: &[Reply], answered: &Place) -> Option<Layout> {
        let mut primaries = Vec::<(Place, Arc<Node>)>::new();
        let mut owners = vec![u16::MAX; usize::from(SLOTS)].into_boxed_slice();
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
            let place = place(host, u16::try_from(*port).ok()?, answered);
            let owner = primaries.iter().position(|(known, _)| *known == place).unwrap_or_else(|| {
                primaries.push((place.clone(), self.node(&place)));
                primaries.len() - 1
            });
            let range = usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?;
            owners.get_mut(range)?.fill(u16::try_from(owner).ok()?);
        }
        // A node that has just started knows of no slots. Another one may.
        (!primaries.is_empty()).then_some(Layout { primaries, owners })
    }

    fn node(&self, place: &Place) -> Arc<Node> {
        let mut nodes = self.lock_nodes();
        let node = nodes.entry(place.clone()).or_insert_with(|| {
            let node = Node::new(self.dialer.at(place.clone()), self.pool_size);
            Arc::new(node)
        });
        Arc::clone(node)
    }

    fn lock_nodes(&self) -> MutexGuard<'_, HashMap<Place, Arc<Node>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

fn not_served() -> Fault {
    Fault::Refused(Refusal::new("CLUSTERDOWN", "no node has the slot"))
}

/// The place of a node that a cluster names. It may leave out the host: then it is that of the node that answered.
fn place(host: &str, port: u16, answered: &Place) -> Place {
    match answered {
        Place::Tcp { host: same, .. } if matches!(host, "" | "?" | "0.0.0.0" | "::") => {
            Place::Tcp { host: same.clone(), port }
        }
        _ => Place::Tcp { host: host.to_owned(), port },
    }
}

struct Redirection {
    to: Option<Place>,
    /// Only this request, while the slot is being moved.
    for_once: bool,
}

/// Where the request has to go instead, if any command of it was sent away.
fn redirection(replies: &[Reply]) -> Option<Redirection> {
    let error = replies.iter().find(|reply| is_redirection(reply));
    let Some(Reply::ServerError(error)) = error else { return None };
    // `MOVED 3999 127.0.0.1:6381`
    let to = error.details().and_then(|details| {
        let (host, port) = details.split(' ').nth(1)?.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_named = !matches!(host, "" | "?" | "0.0.0.0" | "::");
        is_named.then_some(Place::Tcp { host: host.to_owned(), port: port.parse().ok()? })
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
    fn a_redirection_is_understood() {
        let reply = |text: &str| redis::parse_redis_value(text.as_bytes()).unwrap();
        let moved = redirection(&[Reply::Okay, reply("-MOVED 3999 127.0.0.1:6381\r\n")]).unwrap();
        assert!(!moved.for_once);
        assert_eq!(moved.to, Some(Place::Tcp { host: "127.0.0.1".into(), port: 6381 }));
        let ask = redirection(&[reply("-ASK 3999 ::1:6381\r\n")]).unwrap();
        assert!(ask.for_once);
        assert_eq!(ask.to, Some(Place::Tcp { host: "::1".into(), port: 6381 }));
        assert_eq!(redirection(&[reply("-MOVED 3999 :6381\r\n")]).unwrap().to, None);
        assert!(redirection(&[reply("-ERR no\r\n"), Reply::Okay]).is_none());
    }
}
