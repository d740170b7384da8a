#!/usr/bin/env bash
# The example `http2` of grpc-proto with foreign peers on loopback: curl, nghttp and h2load against its server, and its
# client against nghttpd. Installs the packages that it needs (on Debian, as root) and stops by itself.
set -euo pipefail
cd "$(dirname "$0")/../.."

missing=()
command -v curl >/dev/null || missing+=(curl)
command -v nghttp >/dev/null || missing+=(nghttp2-client)
command -v nghttpd >/dev/null || missing+=(nghttp2-server)
if [ ${#missing[@]} -gt 0 ]; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

cargo build -q --locked -p grpc-proto --example http2
http2=$(realpath -m "${CARGO_TARGET_DIR:-target}")/debug/examples/http2
work=$(mktemp -d)
pids=()
# shellcheck disable=SC2317 # called by the trap
stop() {
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [ "$failed" -ne 0 ]; then
        tail -n 30 "$work"/*.log
    fi
    rm -rf "$work"
}
failed=1
trap stop EXIT

# ok NAME CONDITION...: one line for each check. A command whose output is checked may have failed, hence `|| true`.
ok() {
    local name=$1
    shift
    if "$@"; then echo "ok $name"; else
        echo "FAILED $name"
        failed=1
    fi
}

timeout 120 "$http2" serve 127.0.0.1:0 >"$work/server.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
    address=$(sed -n 's/^listening on //p' "$work/server.log")
    [ -z "$address" ] || break
    sleep 0.1
done
if [ -z "$address" ]; then
    echo "FAILED our server did not start"
    exit 1
fi
url=http://$address
failed=0
for _ in $(seq 400); do echo 'plain HTTP/2'; done >"$work/expected"

timeout 20 curl -sS --http2-prior-knowledge -D "$work/head" -o "$work/body" "$url/a/path?query" || true
ok curl_get cmp -s "$work/body" "$work/expected"
ok curl_head_is_200 grep -q '^HTTP/2 200' "$work/head"
head -c 300000 /dev/zero >"$work/upload"
code=$(timeout 20 curl -sS --http2-prior-knowledge -o /dev/null -w '%{http_code}' --data-binary "@$work/upload" "$url/") || true
ok curl_posts_300_kilobytes test "$code" = 200
code=$(timeout 20 curl -sS --http2-prior-knowledge -I -o /dev/null -w '%{http_code}' "$url/") || true
ok curl_head_request test "$code" = 200

timeout 20 nghttp "$url/" >"$work/body" || true
ok nghttp_get cmp -s "$work/body" "$work/expected"
# Windows of 128 bytes: the body needs forty of them.
timeout 20 nghttp -w 7 -W 7 "$url/" >"$work/body" || true
ok nghttp_small_windows cmp -s "$work/body" "$work/expected"

timeout 60 h2load -n 20000 -c 10 -m 100 "$url/" >"$work/load" || true
ok h2load_20000_requests grep -q '20000 succeeded, 0 failed, 0 errored, 0 timeout' "$work/load"

mkdir "$work/docs"
head -c 200000 /dev/urandom >"$work/docs/file"
# It does not print a port that the system chooses: try until one is free.
nghttpd=
for _ in $(seq 20); do
    port=$((20000 + RANDOM % 12000))
    timeout 60 nghttpd --no-tls -d "$work/docs" "$port" >"$work/nghttpd.log" 2>&1 &
    pid=$!
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || break
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            nghttpd=http://127.0.0.1:$port
            break
        fi
        sleep 0.1
    done
    # Another program that has the port already would answer too.
    if [ -n "$nghttpd" ] && kill -0 "$pid" 2>/dev/null; then
        pids+=("$pid")
        break
    fi
    kill "$pid" 2>/dev/null || true
    nghttpd=
done
ok nghttpd_listens test -n "$nghttpd"
timeout 20 "$http2" get "$nghttpd/file" >"$work/body" 2>"$work/head" || true
ok get_from_nghttpd cmp -s "$work/body" "$work/docs/file"
ok get_says_200 grep -q '^200 ' "$work/head"
timeout 20 "$http2" get "$nghttpd/nowhere" >/dev/null 2>"$work/head" || true
ok get_says_404 grep -q '^404 ' "$work/head"
timeout 20 "$http2" get "$url/" >"$work/body" 2>/dev/null || true
ok get_from_ourselves cmp -s "$work/body" "$work/expected"

# say BYTES: what our server answers to bytes that printf writes, as hexadecimal digits. The peer half-closes.
say() {
    python3 - "${address%:*}" "${address##*:}" "$1" <<'END' || true
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as peer:
    peer.sendall(bytes.fromhex(sys.argv[3]))
    answer = b""
    while part := peer.recv(65536):
        answer += part
print(answer.hex())
END
}
preface=$(printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' | od -An -v -tx1 | tr -d ' \n')
settings=000000040000000000
# A PING of seven octets: GOAWAY of stream 0 with FRAME_SIZE_ERROR.
answer=$(say "$preface${settings}00000706000000000000000000000000")
ok a_connection_error_is_said_in_a_goaway grep -q '0700000000000000000000000006' <<<"$answer"
# The same with much behind it that is not read any more.
rest=$(head -c 50000 /dev/zero | od -An -v -tx1 | tr -d ' \n')
answer=$(say "$preface${settings}00000706000000000000000000000000$rest")
ok a_goaway_survives_input_behind_the_error grep -q '0700000000000000000000000006' <<<"$answer"

# A server that answers, and breaks a rule before it closes: the client says so, and has the body all the same.
python3 - >"$work/rude.log" <<'END' &
import socket
with socket.create_server(("127.0.0.1", 0)) as listener:
    print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    listener.settimeout(20)
    peer, _ = listener.accept()
    peer.settimeout(5)
    peer.recv(65536)
    answer = bytes.fromhex("000000040000000000" "000001010400000001" "88" "000002000100000001") + b"ok"
    peer.sendall(answer)
    while peer.recv(65536):
        pass
    # A PING of seven octets, once the client has half-closed.
    peer.sendall(bytes.fromhex("00000706000000000000000000000000"))
END
pids+=($!)
for _ in $(seq 100); do
    rude=$(sed -n 's/^listening on //p' "$work/rude.log")
    [ -z "$rude" ] || break
    sleep 0.1
done
timeout 20 "$http2" get "http://$rude/" >"$work/body" 2>"$work/head" || true
ok a_client_has_the_answer_of_a_rude_server test "$(cat "$work/body")" = ok
ok a_client_checks_the_last_frames_of_a_server grep -q 'RFC 9113 6' "$work/head"

exit "$failed"
