// Calls a unary method and a stream with both clients; `?server=http://HOST:PORT` names a server of another origin.
import { fromBinary, toBinary, create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import grpcWeb from "grpc-web";
import { Greeter, HelloReplySchema, HelloRequestSchema } from "./helloworld_pb.js";
import { Countdown, StartRequestSchema, TickSchema } from "./countdown_pb.js";

const server = new URLSearchParams(location.search).get("server") ?? location.origin;

// The client of the Connect project: binary.
async function connect() {
  const transport = createGrpcWebTransport({ baseUrl: server });
  const reply = await createClient(Greeter, transport).sayHello({ name: "connect" });
  const left = [];
  for await (const tick of createClient(Countdown, transport).start({ from: 3, stepMs: 10 })) {
    left.push(tick.left);
  }
  return `${reply.message} ${left}`;
}

// The client of the gRPC project: binary without streams, or text with them.
function method(path, type, request, reply) {
  return new grpcWeb.MethodDescriptor(
    path, type, Object, Object,
    (message) => toBinary(request, create(request, message)),
    (bytes) => fromBinary(reply, bytes),
  );
}
const sayHello = method("/helloworld.Greeter/SayHello", "unary", HelloRequestSchema, HelloReplySchema);
const start = method("/countdown.Countdown/Start", "server_streaming", StartRequestSchema, TickSchema);

async function google(format) {
  const client = new grpcWeb.GrpcWebClientBase({ format });
  const path = `${server}${sayHello.getName()}`;
  const reply = await client.unaryCall(path, { name: format }, { "x-from": "page" }, sayHello);
  const left = await new Promise((resolve, reject) => {
    const seen = [];
    client.serverStreaming(`${server}${start.getName()}`, { from: 3, stepMs: 10 }, {}, start)
      .on("data", (tick) => seen.push(tick.left))
      .on("error", reject)
      .on("end", () => resolve(seen));
  });
  return `${reply.message} ${left}`;
}

// What an error looks like: its code and message come from the trailers in the body.
async function failing() {
  const transport = createGrpcWebTransport({ baseUrl: server });
  try {
    await createClient(Greeter, transport).sayHello({ name: "" });
    return "no error";
  } catch (error) {
    return error.message;
  }
}

const shown = document.getElementById("lines");
shown.textContent = "";
for (const [name, run] of [["connect", connect], ["text", () => google("text")], ["binary", () => google("binary")], ["error", failing]]) {
  const line = await run().catch((error) => `FAILED ${error.message}`);
  shown.textContent += `${name}: ${line}\n`;
}
shown.textContent += "done";
