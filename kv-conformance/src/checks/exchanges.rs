//! Section 10, and E1 to E5 as far as they need a fault: what becomes of every operation if something happens at each point of
//! its exchange with the server.
//!
//! These need a store behind a [proxy](crate::proxy): see [`Suite::with_faults`](crate::Suite::with_faults). What is done and where is in the message of a failure.

use std::thread;
use std::time::Duration;

use kv_core::{Capability, Error, KeyValueStoreExt, Remaining};

use super::checks;
use crate::act::{Act, Case, State};
use crate::context::Context;
use crate::failure::{NotPassed, Outcome, expect, expect_eq, expect_that, show, show_error};
use crate::proxy::{Behaviour, Cut, Direction};
use crate::rig::{Rig, check_transient, expect_undisturbed, in_fixtures_of_their_own, judge_undisturbed};

checks! { faults:
    n1_silence_at_any_point_of_an_exchange_is_a_time_out [N1 N2 N6 E1 E5];
    n1_a_reply_that_drips_has_to_end_within_the_limit [N1 E1 E5];
    n2_a_reply_that_makes_no_sense_is_an_error_and_nobody_else_s [N2 E1 E4 E5];
    n2_bytes_that_nobody_asked_for_are_nobody_s [N2 E4];
    n2_a_reply_that_is_late_is_nobody_s [N2];
    n2_a_reply_that_is_slow_or_comes_in_pieces_is_a_reply [N2 N1];
    n3_one_operation_is_one_exchange [N3];
    n5_a_cut_at_any_point_of_an_exchange_is_made_up_for_or_told [N5 N2 N6 E1 E5];
    n6_what_is_refused_is_told_and_works_again_afterwards [N6 N1 E1 E5];
}

/// How long it takes at most until the other side of a connection of this machine knows that it was closed.
const NOTICED: Duration = Duration::from_millis(50);

/// A place in an exchange.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// After so many bytes of the request, of so many.
    Request(usize, usize),
    /// After so many bytes of the reply, of so many.
    Reply(usize, usize),
}

impl Point {
    /// From before the request to before the end of the reply.
    fn of(exchange: &Exchange) -> Vec<Self> {
        let places = |length: usize| {
            let mut places = vec![0, 1, length / 2, length.saturating_sub(1)];
            places.retain(|&place| place < length);
            places.dedup();
            places
        };
        let requests = places(exchange.request).into_iter().map(|at| Self::Request(at, exchange.request));
        requests.chain(places(exchange.reply).into_iter().map(|at| Self::Reply(at, exchange.reply))).collect()
    }

    fn direction(self) -> Direction {
        match self {
            Self::Request(..) => Direction::Requests,
            Self::Reply(..) => Direction::Replies,
        }
    }

    fn bytes(self) -> usize {
        let (Self::Request(bytes, _) | Self::Reply(bytes, _)) = self;
        bytes
    }

    fn shown(self) -> String {
        match self {
            Self::Request(at, of) => format!("after {at} of {of} bytes of its request"),
            Self::Reply(at, of) => format!("after {at} of {of} bytes of the reply"),
        }
    }
}

/// What an operation exchanges with the server when nothing is in its way.
struct Exchange {
    request: usize,
    reply: usize,
    /// Whether that is one request and one reply.
    is_one: bool,
}

/// What may come of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Works,
    WorksOrFails,
    /// With an error of the right kind, and if that says so, with unknown outcome if it writes.
    Fails {
        unknown: Option<bool>,
    },
}

/// The kind that an error has to be of.
#[derive(Clone, Copy)]
enum Kind {
    Timeout,
    Unavailable,
    Any,
}

impl Kind {
    fn is_of(self, error: &Error) -> bool {
        match self {
            Self::Timeout => matches!(error, Error::Timeout(_)),
            Self::Unavailable => matches!(error, Error::Unavailable(_)),
            Self::Any => true,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Timeout => "Timeout",
            Self::Unavailable => "Unavailable",
            Self::Any => "any",
        }
    }
}

/// One operation, and a store behind a proxy.
struct Lane<'a> {
    context: &'a Context<'a>,
    rig: &'a Rig<'a>,
    act: &'a Act,
}

