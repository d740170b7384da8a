// The puppet of ../../proto/interop.proto on grpc-js: server.js ADDRESS
//
// Prints `listening on ADDRESS` when it does, with the port it was given if it asked for 0, and stops on SIGTERM.
"use strict";

const { once } = require("node:events");

const puppet = require("./puppet");
const { grpc, Interop, INITIAL, TRAILING, DETAILS, pattern, crc32, sleep } = puppet;

// The client's own timer and ours start a network apart, and a busy machine puts them further apart: a handler that is
// dropped this close to its deadline expired. Calls that are cancelled have no deadline, or one an hour away.
const NEAR_MS = 100;

// grpc-js ends the requests when the call ends, however it does, and tells of the cancellation a moment later.
const CANCELLATION_MS = 5;

const count = () => ({ started: 0, finished: 0, failed: 0, cancelled: 0, expired: 0 });
const methods = ["EmptyCall", "Unary", "ServerStream", "ClientStream", "Bidi"];
const counts = Object.fromEntries(methods.map((name) => [name, count()]));

/** A handler that runs: it reflects metadata, and counts how it ends. */
class Handling {
  constructor(name, call) {
    this.count = counts[name];
    this.count.started += 1;
    this.over = false;
    this.call = call;
    this.trailing = new grpc.Metadata();
    const initial = new grpc.Metadata();
    for (const key of Object.keys(call.metadata.getMap())) {
      const under = key.startsWith(INITIAL) ? initial : key.startsWith(TRAILING) ? this.trailing : null;
      if (under) for (const value of call.metadata.get(key)) under.add(key, value);
    }
    if (Object.keys(initial.getMap()).length > 0) call.sendMetadata(initial);
    this.dropped = new Promise((resolve) => {
      call.on("cancelled", () => {
        this.end(Number(call.getDeadline()) - Date.now() < NEAR_MS ? "expired" : "cancelled");
        resolve();
      });
    });
  }

  end(what) {
    if (!this.over) this.count[what] += 1;
    this.over = true;
  }

  wait(request) {
    return request.delay_ns ? sleep(request.delay_ns / 1e6) : undefined;
  }

  /** Throws the failure that the request asks for. */
  fail(request) {
    const { failure } = request;
    if (!failure || !failure.code) return;
    if (failure.details.length > 0) this.trailing.add(DETAILS, failure.details);
    throw { code: failure.code, details: failure.message, metadata: this.trailing };
  }

  /** Sends the replies that the request asks for, counted from `index`; returns where the count has got to. */
  async answer(request, index) {
    const end = index + request.reply_count;
    if (index === end) await this.wait(request);
    for (; index < end && !this.over; index += 1) {
      await this.wait(request);
      if (this.over) break;
      if (!this.call.write(reply(request, index))) await Promise.race([once(this.call, "drain"), this.dropped]);
    }
    return index;
  }
}

function reply(request, index) {
  const asked = request.reply_size;
  const payload = asked === undefined ? request.payload : pattern(asked, index);
  // protobuf.js writes a zero that is there.
  return index === 0 ? { payload } : { payload, index };
}

/** The requests of a stream; one that is left early stays open for its status. */
const requests = (call) => call.iterator({ destroyOnReturn: false });

/** A handler whose reply is one message. */
const single = (name, body) => async (call, callback) => {
  const handling = new Handling(name, call);
  try {
    const answer = await body(handling, call);
    handling.end("finished");
    callback(null, answer, handling.trailing);
  } catch (error) {
    // The requests of a call that was cancelled end with an error.
    if (handling.over) return;
    handling.end("failed");
    callback(error);
  }
};

/** A handler of a response stream. */
const streaming = (name, body) => async (call) => {
  const handling = new Handling(name, call);
  try {
    await body(handling, call);
    if (handling.over) return;
    handling.end("finished");
    call.end(handling.trailing);
  } catch (error) {
    if (handling.over) return;
    handling.end("failed");
    call.emit("error", error);
  }
};

const handlers = {
  EmptyCall: single("EmptyCall", async () => ({})),

  Unary: single("Unary", async (handling, { request }) => {
    await handling.wait(request);
    handling.fail(request);
    return reply(request, 0);
  }),

  ServerStream: streaming("ServerStream", async (handling, { request }) => {
    await handling.answer(request, 0);
    handling.fail(request);
  }),

  ClientStream: single("ClientStream", async (handling, call) => {
    const summary = { messages: 0, bytes: 0, checksum: 0 };
    for await (const request of requests(call)) {
      summary.messages += 1;
      summary.bytes += request.payload.length;
      summary.checksum = crc32(request.payload, summary.checksum);
      await handling.wait(request);
      handling.fail(request);
    }
    await sleep(CANCELLATION_MS);
    return summary;
  }),

  Bidi: streaming("Bidi", async (handling, call) => {
    let index = 0;
    for await (const request of requests(call)) {
      index = await handling.answer(request, index);
      handling.fail(request);
    }
    await sleep(CANCELLATION_MS);
  }),

  Counters: (_, callback) => callback(null, { methods: counts, pid: process.pid }),
};

const server = new grpc.Server();
server.addService(Interop.service, handlers);
const address = process.argv[2];
server.bindAsync(address, puppet.serverCredentials(), (error, port) => {
  if (error) throw error;
  console.log(`listening on ${address.slice(0, address.lastIndexOf(":"))}:${port}`);
});
process.on("SIGTERM", () => process.exit(0));
