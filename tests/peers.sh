#!/usr/bin/env bash
# Builds the benches with the peers that they are compared with, and compares our messages with those of buffa. Installs the
# packages that it needs (on Debian, as root): `protoc`, which nothing else here calls, and a C compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v protoc >/dev/null || missing+=(protobuf-compiler libprotobuf-dev)
command -v cc >/dev/null || missing+=(gcc libc6-dev)
if [ ${#missing[@]} -gt 0 ]; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

timeout 1800 cargo clippy -p benches --all-targets --features peers --locked -- -D warnings
timeout 1800 cargo test -p benches --features peers --locked --lib --tests
