// Reading the trail.
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Client, InStatement } from "@libsql/client";
import {
  type AuditEventName,
  type CircuitEvent,
  type CircuitIdentity,
  createFuse,
} from "@fuse/edge";
import { circuitBreakerEvents, type LibsqlClient } from "@fuse/edge/libsql";
import { FakeClock } from "@fuse/edge/testing";
import { connectionOf } from "../../../drivers/libsql/client.ts";
import { readTrail } from "../../../drivers/libsql/history.ts";
import type { EventQuery } from "../../../src/contract.ts";
import { databasesForFile, inMemory } from "../../support/databases.ts";
import { changing, EVENTS, eventsOf, laying, live, request, tally } from "../../support/trails.ts";
import { libsql } from "../../support/drivers.ts";

const databases = await databasesForFile();

for (const { name, connect } of databases) {
  Deno.test(`history() filters and pages, for one circuit and for all, on ${name}`, async () => {
    const client = connect();
    await client.execute(`delete from ${EVENTS}`);
    const clock = new FakeClock();
    const store = libsql({ client, clock: clock.now, audit: "calls" });
    const begun = clock.now();
    for (const key of ["a", "b"]) await live(store, key, clock.advance.bind(clock));
    for (let i = 0; i < 250; i++) await store.record("b", tally({ successes: 2 }));
    const all = await eventsOf(store);
    assertEquals(all.length, 14 + 500);
    const queries: EventQuery[] = [
      ...(["opened", "success", "failure", "edited"] as AuditEventName[]).map((event) => ({
        event,
      })),
      { from: new Date(begun + 1) },
      { to: new Date(begun + 1) },
      { from: new Date(begun), to: new Date(clock.now()) },
      { event: "success", from: new Date(begun + 1), to: new Date(clock.now() + 1), limit: 130 },
    ];
    for (const key of [undefined, "a", "b"]) {
      for (const query of [{}, ...queries]) {
        const expected = all.filter(({ event, at, key: circuit }) =>
          (key === undefined || circuit === key) &&
          (query.event === undefined || event === query.event) &&
          (query.from === undefined || at >= query.from) &&
          (query.to === undefined || at < query.to)
        ).slice(0, query.limit).map(({ id }) => id);
        const asked = { ...query, ...key === undefined ? {} : { key } };
        const ids = (await eventsOf(store, asked)).map(({ id }) => id);
        assertEquals(ids, expected, JSON.stringify(asked));
        // Reads the same rows, three at a time, from cursor to cursor.
        const paged: string[] = [];
        let cursor: string | undefined;
        while (paged.length < Math.min(20, expected.length)) {
          const page = await eventsOf(store, { ...asked, cursor, limit: 3 });
          assert(page.length > 0);
          paged.push(...page.map(({ id }) => id));
          cursor = page.at(-1)!.cursor;
        }
        assertEquals(paged, expected.slice(0, paged.length), JSON.stringify(asked));
      }
    }
    const times = all.map(({ at }) => at.getTime());
    assertEquals(times, times.toSorted((a, b) => b - a));
    client.close();
  });

  Deno.test(`history() returns a text that contains half a surrogate pair on ${name}`, async () => {
    const client = connect();
    const store = libsql({
      ...{ client, audit: "calls", trailKey: "a key" },
      redact: (error) => String(error),
    });
    const key = `halves-${crypto.randomUUID()}`;
    const whole = "x".repeat(999);
    // Cut at 1000, both by the store and by another writer.
    const texts = [store.describe!(`${whole}😀`)!, "lone \ud83d", "\ude00"];
    const calls = texts.map((text) => ({ failed: true, slow: false, text, ageMs: 0 }));
    await store.record(key, tally({ failures: 3, calls }));
    await store.override(key, { ...laying(), kind: "disabled", reason: "\ud83d", actor: "\ude00" });
    await store.transition(key, changing({ reason: "why \ud83d" }));
    const events = await eventsOf(store, { key });
    const told = events.map(({ metadata }) => metadata?.error ?? metadata?.reason);
    assertEquals(told.toSorted(), [
      ...["lone \ufffd", "why \ufffd", `${whole}\ufffd`, "\ufffd", "\ufffd"],
    ]);
    assertEquals((await store.read(key, request())).override?.actor, "\ufffd");
    assertEquals((await store.verifyTrail({ circuit: key })).ok, true);
    client.close();
  });

  Deno.test(`prune() deletes in steps, and the remaining rows verify after each step, on ${name}`, async () => {
    const client = connect();
    for (const table of ["circuit_breakers", EVENTS, "circuit_breaker_trails"]) {
      await client.execute(`delete from ${table}`);
    }
    const clock = new FakeClock();
    const store = libsql({ client, clock: clock.now, audit: "calls", trailKey: "a key" });
    const keys = Array.from({ length: 3 }, (_, i) => `pruned-${i}`);
    for (let round = 0; round < 5; round++) {
      for (const key of keys) await live(store, key, clock.advance.bind(clock));
      clock.advance(3_600_000);
    }
    const { heads } = await store.verifyTrail();
    const rows = 3 * 5 * 7;
    assertEquals((await eventsOf(store)).length, rows);
    let deleted = 0;
    let more = true;
    for (let steps = 0; more; steps++) {
      const step = await store.prune({ olderThanMs: 2 * 3_600_000, limit: 4 });
      assert(step.deleted <= 4, `${step.deleted} deleted`);
      ({ more } = step);
      deleted += step.deleted;
      const proof = await store.verifyTrail();
      assertEquals([proof.ok, proof.brokenAt, proof.heads], [true, null, heads]);
      // The trail grows in the meantime.
      if (steps % 5 === 0) {
        await store.override(keys[0]!, { ...laying(), kind: "disabled" });
        heads[keys[0]!] = (await store.verifyTrail()).heads[keys[0]!]!;
      }
      assert(steps < 200);
    }
    const left = await eventsOf(store);
    assertEquals(left.filter(({ at }) => clock.now() - at.getTime() > 2 * 3_600_000), []);
    assertEquals(deleted, 3 * 4 * 7);
    assert(left.length > 3 * 7);
    // A deleted beginning is found when its end is not recorded.
    await client.execute({
      sql: `delete from ${EVENTS} where id = (select min(id) from ${EVENTS}
        where key = ? and sequence is not null)`,
      args: [keys[1]!],
    });
    assertEquals((await store.verifyTrail()).brokenAt?.problem, "removed");
    // So is one whose end was recorded without the key.
    await client.execute({
      sql: "update circuit_breaker_trails set anchor_sequence = anchor_sequence + 1, " +
        "anchor_hash = 'forged' where key = ?",
      args: [keys[2]!],
    });
    const proof = await store.verifyTrail({ circuit: keys[2]! });
    assertEquals(proof.brokenAt?.problem, "changed");
    client.close();
  });

  Deno.test(`prune() run concurrently under traffic leaves a chain that verifies on ${name}`, async () => {
    const clients = Array.from({ length: 4 }, connect);
    for (const table of ["circuit_breakers", EVENTS, "circuit_breaker_trails"]) {
      await clients[0]!.execute(`delete from ${table}`);
    }
    const clock = new FakeClock();
    const stores = clients.map((client) =>
      libsql({ client, clock: clock.now, audit: "calls", busyTimeoutMs: 60_000 })
    );
    for (let i = 0; i < 20; i++) await live(stores[0]!, "busy", clock.advance.bind(clock));
    clock.advance(1_001);
    let deleted = 0;
    await Promise.all([
      ...stores.slice(2).map(async (store) => {
        for (let i = 0; i < 10; i++) {
          await store.override("busy", { ...laying(), kind: "disabled" });
        }
      }),
      ...stores.slice(0, 3).map(async (store) => {
        for (let more = true; more;) {
          const step = await store.prune({ olderThanMs: 1_000, limit: 10 });
          deleted += step.deleted;
          more = step.more;
          assertEquals((await store.verifyTrail()).brokenAt, null);
        }
      }),
    ]);
    while ((await stores[0]!.prune({ olderThanMs: 1_000, limit: 50 })).more);
    assertEquals((await stores[1]!.verifyTrail()).ok, true);
    assertEquals((await eventsOf(stores[1]!)).length, 20);
    assert(deleted > 0);
    for (const client of clients) client.close();
  });
}

