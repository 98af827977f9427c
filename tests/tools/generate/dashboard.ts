/**
 * `deno task dashboard:assets`: generates `src/dashboard/assets.ts` from the page's script and
 * style sheets, minified. Strings, because a registry ships no other files, and because the page
 * loads none.
 *
 * @module
 */
import * as esbuild from "esbuild";
import { root } from "../gate/project.ts";

const FOLDER = new URL("src/dashboard/client/", root);
export const TARGET = new URL("../assets.ts", FOLDER);
/** The style sheets in the order in which they apply. */
const STYLES = ["base.css", "controls.css", "list.css", "circuit.css"];

/** Returns the module, as it must be in the tree. */
export async function generate(): Promise<string> {
  const script = await minified(["main.js"], "js");
  const style = await minified(STYLES, "css");
  return `// Made of the files in client/ by \`deno task dashboard:assets\`: change those, and run it.

/** The script of the page. */
export const SCRIPT: string =${literal(script)};

/** The style sheets of the page. */
export const STYLE: string =${literal(style)};
`;
}

async function minified(names: readonly string[], loader: "js" | "css"): Promise<string> {
  const texts = await Promise.all(names.map((name) => Deno.readTextFile(new URL(name, FOLDER))));
  const { code } = await esbuild.transform(texts.join("\n"), {
    loader,
    minify: true,
    target: loader === "js" ? "es2022" : ["chrome111", "firefox113", "safari16.4"],
    // No line of the module is longer than necessary.
    lineLimit: 96,
    charset: "utf8",
  });
  return code.trim();
}

/**
 * Returns a template literal, which keeps its lines. It must not end the element that contains it.
 */
function literal(text: string): string {
  if (/<\/(script|style)|<!--/i.test(text)) throw new Error("The text would end its element");
  return `\n  \`${text.replace(/[\\`]|\$\{/g, "\\$&")}\``;
}

if (import.meta.main) {
  await Deno.writeTextFile(TARGET, await generate());
  await esbuild.stop();
}
