// Compressed messages, both ways: a group of client.js for a server that compresses in gzip.
"use strict";

const { pattern } = require("./puppet");
const { Call, connect, through, same, holds } = require("./checks");

const SIZE = 100_000;

async function compressed(address, algorithm) {
  await through(address, async (proxy, bytes) => {
    const stub = connect(proxy, { "grpc.default_compression_algorithm": algorithm });
    const payload = pattern(SIZE);
    same((await new Call(stub, "Unary", { payload }).reply()).payload, payload);
    const summing = await new Call(stub, "ClientStream").send({ payload }, { payload });
    same((await summing.end().reply()).bytes, 2 * SIZE);
    // Small ones and empty ones between.
    const payloads = [0, 10, SIZE, 1, 0, 2000, SIZE].map((size) => pattern(size));
    const requests = payloads.map((part) => ({ payload: part, reply_count: 1 }));
    const conversing = await new Call(stub, "Bidi").send(...requests);
    same((await conversing.end().ok()).map((reply) => reply.payload), payloads);
    const replies = await new Call(stub, "ServerStream", { reply_count: 2, reply_size: SIZE }).ok();
    same(replies.map((reply) => reply.payload), [pattern(SIZE, 0), pattern(SIZE, 1)]);
    const { sent, received } = bytes;
    holds(sent < (5 * SIZE) / 10 && received < (5 * SIZE) / 10, `${sent} B sent, ${received} B received`);
    stub.close();
  });
}

const gzip_both_ways = (_, address) => compressed(address, 2);

const requests_in_deflate_get_replies_in_gzip = (_, address) => compressed(address, 1);

async function plain_requests_get_compressed_replies(_, address) {
  await through(address, async (proxy, bytes) => {
    const stub = connect(proxy);
    const payload = pattern(SIZE);
    same((await new Call(stub, "Unary", { payload }).reply()).payload, payload);
    holds(bytes.sent > SIZE && bytes.received < SIZE / 10, `${bytes.sent} B sent, ${bytes.received} B received`);
    stub.close();
  });
}

module.exports = [gzip_both_ways, requests_in_deflate_get_replies_in_gzip, plain_requests_get_compressed_replies];
