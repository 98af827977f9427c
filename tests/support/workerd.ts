/**
 * Real workerd: bundles a Worker as wrangler does, and runs it in any number of isolates.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
// Deno's own connections always end in good order, which workerd takes for the mere end of a
// request.
import { connect } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parse } from "@std/jsonc";
import { deno, root } from "../tools/gate/project.ts";
import type { BundleRequest } from "./bundle_process.ts";
import { type CachedProject, cachedProject, copy } from "./cached_project.ts";

/** `examples/cloudflare-worker/` */
export const EXAMPLE = new URL("examples/cloudflare-worker/", root);

/** The part of a wrangler.jsonc that this file reads. */
export interface WranglerConfig {
  readonly name: string;
  readonly main: string;
  readonly compatibility_date: string;
  readonly compatibility_flags: string[];
  readonly vars: Record<string, string>;
  readonly triggers: { readonly crons: string[] };
}

/** Reads the wrangler.jsonc of the example. */
export async function readWrangler(): Promise<WranglerConfig> {
  return parse(await Deno.readTextFile(new URL("wrangler.jsonc", EXAMPLE))) as WranglerConfig;
}

/** The packages that the example and the library import. */
const PACKAGES = ["@libsql/client", "@upstash/redis", "drizzle-orm", "hono"];

/**
 * The example as an npm user has it, with fixtures of tests beside its own sources.
 *
 * @param more Further packages, beside those of the example.
 */
export async function workerProject(
  fixtures?: URL,
  more: readonly string[] = [],
): Promise<CachedProject> {
  const project = await cachedProject([...PACKAGES, ...more]);
  await copy(fileURLToPath(new URL("src", EXAMPLE)), join(project.folder, "src"));
  if (fixtures !== undefined) {
    await copy(fileURLToPath(fixtures), join(project.folder, "fixtures"));
  }
  return project;
}

/** A bundle, with its remaining imports. */
export interface WorkerBundle {
  readonly code: string;
  readonly imports: readonly string[];
}

const BUNDLER = fileURLToPath(new URL("bundle_process.ts", import.meta.url));

/**
 * Bundles Workers by their entry points, with the settings of `wrangler deploy`; without
 * `nodejs_compat`, so no module of Node.
 */
export async function bundleWorkers(
  { folder }: CachedProject,
  mains: readonly string[],
  minify = false,
): Promise<Record<string, WorkerBundle>> {
  const request: BundleRequest = { folder, mains, minify };
  const { ok, stdout, stderr } = await deno(
    ["run", "-A", "--no-check", "--quiet", BUNDLER, JSON.stringify(request)],
  );
  if (!ok) throw new Error(`Cannot bundle: ${stderr}`);
  const bundles: WorkerBundle[] = JSON.parse(stdout);
  return Object.fromEntries(mains.map((main, i) => [main, bundles[i]!]));
}

/** The Worker and the bindings of an isolate. */
export interface IsolateOptions {
  readonly code: string;
  readonly bindings: Record<string, string>;
  /** The names of bindings to D1 databases. */
  readonly d1?: readonly string[];
  /** The classes of Durable Objects with SQLite, by the name of their binding. */
  readonly objects?: Readonly<Record<string, string>>;
}

/** An isolate: a Worker of its own in workerd. */
export interface Isolate {
  /** `http://127.0.0.1:PORT/` */
  readonly url: string;
  /** Sends a request over its own socket. The body must be read or canceled. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Sends a request as a client that can disconnect. Resolves once the request is sent. */
  client(path: string): Promise<Client>;
  /** Fires a cron trigger, and waits until its work is done. Returns `ok`, or another outcome. */
  cron(pattern: string): Promise<string>;
}

/** A client that does not wait for its answer. */
export interface Client {
  /** Resets the connection: workerd notices, as when Cloudflare's edge loses a client. */
  leave(): Promise<void>;
}

/** A workerd that is running. */
export interface Workerd extends AsyncDisposable {
  readonly isolates: readonly Isolate[];
  /** The time until its isolates listened, in ms. */
  readonly startMs: number;
}

/** A request to the process that runs workerd. */
export type WorkerdRequest =
  | {
    readonly start: {
      readonly workers: readonly IsolateOptions[];
      /** A folder for databases. Without it, they disappear with their workerd. */
      readonly folder?: string;
      readonly compatibilityDate: string;
      readonly compatibilityFlags: string[];
    };
  }
  | { readonly id: number; readonly isolate: number; readonly cron: string }
  | { readonly id: number; readonly stop: true };

/** Runs workerds, in sequence or concurrently. */
export interface WorkerdHost {
  /** Starts one isolate for each. Rejects with workerd's message if a Worker does not start. */
  start(workers: readonly IsolateOptions[], folder?: string): Promise<Workerd>;
  /** Ends all of them, with the process that runs them. */
  end(): Promise<void>;
  /** Ends all of them synchronously, for `unload`. */
  abandon(): void;
}

const PROCESS = fileURLToPath(new URL("workerd_process.ts", import.meta.url));

/** Starts a host. It ends with this process. */
export function workerdHost(): WorkerdHost {
  const child = spawn(
    Deno.execPath(),
    ["run", "-A", "--no-check", "--quiet", PROCESS],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const output = createInterface({ input: child.stdout });
  const lines = output[Symbol.asyncIterator]();

  async function ask<T>(request: WorkerdRequest): Promise<T> {
    child.stdin.write(`${JSON.stringify(request)}\n`);
    const { value } = await lines.next();
    const answer = JSON.parse(value ?? `{ "error": "its process has ended" }`);
    if ("error" in answer) throw new Error(`Cannot use workerd: ${answer.error}`);
    return answer.ok;
  }

  return {
    async start(workers, folder) {
      const { compatibility_date, compatibility_flags } = await readWrangler();
      const began = performance.now();
      const { id, urls } = await ask<{ id: number; urls: string[] }>({
        start: {
          workers,
          ...folder === undefined ? {} : { folder },
          compatibilityDate: compatibility_date,
          compatibilityFlags: compatibility_flags,
        },
      });
      const startMs = performance.now() - began;
      const isolates = urls.map((url, isolate): Isolate => ({
        url,
        fetch: (path, init) => fetch(new URL(path, url), init),
        client: (path) => clientOf(new URL(path, url)),
        cron: (cron) => ask({ id, isolate, cron }),
      }));
      return { isolates, startMs, [Symbol.asyncDispose]: () => ask({ id, stop: true }) };
    },
    async end() {
      const ended = once(child, "exit");
      child.stdin.end();
      await ended;
      output.close();
    },
    abandon: () => child.kill("SIGKILL"),
  };
}

async function clientOf({ hostname, port, pathname, search }: URL): Promise<Client> {
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  await new Promise((resolve) =>
    socket.write(`GET ${pathname}${search} HTTP/1.1\r\nhost: ${hostname}\r\n\r\n`, resolve)
  );
  return {
    async leave() {
      const closed = once(socket, "close");
      socket.resetAndDestroy();
      await closed;
    },
  };
}
