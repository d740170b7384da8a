"""A peer that chooses its frames, over the package h2: frames.py GENERATED client|server ADDRESS

As a client it runs its checks and prints lines like those of client.py. As a server it prints `listening on ADDRESS`
and does what `x-frames` in a request's metadata says; see `Serving`.
"""

import asyncio
import struct
import sys

from checks import run, same
from puppet import pattern, pb

import h2.config
import h2.connection
import h2.events
import h2.settings
from h2.errors import ErrorCodes

# The message of the interoperability tests that has no round size.
SIZE = 314_159
# DATA frames of a message that is to arrive in pieces.
PIECE = 5


def prefixed(message):
    data = message.SerializeToString()
    return struct.pack(">BI", 0, len(data)) + data


def messages(data, kind):
    found = []
    while len(data) >= 5:
        _, length = struct.unpack(">BI", data[:5])
        found.append(kind.FromString(data[5 : 5 + length]))
        data = data[5 + length :]
    same(len(data), 0, "bytes after the last message")
    return found


class Connection:
    """h2 over asyncio's streams: sends under flow control, and keeps what has come."""

    def __init__(self, reader, writer, client):
        self.reader, self.writer = reader, writer
        config = h2.config.H2Configuration(client_side=client, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.headers, self.data, self.ended, self.resets = {}, {}, set(), {}
        self.goaway = None
        self.closed = False
        self.changed = asyncio.Event()
        self.h2.initiate_connection()
        # Room for whatever comes: our own windows are not what is tested here.
        self.h2.increment_flow_control_window(2**30)
        self.flush()

    def flush(self):
        self.writer.write(self.h2.data_to_send())

    async def read(self, on_event=lambda event: None):
        """Takes in what comes, until the peer has closed."""
        try:
            while data := await self.reader.read(65536):
                for event in self.h2.receive_data(data):
                    self.note(event)
                    on_event(event)
                self.flush()
                self.wake()
        except ConnectionError:
            pass
        self.closed = True
        self.wake()

    def wake(self):
        self.changed.set()
        self.changed = asyncio.Event()

    def note(self, event):
        if isinstance(event, (h2.events.ResponseReceived, h2.events.RequestReceived, h2.events.TrailersReceived)):
            self.headers.setdefault(event.stream_id, {}).update(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
            if event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.resets[event.stream_id] = event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event

    async def until(self, condition, what):
        async with asyncio.timeout(30):
            while not condition():
                assert not self.closed, f"closed before {what}"
                await self.changed.wait()

    async def send(self, stream, data, size=16_384, padding=None, end=False):
        """Sends DATA in frames of `size`, as fast as the windows allow."""
        cost = size + (0 if padding is None else padding + 1)
        for count, start in enumerate(range(0, len(data), size)):
            while self.h2.local_flow_control_window(stream) < cost:
                self.flush()
                await asyncio.wait_for(self.changed.wait(), 30)
            last = end and start + size >= len(data)
            self.h2.send_data(stream, data[start : start + size], end_stream=last, pad_length=padding)
            if count % 256 == 255:
                self.flush()
                await self.writer.drain()
                # What has come meanwhile opens the window.
                await asyncio.sleep(0)
        self.flush()


# ---- client


class Client(Connection):
    @classmethod
    async def connect(cls, address):
        host, port = address.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, port)
        return cls(reader, writer, client=True)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.read())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        self.writer.close()

    def call(self, method, end=False):
        stream = self.h2.get_next_available_stream_id()
        head = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", f"/testing.Interop/{method}"),
            (":authority", "frames"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ]
        self.h2.send_headers(stream, head, end_stream=end)
        return stream

    def status(self, stream):
        return self.headers.get(stream, {}).get("grpc-status")

    async def replies(self, stream, kind=pb.Reply):
        self.flush()
        await self.until(lambda: stream in self.ended or stream in self.resets, "the end of the call")
        same(self.status(stream), "0", f"status, {self.headers.get(stream)}")
        return messages(self.data.get(stream, b""), kind)


async def tiny(address, padding):
    payload = pattern(SIZE)
    async with await Client.connect(address) as client:
        stream = client.call("Unary")
        await client.send(stream, prefixed(pb.Request(payload=payload)), PIECE, padding, end=True)
        same([reply.payload for reply in await client.replies(stream)], [payload])


async def a_message_arrives_in_five_byte_frames(address):
    await tiny(address, None)


async def a_message_arrives_in_five_byte_frames_with_255_bytes_of_padding_each(address):
    await tiny(address, 255)


async def early_trailers_stop_a_client_that_still_sends(address):
    async with await Client.connect(address) as client:
        stream = client.call("ClientStream")
        failure = pb.Failure(code=8, message="enough")
        await client.send(stream, prefixed(pb.Request(payload=b"x", failure=failure)))
        await client.until(lambda: stream in client.resets, "the reset")
        same((client.status(stream), client.resets[stream]), ("8", ErrorCodes.NO_ERROR))
        assert stream in client.ended, "the trailers end the stream"
        # The connection stays.
        stream = client.call("Unary")
        await client.send(stream, prefixed(pb.Request(payload=b"y")), end=True)
        same([reply.payload for reply in await client.replies(stream)], [b"y"])


