//! Section 3, P5, for a store whose server keeps its data: the entries after the server was stopped or killed, and started again.
//!
//! These need a store behind a [proxy](crate::proxy), and a [server](crate::Fixture::server) that is said to keep its data: see
//! [`Suite::with_faults`](crate::Suite::with_faults).

use std::thread;

use kv_core::Capability;

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{Given, change, expect_changed};
use crate::faults::{IDLE, ProxiedStore, in_parallel};
use crate::fixture::Durability;
use crate::running::{Context, NotPassed, Outcome};

checks![
    p5_a_server_that_keeps_its_data_keeps_values_and_removals_over_a_restart,
    p5_a_server_that_keeps_its_data_keeps_ttls_over_a_restart,
];

/// How a server ends.
#[derive(Clone, Copy)]
enum End {
    Stopped,
    Killed,
}

impl End {
    fn shown(self) -> &'static str {
        match self {
            Self::Stopped => "the server was stopped and started again",
            Self::Killed => "the server was killed and started again",
        }
    }
}

/// Does something before a server ends and after it has been started again, for each way to end that it is said to survive, each with a fixture
/// of its own.
fn over_restarts<T>(
    context: &Context<'_>,
    before: impl Fn(&Context<'_>, &ProxiedStore<'_>) -> Outcome<T> + Sync,
    while_down: impl Fn(&Context<'_>, &T) + Sync,
    after: impl Fn(&Context<'_>, &ProxiedStore<'_>, T, &str) -> Outcome + Sync,
) -> Outcome {
    let ends: &[End] = match ProxiedStore::new(context.fixture())?.server()?.1 {
        Durability::Volatile => {
            return Err(NotPassed::Ignored("the server of the fixture keeps nothing (`Durability::Volatile`)".into()));
        }
        Durability::OverStop => &[End::Stopped],
        Durability::OverKill => &[End::Stopped, End::Killed],
    };
    let (scope, seed) = (context.scope, &context.seed);
    in_parallel(ends, |end| {
        let fixture = scope.open_with_faults()?;
        let context = Context::new(scope, &fixture, 0, seed.clone());
        let proxied = ProxiedStore::new(&fixture)?;
        let (server, _) = proxied.server()?;
        let kept = before(&context, &proxied)?;
        match end {
            End::Stopped => server.stop()?,
            End::Killed => server.kill()?,
        }
        while_down(&context, &kept);
        server.start()?;
        // Until the store checks its connections before it uses them (N4).
        thread::sleep(IDLE);
        after(&context, &proxied, kept, end.shown())
    })
}

/// Writes, removes, creates, copies and renames in every way; then the server is stopped and started again, and another one killed, as far
/// as it is said to keep its data over that ([`Durability`]). Everything has to be as it was left.
pub fn p5_a_server_that_keeps_its_data_keeps_values_and_removals_over_a_restart() -> Check {
    about(&["P5", "N6", "P1", "P4", "D1", "C1", "C2"]).under_faults().run(|context| {
        over_restarts(
            context,
            |context, proxied| change(context, proxied.store),
            |_, _| {},
            |context, proxied, want, after| expect_changed(context, proxied.store, &want, after),
        )
    })
}

/// The same for TTLs, some of which end while the server is down. Expired entries have to be absent, live ones have to be there with their
/// remaining TTL, and entries without a TTL have to stay for ever.
pub fn p5_a_server_that_keeps_its_data_keeps_ttls_over_a_restart() -> Check {
    about(&["P5", "N6", "T2", "T6", "C1"]).under_faults().needs(&[Capability::Ttls]).run(|context| {
        over_restarts(
            context,
            |context, proxied| Given::to(context, proxied.store, &context.time),
            |context, given| context.time.wait(given.short + context.capabilities().ttl_resolution()),
            |context, proxied, given, after| given.expect(context, proxied.store, &context.time, after),
        )
    })
}
