//! Section 10, and E1 to E5 as far as they need a fault: every operation, with a fault at each point of its exchange with the server.
//!
//! These need a store behind a [proxy](crate::proxy): see [`Suite::with_faults`](crate::Suite::with_faults). What is done and where is in the message of a failure.

use std::thread;
use std::time::Duration;

use kv_core::KeyValueStoreExt;

use crate::checks::check::{Check, about, checks};
use crate::faults::{Answer, ExpectedResult, IDLE, Kind, NOTICED, Point, expect_undisturbed, for_each_operation};
use crate::proxy::{Behaviour, Cut, Direction};
use crate::running::{NotPassed, Outcome, expect, expect_that};

checks![
    n1_silence_at_any_point_of_an_exchange_is_a_time_out,
    n1_a_reply_in_slow_single_bytes_ends_within_the_limit,
    n2_a_garbled_reply_is_an_error_and_reaches_no_other_operation,
    n2_a_reply_with_one_wrong_byte_is_not_taken_for_another_answer,
    n2_unrequested_bytes_reach_no_operation,
    n2_a_late_reply_reaches_no_other_operation,
    n2_a_reply_that_is_slow_or_comes_in_pieces_is_a_reply,
    n3_one_operation_is_one_exchange,
    n5_after_a_cut_at_any_point_reads_are_retried_and_writes_are_not,
    n6_refused_connections_are_reported_and_the_store_recovers,
];

/// Holds the exchange of every operation at its beginning, in the middle of the request, after it, and in the middle of the reply. It has
/// to end with a time-out within the limit, which of a write says that it may have happened. Then everything has to work, and nothing may
/// be sent again that would undo what was written since.
///
/// Rejects a store that waits without a limit (the fault ends long after the limit, so that the check does), one that keeps a connection
/// that timed out, and one that says of a write that it failed.
pub fn n1_silence_at_any_point_of_an_exchange_is_a_time_out() -> Check {
    about(&["N1", "N2", "N6", "E1", "E5"]).under_faults().run(|context| {
        for_each_operation(context, |scenario| {
            let exchange = scenario.exchange()?;
            for point in Point::of(&exchange) {
                let case = scenario.case()?;
                let fault = format!("where the server falls silent {}", point.shown());
                scenario.proxied.proxy.set(Behaviour::Truncate { of: point.direction(), bytes: point.bytes() });
                // If there are several exchanges, the fault may have hit a read.
                let want = if scenario.operation.writes {
                    ExpectedResult::Fails { unknown: exchange.is_one.then_some(true) }
                } else {
                    // It may be tried again, within the limit.
                    ExpectedResult::WorksOrFails
                };
                scenario.judge(&case, &fault, Kind::Timeout, want)?;
                scenario.proxied.heal_without_what_was_held()?;
                let (key, newer) = (case.key("k"), "written after it had failed");
                scenario.proxied.direct.put(&key, newer)?;
                scenario.proxied.works_again(format_args!("after {} {fault}", scenario.operation.name))?;
                let what = format!(
                    "what is there later, after {} {fault}: it is not sent again (N5)",
                    scenario.operation.name
                );
                expect(what, scenario.proxied.direct.get(&key), Some(newer.into()))?;
            }
            Ok(())
        })
    })
}

