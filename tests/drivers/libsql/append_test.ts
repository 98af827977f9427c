// [APPEND](): rows of circuits that another store keeps.
import { assert, assertEquals } from "@std/assert";
import { createFuse } from "@fuse/edge";
import type { LibsqlClient } from "@fuse/edge/libsql";
import { APPEND, type ForeignRow, type TrailAppender } from "../../../drivers/libsql/append.ts";
import { databasesForFile, inMemory } from "../../support/databases.ts";
import { eventsOf, laying } from "../../support/trails.ts";
import { type DatabaseStore, libsql } from "../../support/drivers.ts";

type Appending = DatabaseStore & TrailAppender;
const databases = await databasesForFile();

function storeOn(client: LibsqlClient): Appending {
  return libsql({ client, trailKey: "a key", busyTimeoutMs: 60_000 }) as Appending;
}

function row(generation: number, parts: Partial<ForeignRow> = {}): ForeignRow {
  return {
    ...{ key: "a", epoch: "life-1", generation, event: generation % 2 ? "closed" : "opened" },
    ...{
      began: 1_000 * generation,
      at: 1_000 * generation,
      metadata: { generation, reason: "test" },
      ...parts,
    },
  };
}

function after(state: string) {
  return { state, openUntil: null, cooldownMs: null, reason: "test", override: null };
}

Deno.test("[APPEND]() adds rows to the trail and to the chain, in the given order", async () => {
  await inMemory(async (client) => {
    const store = storeOn(client);
    const { appended, heads } = await store[APPEND]([row(2), row(3), row(4, { key: "b" })]);
    assertEquals(appended, 3);
    const events = await eventsOf(store, { key: "a" });
    assertEquals(
      events.map(({ event, at, metadata }) => [event, at.getTime(), metadata]),
      [
        ["closed", 3_000, { generation: 3, reason: "test", after: after("CLOSED") }],
        ["opened", 2_000, { generation: 2, reason: "test", after: after("OPEN") }],
      ],
    );
    const proof = await store.verifyTrail();
    assertEquals([proof.ok, proof.checked, proof.heads], [true, 3, heads]);
    // The seed's queries find the rows by name.
    const { rows } = await client.execute(
      "select b.name, b.state, count(*) as n from circuit_breaker_events e " +
        "join circuit_breakers b on b.id = e.circuit_breaker_id group by 1 order by 1",
    );
    assertEquals(rows.map((one) => ({ ...one })), [
      { name: "a", state: "CLOSED", n: 2 },
      { name: "b", state: "OPEN", n: 1 },
    ]);
  });
});

Deno.test("[APPEND]() skips rows that are already in the trail, alone or among others", async () => {
  await inMemory(async (client) => {
    const store = storeOn(client);
    assertEquals((await store[APPEND]([row(2), row(2)])).appended, 1);
    const { heads } = await store[APPEND]([row(3)]);
    const again = await store[APPEND]([row(2), row(3)]);
    assertEquals([again.appended, again.heads], [0, heads]);
    const stranger = storeOn(client);
    assertEquals((await stranger[APPEND]([row(2), row(4), row(3), row(5)])).appended, 2);
    assertEquals((await store[APPEND]([row(5), row(6)])).appended, 1);
    assertEquals((await store[APPEND]([row(2, { epoch: "life-2" })])).appended, 1);
    const { ok, checked } = await store.verifyTrail();
    assertEquals([ok, checked], [true, 6]);
  });
});

Deno.test("[APPEND]() adds rows once when an answer is lost and the request is repeated", async () => {
  await inMemory(async (client) => {
    let lose = false;
    const lossy: LibsqlClient = {
      execute: (statement) => client.execute(statement),
      async batch(statements, mode) {
        const results = await client.batch(statements, mode);
        if (lose) throw new Error("lost");
        return results;
      },
    };
    const store = storeOn(lossy);
    await store[APPEND]([row(2)]);
    lose = true;
    await store[APPEND]([row(3), row(4)]).then(() => assert(false), () => {});
    lose = false;
    assertEquals((await store[APPEND]([row(3), row(4)])).appended, 0);
    const { ok, checked } = await store.verifyTrail();
    assertEquals([ok, checked], [true, 3]);
  });
});

for (const { name, connect } of databases) {
  Deno.test(`[APPEND]() adds each row once when writers append the same rows concurrently on ${name}`, async () => {
    const clients = Array.from({ length: 8 }, connect);
    const key = `appended-${name}`;
    const counts = await Promise.all(clients.map(async (client, i) => {
      const store = storeOn(client);
      let appended = 0;
      for (let generation = 2; generation < 10; generation++) {
        const rows = [row(generation, { key }), row(100 + (generation + i) % 4, { key })];
        appended += (await store[APPEND](rows)).appended;
      }
      return appended;
    }));
    const store = storeOn(clients[0]!);
    const { ok, checked, brokenAt } = await store.verifyTrail({ circuit: key });
    assertEquals([ok, checked, brokenAt], [true, 12, null]);
    assertEquals(counts.reduce((a, b) => a + b), 12);
    for (const client of clients) client.close();
  });
}

