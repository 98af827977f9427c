/**
 * Builds requests to a driver, with defaults for every field that a check does not set.
 *
 * @module
 */
import type { AcquireRequest, OverrideRequest, Tally, TransitionRequest } from "@fuse/edge/store";

export const SHAPE = { windowMs: 120_000, windowSize: 0 };

export function request() {
  return { id: crypto.randomUUID(), at: Date.now(), shape: SHAPE };
}

export function tally(parts: Partial<Tally> = {}): Tally {
  return {
    ...request(),
    ...{ epoch: "", generation: 0, began: 0, successes: 0, failures: 0, rejected: 0, slow: 0 },
    ...{ ageMs: 0, lease: null, policyHash: "", ...parts },
  };
}

export function opening(cooldownMs: number): TransitionRequest {
  return {
    ...request(),
    ...{ to: "OPEN", event: "opened", cooldownMs, reason: "live", actor: null, expected: null },
  };
}

export function closing(): TransitionRequest {
  return { ...opening(0), to: "CLOSED", event: "reset" };
}

export function trying(): AcquireRequest {
  const { id, ...rest } = request();
  return { id, ...rest, token: id, max: 1, leaseMs: 30_000 };
}

export function laying(kind: OverrideRequest["kind"], until: number | null): OverrideRequest {
  return { ...request(), kind, until, reason: "live", actor: "live" };
}
