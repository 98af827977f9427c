import type { Ending, Sample } from "./load.ts";
import type { PassResult } from "./pass.ts";

/** Service is normal from the first stretch of this length on ... */
const NORMAL_MS = 1000;
/** ... in which this share of the requests is answered fresh. */
const NORMAL_SHARE = 0.95;

/** Returns the two passes side by side, as text. */
export function report(without: PassResult, withFuse: PassResult): string {
  const row = (label: string, figure: (pass: PassResult) => string | number) =>
    label.padEnd(38) + [without, withFuse].map((p) => String(figure(p)).padStart(20)).join("");
  const rule = "-".repeat(78);

  return [
    rule,
    `${"".padEnd(38)}${"without Fuse".padStart(20)}${"with Fuse".padStart(20)}`,
    rule,
    row("requests", ({ samples }) => samples.length),
    row("  answered fresh", (pass) => count(pass, "fresh")),
    row("  answered stale", (pass) => count(pass, "stale")),
    row("  errors", (pass) => count(pass, "error")),
    row("p50 latency", (pass) => `${percentile(pass, 50)} ms`),
    row("p99 latency", (pass) => `${percentile(pass, 99)} ms`),
    row("sent to the dead upstream", (pass) => sentDuringFault(pass) + sentAfterFault(pass)),
    row("  during its fault", sentDuringFault),
    row("  after it, until normal service", sentAfterFault),
    row("jobs done for nobody", ({ traffic }) => traffic.doneForNobody),
    row("normal service after the fault", (pass) => {
      const afterMs = normalAfterMs(pass);
      return afterMs === undefined ? "not within the run" : `${(afterMs / 1000).toFixed(1)} s`;
    }),
    rule,
    "fresh: answered by the upstream. stale: the last good answer, where there is one.",
    "errors: anything else. Latency: of all requests, from when they were due to their",
    "end. Sent: requests of the app to the upstream, retries included. For nobody:",
    "the app had given up by then. Normal: for one second, 95 % are answered fresh.",
  ].join("\n");
}

/**
 * Returns how long after the end of the fault service was normal again, in milliseconds, or `undefined`
 * if it was not before the load ended.
 */
export function normalAfterMs({ samples, faultEndedAt }: PassResult): number | undefined {
  const after = samples.filter(({ dueAt }) => dueAt >= faultEndedAt)
    .sort((a, b) => a.dueAt - b.dueAt);
  const last = after.at(-1)?.dueAt ?? 0;
  const begin = after.find(({ ending, dueAt }) =>
    ending === "fresh" && dueAt + NORMAL_MS <= last && isNormal(after, dueAt)
  );
  return begin && begin.dueAt - faultEndedAt;
}

function isNormal(samples: readonly Sample[], fromMs: number): boolean {
  const due = samples.filter(({ dueAt }) => dueAt >= fromMs && dueAt < fromMs + NORMAL_MS);
  return due.filter(({ ending }) => ending === "fresh").length >= due.length * NORMAL_SHARE;
}

function sentDuringFault({ traffic, faultBeganAt, faultEndedAt }: PassResult): number {
  return traffic.sentAt.filter((at) => at >= faultBeganAt && at < faultEndedAt).length;
}

function sentAfterFault(pass: PassResult): number {
  const { traffic, faultEndedAt } = pass;
  const normalAt = faultEndedAt + (normalAfterMs(pass) ?? Infinity);
  return traffic.sentAt.filter((at) => at >= faultEndedAt && at < normalAt).length;
}

function count({ samples }: PassResult, ending: Ending): number {
  return samples.filter((sample) => sample.ending === ending).length;
}

/** Returns the smallest latency that the given percentage of the requests does not exceed. */
function percentile({ samples }: PassResult, percentage: number): number {
  const latencies = samples.map((sample) => sample.latencyMs).sort((a, b) => a - b);
  return Math.round(latencies[Math.ceil(latencies.length * percentage / 100) - 1] ?? 0);
}