/// Runs this for every operation, several at the same time, which share some fixtures.
fn for_each_operation(context: &Context<'_>, run: impl Fn(&Lane<'_>) -> Outcome + Sync) -> Outcome {
    Rig::new(context.fixture())?;
    in_fixtures_of_their_own(context, &Act::all(context), |context, rig, act| run(&Lane { context, rig, act }))
}

impl Lane<'_> {
    /// A case, whose entries are there, and a connection in the pool.
    fn case(&self) -> Outcome<Case> {
        let case = Case::new(self.context, self.rig.fresh_prefix());
        case.prepare(self.rig.direct)?;
        let read = "get, with nothing in its way";
        let key = case.key("k");
        expect_undisturbed(read, || self.rig.store.get(&key).map(|value| value.is_some()), true)?;
        Ok(case)
    }

    /// What the operation exchanges with the server when nothing is in its way.
    fn exchange(&self) -> Outcome<Exchange> {
        let (case, proxy) = (self.case()?, self.rig.proxy);
        let seen = || (proxy.bytes(Direction::Requests), proxy.bytes(Direction::Replies), proxy.exchanges());
        let before = seen();
        case.now(self.rig.direct)?;
        expect_eq("what comes through the proxy of the second handle, which must not use it", seen(), before)?;
        expect_undisturbed(self.act.name, || (self.act.run)(self.rig.store, &case), (self.act.answer)(&case))?;
        let after = seen();
        let exchange =
            Exchange { request: after.0 - before.0, reply: after.1 - before.1, is_one: after.2 - before.2 == 1 };
        let what = format!("the bytes of request and reply of {} that came through the proxy", self.act.name);
        let bytes = (exchange.request, exchange.reply);
        expect_that(what, bytes.0 > 0 && bytes.1 > 0, "some: does the store talk to its server through it?", bytes)?;
        Ok(exchange)
    }

    /// Does it, in the way that `fault` has made, and looks at what came of it, and at what is there.
    fn judge(&self, case: &Case, fault: &str, kind: Kind, want: Want) -> Outcome {
        let Self { rig, act, .. } = self;
        let name = format!("{} ({fault})", act.name);
        let (result, took) = rig.timed(|| (act.run)(rig.store, case));
        let shown = match &result {
            Ok(answer) => show(answer),
            Err(error) => show_error(error),
        };
        if !matches!((&result, want), (Ok(_), Want::Fails { .. })) {
            rig.expect_in_time(&name, &result, took)?;
        }
        match (&result, want) {
            (Ok(_), Want::Fails { .. }) => {
                let clause = if act.writes { "a write that may have been sent is not sent again (N5)" } else { "(N1)" };
                return Err(NotPassed::failed(format_args!("{name}\nexpected: an error, {clause}\ngot:      {shown}")));
            }
            (Ok(answer), _) => expect_eq(&name, answer, &(act.answer)(case))?,
            (Err(_), Want::Works) => return judge_undisturbed(&name, result, took, (act.answer)(case)),
            (Err(error), _) => {
                let keys = act.keys.iter().map(|key| case.key(key)).collect::<Vec<_>>();
                let keys = keys.iter().map(String::as_str).collect::<Vec<_>>();
                check_transient(&name, error, rig.store.name(), &keys)?;
                expect_that(
                    format_args!("the kind of the error (E1): {name}"),
                    kind.is_of(error),
                    kind.name(),
                    &shown,
                )?;
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

    /// As [`judge`](Self::judge), of a fault that comes after so many bytes: where this exchange was shorter than the one that was measured,
    /// it has not come, and everything has to work.
    fn judge_if_it_came(&self, case: &Case, fault: &str, kind: Kind, want: Want) -> Outcome {
        match self.judge(case, fault, kind, want) {
            Err(NotPassed::Failed(_)) if self.rig.proxy.is_waiting() => {
                self.judge_state(case, &format!("{} ({fault}, which did not come)", self.act.name), None)
            }
            outcome => outcome,
        }
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
                expect_eq(format_args!("what is there after {name}, which failed: {error}"), now, before)
            }
            Some(error) => now.iter().try_for_each(|(key, value)| {
                let what = format!("what is at {key:?} after {name}, which failed: {error}");
                let could_be = [before.get(key), after.get(key)];
                expect_that(what, could_be.contains(&Some(value)), &format!("one of {}", show(&could_be)), value)
            }),
        }
    }
}

