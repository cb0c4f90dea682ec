#!/usr/bin/env bash
# Checks what a release needs beyond scripts/test.sh: the packages and what is in them, publishing as far as it can be
# tried, the documentation as docs.rs makes it, the least versions of dependencies, the Rust that they ask for,
# licences and duplicates, the public interface. Publishes nothing. Installs what is missing for that. Takes some ten
# minutes, the first time.
# Usage: scripts/release.sh, with everything committed
set -euo pipefail
cd "$(dirname "$0")/.."

# In this order: each depends on those before it alone.
crates=(kv-core kv-memory kv-conformance kv-redis kv-memcache)
target=${CARGO_TARGET_DIR:-$PWD/target}
tools=$target/tools
deny=0.20.2

# Says what comes, then does it.
step() {
    printf '\n==> %s\n' "$*"
    "$@"
}

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

# The files that a package may have.
wanted='Cargo\.(toml|toml\.orig|lock)|\.cargo_vcs_info\.json|LICENSE-(MIT|APACHE)|[A-Z-]+\.md'
wanted+='|(src|examples|guide)/.*\.(rs|md)'

# Makes the package of each crate, and builds it from what is in it, with those before it in place of crates.io.
package() {
    cargo package --workspace --all-features --locked
    local crate file files other
    for crate in "${crates[@]}"; do
        files=$(tar -tzf "$(file_of "$crate")" | cut -d / -f 2-)
        other=$(grep -vxE "$wanted" <<<"$files") && fail "$crate has files that nobody needs: $other"
        for file in README.md LICENSE-MIT LICENSE-APACHE; do
            grep -qx "$file" <<<"$files" || fail "$crate has no $file"
        done
        # They are links here, and have to be files there.
        for file in LICENSE-MIT LICENSE-APACHE; do
            unpacked "$crate" "$file" | cmp - "$file" || fail "$crate has another $file"
        done
        has_metadata "$crate"
        uses_ours "$crate"
        printf '%s: %s files, %s bytes\n' "$crate" "$(wc -l <<<"$files")" "$(wc -c <"$(file_of "$crate")")"
    done
}

# The file of a crate's package.
file_of() {
    echo "$target/package/$1-$version.crate"
}

# Prints a file of a crate's package.
unpacked() {
    tar -xzOf "$(file_of "$1")" "$1-$version/$2"
}

# What crates.io and docs.rs want to know.
has_metadata() {
    local field manifest
    manifest=$(unpacked "$1" Cargo.toml)
    for field in description readme keywords categories license rust-version all-features rustdoc-args; do
        grep -q "^$field = " <<<"$manifest" || fail "the manifest of $1 has no $field"
    done
}

# A stranger has a crate named kv-core on crates.io, with the same version number: a package that was made of that one
# has its checksum.
uses_ours() {
    local checksum dependency lock
    lock=$(unpacked "$1" Cargo.lock)
    for dependency in "${crates[@]}"; do
        [ "$dependency" != "$1" ] || continue
        grep -qx "name = \"$dependency\"" <<<"$lock" || continue
        checksum=$(sha256sum <"$(file_of "$dependency")" | cut -d ' ' -f 1)
        grep -A 3 -x "name = \"$dependency\"" <<<"$lock" | grep -q "$checksum" ||
            fail "$1 was packaged with a $dependency that is not ours"
    done
}

# Unpacks the packages side by side, where nothing else of the repository is, and builds all that is in them: library,
# programs, unit tests and examples, then the documentation with its examples. Those of kv-core need a store, which is
# published after it, so that its package cannot name one.
try_unpacked() {
    local folder=$target/unpacked crate
    rm -rf "$folder"
    mkdir -p "$folder"
    cp Cargo.lock "$folder"
    {
        printf '[workspace]\nresolver = "3"\nmembers = ["kv-*"]\n\n[patch.crates-io]\n'
        for crate in "${crates[@]}"; do
            tar -xzf "$(file_of "$crate")" -C "$folder"
            mv "$folder/$crate-$version" "$folder/$crate"
            printf '%s = { path = "%s" }\n' "$crate" "$crate"
        done
    } >"$folder/Cargo.toml"
    (
        cd "$folder"
        export CARGO_TARGET_DIR=$target/unpacked-target
        cargo check --quiet --workspace --all-features --all-targets
        RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --all-features --no-deps
        cargo test --quiet --workspace --exclude kv-core --all-features --doc
    )
}

