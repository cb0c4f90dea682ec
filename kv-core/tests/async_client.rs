//! The suite, on the stores of the page *Async* in the guide: the one for async code, and the one for blocking code.

use std::io;
use std::process::ExitCode;

use kv_conformance::{Fixture, Suite};
use tokio::runtime::Builder;

use async_client::{AsyncToyStore, connect};

#[allow(dead_code, reason = "it is an example, with a main of its own")]
#[path = "../examples/async_client.rs"]
mod async_client;

fn main() -> io::Result<ExitCode> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let handle = runtime.handle().clone();
    let for_async_code = Suite::new("toy_async", move || {
        let fixture = Fixture::of_async(AsyncToyStore::connect(&handle), &handle);
        Ok(fixture.made_on(|runtime| Ok(AsyncToyStore::connect(runtime))))
    });
    let for_blocking_code = Suite::new("toy", || Ok(Fixture::new(connect()?)));
    Ok(kv_conformance::main([for_async_code, for_blocking_code].map(without_what_it_lacks)))
}

fn without_what_it_lacks(suite: Suite) -> Suite {
    use kv_core::Capability::{
        Contains, Copy, Counters, Create, Listing, Take, Touch, TouchingReads, TtlReading, Ttls, Versions,
    };

    let lacks = [Listing, Contains, Create, Ttls, TtlReading, Touch, Copy, Versions, Take, TouchingReads, Counters];
    lacks.into_iter().fold(suite, |suite, of| suite.opt_out(of, "the toy server has no command for it"))
}
