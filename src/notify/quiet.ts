/**
 * A single notice for a circuit that flaps.
 *
 * @module
 */

import { type Fuse, insideOf } from "../fuse.ts";
import type { CircuitIdentity } from "../key.ts";
import { summaryOf, type Telling } from "./notices.ts";
import type { Parts } from "./parts.ts";

/**
 * The number of circuits that are kept quiet at once; beyond it, the earliest ones are no longer
 * quiet.
 */
const MAX_CIRCUITS = 10_000;
/** The number of gathered changes of a circuit, the newest. */
const MAX_CHANGES = 500;

/** A circuit with a recent notice. */
interface Told {
  /** Until when its changes are gathered, in ms. */
  until: number;
  /** Those changes, oldest first. */
  changes: Telling[];
}

/** Sends changes at once, or gathers those of a circuit with a recent notice. */
export class Quiet {
  readonly #fuse: Fuse;
  readonly #quietMs: number;
  readonly #tell: (tellings: readonly Telling[]) => Promise<void>;
  readonly #parts: Parts;
  readonly #told = new Map<string, Told>();
  /** Functions that cancel the timers, and release their waiters. */
  readonly #timers = new Set<() => void>();

  constructor(
    fuse: Fuse,
    quietMs: number,
    tell: (tellings: readonly Telling[]) => Promise<void>,
    parts: Parts,
  ) {
    this.#fuse = fuse;
    this.#quietMs = quietMs;
    this.#tell = tell;
    this.#parts = parts;
  }

  /** Sends a change, now or once the quiet time is over. Returns the work to hold. */
  hear(telling: Telling): Promise<void> | undefined {
    if (this.#quietMs === 0) return this.#tell([telling]);
    const id = idOf(telling.circuit);
    const told = this.#told.get(id);
    const now = this.#parts.clock();
    if (told === undefined || now >= told.until || told.until - now > this.#quietMs) {
      this.#begin(id, now);
      return this.#tell([summaryOf([...told?.changes ?? [], telling])]);
    }
    told.changes.push(telling);
    if (told.changes.length > 1) {
      if (told.changes.length > MAX_CHANGES) told.changes.shift();
      return undefined;
    }
    return this.#wait(id, told, told.until - now);
  }

  /** Forgets changes that were sent from the trail. */
  forget(tellings: readonly Telling[]): void {
    for (const { circuit, change } of tellings) {
      const told = this.#told.get(idOf(circuit));
      if (told === undefined || change === null) continue;
      told.changes = told.changes.filter((held) => held.change !== change);
    }
  }

  /** Drops the gathered changes. */
  stop(): void {
    for (const prevent of this.#timers) prevent();
    this.#timers.clear();
    this.#told.clear();
  }

  #begin(id: string, now: number): void {
    this.#told.delete(id);
    this.#told.set(id, { until: now + this.#quietMs, changes: [] });
    if (this.#told.size > MAX_CIRCUITS) this.#told.delete(this.#told.keys().next().value!);
  }

  /**
   * Sends the gathered changes once the quiet time is over. On a Worker the request has to wait for
   * it, as far as the platform allows. Elsewhere nothing waits: a process that ends sends no more.
   */
  #wait(id: string, told: Told, ms: number): Promise<void> | undefined {
    const over = async () => {
      if (this.#told.get(id) !== told || told.changes.length === 0) return;
      const { changes } = told;
      this.#begin(id, this.#parts.clock());
      await this.#tell([summaryOf(changes)]);
    };
    if (this.#parts.isWorker) {
      return new Promise<void>((resolve, reject) =>
        this.#after(ms, () => over().then(resolve, reject), resolve)
      );
    }
    this.#after(ms, () => {
      const { events, background } = insideOf(this.#fuse)?.registry ?? {};
      const work = over().catch((error) => events?.report("notify", error));
      background?.background(work);
    });
    return undefined;
  }

  #after(ms: number, work: () => void, dropped: () => void = () => {}): void {
    const prevent = this.#parts.after(ms, () => {
      this.#timers.delete(drop);
      work();
    });
    const drop = () => {
      prevent();
      dropped();
    };
    this.#timers.add(drop);
  }
}

function idOf({ store, key }: CircuitIdentity): string {
  return JSON.stringify([store, key]);
}
