/** How the upstream spends one pass of the demo, as data. */

import type { CircuitPolicy } from "@fuse/edge";

/** What the upstream does with each request. */
export type Behavior =
  /** Answers 200 after a delay; the delays take turns. */
  | { readonly kind: "answer"; readonly delaysMs: readonly number[] }
  /** Answers 503 at once, with `Retry-After`. */
  | { readonly kind: "unavailable"; readonly retryAfterS: number }
  /** Does not listen: connects are refused. */
  | { readonly kind: "refuse" }
  /** Takes the request, then resets the connection. */
  | { readonly kind: "reset" };

/** A stretch of the timetable. */
export interface Phase {
  readonly name: string;
  readonly lastsMs: number;
  /** A request sent now has no good answer to hope for. */
  readonly dead: boolean;
  readonly behavior: Behavior;
}

/** One pass: what the upstream does, what the circuit tolerates, what the clients do. */
export interface Scenario {
  readonly phases: readonly [Phase, ...Phase[]];
  readonly policy: CircuitPolicy;
  readonly load: {
    readonly requestsPerSecond: number;
    readonly lastsMs: number;
    /** When a client gives up. */
    readonly timeoutMs: number;
  };
}

/** How long a pass takes unless told otherwise. */
export const PASS_SECONDS = 20;

/** The scenario, stretched or squeezed to passes of `seconds`. */
export function scenario(seconds: number): Scenario {
  const scale = seconds / PASS_SECONDS;
  const ms = (at20Seconds: number) => Math.round(at20Seconds * scale);
  const retryAfterS = Math.max(1, Math.round(2 * scale)); // HTTP knows whole seconds only
  const fast: Behavior = { kind: "answer", delaysMs: [5, 10, 20] };
  const slow: Behavior = { kind: "answer", delaysMs: [350, 1200, 450, 1500].map(ms) };

  return {
    phases: [
      { name: "healthy", lastsMs: ms(3000), dead: false, behavior: fast },
      { name: "slow", lastsMs: ms(4000), dead: true, behavior: slow },
      {
        name: "unavailable",
        lastsMs: ms(4000),
        dead: true,
        behavior: { kind: "unavailable", retryAfterS },
      },
      { name: "refusing", lastsMs: ms(2000), dead: true, behavior: { kind: "refuse" } },
      { name: "resetting", lastsMs: ms(2000), dead: true, behavior: { kind: "reset" } },
      { name: "recovered", lastsMs: ms(5000), dead: false, behavior: fast },
    ],
    policy: {
      // Slow answers are no failures, and fast failures are not slow: it takes both to see this one fall.
      strategy: ["consecutive_failures", "slow_calls"],
      callTimeoutMs: ms(500),
      slowCallMs: ms(250),
      windowMs: ms(1000),
      cooldownMs: ms(1000),
    },
    load: { requestsPerSecond: 50, lastsMs: ms(20_000), timeoutMs: ms(1000) },
  };
}
