/**
 * Stores in Redis, each with its own circuit "a", and access to its keys.
 *
 * @module
 */
import { assert } from "@std/assert";
import type { FakeClock } from "@fuse/edge/testing";
import type { Tally } from "../../src/contract.ts";
import { sharedRedis } from "./redis_server.ts";
import { startFace } from "./upstash_face.ts";
import type { CircuitRecord } from "@fuse/edge/store";
import { type OpeningStore, upstash } from "./drivers.ts";

export const redis = await sharedRedis();
const face = await startFace({ redis });
export const SHAPE = { windowMs: 120_000, windowSize: 0 };
export const SEGMENT_MS = 12_000;
export const TTL_MS = 3_600_000;

export function open(clock?: FakeClock, ttlMs = TTL_MS): { store: OpeningStore; prefix: string } {
  const prefix = `circuit-${crypto.randomUUID()}`;
  return { store: again(prefix, clock, ttlMs), prefix };
}

export function again(prefix: string, clock: FakeClock | undefined, ttlMs: number): OpeningStore {
  const { url, token } = face;
  return upstash({ url, token, prefix, ttlMs, clock: clock?.now });
}

export const request = () => ({ id: crypto.randomUUID(), at: Date.now(), shape: SHAPE });

export function record(store: OpeningStore, parts: Partial<Tally>) {
  return Promise.resolve(store.record("a", {
    ...{ ...request(), epoch: "", generation: 0, began: 0, lease: null, policyHash: "", ageMs: 0 },
    ...{ successes: 0, failures: 0, rejected: 0, slow: 0 },
    ...parts,
  }));
}

export function acquire(
  store: OpeningStore,
  clock: FakeClock,
  token: string,
  max: number,
  leaseMs = 1_000,
) {
  const limits = { max, leaseMs };
  return Promise.resolve(store.acquire("a", { ...request(), at: clock.now(), token, ...limits }));
}

/** Creates a circuit whose cooldown is over. */
export async function tripped(store: OpeningStore, clock: FakeClock): Promise<void> {
  const operator = { reason: "test", actor: null, expected: null };
  await store.transition("a", {
    ...{ ...request(), ...operator, to: "OPEN", event: "opened", cooldownMs: 1_000 },
  });
  clock.advance(1_000);
}

/** Returns the record of the one circuit. A page may be empty, and be followed by another. */
export async function held(store: OpeningStore): Promise<CircuitRecord> {
  for (let cursor: string | null = null;;) {
    const page = await store.list({ cursor, limit: 100, at: Date.now(), shape: () => SHAPE });
    if (page.records.length > 0) return page.records[0]!;
    cursor = page.cursor;
    assert(cursor !== null, "There is no record");
  }
}

export const fields = async (prefix: string, part: string) =>
  (await redis.command("HKEYS", `${prefix}:a:${part}`) as string[]).toSorted();
export const ttl = (prefix: string, part: string) =>
  redis.command("PTTL", `${prefix}:a:${part}`) as Promise<number>;
export const size = (prefix: string, part: string) =>
  redis.command("HLEN", `${prefix}:a:${part}`) as Promise<number>;

export const PARTS = ["state", "metrics", "failures", "successes"];
