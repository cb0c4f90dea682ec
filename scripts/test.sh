#!/usr/bin/env bash
# Checks everything: formatting, lints, tests, doctests, the matrix in the guide, documentation, dependencies, the public
# interface. Installs what is missing for that.
# Usage: scripts/test.sh [--quick]
#   --quick  two minutes for the loop of work: formatting, lints, unit tests, and the conformance suite on memory, redis and
#            memcached in one configuration each
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

# Runs test programs, two at a time: most of them wait for servers and clocks. Prints a line for each, and at the end what
# those printed that failed.
run_programs() {
    export logs=${CARGO_TARGET_DIR:-$PWD/target}/test-logs
    rm -rf "$logs"
    mkdir -p "$logs"
    xargs -P 2 -L 1 bash -c '
        name=$(name_of_program "$@") log=$logs/${name/\//-} begin=$SECONDS outcome=ok
        run_program "$@" >"$log" 2>&1 || { outcome=FAILED; mv "$log" "$log.failed"; }
        printf "%-32s %s in %d s\n" "$name" "$outcome" "$((SECONDS - begin))"
        [ "$outcome" = ok ]
    ' run_programs && return
    for log in "$logs"/*.failed; do
        printf '\n==> %s\n' "${log##*/}"
        cat "$log"
    done
    return 1
}

# Those that take longest come first, so that none is left at the end.
longest_first() {
    grep -E '/(mutants|network|conformance|faults)-' <<<"$1"
    grep -vE '/(mutants|network|conformance|faults)-' <<<"$1"
}

need cc gcc libc6-dev
need redis-server redis-server
need memcached memcached
need_component fmt rustfmt
need_component clippy clippy

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

for features in "" tls cluster sentinel r2d2_redis; do
    step cargo clippy --package kv-redis --lib --features "$features" --locked -- -D warnings
done
for crate in kv-memcache kv-conformance; do
    step cargo clippy --package "$crate" --lib --locked -- -D warnings
done
reports=$PWD/target/conformance
rm -rf "$reports"
programs=$(test_programs)
KV_CONFORMANCE_REPORT=$reports step run_programs < <(longest_first "$programs")
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
