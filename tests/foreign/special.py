"""grpcio as client of servers with a trait: special.py GENERATED ADDRESS compression|age|pings

- `compression`: the server compresses replies for clients that accept that.
- `age`: the server tells its connections to go when they are a few hundred milliseconds old.
- `pings`: any server of ours, and a client whose keepalive is too eager.

Prints lines like those of client.py.
"""

import asyncio
import os
import sys
import tempfile

from checks import collect, fails, run, same
from proxy import Proxy
from puppet import pattern, pb, rpc

import grpc

SIZE = 100_000


def channel(address, *options, **arguments):
    return grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1), *options], **arguments)


# ---- compression


async def compressed(algorithm, bit, calls):
    """Runs `calls` on a channel that speaks this encoding alone; both directions must shrink to a tenth."""
    # Bit 0 is identity.
    enabled = ("grpc.compression_enabled_algorithms_bitset", 1 | 1 << bit)
    async with Proxy() as proxy, channel(proxy.address, enabled, compression=algorithm) as made:
        payloads = await calls(rpc.InteropStub(made))
        assert proxy.sent < payloads / 10, f"{proxy.sent} bytes for {payloads} sent"
        assert proxy.received < payloads / 10, f"{proxy.received} bytes for {payloads} received"


async def all_kinds(stub):
    payload = pattern(SIZE)
    request = pb.Request(payload=payload, reply_count=1)
    same((await stub.Unary(request)).payload, payload)
    summary = await stub.ClientStream(iter([request, request]))
    same((summary.messages, summary.bytes), (2, 2 * SIZE))
    same([reply.payload for reply in await collect(stub.Bidi(iter([request] * 3)))], [payload] * 3)
    replies = await collect(stub.ServerStream(pb.Request(reply_count=2, reply_size=SIZE)))
    same([reply.payload for reply in replies], [pattern(SIZE, index) for index in range(2)])
    # Small ones and empty ones between.
    sizes = [0, 10, SIZE, 1, 0, 2000]
    replies = await collect(stub.Bidi(pb.Request(payload=pattern(size), reply_count=1) for size in sizes))
    same([reply.payload for reply in replies], [pattern(size) for size in sizes])
    return 6 * SIZE


async def gzip_both_ways(_):
    await compressed(grpc.Compression.Gzip, 2, all_kinds)


async def deflate_both_ways(_):
    await compressed(grpc.Compression.Deflate, 1, all_kinds)


async def replies_are_plain_for_a_client_that_accepts_nothing(address):
    enabled = ("grpc.compression_enabled_algorithms_bitset", 1)
    async with Proxy() as proxy, channel(proxy.address, enabled) as made:
        reply = await rpc.InteropStub(made).Unary(pb.Request(reply_size=SIZE))
        same(reply.payload, pattern(SIZE))
        assert proxy.received > SIZE, proxy.received


async def a_call_may_be_compressed_on_a_channel_that_is_not(_):
    async with Proxy() as proxy, channel(proxy.address) as made:
        stub = rpc.InteropStub(made)
        for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
            summary = await stub.ClientStream(iter([pb.Request(payload=pattern(SIZE))]), compression=compression)
            same(summary.bytes, SIZE)
        assert proxy.sent < SIZE / 10, proxy.sent
        await stub.ClientStream(iter([pb.Request(payload=pattern(SIZE))]))
        assert proxy.sent > SIZE, proxy.sent


# ---- age


async def no_call_is_lost_while_connections_grow_old_and_go(_):
    async with Proxy() as proxy, channel(proxy.address) as made:
        stub = rpc.InteropStub(made)
        until = asyncio.get_running_loop().time() + 2.5
        done = 0

        async def calls(delay_ms):
            nonlocal done
            while asyncio.get_running_loop().time() < until:
                request = pb.Request(payload=b"x", delay_ns=delay_ms * 1_000_000)
                same((await stub.Unary(request)).payload, b"x", f"{delay_ms} ms")
                done += 1

        # The longest outlives the connection that it began on, which must wait for it.
        await asyncio.gather(*(calls(delay_ms) for delay_ms in (0, 1, 3, 10, 30, 100, 900)))
        assert proxy.connections >= 4, f"{proxy.connections} connections"
        print(f"   {done} calls on {proxy.connections} connections")


async def a_stream_outlives_the_age_of_its_connection(address):
    async with channel(address) as made:
        stub = rpc.InteropStub(made)
        replies = await collect(stub.ServerStream(pb.Request(reply_count=15, reply_size=10, delay_ns=100_000_000)))
        same([reply.index for reply in replies], list(range(15)))


# ---- pings


class Log:
    """What is written to the standard error meanwhile: there grpcio's core logs what it hears."""

    def __enter__(self):
        self.file = tempfile.TemporaryFile()
        self.stderr = os.dup(2)
        os.dup2(self.file.fileno(), 2)
        return self

    def __exit__(self, *_):
        os.dup2(self.stderr, 2)
        os.close(self.stderr)

    def text(self):
        self.file.seek(0)
        return self.file.read().decode(errors="replace")


async def a_keepalive_that_is_too_eager_is_told_so(address):
    eager = [
        ("grpc.keepalive_time_ms", 100),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    async with channel(address, *eager) as made:
        stub = rpc.InteropStub(made)
        await stub.EmptyCall(pb.Empty())
        with Log() as log:
            error = await fails(stub.Unary(pb.Request(delay_ns=20 * 10**9)))
        same(error.code(), grpc.StatusCode.UNAVAILABLE)
        # The status may speak of the socket that was closed after it, so the log is asked too.
        told = f"{error.details()} {log.text()}"
        assert "ENHANCE_YOUR_CALM" in told and "too_many_pings" in told, told
        # The channel connects again, less eagerly.
        await stub.EmptyCall(pb.Empty(), wait_for_ready=True, timeout=10)


GROUPS = {
    "compression": [
        gzip_both_ways,
        deflate_both_ways,
        replies_are_plain_for_a_client_that_accepts_nothing,
        a_call_may_be_compressed_on_a_channel_that_is_not,
    ],
    "age": [no_call_is_lost_while_connections_grow_old_and_go, a_stream_outlives_the_age_of_its_connection],
    "pings": [a_keepalive_that_is_too_eager_is_told_so],
}

sys.exit(asyncio.run(run(GROUPS[sys.argv[3]], sys.argv[2])))
