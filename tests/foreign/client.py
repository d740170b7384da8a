"""grpcio as client of the puppet of ../proto/interop.proto: client.py GENERATED ADDRESS [--of-grpcio] [NAME...]

Prints `ok NAME` or `FAILED NAME: why` for each check, then `N passed, M failed`; exits 1 if any failed. Names choose
among the checks; `--of-grpcio` says that the server is grpcio's own, for the one check where it differs.
"""

import asyncio
import random
import sys
import time
import zlib

from checks import collect, fails, run, same
from puppet import DETAILS, INITIAL, TRAILING, pattern, pb, rpc
from secure import channel

import grpc
from grpc import StatusCode

KIB, MIB = 1024, 1024 * 1024
CHECKS = []

# Multi-byte characters of every length, and what percent-encoding must not trip over.
MESSAGES = [
    "",
    "plain",
    "100 % of %20 and %zz",
    "naïve Überraschung",
    "ошибка ✓ 失敗 🦀",
    "line\nbreak\ttab \x7f",
    "  spaces outside ",
]


def check(function):
    CHECKS.append(function)
    return function


async def status_of(call):
    """How a call ended: (code, message)."""
    return await call.code(), await call.details()


class Counted:
    """The server's own count of one method, before and after."""

    def __init__(self, stub, method):
        self.stub, self.method = stub, method

    async def now(self):
        reply = await self.stub.Counters(pb.Empty(), timeout=10)
        return reply.methods[self.method]

    async def __aenter__(self):
        self.before = await self.now()
        return self

    async def __aexit__(self, *_):
        pass

    async def rises(self, what, by=1):
        """Waits until the handlers have seen `by` more ends of this kind, and no other of the unhappy ones."""
        until = time.monotonic() + 5
        while True:
            after = await self.now()
            risen = {
                name: getattr(after, name) - getattr(self.before, name)
                for name in ("finished", "failed", "cancelled", "expired")
            }
            if risen[what] == by:
                same({name: n for name, n in risen.items() if n}, {what: by}, f"ends of {self.method}")
                return
            if time.monotonic() > until:
                raise AssertionError(f"{self.method} should rise by {by} in {what}, but rose by {risen}")
            await asyncio.sleep(0.01)


# ---- the four kinds


@check
async def empty_call(stub):
    same(await stub.EmptyCall(pb.Empty()), pb.Empty())


@check
async def unary_echoes_every_size(stub):
    for size in (0, 1, 100, 10 * KIB, 16 * KIB - 5, 65535, 65536, 100 * KIB, MIB):
        payload = pattern(size)
        same((await stub.Unary(pb.Request(payload=payload))).payload, payload, f"{size} B")


@check
async def unary_carries_a_message_of_exactly_4_mib(stub):
    payload = random.randbytes(4 * MIB - 5)
    request = pb.Request(payload=payload)
    same(request.ByteSize(), 4 * MIB, "tag and length included")
    same((await stub.Unary(request)).payload, payload)


@check
async def unary_makes_replies_of_the_size_asked_for(stub):
    for size in (0, 1, 100, 100 * KIB, 4 * MIB - 5):
        reply = await stub.Unary(pb.Request(payload=b"not this", reply_size=size))
        same(reply.payload, pattern(size), f"{size} B")


@check
async def server_stream_keeps_order(stub):
    for count, size in ((0, 0), (1, 10), (1000, 50), (30, 100 * KIB)):
        replies = await collect(stub.ServerStream(pb.Request(reply_count=count, reply_size=size)))
        same([reply.index for reply in replies], list(range(count)))
        for reply in replies:
            same(reply.payload, pattern(size, reply.index), f"reply {reply.index}")


@check
async def client_stream_is_summed(stub):
    for count, size in ((0, 0), (1, 10), (1000, 50), (30, 100 * KIB)):
        payloads = [random.randbytes(size) for _ in range(count)]
        summary = await stub.ClientStream(pb.Request(payload=payload) for payload in payloads)
        want = pb.Summary(messages=count, bytes=count * size, checksum=zlib.crc32(b"".join(payloads)))
        same(summary, want)


