#!/usr/bin/env bash
# Makes the feature matrix of the guide from what the conformance suite finds of the stores.
# Usage: scripts/matrix.sh [--check] [FOLDER]
#   --check  changes nothing; shows the difference, and exits with 1, if the page has another matrix
#   FOLDER   has the reports of a whole run already (KV_CONFORMANCE_REPORT); without it the suites are run
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/programs.sh

check=()
if [ "${1-}" = --check ]; then
    check=(--check)
    shift
fi

passed=true
reports=${1-}
if [ -z "$reports" ]; then
    reports=$PWD/target/matrix
    rm -rf "$reports"
    programs=$(test_programs --test conformance)
    for suite in kv-memory:memory kv-redis:tcp kv-redis:cluster kv-memcache:tcp; do
        read -ra program < <(grep "/${suite%%:*} " <<<"$programs")
        # A check that fails is in the report, and the matrix shows it.
        KV_CONFORMANCE_REPORT=$reports run_program "${program[@]}" "${suite##*:}::" || passed=false
    done
fi

code=0
kv_matrix "${check[@]}" kv-core/guide/choosing.md \
    "memory=$reports/kv-memory.memory.json" \
    "redis=$reports/kv-redis.tcp.json" \
    "cluster=$reports/kv-redis.cluster.json" \
    "memcached=$reports/kv-memcache.tcp.json" || code=$?
[ "$code" != 1 ] || echo "To write the matrix anew: scripts/matrix.sh" >&2
[ "$code" = 0 ] || exit "$code"
$passed
