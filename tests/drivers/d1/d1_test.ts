import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { d1, d1Client, type D1Like, type D1Options } from "@fuse/edge/d1";
import { migrate, migrations } from "@fuse/edge/migrations";
import { FakeClock } from "@fuse/edge/testing";
import { readCloudflareFailure, withIntegers } from "../../../drivers/libsql/cloudflare.ts";
import { cloudflareForFile } from "../../support/cloudflare/databases.ts";
import type { DatabaseStore } from "../../support/drivers.ts";
import { changing, eventsOf, laying, request, tally } from "../libsql/store.ts";

const cloudflare = await cloudflareForFile();

/** A binding that passes statements to the real D1, in batches, and counts them. */
function binding(): { db: D1Like; batches: number[] } {
  const batches: number[] = [];
  const db: D1Like = {
    prepare: (sql) => ({ bind: (...args) => ({ sql, args }) }),
    async batch(statements) {
      batches.push(statements.length);
      const results = await cloudflare.ask<{ rows: unknown }[]>("/bound", statements);
      return results.map(({ rows }) => ({ results: rows }));
    },
  };
  return { db, batches };
}

function storeOf(options: D1Options = {}): { store: DatabaseStore; batches: number[] } {
  const { db, batches } = binding();
  return { store: d1(db, options) as DatabaseStore, batches };
}

Deno.test("d1() reports a missing schema only when its own tables are missing", async () => {
  const { store } = storeOf();
  const error = await assertRejects(() => store.read("a", request())) as Error;
  assert(error.message.includes("its schema is missing"), error.message);
  assert(error.message.endsWith("(SQLITE_ERROR)"), error.message);
  await migrated();
  await cloudflare.d1.execute({
    sql:
      "create trigger yours after insert on circuit_breakers begin insert into yours values (1); end",
    args: [],
  });
  const yours = await assertRejects(() => store.record("a", tally({ failures: 1 }))) as Error;
  await cloudflare.d1.execute({ sql: "drop trigger yours", args: [] });
  assertEquals(yours.message, "Cannot use the database: it refused a statement (SQLITE_ERROR)");
});

/** Runs `migrate()` in the Worker, also when it was run already. */
async function migrated(): Promise<string[]> {
  return (await cloudflare.ask<{ applied: string[] }>("/migrate")).applied;
}

Deno.test("migrate(d1Client()) creates the tables once, from a Worker and from elsewhere", async () => {
  await migrated();
  assertEquals(await migrated(), []);
  assertEquals((await migrate(d1Client(binding().db))).applied, []);
  const { rows } = await cloudflare.d1.execute({
    sql: "select hash, created_at from __drizzle_migrations",
    args: [],
  });
  assertEquals(rows, migrations.map(({ hash, when }) => ({ hash, created_at: when })));
});

Deno.test("d1() sends one request for each primitive", async () => {
  await migrated();
  const { store, batches } = storeOf();
  const key = crypto.randomUUID();
  const costs: Record<string, number[]> = {};
  const cost = async (name: string, work: () => unknown) => {
    batches.length = 0;
    await work();
    costs[name] = [...batches];
  };
  await cost("the first record", () => store.record(key, tally({ failures: 1 })));
  const { epoch, generation, began } = await store.read(key, request());
  await cost("a read", () => store.read(key, request()));
  await cost(
    "a record",
    () => store.record(key, tally({ successes: 1, epoch, generation, began })),
  );
  await cost("a transition", () => store.transition(key, changing()));
  await cost("a check", () => store.check!());
  assertEquals(costs, {
    "the first record": [7],
    "a read": [1],
    "a record": [4],
    "a transition": [5],
    "a check": [3],
  });
});

Deno.test("d1() stores integers as integers, and times to the millisecond", async () => {
  await migrated();
  const clock = new FakeClock(1_763_890_000_123);
  const { store } = storeOf({ clock: clock.now });
  const key = crypto.randomUUID();
  await store.record(key, tally({ failures: 2 }));
  const { rows } = await cloudflare.d1.execute({
    sql: `select typeof(failure_count) as a, typeof(created_at) as b, created_at
      from circuit_breakers where key = ?`,
    args: [key],
  });
  assertEquals(rows[0], { a: "integer", b: "integer", created_at: 1_763_890_000_123 });
});

