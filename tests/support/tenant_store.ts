/**
 * A shared store for very many circuits: it keeps nothing, finds each circuit closed, takes requests
 * together as one over HTTP does, and counts them. Each answer has objects and texts of its own, like one
 * that was read from a response.
 *
 * @module
 */
import { toKey } from "../../src/key.ts";
import { absentSnapshot } from "../../src/records.ts";
import type { Snapshot } from "@fuse/edge/store";
import { CIRCUITS, type OpeningStore, SHARED } from "./drivers.ts";

/** The store, and what it was sent. */
export interface TenantStore {
  readonly store: OpeningStore;
  /** How many tallies came in each request that carried any. */
  readonly trips: number[];
  /** Requests of callers that waited: one operation each. */
  acquires: number;
  /** Outcomes in the tallies that it has answered. */
  outcomes: number;
  /** How many circuits it lists: `tenant-0` and so on. 0 at first. */
  listed: number;
  /** While `true`, each request fails once it should have been answered. */
  down: boolean;
}

/** @param passes Resolves when an answer is to arrive that is asked for now. */
export function tenantStore(passes: () => Promise<unknown>): TenantStore {
  /** The request that operations join while `together` runs. */
  let joined: Promise<unknown> | null = null;
  const answer = async <T>(answered: () => T): Promise<T> => {
    await (joined ?? passes());
    if (seen.down) throw new Error("The store is down");
    return answered();
  };
  /** All isolates of a fleet have one policy. */
  let written = {};
  const known = (key: string, at: number): Snapshot =>
    JSON.parse(JSON.stringify({
      ...absentSnapshot(at),
      ...{ epoch: `life-of-${key}`, generation: 1, began: 1_700_000_000_000 },
      ...{ consecutiveSuccesses: 24, lastSuccessAt: at },
      totals: { successes: 117, failures: 2, rejected: 0, slow: 1 },
      sinceClosed: { successes: 90, failures: 1, slow: 0 },
      window: { successes: 3, failures: 0, slow: 0 },
      ...written,
    }));
  const changed = (key: string, { at }: { readonly at: number }) =>
    answer(() => ({ snapshot: known(key, at), won: true }));
  const store: OpeningStore = {
    [CIRCUITS]: SHARED,
    name: "tenants",
    traits: { persistent: true, shared: true, audited: false },
    together(work) {
      joined = passes();
      seen.trips.push(0);
      try {
        return work();
      } finally {
        joined = null;
        if (seen.trips.at(-1) === 0) seen.trips.pop();
      }
    },
    read: (key, { at }) => answer(() => known(key, at)),
    record: (key, { at, successes, failures, policyHash, policy }) => {
      if (policy != null) written = { policyHash, policy };
      if (joined === null) seen.trips.push(1);
      else seen.trips[seen.trips.length - 1]!++;
      return answer(() => {
        seen.outcomes += successes + failures;
        return { snapshot: known(key, at), current: true };
      });
    },
    acquire: (key, { at }) => {
      seen.acquires++;
      return answer(() => ({ snapshot: known(key, at), granted: true, moved: false }));
    },
    transition: changed,
    override: changed,
    restore: changed,
    list: ({ at, cursor, limit, open }) =>
      answer(() => {
        const from = Number(cursor ?? 0);
        const until = open === true ? from : Math.min(from + limit, seen.listed);
        const records = Array.from({ length: until - from }, (_, i) => {
          const key = toKey({ name: `tenant-${from + i}`, context: null, boundary: null });
          return { key, snapshot: known(key, at), segments: [], outcomes: "" };
        });
        return { records, cursor: until < seen.listed && !open ? String(until) : null };
      }),
    remove: () => false,
  };
  const seen: TenantStore = { store, trips: [], acquires: 0, outcomes: 0, listed: 0, down: false };
  return seen;
}
