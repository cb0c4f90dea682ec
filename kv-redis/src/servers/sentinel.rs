//! A primary that is found by asking sentinels.
//!
//! It follows [the guidelines for clients of sentinels](https://redis.io/docs/latest/develop/reference/sentinel-clients/): ask one
//! sentinel after the other, connect to the primary that it names, and check that the server says that it is the primary.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use redis::Value as Reply;

use super::dialer::Dialer;
use super::mapping::announced_endpoint;
use crate::connection::Connection;
use crate::connection::credentials::{Credentials, Source};
use crate::connection::endpoint::Endpoint;
use crate::connection::handshake::Login;
use crate::protocol::fault::Fault;
use crate::protocol::request::{Request, Shape};
use crate::protocol::role::Role;
use crate::protocol::server_name::ServerName;

/// Where a sentinel is, and the user and password for it.
#[derive(Clone, Debug)]
pub(crate) struct Sentinel {
    pub(crate) endpoint: Endpoint,
    pub(crate) credentials: Credentials,
}

pub(crate) struct Sentinels {
    service: String,
    all: Vec<Sentinel>,
    /// The sentinel that answered last; it is asked first.
    first: AtomicUsize,
}

impl Sentinels {
    pub(crate) fn new(service: String, sentinels: Vec<Sentinel>) -> Self {
        Self { service, all: sentinels, first: AtomicUsize::new(0) }
    }

    /// Connects to the primary. Each sentinel gets its share of the time that is left; the connection to the primary that it names is a part
    /// of that share.
    pub(crate) fn dial_primary(&self, dialer: &Dialer, deadline: Instant) -> Result<Connection, Fault> {
        let count = self.all.len();
        let first = self.first.load(Ordering::Relaxed);
        // Once for all sentinels, so that the time of the provider is not a part of a sentinel's share.
        let provided = dialer.login.credentials.ask(deadline)?;
        let login = Login { credentials: Source::Fixed(provided.credentials.clone()), ..dialer.login.clone() };
        let (mut of_primary, mut of_sentinel) = (None, Fault::unsuitable("there are no sentinels"));
        for asked in 0..count {
            let at = (first + asked) % count;
            let Some(sentinel) = self.all.get(at) else { continue };
            let left = deadline.saturating_duration_since(Instant::now());
            let deadline = Instant::now() + left / u32::try_from(count - asked).unwrap_or(u32::MAX);
            let endpoint = match self.ask(sentinel, dialer, deadline) {
                Ok(endpoint) => endpoint,
                Err(fault) => {
                    let name = ServerName::given(&format_args!("the sentinel {}", sentinel.endpoint));
                    of_sentinel = fault.at(Some(&name));
                    continue;
                }
            };
            let name = dialer.name_of(&endpoint, "the sentinel");
            match dialer.dial(&endpoint, &login, deadline) {
                Ok(connection) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(connection.with_name(Some(name)));
                }
                Err(fault) => of_primary = Some(fault.at(Some(&name))),
            }
        }
        // A fault of the primary says more than that one of the sentinels is unreachable.
        Err(provided.blame(of_primary.unwrap_or(of_sentinel)))
    }

    /// Asks a sentinel where the primary is.
    fn ask(&self, sentinel: &Sentinel, dialer: &Dialer, deadline: Instant) -> Result<Endpoint, Fault> {
        let login =
            Login { credentials: Source::Fixed(sentinel.credentials.clone()), database: 0, role: Role::Sentinel };
        let mut connection = dialer.dial_any(&sentinel.endpoint, &login, deadline)?;
        let question = Request::reading()
            .with(Shape::Any, ["SENTINEL".into(), "GET-MASTER-ADDR-BY-NAME".into(), self.service.as_str().into()]);
        let answer = connection.exchange(&question, Instant::now(), deadline).map_err(Fault::while_connecting)?;
        match answer.replies.into_iter().next() {
            Some(Reply::Array(address)) => {
                let endpoint = endpoint(&address).ok_or(Fault::Desynchronized)?;
                // A sentinel knows its password, and the address that it names is shown (E3).
                if sentinel.credentials.is_in_name_of(&endpoint) {
                    return Err(Fault::unsuitable("it names an address that has its password in it"));
                }
                Ok(dialer.mapping.reach(endpoint))
            }
            Some(Reply::ServerError(error)) => Err(Fault::ConnectionRefused(error.into())),
            _ => Err(Fault::unsuitable(format!("it knows no primary of the name {:?} (`sentinels`)", self.service))),
        }
    }
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinels")
            .field("service", &self.service)
            .field("sentinels", &self.all)
            .finish_non_exhaustive()
    }
}

fn endpoint(address: &[Reply]) -> Option<Endpoint> {
    let [Reply::BulkString(host), Reply::BulkString(port)] = address else { return None };
    announced_endpoint(str::from_utf8(host).ok()?, str::from_utf8(port).ok()?.parse().ok()?)
}