# Publishes in order, but for the last step of each. What it says of kv-core, which is there already, is in
# CONTRIBUTING.md.
dry_run() {
    cargo publish --workspace --dry-run --no-verify --locked
}

# The names of a crate's features.
features_of() {
    awk '/^\[/ { inside = $0 == "[features]" } inside && /^[a-z]/ { print $1 }' "$1/Cargo.toml"
}

# The documentation as docs.rs makes it, on a nightly toolchain. Whatever needs a feature has to say so.
documentation() {
    RUSTDOCFLAGS="--cfg docsrs -D warnings" \
        cargo +nightly doc --workspace --all-features --no-deps --locked --target-dir "$target/docsrs"
    local crate feature
    for crate in "${crates[@]}"; do
        for feature in $(features_of "$crate"); do
            grep -rqE "Available on[^.]* feature[^.]*$feature" "$target/docsrs/doc/${crate//-/_}" ||
                fail "$crate: nothing in the documentation says that it needs the feature $feature"
        done
    done
}

# Builds everything, and tests what needs no server, with the least version of each dependency that Cargo.toml allows.
# In a copy, as it makes another Cargo.lock.
least_versions() {
    local folder=$target/least
    mkdir -p "$folder"
    find "$folder" -mindepth 1 -maxdepth 1 -not -name target -exec rm -rf {} +
    git ls-files -z | tar -c --null --files-from - | tar -x -C "$folder"
    (
        cd "$folder"
        rm Cargo.lock
        cargo +nightly -Z direct-minimal-versions generate-lockfile
        export CARGO_TARGET_DIR=$folder/target
        cargo +nightly check --workspace --all-features --all-targets --locked
        cargo +nightly test --quiet --package kv-core --package kv-memory --locked
    )
}

# No dependency in Cargo.lock may ask for a newer Rust than we do. That our own code does not, clippy sees
# (`incompatible_msrv`), in test.sh.
rust_version() {
    local ours newer
    ours=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    newer=$(cargo metadata --locked --all-features --format-version 1 |
        grep -oE '"name":"[^"]+","version":"[^"]+","id"|"rust_version":("[0-9.]+"|null)' | paste - - |
        sed -nE 's/"name":"([^"]+)","version":"([^"]+)","id"\t"rust_version":"([0-9.]+)"/\3 \1 \2/p' |
        awk -v ours="$ours" '
            function number(version, parts) {
                split(version, parts, ".")
                return parts[1] * 1000000 + parts[2] * 1000 + parts[3]
            }
            number($1) > number(ours) { print $2, $3, "asks for Rust", $1 }')
    [ -z "$newer" ] || fail "rust-version is $ours, but
$newer"
    echo "No dependency asks for a newer Rust than $ours. (Some do not say for which they ask.)"
}

# Licences, duplicates and sources. Known holes are looked up on GitHub, which not every machine may: `cargo deny check
# advisories` is for who makes the release.
licences() {
    [ "$("$tools/bin/cargo-deny" --version 2>/dev/null)" = "cargo-deny $deny" ] ||
        step cargo install --locked --root "$tools" --target-dir "$tools/target" "cargo-deny@$deny"
    # Those for other systems too, whose licences count.
    cargo fetch --locked
    "$tools/bin/cargo-deny" --offline --locked --config scripts/deny.toml check --hide-inclusion-graph \
        -D unnecessary-skip -D license-not-encountered licenses bans sources
}

# The fuzz targets are a workspace of their own, whose Cargo.lock follows our manifests.
lock_of_fuzz() {
    cargo metadata --locked --format-version 1 --manifest-path kv-conformance/fuzz/Cargo.toml >/dev/null
}

cargo +nightly --version >/dev/null 2>&1 || step rustup toolchain install nightly --profile minimal
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

step lock_of_fuzz
step package
step try_unpacked
step dry_run
step documentation
step least_versions
step rust_version
step licences
step scripts/public-api.sh --check
printf '\nAll is as a release needs it. What is left to do by hand: CONTRIBUTING.md, Release.\n'
