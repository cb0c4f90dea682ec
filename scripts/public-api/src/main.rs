//! Prints the public interface of a crate, an item a line, from the JSON that rustdoc has written of it:
//! `public-api-listing FILE`.
//!
//! Of implementations that the compiler makes it prints only that they are there: derived ones, `Send` and `Sync`,
//! since losing one breaks callers. Their methods, the other auto traits and blanket implementations would make three
//! quarters of the list, and say nothing.

use std::collections::HashSet;
use std::env;
use std::process::ExitCode;

use public_api::{Builder, PublicApi, Result};

/// How an item begins that only says that a trait is implemented and that nobody relies on by its name.
const UNTOLD: [&str; 6] = [
    "core::marker::Freeze",
    "core::marker::StructuralPartialEq",
    "core::marker::Unpin",
    "core::marker::UnsafeUnpin",
    "core::panic::unwind_safe::RefUnwindSafe",
    "core::panic::unwind_safe::UnwindSafe",
];

fn main() -> ExitCode {
    let Some(path) = env::args().nth(1) else {
        eprintln!("usage: public-api-listing FILE");
        return ExitCode::from(2);
    };
    match listing(&path) {
        Ok(items) => {
            items.iter().for_each(|item| println!("{item}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn listing(path: &str) -> Result<Vec<String>> {
    let all = Builder::from_rustdoc_json(path).omit_blanket_impls(true);
    let written = all.clone().omit_auto_trait_impls(true).omit_auto_derived_impls(true);
    let written: HashSet<_> = lines(&written.build()?).collect();
    Ok(lines(&all.build()?).filter(|line| written.contains(line) || is_told(line)).collect())
}

/// Whether a line about an implementation that the compiler has made is worth it.
fn is_told(line: &str) -> bool {
    line.starts_with("impl") && !UNTOLD.iter().any(|name| line.contains(name))
}

fn lines(api: &PublicApi) -> impl Iterator<Item = String> {
    api.items().map(ToString::to_string)
}
