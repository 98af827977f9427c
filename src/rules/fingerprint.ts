/**
 * Fingerprints of policies, by which isolates detect that theirs differ.
 *
 * @module
 */

/** The options that decide when a circuit opens, closes and admits trials. Isolates should agree. */
export const FINGERPRINTED = [
  "strategy",
  "cooldownMs",
  "failureThreshold",
  "successThreshold",
  "maxCooldownMs",
  "windowMs",
  "windowSize",
  "minimumThroughput",
  "percentageThreshold",
  "slowCallMs",
  "callTimeoutMs",
  "abandonedAfterMs",
  "halfOpenMaxConcurrent",
  "halfOpenLeaseMs",
  "settle",
  "idleTimeoutMs",
  "firstByteTimeoutMs",
  "halfOpenFailureThreshold",
  "rampMs",
  "rampFromPercentage",
] as const;

/** Returns two characters for each option that is compared. */
export function fingerprintOf(data: Readonly<Record<string, unknown>>): string {
  return FINGERPRINTED.map((option) => fingerprint(data[option])).join("");
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
  return FINGERPRINTED.filter((_, i) => a.slice(2 * i, 2 * i + 2) !== b.slice(2 * i, 2 * i + 2));
}
