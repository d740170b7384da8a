#!/usr/bin/env bash
# gRPC's interop cases, our client and server against each other, against grpcio and against grpc-js, over each of our
# runtimes; and the clients and servers of PyPI for health checks, reflection and errors with details.
#
# Everything is on loopback, is bounded in time, and stops by itself. Prints the table of cases and peers.
set -euo pipefail
cd "$(dirname "$0")/.."

GRPCIO=1.76.0
PROTOBUF=6.33.2
# Pairs of a client and a server.
COLUMNS_ALL=17
# Checks of the standard services, counted as often as they run.
STANDARD=54

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$target/interop
peers=$PWD/interop/peers
venv=$work/venv-$GRPCIO-$PROTOBUF
# As tests/foreign installs it.
modules=$target/foreign/node
results=$work/results
standard=$work/standard
log=$work/server.log
mkdir -p "$work"
: >"$results"
: >"$standard"

server_pid=
stop_server() {
    if [ -n "$server_pid" ]; then
        kill "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
        server_pid=
    fi
}
trap stop_server EXIT

install() {
    local missing=() locked=tests/foreign/js/package-lock.json
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    command -v openssl >/dev/null || missing+=(openssl)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    if [ ${#missing[@]} -gt 0 ]; then
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
    fi
    if [ ! -e "$venv/complete" ]; then
        python3 -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check "protobuf==$PROTOBUF" \
            "grpcio==$GRPCIO" "grpcio-tools==$GRPCIO" "grpcio-health-checking==$GRPCIO" \
            "grpcio-reflection==$GRPCIO" "grpcio-status==$GRPCIO"
        touch "$venv/complete"
    fi
    if ! cmp -s "$locked" "$modules/complete"; then
        mkdir -p "$modules"
        cp tests/foreign/js/package.json "$locked" "$modules/"
        npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$modules"
        cp "$locked" "$modules/complete"
    fi
    export NODE_PATH=$modules/node_modules
    "$venv/bin/python" -m grpc_tools.protoc -Iinterop/proto --include_imports \
        -o "$work/descriptors.bin" grpc/testing/test.proto puppet.proto
    # A root, and a certificate for the server.
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=interop root" \
        -keyout "$work/root.key" -out "$work/root.pem" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=interop server" \
        -keyout "$work/server.key" -out "$work/server.csr" 2>/dev/null
    openssl x509 -req -in "$work/server.csr" -CA "$work/root.pem" -CAkey "$work/root.key" -CAcreateserial -days 2 \
        -extfile <(echo "subjectAltName=DNS:foo.test.google.fr") -out "$work/server.pem" 2>/dev/null
}

# driver NAME: the environment and the flag of what follows.
driver() {
    unset MONOIO_FORCE_LEGACY_DRIVER
    runtime=--runtime=monoio
    case $1 in
        epoll) export MONOIO_FORCE_LEGACY_DRIVER=1 ;;
        tokio) runtime=--runtime=tokio ;;
    esac
}

# program PEER ROLE: puts into $command how it is run.
program() {
    case $1-$2 in
        ours-server) command=("$target/debug/server" --port=0 "$runtime") ;;
        ours-client) command=("$target/debug/client" "--server_port=$port" "$runtime" --test_case=all) ;;
        ours-standard) command=("$target/debug/standard_client" "--server_port=$port" "$runtime") ;;
        grpcio-server) command=("$venv/bin/python" "$peers/grpcio_server.py" "$work/descriptors.bin" 0) ;;
        grpcio-client) command=("$venv/bin/python" "$peers/grpcio_client.py" "$work/descriptors.bin" "127.0.0.1:$port") ;;
        grpcio-standard)
            command=("$venv/bin/python" "$peers/standard_client.py" "$work/descriptors.bin" "127.0.0.1:$port" "$server_pid") ;;
        grpc-js-server) command=(node "$peers/grpcjs_server.js" interop/proto 0) ;;
        grpc-js-client) command=(node "$peers/grpcjs_client.js" interop/proto "127.0.0.1:$port") ;;
    esac
}

# Starts a server on a free port; puts the port into $port.
start_server() {
    program "$1" server
    # The shell in the background empties it too, perhaps after the first look.
    : >"$log"
    "${command[@]}" "${@:2}" >"$log" 2>&1 &
    server_pid=$!
    for _ in $(seq 300); do
        port=$(sed -n 's/^listening on .*://p' "$log")
        if [ -n "$port" ]; then
            return 0
        fi
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.05
    done
    echo "the server did not start: ${command[*]}"
    cat "$log"
    exit 1
}

# cases PEER COLUMN [FLAG...]: runs all cases.
cases() {
    program "$1" client
    local status=0
    timeout -k 5 120 "${command[@]}" "${@:3}" 2>&1 | sed "s/^/$2\t/" >>"$results" || status=$?
    if [ "$status" -ne 0 ] && ! grep -q "^$2	FAIL" "$results"; then
        printf '%s\tFAIL empty_unary: the client ended with %d\n' "$2" "$status" >>"$results"
    fi
}

# Checks of the standard services.
checks() {
    program "$1" standard
    local status=0
    timeout -k 5 120 "${command[@]}" 2>&1 | sed "s/\$/ ($2)/" >>"$standard" || status=$?
    if [ "$status" -ne 0 ] && ! grep -q "^FAIL .*($2)" "$standard"; then
        echo "FAIL the client ended with $status ($2)" >>"$standard"
    fi
}

step() { printf '%4d s %s\n' "$SECONDS" "$1"; }

cargo build --locked -p interop --features tls
install
step "installed"
for name in io_uring epoll tokio; do
    driver "$name"
    start_server ours
    if [ "$name" = io_uring ] && ! find "/proc/$server_pid/fd" -lname '*io_uring*' 2>/dev/null | grep -q .; then
        echo "ABSENT: io_uring. Its columns ran on epoll, and io_uring was NOT tested."
    fi
    cases ours "ours to ours, $name"
    cases grpcio "grpcio to ours, $name"
    cases grpc-js "grpc-js to ours, $name"
    checks ours "ours to ours, $name"
    # It stops the server.
    checks grpcio "PyPI to ours, $name"
    stop_server
    step "our server on $name"
done
for name in io_uring tokio; do
    driver "$name"
    start_server ours --use_tls=true --tls_cert_file="$work/server.pem" --tls_key_file="$work/server.key"
    cases ours "ours to ours over TLS, $name" --use_tls=true --ca_file="$work/root.pem" \
        --server_host_override=foo.test.google.fr
    stop_server
    step "TLS on $name"
done
for peer in grpcio grpc-js; do
    start_server "$peer"
    for name in io_uring epoll tokio; do
        driver "$name"
        cases ours "ours on $name to $peer" "--of=$peer"
        [ "$peer" = grpc-js ] || checks ours "ours on $name to $peer"
    done
    stop_server
    step "the server of $peer"
done

echo
sort "$standard" | uniq
echo
failed=0
"$venv/bin/python" "$peers/table.py" "$results" || failed=1
columns=$(cut -f 1 "$results" | sort -u | wc -l)
passed=$(grep -c '^PASS ' "$standard" || true)
wrong=$(grep -c -v '^PASS ' "$standard" || true)
echo "standard services: $passed passed, $wrong failed"
if [ "$columns" -ne "$COLUMNS_ALL" ] || [ "$passed" -ne "$STANDARD" ] || [ "$wrong" -ne 0 ]; then
    echo "FAILED: there are $COLUMNS_ALL columns and $STANDARD checks of the standard services"
    failed=1
fi
exit "$failed"
