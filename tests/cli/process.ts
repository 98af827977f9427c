/**
 * The command line as a process of its own.
 *
 * @module
 */
import { lines } from "../support/lines.ts";
import { root } from "../tools/gate/project.ts";

/** The result of a command. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const ARGS = ["run", "-A", "--no-prompt", "src/cli.ts"];

/** The variables of a command, in place of this process's own. */
export type Environment = Readonly<Record<string, string>>;

/** Runs a command to its end. */
export async function cli(env: Environment, ...args: string[]): Promise<Ended> {
  const { code, stdout, stderr } = await command(env, args).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Runs a command whose output goes into a file. */
export async function cliInto(file: string, env: Environment, ...args: string[]): Promise<Ended> {
  const { args: own, ...options } = optionsOf(env, args);
  const command = ["-c", `exec "$@" > "$0"`, file, Deno.execPath(), ...own];
  const { code, stderr } = await new Deno.Command("sh", { ...options, args: command }).output();
  return { code, stdout: "", stderr: new TextDecoder().decode(stderr) };
}

/** Runs a command whose reader leaves before the first output. */
export async function cliLeft(env: Environment, ...args: string[]): Promise<Ended> {
  const { args: own, ...options } = optionsOf(env, args);
  const script = '{ { "$@"; echo "$?" >&3; } | :; } 3>&1';
  const command = ["-c", script, "sh", Deno.execPath(), ...own];
  const { stdout } = await new Deno.Command("sh", { ...options, args: command }).output();
  return { code: Number(new TextDecoder().decode(stdout)), stdout: "", stderr: "" };
}

/** Runs a command that must succeed, and returns its JSON. */
export async function json<T>(env: Environment, ...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await cli(env, ...args, "--json");
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

/** A command that runs until it is ended. */
export interface Running extends AsyncDisposable {
  /** Returns the next line that it prints. */
  next(): Promise<string>;
  /** Interrupts it, as Ctrl-C does, and returns its exit code. */
  interrupt(): Promise<number>;
}

/** Starts a command that does not end by itself. */
export function start(env: Environment, ...args: string[]): Running {
  const child = command(env, args, "inherit").spawn();
  const printed = lines(child.stdout);
  return {
    async next() {
      const { value, done } = await printed.next();
      if (done) throw new Error("the command has ended");
      return value;
    },
    async interrupt() {
      child.kill("SIGINT");
      for await (const _ of printed);
      return (await child.status).code;
    },
    async [Symbol.asyncDispose]() {
      try {
        child.kill("SIGKILL");
      } catch {
        // The command has ended.
      }
      for await (const _ of printed);
      await child.status;
    },
  };
}

function command(env: Environment, args: readonly string[], stderr: "piped" | "inherit" = "piped") {
  return new Deno.Command(Deno.execPath(), { ...optionsOf(env, args), stderr });
}

function optionsOf(
  env: Environment,
  args: readonly string[],
): Deno.CommandOptions & { args: string[] } {
  const own = Deno.env.toObject();
  const kept = ["PATH", "HOME", "DENO_DIR", "DENO_COVERAGE_DIR", "TMPDIR"];
  const inherited = kept.flatMap((name) => own[name] === undefined ? [] : [[name, own[name]!]]);
  return {
    args: [...ARGS, ...args],
    cwd: root,
    clearEnv: true,
    env: { ...Object.fromEntries(inherited), NO_COLOR: "1", USER: "ada", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  };
}
