import { setTimeout as delay } from "node:timers/promises";
import { load, type Sample } from "./load.ts";
import type { Screen } from "./screen.ts";
import type { Phase, Scenario } from "./timetable.ts";
import type { Traffic, UpstreamProcess } from "./upstream_process.ts";

/** The record of one pass. All times are on the clock of `performance.now()`. */
export interface PassResult {
  readonly samples: readonly Sample[];
  readonly traffic: Traffic;
  readonly faultBeganAt: number;
  readonly faultEndedAt: number;
}

/** The parts of a pass. */
export interface PassOptions {
  /** The URL that receives the load. */
  readonly url: string;
  readonly plan: Scenario;
  readonly upstream: UpstreamProcess;
  readonly screen: Screen;
  readonly signal: AbortSignal;
}

/** Plays the timetable once under load, and shows the progress. */
export async function runPass(options: PassOptions): Promise<PassResult> {
  const { url, plan, upstream, screen, signal } = options;
  const samples: Sample[] = [];
  const counts = { fresh: 0, stale: 0, error: 0 };
  let faultBeganAt = NaN;
  let faultEndedAt = NaN;

  const onPhase = ({ name, jobMs, faulty }: Phase) => {
    if (faulty) faultBeganAt = performance.now();
    else if (!Number.isNaN(faultBeganAt)) faultEndedAt = performance.now();
    screen.log(`upstream ${name}: a job takes ${jobMs} ms`);
  };
  let over = false;
  const watch = async () => {
    while (!over) {
      const { waiting } = await upstream.status();
      screen.status(
        `${counts.fresh} fresh, ${counts.stale} stale, ${counts.error} errors; ` +
          `queue of the upstream: ${waiting} of ${plan.pool.queueLimit}`,
      );
      await delay(100, undefined, { signal });
    }
  };

  await upstream.takeTraffic(); // requests sent until now belong to the pass before
  screen.restartClock();
  try {
    const played = upstream.play(plan.phases, onPhase, signal);
    const loaded = load(url, {
      ...plan.load,
      signal,
      onSample(sample) {
        samples.push(sample);
        counts[sample.ending]++;
      },
    });
    await Promise.all([watch(), Promise.all([played, loaded]).finally(() => over = true)]);
  } finally {
    screen.clearStatus();
  }
  return { samples, traffic: await upstream.takeTraffic(), faultBeganAt, faultEndedAt };
}