Deno.test("a chain accepts rows of its own store, of another store and of edits by hand", async () => {
  await inMemory(async (client) => {
    const store = storeOn(client);
    await store.override("a", { ...laying(), kind: "disabled" });
    await client.execute("update circuit_breakers set state = 'OPEN'");
    assertEquals((await store[APPEND]([row(2), row(3)])).appended, 2);
    assertEquals((await store.verifyTrail()).checked, 4);
    await store.override("a", { ...laying(), kind: null });
    const proof = await store.verifyTrail();
    assertEquals([proof.ok, proof.checked, proof.brokenAt], [true, 5, null]);
    await using fuse = createFuse({ storeTimeoutMs: 30_000, stores: { database: store } });
    assertEquals(await fuse.make("a").getState(), "CLOSED");
  });
});

Deno.test("[APPEND]() adds rows of a circuit that was removed meanwhile to its new row", async () => {
  await inMemory(async (client) => {
    const store = storeOn(client);
    await store[APPEND]([row(2)]);
    await store.remove("a");
    assertEquals((await store[APPEND]([row(3)])).appended, 1);
    const { rows } = await client.execute(
      "select e.generation from circuit_breaker_events e " +
        "join circuit_breakers b on b.id = e.circuit_breaker_id",
    );
    assertEquals(rows.map(({ generation }) => generation), [3]);
    assertEquals((await store.verifyTrail()).checked, 3);
  });
});

Deno.test("[APPEND]() mistakes no given row for an edit by hand when both have the same generation", async () => {
  await inMemory(async (client) => {
    const store = storeOn(client);
    await store[APPEND]([row(2)]);
    const { rows: [circuit] } = await client.execute("select epoch from circuit_breakers");
    assertEquals(circuit!["epoch"], "life-1");
    for (const state of ["OPEN", "CLOSED", "OPEN", "CLOSED", "OPEN"]) {
      await client.execute({ sql: "update circuit_breakers set state = ?", args: [state] });
    }
    const given = [3, 4, 5, 6].map((generation) => row(generation));
    for (const one of given) assertEquals((await store[APPEND]([one])).appended, 1);
    assertEquals((await storeOn(client)[APPEND](given)).appended, 0);
    const events = (await eventsOf(store)).filter(({ event }) => event !== "edited");
    assertEquals(
      events.map(({ metadata }) => metadata?.["generation"]).sort(),
      [2, 3, 4, 5, 6],
    );
    assertEquals((await store.verifyTrail()).ok, true);
  });
});

Deno.test("[APPEND]() writes the circuit's row from the last row of the trail, and the trail verifies", async () => {
  await inMemory(async (client) => {
    const store = storeOn(client);
    const circuits = async () => {
      const { rows } = await client.execute(
        "select key, state, open_until, cooldown_ms, reason, override, override_until, " +
          "override_actor, epoch, generation, began from circuit_breakers",
      );
      assertEquals((await store.verifyTrail()).brokenAt, null);
      return rows.map((row) => Object.values(row));
    };
    const opened = { to: "OPEN", reason: "down", cooldownMs: 500, generation: 2 };
    const laid = { reason: "a drill", actor: "ada", until: 9_000, generation: 3 };
    await store[APPEND]([row(2, { event: "opened", metadata: opened })]);
    assertEquals(await circuits(), [
      ["a", "OPEN", 2_500, 500, "down", null, null, null, "life-1", 2, 2_000],
    ]);
    await store[APPEND]([
      row(3, { event: "forced_open", metadata: laid }),
      row(4, { event: "half_opened", metadata: { generation: 4 } }),
    ]);
    const half = ["a", "HALF_OPEN", 2_500, 500, "cooldown_passed"];
    assertEquals(await circuits(), [
      [...half, "forced_open", 9_000, "ada", "life-1", 4, 4_000],
    ]);
    await store[APPEND]([row(5, { event: "released", metadata: { generation: 5 } })]);
    assertEquals(await circuits(), [[...half, null, null, null, "life-1", 5, 5_000]]);
    await client.execute(
      "update circuit_breakers set override = 'disabled', revision = revision + 1",
    );
    assertEquals((await store.verifyTrail()).brokenAt?.problem, "circuit");
    await store[APPEND]([row(6, { event: "closed", metadata: { reason: "trials" } })]);
    assertEquals(await circuits(), [
      ["a", "CLOSED", null, null, "trials", null, null, null, "life-1", 6, 6_000],
    ]);
    const removed = row(7, { event: "removed", metadata: { from: "CLOSED", to: "CLOSED" } });
    await store[APPEND]([removed]);
    assertEquals(await circuits(), []);
    assertEquals((await eventsOf(store, { key: "a" }))[0]?.metadata?.["after"], null);
    // The same request ends a life and begins another.
    await store[APPEND]([row(8), row(9, { event: "removed" }), row(2, { epoch: "life-2" })]);
    assertEquals(await circuits(), [
      ["a", "OPEN", null, null, "test", null, null, null, "life-2", 2, 2_000],
    ]);
    const events = await eventsOf(store);
    assertEquals(events.filter(({ event }) => event === "edited"), []);
  });
});
