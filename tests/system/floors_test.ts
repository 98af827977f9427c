// The floors of the project: imports go down only, including type imports, and never in a circle.
import { assert, assertEquals } from "@std/assert";
import { faultsOf, FLOORS, importsOf, readImports } from "../tools/floors/floors.ts";
import { filesBelow, root } from "../tools/gate/project.ts";

Deno.test("imports go down only, type imports included, and never in a circle", () => {
  assertEquals(faultsOf(readImports()), []);
});

Deno.test("every floor has a file, and every file has a floor", () => {
  const files = [...readImports().keys()];
  assert(files.length > 60);
  for (const { name, files: floor } of FLOORS) assert(files.some((file) => floor.test(file)), name);
});

for (
  const [what, file, text, fault] of [
    ["an import up", "src/key.ts", 'import { a } from "./rules/machine.ts";', "above it"],
    ["an import of a type up", "src/key.ts", 'import type { A } from "./circuit.ts";', "above it"],
    ["a re-export from above", "src/key.ts", 'export type * from "../mod.ts";', "above it"],
    ["a sibling", "drivers/upstash.ts", 'import "./libsql/rows.ts";', "must not know"],
    ["shared stores in the core", "src/fuse.ts", 'import "./shared/mod.ts";', "only shared stores"],
    ["a file on no floor", "src/attic.ts", "", "stands on no floor"],
    ["a circle", "src/key.ts", 'import "./errors.ts";', "is a circle"],
  ] as const
) {
  Deno.test(`faultsOf() finds ${what}`, () => {
    const imports = new Map([...readImports(), [file, importsOf(file, text)] as const]);
    const faults = faultsOf(imports);
    assert(faults.some((found) => found.includes(fault)), faults.join("\n"));
  });
}

Deno.test("importsOf() reads imports over several lines, and ignores comments", () => {
  const text = '/** import "./a.ts" */\nimport {\n  type B,\n  c,\n} from "./b/c.ts";\n' +
    'export * from "../d.ts";\nimport "npm:e";\n';
  assertEquals(importsOf("src/f.ts", text), ["src/b/c.ts", "d.ts"]);
});

/** Generated files, which nobody reads. */
const GENERATED = /^(migrations\/meta\/|deno\.lock$)/;

Deno.test("no file has more than 450 lines, and no folder has too many files", () => {
  const files = ["src", "drivers", "migrations", "tests", "examples"].flatMap((folder) =>
    ["", ".ts", ".tsx", ".css", ".js", ".lua", ".sql"].flatMap((extension) =>
      filesBelow(folder, extension)
    )
  ).filter((file) => /\.(tsx?|css|js|lua|sql)$/.test(file) && !GENERATED.test(file));
  const long = [...new Set(files)].filter((file) =>
    Deno.readTextFileSync(new URL(file, root)).split("\n").length > 451
  );
  assertEquals(long, []);
  const directly = (folder: string) =>
    [...Deno.readDirSync(new URL(folder, root))].filter(({ isFile }) => isFile).length;
  assert(directly("drivers") <= 9);
  assert(directly("tests") <= 20);
});