impl Lane<'_> {
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

/// Holds the exchange of every operation at its beginning, in the middle of the request, after it, and in the middle of the reply. It has
/// to end with a time-out within the limit, which of a write says that it may have happened. Then everything has to work, and nothing may
/// be sent again that would undo what was written since.
///
/// What a store does here that waits without a limit, or whose limit counts from each read of the socket; one that keeps a connection
/// that timed out, or says of a write that it failed.
pub fn n1_silence_at_any_point_of_an_exchange_is_a_time_out(context: &Context<'_>) -> Outcome {
    for_each_operation(context, |lane| {
        let exchange = lane.exchange()?;
        for point in Point::of(&exchange) {
            let case = lane.case()?;
            let fault = format!("where the server falls silent {}", point.shown());
            lane.rig.proxy.set(Behaviour::Truncate { of: point.direction(), bytes: point.bytes() });
            // Of more than one exchange, it may have been a read that was held up.
            let want = if lane.act.writes {
                Want::Fails { unknown: exchange.is_one.then_some(true) }
            } else {
                // It may be tried again, within the limit.
                Want::WorksOrFails
            };
            lane.judge_if_it_came(&case, &fault, Kind::Timeout, want)?;
            lane.rig.heal_without_what_was_held()?;
            let (key, newer) = (case.key("k"), "written after it had failed");
            lane.rig.direct.put(&key, newer)?;
            lane.rig.works_again(format_args!("after {} {fault}", lane.act.name))?;
            let what = format!("what is there later, after {} {fault}: it is not sent again (N5)", lane.act.name);
            expect(what, lane.rig.direct.get(&key), Some(newer.into()))?;
        }
        Ok(())
    })
}

/// Cuts the connection of every operation while it is idle, at the beginning, in the middle of the request, after it, and in the middle
/// of the reply, by closing and by resetting it. A read has to be made up for on a fresh connection. A write must not be sent again: it
/// has to say that it may have happened, except where the connection was idle, which may have been noticed.
///
/// A store that sends a write again is told `false` for what it created or deleted itself.
pub fn n5_a_cut_at_any_point_of_an_exchange_is_made_up_for_or_told(context: &Context<'_>) -> Outcome {
    for_each_operation(context, |lane| {
        let exchange = lane.exchange()?;
        for cut in [Cut::Close, Cut::Reset] {
            let how = if cut == Cut::Close { "closed" } else { "reset" };
            let case = lane.case()?;
            lane.rig.proxy.cut_now(cut)?;
            thread::sleep(NOTICED);
            let fault = format!("where the connection was {how} while it was idle");
            let want = if lane.act.writes { Want::WorksOrFails } else { Want::Works };
            lane.judge(&case, &fault, Kind::Unavailable, want)?;
            lane.rig.works_again(format_args!("after {} {fault}", lane.act.name))?;
            for point in Point::of(&exchange) {
                let case = lane.case()?;
                let fault = format!("where the connection is {how} {}", point.shown());
                lane.rig.proxy.set(Behaviour::CutAfter { cut, of: point.direction(), bytes: point.bytes() });
                let want = match (lane.act.writes, exchange.is_one) {
                    (true, true) => Want::Fails { unknown: Some(true) },
                    (true, false) => Want::WorksOrFails,
                    // A listing cannot be begun anew once keys have come.
                    (false, _) if lane.act.name == "keys" => Want::WorksOrFails,
                    (false, _) => Want::Works,
                };
                lane.judge_if_it_came(&case, &fault, Kind::Unavailable, want)?;
                lane.rig.heal()?;
                lane.rig.works_again(format_args!("after {} {fault}", lane.act.name))?;
            }
        }
        Ok(())
    })
}

