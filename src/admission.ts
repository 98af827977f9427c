/**
 * The types that a circuit and its calls exchange: admissions and refusals.
 *
 * @module
 */

import type { Admission, Snapshot } from "./contract.ts";
import type { CircuitBreakerOpenError, StoreUnavailableError } from "./errors.ts";
import { TOTALS_ONLY } from "./records.ts";

/** A call may run. Its outcome will be recorded under this admission. */
export interface Grant extends Admission {
  readonly refused: null;
  /** Token of the half-open slot that the call holds; `null` if it holds none. */
  readonly lease: string | null;
  /** `true` under `disable`: no events. */
  readonly silent: boolean;
  /**
   * The grant of this isolate's stand-in, if the stand-in admitted the call in place of the store.
   */
  readonly alone: Grant | null;
}

/** A call may not run, for this reason. */
export interface Refusal {
  readonly refused: CircuitBreakerOpenError | StoreUnavailableError;
}

/** Takes the background work of one request. */
export interface Unit {
  /** Keeps background work alive: the process, a request, which may die, or the caller, who waits. */
  readonly holder: "process" | "request" | "caller";
  /** Returns the work again if the caller has to wait for it, because nobody else would hold it. */
  background(work: Promise<unknown>): Promise<unknown> | undefined;
}

/** A circuit as an isolate knows it. */
export interface Known {
  readonly snapshot: Snapshot;
  /** The store's clock, in ms. */
  readonly now: number;
  /** The age of the Snapshot, in ms. */
  readonly ageMs: number;
  /** `true` if this isolate decides alone, because the store cannot be used. */
  readonly local: boolean;
  /** The factor by which this isolate asks the store less often than configured. Absent for 1. */
  readonly paceRatio?: number | undefined;
  /** A further sentence for `explain()`. */
  readonly remark?: string | undefined;
}

/** Admits a call of a circuit whose state is not known yet. */
export const UNKNOWN: Grant = {
  refused: null,
  epoch: "",
  generation: 0,
  began: 0,
  lease: null,
  silent: false,
  alone: null,
};

/** Admits a call whose outcome adds to lifetime totals only. */
export const UNCOUNTED: Grant = { ...UNKNOWN, generation: TOTALS_ONLY };

/** Admits a call under `disable`. */
export const SILENT: Grant = { ...UNCOUNTED, silent: true };
