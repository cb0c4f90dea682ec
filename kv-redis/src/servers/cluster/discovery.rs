//! How a store finds out which node has which slots.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use redis::Value as Reply;

use super::Cluster;
use super::assignment::SlotAssignment;
use super::layout::{Layout, NOBODY};
use super::redirection::node_endpoint;
use super::slots::SLOTS;
use super::state::lock;
use crate::connection::credentials::Source;
use crate::connection::endpoint::Endpoint;
use crate::connection::handshake::Login;
use crate::protocol::fault::Fault;
use crate::protocol::request::{Request, Shape};
use crate::protocol::server_name::ServerName;
use crate::servers::node::{Node, Target};

impl Cluster {
    /// The known layout. It is asked for first if it is not known, or known to be stale.
    pub(super) async fn layout(self: &Arc<Self>) -> Result<Arc<Layout>, Fault> {
        let known = self.known_layout();
        match known {
            Some(layout) if !self.state.get().is_stale.load(Ordering::Relaxed) => Ok(layout),
            // A stale layout is better than none: a node that no longer has a slot says so.
            Some(layout) => Ok(self.look_again().await.unwrap_or(layout)),
            None => self.look_again().await,
        }
    }

    pub(super) fn known_layout(&self) -> Option<Arc<Layout>> {
        match self.state.get().layout.try_read() {
            Ok(layout) => layout.clone(),
            // A thread is changing it, perhaps one of the parent process.
            Err(_) => self.state().layout.read().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Asks the cluster for its layout. If another caller is asking already, this is the known layout, if there is one.
    pub(super) async fn look_again(self: &Arc<Self>) -> Result<Arc<Layout>, Fault> {
        #[cfg(feature = "tokio")]
        if self.is_async() {
            return match (self.looking.is_running(), self.known_layout()) {
                (true, Some(known)) => Ok(known),
                _ => self.look().await,
            };
        }
        match (self.state().asking.try_lock(), self.known_layout()) {
            (Err(TryLockError::WouldBlock), Some(known)) => Ok(known),
            _ => self.look_here(),
        }
    }

    /// Asks the cluster for its layout. Tasks wait for the same answer, which a thread gets.
    async fn look(self: &Arc<Self>) -> Result<Arc<Layout>, Fault> {
        #[cfg(feature = "tokio")]
        if self.is_async() {
            let cluster = Arc::clone(self);
            let looked = self.looking.join(move || cluster.look_here().map_err(Arc::new)).await;
            return looked.map_err(Fault::NotConnected)?.map_err(|fault| fault.copy());
        }
        self.look_here()
    }

    /// Asks the cluster for its layout, on this thread.
    fn look_here(&self) -> Result<Arc<Layout>, Fault> {
        let state = self.state();
        state.is_stale.store(false, Ordering::Relaxed);
        *lock(&state.asked_at) = Some(Instant::now());
        let suspect = lock(&state.suspect).clone();
        let layout = self.ask_for_layout(suspect.as_ref());
        let layout = Arc::new(layout.inspect_err(|_| state.is_stale.store(true, Ordering::Relaxed))?);
        // The suspicion ends only now: if no node answered, or none was asked because there were no credentials, the suspect is still the
        // last to be asked. Another thread may suspect another node by now.
        lock(&state.suspect).take_if(|current| Some(&*current) == suspect.as_ref());
        *state.layout.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&layout));
        let is_known = |endpoint: &Endpoint| layout.primaries.iter().any(|(known, _)| known == endpoint);
        self.lock_nodes().retain(|endpoint, _| is_known(endpoint) || self.seeds.contains(endpoint));
        Ok(layout)
    }

    /// Asks one node after the other, the known ones first, within the time-out of a connection.
    fn ask_for_layout(&self, suspect: Option<&Endpoint>) -> Result<Layout, Fault> {
        let known = self.known_layout();
        let known = known.iter().flat_map(|layout| layout.primaries.iter().map(|(endpoint, _)| endpoint.clone()));
        let mut endpoints = known.collect::<Vec<_>>();
        endpoints.extend(self.seeds.iter().filter(|seed| !endpoints.contains(seed)).cloned().collect::<Vec<_>>());
        let state = self.state();
        // Begin with the node that answered last, or at which the time was over.
        let first = state.first.load(Ordering::Relaxed) % endpoints.len().max(1);
        endpoints.rotate_left(first);
        endpoints.sort_by_key(|endpoint| suspect == Some(endpoint));
        let limit = self.dialer.timeouts.connect;
        let deadline = Instant::now() + limit;
        // Once for all nodes, so that the time of the provider is not a part of a node's share.
        let provided = self.dialer.login.credentials.ask(deadline)?;
        let login = Login { credentials: Source::Fixed(provided.credentials.clone()), ..self.dialer.login.clone() };
        let (mut best, mut last) = (None::<Layout>, None);
        for (asked, endpoint) in endpoints.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.first.store(first + asked, Ordering::Relaxed);
                break;
            }
            // A node that does not answer must not use up the time of the others, and a distant node needs some time.
            let share = left / u32::try_from(endpoints.len() - asked).unwrap_or(u32::MAX);
            match self.ask_one(endpoint, &login, Instant::now() + share.max(limit / 4).min(left)) {
                Ok(layout) if layout.is_complete() => {
                    state.first.store(first + asked, Ordering::Relaxed);
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
            None => Err(provided.blame(last.unwrap_or_else(|| self.not_served()))),
        }
    }

    /// Asks a node for the layout, on a connection of its own: those of the pool may all be in use.
    fn ask_one(&self, endpoint: &Endpoint, login: &Login, deadline: Instant) -> Result<Layout, Fault> {
        let mut connection = self.dialer.dial_any(endpoint, login, deadline)?;
        let question = Request::reading().with(Shape::Any, ["CLUSTER".into(), "SLOTS".into()]);
        let answer = connection.exchange(&question, Instant::now(), deadline).map_err(Fault::while_connecting)?;
        match answer.replies.into_iter().next() {
            Some(Reply::Array(ranges)) => {
                // A node that leaves out its host is at the address of this connection. Its host name may have others.
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

    /// The primaries of a listing, and how the slots are assigned, so that the listing can see whether that changes.
    pub(crate) async fn slot_assignment(self: &Arc<Self>) -> Result<SlotAssignment, Fault> {
        let primaries = self.look().await?.primaries.iter().map(|(_, node)| Arc::clone(node)).collect();
        SlotAssignment::new(primaries).await
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
            let endpoint = self.dialer.mapping.reach(node_endpoint(host, u16::try_from(*port).ok()?, answered)?);
            let owner = primaries.iter().position(|(known, _)| *known == endpoint).unwrap_or_else(|| {
                primaries.push((endpoint.clone(), self.node(&endpoint)));
                primaries.len() - 1
            });
            let range = usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?;
            owners.get_mut(range)?.fill(u16::try_from(owner).ok()?);
        }
        // A node that has just started knows no slots; another node may.
        (!primaries.is_empty()).then_some(Layout { primaries, owners })
    }

    pub(super) fn node(&self, endpoint: &Endpoint) -> Arc<Node> {
        let mut nodes = self.lock_nodes();
        let node = nodes.entry(endpoint.clone()).or_insert_with(|| {
            let target = Target::Endpoint(endpoint.clone(), Some(self.name_of(endpoint)));
            Arc::new(Node::new(target, self.dialer.clone(), self.pool_size))
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
        lock(&self.state().nodes)
    }
}
