/**
 * Runs checks of a service, one after the other, and reports on them.
 *
 * @module
 */
import type { ContractCase } from "@fuse/edge/testing";

/** A check. */
export interface Check {
  readonly name: string;
  /** Resolves to its finding, for people to read. Rejects if the check fails. */
  run(): Promise<string | void>;
}

/** The numbers of checks by result. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Thrown by a check that cannot be made here. */
export class Skipped extends Error {}

/** The state of a run. */
export interface Run {
  readonly counts: Counts;
  /** `true` once an interruption was requested. */
  stopped: boolean;
  /** Texts that are never shown. */
  readonly secrets: readonly string[];
}

const DEADLINE_MS = 60_000;

/** Runs checks, and prints a line for each. */
export async function runChecks(run: Run, checks: readonly Check[]): Promise<void> {
  for (const check of checks) {
    if (run.stopped) return;
    await runCheck(run, check);
  }
}

/** Runs a check, also after an interruption was requested. */
export async function runCheck(run: Run, check: Check): Promise<void> {
  try {
    const found = await withDeadline(check.run());
    run.counts.passed++;
    console.log(`ok      ${check.name}${found ? `: ${shown(run, found)}` : ""}`);
  } catch (error) {
    const words = shown(run, error instanceof Error ? error.message : String(error));
    const skipped = error instanceof Skipped;
    run.counts[skipped ? "skipped" : "failed"]++;
    console.log(`${skipped ? "skipped" : "FAILED "} ${check.name}: ${words}`);
  }
}

/** Returns a text in one line and without secrets. */
function shown({ secrets }: Run, text: string): string {
  for (const secret of secrets) text = text.replaceAll(secret, "…");
  return text.replace(/\s*\n\s*/g, " ").slice(0, 400);
}

async function withDeadline<T>(work: Promise<T>): Promise<T> {
  let timer;
  const late = new Promise<never>((_, reject) => {
    const say = () => reject(new Error(`it did not end within ${DEADLINE_MS / 1000} s`));
    timer = setTimeout(say, DEADLINE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Runs the cases of the contract that apply to a store, some concurrently. A line shows how many
 * passed.
 */
export async function runContract(
  run: Run,
  name: string,
  traits: Readonly<Record<string, boolean>>,
  cases: readonly ContractCase[],
): Promise<void> {
  const { passed, failed } = run.counts;
  const waiting = cases.filter(({ needs }) => needs === undefined || traits[needs]);
  const all = waiting.length;
  await Promise.all(Array.from({ length: 4 }, async () => {
    for (let next = waiting.shift(); next && !run.stopped; next = waiting.shift()) {
      try {
        await withDeadline(next.run());
        run.counts.passed++;
      } catch (error) {
        run.counts.failed++;
        console.log(`FAILED  ${name}, the contract: ${next.name}: ${shown(run, String(error))}`);
      }
    }
  }));
  const good = run.counts.passed - passed;
  const verdict = run.counts.failed > failed ? "FAILED " : good < all ? "stopped" : "ok     ";
  console.log(`${verdict} ${name}, the contract: ${good} of ${all} cases passed`);
}

/** Fails a check unless `condition` holds. */
export function expect(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new Error(otherwise);
}

/** Runs an operation that must be refused, and returns the error. */
export async function refusal(work: () => unknown): Promise<Error & { scope?: string }> {
  try {
    await work();
  } catch (error) {
    return error as Error;
  }
  throw new Error("it was not refused");
}

/** Times `work` a number of times, and returns the median and the 95th percentile, in ms. */
export async function percentiles(
  times: number,
  work: () => unknown,
): Promise<{ p50: number; p95: number }> {
  const ms: number[] = [];
  for (let i = 0; i < times; i++) {
    const began = performance.now();
    await work();
    ms.push(performance.now() - began);
  }
  ms.sort((a, b) => a - b);
  return { p50: ms[Math.floor(times / 2)]!, p95: ms[Math.floor(times * 0.95)]! };
}

/** Checks percentiles against the deadline of a call to the store. */
export async function inTime(storeTimeoutMs: number, work: () => unknown): Promise<string> {
  // The cost of connecting is paid once.
  await work();
  const { p50, p95 } = await percentiles(50, work);
  const found = `p50 ${p50.toFixed(1)} ms, p95 ${
    p95.toFixed(1)
  } ms, storeTimeoutMs ${storeTimeoutMs}`;
  expect(p95 < storeTimeoutMs, `${found}: raise storeTimeoutMs, or move closer`);
  return found;
}
