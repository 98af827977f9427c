/**
 * Compares the answers of readers and rejections with the model's.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { type CircuitBreaker, CircuitBreakerOpenError, type CircuitMetrics } from "@fuse/edge";
import type { Admission, Reading } from "./model.ts";

/** The comparable part of a reading. */
export interface Precision {
  /** The text of an error. */
  readonly where: string;
  /**
   * `"counted"`: rejections may wait for the next flush; `"none"`: calls under `disable` as well.
   */
  readonly totals: "all" | "counted" | "none";
  /**
   * Whether the isolate has a view: unsent outcomes are neither booked in a window nor, at first,
   * the circuit's birth.
   */
  readonly view: boolean;
}

/** Compares state, override, generation and every count. */
export async function compareReading(
  breaker: CircuitBreaker,
  expected: Reading,
  { where, totals, view }: Precision,
): Promise<void> {
  const snapshot = await breaker.snapshot();
  const metrics = await breaker.getMetrics();
  const { window } = expected;
  // Beneath an override no transition happens, so that OPEN may read as either state after its
  // cooldown.
  const hidden = expected.override !== null && expected.state === "HALF_OPEN";
  assertEquals(
    {
      isOpen: await breaker.isOpen(),
      met: await breaker.getState(),
      state: hidden ? expected.state : snapshot.state,
      override: snapshot.override?.kind ?? null,
      until: snapshot.override?.until?.getTime() ?? null,
      generation: view ? Math.max(1, snapshot.generation) : snapshot.generation,
      reopenCount: snapshot.reopenCount,
      openedAt: snapshot.openedAt?.getTime() ?? null,
      openUntil: expected.state === "OPEN" ? snapshot.openUntil?.getTime() : null,
      consecutiveFailures: metrics.consecutiveFailures,
      consecutiveSuccesses: metrics.consecutiveSuccesses,
      window: view ? null : metrics.window,
      totals: comparable(totalsOf(metrics), totals),
      lastFailureAt: metrics.lastFailureAt?.getTime() ?? null,
      lastSuccessAt: view ? null : metrics.lastSuccessAt?.getTime() ?? null,
    },
    {
      isOpen: expected.met === "OPEN",
      met: expected.met,
      state: expected.state,
      override: expected.override,
      until: expected.until,
      generation: view ? Math.max(1, expected.generation) : expected.generation,
      reopenCount: expected.reopenCount,
      openedAt: expected.openedAt,
      openUntil: expected.state === "OPEN" ? expected.openUntil : null,
      consecutiveFailures: expected.consecutiveFailures,
      consecutiveSuccesses: expected.consecutiveSuccesses,
      window: view ? null : { calls: window.successes + window.failures, ...window },
      totals: comparable(expected.totals, totals),
      lastFailureAt: expected.lastFailureAt,
      lastSuccessAt: view ? null : expected.lastSuccessAt,
    },
    `${where}: what breaker and model read`,
  );
}

/** Compares the state of a rejection, and the time to wait. */
export function compareRejection(error: unknown, expected: Admission, where: string): void {
  if (!(error instanceof CircuitBreakerOpenError) || expected.granted) throw error;
  const { state, retryAfterMs } = expected;
  assertEquals(error.state, state, `${where}: state of the rejection`);
  if (retryAfterMs === null) return;
  assertEquals(error.retryAfterMs, retryAfterMs, `${where}: retryAfterMs`);
}

function totalsOf(metrics: CircuitMetrics): Reading["totals"] {
  return {
    successes: metrics.totalSuccesses,
    failures: metrics.totalFailures,
    slow: metrics.totalSlow,
    rejected: metrics.totalRejected,
  };
}

function comparable(
  totals: Reading["totals"],
  which: Precision["totals"],
): Partial<Reading["totals"]> {
  if (which === "all") return totals;
  return which === "none" ? {} : { ...totals, rejected: 0 };
}
