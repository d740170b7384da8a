// Loads pages in headless Chromium and prints what they show once they are done: `browser.mjs URL...`.
//
// Speaks the DevTools protocol over its pipe (file descriptors 3 and 4): JSON texts, each ended by NUL.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const profile = mkdtempSync(join(tmpdir(), "chromium-"));
const chromium = spawn(
  process.env.CHROMIUM ?? "chromium",
  ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--ignore-certificate-errors", `--user-data-dir=${profile}`, "--remote-debugging-pipe", "about:blank"],
  { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] },
);
const [, , , input, output] = chromium.stdio;
const waiting = new Map();
let text = "";
output.on("data", (data) => {
  const parts = (text + data).split("\0");
  text = parts.pop();
  for (const part of parts) {
    const message = JSON.parse(part);
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
  }
});
let last = 0;
function ask(method, params = {}, sessionId) {
  last += 1;
  input.write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
  return new Promise((resolve, reject) => {
    waiting.set(last, ({ error, result }) => (error ? reject(new Error(`${method}: ${error.message}`)) : resolve(result)));
  });
}

async function show(url) {
  const { targetId } = await ask("Target.createTarget", { url });
  const { sessionId } = await ask("Target.attachToTarget", { targetId, flatten: true });
  const expression = "document.getElementById('lines')?.textContent ?? ''";
  let value = "";
  for (let tries = 0; tries < 200; tries += 1) {
    // Between two documents there is no place to evaluate in.
    const seen = await ask("Runtime.evaluate", { expression }, sessionId).catch(() => undefined);
    value = seen?.result.value ?? value;
    if (value.endsWith("done")) {
      return value;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return `${value}\nnot done in 20 s`;
}

const timer = setTimeout(() => process.exit(1), 120_000);
try {
  for (const url of process.argv.slice(2)) {
    console.log(`== ${url}\n${await show(url)}`);
  }
} finally {
  clearTimeout(timer);
  chromium.kill();
  await new Promise((resolve) => chromium.on("exit", resolve));
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}
