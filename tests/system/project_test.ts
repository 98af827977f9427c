// The statements of CONTRIBUTING, tests/README.md and the workflows about the tree, compared with
// the tree.
import { assert, assertEquals } from "@std/assert";
import { parse } from "@std/yaml";
import { readConfig, root } from "../tools/gate/project.ts";

Deno.test("CONTRIBUTING lists only existing files, and every folder", () => {
  const named = mapOf(read("CONTRIBUTING.md"));
  assertEquals(named.filter((path) => !exists(path)), []);
  const there = [
    ...entriesOf("").filter((name) => name.endsWith("/") || name.endsWith(".ts")),
    ...["src/", "drivers/"].flatMap((folder) =>
      entriesOf(folder).filter((name) => name.endsWith("/")).map((name) => folder + name)
    ),
  ];
  assert(there.length > 10);
  assertEquals(there.filter((path) => !named.includes(path)), []);
});

Deno.test("tests/README.md describes every folder of the tests, and no other", () => {
  const described = [...read("tests/README.md").matchAll(/^\| `([\w/]+\/)` /gm)]
    .map(([, folder]) => folder);
  assertEquals(described.sort(), entriesOf("tests/").filter((name) => name.endsWith("/")).sort());
});

Deno.test("every command in CONTRIBUTING is a task", () => {
  const named = [...read("CONTRIBUTING.md").matchAll(/deno(?:@2)? task ([a-z:]+)/g)].map((
    [, task],
  ) => task!);
  assert(named.length > 5);
  assertEquals(named.filter((task) => !(task in readConfig().tasks)), []);
});

Deno.test("the workflows run .ci/run with the Deno version that it pins", () => {
  const [, pinned] = /deno@(\d+\.\d+\.\d+) /.exec(read(".ci/run"))!;
  for (const name of ["ci.yml", "publish.yml"]) {
    const { jobs } = parse(read(`.github/workflows/${name}`)) as {
      jobs: Record<string, { steps: { run?: string; with?: Record<string, unknown> }[] }>;
    };
    const steps = Object.values(jobs).flatMap((job) => job.steps);
    assert(steps.some(({ run }) => run === ".ci/run"), name);
    const versions = steps.flatMap((step) => step.with?.["deno-version"] ?? []);
    assertEquals([...new Set(versions)], [`v${pinned}`], name);
  }
});

/** Returns the paths in the first block of a page that is a tree: two spaces are one folder. */
function mapOf(page: string): string[] {
  const [, tree = ""] = /^```text\n(.*?)^```$/ms.exec(page)!;
  let folder = "";
  return tree.trimEnd().split("\n").map((line) => {
    const [, indent = "", name = ""] = /^( *)(\S+)/.exec(line)!;
    if (indent === "") folder = name;
    return indent === "" ? name : folder + name;
  });
}

/**
 * Returns the names in a folder of the project that Git tracks or would track; those of folders end
 * with a slash.
 */
function entriesOf(folder: string): string[] {
  return [...Deno.readDirSync(new URL(folder, root))]
    .filter(({ name }) => !name.startsWith(".") && name !== "node_modules")
    .map(({ name, isDirectory }) => isDirectory ? `${name}/` : name);
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(new URL(path, root)).isDirectory === path.endsWith("/");
  } catch {
    return false;
  }
}

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, root));
}
