//! The example for owners of a store passes, as its readers expect.

use std::process::ExitCode;

#[path = "../examples/adapter.rs"]
mod adapter;

fn main() -> ExitCode {
    adapter::main()
}
