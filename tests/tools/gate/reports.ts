/** Parses the reports of `deno test` and `deno coverage`. */
import { filesBelow, root } from "./project.ts";

/** The numbers of tests by result. Steps of a test count as tests. */
export interface Counted {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Counts the tests of a JUnit file. Returns zeros if the run did not write it. */
export function countTests(path: string): Counted {
  const xml = readIfThere(path);
  const suites = xml.split("<testcase ").slice(1);
  const having = (tag: RegExp) => suites.filter((suite) => tag.test(suite)).length;
  const failed = having(/<(failure|error)\b/);
  const skipped = having(/<skipped\b/);
  return { passed: suites.length - failed - skipped, failed, skipped };
}

/** Returns the shortfalls of line coverage by folder, a sentence each. */
export function coverageProblems(
  lcov: string,
  folders: readonly string[],
  minimum: number,
): string[] {
  const files = new Map(parseLcov(lcov).map((file) => [file.path, file]));
  return folders.flatMap((folder) => {
    const all = [...filesBelow(folder, ".ts"), ...filesBelow(folder, ".tsx")];
    const unseen = all.filter((path) => !files.has(path) && hasCode(path));
    const seen = all.flatMap((path) => files.get(path) ?? []);
    const lines = seen.reduce((sum, file) => sum + file.lines, 0);
    const hit = seen.reduce((sum, file) => sum + file.lines - file.missed.length, 0);
    const share = lines === 0 ? 100 : (100 * hit) / lines;
    const problems = unseen.map((path) => `${path} is loaded by no test`);
    if (share >= minimum) return problems;
    return [
      ...problems,
      `${folder}/: ${share.toFixed(1)} % of lines are covered, ${minimum} % must be. Not covered:`,
      ...seen.filter((file) => file.missed.length > 0)
        .sort((a, b) => b.missed.length - a.missed.length)
        .map((file) => `  ${file.path}: ${ranges(file.missed)}`),
    ];
  });
}

/**
 * Types of Drizzle's tables, by the file that names them: these tables cannot be written without
 * them.
 */
const DRIZZLE_TYPES: Readonly<Record<string, readonly string[]>> = {
  "drivers/libsql/columns.ts": [
    ...["$Type", "HasDefault", "IsPrimaryKey", "NotNull", "SQLiteIntegerBuilderInitial"],
    ...["SQLiteTextBuilderInitial", "SQLiteTextJsonBuilderInitial"],
    "SQLiteTimestampBuilderInitial",
  ],
  "drivers/libsql/relations.ts": ["Many", "One", "Relations"],
  "drivers/libsql/schema.ts": [
    ...["AnySQLiteTable", "BuildColumns", "SQLiteColumnBuilderBase", "SQLiteTableWithColumns"],
  ],
};

/**
 * Returns the findings of `deno doc --lint`, with one exception: Drizzle's own types in the schema.
 */
export function docProblems(printed: string): string[] {
  const [before = "", ...problems] = printed.split(/^(?=error\[)/m);
  if (problems.length === 0) return [before];
  return problems.filter((problem) => {
    const [, type = "", path = ""] =
      /^error\[private-type-ref\]: .* references private type '(.+)'\n *--> (.+):\d+:\d+\n/
        .exec(problem) ?? [];
    const file = path.startsWith(root.pathname) ? path.slice(root.pathname.length) : path;
    return !DRIZZLE_TYPES[file]?.includes(type);
  });
}

interface CoveredFile {
  readonly path: string;
  readonly lines: number;
  /** The numbers of the lines that never ran. */
  readonly missed: readonly number[];
}

function parseLcov(lcov: string): CoveredFile[] {
  return lcov.split("end_of_record").flatMap((record) => {
    const path = /^SF:(.*)$/m.exec(record)?.[1];
    if (path === undefined || !path.startsWith(root.pathname)) return [];
    const lines = [...record.matchAll(/^DA:(\d+),(\d+)/gm)];
    return {
      path: path.slice(root.pathname.length),
      lines: lines.length,
      missed: lines.filter(([, , hits]) => hits === "0").map(([, line]) => Number(line)),
    };
  });
}

/** `1-3 7`, of 1, 2, 3 and 7. */
function ranges(lines: readonly number[]): string {
  const firsts = lines.filter((line, i) => line - 1 !== lines[i - 1]);
  const lasts = lines.filter((line, i) => line + 1 !== lines[i + 1]);
  return firsts.map((first, i) => first === lasts[i] ? first : `${first}-${lasts[i]}`).join(" ");
}

/** A file of types alone is never loaded, and need not be. */
function hasCode(path: string): boolean {
  const code = /^(export )?(default )?(async )?(function|class|abstract class|const|let|enum)\b/m;
  return code.test(readIfThere(path));
}

function readIfThere(path: string): string {
  try {
    return Deno.readTextFileSync(new URL(path, root));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}
