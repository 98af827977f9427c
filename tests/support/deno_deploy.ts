/**
 * Runs `examples/deno-deploy.ts` under `deno serve` as Deno Deploy does, with only the permissions
 * that it needs.
 *
 * @module
 */
import { lines } from "../../examples/demo/lines.ts";
import { root } from "../tools/gate/project.ts";

const ENVIRONMENT = [
  "UPSTASH_REDIS_REST_URL",
  "UPSTASH_REDIS_REST_TOKEN",
  "TURSO_DATABASE_URL",
  "TURSO_AUTH_TOKEN",
  "FUSE_PRUNE_CRON",
  "UPSTREAM_URL",
];

/** An isolate that serves. */
export interface Isolate extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** Sends a signal, and waits until the isolate has ended. */
  end(signal: Deno.Signal): Promise<void>;
}

/** Starts one, on a free port. */
export async function startIsolate(env: Readonly<Record<string, string>>): Promise<Isolate> {
  const process = exampleCommand(["serve", "--port", "0", "--host", "127.0.0.1"], env).spawn();
  const listening = Promise.withResolvers<string>();
  let output = "";
  const read = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>) => {
    for await (const line of lines(stream)) {
      output += `${line}\n`;
      const url = line.match(/Listening on (http:\S+?)\/?$/)?.[1];
      if (url !== undefined) listening.resolve(url);
    }
  };
  const ended = Promise.all([process.status, read(process.stdout), read(process.stderr)]).then(() =>
    listening.reject(new Error(`The example does not serve:\n${output}`))
  );
  const end = async (signal: Deno.Signal) => {
    try {
      process.kill(signal);
    } catch {
      // It has ended already.
    }
    await ended;
  };
  const url = await listening.promise;
  return { url, end, [Symbol.asyncDispose]: () => end("SIGKILL") };
}

/** Returns a command that runs the example, or a `program` that imports it. */
export function exampleCommand(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  program = "examples/deno-deploy.ts",
): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: [...args, "--allow-net=127.0.0.1", `--allow-env=${ENVIRONMENT}`, program],
    cwd: root,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}
