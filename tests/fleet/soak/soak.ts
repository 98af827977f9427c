/**
 * Runs one driver under load: phases with and without faults, then quiet, then the books.
 *
 * @module
 */
import { type Clock, createFuse } from "@fuse/edge";
import { seeded } from "../../support/virtual_time.ts";
import { type Ground, type GroundOptions, GROUNDS, roughly, type Weather } from "./grounds.ts";
import { type Balance, Ledger } from "./ledger.ts";
import { type Counters, judgesTrials, Load } from "./load.ts";
import { switching } from "./stores.ts";
import { chaos, type OpeningStore } from "../../support/drivers.ts";

/** The time of a run: real and perhaps faster, or moved by a test. */
export interface Time {
  readonly clock: Clock;
  /** Whether stores use this clock, too. */
  readonly injected: boolean;
  /** The pause between two calls of a caller. */
  rest(random: () => number): Promise<unknown>;
  /** The pause between two attempts to deliver the rest. */
  wait(): Promise<unknown>;
}

/** The options of a run. */
export interface SoakOptions {
  readonly driver: string;
  readonly seed: number;
  readonly time: Time;
  readonly isolates: number;
  readonly callers: number;
  readonly storeTimeoutMs: number;
  readonly slow: boolean;
  readonly phases: readonly Weather[];
  /** Whether a phase continues, asked before each call. */
  readonly going: (phase: number, calls: number) => boolean;
  /** How often the rest is sent again before it counts as lost. */
  readonly attempts: number;
  /** Wraps the store of the last isolate, to prove that the books notice a fault. */
  readonly spoil?: (store: OpeningStore) => OpeningStore;
  /** Runs beside the load. Returns a function that stops it. */
  readonly watch?: () => () => void;
}

/** One phase. */
export interface Phase extends Counters {
  readonly weather: Weather | "quiet";
  readonly ms: number;
  readonly memory: Memory;
  readonly server: { readonly bytes: number; readonly of: string } | null;
}

/** The memory of this process, in bytes. */
export interface Memory {
  /** `heapUsed` and `external`. */
  readonly held: number;
  readonly rss: number;
}

/** The results of a run. */
export interface SoakResult {
  readonly driver: string;
  readonly start: Memory;
  readonly phases: readonly Phase[];
  readonly balance: Balance;
  /** Circuits that a full store evicted. */
  readonly evictions: number;
  readonly problems: readonly string[];
}

/** Runs a driver. */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const { driver, seed, time, isolates, callers, storeTimeoutMs, slow } = options;
  const random = seeded(seed);
  const ledger = new Ledger(judgesTrials);
  await using ground = await GROUNDS[driver]!(
    {
      clock: time.injected ? time.clock : undefined,
      random,
      slow,
      evicted: (key) => ledger.evicted(key),
    } satisfies GroundOptions,
  );

  let weather: Weather = "calm";
  const stores = Array.from({ length: isolates }, (_, i) => {
    const own = ground.isolate(i);
    const store = i === isolates - 1 && options.spoil ? options.spoil(own) : own;
    // A store in this process has no network before it.
    if (!store.traits.shared) return store;
    const rough = chaos(store, { ...roughly(random, slow), seed: Math.floor(random() * 2 ** 31) });
    return switching(() => weather === "chaos" ? rough : store);
  });
  const load = new Load({
    ...{ stores, callers, clock: time.clock, random, ledger, storeTimeoutMs },
    rest: () => time.rest(random),
  });
  const phases: Phase[] = [];
  let lags = false;
  const start = await memory();
  const stop = options.watch?.();
  for (const [i, kind] of options.phases.entries()) {
    const before = { ...load.counters };
    const began = performance.now();
    weather = kind;
    const end = kind === "wire" || kind === "dead" ? await ground.weather(kind) : null;
    await load.run(() => options.going(i, load.counters.calls));
    weather = "calm";
    await end?.();
    // To an isolate, a late answer of a lagging replica looks like a store that was restored. So do
    // answers that overtake each other where the isolate reads the store's clock. A circuit that is
    // forgotten then is missing from the books.
    lags ||= kind === "chaos" || time.injected;
    if (lags) load.counters.reborn = before.reborn;
    phases.push(await phase(kind, began, before, load.counters, ground));
  }
  stop?.();
  const forgotten = load.counters.reborn > 0;

  const before = { ...load.counters };
  const began = performance.now();
  const balance = await quiet(load, ledger, ground, options);
  const problems = await ground.check(time.clock, () => time.wait());
  phases.push(await phase("quiet", began, before, load.counters, ground));
  if (forgotten && ledger.evictions === 0) problems.push("A circuit was forgotten");
  if (load.counters.listenerErrors > 0) problems.push("A listener or a strategy threw");
  return { driver, start, phases, balance, evictions: ledger.evictions, problems };
}

/** Delivers the rest, for as long as it takes, and closes the books. */
async function quiet(
  load: Load,
  ledger: Ledger,
  ground: Ground,
  { time, attempts }: SoakOptions,
): Promise<Balance> {
  for (let left = attempts;; left--) {
    await Promise.all(load.fuses.map((fuse) => fuse.flush()));
    const observer = createFuse({
      stores: { soak: ground.observer },
      clock: time.clock,
      storeTimeoutMs: 30_000,
    });
    const stored = await Array.fromAsync(observer.list());
    const balance = ledger.balance(stored);
    // An excess stays; a shortfall may still be on its way.
    if (balance.lost === 0 || left === 0) return balance;
    await time.wait();
  }
}

async function phase(
  weather: Phase["weather"],
  began: number,
  before: Counters,
  counters: Counters,
  ground: Ground,
): Promise<Phase> {
  const ms = performance.now() - began;
  const since = Object.fromEntries(
    Object.entries(counters).map(([name, n]) => [name, n - before[name as keyof Counters]]),
  ) as unknown as Counters;
  return { ...since, weather, ms, memory: await memory(), server: await ground.size() };
}

/** Returns the memory after a garbage collection, where `--expose-gc` allows one. */
export async function memory(): Promise<Memory> {
  const { gc } = globalThis as { gc?: () => void };
  for (let i = 0; gc !== undefined && i < 2; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const { heapUsed, external, rss } = Deno.memoryUsage();
  return { held: heapUsed + external, rss };
}
