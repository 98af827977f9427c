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
 * three or four to act on one. Returns once all output is written, so that `process.exit()` may follow.
 *
 * @param args Arguments, without the program's name.
 * @param options See {@linkcode CliOptions}.
 * @returns The exit code: 0; 1 for errors, and for `verify` and `check` that are not ok; 2 for
 * `status --fail` while a circuit is open.
 */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<number> {
  const output = options.stdout === undefined ? outputTo(nodeProcess.stdout) : null;
  const errors = options.stderr === undefined ? outputTo(nodeProcess.stderr) : null;
  const process = processOf(options, output, errors);
  const code = await run(args, process);
  const failure = await output?.end() ?? null;
  // The reader may leave before the end, as `head` does. A full disk has lost output.
  const isLost = failure !== null && failure !== "EPIPE";
  if (isLost) process.stderr(`error: the output cannot be written: ${failure}\n`);
  // Nobody can be told of errors that cannot be written.
  await errors?.end();
  return isLost ? 1 : code;
}

async function run(args: readonly string[], process: CliProcess): Promise<number> {
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

/** The standard output of this process, or its standard error. */
interface Output {
  readonly write: (text: string) => void;
  /** Aborts when a write has failed. */
  readonly failed: AbortSignal;
  /**
   * Waits until everything is written: Node writes to pipes in the background, and `process.exit()` drops
   * the rest. Returns the code of the failure, or `null`.
   */
  end(): Promise<string | null>;
}

function outputTo(stream: typeof nodeProcess["stdout" | "stderr"]): Output {
  const failed = new AbortController();
  const fail = ({ code = "unknown" }: { readonly code?: string }) => failed.abort(code);
  stream.on("error", fail);
  return {
    failed: failed.signal,
    write(text) {
      if (failed.signal.aborted) return;
      try {
        stream.write(text);
      } catch (error) {
        // Deno throws what Node emits.
        fail(Object(error));
      }
    },
    async end() {
      if (!failed.signal.aborted) {
        await new Promise<void>((resolve) => {
          // Deno calls back no more once a write has failed.
          failed.signal.addEventListener("abort", () => resolve(), { once: true });
          stream.write("", () => resolve());
        });
      }
      stream.off("error", fail);
      return failed.signal.aborted ? String(failed.signal.reason) : null;
    },
  };
}

function processOf(
  options: CliOptions,
  output: Output | null,
  errors: Output | null,
): CliProcess {
  const {
    env = nodeProcess.env,
    stdout = output!.write,
    stderr = errors!.write,
    signal,
  } = options;
  const interrupted = () => {
    const asked = signal ?? interruption();
    return output === null ? asked : AbortSignal.any([asked, output.failed]);
  };
  return { env, stdout, stderr, stdin, interrupted };
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
  // Clients of stores may hold connections: the process must not wait for them.
  nodeProcess.exit(await runCli(nodeProcess.argv.slice(2)));
}
