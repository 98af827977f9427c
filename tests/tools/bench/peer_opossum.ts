/**
 * Opossum, configured like ours.
 *
 * @module
 */
import Opossum from "opossum";
import { HOUR_MS, WINDOW_MS } from "./policies.ts";

/** The part of opossum that is used; it ships no types. */
export interface OpossumBreaker {
  fire(): Promise<unknown>;
  open(): void;
  shutdown(): void;
  readonly opened: boolean;
}

/**
 * Opossum, half of the last ten seconds. It has no other strategy. `lean` switches off features
 * that ours lacks: latency percentiles, and a snapshot a second.
 */
export function opossum(
  action: () => Promise<unknown>,
  statistics: "default" | "lean",
  timeoutMs: number | false = false,
): OpossumBreaker {
  return new Opossum(action, {
    timeout: timeoutMs,
    resetTimeout: HOUR_MS,
    errorThresholdPercentage: 50,
    volumeThreshold: 10,
    rollingCountTimeout: WINDOW_MS,
    rollingCountBuckets: 10,
    ...(statistics === "lean" ? { rollingPercentilesEnabled: false, enableSnapshots: false } : {}),
  });
}
