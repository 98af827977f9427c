/**
 * Guarded fetch: the arguments and the result are those of `fetch`.
 *
 * @module
 */

import type { CallScope } from "./call_scope.ts";
import { hasBrand } from "./checks.ts";
import type { CallContext, CircuitBreaker, GuardedFetch } from "./circuit_breaker.ts";

/** Sends a request: the global `fetch`, or the one that a Fuse was given. */
export type Fetch = typeof globalThis.fetch;

/** The guarded fetches, any of which may have replaced the global one. */
const guarded = new WeakSet<object>();

/** The last global `fetch` that was not one of those. */
let platform: Fetch | undefined;

/** The global `fetch` of the last request: looking in `guarded` costs more than comparing. */
let latest: Fetch | undefined;

/** Returns the global `fetch`, or the function before a guarded one replaced it (rule 20). */
export function globalFetch(): Fetch {
  const { fetch } = globalThis;
  if (fetch !== latest) {
    latest = fetch;
    if (!guarded.has(fetch)) platform = fetch;
  }
  return platform ?? fetch;
}

/** Positive while a circuit asks its store, in this turn. */
let asking = 0;

/**
 * Notes that a store may be asked. Its requests must not be guarded by a circuit that asks it in turn.
 * Must be followed by `endAsking()` in the same turn.
 */
export function beginAsking(): void {
  asking++;
}

/** Notes that the store has been asked. */
export function endAsking(): void {
  asking--;
}

/** Returns a guarded fetch that may take the place of the global one. */
export function installable<F>(fetch: GuardedFetch<F>): GuardedFetch<F> {
  const own: GuardedFetch<F> = (input, init) =>
    asking > 0 && globalThis.fetch === own as unknown
      ? globalFetch()(input, init)
      : fetch(input, init);
  globalFetch();
  guarded.add(own);
  return own;
}

/**
 * Fetches through a breaker. The Response is returned whether it counts as a success or as a failure.
 * Invalid arguments reject, and count nothing (rule 9).
 *
 * @param own Replaces the global `fetch`. It gets exactly the caller's arguments, except that a
 * circuit with a timeout adds its signal.
 */
export function guardedFetch<F>(
  breaker: Pick<CircuitBreaker<F>, "call">,
  own: Fetch | undefined,
  input: string | URL | Request,
  init: RequestInit | undefined,
): Promise<Response | F> {
  const send = own ?? globalFetch();
  try {
    mustBeUnused(input, init);
    // A custom fetch may accept more than the platform's does.
    if (own === undefined) mustBeSendable(input, init);
  } catch (error) {
    return Promise.reject(error);
  }
  // As in `fetch` itself, an `init.signal` that is given, even as `null`, replaces the Request's.
  const given = init?.signal === undefined && isRequest(input) ? input : init;
  const caller = given?.signal ?? undefined;
  const sent = (context: CallContext) => {
    const signal = (context as CallScope).limit;
    // Requests of the user's function are guarded again.
    const outer = asking;
    asking = 0;
    try {
      if (signal === caller) return init === undefined ? send(input) : send(input, init);
      if (init === undefined) return send(input, { signal: signal! });
      // A Request in place of `init` has nothing to spread.
      if (isRequest(init)) return send(new Request(input, init), { signal: signal! });
      return send(input, { ...init, signal: signal! });
    } finally {
      asking = outer;
    }
  };
  beginAsking();
  try {
    return breaker.call(sent, caller && { signal: caller });
  } finally {
    endAsking();
  }
}

/** Returns the name of the circuit that guards a URL: its host, with the port; `""` if it has none. */
export function hostOf(input: string | URL | Request): string {
  return new URL(isRequest(input) ? input.url : input).host;
}

/** @throws {TypeError} If a body has been read, or sent by an earlier attempt. */
function mustBeUnused(input: string | URL | Request, init: RequestInit | undefined): void {
  const source = init?.body == null ? input : init;
  if (isRequest(source) && source.bodyUsed) {
    throw new TypeError("Cannot fetch: the body of the request has been used");
  }
}

/**
 * The scheme and the host of a URL, with the character after them: whatever follows it is valid. There are
 * no credentials, which Node refuses.
 */
const ORIGIN = /^https?:\/\/[^/?#@\\\s]+([/?#]|$)/i;

/** That of the last request, or `""`: parsing a URL takes longer than comparing its beginning. */
let origin = "";

function isUsualUrl(url: string): boolean {
  if (origin && url.startsWith(origin)) return true;
  const found = URL.canParse(url) ? ORIGIN.exec(url) : null;
  // A host at the end of its URL may be the beginning of another.
  origin = found?.[1] ? found[0] : "";
  return found !== null;
}

const USUAL_METHOD = /^(get|head|post|put|patch|delete|options)$/i;
const BODILESS = /^(get|head)$/i;
/** The options that are checked here. Platforms refuse some values of others, or the whole option. */
const USUAL_OPTIONS = "method headers body signal";

/**
 * Checks the arguments as the platform's Request does, which costs microseconds and is created only
 * for unusual ones.
 *
 * @throws {TypeError} The platform's, if it refuses the arguments.
 */
function mustBeSendable(input: string | URL | Request, init: RequestInit | undefined): void {
  if (init === undefined && typeof input === "string" && isUsualUrl(input)) return;
  const { url, method: standard } = isRequest(input) ? input : { url: input, method: "GET" };
  const { method = standard, headers, body: sent = null } = init ?? {};
  if (headers !== undefined && !hasBrand(headers, "Headers")) new Headers(headers);
  // Any other body is valid, and a Request would copy it or begin to read it.
  const body = BODILESS.test(method) || hasBrand(sent, "ReadableStream") ? sent : null;
  const isUsual = (url !== input || isUsualUrl(String(url))) && USUAL_METHOD.test(method) &&
    body === null && Object.keys(init ?? {}).every((option) => USUAL_OPTIONS.includes(option));
  // Without the signal, which would keep this Request alive.
  if (!isUsual) new Request(url, isRequest(init) ? init : { ...init, method, body, signal: null });
}

function isRequest(value: unknown): value is Request {
  return hasBrand(value, "Request");
}
