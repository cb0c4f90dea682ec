#!/usr/bin/env bash
# Runs tests with what finds mistakes that Rust does not exclude in what we depend on, and in how threads work together:
# address: the tests of kv-core and the backends, the suite included, with AddressSanitizer
# thread:  the tests of kv-memory, the suite included, with ThreadSanitizer
# miri:    the tests of kv-core and kv-memory's of its callers' view, interpreted; others of kv-memory have too many entries for that
# Installs a nightly compiler and its components if they are missing.
# Usage: scripts/sanitize.sh [address] [thread] [miri]   all three, unless said otherwise
set -euo pipefail
cd "$(dirname "$0")/.."

rustup run nightly rustc --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal
# With a target, what runs in the compiler is not instrumented.
host=$(rustup run nightly rustc -vV | sed -n 's/^host: //p')

# Says what comes, then does it.
step() {
    printf '\n==> %s\n' "$*"
    "$@"
}

address() {
    export RUSTFLAGS=-Zsanitizer=address
    # Tests leave servers behind on purpose, for the end of the process.
    export ASAN_OPTIONS=detect_leaks=0
    # Not `counts`, as the sanitizer makes system calls and allocations of its own, nor what takes longest, clusters and
    # sentinels; nor the suite's faults of networks, whose limits are too short for it on a machine that does other things, too.
    step cargo +nightly test --package kv-core --package kv-memory --package kv-memcache --package kv-redis --all-features \
        --lib --test callers --test conformance --test ttls --test store --test secrets --test threads --locked --target "$host" -- \
        --skip cluster:: --skip sentinel:: --skip faults:: \
        --skip ::n1_ --skip ::n2_ --skip ::n3_ --skip ::n4_ --skip ::n5_ --skip ::n6_
}

thread() {
    # The standard library has to be instrumented, too, or all that it synchronises would be reported.
    rustup component add --toolchain nightly rust-src
    export RUSTFLAGS=-Zsanitizer=thread TSAN_OPTIONS=halt_on_error=1
    # Not `counts`: the sanitizer makes system calls of its own.
    step cargo +nightly test -Zbuild-std --package kv-memory --lib --test callers --test conformance --test ttls \
        --test threads --locked --target "$host"
}

miri() {
    rustup component add --toolchain nightly rust-src miri
    # Files and the clock are the machine's.
    export MIRIFLAGS=-Zmiri-disable-isolation
    step cargo +nightly miri test --package kv-core --locked
    step cargo +nightly miri test --package kv-memory --test callers --locked -- --skip the_store_may_be_used_inside_a_listing
}

[ $# -gt 0 ] || set -- address thread miri
for what in "$@"; do
    # In a shell of its own: each has variables that are not for the others.
    ("$what")
done