@check
async def bidi_answers_in_turn(stub):
    call = stub.Bidi()
    for turn in range(100):
        payload = random.randbytes(turn * 50)
        await call.write(pb.Request(payload=payload, reply_count=1))
        same(await call.read(), pb.Reply(payload=payload, index=turn), f"turn {turn}")
    await call.done_writing()
    same(await call.read(), grpc.aio.EOF)
    same(await status_of(call), (StatusCode.OK, ""))


@check
async def bidi_reads_what_was_written_ahead(stub):
    requests = [pb.Request(reply_size=n * 10, reply_count=n % 4) for n in range(200)]
    replies = await collect(stub.Bidi(iter(requests)))
    sizes = [request.reply_size for request in requests for _ in range(request.reply_count)]
    same(len(replies), len(sizes))
    for index, (reply, size) in enumerate(zip(replies, sizes)):
        same(reply, pb.Reply(payload=pattern(size, index), index=index))


@check
async def streams_without_a_message_end_with_ok(stub):
    """As `empty_stream` of the interoperability tests, and its like for a stream of requests alone."""
    call = stub.Bidi(timeout=10)
    await call.done_writing()
    same(await call.read(), grpc.aio.EOF)
    same(await status_of(call), (StatusCode.OK, ""))
    same(await stub.ClientStream(iter(()), timeout=10), pb.Summary())


# ---- metadata


def fields(prefix):
    every_byte = bytes(range(256))
    return [
        (f"{prefix}text", "first"),
        (f"{prefix}text", "second, with a comma"),
        (f"{prefix}text", "first"),
        (f"{prefix}punctuation", "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"),
        (f"{prefix}data-bin", every_byte),
        (f"{prefix}data-bin", b"\x00"),
        (f"{prefix}data-bin", b"\xff\xfe"),
        (f"{prefix}long-bin", random.randbytes(1000)),
    ]


async def reflected(call, sent):
    """Both kinds came back, each with all its values in their order."""
    for prefix, metadata in ((INITIAL, await call.initial_metadata()), (TRAILING, await call.trailing_metadata())):
        got = {}
        for key, value in metadata:
            if key.startswith(prefix):
                got.setdefault(key, []).append(value)
        want = {}
        for key, value in sent:
            if key.startswith(prefix):
                want.setdefault(key, []).append(value)
        same(got, want, prefix)


@check
async def metadata_comes_back_on_all_kinds(stub):
    sent = fields(INITIAL) + fields(TRAILING)
    request = pb.Request(reply_count=2)
    calls = [
        stub.EmptyCall(pb.Empty(), metadata=sent),
        stub.Unary(request, metadata=sent),
        stub.ClientStream(iter([request]), metadata=sent),
    ]
    for call in calls:
        await call
        await reflected(call, sent)
    for call in (stub.ServerStream(request, metadata=sent), stub.Bidi(iter([request]), metadata=sent)):
        same(len(await collect(call)), 2)
        await reflected(call, sent)


@check
async def metadata_comes_back_beside_an_error(stub):
    sent = fields(INITIAL) + fields(TRAILING)
    failure = pb.Failure(code=9, message="as asked")
    call = stub.Unary(pb.Request(failure=failure), metadata=sent)
    await fails(call)
    await reflected(call, sent)


@check
async def a_hundred_fields_come_back(stub):
    sent = [(f"{INITIAL}{n}", f"value {n}") for n in range(50)]
    sent += [(f"{TRAILING}{n}-bin", n.to_bytes(2, "big")) for n in range(50)]
    call = stub.Unary(pb.Request(), metadata=sent)
    await call
    await reflected(call, sent)


