/**
 * Mutates Lua, for which no tool is maintained. The parser finds the places, and each mutant runs
 * in its own copy of the tree.
 *
 * @module
 */
import fc from "fast-check";
import { parse } from "luaparse";
import { root } from "../gate/project.ts";
import { explanation } from "./explained.ts";
import { type Mutant, oneLine, placeOf } from "./mutant.ts";
import type { Survey } from "./stryker.ts";
import { type Target, testArgs } from "./targets.ts";

/** A mutant, with the whole file. */
interface Variant extends Mutant {
  readonly source: string;
}

/** The part of a node of luaparse's tree that is used. */
interface Node {
  readonly type: string;
  readonly range: readonly [number, number];
  readonly loc: { readonly start: { readonly line: number } };
  readonly operator?: string;
  readonly left?: Node;
  readonly right?: Node;
  readonly argument?: Node;
  readonly condition?: Node | null;
  readonly value?: unknown;
}

/** The number of characters shown on either side of a literal. */
const BESIDE = 14;

/** A test that runs for this long hangs because of a mutant. */
const DEADLINE_MS = 300_000;

/**
 * The counterpart of Stryker's `survey` for the script; tests `sample` mutants at random, or all.
 * Explained ones run only with `all`: each costs the time of all tests.
 */
export async function surveyLua(
  { files, stages }: Target,
  { jobs, lines, all, sample, seed }: {
    jobs: number;
    all: boolean;
    lines?: string | undefined;
    sample: number;
    seed: number;
  },
): Promise<Survey> {
  const [first = 1, last = Infinity] = lines?.split("-").map(Number) ?? [];
  const sources = await Promise.all(files.map((file) => Deno.readTextFile(new URL(file, root))));
  const made = files.flatMap((file, i) => mutate(file, sources[i]!))
    .filter(({ line }) => line >= first && line <= last);
  const survivors: Mutant[] = made.filter((mutant) => !all && explanation(mutant) !== undefined);
  const open = made.filter((mutant) => !survivors.includes(mutant));
  const size = Math.min(sample, open.length);
  const some = fc.shuffledSubarray(open, { minLength: size, maxLength: size });
  const variants = fc.sample(some, { seed, numRuns: 1 })[0]!;
  let next = 0;
  const work = async () => {
    const folder = await copyTree();
    try {
      if (await isDead(folder, stages)) throw new Error("The tests fail without a mutant");
      for (let at = next++; at < variants.length; at = next++) {
        const { source, ...mutant } = variants[at]!;
        const path = `${folder}/${mutant.file}`;
        await Deno.writeTextFile(path, source);
        const dead = await isDead(folder, stages);
        await Deno.copyFile(new URL(mutant.file, root), path);
        if (!dead) survivors.push(mutant);
        console.log(
          `${at + 1}/${variants.length} ${dead ? "killed  " : "SURVIVED"} ${placeOf(mutant)}: ` +
            `${mutant.original} → ${mutant.replacement || "(nothing)"}`,
        );
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  const order = (mutant: Mutant) => files.indexOf(mutant.file);
  survivors.sort((a, b) => order(a) - order(b) || a.line - b.line);
  return { total: size + made.length - open.length, survivors };
}

/**
 * Returns one change for each place: a comparison reversed or shifted, a clause dropped, a number
 * off by one, a statement removed.
 */
export function mutate(file: string, lua: string): Variant[] {
  const variants: Variant[] = [];
  const lines = lua.split("\n");
  const change = ({ range: [from, to], loc, type }: Node, replacement: string) => {
    const source = lua.slice(0, from) + replacement + lua.slice(to);
    // A number alone is not enough: its surroundings are shown, too.
    const beside = type.endsWith("Literal") ? BESIDE : 0;
    const before = lua.slice(from - beside, from).replace(/^.*\n/s, "");
    const after = lua.slice(to, to + beside).replace(/\n.*$/s, "");
    const shown = (code: string) => oneLine(before + code + after);
    const [original, changed] = [shown(lua.slice(from, to)), shown(replacement)];
    const { line } = loc.start;
    const code = lines[line - 1]!.trim();
    variants.push({ file, line, code, original, replacement: changed, source });
  };
  const text = ({ range: [from, to] }: Node) => lua.slice(from, to);
  parse(lua, {
    luaVersion: "5.1",
    ranges: true,
    locations: true,
    onCreateNode(created: unknown) {
      const node = created as Node;
      const { type, operator, left, right, argument } = node;
      if (type === "BinaryExpression" || type === "LogicalExpression") {
        const other = OPERATORS[operator!];
        if (other !== undefined) change(node, `(${text(left!)} ${other} ${text(right!)})`);
        if (type === "LogicalExpression") {
          for (const one of [left!, right!]) change(node, text(one));
        }
      } else if (type === "UnaryExpression" && operator === "not") {
        change(node, `(${text(argument!)})`);
      } else if (type === "NumericLiteral") {
        change(node, String(Number(node.value) + 1));
      } else if (type === "BooleanLiteral") {
        change(node, String(!node.value));
      } else if (type === "CallStatement" || type === "AssignmentStatement") {
        change(node, "");
      } else if (type === "IfClause" || type === "ElseifClause") {
        for (const other of ["true", "false"]) change(node.condition!, other);
      }
    },
  });
  return variants;
}

const OPERATORS: Readonly<Record<string, string>> = {
  "==": "~=",
  "~=": "==",
  "<": "<=",
  "<=": "<",
  ">": ">=",
  ">=": ">",
  "+": "-",
  "-": "+",
  "*": "/",
  "/": "*",
  "and": "or",
  "or": "and",
};

async function isDead(folder: string, stages: Target["stages"]): Promise<boolean> {
  const steps = [
    ["run", "-A", "--no-check", "tests/tools/generate/lua.ts"],
    ...stages.map(testArgs),
  ];
  for (const args of steps) {
    const { success } = await new Deno.Command(Deno.execPath(), {
      args,
      cwd: folder,
      stdout: "null",
      stderr: "null",
      signal: AbortSignal.timeout(DEADLINE_MS),
    }).output();
    if (!success) return true;
  }
  return false;
}

/** Returns the files that git tracks, as they are in the tree. */
async function copyTree(): Promise<string> {
  const folder = await Deno.makeTempDir();
  const { stdout } = await new Deno.Command("git", { args: ["ls-files"], cwd: root }).output();
  for (const path of new TextDecoder().decode(stdout).trim().split("\n")) {
    await Deno.mkdir(`${folder}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
    await Deno.copyFile(new URL(path, root), `${folder}/${path}`);
  }
  return folder;
}
