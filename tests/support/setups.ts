/**
 * Three ways to keep a circuit, with the same tests: the rules hold on each of them.
 *
 * @module
 */

import {
  type CallOptions,
  type CallResult,
  type CircuitBreaker,
  type CircuitOptions,
  createFuse,
  type Fuse,
  type FuseEvent,
  type FuseOptions,
} from "@fuse/edge";
import { FakeClock, type Faults } from "@fuse/edge/testing";
import type { Driver, Snapshot } from "@fuse/edge/store";
import { chaos, memory, type OpeningStore } from "./drivers.ts";

/** `memory`: one store in this process; the others simulate a remote one. */
export type Setup = "memory" | "strong" | "eventual";

export const SETUPS: readonly Setup[] = ["memory", "strong", "eventual"];

/** Set-ups whose store is remote, and may fail. */
export const REMOTE: readonly Setup[] = ["strong", "eventual"];

/** Registers a test for each set-up. */
export function onEverySetup(
  name: string,
  run: (world: World) => Promise<void>,
  setups: readonly Setup[] = SETUPS,
): void {
  for (const setup of setups) Deno.test(`${name} (${setup})`, () => run(new World(setup)));
}

/** The options of one isolate. */
export interface IsolateOptions extends Omit<FuseOptions, "stores"> {
  /** The isolate's connection to the store. */
  faults?: Faults;
  /** Wraps the store. */
  wrap?: (store: OpeningStore) => OpeningStore;
}

/** One Fuse, with all its events. */
export interface Isolate {
  readonly fuse: Fuse;
  readonly events: FuseEvent[];
  /** Returns a handle of circuit `a`, or of another name. */
  make<F = never>(options?: CircuitOptions<F>, name?: string): CircuitBreaker<F>;
}

/** One store, one clock, and the isolates that share them. */
export class World {
  readonly setup: Setup;
  readonly clock = new FakeClock();
  readonly store: OpeningStore = memory({ clock: this.clock.now });
  readonly isolates: Isolate[] = [];
  /** The events of all isolates, in order. */
  readonly events: FuseEvent[] = [];
  readonly #handles: CircuitBreaker<unknown>[] = [];

  constructor(setup: Setup) {
    this.setup = setup;
  }

  isolate({ faults = {}, wrap = (store) => store, ...options }: IsolateOptions = {}): Isolate {
    const store = wrap(this.setup === "memory" ? this.store : chaos(this.store, faults));
    const consistency = this.setup === "eventual" ? "eventual" : "strong";
    const fuse = createFuse({
      clock: this.clock.now,
      ...options,
      stores: { shared: store },
      defaults: { consistency, ...options.defaults },
    });
    const events: FuseEvent[] = [];
    fuse.on("*", (event) => {
      events.push(event);
      this.events.push(event);
    });
    const make = <F = never>(options?: CircuitOptions<F>, name = "a") => {
      const handle = fuse.make(name, options);
      this.#handles.push(handle as CircuitBreaker<unknown>);
      return handle;
    };
    const isolate = { fuse, events, make };
    this.isolates.push(isolate);
    return isolate;
  }

  /** Returns a handle of circuit `a` on a new isolate. */
  breaker<F = never>(options?: CircuitOptions<F>): CircuitBreaker<F> {
    return this.isolate().make(options);
  }

