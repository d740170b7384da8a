"""Checks of gRPC-Web with the standard library alone: `client.py ADDRESS ALLOWED_ORIGIN`.

`ADDRESS` is that of `examples/web.rs`, which allows pages of `ALLOWED_ORIGIN`. Each check prints a line.
"""

import base64
import http.client
import socket
import sys

ADDRESS, ORIGIN = sys.argv[1], sys.argv[2]
HELLO, START = "/helloworld.Greeter/SayHello", "/countdown.Countdown/Start"
BINARY, TEXT = "application/grpc-web+proto", "application/grpc-web-text"


def frame(message):
    return b"\0" + len(message).to_bytes(4, "big") + message


def hello(name):
    return frame(b"\x0a" + bytes([len(name)]) + name)


def split(body):
    """The messages of a body, and its trailers."""
    messages = []
    while True:
        flag, length = body[0], int.from_bytes(body[1:5], "big")
        payload, body = body[5 : 5 + length], body[5 + length :]
        if flag & 0x80:
            assert not body, "trailers come last"
            lines = payload.decode("ascii").split("\r\n")
            return messages, dict(line.split(": ", 1) for line in lines if line)
        messages.append(payload)


def decode(text):
    """Base64 in pieces, each with its padding."""
    return b"".join(base64.b64decode(text[at : at + 4], validate=True) for at in range(0, len(text), 4))


def call(connection, path, body, kind=BINARY, chunked=False, **fields):
    fields = {name.replace("_", "-"): value for name, value in fields.items()}
    if chunked:
        pieces = iter([body[at : at + 3] for at in range(0, len(body), 3)])
        connection.request("POST", path, pieces, {"content-type": kind, **fields}, encode_chunked=True)
    else:
        connection.request("POST", path, body, {"content-type": kind, **fields})
    response = connection.getresponse()
    return response, response.read()


def raw(text):
    with socket.create_connection(ADDRESS.rsplit(":", 1), timeout=10) as peer:
        peer.sendall(text)
        seen = b""
        while part := peer.recv(65536):
            seen += part
    return seen


def check(name, passed):
    print(f"{'ok' if passed else 'FAILED'} {name}")
    if not passed:
        sys.exit(1)


def main():
    connection = http.client.HTTPConnection(ADDRESS, timeout=10)
    reply = (b"\x0a\x0aHello, py!", {"grpc-status": "0"})

    response, body = call(connection, HELLO, hello(b"py"))
    check("unary", (response.getheader("content-type"), split(body)) == (BINARY, ([reply[0]], reply[1])))
    sock = connection.sock
    response, body = call(connection, HELLO, base64.b64encode(hello(b"py")[:4]) + base64.b64encode(hello(b"py")[4:]), TEXT)
    check("unary text, in pieces", split(decode(body)) == ([reply[0]], reply[1]))
    response, body = call(connection, HELLO, hello(b"py"), chunked=True)
    check("unary in chunks", split(body) == ([reply[0]], reply[1]))
    start = frame(b"\x08\x03\x10\x05")
    for kind in (BINARY, TEXT):
        response, body = call(connection, START, start if kind == BINARY else base64.b64encode(start), kind)
        messages, trailers = split(body if kind == BINARY else decode(body))
        check(f"stream {kind}", (messages, trailers) == ([b"\x08\x03", b"\x08\x02", b"\x08\x01"], {"grpc-status": "0"}))
    response, body = call(connection, HELLO, frame(b""))
    trailers = split(body)[1]
    check("an error in the body", response.status == 200 and trailers["grpc-status"] == "3" and "name" in trailers["grpc-message"])
    response, body = call(connection, START, frame(b"\x08\x03\x10\x90\x4e"), grpc_timeout="100m")
    messages, trailers = split(body)
    check("a deadline", (len(messages), trailers["grpc-status"]) == (1, "4"))
    check("one connection for all", connection.sock is sock)

    response, body = call(connection, HELLO, hello(b"py"), origin=ORIGIN)
    check("an allowed origin", response.getheader("access-control-allow-origin") == ORIGIN)
    response, body = call(connection, HELLO, hello(b"py"), origin="http://127.0.0.1.evil.com")
    check("another origin", (response.status, response.getheader("access-control-allow-origin")) == (403, None))
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "x-grpc-web,content-type"}
    for origin, status in ((ORIGIN, 204), (ORIGIN + "0", 403)):
        connection.request("OPTIONS", HELLO, headers={"origin": origin, **preflight})
        response = connection.getresponse()
        response.read()
        check(f"a preflight of {origin}", response.status == status)

    get = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
    last = get.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    check("pipelined requests", raw(get * 9 + last).count(b"SERVING\n") == 10)
    smuggled = raw(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get)
    check("smuggling", smuggled.startswith(b"HTTP/1.1 400 ") and b"SERVING" not in smuggled)
    check("HTTP/1.0", raw(b"GET /healthz HTTP/1.0\r\n\r\n").endswith(b"SERVING\n"))


main()
