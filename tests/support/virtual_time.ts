/**
 * A discrete-event scheduler: hours of a fleet's traffic in seconds, without real waiting.
 *
 * @module
 */
import { setImmediate } from "node:timers";

/** A clock that jumps from event to event. */
export class VirtualTime {
  #now: number;
  /** Moments with tasks, as a heap. */
  readonly #heap: number[] = [];
  /** The tasks of each moment in the order in which they were scheduled. */
  readonly #moments = new Map<number, Moment>();

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
    const due: Cancelable = { task };
    this.#add(delayMs, due);
    return () => {
      due.task = null;
    };
  }

  /** Runs a task after a number of ms, like `after`. It cannot be canceled, which costs less. */
  plan(delayMs: number, task: () => void): void {
    this.#add(delayMs, task);
  }

  #add(delayMs: number, due: Due): void {
    const at = this.#now + Math.max(0, delayMs);
    const moment = this.#moments.get(at);
    if (moment !== undefined) moment.tasks.push(due);
    else {
      this.#moments.set(at, { tasks: [due], next: 0 });
      push(this.#heap, at);
    }
  }

  /** Returns a promise that resolves after a number of ms. */
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.plan(delayMs, resolve));
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
    while ((this.#heap[0] ?? Infinity) <= untilMs) {
      const at = this.#heap[0]!;
      if (!this.#runNext(at)) continue;
      while (this.#runNext(at));
      await settled();
    }
  }

  /** Runs the next event that was not called off, up to a moment. Returns `false` if there is none. */
  #runNext(until = Infinity): boolean {
    for (let at = this.#heap[0]; at !== undefined && at <= until; at = this.#heap[0]) {
      const moment = this.#moments.get(at)!;
      while (moment.next < moment.tasks.length) {
        const due = moment.tasks[moment.next++]!;
        const task = typeof due === "function" ? due : due.task;
        // Nobody waits for what was called off, and no time passes for it.
        if (task === null) continue;
        this.#now = at;
        task();
        return true;
      }
      pop(this.#heap);
      this.#moments.delete(at);
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

type Due = (() => void) | Cancelable;

interface Cancelable {
  /** `null` if canceled. */
  task: (() => void) | null;
}

interface Moment {
  readonly tasks: Due[];
  /** The index of the task that is run next. */
  next: number;
}

function push(heap: number[], at: number): void {
  let child = heap.length;
  heap.push(at);
  while (child > 0) {
    const parent = (child - 1) >> 1;
    const above = heap[parent]!;
    if (at >= above) break;
    heap[child] = above;
    child = parent;
  }
  heap[child] = at;
}

function pop(heap: number[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let parent = 0;
  while (true) {
    let child = 2 * parent + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++;
    const below = heap[child]!;
    if (last <= below) break;
    heap[parent] = below;
    parent = child;
  }
  heap[parent] = last;
}
