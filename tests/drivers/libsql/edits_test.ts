// Rows of the libSQL store that somebody has edited by hand, and the trail as a Fuse reads it.
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Client } from "@libsql/client";
import {
  type CircuitBreaker,
  type CircuitOptions,
  createFuse,
  type Fuse,
  type FuseEvent,
} from "@fuse/edge";
import { libsql, type LibsqlStore } from "@fuse/edge/libsql";
import { inMemory } from "../../support/databases.ts";

async function eventsOf(store: LibsqlStore, key?: string) {
  const events = [];
  for await (const event of store.history(key === undefined ? {} : { key })) events.push(event);
  return events;
}

const STRONG: CircuitOptions = { consistency: "strong", failureThreshold: 2, cooldownMs: 60_000 };
const down = () => Promise.reject(new Error("down"));

/** A circuit that a Fuse uses while somebody edits its row. */
async function withBreaker(
  body: (parts: {
    client: Client;
    store: LibsqlStore;
    fuse: Fuse;
    breaker: CircuitBreaker;
    events: FuseEvent[];
  }) => Promise<void>,
): Promise<void> {
  await inMemory(async (client) => {
    const store = libsql({ client });
    await using fuse = createFuse({ storeTimeoutMs: 30_000, stores: { database: store } });
    const events: FuseEvent[] = [];
    fuse.on("*", (event) => events.push(event));
    await body({ client, store, fuse, breaker: fuse.make("api", STRONG), events });
  });
}

Deno.test("the seed's bulk update closes circuits, raises their generation and appears in the trail", async () => {
  await withBreaker(async ({ client, store, fuse, breaker }) => {
    for (let i = 0; i < 2; i++) await breaker.tryCall(down);
    assertEquals(await breaker.getState(), "OPEN");
    await fuse.make("well").call(() => 1);
    await fuse.flush();
    const { generation } = await breaker.snapshot();
    await client.execute(
      "UPDATE circuit_breakers SET state='CLOSED', failure_count=0, success_count=0",
    );
    const snapshot = await breaker.snapshot();
    assertEquals([snapshot.state, snapshot.generation], ["CLOSED", generation + 1]);
    assert(snapshot.closedAt !== null && snapshot.openUntil === null);
    // The edit cleared earlier counts: opening takes two failures again.
    await breaker.tryCall(down);
    assertEquals(await breaker.getState(), "CLOSED");
    await breaker.tryCall(down);
    assertEquals(await breaker.getState(), "OPEN");
    const [, edited] = await eventsOf(store, "api");
    assertEquals([edited?.event, edited?.metadata], ["edited", {
      ...{ from: "OPEN", to: "CLOSED", generation: generation + 1, reason: null, actor: null },
      by: "update",
      after: {
        ...{ state: "CLOSED", openUntil: null, cooldownMs: null, reason: "edited" },
        override: null,
      },
    }]);
    assertEquals((await eventsOf(store, "well")).map(({ event }) => event), ["edited"]);
  });
});

Deno.test("an update that changes nothing writes no row", async () => {
  await withBreaker(async ({ client, store, breaker }) => {
    await breaker.reset();
    const { generation } = await breaker.snapshot();
    await client.execute(
      "UPDATE circuit_breakers SET state='CLOSED', failure_count=0, success_count=0",
    );
    await client.execute("UPDATE circuit_breakers SET name = 'renamed', updated_at = 1");
    assertEquals((await breaker.snapshot()).generation, generation);
    assertEquals((await eventsOf(store)).map(({ event }) => event), ["reset"]);
  });
});

Deno.test("a circuit that was opened by hand rejects calls for a minute", async () => {
  await withBreaker(async ({ client, breaker }) => {
    await breaker.call(() => 1);
    await client.execute("UPDATE circuit_breakers SET state = 'OPEN'");
    const refused = await breaker.tryCall(() => 1);
    assertEquals(refused.ok, false);
    const { openedAt, openUntil } = await breaker.snapshot();
    assertEquals(openUntil!.getTime() - openedAt!.getTime(), 60_000);
  });
});

Deno.test("an outcome that was admitted before an edit is late", async () => {
  await withBreaker(async ({ client, breaker, events }) => {
    await breaker.call(() => 1);
    await client.execute("UPDATE circuit_breakers SET failure_count = 1");
    const work = Promise.withResolvers<never>();
    const call = breaker.tryCall(() => work.promise);
    await breaker.snapshot();
    await client.execute("UPDATE circuit_breakers SET failure_count = 0");
    work.reject(new Error("down"));
    await call;
    const failure = events.find((event) => event.type === "failure");
    assert(failure !== undefined && "late" in failure && failure.late === true);
    const { metrics } = await breaker.snapshot();
    assertEquals([metrics.totalFailures, metrics.consecutiveFailures], [1, 0]);
  });
});

Deno.test("the database refuses an invalid state that is set by hand", async () => {
  await withBreaker(async ({ client, breaker }) => {
    await breaker.call(() => 1);
    await assertRejects(
      () => client.execute("UPDATE circuit_breakers SET state = 'open'"),
      Error,
      "CHECK constraint failed",
    );
  });
});

Deno.test("a circuit that was inserted by hand works, and one that was deleted by hand is gone", async () => {
  await withBreaker(async ({ client, breaker, events }) => {
    await client.execute(
      "INSERT INTO circuit_breakers (key, name, state, open_until) " +
        "VALUES ('api', 'api', 'OPEN', unixepoch() * 1000 + 30000)",
    );
    assertEquals(await breaker.isOpen(), true);
    const { generation } = await breaker.snapshot();
    assertEquals(generation, 1);
    await client.execute("DELETE FROM circuit_breakers");
    assertEquals(await breaker.call(() => "an answer"), "an answer");
    assertEquals((await breaker.snapshot()).generation, 1);
    assert(events.some(({ type }) => type === "reborn"));
  });
});

Deno.test("history() of a Fuse separates the circuits of its scope from others", async () => {
  await withBreaker(async ({ store }) => {
    const fuse = createFuse({ storeTimeoutMs: 30_000, stores: { database: store } });
    await fuse.make("a").forceOpen({ reason: "an outage", actor: "ada" });
    await fuse.for({ type: "tenant", id: 1 }).make("a").disable();
    const events = [];
    for await (const event of fuse.make("a").history()) events.push(event);
    assertEquals(
      events.map((
        { event, name, context, metadata },
      ) => [event, name, context, metadata?.["actor"]]),
      [
        ["forced_open", "a", null, "ada"],
      ],
    );
    await fuse[Symbol.asyncDispose]();
  });
});
