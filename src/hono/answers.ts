/**
 * The middleware's own answers, and its judgment of answers from the routes behind it.
 *
 * @module
 */

import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import { type CallTimeoutError, isRejection, type StoreUnavailableError } from "../errors.ts";
import { isFailedStatus } from "../rules/outcome.ts";

/**
 * Returns the response of the routes behind. `next()` does not throw: Hono keeps the error in
 * `c.error`, and its answer to the error in `c.res`.
 *
 * @throws The error. An HTTPException counts as its response, unless that hides a failure.
 */
export function answerOf({ error, res }: Context): Response {
  if (error === undefined) return res;
  const { status, res: own } = error as Partial<HTTPException>;
  // Hono has built it anew.
  if (own !== undefined && isRejection(own)) return own;
  const isAnswer = "getResponse" in error && typeof status === "number";
  if (isAnswer && (isFailedStatus(res.status) || !isFailedStatus(status))) return res;
  throw error;
}

/**
 * Returns the response to judge: for a HEAD request one without the body, because Hono drops the
 * body unread.
 *
 * @throws What `answerOf` throws.
 */
export function judgedOf(c: Context): Response {
  const answer = answerOf(c);
  const dropped = c.req.method === "HEAD" && answer.body !== null && !isRejection(answer);
  return dropped ? new Response(null, answer) : answer;
}

/** Returns the error that Hono answers with 504. `expose`: whether it names the circuit. */
export function timedOut(cause: CallTimeoutError, expose: boolean): HTTPException {
  const detail = expose ? { detail: cause.message } : null;
  return new HTTPException(504, { cause, res: problem(504, "Gateway Timeout", detail) });
}

/**
 * Returns the error that Hono answers with 503, and with the time to retry. `expose`: whether it
 * names the store.
 */
export function unavailable(cause: StoreUnavailableError, expose: boolean): HTTPException {
  const { retryAfterMs } = cause;
  const retryAfter = String(Math.max(1, Math.ceil(retryAfterMs / 1000)));
  const detail = { retryAfterMs, ...(expose ? { detail: cause.message } : null) };
  return new HTTPException(503, {
    cause,
    res: problem(503, "Service Unavailable", detail, { "retry-after": retryAfter }),
  });
}

/** Returns problem details (RFC 9457), in the form of `CircuitBreakerOpenError`. */
function problem(status: number, title: string, detail: object | null, headers: HeadersInit = {}) {
  return Response.json({ type: "about:blank", title, status, ...detail }, {
    status,
    headers: {
      ...headers,
      "content-type": "application/problem+json",
      "cache-control": "no-store",
    },
  });
}
