#!/usr/bin/env bash
# gRPC-Web on loopback: the server of examples/web.rs with curl, and with clients in Python and Node; on io_uring and on epoll.
#
# `run.sh --browser` loads the example's page in headless Chromium instead, from the server's own origin and from others.
# Installs what it needs (on Debian, as root, and by `npm ci`), is bounded in time, and stops what it has started.
set -euo pipefail
cd "$(dirname "$0")/../.."

page=$PWD/examples/web
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$target/web
mkdir -p "$work"

servers=()
stop() {
    if [ ${#servers[@]} -gt 0 ]; then
        kill "${servers[@]}" 2>/dev/null || true
        wait "${servers[@]}" 2>/dev/null || true
        servers=()
    fi
}
trap stop EXIT

# Starts a server that allows pages of the origins it is given; puts its address into $address.
serve() {
    local log=$work/server-${#servers[@]}.log
    : >"$log"
    timeout -k 5 300 "$target/debug/examples/web" 127.0.0.1:0 "$@" >"$log" 2>&1 &
    servers+=($!)
    for _ in $(seq 100); do
        address=$(sed -n 's/^serving //p' "$log")
        [ -z "$address" ] || return 0
        sleep 0.1
    done
    cat "$log"
    echo "FAILED: no server"
    exit 1
}

# expect NAME TEXT: standard input must hold the text.
expect() {
    if grep -qF -- "$2" <<<"$(cat)"; then
        echo "ok $1"
    else
        echo "FAILED $1: no $2"
        exit 1
    fi
}

with_curl() {
    local post=(--data-binary "@$work/hello" -H 'content-type: application/grpc-web+proto')
    printf '\0\0\0\0\6\n\4curl' >"$work/hello"
    curl -si --max-time 10 "http://$address/healthz" | expect "curl: /healthz" SERVING
    curl -si --max-time 10 "http://$address/none" | expect "curl: an unknown path" "404 Not Found"
    curl -si --max-time 10 -I "http://$address/healthz" | expect "curl: HEAD" "content-length: 8"
    curl -si --max-time 10 "${post[@]}" -H 'Expect: 100-continue' "http://$address/helloworld.Greeter/SayHello" |
        tr -d '\0' | expect "curl: Expect: 100-continue" "100 Continue"
    curl -si --max-time 10 "${post[@]}" -H 'Transfer-Encoding: chunked' "http://$address/helloworld.Greeter/SayHello" |
        tr -d '\0' | expect "curl: a call in chunks" "Hello, curl!"
    curl -s --max-time 10 --http2-prior-knowledge "http://$address/" |
        expect "curl: HTTP/2 on the same port" "gRPC calls use the method POST"
}

npm --prefix "$page" ci --no-audit --no-fund --silent --ignore-scripts
npm --prefix "$page" run -s build
# With the features that the job of the examples builds.
cargo build --locked --quiet -p examples --examples --features tls,web

if [ "${1:-}" = --browser ]; then
    command -v chromium >/dev/null ||
        { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium >/dev/null; }
    serve
    own=$address
    serve "http://$own"
    allowed=$address
    serve "https://$own" "http://$own.evil.com" "http://${own}0"
    refused=$address
    timeout 200 node tests/web/browser.mjs "http://$own/" "http://$own/?server=http://$allowed" \
        "http://$own/?server=http://$refused" | tee "$work/browser"
    diff <(sed 1,1d <<'END'

== own
connect: Hello, connect! 3,2,1
text: Hello, text! 3,2,1
binary: Hello, binary! 3,2,1
error: [invalid_argument] a name is needed: send one
done
== allowed
connect: Hello, connect! 3,2,1
text: Hello, text! 3,2,1
binary: Hello, binary! 3,2,1
error: [invalid_argument] a name is needed: send one
done
== refused
connect: FAILED [unknown] Failed to fetch
text: FAILED Http response at 400 or 500 level, http status code: 0
binary: FAILED Http response at 400 or 500 level, http status code: 0
error: [unknown] Failed to fetch
done
END
    ) <(sed "s,^== http://$own/\$,== own,; s,^== .*$allowed,== allowed,; s,^== .*$refused,== refused," "$work/browser")
    echo "ok pages in Chromium"
    exit
fi

NODE_PATH=$page/node_modules "$page/node_modules/.bin/esbuild" tests/web/client.mjs --bundle --platform=node --format=esm \
    --outfile="$work/client.mjs" --log-level=warning
for driver in 0 1; do
    if [ "$driver" = 1 ]; then export MONOIO_FORCE_LEGACY_DRIVER=1; fi
    serve http://page.example.org
    with_curl
    timeout 60 python3 tests/web/client.py "$address" http://page.example.org
    timeout 60 node "$work/client.mjs" "http://$address"
    stop
done
echo "ok gRPC-Web"
