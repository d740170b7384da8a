# shellcheck shell=bash
# Sourced by run.sh and tls.sh: what they install, and how servers, checks and lanes run.
#
# The environment of a program says how it is set up, ours and foreign ones alike:
#
#   MONOIO_FORCE_LEGACY_DRIVER  monoio on epoll in the place of io_uring
#   FOREIGN_ADAPTER=tokio       our programs on tokio in the place of monoio
#   FOREIGN_TLS=FOLDER          TLS with the certificates in this folder
#   FOREIGN_MUTUAL=1            and clients that show theirs
#
# Everything is on loopback, is bounded in time, and stops by itself.

GRPCIO=1.76.0
PROTOBUF=6.33.2
H2=4.4.1

foreign=$PWD/tests/foreign
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$target/foreign
generated=$work/generated
venv=$work/venv-$GRPCIO-$PROTOBUF-$H2
modules=$work/node
lanes=$work/lanes-$(basename "$0" .sh)
rm -rf "$lanes"
mkdir -p "$lanes"

server_pid=
stop_server() {
    if [ -n "$server_pid" ]; then
        kill "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
        server_pid=
    fi
}
trap stop_server EXIT

# On Debian, as root, what is missing of the system; grpcio and grpc-js go under the target folder.
install() {
    mkdir -p "$generated"
    local missing=()
    command -v curl >/dev/null || missing+=(curl)
    command -v h2load >/dev/null || missing+=(nghttp2-client)
    command -v openssl >/dev/null || missing+=(openssl)
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
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
    if ! cmp -s "$foreign/js/package-lock.json" "$modules/complete"; then
        mkdir -p "$modules"
        cp "$foreign/js/package.json" "$foreign/js/package-lock.json" "$modules/"
        npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$modules"
        cp "$modules/package-lock.json" "$modules/complete"
    fi
    export NODE_PATH=$modules/node_modules
    "$venv/bin/python" -m grpc_tools.protoc -Itests/proto \
        --python_out="$generated" --grpc_python_out="$generated" tests/proto/interop.proto
}

build() {
    cargo build --release --locked -p tests --features compression,tls --bin interop_server --bin interop_client
}

# bounded COMMAND...: puts into $command how a program is run for ten minutes at most. The first four are those of this
# folder, and ours.
bounded() {
    case $1 in
        python) command=("$venv/bin/python" "$foreign/$2" "$generated" "${@:3}") ;;
        javascript) command=(node "$foreign/js/$2" "${@:3}") ;;
        our_server) command=("$target/release/interop_server" "${@:2}") ;;
        our_client) command=("$target/release/interop_client" "${@:2}") ;;
        *) command=("$@") ;;
    esac
    command=(timeout -k 5 600 "${command[@]}")
}

# Without io_uring in the kernel monoio takes epoll: print which one our server runs on.
check_driver() {
    local child
    # The process that `timeout` has started.
    read -r child _ <"/proc/$server_pid/task/$server_pid/children" || true
    if [ "${FOREIGN_ADAPTER:-}" = tokio ]; then
        echo "our server runs on tokio"
    elif find "/proc/$child/fd" -lname '*io_uring*' 2>/dev/null | grep -q .; then
        echo "our server runs on io_uring"
    elif [ -n "${MONOIO_FORCE_LEGACY_DRIVER:-}" ]; then
        echo "our server runs on epoll"
    else
        echo "our server runs on epoll: there is NO io_uring here" | tee -a "$lines"
    fi
}

# Starts a server on a free port; puts its address into $address.
start_server() {
    : >"$log"
    bounded "$@"
    "${command[@]}" >"$log" 2>&1 &
    server_pid=$!
    for _ in $(seq 300); do
        address=$(sed -n 's/^listening on //p' "$log")
        if [ -n "$address" ]; then
            [ "$1" != our_server ] || check_driver
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
    bounded "$@"
    "${command[@]}" | tee -a "$lines" || status=$?
    after=$(grep -c '^FAILED ' "$lines" || true)
    if [ "$status" -ne 0 ] && [ "$before" -eq "$after" ]; then
        echo "FAILED $*: ended with $status" | tee -a "$lines"
    fi
    # A server that dies while clients run is a failure too, even if the clients report none.
    if ! kill -0 "$server_pid" 2>/dev/null; then
        echo "FAILED server: died" | tee -a "$lines"
        tail -n 50 "$log"
    fi
}

# driver NAME: the environment of what follows.
driver() {
    unset MONOIO_FORCE_LEGACY_DRIVER FOREIGN_ADAPTER
    case $1 in
        epoll) export MONOIO_FORCE_LEGACY_DRIVER=1 ;;
        tokio) export FOREIGN_ADAPTER=tokio ;;
    esac
}

# lane NAME STEP...: runs steps one after another, beside the other lanes. A step is DRIVER:GROUP, and a group a function
# that gets the driver's name.
pids=()
lane() {
    local name=$1
    shift
    (
        trap stop_server EXIT
        lines=$lanes/$name.lines
        log=$lanes/$name.server
        : >"$lines"
        for step in "$@"; do
            started=$SECONDS
            before=$(grep -c '^ok ' "$lines" || true)
            driver "${step%%:*}"
            "${step#*:}" "${step%%:*}"
            after=$(grep -c '^ok ' "$lines" || true)
            printf '%-10s %-20s %4d passed %4d s\n' "${step%%:*}" "${step#*:}" \
                $((after - before)) $((SECONDS - started)) >>"$lanes/table"
        done
    ) >"$lanes/$name.log" 2>&1 &
    pids+=("$name:$!")
}

# Waits for the lanes, prints what they have printed, and sums up: there should be so many checks.
sum() {
    local checks=$1 passed failed=0 died=0 entry
    for entry in "${pids[@]}"; do
        if ! wait "${entry#*:}"; then
            died=$((died + 1))
            echo "FAILED the lane ${entry%%:*} did not end well" >>"$lanes/${entry%%:*}.lines"
        fi
        cat "$lanes/${entry%%:*}.log"
    done
    heading "foreign peers"
    sort "$lanes/table"
    passed=$(cat "$lanes"/*.lines | grep -c '^ok ' || true)
    failed=$(cat "$lanes"/*.lines | grep -c '^FAILED ' || true)
    cat "$lanes"/*.lines | grep '^FAILED ' || true
    echo "$passed passed, $failed failed in $SECONDS s"
    if grep -q 'NO io_uring' "$lanes"/*.lines; then
        echo "ABSENT: io_uring. Its passes ran on epoll, and io_uring was NOT tested."
    fi
    if [ "$failed" -eq 0 ] && [ "$passed" -ne "$checks" ]; then
        echo "FAILED: not the $checks checks that there should be"
    fi
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] && [ "$passed" -eq "$checks" ]
}
