/**
 * A Worker that guards its calls of another Worker over a service binding. In wrangler.jsonc:
 * `"services": [{ "binding": "INVENTORY", "service": "inventory" }]`.
 *
 * @module
 */

import { createFuse } from "@fuse/edge";
import { env, waitUntil } from "cloudflare:workers";

const { INVENTORY } = env as unknown as { INVENTORY: { fetch: typeof fetch } };

const fuse = createFuse({ waitUntil, fetch: (input, init) => INVENTORY.fetch(input, init) });
const inventory = fuse.make("inventory", {
  failureThreshold: 3,
  callTimeoutMs: 2_000,
  fallback: () => Response.json({ stock: "unknown" }),
});

export default {
  // The host is arbitrary: the binding decides where requests go.
  fetch: (request: Request) => inventory.fetch(`http://inventory${new URL(request.url).pathname}`),
};
