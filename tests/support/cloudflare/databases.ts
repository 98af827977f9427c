/**
 * Cloudflare's databases, in real workerd, for a test file.
 *
 * @module
 */
import type { LibsqlClient, SqlResult, SqlStatement } from "@fuse/edge/libsql";
import { storeContract } from "@fuse/edge/testing";
import { memory } from "@fuse/edge";
import { copy } from "../cached_project.ts";
import { bundleWorkers, type Isolate, workerdHost, workerProject } from "../workerd.ts";
import { scaled } from "../scale.ts";

/** A Worker with databases. */
export interface Cloudflare {
  /** Asks the Worker. Rejects with what it threw. */
  ask<T>(path: string, body?: unknown): Promise<T>;
  /** The client that `d1Client()` makes there. */
  readonly d1: LibsqlClient;
}

/** Starts the Worker, for a whole test file. */
export async function cloudflareForFile(): Promise<Cloudflare> {
  const host = workerdHost();
  addEventListener("unload", () => host.abandon());
  const { isolates: [isolate] } = await host.start([{
    code: await bundleWorker(),
    bindings: {},
    d1: ["DB"],
  }]);
  return cloudflareOf(isolate!);
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
    d1: { batch, execute: async (statement) => (await batch([statement]))[0]! },
  };
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
