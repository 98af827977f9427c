/**
 * The words of the page for circuits.
 *
 * @module
 */

import { inLine } from "../checks.ts";
import type { Override } from "../contract.ts";
import type { Action } from "../operator.ts";
import type { CircuitSnapshot } from "../rules/snapshot.ts";

/** How urgent a state is, which decides its color. */
export type Tone = "bad" | "warn" | "held" | "good";

const OVERRIDES: Readonly<Record<Override, readonly [string, Tone]>> = {
  forced_open: ["Forced open", "bad"],
  forced_closed: ["Forced closed", "held"],
  disabled: ["Disabled", "held"],
  metrics_only: ["Metrics only", "held"],
};

const STATES: Readonly<Record<CircuitSnapshot["state"], readonly [string, Tone]>> = {
  OPEN: ["Open", "bad"],
  HALF_OPEN: ["Half-open", "warn"],
  CLOSED: ["Closed", "good"],
};

/** Returns the word and the tone for the state that a call meets. */
export function standing({ state, override }: CircuitSnapshot): { word: string; tone: Tone } {
  const [word, tone] = override === null ? STATES[state] : OVERRIDES[override.kind];
  return { word, tone };
}

/** Returns the word for a state, without its override. */
export function stateWord(state: CircuitSnapshot["state"]): string {
  return STATES[state][0];
}

/** Each action, and its effect. */
export const ACTION_WORDS: Readonly<Record<Action, readonly [title: string, effect: string]>> = {
  "force-open": ["Force open", "rejects every call"],
  "force-close": ["Force closed", "lets every call through: protection is off"],
  "disable": ["Disable", "lets every call through, counts only totals: protection is off"],
  "metrics-only": ["Metrics only", "lets every call through and counts, to try a policy"],
  "release": ["Release", "ends the override; the state beneath stands"],
  "reset": ["Reset", "closes the circuit and clears its counters"],
  "remove": ["Remove", "deletes the circuit; a trail keeps its rows"],
};

/** Returns the failure that opened the circuit, and its place; `null` if it never opened. */
export function failureOf({ lastFailure }: CircuitSnapshot): string | null {
  if (lastFailure === null) return null;
  const { kind, status, instance } = lastFailure;
  return (status === null ? inLine(kind) : `status ${status}`) +
    (instance === null ? "" : ` on ${inLine(instance)}`);
}

/** Returns a count with its noun. */
export function many(count: number, noun: string, nouns = `${noun}s`): string {
  return `${count.toLocaleString("en-US")} ${count === 1 ? noun : nouns}`;
}

/** Returns a duration in its two largest units. */
export function spanText(ms: number): string {
  const units = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]] as const;
  const first = units.findIndex(([, length]) => ms >= length);
  if (first === -1) return `${Math.round(ms)} ms`;
  let left = ms;
  return units.slice(first, first + 2).flatMap(([unit, length]) => {
    const count = Math.floor(left / length);
    left -= count * length;
    return count === 0 ? [] : [`${count} ${unit}`];
  }).join(" ");
}
