/**
 * Custom strategies: functions of the counts that decide when a circuit opens. They are pure and
 * quick, because they run after each outcome, and the same on every store.
 *
 *     deno run -A examples/custom-strategy.ts
 */

import { type CircuitBreaker, createFuse, type Strategy, type StrategyMetrics } from "@fuse/edge";

/**
 * Opens after a number of failures within the window, if they are at least a tenth of the calls. A
 * count alone opens busy circuits too easily, a share alone quiet ones.
 */
const failuresAndShare: Strategy = ({ window }, policy) =>
  window.failures >= policy.failureThreshold && window.failures * 10 >= window.calls;

// By name: any circuit may use it. The name is the reason in events, errors and the trail.
const fuse = createFuse({
  strategies: { failures_and_share: failuresAndShare },
  defaults: { strategy: "failures_and_share", failureThreshold: 5, windowMs: 60_000 },
});
fuse.on("opened", ({ name, reason, snapshot: { metrics: { window } } }) => {
  console.log(`${name} opened by ${reason}: ${window.failures} of ${window.calls} calls failed`);
});

const quiet = fuse.make("quiet");
await run(quiet, "FSFFSF"); // four failures are not five
console.log(`quiet: ${await quiet.getState()}`);
await run(quiet, "F");

const busy = fuse.make("busy");
await run(busy, "S".repeat(95) + "FFFFF"); // five failures are not every tenth call
console.log(`busy: ${await busy.getState()}`);
await run(busy, "FFFFFF");

// Inline, for one circuit, beside another strategy: a list opens when any of its members does.
const search = fuse.make("search", {
  strategy: ["consecutive_failures", mostlyUseless],
  slowCallMs: 1, // as a stand-in for a real limit
});
await run(search, "WWWWWWWWWW");

/** Opens after ten calls if two of three were slow or failed. A slow failure counts as both. */
function mostlyUseless({ window }: StrategyMetrics): boolean {
  return window.calls >= 10 && (window.failures + window.slow) * 3 >= window.calls * 2;
}

/** Plays calls that succeed (S), fail (F), or succeed after a wait (W). */
async function run(breaker: CircuitBreaker, outcomes: string): Promise<void> {
  for (const outcome of outcomes) {
    await breaker.tryCall(async () => {
      if (outcome === "F") throw new Error("failed");
      if (outcome === "W") await new Promise((resolve) => setTimeout(resolve, 5));
    });
  }
}
