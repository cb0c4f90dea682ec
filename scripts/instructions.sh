#!/usr/bin/env bash
# Counts the instructions of a get and of a put over, of 100 bytes, of each backend and of what it is compared with, and
# prints a table. Those of the kernel and of the servers are not among them.
# Usage: scripts/instructions.sh
set -euo pipefail
cd "$(dirname "$0")/.."

for program in valgrind redis-server memcached; do
    command -v "$program" >/dev/null || { echo "$program is missing: install it (Debian: $program)" >&2; exit 1; }
done
examples=${CARGO_TARGET_DIR:-target}/release/examples
times=1000

# How many instructions an operation takes: so many times as often, so many instructions more.
instructions() {
    local once twice
    once=$(collected "$1" "$2" "$times")
    twice=$(collected "$1" "$2" $((2 * times)))
    echo $(((twice - once) / times))
}

# How many instructions are counted in all, within the function that does it so many times.
collected() {
    local said
    said=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect="$example::counted*" \
        "$examples/$example" "$@" 2>&1) || { echo "$said" >&2; exit 1; }
    sed -n 's/.* Collected : //p' <<<"$said"
}

# A backend, and what it is compared with.
compare() {
    example=${1#kv-}_counts
    cargo build --quiet --release --locked --all-features --package "$1" --example "$example"
    local store get put
    for store in "$@"; do
        get=$(instructions "$store" get)
        put=$(instructions "$store" put)
        printf '| %s | %s | %s |\n' "$store" "$get" "$put"
    done
}

printf '| instructions | get | put |\n|---|---|---|\n'
compare kv-memory dashmap
compare kv-redis redis::Connection
compare kv-memcache 'a bare socket'
