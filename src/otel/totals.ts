/**
 * The sums that are observed, by their attributes.
 *
 * @module
 */

import type { Attributes, BatchObservableResult, Observable } from "@opentelemetry/api";
import type { Circuit } from "../circuit.ts";
import type { OtherCounts } from "../rules/outcome.ts";
import { attributesOf } from "./attributes.ts";

/** Calls of this isolate by their outcome, and rejections. */
interface CallCounts extends OtherCounts {
  success: number;
}

/** The number of series that are kept; beyond it, the least recently added to are forgotten. */
const MAX_SERIES = 20_000;

/** Values by their attributes. */
class Series<T> {
  readonly #series = new Map<string, { readonly attributes: Attributes; readonly value: T }>();

  /** Returns the value under these attributes, created if there is none. */
  of(attributes: Attributes, none: () => T): T {
    const key = JSON.stringify(attributes);
    const series = this.#series.get(key) ?? { attributes, value: none() };
    this.#series.delete(key);
    this.#series.set(key, series);
    if (this.#series.size > MAX_SERIES) this.#series.delete(this.#series.keys().next().value!);
    return series.value;
  }

  [Symbol.iterator]() {
    return this.#series.values();
  }
}

/** Sums by their attributes. */
export class Sums {
  readonly #sums = new Series<{ sum: number }>();

  /** Sets all sums to 0. An SDK would continue to export the last value of a sum that is gone. */
  clear(): void {
    for (const { value } of this.#sums) value.sum = 0;
  }

  add(attributes: Attributes, value = 1): void {
    this.#sums.of(attributes, () => ({ sum: 0 })).sum += value;
  }

  observe(result: BatchObservableResult, instrument: Observable): void {
    for (const { attributes, value } of this.#sums) {
      result.observe(instrument, value.sum, attributes);
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

  observe(
    result: BatchObservableResult,
    to: Record<"calls" | "slowCalls" | "rejections", Observable>,
  ): void {
    for (const { attributes, value } of this.#totals) {
      for (const outcome of ["success", "failure", "ignored"] as const) {
        result.observe(to.calls, value[outcome], { ...attributes, "fuse.outcome": outcome });
      }
      result.observe(to.slowCalls, value.slow, attributes);
      result.observe(to.rejections, value.rejected, attributes);
    }
  }
}

const COUNTS = ["success", "failure", "ignored", "slow", "rejected"] as const;

function none(): CallCounts {
  return { success: 0, failure: 0, ignored: 0, slow: 0, rejected: 0 };
}
