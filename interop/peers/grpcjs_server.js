// The server of the interop tests on grpc-js: grpcjs_server.js PROTO_FOLDER PORT
//
// Prints `listening on ADDRESS`, and stops on SIGTERM.
"use strict";

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const INITIAL = "x-grpc-test-echo-initial";
const TRAILING = "x-grpc-test-echo-trailing-bin";
const [folder, port] = process.argv.slice(2);
const options = { includeDirs: [folder], keepCase: true, defaults: true, longs: Number };
const { testing } = grpc.loadPackageDefinition(loader.loadSync("grpc/testing/test.proto", options)).grpc;

const payload = (size) => ({ body: Buffer.alloc(size) });

// Sends the headers that the client has asked for; returns the trailers.
function echo(call) {
  const initial = call.metadata.get(INITIAL);
  const trailing = call.metadata.get(TRAILING);
  if (initial.length > 0) {
    const headers = new grpc.Metadata();
    headers.set(INITIAL, initial[0]);
    call.sendMetadata(headers);
  }
  const trailers = new grpc.Metadata();
  trailing.forEach((value) => trailers.add(TRAILING, value));
  return trailers;
}

const failure = ({ response_status }) =>
  response_status?.code ? { code: response_status.code, details: response_status.message } : null;

const pause = (microseconds) => new Promise((resolve) => setTimeout(resolve, microseconds / 1000));

async function respond(call, request) {
  for (const { size, interval_us } of request.response_parameters) {
    if (interval_us) await pause(interval_us);
    call.write({ payload: payload(size) });
  }
}

// A call that takes its requests in order, and ends when the last one is done.
function converse(call, take, finish) {
  const trailers = echo(call);
  let last = Promise.resolve();
  let failed = false;
  call.on("data", (request) => {
    const status = failure(request);
    if (status) {
      failed = true;
      last.then(() => call.emit("error", { ...status, metadata: trailers }));
    } else {
      last = last.then(() => take(request));
    }
  });
  call.on("end", () => last.then(finish).then(() => failed || call.end(trailers)));
}

const served = {
  EmptyCall: (call, reply) => reply(null, {}),
  UnaryCall(call, reply) {
    const trailers = echo(call);
    const status = failure(call.request);
    if (status) return reply({ ...status, metadata: trailers });
    reply(null, { payload: payload(call.request.response_size) }, trailers);
  },
  StreamingOutputCall(call) {
    const trailers = echo(call);
    const status = failure(call.request);
    if (status) return call.emit("error", { ...status, metadata: trailers });
    respond(call, call.request).then(() => call.end(trailers));
  },
  StreamingInputCall(call, reply) {
    let sum = 0;
    call.on("data", ({ payload: part }) => (sum += part.body.length));
    call.on("end", () => reply(null, { aggregated_payload_size: sum }));
  },
  FullDuplexCall: (call) => converse(call, (request) => respond(call, request), () => {}),
  HalfDuplexCall(call) {
    const all = [];
    converse(call, (request) => all.push(request), async () => {
      for (const request of all) await respond(call, request);
    });
  },
};

const server = new grpc.Server();
server.addService(testing.TestService.service, served);
server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error, bound) => {
  if (error) throw error;
  console.log(`listening on 127.0.0.1:${bound}`);
});
process.on("SIGTERM", () => server.forceShutdown());
