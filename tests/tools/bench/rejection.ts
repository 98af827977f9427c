/**
 * The costs of a rejection.
 *
 * @module
 */
import { NAMES, PEERS } from "./family.ts";
import { familiesTable } from "./family_table.ts";
import { Programs } from "./programs.ts";
import { REJECTION } from "./rejection_families.ts";
import type { Section } from "./section.ts";

/** Section `rejection`. */
export const section: Section = {
  async *run(options) {
    await using programs = await Programs.open(options);
    for (const runtime of ["Deno", "Node"] as const) {
      yield await familiesTable(programs, runtime, {
        name: runtime === "Deno" ? "rejection" : "rejection-node",
        title: `OPEN on ${runtime}: one call that is rejected`,
        rows: [
          {
            label: "call, thrown",
            family: REJECTION,
            budgets: [{ to: PEERS, limit: 0.12 }],
          },
          {
            label: "tryCall",
            family: REJECTION,
            budgets: [{ to: PEERS, limit: 0.04 }],
            of: NAMES.tryCall,
          },
        ],
        against: [NAMES.bare],
        notes: ["bare: awaiting a promise rejected with an error that was made before."],
      });
    }
  },
};
