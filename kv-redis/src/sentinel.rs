//! A primary that is found by asking sentinels.
//!
//! After [the guidelines for clients of sentinels](https://redis.io/docs/latest/develop/reference/sentinel-clients/): ask one
//! sentinel after the other, connect to the primary that it names, and make sure that it says so itself.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use redis::Value as Reply;

use crate::address::{Address, Place};
use crate::credentials::Source;
use crate::fault::Fault;
use crate::link::{Link, Login, Role};
use crate::node::Dialer;
use crate::request::{Request, Shape};

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
    pub(crate) fn dial_primary(&self, dialer: &Dialer, deadline: Instant) -> Result<Link, Fault> {
        let count = self.addresses.len();
        let first = self.first.load(Ordering::Relaxed);
        let mut last = Fault::unfit("there are no sentinels");
        for asked in 0..count {
            let at = (first + asked) % count;
            let Some(sentinel) = self.addresses.get(at) else { continue };
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(count - asked).unwrap_or(u32::MAX);
            match self.dial_by(sentinel, dialer, Instant::now() + share) {
                Ok(link) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(link);
                }
                // The others would name a primary for which there are no credentials either.
                Err(fault @ Fault::NoCredentials(_)) => return Err(fault),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    fn dial_by(&self, sentinel: &Address, dialer: &Dialer, deadline: Instant) -> Result<Link, Fault> {
        let login =
            Login { credentials: Source::Fixed(sentinel.credentials.clone()), database: 0, role: Role::Sentinel };
        let mut link = dialer.dial_any_at(&sentinel.place, &login, deadline)?;
        let question = Request::reading()
            .with(Shape::Any, ["SENTINEL".into(), "GET-MASTER-ADDR-BY-NAME".into(), self.service.as_str().into()]);
        let answer = link.exchange(&question, Instant::now(), deadline).map_err(|fault| match fault {
            Fault::Broken { cause, .. } => Fault::NotConnected(cause),
            other => other,
        })?;
        let place = match answer.replies.into_iter().next() {
            Some(Reply::Array(address)) => place(&address).ok_or(Fault::OutOfStep)?,
            Some(Reply::ServerError(error)) => return Err(Fault::Unusable(error.into())),
            _ => {
                let text = format!("the sentinels know no primary of the name {:?}", self.service);
                return Err(Fault::unfit(text));
            }
        };
        dialer.dial_at(&dialer.mapping.reach(place), &dialer.login, deadline)
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

fn place(address: &[Reply]) -> Option<Place> {
    let [Reply::BulkString(host), Reply::BulkString(port)] = address else { return None };
    let host = String::from_utf8(host.clone()).ok()?;
    Some(Place::Tcp { host, port: str::from_utf8(port).ok()?.parse().ok()? })
}
