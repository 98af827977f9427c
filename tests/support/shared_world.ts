/**
 * Isolates that share one real store, and their connections to it.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import {
  type CircuitBreaker,
  type CircuitOptions,
  type Clock,
  createFuse,
  type Fuse,
  type FuseEvent,
} from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { begin, Boom, type Held } from "./setups.ts";
import type { Way } from "./ways.ts";
import type { Snapshot } from "@fuse/edge/store";
import type { OpeningStore } from "./drivers.ts";

export type Consistency = "strong" | "eventual";

/** The default number of isolates in a test. */
export const ISOLATES = 8;

/** A store that isolates can share. */
export interface Ground {
  /**
   * Two connections, so that one can fail for some isolates only. Tests leave them without faults.
   */
  readonly ways: readonly [Way, Way];
  /** Returns an empty place for one test. */
  begin(): Site | Promise<Site>;
}

/** A place for one test. */
export interface Site {
  /**
   * Returns a store for one isolate, with a client of its own, over one of the connections. Called
   * often.
   */
  store(options: { readonly clock: Clock; readonly way: 0 | 1 }): OpeningStore;
  /** Removes all circuits without the isolates' knowledge, as a flush of the server does. */
  wipe(): Promise<void>;
  /** Closes the clients. */
  end?(): void | Promise<void>;
}

/** The options of one isolate. */
export interface IsolateOptions {
  /** @default {0} */
  readonly way?: 0 | 1;
  /** @default {the shared clock} */
  readonly clock?: FakeClock;
  /** Wraps its store. */
  readonly wrap?: (store: OpeningStore) => OpeningStore;
}

/** One Fuse with a store of its own, and all its events. */
export interface SharedIsolate {
  readonly fuse: Fuse;
  readonly events: FuseEvent[];
  /** The handle of circuit `a`. */
  readonly breaker: CircuitBreaker;
}

/** The isolates of one test, and the clock that they and their store share. */
export class SharedWorld {
  readonly clock = new FakeClock();
  readonly consistency: Consistency;
  readonly ways: Ground["ways"];
  readonly isolates: SharedIsolate[] = [];
  readonly #site: Site;
  readonly #observer: OpeningStore;

  constructor(site: Site, ways: Ground["ways"], consistency: Consistency) {
    this.#site = site;
    this.ways = ways;
    this.consistency = consistency;
    this.#observer = site.store({ clock: this.clock.now, way: 0 });
  }

  isolate(policy: CircuitOptions, options: IsolateOptions = {}): SharedIsolate {
    const { way = 0, clock = this.clock, wrap = (store) => store } = options;
    const fuse = createFuse({
      stores: { shared: wrap(this.#site.store({ clock: this.clock.now, way })) },
      clock: clock.now,
      // Longer than any answer takes, however busy the machine: only a test makes an outage.
      storeTimeoutMs: 30_000,
      defaults: { consistency: this.consistency },
    });
    const events: FuseEvent[] = [];
    fuse.on("*", (event) => events.push(event));
    const isolate = { fuse, events, breaker: fuse.make("a", policy) };
    this.isolates.push(isolate);
    return isolate;
  }

  /** Creates isolates of one policy; `each` returns the options of the i-th. */
  join(
    policy: CircuitOptions,
    each: (i: number) => IsolateOptions = () => ({}),
    count = ISOLATES,
  ): SharedIsolate[] {
    return Array.from({ length: count }, (_, i) => this.isolate(policy, each(i)));
  }

  /** Sends all pending outcomes, and waits for the answers. */
  async flush(): Promise<void> {
    await Promise.all(this.isolates.map(({ fuse }) => fuse.flush()));
  }

  /** Sends all pending outcomes, and lets every isolate learn of them. */
  async sync(): Promise<void> {
    await this.flush();
    await Promise.all(this.isolates.map(({ breaker }) => breaker.getState()));
  }

  /** Creates the circuit, with one success, and lets every isolate learn of it. */
  async acquaint(): Promise<void> {
    await this.isolates[0]!.breaker.call(() => "ok");
    await this.sync();
    assertEquals((await this.stored()).totals.successes, 1);
  }

  /** Opens the circuit by one isolate's failure, and lets every isolate learn of it. */
  async trip({ breaker }: SharedIsolate): Promise<Snapshot> {
    await breaker.tryCall(() => Promise.reject(new Boom()));
    await this.sync();
    const stored = await this.stored();
    assertEquals(stored.state, "OPEN");
    return stored;
  }

  /** Reads the store's contents without any isolate. */
  async stored(key = "a", shape = { windowMs: 120_000, windowSize: 0 }): Promise<Snapshot> {
    return await this.#observer.read(key, { at: this.clock.now(), shape });
  }

  /** Flushes the server. */
  wipe(): Promise<void> {
    return this.#site.wipe();
  }

  /** The events of a type so far, of all isolates. */
  heard<K extends FuseEvent["type"]>(kind: K): Extract<FuseEvent, { type: K }>[] {
    return this.isolates.flatMap(({ events }) => events)
      .filter(({ type }) => type === kind) as Extract<FuseEvent, { type: K }>[];
  }

  /**
   * The transitions of the circuit that isolates have announced so far, without those of stand-ins.
   */
  told(): { readonly type: Move; readonly generation: number }[] {
    return this.isolates.flatMap(({ events }) => events)
      .flatMap((event) => "from" in event && event.local === undefined ? [event] : [])
      .map(({ type, generation }) => ({ type: type as Move, generation }))
      .toSorted((a, b) => a.generation - b.generation);
  }

  /** The transitions in the trail, oldest first; `null` if the store keeps none. */
  async trail(): Promise<Move[] | null> {
    if (this.#observer.history === undefined) return null;
    const rows = [];
    for await (const { event } of this.#observer.history({ key: "a" })) rows.unshift(event);
    const moves: string[] = ["opened", "half_opened", "closed"] satisfies Move[];
    return rows.filter((event): event is Move => moves.includes(event));
  }

  /**
   * Asserts that each transition was made and announced once over all isolates, and is once in the
   * trail, if there is one.
   */
  async assertMoves(...expected: Move[]): Promise<void> {
    assertEquals(this.told().map(({ type }) => type), expected);
    assertEquals(await this.trail() ?? expected, expected);
  }
}

/** A transition. */
export type Move = "opened" | "half_opened" | "closed";

/** Runs work many times on each isolate, all at once. */
export function callers<T>(
  isolates: readonly SharedIsolate[],
  each: number,
  act: (breaker: CircuitBreaker, i: number) => Promise<T>,
): Promise<T[]> {
  return Promise.all(
    // Alternates, so that the isolates mix.
    Array.from({ length: each }, (_, i) => i)
      .flatMap((i) => isolates.map(({ breaker }) => act(breaker, i))),
  );
}

/** Begins calls that run until the test ends them; all of them are admitted. */
export async function underWay(
  isolates: readonly SharedIsolate[],
  each: number,
): Promise<Held[]> {
  const calls = await callers(isolates, each, (breaker) => begin(breaker));
  assertEquals(calls.filter(({ admitted }) => admitted).length, isolates.length * each);
  return calls;
}

/** A trap, in the form that the files beside this one use. */
export interface Trap {
  /** The name of the test. */
  readonly name: string;
  readonly run: (world: SharedWorld) => Promise<void>;
}
