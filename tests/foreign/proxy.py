"""A TCP proxy between a client and the server that the arguments name."""

import asyncio
import contextlib
import sys


class Proxy:
    """A TCP proxy to the server, which counts connections and bytes."""

    async def __aenter__(self):
        self.sent = self.received = self.connections = 0
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.address = "127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def serve(self, reader, writer):
        self.connections += 1
        host, port = sys.argv[2].rsplit(":", 1)
        up_reader, up_writer = await asyncio.open_connection(host, port)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(self.pipe(reader, up_writer, "sent"), self.pipe(up_reader, writer, "received"))

    async def pipe(self, reader, writer, counter):
        try:
            while data := await reader.read(65536):
                setattr(self, counter, getattr(self, counter) + len(data))
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
