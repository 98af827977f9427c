import { setTimeout as delay } from "node:timers/promises";

/**
 * The end of a request for the client that sent it: an answer of the upstream (`fresh`), the last
 * good one (`stale`), or anything else (`error`).
 */
export type Ending = "fresh" | "stale" | "error";

/** A request from the view of its client. */
export interface Sample {
  readonly ending: Ending;
  /** When it was due, on the clock of `performance.now()`. */
  readonly dueAt: number;
  /** The time from when it was due until its end. */
  readonly latencyMs: number;
}

/** The load to put on a URL. */
export interface LoadOptions {
  readonly requestsPerSecond: number;
  readonly lastsMs: number;
  /** The time after which a client gives up. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly onSample: (sample: Sample) => void;
}

/**
 * Sends requests at a steady rate, whatever their outcome: real clients do not wait for each other,
 * so slow answers must not reduce the load. Resolves when the last request has ended.
 */
export async function load(url: string, options: LoadOptions): Promise<void> {
  const { requestsPerSecond, lastsMs, timeoutMs, signal, onSample } = options;
  const count = Math.round(requestsPerSecond * lastsMs / 1000);
  const start = performance.now();
  const requests: Promise<void>[] = [];

  for (let i = 0; i < count; i++) {
    const dueAt = start + i * 1000 / requestsPerSecond;
    const early = dueAt - performance.now();
    if (early > 0) await delay(early, undefined, { signal });
    requests.push(
      ask(`${url}/${itemOf(i)}`, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])).then(
        (ending) => onSample({ ending, dueAt, latencyMs: performance.now() - dueAt }),
      ),
    );
  }
  await Promise.all(requests);
}

/** Nine of ten requests are for popular items, the tenth is for a new one. */
function itemOf(i: number): string {
  return i % 10 === 9 ? `rare-${crypto.randomUUID()}` : `popular-${i % 10}`;
}

async function ask(url: string, signal: AbortSignal): Promise<Ending> {
  try {
    const response = await fetch(url, { signal });
    await response.arrayBuffer(); // an answer has arrived when its body has
    if (!response.ok) return "error";
    return response.headers.has("age") ? "stale" : "fresh";
  } catch {
    return "error";
  }
}
