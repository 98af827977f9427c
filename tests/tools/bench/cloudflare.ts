/**
 * The bill of Cloudflare for its databases, in real workerd: requests, statements and rows, call by call.
 *
 * @module
 */
import { d1, d1Client } from "@fuse/edge/d1";
import { durableObject } from "@fuse/edge/durable-object";
import { createSchema } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { meteredD1, meteredObjects, NOTHING } from "../../support/cloudflare/costs.ts";
import { type Cloudflare, startFrom } from "../../support/cloudflare/databases.ts";
import type { DatabaseStore } from "../../support/drivers.ts";
import { workerdHost } from "../../support/workerd.ts";
import { operationsTable } from "./operations.ts";
import type { Section } from "./section.ts";
import type { Table } from "./table.ts";

/** The largest number of measured situations: each has its own tables. */
const SITUATIONS = 16;

/** Section `cloudflare`. */
export const section: Section = {
  async *run() {
    const host = workerdHost();
    try {
      const { cloudflare, workerd } = await (await startFrom(host))();
      await using _ = workerd;
      yield await onD1(cloudflare);
      yield await onObjects(cloudflare);
    } finally {
      await host.end();
    }
  },
};

async function onD1(cloudflare: Cloudflare): Promise<Table> {
  const costs = { ...NOTHING };
  const { db } = meteredD1(cloudflare, costs);
  const prefixes = Array.from({ length: SITUATIONS }, (_, i) => `bench${i}_`);
  for (const prefix of prefixes) await migrate(d1Client(db), { prefix });
  const make = (clock: () => number) => {
    const prefix = prefixes.pop();
    if (prefix === undefined) throw new Error("Too few databases");
    return d1(db, { clock, schema: createSchema({ prefix }) }) as DatabaseStore;
  };
  return await operationsTable("d1-calls", "D1: what a call costs", make, true, () => told(costs));
}

async function onObjects(cloudflare: Cloudflare): Promise<Table> {
  const costs = { ...NOTHING };
  const make = (clock: () => number) =>
    durableObject(meteredObjects(cloudflare, costs).namespace, { clock }) as DatabaseStore;
  const title = "Durable Objects: what a call costs";
  return await operationsTable("durable-object-calls", title, make, true, () => told(costs));
}

function told(costs: typeof NOTHING): Promise<Record<string, number>> {
  const { requests, statements, read, written } = costs;
  return Promise.resolve({ requests, statements, "rows read": read, "rows written": written });
}
