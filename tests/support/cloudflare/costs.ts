/**
 * Cloudflare's bill for its databases, counted by request, and measured call by call.
 *
 * @module
 */
import { assert } from "@std/assert";
import { type CircuitOptions, type Clock, createFuse, type Store } from "@fuse/edge";
import type { D1Like } from "@fuse/edge/d1";
import type { NamespaceLike } from "@fuse/edge/durable-object";
import { FakeClock } from "@fuse/edge/testing";
import type { Cloudflare } from "./databases.ts";

/** Counts so far. */
export interface Costs {
  requests: number;
  statements: number;
  read: number;
  written: number;
}

/** The counts at the beginning. */
export const NOTHING: Readonly<Costs> = { requests: 0, statements: 0, read: 0, written: 0 };

/** The bill of a statement. */
interface Meta {
  readonly rows_read: number;
  readonly rows_written: number;
}

/** Returns a binding to the real D1 that counts. */
export function meteredD1(
  cloudflare: Cloudflare,
  costs: Costs = { ...NOTHING },
): { db: D1Like; costs: Costs } {
  const db: D1Like = {
    prepare: (sql) => ({ bind: (...args) => ({ sql, args }) }),
    async batch(statements) {
      const results = await cloudflare.ask<{ rows: unknown; meta: Meta }[]>("/bound", statements);
      costs.requests++;
      costs.statements += statements.length;
      for (const { meta } of results) {
        costs.read += meta.rows_read;
        costs.written += meta.rows_written;
      }
      return results.map(({ rows }) => ({ results: rows }));
    },
  };
  return { db, costs };
}

/** Returns a binding to real Durable Objects of its own that counts. */
export function meteredObjects(
  cloudflare: Cloudflare,
  costs: Costs = { ...NOTHING },
): { namespace: NamespaceLike; costs: Costs } {
  const own = crypto.randomUUID();
  const namespace: NamespaceLike = {
    idFromName: (name) => `${own} ${name}`,
    get: (id) => ({
      async fetch(request: Request) {
        const body = await request.text();
        const stub = cloudflare.objects.get(id) as { fetch: typeof fetch };
        const response = await stub.fetch(new Request(request.url, { method: "POST", body }));
        costs.requests++;
        costs.statements += JSON.parse(body).length;
        costs.read += Number(response.headers.get("x-rows-read"));
        costs.written += Number(response.headers.get("x-rows-written"));
        return response;
      },
    }),
  };
  return { namespace, costs };
}

/**
 * Returns the costs of ten consecutive calls of a known circuit.
 *
 * @param storeOf Returns the store on a clock that stands still: where a segment of the time window
 * begins, one row more is written.
 * @param passesMs How much time passes before the last call.
 */
export async function costsOfTenCalls(
  storeOf: (clock: Clock) => Store,
  costs: Costs,
  options: CircuitOptions,
  passesMs = 0,
): Promise<Costs> {
  const clock = new FakeClock();
  const store = storeOf(clock.now);
  await using fuse = createFuse({ stores: { store }, clock: clock.now, storeTimeoutMs: 30_000 });
  const breaker = fuse.make(crypto.randomUUID(), options);
  for (let i = 0; i < 2; i++) await breaker.call(() => Promise.resolve());
  await fuse.flush();
  Object.assign(costs, NOTHING);
  for (let i = 0; i < 9; i++) await breaker.call(() => Promise.resolve());
  clock.advance(passesMs);
  await breaker.call(() => Promise.resolve());
  await fuse.flush();
  return { ...costs };
}

/** The figures of `drivers/d1/README.md` and `drivers/durable_object/README.md`, for ten calls. */
export const BILLS: readonly {
  readonly name: string;
  readonly options: CircuitOptions;
  readonly audit: "transitions" | "calls";
  readonly bill: Costs;
}[] = [
  {
    name: "ten eventual calls",
    options: {},
    audit: "transitions",
    bill: { requests: 1, statements: 4, read: 35, written: 5 },
  },
  {
    name: "ten strong calls",
    options: { consistency: "strong" },
    audit: "transitions",
    bill: { requests: 20, statements: 50, read: 350, written: 50 },
  },
  {
    name: "ten strong calls that are audited",
    options: { consistency: "strong" },
    audit: "calls",
    bill: { requests: 20, statements: 60, read: 450, written: 110 },
  },
];

/** Asserts that the bill is no higher than a page says. */
export function assertBilled(spent: Costs, bill: Costs): void {
  // Fewer where successes gather behind a pending request.
  for (const what of ["requests", "statements", "written"] as const) {
    assert(spent[what] <= bill[what], `${what}: ${spent[what]}, at most ${bill[what]}`);
  }
  // They depend on the contents of the tables.
  assert(spent.read <= 1.1 * bill.read, `rows read: ${spent.read}, about ${bill.read}`);
}
