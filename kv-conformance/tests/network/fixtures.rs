//! Fixtures with faults that do not hold: one failure says so, and no check of faults blames the store.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kv_conformance::proxy::Proxy;
use kv_conformance::{BoxError, Durability, Fixture, Suite, Verdict};
use kv_core::{Bytes, Capabilities, Error, Failure, Key, KeyValueStore, Keys, Prefix, Ttl, Value};
use libtest_mimic::{Failed, Trial};

use crate::client::Client;
use crate::nothing;
use crate::pool::Limits;
use crate::right::{LONG, SHORT, behind_proxy};
use crate::server::{Persistence, Server};

const CHECK: &str = "fixture_with_faults_is_behind_its_proxy";

/// A fixture whose store goes to one place, its second handle to another, and whose proxy is before this server.
fn fixture(server: &Arc<Server>, store: SocketAddr, direct: SocketAddr, proxy: Proxy) -> Fixture {
    Fixture::new(Client::new(store, SHORT))
        .second_handle(Client::new(direct, Limits::of_each(LONG)))
        .proxy(Arc::new(proxy))
        .limit(SHORT.sum())
        .server(Arc::clone(server), Durability::OverKill)
}

fn new_server() -> Result<Arc<Server>, BoxError> {
    Ok(Arc::new(Server::start_new(Persistence::EachWrite)?))
}

fn at(proxy: &Proxy) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], proxy.port()))
}

/// A store whose limits pass again and again although nothing is in its way.
#[derive(Debug)]
struct Hasty {
    inner: Client,
    operations: AtomicUsize,
}

impl Hasty {
    fn is_late(&self, key: Key<'_>) -> Result<(), Error> {
        let is_late = self.operations.fetch_add(1, Ordering::Relaxed) % 4 == 3;
        let late = || Error::Timeout(Failure::new(self.name(), "the server did not answer within 1 ms").at(key));
        if is_late { Err(late()) } else { Ok(()) }
    }
}

#[allow(clippy::missing_trait_methods, reason = "those of the check of the fixture are enough")]
impl KeyValueStore for Hasty {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn read(&self, key: Key<'_>) -> Result<Option<Bytes>, Error> {
        self.is_late(key)?;
        self.inner.read(key)
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> Result<(), Error> {
        self.inner.write(key, value, ttl)
    }

    fn remove(&self, key: Key<'_>) -> Result<bool, Error> {
        self.inner.remove(key)
    }

    fn list(&self, prefix: Prefix<'_>) -> Result<Keys<'_>, Error> {
        self.inner.list(prefix)
    }
}

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, open: fn() -> Result<Fixture, BoxError>, says: &'static str| {
        Trial::test(format!("fixture/{name}"), move || one_failure(&suite(open), says))
    };
    vec![
        trial("fails", || Err("no server at port 7".into()), "\nthe fixture failed: no server at port 7\n"),
        trial(
            "second_handle_on_another_server",
            || {
                let (server, other) = (new_server()?, new_server()?);
                let proxy = Proxy::tcp(server.address())?;
                let fixture = fixture(&server, at(&proxy), other.address(), proxy);
                Ok(fixture.guard(other))
            },
            "get through one handle of what was put through the other\n",
        ),
        trial(
            "store_not_behind_the_proxy",
            || {
                let server = new_server()?;
                let proxy = Proxy::tcp(server.address())?;
                Ok(fixture(&server, server.address(), server.address(), proxy))
            },
            "the bytes that came through the proxy while the store asked its server\nexpected: some",
        ),
        trial(
            "second_handle_behind_the_proxy",
            || {
                let server = new_server()?;
                let proxy = Proxy::tcp(server.address())?;
                Ok(fixture(&server, at(&proxy), at(&proxy), proxy))
            },
            "the bytes that came through the proxy while the second handle asked the server\nexpected: none",
        ),
        trial(
            "limits_that_are_too_short",
            || {
                let server = new_server()?;
                let proxy = Proxy::tcp(server.address())?;
                let store = Hasty { inner: Client::new(at(&proxy), SHORT), operations: AtomicUsize::new(0) };
                let direct = Client::new(server.address(), Limits::of_each(LONG));
                let fixture = Fixture::new(store).second_handle(direct).proxy(Arc::new(proxy)).limit(SHORT.sum());
                Ok(fixture.server(server, Durability::OverKill))
            },
            "operations timed out that nothing was in the way of, with `Fixture::limit`",
        ),
        Trial::test("fixture/shares_its_server", || {
            let server = new_server()?;
            let open = move || {
                let proxy = Proxy::tcp(server.address())?;
                Ok(fixture(&server, at(&proxy), server.address(), proxy))
            };
            one_failure(&suite(open), "get, from the store of one fixture, of what was put into that of another\n")
        }),
        Trial::test("fixture/of_a_right_store", || {
            let open = || behind_proxy(Persistence::EachWrite, Durability::OverKill, Client::new);
            let report = suite(open).run_matching(CHECK);
            if report.passed() && report.results.len() == 1 { Ok(()) } else { Err(report.to_string().into()) }
        }),
    ]
}

fn suite(open: impl Fn() -> Result<Fixture, BoxError> + Send + Sync + 'static) -> Suite {
    Suite::new("fixture", nothing).with_faults(open)
}

/// That the fixture does not hold is the one failure of those with faults, and nothing is blamed on the store.
fn one_failure(suite: &Suite, says: &str) -> Result<(), Failed> {
    let report = suite.run_matching("n");
    let failures = report.failures().filter(|failure| failure.name != OTHER).collect::<Vec<_>>();
    let told = match &*failures {
        [failure] => {
            matches!(&failure.verdict, Verdict::Failed(message) if message.contains(says)) && failure.name == CHECK
        }
        _ => false,
    };
    let blamed = report.failures().any(|failure| failure.failure.as_ref().is_none_or(|it| !it.broken.is_empty()));
    let ran = report.results.iter().any(|result| result.verdict == Verdict::Passed);
    if told && !blamed && !ran { Ok(()) } else { Err(report.to_string().into()) }
}

/// The check of the other fixture, which is not there.
const OTHER: &str = "fixture_is_fresh_and_its_parts_belong_together";
