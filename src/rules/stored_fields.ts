/**
 * Reads the fields of a stored circuit. Somebody may have overwritten any of them. An invalid field
 * is an error that names the field and concerns this circuit alone. The isolate's own breaker then
 * protects, until `reset()` or `remove()` rewrites the record.
 *
 * | field               | must be                                         |
 * |---------------------|-------------------------------------------------|
 * | a state             | `CLOSED`, `OPEN` or `HALF_OPEN`                 |
 * | a count, generation | a whole number, not negative, below 2^53        |
 * | a time              | a whole number, or nothing                      |
 * | an override's kind  | one of the four, or nothing                     |
 * | the count window    | `S` for each success, `F` for each failure      |
 * | the policy          | numbers, texts and nothing, by option           |
 *
 * @module
 */

import { MAX_DATE_MS } from "../checks.ts";
import type { FailureNote } from "../contract.ts";
import { StoreAnswerError } from "../errors.ts";

/**
 * Returns the error for a circuit with an invalid field.
 *
 * @param store The beginning of the store's error messages.
 * @param field The name of the field in the store.
 */
export function nonsenseIn(store: string, field: string): StoreAnswerError {
  const message = `${store}the field "${field}" of the circuit is invalid`;
  return new StoreAnswerError(message, { scope: "circuit" });
}

/** Returns `true` for the error of an invalid circuit, found by Redis or by this isolate. */
export function isNonsense(error: unknown): error is Error {
  return / of the circuit is invalid/.test(String(error));
}

/** Returns a valid field, as `fits` decides; throws for any other. */
export type Check = <T>(field: string, value: unknown, fits: (value: unknown) => boolean) => T;

/**
 * Returns a function that checks the fields of a store's circuits.
 *
 * @param store The beginning of the store's error messages.
 */
export function checkFields(store: string): Check {
  return (field, value, fits) => {
    if (!fits(value)) throw nonsenseIn(store, field);
    // deno-lint-ignore no-explicit-any
    return value as any;
  };
}

/** Returns a function that returns `true` for one of the words. */
export function isOneOf(words: readonly string[]): (value: unknown) => boolean {
  return (value) => words.includes(value as string);
}

/** Returns `true` if the value is a moment, in ms. */
export function isMoment(value: unknown): boolean {
  return Number.isSafeInteger(value);
}

/** Returns `true` if the value is a moment, or `null`. */
export function isTime(value: unknown): boolean {
  return value === null || isMoment(value);
}

/** Returns `true` if the value is a count. */
export function isCount(value: unknown): boolean {
  return isMoment(value) && value as number >= 0;
}

/** Returns `true` if the value is a text, or `null`. */
export function isWords(value: unknown): boolean {
  return value === null || isText(value);
}

/** Returns `true` if the value is a text. */
export function isText(value: unknown): boolean {
  return typeof value === "string";
}

/** Returns `true` if the value is the outcomes of a count window. */
export function isOutcomes(value: unknown): boolean {
  return isText(value) && !/[^SF]/.test(value as string);
}

/**
 * Returns the failure that opened a circuit, from its JSON, or `null` if that is invalid. No
 * decision depends on it, so the circuit stays usable.
 */
export function failureNoteOf(json: unknown): FailureNote | null {
  // Most circuits have none, and an error of the parser takes longer than all else.
  if (!json) return null;
  const { at, kind, status = null, instance = null } = Object(fromJson(json));
  const fits = typeof at === "number" && Math.abs(at) <= MAX_DATE_MS && isText(kind) &&
    (status === null || Number.isFinite(status)) && isWords(instance);
  return fits ? { at, kind, status, instance } : null;
}

/** Returns `true` if the value is a recorded policy, or `null`. */
export function isPolicy(value: unknown): boolean {
  return typeof value === "object" && Object.values(value ?? {}).every(isOption);
}

/** Returns `true` if a value can be an option of a recorded policy. */
export function isOption(value: unknown): boolean {
  return isWords(value) || Number.isFinite(value);
}

/** Parses a JSON text. Returns `undefined` for any other value. */
export function fromJson(json: unknown): unknown {
  try {
    return JSON.parse(json as string);
  } catch {
    return undefined;
  }
}
