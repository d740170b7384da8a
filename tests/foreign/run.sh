#!/usr/bin/env bash
# Our server and client against foreign peers on loopback: grpcio (the C core) both ways, h2load, and a peer over the
# package h2 that chooses its frames; then against each other, with gigabytes through flow control.
#
# Installs the packages that it needs (on Debian, as root): h2load, and a virtual environment with grpcio under the target folder.
# Everything runs once on io_uring and once with MONOIO_FORCE_LEGACY_DRIVER=1, is bounded in time, and stops by itself.
# `run.sh --python-only` connects grpcio to grpcio, which shows that the foreign side of the tests is correct.
set -euo pipefail
cd "$(dirname "$0")/../.."

GRPCIO=1.76.0
PROTOBUF=6.33.2
H2=4.4.1
# The number of checks, each counted as often as it runs: a smaller number means that some were left out.
CHECKS=238

foreign=$PWD/tests/foreign
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$target/foreign
generated=$work/generated
venv=$work/venv-$GRPCIO-$PROTOBUF-$H2
lines=$work/lines.txt

server_pid=
stop_server() {
    if [ -n "$server_pid" ]; then
        kill "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
        server_pid=
    fi
}
# A server that runs beside the others.
patient_pid=
trap 'stop_server; server_pid=$patient_pid; stop_server' EXIT

