// grpc-js as client of the puppet of ../../proto/interop.proto: client.js ADDRESS [--group=GROUP] [NAME...]
//
// Prints `ok NAME` or `FAILED NAME: why` for each check, then `N passed, M failed`; exits 1 if any failed. Names choose
// among the checks. The group `compression` needs a server that compresses in gzip; `storms` gives calls up.
"use strict";

const { randomBytes } = require("node:crypto");

const { grpc, INITIAL, TRAILING, DETAILS, pattern, crc32, sleep } = require("./puppet");
const { Call, connect, same, holds, run } = require("./checks");

const KIB = 1024;
const MIB = 1024 * KIB;
const { status: Code } = grpc;

// Multi-byte characters of every length, and what percent-encoding must not trip over.
const MESSAGES = [
  "",
  "plain",
  "100 % of %20 and %zz",
  "naïve Überraschung",
  "ошибка ✓ 失敗 🦀",
  "line\nbreak\ttab \x7f",
  "  spaces outside ",
];

const unary = (stub, request, options) => new Call(stub, "Unary", request, options);
const METHODS = ["Unary", "ServerStream", "ClientStream", "Bidi"];

// ---- the four kinds

async function empty_call(stub) {
  same(await new Call(stub, "EmptyCall", {}).reply(), {});
}

async function echo(stub, payload) {
  const reply = await unary(stub, { payload }).reply();
  holds(payload.equals(reply.payload), `${payload.length} B: ${reply.payload.length} B came back`);
}

async function unary_echoes_every_size(stub) {
  const sizes = [0, 1, 100, 10 * KIB, 16 * KIB - 5, 65535, 65536, 100 * KIB, MIB];
  for (const size of sizes) await echo(stub, pattern(size));
}

async function unary_carries_a_message_of_exactly_4_mib(stub) {
  // One byte of tag, four of length.
  await echo(stub, randomBytes(4 * MIB - 5));
}

async function unary_makes_replies_of_the_size_asked_for(stub) {
  for (const size of [0, 1, 100, 100 * KIB, 4 * MIB - 5]) {
    const { payload } = await unary(stub, { payload: Buffer.from("not this"), reply_size: size }).reply();
    holds(payload.equals(pattern(size)), `${size} B`);
  }
}

async function server_stream_keeps_order(stub) {
  for (const [count, size] of [[0, 0], [1, 10], [1000, 50], [30, 100 * KIB]]) {
    const replies = await new Call(stub, "ServerStream", { reply_count: count, reply_size: size }).ok();
    same(replies.map(({ index }) => index), Array.from({ length: count }, (_, index) => index));
    for (const { payload, index } of replies) holds(payload.equals(pattern(size, index)), `reply ${index}`);
  }
}

async function client_stream_is_summed(stub) {
  for (const [count, size] of [[0, 0], [1, 10], [1000, 50], [30, 100 * KIB]]) {
    const payloads = Array.from({ length: count }, () => randomBytes(size));
    const call = await new Call(stub, "ClientStream").send(...payloads.map((payload) => ({ payload })));
    const checksum = crc32(Buffer.concat(payloads));
    same(await call.end().reply(), { messages: count, bytes: count * size, checksum });
  }
}

async function bidi_answers_in_turn(stub) {
  const call = new Call(stub, "Bidi");
  for (let turn = 0; turn < 100; turn += 1) {
    const payload = randomBytes(turn * 50);
    await call.send({ payload, reply_count: 1 });
    same(await call.next(), { payload, index: turn }, `turn ${turn}`);
  }
  same((await call.end().ok()).length, 100);
}

async function bidi_reads_what_was_written_ahead(stub) {
  const requests = Array.from({ length: 200 }, (_, n) => ({ reply_size: n * 10, reply_count: n % 4 }));
  const call = await new Call(stub, "Bidi").send(...requests);
  const sizes = requests.flatMap(({ reply_size, reply_count }) => Array(reply_count).fill(reply_size));
  const want = sizes.map((size, index) => ({ payload: pattern(size, index), index }));
  same(await call.end().ok(), want);
}

/** As `empty_stream` of the interoperability tests, and its like for a stream of requests alone. */
async function streams_without_a_message_end_with_ok(stub) {
  same(await new Call(stub, "Bidi", null, { timeout: 10_000 }).end().ok(), []);
  const sum = await new Call(stub, "ClientStream", null, { timeout: 10_000 }).end().reply();
  same(sum, { messages: 0, bytes: 0, checksum: 0 });
}

// ---- metadata

function fields(prefix) {
  const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  return [
    [`${prefix}text`, "first"],
    [`${prefix}text`, "second, with a comma"],
    [`${prefix}text`, "first"],
    [`${prefix}punctuation`, "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"],
    [`${prefix}data-bin`, everyByte],
    [`${prefix}data-bin`, Buffer.from([0])],
    [`${prefix}data-bin`, Buffer.from([255, 254])],
    [`${prefix}long-bin`, randomBytes(1000)],
  ];
}

