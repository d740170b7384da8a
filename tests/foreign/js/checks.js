// What the checks of grpc-js have in common: calls, how checks are run, and how they are reported.
"use strict";

const net = require("node:net");
const { isDeepStrictEqual } = require("node:util");

const { grpc, Interop, clientCredentials, sleep } = require("./puppet");

// Nothing here takes long; what hangs is a failure.
const LIMIT_MS = 120_000;

function short(value) {
  const text = JSON.stringify(value) ?? String(value);
  return text.length < 200 ? text : `${text.slice(0, 200)}… (${text.length} characters)`;
}

function same(got, want, what = "") {
  if (!isDeepStrictEqual(got, want)) throw new Error(`${what}: got ${short(got)}, want ${short(want)}`);
}

function holds(condition, what) {
  if (!condition) throw new Error(what);
}

/** A channel of its own to an address. */
function connect(address, options = {}) {
  return new Interop(address, clientCredentials(), { "grpc.use_local_subchannel_pool": 1, ...options });
}

function metadataOf(fields) {
  const metadata = new grpc.Metadata();
  for (const [key, value] of fields) metadata.add(key, value);
  return metadata;
}

/** One call of any kind. Its end is its status; messages wait in `replies`. */
class Call {
  constructor(stub, method, request, { fields = [], timeout } = {}) {
    const { requestStream, responseStream } = Interop.service[method];
    this.replies = [];
    this.taken = 0;
    this.wake = () => {};
    const options = timeout ? { deadline: Date.now() + timeout } : {};
    const take = (reply) => {
      this.replies.push(reply);
      this.wake();
    };
    const parts = requestStream ? [] : [request];
    parts.push(metadataOf(fields), options);
    if (!responseStream) parts.push((error, reply) => error || take(reply));
    this.call = stub[method](...parts);
    if (responseStream) this.call.on("data", take);
    // The status says it too.
    this.call.on("error", () => {});
    this.headers = new Promise((resolve) => this.call.on("metadata", resolve));
    this.status = new Promise((resolve) =>
      this.call.on("status", (status) => {
        this.ended = status;
        resolve(status);
        this.wake();
      }),
    );
  }

  /** Sends requests on a stream, as fast as it takes them. */
  async send(...requests) {
    for (const request of requests) {
      if (!this.call.write(request)) await new Promise((resolve) => this.call.once("drain", resolve));
    }
    return this;
  }

  end() {
    this.call.end();
    return this;
  }

  /** The next reply, or null at the end. */
  async next() {
    while (this.taken === this.replies.length && !this.ended) await new Promise((wake) => (this.wake = wake));
    if (this.taken === this.replies.length) return null;
    this.taken += 1;
    return this.replies[this.taken - 1];
  }

  /** All replies of a call that succeeds. */
  async ok() {
    const { code, details } = await this.status;
    same([code, details], [0, details === "OK" ? "OK" : ""], "status");
    // The reply of a unary call comes with the status, in either order.
    await sleep(0);
    return this.replies;
  }

  async reply() {
    const replies = await this.ok();
    same(replies.length, 1, "replies");
    return replies[0];
  }

  async fails() {
    const status = await this.status;
    holds(status.code !== 0, "the call succeeded");
    return status;
  }
}

function within(promise, milliseconds) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${milliseconds} ms`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Runs `body` with the address of a proxy that counts bytes and connections. */
async function through(address, body) {
  const counts = { sent: 0, received: 0, connections: 0 };
  const [, host, port] = /^(.*):(\d+)$/.exec(address);
  const sockets = [];
  const server = net.createServer((down) => {
    counts.connections += 1;
    const up = net.connect(Number(port), host);
    sockets.push(down, up);
    down.on("data", (data) => (counts.sent += data.length)).on("error", () => {});
    up.on("data", (data) => (counts.received += data.length)).on("error", () => {});
    down.pipe(up);
    up.pipe(down);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  await body(`127.0.0.1:${server.address().port}`, counts);
  for (const socket of sockets) socket.destroy();
  server.close();
}

/** Runs each check, prints a line for it, and ends the process. */
async function run(checks, ...parts) {
  let passed = 0;
  let failed = 0;
  for (const check of checks) {
    try {
      await within(check(...parts), LIMIT_MS);
      passed += 1;
      console.log(`ok ${check.name}`);
    } catch (error) {
      failed += 1;
      const [, where] = /(\w+\.js:\d+):\d+\)?$/m.exec(error.stack || "") || [];
      console.log(`FAILED ${check.name}: ${String(error.message).slice(0, 1000)} (${where})`);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed > 0 || passed === 0 ? 1 : 0);
}

module.exports = { Call, connect, through, same, holds, run };
