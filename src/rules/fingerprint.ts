/**
 * Fingerprints of policies, by which isolates detect that theirs differ.
 *
 * @module
 */

/**
 * The options that decide when a circuit opens, closes and admits trials, with their defaults. Isolates
 * should agree on them. In the order of a fingerprint, which isolates of other versions share.
 */
export const DECIDING = {
  strategy: "consecutive_failures",
  cooldownMs: 60_000,
  failureThreshold: 5,
  successThreshold: 2,
  maxCooldownMs: 600_000,
  windowMs: 120_000,
  windowSize: 100,
  minimumThroughput: 10,
  percentageThreshold: 50,
  slowCallMs: undefined,
  callTimeoutMs: undefined,
  abandonedAfterMs: undefined,
  halfOpenMaxConcurrent: 1,
  halfOpenLeaseMs: 30_000,
  settle: "headers",
  idleTimeoutMs: undefined,
  firstByteTimeoutMs: undefined,
  halfOpenFailureThreshold: 1,
  rampMs: undefined,
  rampFromPercentage: 10,
} as const;

const NAMES = Object.keys(DECIDING) as (keyof typeof DECIDING)[];

/** Returns two characters for each of {@linkcode DECIDING}. */
export function fingerprintOf(data: Readonly<Record<string, unknown>>): string {
  return NAMES.map((option) => fingerprint(data[option])).join("");
}

/** FNV-1a over the value as text, folded into two characters. Functions are not compared. */
function fingerprint(value: unknown): string {
  let hash = 0x811c9dc5;
  for (const c of typeof value === "function" ? "f" : String(value)) {
    hash = Math.imul(hash ^ c.codePointAt(0)!, 0x01000193) >>> 0;
  }
  return (hash % 1296).toString(36).padStart(2, "0");
}

/** Returns the options in which two fingerprints differ. */
export function differingOptions(a: string, b: string): string[] {
  return NAMES.filter((_, i) => a.slice(2 * i, 2 * i + 2) !== b.slice(2 * i, 2 * i + 2));
}
