//! One operation of a store behind a proxy, a fault of its exchange, and the outcomes that are possible then.

use std::thread;

use kv_core::{Capability, Error, KeyValueStoreExt, Remaining};

use super::case::{Case, State};
use super::errors::{check_error, check_transient};
use super::exchange::{Exchange, ExpectedResult, Kind};
use super::operations::Operation;
use super::parallel::in_own_fixtures;
use super::proxied::ProxiedStore;
use super::timing::{NOTICED, WAITING, expect_undisturbed, judge_undisturbed};
use crate::proxy::Direction;
use crate::running::{Context, NotPassed, Outcome, expect_eq, expect_that, show, show_error};

/// How often bytes of an earlier operation may disturb the measurement.
const SETTLING: usize = 4;

/// One operation, and a store behind a proxy.
pub(crate) struct Scenario<'a> {
    context: &'a Context<'a>,
    pub(crate) proxied: &'a ProxiedStore<'a>,
    pub(crate) operation: &'a Operation,
}

/// Runs this for every operation, several at the same time. Several fixtures share the operations.
pub(crate) fn for_each_operation(context: &Context<'_>, run: impl Fn(&Scenario<'_>) -> Outcome + Sync) -> Outcome {
    ProxiedStore::new(context.fixture())?;
    in_own_fixtures(context, &Operation::all(context), |context, proxied, operation| {
        run(&Scenario { context, proxied, operation })
    })
}

