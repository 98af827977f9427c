/**
 * Responses whose call counts when their body has ended (rule 22): `settle: "body"`.
 *
 * A body is handed on chunk by chunk, as it is asked for: nothing is copied, and nothing is read ahead.
 *
 * @module
 */

import { outrun } from "./call_scope.ts";
import { hasBrand } from "./checks.ts";
import { type Circuit, type Grant, UNCOUNTED } from "./circuit.ts";
import { BodyTimeoutError, isResponse } from "./errors.ts";
import { isTrial } from "./nesting.ts";
import type { Kind } from "./rules/outcome.ts";

/** The call that a body belongs to. */
export interface BodyCall {
  readonly circuit: Circuit;
  readonly grant: Grant;
  /** The caller's. */
  readonly signal: AbortSignal | undefined;
  /** Judges an error of the stream. */
  judge(error: unknown): Kind;
  /** Records how the call ended. Never rejects. */
  settle(grant: Grant, kind: Kind, error?: unknown): Promise<void> | void;
}

/** A call whose body nobody has begun to read. Holds neither the body nor a promise. */
interface Unread {
  /** When the call counts as nothing, on the Fuse's clock, in ms. */
  readonly until: number;
  readonly expire: () => void;
}

/** Oldest first. */
const unread = new WeakMap<Circuit, Set<Unread>>();

/** Ends the calls whose bodies nobody has begun to read within `halfOpenLeaseMs`: they count as nothing. */
export function expireUnread(circuit: Circuit): void {
  const now = circuit.store.clock();
  for (const { until, expire } of unread.get(circuit) ?? []) {
    if (now < until) break;
    expire();
  }
}

/**
 * Returns a Response in place of the given one that ends the call when its body ends, or `null` if there
 * is no body to wait for.
 */
export function watchBody(value: unknown, call: BodyCall): Response | null {
  if (!isResponse(value) || !hasBody(value)) return null;
  const stream = new ReadableStream(sourceOf(value, call), { highWaterMark: 0 });
  return dress(new Response(stream, value), value);
}

function hasBody({ body, bodyUsed, status, headers }: Response): boolean {
  // That of node-fetch is a stream of Node's. A Response of another status cannot be built anew.
  return hasBrand(body, "ReadableStream") && !bodyUsed && !body!.locked &&
    status >= 200 && status < 600 && ![204, 205, 304].includes(status) &&
    headers.get("content-length") !== "0";
}

/** Returns the body as the source of another stream. */
function sourceOf(response: Response, call: BodyCall): UnderlyingDefaultSource<Uint8Array> {
  const { circuit: { identity, policy }, signal } = call;
  const { idleTimeoutMs, firstByteTimeoutMs } = policy;
  const { headers } = response;
  const length = headers.get("content-length");
  const ending = endingOf(call);
  // Not before somebody reads: platforms cancel the body of a Response that is held no longer, unless
  // the body is locked.
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  let isFirst = true;
  return {
    // The chunks of any other stream may belong to somebody, and those of a byte stream change hands.
    type: isByteStream(response.body!) ? "bytes" as never : undefined,
    // Workers tell the length of a body by this alone. What they have decoded has another length.
    ...(length !== null && !headers.has("content-encoding") && { expectedLength: Number(length) }),
    async pull(controller) {
      ending.read();
      reader ??= response.body!.getReader();
      const ms = isFirst ? firstByteTimeoutMs ?? idleTimeoutMs : idleTimeoutMs;
      let chunk: ReadableStreamReadResult<Uint8Array>;
      try {
        const late = () => new BodyTimeoutError(identity, ms!, isFirst);
        const read = () => reader!.read();
        // A Worker whose client leaves runs what the signal calls, and no more.
        chunk = await (ms === undefined && signal === undefined
          ? read()
          : outrun(read, signal, ms, late));
      } catch (error) {
        await ending.end(call.judge(error), error);
        reader.cancel(error).catch(() => {});
        throw error;
      }
      isFirst = false;
      if (!chunk.done) {
        await ending.flow();
        return controller.enqueue(chunk.value);
      }
      await ending.end("success");
      controller.close();
      // A reader that brings its own buffer waits for it.
      (controller as unknown as ReadableByteStreamController).byobRequest?.respond(0);
    },
    async cancel(reason) {
      const ended = ending.end("neutral");
      await (reader ?? response.body!).cancel(reason);
      await ended;
    },
  };
}

/** Ends the call once, and a trial that flows before its body has ended. */
function endingOf({ circuit, grant, settle }: BodyCall) {
  const { clock } = circuit.store;
  const { halfOpenLeaseMs } = circuit.policy;
  const begun = clock();
  let over = false;
  let flowed = false;
  const end = (kind: Kind, error?: unknown, under = grant) => {
    read();
    if (over) return;
    over = true;
    if (!flowed) return settle(under, kind, error);
    if (kind === "failure") return settle(UNCOUNTED, kind, error);
  };
  const flow = () => {
    if (over || flowed || !isTrial(grant) || clock() - begun < halfOpenLeaseMs / 2) return;
    flowed = true;
    return settle(grant, "success");
  };

  const waiting = unread.get(circuit) ?? new Set();
  unread.set(circuit, waiting);
  // A store ends the lease by itself.
  const expire = () => void end("neutral", undefined, { ...grant, lease: null, alone: null });
  const entry = { until: begun + halfOpenLeaseMs, expire };
  waiting.add(entry);
  const read = () => void waiting.delete(entry);
  return { end, flow, read };
}

function isByteStream(body: ReadableStream): boolean {
  try {
    body.getReader({ mode: "byob" }).releaseLock();
    return true;
  } catch {
    return false;
  }
}

/** Gives a Response, and copies of it, what no constructor takes. */
function dress(response: Response, original: Response): Response {
  const { url, redirected, type } = original;
  const clone = response.clone.bind(response);
  return Object.defineProperties(response, {
    url: { value: url },
    redirected: { value: redirected },
    type: { value: type },
    clone: { value: () => dress(clone(), original) },
  });
}
