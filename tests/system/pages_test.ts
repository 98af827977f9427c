import { assert, assertEquals } from "@std/assert";
import { deno, readConfig, root } from "../tools/gate/project.ts";

const readme = Deno.readTextFileSync(new URL("README.md", root));

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

Deno.test("the README names every option, method, event and fault", async () => {
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
    ...await membersOf("drivers/upstash.ts", ["UpstashSettings"]),
    ...await membersOf("drivers/tiered.ts", ["TieredOptions"]),
    ...await membersOf("drivers/libsql.ts", ["LibsqlStore", "PruneOptions", "VerifyOptions"]),
    ...await membersOf("drivers/libsql/schema.ts", ["SchemaOptions"]),
    ...await membersOf("migrations/mod.ts", ["MigrateOptions"]),
    ...await membersOf("src/hono.ts", [
      "CircuitBreakerMiddlewareOptions",
      "HealthOptions",
      "MetricsOptions",
    ]),
  ];
  const unnamed = members.filter(({ name }) => !new RegExp(`\\b${name}\\b`).test(readme));
  assertEquals(unnamed.map(({ of, name }) => `${of}.${name}`), []);
});

Deno.test("the README names every environment variable that is read", async () => {
  const source = await Deno.readTextFile(new URL("src/env_settings.ts", root));
  const read = new Set(source.match(/\b(?:FUSE|CB_DB|TURSO|UPSTASH)_[A-Z_]+[A-Z]\b/g));
  assert(read.size >= 8);
  assertEquals([...read].filter((name) => !readme.includes(name)), []);
});

Deno.test("the README's tables give the defaults of the docstrings", async () => {
  const options = (await membersOf("mod.ts", ["CircuitPolicy", "FuseOptions", "BackoffOptions"]))
    .filter(({ standard }) => /^[\d_]+$/.test(standard));
  const wrong = options.filter(({ name, standard }) => {
    const cell = new RegExp(`^\\| \`${name}\` +\\| ([\\d ]+)`, "m").exec(readme)?.[1];
    return cell?.replaceAll(" ", "") !== standard.replaceAll("_", "");
  });
  assert(options.length > 10);
  assertEquals(wrong, []);
});

Deno.test("every link of the README to one of its sections leads somewhere", () => {
  const anchors = [...readme.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
    title.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-")
  );
  const links = [...readme.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor = ""]) => anchor);
  assertEquals(links.filter((link) => !anchors.includes(link)), []);
});

Deno.test("every block of measurements in the README holds a table", () => {
  const blocks = [
    ...readme.matchAll(/^<!-- ((?:bench|simulate):\S+) -->\n(.*?)^<!-- \/\1 -->$/gms),
  ];
  assert(blocks.length > 10);
  assertEquals(
    blocks.filter(([, , inside = ""]) => !/^\| .+\|\n\| --/m.test(inside)).map(([, name]) => name),
    [],
  );
});

Deno.test("every block that the README does not run in Deno is a Worker", () => {
  const ignored = [...readme.matchAll(/^```ts ignore\n(.*?)^```$/gms)].map(([, code = ""]) => code);
  // tests/system/workerd_test.ts runs those.
  assertEquals(ignored.filter((code) => !code.includes('from "cloudflare:workers"')), []);
});

interface Member {
  readonly of: string;
  readonly name: string;
  /** What its docstring gives as `@default`. */
  readonly standard: string;
}

interface DocProperty {
  readonly name: string;
  readonly jsDoc?: { tags?: { kind: string; doc?: string; value?: string }[] };
}

/** The members of some exported interfaces and classes, as `deno doc` knows them. */
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
