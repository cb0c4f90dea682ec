#!/usr/bin/env bash
# Runs the fuzz targets of kv-conformance/fuzz, each for so many seconds: first the inputs in its seeds, then what libFuzzer makes of
# them. What it finds is kept in the target folder, and a later run goes on from there. Installs cargo-fuzz, there too, and a
# nightly compiler, if they are missing; needs a compiler for C++ and redis-server.
# Usage: scripts/fuzz.sh [SECONDS] [TARGET…]   60 seconds and all targets, unless said otherwise
set -euo pipefail
cd "$(dirname "$0")/.."

fuzz=kv-conformance/fuzz
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
export PATH=$PATH:$CARGO_TARGET_DIR/tools/bin

for program in rustup c++ redis-server; do
    command -v "$program" >/dev/null || { echo "$program is missing: install it" >&2; exit 1; }
done
rustup run nightly rustc --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked --root "$CARGO_TARGET_DIR/tools"

seconds=${1:-60}
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(ls "$fuzz/seeds")

cargo fmt --manifest-path "$fuzz/Cargo.toml" --check
cargo clippy --manifest-path "$fuzz/Cargo.toml" --locked -- -D warnings
for target in "${targets[@]}"; do
    corpus=$CARGO_TARGET_DIR/fuzz/$target
    mkdir -p "$corpus"
    printf '\n==> fuzz target %s, %s seconds\n' "$target" "$seconds"
    # Bytes: a key has 250, a line of memcached 2048. What a thread has that is just ending is taken for a leak.
    cargo +nightly fuzz run --fuzz-dir "$fuzz" "$target" "$corpus" "$fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=60 -print_final_stats=1 -detect_leaks=0
done
