import { assert, assertEquals, assertThrows } from "@std/assert";
import { deno, filesBelow, readConfig, root } from "../tools/gate/project.ts";
import {
  anchorsOf,
  codeOf,
  docTestedPages,
  linksOf,
  readGuide,
  readPages,
  sectionOf,
  sectionsOf,
} from "../tools/pages/pages.ts";

const pages = readPages();
const guide = readGuide();
const readme = guide.find(({ path }) => path === "README.md")!.text;
const words = guide.map(({ text }) => text).join("\n");

Deno.test("the README opens with the two commands, and CI runs the tests by its command", () => {
  const opening = readme.slice(0, readme.indexOf("\n```\n"));
  for (const task of ["demo", "test"]) {
    assert(opening.includes(`npx -y deno@2 task ${task}`), task);
    assert(task in readConfig().tasks, task);
  }
  const script = Deno.readTextFileSync(new URL(".ci/run", root));
  assert(/^deno\(\) \{ npx -y deno@2\.\S+ "\$@"; \}$/m.test(script));
  assert(/^deno task test /m.test(script));
});

Deno.test("the pages name every option, method, event and fault", async () => {
  const members = [
    ...await membersOf("mod.ts", [
      "CircuitPolicy",
      "CircuitOptions",
      "CallOptions",
      "FuseOptions",
      "BackoffOptions",
      "MemoryOptions",
      "FuseEvents",
      "CircuitBreaker",
      "Fuse",
      "Permit",
    ]),
    ...await membersOf("src/testing/mod.ts", ["Faults", "FakeClock"]),
    ...await membersOf("drivers/upstash/store.ts", ["UpstashSettings"]),
    ...await membersOf("drivers/tiered.ts", ["TieredOptions"]),
    ...await membersOf("drivers/libsql.ts", ["LibsqlStore", "PruneOptions", "VerifyOptions"]),
    ...await membersOf("drivers/durable_object.ts", ["DurableObjectOptions"]),
    ...await membersOf("drivers/libsql/schema.ts", ["SchemaOptions"]),
    ...await membersOf("migrations/mod.ts", ["MigrateOptions"]),
    ...await membersOf("src/hono.ts", [
      "CircuitBreakerMiddlewareOptions",
      "HealthOptions",
      "MetricsOptions",
    ]),
    ...await membersOf("src/dashboard.ts", ["DashboardOptions"]),
  ];
  const unnamed = members.filter(({ name }) => !new RegExp(`\\b${name}\\b`).test(words));
  assertEquals(unnamed.map(({ of, name }) => `${of}.${name}`), []);
});

Deno.test("the pages name every environment variable that the package reads", async () => {
  const source = await Deno.readTextFile(new URL("src/env_settings.ts", root));
  const read = new Set(source.match(/\b(?:FUSE|CB_DB|TURSO|UPSTASH)_[A-Z_]+[A-Z]\b/g));
  assert(read.size >= 8);
  assertEquals([...read].filter((name) => !words.includes(name)), []);
});

Deno.test("the page of the options states the defaults of the docstrings", async () => {
  const { text } = guide.find(({ path }) => path === "src/rules/README.md")!;
  const options = (await membersOf("mod.ts", ["CircuitPolicy", "FuseOptions", "BackoffOptions"]))
    .filter(({ standard }) => /^[\d_]+$/.test(standard));
  const wrong = options.filter(({ name, standard }) => {
    const cell = new RegExp(`^\\| \`${name}\` +\\| ([\\d ]+)`, "m").exec(text)?.[1];
    return cell?.replaceAll(" ", "") !== standard.replaceAll("_", "");
  });
  assert(options.length > 10);
  assertEquals(wrong, []);
});

Deno.test("every link from a page into the project leads to an existing place", () => {
  const broken = pages.flatMap(({ path, text }) =>
    linksOf(text).filter((link) => !leadsSomewhere(path, link)).map((link) => `${path}: ${link}`)
  );
  assert(pages.flatMap(({ text }) => linksOf(text)).length > 50);
  assertEquals(broken, []);
});

Deno.test("every page of the guide is linked from the README", () => {
  const linked = new Set(linksOf(readme).map((link) => new URL(link, root).pathname));
  const lost = guide.filter(({ path }) => path !== "README.md")
    .filter(({ path }) => !linked.has(new URL(path, root).pathname));
  assertEquals(lost.map(({ path }) => path), []);
});

Deno.test("every page but the README leads back to it", () => {
  const lost = pages.filter(({ path, text }) =>
    path.includes("/") &&
    !linksOf(text).some((link) =>
      new URL(link, new URL(path, root)).href === `${root}README.md#pages`
    )
  );
  assertEquals(lost.map(({ path }) => path), []);
});

Deno.test("the README has at most 250 lines", () => {
  assert(readme.trimEnd().split("\n").length <= 250);
});

