import { load, type Sample } from "./load.ts";
import type { Screen } from "./screen.ts";
import type { Scenario } from "./timetable.ts";
import type { Traffic, UpstreamProcess } from "./upstream_process.ts";

/** What one pass brought. */
export interface PassResult {
  readonly samples: readonly Sample[];
  readonly traffic: Traffic;
}

/** What a pass works with. */
export interface PassOptions {
  /** Where the load goes. */
  readonly url: string;
  readonly plan: Scenario;
  readonly upstream: UpstreamProcess;
  readonly screen: Screen;
  readonly signal: AbortSignal;
}

/** Plays the timetable once while the load is on, and shows how it goes. */
export async function runPass(options: PassOptions): Promise<PassResult> {
  const { url, plan, upstream, screen, signal } = options;
  const samples: Sample[] = [];
  const counts = { answered: 0, rejected: 0, failed: 0 };
  const showStatus = () =>
    screen.status(
      `${upstream.phase.name}: ${samples.length} requests, ${counts.answered} answered, ` +
        `${counts.rejected} rejected, ${counts.failed} failed`,
    );

  await upstream.takeTraffic(); // what came before is not this pass's
  screen.restartClock();
  const ticker = setInterval(showStatus, 100);
  try {
    await Promise.all([
      upstream.play(plan.phases, ({ name }) => screen.log(`upstream ${name}`), signal),
      load(url, {
        ...plan.load,
        signal,
        onSample(sample) {
          samples.push(sample);
          counts[sample.ending]++;
        },
      }),
    ]);
  } finally {
    clearInterval(ticker);
    screen.clearStatus();
  }
  return { samples, traffic: await upstream.takeTraffic() };
}
