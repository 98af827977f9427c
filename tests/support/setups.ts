/**
 * Three ways to keep a circuit, under one table: what the rules promise holds on each of them.
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

/** `memory`: one store in this process; the others play a remote one. */
export type Setup = "memory" | "strong" | "eventual";

export const SETUPS: readonly Setup[] = ["memory", "strong", "eventual"];

/** Set-ups whose store is remote, and may fail. */
export const REMOTE: readonly Setup[] = ["strong", "eventual"];

/** A test for each set-up. */
export function onEverySetup(
  name: string,
  run: (world: World) => Promise<void>,
  setups: readonly Setup[] = SETUPS,
): void {
  for (const setup of setups) Deno.test(`${name} (${setup})`, () => run(new World(setup)));
}

/** What an isolate has of its own. */
export interface IsolateOptions extends Omit<FuseOptions, "stores"> {
  /** Of its way to the store. */
  faults?: Faults;
  /** Stands between it and the store. */
  wrap?: (store: OpeningStore) => OpeningStore;
}

/** One Fuse, with all that it told. */
export interface Isolate {
  readonly fuse: Fuse;
  readonly events: FuseEvent[];
  /** A handle of circuit `a`, unless another is named. */
  make<F = never>(options?: CircuitOptions<F>, name?: string): CircuitBreaker<F>;
}

/** One store, one clock, and the isolates that share them. */
export class World {
  readonly setup: Setup;
  readonly clock = new FakeClock();
  readonly store: OpeningStore = memory({ clock: this.clock.now });
  readonly isolates: Isolate[] = [];
  /** What all isolates told, in order. */
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

  /** A handle of circuit `a` on an isolate of its own. */
  breaker<F = never>(options?: CircuitOptions<F>): CircuitBreaker<F> {
    return this.isolate().make(options);
  }

  /** Lets what goes on in the background come to its end, and everybody hear of it. */
  async sync(): Promise<void> {
    for (const { fuse } of this.isolates) await fuse.flush();
    for (const handle of this.#handles) await handle.snapshot();
  }

  /** What the store holds, asked behind everybody's back. */
  stored(key = "a", shape = { windowMs: 120_000, windowSize: 0 }): Snapshot {
    return this.store.read(key, { at: this.clock.now(), shape }) as Snapshot;
  }

  /** The types of the events so far, of some kinds only if any are named. */
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

/** What the calls of these tests fail with. */
export class Boom extends Error {
  override readonly name = "Boom";
}

/** Calls that fail, one after the other. */
export async function fail(breaker: CircuitBreaker<unknown>, times = 1): Promise<void> {
  for (let i = 0; i < times; i++) await breaker.tryCall(() => Promise.reject(new Boom()));
}

/** Calls that succeed, one after the other. */
export async function succeed(breaker: CircuitBreaker<unknown>, times = 1): Promise<void> {
  for (let i = 0; i < times; i++) await breaker.tryCall(() => Promise.resolve("ok"));
}

/** Whether a call, which succeeds, is let through. */
export async function admits(breaker: CircuitBreaker<unknown>): Promise<boolean> {
  let ran = false;
  await breaker.tryCall(() => ran = true);
  return ran;
}

/** A call that goes on until the test ends it. */
export interface Held {
  readonly admitted: boolean;
  readonly result: Promise<CallResult<unknown, unknown>>;
  /** Ends it well. */
  succeed(value?: unknown): Promise<CallResult<unknown, unknown>>;
  /** Ends it badly. */
  fail(error?: unknown): Promise<CallResult<unknown, unknown>>;
}

/** Begins a call, and answers once it runs or was rejected. */
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

/** Asks before each operation on a store; a promise holds the operation up. */
export function intercept(
  store: OpeningStore,
  before: (operation: keyof Driver) => Promise<void> | void,
): OpeningStore {
  return around(store, (operation, run) => {
    const wait = before(operation);
    return wait === undefined ? run() : wait.then(run);
  });
}

/** Applies each operation at once; a promise holds its answer up, or loses it. */
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

/** An isolate whose way to the store breaks at will. */
export interface CutOff extends Isolate {
  /** `asked`: operations that were sent since the store was lost. */
  readonly line: { down: boolean; asked: number };
  readonly breaker: CircuitBreaker;
  /** The store goes, and this isolate has noticed. */
  lose(): Promise<void>;
  /** The store is back, and the time for another try has come. */
  regain(): Promise<void>;
}

/** Makes one with a handle of circuit `a`. */
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

/** Some operations are applied, and their answers lost. */
export function losingAnswers(
  store: OpeningStore,
  operation: keyof Driver,
  loses: () => boolean,
): OpeningStore {
  return interceptAnswers(store, (asked) => {
    if (asked === operation && loses()) throw new Error("connection reset");
  });
}

/** Lets all that is ready to run do so. No time needs to pass for it. */
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
