import { setTimeout as delay } from "node:timers/promises";

/**
 * How a request ended for the client that sent it: `answered` by the upstream with a status below
 * 500, `rejected` by the open circuit, `failed` in any other way.
 */
export type Ending = "answered" | "rejected" | "failed";

/** One request as its client saw it. */
export interface Sample {
  readonly ending: Ending;
  /** From the moment the request was due until its end. */
  readonly latencyMs: number;
}

/** The load to put on a URL. */
export interface LoadOptions {
  readonly requestsPerSecond: number;
  readonly lastsMs: number;
  /** When a client gives up. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly onSample: (sample: Sample) => void;
}

/**
 * Sends requests at a steady rate, whatever becomes of them: real clients do not wait for each
 * other, so slow answers must not thin out the load. Resolves when the last one has ended.
 */
export async function load(url: string, options: LoadOptions): Promise<void> {
  const { requestsPerSecond, lastsMs, timeoutMs, signal, onSample } = options;
  const count = Math.round(requestsPerSecond * lastsMs / 1000);
  const start = performance.now();
  const requests: Promise<void>[] = [];

  for (let i = 0; i < count; i++) {
    const due = start + i * 1000 / requestsPerSecond;
    const early = due - performance.now();
    if (early > 0) await delay(early, undefined, { signal });
    requests.push(
      ask(url, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])).then((ending) =>
        onSample({ ending, latencyMs: performance.now() - due })
      ),
    );
  }
  await Promise.all(requests);
}

async function ask(url: string, signal: AbortSignal): Promise<Ending> {
  try {
    const response = await fetch(url, { signal });
    await response.arrayBuffer(); // an answer has arrived when its body has
    if (response.status < 500) return "answered";
    // Fuse says no in problem+json, which this upstream does not speak.
    const byFuse = response.headers.get("content-type")?.startsWith("application/problem+json");
    return byFuse ? "rejected" : "failed";
  } catch {
    return "failed";
  }
}
