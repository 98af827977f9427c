/**
 * Times candidates against each other on a shared machine.
 *
 * Own code, because mitata 1.0 and tinybench 6 run one task to its end before they begin the next:
 * a busy minute then affects one candidate alone. Here a round runs each candidate once, for a few
 * milliseconds, and ratios are taken within a round, so that a disturbance affects both.
 *
 * @module
 */
import process from "node:process";
import { setImmediate } from "node:timers";

/** A candidate. */
export interface Candidate {
  /** Its name in tables. */
  readonly name: string;
  /**
   * Makes a number of calls in sequence. Write the loop in each candidate: a shared one would see
   * every breaker at one call site, and V8 would optimize it for none.
   */
  readonly run: (calls: number) => Promise<unknown>;
  /**
   * How long after a call its last timer fires, in ms. Each batch is followed by that pause, and the
   * CPU time of the pause counts: otherwise the timers would fire during the batches of others.
   */
  readonly leavesMs?: number;
  /**
   * Timed once all others are done, because most programs do not use it beside them: what V8 learns from
   * it would slow them down.
   */
  readonly afterwards?: boolean;
}

/** A median, and the range of the rounds. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** The results of one candidate. */
export interface Measured {
  readonly name: string;
  /** Nanoseconds per call, round by round. */
  readonly rounds: readonly number[];
  /** Nanoseconds per call, over all rounds. */
  readonly ns: Spread;
}

/** The duration of a race. */
export interface Effort {
  readonly rounds: number;
  readonly batchMs: number;
  readonly warmUpMs: number;
}

const FULL: Effort = { rounds: 41, batchMs: 12, warmUpMs: 250 };
const QUICK: Effort = { rounds: 9, batchMs: 5, warmUpMs: 80 };

/** Returns the usual effort, or a small one. */
export function effort(quick: boolean): Effort {
  return quick ? QUICK : FULL;
}

/** Times all candidates, interleaved. */
export async function race(
  candidates: readonly Candidate[],
  effort: Effort,
): Promise<Measured[]> {
  const first = candidates.filter(({ afterwards }) => !afterwards);
  const then = candidates.filter(({ afterwards }) => afterwards);
  return [...await raceTogether(first, effort), ...await raceTogether(then, effort)];
}

async function raceTogether(
  candidates: readonly Candidate[],
  { rounds, batchMs, warmUpMs }: Effort,
): Promise<Measured[]> {
  const runners: Runner[] = [];
  for (const candidate of candidates) {
    const calls = await warmUp(candidate, batchMs, warmUpMs);
    runners.push({ candidate, calls, rounds: [] });
    await rest(candidate.leavesMs);
  }
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another candidate, so that none always follows the same neighbor.
    for (let i = 0; i < runners.length; i++) {
      const runner = runners[(round + i) % runners.length]!;
      await settle();
      const ms = await time(runner.candidate, runner.calls) +
        await rest(runner.candidate.leavesMs);
      runner.rounds.push((ms * 1e6) / runner.calls);
    }
  }
  return runners.map(({ candidate, rounds }) => ({
    name: candidate.name,
    rounds,
    ns: spread(rounds),
  }));
}

/** Makes calls in batches of this size. */
export async function callAtOnce(
  calls: number,
  callers: number,
  call: () => unknown,
): Promise<void> {
  let left = calls;
  await Promise.all(Array.from({ length: Math.min(callers, calls) }, async () => {
    while (left-- > 0) await call();
  }));
}

/** Returns `a` in terms of `b`, round by round. */
export function ratio(a: Measured, b: Measured): Spread {
  return spread(a.rounds.map((ns, round) => ns / b.rounds[round]!));
}

/** Returns the candidate with the lowest median. */
export function fastest(measured: readonly Measured[]): Measured {
  return measured.reduce((best, one) => one.ns.median < best.ns.median ? one : best);
}

/** Returns median, least and greatest. */
export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  return { median: sorted[sorted.length >> 1]!, min: sorted[0]!, max: sorted.at(-1)! };
}

/** Runs a full collection and a turn for finalizers; twice, for the objects that they release. */
export async function collect(): Promise<void> {
  for (let i = 0; i < 2; i++) {
    gc();
    await turn();
  }
}

/** Waits for one turn of the event loop, for timers and background work. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** The next turn of the event loop, at once. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => resolve()));
}

/** Collects garbage; `minor`: the young generation only. */
export function gc(options?: { type: "minor" }): void {
  const collector = (globalThis as { gc?: (options?: { type: "minor" }) => void }).gc;
  if (collector === undefined) throw new Error("Run with --v8-flags=--expose-gc");
  // V8 takes an `undefined` for options, and collects the young generation only.
  if (options === undefined) collector();
  else collector(options);
}

interface Runner {
  readonly candidate: Candidate;
  readonly calls: number;
  readonly rounds: number[];
}

/** Runs for a while, and returns the number of calls in a batch. */
async function warmUp(candidate: Candidate, batchMs: number, warmUpMs: number): Promise<number> {
  let calls = 64;
  let ms = 0;
  for (const end = performance.now() + warmUpMs; performance.now() < end;) {
    ms = await time(candidate, calls);
    if (ms < batchMs / 2) calls *= 2;
    await turn();
  }
  return Math.max(1, Math.round((calls * batchMs) / Math.max(ms, 1e-3)));
}

async function time(candidate: Candidate, calls: number): Promise<number> {
  const start = performance.now();
  await candidate.run(calls);
  return performance.now() - start;
}

/** Waits until timers that were left behind have fired. Returns the CPU time that they took, in ms. */
export async function rest(leavesMs: number | undefined): Promise<number> {
  if (leavesMs === undefined) return 0;
  const before = process.cpuUsage();
  // The last of them are set as late as this one.
  await new Promise((resolve) => setTimeout(resolve, 1.1 * leavesMs + 10));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

/** Lets timers fire, and collects the garbage of the previous candidate. */
async function settle(): Promise<void> {
  await turn();
  gc({ type: "minor" });
}
