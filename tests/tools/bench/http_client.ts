/**
 * A process that fetches, alternating between guarded and bare, limited and unlimited. Runs on Deno
 * and on Node: `http.ts` bundles and starts it.
 *
 * @module
 */
import process from "node:process";
import { createFuse } from "@fuse/edge";
import { timeout, TimeoutStrategy, wrap } from "cockatiel";
import { gc, rest, turn } from "./harness.ts";
import { cockatielConsecutive } from "./peer_cockatiel.ts";
import { consecutive } from "./policies.ts";

/** The work to do: the process's argument, as JSON. */
export interface HttpRequest {
  readonly url: string;
  readonly rounds: number;
  /** The number of requests of each candidate in a round. */
  readonly requests: number;
}

/** The results of a candidate, round by round: the process's last line has a list of them. */
export interface HttpMeasured {
  readonly name: string;
  readonly p50Us: readonly number[];
  readonly cpuUs: readonly number[];
  /** The results over all rounds. */
  readonly p99Us: number;
}

/** The candidates, each with the one to compare it with. */
export const HTTP = {
  "fetch": null,
  "fuse, breaker.fetch": "fetch",
  "fuse, call(() => fetch())": "fetch",
  "cockatiel": "fetch",
  "fetch, AbortSignal.timeout": null,
  "fuse, breaker.fetch, callTimeoutMs": "fetch, AbortSignal.timeout",
  "fuse, call(({ signal }) => …), callTimeoutMs": "fetch, AbortSignal.timeout",
  "cockatiel, timeout": "fetch, AbortSignal.timeout",
} as const;

const LIMIT_MS = 500;

/** Its timers fire long after the calls: their CPU time counts as its own, and not as that of others. */
const LEAVES_TIMERS: keyof typeof HTTP = "fetch, AbortSignal.timeout";

/** Fetches and reads the body. */
type Send = () => Promise<unknown>;

function candidates(url: string): Record<keyof typeof HTTP, Send> {
  const fuse = createFuse();
  const breaker = fuse.make("api", consecutive);
  const limited = fuse.make("limited", { ...consecutive, callTimeoutMs: LIMIT_MS });
  const cockatiel = cockatielConsecutive();
  const both = wrap(cockatielConsecutive(), timeout(LIMIT_MS, TimeoutStrategy.Aggressive));
  const text = async (response: Promise<Response>) => await (await response).text();
  return {
    "fetch": () => text(fetch(url)),
    "fuse, breaker.fetch": () => text(breaker.fetch(url)),
    "fuse, call(() => fetch())": () => text(breaker.call(() => fetch(url))),
    "cockatiel": () => text(cockatiel.execute(() => fetch(url))),
    "fetch, AbortSignal.timeout": () => text(fetch(url, { signal: AbortSignal.timeout(LIMIT_MS) })),
    "fuse, breaker.fetch, callTimeoutMs": () => text(limited.fetch(url)),
    "fuse, call(({ signal }) => …), callTimeoutMs": () =>
      text(limited.call(({ signal }) => fetch(url, { signal }))),
    // Within the call, at the end of which cockatiel aborts the signal.
    "cockatiel, timeout": () => both.execute(({ signal }) => text(fetch(url, { signal }))),
  };
}

/** Fetches as the process's argument says, and prints the results. */
export async function fetchByTurns(): Promise<never> {
  const { url, rounds, requests }: HttpRequest = JSON.parse(process.argv[2]!);
  const all = Object.entries(candidates(url)).map(([name, send]) => ({
    name,
    send,
    leavesMs: name === LEAVES_TIMERS ? LIMIT_MS : undefined,
    took: [] as number[],
    p50Us: [] as number[],
    cpuUs: [] as number[],
  }));
  for (const { send, leavesMs } of all) {
    await batch(send, 3 * requests);
    await rest(leavesMs);
  }
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < all.length; i++) {
      const { send, leavesMs, took, p50Us, cpuUs } = all[(round + i) % all.length]!;
      await turn();
      gc({ type: "minor" });
      const before = process.cpuUsage();
      const sorted = await batch(send, requests);
      const { user, system } = process.cpuUsage(before);
      cpuUs.push((user + system) / requests + await rest(leavesMs) * 1_000 / requests);
      p50Us.push(sorted[requests >> 1]!);
      took.push(...sorted);
    }
  }
  const measured = all.map(({ name, took, p50Us, cpuUs }): HttpMeasured => {
    took.sort((a, b) => a - b);
    return { name, p50Us, cpuUs, p99Us: took[Math.ceil(0.99 * took.length) - 1]! };
  });
  console.log(JSON.stringify(measured));
  process.exit();
}

/** Returns the time of each, in µs, the shortest first. */
async function batch(send: Send, requests: number): Promise<number[]> {
  const took: number[] = [];
  for (let i = 0; i < requests; i++) {
    const began = performance.now();
    await send();
    took.push((performance.now() - began) * 1_000);
  }
  return took.sort((a, b) => a - b);
}
