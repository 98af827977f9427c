/** Facts about this project for the gate and the boundary test, read from its own files. */

/** The root of the tree, with a slash at its end. */
export const root = new URL("../../../", import.meta.url);

/** The part of `deno.json` that the gate uses. */
export interface Config {
  readonly exports: Readonly<Record<string, string>>;
  readonly imports: Readonly<Record<string, string>>;
  readonly tasks: Readonly<Record<string, string>>;
  readonly compilerOptions: Readonly<Record<string, unknown>>;
}

/** Reads `deno.json`. */
export function readConfig(): Config {
  return JSON.parse(Deno.readTextFileSync(new URL("deno.json", root)));
}

/** drizzle-kit, in the version that `deno.json` names. */
export const DRIZZLE_KIT: string = readConfig().imports["drizzle-kit"]!;

/**
 * Returns the files below a folder of the project, as paths from its root. Returns none if the
 * folder does not exist.
 */
export function filesBelow(folder: string, extension: string): string[] {
  const found: string[] = [];
  const open = [folder === "" ? "" : `${folder}/`];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    for (const entry of entriesOf(at)) {
      if (entry.name.startsWith(".") || entry.name === "node_modules") continue;
      if (entry.isDirectory) open.push(`${at}${entry.name}/`);
      else if (entry.name.endsWith(extension)) found.push(at + entry.name);
    }
  }
  return found.sort();
}

/** A finished command. */
export interface Finished {
  readonly ok: boolean;
  /** Its output, without colors; empty if it was shown directly. */
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs this Deno at the root of the project or in `cwd`. `show` lets it write straight to the
 * terminal. A run that exceeds `deadlineMs` is ended and has failed.
 */
export async function deno(
  args: readonly string[],
  { show = false, deadlineMs = 300_000, env = {}, cwd = root }: {
    show?: boolean;
    deadlineMs?: number;
    cwd?: string | URL;
    env?: Readonly<Record<string, string>>;
  } = {},
): Promise<Finished> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), deadlineMs);
  try {
    const output = show ? "inherit" : "piped";
    const ended = await new Deno.Command(Deno.execPath(), {
      args: [...args],
      cwd,
      stdin: "null",
      stdout: output,
      stderr: output,
      signal: deadline.signal,
      env: show ? env : { NO_COLOR: "1", ...env },
    }).output();
    const ok = ended.success;
    const late = deadline.signal.aborted ? `\nEnded: it took longer than ${deadlineMs} ms` : "";
    if (show) return { ok, stdout: "", stderr: late };
    const text = new TextDecoder();
    return { ok, stdout: text.decode(ended.stdout), stderr: text.decode(ended.stderr) + late };
  } finally {
    clearTimeout(timer);
  }
}

function entriesOf(folder: string): Iterable<Deno.DirEntry> {
  try {
    return Deno.readDirSync(new URL(folder, root));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
