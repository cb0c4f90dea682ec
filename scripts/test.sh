#!/usr/bin/env bash
# Checks everything: formatting, lints, tests, doctests, the matrix in the guide, documentation, dependencies, the public
# interface. Installs what is missing for that.
# Usage: scripts/test.sh [--quick]
#   --quick  for the loop of work, two minutes once everything is built: formatting, lints, unit tests, and the conformance suite on
#            memory, redis and memcached in one configuration each
# With KV_FUZZ_SECONDS=60 in the environment also runs each fuzz target for so long (scripts/fuzz.sh), on a nightly compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/programs.sh

quick=false
case "${1-}" in
    "") ;;
    --quick) quick=true ;;
    *) sed -n '/^# Usage/,/^# With/p' "$0" >&2; exit 2 ;;
esac

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

# Runs test programs one after the other, and prints a line for each.
lane() {
    xargs -L 1 bash -c '
        name=$(name_of_program "$@") log=$logs/${name/\//-} begin=$SECONDS outcome=ok
        run_program "$@" >"$log" 2>&1 || { outcome=FAILED; mv "$log" "$log.failed"; }
        printf "%-32s %s in %d s\n" "$name" "$outcome" "$((SECONDS - begin))"
        [ "$outcome" = ok ]
    ' lane
}

# Runs test programs in two lanes: those that keep both cores busy, and those that mostly wait for servers and clocks. Two busy ones at
# once would make limits of time run out. Prints at the end what those printed that failed.
run_programs() {
    local programs=$1 busy='/(conformance|mutants|network)-' busy_lane failed=0
    export logs=${CARGO_TARGET_DIR:-$PWD/target}/test-logs
    rm -rf "$logs"
    mkdir -p "$logs"
    grep -E "$busy" <<<"$programs" | lane &
    busy_lane=$!
    grep -vE "$busy" <<<"$programs" | lane || failed=1
    wait "$busy_lane" || failed=1
    for log in "$logs"/*.failed; do
        [ -e "$log" ] || continue
        printf '\n==> %s\n' "${log##*/}"
        cat "$log"
    done
    return $failed
}

need cc gcc libc6-dev
need redis-server redis-server
need memcached memcached
need_component fmt rustfmt
need_component clippy clippy

# A build from nothing is quicker without what makes the next one quicker. Where there is some of that, all would be built again without.
compgen -G "${CARGO_TARGET_DIR:-target}/debug/incremental/*" >/dev/null || $quick || export CARGO_INCREMENTAL=0

step cargo fmt --all --check
step cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
if $quick; then
    step cargo test --workspace --all-features --locked --lib --bins
    step cargo test --workspace --all-features --locked --test conformance -- memory:: tcp::
    printf '\nThe quick checks passed.\n'
    exit
fi

# twemproxy, which kv-memcache is tested behind.
need nutcracker nutcracker
need pip3 python3-pip
need strace strace

for features in "" async tls cluster sentinel r2d2_redis tokio tokio,tls tokio,cluster; do
    step cargo clippy --package kv-redis --lib --features "$features" --locked -- -D warnings
done
for features in async tls tokio tokio,tls; do
    step cargo clippy --package kv-memcache --lib --features "$features" --locked -- -D warnings
done
for crate in kv-core kv-memory kv-memcache kv-conformance; do
    step cargo clippy --package "$crate" --lib --locked -- -D warnings
done
reports=$PWD/target/conformance
rm -rf "$reports"
# The suite runs on many configurations of few stores: each gets a part of the random input. CONTRIBUTING.md says how to run all of it.
export KV_CONFORMANCE_EFFORT=${KV_CONFORMANCE_EFFORT:-0.2}
programs=$(test_programs)
printf '\n==> test programs\n'
KV_CONFORMANCE_REPORT=$reports run_programs "$programs"
step cargo test --workspace --all-features --locked --doc
step scripts/matrix.sh --check "$reports"
step scripts/servers.sh --check
# kv-core first: what is documented before it has no links into it.
RUSTDOCFLAGS="-D warnings" step cargo doc --package kv-core --all-features --no-deps --locked
RUSTDOCFLAGS="-D warnings" step cargo doc --workspace --all-features --no-deps --locked
step scripts/check-dependencies.sh
step scripts/public-api.sh --check
[ -z "${KV_FUZZ_SECONDS:-}" ] || step scripts/fuzz.sh "$KV_FUZZ_SECONDS"
printf '\nAll checks passed.\n'
