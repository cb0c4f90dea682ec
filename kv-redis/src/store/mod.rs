//! The store: what its operations do.

mod address;
mod assemble;
mod batch;
mod build;
mod builder;
mod check;
mod choose;
mod client;
mod copy;
mod listing;
#[cfg(feature = "cluster")]
mod rename;
mod scan;
mod settings;
mod updates;
mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kv_core::{
    Bytes, Capabilities, Capability, Entry, Error, Key, KeyValueStore, Keys, Prefix, Remaining, Result, Ttl, Value,
    Version,
};
#[cfg(feature = "cluster")]
use redis::ServerErrorKind;
use redis::Value as Reply;

use crate::protocol::answer::Answer;
use crate::protocol::commands::Commands;
use crate::protocol::fault::Fault;
use crate::protocol::request::{Arg, Request, Shape};
use crate::protocol::ttl;
use crate::protocol::updates::Replacement;
use client::{Client, Route, Target};
use listing::Listing;

pub use builder::RedisStoreBuilder;

/// How many keys a round trip of a batch has at most.
const CHUNK: usize = 1024;

/// A key-value store on redis. See [the crate](crate) for what it does and what that costs.
///
/// `get`, `put` and all the others that applications use are methods of [`KeyValueStoreExt`](crate::KeyValueStoreExt),
/// which has to be imported.
///
/// It is a handle: a clone has the same pool of connections, and so has the store that [`with_namespace`](Self::with_namespace) makes. Threads
/// share it by reference or by clones. They can also [share connections](RedisStoreBuilder::shared_connections).
#[derive(Clone)]
pub struct RedisStore {
    client: Arc<Client>,
}

/// Shows the name and the settings, and no password ([E3](kv_core::contract#9-errors)).
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("name", &self.client.label)
            .field("settings", &self.client.settings)
            .finish_non_exhaustive()
    }
}

/// Every operation is one request and one reply, a batch one for each chunk of up to 1024 keys or about 1 MiB; [the
/// crate](crate) has a table. All operations are commands of redis, and atomic on their keys unless the table says otherwise.
impl KeyValueStore for RedisStore {
    /// The URL without user and password; for a cluster or sentinels, the first of them.
    fn name(&self) -> &str {
        &self.client.label
    }

    /// Everything. An entry expires at most 3 ms late, and a value has at most 512 MiB, unless [the
    /// builder](RedisStoreBuilder::largest_value) sets another limit.
    fn capabilities(&self) -> Capabilities {
        use Capability::{
            Contains, Copy, Counters, Create, Listing, Take, Touch, TouchingReads, TtlReading, Ttls, Versions,
        };
        Capabilities::builder()
            .with_all(&[
                Listing,
                Contains,
                Create,
                Ttls,
                TtlReading,
                Touch,
                Copy,
                Versions,
                Take,
                TouchingReads,
                Counters,
            ])
            .ttl_resolution(ttl::RESOLUTION)
            .longest_ttl(ttl::LONGEST)
            .largest_value(self.client.settings.largest_value)
            .build()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        match self.client.ask(key, &Request::reading().with(Shape::Value, ["GET".into(), self.client.name(key)]))? {
            Reply::BulkString(value) => Ok(Some(value.into())),
            _ => Ok(None),
        }
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        self.client.check_size(key, &value)?;
        let ttl = self.client.ttl_millis(key, ttl)?;
        let mut request = Request::writing();
        self.client.add_write(&mut request, key, value.as_bytes(), ttl);
        self.client.ask(key, &request).map(drop)
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        self.client.check_size(key, &value)?;
        let (name, bytes) = (self.client.name(key), Arg::from(value.as_bytes()));
        let mut request = Request::writing();
        match self.client.ttl_millis(key, ttl)? {
            Some(0) => return self.exists(key).map(|exists| !exists),
            None => request.add(Shape::Done, ["SET".into(), name, bytes, "NX".into()]),
            Some(millis) => {
                request.add(Shape::Done, ["SET".into(), name, bytes, "NX".into(), "PX".into(), millis.into()]);
            }
        }
        Ok(self.client.ask(key, &request)? == Reply::Okay)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        let reply =
            self.client.ask(key, &Request::writing().with(Shape::Integer, ["DEL".into(), self.client.name(key)]))?;
        Ok(reply != Reply::Int(0))
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        let reply =
            self.client.ask(key, &Request::reading().with(Shape::Integer, ["EXISTS".into(), self.client.name(key)]))?;
        Ok(reply != Reply::Int(0))
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        match self.client.ask(key, &Request::reading().with(Shape::Integer, ["PTTL".into(), self.client.name(key)]))? {
            Reply::Int(-1) => Ok(Some(Remaining::Forever)),
            Reply::Int(millis) => {
                Ok(u64::try_from(millis).ok().map(|left| Remaining::For(Duration::from_millis(left))))
            }
            _ => Err(self.client.desynchronized(key)),
        }
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        let name = self.client.name(key);
        match self.client.ttl_millis(key, ttl)? {
            Some(0) => self.remove(key),
            Some(millis) => {
                let request =
                    Request::writing().with(Shape::Integer, ["PEXPIRE".into(), name, ttl::expire_after(millis).into()]);
                Ok(self.client.ask(key, &request)? != Reply::Int(0))
            }
            None => {
                let persist = |commands: Commands| Some(commands.persist(name));
                let answer = self.client.send_fitting(key, persist)?;
                let (replies, server) = answer.map(|answer| (answer.replies, answer.server)).unwrap_or_default();
                // Without a transaction, PERSIST may have been carried out.
                let is_apart = replies.iter().any(|reply| matches!(reply, Reply::Int(_)));
                for reply in replies {
                    let reply = self.client.no_error(reply, server.as_ref(), key, true);
                    let reply = reply.map_err(|error| if is_apart { with_unknown_outcome(error) } else { error })?;
                    if let Reply::Array(results) = reply {
                        return Ok(results.last() != Some(&Reply::Int(0)));
                    }
                }
                Err(self.client.desynchronized(key))
            }
        }
    }

