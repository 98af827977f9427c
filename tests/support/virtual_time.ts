/**
 * A discrete-event scheduler: hours of a fleet's traffic in seconds, without real waiting.
 *
 * @module
 */
import { setImmediate } from "node:timers";

/** A clock that jumps from event to event. */
export class VirtualTime {
  #now: number;
  #sequence = 0;
  readonly #heap: Due[] = [];

  constructor(startMs = 1_700_000_000_000) {
    this.#now = startMs;
  }

  /** The clock, for code that takes a `clock`. */
  readonly now = (): number => this.#now;

  /**
   * Runs a task after a number of ms. Tasks of one moment run in the order in which they were
   * scheduled. Returns a function that cancels it.
   */
  after(delayMs: number, task: () => void): () => void {
    const at = this.#now + Math.max(0, delayMs);
    const due: Due = { at, sequence: this.#sequence++, task };
    push(this.#heap, due);
    return () => {
      due.task = null;
    };
  }

  /** Returns a promise that resolves after a number of ms. */
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  /**
   * Runs events until none is left. Between two events, all promise jobs of the first run, as they
   * would between two packets of a real network.
   *
   * @param over Called after each event. Returns whether to stop there.
   */
  async run(over: () => boolean = () => false): Promise<void> {
    await settled();
    while (!over()) {
      if (!this.#runNext()) return;
      await settled();
    }
  }

  /**
   * Runs events like `run`, but lets promises come to rest between moments only: for fleets in which
   * many events fall on each ms.
   *
   * @param untilMs The moment after which no event is run.
   */
  async runByMoments(untilMs: number): Promise<void> {
    await settled();
    while ((this.#heap[0]?.at ?? Infinity) <= untilMs) {
      const { at } = this.#heap[0]!;
      while (this.#heap[0]?.at === at) this.#runNext();
      await settled();
    }
  }

  /** Runs the next event that was not called off. Returns `false` if there is none. */
  #runNext(): boolean {
    for (let event = pop(this.#heap); event !== undefined; event = pop(this.#heap)) {
      // Nobody waits for what was called off, and no time passes for it.
      if (event.task === null) continue;
      this.#now = event.at;
      event.task();
      return true;
    }
    return false;
  }
}

/** Resolves once every due promise job has run. */
export function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/**
 * A seed for {@linkcode seeded}: from `SEED`, or random. Printed, so that a failure can be
 * repeated.
 */
export function newSeed(): number {
  const seed = Number(Deno.env.get("SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]!);
  console.log(`seed ${seed}`);
  return seed;
}

/** Returns numbers in [0, 1), the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Due {
  readonly at: number;
  readonly sequence: number;
  /** `null` if canceled. */
  task: (() => void) | null;
}

function before(a: Due, b: Due): boolean {
  return a.at < b.at || (a.at === b.at && a.sequence < b.sequence);
}

function push(heap: Due[], event: Due): void {
  let child = heap.length;
  heap.push(event);
  while (child > 0) {
    const parent = (child - 1) >> 1;
    const above = heap[parent] as Due;
    if (!before(event, above)) break;
    heap[child] = above;
    child = parent;
  }
  heap[child] = event;
}

function pop(heap: Due[]): Due | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (first === undefined || last === undefined || heap.length === 0) return first;
  let parent = 0;
  while (true) {
    let child = 2 * parent + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1] as Due, heap[child] as Due)) child++;
    const below = heap[child] as Due;
    if (!before(below, last)) break;
    heap[parent] = below;
    parent = child;
  }
  heap[parent] = last;
  return first;
}