async def calls_in_flight_finish_after_the_clients_goaway(address):
    async with await Client.connect(address) as client:
        streams = [client.call("Unary") for _ in range(10)]
        for stream in streams:
            await client.send(stream, prefixed(pb.Request(payload=b"z", delay_ns=200_000_000)), end=True)
        # h2 takes its own GOAWAY for the end, so the frame is written by hand: stream 0, NO_ERROR.
        client.writer.write(b"\0\0\x08\x07\0\0\0\0\0" + bytes(8))
        for stream in streams:
            same([reply.payload for reply in await client.replies(stream)], [b"z"])
        async with asyncio.timeout(10):
            await client.task


async def streams_above_the_limit_are_refused_and_the_others_served(address):
    async with await Client.connect(address) as client:
        # All before the server's SETTINGS are read, which would hold h2 back.
        streams = [client.call("Unary") for _ in range(120)]
        for stream in streams:
            client.h2.send_data(stream, prefixed(pb.Request(payload=b"r", delay_ns=300_000_000)), end_stream=True)
        client.flush()
        await client.until(lambda: len(client.ended) + len(client.resets) == len(streams), "the end of all calls")
        same(set(client.resets.values()), {ErrorCodes.REFUSED_STREAM})
        same((len(client.resets), len(client.ended)), (20, 100))


async def pings_that_come_too_soon_end_the_connection(address):
    async with await Client.connect(address) as client:
        stream = client.call("Unary")
        await client.send(stream, prefixed(pb.Request(delay_ns=20 * 10**9)), end=True)
        for _ in range(5):
            if client.goaway is not None:
                break
            client.h2.ping(b"too soon")
            client.flush()
            await asyncio.sleep(0.05)
        await client.until(lambda: client.goaway is not None, "GOAWAY")
        same((client.goaway.error_code, client.goaway.additional_data), (ErrorCodes.ENHANCE_YOUR_CALM, b"too_many_pings"))


async def end_stream_on_headers_ends_a_stream_without_a_message(address):
    """Clients must send an empty DATA frame (PROTOCOL-HTTP2), but a server takes both."""
    async with await Client.connect(address) as client:
        for method in ("Bidi", "ClientStream"):
            stream = client.call(method, end=True)
            replies = await client.replies(stream, pb.Reply if method == "Bidi" else pb.Summary)
            same(replies, [] if method == "Bidi" else [pb.Summary()], method)


CHECKS = [
    a_message_arrives_in_five_byte_frames,
    a_message_arrives_in_five_byte_frames_with_255_bytes_of_padding_each,
    early_trailers_stop_a_client_that_still_sends,
    end_stream_on_headers_ends_a_stream_without_a_message,
    calls_in_flight_finish_after_the_clients_goaway,
    streams_above_the_limit_are_refused_and_the_others_served,
    pings_that_come_too_soon_end_the_connection,
]


# ---- server


class Serving(Connection):
    """What `x-frames` says is done to a call:

    - `tiny`, `padded`: a reply of SIZE bytes in frames of five, without and with padding;
    - `refuse`: REFUSED_STREAM;
    - `early`: trailers before the client has half-closed, and no reset;
    - `end`: a reply whose payload is the frame that had END_STREAM, HEADERS or DATA; a summary says 1 for DATA;
    - `resets`: a reply whose payload are the codes of the client's resets so far;
    - `slow`: a reply after 300 ms;
    - `go`: GOAWAY that names the stream before this one.
    """

    def __init__(self, reader, writer):
        super().__init__(reader, writer, client=False)
        self.tasks, self.without_data = set(), set()

    def on_event(self, event):
        if isinstance(event, h2.events.RequestReceived):
            if event.stream_ended is not None:
                self.without_data.add(event.stream_id)
            self.begin(event.stream_id, dict(event.headers).get("x-frames"))
        elif isinstance(event, h2.events.StreamEnded):
            asked = self.headers[event.stream_id].get("x-frames")
            task = asyncio.create_task(self.answer(event.stream_id, asked))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def begin(self, stream, asked):
        if asked == "refuse":
            self.h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
        elif asked == "early":
            head = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "9")]
            self.h2.send_headers(stream, head, end_stream=True)
        elif asked == "go":
            # By hand, for h2 sends nothing after a GOAWAY of its own.
            self.flush()
            self.writer.write(b"\0\0\x08\x07\0\0\0\0\0" + struct.pack(">II", stream - 2, 0))

    async def answer(self, stream, asked):
        size, padding = 16_384, None
        if asked == "slow":
            await asyncio.sleep(0.3)
            reply = pb.Reply(payload=b"slow")
        elif asked in ("tiny", "padded"):
            size, padding = PIECE, 255 if asked == "padded" else None
            reply = pb.Reply(payload=pattern(SIZE))
        elif asked == "end":
            of_data = stream not in self.without_data
            summing = self.headers[stream][":path"].endswith("/ClientStream")
            reply = pb.Summary(messages=of_data) if summing else pb.Reply(payload=b"DATA" if of_data else b"HEADERS")
        elif asked == "resets":
            reply = pb.Reply(payload=bytes(self.resets.values()))
        else:
            return
        self.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        await self.send(stream, prefixed(reply), size, padding)
        self.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        self.flush()


async def serve(address):
    async def accepted(reader, writer):
        serving = Serving(reader, writer)
        await serving.read(serving.on_event)
        writer.close()

    host, port = address.rsplit(":", 1)
    server = await asyncio.start_server(accepted, host, int(port))
    print(f"listening on {host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def main():
    role, address = sys.argv[2:4]
    if role == "server":
        await serve(address)
    return await run(CHECKS, address)


sys.exit(asyncio.run(main()))
