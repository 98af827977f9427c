/**
 * `deno task lua`: generates `drivers/upstash/script.ts` from the Lua in `drivers/upstash/script/`,
 * minified, with its hash. A string, because a registry ships no other files.
 *
 * @module
 */
import { createHash } from "node:crypto";
import luamin from "luamin";
import * as luaparse from "luaparse";
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

/** No line is longer, unless one token of the script is. */
const WIDTH = 100;

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

/** Returns Lua without comments and white space, with short names for its locals, in lines. */
export function shorten(lua: string): string {
  const lines = [""];
  for (const token of tokensOf(luamin.minify(lua))) {
    const line = lines.at(-1)!;
    const together = line + (MERGE.test(`${line.at(-1)}${token[0]}`) ? " " : "") + token;
    // Lua 5.1 reads a line that begins with a parenthesis as an ambiguous call.
    const breaks = line !== "" && together.length > WIDTH && token !== "(";
    if (breaks) lines.push(token);
    else lines[lines.length - 1] = together;
  }
  const script = lines.join("\n");
  if (/`|\\|\$\{/.test(script)) throw new Error("The script does not fit a template literal");
  return script;
}

/**
 * The end of a token and the beginning of another that together would form one token, or a comment.
 */
const MERGE = /^(\w\w|\d\.|\.\d|\.\.|--|\[\[|==)$/;

/** Returns the tokens of a script, unchanged. */
function* tokensOf(lua: string): Generator<string> {
  const parser = luaparse.parse(lua, { wait: true, ranges: true, comments: false });
  for (;;) {
    const { type, range } = parser.lex() as unknown as { type: number; range: [number, number] };
    if (type === END_OF_FILE) return;
    yield lua.slice(...range);
  }
}

/** A token of luaparse. */
const END_OF_FILE = 1;

if (import.meta.main) await Deno.writeTextFile(TARGET, await generate());
