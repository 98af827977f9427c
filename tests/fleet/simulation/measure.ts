/**
 * Measures an outage: the calls that a fleet sends to a dead upstream, and the time until it opens
 * and closes.
 *
 * @module
 */
import type { Consistency } from "@fuse/edge";
import { seeded } from "../../support/virtual_time.ts";
import type { Call } from "./judges/caller_judge.ts";
import { play, type Played } from "./fleet.ts";
import type { Scenario, Step } from "./scenario.ts";
import { report } from "./shrink.ts";

/** The fleet. */
export interface Fleet {
  readonly isolates: number;
  readonly consistency: Consistency;
  /** Calls per second of each isolate. */
  readonly rate: number;
}

/** The figures of its outage, averaged over the runs. Times are ms. */
export interface Outage extends Fleet {
  readonly runs: number;
  /** Calls that ran while the upstream was dead. */
  readonly sent: number;
  /** From the upstream's death to the circuit's opening, and to the last call that was no trial. */
  readonly openMs: number;
  readonly stopMs: number;
  /** From its recovery to the circuit's closing, and to the last rejected call. */
  readonly closeMs: number;
  readonly returnMs: number;
  /** Openings, also those from HALF_OPEN. */
  readonly openings: number;
  /** Requests to the store, for each call. */
  readonly requests: number;
  /** Calls that began after the opening and were no trials, by isolate. */
  readonly late: number;
  readonly mostLate: number;
}

/** The policy: the default except for this. */
export const COOLDOWN_MS = 10_000;
const WELL_MS = 3_000;

/** An outage of a fleet under a Poisson process of calls. */
export function outage({ isolates, consistency, rate }: Fleet, seed: number): Scenario {
  const random = seeded(seed);
  const gapMs = 1_000 / rate;
  // Long enough for an isolate alone to see five failures, and two successes afterwards.
  const deadMs = 20_000 + 20 * gapMs;
  const untilMs = WELL_MS + deadMs + COOLDOWN_MS + 5_000 + 15 * gapMs;
  const steps: Step[] = [
    { at: WELL_MS, do: "upstream", is: "dead", isolate: null, forMs: deadMs },
  ];
  for (let isolate = 0; isolate < isolates; isolate++) {
    const next = () => -Math.log(1 - random()) * gapMs;
    for (let at = next(); at < untilMs; at += next()) {
      const lastsMs = 5 + random() * 95;
      steps.push({ at, do: "call", isolate, lastsMs, luck: random() });
    }
  }
  return {
    seed,
    kind: "dead",
    policy: { consistency, cooldownMs: COOLDOWN_MS },
    clocks: Array.from({ length: isolates }, () => ({ offsetMs: 0, drift: 0 })),
    latencyMs: [5, 25],
    errorRate: 0,
    gapMs: null,
    steps: steps.sort((a, b) => a.at - b.at),
  };
}

/** Runs an outage. Throws, with a trace, if an invariant is violated. */
export async function measure(fleet: Fleet, seed: number): Promise<Outage> {
  const scenario = outage(fleet, seed);
  const played = await play(scenario);
  if (played.violation !== null) {
    throw new Error(await report({ scenario, violation: played.violation }));
  }
  return { ...fleet, runs: 1, ...figures(scenario, played) };
}

/** One outage of several runs of the same fleet. */
export function mean(runs: readonly Outage[]): Outage {
  const [first] = runs as [Outage];
  const of = (field: keyof Outage) =>
    runs.reduce((sum, run) => sum + (run[field] as number), 0) / runs.length;
  const fields = [
    ...["sent", "openMs", "stopMs", "closeMs", "returnMs", "openings", "requests", "late"] as const,
  ];
  return {
    ...first,
    ...Object.fromEntries(fields.map((field) => [field, of(field)])),
    mostLate: Math.max(...runs.map(({ mostLate }) => mostLate)),
    runs: runs.length,
  };
}

function figures(
  { steps, clocks }: Scenario,
  { calls, trail, requests, beganAt }: Played,
): Omit<Outage, keyof Fleet | "runs"> {
  const dead = steps.find((step) => step.do === "upstream") as Extract<Step, { do: "upstream" }>;
  const from = beganAt + dead.at;
  const to = from + dead.forMs;
  const opened = trail.find(({ event }) => event === "opened")?.at ?? NaN;
  const closed = trail.find(({ event, at }) => event === "closed" && at >= to)?.at ?? NaN;
  const ran = calls.filter(({ ranAt }) => ranAt !== null && ranAt >= from && ranAt < to);
  const plain = ran.filter(({ trial }) => trial === null);
  const late = plain.filter(({ ranAt }) => ranAt! > opened);
  const byIsolate = Map.groupBy(late, ({ by }) => by.number);
  const refused = calls.filter(({ at, ranAt }) => at >= to && ranAt === null);
  return {
    sent: ran.length,
    openMs: opened - from,
    stopMs: last(plain, "ranAt") - from,
    closeMs: closed - to,
    returnMs: Math.max(0, last(refused, "at") - to),
    openings: trail.filter(({ event }) => event === "opened").length,
    requests: requests / calls.length,
    late: late.length / clocks.length,
    mostLate: Math.max(0, ...[...byIsolate.values()].map((calls) => calls.length)),
  };
}

function last(calls: readonly Call[], what: "at" | "ranAt"): number {
  return calls.reduce((latest, call) => Math.max(latest, call[what]!), -Infinity);
}
