/**
 * `deno task lua`: makes `drivers/upstash/script.ts` of `drivers/upstash/script.lua`, without
 * comments and indentation, and with its hash. A string, because a registry ships no other files.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { root } from "../gate/project.ts";

const SOURCE = new URL("drivers/upstash/script.lua", root);
export const TARGET = new URL("drivers/upstash/script.ts", root);

/** The module, as it must stand in the tree. */
export async function generate(): Promise<string> {
  const script = shorten(await Deno.readTextFile(SOURCE));
  const sha1 = createHash("sha1").update(script).digest("hex");
  return `// Made of script.lua by \`deno task lua\`: change that, and run it.

/** What a store runs in Redis, for any operation. */
export const SCRIPT: string = \`${script}\`;

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

if (import.meta.main) await Deno.writeTextFile(TARGET, await generate());
