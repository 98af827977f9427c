/**
 * Mutates TypeScript with Stryker, whose command runner knows nothing of the tests and therefore
 * works with Deno.
 *
 * @module
 */
import { root } from "../gate/project.ts";
import { type Mutant, oneLine } from "./mutant.ts";
import { type Target, testArgs } from "./targets.ts";

/** The result of a run. */
export interface Survey {
  readonly total: number;
  readonly survivors: readonly Mutant[];
}

/** Stryker's report, as far as it is read: schema 2 of mutation-testing-elements. */
interface Report {
  readonly files: Record<string, { source: string; mutants: readonly Reported[] }>;
}

interface Reported {
  readonly status: string;
  readonly replacement?: string;
  readonly location: { readonly start: Position; readonly end: Position };
}

interface Position {
  readonly line: number;
  readonly column: number;
}

/** Mutates files in a copy of the tree, and runs the target's tests against each mutant. */
export async function survey(
  { files, stages }: Target,
  { jobs, lines }: { jobs: number; lines?: string | undefined },
): Promise<Survey> {
  const folder = await Deno.makeTempDir();
  const report = `${folder}/report.json`;
  const command = stages.map((stage) => [Deno.execPath(), ...testArgs(stage)].join(" "));
  const config = {
    testRunner: "command",
    commandRunner: { command: command.join(" && ") },
    plugins: [],
    mutate: files.map((file) => lines === undefined ? file : `${file}:${lines}`),
    concurrency: jobs,
    // A mutant that hangs is killed, but a slow machine must not count as one.
    timeoutMS: 60_000,
    reporters: ["progress-append-only", "json"],
    jsonReporter: { fileName: report },
    tempDirName: `${folder}/sandboxes`,
    ignorePatterns: [".coverage"],
  };
  try {
    await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(config));
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "npm:@stryker-mutator/core@^10", "run", `${folder}/config.json`],
      cwd: root,
    }).spawn().status;
    if (!success) throw new Error("Stryker could not do it: what it said stands above");
    return read(JSON.parse(await Deno.readTextFile(report)));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function read({ files }: Report): Survey {
  let total = 0;
  const survivors: Mutant[] = [];
  for (const [file, { source, mutants }] of Object.entries(files)) {
    for (const { status, location, replacement = "" } of mutants) {
      if (status === "Ignored" || status === "CompileError") continue;
      total += 1;
      if (status !== "Survived" && status !== "NoCoverage") continue;
      survivors.push({
        file,
        line: location.start.line,
        code: source.split("\n")[location.start.line - 1]!.trim(),
        original: oneLine(cut(source, location)),
        replacement: oneLine(replacement),
      });
    }
  }
  return { total, survivors };
}

function cut(source: string, { start, end }: Reported["location"]): string {
  const lines = source.split("\n").slice(start.line - 1, end.line);
  lines[lines.length - 1] = lines.at(-1)!.slice(0, end.column - 1);
  lines[0] = lines[0]!.slice(start.column - 1);
  return lines.join("\n");
}
