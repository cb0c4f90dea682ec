//! A cluster: which node has which keys, and how a request gets there.
//!
//! It follows [the specification of redis cluster](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::Value as Reply;

use super::dialer::Dialer;
use super::node::Node;
use crate::connection::endpoint::Endpoint;
use crate::connection::per_process::PerProcess;
use crate::protocol::answer::{Answer, redirection};
use crate::protocol::fault::Fault;
use crate::protocol::refusal::Refusal;
use crate::protocol::request::Request;
#[cfg(feature = "tokio")]
use flight::Flight;
use layout::{Group, Layout};
use redirection::{Redirection, exchange_after_asking, redirected};
use state::{State, lock};

pub(crate) mod assignment;
mod discovery;
#[cfg(feature = "tokio")]
mod flight;
mod layout;
mod redirection;
pub(crate) mod slots;
mod state;

/// The pause before the layout is asked for again because of a silent node.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How often a request is redirected before that is an error.
const REDIRECTIONS: usize = 5;

pub(crate) struct Cluster {
    seeds: Vec<Endpoint>,
    dialer: Dialer,
    pool_size: u32,
    state: PerProcess<State>,
    #[cfg(feature = "tokio")]
    looking: Arc<Flight<Result<Arc<Layout>, Arc<Fault>>>>,
}

impl Cluster {
    pub(crate) fn new(seeds: Vec<Endpoint>, dialer: Dialer, pool_size: u32) -> Self {
        Self {
            seeds,
            dialer,
            pool_size,
            state: PerProcess::new(State::default()),
            #[cfg(feature = "tokio")]
            looking: Arc::default(),
        }
    }

    /// The state of this process. A system call.
    fn state(&self) -> &State {
        self.state.own(State::inherit)
    }

    /// Makes connections to every primary.
    pub(crate) async fn warm_up(self: &Arc<Self>, connections: u32) -> Result<(), Fault> {
        for (_, node) in &self.layout().await?.primaries {
            node.warm_up(connections).await?;
        }
        Ok(())
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn is_async(&self) -> bool {
        self.dialer.shared_by_tasks.is_some()
    }

    /// Sends a request whose keys are all of one slot to the primary that has it, and follows redirections.
    pub(crate) async fn exchange(self: &Arc<Self>, slot: u16, request: &Request<'_>) -> Result<Answer, Fault> {
        let begin = Instant::now();
        let mut node = self.owner(slot).await?;
        let mut asks = false;
        for _ in 0..REDIRECTIONS {
            let result = if asks { exchange_after_asking(&node, request).await } else { node.exchange(request).await };
            asks = false;
            match result {
                // Nothing was sent. The node may have been replaced: the others know that, if there is time to ask.
                Err(fault) if fault.is_unsent() || self.is_newly_silent(&fault) => {
                    self.suspect(&node);
                    let is_late = begin.elapsed() >= self.dialer.timeouts.connect;
                    match if is_late { Ok(Arc::clone(&node)) } else { self.owner(slot).await } {
                        Ok(next) if !Arc::ptr_eq(&next, &node) => node = next,
                        _ => return Err(fault),
                    }
                }
                Err(fault) => {
                    self.suspect_after(&fault, &node);
                    return Err(fault);
                }
                Ok(answer) => match redirected(&answer.replies, node.endpoint()) {
                    None => {
                        self.suspect_if_unavailable(&answer, &node);
                        return Ok(answer);
                    }
                    Some(Redirection { to, for_once }) => {
                        asks = for_once;
                        if !for_once {
                            self.state.get().is_stale.store(true, Ordering::Relaxed);
                        }
                        node = match to {
                            Some(to) => self.node(&self.dialer.mapping.reach(to)),
                            None => self.owner(slot).await?,
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

    /// The node that has a slot, by the known layout.
    pub(crate) fn known_owner(&self, slot: u16) -> Option<Arc<Node>> {
        self.known_layout()?.owner(slot).map(|(_, node)| Arc::clone(node))
    }

    /// The node that has a slot. If the known layout has none, the cluster is asked again.
    async fn owner(self: &Arc<Self>, slot: u16) -> Result<Arc<Node>, Fault> {
        let owner = |layout: &Layout| layout.owner(slot).map(|(_, node)| Arc::clone(node));
        match owner(&*self.layout().await?) {
            Some(node) => Ok(node),
            None => owner(&*self.look_again().await?).ok_or_else(|| self.not_served()),
        }
    }

    pub(crate) fn not_served(&self) -> Fault {
        self.state.get().is_stale.store(true, Ordering::Relaxed);
        Fault::Refused(Refusal::new("CLUSTERDOWN", "no node has the slot"))
    }

    /// Sends a request whose keys are of several slots to a node that should have them all. For keys that it does not have, the answer has
    /// a server's error.
    pub(crate) async fn exchange_with(&self, node: &Node, request: &Request<'_>) -> Result<Answer, Fault> {
        let result = node.exchange(request).await;
        match &result {
            Ok(answer) if answer.replies.iter().any(|reply| redirection(reply).is_some()) => {
                self.state.get().is_stale.store(true, Ordering::Relaxed);
            }
            Ok(answer) => self.suspect_if_unavailable(answer, node),
            Err(fault) => self.suspect_after(fault, node),
        }
        result
    }

    /// Whether a node is silent, and the layout was not asked for just before. A replica may have taken over. Operations on a silent node
    /// fail at once, and not each of them should ask.
    fn is_newly_silent(&self, fault: &Fault) -> bool {
        let asked_at = *lock(&self.state().asked_at);
        matches!(fault.itself(), Fault::Silent(_)) && asked_at.is_none_or(|asked_at| asked_at.elapsed() >= LOOK_AGAIN)
    }

    /// Suspects a node after a fault, but not if all its connections are in use: that is no failure.
    fn suspect_after(&self, fault: &Fault, node: &Node) {
        if self.is_newly_silent(fault) {
            self.suspect(node);
        }
        if !matches!(
            fault.itself(),
            Fault::PoolExhausted | Fault::Silent(_) | Fault::NoCredentials(_) | Fault::Lacks(_)
        ) {
            self.suspect(node);
        }
    }

    /// Suspects a node that serves no requests at the moment: it may have been replaced without knowing it.
    fn suspect_if_unavailable(&self, answer: &Answer, node: &Node) {
        let is_unavailable = |reply: &Reply| match reply {
            Reply::ServerError(error) => {
                matches!(error.code(), "CLUSTERDOWN" | "MASTERDOWN" | "READONLY" | "LOADING")
            }
            _ => false,
        };
        if answer.replies.iter().any(is_unavailable) {
            self.suspect(node);
        }
    }

    /// Notes that a node failed. Before the next request, the other nodes are asked whether it was replaced.
    fn suspect(&self, node: &Node) {
        let state = self.state();
        *lock(&state.suspect) = node.endpoint().cloned();
        state.is_stale.store(true, Ordering::Relaxed);
    }

    /// Groups the indices of keys by the node that has them, and those that no node has.
    pub(crate) async fn by_node(self: &Arc<Self>, slots: &[u16]) -> Result<(Vec<Group>, Vec<usize>), Fault> {
        let (groups, unowned) = self.layout().await?.groups(slots);
        if unowned.is_empty() { Ok((groups, unowned)) } else { Ok(self.look_again().await?.groups(slots)) }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}
