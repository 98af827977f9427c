/**
 * Several stores, each for its strength: payments in a database, which records every opening and
 * closing; the user service in Redis, for speed; an internal tool in memory.
 *
 *     deno run -A examples/hybrid.ts
 *
 * With UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN it uses your Redis, and with
 * TURSO_DATABASE_URL (and TURSO_AUTH_TOKEN) your database, which has the tables already
 * (`deno task db:migrate`). Without them, a database in memory, and memory in place of Redis.
 */

import { createFuse, memory, type Store } from "@fuse/edge";
import { libsql, type LibsqlStore } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { upstash } from "@fuse/edge/upstash";

await using fuse = createFuse({
  stores: { database: await database(), cache: cache(), array: memory() },
  default: "array",
  circuits: {
    "payment-*": { store: "database", failureThreshold: 2 },
    "user-service": { store: "cache", failureThreshold: 3 },
  },
  storeTimeoutMs: 10_000, // a script can wait; a server should not
});

// Callers need not know the store of a circuit: its name decides.
const payments = fuse.make("payment-processing");
const users = fuse.make("user-service");
const tool = fuse.make("internal-tool");
for (const breaker of [payments, users, tool]) {
  await breaker.reset({ reason: "the example begins" });
  for (let i = 0; i < 3; i++) {
    await breaker.tryCall(() => Promise.reject(new Error("connection refused")));
  }
}
await fuse.flush(); // waits for the shared stores' background writes

for (const breaker of [payments, users, tool]) {
  console.log(`${breaker.name} in ${breaker.store}: ${await breaker.getState()}`);
}

// The database records the event, its time and its reason.
for await (const { event, metadata } of payments.history({ limit: 2 })) {
  console.log(`on record: ${event}, ${metadata?.["reason"]}`);
}

// Or by hand. The same name in another store is another circuit.
const elsewhere = fuse.store("cache").make("payment-processing");
console.log(`${elsewhere.name} in ${elsewhere.store}: ${await elsewhere.getState()}`);

async function database(): Promise<LibsqlStore> {
  const url = Deno.env.get("TURSO_DATABASE_URL");
  if (url) return libsql({ url, authToken: Deno.env.get("TURSO_AUTH_TOKEN") });
  const { createClient } = await import("@libsql/client");
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  return libsql({ client });
}

function cache(): Store {
  const url = Deno.env.get("UPSTASH_REDIS_REST_URL");
  const token = Deno.env.get("UPSTASH_REDIS_REST_TOKEN");
  return url && token ? upstash({ url, token }) : memory();
}
