/**
 * Fallbacks: the values returned in place of a call's result.
 *
 * @module
 */

import type { CallForm } from "./call_form.ts";
import type { Refusal } from "./admission.ts";
import type { CallOptions, Fallback, FallbackContext } from "./circuit_breaker.ts";
import { FuseError, isA } from "./errors.ts";
import type { HandleFunctions } from "./handle_options.ts";

const NO_FALLBACKS: readonly Fallback<unknown>[] = [];

/** Returns the call's fallbacks, else the handle's. */
export function fallbacksOf(
  options: CallOptions<unknown> | undefined,
  functions: HandleFunctions<unknown>,
): readonly Fallback<unknown>[] {
  const fallback = options?.fallback ?? functions.fallback;
  return fallback == null ? NO_FALLBACKS : [fallback].flat() as Fallback<unknown>[];
}

/**
 * Returns the value of the first fallback that returns one. If all of them throw, throws the error
 * of the last.
 */
export async function fallBack(
  fallbacks: readonly Fallback<unknown>[],
  { circuit, error, state }: FallbackContext,
  form: CallForm,
): Promise<unknown> {
  // Only a fallback that read the failed Response can have kept it (rule 11).
  let handed = false;
  const context = {
    circuit,
    get error() {
      handed = true;
      return error;
    },
    state,
  };
  let thrown: unknown = error;
  for (const fallback of fallbacks) {
    try {
      return form.fallback(await fallback(context), error, handed);
    } catch (next) {
      thrown = next;
    }
  }
  form.exhausted(error);
  // A fallback that throws the rejection again leaves it a rejection.
  return thrown === error && isA(error, FuseError) && "retryAfterMs" in error
    ? form.rejected(error as Refusal["refused"])
    : form.error(thrown);
}
