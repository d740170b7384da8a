#!/usr/bin/env bash
# Our server and client against foreign peers on loopback: grpcio (the C core) and grpc-js (Node's HTTP/2) both ways,
# curl, h2load, and a peer over the package h2 that chooses its frames; then against each other, with gigabytes through
# flow control. Each group runs on monoio with io_uring and with epoll, and on tokio. tls.sh does the same over TLS.
#
# It installs what it needs (on Debian, as root). Lanes run side by side; a check that waits leaves the processor to others.
# `run.sh --foreign-only` connects the foreign peers to themselves, which shows that their side of the tests is correct.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/foreign/common.sh

# The number of checks, each counted as often as it runs: a smaller number means that some were left out.
CHECKS=593

foreign_alone() {
    heading "grpcio's client, grpcio's server"
    start_server python server.py 127.0.0.1:0
    check python client.py "$address" --of-grpcio
    stop_server
    heading "grpc-js's client, grpc-js's server"
    start_server javascript server.js 127.0.0.1:0
    check javascript client.js "$address"
    stop_server
}

grpcio() {
    heading "grpcio's client, our server ($1)"
    start_server our_server 127.0.0.1:0
    check python client.py "$address"
    heading "h2load, our server ($1)"
    check python load.py "$address"
    heading "curl, our server ($1)"
    check bash "$foreign/curl.sh" "$address"
    stop_server

    heading "our client, grpcio's server ($1)"
    start_server python server.py 127.0.0.1:0
    check our_client "$address" --of=grpcio
    stop_server
}

ourselves() {
    heading "our client, our server ($1)"
    start_server our_server 127.0.0.1:0
    check our_client "$address"
    stop_server
}

grpc_js() {
    heading "grpc-js's client, our server ($1)"
    start_server our_server 127.0.0.1:0
    check javascript client.js "$address"
    stop_server
    heading "grpc-js's client, our server that compresses ($1)"
    start_server our_server 127.0.0.1:0 --compress=gzip
    check javascript client.js "$address" --group=compression
    stop_server

    heading "our client, grpc-js's server ($1)"
    start_server javascript server.js 127.0.0.1:0
    check our_client "$address" --of=grpc-js
    check our_client "$address" --of=grpc-js --group=compression \
        requests_in_every_encoding_get_plain_replies \
        an_encoding_that_the_server_does_not_know_fails_its_call_alone
    stop_server
}

# Hundreds of calls a second that their client gives up.
storms() {
    heading "storms of grpcio's client and grpc-js's, our server ($1)"
    start_server our_server 127.0.0.1:0
    check python storms.py "$address"
    check javascript client.js "$address" --group=storms
    stop_server
    heading "storms of our client, grpcio's server ($1)"
    start_server python server.py 127.0.0.1:0
    check our_client "$address" --of=grpcio --group=storms
    stop_server
    heading "storms of our client, grpc-js's server ($1)"
    start_server javascript server.js 127.0.0.1:0
    check our_client "$address" --of=grpc-js --group=storms
    stop_server
}

gigabytes() {
    heading "gigabytes from our client to our server and back ($1)"
    start_server our_server 127.0.0.1:0
    check our_client "$address" --heavy
    stop_server
}

# A minute of waiting.
pings() {
    heading "our client, too eager for grpcio's server ($1)"
    start_server python server.py 127.0.0.1:0 grpc.http2.max_ping_strikes=1
    check our_client "$address" --of=grpcio --group=pings
    stop_server
}

# Peers with special behaviour: compression, a maximum age, unusual frames, limits on PINGs.
traits() {
    local encoding number
    heading "grpcio's client and ours, our server that compresses ($1)"
    start_server our_server 127.0.0.1:0 --compress=gzip --compress=deflate
    check python special.py "$address" compression
    check our_client "$address" --group=compression requests_in_every_encoding_get_replies_in_gzip
    stop_server
    for encoding in gzip deflate; do
        heading "our client, grpcio's server that compresses in $encoding ($1)"
        number=$([ $encoding = gzip ] && echo 2 || echo 1)
        start_server python server.py 127.0.0.1:0 grpc.default_compression_algorithm="$number"
        check our_client "$address" --of=grpcio --group=compression \
            requests_in_every_encoding_get_replies_in_$encoding \
            an_encoding_that_the_server_does_not_know_fails_its_call_alone
        stop_server
    done

    heading "grpcio's client, our server whose connections grow old ($1)"
    start_server our_server 127.0.0.1:0 --max-age-ms=300
    check python special.py "$address" age
    stop_server

    heading "our client, grpcio's server whose connections grow old ($1)"
    start_server python server.py 127.0.0.1:0 grpc.max_connection_age_ms=1000 grpc.max_connection_age_grace_ms=10000
    check our_client "$address" --of=grpcio --group=age
    stop_server

    heading "a client that chooses its frames, and one that is too eager, our server ($1)"
    start_server our_server 127.0.0.1:0
    check python frames.py client "$address"
    check python special.py "$address" pings
    stop_server

    heading "our client, a server that chooses its frames ($1)"
    start_server python frames.py server 127.0.0.1:0
    check our_client "$address" --group=frames
    stop_server
}

install
if [ "${1:-}" = --foreign-only ]; then
    lane foreign none:foreign_alone
    CHECKS=56
else
    build
    for name in io_uring epoll tokio; do
        lane "pings-$name" "$name:pings"
    done
    lane grpcio none:foreign_alone {io_uring,epoll,tokio}:{grpcio,ourselves,traits}
    lane grpc-js {io_uring,epoll,tokio}:{grpc_js,storms}
    lane gigabytes {io_uring,epoll,tokio}:gigabytes
fi
sum "$CHECKS"
