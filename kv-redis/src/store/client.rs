//! Sends requests to the server that has a key, and makes an error of what goes wrong.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use kv_core::{Bytes, Error, Key, KeyBuf, Result, Ttl, Value, Version};
use redis::Value as Reply;

use super::settings::Settings;
use crate::connection::shared::Shared;
use crate::connection::transport::Transport;
use crate::protocol::answer::Answer;
use crate::protocol::fault::Fault;
use crate::protocol::request::{Arg, Request, Shape};
use crate::protocol::server_name::ServerName;
#[cfg(feature = "cluster")]
use crate::protocol::timeouts::Timeouts;
use crate::protocol::ttl;
#[cfg(feature = "cluster")]
use crate::servers::cluster::{Cluster, assignment::SlotAssignment, slots};
use crate::servers::node::{Node, PooledNode};

/// The servers of a store, and how requests get there.
pub(super) struct Client {
    /// The name of the store.
    pub(super) label: String,
    pub(super) settings: Settings,
    pub(super) route: Arc<Route>,
}

/// Where requests go.
pub(super) enum Route {
    Node(Box<Node>),
    /// One server; callers share connections to it.
    Shared(Box<Shared<PooledNode>>),
    /// A pool of the application.
    ExternalPool(Box<dyn Transport>),
    #[cfg(feature = "cluster")]
    Cluster(Arc<Cluster>),
}

/// What a listing reads, in this order.
pub(super) struct ListingTargets {
    pub(super) targets: VecDeque<Target>,
    #[cfg(feature = "cluster")]
    pub(super) assignment: Option<SlotAssignment>,
}

/// Where a request goes that is not about one key: the only server of the store, or a primary of its cluster.
pub(super) enum Target {
    SingleServer,
    #[cfg(feature = "cluster")]
    Primary(Arc<Node>),
}

impl Target {
    /// Whether its keys can move to another node.
    pub(super) fn may_move(&self) -> bool {
        match self {
            Self::SingleServer => false,
            #[cfg(feature = "cluster")]
            Self::Primary(_) => true,
        }
    }
}

/// What the name of a store says of its namespace.
pub(super) fn label_of_namespace(namespace: &str) -> String {
    match namespace.trim_end_matches(':') {
        "" => String::new(),
        names => format!(" (namespace {names})"),
    }
}

impl Client {
    pub(super) fn new(label: String, settings: Settings, route: Route) -> Self {
        Self { label, settings, route: Arc::new(route) }
    }

    /// The same servers and connections, with this name after the namespace.
    pub(super) fn within(&self, name: &str) -> Self {
        let mut settings = self.settings.clone();
        let around = label_of_namespace(&settings.namespace);
        settings.namespace.extend([name, ":"]);
        let label = self.label.strip_suffix(&around).unwrap_or(&self.label);
        let label = [label, &label_of_namespace(&settings.namespace)].concat();
        Self { label, settings, route: Arc::clone(&self.route) }
    }

    /// Makes connections, so that the servers are known to answer.
    pub(super) async fn warm_up(&self, connections: u32) -> Result<()> {
        let result = match &*self.route {
            Route::Node(node) => node.warm_up(connections).await,
            Route::Shared(shared) => shared.transport().warm_up(connections),
            Route::ExternalPool(_) => Ok(()),
            #[cfg(feature = "cluster")]
            Route::Cluster(cluster) => cluster.warm_up(connections).await,
        };
        result.map_err(|fault| self.error(fault, None, false))
    }

