//! Section 10, all at once: outages under load.
//!
//! These need a store behind a [proxy](crate::proxy): see [`Suite::with_faults`](crate::Suite::with_faults). Every value says which key and
//! which write it belongs to, so that a reply that reaches the wrong operation is seen at once, and every thread knows what each of
//! its keys can hold: what its last acknowledged write left, or one whose outcome is unknown.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::checks::check::{Check, about, checks};
use crate::faults::{Action, Client, ProxiedStore, WAITING, fault_at_random, in_parallel, judge_undisturbed};
use crate::fixture::Durability;
use crate::proxy::{Behaviour, Cut};
use crate::running::{Context, Outcome, effort, expect_that};

checks![
    n6_nothing_is_lost_over_outages_of_the_network_under_load,
    n6_nothing_is_lost_over_outages_of_the_server_under_load,
];

/// How many threads use the store during outages.
const THREADS: usize = 16;

/// The time without a fault before and after an outage.
const BEFORE: Duration = Duration::from_millis(700);
const AFTER: Duration = Duration::from_secs(2);

/// How long after the end of an outage, and after the time for which the store may treat the server as silent, everything has to work
/// again.
const RECOVERY: Duration = Duration::from_secs(1);

/// How much longer it may take on a busy machine.
const SLACK: Duration = Duration::from_millis(500);

/// How long the outages of the server go on at least, unless `KV_CONFORMANCE_EFFORT` asks for more.
const SOAK: Duration = Duration::from_secs(8);

/// What is unavailable for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    /// One fault at random after the other.
    Storm,
    Cut,
    Refused,
    Held,
    Paused,
    Stopped,
    Killed,
}

impl Outage {
    fn begin(self, proxied: &ProxiedStore<'_>) -> Outcome {
        match self {
            Self::Storm => Ok(()),
            Self::Cut => Ok(proxied.proxy.cut_now(Cut::Reset)?),
            Self::Refused => {
                proxied.proxy.refuse();
                Ok(proxied.proxy.cut_now(Cut::Close)?)
            }
            Self::Held => {
                proxied.proxy.set(Behaviour::Hold);
                Ok(())
            }
            Self::Paused => Ok(proxied.server()?.0.pause()?),
            Self::Stopped => Ok(proxied.server()?.0.stop()?),
            Self::Killed => Ok(proxied.server()?.0.kill()?),
        }
    }

    fn end(self, proxied: &ProxiedStore<'_>) -> Outcome {
        match self {
            Self::Cut | Self::Refused => proxied.heal(),
            Self::Storm | Self::Held => proxied.heal_without_what_was_held(),
            Self::Paused => Ok(proxied.server()?.0.resume()?),
            Self::Stopped | Self::Killed => Ok(proxied.server()?.0.start()?),
        }
    }

    /// Whether all data may be lost afterwards.
    fn loses(self, durability: Durability) -> bool {
        match self {
            Self::Stopped => durability < Durability::OverStop,
            Self::Killed => durability < Durability::OverKill,
            _ => false,
        }
    }
}

/// Lets 16 threads use the store while one fault at random comes after the other, and while the network cuts all connections, refuses new
/// ones, and holds everything. No operation may take longer than
/// the limit, everything has to work again within a second, and nothing acknowledged may be lost.
pub fn n6_nothing_is_lost_over_outages_of_the_network_under_load() -> Check {
    about(&["N6", "N1", "N2", "N5", "P1", "E1", "E4", "E5"]).under_faults().run(|context| {
        let proxied = ProxiedStore::new(context.fixture())?;
        let outages = [Outage::Storm, Outage::Cut, Outage::Refused, Outage::Held].map(|outage| (outage, false));
        under_load(context, &proxied, &outages, Duration::ZERO)
    })
}

/// Lets 16 threads use the store for at least 8 s, or longer with `KV_CONFORMANCE_EFFORT`, while its server is paused, stopped and killed, and each
/// time comes back. What was acknowledged has to be there as far as the server keeps it; no operation may take longer than the limit,
/// and everything has to work again within a second.
pub fn n6_nothing_is_lost_over_outages_of_the_server_under_load() -> Check {
    about(&["N6", "N1", "N2", "N5", "P1", "E1", "E4", "E5"]).under_faults().run(|context| {
        let proxied = ProxiedStore::new(context.fixture())?;
        let (_, durability) = proxied.server()?;
        let outages =
            [Outage::Paused, Outage::Killed, Outage::Stopped].map(|outage| (outage, outage.loses(durability)));
        under_load(context, &proxied, &outages, SOAK.mul_f64(effort()))
    })
}

/// What the threads share.
#[derive(Default)]
struct Load {
    is_over: AtomicBool,
    /// Whether the threads have to pause.
    rests: AtomicBool,
    /// Since when there has been no fault.
    healthy: Mutex<Option<Instant>>,
}

impl Load {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn healthy(&self) -> Option<Instant> {
        *lock(&self.healthy)
    }

    fn set_healthy(&self, since: Option<Instant>) {
        *lock(&self.healthy) = since;
    }