Deno.test("history() names the circuit of a row, under the store's name or the Fuse's", async () => {
  await inMemory(async (client) => {
    const database = libsql({ client });
    await using fuse = createFuse({ storeTimeoutMs: 30_000, stores: { ledger: database } });
    const view = fuse.for({ type: "tenant", id: "a:b" }).boundary({ type: "region", id: "eu" });
    await view.make("pay%ments").forceOpen();
    await fuse.make("mail").disable();
    const circuits = [
      { key: "mail", name: "mail", context: null, boundary: null },
      {
        ...{ key: "pay%25ments:for:tenant:a%3Ab:in:region:eu", name: "pay%ments" },
        ...{ context: "tenant:a%3Ab", boundary: "region:eu" },
      },
    ];
    const read = async (rows: AsyncIterable<CircuitEvent>) => {
      const identities: CircuitIdentity[] = [];
      const cursors: string[] = [];
      for await (const { key, store, name, context, boundary, cursor } of rows) {
        identities.push({ key, store, name, context, boundary });
        cursors.push(cursor);
      }
      return { identities, cursors };
    };
    const own = await read(database.history());
    const told = await read(fuse.history());
    assertEquals(own.identities, circuits.map((circuit) => ({ ...circuit, store: "libsql" })));
    assertEquals(told.identities, circuits.map((circuit) => ({ ...circuit, store: "ledger" })));
    assertEquals(told.cursors, own.cursors.map((cursor) => `fuse:ledger:${cursor}`));
    // Each continues from its own cursor, and a Fuse of one store also from the store's.
    const left = [
      await read(database.history({ cursor: own.cursors[0] })),
      await read(fuse.history({ cursor: told.cursors[0] })),
      await read(fuse.history({ cursor: own.cursors[0] })),
    ];
    assertEquals(left.map(({ identities }) => identities), [
      own.identities.slice(1),
      ...[told.identities.slice(1), told.identities.slice(1)],
    ]);
    await assertRejects(() => read(database.history({ cursor: told.cursors[0] })), RangeError);
  });
});

