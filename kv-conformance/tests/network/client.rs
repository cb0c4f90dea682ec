//! A store on a server behind a network: what every author of such a backend has to write, made as small as it goes.

use std::fmt;
use std::iter;
use std::net::SocketAddr;
use std::time::Duration;

use kv_core::{
    Bytes, Capabilities, Capability, CounterFault, Entry, Error, Failure, Key, KeyBuf, KeyValueStore, Keys, Prefix,
    Remaining, Result, Ttl, Value, Version,
};

use crate::connection::Broken;
use crate::map::{ttl_field, ttl_of};
use crate::pool::{Limits, Pool, Transport};
use crate::wire::{self, Field, Op, Request};

/// The most entries that go into one request.
const CHUNK: usize = 1000;

/// The most bytes of values that go into one request, but for one that is larger by itself.
const CHUNK_BYTES: usize = 256 * 1024;

/// The largest value, in bytes: more than the buffers of a connection take.
const LARGEST_VALUE: usize = 8 << 20;

/// The longest TTL: a century.
const LONGEST_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A store on a server. `T` is what brings requests there: a [`Pool`], unless something is to go wrong.
pub(crate) struct Client<T = Pool> {
    pub(crate) name: String,
    pub(crate) default_ttl: Option<Duration>,
    pub(crate) transport: T,
}

/// What a request is about, for the error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) store: &'a str,
    /// The key, if it is one.
    pub(crate) key: Option<Key<'a>>,
    /// Whether the request was one that changes something.
    pub(crate) writes: bool,
    pub(crate) limits: Limits,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, limits: Limits) -> Self {
        Self { name: format!("net://{address}"), default_ttl: None, transport: Pool::new(address, limits) }
    }
}

impl<T: Transport> Client<T> {
    /// The reply to a request about this key, if it is about one key.
    pub(crate) fn ask(&self, key: Option<Key<'_>>, request: &Request) -> Result<Vec<Field>> {
        self.transport.exchange(request).map_err(|broken| self.explain(key, request, broken))
    }

    pub(crate) fn explain(&self, key: Option<Key<'_>>, request: &Request, broken: Broken) -> Error {
        let scene = Scene { store: &self.name, key, writes: request.op.writes(), limits: self.transport.limits() };
        self.transport.explain(broken, request.op, &scene)
    }

    /// As many fields as expected, or else the reply makes no sense.
    fn ask_for(&self, count: usize, key: Option<Key<'_>>, request: &Request) -> Result<Vec<Field>> {
        let reply = self.ask(key, request)?;
        if reply.len() == count { Ok(reply) } else { Err(self.explain(key, request, Broken::Nonsense)) }
    }

    /// The one field of a reply.
    fn ask_one(&self, op: Op, key: Key<'_>, more: &[&[u8]]) -> Result<Field> {
        let request = Request::new(op, iter::once(key.as_bytes()).chain(more.iter().copied()));
        self.ask_for(1, Some(key), &request).map(|mut reply| reply.pop().flatten())
    }

    /// What a reply says of each key, in chunks of one exchange each.
    fn ask_of_each(&self, op: Op, keys: &[Key<'_>]) -> Result<Vec<Field>> {
        let mut all = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(CHUNK) {
            let request = Request::new(op, chunk.iter().map(|key| key.as_bytes()));
            all.extend(self.ask_for(chunk.len(), only(chunk), &request)?);
        }
        Ok(all)
    }

    /// The TTL as it is sent, of an entry that can be stored.
    fn check(&self, key: Key<'_>, size: usize, ttl: Ttl) -> Result<Vec<u8>> {
        if size > LARGEST_VALUE {
            return Err(Error::value_too_large(&self.name, key, size as u64, LARGEST_VALUE as u64));
        }
        match ttl.or_default(self.default_ttl) {
            Some(ttl) if ttl > LONGEST_TTL => Err(Error::invalid_ttl(&self.name, key, ttl, LONGEST_TTL)),
            ttl_bytes => Ok(ttl_field(ttl_bytes)),
        }
    }

    fn found(&self, from: Key<'_>, found: &Field) -> Result<()> {
        found.as_ref().map(drop).ok_or_else(|| Error::not_found(&self.name, from))
    }

    /// A page of a listing: the names on it, and the cursor of the next one.
    pub(crate) fn page(&self, prefix: &str, cursor: &Bytes) -> Result<(Vec<Field>, Field)> {
        let request = Request::new(Op::List, [prefix.as_bytes(), cursor]);
        let mut reply = self.ask(None, &request)?.into_iter();
        match reply.next() {
            Some(next) => Ok((reply.collect(), next)),
            None => Err(self.explain(None, &request, Broken::Nonsense)),
        }
    }
}

/// The key, if it is one.
fn only<'k>(keys: &[Key<'k>]) -> Option<Key<'k>> {
    if let [key] = keys { Some(*key) } else { None }
}

