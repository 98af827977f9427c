/**
 * Mistakes, planted one at a time: each breaks one invariant, and the simulation must find it.
 * Other breakers make them, or a store or a view of ours could.
 *
 * @module
 */
import { admissionOf } from "../../../src/records.ts";
import type { CircuitBreaker } from "@fuse/edge";
import type { LocalDriver } from "../../../src/local_circuit.ts";
import type { Answer, Driver, Recorded, Snapshot, Tally } from "../../../src/contract.ts";
import type { PlayOptions } from "./fleet.ts";
import type { Kind } from "./scenario.ts";
import type { Invariant } from "./violation.ts";
import { TOTALS_ONLY } from "@fuse/edge/store";
import { CIRCUITS, type MemoryStore, type OpeningStore } from "../../support/drivers.ts";

/** A mistake, and the invariant that must reveal it. */
export interface Planted {
  /** The end of the test's name: "… when `mistake`". */
  readonly mistake: string;
  readonly invariant: Invariant;
  /** Kinds of scenarios in which it can show. */
  readonly kinds: readonly Kind[];
  readonly options: PlayOptions;
}

/** The mistakes. */
export const PLANTED: readonly Planted[] = [
  {
    mistake: "the store grants one lease too many",
    invariant: "trials",
    kinds: ["storm", "dead"],
    options: {
      store: (store) =>
        but(store, {
          acquire: (key, request) => store.acquire(key, { ...request, max: request.max + 1 }),
        }),
    },
  },
  {
    mistake: "the store gives no slot back",
    invariant: "trials",
    kinds: ["storm", "dead"],
    options: {
      store: (store) =>
        but(store, { record: (key, tally) => store.record(key, { ...tally, lease: null }) }),
    },
  },
  {
    mistake: "a trial runs for each caller of an isolate",
    invariant: "trials",
    kinds: ["storm"],
    options: {
      // One token for all, as if the owner of a lease were a process.
      wire: (store, isolate) =>
        but(store, {
          acquire: (key, request) =>
            store.acquire(key, { ...request, token: `isolate ${isolate}` }),
        }),
    },
  },
  {
    mistake: "a neutral trial keeps its slot",
    invariant: "trials",
    kinds: ["storm"],
    options: {
      // The slot stays taken until its lease ends.
      wire: (store) =>
        but(store, {
          record: (key, tally) => {
            const lease = tally.successes + tally.failures > 0 ? tally.lease : null;
            return store.record(key, { ...tally, lease });
          },
        }),
    },
  },
  {
    mistake: "isolates run trials that were refused",
    invariant: "trials",
    kinds: ["storm", "dead"],
    options: {
      wire: (store) =>
        but(store, {
          acquire: async (key, request) => {
            const answer = await store.acquire(key, request);
            return { ...answer, granted: answer.granted || answer.snapshot.state === "HALF_OPEN" };
          },
        }),
    },
  },
  {
    mistake: "the store changes state without a precondition",
    invariant: "edges",
    kinds: ["storm", "dead"],
    options: {
      store: (store) =>
        but(store, {
          transition: (key, request) => store.transition(key, { ...request, expected: null }),
        }),
    },
  },
  {
    mistake: "the store ends a cooldown early",
    invariant: "edges",
    kinds: ["storm", "dead"],
    options: {
      store: (store) =>
        but(store, {
          acquire: (key, request) => {
            // Any end is then further ahead than this cooldown could have set it.
            const live = (store as unknown as LocalDriver).peek(key);
            if (live !== undefined) Object.assign(live, { cooldownMs: -1e9 });
            return store.acquire(key, request);
          },
        }),
    },
  },
  {
    mistake: "isolates open one failure late",
    invariant: "edges",
    kinds: ["storm", "dead"],
    options: {
      policy: (policy) => ({ ...policy, failureThreshold: policy.failureThreshold! + 1 }),
    },
  },
  {
    mistake: "isolates close one success late",
    invariant: "edges",
    kinds: ["storm", "dead"],
    options: {
      policy: (policy) => ({ ...policy, successThreshold: policy.successThreshold! + 1 }),
    },
  },
  {
    mistake: "the store tells everybody who asks for a transition that it was theirs",
    invariant: "audit",
    kinds: ["storm", "dead"],
    options: {
      store: (store) =>
        but(store, {
          transition: (key, request) => ({
            ...store.transition(key, request) as Answer,
            won: true,
          }),
        }),
    },
  },
  {
    mistake: "isolates announce transitions that others made",
    invariant: "announcements",
    kinds: ["storm", "dead"],
    options: {
      wire: (store) =>
        but(store, {
          transition: async (key, request) => ({
            ...await store.transition(key, request),
            won: true,
          }),
        }),
    },
  },
  {
    mistake: "the store counts late results",
    invariant: "late",
    kinds: ["storm", "dead"],
    options: {
      store: (store) =>
        but(store, {
          record: (key, tally) => {
            const { epoch, generation } = held(store, key) ?? tally;
            return store.record(key, { ...tally, epoch, generation });
          },
        }),
    },
  },
  {
    mistake: "the store counts late results in a record that they create",
    invariant: "late",
    kinds: ["storm"],
    options: {
      store: (store) =>
        but(store, {
          record: (key, tally) => {
            if (tally.epoch === "" || held(store, key) !== undefined) {
              return store.record(key, tally);
            }
            const created = { ...tally, epoch: "", generation: 0, began: 0 };
            return { ...store.record(key, created) as Recorded, current: false };
          },
        }),
    },
  },
  {
    mistake: "isolates record late results as current",
    invariant: "late",
    kinds: ["storm", "dead"],
    options: {
      // Recorded under the last known generation, as if an outcome were booked when it ends.
      wire: (store) => {
        let held: Snapshot | null = null;
        const labels = new Map<string, Pick<Tally, "epoch" | "generation" | "began">>();
        const heard = <T extends Answer>(answer: T): T => {
          held = answer.snapshot;
          return answer;
        };
        return but(store, {
          record: async (key, tally) => {
            const { id, generation } = tally;
            const known = held === null || generation === TOTALS_ONLY ? tally : held;
            const label = labels.get(id) ?? admissionOf(known);
            labels.set(id, label);
            return heard(await store.record(key, { ...tally, ...label }));
          },
          read: async (key, request) => held = await store.read(key, request),
          acquire: async (key, request) => heard(await store.acquire(key, request)),
          transition: async (key, request) => heard(await store.transition(key, request)),
        });
      },
    },
  },
  {
    mistake: "the store counts what is sent again",
    invariant: "tallies",
    kinds: ["storm"],
    options: {
      store: (store) => {
        let times = 0;
        return but(store, {
          record: (key, tally) => store.record(key, { ...tally, id: `${tally.id}+${times++}` }),
        });
      },
    },
  },
  {
    mistake: "the store acknowledges what it does not count",
    invariant: "tallies",
    kinds: ["storm"],
    options: {
      store: (store) =>
        but(store, {
          record: (key, tally) =>
            store.record(key, { ...tally, successes: Math.min(1, tally.successes) }),
        }),
    },
  },
  {
    mistake: "an isolate forgets what the store did not take",
    invariant: "tallies",
    kinds: ["storm"],
    options: {
      wire: (store) =>
        but(store, {
          // A failed request looks like an answer, so that no request is repeated.
          record: (key, tally) =>
            Promise.resolve(store.record(key, tally)).catch(async (): Promise<Recorded> => ({
              current: false,
              snapshot: await store.read(key, tally),
            })),
        }),
    },
  },
  {
    mistake: "a store's error replaces the caller's result",
    invariant: "callers",
    kinds: ["storm"],
    options: {
      breaker: (breaker) => {
        const call: CircuitBreaker["call"] = async (fn, options) => {
          const result = await breaker.call(fn, options);
          if (breaker.peek().metrics.totalFailures % 7 === 6) throw new Error("Store unavailable");
          return result;
        };
        return { ...breaker, tryCall: breaker.tryCall.bind(breaker), ...operators(breaker), call };
      },
    },
  },
  {
    mistake: "callers at the same time share one result",
    invariant: "callers",
    kinds: ["storm"],
    options: {
      breaker: (breaker) => {
        let flight: Promise<unknown> | null = null;
        const call =
          ((fn, options) =>
            flight ??= breaker.call(fn, options).finally(() =>
              flight = null
            )) as typeof breaker.call;
        return { ...breaker, tryCall: breaker.tryCall.bind(breaker), ...operators(breaker), call };
      },
    },
  },
  {
    mistake: "isolates do not hear that the circuit is open",
    invariant: "stops",
    kinds: ["dead"],
    options: {
      // Answers as of a replica that lags for ever.
      wire: (store) => {
        let held: Snapshot | null = null;
        const old = (snapshot: Snapshot): Snapshot => {
          if (snapshot.state === "CLOSED") held = snapshot;
          return snapshot.state === "OPEN" ? held ?? closed(snapshot) : snapshot;
        };
        return but(store, {
          record: async (key, tally) => {
            const answer = await store.record(key, tally);
            const snapshot = old(answer.snapshot);
            return { current: answer.current && snapshot === answer.snapshot, snapshot };
          },
          read: async (key, request) => old(await store.read(key, request)),
          acquire: async (key, request) => {
            const answer = await store.acquire(key, request);
            const snapshot = old(answer.snapshot);
            return { ...answer, granted: answer.granted || snapshot !== answer.snapshot, snapshot };
          },
        });
      },
    },
  },
  {
    mistake: "nobody who is cut off protects itself",
    invariant: "stops",
    kinds: ["cut"],
    options: { policy: (policy) => ({ ...policy, onStoreError: "allow" }) },
  },
  {
    mistake: "the store never ends a cooldown",
    invariant: "returns",
    kinds: ["storm", "dead"],
    options: {
      store: (store) =>
        but(store, {
          acquire: (key, request) =>
            held(store, key)?.state === "OPEN"
              ? { granted: false, moved: false, snapshot: store.read(key, request) as Snapshot }
              : store.acquire(key, request),
        }),
    },
  },
  {
    mistake: "views do not see a forced opening",
    invariant: "forced",
    kinds: ["forced"],
    options: {
      wire: (store) =>
        but(store, {
          record: async (key, tally) => {
            const answer = await store.record(key, tally);
            return { ...answer, snapshot: { ...answer.snapshot, override: null } };
          },
          read: async (key, request) => ({ ...await store.read(key, request), override: null }),
          acquire: async (key, request) => {
            const answer = await store.acquire(key, request);
            return { ...answer, granted: true, snapshot: { ...answer.snapshot, override: null } };
          },
        }),
    },
  },
];

