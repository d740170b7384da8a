"""Records what passes between a client and a server: record.py LISTEN_PORT SERVER_PORT NAME

Forwards one TCP connection after another on loopback and writes the bytes of each direction of connection N to
NAME-N.client.bin and NAME-N.server.bin. Ends with an interrupt.
"""

import asyncio
import sys


async def copy(reader, writer, path):
    with open(path, "wb") as file:
        while data := await reader.read(65536):
            file.write(data)
            file.flush()
            writer.write(data)
            await writer.drain()
    writer.close()


async def main(listen, server, name):
    count = 0

    async def connection(reader, writer):
        nonlocal count
        count += 1
        prefix = f"{name}-{count}"
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", server)
        await asyncio.gather(
            copy(reader, up_writer, f"{prefix}.client.bin"),
            copy(up_reader, writer, f"{prefix}.server.bin"),
            return_exceptions=True,
        )

    async with await asyncio.start_server(connection, "127.0.0.1", listen) as proxy:
        print("recording", flush=True)
        await proxy.serve_forever()


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