Deno.test("history() returns null for metadata that is not a JSON object", async () => {
  await inMemory(async (client) => {
    const store = libsql({ client });
    await store.override("a", { ...laying(), kind: "disabled" });
    for (const metadata of ["a secret {", "", "[1]", '"text"', "1", "null", null]) {
      await client.execute({ sql: `update ${EVENTS} set metadata = ?`, args: [metadata] });
      assertEquals((await eventsOf(store)).map((event) => event.metadata), [null]);
      assertEquals((await store.verifyTrail()).brokenAt?.problem, "changed");
    }
  });
});

Deno.test("history() refuses an invalid time, limit or cursor", async () => {
  await inMemory(async (client) => {
    const store = libsql({ client });
    for (
      const [query, message] of [
        [{ from: new Date(NaN) }, '"from" must be a valid Date, received an object'],
        [{ from: 5 }, '"from" must be a valid Date, received 5'],
        [{ to: "2026-01-01" }, '"to" must be a valid Date, received "2026-01-01"'],
        [{ to: null }, '"to" must be a valid Date, received null'],
        [{ limit: -1 }, '"limit" must be an integer of at least 0, received -1'],
        [{ limit: 1.5 }, '"limit" must be an integer of at least 0, received 1.5'],
        [{ limit: "5" }, '"limit" must be an integer of at least 0, received "5"'],
        [{ cursor: "5" }, '"cursor" must be the cursor of an event of this store, received "5"'],
      ] as const
    ) {
      await assertRejects(() => eventsOf(store, query as never), RangeError, message);
    }
    assertEquals(await eventsOf(store, { limit: 0 }), []);
  });
});

