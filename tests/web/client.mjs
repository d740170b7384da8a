// Checks of gRPC-Web with the client of the Connect project: `client.mjs http://ADDRESS`. Each check prints a line.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { Countdown } from "../../examples/web/countdown_pb.js";
import { Greeter } from "../../examples/web/helloworld_pb.js";

const transport = createGrpcWebTransport({ baseUrl: process.argv[2] });
const greeter = createClient(Greeter, transport);
const countdown = createClient(Countdown, transport);

function check(name, passed) {
  console.log(`${passed ? "ok" : "FAILED"} ${name}`);
  if (!passed) {
    process.exit(1);
  }
}

async function fails(call) {
  try {
    await call();
  } catch (error) {
    return ConnectError.from(error);
  }
  return undefined;
}

let trailers;
const reply = await greeter.sayHello({ name: "node" }, { headers: { "x-a": "b" }, onTrailer: (seen) => { trailers = seen; } });
check("unary", reply.message === "Hello, node!" && trailers.get("grpc-status") === "0");

const left = [];
for await (const tick of countdown.start({ from: 500, stepMs: 0 })) {
  left.push(tick.left);
}
check("stream", left.length === 500 && left[499] === 1);

const refused = await fails(() => greeter.sayHello({ name: "" }));
check("an error", refused?.code === Code.InvalidArgument && refused.rawMessage.startsWith("a name is needed"));

const late = await fails(async () => {
  for await (const _ of countdown.start({ from: 2, stepMs: 60_000 }, { timeoutMs: 200 })) {
    // The first comes at once.
  }
});
check("a deadline", late?.code === Code.DeadlineExceeded);

const stop = new AbortController();
const stopped = await fails(async () => {
  for await (const _ of countdown.start({ from: 2, stepMs: 60_000 }, { signal: stop.signal })) {
    stop.abort();
  }
});
check("a cancelled stream", stopped?.code === Code.Canceled);

const many = await Promise.all(Array.from({ length: 50 }, (_, at) => greeter.sayHello({ name: `${at}` })));
check("fifty at once", many.every((reply, at) => reply.message === `Hello, ${at}!`));
