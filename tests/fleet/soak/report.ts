/**
 * The results of a soak, as tables, and whether they pass.
 *
 * @module
 */
import { integer, type Table } from "../../tools/bench/table.ts";
import type { SoakResult } from "./soak.ts";

/**
 * The growth of the heap that is allowed over the last half of a run: a share, or a number of
 * bytes, which a slow driver needs because its maps are still filling.
 */
export const MAX_GROWTH = 0.2;
export const LEAST_GROWTH_BYTES = 5e6;

/** A line through samples. */
export interface Trend {
  /** The mean of the samples, in bytes. */
  readonly mean: number;
  /** The rise of the line from the first to the last sample, in bytes. */
  readonly rise: number;
  /** The rise that is allowed. */
  readonly limit: number;
}

/** Least squares over the last half: the first half fills maps, windows and the ids of a minute. */
export function trendOf(samples: readonly number[]): Trend {
  const half = samples.slice(samples.length >> 1);
  const n = half.length;
  const mean = half.reduce((sum, y) => sum + y, 0) / Math.max(1, n);
  const middle = (n - 1) / 2;
  let covariance = 0;
  let variance = 0;
  for (const [x, y] of half.entries()) {
    covariance += (x - middle) * (y - mean);
    variance += (x - middle) ** 2;
  }
  const rise = variance === 0 ? 0 : (covariance / variance) * (n - 1);
  return { mean, rise, limit: Math.max(LEAST_GROWTH_BYTES, MAX_GROWTH * mean) };
}

/** One driver, phase by phase. */
export function phasesTable({ driver, phases, start }: SoakResult): Table {
  return {
    name: "phases",
    title: `Soak of ${driver}`,
    columns: [
      ...["phase", "s", "calls", "calls/s", "trips", "operations", "store errors", "unconfirmed"],
      ...["held MB", "rss MB", "store MB"],
    ],
    rows: [
      ["start", ...Array<string>(7).fill(""), mb(start.held), mb(start.rss), ""],
      ...phases.map((phase) => [
        phase.weather,
        (phase.ms / 1000).toFixed(1),
        integer(phase.calls),
        integer(phase.calls / Math.max(1e-3, phase.ms / 1000)),
        ...[phase.trips, phase.operations, phase.storeErrors, phase.unconfirmed].map(integer),
        mb(phase.memory.held),
        mb(phase.memory.rss),
        phase.server === null ? "" : mb(phase.server.bytes),
      ]),
    ],
  };
}

/** Returns the summary. */
export function verdictTable(
  { driver, phases, balance, evictions, start, problems }: SoakResult,
  { mean, rise, limit }: Trend,
): Table {
  const sum = (of: "calls" | "unconfirmed" | "storeErrors") =>
    integer(phases.reduce((sum, phase) => sum + phase[of], 0));
  const end = phases.at(-1)!.memory;
  return {
    name: "books",
    title: `Books of ${driver}`,
    columns: [
      ...["driver", "calls", "circuits", "evicted", "store errors", "unconfirmed"],
      ...["lost", "doubled", "held MB", "rss MB", "growth", "allowed"],
    ],
    rows: [[
      driver,
      sum("calls"),
      integer(balance.circuits),
      integer(evictions),
      sum("storeErrors"),
      sum("unconfirmed"),
      integer(balance.lost),
      integer(balance.doubled),
      `${mb(start.held)} to ${mb(end.held)}`,
      `${mb(start.rss)} to ${mb(end.rss)}`,
      `${mb(rise)} of ${mb(mean)}`,
      `≤ ${mb(limit)}: ${rise <= limit ? "met" : "OVER"}`,
    ]],
    notes: [
      "Lost, doubled: calls by circuit and ending, outside of acknowledged <= store <= acknowledged + unconfirmed.",
      `Growth: of heapUsed + external after a collection, by a line through the last half of the samples; allowed are ` +
      `${MAX_GROWTH * 100} % of their mean, or ${mb(LEAST_GROWTH_BYTES)} MB if that is more.`,
      ...balance.differences.slice(0, 20).map((d) =>
        `WRONG: ${d.key}: ${d.ended} ${d.stored}, from ${d.least} to ${d.most} expected`
      ),
      ...problems.map((problem) => `WRONG: ${problem}`),
    ],
  };
}

/** Returns whether the results pass. */
export function stands({ balance, problems }: SoakResult, { rise, limit }: Trend): boolean {
  return balance.lost === 0 && balance.doubled === 0 && problems.length === 0 && rise <= limit;
}

function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
