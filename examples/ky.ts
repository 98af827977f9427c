/**
 * ky with a guarded `fetch`: its timeout counts, and its retries end with a rejection.
 *
 *     deno run -A examples/ky.ts
 */

import { createFuse, rejectionOf } from "@fuse/edge";
import ky from "ky";

let received = 0;
let healthy = true;
await using upstream = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => {
  received++;
  return healthy ? Response.json({ stock: 3 }) : new Response("overloaded", { status: 503 });
});

const shop = createFuse().make("shop", { failureThreshold: 3, abandonedAfterMs: 4_000 });
const api = ky.create({
  fetch: shop.fetch,
  timeout: 5_000,
  retry: {
    limit: 2,
    backoffLimit: 1,
    // A rejection is immediate, and a retry would be rejected too.
    shouldRetry: ({ error }) => rejectionOf(error) === undefined ? undefined : false,
  },
});
const url = `http://127.0.0.1:${upstream.addr.port}/stock`;

console.log("healthy:", await api.get(url).json());
healthy = false;
received = 0;
for (let call = 1; call <= 2; call++) {
  const error = await api.get(url).json().catch((error: unknown) => error);
  const rejection = rejectionOf(error);
  const told = rejection === undefined ? (error as Error).name : `rejected, ${rejection.name}`;
  console.log(`call ${call}: ${told}; received ${received}, ${await shop.getState()}`);
}