/// Turns the highest bit of the first bytes of the reply to every operation. That must be an error, or made up for by reading again,
/// and never an answer; and nothing of it may be left for the next operation.
pub fn n2_a_reply_that_makes_no_sense_is_an_error_and_nobody_else_s(context: &Context<'_>) -> Outcome {
    for_each_operation(context, |lane| {
        let exchange = lane.exchange()?;
        let case = lane.case()?;
        lane.rig.proxy.set(Behaviour::Garble);
        let want =
            if lane.act.writes && exchange.is_one { Want::Fails { unknown: Some(true) } } else { Want::WorksOrFails };
        lane.judge(&case, "whose reply is garbled", Kind::Any, want)?;
        lane.rig.heal()?;
        lane.rig.works_again(format_args!("after the garbled reply of {}", lane.act.name))
    })
}

/// Adds to the reply of every operation what the reply to another one was, at once and a little later. Nobody may take it for an answer.
pub fn n2_bytes_that_nobody_asked_for_are_nobody_s(context: &Context<'_>) -> Outcome {
    for_each_operation(context, |lane| {
        let exchange = lane.exchange()?;
        for later in [Duration::ZERO, NOTICED] {
            let (case, rig) = (lane.case()?, lane.rig);
            let (take, taken) = std::sync::mpsc::channel();
            rig.proxy.set(Behaviour::edit(move |piece| {
                // Nobody waits any more if it fails.
                let _ = take.send(piece.clone());
            }));
            expect_undisturbed("get", || rig.store.get(case.key("other")).map(|value| value.is_some()), true)?;
            let stray = taken.try_recv().unwrap_or_default();
            let when = if later.is_zero() { "with" } else { "a little before" };
            let behaviour = Behaviour::Add { after: exchange.reply, bytes: stray, later };
            let injected = rig.proxy.injected() + 1;
            rig.proxy.set(behaviour);
            let fault = format!("whose reply comes {when} one that nobody asked for");
            lane.judge(&case, &fault, Kind::Any, Want::WorksOrFails)?;
            // If the store has closed the connection before, nothing more comes.
            for _ in 0..20 {
                if rig.proxy.injected() < injected {
                    thread::sleep(NOTICED);
                }
            }
            thread::sleep(NOTICED);
            rig.heal()?;
            rig.works_again(format_args!("after {} {fault}", lane.act.name))?;
        }
        Ok(())
    })
}

/// Holds back the reply to every operation, or its second half, until it has timed out, and then lets it come. The next operations must
/// not get it.
pub fn n2_a_reply_that_is_late_is_nobody_s(context: &Context<'_>) -> Outcome {
    for_each_operation(context, |lane| {
        let half = lane.exchange()?.reply / 2;
        let second_half = Behaviour::Truncate { of: Direction::Replies, bytes: half };
        for (behaviour, what) in [(Behaviour::HoldReplies, "whose reply"), (second_half, "half of whose reply")] {
            let case = lane.case()?;
            lane.rig.proxy.set(behaviour);
            let fault = format!("{what} comes after the time-out");
            let want = if lane.act.writes { Want::Fails { unknown: None } } else { Want::WorksOrFails };
            lane.judge(&case, &fault, Kind::Timeout, want)?;
            lane.rig.heal()?;
            lane.rig.works_again(format_args!("after {} {fault}", lane.act.name))?;
            // By now it has come for certain.
            thread::sleep(NOTICED);
            lane.rig.works_again(format_args!("a little after {} {fault}", lane.act.name))?;
        }
        Ok(())
    })
}

/// Lets the replies come late, within the limit, and in single bytes: they are replies, and every operation works.
pub fn n2_a_reply_that_is_slow_or_comes_in_pieces_is_a_reply(context: &Context<'_>) -> Outcome {
    for_each_operation(context, |lane| {
        let slow = Behaviour::Delay(lane.rig.limit / 20);
        for (behaviour, fault) in
            [(slow, "that comes a little later"), (Behaviour::Split(Duration::ZERO), "in single bytes")]
        {
            // Of many pieces, each of which is late, all would be too late.
            if lane.act.name == "put of a large value" {
                return Ok(());
            }
            let case = lane.case()?;
            lane.rig.proxy.set(behaviour);
            lane.judge(&case, &format!("with a reply {fault}"), Kind::Any, Want::Works)?;
            lane.rig.heal()?;
        }
        Ok(())
    })
}

