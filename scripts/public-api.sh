#!/usr/bin/env bash
# Writes the public interface of each crate, an item a line, to docs/api, so that whoever reviews a change sees what it
# does to callers.
# Usage: scripts/public-api.sh [--check]
#   --check  changes nothing; shows the difference, and exits with 1, if docs/api has another interface. Where this
#            toolchain cannot tell, it says so and exits with 0.
set -euo pipefail
cd "$(dirname "$0")/.."

check=false
[ "${1-}" != --check ] || check=true
# Apart from what other builds make: the variable below would have them make it anew each time.
target=${CARGO_TARGET_DIR:-$PWD/target}/public-api
crates=(kv-core kv-memory kv-redis kv-memcache kv-conformance)
# The format that the version of `public-api` in scripts/public-api/Cargo.toml reads.
format=57

# Nothing can be said with this toolchain, or on this machine.
skip() {
    $check || { printf 'docs/api is as it was: %s\n' "$1" >&2; exit 1; }
    printf 'SKIPPED: docs/api was not compared with the code: %s\n' "$1"
    exit 0
}

# rustdoc writes JSON on nightly toolchains alone, unless this variable is set. So it takes the toolchain of everything
# else, and nobody has to install another one.
for crate in "${crates[@]}"; do
    RUSTC_BOOTSTRAP=1 cargo rustdoc --quiet --locked --target-dir "$target" --package "$crate" --lib --all-features -- \
        -Z unstable-options --output-format json --cap-lints allow ||
        skip "rustdoc of $(rustc --version) has written no JSON of $crate"
done
written=$(grep -o '"format_version":[0-9]*' "$target/doc/kv_core.json" | tail -1)
[ "${written##*:}" = "$format" ] ||
    skip "$(rustc --version) writes format ${written##*:} of its JSON, and public-api 0.52 reads $format"
cargo build --quiet --locked --manifest-path scripts/public-api/Cargo.toml --target-dir "$target/tool" ||
    skip "scripts/public-api could not be built"

new=$target/api
rm -rf "$new"
mkdir -p "$new" docs/api
rustc --version | cut -d ' ' -f 2 >"$new/rustc.txt"
for crate in "${crates[@]}"; do
    "$target/tool/debug/public-api-listing" "$target/doc/${crate//-/_}.json" >"$new/$crate.txt"
done

if ! $check; then
    cp "$new"/*.txt docs/api
    exit
fi
diff --unified=1 --exclude=rustc.txt docs/api "$new" && { echo "docs/api is the public interface."; exit; }
cmp --silent docs/api/rustc.txt "$new/rustc.txt" ||
    skip "it differs, as shown, and is of rustc $(cat docs/api/rustc.txt), while this is $(cat "$new/rustc.txt")"
echo "The public interface has changed. See docs/versions.md, and if it should: scripts/public-api.sh" >&2
exit 1
