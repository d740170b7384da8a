#!/usr/bin/env bash
# Runs every example on loopback. Examples that serve until they are stopped run beside a client. Each example asserts its
# results, or its output is checked.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$(mktemp -d)
server_pid=
stop() {
    if [ -n "$server_pid" ]; then
        kill "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap stop EXIT

cargo build --locked -p examples --examples --features tls,web
cargo build --locked -p grpc-sim --example simulated_greeter
examples=$target/debug/examples

says() {
    local name=$1 words=$2
    shift 2
    timeout 60 "$examples/$name" "$@" >"$work/$name" 2>&1 || { cat "$work/$name" && echo "FAILED $name" && exit 1; }
    grep -qF "$words" "$work/$name" || { cat "$work/$name" && echo "FAILED $name: not a word of $words" && exit 1; }
    echo "ok $name $*"
}

# Starts an example that serves on a free port; puts its address into $address.
serves() {
    local log=$work/server
    : >"$log"
    timeout 120 "$@" >"$log" 2>&1 &
    server_pid=$!
    for _ in $(seq 100); do
        address=$(sed -n 's/^serving //p' "$log")
        [ -z "$address" ] || return 0
        sleep 0.1
    done
    cat "$log"
    echo "FAILED $1: does not serve"
    exit 1
}

says greeter "Hello, 世界!"
says route_guide "8 points, 8 features"
says prost_messages "Hello"
says tokio_greeter "Hello, tokio!"
for said in "health: SERVING" "Hello, operators!" "INVALID_ARGUMENT: name must not be empty" \
    'grpc_server_call_started_total{grpc_method="helloworld.Greeter/SayHello"} 2'; do
    says standard "$said"
done
says elsewhere "tokio: true"
says shared_channel "Hello, task 3!"
says shared_channel "Hello, all!"
says secure "the server saw spiffe://example.org/web"
says secure "Hello, world!"
says secure "CertificateRequired"
says simulated_greeter "[Ok, Unavailable, Ok]"
for counted in "0->1" "1->3" "3->6" "6->10"; do
    says service_stack "counter: $counted"
done

serves "$examples/blocking" 127.0.0.1:0
says greeter "Hello, 世界!" call "$address"
kill "$server_pid"
wait "$server_pid" || true

serves "$examples/guarded" serve 127.0.0.1:0
says guarded "Hello, world, says Ann!" call "$address"
# It ends by itself at SIGTERM, which `timeout` passes on.
kill -TERM "$server_pid"
if ! wait "$server_pid" || ! grep -q '^stopped$' "$work/server"; then
    cat "$work/server"
    echo "FAILED guarded: no graceful stop"
    exit 1
fi
server_pid=
echo "ok guarded stops gracefully"
