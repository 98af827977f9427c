/**
 * The command line: look at circuits and act on them, without a program of your own.
 *
 * ```sh
 * deno run -A jsr:@fuse/edge/cli status
 * deno run -A jsr:@fuse/edge/cli force-open payments --reason "deploy" --for 10m
 * ```
 *
 * Stores come from environment variables, as `fuseFromEnv` reads them, from `--config module.ts`, or
 * through a dashboard with `--api URL`. The package's page on the command line describes all commands, and
 * so does `--help`.
 *
 * @example As a function
 * ```ts
 * import { runCli } from "@fuse/edge/cli";
 * import { assertEquals, assertStringIncludes } from "@std/assert";
 *
 * let said = "";
 * const code = await runCli(["close", "payments"], {
 *   env: {},
 *   stdout: () => {},
 *   stderr: (text) => said += text,
 * });
 * assertEquals(code, 1);
 * assertStringIncludes(said, "reset closes the circuit");
 * ```
 *
 * @module
 */

import nodeProcess from "node:process";
import { CommanderError } from "commander";
import { makeProgram } from "./cli/program.ts";
import { type CliProcess, Terminal } from "./cli/terminal.ts";

/** The environment of a command, in place of this process's. */
export interface CliOptions {
  /** Environment variables by name. By default, those of this process. */
  env?: object | undefined;
  /** Receives the output. By default, the standard output. */
  stdout?: ((text: string) => void) | undefined;
  /** Receives errors and progress. By default, the standard error. */
  stderr?: ((text: string) => void) | undefined;
  /** Ends `tail`. By default, SIGINT and SIGTERM do. */
  signal?: AbortSignal | undefined;
}

/**
 * Runs a command. Costs the round trips that the command needs: one for each hundred circuits to list,
 * three or four to act on one.
 *
 * @param args Arguments, without the program's name.
 * @param options See {@linkcode CliOptions}.
 * @returns The exit code: 0; 1 for errors, and for `verify` and `check` that are not ok; 2 for
 * `status --fail` while a circuit is open.
 */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<number> {
  const process = processOf(options);
  const { command, exitCode } = makeProgram(process);
  try {
    await command.parseAsync([...args], { from: "user" });
    return exitCode();
  } catch (error) {
    // Commander has printed its own errors, and its help, already.
    if (error instanceof CommanderError) return error.exitCode;
    const terminal = new Terminal(process, false);
    terminal.note(`error: ${terminal.reasonOf(error)}`);
    return 1;
  }
}

function processOf(options: CliOptions): CliProcess {
  const {
    env = nodeProcess.env,
    stdout = (text: string) => void nodeProcess.stdout.write(text),
    stderr = (text: string) => void nodeProcess.stderr.write(text),
  } = options;
  return { env, stdout, stderr, stdin, interrupted: () => options.signal ?? interruption() };
}

async function stdin(): Promise<string> {
  nodeProcess.stdin.setEncoding("utf8");
  let text = "";
  for await (const chunk of nodeProcess.stdin) text += chunk;
  return text;
}

function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    nodeProcess.once(signal, () => controller.abort());
  }
  return controller.signal;
}

// Node 20 has no `import.meta.main`; there, `runCli` is called.
if ((import.meta as { readonly main?: boolean }).main) {
  // The reader of the output may leave before its end, as `head` does. A full disk has lost output.
  nodeProcess.stdout.on("error", ({ code }: { readonly code?: string }) => {
    nodeProcess.exit(code === "EPIPE" ? 0 : 1);
  });
  const code = await runCli(nodeProcess.argv.slice(2));
  // Deno calls back no more once a write has failed.
  nodeProcess.exitCode = code;
  // Clients of stores may hold connections: the process must not wait for them.
  nodeProcess.stdout.write("", () => nodeProcess.exit(code));
}
