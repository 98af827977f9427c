/**
 * `deno task mutate [machine] [strategies] [view] [lua] [--jobs 2] [--file window] [--lines 10-40]
 * [--sample 100] [--seed 1] [--all]`: changes the code in small ways, and reports changes that no
 * test noticed. It takes from minutes (machine) to two hours (lua), for which a sample can be
 * enough, or a file: `--file` takes part of a name. Explained mutants in the Lua do not run again
 * without `--all`.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { explanation } from "./explained.ts";
import { surveyLua } from "./lua.ts";
import { survey } from "./stryker.ts";
import { placeOf } from "./mutant.ts";
import { TARGETS } from "./targets.ts";

const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    jobs: { type: "string", default: "2" },
    file: { type: "string", default: "" },
    lines: { type: "string" },
    all: { type: "boolean", default: false },
    sample: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
  },
});
const names = positionals.length > 0 ? positionals : Object.keys(TARGETS);
const unknown = names.find((name) => !Object.hasOwn(TARGETS, name));
const [jobs, sample, seed] = [values.jobs, values.sample, values.seed].map(Number) as [
  number,
  number,
  number,
];
if (unknown !== undefined) {
  fail(`Unknown target "${unknown}". There are: ${Object.keys(TARGETS).join(", ")}`);
}
for (const option of ["jobs", "sample", "seed"] as const) {
  if (!/^[1-9]\d*$/.test(values[option])) {
    fail(`"--${option}" must be a positive integer, received ${values[option]}`);
  }
}
if (values.lines !== undefined && !/^\d+-\d+$/.test(values.lines)) {
  fail(`"--lines" must be two line numbers such as 10-40, received ${values.lines}`);
}

// A mutant must not survive because tests are reduced.
Deno.env.set("TEST_SCALE", "full");

let unexplained = 0;
for (const name of names) {
  const { files, stages } = TARGETS[name]!;
  const chosen = files.filter((file) => file.includes(values.file));
  if (chosen.length === 0) fail(`"--file" must be part of a file's name, received ${values.file}`);
  const run = name === "lua" ? surveyLua : survey;
  const { total, survivors } = await run({ files: chosen, stages }, {
    jobs,
    lines: values.lines,
    all: values.all,
    sample,
    seed,
  });
  console.log(`\n${name}: ${total} mutants, ${total - survivors.length} killed`);
  for (const mutant of survivors) {
    const why = explanation(mutant);
    if (why === undefined) unexplained += 1;
    console.log(`  ${placeOf(mutant)}: ${mutant.original} → ${mutant.replacement || "(nothing)"}`);
    console.log(`    ${why ?? "NOT EXPLAINED"}`);
  }
}
console.log(`\n${unexplained} survivors without an explanation`);
Deno.exit(unexplained === 0 ? 0 : 1);

function fail(message: string): never {
  console.error(message);
  Deno.exit(2);
}
