// Rows of calls: as many as there were calls, and no data without permission.
import { assert, assertEquals } from "@std/assert";
import { createClient } from "@libsql/client";
import { type CircuitOptions, createFuse } from "@fuse/edge";
import type { LibsqlOptions } from "@fuse/edge/libsql";
import { FakeClock } from "@fuse/edge/testing";
import { migrate } from "@fuse/edge/migrations";
import { TOTALS_ONLY } from "../../../src/records.ts";
import { databasesForFile, inMemory } from "../../support/databases.ts";
import { changing, eventsOf, tally } from "../../support/trails.ts";
import { chaos, libsql } from "../../support/drivers.ts";

const EVENTS = "circuit_breaker_events";
const databases = await databasesForFile();

for (const { name, connect } of databases) {
  for (const consistency of ["eventual", "strong"] as const) {
    Deno.test(`audit "calls" writes a row for each call, ${consistency}, on ${name}`, async () => {
      const clients = Array.from({ length: 4 }, connect);
      const circuit = `calls-${consistency}`;
      const fuses = clients.map((client) => {
        const store = libsql({ client, audit: "calls", busyTimeoutMs: 60_000 });
        return createFuse({ stores: { database: store }, storeTimeoutMs: 60_000 });
      });
      const options: CircuitOptions = { consistency, failureThreshold: 1_000, flushSize: 7 };
      await Promise.all(fuses.map(async (fuse, i) => {
        const breaker = fuse.make(circuit, options);
        for (let call = 0; call < 60; call++) {
          await breaker.tryCall(() =>
            call % 10 === i ? Promise.reject(new Error("down")) : Promise.resolve(1)
          );
        }
        await fuse.flush();
      }));
      const { rows } = await clients[0]!.execute({
        sql: `select sum(e.event = 'success') as successes, sum(e.event = 'failure') as failures,
          b.total_successes, b.total_failures from ${EVENTS} e join circuit_breakers b
          on b.id = e.circuit_breaker_id where b.key = ?`,
        args: [circuit],
      });
      assertEquals({ ...rows[0] }, {
        ...{ successes: 216, failures: 24, total_successes: 216, total_failures: 24 },
      });
      for (const fuse of fuses) await fuse[Symbol.asyncDispose]();
      for (const client of clients) client.close();
    });
  }
}

Deno.test("audit calls writes one row for each call when answers are lost and requests arrive twice", async () => {
  await inMemory(async (client) => {
    const clock = new FakeClock();
    const store = libsql({ client, clock: clock.now, audit: "calls", redact: () => "why" });
    const faults = { lostAnswerRate: 0.3, errorRate: 0.2, duplicateRate: 0.3, seed: 5 };
    const fuse = createFuse({
      storeTimeoutMs: 30_000,
      stores: { database: chaos(store, faults) },
      clock: clock.now,
      defaults: { failureThreshold: 1_000, flushSize: 5, onStoreError: "allow" },
    });
    let unconfirmed = 0;
    fuse.on("unconfirmed", ({ successes, failures }) => {
      unconfirmed += successes + failures;
    });
    const breaker = fuse.make("api");
    for (let call = 0; call < 300; call++) {
      await breaker.tryCall(() =>
        call % 7 === 0 ? Promise.reject(new Error("down")) : Promise.resolve(1)
      );
      clock.advance(100);
      if (call % 20 === 0) clock.advance(2_000);
    }
    for (let i = 0; i < 50; i++) {
      clock.advance(1_000);
      await fuse.flush();
    }
    const { rows } = await client.execute(
      `select total_failures as failures, total_successes as successes,
        (select count(*) from ${EVENTS} where event = 'failure') as failed,
        (select count(*) from ${EVENTS} where event = 'success') as succeeded
        from circuit_breakers`,
    );
    const { failures, successes, failed, succeeded } = rows[0]!;
    assertEquals([failed, succeeded], [failures, successes]);
    // Nobody knows whether a given-up tally was counted.
    const told = Number(failed) + Number(succeeded);
    assert(told <= 300 && told + unconfirmed >= 300, `${told} and ${unconfirmed}`);
    assert(told > 200);
    await fuse[Symbol.asyncDispose]();
  });
});

Deno.test("audit transitions writes no row for a call", async () => {
  await inMemory(async (client) => {
    const store = libsql({ client });
    await store.record("a", tally({ successes: 3, failures: 1 }));
    assertEquals(await eventsOf(store), []);
    assertEquals(store.describe, undefined);
  });
});

