//! The backend in the documentation of `kv-core` keeps the contract, as is said there. It has no clock to be advanced, so
//! that this is a run in real time.

use std::process::ExitCode;

use kv_conformance::{Fixture, Suite};

#[allow(dead_code, reason = "it is an example, with a main of its own")]
#[path = "../../kv-core/examples/tiny_store.rs"]
mod tiny_store;

fn main() -> ExitCode {
    Suite::new("tiny", || Ok(Fixture::new(tiny_store::TinyStore::default()))).main()
}
