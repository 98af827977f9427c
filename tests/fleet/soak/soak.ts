/**
 * One driver under load: phases of good and bad weather, then quiet, then the books.
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

/** The time of a run: real and perhaps faster, or one that a test moves. */
export interface Time {
  readonly clock: Clock;
  /** Whether stores are told this clock, too. */
  readonly injected: boolean;
  /** Between two calls of a caller. */
  rest(random: () => number): Promise<unknown>;
  /** Between two attempts to deliver what is left. */
  wait(): Promise<unknown>;
}

/** What to run. */
export interface SoakOptions {
  readonly driver: string;
  readonly seed: number;
  readonly time: Time;
  readonly isolates: number;
  readonly callers: number;
  readonly storeTimeoutMs: number;
  readonly slow: boolean;
  readonly phases: readonly Weather[];
  /** Whether a phase goes on, asked before each call. */
  readonly going: (phase: number, calls: number) => boolean;
  /** How often what is left is sent again before it counts as lost. */
  readonly attempts: number;
  /** Laid around the store of the last isolate, to see that it would be noticed. */
  readonly spoil?: (store: OpeningStore) => OpeningStore;
  /** Beside the load. Answers how to stop. */
  readonly watch?: () => () => void;
}

/** One phase. */
export interface Phase extends Counters {
  readonly weather: Weather | "quiet";
  readonly ms: number;
  readonly memory: Memory;
  readonly server: { readonly bytes: number; readonly of: string } | null;
}

/** Of this process, in bytes. */
export interface Memory {
  /** `heapUsed` and `external`. */
  readonly held: number;
  readonly rss: number;
}

/** What came of it. */
export interface SoakResult {
  readonly driver: string;
  readonly start: Memory;
  readonly phases: readonly Phase[];
  readonly balance: Balance;
  /** Circuits that a full store let go. */
  readonly evictions: number;
  readonly problems: readonly string[];
}

/** Runs it. */
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
    // A store of this process has no network before it.
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
    // To an isolate, a lagging replica's answer, also one on its way still, is that of a store which was
    // put back. So are answers that overtake each other where the isolate reads the store's clock. A
    // circuit that is forgotten then is missing from the books.
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

/** Delivers what is left, for as long as it takes, and makes up the books. */
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
    // More than was called stays more; what is missing may still be under way.
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

/** After a collection, where `--expose-gc` allows one. */
export async function memory(): Promise<Memory> {
  const { gc } = globalThis as { gc?: () => void };
  for (let i = 0; gc !== undefined && i < 2; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const { heapUsed, external, rss } = Deno.memoryUsage();
  return { held: heapUsed + external, rss };
}