/// Cuts the connection of every operation while it is idle, at the beginning, in the middle of the request, after it, and in the middle
/// of the reply, by closing and by resetting it. A read has to be retried on a fresh connection. A write must not be sent again: it
/// has to say that it may have happened, except where the connection was idle, which may have been noticed.
///
/// A store that sends a write again is told `false` for what it created or deleted itself.
pub fn n5_after_a_cut_at_any_point_reads_are_retried_and_writes_are_not() -> Check {
    about(&["N5", "N2", "N6", "E1", "E5", "U3"]).under_faults().run(|context| {
        for_each_operation(context, |scenario| {
            let exchange = scenario.exchange()?;
            for cut in [Cut::Close, Cut::Reset] {
                let how = if cut == Cut::Close { "closed" } else { "reset" };
                let case = scenario.case()?;
                scenario.proxied.proxy.cut_now(cut)?;
                thread::sleep(NOTICED);
                let fault = format!("where the connection was {how} while it was idle");
                let want = if scenario.operation.writes { ExpectedResult::WorksOrFails } else { ExpectedResult::Works };
                scenario.judge(&case, &fault, Kind::Unavailable, want)?;
                scenario.proxied.works_again(format_args!("after {} {fault}", scenario.operation.name))?;
                for point in Point::of(&exchange) {
                    let case = scenario.case()?;
                    let fault = format!("where the connection is {how} {}", point.shown());
                    scenario.proxied.proxy.set(Behaviour::CutAfter {
                        cut,
                        of: point.direction(),
                        bytes: point.bytes(),
                    });
                    let want = match (scenario.operation.writes, exchange.is_one) {
                        (true, true) => ExpectedResult::Fails { unknown: Some(true) },
                        (true, false) => ExpectedResult::WorksOrFails,
                        // A listing cannot start again once keys have come, nor can a stream of more than one piece.
                        (false, is_one)
                            if scenario.operation.is_listing() || scenario.operation.name == "get_into" && !is_one =>
                        {
                            ExpectedResult::WorksOrFails
                        }
                        (false, _) => ExpectedResult::Works,
                    };
                    scenario.judge(&case, &fault, Kind::Unavailable, want)?;
                    scenario.proxied.heal()?;
                    scenario.proxied.works_again(format_args!("after {} {fault}", scenario.operation.name))?;
                }
            }
            Ok(())
        })
    })
}

/// Flips the highest bit of each of the first bytes of the reply to every operation. The operation has to fail, or retry a read. It must
/// never return an answer, and nothing of the reply may be left for the next operation.
pub fn n2_a_garbled_reply_is_an_error_and_reaches_no_other_operation() -> Check {
    about(&["N2", "E1", "E4", "E5"]).under_faults().run(|context| {
        for_each_operation(context, |scenario| {
            let exchange = scenario.exchange()?;
            let case = scenario.case()?;
            scenario.proxied.proxy.set(Behaviour::Garble);
            let want = if scenario.operation.writes && exchange.is_one {
                ExpectedResult::Fails { unknown: Some(true) }
            } else {
                ExpectedResult::WorksOrFails
            };
            scenario.judge(&case, "whose reply is garbled", Kind::Transient, want)?;
            scenario.proxied.heal()?;
            scenario.proxied.works_again(format_args!("after the garbled reply of {}", scenario.operation.name))
        })
    })
}

/// How many bytes at the beginning of a reply are changed, one at a time.
const CHANGED: usize = 16;

/// Flips the highest bit of a single byte of the reply to every operation that returns nothing or yes or no, for each of the first 16
/// bytes, and the next bit if that results in another valid answer. A byte without meaning may be ignored. But a reply that is neither yes
/// nor no must be an error with an unknown outcome, and not the other answer.
pub fn n2_a_reply_with_one_wrong_byte_is_not_taken_for_another_answer() -> Check {
    about(&["N2", "N1", "E5"]).under_faults().run(|context| {
        for_each_operation(context, |scenario| {
            let answer = (scenario.operation.answer)(&scenario.case()?);
            if scenario.operation.is_large() || !matches!(answer, Answer::Done | Answer::Bool(_)) {
                return Ok(());
            }
            let try_flipped = |at: usize, bits: u8| -> Outcome<Outcome> {
                let case = scenario.case()?;
                let change =
                    move |piece: &mut Vec<u8>| piece.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bits);
                scenario.proxied.proxy.set(Behaviour::edit(change));
                let fault = format!("with byte {at} of the reply changed by {bits:#x}");
                let outcome = scenario.judge(&case, &fault, Kind::Any, ExpectedResult::WorksOrFails);
                scenario.proxied.heal()?;
                scenario.proxied.works_again(format_args!("after {} {fault}", scenario.operation.name))?;
                Ok(outcome)
            };
            for at in 0..scenario.exchange()?.reply.min(CHANGED) {
                let outcome = try_flipped(at, 0x80)?;
                // In some protocols the highest bit decides between two answers; then the next bit does not.
                if matches!(outcome, Err(NotPassed::Failed(_))) && try_flipped(at, 0x40)?.is_ok() {
                    continue;
                }
                outcome?;
            }
            Ok(())
        })
    })
}

