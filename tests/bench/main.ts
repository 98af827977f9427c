/**
 * `deno task bench [section …] [--quick] [--markdown]`: how fast, how small, how many round trips.
 *
 * Figures belong to the machine; read the ratios. Each section runs in a process of its own, so
 * that what V8 has learnt and kept in one does not weigh on the next.
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { Section } from "./section.ts";
import { render } from "./table.ts";

/** To add one: a file with a `section`, and a line here. */
const SECTIONS: Record<string, () => Promise<{ section: Section }>> = {
  closed: () => import("./closed.ts"),
  rejection: () => import("./rejection.ts"),
  growth: () => import("./growth.ts"),
  memory: () => import("./memory.ts"),
  size: () => import("./size.ts"),
  remote: () => import("./remote.ts"),
  upstash: () => import("./upstash.ts"),
  libsql: () => import("./libsql.ts"),
  trail: () => import("./trail.ts"),
  workerd: () => import("./workerd.ts"),
};

const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    markdown: { type: "boolean", default: false },
  },
});
const names = positionals.length > 0 ? positionals : Object.keys(SECTIONS);
const unknown = names.find((name) => !Object.hasOwn(SECTIONS, name));
if (unknown !== undefined) {
  console.error(`Unknown section "${unknown}". There are: ${Object.keys(SECTIONS).join(", ")}`);
  Deno.exit(2);
}
Deno.exit(names.length === 1 ? await here(names[0]!) : await apart(names));

async function here(name: string): Promise<number> {
  const { section } = await SECTIONS[name]!();
  for await (const table of section.run({ quick: values.quick })) {
    console.log(render(table, values.markdown ? "markdown" : "plain"));
  }
  return 0;
}

/** A section that fails does not keep the others from running. */
async function apart(names: readonly string[]): Promise<number> {
  const flags = [...(values.quick ? ["--quick"] : []), ...(values.markdown ? ["--markdown"] : [])];
  let worst = 0;
  for (const name of names) {
    const { code } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--v8-flags=--expose-gc", import.meta.filename!, name, ...flags],
    }).spawn().status;
    worst = Math.max(worst, code);
  }
  return worst;
}