/** Everything under the prefix came back. Node makes one text of several under one name (RFC 9110 §5.3). */
function reflected(prefix, sent, got) {
  const want = {};
  for (const [key, value] of sent.filter(([key]) => key.startsWith(prefix))) (want[key] ??= []).push(value);
  for (const key of Object.keys(want)) if (!key.endsWith("-bin")) want[key] = [want[key].join(", ")];
  const keys = Object.keys(got.getMap()).filter((key) => key.startsWith(prefix));
  same(Object.fromEntries(keys.sort().map((key) => [key, got.get(key)])), sorted(want), prefix);
}

const sorted = (object) => Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)));

async function bothReflected(call, sent) {
  reflected(INITIAL, sent, await call.headers);
  reflected(TRAILING, sent, (await call.status).metadata);
}

/** A call of any method with one request, whose client has half-closed. */
async function whole(stub, method, request, options) {
  const call = new Call(stub, method, request, options);
  if (["ClientStream", "Bidi"].includes(method)) (await call.send(request)).end();
  return call;
}

async function metadata_comes_back_on_all_kinds(stub) {
  const sent = [...fields(INITIAL), ...fields(TRAILING)];
  for (const method of ["EmptyCall", ...METHODS]) {
    const request = method === "EmptyCall" ? {} : { reply_count: 2 };
    const call = await whole(stub, method, request, { fields: sent });
    same((await call.ok()).length, ["ServerStream", "Bidi"].includes(method) ? 2 : 1, method);
    await bothReflected(call, sent);
  }
}

async function metadata_comes_back_beside_an_error(stub) {
  const sent = [...fields(INITIAL), ...fields(TRAILING)];
  const call = unary(stub, { failure: { code: 9, message: "as asked" } }, { fields: sent });
  same((await call.fails()).code, Code.FAILED_PRECONDITION);
  await bothReflected(call, sent);
}

async function a_hundred_fields_come_back(stub) {
  const numbers = Array.from({ length: 50 }, (_, n) => n);
  const sent = numbers.map((n) => [`${INITIAL}${n}`, `value ${n}`]);
  sent.push(...numbers.map((n) => [`${TRAILING}${n}-bin`, Buffer.from([0, n])]));
  const call = unary(stub, {}, { fields: sent });
  await call.ok();
  await bothReflected(call, sent);
}

// ---- statuses

async function every_code_and_message_arrives(stub) {
  for (let code = 1; code <= 16; code += 1) {
    for (const message of MESSAGES) {
      const status = await unary(stub, { failure: { code, message } }).fails();
      same([status.code, status.details], [code, message]);
    }
  }
}

async function details_arrive(stub) {
  const details = randomBytes(300);
  const status = await unary(stub, { failure: { code: 3, message: "ж", details } }).fails();
  same([status.code, status.details], [Code.INVALID_ARGUMENT, "ж"]);
  same(status.metadata.get(DETAILS), [details]);
}

async function streams_end_with_their_status_after_their_messages(stub) {
  const failure = { code: 15, message: MESSAGES[4] };
  for (const method of ["ServerStream", "Bidi"]) {
    const call = await whole(stub, method, { reply_count: 3, reply_size: 1000, failure });
    const { code, details } = await call.fails();
    same([code, details], [Code.DATA_LOSS, MESSAGES[4]], method);
    same(call.replies, [0, 1, 2].map((index) => ({ payload: pattern(1000, index), index })), method);
  }
  const call = await new Call(stub, "ClientStream").send({ payload: Buffer.from("x") }, { failure });
  same((await call.end().fails()).details, MESSAGES[4]);
}

async function a_failed_stream_ends_though_the_client_still_writes(stub) {
  const call = await new Call(stub, "Bidi").send({ failure: { code: 8, message: "enough" } });
  const { code, details } = await call.fails();
  same([code, details], [Code.RESOURCE_EXHAUSTED, "enough"]);
}

async function unknown_methods_are_unimplemented_and_the_connection_stays(stub) {
  for (const path of ["/testing.Interop/NoSuchMethod", "/testing.NoSuchService/Unary", "/x"]) {
    same((await bytes(stub, path, Buffer.alloc(0))).code, Code.UNIMPLEMENTED, path);
  }
  await empty_call(stub);
}

/** The error of a unary call of bytes. */
function bytes(stub, path, request) {
  const as_is = (value) => value;
  return new Promise((resolve, reject) => {
    stub.makeUnaryRequest(path, as_is, as_is, request, (error) =>
      error ? resolve(error) : reject(new Error(`${path} succeeded`)),
    );
  });
}