impl Broken {
    /// What a caller is told (E1, E2, E5).
    pub(crate) fn into_error(self, scene: &Scene<'_>) -> Error {
        let Limits { pool, connect, exchange } = scene.limits;
        let in_doubt = scene.writes && self.is_sent();
        let failure = |message: String| {
            let failure = Failure::new(scene.store, message);
            let failure = if let Some(key) = scene.key { failure.at(key) } else { failure };
            if in_doubt { failure.with_unknown_outcome() } else { failure }
        };
        match self {
            Self::PoolExhausted => {
                Error::Unavailable(failure(format!("no connection of the pool became free within {pool:?}")))
            }
            Self::NotConnected(cause) if cause.kind() == std::io::ErrorKind::TimedOut => {
                Error::Timeout(failure(format!("connecting took longer than {connect:?}")))
            }
            Self::NotConnected(cause) => Error::Unavailable(failure("connecting failed".into()).caused_by(cause)),
            Self::Lost { cause, .. } if cause.kind() == std::io::ErrorKind::TimedOut => {
                Error::Timeout(failure(format!("the server did not answer within {exchange:?}")))
            }
            Self::Lost { cause, .. } => {
                Error::Unavailable(failure("the connection was lost before the reply came".into()).caused_by(cause))
            }
            // Its words may repeat what it was sent (E3).
            Self::Refused(_) => Error::Backend(failure("the server refused".into()).transient()),
            Self::Nonsense => Error::Backend(failure("what came is not the reply to this request".into()).transient()),
        }
    }
}

impl<T: Transport> KeyValueStore for Client<T> {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        let millisecond = Duration::from_millis(1);
        // A version is the value itself.
        let builder = Capabilities::builder().with_all(Capability::ALL).without(Capability::ExactVersions);
        let builder = builder.longest_ttl(LONGEST_TTL).ttl_resolution(millisecond);
        builder.largest_value(LARGEST_VALUE as u64).build()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.ask_one(Op::Read, key, &[])
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<()> {
        let ttl_bytes = self.check(key, value.len(), ttl)?;
        let request = Request::new(Op::Write, [key.as_bytes(), value.as_bytes(), &ttl_bytes]);
        self.ask_for(0, Some(key), &request).map(drop)
    }

