/**
 * Cloudflare's databases, in real workerd, for a test file.
 *
 * @module
 */
import type { NamespaceLike } from "@fuse/edge/durable-object";
import type { LibsqlClient, SqlResult, SqlStatement } from "@fuse/edge/libsql";
import { storeContract } from "@fuse/edge/testing";
import { memory } from "@fuse/edge";
import { copy } from "../cached_project.ts";
import {
  bundleWorkers,
  type Isolate,
  type Workerd,
  type WorkerdHost,
  workerdHost,
  workerProject,
} from "../workerd.ts";
import { scaled } from "../scale.ts";

/** A Worker with databases. */
export interface Cloudflare {
  /** Sends the Worker a request. Rejects with its error. */
  ask<T>(path: string, body?: unknown): Promise<T>;
  /** The client that `d1Client()` creates there. */
  readonly d1: LibsqlClient;
  /** The binding of its Durable Objects. */
  readonly objects: NamespaceLike;
  /** Makes an object die, as if it were evicted. Everything but its storage is lost. */
  evict(name: string): Promise<void>;
}

/** Starts the Worker, for a whole test file. */
export async function cloudflareForFile(): Promise<Cloudflare> {
  const start = await startForFile();
  return (await start()).cloudflare;
}

/** Returns a function that starts the Worker, with its databases in a folder. For a whole test file. */
export async function startForFile(): ReturnType<typeof startFrom> {
  const host = workerdHost();
  addEventListener("unload", () => host.abandon());
  return await startFrom(host);
}

/** Returns a function that starts the Worker, on a host of the caller's. */
export async function startFrom(
  host: WorkerdHost,
): Promise<(folder?: string) => Promise<{ cloudflare: Cloudflare; workerd: Workerd }>> {
  const code = await bundleWorker();
  const worker = { code, bindings: {}, d1: ["DB"], objects: { FUSE: "MortalObject" } };
  return async (folder) => {
    const workerd = await host.start([worker], folder);
    return { workerd, cloudflare: cloudflareOf(workerd.isolates[0]!) };
  };
}

async function bundleWorker(): Promise<string> {
  await using project = await workerProject();
  await copy(new URL("worker.ts", import.meta.url).pathname, `${project.folder}/worker.ts`);
  return (await bundleWorkers(project, ["worker.ts"]))["worker.ts"]!.code;
}

function cloudflareOf(isolate: Isolate): Cloudflare {
  const ask = async <T>(path: string, body: unknown = null): Promise<T> => {
    const response = await isolate.fetch(path, {
      method: "POST",
      body: JSON.stringify(body, (_, value) => typeof value === "bigint" ? Number(value) : value),
    });
    const { ok, error } = await response.json();
    if (error !== undefined) throw Object.assign(new Error(error.message), error);
    return ok;
  };
  const batch = (statements: SqlStatement[]) => ask<SqlResult[]>("/batch", statements);
  return {
    ask,
    objects: {
      idFromName: (name) => name,
      get: (id) => ({
        fetch: async (request: Request) =>
          await isolate.fetch(objectPath(id, "/batch"), {
            method: "POST",
            body: await request.text(),
          }),
      }),
    },
    async evict(name) {
      const response = await isolate.fetch(objectPath(name, "/abort"));
      await response.body?.cancel();
      // The failure of the request that killed the object.
      if (response.status !== 500) throw new Error(`Cannot evict ${name}: it lives on`);
    },
    d1: { batch, execute: async (statement) => (await batch([statement]))[0]! },
  };
}

function objectPath(name: string, path: string): string {
  return `${path}?object=${encodeURIComponent(name)}`;
}

/** Registers the contract, run in workerd. With `audit: "calls"`, quick runs have every fourth case. */
export function testContract({ ask }: Cloudflare, store: string): void {
  const cases = storeContract(() => memory());
  for (const audit of ["transitions", "calls"] as const) {
    const nth = audit === "calls" ? scaled(4, 1) : 1;
    for (const [index, { name }] of cases.entries()) {
      Deno.test({
        name: `storeContract(${store}, audit: ${audit}) ${name}`,
        ignore: index % nth !== 0,
        fn: async () => {
          await ask("/case", { store, audit, index });
        },
      });
    }
  }
}
