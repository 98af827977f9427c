// The seed's hybrid set-up: payments in the database, the user service in the cache, an internal
// tool in memory, by name and by hand.
import { assert, assertEquals } from "@std/assert";
import { createClient } from "@libsql/client/web";
import { createFuse, memory } from "@fuse/edge";
import { libsql, tiered } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { upstash } from "@fuse/edge/upstash";
import { sharedRedis } from "../../support/redis_server.ts";
import { fail, succeed } from "../../support/setups.ts";
import { sqldForFile } from "../../support/sqld.ts";
import { eventsOf } from "../../support/trails.ts";
import { startFace } from "../../support/upstash_face.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

const redis = await sharedRedis();
const face = await startFace({ redis });
const server = await sqldForFile();
const client = createClient({ url: server.url });
await migrate(client);
let setups = 0;

/** The three stores, and a Fuse that assigns circuits to them by name. */
function hybrid(isTiered = false) {
  const prefix = `hybrid-${setups++}`;
  const database = libsql({ client });
  const state = upstash({ url: face.url, token: face.token, prefix });
  const cache = isTiered ? tiered({ state, audit: database, auditTimeoutMs: 20_000 }) : state;
  const fuse = createFuse({
    stores: { database, cache, array: memory() },
    default: "array",
    circuits: {
      "payment-*": { store: "database", failureThreshold: 2 },
      "user-service": { store: "cache", failureThreshold: 3 },
    },
    storeTimeoutMs: 20_000,
  });
  return { fuse, database, prefix };
}

async function storesOf(name: string, prefix: string): Promise<string[]> {
  const { rows } = await client.execute({
    sql: "select count(*) as n from circuit_breakers where name = ?",
    args: [name],
  });
  const keys = await redis.command("EXISTS", `${prefix}:${name}:state`);
  return [...rows[0]!["n"] === 1 ? ["database"] : [], ...keys === 1 ? ["cache"] : []];
}

Deno.test("createFuse() keeps each circuit in the store that the pattern of its name selects", async () => {
  const { fuse, prefix } = hybrid();
  const names = [`payment-${crypto.randomUUID()}`, "user-service", "internal-tool"] as const;
  const [payment, user, tool] = names.map((name) => fuse.make(name));
  assertEquals([payment, user, tool].map((breaker) => breaker?.store), [
    ...["database", "cache", "array"],
  ]);
  await fail(payment!, 2);
  await fail(user!, 3);
  await fail(tool!, 5);
  await fuse.flush();
  for (const breaker of [payment, user, tool]) assertEquals(await breaker?.getState(), "OPEN");
  assertEquals(await storesOf(names[0], prefix), ["database"]);
  assertEquals(await storesOf(names[1], prefix), ["cache"]);
  assertEquals(await storesOf(names[2], prefix), []);
  assertEquals((await Array.fromAsync(payment!.history())).map(({ event }) => event), ["opened"]);
});

Deno.test("Fuse.store() keeps each circuit in the store that the caller names, whatever the patterns say", async () => {
  const { fuse, prefix } = hybrid();
  const name = `payment-${crypto.randomUUID()}`;
  const breakers = ["database", "cache", "array"].map((store) => fuse.store(store).make(name));
  await succeed(breakers[0]!);
  await fail(breakers[1]!, 2);
  await fuse.flush();
  assertEquals(await storesOf(name, prefix), ["database", "cache"]);
  // The options of the pattern apply, and there are three circuits.
  assertEquals(await Promise.all(breakers.map((breaker) => breaker.getState())), [
    ...["CLOSED", "OPEN", "CLOSED"],
  ]);
});

Deno.test("Fuse.store() and a pattern refer to the same circuit when they name the same store", async () => {
  const { fuse } = hybrid();
  const name = `payment-${crypto.randomUUID()}`;
  await fuse.store("database").make(name).forceOpen();
  assertEquals(await fuse.make(name).getState(), "OPEN");
  assertEquals(fuse.make(name).key, fuse.store("database").make(name).key);
  const listed = await Array.fromAsync(fuse.list({ name }));
  assertEquals(listed.map(({ store }) => store), ["database"]);
});

Deno.test("tiered() and the database of its trail share one history", async () => {
  const { fuse, database } = hybrid(true);
  const name = `payment-${crypto.randomUUID()}`;
  const payment = fuse.make(name);
  const user = fuse.make("user-service");
  await fail(payment, 2);
  await fail(user, 3);
  await fuse.flush();
  assertEquals((await Array.fromAsync(user.history())).map(({ event, store }) => [event, store]), [
    ["opened", "cache"],
  ]);
  const all = await eventsOf(database);
  assertEquals(
    all.filter(({ key }) => [name, "user-service"].includes(key)).map(({ event }) => event),
    ["opened", "opened"],
  );
  assert((await database.verifyTrail()).ok);
});

Deno.test("an unreachable store does not affect circuits of other stores", async () => {
  await using own = await startFace({ redis });
  const fuse = createFuse({
    stores: {
      cache: upstash({ url: own.url, token: own.token, prefix: `hybrid-${setups++}` }),
      database: libsql({ client }),
    },
    circuits: { "payment-*": { store: "database" } },
    defaults: { consistency: "strong", onStoreError: "reject" },
    storeTimeoutMs: 20_000,
  });
  await own.stopListening();
  assertEquals((await fuse.make("user-service").tryCall(() => 1)).ok, false);
  assertEquals(await fuse.make(`payment-${crypto.randomUUID()}`).call(() => 1), 1);
  await fuse.flush();
});
