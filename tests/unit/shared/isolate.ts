// An isolate on a shared store, and the requests that it sends there.
import {
  type CallResult,
  type CircuitBreaker,
  type CircuitOptions,
  createFuse,
  type FuseEvent,
} from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { turn } from "../../support/setups.ts";
import type { AcquireRequest, Snapshot, Tally } from "@fuse/edge/store";
import { chaos, memory, type OpeningStore } from "../../support/drivers.ts";

const SHAPE = { windowMs: 120_000, windowSize: 0 };

/** A store that isolates share, and the clock of all. */
export class World {
  readonly clock = new FakeClock();
  readonly store = memory({ clock: this.clock.now });

  isolate(options: CircuitOptions = {}, name = "a"): Isolate {
    return new Isolate(this, options, name);
  }

  stored(): Snapshot {
    return this.store.read("a", { at: 0, shape: SHAPE }) as Snapshot;
  }
}

/** An isolate, the circuit "a" in it, and its requests. */
class Isolate {
  readonly breaker: CircuitBreaker;
  readonly fuse;
  readonly clock: FakeClock;
  readonly events: FuseEvent[] = [];
  readonly tallies: Tally[] = [];
  readonly acquired: AcquireRequest[] = [];
  #sent: string[] = [];
  #gate: Promise<void> | null = null;
  /** Changes an answer; throws to lose it. */
  answering: (operation: string) => void = () => {};

  constructor(world: World, options: CircuitOptions, name: string) {
    this.clock = world.clock;
    const remote = this.#line(chaos(world.store, {}));
    // Long enough for a slow machine: no test here waits for it.
    const random = () => 0.5;
    const { now: clock } = world.clock;
    this.fuse = createFuse({ stores: { remote }, clock, random, storeTimeoutMs: 10_000 });
    this.fuse.on("*", (event) => void this.events.push(event));
    this.breaker = this.fuse.make(name, options);
  }

  #line(store: OpeningStore): OpeningStore {
    return new Proxy(store, {
      get: (target, property) => {
        const value = Reflect.get(target, property, target);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]) => {
          const operation = String(property);
          this.#sent.push(operation);
          if (operation === "record") this.tallies.push(args[1] as Tally);
          if (operation === "acquire") this.acquired.push(args[1] as AcquireRequest);
          await this.#gate;
          const answer = await Reflect.apply(value, target, args);
          this.answering(operation);
          return answer;
        };
      },
    });
  }

  /** The requests since the last call, once all are answered. */
  async sent(): Promise<string[]> {
    await turn();
    const sent = this.#sent;
    this.#sent = [];
    return sent;
  }

  /**
   * Runs work while the store does not answer: returns its requests, and whether it ended by
   * itself.
   */
  async costs(act: () => Promise<unknown>): Promise<{ blocking: string[]; all: string[] }> {
    await this.sent();
    const gate = Promise.withResolvers<void>();
    this.#gate = gate.promise;
    let ended = false;
    const done = act().finally(() => ended = true);
    await turn();
    const waits = !ended;
    const begun = [...this.#sent];
    this.#gate = null;
    gate.resolve();
    await done.catch(() => {});
    const atEnd = [...this.#sent];
    const all = await this.sent();
    // The requests that it waited for were sent before it ended.
    return { blocking: waits ? atEnd : [], all: begun.length > all.length ? begun : all };
  }

  succeed = (): Promise<CallResult<unknown>> => this.breaker.tryCall(() => "ok");
  fail = (): Promise<CallResult<unknown>> =>
    this.breaker.tryCall(() => Promise.reject(new Error("down")));
  ignore = (): Promise<unknown> =>
    this.breaker.tryCall(() => {
      throw undefined;
    });

  async times(n: number, call: () => Promise<unknown>): Promise<void> {
    for (let i = 0; i < n; i++) await call();
  }

  told(type: FuseEvent["type"]): FuseEvent[] {
    return this.events.filter((event) => event.type === type);
  }

  /** A view with a fresh snapshot and nothing pending. */
  async warm(): Promise<this> {
    await this.succeed();
    await this.fuse.flush();
    await this.sent();
    return this;
  }
}

export const NOTHING = { blocking: [], all: [] };
export const background = (...all: string[]) => ({ blocking: [], all });
export const blocking = (...all: string[]) => ({ blocking: all, all });

export async function warm(options: CircuitOptions = {}): Promise<Isolate> {
  return await new World().isolate(options).warm();
}

/** A view of a circuit that has just opened. */
export async function opened(options: CircuitOptions = {}): Promise<Isolate> {
  const isolate = await warm({ failureThreshold: 1, successThreshold: 2, ...options });
  await isolate.fail();
  await isolate.sent();
  return isolate;
}

/** A circuit with its one trial running, and another isolate that was just refused. */
export async function refused(options: CircuitOptions = {}) {
  const world = new World();
  const policy = { failureThreshold: 1, cooldownMs: 5000, ...options };
  const isolate = await world.isolate(policy).warm();
  await isolate.fail();
  await isolate.sent();
  const other = await world.isolate(policy).warm();
  world.clock.advance(5000);
  const permit = await isolate.breaker.admit();
  const cost = await other.costs(other.succeed);
  return { world, isolate, other, permit, cost };
}
