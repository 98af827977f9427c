/**
 * What is mutated, and the tests that are to notice: cheap ones first, and what they let pass goes on to
 * the dear ones.
 *
 * @module
 */

/** A file to mutate. */
export interface Target {
  readonly file: string;
  /** A mutant that fails one stage is dead. */
  readonly stages: readonly Stage[];
}

/** Files of tests, without "tests/" and "_test.ts"; options of `deno test` begin with "--". */
export type Stage = readonly string[];

const TRAPS = ["traps_late", "traps_trials", "traps_counting", "traps_shared"];

/** By what the command line calls them. */
export const TARGETS: Readonly<Record<string, Target>> = {
  machine: {
    file: "src/rules/machine.ts",
    stages: [["machine", "strategies"], ["rules_transitions", "rules_clock", "model", ...TRAPS]],
  },
  strategies: {
    file: "src/rules/strategies.ts",
    stages: [["strategies", "machine"], ["rules_strategies", "policy", "model", ...TRAPS]],
  },
  view: {
    file: "src/shared/circuit.ts",
    stages: [
      ["view", "view_costs", "view_order", "view_outage"],
      ["rules_view", "rules_store", "rules_outage", "rules_reading", "rules_clock"],
      ["rules_transitions", "rules_overrides", "rules_outcomes", "rules_rejection"],
      ["rules_strategies", ...TRAPS],
      ["store_guard", "background", "outbox", "fuse", "fuse_views", "transfer", "shared_traps"],
      ["libsql_audit"],
      ["model"],
    ],
  },
  lua: {
    file: "drivers/upstash/script.lua",
    stages: [
      ["upstash_twin"],
      ["upstash_keys", "upstash_window", "upstash_spoilt"],
      ["upstash", "outbox"],
      // One client of nine: the others differ in what they do to an answer.
      ["upstash_contract", "--filter=storeContract(upstash)"],
      ["spoilt", "--filter=upstash()"],
      ["tiered_contract"],
      ["tiered"],
      ["upstash_model"],
    ],
  },
};

const PRELOAD = "--preload=tests/mutation/first_failure.ts";

/** The command line that runs a stage, after Deno's own name. */
export function testArgs(stage: Stage): string[] {
  const rest = stage.map((name) => name.startsWith("--") ? name : `tests/${name}_test.ts`);
  return ["test", "-A", "--no-check", "--fail-fast", "--quiet", PRELOAD, ...rest];
}