Deno.test("history() of a Fuse reads from the replica", async () => {
  await inMemory(async (replica) => {
    await inMemory(async (client) => {
      const store = libsql({ client, replica });
      await libsql({ client: replica }).override("a", { ...laying(), kind: "forced_open" });
      await using fuse = createFuse({ storeTimeoutMs: 30_000, stores: { database: store } });
      await fuse.make("a").disable();
      const events = [];
      for await (const { event } of fuse.make("a").history()) events.push(event);
      assertEquals(events, ["forced_open"]);
      assertEquals((await store.verifyTrail()).checked, 1);
    });
  });
});

/** The index that a query of `history()` should use. */
const PLANS: [query: EventQuery & { key?: string }, index: string][] = [
  [{}, "circuit_breaker_events_created_at"],
  [{ cursor: "5.5" }, "circuit_breaker_events_created_at"],
  [{ from: new Date(1), to: new Date(9) }, "circuit_breaker_events_created_at"],
  [{ event: "opened" }, "circuit_breaker_events_event"],
  [{ event: "success", from: new Date(1), cursor: "5.5" }, "circuit_breaker_events_event"],
  [{ key: "a" }, "circuit_breaker_events_key"],
  [{ key: "a", cursor: "5.5" }, "circuit_breaker_events_key"],
  [{ key: "a", from: new Date(1) }, "circuit_breaker_events_key"],
  [{ key: "a", event: "opened" }, "circuit_breaker_events_changes"],
  [{ key: "a", event: "opened", cursor: "5.5" }, "circuit_breaker_events_changes"],
];

for (const [query, index] of PLANS) {
  Deno.test(`history(${JSON.stringify(query)}) uses an index and sorts nothing`, async () => {
    await inMemory(async (client) => {
      const [statement] = await spied(client, async (spy) => {
        await readTrail(connectionOf(() => spy, 0), circuitBreakerEvents, query).next();
      });
      const { sql, args } = statement as { sql: string; args: [] };
      const plan = await client.execute({ sql: `explain query plan ${sql}`, args });
      const text = plan.rows.map(({ detail }) => detail).join("; ");
      assert(text.includes(index), text);
      assert(!/TEMP B-TREE|SCAN circuit_breaker_events$/.test(text), text);
    });
  });
}

Deno.test("prune() and verifyTrail() use indexes", async () => {
  await inMemory(async (client) => {
    const statements = await spied(client, async (spy) => {
      const store = libsql({ client: spy, audit: "calls" });
      await live(store, "a", () => {});
      await store.prune({ olderThanMs: 0 });
      await store.verifyTrail();
    });
    const plans = await Promise.all(statements.map(async (statement) => {
      const { sql, args } = statement as { sql: string; args: [] };
      if (/^(insert|begin)/.test(sql)) return "";
      const { rows } = await client.execute({ sql: `explain query plan ${sql}`, args });
      return rows.map(({ detail }) => detail).join("; ");
    }));
    const scans = plans.filter((plan) => /SCAN (e|b|circuit_\w+)(;|$)/.test(plan));
    assertEquals(scans, []);
  });
});

/** The requests that a client received. */
async function spied(
  client: Client,
  body: (spy: LibsqlClient) => Promise<void>,
): Promise<InStatement[]> {
  const asked: InStatement[] = [];
  await body({
    execute(statement) {
      asked.push(statement);
      return client.execute(statement);
    },
    batch(statements, mode) {
      asked.push(...statements);
      return client.batch(statements, mode);
    },
  });
  return asked;
}
