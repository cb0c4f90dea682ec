//! The conformance suite on `MemcacheStore`, with every kind of connection to a server.
//!
//! Each check has a server of its own, as there is nothing on a memcached server that keeps stores apart.

#![cfg(unix)]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use kv_conformance::proxy::Proxy;
use kv_conformance::{BoxError, Durability, Fixture, Suite, Weakness};
use kv_memcache::{Capability, KeyValueStore, KeyValueStoreExt as _, MemcacheStore, MemcacheStoreBuilder, Tls};

mod asynchronous;
#[path = "../support/mod.rs"]
mod support;
use support::{Kind, Memcached, Need, PATIENCE, Twemproxy, can, skip, version};

fn settings(builder: MemcacheStoreBuilder) -> MemcacheStoreBuilder {
    builder.pool_timeout(PATIENCE).connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// A suite whose stores are on this many servers of this kind. `open` gets a builder with their URLs.
fn suite<S: KeyValueStore + 'static>(
    name: &str,
    kind: Kind,
    servers: usize,
    open: impl Fn(MemcacheStoreBuilder) -> Result<S, BoxError> + Clone + Send + Sync + 'static,
) -> Suite {
    let fixture = move |builder: MemcacheStoreBuilder| {
        let (servers, builder) = on_servers(kind, servers, builder);
        Ok(Fixture::new(open(builder.clone())?).second_handle(open(builder)?).guard(servers))
    };
    let with_ttl = fixture.clone();
    let suite = Suite::new(name, move || fixture(MemcacheStore::builder()))
        .with_default_ttl(move |ttl| with_ttl(MemcacheStore::builder().default_ttl(ttl)));
    let classic = name.starts_with("classic");
    let suite = of_memcached(suite, classic);
    // Of several servers, all would have to be behind the proxy.
    if servers == 1 && FAULTY.contains(&name) {
        suite.with_faults(move || behind_a_proxy(kind, classic))
    } else {
        suite
    }
}

/// Servers of a kind, and a builder with their URLs.
fn on_servers(kind: Kind, servers: usize, builder: MemcacheStoreBuilder) -> (Vec<Memcached>, MemcacheStoreBuilder) {
    let servers: Vec<_> = (0..servers).map(|_| Memcached::start_as(kind, &["-m256"])).collect();
    let builder = settings(builder).servers(servers.iter().map(Memcached::url));
    let builder = match servers.first() {
        Some(server) if matches!(kind, Kind::Tls { .. }) => builder.tls(tls_of(server)),
        _ => builder,
    };
    (servers, builder)
}

fn tls_of(server: &Memcached) -> Tls {
    let all = server.certificates();
    let tls = Tls::new().certificate_authority(all.ca.clone());
    tls.client_certificate(all.client.certificate.clone(), all.client.key.clone())
}

/// What all stores on memcached lack.
fn of_memcached(suite: Suite, classic: bool) -> Suite {
    let suite = suite.opt_out(Capability::Listing, "the protocol of memcached has no way to enumerate keys");
    if classic {
        return suite;
    }
    let reason = "memcached takes for a number what C takes for one, and blanks behind it";
    suite.weaker(Weakness::LenientCounters, reason)
}

/// The suites whose stores get behind a proxy, too: one for each kind of connection.
const FAULTY: &[&str] = &["tcp", "unix_socket", "tls", "classic"];

/// Each of the three limits in the checks of faults.
const FAULT_LIMIT: Duration = Duration::from_millis(500);

/// How long a silent server is left alone. If it is back just after a failed try, the store notices that one limit later.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// A server, a proxy before it, and the settings of a store behind that and of one that is not.
struct Behind {
    proxy: Proxy,
    server: Memcached,
    builder: MemcacheStoreBuilder,
    direct: MemcacheStoreBuilder,
}

impl Behind {
    fn new(kind: Kind, classic: bool) -> Result<Self, BoxError> {
        let server = Memcached::start_as(kind, &["-m256"]);
        let limited = |limit| {
            let builder = MemcacheStore::builder().classic(classic);
            builder.pool_timeout(limit).connect_timeout(limit).response_timeout(limit)
        };
        let (mut builder, mut direct) =
            (limited(FAULT_LIMIT).retry_after(RETRY_AFTER).pool_size(4), limited(PATIENCE).url(server.url()));
        let proxy = if kind == Kind::Unix { Proxy::unix(server.socket())? } else { support::proxy(server.url_port()) };
        builder = match proxy.path() {
            Some(path) => builder.url(format!("memcache://{}", path.display())),
            None => builder.url(server.url().replace(&server.url_port().to_string(), &proxy.port().to_string())),
        };
        if let Kind::Tls { .. } = kind {
            let tls = tls_of(&server);
            (builder, direct) = (builder.tls(tls.clone()), direct.tls(tls));
        }
        Ok(Self { proxy, server, builder, direct })
    }

    /// A fixture whose store is behind the proxy, with what the checks of faults need. The server keeps nothing when it ends.
    fn with_faults(self, fixture: Fixture) -> Result<Fixture, BoxError> {
        Ok(fixture
            .second_handle(self.direct.connect()?)
            .proxy(Arc::new(self.proxy))
            .limit(3 * FAULT_LIMIT)
            .retry_after(RETRY_AFTER + FAULT_LIMIT)
            .server(self.server.into_server(), Durability::Volatile))
    }
}

