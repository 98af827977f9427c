/**
 * Decides the outcome of a call's ending.
 *
 * @module
 */

import { answerOf, inLine } from "../checks.ts";
import type { FailureNote } from "../contract.ts";
import {
  findRejection,
  hasName,
  isCircuitBreakerOpenError,
  isRejection,
  isResponse,
  isTimeout,
  statusOf,
} from "../errors.ts";

/** The ending of a call, for `isFailure`. */
export type Outcome =
  | {
    /** The call returned. */
    readonly ok: true;
    /** The result. */
    readonly value: unknown;
    /** The duration, in ms. */
    readonly durationMs: number;
  }
  | {
    /** The call threw. */
    readonly ok: false;
    /** The error that the call threw. */
    readonly error: unknown;
    /** The duration, in ms. */
    readonly durationMs: number;
  };

/** A class of errors, or a predicate. */
export type ErrorMatcher =
  | (abstract new (...args: never[]) => Error)
  | ((error: unknown) => boolean);

/** The functions of a handle that judge. */
export interface Judgement {
  /** Errors that count neither as success nor as failure. Takes precedence over the others. */
  ignore?: readonly ErrorMatcher[] | undefined;
  /** The only errors that count as failures; others count as successes. */
  record?: readonly ErrorMatcher[] | undefined;
  /** Decides whether a result or an error is a failure; replaces the judgment of Responses. */
  isFailure?: ((outcome: Outcome) => boolean) | undefined;
}

/** Calls of this isolate that did not simply succeed, and rejections. */
export interface OtherCounts {
  failure: number;
  /** Neutral outcomes: the caller gave up, an ignored error, a rejection by another circuit. */
  ignored: number;
  /** Successes and failures that took `slowCallMs` or longer. */
  slow: number;
  rejected: number;
}

/** The outcome that an ending counts as. */
export type Kind = "success" | "failure" | "neutral";

/** The end of a call. */
export interface Ending {
  readonly kind: Kind;
  readonly slow: boolean;
  readonly durationMs: number;
  readonly error: unknown;
  /** The `Retry-After` of the failed response, in ms; 0 without one. */
  readonly retryAfterMs: number;
  /** The part of its failure that may be shown, or `null` if it did not fail. */
  readonly failure: Pick<FailureNote, "kind" | "status"> | null;
  /** When the call ended, on the Fuse's clock, in ms. */
  readonly at: number;
}

/** Returns `true` for 5xx and 429: the default judgment of a Response. */
export function isFailedResponse(response: Response): boolean {
  return isFailedStatus(response.status);
}

/** Returns what {@linkcode isFailedResponse} does, for a known status. */
export function isFailedStatus(status: number): boolean {
  return status >= 500 || status === 429;
}

/** Returns `false` for a Response that the default judgment counts as a failure. */
export function isFine(value: unknown): boolean {
  return !isFailedStatus(statusOf(value));
}

/** Judges a result. */
export function judgeResult(
  value: unknown,
  durationMs: number,
  { isFailure }: Judgement,
  report: (type: string, error: unknown) => void,
): Kind {
  if (isFailure !== undefined) {
    // Not called: the user's function judges errors, and such a Response replaces one.
    if (isRejection(value)) return "neutral";
    try {
      const failed = answerOf("isFailure", isFailure({ ok: true, value, durationMs }));
      return failed ? "failure" : "success";
    } catch (error) {
      report("isFailure", error);
    }
  }
  if (isFine(value)) return "success";
  return isRejection(value) ? "neutral" : "failure";
}

/** Returns `true` for the rejection of a circuit, also within an error of an SDK. */
function isCircuitRejection(error: unknown): boolean {
  return isCircuitBreakerOpenError(findRejection(error));
}

/** Returns `true` for the reason of an `AbortSignal.timeout`, and for a timeout of an outer call. */
function isDeadline(reason: unknown): boolean {
  return hasName(reason, "TimeoutError") || isTimeout(reason);
}

/**
 * Judges an error. The caller's signal shows whether the caller gave up, whatever the error's name:
 * that is neutral (rule 9), unless the call was `abandoned` late enough. A deadline is a failure,
 * whichever code set it.
 */
