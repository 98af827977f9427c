/**
 * Isolates that share one real store: who they are, and what they share it through.
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

/** How many isolates a test has unless it says otherwise. */
export const ISOLATES = 8;

/** A store that isolates can share. */
export interface Ground {
  /** Two ways to it, so that one can fail for some isolates only. Tests leave them without faults. */
  readonly ways: readonly [Way, Way];
  /** A place for one test, where nobody has written anything. */
  begin(): Site | Promise<Site>;
}

/** A place for one test. */
export interface Site {
  /** A store for one isolate, with a client of its own, by one of the ways. Called often. */
  store(options: { readonly clock: Clock; readonly way: 0 | 1 }): OpeningStore;
  /** Forgets all circuits behind everybody's back, as a flush of the server does. */
  wipe(): Promise<void>;
  /** Lets go of the clients. */
  end?(): void | Promise<void>;
}

/** What an isolate has of its own. */
export interface IsolateOptions {
  /** @default {0} */
  readonly way?: 0 | 1;
  /** @default {the clock of all} */
  readonly clock?: FakeClock;
  /** Stands between it and its store. */
  readonly wrap?: (store: OpeningStore) => OpeningStore;
}

/** One Fuse with a store of its own, and all that it told. */
export interface SharedIsolate {
  readonly fuse: Fuse;
  readonly events: FuseEvent[];
  /** Of circuit `a`. */
  readonly breaker: CircuitBreaker;
}

/** One test's isolates, and the clock that stands still for them and their store. */
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
      // No answer takes so long, however busy the machine: only a test makes an outage.
      storeTimeoutMs: 30_000,
      defaults: { consistency: this.consistency },
    });
    const events: FuseEvent[] = [];
    fuse.on("*", (event) => events.push(event));
    const isolate = { fuse, events, breaker: fuse.make("a", policy) };
    this.isolates.push(isolate);
    return isolate;
  }

  /** Isolates of one policy; `each` says what the i-th has of its own. */
  join(
    policy: CircuitOptions,
    each: (i: number) => IsolateOptions = () => ({}),
    count = ISOLATES,
  ): SharedIsolate[] {
    return Array.from({ length: count }, (_, i) => this.isolate(policy, each(i)));
  }

  /** Sends all that is pending, and waits for it. */
  async flush(): Promise<void> {
    await Promise.all(this.isolates.map(({ fuse }) => fuse.flush()));
  }

  /** Sends all that is pending, and lets everybody hear of it. */
  async sync(): Promise<void> {
    await this.flush();
    await Promise.all(this.isolates.map(({ breaker }) => breaker.getState()));
  }

  /** The circuit is there, with one success, and every isolate knows it. */
  async acquaint(): Promise<void> {
    await this.isolates[0]!.breaker.call(() => "ok");
    await this.sync();
    assertEquals((await this.stored()).totals.successes, 1);
  }

  /** One isolate's failure opens the circuit, and every isolate knows it. */
  async trip({ breaker }: SharedIsolate): Promise<Snapshot> {
    await breaker.tryCall(() => Promise.reject(new Boom()));
    await this.sync();
    const stored = await this.stored();
    assertEquals(stored.state, "OPEN");
    return stored;
  }

  /** What the store holds, asked behind everybody's back. */
  async stored(key = "a", shape = { windowMs: 120_000, windowSize: 0 }): Promise<Snapshot> {
    return await this.#observer.read(key, { at: this.clock.now(), shape });
  }

  /** As a flush of the server does. */
  wipe(): Promise<void> {
    return this.#site.wipe();
  }

  /** The events of a type so far, of all isolates. */
  heard<K extends FuseEvent["type"]>(kind: K): Extract<FuseEvent, { type: K }>[] {
    return this.isolates.flatMap(({ events }) => events)
      .filter(({ type }) => type === kind) as Extract<FuseEvent, { type: K }>[];
  }

  /** The transitions announced so far, of all isolates, as the circuit made them; none of an isolate alone. */
  told(): { readonly type: Move; readonly generation: number }[] {
    return this.isolates.flatMap(({ events }) => events)
      .flatMap((event) => "from" in event && event.local === undefined ? [event] : [])
      .map(({ type, generation }) => ({ type: type as Move, generation }))
      .toSorted((a, b) => a.generation - b.generation);
  }

  /** The transitions in the trail, oldest first; `null`: the store keeps none. */
  async trail(): Promise<Move[] | null> {
    if (this.#observer.history === undefined) return null;
    const rows = [];
    for await (const { event } of this.#observer.history({ key: "a" })) rows.unshift(event);
    const moves: string[] = ["opened", "half_opened", "closed"] satisfies Move[];
    return rows.filter((event): event is Move => moves.includes(event));
  }

  /** Each transition was made and announced once over all isolates, and is once in the trail, if there is one. */
  async assertMoves(...expected: Move[]): Promise<void> {
    assertEquals(this.told().map(({ type }) => type), expected);
    assertEquals(await this.trail() ?? expected, expected);
  }
}

/** A transition. */
export type Move = "opened" | "half_opened" | "closed";

/** Does something many times on each isolate, all of it at once. */
export function callers<T>(
  isolates: readonly SharedIsolate[],
  each: number,
  act: (breaker: CircuitBreaker, i: number) => Promise<T>,
): Promise<T[]> {
  return Promise.all(
    // In turns, so that the isolates mix.
    Array.from({ length: each }, (_, i) => i)
      .flatMap((i) => isolates.map(({ breaker }) => act(breaker, i))),
  );
}

/** Calls that go on until the test ends them; all of them were let through. */
export async function underWay(
  isolates: readonly SharedIsolate[],
  each: number,
): Promise<Held[]> {
  const calls = await callers(isolates, each, (breaker) => begin(breaker));
  assertEquals(calls.filter(({ admitted }) => admitted).length, isolates.length * each);
  return calls;
}

/** A trap, as the files beside this one write it. */
export interface Trap {
  /** As a test is named. */
  readonly name: string;
  readonly run: (world: SharedWorld) => Promise<void>;
}