async function an_oversize_message_exhausts_resources(stub) {
  same((await unary(stub, { payload: Buffer.alloc(4 * MIB) }).fails()).code, Code.RESOURCE_EXHAUSTED);
  await empty_call(stub);
}

async function a_message_that_does_not_decode_is_internal(stub) {
  const error = await bytes(stub, "/testing.Interop/Unary", Buffer.from("\x0a\x05ab"));
  same(error.code, Code.INTERNAL);
  await empty_call(stub);
}

// ---- deadlines and cancellation

/** The server's own count of one method, before and after. */
class Counted {
  static async begin(stub, method) {
    const counted = Object.assign(new Counted(), { stub, method });
    counted.before = await counted.now();
    return counted;
  }

  async now() {
    const { methods } = await new Call(this.stub, "Counters", {}, { timeout: 10_000 }).reply();
    return methods[this.method] ?? { started: 0, finished: 0, failed: 0, cancelled: 0, expired: 0 };
  }

  async starts(calls = 1) {
    for (const until = Date.now() + 5000; (await this.now()).started < this.before.started + calls; await sleep(5)) {
      holds(Date.now() < until, `no handler of ${this.method} started`);
    }
  }

  /** Waits until the handlers have seen `by` more ends of this kind, and no other. */
  async rises(what, by = 1) {
    for (const until = Date.now() + 5000; ; await sleep(10)) {
      const after = await this.now();
      const ends = ["finished", "failed", "cancelled", "expired"];
      const risen = ends.map((end) => [end, after[end] - this.before[end]]).filter(([, n]) => n > 0);
      if (risen.length === 1 && risen[0][0] === what && risen[0][1] === by) return;
      holds(Date.now() < until, `${this.method} should rise by ${by} in ${what}, but rose by ${JSON.stringify(risen)}`);
    }
  }
}

/** A call that does not end by itself. */
async function endless(stub, method, options) {
  const slow = { delay_ns: 60e9, reply_count: 1 };
  const call = new Call(stub, method, slow, options);
  if (method === "ClientStream") await call.send(slow);
  // Node half-closes a stream that it resets: what keeps the handler is a request that takes its time.
  if (method === "Bidi") await call.send({ payload: Buffer.from("x"), reply_count: 1 }, slow);
  return call;
}

/** The server resets the stream with CANCEL at its own deadline, and grpc-js may see that before its own. */
function expired({ code }, took, timeout, what) {
  if (!(code === Code.CANCELLED && took >= timeout)) same(code, Code.DEADLINE_EXCEEDED, what);
}

async function a_deadline_ends_the_call_here_and_its_handler_there(stub) {
  for (const method of METHODS) {
    const counted = await Counted.begin(stub, method);
    const started = performance.now();
    const status = await (await endless(stub, method, { timeout: 200 })).fails();
    const took = performance.now() - started;
    expired(status, took, 200, method);
    holds(190 < took && took < 1500, `${method}: 200 ms took ${took} ms`);
    await counted.rises("expired");
  }
}

async function a_deadline_cuts_a_stream_that_has_begun(stub) {
  const counted = await Counted.begin(stub, "ServerStream");
  const request = { reply_count: 100, reply_size: 10, delay_ns: 50e6 };
  const started = performance.now();
  const call = new Call(stub, "ServerStream", request, { timeout: 330 });
  expired(await call.fails(), performance.now() - started, 330, "stream");
  const seen = call.replies.length;
  holds(2 <= seen && seen <= 6, `${seen} replies of one each 50 ms in 330 ms`);
  await counted.rises("expired");
}

async function a_deadline_that_is_met_changes_nothing(stub) {
  const counted = await Counted.begin(stub, "Unary");
  const payload = Buffer.from("x");
  same((await unary(stub, { payload, delay_ns: 50e6 }, { timeout: 30_000 }).reply()).payload, payload);
  await counted.rises("finished");
}

async function cancelling_ends_the_handler(stub) {
  for (const method of METHODS) {
    const counted = await Counted.begin(stub, method);
    const call = await endless(stub, method);
    await counted.starts();
    call.call.cancel();
    same((await call.fails()).code, Code.CANCELLED, method);
    await counted.rises("cancelled");
  }
}

async function cancelling_a_stream_midway_ends_its_handler(stub) {
  const counted = await Counted.begin(stub, "ServerStream");
  const call = new Call(stub, "ServerStream", { reply_count: 1_000_000, reply_size: 1000 });
  for (let index = 0; index < 10; index += 1) same((await call.next()).index, index);
  call.call.cancel();
  await counted.rises("cancelled");
}

// ---- many at once

