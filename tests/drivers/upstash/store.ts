// Stores on a Redis that the tests of a file share.
import type { UpstashOptions } from "@fuse/edge/upstash";
import type { Tally } from "../../../src/contract.ts";
import { sharedRedis } from "../../support/redis_server.ts";
import { type FaceRequest, startFace } from "../../support/upstash_face.ts";
import type { CircuitRecord } from "@fuse/edge/store";
import { type OpeningStore, upstash } from "../../support/drivers.ts";

export const redis = await sharedRedis();
export const face = await startFace({ redis });
export const SHAPE = { windowMs: 120_000, windowSize: 0 };
export const HOUR_MS = 3_600_000;
let made = 0;

/** A prefix that no other test has. */
export function freshPrefix(): string {
  return `test-${made++}`;
}

/** A store with a prefix that no other test has. */
export function open(options: Partial<UpstashOptions> = {}) {
  const prefix = freshPrefix();
  const store = upstash({ url: face.url, token: face.token, prefix, ...options } as UpstashOptions);
  return { store, prefix: options.prefix ?? prefix };
}

export function record(store: OpeningStore, key: string, parts: Partial<Tally> = {}) {
  return Promise.resolve(store.record(key, {
    ...{
      id: crypto.randomUUID(),
      at: Date.now(),
      shape: SHAPE,
      epoch: "",
      generation: 0,
      began: 0,
    },
    ...{ successes: 0, failures: 0, rejected: 0, slow: 0, ageMs: 0, lease: null, policyHash: "p" },
    ...parts,
  }));
}

export function read(store: OpeningStore, key: string, at = Date.now()) {
  return Promise.resolve(store.read(key, { at, shape: SHAPE }));
}

export async function keys(pattern = "*"): Promise<string[]> {
  return (await redis.command("KEYS", pattern) as string[]).sort();
}

/** All records of a store. */
export async function listed(store: OpeningStore): Promise<{ records: CircuitRecord[] }> {
  const records: CircuitRecord[] = [];
  for (let cursor: string | null = null;;) {
    const page = await store.list({ cursor, limit: 100, at: Date.now(), shape: () => SHAPE });
    records.push(...page.records);
    cursor = page.cursor;
    if (cursor === null) return { records };
  }
}

/** Returns the requests that arrived meanwhile. */
export async function requestsOf(work: () => Promise<unknown>): Promise<readonly FaceRequest[]> {
  face.reset();
  await work();
  return [...face.log];
}

/** Repeats a request of one command. Returns the answer of Redis. */
export async function sendAgain(request: FaceRequest | undefined): Promise<unknown[]> {
  const response = await fetch(face.url, {
    method: "POST",
    headers: { authorization: `Bearer ${face.token}` },
    body: JSON.stringify(request!.commands[0]),
  });
  return (await response.json()).result;
}
