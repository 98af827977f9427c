/**
 * The costs of verifying a long trail and of pruning it: 100 000 rows of transitions, in chains of
 * a thousand.
 *
 * @module
 */
import { type Client, createClient } from "@libsql/client";
import { migrate } from "@fuse/edge/migrations";
import { APPEND, type TrailAppender } from "../../../drivers/libsql/append.ts";
import { type DatabaseStore, libsql } from "../../support/drivers.ts";
import type { Section } from "./section.ts";
import { integer, type Table } from "./table.ts";

const ROWS_OF_A_CHAIN = 1_000;
const ROWS_OF_A_BATCH = 500;
const DAY_MS = 86_400_000;

/** Section `proof`. */
export const section: Section = {
  async *run({ quick }) {
    const folder = await Deno.makeTempDir();
    const client = createClient({ url: `file:${folder}/proof.db` });
    try {
      yield await prove(client, quick ? 10_000 : 100_000);
    } finally {
      client.close();
      await Deno.remove(folder, { recursive: true });
    }
  },
};

async function prove(client: Client, size: number): Promise<Table> {
  await client.execute("pragma journal_mode = wal");
  await migrate(client);
  let requests = 0;
  const counted = {
    execute(statement: never) {
      requests++;
      return client.execute(statement);
    },
    batch(statements: never[], mode?: never) {
      requests++;
      return client.batch(statements, mode);
    },
  };
  const store = libsql({ client: counted as never, trailKey: "a key" }) as
    & DatabaseStore
    & TrailAppender;
  const begun = Date.now() - 30 * DAY_MS;
  for (let i = 0; i < size; i += ROWS_OF_A_BATCH) {
    const key = `circuit-${Math.floor(i / ROWS_OF_A_CHAIN)}`;
    await store[APPEND](Array.from({ length: ROWS_OF_A_BATCH }, (_, j) => {
      const generation = i % ROWS_OF_A_CHAIN + j + 2;
      const at = begun + generation;
      const reason = "consecutive_failures";
      return {
        ...{ key, epoch: "bench", generation, began: at, at },
        event: j % 2 ? "closed" : "opened",
        metadata: { from: "CLOSED", to: j % 2 ? "CLOSED" : "OPEN", generation, reason },
      } as const;
    }));
  }
  const rows: string[][] = [];
  const measure = async (name: string, work: () => Promise<number>) => {
    requests = 0;
    const start = performance.now();
    const done = await work();
    const ms = performance.now() - start;
    rows.push([
      ...[name, integer(done), integer(requests), integer(ms)],
      (ms / Math.max(done, 1) * 1_000).toFixed(0),
    ]);
    return done;
  };
  const verify = async () => {
    const { ok, checked } = await store.verifyTrail();
    if (!ok) throw new Error("The trail does not verify");
    return checked;
  };
  await measure("verifyTrail()", verify);
  await measure("verifyTrail({ circuit })", async () => {
    return (await store.verifyTrail({ circuit: "circuit-7" })).checked;
  });
  await measure("prune({ limit: 1000 }), until nothing is left", async () => {
    for (let sum = 0;;) {
      const { deleted, more } = await store.prune({ olderThanMs: DAY_MS });
      sum += deleted;
      if (!more) return sum;
    }
  });
  await measure("verifyTrail(), the newest row of each chain left", verify);
  return {
    name: "trail-proof",
    title: `Trail of ${integer(size)} chained rows on a file`,
    columns: ["what", "rows", "requests", "ms", "µs/row"],
    rows,
  };
}
