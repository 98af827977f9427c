/**
 * A process of its own in which a circuit of a local database has text that is not UTF-8.
 *
 * @module
 */
import { createClient } from "@libsql/client";
import { createFuse } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";

const client = createClient({ url: ":memory:" });
await migrate(client);
const fuse = createFuse({
  stores: { database: libsql({ client }) },
  defaults: { consistency: "strong", failureThreshold: 1 },
});
fuse.on("store_error", () => {});
const [spoilt, well] = [fuse.make("spoilt"), fuse.make("well")];
for (const breaker of [spoilt, well]) await breaker.call(() => 1);
await client.execute(
  "update circuit_breakers set override = 'disabled', override_actor = cast(x'ff' as text) where key = 'spoilt'",
);
await spoilt.tryCall(() => Promise.reject(new Error("boom")));
const result = await spoilt.tryCall(() => 1);
const listed = (await Array.fromAsync(fuse.list())).length;
await spoilt.reset();
const state = await spoilt.getState();
console.log(`${!result.ok && result.rejected ? "rejected" : "ran"}, listed ${listed}, ${state}`);
client.close();