    /// Page by page with `SCAN`; [the builder](RedisStoreBuilder::page_size) sets the size of a page. Between two pages no connection
    /// is held. Memory: two pages, and 20 to 40 bytes for each key that was yielded, to leave out keys that redis returns
    /// twice ([L4](kv_core::contract#5-listing)).
    ///
    /// The server looks through the whole database, whatever the prefix. If the server is restarted or replaced meanwhile, or slots
    /// of a cluster are moved, the listing ends with an error, because it could not be complete ([L3](kv_core::contract#5-listing)).
    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        Ok(Keys::new(Listing::new(&self.client, prefix)?))
    }

    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        match &*self.client.route {
            Route::Node(_) | Route::Shared(_) | Route::ExternalPool(_) => {
                let mut values = Vec::with_capacity(keys.len());
                for chunk in keys.chunks(CHUNK) {
                    let mut request = Request::reading();
                    let names = chunk.iter().map(|&key| self.client.name(key));
                    request.add_all(
                        Shape::Values(chunk.len()),
                        chunk.len() + 1,
                        std::iter::once("MGET".into()).chain(names),
                    );
                    let answer = self
                        .client
                        .send_to(&Target::SingleServer, &request)
                        .map_err(|fault| self.client.error(fault, None, false))?;
                    let Answer { replies, server, .. } = answer;
                    for reply in replies {
                        match reply {
                            Reply::Array(replies) => values.extend(replies.into_iter().map(value)),
                            Reply::ServerError(error) => {
                                return Err(self.client.error(
                                    Fault::Refused(error.into()).at(server.as_ref()),
                                    None,
                                    false,
                                ));
                            }
                            _ => {}
                        }
                    }
                }
                Ok(values)
            }
            // An MGET accepts the keys of one slot only. It is used because it reports an object of another type as absent, as on
            // one server.
            #[cfg(feature = "cluster")]
            Route::Cluster(_) => {
                let replies = self.client.pipeline(
                    keys,
                    |&key| key,
                    Request::reading,
                    |request, &key| {
                        request.add(Shape::Values(1), ["MGET".into(), self.client.name(key)]);
                    },
                )?;
                Ok(replies.into_iter().map(first_value).collect())
            }
        }
    }

    /// With a command for each key, so that each has a reply of its own. On a cluster, a primary that fails costs its own keys, and no
    /// others.
    fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        let outcomes = self.client.pipeline_each(
            keys,
            |&key| key,
            Request::reading,
            |request, &key| {
                request.add(Shape::Values(1), ["MGET".into(), self.client.name(key)]);
            },
        );
        outcomes.into_iter().map(|reply| Ok(first_value(reply?))).collect()
    }

    /// All values and TTLs are checked before anything is sent.
    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        let checked = entries.iter().map(|Entry { key, value, ttl, .. }| {
            self.client.check_size(*key, value)?;
            Ok((*key, value.as_bytes(), self.client.ttl_millis(*key, *ttl)?))
        });
        let checked = checked.collect::<Result<Vec<_>>>()?;
        self.client
            .pipeline(
                &checked,
                |&(key, ..)| key,
                Request::writing,
                |request, &(key, value, ttl)| self.client.add_write(request, key, value, ttl),
            )
            .map(drop)
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        let replies = self.client.pipeline(
            keys,
            |&key| key,
            Request::writing,
            |request, &key| {
                request.add(Shape::Integer, ["DEL".into(), self.client.name(key)]);
            },
        )?;
        Ok(replies.into_iter().map(|reply| reply != Reply::Int(0)).collect())
    }

    /// One command, or a script on servers without `COPY`. In two cases it is a read of value and TTL and then a write, which is not
    /// atomic: on a cluster if the keys are of different slots or their slot is being moved, and below redis 6.2 where scripts are forbidden.
    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        #[cfg(feature = "cluster")]
        if self.client.are_apart(from, to) {
            return self.client.copy_in_steps(from, to);
        }
        let copy = |commands: Commands| commands.copy(self.client.name(from), self.client.name(to));
        let Some(answer) = self.client.send_fitting(from, copy)? else { return self.client.copy_in_steps(from, to) };
        let Answer { mut replies, server, .. } = answer;
        match replies.pop() {
            Some(Reply::Int(0)) => Err(Error::not_found(&self.client.label, from)),
            #[cfg(feature = "cluster")]
            Some(Reply::ServerError(error)) if error.kind() == Some(ServerErrorKind::TryAgain) => {
                self.client.copy_in_steps(from, to)
            }
            reply => self.client.no_error(reply.unwrap_or_default(), server.as_ref(), from, true).map(drop),
        }
    }

    /// On a cluster, if the keys are of different slots or their slot is being moved, this is a copy and then a removal of what was copied,
    /// which is not atomic. A value that is written to `from` between them stays. The removal needs one of the commands `EVAL`, `DELIFEQ`
    /// and `DELEX`; if the server lacks them, or the user may not use them, this is an error, and nothing is changed.
    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        #[cfg(feature = "cluster")]
        if self.client.are_apart(from, to) {
            return self.client.rename_in_steps(from, to);
        }
        let request =
            Request::writing().with(Shape::Done, ["RENAME".into(), self.client.name(from), self.client.name(to)]);
        let Answer { mut replies, server, .. } = self.client.send(from, &request)?;
        match replies.pop() {
            Some(Reply::ServerError(error)) if error.details() == Some("no such key") => {
                Err(Error::not_found(&self.client.label, from))
            }
            #[cfg(feature = "cluster")]
            Some(Reply::ServerError(error)) if error.kind() == Some(ServerErrorKind::TryAgain) => {
                self.client.rename_in_steps(from, to)
            }
            reply => self.client.no_error(reply.unwrap_or_default(), server.as_ref(), from, true).map(drop),
        }
    }

    /// The version is the value itself: equal bytes have equal versions.
    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        Ok(self.read(key)?.map(|value| (value.clone(), Version::of_content(self.client.entry(key), value))))
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        let content = value.into_bytes();
        Ok(self
            .write_if_absent(key, (&content).into(), ttl)?
            .then(|| Version::of_content(self.client.entry(key), content)))
    }

    /// By a script; where those are refused, by `SET … IFEQ`, which new servers have, or else in two round trips: `WATCH` and `GET`, then
    /// `MULTI`, `SET` and `EXEC`. A script that the server does not know yet costs one round trip more.
    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        self.client.check_size(key, &value)?;
        let ttl = self.client.ttl_millis(key, ttl)?;
        let Some(old) = self.client.content(version, key) else { return Ok(None) };
        let content = value.into_bytes();
        let is_done = match ttl {
            Some(0) => self.client.remove_if(key, old)?,
            ttl => self.client.write_if(key, Replacement { old, new: &content, ttl })?,
        };
        Ok(is_done.then(|| Version::of_content(self.client.entry(key), content)))
    }

    /// In the same ways, with `DELIFEQ` or `DELEX`.
    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        let Some(old) = self.client.content(version, key) else { return Ok(false) };
        self.client.remove_if(key, old)
    }

    /// `GETDEL`; before redis 6.2 a script, and where those are refused two round trips with `WATCH`.
    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.client.take(key)
    }

    /// `GETEX`; before redis 6.2 a transaction.
    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        match self.client.ttl_millis(key, ttl)? {
            Some(0) => self.client.take(key),
            ttl => self.client.read_and_touch(key, ttl),
        }
    }

    /// `INCRBY`, with a TTL in a transaction after a `SET … NX`. An error that a negative number was there costs a second round trip, which
    /// takes back what was added.
    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        let ttl = self.client.ttl_millis(key, ttl)?;
        self.client.add(key, by, ttl)
    }
}

fn with_unknown_outcome(error: Error) -> Error {
    match error {
        Error::Backend(failure) => Error::Backend(failure.with_unknown_outcome()),
        Error::Unavailable(failure) => Error::Unavailable(failure.with_unknown_outcome()),
        error => error,
    }
}

/// The value of a reply, if there is one.
fn value(reply: Reply) -> Option<Bytes> {
    if let Reply::BulkString(value) = reply { Some(value.into()) } else { None }
}

/// The value in the reply to an `MGET` of one key.
fn first_value(reply: Reply) -> Option<Bytes> {
    if let Reply::Array(mut values) = reply { values.pop().and_then(value) } else { None }
}
