//! Section 3, P5, for a store whose server keeps its data: the entries after the server was stopped or killed, and started again.
//!
//! These need a store behind a [proxy](crate::proxy), and a [server](crate::Fixture::server) that is said to keep its data: see
//! [`Suite::with_faults`](crate::Suite::with_faults).

use std::thread;
use std::time::Duration;

use kv_core::Capability;
use proptest::strategy::{Strategy, ValueTree};

use crate::checks::check::{Check, about, checks};
use crate::faults::{LISTING, Player, ProxiedStore, calls, in_parallel, writes, writes_of_short_lives};
use crate::fixture::Durability;
use crate::property;
use crate::running::{Context, NotPassed, Outcome};

checks![p5_a_server_that_keeps_its_data_keeps_all_of_it_over_a_restart];

/// How a server ends.
#[derive(Clone, Copy)]
enum End {
    Stopped,
    Killed,
}

/// How often a server ends, with more operations in between.
const RESTARTS: usize = 3;

/// Up to which time it is waited, while the server is down, until what has a short TTL has expired.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes, removes, creates, touches, counts, copies and renames in every way and in batches, with TTLs and without, values up to several MiB;
/// then the server is stopped, or killed, as far as it is said to keep its data over that ([`Durability`]), and started again, three times with random
/// operations in between. Each entry has to be there with its value and with what is left of its TTL; what was removed or renamed has to stay
/// so, and what has expired while the server was down to be absent. Everything is listed, and works, as before.
pub fn p5_a_server_that_keeps_its_data_keeps_all_of_it_over_a_restart() -> Check {
    about(&["P5", "N6", "P1", "P2", "P4", "D1", "T2", "T6", "C1", "C2", "B5", "L1", "U1", "U4", "U5"])
        .under_faults()
        .run(|context| {
            let ends: &[End] = match ProxiedStore::new(context.fixture())?.server()?.1 {
                Durability::Volatile => {
                    let reason = "the server of the fixture keeps nothing (`Durability::Volatile`)";
                    return Err(NotPassed::Ignored(reason.into()));
                }
                Durability::OverStop => &[End::Stopped],
                Durability::OverKill => &[End::Stopped, End::Killed],
            };
            let (scope, seed) = (context.scope, &context.seed);
            in_parallel(ends, |end| {
                let fixture = scope.open_with_faults()?;
                restart(&Context::new(scope, &fixture, 0, seed.clone()), *end)
            })
        })
}

/// Restarts the server of a fixture several times.
fn restart(context: &Context<'_>, end: End) -> Outcome {
    let proxied = ProxiedStore::new(context.fixture())?;
    let (server, _) = proxied.server()?;
    let mut inputs = property::runner(context.seed.used(), 1);
    let random = calls(context, 100);
    // Each on keys of its own, so that none hides what another one has done.
    let mut players = Vec::new();
    for call in writes(context) {
        let mut player = Player::new(context, &proxied);
        player.prepare(&call)?;
        player.undisturbed(&call, "")?;
        players.push(player);
    }
    for _ in 0..RESTARTS {
        let mut short = Player::new(context, &proxied);
        for call in writes_of_short_lives(context) {
            short.prepare(&call)?;
            short.undisturbed(&call, "")?;
        }
        players.push(short);
        let after = match end {
            End::Stopped => {
                server.stop()?;
                "after the server was stopped and started again (P5)"
            }
            End::Killed => {
                server.kill()?;
                "after the server was killed and started again (P5)"
            }
        };
        let expired = players.iter().map(Player::short_lives_end_in).max().unwrap_or_default();
        thread::sleep(Some(expired).filter(|time| *time < PATIENCE).unwrap_or_default());
        players.iter_mut().for_each(Player::cuts_idle);
        server.start()?;
        for player in &mut players {
            player.is_healed();
            player.verify(after)?;
        }
        for player in &mut players {
            if context.has(Capability::Listing) {
                player.undisturbed(&LISTING, after)?;
            }
            for _ in 0..2 {
                let call = random.new_tree(&mut inputs).map_err(NotPassed::failed)?.current();
                player.undisturbed(&call, after)?;
            }
            player.verify("before the server is stopped again")?;
        }
    }
    Ok(())
}
