"""grpcio as a client that gives calls up, hundreds a second: storms.py GENERATED ADDRESS

Beside a storm a stream stays open, and ordinary calls go on over the same connection: none of them may fail. Prints
lines like those of client.py.
"""

import asyncio
import sys
import time

from checks import fails, run, same
from proxy import Proxy
from puppet import INITIAL, pattern, pb, rpc
from secure import channel

import grpc

CALLS, PER_SECOND = 2500, 500
# A server that lets 1000 resets pass and then 33 a second has ended the connection by then.
LIMIT_S = 20
SLOW = pb.Request(delay_ns=60 * 10**9, reply_count=1)


class Neighbour:
    """A stream that stays open, and a call each few milliseconds."""

    def __init__(self, stub):
        self.stub, self.calls, self.stop, self.index = stub, 0, False, 0

    async def __aenter__(self):
        self.stream = self.stub.Bidi()
        await self.turn()
        self.task = asyncio.create_task(self.ordinary())
        return self

    async def __aexit__(self, kind, error, trace):
        self.stop = True
        await self.task
        assert self.calls > 0, "no calls beside the storm"
        # It still answers, so its connection has not ended.
        await self.turn()
        await self.stream.done_writing()
        same(await self.stream.read(), grpc.aio.EOF)
        same(await self.stream.code(), grpc.StatusCode.OK)

    async def turn(self):
        payload = pattern(100, self.index)
        await self.stream.write(pb.Request(payload=payload, reply_count=1))
        same(await self.stream.read(), pb.Reply(payload=payload, index=self.index), "the open stream")
        self.index += 1

    async def ordinary(self):
        while not self.stop:
            payload = pattern(1000, self.calls)
            same((await self.stub.Unary(pb.Request(payload=payload), timeout=10)).payload, payload)
            self.calls += 1
            await asyncio.sleep(0.005)


async def storm(stub, one):
    async with Neighbour(stub) as neighbour:
        started = time.monotonic()

        async def call(index):
            await asyncio.sleep(started + index / PER_SECOND - time.monotonic())
            await one()

        await asyncio.gather(*(call(index) for index in range(CALLS)))
        took = time.monotonic() - started
    assert took < LIMIT_S, f"{CALLS} calls took {took:.1f} s: too slow to be a storm"
    print(f"   {CALLS} calls given up in {took:.1f} s, beside {neighbour.calls} others")


async def count(stub, method):
    return (await stub.Counters(pb.Empty(), timeout=10)).methods[method]


async def ends(stub, method, before, calls):
    """Waits until that many more handlers have been dropped."""
    until = time.monotonic() + 5
    while True:
        after = await count(stub, method)
        dropped = after.cancelled + after.expired - before.cancelled - before.expired
        if dropped == calls:
            return
        assert time.monotonic() < until, f"{dropped} handlers dropped in place of {calls}"
        await asyncio.sleep(0.02)


async def calls_cancelled_after_their_headers_disturb_no_other(stub):
    before = await count(stub, "ServerStream")

    async def one():
        call = stub.ServerStream(SLOW, metadata=[(f"{INITIAL}n", "1")])
        assert (f"{INITIAL}n", "1") in list(await call.initial_metadata())
        call.cancel()

    await storm(stub, one)
    await ends(stub, "ServerStream", before, CALLS)


async def calls_of_twenty_milliseconds_disturb_no_other(stub):
    async def one():
        error = await fails(stub.Unary(SLOW, timeout=0.02))
        # Where the server's reset comes first, grpcio says CANCELLED.
        assert error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED), error

    await storm(stub, one)


def on_one_connection(check):
    """A channel connects again where its connection was ended, so the connections are counted."""

    async def counted():
        async with Proxy() as proxy, channel(proxy.address, ("grpc.use_local_subchannel_pool", 1)) as made:
            await check(rpc.InteropStub(made))
            same(proxy.connections, 1, "connections")

    counted.__name__ = check.__name__
    return counted


CHECKS = [calls_cancelled_after_their_headers_disturb_no_other, calls_of_twenty_milliseconds_disturb_no_other]

sys.exit(asyncio.run(run([on_one_connection(check) for check in CHECKS])))