@check
async def metadata_close_to_the_limit_passes_and_more_does_not(stub):
    # grpcio may refuse what it receives from 8 KiB on, so no more than that comes to it.
    text, binary = (3500, 2500) if stub.of_grpcio else (7000, 5000)
    large = [(f"{INITIAL}large", "x" * text), (f"{TRAILING}large-bin", random.randbytes(binary))]
    call = stub.Unary(pb.Request(), metadata=large)
    await call
    await reflected(call, large)
    if stub.of_grpcio:
        return
    # Pseudo-header fields and the like take some 600 bytes of our 16 KiB.
    await stub.Unary(pb.Request(), metadata=[("large", "x" * 15 * KIB)])
    error = await fails(stub.Unary(pb.Request(), metadata=[("large", "x" * 16 * KIB)]))
    same(error.code(), StatusCode.RESOURCE_EXHAUSTED)
    await stub.EmptyCall(pb.Empty())


# ---- statuses


@check
async def every_code_and_message_arrives(stub):
    for code in range(1, 17):
        for message in MESSAGES:
            error = await fails(stub.Unary(pb.Request(failure=pb.Failure(code=code, message=message))))
            same((error.code().value[0], error.details()), (code, message))


@check
async def details_arrive(stub):
    details = random.randbytes(300)
    error = await fails(stub.Unary(pb.Request(failure=pb.Failure(code=3, message="ж", details=details))))
    same((error.code(), error.details()), (StatusCode.INVALID_ARGUMENT, "ж"))
    same([value for key, value in error.trailing_metadata() if key == DETAILS], [details])


@check
async def streams_end_with_their_status_after_their_messages(stub):
    failure = pb.Failure(code=15, message=MESSAGES[4])
    want = (StatusCode.DATA_LOSS, MESSAGES[4])
    asked = pb.Request(reply_count=3, reply_size=1000, failure=failure)
    for call in (stub.ServerStream(asked), stub.Bidi(iter([asked]))):
        for index in range(3):
            same((await call.read()).payload, pattern(1000, index))
        error = await fails(call.read())
        same((error.code(), error.details()), want)
    error = await fails(stub.ClientStream(iter([pb.Request(payload=b"x"), pb.Request(failure=failure)])))
    same((error.code(), error.details()), want)


@check
async def a_failed_stream_ends_though_the_client_still_writes(stub):
    call = stub.Bidi()
    await call.write(pb.Request(failure=pb.Failure(code=8, message="enough")))
    same(await status_of(call), (StatusCode.RESOURCE_EXHAUSTED, "enough"))


@check
async def unknown_methods_are_unimplemented_and_the_connection_stays(stub):
    for path in ("/testing.Interop/NoSuchMethod", "/testing.NoSuchService/Unary", "/x"):
        error = await fails(stub.channel.unary_unary(path)(b""))
        same(error.code(), StatusCode.UNIMPLEMENTED, path)
    await stub.EmptyCall(pb.Empty())


@check
async def an_oversize_message_exhausts_resources(stub):
    error = await fails(stub.Unary(pb.Request(payload=bytes(4 * MIB))))
    same(error.code(), StatusCode.RESOURCE_EXHAUSTED)
    await stub.EmptyCall(pb.Empty())


@check
async def a_message_that_does_not_decode_is_internal(stub):
    error = await fails(stub.channel.unary_unary("/testing.Interop/Unary")(b"\x0a\x05ab"))
    # grpcio as a server takes it for an exception in the handler.
    same(error.code(), StatusCode.UNKNOWN if stub.of_grpcio else StatusCode.INTERNAL)
    await stub.EmptyCall(pb.Empty())


# ---- deadlines and cancellation


def endless(stub, method, **options):
    """A call that does not end by itself."""
    never = pb.Request(delay_ns=60 * 10**9, reply_count=1)
    if method == "Unary":
        return stub.Unary(never, **options)
    if method == "ServerStream":
        return stub.ServerStream(never, **options)

    async def one_and_no_end():
        yield pb.Request(payload=b"x", reply_count=1)
        await asyncio.sleep(60)

    return getattr(stub, method)(one_and_no_end(), **options)


