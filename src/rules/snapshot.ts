/**
 * The public forms of a circuit: snapshots, metrics, and the sentence that explains them.
 *
 * @module
 */

import { type Admission, isLate } from "../records.ts";
import type { CircuitIdentity } from "../key.ts";
import { cooldownPassed } from "./machine.ts";
import { inLine, MAX_DATE_MS, quote } from "../checks.ts";
import { type Counts, counts } from "./strategies.ts";
import type { CircuitState, FailureNote, Override, Snapshot } from "../contract.ts";

/** Counters of a circuit. */
export interface CircuitMetrics {
  /** Successes since the last failure. */
  consecutiveSuccesses: number;
  /** Failures since the last success. */
  consecutiveFailures: number;
  /** Successes since the circuit came to be. */
  totalSuccesses: number;
  /** Failures since the circuit came to be. */
  totalFailures: number;
  /** Rejected calls since the circuit came to be. */
  totalRejected: number;
  /** Slow calls since the circuit came to be. */
  totalSlow: number;
  /** Failures in the time window, in percent of its calls; 0 without calls. */
  failureRate: number;
  /** When the last success that counted ended. */
  lastSuccessAt: Date | null;
  /** When the last failure that counted ended. */
  lastFailureAt: Date | null;
  /** Counts over the last `windowMs`. */
  window: Counts;
}

/** A circuit at one moment. Times are the store's. */
export interface CircuitSnapshot extends CircuitIdentity {
  /**
   * The state beneath any override. An OPEN circuit whose cooldown has passed reads `HALF_OPEN`.
   */
  state: CircuitState;
  /** The operator's override, or `null`. */
  override: {
    kind: Override;
    until: Date | null;
    reason: string | null;
    actor: string | null;
  } | null;
  /** The reason of the last transition; `null` before the first. */
  reason: string | null;
  /**
   * The failure that opened it last: the code or the name of the error (`Response`, or `slow`), the
   * status of a Response, and the `instance` of the Fuse that saw it, whose clock gives `at`.
   */
  lastFailure: { at: Date; kind: string; status: number | null; instance: string | null } | null;
  /**
   * The policy as data, as the circuit's record has it: the options that decide and differ from the
   * defaults, functions by their names. `null` if none was recorded.
   */
  policy: Record<string, unknown> | null;
  /** The trials of this HALF_OPEN generation. */
  trials: { inFlight: number; successes: number; failures: number };
  /** When it last opened. Stays after closing. */
  openedAt: Date | null;
  /** Until when it rejects all calls. */
  openUntil: Date | null;
  /** When it last closed. */
  closedAt: Date | null;
  /** Counts transitions and operator actions. */
  generation: number;
  /** How often it went HALF_OPEN → OPEN since it last closed. */
  reopenCount: number;
  /** Its counters. */
  metrics: CircuitMetrics;
  /** `true` if this isolate decides alone, because the store cannot be used. Always `false` in `list()`. */
  local: boolean;
  /**
   * The age of this snapshot, in ms. 0: just read from the store, or decided by this isolate alone;
   * `Infinity`: nothing is known.
   */
  ageMs: number;
}

/** Counts of this isolate that the store has not confirmed yet, and their generation. */
export interface Overlay extends Admission {
  readonly successes: number;
  readonly failures: number;
  readonly rejected: number;
  readonly slow: number;
}

/**
 * Returns the Snapshot with counts added, one after the other: of each, successes first, then failures,
 * as in a tally. Counts of another generation add to totals only.
 */
export function overlay(s: Snapshot, overlays: readonly Overlay[]): Snapshot {
  if (overlays.length === 0) return s;
  // Copied once: many tallies may wait.
  const { totals, window, sinceClosed, last } = s;
  const laid = {
    ...s,
    totals: { ...totals },
    window: { ...window },
    sinceClosed: { ...sinceClosed },
    last: { ...last },
  };
  const all = [laid.totals, laid.window, laid.sinceClosed];
  for (const pending of overlays) {
    const { successes, failures, rejected, slow } = pending;
    const late = isLate(pending, s);
    laid.totals.rejected += rejected;
    for (const counts of late ? [laid.totals] : all) {
      counts.successes += successes;
      counts.failures += failures;
      counts.slow += slow;
    }
    if (late) continue;
    laid.consecutiveFailures = (successes > 0 ? 0 : laid.consecutiveFailures) + failures;
    laid.consecutiveSuccesses = failures > 0 ? 0 : laid.consecutiveSuccesses + successes;
    laid.last.size += successes + failures;
    laid.last.failures += failures;
  }
  return laid;
}

/**
 * Returns the state as a reader sees it, at `now` on the store's clock: time alone makes an OPEN
 * circuit half-open, and the next call moves it.
 */
export function readState(s: Snapshot, now: number): CircuitState {
  return s.state === "OPEN" && cooldownPassed(s, now) ? "HALF_OPEN" : s.state;
}