/// Adds the reply to another operation to the reply to every operation, at once and a little later. No operation may take it for its
/// answer.
pub fn n2_unrequested_bytes_reach_no_operation() -> Check {
    about(&["N2", "E4"]).under_faults().run(|context| {
        for_each_operation(context, |scenario| {
            let exchange = scenario.exchange()?;
            for later in [Duration::ZERO, NOTICED] {
                let (case, proxied) = (scenario.case()?, scenario.proxied);
                let (take, taken) = std::sync::mpsc::channel();
                proxied.proxy.set(Behaviour::edit(move |piece| {
                    // This fails if no connection waits for it any more.
                    let _ = take.send(piece.clone());
                }));
                expect_undisturbed("get", || proxied.store.get(case.key("other")).map(|value| value.is_some()), true)?;
                let stray = taken.try_recv().unwrap_or_default();
                let when = if later.is_zero() { "comes together with" } else { "is followed by" };
                let behaviour = Behaviour::Add { after: exchange.reply, bytes: stray, later };
                let injected = proxied.proxy.injected() + 1;
                proxied.proxy.set(behaviour);
                let fault = format!("whose reply {when} another one that was not requested");
                scenario.judge(&case, &fault, Kind::Transient, ExpectedResult::WorksOrFails)?;
                // If the store has closed the connection before, nothing more comes.
                for _ in 0..20 {
                    if proxied.proxy.injected() < injected {
                        thread::sleep(NOTICED);
                    }
                }
                thread::sleep(NOTICED);
                proxied.heal()?;
                proxied.works_again(format_args!("after {} {fault}", scenario.operation.name))?;
            }
            Ok(())
        })
    })
}

/// Holds back the reply to every operation, or its second half, until the operation has timed out, and then passes it. The next operations
/// must not get it.
pub fn n2_a_late_reply_reaches_no_other_operation() -> Check {
    about(&["N2"]).under_faults().run(|context| {
        for_each_operation(context, |scenario| {
            let half = scenario.exchange()?.reply / 2;
            let second_half = Behaviour::Truncate { of: Direction::Replies, bytes: half };
            for (behaviour, what) in [(Behaviour::HoldReplies, "whose reply"), (second_half, "half of whose reply")] {
                let case = scenario.case()?;
                scenario.proxied.proxy.set(behaviour);
                let fault = format!("{what} comes after the time-out");
                let want = if scenario.operation.writes {
                    ExpectedResult::Fails { unknown: None }
                } else {
                    ExpectedResult::WorksOrFails
                };
                scenario.judge(&case, &fault, Kind::Timeout, want)?;
                scenario.proxied.heal()?;
                scenario.proxied.works_again(format_args!("after {} {fault}", scenario.operation.name))?;
                // By now it has certainly come.
                thread::sleep(NOTICED);
                scenario.proxied.works_again(format_args!("a little after {} {fault}", scenario.operation.name))?;
            }
            Ok(())
        })
    })
}

/// Lets the replies come late, within the limit, and in single bytes: they are replies, and every operation works.
pub fn n2_a_reply_that_is_slow_or_comes_in_pieces_is_a_reply() -> Check {
    about(&["N2", "N1"]).under_faults().run(|context| {
        for_each_operation(context, |scenario| {
            let slow = Behaviour::Delay(scenario.proxied.limit / 20);
            for (behaviour, fault) in
                [(slow, "that comes a little later"), (Behaviour::Split(Duration::ZERO), "in single bytes")]
            {
                // If there are many pieces, and each is late, the whole would be too late.
                if scenario.operation.is_large() {
                    return Ok(());
                }
                let case = scenario.case()?;
                scenario.proxied.proxy.set(behaviour);
                scenario.judge(&case, &format!("with a reply {fault}"), Kind::Transient, ExpectedResult::Works)?;
                scenario.proxied.heal()?;
            }
            Ok(())
        })
    })
}