async function sixty_four_in_flight_of_every_size(stub) {
  for (const [size, rounds] of [[0, 8], [100, 8], [10 * KIB, 8], [100 * KIB, 4], [4 * MIB - 5, 1]]) {
    const payload = pattern(size);
    const calls = async () => {
      for (let round = 0; round < rounds; round += 1) await echo(stub, payload);
    };
    await Promise.all(Array.from({ length: 64 }, calls));
  }
}

async function ten_thousand_mixed_calls_at_once(stub) {
  const kinds = [
    (n) => echo(stub, pattern(n % 1500, n)),
    () => empty_call(stub),
    (n) => mixedServerStream(stub, n),
    (n) => mixedClientStream(stub, n),
    (n) => mixedBidi(stub, n),
    (n) => mixedFailure(stub, n),
    (n) => mixedMetadata(stub, n),
  ];
  // A stride that is prime to the number visits all, and mixes the kinds.
  const numbers = Array.from({ length: 10_000 }, (_, i) => (i * 7919) % 10_000);
  await Promise.all(numbers.map((n) => kinds[n % kinds.length](n)));
}

async function mixedServerStream(stub, n) {
  const replies = await new Call(stub, "ServerStream", { reply_count: n % 8, reply_size: n % 700 }).ok();
  same(replies, Array.from({ length: n % 8 }, (_, index) => ({ payload: pattern(n % 700, index), index })));
}

async function mixedClientStream(stub, n) {
  const payloads = Array.from({ length: n % 7 }, (_, index) => pattern(n % 900, index));
  const call = await new Call(stub, "ClientStream").send(...payloads.map((payload) => ({ payload })));
  const data = Buffer.concat(payloads);
  same(await call.end().reply(), { messages: payloads.length, bytes: data.length, checksum: crc32(data) });
}

async function mixedBidi(stub, n) {
  const call = new Call(stub, "Bidi");
  for (let turn = 0; turn < 1 + (n % 3); turn += 1) {
    const payload = pattern(n % 600, turn);
    await call.send({ payload, reply_count: 1 });
    same(await call.next(), { payload, index: turn });
  }
  await call.end().ok();
}

async function mixedFailure(stub, n) {
  const tens = Math.floor(n / 10);
  const failure = { code: 1 + (tens % 16), message: `${MESSAGES[tens % MESSAGES.length]} №${n}` };
  const { code, details } = await unary(stub, { failure }).fails();
  same({ code, message: details }, failure);
}

async function mixedMetadata(stub, n) {
  const sent = [[`${INITIAL}n`, `${n}`], [`${INITIAL}n`, "again"], [`${TRAILING}n-bin`, Buffer.from([n % 256])]];
  const call = unary(stub, { reply_size: n % 100 }, { fields: sent });
  same((await call.reply()).payload, pattern(n % 100));
  await bothReflected(call, sent);
}

async function every_handler_that_started_has_ended(stub) {
  for (const until = Date.now() + 5000; ; await sleep(50)) {
    const { methods } = await new Call(stub, "Counters", {}).reply();
    const open = Object.entries(methods)
      .map(([name, n]) => [name, n.started - n.finished - n.failed - n.cancelled - n.expired])
      .filter(([, n]) => n !== 0);
    if (open.length === 0) return;
    holds(Date.now() < until, `handlers that started and never ended: ${JSON.stringify(open)}`);
  }
}

const ALL = [
  empty_call,
  unary_echoes_every_size,
  unary_carries_a_message_of_exactly_4_mib,
  unary_makes_replies_of_the_size_asked_for,
  server_stream_keeps_order,
  client_stream_is_summed,
  bidi_answers_in_turn,
  bidi_reads_what_was_written_ahead,
  streams_without_a_message_end_with_ok,
  metadata_comes_back_on_all_kinds,
  metadata_comes_back_beside_an_error,
  a_hundred_fields_come_back,
  every_code_and_message_arrives,
  details_arrive,
  streams_end_with_their_status_after_their_messages,
  a_failed_stream_ends_though_the_client_still_writes,
  unknown_methods_are_unimplemented_and_the_connection_stays,
  an_oversize_message_exhausts_resources,
  a_message_that_does_not_decode_is_internal,
  a_deadline_ends_the_call_here_and_its_handler_there,
  a_deadline_cuts_a_stream_that_has_begun,
  a_deadline_that_is_met_changes_nothing,
  cancelling_ends_the_handler,
  cancelling_a_stream_midway_ends_its_handler,
  sixty_four_in_flight_of_every_size,
  ten_thousand_mixed_calls_at_once,
  every_handler_that_started_has_ended,
];

const [address, ...rest] = process.argv.slice(2);
const group = rest.find((word) => word.startsWith("--group="))?.slice("--group=".length);
const names = rest.filter((word) => !word.startsWith("--"));
const checks = group ? require(`./${group}`) : ALL;
run(checks.filter(({ name }) => names.length === 0 || names.includes(name)), connect(address), address);
