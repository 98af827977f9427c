/**
 * Lets a call count when the body of its Response has ended (rule 22): `settle: "body"`.
 *
 * A body is passed on chunk by chunk, as its reader reads. Nothing is copied or read ahead.
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
  /** The caller's signal. */
  readonly signal: AbortSignal | undefined;
  /** Judges an error of the stream, for which a read has waited this long. */
  judge(error: unknown, waitedMs: number): Kind;
  /** Records how the call ended. Never rejects. */
  settle(grant: Grant, kind: Kind, error?: unknown): Promise<void> | void;
}

/** A call whose body has not been read yet. Holds neither the body nor a promise. */
interface Unread {
  /** The time after which the call counts as neutral, on the Fuse's clock, in ms. */
  readonly until: number;
  readonly expire: () => void;
}

/** Oldest first. */
const unread = new WeakMap<Circuit, Set<Unread>>();

/** Ends the calls whose bodies were not read within `halfOpenLeaseMs`. They count as neutral. */
export function expireUnread(circuit: Circuit): void {
  const now = circuit.store.clock();
  for (const { until, expire } of unread.get(circuit) ?? []) {
    if (now < until) break;
    expire();
  }
}

/**
 * Returns a Response in place of the given one that ends the call when its body ends, or `null` if
 * there is no body to wait for.
 */
export function watchBody(value: unknown, call: BodyCall): Response | null {
  if (!isResponse(value) || !hasBody(value)) return null;
  const stream = new ReadableStream(sourceOf(value, call), { highWaterMark: 0 });
  return dress(new Response(stream, value), value);
}

function hasBody({ body, bodyUsed, status, headers }: Response): boolean {
  // The body of node-fetch is a stream of Node's. No constructor accepts statuses outside of this range.
  return hasBrand(body, "ReadableStream") && !bodyUsed && !body!.locked &&
    status >= 200 && status < 600 && ![204, 205, 304].includes(status) &&
    headers.get("content-length") !== "0";
}

/** Returns the body as the source of another stream. */
function sourceOf(response: Response, call: BodyCall): UnderlyingDefaultSource<Uint8Array> {
  const { circuit: { identity, policy, store: { clock } }, signal } = call;
  const { idleTimeoutMs, firstByteTimeoutMs } = policy;
  const ending = endingOf(call);
  // Locks the body only when it is read: platforms cancel the unlocked body of a Response that was
  // garbage-collected.
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  let isFirst = true;
  return {
    // A byte stream transfers the buffers of its chunks. Those of any other stream may have an owner.
    type: isByteStream(response.body!) ? "bytes" as never : undefined,
    ...lengthOf(response),
    async pull(controller) {
      ending.read();
      reader ??= response.body!.getReader();
      const since = clock();
      const ms = isFirst ? firstByteTimeoutMs ?? idleTimeoutMs : idleTimeoutMs;
      let chunk: ReadableStreamReadResult<Uint8Array>;
      try {
        const late = () => new BodyTimeoutError(identity, ms!, isFirst);
        const read = () => reader!.read();
        // When a client disconnects, a Worker runs the listeners of the signal, and nothing else.
        chunk = await (ms === undefined && signal === undefined
          ? read()
          : outrun(read, signal, ms, late));
      } catch (error) {
        await ending.end(call.judge(error, clock() - since), error);
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
      // A reader with a buffer of its own waits for an answer to it.
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
  // The store ends the lease itself.
  const expire = () => void end("neutral", undefined, { ...grant, lease: null, alone: null });
  const entry = { until: begun + halfOpenLeaseMs, expire };
  waiting.add(entry);
  const read = () => void waiting.delete(entry);
  return { end, flow, read };
}

/**
 * Workers learn the length of a body from this header alone, and truncate a body of another length.
 * Code that builds a Response may copy a header that does not fit the new body, and a decoded body
 * has another length, too.
 */
function lengthOf({ url, headers }: Response): { expectedLength?: number } {
  const length = headers.get("content-length") ?? "";
  const isTold = url !== "" && /^\d+$/.test(length) && !headers.has("content-encoding");
  return isTold ? { expectedLength: Number(length) } : {};
}

function isByteStream(body: ReadableStream): boolean {
  try {
    body.getReader({ mode: "byob" }).releaseLock();
    return true;
  } catch {
    return false;
  }
}

/** Sets the properties that no constructor accepts, on a Response and its copies. */
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
