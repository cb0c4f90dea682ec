#!/usr/bin/env bash
# Says which share of mechanical mutants the suite rejects: cargo-mutants changes a right store in one place (a condition, a
# boundary, a call, a result), and the suite has to reject it. Works on a copy in the target folder. Installs cargo-mutants, there
# too, if it is missing. Wants a machine that does nothing else: limits that pass because it is busy count as a rejection.
# memory:  kv-memory, blocking, with half a second to 15 for a mutant
# network: the right store of kv-conformance/tests/network and its server, with up to 45 seconds for a mutant
# Usage: scripts/mutants.sh memory|network [ARGUMENT OF CARGO-MUTANTS…]   such as --shard 0/4 --sharding round-robin, or --list
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
copy=$target/mutants/source
export PATH=$PATH:$target/tools/bin
cargo mutants --version >/dev/null 2>&1 || cargo install cargo-mutants --locked --root "$target/tools"

kind=${1-}
case "$kind" in
    # Not the async face, which has the same code below it, nor how a store is shown, nor the clock of other systems than Linux.
    memory)
        package=kv-memory
        tests=(memory:: namespace:: real_time::)
        options=(--exclude kv-memory/src/asynchronous.rs --exclude-re 'fmt::|exact::' --timeout 60)
        ;;
    # Not the suite's fixture, nor what the server does wrong when it is told to.
    network)
        package=kv-network
        tests=(--test-threads 12)
        options=(--file 'kv-network/src/{client,connection,map,pool,wire}.rs' --exclude-re 'fmt::|plant|forget_|prolong' --timeout 240)
        ;;
    *) sed -n '/^# Usage/p' "$0" >&2; exit 2 ;;
esac

rm -rf "$copy"
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory "$copy"
cd "$copy"
# The store of a test as a crate of its own, as cargo-mutants leaves tests alone.
mkdir -p kv-network/src
cp kv-conformance/tests/network/{client,connection,map,pool,right,server,wire}.rs kv-network/src
cat >kv-network/src/main.rs <<'RUST'
#![allow(dead_code, missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
mod client;
mod connection;
mod map;
mod pool;
mod right;
mod server;
mod wire;

fn main() -> std::process::ExitCode {
    kv_conformance::main([right::right(server::Persistence::EachWrite, kv_conformance::Durability::OverKill)])
}
RUST
cat >kv-network/Cargo.toml <<'TOML'
[package]
name = "kv-network"
version = "0.1.0"
edition = "2024"

[[bin]]
name = "kv-network"
test = false

[[test]]
name = "conformance"
path = "src/main.rs"
harness = false

[dependencies]
kv-conformance = { workspace = true }
kv-core = { workspace = true }
TOML
sed -i 's/^members = \[/&"kv-network", /' Cargo.toml

# A mutant is rejected with the first failure, and what hangs does not take a minute.
export KV_CONFORMANCE_FAIL_FAST=1 KV_CONFORMANCE_HANGS_AFTER=${KV_CONFORMANCE_HANGS_AFTER:-10}
export CARGO_TARGET_DIR=$target/mutants/target CARGO_PROFILE_DEV_DEBUG=0
cargo mutants --package "$package" --test-package "$package" --in-place --output "$target/mutants/$kind" "${options[@]}" "${@:2}" \
    -- --test conformance -- "${tests[@]}"