/** Returns the state that a call meets: an override decides before the state does. */
export function metState(s: Snapshot, now: number): CircuitState {
  if (s.override === null) return readState(s, now);
  return s.override.kind === "forced_open" ? "OPEN" : "CLOSED";
}

/** Returns a Snapshot in the form for users. */
export function toCircuitSnapshot(
  identity: CircuitIdentity,
  s: Snapshot,
  now: number,
  ageMs: number,
  local = false,
): CircuitSnapshot {
  const { override } = s;
  return {
    ...identity,
    state: readState(s, now),
    override: override && { ...override, until: date(override.until) },
    reason: s.reason || null,
    lastFailure: s.lastFailure && { ...s.lastFailure, at: dateOf(s.lastFailure.at) },
    policy: s.policy && { ...s.policy },
    trials: trialsOf(s),
    openedAt: date(s.openedAt),
    openUntil: date(s.openUntil),
    closedAt: date(s.closedAt),
    generation: s.generation,
    reopenCount: s.reopenCount,
    metrics: toMetrics(s),
    local,
    ageMs,
  };
}

/** Returns counters in the form for users. */
export function toMetrics(s: Snapshot): CircuitMetrics {
  const window = counts(s.window);
  return {
    consecutiveSuccesses: s.consecutiveSuccesses,
    consecutiveFailures: s.consecutiveFailures,
    totalSuccesses: s.totals.successes,
    totalFailures: s.totals.failures,
    totalRejected: s.totals.rejected,
    totalSlow: s.totals.slow,
    failureRate: window.calls === 0 ? 0 : (100 * window.failures) / window.calls,
    lastSuccessAt: date(s.lastSuccessAt),
    lastFailureAt: date(s.lastFailureAt),
    window,
  };
}

function trialsOf({ state, halfOpen }: Snapshot): CircuitSnapshot["trials"] {
  const { inFlight, successes, failures } = halfOpen;
  return state === "HALF_OPEN"
    ? { inFlight, successes, failures }
    : { inFlight: 0, successes: 0, failures: 0 };
}

function date(ms: number | null): Date | null {
  return ms === null ? null : dateOf(ms);
}

/**
 * Returns a Date that can be printed: all moments beyond the range of a Date are replaced by one.
 */
export function dateOf(ms: number): Date {
  return new Date(Math.min(MAX_DATE_MS, Math.max(-MAX_DATE_MS, ms)));
}

/** Explains a circuit's state, in one sentence, on one line. */
export function explain(name: string, s: Snapshot, now: number): string {
  const { override } = s;
  const state = readState(s, now);
  let why = `is ${state}`;
  if (state === "OPEN") why += ` since ${iso(s.openedAt)}`;
  else if (state === "HALF_OPEN") why += `, opened at ${iso(s.openedAt)}`;
  else if (s.closedAt !== null) why += ` since ${iso(s.closedAt)}`;
  if (s.reason !== "" && state !== "CLOSED") why += ` (${inLine(s.reason)})`;
  const { successes, failures } = s.window;
  why += `, ${s.consecutiveFailures} failures in a row, ${failures} of ${
    successes + failures
  } calls failed in the window`;
  if (s.lastFailure !== null && state !== "CLOSED") {
    why += `, opened by ${failureText(s.lastFailure)}`;
  }
  if (state === "OPEN") why += `, the next trial at ${iso(s.openUntil)}`;
  if (state === "HALF_OPEN") {
    const { inFlight, successes, failures } = s.halfOpen;
    why += `, ${inFlight} trials in flight, ${successes} succeeded, ${failures} failed`;
  }
  if (override === null) return `Circuit ${quote(name)} ${why}`;
  const until = override.until === null ? "until it is released" : `until ${iso(override.until)}`;
  return `Circuit ${quote(name)} is ${override.kind} ${until}` +
    (override.actor === null ? "" : ` by ${inLine(override.actor)}`) +
    (override.reason === null ? "" : `: ${inLine(override.reason)}`) + `; beneath it ${why}`;
}

function failureText({ at, kind, status, instance }: FailureNote): string {
  return (status === null ? inLine(kind) : `status ${status}`) + ` at ${iso(at)}` +
    (instance === null ? "" : ` in ${inLine(instance)}`);
}

/** Explains a rejection, in one sentence. It stays true for the generation. */
export function explainRefusal(name: string, s: Snapshot, now: number, slots: number): string {
  if (s.override !== null || s.state === "OPEN") return explain(name, s, now);
  if (s.state === "CLOSED") {
    return `Circuit ${quote(name)} has closed at ${
      iso(s.closedAt)
    }, and admits more calls by and by`;
  }
  return `Circuit ${quote(name)} is HALF_OPEN, opened at ${iso(s.openedAt)}; its ${
    slots === 1 ? "trial slot is" : `${slots} trial slots are`
  } taken`;
}

function iso(ms: number | null): string {
  return ms === null ? "an unknown time" : dateOf(ms).toISOString();
}
