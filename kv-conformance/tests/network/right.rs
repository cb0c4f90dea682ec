//! A right store and its suite.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kv_conformance::proxy::Proxy;
use kv_conformance::{BoxError, Durability, Fixture, Suite};
use kv_core::{Capability, KeyValueStore};

use crate::client::Client;
use crate::map;
use crate::pool::{Closes, Limits, Pool};
use crate::server::{Persistence, Server};
use crate::wire;

/// How long a store behind the proxy waits: short, because the checks wait for it to run out several hundred times.
pub(crate) const SHORT: Limits = Limits {
    pool: Duration::from_millis(300),
    connect: Duration::from_millis(700),
    exchange: Duration::from_millis(700),
};

/// The same of a store that nothing is in the way of, so that a slow machine does not matter.
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// A right store directly at its server.
fn direct(server: &Arc<Server>, default_ttl: Option<Duration>) -> Fixture {
    let store = || Client { default_ttl, ..Client::new(server.address(), Limits::of_each(LONG)) };
    let (planted, address) = (Arc::clone(server), server.address());
    let reopen = move || Ok(Client { default_ttl, ..Client::new(address, Limits::of_each(LONG)) });
    let plant = move || {
        planted.with_map(map::Map::plant);
        Ok(())
    };
    Fixture::new(store()).second_handle(store()).foreign_data(plant).reopen(reopen).guard(Arc::clone(server))
}

/// A store behind a proxy, and a right one directly at its server.
pub(crate) fn behind_proxy<S: KeyValueStore + 'static>(
    persistence: Persistence,
    durability: Durability,
    store: impl FnOnce(SocketAddr, Limits) -> S,
) -> Result<Fixture, BoxError> {
    let server = Arc::new(Server::start_new(persistence)?);
    let proxy = Arc::new(Proxy::tcp(server.address())?);
    let address = SocketAddr::from(([127, 0, 0, 1], proxy.port()));
    let closing =
        move |closes| Ok(Client { transport: Pool::closing(address, SHORT, closes), ..Client::new(address, SHORT) });
    Ok(Fixture::new(store(address, SHORT))
        .idle_timeout(move |time| closing(Closes { idle: Some(time), ..Closes::default() }))
        .max_lifetime(move |time| closing(Closes { old: Some(time), ..Closes::default() }))
        .repeated(|key, value| {
            let text = format!("unknown command, with args beginning with: '{key}' '{value}'");
            vec![wire::frame(wire::REPLY, wire::FAILED, [Some(text.as_bytes())])]
        })
        .second_handle(Client::new(server.address(), Limits::of_each(LONG)))
        .proxy(proxy)
        .limit(SHORT.sum())
        .server(server, durability))
}

/// The suite of a right store: its server keeps what it is said to keep.
pub(crate) fn right(persistence: Persistence, durability: Durability) -> Suite {
    let open = |default_ttl| Ok(direct(&Arc::new(Server::start_new(Persistence::EachWrite)?), default_ttl));
    let suite = Suite::new(format!("right/{durability:?}"), move || open(None));
    inexact(suite)
        .with_default_ttl(move |ttl| open(Some(ttl)))
        .with_faults(move || behind_proxy(persistence, durability, Client::new))
}

pub(crate) fn inexact(suite: Suite) -> Suite {
    suite.opt_out(Capability::ExactVersions, "a version is the value itself")
}
