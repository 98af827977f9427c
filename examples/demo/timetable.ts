/**
 * The demo's scenario, as data: a metastable failure.
 *
 * The upstream has a pool of workers with a bounded queue, and is two thirds busy. For a while its
 * jobs take longer than its callers wait. The queue fills with jobs that their callers have given
 * up, and each caller tries again, so that three times as many jobs arrive. When the fault is over,
 * the workers are as fast as before, but they work off a queue in which every job has been given up
 * by the time its turn comes. Nobody gets an answer, everybody tries again, and the queue stays full:
 * the retries keep alive the overload that causes them. It ends only when the load does.
 *
 * Bronson, Aghayev, Charapko and Zhu describe such failures, with retries as an example, in
 * "Metastable Failures in Distributed Systems", HotOS 2021, https://doi.org/10.1145/3458336.3465286.
 * In their terms the system is vulnerable, because it has no room for three times the load, the slow
 * jobs are the trigger, and the retries are the sustaining effect. An open circuit breaks the loop: it takes the load away until
 * a trial has been answered in time.
 */

import type { CircuitPolicy } from "@fuse/edge";
import type { CallerOptions } from "./catalog.ts";
import type { WorkerPoolOptions } from "./worker_pool.ts";

/** A stretch of the timetable. */
export interface Phase {
  readonly name: string;
  readonly lastsMs: number;
  /** How long a worker takes for a job that it begins in this phase, in ms. */
  readonly jobMs: number;
  /** `true` if jobs take longer than callers wait. */
  readonly faulty: boolean;
}

/** The plan of a pass: how the upstream behaves, how it is called, and when its circuit opens. */
export interface Scenario {
  readonly pool: WorkerPoolOptions;
  readonly phases: readonly [healthy: Phase, slow: Phase, mended: Phase];
  readonly callers: CallerOptions;
  readonly policy: CircuitPolicy;
  readonly load: {
    readonly requestsPerSecond: number;
    readonly lastsMs: number;
    /** When a client gives up: after the app has made all its attempts. */
    readonly timeoutMs: number;
  };
}

/** The length of a pass unless the command line says otherwise. */
export const PASS_SECONDS = 20;

/**
 * Returns the scenario for passes of `seconds`. Only the phases are stretched or squeezed. The rest
 * makes the failure metastable, and stays as it is:
 *
 * - 6 workers that take 80 ms a job do 75 jobs a second. 50 requests a second are two thirds of that,
 *   and 150, when all of them are tried three times, are twice as much.
 * - A full queue of 90 jobs lasts 1 200 ms, three times as long as a caller waits.
 * - A fault of 1 200 ms fills the queue.
 */
export function scenario(seconds: number): Scenario {
  const ms = (share: number) => Math.round(seconds * 1000 * share);
  return {
    pool: { workers: 6, queueLimit: 90 },
    phases: [
      { name: "healthy", lastsMs: ms(0.15), jobMs: 80, faulty: false },
      { name: "slow", lastsMs: ms(0.2), jobMs: 1000, faulty: true },
      { name: "mended", lastsMs: ms(0.65), jobMs: 80, faulty: false },
    ],
    callers: { deadlineMs: 400, attempts: 3, backoffMs: 100 },
    policy: { failureThreshold: 5, cooldownMs: 1000 },
    load: { requestsPerSecond: 50, lastsMs: seconds * 1000, timeoutMs: 3000 },
  };
}