/// Lets replies of 16 bytes and more come so slowly, byte by byte, that they would end long after the limit, although something comes
/// all the time. The operation has to end within it.
pub fn n1_a_reply_in_slow_single_bytes_ends_within_the_limit() -> Check {
    about(&["N1", "E1", "E5"]).under_faults().run(|context| {
        for_each_operation(context, |scenario| {
            let exchange = scenario.exchange()?;
            // Shorter than any limit on a single read, and for the whole reply longer than the limit of the operation.
            let pause = scenario.proxied.limit / 8;
            if exchange.reply < 16 {
                return Ok(());
            }
            let case = scenario.case()?;
            scenario.proxied.proxy.set(Behaviour::Split(pause));
            let fault = format!("whose reply comes in single bytes, one every {pause:?}");
            scenario.judge(
                &case,
                &fault,
                Kind::Timeout,
                ExpectedResult::Fails { unknown: exchange.is_one.then_some(true) },
            )?;
            scenario.proxied.heal()?;
            scenario.proxied.works_again(format_args!("after {} {fault}", scenario.operation.name))
        })
    })
}

/// Refuses connections, and cuts the open ones. Every operation has to fail at once, and say that the store is unavailable and that nothing
/// was sent. When connections are accepted again, everything has to work without a restart.
pub fn n6_refused_connections_are_reported_and_the_store_recovers() -> Check {
    about(&["N6", "N1", "E1", "E5"]).under_faults().run(|context| {
        for_each_operation(context, |scenario| {
            let case = scenario.case()?;
            scenario.proxied.proxy.refuse();
            scenario.proxied.proxy.cut_now(Cut::Close)?;
            thread::sleep(NOTICED);
            let fault = "where the connection was closed and a new one is refused";
            scenario.judge(&case, fault, Kind::Unavailable, ExpectedResult::Fails { unknown: None })?;
            // After this pause a pool checks its other connections before use.
            thread::sleep(IDLE);
            let fault = "where connections are refused";
            scenario.judge(&case, fault, Kind::Unavailable, ExpectedResult::Fails { unknown: Some(false) })?;
            scenario.proxied.heal()?;
            scenario.proxied.works_again(format_args!("after {} {fault}", scenario.operation.name))
        })
    })
}

/// How often an operation runs while its exchanges are counted.
const TIMES: usize = 10;

/// Runs every operation on one key several times, and counts the exchanges with the server: there has to be one for each. A batch of 100
/// keys may take at most a tenth of its number of keys. (Copies, listings and streams are not counted, and `take` may be two: a read, and a
/// removal if nobody has changed it.)
///
/// A store that sends a PING before each operation fails here, and one whose batches are loops.
pub fn n3_one_operation_is_one_exchange() -> Check {
    about(&["N3", "U6"]).under_faults().run(|context| {
        for_each_operation(context, |scenario| {
            let proxied = scenario.proxied;
            if scenario.operation.is_listing()
                || ["copy", "rename", "get_into", "put_from"].contains(&scenario.operation.name)
            {
                return Ok(());
            }
            let cases = (0..TIMES).map(|_| scenario.case()).collect::<Outcome<Vec<_>>>()?;
            let before = proxied.proxy.exchanges();
            for case in &cases {
                expect_undisturbed(
                    scenario.operation.name,
                    || (scenario.operation.run)(proxied.store, case),
                    (scenario.operation.answer)(case),
                )?;
            }
            let what = format!("how many requests {TIMES} times {} took", scenario.operation.name);
            let took = proxied.proxy.exchanges() - before;
            // Where there is no such command, it is two, as the backend's documentation says (U6).
            let each = if scenario.operation.name == "take" && took > TIMES + 1 { 2 } else { 1 };
            // There may be one more, if a connection was made, or was checked because the machine was slow.
            let enough = (TIMES * each..=TIMES * each + 1).contains(&took);
            expect_that(what, enough, "one for each", took)?;
            let keys = (0..100).map(|n| format!("{}{n}", proxied.fresh_prefix())).collect::<Vec<_>>();
            let before = proxied.proxy.exchanges();
            match scenario.operation.name {
                "get_many" => expect("get_many", proxied.store.get_many(&keys).map(|values| values.len()), keys.len())?,
                "put_many" => expect("put_many", proxied.store.put_many(keys.iter().map(|key| (key, "v"))), ())?,
                "delete_many" => {
                    expect("delete_many", proxied.store.delete_many(&keys).map(|found| found.len()), keys.len())?;
                }
                _ => return Ok(()),
            }
            let took = proxied.proxy.exchanges() - before;
            let what = format!("how many requests {} of 100 keys took", scenario.operation.name);
            expect_that(what, took <= 10, "one for each chunk", took)
        })
    })
}
