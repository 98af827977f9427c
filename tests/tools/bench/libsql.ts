/**
 * The libSQL store on a file and on a real sqld, beside the seed's access pattern on the same
 * databases in the same run.
 *
 * @module
 */
import { type Client, createClient } from "@libsql/client";
import { createClient as createWebClient } from "@libsql/client/web";
import { type CircuitBreaker, createFuse, type Fuse } from "@fuse/edge";
import type { LibsqlClient } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { Sqld } from "../../support/sqld.ts";
import { type Candidate, type Measured, nextTurn, race, ratio } from "./harness.ts";
import { operationsTable } from "./operations.ts";
import { consecutive } from "./policies.ts";
import type { Section } from "./section.ts";
import { seedDatabase } from "./seed_pattern.ts";
import { integer, type Table, times } from "./table.ts";
import { libsql } from "../../support/drivers.ts";

const SHAPE = { windowMs: 120_000, windowSize: 0 };

/** Section `libsql`. */
export const section: Section = {
  async *run({ quick }) {
    yield await requests(quick);
    yield await statements();
    const folder = await Deno.makeTempDir();
    const server = await Sqld.start();
    try {
      const url = `file:${folder}/bench.db`;
      const file = createClient({ url });
      await file.execute("pragma journal_mode = wal");
      yield await throughput("file", url, file, quick);
      yield await throughput("sqld", server.url, createWebClient({ url: server.url }), quick);
    } finally {
      await server.stop();
      await Deno.remove(folder, { recursive: true });
    }
  },
};

async function requests(quick: boolean): Promise<Table> {
  // Each situation has its own database.
  const empty = await Promise.all(Array.from({ length: 16 }, async () => {
    const client = createClient({ url: ":memory:" });
    await migrate(client);
    return client;
  }));
  const table = await operationsTable("libsql-calls", "libSQL: requests a call", (clock) => {
    const client = empty.pop();
    if (client === undefined) throw new Error("Too few databases");
    return libsql({ client, clock });
  }, quick);
  for (const client of empty) client.close();
  return table;
}

/** Counts the statements of a request as it passes. */
async function statements(): Promise<Table> {
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  let sent: { sql: string }[] = [];
  const spy: LibsqlClient = {
    execute(statement) {
      sent = [statement];
      return client.execute(statement);
    },
    batch(all, mode) {
      sent = all;
      return client.batch(all, mode);
    },
  };
  const store = libsql({ client: spy });
  const rows: string[][] = [];
  const look = async (name: string, ask: () => unknown) => {
    await ask();
    const bytes = sent.reduce((sum, { sql }) => sum + sql.length, 0);
    rows.push([name, integer(sent.length), integer(bytes)]);
  };
  const request = () => ({ id: crypto.randomUUID(), at: Date.now(), shape: SHAPE });
  const tally = (lease: string | null = null) => ({
    ...{
      ...request(),
      epoch: "",
      generation: 0,
      began: 0,
      successes: 1,
      failures: 0,
      rejected: 0,
      slow: 0,
    },
    ...{ ageMs: 0, lease, policyHash: "" },
  });
  const change = { ...{ cooldownMs: 1_000, reason: "bench", actor: null }, expected: null };
  const operator = { until: null, reason: null, actor: null };
  await look("record, and purge (one in 16)", () => store.record("a", tally()));
  await look("record", () => store.record("a", tally()));
  await look("record of a trial", () => store.record("a", tally("t")));
  await look("read", () => store.read("a", request()));
  await look("acquire", () =>
    store.acquire("a", {
      ...request(),
      ...{ token: "t", max: 1, leaseMs: 1_000 },
    }));
  await look(
    "transition",
    () => store.transition("a", { ...request(), ...change, to: "OPEN", event: "opened" }),
  );
  await look(
    "override",
    () => store.override("a", { ...request(), ...operator, kind: "disabled" }),
  );
  rows.push(["the seed's pattern, a call", "6", "–"]);
  rows.push(["the seed's pattern, a call and its row", "7", "–"]);
  client.close();
  return {
    name: "libsql-statements",
    title: "libSQL: statements a request, each request one statement or one batch",
    columns: ["request", "statements", "bytes of SQL"],
    rows,
  };
}

