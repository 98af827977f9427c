/**
 * The sums that are observed, by their attributes.
 *
 * @module
 */

import type { Attributes, BatchObservableResult, Observable } from "@opentelemetry/api";
import type { Circuit } from "../circuit.ts";
import type { OtherCounts } from "../rules/outcome.ts";
import { inTurns } from "../turns.ts";
import { attributesOf } from "./attributes.ts";

/** Calls of this isolate by their outcome, and rejections. */
interface CallCounts extends OtherCounts {
  success: number;
}

/** The number of series that are kept; beyond it, the half that was least recently added to is forgotten. */
const MAX_SERIES = 20_000;

/** Values by their attributes. */
class Series<T> {
  readonly #series = new Map<string, { readonly attributes: Attributes; readonly value: T }>();

  /** Returns the value under these attributes, created if there is none. */
  of(attributes: Attributes, none: () => T, key = JSON.stringify(attributes)): T {
    const series = this.#series.get(key) ?? { attributes, value: none() };
    this.#series.delete(key);
    this.#series.set(key, series);
    if (this.#series.size > MAX_SERIES) this.#forgetHalf();
    return series.value;
  }

  /** Forgets many at once: a map finds its first key only behind all that were deleted before. */
  #forgetHalf(): void {
    let left = MAX_SERIES / 2;
    for (const key of this.#series.keys()) {
      if (left-- === 0) break;
      this.#series.delete(key);
    }
  }

  [Symbol.iterator]() {
    return this.#series.values();
  }

  entries() {
    return this.#series.entries();
  }
}

/** Sums by their attributes. */
export class Sums {
  readonly #sums = new Series<{ sum: number }>();

  /** Takes over other sums. One that is gone becomes 0: an SDK would continue to export its last value. */
  replace(by: Sums): void {
    for (const { value } of this.#sums) value.sum = 0;
    for (const [key, { attributes, value }] of by.#sums.entries()) {
      this.#sums.of(attributes, zero, key).sum = value.sum;
    }
  }

  add(attributes: Attributes, value = 1): void {
    this.#sums.of(attributes, zero).sum += value;
  }

  async observe(result: BatchObservableResult, instrument: Observable): Promise<void> {
    for await (const series of inTurns(this.#sums)) {
      for (const { attributes, value } of series) {
        result.observe(instrument, value.sum, attributes);
      }
    }
  }
}

/** The calls of circuits, including those that this isolate has forgotten. */
export class Totals {
  readonly #scopes: boolean;
  readonly #totals = new Series<CallCounts>();
  /** The counts that were taken from each circuit so far. */
  readonly #taken = new WeakMap<Circuit, CallCounts>();

  constructor(scopes: boolean) {
    this.#scopes = scopes;
  }

  /** Adds the counts of a circuit since they were last taken. */
  take(circuit: Circuit): void {
    const { identity, successes, others } = circuit;
    const counts = { ...none(), success: successes, ...others };
    const total = this.#totals.of(attributesOf(identity, this.#scopes), none);
    const taken = this.#taken.get(circuit) ?? none();
    for (const count of COUNTS) total[count] += counts[count] - taken[count];
    this.#taken.set(circuit, counts);
  }

  async observe(
    result: BatchObservableResult,
    to: Record<"calls" | "slowCalls" | "rejections", Observable>,
  ): Promise<void> {
    for await (const series of inTurns(this.#totals)) {
      for (const { attributes, value } of series) {
        for (const outcome of ["success", "failure", "ignored"] as const) {
          result.observe(to.calls, value[outcome], { ...attributes, "fuse.outcome": outcome });
        }
        result.observe(to.slowCalls, value.slow, attributes);
        result.observe(to.rejections, value.rejected, attributes);
      }
    }
  }
}

const COUNTS = ["success", "failure", "ignored", "slow", "rejected"] as const;

function zero(): { sum: number } {
  return { sum: 0 };
}

function none(): CallCounts {
  return { success: 0, failure: 0, ignored: 0, slow: 0, rejected: 0 };
}
