/**
 * The mutated files, and the tests that should notice: cheap ones first, and expensive ones for the
 * survivors.
 *
 * @module
 */
import { PARTS } from "../generate/lua.ts";

/** The code to mutate: one file of TypeScript, or the parts of the Lua. */
export interface Target {
  readonly files: readonly string[];
  /** A mutant that fails one stage is killed. */
  readonly stages: readonly Stage[];
}

/** Files of tests, without "tests/" and "_test.ts"; options of `deno test` begin with "--". */
export type Stage = readonly string[];

const TRAPS = ["traps/late", "traps/trials", "traps/counting", "traps/shared"];
const FUSE = ["options", "views", "shared_views", "listing", "work", "history"].map((name) =>
  `unit/fuse/${name}`
);

/** The targets, by their names on the command line. */
export const TARGETS: Readonly<Record<string, Target>> = {
  machine: {
    files: ["src/rules/machine.ts"],
    stages: [["unit/machine", "unit/strategies"], [
      "rules/transitions",
      "rules/clock",
      "fleet/model/model",
      ...TRAPS,
    ]],
  },
  strategies: {
    files: ["src/rules/strategies.ts"],
    stages: [["unit/strategies", "unit/machine"], [
      "rules/strategies",
      "unit/policy",
      "fleet/model/model",
      ...TRAPS,
    ]],
  },
  view: {
    files: ["src/shared/circuit.ts"],
    stages: [
      ["closed", "recovery", "circuit", "resending", "lives", "costs", "order", "outage"].map((
        name,
      ) => `unit/shared/${name}`),
      ["rules/sharing", "rules/store", "rules/outage", "rules/reading", "rules/clock"],
      ["rules/transitions", "rules/overrides", "rules/outcomes", "rules/rejection"],
      ["rules/strategies", ...TRAPS],
      [
        "unit/shared/guard",
        "unit/background",
        "unit/shared/pending",
        ...FUSE,
        "unit/transfer",
        "traps/isolates",
      ],
      ["drivers/libsql/audit"],
      ["fleet/model/model"],
    ],
  },
  lua: {
    files: PARTS,
    stages: [
      ["drivers/upstash/twin"],
      ["drivers/upstash/keys", "drivers/upstash/window", "drivers/upstash/spoilt"],
      ["drivers/upstash/upstash", "drivers/upstash/outbox", "drivers/upstash/eviction"],
      ["drivers/upstash/requests", "drivers/upstash/options", "unit/shared/pending"],
      // One client of nine: the others differ in their treatment of answers.
      ["drivers/upstash/contract", "--filter=storeContract(upstash)"],
      ["drivers/spoilt", "--filter=upstash()"],
      ["drivers/tiered/contract"],
      ["drivers/tiered/delivery", "drivers/tiered/tiered"],
      ["drivers/upstash/model"],
    ],
  },
};

const PRELOAD = "--preload=tests/tools/mutation/first_failure.ts";

/** The command line that runs a stage, after Deno's own name. */
export function testArgs(stage: Stage): string[] {
  const rest = stage.map((name) => name.startsWith("--") ? name : `tests/${name}_test.ts`);
  return ["test", "-A", "--no-check", "--fail-fast", "--quiet", PRELOAD, ...rest];
}
