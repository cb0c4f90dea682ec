//! A case: calls, one of which is disturbed, and calls after that.

use std::thread;

use kv_core::{Error, KeyValueStoreExt};
use proptest::collection::vec;
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Just, Strategy, Union};

use super::calls::{Call, Life, calls, kinds, longest};
use super::disturbance::{Disturbance, Ending, Kind};
use super::keys::{Batch, BatchOf, Key, Size};
use super::player::Player;
use crate::faults::parallel::in_parallel;
use crate::faults::proxied::ProxiedStore;
use crate::faults::timing::IDLE;
use crate::proxy::{Behaviour, Direction};
use crate::running::{Context, NotPassed, Outcome, show_error};

/// A case. `Debug` shows it step by step.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    before: Vec<Call>,
    call: Call,
    disturbance: Disturbance,
    ending: Ending,
    after: Vec<Call>,
}

/// What is to be disturbed, and how.
pub(crate) type Pair = (Call, Kind);

/// Every kind of call with every kind of disturbance.
pub(crate) fn pairs(context: &Context<'_>) -> Vec<Pair> {
    let of = |call: &Call| if call.has_several_parts() { Kind::of_several_parts() } else { Kind::of_one_part() };
    let mut all = Vec::new();
    for call in kinds(context) {
        all.extend(of(&call).into_iter().map(|kind| (call, kind)));
    }
    for call in longest() {
        all.extend(Kind::of_last_part().into_iter().map(|kind| (call, kind)));
    }
    all
}

/// The batch that finds what is left over of another one.
const ABSENT: Call = Call::GetMany(Batch { of: BatchOf::Absent, count: 500, has_duplicates: false });

/// Cases of one pair.
pub(crate) fn cases(context: &Context<'_>, (call, kind): Pair) -> BoxedStrategy<Case> {
    let first = vec![
        ABSENT,
        call,
        Call::Put(Key::Single(1), Size::Small, Life::Default),
        Call::Put(Key::Single(2), Size::Huge, Life::Hour),
        Call::Get(Key::Single(0)),
    ];
    let first = Union::new_weighted(vec![(3, select(first).boxed()), (1, calls(context, 1100))]);
    let after = (first, vec(calls(context, 500), 1..5)).prop_map(|(first, mut later)| {
        later.insert(0, first);
        later
    });
    let endings =
        Union::new_weighted(vec![(6, Just(Ending::Pass)), (1, Just(Ending::Swept)), (1, Just(Ending::Later))]);
    let all = (vec(calls(context, 100), 0..3), kind.disturbances(), endings, after);
    all.prop_map(move |(before, disturbance, ending, after)| Case { before, call, disturbance, ending, after }).boxed()
}

impl Case {
    /// The steps, a line each.
    pub(crate) fn shown(&self) -> String {
        let mut lines = self.before.iter().map(|call| format!("{call:?}")).collect::<Vec<_>>();
        lines.push(format!("{:?}, and {:?}", self.call, self.disturbance));
        lines.push(format!("the disturbance ends: {:?}", self.ending));
        lines.extend(self.after.iter().map(|call| format!("{call:?}")));
        lines.iter().flat_map(|line| ["\n   ", line]).collect()
    }

    /// Runs it on keys of its own; once more where the machine may have been too slow.
    pub(crate) fn run(&self, context: &Context<'_>, proxied: &ProxiedStore<'_>) -> Outcome {
        match self.attempt(context, proxied) {
            Err(NotPassed::TimedOut(_) | NotPassed::TooSlow) => {
                proxied.heal_without_what_was_held()?;
                thread::sleep(IDLE.max(proxied.retry_after));
                self.attempt(context, proxied)
            }
            outcome => outcome,
        }
    }

    fn attempt(&self, context: &Context<'_>, proxied: &ProxiedStore<'_>) -> Outcome {
        let Self { before, call, disturbance, ending, after } = self;
        let mut player = Player::new(context, proxied);
        proxied.heal()?;
        for call in before {
            player.undisturbed(call, "")?;
        }
        player.prepare(call)?;
        let bytes = if disturbance.has_place() { Self::measure(call, &mut player)? } else { (0, 0) };
        disturbance.begin(&mut player, bytes)?;
        let result = player.perform(call)?;
        if disturbance.has_place() && !proxied.proxy.is_waiting() {
            self.judge_write(&result)?;
        }
        let mut after = &**after;
        if *ending == Ending::Later {
            let (meanwhile, then) = after.split_at_checked(2).unwrap_or((after, &[]));
            for call in meanwhile {
                // It may fail, and says what it may have done.
                let _failed = player.perform(call)?;
            }
            after = then;
        }
        if *ending == Ending::Swept {
            player.cuts_idle();
            proxied.heal_without_what_was_held()?;
        } else {
            proxied.heal()?;
        }
        player.is_healed();
        let last = [Call::Put(Key::Single(1), Size::Small, Life::Default), ABSENT, Call::Get(Key::Single(1))];
        let when = format!(" after {call:?} and {disturbance:?}");
        for call in after.iter().chain(&last) {
            player.undisturbed(call, &when)?;
        }
        player.verify("in the end")?;
        if *ending == Ending::Swept || matches!(disturbance, Disturbance::Refuse | Disturbance::CutIdle(_)) {
            use_all_connections(proxied)?;
        }
        Ok(())
    }

    /// How many bytes of requests and replies a call exchanges with nothing in its way. What it finds is the same again afterwards.
    fn measure(call: &Call, player: &mut Player<'_>) -> Outcome<(usize, usize)> {
        let proxy = player.proxied.proxy;
        let seen = || (proxy.bytes(Direction::Requests), proxy.bytes(Direction::Replies));
        let before = seen();
        player.undisturbed(call, " for the first time")?;
        let after = seen();
        if call.writes() {
            player.prepare(call)?;
        }
        Ok((after.0 - before.0, after.1 - before.1))
    }

    /// The disturbance has come within the call. What a write had sent by then is not sent again, and nobody knows whether it has happened.
    fn judge_write(&self, result: &Result<(), Error>) -> Outcome {
        let Self { call, disturbance, .. } = self;
        if !call.is_sent_once() {
            return Ok(());
        }
        let got = match result {
            Ok(()) => "success".to_owned(),
            Err(error) if error.outcome_unknown() => return Ok(()),
            Err(error) => format!("one with a known outcome: {}", show_error(error)),
        };
        Err(NotPassed::failed(format_args!(
            "{call:?}, and {disturbance:?}\n\
             expected: an error with an unknown outcome: what may have been sent is not sent again (N5, E5, N2)\n\
             got:      {got}"
        )))
    }
}

/// How many reads use all connections of a pool.
const READS: usize = 24;

/// Reads so often at the same time that no connection stays unnoticed that was cut while it was idle.
fn use_all_connections(proxied: &ProxiedStore<'_>) -> Outcome {
    proxied.proxy.set(Behaviour::Delay(proxied.limit / 100));
    in_parallel(&[(); READS], |()| {
        // What it finds does not matter, nor whether it fails: the next case sees that.
        let _failed = proxied.store.get("absent");
        Ok(())
    })?;
    proxied.heal()
}
