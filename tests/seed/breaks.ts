/**
 * `deno task seed:breaks [rows …]`: shows that the tests of the seed's rows fail where their behavior
 * is taken away. Each patch of `patches/` is applied to a copy of the tree, and the tests of its rows
 * are run there. It fails where a patch does not apply, no test fails under it, or there is a test
 * that fails under none.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { filesBelow, root } from "../support/gate_project.ts";
import { apply, patchesOf } from "./patches.ts";
import { type Group, groupOf, GROUPS, numbersOf, rowsIn } from "./rows.ts";

/** Files with tests of rows, by name. */
const FILES = filesBelow("tests/seed", ".ts")
  .filter((path) => /^\s*seed\("/m.test(Deno.readTextFileSync(new URL(path, root))))
  .map((path) => path.slice("tests/seed/".length, -".ts".length));
const AT_ONCE = 2;
const DEADLINE_MS = 180_000;

/** What became of some tests, by name. */
type Results = Map<string, "passed" | "failed">;

/** A patch, and what the tests of its rows did under it. */
interface Break {
  readonly group: Group;
  readonly path: string;
  readonly failed: readonly string[];
  readonly ran: number;
  /** Why it shows nothing. */
  readonly problem: string | null;
}

Deno.exit(await main(Deno.args) ? 0 : 1);

async function main(args: readonly string[]): Promise<boolean> {
  const wanted = args.length === 0
    ? GROUPS
    : GROUPS.filter(({ rows }) =>
      args.flatMap((rows) => numbersOf(rows.replace("-", "–"))).some((row) =>
        numbersOf(rows).includes(row)
      )
    );
  console.log("As they are, the tests pass?");
  const testsOf = new Map<string, string[]>();
  for (const file of FILES) {
    const { results, output } = await run(fileURLToPath(root), file);
    const failed = [...results].filter(([, result]) => result === "failed");
    if (results.size === 0 || failed.length > 0) {
      console.log(output);
      console.log(`${file}.ts: ${failed.length} of ${results.size} fail without any patch`);
      return false;
    }
    testsOf.set(file, [...results.keys()]);
  }

  const jobs = wanted.flatMap((group) => patchesOf(group).map((path) => ({ group, path })));
  const breaks: Break[] = [];
  const next = jobs.values();
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (const { group, path } of next) {
      const files = FILES.filter((file) => namesOf(group, testsOf.get(file)!).length > 0);
      const one = await tryBreak(group, path, files);
      console.log(`${one.problem === null ? "." : "!"} ${nameOf(path)}`);
      breaks.push(one);
    }
  }));
  breaks.sort((a, b) =>
    jobs.findIndex(({ path }) => path === a.path) -
    jobs.findIndex(({ path }) => path === b.path)
  );
  return report(wanted, breaks, [...testsOf.values()].flat());
}

async function tryBreak(group: Group, path: string, files: readonly string[]): Promise<Break> {
  const copy = await copyOfTree();
  try {
    const stale = await apply(path, copy);
    if (stale !== null) return { group, path, failed: [], ran: 0, problem: `stale: ${stale}` };
    const failed: string[] = [];
    let ran = 0;
    for (const file of files) {
      const { results } = await run(copy, file, group);
      // A patch that keeps the tests from running shows nothing about them.
      if (results.size === 0) {
        return { group, path, failed, ran, problem: `${file}.ts does not run` };
      }
      ran += results.size;
      failed.push(...[...results].filter(([, r]) => r === "failed").map(([name]) => name));
    }
    return { group, path, failed, ran, problem: failed.length === 0 ? "all pass" : null };
  } finally {
    await Deno.remove(copy, { recursive: true });
  }
}

function report(groups: readonly Group[], breaks: readonly Break[], tests: string[]): boolean {
  const rows = breaks.map(({ group, path, failed, ran, problem }) => [
    ...[group.rows, nameOf(path), problem === null ? "yes" : "no", `${failed.length} of ${ran}`],
    problem?.split("\n")[0] ?? "",
  ]);
  const table = [["rows", "patch", "failed", "tests", ""], ...rows];
  const widths = table[0]!.map((_, i) => Math.max(...table.map((cells) => cells[i]!.length)));
  for (const cells of table) console.log(cells.map((c, i) => c.padEnd(widths[i]!)).join("  "));

  const fallen = new Set(breaks.flatMap(({ failed }) => failed));
  const spared = groups.flatMap((group) => namesOf(group, tests)).filter((t) => !fallen.has(t));
  for (const test of spared) console.log(`Fails under no patch: ${test}`);
  const without = groups.filter((group) => patchesOf(group).length === 0);
  for (const { rows } of without) console.log(`Without a patch: ${rows}`);

  const wrong = breaks.filter(({ problem }) => problem !== null).length + spared.length +
    without.length;
  console.log(`\n${breaks.length} patches, ${fallen.size} tests that fail, ${wrong} problems`);
  return wrong === 0;
}

/** The tests of a group's rows. */
function namesOf(group: Group, names: readonly string[]): string[] {
  return names.filter((name) => {
    const rows = rowsIn(name);
    return rows !== null && groupOf(rows) === group;
  });
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1, -".patch".length);
}

/** The tests of a file, or those of a group in it. Not type-checked: a patch may break types. */
async function run(
  tree: string,
  file: string,
  group?: Group,
): Promise<{ results: Results; output: string }> {
  const numbers = group === undefined ? [] : numbersOf(group.rows).map((row) => `S${row}`);
  // Rows of one group stand in the names of its tests only.
  const filter = group === undefined ? [] : [`--filter=/^(${numbers.join("|")})\\b/`];
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["test", "-A", "--no-check", "--frozen", "--reporter=tap", ...filter],
      `tests/seed/${file}.ts`,
    ],
    cwd: tree,
    stdin: "null",
    env: { NO_COLOR: "1" },
    signal: deadline,
  }).output();
  const text = new TextDecoder();
  const output = text.decode(stdout) + text.decode(stderr);
  const results: Results = new Map();
  for (const [, not, name] of output.matchAll(/^(not )?ok \d+ - (.+)$/gm)) {
    results.set(unquoted(name!), not === undefined ? "passed" : "failed");
  }
  return { results, output };
}

/** TAP escapes what it gives a meaning to. */
function unquoted(name: string): string {
  return name.trim().replace(/\\([\\#])/g, "$1");
}

/** What git would commit, with the changes made since, in a folder of its own. */
async function copyOfTree(): Promise<string> {
  const copy = await Deno.makeTempDir({ prefix: "fuse-seed-" });
  const from = fileURLToPath(root);
  const paths = ["", "src", "drivers", "migrations", "tests"].flatMap((folder) =>
    filesBelow(folder, "").filter((path) => folder !== "" || !path.includes("/"))
  );
  for (const path of paths) {
    await Deno.mkdir(join(copy, dirname(path)), { recursive: true });
    await Deno.copyFile(join(from, path), join(copy, path));
  }
  return copy;
}
