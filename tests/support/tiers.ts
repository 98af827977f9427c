/**
 * Isolates that share a Redis for state and a libSQL database for the trail. Each has its own
 * connection to the database, which can be broken.
 *
 * @module
 */
import type { Client } from "@libsql/client";
import { createFuse, type Fuse, type FuseEvent, type FuseOptions } from "@fuse/edge";
import type { LibsqlClient } from "@fuse/edge/libsql";
import { FakeClock } from "@fuse/edge/testing";
import type { CircuitEvent } from "../../src/contract.ts";
import { eventsOf } from "./trails.ts";
import { type DatabaseStore, libsql, type OpeningStore, tiered, upstash } from "./drivers.ts";

/** The fate of a batch. */
export type Way = "arrives" | "is refused" | "hangs" | "loses the answer";

/** One isolate. */
export interface TieredIsolate {
  readonly fuse: Fuse;
  readonly store: DatabaseStore;
  readonly events: FuseEvent[];
  /**
   * Its connection to the database. `asked`: batches so far. `spoilt`: a circuit whose batches are
   * refused.
   */
  readonly line: { way: Way; asked: number; spoilt?: string };
  /** The events of a type so far. */
  heard<K extends FuseEvent["type"]>(type: K): Extract<FuseEvent, { type: K }>[];
}

export interface TieredOptions extends Omit<FuseOptions, "stores"> {
  /** A store to use in place of Redis. */
  readonly state?: OpeningStore;
  readonly auditTimeoutMs?: number;
}

let worlds = 0;

/** One Redis, one database, one clock. */
export class Tiers {
  readonly clock = new FakeClock();
  readonly prefix = `tiers-${worlds++}`;
  readonly #face: { readonly url: string; readonly token: string };
  readonly #client: Client;

  constructor(face: { readonly url: string; readonly token: string }, client: Client) {
    this.#face = face;
    this.#client = client;
  }

  /** The store of state of one isolate. */
  state(): OpeningStore {
    const { url, token } = this.#face;
    return upstash({ url, token, prefix: this.prefix, clock: this.clock.now });
  }

  isolate(
    { state = this.state(), auditTimeoutMs = 20_000, ...options }: TieredOptions = {},
  ): TieredIsolate {
    const line: TieredIsolate["line"] = { way: "arrives", asked: 0 };
    const audit = libsql({ client: breaking(this.#client, line), clock: this.clock.now });
    const store = tiered({ state, audit, auditTimeoutMs });
    const fuse = createFuse({
      clock: this.clock.now,
      // A long limit: a busy machine is no outage of the store.
      storeTimeoutMs: 30_000,
      ...options,
      stores: { cache: store },
    });
    const events: FuseEvent[] = [];
    fuse.on("*", (event) => events.push(event));
    const heard = <K extends FuseEvent["type"]>(type: K) =>
      events.filter((event) => event.type === type) as Extract<FuseEvent, { type: K }>[];
    return { fuse, store, events, line, heard };
  }

  /** Reads the trail of a circuit, oldest first, without any isolate. */
  async trail(key: string): Promise<CircuitEvent[]> {
    return (await eventsOf(libsql({ client: this.#client }), { key })).reverse();
  }

  /** The number of rows that wait in Redis. */
  async waiting(key: string): Promise<number> {
    const request = { at: this.clock.now(), shape: { windowMs: 1, windowSize: 0 } };
    const { untold } = await this.state().read(key, { ...request, outbox: "hand" });
    return untold!.length;
  }

  /** The current generation of a circuit. */
  async generation(key: string): Promise<number> {
    const request = { at: this.clock.now(), shape: { windowMs: 1, windowSize: 0 } };
    return (await this.state().read(key, request)).generation;
  }

  /** Returns whether the chain of a circuit verifies. */
  async holds(key: string): Promise<boolean> {
    return (await libsql({ client: this.#client }).verifyTrail({ circuit: key })).ok;
  }
}

function breaking(client: Client, line: TieredIsolate["line"]): LibsqlClient {
  return {
    execute: (statement) => client.execute(statement as never) as never,
    async batch(statements, mode) {
      line.asked++;
      const names = ({ args }: { readonly args: unknown }) =>
        line.spoilt !== undefined && (args as unknown[]).includes(line.spoilt);
      if (statements.some(names)) throw new Error("no such row");
      if (line.way === "is refused") throw new Error("connection refused");
      if (line.way === "hangs") return await new Promise<never>(() => {});
      const results = await client.batch(statements as never, mode);
      if (line.way === "loses the answer") throw new Error("connection reset");
      return results as never;
    },
  };
}

/** Returns the generations of rows, in the order of the trail. */
export function generations(trail: readonly CircuitEvent[]): number[] {
  return trail.map(({ metadata }) => Number(metadata?.["generation"]));
}

/** Returns the generations of a circuit since its creation. */
export function upTo(generation: number): number[] {
  return Array.from({ length: generation - 1 }, (_, i) => i + 2);
}
