/**
 * Calls that succeed while the circuit is closed, by strategy and by the kind of result.
 *
 * @module
 */
import { type CircuitBreaker, createFuse } from "@fuse/edge";
import { type CircuitBreakerPolicy, handleAll } from "cockatiel";
import { type Family, NAMES } from "./family.ts";
import type { Candidate } from "./harness.ts";
import { cockatielConsecutive, cockatielCount, cockatielSampling } from "./peer_cockatiel.ts";
import { opossum, type OpossumBreaker } from "./peer_opossum.ts";
import { type StdBreaker, stdBreaker } from "./peer_std.ts";
import { consecutive, counted, percentage, rolling, slow } from "./policies.ts";

/** The kinds of results that users return; `mixed` alternates between these three. */
export const RESULTS = ["a number", "an object", "a Response", "mixed"] as const;

/** A kind of result. */
export type Result = typeof RESULTS[number];

/**
 * Our strategies, and the nearest counterpart in cockatiel. opossum and std have a rolling
 * percentage alone.
 */
export const STRATEGIES = {
  consecutive_failures: { policy: consecutive, cockatiel: cockatielConsecutive },
  rolling_window: { policy: rolling, cockatiel: cockatielSampling },
  count_window: { policy: counted, cockatiel: cockatielCount },
  percentage_failures: { policy: percentage, cockatiel: cockatielSampling },
  slow_calls: { policy: slow, cockatiel: cockatielSampling },
} as const;

/** A strategy of ours. */
export type StrategyName = keyof typeof STRATEGIES;

/** The name of a family. */
export function closedFamily(strategy: StrategyName, result: Result): string {
  return `closed: ${strategy}, ${result}`;
}

/** The peers are configured to count Responses as we do. */
export const JUDGED = "closed: a Response, judged by its status by all";

/** Looks up the circuit by tenant and name for each call, as a request handler does. */
export const PER_REQUEST = "closed: a handle for each call";

/** The families by name. */
export const CLOSED_FAMILIES: Readonly<Record<string, Family>> = {
  ...Object.fromEntries(
    (Object.keys(STRATEGIES) as StrategyName[]).flatMap((strategy) =>
      RESULTS.map((result): [string, Family] => [closedFamily(strategy, result), ({ std }) => {
        const { policy, cockatiel } = STRATEGIES[strategy];
        const fn = functionOf(result);
        return candidates(fn, {
          fuse: createFuse().make("api", policy),
          cockatiel: cockatiel(),
          std: std && stdBreaker(std),
          opossum: opossum(fn, "lean"),
        });
      }])
    ),
  ),
  [JUDGED]: ({ std }) => {
    const fn = functionOf("a Response");
    const failed = (result: unknown) => {
      const { status } = result as Response;
      return status >= 500 || status === 429;
    };
    return candidates(fn, {
      fuse: createFuse().make("api", consecutive),
      cockatiel: cockatielConsecutive(handleAll.orWhenResult(failed)),
      std: std && stdBreaker(std, { isResultFailure: failed }),
      opossum: null,
    });
  },
  [PER_REQUEST]: perRequest,
};

function functionOf(result: Result): () => Promise<unknown> {
  const results = {
    "a number": 42,
    "an object": { id: 42, name: "an order", lines: [{ sku: "a", count: 1 }] },
    "a Response": new Response("ok"),
  };
  if (result !== "mixed") {
    const value = results[result];
    return () => Promise.resolve(value);
  }
  const all = Object.values(results);
  let turn = 0;
  return () => Promise.resolve(all[turn++ % all.length]);
}

interface Breakers {
  readonly fuse: CircuitBreaker;
  readonly cockatiel: CircuitBreakerPolicy;
  readonly std: StdBreaker | null;
  readonly opossum: OpossumBreaker | null;
}

function candidates(fn: () => Promise<unknown>, breakers: Breakers): Candidate[] {
  const { fuse, cockatiel, std, opossum } = breakers;
  return [
    {
      name: NAMES.bare,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await fn();
      },
    },
    {
      name: NAMES.call,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await fuse.call(fn);
      },
    },
    {
      name: NAMES.tryCall,
      afterwards: true,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await fuse.tryCall(fn);
      },
    },
    {
      name: NAMES.cockatiel,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await cockatiel.execute(fn);
      },
    },
    ...std === null ? [] : [{
      name: NAMES.std,
      run: async (calls: number) => {
        for (let i = 0; i < calls; i++) await std.execute(fn);
      },
    }],
    ...opossum === null ? [] : [{
      name: NAMES.opossum,
      run: async (calls: number) => {
        for (let i = 0; i < calls; i++) await opossum.fire();
      },
    }],
  ];
}

/** A hundred tenants in turn. The peers have no scopes: a Map holds a breaker for each tenant. */
function perRequest({ std }: Parameters<Family>[0]): Candidate[] {
  const fn = functionOf("an object");
  const ids = Array.from({ length: 100 }, (_, i) => `tenant-${i}`);
  const fuse = createFuse({ defaults: consecutive });
  const theirs = keyed(cockatielConsecutive);
  const stds = std && keyed(() => stdBreaker(std));
  const opossums = keyed(() => opossum(fn, "lean"));
  return [
    {
      name: NAMES.bare,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await fn();
      },
    },
    {
      name: NAMES.call,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) {
          await fuse.for({ type: "tenant", id: ids[i % 100]! }).make("api").call(fn);
        }
      },
    },
    {
      name: NAMES.tryCall,
      afterwards: true,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) {
          await fuse.for({ type: "tenant", id: ids[i % 100]! }).make("api").tryCall(fn);
        }
      },
    },
    {
      name: NAMES.cockatiel,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await theirs(ids[i % 100]!).execute(fn);
      },
    },
    ...stds === null ? [] : [{
      name: NAMES.std,
      run: async (calls: number) => {
        for (let i = 0; i < calls; i++) await stds(ids[i % 100]!).execute(fn);
      },
    }],
    {
      name: NAMES.opossum,
      run: async (calls) => {
        for (let i = 0; i < calls; i++) await opossums(ids[i % 100]!).fire();
      },
    },
  ];
}

function keyed<B>(make: () => B): (tenant: string) => B {
  const breakers = new Map<string, B>();
  return (tenant) => {
    const key = `tenant:${tenant}/api`;
    let breaker = breakers.get(key);
    if (breaker === undefined) breakers.set(key, breaker = make());
    return breaker;
  };
}
