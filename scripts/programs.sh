# Test programs, for scripts that run them without cargo: `source scripts/programs.sh`.
#
# Cargo runs programs one after the other. It also builds them again for a part of the workspace, because the features of
# dependencies differ then.

# Builds the test programs of the workspace. Prints a line for each: folder of the package, its version, path of the program.
# Arguments go to cargo, such as `--test conformance`.
test_programs() {
    cargo test --workspace --all-features --locked --no-run --message-format=json-render-diagnostics "$@" |
        sed -nE 's|^.*"package_id":"[^"]*#([^"@]*@)?([^"]*)","manifest_path":"([^"]*)/Cargo.toml".*"profile":\{[^}]*"test":true\}.*"executable":"([^"]*)".*$|\3 \2 \4|p'
}

# Runs one with the environment that cargo gives it: FOLDER VERSION PROGRAM [ARGUMENT...].
run_program() {
    local folder=$1 version=$2 program=$3
    shift 3
    (cd "$folder" && CARGO_MANIFEST_DIR=$folder CARGO_PKG_NAME=${folder##*/} CARGO_PKG_VERSION=$version "$program" "$@")
}
export -f run_program

# The name of a program: kv-redis/faults.
name_of_program() {
    local folder=$1 program=${3##*/}
    printf '%s/%s\n' "${folder##*/}" "${program%-*}"
}
export -f name_of_program

# Runs kv-matrix. The test `report` needs it, so that cargo builds it with features that are built already.
kv_matrix() {
    test_programs --test report >/dev/null &&
        "${CARGO_TARGET_DIR:-$PWD/target}/debug/kv-matrix" "$@"
}
