/**
 * A shared store for very many circuits: it keeps nothing, finds each circuit closed, takes requests
 * together as one over HTTP does, and counts them.
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
  const known = (at: number): Snapshot => ({
    ...absentSnapshot(at),
    ...{ epoch: "first", generation: 1, began: 1 },
  });
  const changed = (at: number) => answer(() => ({ snapshot: known(at), won: true }));
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
    read: (_key, { at }) => answer(() => known(at)),
    record: (_key, { at, successes, failures }) => {
      if (joined === null) seen.trips.push(1);
      else seen.trips[seen.trips.length - 1]!++;
      return answer(() => {
        seen.outcomes += successes + failures;
        return { snapshot: known(at), current: true };
      });
    },
    acquire: (_key, { at }) => {
      seen.acquires++;
      return answer(() => ({ snapshot: known(at), granted: true, moved: false }));
    },
    transition: (_key, { at }) => changed(at),
    override: (_key, { at }) => changed(at),
    restore: (_key, { at }) => changed(at),
    list: ({ at, cursor, limit, open }) =>
      answer(() => {
        const from = Number(cursor ?? 0);
        const until = open === true ? from : Math.min(from + limit, seen.listed);
        const records = Array.from({ length: until - from }, (_, i) => ({
          ...{ key: toKey({ name: `tenant-${from + i}`, context: null, boundary: null }) },
          ...{ snapshot: known(at), segments: [], outcomes: "" },
        }));
        return { records, cursor: until < seen.listed && !open ? String(until) : null };
      }),
    remove: () => false,
  };
  const seen: TenantStore = { store, trips: [], acquires: 0, outcomes: 0, listed: 0, down: false };
  return seen;
}
