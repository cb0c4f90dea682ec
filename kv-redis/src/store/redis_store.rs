//! The store.

use std::collections::VecDeque;
use std::fmt;
#[cfg(feature = "cluster")]
use std::sync::Arc;
use std::time::Duration;

use kv_core::{Bytes, Capabilities, Entry, Error, Key, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl, Value};
#[cfg(feature = "cluster")]
use redis::ServerErrorKind;
use redis::Value as Reply;

use super::builder;
use crate::RedisStoreBuilder;
use crate::connection::exchange::Answer;
use crate::connection::shared::Shared;
use crate::protocol::commands::Commands;
#[cfg(feature = "cluster")]
use crate::protocol::fault::Limits;
use crate::protocol::fault::{Fault, ServerName};
use crate::protocol::request::{Arg, Request, Shape};
#[cfg(feature = "cluster")]
use crate::servers::cluster::{self, Cluster, Spread};
use crate::servers::node::{Node, Server};
use crate::store::builder::Settings;
use crate::store::listing::Listing;

/// The longest lifetime: half of what redis can count, in milliseconds, which leaves the other half for the time of day.
pub(crate) const LONGEST_TTL: Duration = Duration::from_millis(i64::MAX as u64 / 2);

/// What redis counts in.
const MILLISECOND: Duration = Duration::from_millis(1);

/// How late an entry may go. Up to a millisecond each: a lifetime is rounded up, never down; redis drops an entry in the
/// millisecond after its last; and a `PEXPIRE` of one is sent as one of two (see `set_expiry`).
const RESOLUTION: Duration = Duration::from_millis(3);

/// How many keys go into one round trip of a batch, at most.
pub(crate) const CHUNK: usize = 1024;

/// A key-value store on redis. See [the crate](crate) for what it does and what that costs.
///
/// `get`, `put` and all the others that applications use are methods of [`KeyValueStoreExt`](crate::KeyValueStoreExt),
/// which has to be imported.
///
/// It is shared by threads by reference or in an [`Arc`](std::sync::Arc); they share its pool of connections, and may be told
/// to [share connections](RedisStoreBuilder::shared_connections).
pub struct RedisStore {
    label: String,
    settings: Settings,
    pub(crate) route: Route,
}

/// Where requests go.
pub(crate) enum Route {
    Node(Box<Node>),
    /// One server, to which callers share connections.
    Shared(Box<Shared>),
    /// A pool of the application.
    ExternalPool(Box<dyn Server>),
    #[cfg(feature = "cluster")]
    Cluster(Box<Cluster>),
}

/// What a listing lists, one after the other.
pub(crate) struct Parts {
    pub(crate) parts: VecDeque<Part>,
    #[cfg(feature = "cluster")]
    pub(crate) spread: Option<Spread>,
}

pub(crate) enum Part {
    Whole,
    #[cfg(feature = "cluster")]
    Primary(Arc<Node>),
}

impl Part {
    /// Whether its keys may be given to another node.
    pub(crate) fn may_move(&self) -> bool {
        match self {
            Self::Whole => false,
            #[cfg(feature = "cluster")]
            Self::Primary(_) => true,
        }
    }
}

