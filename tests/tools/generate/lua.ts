/**
 * `deno task lua`: generates `drivers/upstash/script.ts` from the Lua in `drivers/upstash/script/`,
 * minified, with its hash. A string, because a registry ships no other files.
 *
 * @module
 */
import { createHash } from "node:crypto";
import luamin from "luamin";
import { root } from "../gate/project.ts";

/** The script's parts, in the order in which Redis reads them: each uses only earlier ones. */
export const PARTS: readonly string[] = [
  "request",
  "index",
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

/** The line that makes Upstash lock only the keys that a script declares. Redis 7 refuses it. */
const LOCKING = "#!lua flags=allow-key-locking";

/** Returns the module, as it must be in the tree. */
export async function generate(): Promise<string> {
  const parts = await Promise.all(PARTS.map((path) => Deno.readTextFile(new URL(path, root))));
  const script = shorten(parts.join("\n"));
  const sha1 = (text: string) => createHash("sha1").update(text).digest("hex");
  return `// Made of script/*.lua by \`deno task lua\`: change those, and run it.

/** The program that a store runs in Redis, for any operation. */
export const SCRIPT: string =
  \`${script}\`;

/** Its SHA-1, by which Redis knows it. */
export const SCRIPT_SHA1: string = "${sha1(script)}";

/** The line by which Upstash locks only the keys that a script declares. Redis 7 refuses it. */
export const LOCKING = "${LOCKING}\\n";

/** The SHA-1 of the script behind that line. */
export const LOCKING_SHA1: string = "${sha1(`${LOCKING}\n${script}`)}";
`;
}

/**
 * Returns Lua without comments and white space, with short names for its locals: a line for most
 * statements, because a line break takes no more room than the semicolon that it replaces.
 */
export function shorten(lua: string): string {
  const script = luamin.minify(lua).replace(
    /'[^']*'|"[^"]*"|;/g,
    (found: string) => found === ";" ? "\n" : found,
  );
  if (/`|\\|\$\{/.test(script)) throw new Error("The script does not fit a template literal");
  return script;
}

if (import.meta.main) await Deno.writeTextFile(TARGET, await generate());
