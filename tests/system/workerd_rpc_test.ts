// Rule 10, trap 58: rejections over Workers RPC, before and after errors cross it with their
// fields.
import { assertEquals } from "@std/assert";
import { Miniflare, Response as MiniflareResponse } from "miniflare";
import * as esbuild from "esbuild";
import { root } from "../tools/gate/project.ts";

/** A Worker that guards its database, and is called over RPC. */
const INNER = `
import { WorkerEntrypoint } from "cloudflare:workers";
import { createFuse } from "./core.mjs";
const database = createFuse().make("database", { failureThreshold: 2 });
export default class extends WorkerEntrypoint {
  query() {
    return database.call(() => { throw new Error("the database is down"); });
  }
  async slow() {
    return await createFuse().make("slow").call(() => new Promise(() => {}), { timeoutMs: 1 });
  }
}`;

/** A Worker that guards its calls of the other one. */
const OUTER = `
import { createFuse, isCallTimeoutError, isCircuitBreakerOpenError, rejectionOf } from "./core.mjs";
const inner = createFuse().make("inner", { failureThreshold: 6 });
export default { async fetch(_request, env) {
  const guards = [];
  let rejection;
  for (let i = 0; i < 8; i++) {
    const { error } = await inner.tryCall(() => env.INNER.query());
    guards.push(isCircuitBreakerOpenError(error));
    rejection = rejectionOf(error);
  }
  const { circuit, state, retryAfterMs, message } = rejection;
  const response = rejection.getResponse();
  const { totalFailures } = await inner.getMetrics();
  return Response.json({
    guards, totalFailures, circuit: circuit.name, state, message,
    waits: retryAfterMs > 30_000 && retryAfterMs <= 60_000,
    status: response.status,
    timeout: isCallTimeoutError(await env.INNER.slow().catch((error) => error)),
  });
} };`;

for (const compatibilityDate of ["2025-09-01", "2026-05-01"]) {
  Deno.test({
    name: `a rejection crosses RPC with compatibility date ${compatibilityDate}`,
    // Miniflare keeps ports and files until its process ends.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const { outputFiles } = await esbuild.build({
        entryPoints: [new URL("mod.ts", root).pathname],
        bundle: true,
        format: "esm",
        write: false,
        external: ["cloudflare:*"],
      });
      await esbuild.stop();
      const modules = (contents: string) => [
        { type: "ESModule" as const, path: "/main.mjs", contents },
        { type: "ESModule" as const, path: "/core.mjs", contents: outputFiles[0]!.text },
      ];
      const common = { modulesRoot: "/", compatibilityDate };
      const miniflare = new Miniflare({
        host: "127.0.0.1",
        port: 0,
        cf: false,
        workers: [
          {
            name: "outer",
            modules: modules(OUTER),
            serviceBindings: { INNER: "inner" },
            ...common,
          },
          { name: "inner", modules: modules(INNER), ...common },
        ],
      });
      try {
        const { message, ...told } = await (await fetch(await miniflare.ready)).json();
        assertEquals(told, {
          guards: [false, false, true, true, true, true, true, true],
          totalFailures: 2,
          circuit: "database",
          state: "OPEN",
          waits: true,
          status: 503,
          timeout: true,
        });
        assertEquals(message.slice(0, 26), 'Circuit "database" is OPEN');
      } finally {
        await miniflare.dispose();
      }
    },
  });
}

Deno.test({
  name: "example service_binding.ts guards the calls of another Worker",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const { outputFiles } = await esbuild.build({
      entryPoints: [new URL("examples/cloudflare-worker/src/service_binding.ts", root).pathname],
      alias: { "@fuse/edge": new URL("mod.ts", root).pathname },
      bundle: true,
      format: "esm",
      write: false,
      external: ["cloudflare:*"],
    });
    await esbuild.stop();
    let calls = 0;
    const miniflare = new Miniflare({
      host: "127.0.0.1",
      port: 0,
      cf: false,
      modules: [{ type: "ESModule", path: "/main.mjs", contents: outputFiles[0]!.text }],
      modulesRoot: "/",
      compatibilityDate: "2026-05-01",
      compatibilityFlags: ["enable_request_signal"],
      serviceBindings: {
        INVENTORY: ((request: Request) => {
          calls++;
          const { pathname } = new URL(request.url);
          return new MiniflareResponse(pathname, { status: calls > 1 ? 503 : 200 });
          // deno-lint-ignore no-explicit-any
        }) as any,
      },
    });
    try {
      const url = await miniflare.ready;
      const told: string[] = [];
      for (let i = 0; i < 5; i++) {
        const response = await fetch(new URL("/7", url));
        told.push(`${response.status} ${await response.text()}`);
      }
      const stale = '200 {"stock":"unknown"}';
      assertEquals([told, calls], [["200 /7", "503 /7", "503 /7", "503 /7", stale], 4]);
    } finally {
      await miniflare.dispose();
    }
  },
});