/** Returns the same store, with some methods replaced. */
export function but<S extends OpeningStore>(store: S, methods: Partial<Driver>): S {
  const driver: Driver = {
    name: store.name,
    traits: store.traits,
    read: (key, request) => store.read(key, request),
    record: (key, tally) => store.record(key, tally),
    acquire: (key, request) => store.acquire(key, request),
    transition: (key, request) => store.transition(key, request),
    override: (key, request) => store.override(key, request),
    restore: (key, request) => store.restore(key, request),
    list: (request) => store.list(request),
    remove: (key, request) => store.remove(key, request),
    ...methods,
  };
  const { peek } = store as Partial<LocalDriver>;
  const live = peek && { peek: peek.bind(store) };
  return { [CIRCUITS]: store[CIRCUITS], ...driver, ...live } as unknown as S;
}

/** The live record that the simulated server holds. */
function held(store: OpeningStore, key: string): Snapshot | undefined {
  return (store as MemoryStore).peek(key);
}

function operators(breaker: CircuitBreaker): Partial<CircuitBreaker> {
  const { forceOpen, forceClose, disable, metricsOnly, release, reset } = breaker;
  const methods = { forceOpen, forceClose, disable, metricsOnly, release, reset };
  return Object.fromEntries(
    Object.entries(methods).map(([name, method]) => [name, method.bind(breaker as never)]),
  );
}

function closed(snapshot: Snapshot): Snapshot {
  return { ...snapshot, state: "CLOSED", openUntil: null };
}

/**
 * The mistake that shows only on average: failures are sent at once and without the successes that
 * ended before them, successes seconds later.
 */
export const OVERTAKING: PlayOptions = {
  wire: (store) =>
    but(store, {
      record: async (key, tally) => {
        if (tally.successes > 0) {
          const successes = { ...tally, id: `${tally.id}+`, failures: 0, lease: null };
          setTimeout(() => store.record(key, successes), 3_000);
        }
        return tally.failures > 0
          ? await store.record(key, { ...tally, successes: 0 })
          : { current: true, snapshot: await store.read(key, tally) };
      },
    }),
};
