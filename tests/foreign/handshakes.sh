#!/usr/bin/env bash
# openssl's s_client against our server with TLS: handshakes.sh ADDRESS. What it trusts and shows, the environment says
# (common.sh). Prints lines like those of client.py.
set -euo pipefail

address=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
shown=()
if [ -n "${FOREIGN_MUTUAL:-}" ]; then
    shown=(-cert "$FOREIGN_TLS/client.pem" -key "$FOREIGN_TLS/client.key")
fi

# [typed=LINE] says OPTION...: what openssl reports of a handshake, of what comes within half a second of it, and of LINE, a
# command for openssl, within as long again.
says() {
    { sleep 0.5; [ -z "${typed:-}" ] || { echo "$typed"; sleep 0.5; }; } | timeout 20 openssl s_client -connect "$address" -CAfile "$FOREIGN_TLS/servers.pem" \
        -verify_return_error -verify_ip 127.0.0.1 "$@" >"$work/said" 2>&1 || true
}
passed=0
failed=0
# ok NAME PATTERN...: each of the patterns is in what openssl has said.
ok() {
    local name=$1 pattern
    shift
    for pattern in "$@"; do
        if ! grep -qE -e "$pattern" "$work/said"; then
            failed=$((failed + 1))
            echo "FAILED $name: openssl did not say /$pattern/ but: $(tr '\n' ' ' <"$work/said" | cut -c 1-1500)"
            return
        fi
    done
    passed=$((passed + 1))
    echo "ok $name"
}

says "${shown[@]}" -alpn h2
ok h2_is_chosen_and_the_certificate_is_trusted '^ALPN protocol: h2' 'Verification: OK' 'TLSv1\.3'
says "${shown[@]}" -alpn http/1.1,h2
ok h2_is_chosen_among_others '^ALPN protocol: h2'
says "${shown[@]}" -alpn http/1.1
ok http_1_1_alone_is_refused_with_no_application_protocol 'SSL alert number 120'
says "${shown[@]}" -tls1_2 -alpn h2
ok tls_1_2_is_served '^ALPN protocol: h2' 'Protocol *: TLSv1\.2' 'Verification: OK'
typed=R says "${shown[@]}" -tls1_2 -alpn h2
ok renegotiation_is_refused '^ALPN protocol: h2' 'RENEGOTIATING' 'no renegotiation'
says "${shown[@]}" -tls1_1 -cipher 'DEFAULT@SECLEVEL=0' -alpn h2
# protocol_version; or handshake_failure, for it offers no suite that could be taken.
ok tls_1_1_is_refused 'SSL alert number (70|40)'
if [ -z "${FOREIGN_MUTUAL:-}" ]; then
    says -alpn h2 -sess_out "$work/session"
    says -alpn h2 -sess_in "$work/session"
    ok a_session_is_resumed '^Reused, TLSv1\.3'
    printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' >"$work/early"
    says -alpn h2 -sess_in "$work/session" -early_data "$work/early"
    ok a_resumed_session_takes_no_0_rtt_data '^Reused, TLSv1\.3' 'Max Early Data: 0' 'Early data was not sent'
else
    says -alpn h2
    ok a_client_without_a_certificate_is_refused_with_certificate_required 'SSL alert number 116'
    says -alpn h2 -cert "$FOREIGN_TLS/stranger.pem" -key "$FOREIGN_TLS/stranger.key"
    ok a_client_of_another_authority_is_refused_with_unknown_ca 'SSL alert number 48'
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
