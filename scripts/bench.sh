#!/usr/bin/env bash
# Runs all benches, each beside its peers, and draws a chart of what they have measured, docs/benchmarks.svg. Takes some minutes, on a machine
# that does nothing else. The rows are in target/bench, as JSON.
# Usage: scripts/bench.sh
set -euo pipefail
cd "$(dirname "$0")/.."

export KV_BENCH_REPORT=$PWD/target/bench
rm -rf "$KV_BENCH_REPORT"
stores=(kv-memory kv-redis kv-memcache)
for store in "${stores[@]}"; do
    printf '\n==> %s\n' "$store"
    cargo bench --locked --package "$store" --all-features
done
mkdir -p docs
cargo run --locked --quiet --package kv-conformance --features bench --bin kv-chart -- docs/benchmarks.svg \
    "$KV_BENCH_REPORT"/{kv-memory,kv-redis,kv-memcache}.json
