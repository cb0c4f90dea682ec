//! What the operations of a store do: one code for the blocking store and the async one.
//!
//! The futures of a [`Client`] whose connections block are ready when they are first polled; [`now`](super::now) takes their outcome.

use std::time::Duration;

use kv_core::{Bytes, Capabilities, Capability, Entry, Error, Key, Remaining, Result, Ttl, Value, Version};
#[cfg(feature = "cluster")]
use redis::ServerErrorKind;
use redis::Value as Reply;

use super::client::{Client, Route, Target};
use crate::protocol::answer::Answer;
use crate::protocol::commands::Commands;
use crate::protocol::fault::Fault;
use crate::protocol::request::{Arg, Request, Shape};
use crate::protocol::ttl;
use crate::protocol::updates::Replacement;

/// How many keys a round trip of a batch has at most.
pub(super) const CHUNK: usize = 1024;

impl Client {
    pub(super) fn capabilities(&self) -> Capabilities {
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
            .largest_value(self.settings.largest_value)
            .build()
    }

    pub(super) async fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        match self.ask(key, &Request::reading().with(Shape::Value, ["GET".into(), self.name(key)])).await? {
            Reply::BulkString(value) => Ok(Some(value.into())),
            _ => Ok(None),
        }
    }

    pub(super) async fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        self.check_size(key, &value)?;
        let ttl = self.ttl_millis(key, ttl)?;
        let mut request = Request::writing();
        self.add_write(&mut request, key, value.as_bytes(), ttl);
        self.ask(key, &request).await.map(drop)
    }

    pub(super) async fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        self.check_size(key, &value)?;
        let (name, bytes) = (self.name(key), Arg::from(value.as_bytes()));
        let mut request = Request::writing();
        match self.ttl_millis(key, ttl)? {
            Some(0) => return self.exists(key).await.map(|exists| !exists),
            None => request.add(Shape::Done, ["SET".into(), name, bytes, "NX".into()]),
            Some(millis) => {
                request.add(Shape::Done, ["SET".into(), name, bytes, "NX".into(), "PX".into(), millis.into()]);
            }
        }
        Ok(self.ask(key, &request).await? == Reply::Okay)
    }

    pub(super) async fn remove(&self, key: Key<'_>) -> Result<bool> {
        let reply = self.ask(key, &Request::writing().with(Shape::Integer, ["DEL".into(), self.name(key)])).await?;
        Ok(reply != Reply::Int(0))
    }

    pub(super) async fn exists(&self, key: Key<'_>) -> Result<bool> {
        let reply = self.ask(key, &Request::reading().with(Shape::Integer, ["EXISTS".into(), self.name(key)])).await?;
        Ok(reply != Reply::Int(0))
    }

    pub(super) async fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        match self.ask(key, &Request::reading().with(Shape::Integer, ["PTTL".into(), self.name(key)])).await? {
            Reply::Int(-1) => Ok(Some(Remaining::Forever)),
            Reply::Int(millis) => {
                Ok(u64::try_from(millis).ok().map(|left| Remaining::For(Duration::from_millis(left))))
            }
            _ => Err(self.desynchronized(key)),
        }
    }

    pub(super) async fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        let name = self.name(key);
        match self.ttl_millis(key, ttl)? {
            Some(0) => self.remove(key).await,
            Some(millis) => {
                let request =
                    Request::writing().with(Shape::Integer, ["PEXPIRE".into(), name, ttl::expire_after(millis).into()]);
                Ok(self.ask(key, &request).await? != Reply::Int(0))
            }
            None => {
                let persist = |commands: Commands| Some(commands.persist(name));
                let answer = self.send_fitting(key, persist).await?;
                let (replies, server) = answer.map(|answer| (answer.replies, answer.server)).unwrap_or_default();
                // Without a transaction, PERSIST may have been carried out.
                let is_apart = replies.iter().any(|reply| matches!(reply, Reply::Int(_)));
                for reply in replies {
                    let reply = self.no_error(reply, server.as_ref(), key, true);
                    let reply = reply.map_err(|error| if is_apart { with_unknown_outcome(error) } else { error })?;
                    if let Reply::Array(results) = reply {
                        return Ok(results.last() != Some(&Reply::Int(0)));
                    }
                }
                Err(self.desynchronized(key))
            }
        }
    }

    pub(super) async fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        match &*self.route {
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
                    let answer = self
                        .send_to(&Target::SingleServer, &request)
                        .await
                        .map_err(|fault| self.error(fault, None, false))?;
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
            // An MGET accepts the keys of one slot only. It is used because it reports an object of another type as absent, as on
            // one server.
            #[cfg(feature = "cluster")]
            Route::Cluster(_) => {
                let replies = self
                    .pipeline(
                        keys,
                        |&key| key,
                        Request::reading,
                        |request, &key| {
                            request.add(Shape::Values(1), ["MGET".into(), self.name(key)]);
                        },
                    )
                    .await?;
                Ok(replies.into_iter().map(first_value).collect())
            }
        }
    }

    pub(super) async fn read_each(&self, keys: &[Key<'_>]) -> Vec<Result<Option<Bytes>>> {
        let outcomes = self
            .pipeline_each(
                keys,
                |&key| key,
                Request::reading,
                |request, &key| {
                    request.add(Shape::Values(1), ["MGET".into(), self.name(key)]);
                },
            )
            .await;
        outcomes.into_iter().map(|reply| Ok(first_value(reply?))).collect()
    }

    pub(super) async fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        let checked = entries.iter().map(|Entry { key, value, ttl, .. }| {
            self.check_size(*key, value)?;
            Ok((*key, value.as_bytes(), self.ttl_millis(*key, *ttl)?))
        });
        let checked = checked.collect::<Result<Vec<_>>>()?;
        self.pipeline(
            &checked,
            |&(key, ..)| key,
            Request::writing,
            |request, &(key, value, ttl)| self.add_write(request, key, value, ttl),
        )
        .await
        .map(drop)
    }

    pub(super) async fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        let replies = self
            .pipeline(
                keys,
                |&key| key,
                Request::writing,
                |request, &key| {
                    request.add(Shape::Integer, ["DEL".into(), self.name(key)]);
                },
            )
            .await?;
        Ok(replies.into_iter().map(|reply| reply != Reply::Int(0)).collect())
    }

    pub(super) async fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        #[cfg(feature = "cluster")]
        if self.are_apart(from, to) {
            return self.copy_in_steps(from, to).await;
        }
        let copy = |commands: Commands| commands.copy(self.name(from), self.name(to));
        let Some(answer) = self.send_fitting(from, copy).await? else { return self.copy_in_steps(from, to).await };
        let Answer { mut replies, server, .. } = answer;
        match replies.pop() {
            Some(Reply::Int(0)) => Err(Error::not_found(&self.label, from)),
            #[cfg(feature = "cluster")]
            Some(Reply::ServerError(error)) if error.kind() == Some(ServerErrorKind::TryAgain) => {
                self.copy_in_steps(from, to).await
            }
            reply => self.no_error(reply.unwrap_or_default(), server.as_ref(), from, true).map(drop),
        }
    }

    pub(super) async fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        #[cfg(feature = "cluster")]
        if self.are_apart(from, to) {
            return self.rename_in_steps(from, to).await;
        }
        let request = Request::writing().with(Shape::Done, ["RENAME".into(), self.name(from), self.name(to)]);
        let Answer { mut replies, server, .. } = self.send(from, &request).await?;
        match replies.pop() {
            Some(Reply::ServerError(error)) if error.details() == Some("no such key") => {
                Err(Error::not_found(&self.label, from))
            }
            #[cfg(feature = "cluster")]
            Some(Reply::ServerError(error)) if error.kind() == Some(ServerErrorKind::TryAgain) => {
                self.rename_in_steps(from, to).await
            }
            reply => self.no_error(reply.unwrap_or_default(), server.as_ref(), from, true).map(drop),
        }
    }

    pub(super) async fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        Ok(self.read(key).await?.map(|value| (value.clone(), Version::of_content(self.entry(key), value))))
    }

    pub(super) async fn write_if_absent_versioned(
        &self,
        key: Key<'_>,
        value: Value<'_>,
        ttl: Ttl,
    ) -> Result<Option<Version>> {
        let content = value.into_bytes();
        Ok(self
            .write_if_absent(key, (&content).into(), ttl)
            .await?
            .then(|| Version::of_content(self.entry(key), content)))
    }

    pub(super) async fn write_if_version(
        &self,
        key: Key<'_>,
        value: Value<'_>,
        ttl: Ttl,
        version: &Version,
    ) -> Result<Option<Version>> {
        self.check_size(key, &value)?;
        let ttl = self.ttl_millis(key, ttl)?;
        let Some(old) = self.content(version, key) else { return Ok(None) };
        let content = value.into_bytes();
        let is_done = match ttl {
            Some(0) => self.remove_if(key, old).await?,
            ttl => self.write_if(key, Replacement { old, new: &content, ttl }).await?,
        };
        Ok(is_done.then(|| Version::of_content(self.entry(key), content)))
    }

    pub(super) async fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        let Some(old) = self.content(version, key) else { return Ok(false) };
        self.remove_if(key, old).await
    }

    pub(super) async fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.take(key).await
    }

    pub(super) async fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        match self.ttl_millis(key, ttl)? {
            Some(0) => self.take(key).await,
            ttl => self.read_and_touch(key, ttl).await,
        }
    }

    pub(super) async fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        let ttl = self.ttl_millis(key, ttl)?;
        self.add_number(key, by, ttl).await
    }
}

/// Something may have been written.
pub(super) fn with_unknown_outcome(error: Error) -> Error {
    match error {
        Error::Backend(failure) => Error::Backend(failure.with_unknown_outcome()),
        Error::Unavailable(failure) => Error::Unavailable(failure.with_unknown_outcome()),
        Error::Timeout(failure) => Error::Timeout(failure.with_unknown_outcome()),
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
