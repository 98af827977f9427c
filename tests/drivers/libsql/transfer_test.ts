// Moves circuits between the memory store and libSQL. The tests of other stores cover their pairs.
import { assert, assertEquals } from "@std/assert";
import { type Client, createClient } from "@libsql/client";
import { createFuse } from "@fuse/edge";
import { migrate } from "@fuse/edge/migrations";
import { FakeClock } from "@fuse/edge/testing";
import { databasesForFile, inMemory } from "../../support/databases.ts";
import { exported, fuseOf, goesOn, type MakeStore, SCENARIOS } from "../../support/moves.ts";
import { IN_FULL } from "../../support/scale.ts";
import { fail, succeed } from "../../support/setups.ts";
import { eventsOf } from "../../support/trails.ts";
import { libsql, memory } from "../../support/drivers.ts";

const inProcess: MakeStore = (clock, skewMs) => memory({ clock: () => clock.now() + skewMs });
const inProcessClient = () => createClient({ url: ":memory:" });
const databases = await databasesForFile();

/** Runs `body` with two empty databases, a source and a target. */
async function withDatabases(
  connect: () => Client,
  body: (stores: [MakeStore, MakeStore], clients: [Client, Client]) => Promise<void>,
): Promise<void> {
  const clients: [Client, Client] = [connect(), inProcessClient()];
  for (const client of clients) await migrate(client);
  await libsql({ client: clients[0] }).remove("a");
  const makers = clients.map((client): MakeStore => (clock, skewMs) =>
    libsql({ client, clock: () => clock.now() + skewMs, trailKey: "a key" })
  );
  try {
    await body(makers as [MakeStore, MakeStore], clients);
    assertEquals((await libsql({ client: clients[1], trailKey: "a key" }).verifyTrail()).ok, true);
  } finally {
    for (const client of clients) client.close();
  }
}

for (const { name, connect } of databases) {
  for (const [i, scenario] of SCENARIOS.entries()) {
    for (const way of ["memory to libsql", "libsql to memory", "libsql to libsql"]) {
      // A database on a server and one in this process cover all cases.
      if (name === "sqld" && way === "libsql to libsql") continue;
      const title = `Fuse.importState() goes on where exportState() stopped when there is ` +
        `${scenario.name} (${way} on ${name})`;
      // A file runs all of them; on a server, quick runs have some.
      Deno.test({ name: title, ...name === "sqld" && i % 3 !== 0 ? IN_FULL : {} }, async () => {
        await withDatabases(connect, async ([here, there]) => {
          if (way === "memory to libsql") await goesOn(scenario, inProcess, here);
          else await goesOn(scenario, here, way === "libsql to memory" ? inProcess : there);
        });
      });
    }
  }
}

Deno.test("an import is recorded in the trail, in the next generation of the life that it begins", async () => {
  await withDatabases(inProcessClient, async ([, make], [, client]) => {
    const clock = new FakeClock();
    const from = fuseOf(clock, memory({ clock: clock.now }));
    await fail(from.make("a"), 5);
    const into = fuseOf(clock, make(clock, 0));
    await into.importState(await exported(from));
    const [imported, ...rest] = await eventsOf(libsql({ client }));
    assertEquals(rest, []);
    assertEquals([imported?.event, imported?.metadata?.["to"]], ["imported", "OPEN"]);
    assertEquals(
      imported?.metadata?.["generation"],
      (await into.make("a").snapshot()).generation,
    );
  });
});

Deno.test("a circuit on a new driver starts fresh without an import", async () => {
  await inMemory(async (client) => {
    const stores = { array: memory(), database: libsql({ client }) };
    const before = createFuse({ storeTimeoutMs: 30_000, stores });
    await fail(before.make("api"), 5);
    assertEquals(await before.make("api").getState(), "OPEN");
    await before[Symbol.asyncDispose]();
    // Only the default changes.
    await using after = createFuse({ storeTimeoutMs: 30_000, stores, default: "database" });
    const { state, metrics, generation } = await after.make("api").snapshot();
    assertEquals([state, metrics.totalFailures, generation], ["CLOSED", 0, 0]);
    assertEquals(await after.make("api").call(() => "an answer"), "an answer");
    // And back: memory still has its circuits.
    await using back = createFuse({ storeTimeoutMs: 30_000, stores });
    assertEquals(await back.make("api").getState(), "OPEN");
  });
});

Deno.test("resetAll() writes one row for each circuit, with reason and actor", async () => {
  await inMemory(async (client) => {
    const store = libsql({ client, trailKey: "a key" });
    await using fuse = createFuse({ storeTimeoutMs: 30_000, stores: { database: store } });
    for (const name of ["a", "b", "c"]) await fail(fuse.make(name), 5);
    await succeed(fuse.make("d"), 1);
    await fuse.flush();
    assertEquals(await fuse.resetAll({ reason: "moving", actor: "ada" }), 4);
    const resets = await eventsOf(store, { event: "reset" });
    assertEquals(resets.map(({ key }) => key).sort(), ["a", "b", "c", "d"]);
    for (const { metadata } of resets) {
      assertEquals([metadata?.["reason"], metadata?.["actor"]], ["moving", "ada"]);
    }
    assert((await store.verifyTrail()).ok);
  });
});
