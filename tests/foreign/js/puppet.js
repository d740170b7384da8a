// What both sides share: the generated code, the payloads that the protocol of the tests agrees on, and TLS or its
// absence, as the environment of the pass says (see ../common.sh).
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const proto = path.join(__dirname, "../../proto/interop.proto");
const definition = loader.loadSync(proto, { keepCase: true, longs: Number, defaults: true });
const { Interop } = grpc.loadPackageDefinition(definition).testing;

const INITIAL = "x-initial-";
const TRAILING = "x-trailing-";
const DETAILS = "grpc-status-details-bin";

const folder = process.env.FOREIGN_TLS || "";
const mutual = Boolean(process.env.FOREIGN_MUTUAL);
const file = (name) => fs.readFileSync(path.join(folder, name));

function clientCredentials() {
  if (!folder) return grpc.credentials.createInsecure();
  if (!mutual) return grpc.credentials.createSsl(file("servers.pem"));
  return grpc.credentials.createSsl(file("servers.pem"), file("client.key"), file("client.pem"));
}

function serverCredentials() {
  if (!folder) return grpc.ServerCredentials.createInsecure();
  const pair = { private_key: file("server.key"), cert_chain: file("server.pem") };
  return grpc.ServerCredentials.createSsl(mutual ? file("clients.pem") : null, [pair], mutual);
}

const bytes = Array.from({ length: 256 }, (_, index) => index);
const periods = bytes.map((index) => Buffer.from(bytes.map((i) => (31 * i + 7 + index) % 256)));

/** The payload of a reply whose size was asked for. */
const pattern = (size, index = 0) => Buffer.alloc(size, periods[index % 256]);

const table = bytes.map((byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc >>> 0;
});

/** CRC-32 as in zlib, continued from `checksum`, which starts at 0. */
function crc32(data, checksum = 0) {
  let crc = ~checksum;
  for (const byte of data) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

module.exports = {
  grpc,
  Interop,
  INITIAL,
  TRAILING,
  DETAILS,
  clientCredentials,
  serverCredentials,
  pattern,
  crc32,
  sleep,
};
