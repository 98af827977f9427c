import { createFuse } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { assertEquals } from "@std/assert";
import { tursoInMemory } from "../../support/turso.ts";

Deno.test("libsql() adds edits by hand to the trail on Turso's engine", async () => {
  await using client = await tursoInMemory();
  await migrate(client);
  const store = libsql({ client });
  await using fuse = createFuse({ stores: { database: store }, storeTimeoutMs: 10_000 });
  const circuit = fuse.make("a");
  await circuit.forceOpen();
  await client.execute({ sql: "update circuit_breakers set failure_count = 3", args: [] });
  await circuit.reset();
  const events = await Array.fromAsync(circuit.history());
  assertEquals(events.map(({ event }) => event), ["reset", "edited", "forced_open"]);
  assertEquals((await store.verifyTrail()).ok, true);
});