Deno.test("every page begins with its title, its only heading of the first level", () => {
  for (const { path, text } of pages) {
    const prose = text.replace(/^```.*?^```$/gms, "");
    assertEquals(prose.match(/^# .+$/gm), [text.split("\n")[0]], path);
  }
});

Deno.test("every block of measurements in a page holds a table", () => {
  const blocks = pages.flatMap(({ text }) => [
    ...text.matchAll(/^<!-- ((?:bench|simulate):\S+) -->\n(.*?)^<!-- \/\1 -->$/gms),
  ]);
  assert(blocks.length > 10);
  assertEquals(
    blocks.filter(([, , inside = ""]) => !/^\| .+\|\n\| --/m.test(inside)).map(([, name]) => name),
    [],
  );
});

Deno.test("every block of TypeScript in a page is run, by doc tests or as a Worker", () => {
  const docTested = docTestedPages();
  for (const { path, text } of pages) {
    const infos = [...text.matchAll(/^\s*```(\w.*)$/gm)].map(([, info = ""]) => info)
      .filter((info) => /^([cm]?[jt]sx?|javascript|typescript)\b/.test(info));
    const blocks = { ts: codeOf(text, "ts"), ignored: codeOf(text, "ts ignore") };
    assertEquals(infos.length, blocks.ts.length + blocks.ignored.length, path);
    // tests/system/workerd_test.ts and workerd_databases_test.ts run these.
    const workers = docTested.includes(path) ? blocks.ignored : [...blocks.ts, ...blocks.ignored];
    for (const code of workers) assert(/"(cloudflare:workers|hono)"/.test(code), path);
  }
});

Deno.test("the rules are numbered from 1 on, and the code cites only existing rules", () => {
  const { text } = sectionOf(guide, "The rules");
  const numbers = [...text.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number));
  assert(numbers.length >= 18);
  assertEquals(numbers, numbers.map((_, i) => i + 1));
  const unknown = ["src", "drivers", "tests"].flatMap((folder) =>
    filesBelow(folder, ".ts").filter((path) =>
      citedIn(Deno.readTextFileSync(new URL(path, root))).some((rule) => !numbers.includes(rule))
    )
  );
  assertEquals(unknown, []);
});

Deno.test("sectionsOf() returns headings with their contents, and no comments in code", () => {
  const page = "# A\na\n## B\nb\n```sh\n# no heading\n```\n### C\nc\n## D\n";
  assertEquals(sectionsOf(page).map(({ title }) => title), ["A", "B", "C", "D"]);
  assertEquals(sectionsOf(page)[1]?.text, "b\n```sh\n# no heading\n```\n### C\nc");
  assertEquals(sectionsOf(page)[3]?.text, "");
});

Deno.test("sectionOf() throws when no page has the section, and when two pages have it", () => {
  const page = (path: string) => ({ path, text: "# A\n\na\n" });
  assertEquals(sectionOf([page("a.md")], "A"), { title: "A", text: "\na\n", path: "a.md" });
  assertThrows(() => sectionOf([page("a.md")], "B"), Error, "found it on no page");
  assertThrows(() => sectionOf([page("a.md"), page("b.md")], "A"), Error, "a.md, b.md");
});

Deno.test("linksOf() returns links into the project, and neither addresses nor code", () => {
  const page = "[a](b.md#c) [d](#e) [f](https://example.com) `[g](h)`\n```ts\n[i](j)\n```\n";
  assertEquals(linksOf(page), ["b.md#c", "#e"]);
});

Deno.test("anchorsOf() returns an anchor for each heading, and numbers repeated ones", () => {
  assertEquals(anchorsOf("# Has it been touched?\n## A\n## A\n"), [
    "has-it-been-touched",
    "a",
    "a-1",
  ]);
});

/** Returns `true` if the file or folder exists and, on a page, the anchor does. */
function leadsSomewhere(from: string, link: string): boolean {
  const target = new URL(link, new URL(from, root));
  const anchor = target.hash.slice(1);
  target.hash = "";
  if (!target.href.startsWith(root.href)) return false;
  try {
    const { isFile } = Deno.statSync(target);
    if (anchor === "") return true;
    return isFile && anchorsOf(Deno.readTextFileSync(target)).includes(anchor);
  } catch {
    return false;
  }
}

/** Returns the numbers in `rule 7`, `Rules 6, 7 and 12` and `rules 16 to 18`. */
function citedIn(source: string): number[] {
  return [...source.matchAll(/\brules? (\d+(?:(?:, | and | to )\d+)*)/gi)]
    .flatMap(([, numbers = ""]) => numbers.match(/\d+/g)!.map(Number));
}

interface Member {
  readonly of: string;
  readonly name: string;
  /** Returns the `@default` of its docstring. */
  readonly standard: string;
}

interface DocProperty {
  readonly name: string;
  readonly jsDoc?: { tags?: { kind: string; doc?: string; value?: string }[] };
}

/** Returns the members of some exported interfaces and classes, as `deno doc` lists them. */
async function membersOf(path: string, wanted: readonly string[]): Promise<Member[]> {
  const { ok, stdout, stderr } = await deno(["doc", "--json", path]);
  assert(ok, stderr);
  const { nodes } = JSON.parse(stdout) as {
    nodes: Record<string, {
      symbols: {
        name: string;
        declarations: { def?: { properties?: DocProperty[]; methods?: DocProperty[] } }[];
      }[];
    }>;
  };
  const symbols = Object.values(nodes).flatMap((node) => node.symbols);
  return wanted.flatMap((of) => {
    const symbol = symbols.find(({ name }) => name === of);
    if (symbol === undefined) throw new Error(`${path} exports no ${of}`);
    return symbol.declarations
      .flatMap(({ def }) => [...def?.properties ?? [], ...def?.methods ?? []])
      .filter(({ name }) => /^\w+$/.test(name))
      .map(({ name, jsDoc }) => {
        const tag = jsDoc?.tags?.find(({ kind }) => kind === "default");
        return {
          of,
          name,
          standard: (tag?.value ?? tag?.doc ?? "").replace(/^\{|\}$/g, "").trim(),
        };
      });
  });
}
