// The SQL that all engines accept: libSQL, sqld, Turso's new engine, D1, and SQLite in Durable
// Objects.
import { assert, assertEquals } from "@std/assert";
import type { LibsqlClient, SqlStatement } from "@fuse/edge/libsql";
import { FakeClock } from "@fuse/edge/testing";
import { APPEND, type TrailAppender } from "../../../drivers/libsql/append.ts";
import { inMemory } from "../../support/databases.ts";
import { libsql } from "../../support/drivers.ts";
import { acquiring, changing, eventsOf, laying, live, SHAPE, tally } from "../../support/trails.ts";

const MOST_PARAMETERS = 100;
const MOST_ARGUMENTS = 32;

/** Runs every kind of request, and returns the statements. */
async function allStatements(): Promise<SqlStatement[]> {
  const sent: SqlStatement[] = [];
  await inMemory(async (client) => {
    const recording: LibsqlClient = {
      execute(statement) {
        sent.push(statement);
        return client.execute(statement);
      },
      batch(statements, mode) {
        sent.push(...statements);
        return client.batch(statements, mode);
      },
    };
    for (const clock of [new FakeClock(), null]) {
      const now = clock === null ? {} : { clock: clock.now };
      const store = libsql({ client: recording, audit: "calls", trailKey: "a key", ...now });
      const advance = (ms: number) => clock?.advance(ms);
      await live(store, "a", advance);
      await store.record("a", tally({ successes: 3, failures: 1, slow: 1 }));
      const until = (clock?.now() ?? Date.now()) + 1;
      await store.override("a", { ...laying(), until, kind: "forced_open" });
      advance(10);
      await client.execute("update circuit_breakers set failure_count = 7");
      for (let i = 0; i < 25; i++) {
        await client.execute("update circuit_breakers set failure_count = failure_count + 1");
      }
      await store.record("a", tally({ successes: 1, lease: "a lease" }));
      await store.transition("a", changing());
      await store.acquire("a", acquiring());
      const page = { cursor: null, limit: 10, at: 0, shape: () => SHAPE };
      const { records: [record] } = await store.list(page);
      await store.restore("b", { ...laying(), record: record!, existing: "replace" });
      await store.remove("b");
      await store.check?.();
      await eventsOf(store, { key: "a", from: new Date(0), to: new Date(), limit: 200 });
      const row = { key: "c", epoch: "e", generation: 2, began: 5, at: 5, metadata: null };
      const trail = store as unknown as TrailAppender;
      await trail[APPEND]([{ ...row, event: "opened" }]);
      await trail[APPEND]([{ ...row, generation: 3, event: "removed" }]);
      await store.verifyTrail();
      await store.prune({ olderThanMs: 0 });
    }
  });
  return sent;
}

/** Returns the number of arguments of each call of a function. */
function argumentsOf(sql: string): number[] {
  const counts: number[] = [];
  const open: number[] = [];
  for (const token of sql.replace(/'[^']*'/g, "x").matchAll(/\w*\(|[),]/g)) {
    if (token[0].endsWith("(")) open.push(/^\w+\($/.test(token[0]) ? 1 : NaN);
    else if (token[0] === ",") open[open.length - 1]! += 1;
    else counts.push(open.pop()!);
  }
  return counts.filter((count) => !Number.isNaN(count));
}

Deno.test("statements of the libSQL store use only SQL that all engines accept", async () => {
  const sent = await allStatements();
  assert(sent.length > 100);
  for (const { sql, args } of sent) {
    assert(!/insert into \S+ as /i.test(sql), `An alias of an INSERT's target: ${sql}`);
    // The table has partial indexes, and Turso's engine panics on an alias beside them.
    assert(!/update "circuit_breaker_events" as /i.test(sql), `An alias of the trail: ${sql}`);
    assert(!/recursive/i.test(sql), `A recursive CTE: ${sql}`);
    assert(args.length <= MOST_PARAMETERS, `${args.length} parameters: ${sql}`);
    const most = Math.max(0, ...argumentsOf(sql.replace(/insert into [^)]*\)/i, "")));
    assert(most <= MOST_ARGUMENTS, `A function of ${most} arguments: ${sql}`);
    assertEquals(sql.split("?").length - 1, args.length, `Parameters of ${sql}`);
    for (const arg of args) {
      // A client binds a JavaScript number as REAL.
      assert(["bigint", "string"].includes(typeof arg) || arg === null, `${typeof arg}: ${sql}`);
    }
  }
});
