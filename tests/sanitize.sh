#!/usr/bin/env bash
# Runs the tests of grpc-arena, the one crate with unsafe code, and those of generated messages under AddressSanitizer;
# prints their output. Uses a nightly toolchain, or makes a stable one accept the flag: it ships the runtime too.
set -euo pipefail
cd "$(dirname "$0")/.."

toolchain=(cargo +nightly)
if ! "${toolchain[@]}" --version >/dev/null 2>&1; then
    echo "no nightly toolchain: the stable one with RUSTC_BOOTSTRAP=1"
    toolchain=(env RUSTC_BOOTSTRAP=1 cargo)
fi
# Fewer random cases, as everything is slower here.
export RUSTFLAGS="-Zsanitizer=address" PROPTEST_CASES=${PROPTEST_CASES:-64} TORTURE_STEPS=${TORTURE_STEPS:-50000}
# A test requests more memory than can exist, and expects an error.
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1
target=x86_64-unknown-linux-gnu
sanitized() {
    "${toolchain[@]}" test --locked --target "$target" --target-dir "${CARGO_TARGET_DIR:-target}/sanitized" "$@"
}
sanitized -p grpc-arena --lib --test foreign --test codec --features std
# Values, limits, messages by hand, allocations; and random, mutated and cut bytes beside prost.
sanitized -p tests --test 'messages_*'
