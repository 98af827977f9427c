/**
 * Notices, and a cron trigger for those of a dead isolate: a receiver that verifies the signature,
 * an isolate that sends the notices of its circuit, an isolate that dies before it can, and the
 * cron.
 *
 *     deno run -A examples/notify-cron.ts
 */

import { createFuse, type Fuse } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { notify, webhook } from "@fuse/edge/notify";
import { createClient } from "@libsql/client";

const secret = "from your secrets, the same at both ends";

/** Returns `true` if the sender knows the secret and signed this body recently. */
async function isSigned(request: Request, body: string): Promise<boolean> {
  const header = request.headers.get("fuse-signature") ?? "";
  const [, seconds, hex] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(header) ?? [];
  if (hex === undefined || Math.abs(Date.now() / 1_000 - Number(seconds)) > 300) return false;
  const bytes = (text: string) => new TextEncoder().encode(text);
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", bytes(secret), hmac, false, ["verify"]);
  const signature = Uint8Array.from(hex.match(/../g)!, (byte) => parseInt(byte, 16));
  // Compares in constant time.
  return await crypto.subtle.verify("HMAC", key, signature, bytes(`${seconds}.${body}`));
}

// The receiver: a pager, a chat bot, a queue.
const receiver = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
  const body = await request.text();
  if (!await isSigned(request, body)) return new Response("who are you?", { status: 401 });
  for (const { circuit, event, data } of JSON.parse(body).notices) {
    console.log(`told: ${circuit} ${event}, ${data.reason}, last failure ${data.lastFailure.kind}`);
    console.log(`undo: ${data.undo}`);
  }
  return new Response();
});
const url = `http://127.0.0.1:${receiver.addr.port}`;

const client = createClient({ url: ":memory:" });
await migrate(client);

/** Creates the Fuse of an isolate. */
function isolate(): Fuse {
  const stores = { database: libsql({ client }) };
  return createFuse({ stores, defaults: { failureThreshold: 1 }, storeTimeoutMs: 10_000 });
}

/** Calls an upstream that is down. */
async function call(fuse: Fuse, name: string): Promise<void> {
  await fuse.make(name).tryCall(() => Promise.reject(new TypeError("connection refused")));
  await fuse.flush();
}

// This isolate lives long enough to send its notice.
const living = isolate();
const notices = notify(living, { channels: [webhook({ url, secret })] });
await call(living, "payments");

// This isolate dies before it can: its circuit is open, and no notice was sent.
await call(isolate(), "search");

// Every minute: `Deno.cron("notices", "* * * * *", …)`, or a Worker's `scheduled()`.
for (let minute = 1; minute <= 2; minute++) {
  console.log(`cron, minute ${minute}: ${await notices.drain()} told`);
}

const forged = await fetch(url, { method: "POST", body: '{"notices":[]}' });
console.log(`forged: ${forged.status}, ${await forged.text()}`);

notices.stop();
client.close();
await receiver.shutdown();
