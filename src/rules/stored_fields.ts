/**
 * What the fields of a stored circuit read as. Somebody may have written over any of them: each is
 * read by itself, and one that makes no sense reads as nothing, so that a spoilt circuit costs
 * neither the others of its store nor an operator's way to mend it. The next change writes it anew.
 *
 * | field               | reads as, if it is none |
 * |---------------------|-------------------------|
 * | a state             | CLOSED                  |
 * | a count, generation | 0                       |
 * | a time              | null                    |
 * | a text              | "", or null             |
 * | an override's kind  | no override             |
 *
 * The Lua script and the SQL statements have the same of what they add to and compare.
 *
 * @module
 */

import type { CircuitState, FailureNote, Override, OverrideRecord } from "../contract.ts";
import { CIRCUIT_STATES, OVERRIDES } from "../records.ts";

/** A state; CLOSED if it is none. */
export function stateOf(value: unknown): CircuitState {
  return CIRCUIT_STATES.includes(value as CircuitState) ? value as CircuitState : "CLOSED";
}

/** A count, which is whole and not negative; 0 if it is none. */
export function countOf(value: unknown): number {
  return Number.isSafeInteger(value) && value as number >= 0 ? value as number : 0;
}

/** A time in ms; `null` if it is none. */
export function timeOf(value: unknown): number | null {
  return Number.isFinite(value) ? value as number : null;
}

/** A text; `""` if it is none. */
export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** An override; `null`, whatever else it says, if it is of no known kind. */
export function overrideOf(o: { readonly [F in keyof OverrideRecord]?: unknown }):
  | OverrideRecord
  | null {
  const words = (value: unknown) => typeof value === "string" ? value : null;
  if (!OVERRIDES.includes(o.kind as Override)) return null;
  return {
    kind: o.kind as Override,
    until: timeOf(o.until),
    reason: words(o.reason),
    actor: words(o.actor),
  };
}

/** The last moment of a Date, in ms. */
const LAST_DATE = 8.64e15;

/** Why a circuit opened, from its JSON; `null` if that makes no sense. */
export function failureNoteOf(json: unknown): FailureNote | null {
  try {
    const { at, kind, status = null, instance = null } = JSON.parse(json as string);
    const fits = typeof at === "number" && Math.abs(at) <= LAST_DATE && typeof kind === "string" &&
      (status === null || Number.isFinite(status)) &&
      (instance === null || typeof instance === "string");
    return fits ? { at, kind, status, instance } : null;
  } catch {
    return null;
  }
}
