"""The puppet of ../proto/interop.proto on grpcio: server.py GENERATED ADDRESS [OPTION=NUMBER...]

Options are those of grpcio's channels. Prints `listening on ADDRESS` when it does, with the port it was given if it asked for 0, and stops on SIGTERM.
"""

import asyncio
import contextlib
import os
import signal
import sys
import zlib

from puppet import DETAILS, INITIAL, TRAILING, pattern, pb, rpc
from secure import add_port

import grpc

# The client's own timer and ours start a network apart, and a busy machine puts them further apart: a handler that is
# dropped this close to its deadline expired. Calls that are cancelled have no deadline, or one an hour away.
NEAR_S = 0.1

# grpcio ends the requests when the call ends, however it does, and throws the cancellation a moment later.
CANCELLATION_S = 0.005

CODES = {code.value[0]: code for code in grpc.StatusCode}


class Asked(Exception):
    """The failure that a request asked for."""

    def __init__(self, failure: pb.Failure):
        super().__init__()
        self.failure = failure


class Puppet(rpc.InteropServicer):
    def __init__(self):
        names = ["EmptyCall", "Unary", "ServerStream", "ClientStream", "Bidi"]
        self.counts = {name: pb.Count() for name in names}

    @contextlib.asynccontextmanager
    async def handling(self, method: str, context: grpc.aio.ServicerContext):
        """Reflects metadata and counts how the handler ends."""
        count = self.counts[method]
        count.started += 1
        sent = [(key, value) for key, value in context.invocation_metadata()]
        trailing = [field for field in sent if field[0].startswith(TRAILING)]
        initial = [field for field in sent if field[0].startswith(INITIAL)]
        try:
            if initial:
                await context.send_initial_metadata(initial)
            context.set_trailing_metadata(trailing)
            yield
            count.finished += 1
        except Asked as asked:
            count.failed += 1
            failure = asked.failure
            if failure.details:
                trailing.append((DETAILS, failure.details))
            await context.abort(CODES[failure.code], failure.message, tuple(trailing))
        except asyncio.CancelledError:
            remaining = context.time_remaining()
            if remaining is not None and remaining < NEAR_S:
                count.expired += 1
            else:
                count.cancelled += 1
            raise

    async def EmptyCall(self, request, context):
        async with self.handling("EmptyCall", context):
            return pb.Empty()

    async def Unary(self, request, context):
        async with self.handling("Unary", context):
            await wait(request)
            fail(request)
            return reply(request, 0)

    async def ServerStream(self, request, context):
        async with self.handling("ServerStream", context):
            async for answer in replies(request, 0):
                await context.write(answer)
            fail(request)

    async def ClientStream(self, requests, context):
        async with self.handling("ClientStream", context):
            summary = pb.Summary()
            async for request in requests:
                summary.messages += 1
                summary.bytes += len(request.payload)
                summary.checksum = zlib.crc32(request.payload, summary.checksum)
                await wait(request)
                fail(request)
            await asyncio.sleep(CANCELLATION_S)
            return summary

    async def Bidi(self, requests, context):
        async with self.handling("Bidi", context):
            index = 0
            async for request in requests:
                async for answer in replies(request, index):
                    index += 1
                    await context.write(answer)
                fail(request)
            await asyncio.sleep(CANCELLATION_S)

    async def Counters(self, request, context):
        return pb.CountersReply(methods=self.counts, pid=os.getpid())


async def wait(request):
    if request.delay_ns:
        await asyncio.sleep(request.delay_ns / 1e9)


def fail(request):
    if request.failure.code:
        raise Asked(request.failure)


def reply(request, index):
    made = request.HasField("reply_size")
    return pb.Reply(payload=pattern(request.reply_size, index) if made else request.payload, index=index)


async def replies(request, first):
    if not request.reply_count:
        await wait(request)
    for index in range(first, first + request.reply_count):
        await wait(request)
        yield reply(request, index)


async def main():
    options = [(name, int(value)) for name, value in (option.split("=") for option in sys.argv[3:])]
    server = grpc.aio.server(options=options)
    rpc.add_InteropServicer_to_server(Puppet(), server)
    host = sys.argv[2].rsplit(":", 1)[0]
    port = add_port(server, sys.argv[2])
    await server.start()
    print(f"listening on {host}:{port}", flush=True)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()
    await server.stop(1)


asyncio.run(main())
