#!/usr/bin/env bash
# Checks what users of each crate compile: kv-core has two dependencies, and few more with its features, no runtime among them; and no backend
# pulls in another's. What two
# backends need and may not share is the same in both. And the table in CONTRIBUTING.md gives a reason for every
# dependency there is.
set -euo pipefail
cd "$(dirname "$0")/.."

# The names of the crates that a crate of ours depends on, without those for tests. Further arguments go to cargo.
dependencies() {
    local crate=$1
    shift
    cargo tree --locked --all-features --package "$crate" --edges normal,build --prefix none --format '{p}' "$@" |
        cut -d ' ' -f 1 | sort -u | grep -vx "$crate"
}

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

direct=$(dependencies kv-core --depth 1 | tr '\n' ' ')
expected='bytes futures-channel futures-core self_cell serde thiserror '
[ "$direct" = "$expected" ] || fail "kv-core depends on: ${direct}and should on: $expected"
! dependencies kv-core | grep -x tokio || fail "kv-core depends on a runtime"
plain=$(cargo tree --locked --package kv-core --edges normal,build --prefix none --format '{p}' --depth 1 |
    cut -d ' ' -f 1 | sort -u | tr '\n' ' ')
[ "$plain" = 'bytes kv-core thiserror ' ] || fail "without features kv-core has: $plain"

for manifest in kv-*/Cargo.toml; do
    crate=$(dirname "$manifest")
    [ "$crate" = kv-core ] && continue
    ours=$(dependencies "$crate" | grep '^kv-' | tr '\n' ' ')
    [ "$ours" = 'kv-core ' ] || fail "$crate depends on: ${ours}and should, of this workspace, on kv-core alone"
done

# A client library is compiled by the users of its backend alone.
for pair in kv-redis:redis kv-redis:r2d2_redis kv-memcache:memcache; do
    owner=${pair%%:*} client=${pair##*:}
    for manifest in kv-*/Cargo.toml; do
        crate=$(dirname "$manifest")
        [ "$crate" = "$owner" ] && continue
        if dependencies "$crate" | grep -x "$client" >/dev/null; then
            fail "$crate pulls in $client, which is $owner's"
        fi
    done
done
# Backends depend on kv-core alone, so that each has a copy of these. What is fixed in one is fixed in the other.
for file in connection/{circuit_breaker,endpoint,host,per_process,permits,pool,pool_settings,resolve,socket,sweeper,system}.rs connection/resolve/{limit,tests}.rs connection/multiplexed/{driver,making,queue,queues,state,stream}.rs \
    connection/tls/advice.rs protocol/silent.rs store/url.rs; do
    cmp "kv-redis/src/$file" "kv-memcache/src/$file" || fail "the two copies of $file differ"
done

# The dependencies that manifests name, for whatever purpose, those of tools included, without our own crates.
named() {
    find . -name target -prune -o -name Cargo.toml -print0 | xargs -0 awk '
        /^\[/ { inside = /dependencies\]$/ }
        /^\[.*dependencies\.[A-Za-z0-9_-]+\]$/ { sub(/.*\./, ""); sub(/\]/, ""); print }
        inside && match($0, /^[A-Za-z0-9_-]+/) { print substr($0, RSTART, RLENGTH) }
    ' | grep -v '^kv-' | sort -u
}

# The dependencies that the table has rows for.
explained() {
    awk -F '|' '
        /^\| dependency \| of \| why \|$/ { inside = 1; next }
        !/^\|/ { inside = 0 }
        inside { print $2 }
    ' CONTRIBUTING.md | grep -o '`[^`]*`' | tr -d '`' | sort -u
}

differing=$(comm -3 --output-delimiter=+ <(named) <(explained))
[ -z "$differing" ] || fail "The table in CONTRIBUTING.md lacks these, or has those with a + for nothing:
$differing"
echo "The dependencies of every crate are what they should be."
