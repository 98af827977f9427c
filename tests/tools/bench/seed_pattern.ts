/**
 * The seed's implementation of a call, store by store: reads the circuit, calls, and writes the
 * outcome. Rewritten from its document, so that its work can be timed beside ours on the same
 * servers in the same run.
 *
 * @module
 */
import type { Client } from "@libsql/client";
import type { Redis } from "@upstash/redis";
import { callAtOnce, type Candidate } from "./harness.ts";

/** One of its drivers on one circuit. */
export interface SeedPattern extends Candidate {
  /** The number of calls so far. */
  made(): number;
  /** The number of counted calls, read from its store. */
  counted(): Promise<number>;
}

/** Its array driver: one map in the process. */
export function seedArray(): SeedPattern {
  const circuits = new Map<string, { state: string; successes: number; lastAt: number }>();
  circuits.set("a", { state: "CLOSED", successes: 0, lastAt: 0 });
  let made = 0;
  return {
    name: "the seed's pattern",
    async run(calls) {
      made += calls;
      for (let i = 0; i < calls; i++) {
        if (circuits.get("a")!.state === "OPEN") continue;
        await succeed();
        const circuit = circuits.get("a")!;
        circuits.set("a", { ...circuit, successes: circuit.successes + 1, lastAt: Date.now() });
      }
    },
    made: () => made,
    counted: () => Promise.resolve(circuits.get("a")!.successes),
  };
}

/** Its cache driver: two reads, a counter and the metrics written back, one after the other. */
export function seedCache(
  redis: Redis,
  key: string,
  callers = 1,
  called: () => Promise<unknown> = succeed,
): SeedPattern {
  let made = 0;
  const call = async () => {
    const state = await redis.get<string>(`${key}:state`);
    const metrics = await redis.get<{ calls: number }>(`${key}:metrics`);
    if (state === "OPEN") return;
    await called();
    await redis.incr(`${key}:successes`);
    await redis.set(`${key}:metrics`, { calls: (metrics?.calls ?? 0) + 1 });
  };
  return {
    name: "the seed's pattern",
    run(calls) {
      made += calls;
      return callAtOnce(calls, callers, call);
    },
    made: () => made,
    // Its metrics, on which it decides: read, changed here and written back.
    counted: async () => (await redis.get<{ calls: number }>(`${key}:metrics`))?.calls ?? 0,
  };
}

/** Its database driver. */
export interface SeedDatabase extends SeedPattern {
  /** The number of rows in its trail. */
  audited(): Promise<number>;
}

/**
 * Its database driver: six statements a call, each a round trip, four of them a transaction with
 * its BEGIN and COMMIT. Creates its tables. `audited`: a seventh statement writes a row for the
 * call, as its source does; leaving it out is in its favor.
 */
export async function seedDatabase(
  client: Client,
  { audited = false }: { audited?: boolean } = {},
): Promise<SeedDatabase> {
  await client.batch([
    `create table seed_circuit_breakers (id integer primary key, name text unique not null,
      state text not null, failure_count integer not null default 0,
      success_count integer not null default 0, last_failure_at integer, opened_at integer,
      closed_at integer, created_at integer, updated_at integer)`,
    `create table seed_circuit_breaker_events (id integer primary key,
      circuit_breaker_id integer not null, event text not null, metadata text, created_at integer)`,
    "insert into seed_circuit_breakers (name, state) values ('a', 'CLOSED')",
  ], "write");
  const select = "select * from seed_circuit_breakers where name = 'a'";
  let made = 0;
  return {
    name: `the seed's pattern${audited ? ", a row a call" : ""}`,
    async run(calls) {
      made += calls;
      for (let i = 0; i < calls; i++) {
        await client.execute(select);
        await succeed();
        const transaction = await client.transaction("write");
        await transaction.execute(select);
        await transaction.execute(
          "update seed_circuit_breakers set success_count = success_count + 1, updated_at = 1 " +
            "where name = 'a'",
        );
        if (audited) {
          await transaction.execute(
            "insert into seed_circuit_breaker_events (circuit_breaker_id, event, metadata, " +
              "created_at) values (1, 'success', '{}', 1)",
          );
        }
        await transaction.commit();
        await client.execute(select);
      }
    },
    made: () => made,
    counted: async () => Number((await client.execute(select)).rows[0]?.success_count),
    async audited() {
      const { rows } = await client.execute(
        "select count(*) as n from seed_circuit_breaker_events",
      );
      return Number(rows[0]!.n);
    },
  };
}

const succeed = () => Promise.resolve(42);
