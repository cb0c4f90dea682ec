//! A tour of a store, with the files of a folder as its entries:
//! `cargo run -p kv-memory --example quickstart [FOLDER] [--ttl SECONDS]`.

use std::env;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use kv_memory::MemoryStore;

mod tour;

fn main() -> ExitCode {
    let result = parse().and_then(|(folder, ttl)| tour::run(&MemoryStore::new(), &folder, ttl));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // As with `| head`: who reads has had enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", tour::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The folder, by default that of the workspace, and the lifetime that the entries are to have.
fn parse() -> tour::Result<(PathBuf, Option<Duration>)> {
    let (mut folder, mut ttl) = (Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(""), None);
    let mut arguments = env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--ttl" {
            let seconds =
                arguments.next().and_then(|seconds| seconds.to_str()?.parse().ok()).filter(|&seconds| seconds > 0);
            ttl = Some(Duration::from_secs(seconds.ok_or("--ttl takes a whole number of seconds above zero")?));
        } else if argument.as_encoded_bytes().starts_with(b"-") {
            return Err(
                format!("{} is not an option; usage: quickstart [FOLDER] [--ttl SECONDS]", argument.display()).into()
            );
        } else {
            folder = argument.into();
        }
    }
    Ok((folder, ttl))
}