    /// Runs something while all threads pause between two operations.
    fn while_all_rest(
        &self,
        clients: &[Mutex<Client<'_>>],
        operation: impl FnOnce(&mut [MutexGuard<'_, Client<'_>>]) -> Outcome,
    ) -> Outcome {
        self.rests.store(true, Ordering::Relaxed);
        let outcome = operation(&mut clients.iter().map(lock).collect::<Vec<_>>());
        self.rests.store(false, Ordering::Relaxed);
        outcome
    }
}

/// Tells the threads that the check is over, also if one panics.
struct Over<'a>(&'a Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Causes the outages, one after the other, again and again for this time, while 16 threads use the store.
fn under_load(
    context: &Context<'_>,
    proxied: &ProxiedStore<'_>,
    outages: &[(Outage, bool)],
    soak: Duration,
) -> Outcome {
    let actions = Action::all(context);
    let clients = Client::several(context, proxied, &proxied.fresh_prefix(), THREADS);
    let clients = clients.into_iter().map(Mutex::new).collect::<Vec<_>>();
    let (load, seed) = (Load::default(), context.seed.used());
    load.set_healthy(Some(Instant::now()));
    in_parallel(&(0..=THREADS).collect::<Vec<_>>(), |&number| {
        let _over = Over(&load);
        match clients.get(number) {
            Some(client) => {
                use_store(proxied, client, &actions, &load, Rng::with_seed(seed.wrapping_add(number as u64)))
            }
            None => have_outages(proxied, outages, soak, &clients, &load, seed),
        }
    })?;
    let (worked, failed) = clients
        .iter()
        .map(lock)
        .fold((0, 0), |(worked, failed), client| (worked + client.worked, failed + client.failed));
    let what = format!("how many operations of {THREADS} threads worked, and how many failed");
    expect_that(what, worked > 100 && failed > 0, "some of both", (worked, failed))
}

/// Runs random operations, one after the other.
fn use_store(
    proxied: &ProxiedStore<'_>,
    client: &Mutex<Client<'_>>,
    actions: &[Action],
    load: &Load,
    mut random: Rng,
) -> Outcome {
    while !load.is_over() {
        thread::sleep(Duration::from_micros(random.u64(1000..5000)));
        if load.rests.load(Ordering::Relaxed) {
            continue;
        }
        let mut client = lock(client);
        let (healthy, begin) = (load.healthy(), Instant::now());
        let Some(action) = random.choice(actions.iter().copied()) else { return Ok(()) };
        let result = client.perform(action, random.usize(..), random.u64(..))?;
        // It began long after everything had to work again, and ended before the next outage.
        if let (Err(error), Some(since)) = (result, healthy)
            && load.healthy() == healthy
            && begin > since + RECOVERY + proxied.retry_after + SLACK
        {
            let what = format!(
                "{action:?}, {:?} after the end of an outage: everything has to work again after {:?} (N6)",
                begin - since,
                RECOVERY + proxied.retry_after
            );
            // Another operation may have waited in vain on a busy machine; then the store does not ask for `retry_after`.
            let is_remembered = !proxied.retry_after.is_zero() && !error.outcome_unknown();
            let took = begin.elapsed().max(if is_remembered { WAITING } else { Duration::ZERO });
            return judge_undisturbed::<(), ()>(what, Err(error), took, ());
        }
    }
    Ok(())
}

/// Causes one outage after the other. Each says whether all data may be lost afterwards.
fn have_outages(
    proxied: &ProxiedStore<'_>,
    outages: &[(Outage, bool)],
    soak: Duration,
    clients: &[Mutex<Client<'_>>],
    load: &Load,
    seed: u64,
) -> Outcome {
    let begin = Instant::now();
    let rest = |time: Duration| {
        let end = Instant::now() + time;
        while Instant::now() < end && !load.is_over() {
            thread::sleep(Duration::from_millis(20));
        }
    };
    let (mut short, mut random) = (true, Rng::with_seed(seed));
    while !load.is_over() {
        for &(outage, loses) in outages {
            rest(BEFORE);
            load.set_healthy(None);
            outage.begin(proxied)?;
            // Some are longer than the limits, and some are not.
            let time = if short { proxied.limit / 10 } else { proxied.limit };
            if outage == Outage::Storm {
                let end = Instant::now() + time * 2;
                while Instant::now() < end && !load.is_over() {
                    let seed = random.u64(..);
                    fault_at_random(seed)?.begin(proxied)?;
                    rest(Duration::from_millis(random.u64(1..100)));
                }
            } else {
                rest(time);
            }
            if loses {
                load.while_all_rest(clients, |clients| {
                    outage.end(proxied)?;
                    for client in clients {
                        client.may_have_lost_everything();
                    }
                    Ok(())
                })?;
            } else {
                outage.end(proxied)?;
            }
            load.set_healthy(Some(Instant::now()));
            rest(AFTER + proxied.retry_after);
            let kept = match proxied.server() {
                Ok((_, durability)) if matches!(outage, Outage::Stopped | Outage::Killed) => {
                    format!(", of a server that was declared as Durability::{durability:?}")
                }
                _ => String::new(),
            };
            let when = format!("after the outage {outage:?}{kept}");
            load.while_all_rest(clients, |clients| clients.iter_mut().try_for_each(|client| client.settle(&when)))?;
        }
        if begin.elapsed() >= soak && !short {
            break;
        }
        short = false;
    }
    Ok(())
}
