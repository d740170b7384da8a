"""h2load against the puppet of ../proto/interop.proto: load.py GENERATED ADDRESS

h2load knows HTTP/2 and nothing of gRPC: it counts every answer as a success and has no timer of its own. So the server's
handlers say what became of the calls. Prints lines like those of client.py.
"""

import re
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import secure
from puppet import pattern, pb, rpc

import grpc

CALLS, CONNECTIONS, STREAMS = 100_000, 10, 100


def h2load(request, *options):
    """Runs h2load on the unary method; returns its report."""
    message = request.SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder, "body")
        body.write_bytes(struct.pack(">BI", 0, len(message)) + message)
        command = ["h2load", *options, "-d", body, "-H", "content-type: application/grpc", "-H", "te: trailers"]
        url = f"{'https' if secure.FOLDER else 'http'}://{sys.argv[2]}/testing.Interop/Unary"
        return subprocess.run([*command, url], check=True, capture_output=True, text=True, timeout=120).stdout


def ended(stub):
    count = stub.Counters(pb.Empty(), timeout=10).methods["Unary"]
    return {name: getattr(count, name) for name in ("started", "finished", "failed", "cancelled", "expired")}


def rises(stub, before, want):
    """Waits until the handlers have seen as many ends as there should be: one may still be on its way to its end."""
    until = time.monotonic() + 5
    while True:
        after = ended(stub)
        risen = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        if risen == want:
            return
        assert time.monotonic() < until, f"{risen} in place of {want}"
        time.sleep(0.02)


def a_hundred_thousand_calls_on_ten_connections(stub):
    before = ended(stub)
    request = pb.Request(payload=pattern(100))
    report = h2load(request, "-n", f"{CALLS}", "-c", f"{CONNECTIONS}", "-m", f"{STREAMS}")
    assert f"{CALLS} succeeded, 0 failed, 0 errored, 0 timeout" in report, report
    rises(stub, before, {"started": CALLS, "finished": CALLS})
    data = int(re.search(r"\((\d+)\) data", report)[1])
    reply = 5 + pb.Reply(payload=pattern(100)).ByteSize()
    assert data == CALLS * reply, f"{data} bytes of DATA in place of {CALLS} of {reply}"
    print(re.search(r"finished in .*", report)[0])


def a_deadline_expires_at_the_server_alone(stub):
    before = ended(stub)
    started = time.monotonic()
    h2load(pb.Request(delay_ns=30 * 10**9), "-n", "1", "-c", "1", "-m", "1", "-H", "grpc-timeout: 200m")
    took = time.monotonic() - started
    # Its handler would take 30 s.
    assert 0.15 < took < 15, f"200 ms took {took:.3f} s"
    rises(stub, before, {"started": 1, "expired": 1})


def main():
    failed = 0
    checks = [a_hundred_thousand_calls_on_ten_connections, a_deadline_expires_at_the_server_alone]
    with secure.channel(sys.argv[2], module=grpc) as channel:
        stub = rpc.InteropStub(channel)
        for check in checks:
            try:
                check(stub)
            except (AssertionError, grpc.RpcError, subprocess.SubprocessError) as error:
                failed += 1
                print(f"FAILED {check.__name__}: {type(error).__name__} {error}", flush=True)
            else:
                print(f"ok {check.__name__}", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return failed > 0


sys.exit(main())