install() {
    mkdir -p "$generated"
    local missing=()
    command -v h2load >/dev/null || missing+=(nghttp2-client)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    if [ ${#missing[@]} -gt 0 ]; then
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
    fi
    if [ ! -e "$venv/complete" ]; then
        python3 -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check \
            "grpcio==$GRPCIO" "grpcio-tools==$GRPCIO" "protobuf==$PROTOBUF" "h2==$H2"
        touch "$venv/complete"
    fi
    "$venv/bin/python" -m grpc_tools.protoc -Itests/proto \
        --python_out="$generated" --grpc_python_out="$generated" tests/proto/interop.proto
}

# Without io_uring in the kernel the driver falls back to epoll silently: print which one our server runs on.
check_driver() {
    local child
    # The process that `timeout` has started.
    read -r child _ <"/proc/$server_pid/task/$server_pid/children" || true
    if find "/proc/$child/fd" -lname '*io_uring*' 2>/dev/null | grep -q .; then
        echo "our server runs on io_uring"
    elif [ -n "${MONOIO_FORCE_LEGACY_DRIVER:-}" ]; then
        echo "our server runs on epoll"
    else
        echo "our server runs on epoll: there is NO io_uring here" | tee -a "$lines"
    fi
}

# Starts a server on a free port; puts its address into $address.
start_server() {
    local log=$work/server.log
    : >"$log"
    timeout -k 5 600 "$@" >"$log" 2>&1 &
    server_pid=$!
    for _ in $(seq 100); do
        address=$(sed -n 's/^listening on //p' "$log")
        if [ -n "$address" ]; then
            case $1 in */interop_server) check_driver ;; esac
            return 0
        fi
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "the server did not start:" "$@"
    cat "$log"
    exit 1
}

# Runs one client and keeps its lines for the sum at the end. A client that fails reports it in these lines; a client that
# dies before it can report counts as another failure.
heading() { printf '\n== %s\n' "$*"; }
check() {
    local before after status=0
    before=$(grep -c '^FAILED ' "$lines" || true)
    timeout -k 5 600 "$@" | tee -a "$lines" || status=$?
    after=$(grep -c '^FAILED ' "$lines" || true)
    if [ "$status" -ne 0 ] && [ "$before" -eq "$after" ]; then
        echo "FAILED $1: ended with $status" | tee -a "$lines"
    fi
    # A server that dies while clients run is a failure too, even if the clients report none.
    if ! kill -0 "$server_pid" 2>/dev/null; then
        echo "FAILED server: died" | tee -a "$lines"
        tail -n 50 "$work/server.log"
    fi
}

python() { echo "$venv/bin/python" "$foreign/$1" "$generated"; }

grpcio_to_grpcio() {
    heading "grpcio's client, grpcio's server"
    # shellcheck disable=SC2046 # the words are meant to split
    start_server $(python server.py) 127.0.0.1:0
    # shellcheck disable=SC2046
    check $(python client.py) "$address" --of-grpcio
    stop_server
}

both_ways() {
    heading "grpcio's client, our server ($1)"
    start_server "$target/release/interop_server" 127.0.0.1:0
    # shellcheck disable=SC2046
    check $(python client.py) "$address"
    heading "h2load, our server ($1)"
    # shellcheck disable=SC2046
    check $(python load.py) "$address"
    stop_server

    heading "our client, grpcio's server ($1)"
    # shellcheck disable=SC2046
    start_server $(python server.py) 127.0.0.1:0
    check "$target/release/interop_client" "$address" --of-grpcio
    stop_server

    heading "our client, our server ($1)"
    start_server "$target/release/interop_server" 127.0.0.1:0
    check "$target/release/interop_client" "$address"
    heading "gigabytes from our client to our server and back ($1)"
    check "$target/release/interop_client" "$address" --heavy
    stop_server
}

# Peers with special behaviour: compression, a maximum age, unusual frames, limits on PINGs.
traits() {
    local encoding number pings_pid
    # A minute of waiting, beside everything else.
    # shellcheck disable=SC2046
    start_server $(python server.py) 127.0.0.1:0 grpc.http2.max_ping_strikes=1
    patient_pid=$server_pid
    "$target/release/interop_client" "$address" --of-grpcio --group=pings >"$work/pings.txt" 2>&1 &
    pings_pid=$!

    heading "grpcio's client and ours, our server that compresses ($1)"
    start_server "$target/release/interop_server" 127.0.0.1:0 --compress=gzip --compress=deflate
    # shellcheck disable=SC2046
    check $(python special.py) "$address" compression
    check "$target/release/interop_client" "$address" --group=compression \
        requests_in_every_encoding_get_replies_in_gzip
    stop_server
    for encoding in gzip deflate; do
        heading "our client, grpcio's server that compresses in $encoding ($1)"
        number=$([ $encoding = gzip ] && echo 2 || echo 1)
        # shellcheck disable=SC2046
        start_server $(python server.py) 127.0.0.1:0 grpc.default_compression_algorithm="$number"
        check "$target/release/interop_client" "$address" --of-grpcio --group=compression \
            requests_in_every_encoding_get_replies_in_$encoding \
            an_encoding_that_the_server_does_not_know_fails_its_call_alone
        stop_server
    done

    heading "grpcio's client, our server whose connections grow old ($1)"
    start_server "$target/release/interop_server" 127.0.0.1:0 --max-age-ms=300
    # shellcheck disable=SC2046
    check $(python special.py) "$address" age
    stop_server

    heading "our client, grpcio's server whose connections grow old ($1)"
    # shellcheck disable=SC2046
    start_server $(python server.py) 127.0.0.1:0 grpc.max_connection_age_ms=1000 grpc.max_connection_age_grace_ms=10000
    check "$target/release/interop_client" "$address" --of-grpcio --group=age
    stop_server

    heading "a client that chooses its frames, and one that is too eager, our server ($1)"
    start_server "$target/release/interop_server" 127.0.0.1:0
    # shellcheck disable=SC2046
    check $(python frames.py) client "$address"
    # shellcheck disable=SC2046
    check $(python special.py) "$address" pings
    stop_server

    heading "our client, a server that chooses its frames ($1)"
    # shellcheck disable=SC2046
    start_server $(python frames.py) server 127.0.0.1:0
    check "$target/release/interop_client" "$address" --group=frames
    stop_server

    heading "our client, too eager for grpcio's server ($1)"
    server_pid=$patient_pid
    local status=0
    wait "$pings_pid" || status=$?
    check sh -c "cat '$work/pings.txt'; exit $status"
    stop_server
    patient_pid=
}

install
: >"$lines"
grpcio_to_grpcio
if [ "${1:-}" = --python-only ]; then
    CHECKS=$(grep -c '^ok ' "$lines" || true)
else
    cargo build --release --locked -p tests --features compression --bin interop_server --bin interop_client
    both_ways io_uring
    traits io_uring
    export MONOIO_FORCE_LEGACY_DRIVER=1
    both_ways epoll
    traits epoll
fi

passed=$(grep -c '^ok ' "$lines" || true)
failed=$(grep -c '^FAILED ' "$lines" || true)
heading "foreign peers"
grep '^FAILED ' "$lines" || true
echo "$passed passed, $failed failed"
if grep -q 'NO io_uring' "$lines"; then
    echo "ABSENT: io_uring. Both passes ran on epoll, and io_uring was NOT tested."
fi
if [ "$failed" -eq 0 ] && [ "$passed" -ne "$CHECKS" ]; then
    echo "FAILED: not the $CHECKS checks that there should be"
fi
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] && [ "$passed" -eq "$CHECKS" ]
