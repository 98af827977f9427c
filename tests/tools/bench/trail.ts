/**
 * The audit trail: the costs of one row for each call, beside the seed's pattern with every call
 * audited on the same databases in the same run, and the costs of reading and pruning a trail of a
 * million rows.
 *
 * @module
 */
import { type Client, createClient } from "@libsql/client";
import { createClient as createWebClient } from "@libsql/client/web";
import { createFuse } from "@fuse/edge";
import { circuitBreakerEvents, circuitBreakers, type LibsqlClient } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { and, count, desc, eq, gte } from "drizzle-orm";
import { drizzle } from "drizzle-orm/libsql";
import { APPEND, type TrailAppender } from "../../../drivers/libsql/append.ts";
import { Sqld } from "../../support/sqld.ts";
import { type Candidate, type Measured, race, ratio, type Spread, spread } from "./harness.ts";
import { consecutive } from "./policies.ts";
import type { Section } from "./section.ts";
import { seedDatabase } from "./seed_pattern.ts";
import { integer, type Table, times } from "./table.ts";
import { type DatabaseStore, libsql } from "../../support/drivers.ts";

/** Section `trail`. */
export const section: Section = {
  async *run({ quick }) {
    const folder = await Deno.makeTempDir();
    const server = await Sqld.start();
    try {
      for (const ground of ["file", "sqld"] as const) {
        const connect = () =>
          ground === "file"
            ? createClient({ url: `file:${folder}/calls.db` })
            : createWebClient({ url: server.url });
        yield await throughput(ground, connect(), quick);
      }
      const file = createClient({ url: `file:${folder}/million.db` });
      yield* large(file, quick ? 100_000 : 1_000_000);
    } finally {
      await server.stop();
      await Deno.remove(folder, { recursive: true });
    }
  },
};

async function throughput(ground: string, client: Client, quick: boolean): Promise<Table> {
  if (ground === "file") await client.execute("pragma journal_mode = wal");
  await migrate(client);
  const seed = await seedDatabase(client, { audited: true });
  const all = [
    ours(client, "transitions", "eventual"),
    ours(client, "calls", "eventual"),
    ours(client, "transitions", "strong"),
    ours(client, "calls", "strong"),
  ];
  const measured = await race(
    [seed, ...all.map(({ candidate }) => candidate)],
    quick ? { rounds: 3, batchMs: 150, warmUpMs: 150 } : { rounds: 9, batchMs: 400, warmUpMs: 400 },
  );
  const base = measured[0]!;
  const [counted, rows] = [await seed.counted(), await seed.audited()];
  if (counted !== seed.made() || rows !== seed.made()) {
    throw new Error(`The seed's: ${rows} rows and ${counted} counted of ${seed.made()} calls`);
  }
  for (const one of all) await one.check();
  const gained = (one: Measured) => base.ns.median / one.ns.median;
  client.close();
  return {
    name: `trail-speed-${ground}`,
    title: `Trail on ${ground}: one call after the other`,
    columns: ["call", "ms/call", "calls/s", "× the seed's", "min–max", "budget"],
    rows: measured.map((one, i) => [
      one.name,
      (one.ns.median / 1e6).toPrecision(3),
      integer(1e9 / one.ns.median),
      ...times(ratio(base, one)),
      i === 2 && ground === "sqld" ? `≥ 10: ${gained(one) >= 10 ? "met" : "UNDER"}` : "",
    ]),
    notes: ["Checked in this run: with calls audited, rows in the trail = counters = calls made."],
  };
}

interface Audited {
  readonly candidate: Candidate;
  check(): Promise<void>;
}

function ours(
  client: LibsqlClient,
  audit: "transitions" | "calls",
  consistency: "eventual" | "strong",
): Audited {
  let made = 0;
  const store = libsql({ client, audit });
  const fuse = createFuse({ stores: { database: store }, storeTimeoutMs: 10_000 });
  const name = `${audit}-${consistency}`;
  const breaker = fuse.make(name, { ...consecutive, consistency });
  return {
    candidate: {
      name: `audit "${audit}", ${consistency}`,
      run: async (calls) => {
        made += calls;
        for (let i = 0; i < calls; i++) await breaker.tryCall(succeed);
        await fuse.flush();
      },
    },
    async check() {
      const { metrics } = await breaker.snapshot();
      const { rows } = await client.execute({
        sql: "select count(*) as n from circuit_breaker_events where key = ?",
        args: [name],
      });
      const expected = audit === "calls" ? made : 0;
      if (Number(rows[0]!.n) !== expected || metrics.totalSuccesses !== made) {
        throw new Error(
          `${name}: ${rows[0]!.n} rows and ${metrics.totalSuccesses} counted of ${made} calls`,
        );
      }
      await fuse[Symbol.asyncDispose]();
    },
  };
}

const CIRCUITS = 100;
const DAY_MS = 86_400_000;

