#!/usr/bin/env bash
# What run.sh does, over TLS and over mutual TLS: grpcio and grpc-js both ways, curl, h2load, and openssl's handshakes;
# on monoio with io_uring and with epoll, and on tokio. openssl makes the certificates at the start.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/foreign/common.sh

# The number of checks, each counted as often as it runs: a smaller number means that some were left out.
CHECKS=562

export FOREIGN_TLS=$work/certificates

authority() { # NAME
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$1" \
        -keyout "$FOREIGN_TLS/$1.key" -out "$FOREIGN_TLS/$1.pem" 2>/dev/null
}

signed() { # NAME AUTHORITY SUBJECT-ALT-NAME USAGE
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
        -keyout "$FOREIGN_TLS/$1.key" -out "$FOREIGN_TLS/$1.csr" 2>/dev/null
    printf 'subjectAltName=%s\nextendedKeyUsage=%s\n' "$3" "$4" >"$FOREIGN_TLS/$1.ext"
    openssl x509 -req -in "$FOREIGN_TLS/$1.csr" -days 2 -extfile "$FOREIGN_TLS/$1.ext" -out "$FOREIGN_TLS/$1.pem" \
        -CA "$FOREIGN_TLS/$2.pem" -CAkey "$FOREIGN_TLS/$2.key" -CAcreateserial 2>/dev/null
}

certificates() {
    rm -rf "$FOREIGN_TLS"
    mkdir -p "$FOREIGN_TLS"
    authority servers
    authority clients
    signed server servers DNS:localhost,IP:127.0.0.1 serverAuth
    signed client clients URI:spiffe://example.org/foreign clientAuth
    # A client of an authority that signs no clients.
    signed stranger servers URI:spiffe://example.org/foreign clientAuth
}

foreign_alone() {
    export FOREIGN_MUTUAL=1
    heading "grpcio's client, grpcio's server, mutual TLS"
    start_server python server.py 127.0.0.1:0
    check python client.py "$address" --of-grpcio empty_call ten_thousand_mixed_calls_at_once
    stop_server
    heading "grpc-js's client, grpc-js's server, mutual TLS"
    start_server javascript server.js 127.0.0.1:0
    check javascript client.js "$address" empty_call ten_thousand_mixed_calls_at_once
    stop_server
    unset FOREIGN_MUTUAL
}

# All that any TLS has to show.
both_ways() { # DRIVER WHAT
    heading "grpcio's client, our server ($1, $2)"
    start_server our_server 127.0.0.1:0
    check python client.py "$address"
    heading "curl and openssl, our server ($1, $2)"
    check bash "$foreign/curl.sh" "$address"
    check bash "$foreign/handshakes.sh" "$address"
    stop_server

    heading "our client, grpcio's server ($1, $2)"
    start_server python server.py 127.0.0.1:0
    check our_client "$address" --of=grpcio
    stop_server
}

tls() {
    both_ways "$1" TLS
    heading "h2load, our server ($1, TLS)"
    start_server our_server 127.0.0.1:0
    check python load.py "$address"
    stop_server
}

mutual_tls() {
    export FOREIGN_MUTUAL=1
    both_ways "$1" "mutual TLS"
    unset FOREIGN_MUTUAL
}

grpc_js() {
    export FOREIGN_MUTUAL=1
    heading "grpc-js's client, our server ($1, mutual TLS)"
    start_server our_server 127.0.0.1:0
    check javascript client.js "$address"
    stop_server
    heading "our client, grpc-js's server ($1, mutual TLS)"
    start_server javascript server.js 127.0.0.1:0
    check our_client "$address" --of=grpc-js
    stop_server
    unset FOREIGN_MUTUAL
}

install
build
certificates
lane alone none:foreign_alone {io_uring,epoll,tokio}:tls
lane mutual {io_uring,epoll,tokio}:mutual_tls
lane grpc-js {io_uring,epoll,tokio}:grpc_js
sum "$CHECKS"
