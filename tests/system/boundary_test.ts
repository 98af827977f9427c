import { assert, assertEquals } from "@std/assert";
import { deno, filesBelow, readConfig, root } from "../tools/gate/project.ts";
import { codeOf, readPages } from "../tools/pages/pages.ts";

/** Entry points that run on Node-like runtimes, and never at the edge. */
const ON_A_MACHINE: readonly string[] = ["./cli"];

/** The npm packages that each entry point may import, by name. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  ".": [],
  "./d1": ["drizzle-orm"],
  "./dashboard": ["hono"],
  "./durable-object": ["drizzle-orm"],
  "./upstash": ["@upstash/redis"],
  "./cli": ["@libsql/client", "@upstash/redis", "commander", "drizzle-orm"],
  "./env": ["@libsql/client", "@upstash/redis", "drizzle-orm"],
  "./hono": ["hono"],
  "./libsql": ["@libsql/client", "drizzle-orm"],
  "./libsql/relations": ["drizzle-orm"],
  "./libsql/schema": ["drizzle-orm"],
  "./log": [],
  "./migrations": [],
  "./notify": [],
  "./otel": ["@opentelemetry/api"],
  "./prometheus": [],
  "./redis": [],
  "./store": [],
  "./testing": [],
};

const config = readConfig();
const sources = ["", "src", "drivers", "migrations", "tests", "examples"].flatMap((folder) =>
  [".ts", ".tsx"].flatMap((extension) => filesBelow(folder, extension))
    .filter((path) => folder !== "" || !path.includes("/"))
);

Deno.test("every entry point states its npm packages", () => {
  assertEquals(Object.keys(config.exports), Object.keys(ALLOWED));
});

for (const [entry, path] of Object.entries(config.exports)) {
  const edge = !ON_A_MACHINE.includes(entry);
  const title = `its own npm packages${edge ? " and nothing of Node" : ""}`;
  Deno.test(`entry point ${entry} reaches ${title}`, async () => {
    const reached = await specifiersReachedFrom(path);
    assertEquals(
      {
        npm: [...new Set(reached.filter((s) => s.startsWith("npm:")).map(packageName))].sort(),
        node: edge ? reached.filter((s) => s.startsWith("node:")) : [],
        remote: reached.filter((s) => /^(https?|jsr):/.test(s)),
      },
      { npm: [...ALLOWED[entry] ?? []].sort(), node: [], remote: [] },
    );
  });
}

Deno.test("examples/README.md says which packages an entry point needs", async () => {
  const readme = await Deno.readTextFile(new URL("examples/README.md", root));
  const told = Object.fromEntries(
    [...readme.matchAll(/^\| (`\.\/.*?) +\| (`.*?) +\|$/gm)].flatMap(([, entries, packages]) =>
      namesIn(entries!).map((entry) => [entry, namesIn(packages!).sort()])
    ),
  );
  const needing = Object.entries(ALLOWED).filter(([, packages]) => packages.length > 0);
  assertEquals(told, Object.fromEntries(needing));
});

function namesIn(text: string): string[] {
  return [...text.matchAll(/`(.+?)`/g)].map(([, name]) => name!);
}

/** Published files that no entry point imports. */
const EXTRA =
  /^(deno\.json|[A-Z]+(\.md)?|[\w/-]+\/[\w-]+\.(md|png)|migrations\/(\d+_\w+\.sql|meta\/\w+\.json))$/;

Deno.test("the published files are the files that entry points import, migrations and pages", async () => {
  const { ok, stderr } = await deno(["publish", "--dry-run", "--allow-dirty", "--no-check"]);
  assert(ok, stderr);
  const published = pathsWithin(stderr.match(/file:\S+/g) ?? []);
  const needed = pathsWithin(
    (await Promise.all(Object.values(config.exports).map(specifiersReachedFrom))).flat(),
  );
  assertEquals(published.filter((path) => !EXTRA.test(path)).sort(), [...new Set(needed)].sort());
  assertEquals(
    published.filter((path) => EXTRA.test(path)).sort(),
    [
      ...["CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "deno.json"],
      ...["src", "drivers", "examples", "tests"].flatMap((folder) => filesBelow(folder, ".md")),
      "src/dashboard/dashboard.png",
      ...filesBelow("migrations", "").filter((path) => !path.endsWith(".ts")),
    ].sort(),
  );
});

Deno.test("the npm packages of deno.json are the imported ones", () => {
  const inPages = readPages().flatMap(({ text }) => codeOf(text, "ts")).flatMap(specifiersIn);
  const imported = new Set([...sources.flatMap(importsOf), ...inPages]);
  const declared = Object.entries(config.imports)
    .filter(([, target]) => target.startsWith("npm:")).map(([name]) => name);
  const unused = declared.filter((name) =>
    ![...imported].some((specifier) => specifier === name || specifier.startsWith(`${name}/`))
  );
  assertEquals(unused, [], "declared and never imported");
  assertEquals(
    [...imported].filter((specifier) => specifier.startsWith("npm:")),
    [],
    "imported past deno.json",
  );
});

Deno.test("nothing is imported from JSR", () => {
  const all = [...sources.flatMap(importsOf), ...Object.values(config.imports)];
  assertEquals(all.filter((specifier) => specifier.startsWith("jsr:")), []);
});

/** The module graph: files, packages, built-in modules. */
async function specifiersReachedFrom(path: string): Promise<string[]> {
  const { ok, stdout, stderr } = await deno(["info", "--json", path]);
  assert(ok, stderr);
  const { modules } = JSON.parse(stdout) as {
    modules: { specifier: string; error?: string; dependencies?: { specifier: string }[] }[];
  };
  return modules.flatMap(({ specifier, error, dependencies = [] }) => {
    assertEquals(error, undefined, specifier);
    // A type-only import of a built-in module appears only among the dependencies.
    return [
      specifier,
      ...dependencies.map((d) => d.specifier).filter((s) => s.startsWith("node:")),
    ];
  });
}

/** `npm:/@libsql/client@0.18.0/web` is `@libsql/client`. */
function packageName(specifier: string): string {
  const name = /^npm:\/?((?:@[^/]+\/)?[^@/]+)/.exec(specifier)?.[1];
  if (name === undefined) throw new Error(`No package in ${specifier}`);
  return name;
}

function pathsWithin(specifiers: readonly string[]): string[] {
  return specifiers.filter((s) => s.startsWith(root.href)).map((s) => s.slice(root.href.length));
}

/** Returns the specifiers of a file's import and re-export statements and of its `import()`s. */
function importsOf(path: string): string[] {
  return specifiersIn(Deno.readTextFileSync(new URL(path, root)));
}

function specifiersIn(text: string): string[] {
  const statements = text.matchAll(/(?:\bfrom|\bimport|\bimport\()\s*["']([^"'\n]+)["']/g);
  return [...statements].flatMap(([, specifier]) => specifier ?? []);
}
