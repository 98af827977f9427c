/**
 * Redis over TCP: two services on one Redis share a circuit, one with ioredis, one with node-redis.
 * It is also a way to develop locally, where Redis has no REST interface.
 *
 *     docker run --rm -p 6379:6379 redis:7
 *     REDIS_URL=redis://127.0.0.1:6379 deno run -A examples/redis.ts
 */

import { createFuse } from "@fuse/edge";
import { redis } from "@fuse/edge/redis";
import { createClient } from "@redis/client"; // or "redis"
import { Redis } from "ioredis";

const url = Deno.env.get("REDIS_URL") ?? "redis://127.0.0.1:6379";

// Without these settings a client keeps commands for as long as it tries to reconnect.
const shop = new Redis(url, { maxRetriesPerRequest: 1 });
const office = createClient({ url, disableOfflineQueue: true });
// Clients report lost connections as events; the rejection of a call reports its own failure.
shop.on("error", ({ message }) => console.error(`shop: ${message}`));
office.on("error", ({ message }) => console.error(`office: ${message}`));
await office.connect();

// Stores make no request until the first call.
const defaults = { failureThreshold: 3 };
const inShop = createFuse({ defaults, stores: { cache: redis(shop) } });
const inOffice = createFuse({ defaults, stores: { cache: redis(office) } });
console.log("Redis answers:", (await inShop.check()).cache?.ok);

for (let i = 1; i <= 3; i++) {
  await inShop.make("payments").tryCall(() => Promise.reject(new Error("connection refused")));
}
await inShop.flush();
console.log("in the shop:", await inShop.make("payments").getState());

const called = await inOffice.make("payments").tryCall(() => "paid");
console.log("in the office:", called.ok ? called.value : "rejected");

await inShop.make("payments").reset();
console.log("after a reset, in the office:", await inOffice.make("payments").getState());

// The application owns the clients, and closes them after the last flush().
await Promise.all([inShop.flush(), inOffice.flush()]);
shop.disconnect();
office.destroy();
