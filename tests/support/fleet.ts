/**
 * A simulated fleet: many isolates, each with the real core, on one real memory store behind a
 * network whose packets take virtual time. Hours of traffic pass in seconds.
 *
 * @module
 */
import { inVirtualTime } from "../fleet/simulation/virtual_globals.ts";
import { createFuse } from "@fuse/edge";
import type { Answer, Awaitable, Snapshot } from "../../src/contract.ts";
import { copySnapshot } from "../../src/records.ts";
import type { Tally } from "../../src/contract.ts";
import { seeded, VirtualTime } from "./virtual_time.ts";
import { CIRCUITS, memory, type OpeningStore, SHARED } from "./drivers.ts";

/** The fleet, and its traffic. */
export interface FleetOptions {
  readonly isolates: number;
  /** Calls per second of the whole fleet. */
  readonly callsPerSecond: number;
  /** The share of calls that fail, each independently of all others: the dependency is healthy. */
  readonly errorRate: number;
  readonly failureThreshold: number;
  readonly consistency: "eventual" | "strong";
  /** The number of calls to simulate. */
  readonly calls: number;
  readonly seed: number;
  /** Laid over the store as each isolate sees it: for trials of the trial. */
  readonly spoil?: (store: OpeningStore, time: VirtualTime) => OpeningStore;
}

/** The results. */
export interface FleetResult {
  /** Calls that ran; the rest were rejected. */
  readonly ran: number;
  readonly failed: number;
  /** The number of openings from CLOSED. */
  readonly opened: number;
  /** The number of openings by an observer of each outcome, in order of completion. */
  readonly exact: number;
  /** Requests to the store. */
  readonly requests: number;
}

/** `setTimeout`'s limit, about 25 days of real time: the deadlines of operations never pass. */
export const NEVER_MS = 2_000_000_000;

/** Runs a fleet. */
export async function simulate(options: FleetOptions): Promise<FleetResult> {
  const time = new VirtualTime();
  // An isolate without a snapshot waits by timers, which belong to the simulation, too.
  return await inVirtualTime(time, seeded(options.seed + 1), () => play(options, time));
}

async function play(options: FleetOptions, time: VirtualTime): Promise<FleetResult> {
  // Two sources, so that the traffic does not depend on the stores' requests.
  const random = seeded(options.seed);
  const network = seeded(~options.seed);
  const record = memory({ clock: time.now });
  const result = { ran: 0, failed: 0, opened: 0, exact: 0, requests: 0 };
  let run = 0;

  /** The exact counter, which receives each outcome at the moment when the call ends. */
  function learn(failed: boolean): void {
    result.ran++;
    if (failed) result.failed++;
    run = failed ? run + 1 : 0;
    if (run < options.failureThreshold) return;
    result.exact++;
    run = 0;
  }

  const fuses = Array.from({ length: options.isolates }, () => {
    const wire = distant(record, time, network, () => {
      result.requests++;
    });
    const store = options.spoil?.(wire, time) ?? wire;
    const fuse = createFuse({
      stores: { main: store },
      clock: time.now,
      storeTimeoutMs: NEVER_MS,
    });
    fuse.on("opened", ({ from }) => {
      if (from === "CLOSED") result.opened++;
    });
    fuse.on("store_error", ({ error }) => {
      throw error;
    });
    return fuse;
  });
  // Bad luck does not last: one success after a second, and the fleet continues.
  const breakers = fuses.map((fuse) =>
    fuse.make("upstream", {
      strategy: "consecutive_failures",
      failureThreshold: options.failureThreshold,
      successThreshold: 1,
      cooldownMs: 1_000,
      consistency: options.consistency,
    })
  );

  // Arrivals are a Poisson process; the isolate of a call is also random.
  const gapMs = 1_000 / options.callsPerSecond;
  let left = options.calls;
  function arrive(): void {
    if (left-- <= 0) return;
    time.after(-Math.log(1 - random()) * gapMs, arrive);
    const breaker = breakers[Math.floor(random() * breakers.length)];
    // The result of a call is drawn before it is admitted, so that all variants see the same
    // traffic.
    const failed = random() < options.errorRate;
    const lastsMs = 5 + random() * 95;
    breaker?.tryCall(async () => {
      await time.sleep(lastsMs);
      learn(failed);
      if (failed) throw FAILURE;
    });
  }
  arrive();
  await time.run();
  for (const fuse of fuses) {
    const disposed = fuse[Symbol.asyncDispose]();
    await time.run();
    await disposed;
  }
  return result;
}

const FAILURE = new Error("Bad luck");

/** The store behind a network: 5 to 50 ms a trip, applied on arrival, packets may overtake. */
export function distant(
  inner: OpeningStore,
  time: VirtualTime,
  random: () => number,
  onRequest: () => void,
): OpeningStore {
  const trip = async <T>(apply: () => Awaitable<T>): Promise<T> => {
    onRequest();
    await time.sleep(2.5 + random() * 22.5);
    const answer = await apply();
    await time.sleep(2.5 + random() * 22.5);
    return answer;
  };
  // The memory store answers with its live record, a network with a copy from the time of
  // departure.
  const sent = <T extends Answer>(answer: Awaitable<T>): T => {
    const here = answer as T;
    return { ...here, snapshot: copySnapshot(here.snapshot) };
  };
  return {
    [CIRCUITS]: SHARED,
    name: "distant",
    traits: { ...inner.traits, shared: true },
    read: (key, request) => trip(() => copySnapshot(inner.read(key, request) as Snapshot)),
    record: (key, tally) => trip(() => sent(inner.record(key, tally))),
    acquire: (key, request) => trip(() => sent(inner.acquire(key, request))),
    transition: (key, request) => trip(() => sent(inner.transition(key, request))),
    override: (key, request) => trip(() => sent(inner.override(key, request))),
    restore: (key, request) => trip(() => sent(inner.restore(key, request))),
    list: (request) => trip(() => inner.list(request)),
    remove: (key) => trip(() => inner.remove(key)),
  };
}

/**
 * The mistake that the view must not make: failures are sent at once and without the successes that
 * ended before them, successes seconds later.
 */
export function overtaking(store: OpeningStore, time: VirtualTime): OpeningStore {
  const record = async (key: string, tally: Tally) => {
    if (tally.failures === 0) {
      await time.sleep(3_000);
      return store.record(key, tally);
    }
    if (tally.successes > 0) {
      time.after(3_000, () => {
        store.record(key, { ...tally, id: `${tally.id}+`, failures: 0, lease: null });
      });
    }
    return store.record(key, { ...tally, successes: 0 });
  };
  return { ...store, record };
}