/// Lets replies of 16 bytes and more come so slowly, byte by byte, that they would end long after the limit, although something comes
/// all the time. The operation has to end within it.
pub fn n1_a_reply_that_drips_has_to_end_within_the_limit(context: &Context<'_>) -> Outcome {
    for_each_operation(context, |lane| {
        let exchange = lane.exchange()?;
        // Shorter than any limit on a single read, and for the whole reply longer than the limit of the operation.
        let pause = lane.rig.limit / 8;
        if exchange.reply < 16 {
            return Ok(());
        }
        let case = lane.case()?;
        lane.rig.proxy.set(Behaviour::Split(pause));
        let fault = format!("whose reply comes in single bytes, one every {pause:?}");
        lane.judge(&case, &fault, Kind::Timeout, Want::Fails { unknown: exchange.is_one.then_some(true) })?;
        lane.rig.heal_without_what_was_held()?;
        lane.rig.works_again(format_args!("after {} {fault}", lane.act.name))
    })
}

/// Refuses connections, and cuts those that there are: every operation has to say that the store is unavailable, at once, and that
/// nothing was sent. When they are accepted again everything has to work, without anything being restarted.
pub fn n6_what_is_refused_is_told_and_works_again_afterwards(context: &Context<'_>) -> Outcome {
    for_each_operation(context, |lane| {
        let case = lane.case()?;
        lane.rig.proxy.refuse();
        lane.rig.proxy.cut_now(Cut::Close)?;
        thread::sleep(NOTICED);
        let fault = "where the connection was closed and a new one is refused";
        lane.judge(&case, fault, Kind::Unavailable, Want::Fails { unknown: None })?;
        let fault = "where connections are refused";
        lane.judge(&case, fault, Kind::Unavailable, Want::Fails { unknown: Some(false) })?;
        lane.rig.heal()?;
        lane.rig.works_again(format_args!("after {} {fault}", lane.act.name))
    })
}

/// How often an operation is done to count its exchanges.
const TIMES: usize = 10;

/// Does every operation on one key several times, and counts how often something was asked of the server: once for each. A batch of 100
/// keys takes a tenth of that at most. (Copying and listing are not counted.)
///
/// A store that sends a PING before each operation fails here, and one whose batches are loops.
pub fn n3_one_operation_is_one_exchange(context: &Context<'_>) -> Outcome {
    for_each_operation(context, |lane| {
        let rig = lane.rig;
        if ["keys", "copy", "rename"].contains(&lane.act.name) {
            return Ok(());
        }
        let cases = (0..TIMES).map(|_| lane.case()).collect::<Outcome<Vec<_>>>()?;
        let before = rig.proxy.exchanges();
        for case in &cases {
            expect_undisturbed(lane.act.name, || (lane.act.run)(rig.store, case), (lane.act.answer)(case))?;
        }
        let what = format!("how many requests {TIMES} times {} took", lane.act.name);
        let took = rig.proxy.exchanges() - before;
        // One more may be that a connection was made, or looked at since the machine was slow.
        expect_that(what, (TIMES..=TIMES + 1).contains(&took), "one for each", took)?;
        let keys = (0..100).map(|n| format!("{}{n}", rig.fresh_prefix())).collect::<Vec<_>>();
        let before = rig.proxy.exchanges();
        match lane.act.name {
            "get_many" => expect("get_many", rig.store.get_many(&keys).map(|values| values.len()), keys.len())?,
            "put_many" => expect("put_many", rig.store.put_many(keys.iter().map(|key| (key, "v"))), ())?,
            "delete_many" => expect("delete_many", rig.store.delete_many(&keys).map(|found| found.len()), keys.len())?,
            _ => return Ok(()),
        }
        let took = rig.proxy.exchanges() - before;
        let what = format!("how many requests {} of 100 keys took", lane.act.name);
        expect_that(what, took <= 10, "one for each chunk", took)
    })
}
