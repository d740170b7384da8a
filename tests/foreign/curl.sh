#!/usr/bin/env bash
# curl against the puppet of ../proto/interop.proto: curl.sh ADDRESS. With TLS if the environment says so (common.sh).
# Prints lines like those of client.py.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0
# ok NAME CONDITION...
ok() {
    local name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok $name"
    else
        failed=$((failed + 1))
        echo "FAILED $name: curl ended with $status and said: $(tr '\r\n' '  ' <"$work/errors") $(tr '\r\n' '  ' <"$work/head")"
    fi
}

# ask OPTION...: asks for the unary method. The head goes to $work/head, the body to $work/body, the outcome to $status.
ask() {
    status=0
    local url=http://$address/testing.Interop/Unary version=(--http2-prior-knowledge)
    if [ -n "${FOREIGN_TLS:-}" ]; then
        url=https://$address/testing.Interop/Unary version=(--http2 --cacert "$FOREIGN_TLS/servers.pem")
    fi
    if [ -n "${FOREIGN_MUTUAL:-}" ]; then
        version+=(--cert "$FOREIGN_TLS/client.pem" --key "$FOREIGN_TLS/client.key")
    fi
    : >"$work/head"
    : >"$work/body"
    curl -sS --max-time 20 "${version[@]}" "$@" -D "$work/head" -o "$work/body" "$url" 2>"$work/errors" || status=$?
}
# answered CODE: curl was content, over HTTP/2 with this code.
answered() { [ "$status" -eq 0 ] && grep -q "^HTTP/2 $1" "$work/head"; }
address=$1

ask -I
head_of_curl() { answered 405 && ! grep -qi '^transfer-encoding' "$work/head"; }
ok head_is_405_without_a_body head_of_curl

ask
get_of_curl() { answered 405 && [ -s "$work/body" ]; }
ok get_is_405_with_a_reason get_of_curl

# A request with the payload `curl`, prefixed, and a reply that echoes it.
printf '\0\0\0\0\6\12\4curl' >"$work/request"
ask -H 'content-type: application/grpc' -H 'te: trailers' --data-binary "@$work/request"
call_of_curl() { answered 200 && grep -q '^grpc-status: 0' "$work/head" && cmp -s "$work/request" "$work/body"; }
ok a_call_is_answered_with_its_trailers call_of_curl

ask --http1.1
if [ -z "${FOREIGN_TLS:-}" ]; then
    http_1_1_of_curl() {
        [ "$status" -eq 0 ] && grep -q '^HTTP/1.1 505' "$work/head" && grep -q 'HTTP/2' "$work/body"
    }
    ok http_1_1_reads_505_and_its_text http_1_1_of_curl
else
    # 35: the handshake failed.
    http_1_1_of_curl() { [ "$status" -eq 35 ] && grep -qi 'no application protocol' "$work/errors"; }
    ok http_1_1_is_refused_in_the_handshake http_1_1_of_curl
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