async def started(counted, calls=1):
    until = time.monotonic() + 5
    while (await counted.now()).started < counted.before.started + calls:
        if time.monotonic() > until:
            raise AssertionError(f"no handler of {counted.method} started")
        await asyncio.sleep(0.005)


def expired_here_or_there(stub, code, took, timeout, what):
    """The call ended with DEADLINE_EXCEEDED.

    The server resets the stream with CANCEL at its own deadline, a moment after ours. grpcio's clock counts
    milliseconds, so it may get to see that before it finds its own deadline past, and then it says CANCELLED.
    """
    if code == StatusCode.CANCELLED and not stub.of_grpcio and took >= timeout:
        return
    same(code, StatusCode.DEADLINE_EXCEEDED, what)


@check
async def a_deadline_ends_the_call_here_and_its_handler_there(stub):
    for method in ("Unary", "ServerStream", "ClientStream", "Bidi"):
        async with Counted(stub, method) as counted:
            started = time.monotonic()
            call = endless(stub, method, timeout=0.2)
            code = (await status_of(call))[0]
            took = time.monotonic() - started
            expired_here_or_there(stub, code, took, 0.2, method)
            if not 0.19 < took < 1.5:
                raise AssertionError(f"{method}: 200 ms took {took:.3f} s")
            await counted.rises("expired")


@check
async def a_deadline_cuts_a_stream_that_has_begun(stub):
    async with Counted(stub, "ServerStream") as counted:
        call = stub.ServerStream(pb.Request(reply_count=100, reply_size=10, delay_ns=50_000_000), timeout=0.33)
        seen = 0
        error = None
        started = time.monotonic()
        try:
            async for _ in call:
                seen += 1
        except grpc.aio.AioRpcError as caught:
            error = caught
        expired_here_or_there(stub, error and error.code(), time.monotonic() - started, 0.33, "stream")
        if not 2 <= seen <= 6:
            raise AssertionError(f"{seen} replies of one each 50 ms in 330 ms")
        await counted.rises("expired")


@check
async def a_deadline_that_is_met_changes_nothing(stub):
    async with Counted(stub, "Unary") as counted:
        reply = await stub.Unary(pb.Request(payload=b"x", delay_ns=50_000_000), timeout=30)
        same(reply.payload, b"x")
        await counted.rises("finished")


@check
async def cancelling_ends_the_handler(stub):
    for method in ("Unary", "ServerStream", "ClientStream", "Bidi"):
        async with Counted(stub, method) as counted:
            call = endless(stub, method)
            await started(counted)
            call.cancel()
            try:
                await call.code()
            except asyncio.CancelledError:
                pass
            same(await call.code(), StatusCode.CANCELLED, method)
            await counted.rises("cancelled")


@check
async def cancelling_a_stream_midway_ends_its_handler(stub):
    async with Counted(stub, "ServerStream") as counted:
        call = stub.ServerStream(pb.Request(reply_count=1_000_000, reply_size=1000))
        for index in range(10):
            same((await call.read()).index, index)
        call.cancel()
        await counted.rises("cancelled")


@check
async def a_channel_that_closes_cancels_its_calls(stub):
    async with Counted(stub, "Unary") as counted:
        made = channel(stub.address, ("grpc.use_local_subchannel_pool", 1))
        calls = [rpc.InteropStub(made).Unary(pb.Request(delay_ns=60 * 10**9)) for _ in range(5)]
        await started(counted, 5)
        await made.close()
        for call in calls:
            call.cancel()
        await counted.rises("cancelled", 5)


# ---- many at once


