/**
 * `deno task bench [section …] [--quick] [--markdown] [--std PATH]`: measures speed, size and round
 * trips. `PATH` is a checkout of denoland/std, whose circuit breaker npm does not have.
 *
 * Figures depend on the machine; compare the ratios. Each section runs in a process of its own, so
 * that the state of V8 after one does not affect the next. `--markdown` also writes the tables into
 * the pages that have blocks for them.
 *
 * @module
 */
import { cpus } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { lines } from "../../support/lines.ts";
import { checkTables, writeTables } from "../pages/pages.ts";
import { runSection, SECTIONS, TABLES } from "./sections.ts";
import { render, renderForReadme, type Table } from "./table.ts";

const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    markdown: { type: "boolean", default: false },
    std: { type: "string" },
    // Between this program and its child processes: tables as lines of JSON.
    json: { type: "boolean", default: false },
  },
});
const names = positionals.length > 0 ? positionals : Object.keys(SECTIONS);
const unknown = names.find((name) => !Object.hasOwn(SECTIONS, name));
if (unknown !== undefined) {
  console.error(`Unknown section "${unknown}". There are: ${Object.keys(SECTIONS).join(", ")}`);
  Deno.exit(2);
}
Deno.exit(values.json ? await here(names[0]!) : await apart(names));

async function here(name: string): Promise<number> {
  for await (const table of runSection(name, { quick: values.quick, std: values.std })) {
    console.log(JSON.stringify(table));
  }
  return 0;
}

/** Runs all sections, also after a failure. */
async function apart(names: readonly string[]): Promise<number> {
  // Refused now rather than after minutes of measuring.
  if (values.markdown) checkTables({ known: TABLES });
  const tables: Table[] = [];
  let worst = 0;
  for (const name of names) {
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--v8-flags=--expose-gc", import.meta.filename!, name, "--json"],
        ...(values.quick ? ["--quick"] : []),
        ...(values.std === undefined ? [] : ["--std", resolve(values.std)]),
      ],
      stdout: "piped",
    }).spawn();
    for await (const line of lines(child.stdout)) {
      if (!line.startsWith("{")) {
        console.log(line);
        continue;
      }
      const table = JSON.parse(line) as Table;
      tables.push(table);
      console.log(render(table));
    }
    worst = Math.max(worst, (await child.status).code);
  }
  if (values.markdown) await write(tables);
  return worst;
}

/** Tables of a section that failed later are valid. */
async function write(tables: readonly Table[]): Promise<void> {
  const rendered = new Map(
    tables.map((table) => [table.name, `${renderForReadme(table)}\n\n${stamp()}`]),
  );
  const written = await writeTables(rendered, { known: TABLES });
  for (const [path, names] of written) console.log(`Written to ${path}: ${names.join(", ")}`);
  const placed = new Set([...written.values()].flat());
  const unplaced = [...rendered.keys()].filter((name) => !placed.has(name));
  if (unplaced.length > 0) console.log(`No block for: ${unplaced.join(", ")}`);
}

/** Returns the date and the environment, without the name of the machine. */
function stamp(): string {
  const { length, 0: cpu } = cpus();
  const model = (cpu?.model ?? "").replace(/\((R|TM)\)/g, "").replace(/\s+/g, " ").trim();
  return `_${
    [
      new Date().toISOString().slice(0, 10),
      `Deno ${Deno.version.deno}`,
      `${Deno.build.os}, ${length} cores${model === "" ? "" : ` (${model})`}`,
      ...(values.quick ? ["a quick run"] : []),
    ].join(" · ")
  }_`;
}