Deno.test("d1() keeps a trail that can be read, verified and pruned", async () => {
  await migrated();
  const clock = new FakeClock();
  const { store } = storeOf({ clock: clock.now, audit: "calls", trailKey: "key" });
  const key = crypto.randomUUID();
  await store.record(key, tally({ successes: 2, failures: 1 }));
  await store.transition(key, changing({ at: clock.now() }));
  await store.override(key, { ...laying(), kind: "disabled", at: clock.now() });
  const names = (await eventsOf(store, key)).map(({ event }) => event);
  assertEquals(names.toSorted(), ["disabled", "failure", "opened", "success", "success"]);
  assertEquals((await store.verifyTrail({ circuit: key })).ok, true);
  await cloudflare.d1.execute({
    sql: "update circuit_breakers set state = 'CLOSED' where key = ?",
    args: [key],
  });
  await store.transition(key, changing({ event: "reset", to: "CLOSED", at: clock.now() }));
  assertEquals((await eventsOf(store, key)).some(({ event }) => event === "edited"), true);
  assertEquals((await store.verifyTrail({ circuit: key })).ok, true);
  clock.advance(10 * 365 * 86_400_000);
  while ((await store.prune({ olderThanMs: 1_000 })).more);
  // The newest row stays: the circuit is compared with it.
  assertEquals((await eventsOf(store, key)).map(({ event }) => event), ["reset"]);
  assertEquals((await store.verifyTrail({ circuit: key })).ok, true);
});

Deno.test("d1() shares a circuit: one Fuse trips the circuit, and the other rejects", async () => {
  await migrated();
  const name = crypto.randomUUID();
  const policy = { failureThreshold: 2, consistency: "strong" } as const;
  const fuses = [1, 2].map(() =>
    createFuse({ stores: { database: d1(binding().db) }, storeTimeoutMs: 30_000 })
  );
  const [one, other] = fuses.map((fuse) => fuse.make(name, policy));
  for (let i = 0; i < 2; i++) await one!.tryCall(() => Promise.reject(new Error("down")));
  assertEquals((await other!.tryCall(() => Promise.resolve("called"))).ok, false);
  for (const fuse of fuses) await fuse[Symbol.asyncDispose]();
});

Deno.test("d1() explains D1's own errors, and repeats no text of them", async () => {
  const meanings: Readonly<Record<string, string>> = {
    "D1_ERROR: Network connection lost.": "it did not answer",
    "D1_ERROR: Exceeded maximum DB size: SQLITE_FULL": "its disk is full (SQLITE_FULL)",
    "D1_ERROR: Your account has exceeded D1's maximum free tier daily limit":
      "it is blocked, as it is when a quota is used up (BLOCKED)",
    "D1_ERROR: D1 DB is overloaded. Too many requests queued.":
      "it takes no more requests for now (HTTP 429)",
    "D1_ERROR: UNIQUE constraint failed: secret: SQLITE_CONSTRAINT":
      "it refused a statement (SQLITE_CONSTRAINT)",
  };
  for (const [text, meaning] of Object.entries(meanings)) {
    const db: D1Like = {
      prepare: () => ({ bind: () => ({}) }),
      batch: () => Promise.reject(new Error(text)),
    };
    const error = await assertRejects(() => (d1(db) as DatabaseStore).read("a", request()));
    assertEquals((error as Error).message, `Cannot use the database: ${meaning}`);
  }
  assertEquals(readCloudflareFailure("anything"), { code: "", status: undefined });
});

Deno.test("d1() refuses invalid options", () => {
  assertThrows(() => d1(null as unknown as D1Like), TypeError, '"binding" must be a D1 database');
  assertThrows(() => d1Client({} as D1Like), TypeError, '"binding" must be a D1 database');
  const options = { url: "https://a" } as D1Options;
  assertThrows(() => d1(binding().db, options), TypeError, '"url"');
  assertThrows(() => d1(binding().db, { trailKey: "" }), RangeError, "Cannot create d1 store");
});

Deno.test("withIntegers() casts integers, and does not change strings, names and comments", () => {
  assertEquals(
    withIntegers({
      sql: `select '?', "?", \`?\`, 'it''s ?' -- ?\n, ?, ?, ?`,
      args: [1n, "a", 9_007_199_254_740_993n],
    }),
    {
      sql: `select '?', "?", \`?\`, 'it''s ?' -- ?\n, cast(? as integer), ?, cast(? as integer)`,
      args: ["1", "a", "9007199254740993"],
    },
  );
  assertEquals(withIntegers({ sql: "select ?2, ?1, ?2", args: ["a", 2] }), {
    sql: "select cast(?2 as integer), ?1, cast(?2 as integer)",
    args: ["a", "2"],
  });
  assertEquals(withIntegers({ sql: "select ?", args: [0.5] }), { sql: "select ?", args: [0.5] });
});
