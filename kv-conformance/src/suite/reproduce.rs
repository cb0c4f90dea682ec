//! How to see a failure again: the seed, and the command.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, RandomState};
use std::time::Instant;

use crate::running::Seed;

/// The seed of the properties: `KV_CONFORMANCE_SEED`, or a new one. A text that is not a number is a seed, too.
pub(super) fn seed() -> u64 {
    match std::env::var("KV_CONFORMANCE_SEED") {
        Ok(given) => given.parse().unwrap_or_else(|_| BuildHasherDefault::<DefaultHasher>::default().hash_one(given)),
        Err(_) => RandomState::new().hash_one(Instant::now()),
    }
}

/// The variables that give the same random input again.
pub(super) fn random_input(seed: &Seed) -> String {
    let cases = std::env::var("KV_CONFORMANCE_CASES").ok().filter(|cases| cases.parse::<u32>().is_ok());
    let cases = cases.map(|cases| format!("KV_CONFORMANCE_CASES={cases} ")).unwrap_or_default();
    let effort = std::env::var("KV_CONFORMANCE_EFFORT").ok().filter(|effort| effort.parse::<f64>().is_ok());
    let effort = effort.map(|effort| format!("KV_CONFORMANCE_EFFORT={effort} ")).unwrap_or_default();
    format!("KV_CONFORMANCE_SEED={} {cases}{effort}", seed.used())
}

/// The command that runs this test target.
pub(super) fn command() -> String {
    let package = std::env::var("CARGO_PKG_NAME").map(|package| format!(" -p {package}")).unwrap_or_default();
    let program = std::env::current_exe().ok();
    let target = program.as_ref().and_then(|path| path.file_stem()?.to_str()?.rsplit_once('-'));
    let target = target.map(|(target, _hash)| format!(" --test {target}")).unwrap_or_default();
    format!("cargo test{package}{target}")
}
