#!/usr/bin/env bash
# Checks everything: formatting, lints, tests, doctests, the matrix in the guide, documentation, dependencies, the public
# interface. Installs what is missing for that.
# Usage: scripts/test.sh
# With KV_FUZZ_SECONDS=60 in the environment also runs each fuzz target for so long (scripts/fuzz.sh), on a nightly compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

# Says what comes, then does it.
step() {
    printf '\n==> %s\n' "$*"
    "$@"
}

# Installs Debian packages unless the program is there.
need() {
    local program=$1 packages=("${@:2}")
    command -v "$program" >/dev/null && return
    command -v apt-get >/dev/null || { echo "$program is missing: install it (Debian: ${packages[*]})" >&2; exit 1; }
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    step "${sudo[@]}" apt-get update -qq
    step "${sudo[@]}" apt-get install -qq --yes --no-install-recommends "${packages[@]}"
}

# Installs a component of the Rust toolchain unless it is there.
need_component() {
    cargo "$1" --version >/dev/null 2>&1 || step rustup component add "$2"
}

need cc gcc libc6-dev
need redis-server redis-server
need memcached memcached
# twemproxy, which kv-memcache is tested behind.
need nutcracker nutcracker
need pip3 python3-pip
need strace strace
need_component fmt rustfmt
need_component clippy clippy

step cargo fmt --all --check
step cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
for features in "" tls cluster sentinel r2d2_redis; do
    step cargo clippy --package kv-redis --lib --features "$features" --locked -- -D warnings
done
step cargo clippy --package kv-memcache --lib --locked -- -D warnings
reports=$PWD/target/conformance
rm -rf "$reports"
KV_CONFORMANCE_REPORT=$reports step cargo test --workspace --all-features --locked
step scripts/matrix.sh --check "$reports"
step scripts/servers.sh --check
# kv-core first: what is documented before it has no links into it.
RUSTDOCFLAGS="-D warnings" step cargo doc --package kv-core --all-features --no-deps --locked
RUSTDOCFLAGS="-D warnings" step cargo doc --workspace --all-features --no-deps --locked
step scripts/check-dependencies.sh
step scripts/public-api.sh --check
[ -z "${KV_FUZZ_SECONDS:-}" ] || step scripts/fuzz.sh "$KV_FUZZ_SECONDS"
printf '\nAll checks passed.\n'
