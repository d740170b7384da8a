// Calls that are given up, hundreds a second: a group of client.js. Beside a storm a stream stays open, and ordinary
// calls go on over the same connection: none of them may fail.
"use strict";

const { grpc, INITIAL, pattern, sleep } = require("./puppet");
const { Call, connect, through, same, holds } = require("./checks");

const CALLS = 2000;
const PER_SECOND = 400;
// A server that lets 1000 resets pass and then 33 a second has ended the connection by then.
const LIMIT_MS = 20_000;
const SLOW = { delay_ns: 60e9, reply_count: 1 };

async function storm(stub, one) {
  const stream = new Call(stub, "Bidi");
  let index = 0;
  const turn = async () => {
    const payload = pattern(100, index);
    await stream.send({ payload, reply_count: 1 });
    same(await stream.next(), { payload, index }, "the open stream");
    index += 1;
  };
  await turn();

  let stop = false;
  let calls = 0;
  const ordinary = (async () => {
    for (; !stop; calls += 1, await sleep(5)) {
      const payload = pattern(1000, calls);
      same((await new Call(stub, "Unary", { payload }, { timeout: 10_000 }).reply()).payload, payload);
    }
  })();
  // It may fail while the storm goes on: then that is reported once the storm is over.
  ordinary.catch(() => {});

  const started = performance.now();
  const call = async (number) => {
    await sleep((number * 1000) / PER_SECOND);
    await one();
  };
  try {
    await Promise.all([...Array(CALLS).keys()].map(call));
  } finally {
    stop = true;
  }
  const took = performance.now() - started;
  await ordinary;
  holds(calls > 0, "no calls beside the storm");
  // It still answers, so its connection has not ended.
  await turn();
  await stream.end().ok();
  holds(took < LIMIT_MS, `${CALLS} calls took ${took} ms: too slow to be a storm`);
  console.log(`   ${CALLS} calls given up in ${(took / 1000).toFixed(1)} s, beside ${calls} others`);
}

async function calls_cancelled_after_their_headers_disturb_no_other(stub) {
  await storm(stub, async () => {
    const call = new Call(stub, "ServerStream", SLOW, { fields: [[`${INITIAL}n`, "1"]] });
    const headers = await Promise.race([call.headers, call.status]);
    same(headers instanceof grpc.Metadata && headers.get(`${INITIAL}n`), ["1"], "headers");
    call.call.cancel();
    same((await call.fails()).code, grpc.status.CANCELLED);
  });
}

async function calls_of_twenty_milliseconds_disturb_no_other(stub) {
  await storm(stub, async () => {
    const { code } = await new Call(stub, "Unary", SLOW, { timeout: 20 }).fails();
    // Where the server's reset comes first, grpc-js says CANCELLED.
    holds([grpc.status.DEADLINE_EXCEEDED, grpc.status.CANCELLED].includes(code), `code ${code}`);
  });
}

/** A channel connects again where its connection was ended, so the connections are counted. */
function onOneConnection(check) {
  const counted = (_, address) =>
    through(address, async (proxy, counts) => {
      const stub = connect(proxy);
      await check(stub);
      stub.close();
      same(counts.connections, 1, "connections");
    });
  return Object.defineProperty(counted, "name", { value: check.name });
}

module.exports = [
  calls_cancelled_after_their_headers_disturb_no_other,
  calls_of_twenty_milliseconds_disturb_no_other,
].map(onOneConnection);