/// A store behind a proxy in front of a server of this kind.
fn behind_a_proxy(kind: Kind, classic: bool) -> Result<Fixture, BoxError> {
    let behind = Behind::new(kind, classic)?;
    let (idle, old) = (behind.builder.clone(), behind.builder.clone());
    let fixture = Fixture::new(behind.builder.clone().build()?)
        .idle_timeout(move |time| Ok(idle.clone().idle_timeout(time).build()?))
        .max_lifetime(move |time| Ok(old.clone().max_lifetime(time).build()?));
    behind.with_faults(fixture)
}

/// Stores with default settings: without contains.
fn without_contains(suite: Suite) -> Suite {
    suite.opt_out(
        Capability::Contains,
        "an entry may be evicted between the question and the use, so asking invites a race; `contains(true)` turns it on",
    )
}

/// Stores that use the classic commands.
fn without_ttl_reading(suite: Suite) -> Suite {
    let reason = "the classic commands do not tell what is left of a TTL";
    let suite = suite.opt_out(Capability::TtlReading, reason).opt_out(Capability::Copy, reason);
    let reason = "the store uses the classic commands for what proxies have, too";
    [Capability::Versions, Capability::Take, Capability::TouchingReads, Capability::Counters]
        .into_iter()
        .fold(suite, |suite, of| suite.opt_out(of, reason))
        .opt_out(Capability::ExactVersions, "without versions there are no exact ones")
}

/// Stores on twemproxy, which has three servers behind it.
fn through_twemproxy() -> Option<Suite> {
    let Some(said) = Twemproxy::version() else {
        skip("the suite `twemproxy`", "there is no nutcracker (Debian's package nutcracker)");
        return None;
    };
    let fixture = |builder: MemcacheStoreBuilder| {
        let servers = (0..3).map(|_| Memcached::start(&["-m256"])).collect();
        let proxy = Twemproxy::start(servers);
        let builder = settings(builder).url(proxy.url()).classic(true);
        Ok(Fixture::new(builder.clone().connect()?).second_handle(builder.connect()?).guard(proxy))
    };
    let suite = Suite::new("twemproxy", move || fixture(MemcacheStore::builder()))
        .with_default_ttl(move |ttl| fixture(MemcacheStore::builder().default_ttl(ttl)))
        .opt_out(Capability::Listing, "the protocol of memcached has no way to enumerate keys");
    Some(without_contains(without_ttl_reading(suite)).server(format!("{said} before {}", version())))
}

fn main() -> ExitCode {
    let connect = |builder: MemcacheStoreBuilder| Ok(builder.connect()?);
    let classic = |builder: MemcacheStoreBuilder| Ok(builder.classic(true).connect()?);
    let classic_built = |builder: MemcacheStoreBuilder| {
        let store = builder.classic(true).contains(true).build()?;
        // The store learns the largest item.
        store.get("the_first_connection")?;
        Ok(store)
    };
    let mut suites = vec![
        without_contains(without_ttl_reading(suite("classic", Kind::Tcp, 1, classic))),
        without_ttl_reading(suite("classic_built", Kind::Unix, 1, classic_built)),
        asynchronous::classic(),
    ];
    if can("all suites but `classic`", Need::Meta) {
        let tcp = |name, servers| without_contains(suite(name, Kind::Tcp, servers, connect));
        suites.extend([
            tcp("tcp", 1),
            suite("contains", Kind::Tcp, 1, |builder| Ok(builder.contains(true).connect()?)),
            without_contains(suite("unix_socket", Kind::Unix, 1, connect)),
            without_contains(suite("authentication", Kind::WithPassword, 1, connect)),
            // With a namespace, which three servers have to find their keys by, and one in it.
            without_contains(suite("three_servers", Kind::Tcp, 3, |builder| {
                Ok(builder.namespace("app").connect()?.with_namespace("acme")?)
            })),
            without_contains(suite("pool_of_one", Kind::Tcp, 1, |builder| Ok(builder.pool_size(1).connect()?))),
            without_contains(suite("built_as_arc_dyn", Kind::Tcp, 1, |builder| -> Result<Arc<dyn KeyValueStore>, _> {
                Ok(Arc::new(builder.build()?))
            })),
            asynchronous::suite("async", Kind::Tcp, 1, |builder| builder),
            asynchronous::suite("async_unix_socket", Kind::Unix, 1, |builder| builder.contains(true)),
            asynchronous::suite("async_authentication", Kind::WithPassword, 1, |builder| builder),
            asynchronous::suite("async_three_servers", Kind::Tcp, 3, |builder| builder.namespace("app")),
            asynchronous::suite("async_pool_of_one", Kind::Tcp, 1, |builder| builder.pool_size(1)),
        ]);
        if can("the suite `tls`", Need::Tls) {
            let tls = Kind::Tls { with_certificate: true };
            suites.push(without_contains(suite("tls", tls, 1, connect)));
            // Not next to the other one: so many handshakes at the same time take longer than the limits.
            suites.insert(0, asynchronous::suite("async_tls", tls, 1, |builder| builder));
        }
    }
    let mut suites: Vec<_> = suites.into_iter().map(|suite| suite.server(version())).collect();
    suites.extend(through_twemproxy());
    kv_conformance::main(suites)
}
