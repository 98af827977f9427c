/**
 * A single notice for a circuit that flaps.
 *
 * @module
 */

import { type Fuse, insideOf } from "../fuse.ts";
import type { CircuitIdentity } from "../key.ts";
import { summaryOf, type Telling } from "./notices.ts";
import type { Parts } from "./parts.ts";

/** So many circuits are kept quiet at once; past it, those first told are told again. */
const MAX_CIRCUITS = 10_000;
/** So many changes of a circuit are gathered, the newest. */
const MAX_CHANGES = 500;

/** A circuit that was told lately. */
interface Told {
  /** Until when its changes are gathered, in ms. */
  until: number;
  /** Those changes, oldest first. */
  changes: Telling[];
}

/** Tells changes at once, or gathers those of a circuit that was told lately. */
export class Quiet {
  readonly #fuse: Fuse;
  readonly #quietMs: number;
  readonly #tell: (tellings: readonly Telling[]) => Promise<void>;
  readonly #parts: Parts;
  readonly #told = new Map<string, Told>();
  /** Functions that prevent the timers that are set, and let go of whoever waits for them. */
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

  /** Tells a change, now or once the quiet time is over. Returns the work that is to be held. */
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

  /** Forgets changes that were told from the trail. */
  forget(tellings: readonly Telling[]): void {
    for (const { circuit, change } of tellings) {
      const told = this.#told.get(idOf(circuit));
      if (told === undefined || change === null) continue;
      told.changes = told.changes.filter((held) => held.change !== change);
    }
  }

  /** Drops what is gathered. */
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
   * Tells what was gathered, once the quiet time is over. On a Worker the request has to wait for it, as
   * far as the platform lets it. Elsewhere nobody waits: a process that ends says no more.
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
