// verifyTrail() compares the circuits with their trail: what is found, and who is never accused.
import { assertEquals, assertThrows } from "@std/assert";
import { FakeClock } from "@fuse/edge/testing";
import type { Client } from "@libsql/client";
import { inMemory } from "../../support/databases.ts";
import { type DatabaseStore, libsql } from "../../support/drivers.ts";
import { acquiring, changing, eventsOf, laying, tally } from "../../support/trails.ts";

interface Scene {
  readonly store: DatabaseStore;
  readonly client: Client;
  readonly clock: FakeClock;
}

async function withScene(body: (scene: Scene) => Promise<void>): Promise<void> {
  await inMemory(async (client) => {
    const clock = new FakeClock();
    const store = libsql({ client, clock: clock.now, trailKey: "a key" });
    await store.record("a", tally({ failures: 1 }));
    await store.transition("a", changing());
    const words = { reason: "incident", actor: "ada" };
    await store.override("a", { ...laying(), ...words, kind: "forced_open" });
    await body({ store, client, clock });
  });
}

/** Whoever raises the revision is taken for the store by the trigger. */
const ATTACKS: readonly [set: string, field: string][] = [
  ["override = 'forced_closed'", "override"],
  ["override = null", "override"],
  ["override_until = 5", "override_until"],
  ["override_actor = 'bob'", "override_actor"],
  ["override_reason = 'a drill'", "override_reason"],
  ["state = 'CLOSED'", "state"],
  ["open_until = open_until - 1", "open_until"],
  ["began = began + 1", "generation"],
];

for (const [set, field] of ATTACKS) {
  Deno.test(`verifyTrail() finds a circuit whose row was changed by hand: ${set}`, async () => {
    await withScene(async ({ store, client }) => {
      assertEquals((await store.verifyTrail()).ok, true);
      await client.execute(`update circuit_breakers set ${set}, revision = revision + 1`);
      const { ok, brokenAt } = await store.verifyTrail();
      const { circuit, problem, detail } = brokenAt!;
      assertEquals([ok, circuit, problem], [false, "a", "circuit"]);
      assertEquals(detail, `The circuit is not as its last row says: its ${field}`);
    });
  });
}

Deno.test("verifyTrail() finds a circuit put there by hand that has changed without a row", async () => {
  await withScene(async ({ store, client }) => {
    await client.execute(
      "insert into circuit_breakers (key, name, state, override, override_actor, generation) " +
        "values ('b', 'b', 'OPEN', 'forced_open', 'ada', 2)",
    );
    const { brokenAt } = await store.verifyTrail({ circuit: "b" });
    assertEquals(brokenAt?.problem, "unchained");
  });
});

Deno.test("a circuit deleted by hand is told by a row of the trail, which verifies", async () => {
  await withScene(async ({ store, client }) => {
    await client.execute("delete from circuit_breakers");
    const [edited] = await eventsOf(store, { key: "a" });
    assertEquals([edited?.event, edited?.metadata?.["by"]], ["edited", "delete"]);
    assertEquals((await store.verifyTrail()).ok, true);
    await store.record("a", tally({ failures: 1 }));
    await store.transition("a", changing());
    assertEquals((await store.verifyTrail()).ok, true);
    // By two clocks: the database's knows nothing of the test's.
    const events = (await eventsOf(store, { key: "a" })).map(({ event }) => event);
    assertEquals(events.toSorted(), ["edited", "forced_open", "opened", "opened"]);
  });
});

