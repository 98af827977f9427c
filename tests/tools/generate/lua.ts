/**
 * `deno task lua`: makes `drivers/upstash/script.ts` of the Lua in `drivers/upstash/script/`, without
 * comments and indentation, and with its hash. A string, because a registry ships no other files.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { root } from "../gate/project.ts";

/** The script's parts, in the order in which Redis reads them: each uses what stands in those before. */
export const PARTS: readonly string[] = [
  "state",
  "metrics",
  "outbox",
  "life",
  "window",
  "leases",
  "operations",
  "answer",
].map((name) => `drivers/upstash/script/${name}.lua`);
export const TARGET = new URL("drivers/upstash/script.ts", root);

/** No line of the module is longer, unless one of the script is. */
const WIDTH = 100;

/** The module, as it must stand in the tree. */
export async function generate(): Promise<string> {
  const parts = await Promise.all(PARTS.map((path) => Deno.readTextFile(new URL(path, root))));
  const script = shorten(parts.join("\n"));
  const sha1 = createHash("sha1").update(script).digest("hex");
  return `// Made of script/*.lua by \`deno task lua\`: change those, and run it.

/** What a store runs in Redis, for any operation. */
export const SCRIPT: string = [
${pack(script.split("\n")).map((line) => `  \`${line}\`,\n`).join("")}].join("\\n");

/** Its SHA-1, by which Redis knows it. */
export const SCRIPT_SHA1: string = "${sha1}";
`;
}

/** Lua without what only readers need. */
export function shorten(lua: string): string {
  const lines = lua.split("\n").map((line) => line.replace(/--.*/, "").trim());
  const script = lines.filter((line) => line !== "").join("\n");
  if (/`|\\|\$\{/.test(script)) throw new Error("The script does not fit a template literal");
  return script;
}

/** As many lines of the script on one of the module as fit, with the escape for a line's end between them. */
function pack(lines: readonly string[]): string[] {
  const packed: string[] = [];
  for (const line of lines) {
    const together = `${packed.at(-1)}\\n${line}`;
    if (packed.length > 0 && together.length + "  ``,".length <= WIDTH) {
      packed[packed.length - 1] = together;
    } else packed.push(line);
  }
  return packed;
}

if (import.meta.main) await Deno.writeTextFile(TARGET, await generate());