impl RedisStore {
    /// A store on the server at this URL, with everything else as it is by default. It makes sure that the server answers.
    ///
    /// The URL is `redis://host:port/database`, with TLS `rediss://…` (feature `tls`), of a unix socket
    /// `redis+unix:///path?db=database`. User and password, percent-encoded, go before the host, `redis://user:password@host`
    /// or `redis://:password@host`, or into `?user=…&pass=…` of a unix socket.
    ///
    /// ```no_run
    /// use kv_redis::{KeyValueStoreExt, RedisStore};
    ///
    /// let store = RedisStore::connect("redis://127.0.0.1:6379/0")?;
    /// store.put("greeting", "hello")?;
    /// # Ok::<(), kv_redis::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`RedisStoreBuilder::connect`].
    pub fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder().url(url).connect()
    }

    /// Configures a store.
    pub fn builder() -> RedisStoreBuilder {
        RedisStoreBuilder::default()
    }

    /// A store on a pool that the application made, of the client of the crate [`redis`](crate::redis), with all settings as
    /// they are by default; [`RedisStoreBuilder::build_on_pool`] takes others, and says what to heed.
    pub fn from_pool(pool: r2d2::Pool<redis::Client>) -> Self {
        builder::on_pool(Settings::default(), pool)
    }

    /// Needs the feature `r2d2_redis`. A store on a pool of the crate of that name that the application has already, with all settings as they are by
    /// default; [`RedisStoreBuilder::build_on_r2d2_redis_pool`] takes others, and says what to heed.
    #[cfg(feature = "r2d2_redis")]
    pub fn from_r2d2_redis_pool(pool: r2d2::Pool<r2d2_redis::RedisConnectionManager>) -> Self {
        builder::on_r2d2_redis_pool(Settings::default(), pool)
    }

    pub(crate) fn new(label: String, settings: Settings, route: Route) -> Self {
        Self { label, settings, route }
    }

    /// Makes connections, so that the servers are known to answer.
    pub(crate) fn warm_up(&self, connections: u32) -> Result<()> {
        let result = match &self.route {
            Route::Node(node) => node.warm_up(connections),
            Route::Shared(shared) => shared.node().warm_up(connections),
            Route::ExternalPool(_) => Ok(()),
            #[cfg(feature = "cluster")]
            Route::Cluster(cluster) => cluster.warm_up(connections),
        };
        result.map_err(|fault| self.error(fault, None, false))
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.settings.namespace
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn limits(&self) -> Limits {
        self.settings.limits
    }

    pub(crate) fn page_size(&self) -> u64 {
        self.settings.page_size
    }

    /// A key as an argument: with the namespace before it.
    pub(crate) fn name<'a>(&'a self, key: Key<'a>) -> Arg<'a> {
        Arg::Key(&self.settings.namespace, key.as_str())
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn slot(&self, key: Key<'_>) -> u16 {
        cluster::slot(&self.settings.namespace, key.as_str())
    }

    /// Sends a request that concerns one key, or two of the same slot.
    pub(crate) fn deliver(&self, key: Key<'_>, request: &Request<'_>) -> Result<Answer, Fault> {
        let _ = key;
        match &self.route {
            Route::Node(node) => node.exchange(request),
            Route::Shared(shared) => shared.exchange(request),
            Route::ExternalPool(pool) => pool.exchange(request),
            #[cfg(feature = "cluster")]
            Route::Cluster(cluster) => cluster.exchange(self.slot(key), request),
        }
    }

    /// As [`deliver`](Self::deliver), with an error for the caller.
    pub(crate) fn send(&self, key: Key<'_>, request: &Request<'_>) -> Result<Answer> {
        self.deliver(key, request).map_err(|fault| self.error(fault, Some(key), request.writes()))
    }

    /// Sends a request of one command that concerns one key, or two of the same slot; its reply, which is no error.
    pub(crate) fn ask(&self, key: Key<'_>, request: &Request<'_>) -> Result<Reply> {
        let Answer { mut replies, server, .. } = self.send(key, request)?;
        self.no_error(replies.pop().unwrap_or_default(), server.as_ref(), key, request.writes())
    }

    pub(crate) fn error(&self, fault: Fault, key: Option<Key<'_>>, writes: bool) -> Error {
        fault.into_error(&self.label, key, writes, self.settings.limits)
    }

    fn desynchronized(&self, key: Key<'_>) -> Error {
        self.error(Fault::Desynchronized, Some(key), false)
    }

    /// What a write with this lifetime has to say, in milliseconds; `None` is for ever (T1, T4). Rounded up: never early.
    fn lifetime(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<u64>> {
        let Some(ttl) = ttl.or_default(self.settings.default_ttl) else { return Ok(None) };
        let millis = ttl.as_nanos().div_ceil(MILLISECOND.as_nanos());
        match u64::try_from(millis) {
            Ok(millis) if ttl <= LONGEST_TTL => Ok(Some(millis)),
            _ => Err(Error::invalid_ttl(&self.label, key, ttl, LONGEST_TTL)),
        }
    }

    fn check_size(&self, key: Key<'_>, value: &Value<'_>) -> Result<()> {
        let (size, limit) = (value.len() as u64, self.settings.largest_value);
        if size > limit { Err(Error::value_too_large(&self.label, key, size, limit)) } else { Ok(()) }
    }

    /// Adds the command that writes an entry.
    pub(crate) fn add_write<'a>(
        &'a self,
        request: &mut Request<'a>,
        key: Key<'a>,
        value: &'a [u8],
        lifetime: Option<u64>,
    ) {
        let key = self.name(key);
        match lifetime {
            None => request.add(Shape::Done, ["SET".into(), key, value.into()]),
            // Redis does not take a lifetime of zero. The entry is gone at once (T3).
            Some(0) => request.add(Shape::Integer, ["DEL".into(), key]),
            Some(millis) => request.add(Shape::Done, ["SET".into(), key, value.into(), "PX".into(), millis.into()]),
        }
    }

    /// Sends a request to a part of the store.
    pub(crate) fn send_to(&self, part: &Part, request: &Request<'_>) -> Result<Answer, Fault> {
        match (part, &self.route) {
            (Part::Whole, Route::Node(node)) => node.exchange(request),
            (Part::Whole, Route::Shared(shared)) => shared.exchange(request),
            (Part::Whole, Route::ExternalPool(pool)) => pool.exchange(request),
            #[cfg(feature = "cluster")]
            (Part::Primary(node), Route::Cluster(cluster)) => cluster.exchange_with(node, request),
            #[cfg(feature = "cluster")]
            _ => Err(Fault::Desynchronized),
        }
    }

    /// A reply that is no error of the server, which is named if it is one of several.
    pub(crate) fn no_error(
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

    /// What a listing has to list.
    pub(crate) fn parts(&self) -> Result<Parts> {
        match &self.route {
            Route::Node(_) | Route::Shared(_) | Route::ExternalPool(_) => Ok(Parts {
                parts: VecDeque::from([Part::Whole]),
                #[cfg(feature = "cluster")]
                spread: None,
            }),
            #[cfg(feature = "cluster")]
            Route::Cluster(cluster) => {
                let spread = cluster.spread().map_err(|fault| self.error(fault, None, false))?;
                if !spread.is_settled() {
                    let message = "not all slots of the cluster are served, or some are on their way to another node; list \
                        when that is over";
                    return Err(Error::Unavailable(kv_core::Failure::new(&self.label, message)));
                }
                let parts = spread.primaries.iter().map(|node| Part::Primary(Arc::clone(node))).collect();
                Ok(Parts { parts, spread: Some(spread) })
            }
        }
    }

    /// Whether the keys of the cluster are where they were.
    #[cfg(feature = "cluster")]
    pub(crate) fn is_unchanged(&self, spread: &Spread) -> Result<bool> {
        spread.is_unchanged().map_err(|fault| self.error(fault, None, false))
    }

    /// Whether no command can take both keys.
    #[cfg(feature = "cluster")]
    fn are_apart(&self, one: Key<'_>, other: Key<'_>) -> bool {
        matches!(self.route, Route::Cluster(_)) && self.slot(one) != self.slot(other)
    }
}

/// The value that a reply has, if it has one.
fn value(reply: Reply) -> Option<Bytes> {
    if let Reply::BulkString(value) = reply { Some(value.into()) } else { None }
}

/// The value in the reply to an `MGET` of one key.
fn first_value(reply: Reply) -> Option<Bytes> {
    if let Reply::Array(mut values) = reply { values.pop().and_then(value) } else { None }
}

/// Shows where it is and how it is configured: no password (E3).
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("name", &self.label)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Every operation is one request and one reply, a batch one for each chunk of up to 1024 keys or about 1 MiB; [the
/// crate](crate) has a table. All are natively redis's own, and atomic on the keys they name unless said otherwise there.
impl KeyValueStore for RedisStore {
    /// The URL without user and password; of a cluster or of sentinels, what they are.
    fn name(&self) -> &str {
        &self.label
    }

    /// Everything, with lifetimes that are at most 3 ms late and values of up to 512 MiB, unless [the
    /// builder](RedisStoreBuilder::largest_value) was told otherwise.
    fn capabilities(&self) -> Capabilities {
        Capabilities::builder()
            .ttl_resolution(RESOLUTION)
            .longest_ttl(LONGEST_TTL)
            .largest_value(self.settings.largest_value)
            .build()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        match self.ask(key, &Request::reading().with(Shape::Value, ["GET".into(), self.name(key)]))? {
            Reply::BulkString(value) => Ok(Some(value.into())),
            _ => Ok(None),
        }
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        self.check_size(key, &value)?;
        let lifetime = self.lifetime(key, ttl)?;
        let mut request = Request::writing();
        self.add_write(&mut request, key, value.as_bytes(), lifetime);
        self.ask(key, &request).map(drop)
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        self.check_size(key, &value)?;
        let (name, bytes) = (self.name(key), Arg::from(value.as_bytes()));
        let mut request = Request::writing();
        match self.lifetime(key, ttl)? {
            Some(0) => return self.exists(key).map(|exists| !exists),
            None => request.add(Shape::Done, ["SET".into(), name, bytes, "NX".into()]),
            Some(millis) => {
                request.add(Shape::Done, ["SET".into(), name, bytes, "NX".into(), "PX".into(), millis.into()]);
            }
        }
        Ok(self.ask(key, &request)? == Reply::Okay)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        let reply = self.ask(key, &Request::writing().with(Shape::Integer, ["DEL".into(), self.name(key)]))?;
        Ok(reply != Reply::Int(0))
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        let reply = self.ask(key, &Request::reading().with(Shape::Integer, ["EXISTS".into(), self.name(key)]))?;
        Ok(reply != Reply::Int(0))
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        match self.ask(key, &Request::reading().with(Shape::Integer, ["PTTL".into(), self.name(key)]))? {
            Reply::Int(-1) => Ok(Some(Remaining::Forever)),
            Reply::Int(millis) => {
                Ok(u64::try_from(millis).ok().map(|left| Remaining::For(Duration::from_millis(left))))
            }
            _ => Err(self.desynchronized(key)),
        }
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        let name = self.name(key);
        match self.lifetime(key, ttl)? {
            Some(0) => self.remove(key),
            Some(millis) => {
                // Redis reads its clock twice for this. If it ticks in between, one millisecond is over at once (T2).
                let request = Request::writing().with(Shape::Integer, ["PEXPIRE".into(), name, millis.max(2).into()]);
                Ok(self.ask(key, &request)? != Reply::Int(0))
            }
            None => {
                let persist = |commands: Commands| Some(commands.persist(name));
                let answer = self.send_fitting(key, persist)?;
                let (replies, server) = answer.map(|answer| (answer.replies, answer.server)).unwrap_or_default();
                for reply in replies {
                    if let Reply::Array(results) = self.no_error(reply, server.as_ref(), key, true)? {
                        return Ok(results.last() != Some(&Reply::Int(0)));
                    }
                }
                Err(self.desynchronized(key))
            }
        }
    }

    /// Page by page with `SCAN`, whose size is that of [the builder](RedisStoreBuilder::page_size); between two pages no
    /// connection is held. Memory: two pages, and 20 to 40 bytes for each key that has been yielded, to leave out what redis
    /// gives twice (L4).
    ///
    /// The whole database is looked through, whatever the prefix. If the server is restarted or replaced meanwhile, or slots
    /// of a cluster are moved, the listing ends with an error, as its rest could not be told from what has been (L3).
    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        Ok(Keys::new(Listing::new(self, prefix)?))
    }

    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        match &self.route {
            Route::Node(_) | Route::Shared(_) | Route::ExternalPool(_) => {
                let mut values = Vec::with_capacity(keys.len());
                for chunk in keys.chunks(CHUNK) {
                    let mut request = Request::reading();
                    let names = chunk.iter().map(|&key| self.name(key));
                    request.add_all(
                        Shape::Values(chunk.len()),
                        chunk.len() + 1,
                        std::iter::once("MGET".into()).chain(names),
                    );
                    let answer =
                        self.send_to(&Part::Whole, &request).map_err(|fault| self.error(fault, None, false))?;
                    let Answer { replies, server, .. } = answer;
                    for reply in replies {
                        match reply {
                            Reply::Array(replies) => values.extend(replies.into_iter().map(value)),
                            Reply::ServerError(error) => {
                                return Err(self.error(Fault::Refused(error.into()).at(server.as_ref()), None, false));
                            }
                            _ => {}
                        }
                    }
                }
                Ok(values)
            }
            // One MGET takes the keys of one slot alone. It is used all the same: of an object of another type it says, as
            // on one server, that there is nothing.
            #[cfg(feature = "cluster")]
            Route::Cluster(_) => {
                let replies = self.pipeline(
                    keys,
                    |&key| key,
                    Request::reading,
                    |request, &key| {
                        request.add(Shape::Values(1), ["MGET".into(), self.name(key)]);
                    },
                )?;
                Ok(replies.into_iter().map(first_value).collect())
            }
        }
    }

    /// With a command for each key, so that each has a reply of its own. On a cluster, what one primary cannot answer does not
    /// hide what the others have.
    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        let outcomes = self.pipeline_each(
            keys,
            |&key| key,
            Request::reading,
            |request, &key| {
                request.add(Shape::Values(1), ["MGET".into(), self.name(key)]);
            },
        );
        outcomes.into_iter().map(|reply| Ok(first_value(reply?))).collect()
    }

    /// Every value and lifetime is checked before anything is sent.
    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        let checked = entries.iter().map(|Entry { key, value, ttl, .. }| {
            self.check_size(*key, value)?;
            Ok((*key, value.as_bytes(), self.lifetime(*key, *ttl)?))
        });
        let checked = checked.collect::<Result<Vec<_>>>()?;
        self.pipeline(
            &checked,
            |&(key, ..)| key,
            Request::writing,
            |request, &(key, value, lifetime)| self.add_write(request, key, value, lifetime),
        )
        .map(drop)
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        let replies = self.pipeline(
            keys,
            |&key| key,
            Request::writing,
            |request, &key| {
                request.add(Shape::Integer, ["DEL".into(), self.name(key)]);
            },
        )?;
        Ok(replies.into_iter().map(|reply| reply != Reply::Int(0)).collect())
    }

    /// One command, or a script where there is none for this. Not atomic, a read of value and lifetime and then a write, on a
    /// cluster if the keys are of different slots or theirs is being moved, and below redis 6.2 where scripts are forbidden.
    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        #[cfg(feature = "cluster")]
        if self.are_apart(from, to) {
            return self.copy_in_steps(from, to);
        }
        let copy = |commands: Commands| commands.copy(self.name(from), self.name(to));
        let Some(answer) = self.send_fitting(from, copy)? else { return self.copy_in_steps(from, to) };
        let Answer { mut replies, server, .. } = answer;
        match replies.pop() {
            Some(Reply::Int(0)) => Err(Error::not_found(&self.label, from)),
            #[cfg(feature = "cluster")]
            Some(Reply::ServerError(error)) if error.kind() == Some(ServerErrorKind::TryAgain) => {
                self.copy_in_steps(from, to)
            }
            reply => self.no_error(reply.unwrap_or_default(), server.as_ref(), from, true).map(drop),
        }
    }

    /// On a cluster, if the keys are of different slots or theirs is being moved, not atomic: a copy, then a removal of what
    /// was copied. What is written to `from` between them stays. For the removal the server has to have, and the user to be
    /// allowed, one of `EVAL`, `DELIFEQ` and `DELEX`; otherwise this is an error, and nothing is changed.
    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        #[cfg(feature = "cluster")]
        if self.are_apart(from, to) {
            return self.rename_in_steps(from, to);
        }
        let request = Request::writing().with(Shape::Done, ["RENAME".into(), self.name(from), self.name(to)]);
        let Answer { mut replies, server, .. } = self.send(from, &request)?;
        match replies.pop() {
            Some(Reply::ServerError(error)) if error.details() == Some("no such key") => {
                Err(Error::not_found(&self.label, from))
            }
            #[cfg(feature = "cluster")]
            Some(Reply::ServerError(error)) if error.kind() == Some(ServerErrorKind::TryAgain) => {
                self.rename_in_steps(from, to)
            }
            reply => self.no_error(reply.unwrap_or_default(), server.as_ref(), from, true).map(drop),
        }
    }
}
