/**
 * The metadata of the rows of the trail, as JSON.
 *
 * @module
 */

import type { Snapshot, Tally } from "../../src/contract.ts";

/**
 * Returns a value as JSON without lone surrogates. SQL that takes the JSON apart would store one as
 * text that is not UTF-8, which a server cannot send and the local client cannot read.
 */
export function jsonOf(value: unknown): string {
  return JSON.stringify(value, (_, part) => typeof part === "string" ? part.toWellFormed() : part);
}

/**
 * Returns a text from its bytes. Bytes that are not UTF-8 read as U+FFFD: a local client ends the process
 * at such a text, so texts that others may write are read as bytes. A text is returned as it is.
 */
export function textOf(bytes: unknown): string {
  if (typeof bytes === "string") return bytes;
  return new TextDecoder().decode(new Uint8Array(bytes as ArrayBuffer));
}

/** Returns `true` of a text, and of bytes that are one. */
export function isUtf8(bytes: unknown): boolean {
  try {
    if (typeof bytes !== "string") UTF8.decode(new Uint8Array(bytes as ArrayBuffer));
    return true;
  } catch {
    return false;
  }
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** Returns the counters of a circuit before a change, as the row of the change shows them. */
export function countersOf(s: Snapshot): Record<string, number> {
  const { sinceClosed, totals } = s;
  return {
    consecutiveFailures: s.consecutiveFailures,
    consecutiveSuccesses: s.consecutiveSuccesses,
    failures: sinceClosed.failures,
    successes: sinceClosed.successes,
    slow: sinceClosed.slow,
    totalFailures: totals.failures,
    totalSuccesses: totals.successes,
    totalRejected: totals.rejected,
    totalSlow: totals.slow,
    ...s.state === "HALF_OPEN"
      ? { trialSuccesses: s.halfOpen.successes, trialFailures: s.halfOpen.failures }
      : null,
  };
}

/**
 * Returns the calls of a tally as a JSON array, each with 1 for a failure, its age in ms, 1 if it was slow,
 * and the text of its error. Calls that the caller does not list follow, as old as the tally. They were
 * slow if all calls were.
 */
export function callsOf({ calls = [], successes, failures, slow, ageMs }: Tally): string {
  const each = calls.map((call) => [
    ...[Number(call.failed), Math.round(Math.max(0, call.ageMs)), Number(call.slow), call.text],
  ]);
  const rest = [0, Math.round(Math.max(0, ageMs)), Number(slow === successes + failures), null];
  for (const [failed, count] of [successes, failures].entries()) {
    const missing = count - calls.filter((call) => Number(call.failed) === failed).length;
    each.push(...Array(Math.max(0, missing)).fill(rest.with(0, failed)));
  }
  return jsonOf(each);
}

/** The longest text of an error, in characters. */
const MAX_TEXT = 1_000;

/** Returns the text that the row of a failed call shows of its error, if any. */
export function redacted(
  redact: ((error: unknown) => string | undefined) | undefined,
  error: unknown,
): string | undefined {
  try {
    const text: unknown = redact?.(error);
    // The cut may go through a character.
    return typeof text === "string" ? text.slice(0, MAX_TEXT).toWellFormed() : undefined;
  } catch {
    // The thrown error may contain what `redact` was to hide.
    return undefined;
  }
}
