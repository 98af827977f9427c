/**
 * The state machine: what is due, as a pure function of a Snapshot and a policy. Stores apply it,
 * by compare-and-set; nobody else decides.
 *
 * @module
 */

import { received } from "../checks.ts";
import type { CircuitPolicyData } from "./policy.ts";
import type { Snapshot } from "../contract.ts";

/** A transition that is due. */
export interface Verdict {
  readonly to: "CLOSED" | "OPEN";
  readonly event: "closed" | "opened";
  /** A strategy's name, `trial_failed` or `trials_succeeded`. */
  readonly reason: string;
}

const REOPEN: Verdict = { to: "OPEN", event: "opened", reason: "trial_failed" };
const CLOSE: Verdict = { to: "CLOSED", event: "closed", reason: "trials_succeeded" };

/**
 * The transition that is due, or `null`. Ask after a `record` that was current and, in HALF_OPEN,
 * after an `acquire`; never after a `read`, for ageing alone trips nothing.
 */
export function verdict(s: Snapshot, policy: CircuitPolicyData): Verdict | null {
  if (s.override !== null) return null;
  switch (s.state) {
    case "CLOSED": {
      const reason = tripping(s, policy);
      return reason === null ? null : { to: "OPEN", event: "opened", reason };
    }
    case "HALF_OPEN":
      // Only what this generation's trials did counts: the strategies judge CLOSED.
      if (s.halfOpen.failures > 0) return REOPEN;
      return s.halfOpen.successes >= policy.successThreshold ? CLOSE : null;
    case "OPEN":
      // Time leads out of it, through `acquire`.
      return null;
  }
}

/** The first strategy that would open a CLOSED circuit with these counters, or `null`. */
export function tripping(s: Snapshot, policy: CircuitPolicyData): string | null {
  const { rules } = policy;
  for (let i = 0; i < rules.length; i++) {
    if (rules[i]!.opens(s, policy)) return rules[i]!.name;
  }
  return null;
}

/** Returns `true` if an OPEN circuit's cooldown is over. */
export function cooldownPassed(
  { openUntil, cooldownMs }: Pick<Snapshot, "openUntil" | "cooldownMs">,
  now: number,
): boolean {
  return openUntil === null || now >= openUntil ||
    (cooldownMs !== null && openUntil - now > farthest(cooldownMs));
}

/** How far off an `openUntil` can be, in ms. One further off was written by a clock that went back. */
function farthest(cooldownMs: number): number {
  return cooldownMs + Math.max(cooldownMs, 60_000);
}

/**
 * Returns how long a circuit that opens now stays open, in ms.
 *
 * @param retryAfterMs How long the upstream asks to be left alone, in ms; 0 if it does not.
 * @param report Hears of a `cooldownMs` of the user's that throws or gives no positive number: it is then
 * 60 000.
 */
export function cooldownOf(
  s: Snapshot,
  { cooldownMs, maxCooldownMs }: CircuitPolicyData,
  retryAfterMs: number,
  report: (error: unknown) => void,
): number {
  let ms = cooldownMs;
  if (typeof ms === "function") {
    try {
      ms = ms(s.state === "HALF_OPEN" ? s.reopenCount + 1 : 0);
      if (!(Number.isFinite(ms) && ms > 0)) {
        throw new RangeError(`"cooldownMs" must give a positive number, it gave ${received(ms)}`);
      }
    } catch (error) {
      report(error);
      ms = 60_000;
    }
  }
  return Math.min(maxCooldownMs, Math.max(Math.ceil(ms), retryAfterMs));
}

/** Returns `true` if a circuit lets nobody through: forced open, or OPEN and its cooldown lasts. */
export function isShut(s: Snapshot, now: number): boolean {
  if (s.override !== null) return s.override.kind === "forced_open";
  return s.state === "OPEN" && !cooldownPassed(s, now);
}

/**
 * How long a rejected call should wait, in ms: OPEN, what is left of the cooldown; HALF_OPEN, until
 * a slot may free, but at most `revalidateMs`, as a trial takes less than its lease; forced open, until the override ends, else `cooldownMs`. At least 1.
 */
export function retryAfter(s: Snapshot, now: number, policy: CircuitPolicyData): number {
  const { override } = s;
  let until: number;
  if (override !== null) until = override.until ?? now + policy.baseCooldownMs;
  else if (s.state === "OPEN") until = s.openUntil ?? now;
  else until = Math.min(s.halfOpen.freeAt ?? now, now + policy.revalidateMs);
  return Math.max(1, Math.ceil(until - now));
}
