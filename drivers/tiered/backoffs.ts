/**
 * When a trail is left alone: for one circuit whose rows it refuses, or for all.
 *
 * @module
 */

import { Backoff } from "../../src/shared/backoff.ts";

/** This many circuits that fail in a row, without a success between, are an outage of the trail. */
const CIRCUITS_OF_AN_OUTAGE = 3;

/**
 * The back-off of a trail and of each circuit. A failure concerns its circuit alone, unless it says that
 * it concerns the trail, or several circuits fail in a row. Holds values only.
 */
export class Backoffs {
  readonly #timeoutMs: number;
  readonly #most: number;
  readonly #all: Backoff;
  readonly #byKey = new Map<string, Backoff>();
  /** The circuits that have failed since the last success. */
  readonly #inARow = new Set<string>();

  /**
   * @param timeoutMs The deadline of a request, in ms.
   * @param most How many circuits are remembered.
   */
  constructor(timeoutMs: number, most: number) {
    this.#timeoutMs = timeoutMs;
    this.#most = most;
    this.#all = new Backoff(timeoutMs);
  }

  /** `true` if the last delivery failed, of the trail as a whole or of any circuit. */
  get failing(): boolean {
    return this.#all.failing || [...this.#byKey.values()].some(({ failing }) => failing);
  }

  /** Returns `true` if the last delivery of a circuit failed. */
  hasFailed(key: string): boolean {
    return this.#byKey.get(key)?.failing ?? false;
  }

  /** Returns `true` during a back-off of the trail: for a circuit, or for all if none is named. */
  down(at: number, key?: string): boolean {
    return this.#all.down(at) || (key !== undefined && (this.#byKey.get(key)?.down(at) ?? false));
  }

  /** Begins a delivery, or the rows of a circuit in it. Returns `true` if that is a probe. */
  probe(at: number, key?: string): boolean {
    return (key === undefined ? this.#all : this.#byKey.get(key))?.probe(at) ?? false;
  }

  /** Returns for how long the trail is left alone, by whatever circuit has failed, in ms. */
  leftMs(at: number): number {
    return Math.max(...[this.#all, ...this.#byKey.values()].map((one) => one.leftMs(at)));
  }

  /**
   * Notes a failure.
   *
   * @returns For how long the circuit, or the trail, is left alone, in ms.
   */
  failed(
    at: number,
    key: string,
    { probing, isWide }: { readonly probing: boolean; readonly isWide: boolean },
  ): number {
    this.#inARow.add(key);
    let backoff = this.#all;
    if (!isWide) {
      backoff = this.#byKey.get(key) ?? new Backoff(this.#timeoutMs);
      this.#byKey.delete(key);
      this.#byKey.set(key, backoff);
      if (this.#byKey.size > this.#most) this.forget(this.#byKey.keys().next().value!);
      backoff.failed(at, { probing });
    }
    if (isWide || this.#inARow.size >= CIRCUITS_OF_AN_OUTAGE) this.#all.failed(at, { probing });
    return backoff.leftMs(at);
  }

  /**
   * Notes that the trail accepted rows of a circuit. Returns `true` if that ends the last failure.
   */
  answered(at: number, key: string): boolean {
    this.#inARow.clear();
    return this.#ending(() => {
      this.#all.answered(at);
      this.#byKey.get(key)?.answered(at);
    });
  }

  /**
   * Notes that a circuit has no more undelivered rows. Returns `true` if that ends the last
   * failure.
   */
  settled(at: number, key: string): boolean {
    return this.#ending(() => this.#byKey.get(key)?.answered(at));
  }

  /** Drops the state of a circuit. */
  forget(key: string): void {
    this.#byKey.delete(key);
    this.#inARow.delete(key);
  }

  #ending(change: () => void): boolean {
    const wasFailing = this.failing;
    change();
    return wasFailing && !this.failing;
  }
}
