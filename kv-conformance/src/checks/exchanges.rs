//! Section 10, and E1 to E5 as far as they need a fault: what becomes of every operation if something happens at each point of
//! its exchange with the server.
//!
//! These need a store behind a [proxy](crate::proxy): see [`Suite::with_faults`](crate::Suite::with_faults). What is done and where is in the message of a failure.

use std::thread;
use std::time::Duration;

use kv_core::KeyValueStoreExt;

use super::checks;
use crate::act::Answer;
use crate::context::Context;
use crate::failure::{NotPassed, Outcome, expect, expect_that};
use crate::lane::{Kind, Point, Want, for_each_operation};
use crate::proxy::{Behaviour, Cut, Direction};
use crate::rig::{IDLE, NOTICED, expect_undisturbed};

checks! { faults:
    n1_silence_at_any_point_of_an_exchange_is_a_time_out [N1 N2 N6 E1 E5];
    n1_a_reply_that_drips_has_to_end_within_the_limit [N1 E1 E5];
    n2_a_reply_that_makes_no_sense_is_an_error_and_nobody_else_s [N2 E1 E4 E5];
    n2_a_reply_with_one_wrong_byte_is_not_another_answer [N2 N1 E5];
    n2_bytes_that_nobody_asked_for_are_nobody_s [N2 E4];
    n2_a_reply_that_is_late_is_nobody_s [N2];
    n2_a_reply_that_is_slow_or_comes_in_pieces_is_a_reply [N2 N1];
    n3_one_operation_is_one_exchange [N3];
    n5_a_cut_at_any_point_of_an_exchange_is_made_up_for_or_told [N5 N2 N6 E1 E5];
    n6_what_is_refused_is_told_and_works_again_afterwards [N6 N1 E1 E5];
}

/// Holds the exchange of every operation at its beginning, in the middle of the request, after it, and in the middle of the reply. It has
/// to end with a time-out within the limit, which of a write says that it may have happened. Then everything has to work, and nothing may
/// be sent again that would undo what was written since.
///
/// Rejects a store that waits without a limit (the fault ends long after the limit, so that the check does), one that keeps a connection
/// that timed out, and one that says of a write that it failed.
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
            lane.judge(&case, &fault, Kind::Timeout, want)?;
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
                    // A listing cannot be begun anew once keys have come, nor a stream of more than one piece.
                    (false, is_one) if lane.act.is_listing() || lane.act.name == "get_into" && !is_one => {
                        Want::WorksOrFails
                    }
                    (false, _) => Want::Works,
                };
                lane.judge(&case, &fault, Kind::Unavailable, want)?;
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
        lane.judge(&case, "whose reply is garbled", Kind::Transient, want)?;
        lane.rig.heal()?;
        lane.rig.works_again(format_args!("after the garbled reply of {}", lane.act.name))
    })
}

/// How many bytes at the beginning of a reply are turned one by one.
const TURNED: usize = 16;

/// Turns the highest bit of a single byte of the reply to every operation that answers with nothing or with yes or no, for each of the first
/// 16 bytes, and the bit below it if that made another answer. What means nothing may be overlooked; but what is neither yes nor no must be an
/// error, of which nobody knows whether the write has happened, and not the other answer.
pub fn n2_a_reply_with_one_wrong_byte_is_not_another_answer(context: &Context<'_>) -> Outcome {
    for_each_operation(context, |lane| {
        let answer = (lane.act.answer)(&lane.case()?);
        if lane.act.is_large() || !matches!(answer, Answer::Done | Answer::Told(_)) {
            return Ok(());
        }
        let turn = |at: usize, bits: u8| -> Outcome<Outcome> {
            let case = lane.case()?;
            let change = move |piece: &mut Vec<u8>| piece.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bits);
            lane.rig.proxy.set(Behaviour::edit(change));
            let fault = format!("with byte {at} of the reply turned by {bits:#x}");
            let outcome = lane.judge(&case, &fault, Kind::Any, Want::WorksOrFails);
            lane.rig.heal()?;
            lane.rig.works_again(format_args!("after {} {fault}", lane.act.name))?;
            Ok(outcome)
        };
        for at in 0..lane.exchange()?.reply.min(TURNED) {
            let outcome = turn(at, 0x80)?;
            // In a protocol where the highest bit says it, that may be another answer; the next one is none then.
            if matches!(outcome, Err(NotPassed::Failed(_))) && turn(at, 0x40)?.is_ok() {
                continue;
            }
            outcome?;
        }
        Ok(())
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
            lane.judge(&case, &fault, Kind::Transient, Want::WorksOrFails)?;
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
            if lane.act.is_large() {
                return Ok(());
            }
            let case = lane.case()?;
            lane.rig.proxy.set(behaviour);
            lane.judge(&case, &format!("with a reply {fault}"), Kind::Transient, Want::Works)?;
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
        // By now the other connections of a pool are looked at before they are used.
        thread::sleep(IDLE);
        let fault = "where connections are refused";
        lane.judge(&case, fault, Kind::Unavailable, Want::Fails { unknown: Some(false) })?;
        lane.rig.heal()?;
        lane.rig.works_again(format_args!("after {} {fault}", lane.act.name))
    })
}

/// How often an operation is done to count its exchanges.
const TIMES: usize = 10;

/// Does every operation on one key several times, and counts how often something was asked of the server: once for each. A batch of 100
/// keys takes a tenth of that at most. (Copies, listings and streams are not counted.)
///
/// A store that sends a PING before each operation fails here, and one whose batches are loops.
pub fn n3_one_operation_is_one_exchange(context: &Context<'_>) -> Outcome {
    for_each_operation(context, |lane| {
        let rig = lane.rig;
        if lane.act.is_listing() || ["copy", "rename", "get_into", "put_from"].contains(&lane.act.name) {
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