/** Creates a trail of a number of rows, one in a hundred of them in a chain. */
async function* large(client: Client, size: number): AsyncGenerator<Table> {
  await client.execute("pragma journal_mode = wal");
  await migrate(client);
  const store = libsql({ client, audit: "calls" }) as DatabaseStore & TrailAppender;
  const now = Date.now();
  const step = 30 * DAY_MS / size;
  const before = await bytes(client);
  const chained = size / 100;
  const circuits = Math.min(CIRCUITS, chained / 100);
  for (let i = 0; i < chained; i += 100) {
    // A hundred rows of one circuit at a time.
    const key = `circuit-${(i / 100) % circuits}`;
    await store[APPEND](Array.from({ length: 100 }, (_, j) => ({
      ...{
        key,
        epoch: "bench",
        generation: i + j + 2,
        began: i + j,
        event: j % 2 ? "closed" : "opened",
      } as const,
      at: Math.round(now - 30 * DAY_MS + (i + j) * 100 * step),
      metadata: {
        from: "CLOSED",
        to: "OPEN",
        generation: i + j + 2,
        reason: "consecutive_failures",
      },
    })));
  }
  const transitions = await bytes(client);
  await client.execute(`insert into circuit_breaker_events
    (circuit_breaker_id, event, metadata, created_at, key)
    with recursive n (i) as (select 0 union all select i + 1 from n where i + 1 < ${size - chained})
    select b.id, iif(n.i % 50, 'success', 'failure'), '{"generation":' || (n.i / 1000) || '}',
      cast(${now - 30 * DAY_MS} + n.i * ${step} as integer), b.key
    from n join circuit_breakers b on b.id = 1 + n.i % ${circuits}`);
  const after = await bytes(client);
  yield {
    name: "trail-bytes",
    title: `Trail of ${integer(size)} rows: bytes a row, indexes included`,
    columns: ["row", "rows", "bytes/row"],
    rows: [
      ["a transition", integer(chained), integer((transitions - before) / chained)],
      ["a call", integer(size - chained), integer((after - transitions) / (size - chained))],
    ],
  };

  const db = drizzle(client);
  const today = new Date(now - DAY_MS);
  const first = async (query: Parameters<DatabaseStore["history"]>[0]) => {
    await store.history(query).next();
  };
  const queries: Record<string, () => PromiseLike<unknown>> = {
    "the seed's: open circuits": () =>
      db.select().from(circuitBreakers).where(eq(circuitBreakers.state, "OPEN")),
    "the seed's: latest 50 events of a circuit by name": () =>
      db.select().from(circuitBreakerEvents)
        .innerJoin(circuitBreakers, eq(circuitBreakers.id, circuitBreakerEvents.circuitBreakerId))
        .where(eq(circuitBreakers.name, "circuit-7"))
        .orderBy(desc(circuitBreakerEvents.createdAt)).limit(50),
    "the seed's: opened today, counted": () =>
      db.select({ n: count() }).from(circuitBreakerEvents).where(
        and(eq(circuitBreakerEvents.event, "opened"), gte(circuitBreakerEvents.createdAt, today)),
      ),
    "history(), 100 rows": () => first({}),
    "history({ event }), 100 rows": () => first({ event: "opened" }),
    "history({ key }), 100 rows": () => first({ key: "circuit-7" }),
    "history({ key, event }), 100 rows": () => first({ key: "circuit-7", event: "opened" }),
    "history({ key, to }), 100 rows": () =>
      first({ key: "circuit-7", to: new Date(now - 15 * DAY_MS) }),
    "record of 50 audited calls": () =>
      Promise.resolve(store.record("circuit-7", {
        ...{ id: crypto.randomUUID(), at: now, shape: { windowMs: 120_000, windowSize: 0 } },
        ...{ epoch: "", generation: 0, began: 0, successes: 50, failures: 0, rejected: 0, slow: 0 },
        ...{ ageMs: 0, lease: null, policyHash: "" },
      })),
    "prune({ limit: 1000, keepTransitions: true })": async () =>
      expectDeleted(
        await store.prune({ olderThanMs: 15 * DAY_MS, keepTransitions: true, limit: 1_000 }),
      ),
    "prune({ limit: 100 })": async () =>
      expectDeleted(await store.prune({ olderThanMs: 15 * DAY_MS, limit: 100 })),
  };
  const rows: string[][] = [];
  for (const [name, ask] of Object.entries(queries)) {
    const ms = await timed(ask, 15);
    rows.push([name, ms.median.toFixed(2), `${ms.min.toFixed(2)}–${ms.max.toFixed(2)}`]);
  }
  const started = performance.now();
  const { ok, checked } = await store.verifyTrail();
  const verified = performance.now() - started;
  if (!ok) throw new Error("The trail does not verify");
  rows.push([
    `verifyTrail(), ${integer(checked)} chained rows`,
    verified.toFixed(0),
    `${(verified / checked * 1000).toFixed(0)} µs a row`,
  ]);
  client.close();
  yield {
    name: "trail-queries",
    title: `Trail of ${integer(size)} rows on a file`,
    columns: [`on ${integer(size)} rows`, "ms", "min–max"],
    rows,
  };
}

async function timed(ask: () => PromiseLike<unknown>, rounds: number): Promise<Spread> {
  await ask();
  const ms: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const start = performance.now();
    await ask();
    ms.push(performance.now() - start);
  }
  return spread(ms);
}

function expectDeleted({ deleted, more }: { deleted: number; more: boolean }): void {
  if (deleted === 0 || !more) throw new Error("There was nothing left to prune");
}

async function bytes(client: Client): Promise<number> {
  const { rows } = await client.execute(
    "select page_count * page_size as n from pragma_page_count, pragma_page_size",
  );
  return Number(rows[0]!.n);
}

const succeed = () => Promise.resolve(42);
