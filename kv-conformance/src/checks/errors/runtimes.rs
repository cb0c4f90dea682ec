//! Section 9, E4, inside an async runtime.
//!
//! A program with an async server calls stores from such threads: in `main`, in handlers, in destructors. That must only block the thread.
//! A store on an async client panics there if it waits with `Runtime::block_on` or drops a runtime; if it passes its work to the runtime of
//! its caller, it may wait for ever.

#[cfg(feature = "tokio")]
mod inside;

use crate::checks::check::{Check, about, checks};

checks![e4_a_store_works_inside_an_async_runtime];

/// Makes a store, does everything with each of its handles, opens it again and drops it, each inside runtimes of tokio: in `block_on` of a runtime
/// with one thread and of one with several, on a worker of the latter, in its `spawn_blocking`, and where a runtime was entered that nobody
/// drives. What was made inside one is also used after that one has ended. Everything has to work as it does anywhere else.
///
/// Needs the feature `tokio` of this crate. Without it the check is ignored, and says so.
pub fn e4_a_store_works_inside_an_async_runtime() -> Check {
    about(&["E4"]).run(|context| {
        #[cfg(feature = "tokio")]
        return inside::everywhere(context);
        #[cfg(not(feature = "tokio"))]
        {
            let _ = context;
            Err(crate::running::NotPassed::Ignored(WITHOUT.into()))
        }
    })
}

/// Why the check is ignored without the feature, and how to run it.
#[cfg(not(feature = "tokio"))]
const WITHOUT: &str =
    "it needs the feature `tokio`: kv-conformance = { …, features = [\"tokio\"] } in [dev-dependencies]";
