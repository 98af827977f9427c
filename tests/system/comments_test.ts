// The English of comments, as far as a test can count it.
import { assert, assertEquals } from "@std/assert";
import { filesBelow, root } from "../tools/gate/project.ts";

/** Openings without a noun: "What the store gave", "Whether it is open". */
const CLIPPED = /^(What|Whether|Who|Whose|One|None|It is)\b/;

Deno.test("fewer than 2 in 100 comments of the package begin with a word that stands for the noun", () => {
  const files = ["src", "drivers", "migrations"].flatMap((folder) =>
    [".ts", ".lua"].flatMap((extension) => filesBelow(folder, extension))
  );
  const comments = ["mod.ts", ...files].flatMap((path) =>
    commentsIn(Deno.readTextFileSync(new URL(path, root)))
  );
  const clipped = comments.filter((comment) => CLIPPED.test(comment));
  console.log(`${clipped.length} of ${comments.length} comments`);
  assert(comments.length > 1_000);
  assert(clipped.length < comments.length / 50, clipped.join("\n"));
});

Deno.test("commentsIn() returns docstrings, blocks of lines and Lua comments, without their marks", () => {
  const source = '/**\n * Returns a.\n *\n * @returns b\n */\nx("// no comment");\n' +
    "// One,\n// over two lines.\ny(); // beside code\n-- In Lua.\n/** Short. */\n";
  assertEquals(commentsIn(source), [
    "Returns a.\n\n@returns b",
    "One,\nover two lines.",
    "In Lua.",
    "Short.",
  ]);
});

/** Returns the comments of a source, in order, without those beside code. */
function commentsIn(source: string): string[] {
  return [...source.matchAll(/^[ \t]*(?:\/\*\*?.*?\*\/|(?:[ \t]*(?:\/\/|--).*?\n)+)/gms)]
    .map(([comment]) =>
      comment.replace(/^[ \t]*(?:\/\*\*?|\*\/|\*|\/\/|--) ?|[ \t]*\*\/$/gm, "").trim()
    );
}
