/**
 * The costs of limiting a call.
 *
 * @module
 */
import { NAMES } from "./family.ts";
import { familiesTable } from "./family_table.ts";
import { Programs } from "./programs.ts";
import type { Section } from "./section.ts";
import { timeoutFamily, type Way, WAYS } from "./timeout_families.ts";

/** Section `timeouts`. */
export const section: Section = {
  async *run(options) {
    await using programs = await Programs.open(options);
    for (const runtime of ["Deno", "Node"] as const) {
      yield await familiesTable(programs, runtime, {
        name: runtime === "Deno" ? "timeouts" : "timeouts-node",
        title: `callTimeoutMs on ${runtime}: a call that may take 200 ms, and ends well`,
        rows: (Object.keys(WAYS) as Way[]).map((way) => ({
          label: way,
          family: timeoutFamily(way),
          budgets: [{ to: [NAMES.bare], limit: 1 }],
        })),
        against: [NAMES.bare],
        notes: [
          "bare: the function alone, beside an AbortSignal.timeout made for it, which fires after the call:",
          "so each batch is followed by a pause, and the CPU time of the pause counts. So with std.",
          "cockatiel: wrap(circuitBreaker, timeout), aggressive. opossum: its option `timeout`.",
          "std has no timeout: an AbortSignal.timeout made for each call, which the function is to obey.",
        ],
      });
    }
  },
};
