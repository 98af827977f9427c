import type { Ending } from "./load.ts";
import type { PassResult } from "./pass.ts";
import type { Phase } from "./timetable.ts";

/** The two passes side by side, as text. */
export function report(
  without: PassResult,
  withFuse: PassResult,
  phases: readonly Phase[],
): string {
  const row = (label: string, figure: (pass: PassResult) => string | number) =>
    label.padEnd(34) + [without, withFuse].map((p) => String(figure(p)).padStart(14)).join("");
  const rule = "-".repeat(62);
  const dead = phases.filter((phase) => phase.dead);

  return [
    rule,
    `${"".padEnd(34)}${"without Fuse".padStart(14)}${"with Fuse".padStart(14)}`,
    rule,
    row("requests", ({ samples }) => samples.length),
    row("  answered", (pass) => count(pass, "answered")),
    row("  rejected", (pass) => count(pass, "rejected")),
    row("  failed", (pass) => count(pass, "failed")),
    row("sent to the dead upstream", (pass) => sent(pass, dead)),
    ...dead.map((phase) => row(`  while it was ${phase.name}`, (pass) => sent(pass, [phase]))),
    row("reached the upstream at all", ({ traffic }) => traffic.received),
    row("p50 latency", (pass) => `${percentile(pass, 50)} ms`),
    row("p99 latency", (pass) => `${percentile(pass, 99)} ms`),
    rule,
    "answered: by the upstream, with a status below 500; rejected: by the open",
    "circuit, with a 503; failed: anything else. Sent: the app called fetch for it.",
    "Latency: of all requests, from when they were due until they had ended.",
  ].join("\n");
}

function count({ samples }: PassResult, ending: Ending): number {
  return samples.filter((sample) => sample.ending === ending).length;
}

function sent({ traffic }: PassResult, phases: readonly Phase[]): number {
  return phases.reduce((sum, { name }) => sum + (traffic.sent.get(name) ?? 0), 0);
}

/** The smallest latency that is not exceeded by the given percentage of the requests. */
function percentile({ samples }: PassResult, percentage: number): number {
  const latencies = samples.map((sample) => sample.latencyMs).sort((a, b) => a - b);
  return Math.round(latencies[Math.ceil(latencies.length * percentage / 100) - 1] ?? 0);
}