  /** Waits for the background work, and lets every isolate receive its results. */
  async sync(): Promise<void> {
    for (const { fuse } of this.isolates) await fuse.flush();
    for (const handle of this.#handles) await handle.snapshot();
  }

  /** Reads the store's contents without any isolate. */
  stored(key = "a", shape = { windowMs: 120_000, windowSize: 0 }): Snapshot {
    return this.store.read(key, { at: this.clock.now(), shape }) as Snapshot;
  }

  /** The types of the events so far, optionally of some kinds only. */
  told(...kinds: FuseEvent["type"][]): FuseEvent["type"][] {
    return this.events.map(({ type }) => type)
      .filter((type) => kinds.length === 0 || kinds.includes(type));
  }

  /** The events of a type so far. */
  heard<K extends FuseEvent["type"]>(kind: K): Extract<FuseEvent, { type: K }>[] {
    return this.events.filter(({ type }) => type === kind) as Extract<FuseEvent, { type: K }>[];
  }

  /** The transitions announced so far. */
  moves(): FuseEvent["type"][] {
    return this.told("opened", "half_opened", "closed");
  }
}

/** The error of failing calls in these tests. */
export class Boom extends Error {
  override readonly name = "Boom";
}

/** Makes failing calls, one after the other. */
export async function fail(breaker: CircuitBreaker<unknown>, times = 1): Promise<void> {
  for (let i = 0; i < times; i++) await breaker.tryCall(() => Promise.reject(new Boom()));
}

/** Makes successful calls, one after the other. */
export async function succeed(breaker: CircuitBreaker<unknown>, times = 1): Promise<void> {
  for (let i = 0; i < times; i++) await breaker.tryCall(() => Promise.resolve("ok"));
}

/** Returns whether a call, which succeeds, is admitted. */
export async function admits(breaker: CircuitBreaker<unknown>): Promise<boolean> {
  let ran = false;
  await breaker.tryCall(() => ran = true);
  return ran;
}

/** A call that runs until the test ends it. */
export interface Held {
  readonly admitted: boolean;
  readonly result: Promise<CallResult<unknown, unknown>>;
  /** Ends it with a success. */
  succeed(value?: unknown): Promise<CallResult<unknown, unknown>>;
  /** Ends it with a failure. */
  fail(error?: unknown): Promise<CallResult<unknown, unknown>>;
}

/** Begins a call, and resolves once it runs or was rejected. */
export async function begin(
  breaker: CircuitBreaker<unknown>,
  options?: CallOptions<unknown>,
): Promise<Held> {
  const work = Promise.withResolvers<unknown>();
  const started = Promise.withResolvers<boolean>();
  const result = breaker.tryCall(() => {
    started.resolve(true);
    return work.promise;
  }, options);
  const admitted = await Promise.race([started.promise, result.then(() => false)]);
  return {
    admitted,
    result,
    succeed(value) {
      work.resolve(value);
      return result;
    },
    fail(error = new Boom()) {
      work.reject(error);
      return result;
    },
  };
}

/** Runs a function before each operation on a store; its promise delays the operation. */
export function intercept(
  store: OpeningStore,
  before: (operation: keyof Driver) => Promise<void> | void,
): OpeningStore {
  return around(store, (operation, run) => {
    const wait = before(operation);
    return wait === undefined ? run() : wait.then(run);
  });
}

/** Applies each operation at once; a promise delays its answer, or loses it. */
export function interceptAnswers(
  store: OpeningStore,
  after: (operation: keyof Driver) => Promise<void> | void,
): OpeningStore {
  return around(store, async (operation, run) => {
    const answer = await run();
    await after(operation);
    return answer;
  });
}

function around(
  store: OpeningStore,
  operate: (operation: keyof Driver, run: () => unknown) => unknown,
): OpeningStore {
  return new Proxy(store, {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) =>
        operate(property as keyof Driver, () => Reflect.apply(value, target, args));
    },
  });
}

/** An isolate whose connection to the store can be broken. */
export interface CutOff extends Isolate {
  /** `asked`: the operations that were sent since the store was lost. */
  readonly line: { down: boolean; asked: number };
  readonly breaker: CircuitBreaker;
  /** Loses the store, and lets this isolate detect it. */
  lose(): Promise<void>;
  /** Restores the store, and lets the back-off pass. */
  regain(): Promise<void>;
}

/** Creates an isolate with a handle of circuit `a`. */
export function cutOff(world: World, options: CircuitOptions): CutOff {
  const line = { down: false, asked: 0 };
  const isolate = world.isolate({
    faults: { down: () => line.down },
    wrap: (store) => intercept(store, () => void line.asked++),
  });
  const breaker = isolate.make(options);
  return {
    ...isolate,
    line,
    breaker,
    async lose() {
      line.down = true;
      await breaker.getState();
      line.asked = 0;
    },
    async regain() {
      line.down = false;
      world.clock.advance(30_000);
      await isolate.fuse.flush();
      await breaker.getState();
    },
  };
}

/** Loses the answers of some operations, which are applied. */
export function losingAnswers(
  store: OpeningStore,
  operation: keyof Driver,
  loses: () => boolean,
): OpeningStore {
  return interceptAnswers(store, (asked) => {
    if (asked === operation && loses()) throw new Error("connection reset");
  });
}

/** Runs all jobs that are ready. No time passes. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** Runs `body` with a global replaced. */
export async function replacing<K extends keyof typeof globalThis>(
  name: K,
  value: (typeof globalThis)[K],
  body: () => Promise<void>,
): Promise<void> {
  const original = globalThis[name];
  globalThis[name] = value;
  try {
    await body();
  } finally {
    globalThis[name] = original;
  }
}
