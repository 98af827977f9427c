// Moves circuits between drivers: memory, Redis, libSQL, and Redis with its trail in libSQL.
// `unit/transfer_test.ts` and `drivers/libsql/transfer_test.ts` cover memory and libSQL in full.
import { assert, assertEquals } from "@std/assert";
import { type Client, createClient } from "@libsql/client";
import { createFuse, memory, type Store } from "@fuse/edge";
import { libsql, tiered } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { FakeClock } from "@fuse/edge/testing";
import { upstash } from "@fuse/edge/upstash";
import { exported, fuseOf, goesOn, type MakeStore, SCENARIOS } from "../support/moves.ts";
import { sharedRedis } from "../support/redis_server.ts";
import { IN_FULL } from "../support/scale.ts";
import { fail, succeed } from "../support/setups.ts";
import { eventsOf } from "../support/trails.ts";
import { startFace } from "../support/upstash_face.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

const redis = await sharedRedis();
const face = await startFace({ redis });
let made = 0;

type Driver = "memory" | "upstash" | "libsql" | "tiered";

/** Creates empty stores of a driver, and closes what they opened in the end. */
async function withStores(
  drivers: readonly Driver[],
  body: (makers: MakeStore[]) => Promise<void>,
): Promise<void> {
  const clients: Client[] = [];
  const makers = await Promise.all(drivers.map(async (driver): Promise<MakeStore> => {
    const { url, token } = face;
    const cache = (clock: () => number) => upstash({ url, token, prefix: `move-${made++}`, clock });
    if (driver === "memory") {
      return (clock, skewMs) => memory({ clock: () => clock.now() + skewMs });
    }
    if (driver === "upstash") return (clock, skewMs) => cache(() => clock.now() + skewMs);
    const client = createClient({ url: ":memory:" });
    clients.push(client);
    await migrate(client);
    return (clock, skewMs) => {
      const now = () => clock.now() + skewMs;
      const database = libsql({ client, clock: now, trailKey: "a key" });
      return driver === "libsql"
        ? database
        : tiered({ state: cache(now), audit: database, auditTimeoutMs: 20_000 });
    };
  }));
  try {
    await body(makers);
    for (const client of clients) {
      assertEquals((await libsql({ client, trailKey: "a key" }).verifyTrail()).ok, true);
    }
  } finally {
    for (const client of clients) client.close();
  }
}

const PAIRS: readonly (readonly [Driver, Driver])[] = [
  ["memory", "upstash"],
  ["upstash", "memory"],
  ["upstash", "libsql"],
  ["libsql", "upstash"],
];

for (const [nth, pair] of PAIRS.entries()) {
  for (const [i, scenario] of SCENARIOS.entries()) {
    const name = `Fuse.importState() goes on where exportState() stopped when there is ` +
      `${scenario.name} (${pair.join(" to ")})`;
    // In quick runs each scenario has one pair, and each pair some scenarios.
    Deno.test({ name, ...i % PAIRS.length === nth ? {} : IN_FULL }, async () => {
      await withStores(pair, ([from, to]) => goesOn(scenario, from!, to!));
    });
  }
}

const DRIVERS: readonly Driver[] = ["memory", "upstash", "libsql", "tiered"];

for (const from of DRIVERS) {
  for (const to of DRIVERS) {
    Deno.test(`Fuse.importState() transfers many circuits, scoped and unscoped, with all their state (${from} to ${to})`, async () => {
      await withStores([from, to], async ([here, there]) => {
        const clock = new FakeClock();
        const [source, target] = [here!(clock, 3_600_000), there!(clock, -7_000)];
        const one = fuseOf(clock, source);
        const tenant = { type: "tenant", id: "a:b*" };
        const views = [
          one,
          one.for(tenant),
          one.boundary(tenant),
          one.for(tenant).boundary(tenant),
        ];
        for (const [i, view] of views.entries()) {
          await fail(view.make("open"), 5);
          await succeed(view.make("closed"), i + 1);
          await view.make("forced").forceOpen({
            forMs: 50_000,
            reason: `drill ${i}`,
            actor: "ada",
          });
        }
        clock.advance(20_000);
        const other = fuseOf(clock, target);
        assertEquals(await other.importState(await exported(one)), { imported: 12, kept: 0 });
        const moved = [other, other.for(tenant), other.boundary(tenant)]
          .concat(other.for(tenant).boundary(tenant));
        for (const [i, view] of moved.entries()) {
          const open = await view.make("open").tryCall(() => 1);
          assertEquals("retryAfterMs" in open && open.retryAfterMs, 40_000);
          assertEquals((await view.make("closed").getMetrics()).totalSuccesses, i + 1);
          const { override } = await view.make("forced").snapshot();
          assertEquals([override?.kind, override?.reason, override?.actor], [
            ...["forced_open", `drill ${i}`, "ada"],
          ]);
          const left = override!.until!.getTime() -
            (clock.now() - 7_000);
          assertEquals(left, 30_000);
        }
        await other.flush();
        if (!target.traits.audited) return;
        const events = (await eventsOf(target as never)).map(({ event }) => event);
        assertEquals(events, Array(12).fill("imported"));
      });
    });
  }
}

for (const driver of DRIVERS) {
  Deno.test(`a circuit on a new driver starts fresh without an import (${driver})`, async () => {
    await withStores([driver], async ([make]) => {
      const clock = new FakeClock();
      const stores: Record<string, Store> = { old: memory(), new: make!(clock, 0) };
      const before = createFuse({ storeTimeoutMs: 30_000, stores, clock: clock.now });
      await fail(before.make("api"), 5);
      assertEquals(await before.make("api").getState(), "OPEN");
      await before.flush();
      // Only the default changes.
      const after = createFuse({
        storeTimeoutMs: 30_000,
        stores,
        clock: clock.now,
        default: "new",
      });
      const { state, metrics, generation } = await after.make("api").snapshot();
      assertEquals([state, metrics.totalFailures, generation], ["CLOSED", 0, 0]);
      assertEquals(await after.make("api").call(() => "an answer"), "an answer");
      await after.flush();
      assertEquals(await before.make("api").getState(), "OPEN");
    });
  });
}

for (const driver of ["libsql", "tiered"] as const) {
  Deno.test(`resetAll() writes one row for each circuit, with reason and actor (${driver})`, async () => {
    await withStores([driver], async ([make]) => {
      const clock = new FakeClock();
      const store = make!(clock, 0);
      const fuse = fuseOf(clock, store);
      for (const name of ["a", "b", "c"]) await fail(fuse.make(name), 5);
      await succeed(fuse.make("d"), 1);
      await fuse.flush();
      assertEquals(await fuse.resetAll({ reason: "moving", actor: "ada" }), 4);
      const resets = await eventsOf(store as never, { event: "reset" });
      assertEquals(resets.map(({ key }) => key).sort(), ["a", "b", "c", "d"]);
      for (const { metadata } of resets) {
        assertEquals([metadata?.["reason"], metadata?.["actor"]], ["moving", "ada"]);
      }
      const opened = await eventsOf(store as never, { event: "opened" });
      assert(opened.length === 3);
    });
  });
}
