//! Section 3, P5, of a store whose server keeps its data: what is there when that was stopped or killed, and started again.
//!
//! These need a store behind a [proxy](crate::proxy), and a [server](crate::Fixture::server) that is said to keep its data: see
//! [`Suite::with_faults`](crate::Suite::with_faults).

use std::thread;

use super::checks;
use super::reopening::{Given, change, expect_changed};
use crate::Durability;
use crate::context::Context;
use crate::failure::{NotPassed, Outcome};
use crate::rig::{IDLE, Rig, in_lanes};

checks! { faults:
    p5_a_server_that_keeps_its_data_keeps_values_and_removals_over_a_restart [P5 N6 P1 P4 D1 C1 C2];
    p5_a_server_that_keeps_its_data_keeps_lifetimes_over_a_restart [P5 N6 T2 T6 C1] needs Lifetimes;
}

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
    before: impl Fn(&Context<'_>, &Rig<'_>) -> Outcome<T> + Sync,
    while_down: impl Fn(&Context<'_>, &T) + Sync,
    after: impl Fn(&Context<'_>, &Rig<'_>, T, &str) -> Outcome + Sync,
) -> Outcome {
    let ends: &[End] = match Rig::new(context.fixture())?.server()?.1 {
        Durability::Volatile => {
            return Err(NotPassed::Ignored("the server of the fixture keeps nothing (`Durability::Volatile`)".into()));
        }
        Durability::OverStop => &[End::Stopped],
        Durability::OverKill => &[End::Stopped, End::Killed],
    };
    let (suite, seed) = (context.suite, &context.seed);
    in_lanes(ends, |end| {
        let fixture = suite.open_with_faults()?;
        let context = Context::new(suite, &fixture, 0, seed.clone());
        let rig = Rig::new(&fixture)?;
        let (server, _) = rig.server()?;
        let kept = before(&context, &rig)?;
        match end {
            End::Stopped => server.stop()?,
            End::Killed => server.kill()?,
        }
        while_down(&context, &kept);
        server.start()?;
        // Until the store looks at its connections before it trusts them (N4).
        thread::sleep(IDLE);
        after(&context, &rig, kept, end.shown())
    })
}

/// Writes, removes, creates, copies and renames in every way; then the server is stopped and started again, and another one killed, as far
/// as it is said to keep its data over that ([`Durability`]). Everything has to be as it was left.
pub fn p5_a_server_that_keeps_its_data_keeps_values_and_removals_over_a_restart(context: &Context<'_>) -> Outcome {
    over_restarts(
        context,
        |context, rig| change(context, rig.store),
        |_, _| {},
        |context, rig, want, after| expect_changed(context, rig.store, &want, after),
    )
}

/// The same of lifetimes, some of which end while the server is down: what has expired has to be absent, what has not to be there with what is
/// left, and what was to live for ever to do so.
pub fn p5_a_server_that_keeps_its_data_keeps_lifetimes_over_a_restart(context: &Context<'_>) -> Outcome {
    over_restarts(
        context,
        |context, rig| Given::to(context, rig.store, &context.time),
        |context, given| context.time.wait(given.short + context.capabilities().ttl_resolution()),
        |context, rig, given, after| given.expect(context, rig.store, &context.time, after),
    )
}