@check
async def sixty_four_in_flight_of_every_size(stub):
    for size, rounds in ((0, 8), (100, 8), (10 * KIB, 8), (100 * KIB, 4), (4 * MIB - 5, 1)):
        payload = pattern(size)
        request = pb.Request(payload=payload)

        async def calls():
            for _ in range(rounds):
                same((await stub.Unary(request)).payload, payload, f"{size} B")

        await asyncio.gather(*(calls() for _ in range(64)))


@check
async def ten_thousand_mixed_calls_at_once(stub):
    kinds = (unary, unary, unary, empty, server_stream, client_stream, bidi, failing, with_metadata, streaming_failure)
    numbers = list(range(10_000))
    random.shuffle(numbers)
    await asyncio.gather(*(kinds[number % len(kinds)](stub, number) for number in numbers))


async def unary(stub, n):
    payload = pattern(n % 1500, n)
    same((await stub.Unary(pb.Request(payload=payload, delay_ns=n % 3 * 1_000_000))).payload, payload)


async def empty(stub, n):
    same(await stub.EmptyCall(pb.Empty()), pb.Empty())


async def server_stream(stub, n):
    replies = await collect(stub.ServerStream(pb.Request(reply_count=n % 8, reply_size=n % 700)))
    same([reply.payload for reply in replies], [pattern(n % 700, index) for index in range(n % 8)])


async def client_stream(stub, n):
    payloads = [pattern(n % 900, index) for index in range(n % 7)]
    summary = await stub.ClientStream(pb.Request(payload=payload) for payload in payloads)
    data = b"".join(payloads)
    same(summary, pb.Summary(messages=len(payloads), bytes=len(data), checksum=zlib.crc32(data)))


async def bidi(stub, n):
    call = stub.Bidi()
    for turn in range(1 + n % 3):
        payload = pattern(n % 600, turn)
        await call.write(pb.Request(payload=payload, reply_count=1))
        same(await call.read(), pb.Reply(payload=payload, index=turn))
    await call.done_writing()
    same(await status_of(call), (StatusCode.OK, ""))


async def failing(stub, n):
    code, message = 1 + n // 10 % 16, f"{MESSAGES[n // 10 % len(MESSAGES)]} №{n}"
    error = await fails(stub.Unary(pb.Request(failure=pb.Failure(code=code, message=message))))
    same((error.code().value[0], error.details()), (code, message))


async def with_metadata(stub, n):
    sent = [(f"{INITIAL}n", f"{n}"), (f"{INITIAL}n", "again"), (f"{TRAILING}n-bin", n.to_bytes(4, "big"))]
    call = stub.Unary(pb.Request(reply_size=n % 100), metadata=sent)
    same((await call).payload, pattern(n % 100))
    await reflected(call, sent)


async def streaming_failure(stub, n):
    failure = pb.Failure(code=10, message=f"№{n}")
    call = stub.ServerStream(pb.Request(reply_count=2, reply_size=20, failure=failure))
    for index in range(2):
        same((await call.read()).payload, pattern(20, index))
    error = await fails(call.read())
    same((error.code(), error.details()), (StatusCode.ABORTED, f"№{n}"))


@check
async def every_handler_that_started_has_ended(stub):
    until = time.monotonic() + 5
    while True:
        methods = (await stub.Counters(pb.Empty())).methods
        open_calls = {
            name: count.started - count.finished - count.failed - count.cancelled - count.expired
            for name, count in methods.items()
        }
        if not any(open_calls.values()):
            return
        if time.monotonic() > until:
            raise AssertionError(f"handlers that started and never ended: {open_calls}")
        await asyncio.sleep(0.05)


async def main():
    address, names = sys.argv[2], set(sys.argv[3:])
    of_grpcio = "--of-grpcio" in names
    names.discard("--of-grpcio")
    async with channel(address) as made:
        stub = rpc.InteropStub(made)
        stub.channel, stub.address, stub.of_grpcio = made, address, of_grpcio
        return await run([check for check in CHECKS if not names or check.__name__ in names], stub)


sys.exit(asyncio.run(main()))