    /// Waits for a time, in the way in which the connections wait.
    pub(super) async fn pause(&self, time: Duration) {
        match &*self.route {
            #[cfg(feature = "tokio")]
            Route::Node(node) if node.is_async() => tokio::time::sleep(time).await,
            #[cfg(all(feature = "tokio", feature = "cluster"))]
            Route::Cluster(cluster) if cluster.is_async() => tokio::time::sleep(time).await,
            _ => thread::sleep(time),
        }
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn namespace(&self) -> &str {
        &self.settings.namespace
    }

    #[cfg(feature = "cluster")]
    pub(super) fn timeouts(&self) -> Timeouts {
        self.settings.timeouts
    }

    pub(super) fn page_size(&self) -> u64 {
        self.settings.page_size
    }

    /// A key as an argument, with the namespace before it.
    pub(super) fn name<'a>(&'a self, key: Key<'a>) -> Arg<'a> {
        Arg::Key(&self.settings.namespace, key.as_str())
    }

    /// What a version names its entry by: the key on the server, if it is short enough for a key here, so that a version is good in every
    /// namespace that has the entry, and at no other entry.
    pub(super) fn entry(&self, key: Key<'_>) -> KeyBuf {
        let namespace = self.namespace();
        let whole = || KeyBuf::new([namespace, key.as_str()].concat()).ok();
        if namespace.is_empty() { key.into() } else { whole().unwrap_or_else(|| key.into()) }
    }

    /// The content that an entry has if it has this version.
    pub(super) fn content<'v>(&self, version: &'v Version, key: Key<'_>) -> Option<&'v Bytes> {
        if self.namespace().is_empty() {
            return version.content_at(key);
        }
        version.content_at(self.entry(key).as_key())
    }

    #[cfg(feature = "cluster")]
    pub(super) fn slot(&self, key: Key<'_>) -> u16 {
        slots::slot(&self.settings.namespace, key.as_str())
    }

    /// Sends a request that concerns one key, or two of the same slot.
    pub(super) async fn deliver(&self, key: Key<'_>, request: &Request<'_>) -> Result<Answer, Fault> {
        let _ = key;
        match &*self.route {
            Route::Node(node) => node.exchange(request).await,
            Route::Shared(shared) => shared.exchange(request),
            Route::ExternalPool(pool) => pool.exchange(request),
            #[cfg(feature = "cluster")]
            Route::Cluster(cluster) => cluster.exchange(self.slot(key), request).await,
        }
    }

    /// As [`deliver`](Self::deliver), with an error for the caller.
    pub(super) async fn send(&self, key: Key<'_>, request: &Request<'_>) -> Result<Answer> {
        self.deliver(key, request).await.map_err(|fault| self.error(fault, Some(key), request.writes()))
    }

    /// Sends a request of one command that concerns one key, or two of the same slot. An error of the server is an error.
    pub(super) async fn ask(&self, key: Key<'_>, request: &Request<'_>) -> Result<Reply> {
        let Answer { mut replies, server, .. } = self.send(key, request).await?;
        self.no_error(replies.pop().unwrap_or_default(), server.as_ref(), key, request.writes())
    }

    pub(super) fn error(&self, fault: Fault, key: Option<Key<'_>>, writes: bool) -> Error {
        fault.into_error(&self.label, key, writes, self.settings.timeouts)
    }

    pub(super) fn desynchronized(&self, key: Key<'_>) -> Error {
        self.error(Fault::Desynchronized, Some(key), false)
    }

    /// The TTL of a write in milliseconds; `None` is for ever ([T1, T4](kv_core::contract#4-ttls)).
    pub(super) fn ttl_millis(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<u64>> {
        let Some(ttl) = ttl.or_default(self.settings.default_ttl) else { return Ok(None) };
        let too_long = || Error::invalid_ttl(&self.label, key, ttl, ttl::LONGEST);
        ttl::to_millis(ttl).map(Some).ok_or_else(too_long)
    }

    pub(super) fn check_size(&self, key: Key<'_>, value: &Value<'_>) -> Result<()> {
        let (size, limit) = (value.len() as u64, self.settings.largest_value);
        if size > limit { Err(Error::value_too_large(&self.label, key, size, limit)) } else { Ok(()) }
    }

    /// Adds the command that writes an entry.
    pub(super) fn add_write<'a>(
        &'a self,
        request: &mut Request<'a>,
        key: Key<'a>,
        value: &'a [u8],
        ttl_millis: Option<u64>,
    ) {
        let key = self.name(key);
        match ttl_millis {
            None => request.add(Shape::Done, ["SET".into(), key, value.into()]),
            // Redis does not accept a TTL of zero. The key is absent at once (T3).
            Some(0) => request.add(Shape::Integer, ["DEL".into(), key]),
            Some(millis) => request.add(Shape::Done, ["SET".into(), key, value.into(), "PX".into(), millis.into()]),
        }
    }

    /// Sends a request to a target.
    pub(super) async fn send_to(&self, target: &Target, request: &Request<'_>) -> Result<Answer, Fault> {
        match (target, &*self.route) {
            (Target::SingleServer, Route::Node(node)) => node.exchange(request).await,
            (Target::SingleServer, Route::Shared(shared)) => shared.exchange(request),
            (Target::SingleServer, Route::ExternalPool(pool)) => pool.exchange(request),
            #[cfg(feature = "cluster")]
            (Target::Primary(node), Route::Cluster(cluster)) => cluster.exchange_with(node, request).await,
            #[cfg(feature = "cluster")]
            _ => Err(Fault::Desynchronized),
        }
    }

    /// Makes an error of a reply that is a server's error. The message names the server if it is one of several.
    pub(super) fn no_error(
        &self,
        reply: Reply,
        server: Option<&ServerName>,
        key: Key<'_>,
        writes: bool,
    ) -> Result<Reply> {
        match reply {
            Reply::ServerError(error) => Err(self.error(Fault::Refused(error.into()).at(server), Some(key), writes)),
            reply => Ok(reply),
        }
    }

    /// What a listing of the store has to read.
    pub(super) async fn listing_targets(&self) -> Result<ListingTargets> {
        match &*self.route {
            Route::Node(_) | Route::Shared(_) | Route::ExternalPool(_) => Ok(ListingTargets {
                targets: VecDeque::from([Target::SingleServer]),
                #[cfg(feature = "cluster")]
                assignment: None,
            }),
            #[cfg(feature = "cluster")]
            Route::Cluster(cluster) => {
                let assignment = cluster.slot_assignment().await.map_err(|fault| self.error(fault, None, false))?;
                if !assignment.is_complete() {
                    let message = "not all slots of the cluster are served, or some are on their way to another node; list \
                        when that is over";
                    return Err(Error::Unavailable(kv_core::Failure::new(&self.label, message)));
                }
                let targets = assignment.primaries.iter().map(|node| Target::Primary(Arc::clone(node))).collect();
                Ok(ListingTargets { targets, assignment: Some(assignment) })
            }
        }
    }

    /// Whether the keys of the cluster are still on the same nodes.
    #[cfg(feature = "cluster")]
    pub(super) async fn is_unchanged(&self, assignment: &SlotAssignment) -> Result<bool> {
        assignment.is_unchanged().await.map_err(|fault| self.error(fault, None, false))
    }

    /// Whether no command can take both keys.
    #[cfg(feature = "cluster")]
    pub(super) fn are_apart(&self, one: Key<'_>, other: Key<'_>) -> bool {
        matches!(*self.route, Route::Cluster(_)) && self.slot(one) != self.slot(other)
    }
}
