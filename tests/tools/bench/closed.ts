/**
 * The costs of a call while the circuit is closed.
 *
 * @module
 */
import {
  closedFamily,
  JUDGED,
  PER_REQUEST,
  type Result,
  RESULTS,
  STRATEGIES,
  type StrategyName,
} from "./closed_families.ts";
import { NAMES, PEERS } from "./family.ts";
import { familiesTable, type Row } from "./family_table.ts";
import { Programs } from "./programs.ts";
import type { Section } from "./section.ts";

/** A limit in terms of the fastest peer. */
const FASTEST = { to: PEERS, limit: 0.95 };
/** A limit in terms of the peer with the same window. */
const ROLLING = [
  { to: [NAMES.std], limit: 0.95 },
  { to: [NAMES.cockatiel], limit: 0.75 },
];

/** Section `closed`. */
export const section: Section = {
  async *run(options) {
    await using programs = await Programs.open(options);
    for (const runtime of ["Deno", "Node"] as const) {
      yield await familiesTable(programs, runtime, {
        name: runtime === "Deno" ? "closed" : "closed-node",
        title: `CLOSED on ${runtime}: one call that succeeds`,
        rows: rows(runtime === "Deno" ? Object.keys(STRATEGIES) : ["consecutive_failures"]),
        notes: [
          "count_window is set against cockatiel's CountBreaker; the others than",
          "consecutive_failures against its SamplingBreaker. std and opossum (without latency",
          "percentiles and snapshots) have a rolling percentage alone.",
          "A handle for each call: for({ tenant }).make(name), a hundred tenants by turns; the",
          "peers' breakers are looked up in a Map. tryCall is timed afterwards, alone.",
        ],
      });
    }
  },
};

function rows(strategies: readonly string[]): Row[] {
  return [
    ...(strategies as StrategyName[]).flatMap((strategy) => {
      const isMain = strategy === "consecutive_failures" || strategy === "rolling_window";
      const results: readonly Result[] = isMain ? RESULTS : ["an object"];
      return results.map((result): Row => ({
        label: `${strategy}, ${result}`,
        family: closedFamily(strategy, result),
        budgets: strategy === "consecutive_failures"
          ? [FASTEST]
          : strategy === "rolling_window"
          ? ROLLING
          : [],
      }));
    }),
    { label: "a Response, judged by its status by all", family: JUDGED, budgets: [FASTEST] },
    { label: "a handle for each call, an object", family: PER_REQUEST, budgets: [] },
  ];
}
