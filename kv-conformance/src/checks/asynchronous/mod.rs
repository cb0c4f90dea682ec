//! Section 13: stores with futures.
//!
//! They need a fixture by [`Fixture::of_async`](crate::Fixture), and the feature `tokio` of this crate. All other checks run on such a store
//! as well, through [`kv_core::Blocking`].

#[cfg(feature = "tokio")]
mod inside;
#[cfg(feature = "tokio")]
mod runtimes;

use crate::checks::check::{Check, about, checks};
use crate::running::{Context, Outcome};

checks![
    a1_nothing_is_done_before_the_first_poll,
    a1_a_dropped_future_disturbs_nobody,
    a1_a_future_that_is_not_polled_holds_up_nobody,
    a2_a_call_does_not_block_its_thread,
    a3_connections_whose_callers_have_left_serve_others,
    a4_a_store_whose_runtime_has_ended_answers,
    a4_a_thread_without_a_runtime_gets_an_answer,
];

/// What a check does with an async store; without the feature it says so.
macro_rules! on_tokio {
    ($module:ident::$check:ident) => {
        |context: &Context<'_>| -> Outcome {
            #[cfg(feature = "tokio")]
            return $module::$check(context);
            #[cfg(not(feature = "tokio"))]
            {
                let _ = context;
                Err(crate::running::NotPassed::Ignored("it needs the feature `tokio` of kv-conformance".into()))
            }
        }
    };
}

/// Calls every operation that changes something, and drops its future without polling it. Nothing may have changed. A store that does its
/// work when it is called, and returns a future that is ready, fails here.
pub fn a1_nothing_is_done_before_the_first_poll() -> Check {
    about(&["A1"]).run(on_tokio!(inside::nothing_is_done_before_the_first_poll))
}

/// Many tasks on one thread read and write keys of their own, and drop most of their futures: before the first poll, after one poll or
/// several, or when a time has passed. Each value says whose it is: no task may see another's. Afterwards everything works. A store that
/// takes the next reply for its own after a future was dropped, or does not give back a permit, a connection or a lock, fails here.
pub fn a1_a_dropped_future_disturbs_nobody() -> Check {
    about(&["A1", "N2", "B1"]).run(on_tokio!(inside::a_dropped_future_disturbs_nobody))
}

/// Polls futures once and keeps them. Everything else has to work meanwhile. A store that holds a lock or its only connection over an
/// `.await` fails here.
pub fn a1_a_future_that_is_not_polled_holds_up_nobody() -> Check {
    about(&["A1", "A2", "L2"]).run(on_tokio!(inside::a_future_that_is_not_polled_holds_up_nobody))
}

/// Calls a store whose server answers late, and measures how long each poll takes. A store that waits for the server in a poll fails here.
pub fn a2_a_call_does_not_block_its_thread() -> Check {
    about(&["A2"]).under_faults().run(on_tokio!(inside::a_call_does_not_block_its_thread))
}

/// While the server is silent, starts more operations than a pool has places, and drops them. Another operation has to end within its
/// limit; and when the server is back, everything has to work. A store in which a caller that has left keeps a connection, or its place in
/// a queue without an end, fails here.
pub fn a3_connections_whose_callers_have_left_serve_others() -> Check {
    about(&["A3", "A1", "N1", "N6"])
        .under_faults()
        .run(on_tokio!(inside::connections_whose_callers_have_left_serve_others))
}

/// Makes a store on a runtime of its own, and ends that while operations are under way. These and later ones have to end, with a result or
/// with an error. A store that waits for a task that is gone, or panics without its runtime, fails here.
pub fn a4_a_store_whose_runtime_has_ended_answers() -> Check {
    about(&["A4", "E4"]).run(on_tokio!(runtimes::a_store_whose_runtime_has_ended_answers))
}

/// Polls every operation on a thread that is not inside a runtime, as another executor than tokio's does. Each has to end, with a result or
/// with an error. A store whose futures need the context of a runtime, and panic without it, fails here.
pub fn a4_a_thread_without_a_runtime_gets_an_answer() -> Check {
    about(&["A4", "E4"]).run(on_tokio!(runtimes::a_thread_without_a_runtime_gets_an_answer))
}