export function judgeThrown(
  error: unknown,
  durationMs: number,
  signal: AbortSignal | undefined,
  abandoned: boolean,
  judgement: Judgement,
  report: (type: string, error: unknown) => void,
): Kind {
  if (!signal?.aborted || isTimeout(error)) return judgeError(error, durationMs, judgement, report);
  const { reason } = signal;
  return isCircuitRejection(reason) || !(abandoned || isDeadline(reason))
    ? "neutral"
    : judgeError(error, 0, { ignore: judgement.ignore }, report);
}

/** Judges an error, unless the caller's signal was aborted. */
export function judgeError(
  error: unknown,
  durationMs: number,
  { ignore, record, isFailure }: Judgement,
  report: (type: string, error: unknown) => void,
): Kind {
  if (isCircuitRejection(error)) return "neutral";
  let option = "ignore";
  const matches = (matcher: ErrorMatcher) =>
    isErrorClass(matcher) ? error instanceof matcher : answerOf(option, matcher(error)) === true;
  try {
    if (ignore?.some(matches)) return "neutral";
    // A list of the upstream's errors does not mean that its silence is a success.
    if (isTimeout(error)) return "failure";
    option = "record";
    if (record?.some(matches) === false) return "success";
    option = "isFailure";
    return !isFailure || answerOf(option, isFailure({ ok: false, error, durationMs }))
      ? "failure"
      : "success";
  } catch (thrown) {
    report(option, thrown);
    return "failure";
  }
}

function isErrorClass(matcher: ErrorMatcher): matcher is abstract new (...args: never[]) => Error {
  return matcher === Error || matcher.prototype instanceof Error;
}

/** The note of a trial that failed by being slow. */
export const SLOW_TRIAL = { kind: "slow", status: null };

/** The longest `kind` of a failure, in characters. */
const MAX_KIND = 64;

/**
 * Returns the part of a failure that may be shown: the code or the name of the error, the status of
 * a Response.
 */
export function failureOf(error: unknown): { kind: string; status: number | null } {
  try {
    if (isResponse(error)) return { kind: "Response", status: error.status };
    const { code, name } = Object(error) as { code?: unknown; name?: unknown };
    const kind = [code, name].find((word) => typeof word === "string" && word !== "");
    const text = kind === undefined ? typeof error : kind as string;
    return {
      kind: inLine(text.slice(0, MAX_KIND)).slice(0, MAX_KIND).toWellFormed(),
      status: null,
    };
  } catch {
    // The value may be anything, with a getter that throws.
    return { kind: "unknown", status: null };
  }
}

/**
 * Returns the delay that the upstream asks for, in ms: `Retry-After` in seconds or as an HTTP date
 * (RFC 9110, section 10.2.3). Returns 0 if the header is missing or invalid.
 */
export function retryAfterOf(result: unknown, now: number): number {
  const header = headerOf(result);
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  // A date, not one of the many other texts that `Date.parse` accepts; always in GMT.
  if (!HTTP_DATE.test(header)) return 0;
  const date = Date.parse(header.endsWith("GMT") ? header : `${header} GMT`);
  return Number.isNaN(date) ? 0 : Math.max(0, date - now);
}

function headerOf(result: unknown): string {
  try {
    return isResponse(result) ? result.headers.get("retry-after")?.trim() ?? "" : "";
  } catch {
    // Only the platform's own classes are known to have headers.
    return "";
  }
}

/** The three forms of RFC 9110, section 5.6.7, in the order it gives them. */
const HTTP_DATE =
  /^(\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT|\w{6,9}, \d\d-\w{3}-\d\d [\d:]{8} GMT|\w{3} \w{3} [ \d]\d [\d:]{8} \d{4})$/;

/** Cancels the body of a Response that nobody will read: an unread body holds a connection. */
export function discard(value: unknown): void {
  if (!isResponse(value) || value.bodyUsed) return;
  // A stream of Node's, in a Response of node-fetch.
  const body = value.body as ReadableStream & { destroy?(): void } | null;
  if (body?.destroy !== undefined) body.destroy();
  else if (!body?.locked) body?.cancel().catch(() => {});
}