    fn write_if_absent(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<bool> {
        let ttl_bytes = self.check(key, value.len(), ttl)?;
        self.ask_one(Op::Create, key, &[value.as_bytes(), &ttl_bytes]).map(|was_absent| was_absent.is_some())
    }

    fn remove(&self, key: Key<'_>) -> Result<bool> {
        self.ask_one(Op::Remove, key, &[]).map(|was_there| was_there.is_some())
    }

    fn exists(&self, key: Key<'_>) -> Result<bool> {
        self.ask_one(Op::Exists, key, &[]).map(|is_there| is_there.is_some())
    }

    fn expiry(&self, key: Key<'_>) -> Result<Option<Remaining>> {
        let Some(ttl_bytes) = self.ask_one(Op::Expiry, key, &[])? else { return Ok(None) };
        match ttl_of(&ttl_bytes) {
            Ok(left) => Ok(Some(left.map_or(Remaining::Forever, Remaining::For))),
            Err(_) => Err(self.explain(Some(key), &Request::new(Op::Expiry, []), Broken::Nonsense)),
        }
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<bool> {
        let ttl_bytes = self.check(key, 0, ttl)?;
        self.ask_one(Op::Touch, key, &[&ttl_bytes]).map(|is_there| is_there.is_some())
    }

    /// Keeps one page in memory (L4).
    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>> {
        let prefix = prefix.as_str().to_owned();
        let mut cursor = Some(Bytes::new());
        let mut page = Vec::new().into_iter();
        Ok(Keys::new(iter::from_fn(move || {
            loop {
                // What is not a key is not ours (L5).
                if let Some(key) = page.by_ref().flatten().find_map(|name: Bytes| KeyBuf::try_from(&*name).ok()) {
                    return Some(Ok(key));
                }
                match self.page(&prefix, &cursor.take()?) {
                    Ok((names, next)) => (page, cursor) = (names.into_iter(), next),
                    Err(error) => return Some(Err(error)),
                }
            }
        })))
    }

    fn read_many(&self, keys: &[Key<'_>]) -> Result<Vec<Option<Bytes>>> {
        self.ask_of_each(Op::Read, keys)
    }

    fn write_many(&self, entries: Vec<Entry<'_>>) -> Result<()> {
        let check = |entry: &Entry<'_>| self.check(entry.key, entry.value.len(), entry.ttl);
        let ttls = entries.iter().map(check).collect::<Result<Vec<_>>>()?;
        let (mut entries, mut ttls) = (&*entries, &*ttls);
        while !entries.is_empty() {
            let mut bytes = 0;
            let fits = |entry: &&Entry<'_>| {
                let is_first = bytes == 0;
                bytes += entry.value.len() + 1;
                is_first || bytes <= CHUNK_BYTES
            };
            let count = entries.iter().take(CHUNK).take_while(fits).count();
            let (chunk, later) = entries.split_at(count);
            let (its_ttls, later_ttls) = ttls.split_at(count);
            let fields = chunk
                .iter()
                .zip(its_ttls)
                .flat_map(|(entry, ttl_bytes)| [entry.key.as_str().as_bytes(), entry.value.as_bytes(), ttl_bytes]);
            let key = if let [entry] = chunk { Some(entry.key) } else { None };
            self.ask_for(0, key, &Request::new(Op::Write, fields))?;
            (entries, ttls) = (later, later_ttls);
        }
        Ok(())
    }

    fn remove_many(&self, keys: &[Key<'_>]) -> Result<Vec<bool>> {
        self.ask_of_each(Op::Remove, keys).map(|replies| replies.iter().map(Option::is_some).collect())
    }

    fn copy_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.found(from, &self.ask_one(Op::Copy, from, &[to.as_bytes()])?)
    }

    fn rename_entry(&self, from: Key<'_>, to: Key<'_>) -> Result<()> {
        self.found(from, &self.ask_one(Op::Rename, from, &[to.as_bytes()])?)
    }

    fn read_versioned(&self, key: Key<'_>) -> Result<Option<(Bytes, Version)>> {
        let versioned = |value: Bytes| (value.clone(), Version::of_content(key, value));
        Ok(self.read(key)?.map(versioned))
    }

    fn write_if_absent_versioned(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<Option<Version>> {
        let value = value.into_bytes();
        let created = self.write_if_absent(key, value.clone().into(), ttl)?;
        Ok(created.then(|| Version::of_content(key, value)))
    }

    fn write_if_version(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl, version: &Version) -> Result<Option<Version>> {
        let ttl_bytes = self.check(key, value.len(), ttl)?;
        let Some(old) = version.content_at(key) else { return Ok(None) };
        let stored = self.ask_one(Op::WriteIf, key, &[value.as_bytes(), &ttl_bytes, old])?;
        Ok(stored.map(|_| Version::of_content(key, value.into_bytes())))
    }

    fn remove_if_version(&self, key: Key<'_>, version: &Version) -> Result<bool> {
        let Some(old) = version.content_at(key) else { return Ok(false) };
        self.ask_one(Op::RemoveIf, key, &[old]).map(|removed| removed.is_some())
    }

    fn read_and_remove(&self, key: Key<'_>) -> Result<Option<Bytes>> {
        self.ask_one(Op::Take, key, &[])
    }

    fn read_and_set_expiry(&self, key: Key<'_>, ttl: Ttl) -> Result<Option<Bytes>> {
        let ttl_bytes = self.check(key, 0, ttl)?;
        self.ask_one(Op::ReadTouch, key, &[&ttl_bytes])
    }

    fn add(&self, key: Key<'_>, by: u32, ttl: Ttl) -> Result<u64> {
        let ttl_bytes = self.check(key, 0, ttl)?;
        let reply = self.ask_one(Op::Add, key, &[&by.to_be_bytes(), &ttl_bytes])?.unwrap_or_default();
        match &*reply {
            wire::NOT_A_NUMBER => Err(Error::not_a_counter(&self.name, key, CounterFault::NotANumber)),
            wire::TOO_LARGE => Err(Error::not_a_counter(&self.name, key, CounterFault::TooLarge)),
            sum => std::str::from_utf8(sum)
                .ok()
                .and_then(|sum| sum.parse().ok())
                .ok_or_else(|| self.explain(Some(key), &Request::new(Op::Add, []), Broken::Nonsense)),
        }
    }
}

impl<T> fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.name)
            .field("default_ttl", &self.default_ttl)
            .finish_non_exhaustive()
    }
}
