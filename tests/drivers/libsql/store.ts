import type { Client } from "@libsql/client";
import type { LibsqlOptions } from "@fuse/edge/libsql";
import { FakeClock } from "@fuse/edge/testing";
import type { AcquireRequest, Tally, TransitionRequest } from "../../../src/contract.ts";
import { databasesForFile, inMemory } from "../../support/databases.ts";
import { type DatabaseStore, libsql } from "../../support/drivers.ts";

export const SHAPE = { windowMs: 10_000, windowSize: 10 };
export const databases = await databasesForFile();

export function request() {
  return { id: crypto.randomUUID(), at: Date.now(), shape: SHAPE };
}

export function tally(parts: Partial<Tally> = {}): Tally {
  return {
    ...request(),
    ...{ epoch: "", generation: 0, began: 0, successes: 0, failures: 0, rejected: 0, slow: 0 },
    ...{ ageMs: 0, lease: null, policyHash: "", ...parts },
  };
}

export function acquiring(parts: Partial<AcquireRequest> = {}): AcquireRequest {
  const { id, ...rest } = request();
  return { id, ...rest, token: id, max: 1, leaseMs: 30_000, ...parts };
}

export function changing(parts: Partial<TransitionRequest> = {}): TransitionRequest {
  return {
    ...request(),
    ...{ to: "OPEN", event: "opened", cooldownMs: 60_000, reason: "test", actor: null },
    ...{ expected: null, ...parts },
  };
}

export const laying = () => ({ ...request(), until: null, reason: "a drill", actor: "ada" });

/** Runs `body` with a store in memory. */
export async function withStore(
  body: (parts: { client: Client; store: DatabaseStore; clock: FakeClock }) => Promise<void>,
  options: Partial<LibsqlOptions> = {},
): Promise<void> {
  await inMemory(async (client) => {
    const clock = new FakeClock();
    await body({ client, store: libsql({ client, clock: clock.now, ...options }), clock });
  });
}

export async function eventsOf(store: DatabaseStore, key?: string) {
  const events = [];
  for await (const event of store.history(key === undefined ? {} : { key })) events.push(event);
  return events;
}

/** Runs `body` in a folder of its own. */
export async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "fuse-local-client-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Returns a statement with its values. */
export const sql = (text: string, ...args: (string | number | bigint | null | ArrayBuffer)[]) => ({
  ...{ sql: text, args },
});
