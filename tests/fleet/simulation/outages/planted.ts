/**
 * Mistakes that turn a partial failure of the store into an outage, planted one at a time: the
 * worlds must find each.
 *
 * @module
 */
import type { Driver, Recorded } from "../../../../src/contract.ts";
import type { OpeningStore } from "../../../support/drivers.ts";
import { but } from "../planted.ts";
import type { Invariant } from "../violation.ts";
import type { OutageKind } from "./outage.ts";
import type { OutageOptions } from "./stage.ts";

/** A mistake, and the invariant that must reveal it. */
export interface PlantedOutage {
  /** The end of the test's name: "… when `mistake`" */
  readonly mistake: string;
  readonly invariant: Invariant;
  readonly kind: OutageKind;
  readonly options: OutageOptions;
}

/** The mistakes. */
export const PLANTED_OUTAGES: readonly PlantedOutage[] = [
  {
    mistake: "a write that the store refuses looks like one that it took",
    invariant: "protects",
    kind: "dead",
    options: {
      wire: (store) =>
        but(store, {
          record: (key, tally) =>
            Promise.resolve(store.record(key, tally)).catch(async (): Promise<Recorded> => ({
              current: true,
              snapshot: await store.read(key, tally),
            })),
        }),
    },
  },
  {
    mistake: "each caller of a herd has a Fuse of its own",
    invariant: "herd",
    kind: "herd",
    options: { fuseFor: "call" },
  },
  {
    mistake: "callers run whom the store has refused a trial",
    invariant: "herd",
    kind: "herd",
    options: {
      wire: (store) =>
        but(store, {
          acquire: async (key, request) => ({
            ...await store.acquire(key, request),
            granted: true,
          }),
        }),
    },
  },
  {
    mistake: "each cold call has a Fuse of its own",
    invariant: "cold",
    kind: "cold",
    options: { fuseFor: "call" },
  },
  {
    mistake: "a cold call waits for longer than it is told to",
    invariant: "cold",
    kind: "cold",
    options: { storeTimeoutMs: 2_000 },
  },
  {
    mistake: "each circuit leaves the store alone for itself",
    invariant: "probes",
    kind: "refused",
    options: { fuseFor: "circuit" },
  },
  {
    mistake: "the client of a store leaves it alone for longer, unasked",
    invariant: "recovers",
    kind: "back",
    options: {
      wire: (store) => {
        let until = 0;
        return through(store, async (ask) => {
          if (Date.now() < until) throw new Error("The client asks nothing");
          return await ask().catch((error) => {
            until = Date.now() + 120_000;
            throw error;
          });
        });
      },
    },
  },
  {
    mistake: "operators are refused while the store is left alone",
    invariant: "operators",
    kind: "operator",
    options: {
      breaker: (breaker, fuse) => {
        let until = 0;
        fuse.on("store_error", ({ retryAfterMs }) => void (until = Date.now() + retryAfterMs));
        return {
          tryCall: breaker.tryCall.bind(breaker),
          forceOpen: (options?: Parameters<typeof breaker.forceOpen>[0]) =>
            Date.now() < until
              ? Promise.reject(new Error("The store is left alone"))
              : breaker.forceOpen(options),
        } as unknown as typeof breaker;
      },
    },
  },
  {
    mistake: "a driver takes an answer about one circuit for a store that was not reached",
    invariant: "scopes",
    kind: "spoilt",
    options: {
      wire: (store) =>
        through(store, (ask) =>
          ask().catch(({ message }) => {
            throw new Error(message);
          })),
    },
  },
];

/** Returns the same store, with this function around its requests. */
function through(
  store: OpeningStore,
  go: (ask: () => Promise<never>) => Promise<never>,
): OpeningStore {
  const wrapped = (method: "read" | "record" | "acquire" | "transition" | "override") =>
  (
    key: string,
    request: never,
  ) => go(() => Promise.resolve(store[method](key, request)) as Promise<never>);
  return but(store, {
    read: wrapped("read"),
    record: wrapped("record"),
    acquire: wrapped("acquire"),
    transition: wrapped("transition"),
    override: wrapped("override"),
  } as Partial<Driver>);
}
