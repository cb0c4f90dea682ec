//! A primary that is found by asking sentinels.
//!
//! After [the guidelines for clients of sentinels](https://redis.io/docs/latest/develop/reference/sentinel-clients/): ask one
//! sentinel after the other, connect to the primary that it names, and make sure that it says so itself.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use redis::Value as Reply;

use crate::connection::credentials::Source;
use crate::connection::endpoint::Endpoint;
use crate::connection::exchange::{Connection, Login, Role};
use crate::protocol::fault::{Fault, ServerName};
use crate::protocol::request::{Request, Shape};
use crate::servers::mapping::announced_endpoint;
use crate::servers::node::Dialer;
use crate::store::address::Address;

pub(crate) struct Sentinels {
    service: String,
    addresses: Vec<Address>,
    /// The one that answered last is asked first.
    first: AtomicUsize,
}

impl Sentinels {
    pub(crate) fn new(service: String, addresses: Vec<Address>) -> Self {
        Self { service, addresses, first: AtomicUsize::new(0) }
    }

    /// Connects to the primary. Each sentinel gets its share of the time that is left, the connection to the primary that
    /// it names included.
    pub(crate) fn dial_primary(&self, dialer: &Dialer, deadline: Instant) -> Result<Connection, Fault> {
        let count = self.addresses.len();
        let first = self.first.load(Ordering::Relaxed);
        // Once, as its time is to be no part of a sentinel's share.
        let asked_who = dialer.login.credentials.ask(deadline)?;
        let login = Login { credentials: Source::Fixed(asked_who.credentials.clone()), ..dialer.login.clone() };
        let (mut of_primary, mut of_sentinel) = (None, Fault::unfit("there are no sentinels"));
        for asked in 0..count {
            let at = (first + asked) % count;
            let Some(sentinel) = self.addresses.get(at) else { continue };
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
            match dialer.dial_at(&endpoint, &login, deadline) {
                Ok(connection) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(connection.to(Some(name)));
                }
                Err(fault) => of_primary = Some(fault.at(Some(&name))),
            }
        }
        // What is the matter with the primary says more than that one of the sentinels is away.
        Err(asked_who.blame(of_primary.unwrap_or(of_sentinel)))
    }

    /// Where the primary is, as a sentinel says.
    fn ask(&self, sentinel: &Address, dialer: &Dialer, deadline: Instant) -> Result<Endpoint, Fault> {
        let login =
            Login { credentials: Source::Fixed(sentinel.credentials.clone()), database: 0, role: Role::Sentinel };
        let mut connection = dialer.dial_any_at(&sentinel.endpoint, &login, deadline)?;
        let question = Request::reading()
            .with(Shape::Any, ["SENTINEL".into(), "GET-MASTER-ADDR-BY-NAME".into(), self.service.as_str().into()]);
        let answer = connection.exchange(&question, Instant::now(), deadline).map_err(|fault| match fault {
            Fault::Broken { cause, .. } => Fault::NotConnected(cause),
            other => other,
        })?;
        match answer.replies.into_iter().next() {
            Some(Reply::Array(address)) => {
                let endpoint = endpoint(&address).ok_or(Fault::Desynchronized)?;
                // It knows the password that it was given, and what it names is shown (E3).
                if sentinel.credentials.is_in_name_of(&endpoint) {
                    return Err(Fault::unfit("it names an address that has its password in it"));
                }
                Ok(dialer.mapping.reach(endpoint))
            }
            Some(Reply::ServerError(error)) => Err(Fault::Unusable(error.into())),
            _ => Err(Fault::unfit(format!("it knows no primary of the name {:?} (`sentinels`)", self.service))),
        }
    }
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinels")
            .field("service", &self.service)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

fn endpoint(address: &[Reply]) -> Option<Endpoint> {
    let [Reply::BulkString(host), Reply::BulkString(port)] = address else { return None };
    announced_endpoint(str::from_utf8(host).ok()?, str::from_utf8(port).ok()?.parse().ok()?)
}