/** The seed's pattern goes through `client`, and ours through the client that `url` stands for. */
async function throughput(
  ground: string,
  url: string,
  client: Client,
  quick: boolean,
): Promise<Table> {
  await migrate(client);
  const seed = await seedDatabase(client);
  const strong = ours(url, "strong");
  const eventual = ours(url, "eventual");
  const open = ours(url, "open");
  for (let i = 0; i < 5; i++) await open.breaker.tryCall(() => Promise.reject(new Error("down")));
  const measured = await race(
    [seed, strong.candidate, eventual.candidate, open.candidate],
    quick ? { rounds: 3, batchMs: 150, warmUpMs: 150 } : { rounds: 9, batchMs: 400, warmUpMs: 400 },
  );
  const [base, sure, view] = measured as [Measured, Measured, Measured];
  // What was measured was done: every call is in the database.
  await expectCounted("the seed's pattern", seed.made(), await seed.counted());
  for (const { name, breaker, fuse, made } of [strong, eventual]) {
    await fuse.flush();
    const { metrics } = await breaker.snapshot();
    await expectCounted(name, made(), metrics.totalSuccesses + metrics.totalFailures);
  }
  const { metrics } = await open.breaker.snapshot();
  await expectCounted("open", open.made(), metrics.totalRejected);
  const { rows: events } = await client.execute(
    "select event from circuit_breaker_events where key = 'bench-open'",
  );
  if (events.length !== 1) throw new Error(`${events.length} rows in the trail, expected 1`);
  const gained = (one: Measured) => base.ns.median / one.ns.median;
  const rows = measured.map((one) => [
    one.name,
    (one.ns.median / 1e6).toPrecision(3),
    integer(1e9 / one.ns.median),
    ...times(ratio(base, one)),
    one === sure
      ? atLeast(gained(one), 1.2)
      : one === view && ground === "sqld"
      ? atLeast(gained(one), 50)
      : "",
  ]);
  for (const { fuse } of [strong, eventual, open]) await fuse[Symbol.asyncDispose]();
  client.close();
  return {
    name: `libsql-speed-${ground}`,
    title: `libSQL on ${ground}: one call after the other`,
    columns: ["call", "ms/call", "calls/s", "× the seed's", "min–max", "budget"],
    rows,
    notes: [
      "What goes on in the background is waited for, within the time measured.",
      "All counters in the database equal the calls made, and the trip is in the trail.",
    ],
  };
}

interface Ours {
  readonly name: string;
  readonly fuse: Fuse;
  readonly breaker: CircuitBreaker;
  readonly candidate: Candidate;
  made(): number;
}

function ours(url: string, name: "strong" | "eventual" | "open"): Ours {
  let made = 0;
  const fuse = createFuse({ stores: { database: libsql({ url }) }, storeTimeoutMs: 10_000 });
  const breaker = fuse.make(`bench-${name}`, {
    ...consecutive,
    cooldownMs: 600_000,
    consistency: name === "strong" ? "strong" : "eventual",
  });
  const label = { strong: "CLOSED, strong", eventual: "CLOSED, eventual", open: "OPEN, eventual" };
  return {
    name,
    fuse,
    breaker,
    made: () => made,
    candidate: {
      name: label[name],
      run: async (calls) => {
        made += calls;
        for (let i = 1; i <= calls; i++) {
          await breaker.tryCall(succeed);
          // Calls that wait for nothing would keep every write waiting. OPEN, there is none.
          if (i % 50 === 0 && name !== "open") await nextTurn();
        }
        await fuse.flush();
      },
    },
  };
}

function expectCounted(name: string, made: number, counted: number): void {
  if (made !== counted) throw new Error(`${name}: ${counted} calls counted of ${made}`);
}

function atLeast(value: number, limit: number): string {
  return `≥ ${limit}: ${value >= limit ? "met" : "UNDER"}`;
}

const succeed = () => Promise.resolve(42);
