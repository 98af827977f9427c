/**
 * Calls whose beginning and end are two steps of a session.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { type CallResult, type CircuitBreaker, CircuitBreakerOpenError } from "@fuse/edge";
import type { Ending, Via } from "./commands.ts";

/** The state of a call: it runs until it is ended, or it was refused. */
export type Begun =
  | { readonly granted: true; readonly end: (ending: Ending) => Promise<void> }
  | { readonly granted: false; readonly error: unknown };

/** Listed under `ignore`: a call that throws it ends neutrally. */
export class Ignored extends Error {}

/** What the `Response` of `failed_response` asks for: more than some cooldowns and limits. */
export const RETRY_AFTER_MS = 5_000;

/** Begins a call, and resolves once it runs or is refused. */
export function begin(breaker: CircuitBreaker, via: Via): Promise<Begun> {
  return via === "admit" ? admit(breaker) : start(breaker, via);
}

/** The outcome of an ending (rule 9). */
export function outcomeOf(ending: Ending): "success" | "failure" | "neutral" {
  if (ending === "ignored" || ending === "dropped") return "neutral";
  return ending === "success" || ending === "slow_success" ? "success" : "failure";
}

/** Whether time passes before the ending. */
export function isSlow(ending: Ending): boolean {
  return ending === "slow_success" || ending === "slow_failure";
}

async function start(breaker: CircuitBreaker, via: "call" | "tryCall"): Promise<Begun> {
  const started = Promise.withResolvers<"started">();
  const gate = Promise.withResolvers<unknown>();
  let runs = 0;
  const fn = (): Promise<unknown> => {
    runs++;
    started.resolve("started");
    return gate.promise;
  };
  const done = via === "tryCall" ? breaker.tryCall(fn) : called(breaker.call(fn));
  const first = await Promise.race([started.promise, done]);
  if (first !== "started") {
    if (first.ok || !first.rejected) throw new Error("Neither run nor rejected");
    return { granted: false, error: first.error };
  }
  return {
    granted: true,
    async end(ending) {
      const { ok, value } = valueOf(ending);
      if (ok) gate.resolve(value);
      else gate.reject(value);
      const result = await done;
      assertEquals(runs, 1, "The function ran once");
      assertEquals(result.ok, ok, "The caller gets what the function gave");
      assert((result.ok ? result.value : result.error) === value, "The very value or error");
    },
  };
}

async function called(call: Promise<unknown>): Promise<CallResult<unknown>> {
  try {
    return { ok: true, source: "call", value: await call };
  } catch (error) {
    return error instanceof CircuitBreakerOpenError
      ? { ok: false, rejected: true, error, retryAfterMs: error.retryAfterMs }
      : { ok: false, rejected: false, error };
  }
}

async function admit(breaker: CircuitBreaker): Promise<Begun> {
  try {
    const permit = await breaker.admit();
    return {
      granted: true,
      async end(ending) {
        const outcome = outcomeOf(ending);
        if (outcome === "success") await permit.success();
        else if (outcome === "failure") await permit.failure(new Error("Broken"));
        else if (ending === "ignored") await permit.ignore();
        else await permit[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    return { granted: false, error };
  }
}

/** The value that the called function returns. */
function valueOf(ending: Ending): { readonly ok: boolean; readonly value: unknown } {
  if (outcomeOf(ending) === "neutral") return { ok: false, value: new Ignored("Not now") };
  if (ending === "failed_response") {
    const headers = { "Retry-After": `${RETRY_AFTER_MS / 1_000}` };
    return { ok: true, value: new Response(null, { status: 503, headers }) };
  }
  return outcomeOf(ending) === "success"
    ? { ok: true, value: Symbol("value") }
    : { ok: false, value: new Error("Broken") };
}
