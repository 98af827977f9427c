/**
 * Calls with a limit of a fifth of a second, which end at once or in the next turn of the event loop.
 *
 * @module
 */
import { createFuse } from "@fuse/edge";
import { timeout, TimeoutStrategy, wrap } from "cockatiel";
import { setImmediate } from "node:timers";
import { type Family, NAMES, type Peers } from "./family.ts";
import { callAtOnce, type Candidate } from "./harness.ts";
import { cockatielConsecutive } from "./peer_cockatiel.ts";
import { opossum } from "./peer_opossum.ts";
import { stdBreaker } from "./peer_std.ts";
import { consecutive } from "./policies.ts";

/** The forms of the calls. */
export const WAYS = {
  "one after the other, each ends at once": { callers: 1, fn: () => Promise.resolve(RESULT) },
  "one after the other, each ends in the next turn": { callers: 1, fn: inNextTurn },
  "64 at once, each ends in the next turn": { callers: 64, fn: inNextTurn },
} as const;

/** A form. */
export type Way = keyof typeof WAYS;

/** The name of a family. */
export function timeoutFamily(way: Way): string {
  return `timeout: ${way}`;
}

/** The families by name. */
export const TIMEOUT_FAMILIES: Readonly<Record<string, Family>> = Object.fromEntries(
  (Object.keys(WAYS) as Way[]).map((way) => [
    timeoutFamily(way),
    (peers: Peers) => candidates(peers, WAYS[way]),
  ]),
);

const RESULT = { id: 42, name: "an order" };
const LIMIT_MS = 200;

function inNextTurn(): Promise<unknown> {
  return new Promise((resolve) => setImmediate(() => resolve(RESULT)));
}

function candidates(
  { std }: Peers,
  { callers, fn }: { readonly callers: number; readonly fn: () => Promise<unknown> },
): Candidate[] {
  const fuse = createFuse().make("api", { ...consecutive, callTimeoutMs: LIMIT_MS });
  const limited = wrap(cockatielConsecutive(), timeout(LIMIT_MS, TimeoutStrategy.Aggressive));
  const stds = std && stdBreaker(std);
  const lean = opossum(fn, "lean", LIMIT_MS);
  const repeat = (call: () => unknown): Candidate["run"] => (calls) =>
    callAtOnce(calls, callers, call);
  return [
    // The code of a user without a breaker, for a function that takes a signal.
    {
      name: NAMES.bare,
      leavesMs: LIMIT_MS,
      run: repeat(() => {
        AbortSignal.timeout(LIMIT_MS);
        return fn();
      }),
    },
    { name: NAMES.call, run: repeat(() => fuse.call(fn)) },
    { name: NAMES.tryCall, run: repeat(() => fuse.tryCall(fn)) },
    { name: NAMES.cockatiel, run: repeat(() => limited.execute(fn)) },
    // As its documentation says. The function must obey the signal: nothing else ends the call.
    ...stds === null ? [] : [{
      name: NAMES.std,
      leavesMs: LIMIT_MS,
      run: repeat(() => stds.execute(fn, { signal: AbortSignal.timeout(LIMIT_MS) })),
    }],
    { name: NAMES.opossum, run: repeat(() => lean.fire()) },
  ];
}
