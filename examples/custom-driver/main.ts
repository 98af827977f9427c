/**
 * Two isolates share circuits in Deno KV, through a custom driver:
 *
 *     deno run -A --unstable-kv examples/custom-driver/main.ts
 */

import { createFuse, type Fuse } from "@fuse/edge";
import { kvStore } from "./kv_store.ts";

// In an application: `Deno.openKv()`, on Deno Deploy the KV of the project.
using kv = await Deno.openKv(":memory:");

// Two Fuses, each with its own cached view, as in two isolates.
await using one = isolate();
await using other = isolate();

for (let i = 0; i < 5; i++) {
  await one.make("payments").tryCall(() => Promise.reject(new Error("connection refused")));
}
await one.flush();

const result = await other.make("payments").tryCall(() => "paid");
console.log(`the other isolate was ${result.ok ? "let through" : "rejected"}`);
const { state, metrics } = await other.make("payments").snapshot();
console.log(`it is ${state} after ${metrics.consecutiveFailures} failures in a row`);

await other.make("payments").reset({ reason: "they are back", actor: "ada" });
console.log(`and now it is told: ${await other.make("payments").call(() => "paid")}`);

function isolate(): Fuse {
  // A script can wait for its store; a server should not.
  return createFuse({ stores: { kv: kvStore({ kv }) }, storeTimeoutMs: 10_000 });
}
