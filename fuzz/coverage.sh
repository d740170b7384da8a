#!/usr/bin/env bash
# Line coverage of grpc-proto by the bodies of the fuzz targets over their seeds, and over a grown corpus.
#
#   fuzz/coverage.sh [CORPUS]     CORPUS holds a folder for each target
#
# Needs llvm-profdata and llvm-cov of the compiler's LLVM (`rustc -vV`); LLVM_SUFFIX=-22 for those of Debian's llvm-22.
set -euo pipefail
cd "$(dirname "$0")"

[ $# -eq 0 ] || export FUZZ_CORPUS=$(realpath "$1")
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export CARGO_TARGET_DIR=$target/coverage
export RUSTFLAGS="-C instrument-coverage"
profiles=$CARGO_TARGET_DIR/profiles
rm -rf "$profiles"
mkdir -p "$profiles"

# Build scripts are instrumented too, and would write their profiles elsewhere.
binary=$(LLVM_PROFILE_FILE="$profiles/build-%p" cargo test --no-default-features --locked --test corpora --no-run 2>&1 |
    tee /dev/stderr | sed -n 's/.*Executable .*(\(.*\))/\1/p')
rm -f "$profiles"/build-*

report() {
    echo "== $1"
    "llvm-profdata${LLVM_SUFFIX:-}" merge -sparse "${@:2}" -o "$profiles/$1.merged"
    "llvm-cov${LLVM_SUFFIX:-}" report "$binary" -instr-profile "$profiles/$1.merged" --show-region-summary=false \
        --show-branch-summary=false ../grpc-proto/src | sed 's/  */ /g'
}

targets=$(LLVM_PROFILE_FILE="$profiles/build-list" "$binary" --list | sed -n 's/: test$//p')
for target in $targets; do
    LLVM_PROFILE_FILE="$profiles/$target.raw" "$binary" --exact "$target" > /dev/null
    report "$target" "$profiles/$target.raw" | sed -n '1p;/^TOTAL/p'
done
report all "$profiles"/*.raw
