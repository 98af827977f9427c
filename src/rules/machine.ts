/**
 * The state machine: returns what is due, as a pure function of a Snapshot and a policy. Stores
 * apply it, by compare-and-set; no other code decides.
 *
 * @module
 */

import { answerOf, received } from "../checks.ts";
import { cooldownBy } from "./backoff.ts";
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
 * Returns the transition that is due, or `null`. Call it after a `record` that was current and, in
 * HALF_OPEN, after an `acquire`; never after a `read`, because ageing alone trips nothing.
 */
export function verdict(s: Snapshot, policy: CircuitPolicyData): Verdict | null {
  if (s.override !== null || policy.silent) return null;
  switch (s.state) {
    case "CLOSED": {
      const reason = tripping(s, policy);
      return reason === null ? null : { to: "OPEN", event: "opened", reason };
    }
    case "HALF_OPEN":
      // Only trials of this generation count: the strategies judge CLOSED.
      if (s.halfOpen.failures >= policy.halfOpenFailureThreshold) return REOPEN;
      return s.halfOpen.successes >= policy.successThreshold ? CLOSE : null;
    case "OPEN":
      // Only time ends it, through `acquire`.
      return null;
  }
}

/** Returns the first strategy that would open a CLOSED circuit with these counters, or `null`. */
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

/**
 * Returns how far ahead an `openUntil` can be, in ms. One further ahead was written before the
 * clock was set back.
 */
function farthest(cooldownMs: number): number {
  return cooldownMs + Math.max(cooldownMs, 60_000);
}

/**
 * Returns how long a circuit that opens now stays open, in ms.
 *
 * @param retryAfterMs The delay that the upstream asks for, in ms; 0 if it does not.
 * @param report Receives the error of a user's `cooldownMs` that throws or returns no positive
 * number: it is then 60 000.
 * @param random Draws the jitter of `backoff()`.
 */
export function cooldownOf(
  s: Snapshot,
  { cooldownMs, maxCooldownMs }: CircuitPolicyData,
  retryAfterMs: number,
  report: (error: unknown) => void,
  random: () => number,
): number {
  let ms = cooldownMs;
  if (typeof ms === "function") {
    try {
      const reopened = s.state === "HALF_OPEN" ? s.reopenCount + 1 : 0;
      ms = answerOf("cooldownMs", cooldownBy(random, ms, reopened));
      if (!(Number.isFinite(ms) && ms > 0)) {
        throw new RangeError(
          `"cooldownMs" must return a positive number, it returned ${received(ms)}`,
        );
      }
    } catch (error) {
      report(error);
      ms = 60_000;
    }
  }
  return Math.min(maxCooldownMs, Math.max(Math.ceil(ms), retryAfterMs));
}

/** Returns `true` if a circuit rejects all calls: forced open, or OPEN during its cooldown. */
export function isShut(s: Snapshot, now: number): boolean {
  if (s.override !== null) return s.override.kind === "forced_open";
  return s.state === "OPEN" && !cooldownPassed(s, now);
}

/** The reason of a rejection beside the trials. */
export const TRIALS_IN_FLIGHT = "trials_in_flight";

/** Returns the reason of a rejection; `null` or `""` if there is none. */
export function reasonOf({ override, state, reason }: Snapshot): string | null {
  if (override !== null) return override.reason;
  return state === "HALF_OPEN" ? TRIALS_IN_FLIGHT : state === "CLOSED" ? "ramp" : reason;
}

/**
 * Returns the share of calls that a CLOSED circuit admits, from 0 to 1: it grows over `rampMs` from
 * when the circuit closed. A clock that was set back ends the ramp.
 */
export function ramp(
  closedAt: number,
  now: number,
  { rampMs, rampFromPercentage }: CircuitPolicyData,
): number {
  const passed = (now - closedAt) / rampMs!;
  const from = rampFromPercentage / 100;
  return passed >= 0 && passed < 1 ? from + (1 - from) * passed : 1;
}

/**
 * Returns how long a rejected call should wait, in ms: OPEN, the rest of the cooldown; HALF_OPEN,
 * until a slot may become free, but at most `revalidateMs`, as a trial takes less than its lease;
 * during a ramp, until it ends, but at most `revalidateMs`, so that calls do not return all at
 * once; forced open, until the override ends, else `cooldownMs`. At least 1.
 */
export function retryAfter(s: Snapshot, now: number, policy: CircuitPolicyData): number {
  const { override } = s;
  let until: number;
  if (override !== null) until = override.until ?? now + policy.baseCooldownMs;
  else if (s.state === "OPEN") until = s.openUntil ?? now;
  else {
    const ends = s.state === "CLOSED"
      ? (s.closedAt ?? now) + (policy.rampMs ?? 0)
      : s.halfOpen.freeAt;
    until = Math.min(ends ?? now, now + policy.revalidateMs);
  }
  return Math.max(1, Math.ceil(until - now));
}