impl Scenario<'_> {
    /// A case whose entries are written, with a connection in the pool.
    pub(crate) fn case(&self) -> Outcome<Case> {
        let case = Case::new(self.context, self.proxied.fresh_prefix());
        case.prepare(self.proxied.direct)?;
        if self.operation.keys == ["large"] {
            case.prepare_large(self.proxied.direct)?;
        }
        let read = "get, with nothing in its way";
        let key = case.key("k");
        expect_undisturbed(read, || self.proxied.store.get(&key).map(|value| value.is_some()), true)?;
        Ok(case)
    }

    /// What the operation exchanges with the server without a fault.
    pub(crate) fn exchange(&self) -> Outcome<Exchange> {
        let (case, proxy) = (self.case()?, self.proxied.proxy);
        let seen = || (proxy.bytes(Direction::Requests), proxy.bytes(Direction::Replies), proxy.exchanges());
        let mut before = seen();
        case.now(self.proxied.direct)?;
        // Bytes of an earlier operation may still have been on their way.
        for _ in 0..SETTLING {
            if seen() != before {
                thread::sleep(NOTICED);
                before = seen();
                case.now(self.proxied.direct)?;
            }
        }
        let what = "the bytes of requests and of replies and the exchanges that have come through the proxy, \
                    after the second handle was used, which must not be behind it";
        expect_eq(what, seen(), before)?;
        expect_undisturbed(
            self.operation.name,
            || (self.operation.run)(self.proxied.store, &case),
            (self.operation.answer)(&case),
        )?;
        let after = seen();
        let exchange =
            Exchange { request: after.0 - before.0, reply: after.1 - before.1, is_one: after.2 - before.2 == 1 };
        let what = format!("the bytes of request and reply of {} that came through the proxy", self.operation.name);
        let bytes = (exchange.request, exchange.reply);
        expect_that(what, bytes.0 > 0 && bytes.1 > 0, "some: does the store talk to its server through it?", bytes)?;
        Ok(exchange)
    }

    /// Runs the operation under the fault, and checks its result and the entries. If the exchange was shorter than the measured one, so
    /// that the fault did not happen, the operation has to work.
    pub(crate) fn judge(&self, case: &Case, fault: &str, kind: Kind, want: ExpectedResult) -> Outcome {
        let Self { proxied, operation, .. } = self;
        let name = format!("{} ({fault})", operation.name);
        let (result, took) = proxied.timed(|| (operation.run)(proxied.store, case));
        let want = if proxied.proxy.is_waiting() { ExpectedResult::Works } else { want };
        let shown = match &result {
            Ok(answer) => show(answer),
            Err(error) => show_error(error),
        };
        if !matches!((&result, want), (Ok(_), ExpectedResult::Fails { .. })) {
            proxied.expect_in_time(&name, &result, took)?;
        }
        match (&result, want) {
            (Ok(_), ExpectedResult::Fails { .. }) => {
                let want = if operation.writes {
                    "an error: a write that may have been sent is not sent again (N5)"
                } else if operation.is_listing() {
                    "an error: a listing that was cut does not look whole (L3)"
                } else {
                    "an error (N1)"
                };
                return Err(NotPassed::failed(format_args!("{name}\nexpected: {want}\ngot:      {shown}")));
            }
            (Ok(answer), _) => expect_eq(&name, answer, &(operation.answer)(case))?,
            (Err(_), ExpectedResult::Works) => return judge_undisturbed(&name, result, took, (operation.answer)(case)),
            (Err(error), _) => {
                let keys = operation.keys.iter().map(|key| case.key(key)).collect::<Vec<_>>();
                let keys = keys.iter().map(String::as_str).collect::<Vec<_>>();
                let check = if matches!(kind, Kind::Any) { check_error } else { check_transient };
                check(&name, error, proxied.store.name(), &keys)?;
                let what = format!("the kind of the error (E1): {name}");
                // Although nothing is silent, a busy machine may be too slow to connect.
                let waited = matches!(error, Error::Timeout(_)) && took >= WAITING;
                expect_that(what, kind.is_of(error), kind.name(), &shown)
                    .map_err(|failed| failed.timed_out_if(waited))?;
                let unknown = format!("outcome_unknown() of the error (E5): {name}: {shown}");
                match want {
                    _ if !operation.writes => {
                        expect_eq(format_args!("{unknown}: it is a read"), error.outcome_unknown(), false)?;
                    }
                    ExpectedResult::Fails { unknown: Some(want) } => expect_eq(unknown, error.outcome_unknown(), want)?,
                    _ => {}
                }
                return self.judge_state(case, &name, Some(error));
            }
        }
        self.judge_state(case, &name, None)
    }

    /// Checks the entries. If the operation worked, its changes are there; if it certainly failed, they are not; otherwise both are
    /// possible.
    fn judge_state(&self, case: &Case, name: &str, error: Option<&Error>) -> Outcome {
        let (before, after) = (case.before(), self.operation.after(case));
        let now = case.now(self.proxied.direct)?;
        if self.context.has(Capability::TtlReading) {
            self.judge_ttl(case, name, error, &now)?;
        }
        match error {
            None => expect_eq(format_args!("what is there after {name}, which worked"), now, after),
            Some(error) if !error.outcome_unknown() && !self.operation.is_on_several_keys() => {
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

    /// Value and TTL are written together: with the new value its TTL is there, too, and otherwise no TTL (P2).
    fn judge_ttl(&self, case: &Case, name: &str, error: Option<&Error>, now: &State) -> Outcome {
        let Some(given) = self.operation.gives.map(|name| case.key(name)) else { return Ok(()) };
        let there = now.get(&given).and_then(Option::as_ref);
        let is_new = there.is_some() && there == self.operation.after(case).get(&given).and_then(Option::as_ref);
        let changes_value = case.before().get(&given) != self.operation.after(case).get(&given);
        let ttl = self.proxied.direct.ttl(&given)?;
        let what = format!("what remains of the TTL of {given:?} after {name}");
        let has_one = matches!(ttl, Some(Remaining::For(_)));
        match error {
            _ if changes_value && is_new => expect_that(what, has_one, "some of it: its value is there (P2)", ttl),
            None => expect_that(what, has_one, "some of it", ttl),
            Some(_) if changes_value => expect_that(what, !has_one, "nothing: the new value is not there", ttl),
            Some(_) => Ok(()),
        }
    }
}
