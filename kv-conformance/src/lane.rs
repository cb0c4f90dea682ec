//! An operation and a store behind a proxy, what may happen to their exchange, and what may come of that.

use std::thread;

use kv_core::{Capability, Error, KeyValueStoreExt, Remaining};

use crate::act::{Act, Case, State};
use crate::context::Context;
use crate::failure::{NotPassed, Outcome, expect_eq, expect_that, show, show_error};
use crate::proxy::Direction;
use crate::rig::{
    NOTICED, Rig, WAITING, check_error, check_transient, expect_undisturbed, in_fixtures_of_their_own,
    judge_undisturbed,
};

/// A place in an exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Point {
    /// After so many bytes of the request, of so many.
    Request(usize, usize),
    /// After so many bytes of the reply, of so many.
    Reply(usize, usize),
}

impl Point {
    /// From before the request to before the end of the reply.
    pub(crate) fn of(exchange: &Exchange) -> Vec<Self> {
        let places = |length: usize| {
            let mut places = vec![0, 1, length / 2, length.saturating_sub(1)];
            places.retain(|&place| place < length);
            places.dedup();
            places
        };
        let requests = places(exchange.request).into_iter().map(|at| Self::Request(at, exchange.request));
        requests.chain(places(exchange.reply).into_iter().map(|at| Self::Reply(at, exchange.reply))).collect()
    }

    pub(crate) fn direction(self) -> Direction {
        match self {
            Self::Request(..) => Direction::Requests,
            Self::Reply(..) => Direction::Replies,
        }
    }

    pub(crate) fn bytes(self) -> usize {
        let (Self::Request(bytes, _) | Self::Reply(bytes, _)) = self;
        bytes
    }

    pub(crate) fn shown(self) -> String {
        match self {
            Self::Request(at, of) => format!("after {at} of {of} bytes of its request"),
            Self::Reply(at, of) => format!("after {at} of {of} bytes of the reply"),
        }
    }
}

/// What an operation exchanges with the server when nothing is in its way.
pub(crate) struct Exchange {
    request: usize,
    pub(crate) reply: usize,
    /// Whether that is one request and one reply.
    pub(crate) is_one: bool,
}

/// What may come of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Works,
    WorksOrFails,
    /// With an error of the right kind, and if that says so, with unknown outcome if it writes.
    Fails {
        unknown: Option<bool>,
    },
}

/// The kind that an error has to be of.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Timeout,
    Unavailable,
    /// Any, if trying again may help.
    Transient,
    Any,
}

impl Kind {
    fn is_of(self, error: &Error) -> bool {
        match self {
            Self::Timeout => matches!(error, Error::Timeout(_)),
            Self::Unavailable => matches!(error, Error::Unavailable(_)),
            Self::Transient | Self::Any => true,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Timeout => "Timeout",
            Self::Unavailable => "Unavailable",
            Self::Transient | Self::Any => "any",
        }
    }
}

/// How often what comes through the proxy may be something else's.
const STRAYS: usize = 4;

/// One operation, and a store behind a proxy.
pub(crate) struct Lane<'a> {
    context: &'a Context<'a>,
    pub(crate) rig: &'a Rig<'a>,
    pub(crate) act: &'a Act,
}

/// Runs this for every operation, several at the same time, which share some fixtures.
pub(crate) fn for_each_operation(context: &Context<'_>, run: impl Fn(&Lane<'_>) -> Outcome + Sync) -> Outcome {
    Rig::new(context.fixture())?;
    in_fixtures_of_their_own(context, &Act::all(context), |context, rig, act| run(&Lane { context, rig, act }))
}

