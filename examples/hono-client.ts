/**
 * Hono's typed client with a guarded `fetch`, a deadline for each call and an answer for when the
 * circuit is open.
 *
 *     deno run -A examples/hono-client.ts
 */

import { createFuse } from "@fuse/edge";
import { Hono } from "hono";
import { hc } from "hono/client";

let hangs = false;
const over = Promise.withResolvers<void>();
const app = new Hono().get("/stock/:id", async (c) => {
  if (hangs) await over.promise;
  return c.json({ id: c.req.param("id"), stock: 3 });
});
await using upstream = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, app.fetch);

const inventory = createFuse().make("inventory", {
  failureThreshold: 2,
  callTimeoutMs: 1_500,
  fallback: () => Response.json({ id: "unknown", stock: 0 }),
});
const client = hc<typeof app>(`http://127.0.0.1:${upstream.addr.port}`, {
  fetch: inventory.fetch as typeof fetch,
});

for (const ill of [false, true, true, true]) {
  hangs = ill;
  try {
    const response = await client.stock[":id"].$get({ param: { id: "7" } });
    console.log(await response.json(), await inventory.getState());
  } catch (error) {
    console.log((error as Error).name, await inventory.getState());
  }
}
over.resolve();