Deno.test("the row of a call has its generation, whether it was late and whether it was slow", async () => {
  await inMemory(async (client) => {
    const clock = new FakeClock();
    const store = libsql({ client, clock: clock.now, audit: "calls" });
    const now = clock.now();
    const calls = [
      { failed: false, slow: false, text: null, ageMs: 30 },
      { failed: false, slow: true, text: null, ageMs: 20 },
    ];
    // The failure is not listed.
    await store.record("a", tally({ successes: 2, failures: 1, slow: 2, calls, ageMs: 10 }));
    await store.transition("a", changing());
    await store.record("a", tally({ successes: 1, generation: 1, epoch: "old", ageMs: 40 }));
    await store.record("a", tally({ failures: 1, generation: TOTALS_ONLY }));
    const rows = (await eventsOf(store)).filter(({ event }) => event !== "opened");
    assertEquals(
      rows.map(({ event, metadata, at }) => [event, metadata, now - at.getTime()]),
      [
        ["failure", { uncounted: true }, 0],
        ["failure", { generation: 1 }, 10],
        ["success", { generation: 1, slow: true }, 20],
        ["success", { generation: 1 }, 30],
        ["success", { generation: 1, late: true }, 40],
      ],
    );
  });
});

for (const consistency of ["eventual", "strong"] as const) {
  Deno.test(`the row of a call has the time at which the call ended, also of a call that waited (${consistency})`, async () => {
    await inMemory(async (client) => {
      const clock = new FakeClock();
      const { now } = clock;
      const store = libsql({ client, clock: now, audit: "calls" });
      const fuse = createFuse({
        ...{ stores: { database: store }, clock: now, storeTimeoutMs: 30_000 },
        defaults: { consistency, flushIntervalMs: 10_000, revalidateMs: 10_000 },
      });
      const breaker = fuse.make("a");
      await breaker.call(() => "a view");
      await fuse.flush();
      const ends: [string, number][] = [["success", now()]];
      for (const succeeds of [true, true, false, false, true]) {
        clock.advance(100);
        ends.unshift([succeeds ? "success" : "failure", now()]);
        await breaker.tryCall(() => {
          if (!succeeds) throw new Error("no answer");
        });
      }
      clock.advance(100);
      await fuse.flush();
      const rows = await eventsOf(store);
      assertEquals(rows.map(({ event, at }) => [event, at.getTime()]), ends);
      await fuse[Symbol.asyncDispose]();
    });
  });
}

Deno.test("rows of calls are one for each failure of a tally, with its text", async () => {
  await inMemory(async (client) => {
    const store = libsql({ client, clock: new FakeClock().now, audit: "calls" });
    const call = (failed: boolean, slow: boolean, text: string | null, ageMs: number) => ({
      ...{ failed, slow, text, ageMs },
    });
    const calls = [
      ...[call(false, true, null, 40), call(true, false, "one", 20)],
      ...[call(true, false, null, 20), call(true, true, "three", 5)],
    ];
    const counts = { successes: 1, failures: 3, slow: 2, ageMs: 5, firstFailureAgeMs: 20 };
    await store.record("a", tally({ ...counts, calls }));
    const rows = (await eventsOf(store)).reverse();
    assertEquals(rows.map(({ event, metadata }) => [event, metadata]), [
      ["success", { generation: 1, slow: true }],
      ["failure", { generation: 1, error: "one" }],
      ["failure", { generation: 1 }],
      ["failure", { generation: 1, slow: true, error: "three" }],
    ]);
  });
});

/** Runs calls through a Fuse that audits them, and answers with the texts of failures. */
async function textsOf(
  redact: LibsqlOptions["redact"],
  calls: (fuse: ReturnType<typeof createFuse>) => Promise<void>,
): Promise<{ texts: unknown[]; dump: string }> {
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  const store = libsql({ client, audit: "calls", ...redact === undefined ? {} : { redact } });
  const fuse = createFuse({ storeTimeoutMs: 30_000, stores: { database: store } });
  await calls(fuse);
  await fuse[Symbol.asyncDispose]();
  const texts = (await eventsOf(store, { event: "failure" })).map(({ metadata }) =>
    metadata!["error"] ?? null
  );
  const tables = await client.execute("select name from sqlite_master where type = 'table'");
  const dump = await Promise.all(
    tables.rows.map(async ({ name }) => (await client.execute(`select * from "${name}"`)).rows),
  );
  client.close();
  return { texts: texts.reverse(), dump: JSON.stringify(dump) };
}

