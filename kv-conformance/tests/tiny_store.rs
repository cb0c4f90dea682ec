//! The backend in the documentation of `kv-core` keeps the contract, as is said there: all but section 12. It has no clock to be advanced, so
//! that this is a run in real time.

use std::process::ExitCode;

use kv_conformance::{Fixture, Suite};
use kv_core::Capability::{Counters, Take, TouchingReads, Versions};

#[allow(dead_code, reason = "it is an example, with a main of its own")]
#[path = "../../kv-core/examples/tiny_store.rs"]
mod tiny_store;

fn main() -> ExitCode {
    let suite = Suite::new("tiny", || Ok(Fixture::new(tiny_store::TinyStore::default())));
    let lacks = [Versions, Take, TouchingReads, Counters];
    lacks.into_iter().fold(suite, |suite, of| suite.opt_out(of, "the example is to be short")).main()
}