impl Lane<'_> {
    /// A case, whose entries are there, and a connection in the pool.
    pub(crate) fn case(&self) -> Outcome<Case> {
        let case = Case::new(self.context, self.rig.fresh_prefix());
        case.prepare(self.rig.direct)?;
        case.prepare_for(self.act, self.rig.direct)?;
        let read = "get, with nothing in its way";
        let key = case.key("k");
        expect_undisturbed(read, || self.rig.store.get(&key).map(|value| value.is_some()), true)?;
        Ok(case)
    }

    /// What the operation exchanges with the server when nothing is in its way.
    pub(crate) fn exchange(&self) -> Outcome<Exchange> {
        let (case, proxy) = (self.case()?, self.rig.proxy);
        let seen = || (proxy.bytes(Direction::Requests), proxy.bytes(Direction::Replies), proxy.exchanges());
        let mut before = seen();
        case.now(self.rig.direct)?;
        // What belongs to an operation before may still have been under way.
        for _ in 0..STRAYS {
            if seen() != before {
                thread::sleep(NOTICED);
                before = seen();
                case.now(self.rig.direct)?;
            }
        }
        let what = "the bytes of requests and of replies and the exchanges that have come through the proxy, \
                    after the second handle was used, which must not be behind it";
        expect_eq(what, seen(), before)?;
        expect_undisturbed(self.act.name, || (self.act.run)(self.rig.store, &case), (self.act.answer)(&case))?;
        let after = seen();
        let exchange =
            Exchange { request: after.0 - before.0, reply: after.1 - before.1, is_one: after.2 - before.2 == 1 };
        let what = format!("the bytes of request and reply of {} that came through the proxy", self.act.name);
        let bytes = (exchange.request, exchange.reply);
        expect_that(what, bytes.0 > 0 && bytes.1 > 0, "some: does the store talk to its server through it?", bytes)?;
        Ok(exchange)
    }

    /// Does it, in the way that `fault` has made, and looks at what came of it, and at what is there. Where the exchange was shorter than
    /// the one that was measured, so that the fault has not come, it has to work.
    pub(crate) fn judge(&self, case: &Case, fault: &str, kind: Kind, want: Want) -> Outcome {
        let Self { rig, act, .. } = self;
        let name = format!("{} ({fault})", act.name);
        let (result, took) = rig.timed(|| (act.run)(rig.store, case));
        let want = if rig.proxy.is_waiting() { Want::Works } else { want };
        let shown = match &result {
            Ok(answer) => show(answer),
            Err(error) => show_error(error),
        };
        if !matches!((&result, want), (Ok(_), Want::Fails { .. })) {
            rig.expect_in_time(&name, &result, took)?;
        }
        match (&result, want) {
            (Ok(_), Want::Fails { .. }) => {
                let want = match act.needs {
                    _ if act.writes => "an error: a write that may have been sent is not sent again (N5)",
                    Some(Capability::Listing) => "an error: a listing that was cut does not look whole (L3)",
                    _ => "an error (N1)",
                };
                return Err(NotPassed::failed(format_args!("{name}\nexpected: {want}\ngot:      {shown}")));
            }
            (Ok(answer), _) => expect_eq(&name, answer, &(act.answer)(case))?,
            (Err(_), Want::Works) => return judge_undisturbed(&name, result, took, (act.answer)(case)),
            (Err(error), _) => {
                let keys = act.keys.iter().map(|key| case.key(key)).collect::<Vec<_>>();
                let keys = keys.iter().map(String::as_str).collect::<Vec<_>>();
                let check = if matches!(kind, Kind::Any) { check_error } else { check_transient };
                check(&name, error, rig.store.name(), &keys)?;
                let what = format!("the kind of the error (E1): {name}");
                // Where nothing is silent, a machine that does much else may be too slow to connect.
                let waited = matches!(error, Error::Timeout(_)) && took >= WAITING;
                expect_that(what, kind.is_of(error), kind.name(), &shown)
                    .map_err(|failed| failed.timed_out_if(waited))?;
                let unknown = format!("outcome_unknown() of the error (E5): {name}: {shown}");
                match want {
                    _ if !act.writes => {
                        expect_eq(format_args!("{unknown}: it is a read"), error.outcome_unknown(), false)?;
                    }
                    Want::Fails { unknown: Some(want) } => expect_eq(unknown, error.outcome_unknown(), want)?,
                    _ => {}
                }
                return self.judge_state(case, &name, Some(error));
            }
        }
        self.judge_state(case, &name, None)
    }

    /// Looks at what is there: what the operation changes if it worked; nothing if it failed for certain; else either.
    fn judge_state(&self, case: &Case, name: &str, error: Option<&Error>) -> Outcome {
        let (before, after) = (case.before(), self.act.after(case));
        let now = case.now(self.rig.direct)?;
        if self.context.has(Capability::TtlReading) {
            self.judge_lifetimes(case, name, error, &now)?;
        }
        match error {
            None => expect_eq(format_args!("what is there after {name}, which worked"), now, after),
            Some(error) if !error.outcome_unknown() && !self.act.is_on_several_keys() => {
                let what =
                    format!("what is there after {name}, which failed, with an outcome that is known (E5): {error}");
                expect_eq(what, now, before)
            }
            Some(error) => now.iter().try_for_each(|(key, value)| {
                let what = format!("what is at {key:?} after {name}, which failed: {error}");
                let could_be = [before.get(key), after.get(key)];
                expect_that(what, could_be.contains(&Some(value)), &format!("one of {}", show(&could_be)), value)
            }),
        }
    }

    /// Value and lifetime are written together: where the new value is there its lifetime is, too, and else none (P2).
    fn judge_lifetimes(&self, case: &Case, name: &str, error: Option<&Error>, now: &State) -> Outcome {
        let Some(given) = self.act.gives.map(|name| case.key(name)) else { return Ok(()) };
        let there = now.get(&given).and_then(Option::as_ref);
        let is_new = there.is_some() && there == self.act.after(case).get(&given).and_then(Option::as_ref);
        let changes_value = case.before().get(&given) != self.act.after(case).get(&given);
        let ttl = self.rig.direct.ttl(&given)?;
        let what = format!("what remains of the lifetime of {given:?} after {name}");
        let has_one = matches!(ttl, Some(Remaining::For(_)));
        match error {
            _ if changes_value && is_new => expect_that(what, has_one, "some of it: its value is there (P2)", ttl),
            None => expect_that(what, has_one, "some of it", ttl),
            Some(_) if changes_value => expect_that(what, !has_one, "nothing: the new value is not there", ttl),
            Some(_) => Ok(()),
        }
    }
}