const SECRET = "hunter2";

async function secretCalls(fuse: ReturnType<typeof createFuse>): Promise<void> {
  const breaker = fuse.make("api", {
    failureThreshold: 2,
    slowCallMs: 1,
    isFailure: (outcome) => !outcome.ok || outcome.value === SECRET,
  });
  const error = Object.assign(new Error(`no entry for ${SECRET}`), { cause: SECRET });
  await breaker.tryCall(() => Promise.reject(error));
  await breaker.tryCall(() => Promise.resolve(SECRET));
  await breaker.tryCall(() => Promise.resolve(1));
  await breaker.reset();
  await breaker.tryCall(() => Promise.reject(SECRET));
}

Deno.test("no table contains a payload, an error message or a secret unless redact() let it through", async () => {
  const { texts, dump } = await textsOf(undefined, secretCalls);
  assertEquals(texts.filter((text) => text !== null), []);
  assert(texts.length >= 3);
  assert(!dump.includes(SECRET));
});

Deno.test("redact() returns the text about an error that the failure's row contains", async () => {
  const { texts } = await textsOf((error) => {
    return (error as Error).name;
  }, async (fuse) => {
    const breaker = fuse.make("api", { failureThreshold: 100 });
    await breaker.tryCall(() => Promise.reject(new RangeError(SECRET)));
    for (let i = 0; i < 3; i++) await breaker.tryCall(() => 1);
    await breaker.tryCall(() => Promise.reject(new TypeError('a "quoted" \u0000 text')));
  });
  assertEquals(texts, ["RangeError", "TypeError"]);
});

Deno.test("a redact() that throws, or returns no text, costs the text and not the row", async () => {
  for (
    const redact of [
      () => {
        throw new Error(SECRET);
      },
      () => ({ SECRET }) as never,
      () => undefined,
    ]
  ) {
    const { texts, dump } = await textsOf(redact, secretCalls);
    assertEquals(texts.filter((text) => text !== null), []);
    assert(texts.length >= 3);
    assert(!dump.includes(SECRET));
  }
});

Deno.test("the text of redact() is cut, and quoted as JSON", async () => {
  const { texts } = await textsOf(() => `"\\\n${"x".repeat(5_000)}`, async (fuse) => {
    await fuse.make("api").tryCall(() => Promise.reject(new Error("down")));
  });
  assertEquals(String(texts[0]).length, 1_000);
  assert(String(texts[0]).startsWith('"\\\nxx'));
});

Deno.test("the row of an acknowledged call is in the trail when consistency is strong", async () => {
  await inMemory(async (client) => {
    const store = libsql({ client, audit: "calls" });
    await using fuse = createFuse({ storeTimeoutMs: 30_000, stores: { database: store } });
    const breaker = fuse.make("api", { consistency: "strong" });
    for (let call = 1; call <= 20; call++) {
      await breaker.call(() => call);
      const { rows } = await client.execute(`select count(*) as n from ${EVENTS}`);
      assertEquals(rows[0]!.n, call);
    }
  });
});

Deno.test("the row and the counter of a call are written together or not at all", async () => {
  await inMemory(async (client) => {
    const store = libsql({ client, audit: "calls" });
    await store.record("a", tally({ successes: 1 }));
    await client.execute(
      `create trigger full before insert on ${EVENTS} when new.event = 'failure' ` +
        "begin select raise(abort, 'no'); end",
    );
    await Promise.resolve(store.record("a", tally({ successes: 2, failures: 1 }))).then(
      () => assert(false),
      () => {},
    );
    const { rows } = await client.execute(
      `select total_successes as told, (select count(*) from ${EVENTS}) as n from circuit_breakers`,
    );
    assertEquals({ ...rows[0] }, { told: 1, n: 1 });
  });
});

Deno.test("a trail key appears in no store, no error and no table", async () => {
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  const store = libsql({ client, trailKey: SECRET });
  await store.transition("a", changing());
  assert(!Deno.inspect(store, { depth: 9, showHidden: true }).includes(SECRET));
  const { rows } = await client.execute(`select * from ${EVENTS}, circuit_breaker_trails`);
  assert(!JSON.stringify(rows).includes(SECRET));
  client.close();
  const error = await store.verifyTrail().catch((error: unknown) => error);
  assert(error instanceof Error && !Deno.inspect(error).includes(SECRET));
});