Deno.test("trailKeys changes the key of a trail: the first one hashes, all of them verify", async () => {
  await withScene(async ({ store: old, client, clock }) => {
    const open = (...trailKeys: string[]) => libsql({ client, clock: clock.now, trailKeys });
    await open("a key", "new").transition("a", changing({ to: "CLOSED", event: "reset" }));
    assertEquals((await old.verifyTrail()).ok, true);
    const both = open("new", "a key");
    await both.override("a", { ...laying(), kind: "disabled" });
    assertEquals((await both.verifyTrail()).ok, true);
    assertEquals((await old.verifyTrail()).brokenAt?.problem, "changed");
    clock.advance(10_000);
    assertEquals((await both.prune({ olderThanMs: 1_000 })).deleted > 2, true);
    await both.override("a", { ...laying(), kind: "forced_open" });
    assertEquals((await open("new").verifyTrail()).brokenAt, null);
  });
});

Deno.test("libsql() refuses trailKeys that are none, and shows none of them", () => {
  const client = { execute: () => {}, batch: () => {} } as never;
  for (const trailKeys of [[], ["secret", ""], "secret", ["secret", 5]] as never[]) {
    const error = assertThrows(() => libsql({ client, trailKeys }), Error, '"trailKeys"');
    assertEquals(error.message.includes("secret"), false);
  }
  assertThrows(() => libsql({ client, trailKey: "a", trailKeys: ["b"] }), Error, '"trailKeys"');
});

const HONEST: Record<string, (scene: Scene) => Promise<unknown>> = {
  "an override that is kept through a reset": ({ store }) =>
    Promise.resolve(store.transition("a", changing({ to: "CLOSED", event: "reset" }))),
  "an override that ran out": async ({ store, clock }) => {
    const until = clock.now() + 1_000;
    await store.override("a", { ...laying(), kind: "disabled", until, at: clock.now() });
    clock.advance(1_001);
    await store.record("a", tally({ failures: 1 }));
  },
  "an override that ran out, and a transition upon it": async ({ store, clock }) => {
    const until = clock.now() + 1_000;
    await store.override("a", { ...laying(), kind: "disabled", until, at: clock.now() });
    clock.advance(1_001);
    await store.transition("a", changing({ to: "CLOSED", event: "reset" }));
  },
  "an override that was laid by hand": ({ client }) =>
    client.execute("update circuit_breakers set override = 'disabled', override_actor = 'bob'"),
  "an override by hand, and a reset upon it": async ({ client, store }) => {
    await client.execute("update circuit_breakers set override = 'disabled'");
    await store.transition("a", changing({ to: "CLOSED", event: "reset" }));
  },
  "the bulk update of the seed": ({ client }) =>
    client.execute("update circuit_breakers set state = 'CLOSED', failure_count = 0"),
  "a circuit that went half-open": async ({ store, clock }) => {
    await store.override("a", { ...laying(), kind: null });
    clock.advance(3_600_000);
    await store.acquire("a", acquiring());
  },
  "a chain that was pruned": async ({ store, clock }) => {
    clock.advance(10_000);
    await store.prune({ olderThanMs: 1_000 });
  },
  "a pruned chain that goes on": async ({ store, clock }) => {
    clock.advance(10_000);
    await store.prune({ olderThanMs: 1_000 });
    await store.override("a", { ...laying(), kind: "disabled" });
  },
  "a circuit that was removed": ({ store }) => Promise.resolve(store.remove("a")),
  "a circuit that was removed and is used again": async ({ store }) => {
    await store.remove("a");
    await store.record("a", tally({ failures: 1 }));
    await store.transition("a", changing());
  },
  "an import": async ({ store, clock }) => {
    const shape = () => ({ windowMs: 1_000, windowSize: 0 });
    const at = clock.now();
    const { records: [record] } = await store.list({ cursor: null, limit: 10, at, shape });
    clock.advance(5_000);
    await store.restore("a", {
      ...{ ...laying(), at: clock.now() - 77, record: record!, existing: "replace" },
    });
  },
};

for (const [what, act] of Object.entries(HONEST)) {
  Deno.test(`verifyTrail() accuses nobody of ${what}`, async () => {
    await withScene(async (scene) => {
      await act(scene);
      assertEquals((await scene.store.verifyTrail()).brokenAt, null);
    });
  });
}
