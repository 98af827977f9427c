/**
 * Guarded fetch: takes and gives what `fetch` does.
 *
 * @module
 */

import type { CallScope } from "./call_scope.ts";
import { hasBrand } from "./checks.ts";
import type { CircuitBreaker } from "./circuit_breaker.ts";

/** Fetches through a breaker. The Response is returned whatever it counts as. */
export function guardedFetch<F>(
  breaker: Pick<CircuitBreaker<F>, "call">,
  input: string | URL | Request,
  init: RequestInit | undefined,
): Promise<Response | F> {
  // What `fetch` itself goes by: `init.signal`, where given, `null` too, replaces the Request's.
  const given = init?.signal === undefined && isRequest(input) ? input : init;
  const caller = given?.signal ?? undefined;
  return breaker.call((context) => {
    const signal = (context as CallScope).limit;
    if (signal === undefined) return fetch(input, init);
    // A Request in place of `init` has nothing to spread.
    if (isRequest(init)) return fetch(new Request(input, init), { signal });
    return fetch(input, { ...init, signal });
  }, { signal: caller });
}

/** The circuit that guards a URL: one for each host, port included. */
export function hostOf(input: string | URL | Request): string {
  return new URL(isRequest(input) ? input.url : input).host;
}

function isRequest(value: unknown): value is Request {
  return hasBrand(value, "Request");
}
