// What D1 bills: requests, statements, and rows read and written.
import { assert } from "@std/assert";
import { type CircuitOptions, createFuse } from "@fuse/edge";
import { d1, type D1Like } from "@fuse/edge/d1";
import { cloudflareForFile } from "../../support/cloudflare/databases.ts";

const cloudflare = await cloudflareForFile();

/** What D1 says of a statement. */
interface Meta {
  readonly rows_read: number;
  readonly rows_written: number;
}

const costs = { requests: 0, statements: 0, read: 0, written: 0 };

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

/** The costs of ten calls, one after the other, of a circuit that is known. */
async function measure(options: CircuitOptions, audit?: "calls") {
  await cloudflare.ask("/migrate");
  await using fuse = createFuse({
    stores: { database: d1(db, audit === undefined ? {} : { audit }) },
    storeTimeoutMs: 30_000,
  });
  const breaker = fuse.make(crypto.randomUUID(), options);
  for (let i = 0; i < 2; i++) await breaker.call(() => Promise.resolve());
  await fuse.flush();
  Object.assign(costs, { requests: 0, statements: 0, read: 0, written: 0 });
  for (let i = 0; i < 10; i++) await breaker.call(() => Promise.resolve());
  await fuse.flush();
  return { ...costs };
}

/** The figures of `drivers/d1/README.md`. */
const BILLS: readonly [name: string, Parameters<typeof measure>, bill: typeof costs][] = [
  ["ten eventual calls", [{}], { requests: 1, statements: 4, read: 35, written: 5 }],
  [
    "ten strong calls",
    [{ consistency: "strong" }],
    { requests: 20, statements: 50, read: 350, written: 50 },
  ],
  [
    "ten strong calls that are audited",
    [{ consistency: "strong" }, "calls"],
    { requests: 20, statements: 60, read: 450, written: 110 },
  ],
];

for (const [name, parameters, bill] of BILLS) {
  Deno.test(`d1() is billed no more than its page says for ${name}`, async () => {
    const spent = await measure(...parameters);
    // Fewer where successes gather behind one that is under way.
    for (const what of ["requests", "statements", "written"] as const) {
      assert(spent[what] <= bill[what], `${what}: ${spent[what]}, at most ${bill[what]}`);
    }
    assert(spent.read <= 1.1 * bill.read, `rows read: ${spent.read}, about ${bill.read}`);
  });
}
