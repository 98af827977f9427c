/**
 * The CPU time of a request in workerd, guarded and bare.
 *
 * @module
 */
import { join } from "node:path";
import { cachedProject } from "../../support/cached_project.ts";
import { startRedis } from "../../support/redis_server.ts";
import { bundleWorkers, workerdHost } from "../../support/workerd.ts";
import { startFaceApart } from "./face_process.ts";
import { callAtOnce, spread } from "./harness.ts";
import { startUpstream } from "./http_server.ts";
import type { Section } from "./section.ts";
import { type Table, times } from "./table.ts";

/** The import, the code at module scope, and the code that answers a request. */
const WORKERS = {
  "answers by itself": ["", "", `new Response("ok")`],
  "fetch": ["", "", "fetch(env.ORIGIN)"],
  "fuse, memory()": [
    `import { createFuse } from "@fuse/edge";`,
    `const api = createFuse({ waitUntil }).make("api");`,
    "api.fetch(env.ORIGIN)",
  ],
  "fuse, upstash(), eventual": [
    `import { createFuse } from "@fuse/edge";
     import { upstash } from "@fuse/edge/upstash";`,
    `const cache = upstash({ url: env.UPSTASH_REDIS_REST_URL, token: env.UPSTASH_REDIS_REST_TOKEN });
     const api = createFuse({ stores: { cache }, waitUntil }).make("api");`,
    "api.fetch(env.ORIGIN)",
  ],
  // Its import sets a timer, which is forbidden at module scope.
  "cockatiel": [
    "",
    `let api;
     async function guarded() {
       if (api === undefined) {
         const { circuitBreaker, ConsecutiveBreaker, handleAll } = await import("cockatiel");
         const breaker = new ConsecutiveBreaker(5);
         api = circuitBreaker(handleAll, { halfOpenAfter: 60_000, breaker });
       }
       return api.execute(() => fetch(env.ORIGIN));
     }`,
    "guarded()",
  ],
  "fetch, AbortSignal.timeout": [
    "",
    "",
    "fetch(env.ORIGIN, { signal: AbortSignal.timeout(5_000) })",
  ],
  "fuse, memory(), callTimeoutMs": [
    `import { createFuse } from "@fuse/edge";`,
    `const api = createFuse({ waitUntil }).make("api", { callTimeoutMs: 5_000 });`,
    "api.fetch(env.ORIGIN)",
  ],
} as const;

const CALLERS = 8;

/** Section `workerd-cpu`. */
export const section: Section = {
  async *run({ quick }) {
    await using upstream = await startUpstream();
    await using redis = await startRedis();
    await using face = await startFaceApart(redis);
    const host = workerdHost();
    try {
      const bindings = {
        ORIGIN: upstream.url,
        UPSTASH_REDIS_REST_URL: face.url,
        UPSTASH_REDIS_REST_TOKEN: face.token,
      };
      const codes = await bundleAll();
      await using workerd = await host.start(codes.map((code) => ({ code, bindings })));
      const requests = quick ? 200 : 1_000;
      const ask = (isolate: number, requests: number) =>
        callAtOnce(requests, CALLERS, async () => {
          await (await workerd.isolates[isolate]!.fetch("/")).text();
        });
      const spent = codes.map((): number[] => []);
      for (let isolate = 0; isolate < codes.length; isolate++) await ask(isolate, requests);
      for (let round = 0; round < (quick ? 3 : 11); round++) {
        for (let i = 0; i < codes.length; i++) {
          const isolate = (round + i) % codes.length;
          const before = await cpuMsBelow(Deno.pid, "workerd");
          await ask(isolate, requests);
          const ms = await cpuMsBelow(Deno.pid, "workerd") - before;
          spent[isolate]!.push(1_000 * ms / requests);
        }
      }
      yield table(spent, requests);
    } finally {
      await host.end();
    }
  },
};

function table(spent: readonly (readonly number[])[], requests: number): Table {
  const names = Object.keys(WORKERS);
  const [plain, limited] = [names.indexOf("fetch"), names.indexOf("fetch, AbortSignal.timeout")];
  return {
    name: "workerd-cpu",
    title: `workerd: CPU of a request, ${CALLERS} at once`,
    columns: ["Worker", "CPU, µs", "min–max", "× bare", "min–max"],
    rows: spent.map((rounds, i) => {
      const us = spread(rounds);
      const base = spent[i < limited ? plain : limited]!;
      const isBase = base === rounds || i < plain;
      return [
        names[i]!,
        us.median.toFixed(0),
        `${us.min.toFixed(0)}–${us.max.toFixed(0)}`,
        ...isBase ? ["", ""] : times(spread(rounds.map((one, round) => one / base[round]!))),
      ];
    }),
    notes: [
      `All threads of workerd's process, its HTTP included; ${requests} requests a round, by turns.`,
      "× bare: to the Worker that fetches the same unguarded, with AbortSignal.timeout where ours is limited.",
    ],
    readme: ["Worker", "CPU, µs", "× bare"],
  };
}

async function bundleAll(): Promise<string[]> {
  await using project = await cachedProject(["@upstash/redis", "cockatiel"]);
  const mains: string[] = [];
  for (const [i, [imports, made, answer]] of Object.values(WORKERS).entries()) {
    mains.push(`worker_${i}.ts`);
    await Deno.writeTextFile(
      join(project.folder, mains[i]!),
      `import { env, waitUntil } from "cloudflare:workers"; ${imports} ${made}
       export default { fetch: () => ${answer} };`,
    );
  }
  const bundles = await bundleWorkers(project, mains, true);
  return mains.map((main) => bundles[main]!.code);
}

/**
 * Returns the CPU time of the processes of this name that a process has started, or those below it,
 * in ms.
 */
async function cpuMsBelow(pid: number, name: string): Promise<number> {
  const parents = new Map<number, { parent: number; name: string }>();
  for await (const entry of Deno.readDir("/proc")) {
    const stat = /^\d+$/.test(entry.name) ? await read(`/proc/${entry.name}/stat`) : "";
    const [, name, parent] = /^\d+ \((.*)\) \S (\d+)/s.exec(stat) ?? [];
    if (name !== undefined) parents.set(Number(entry.name), { parent: Number(parent), name });
  }
  const isBelow = (one: number | undefined): boolean =>
    one !== undefined && (one === pid || isBelow(parents.get(one)?.parent));
  let ns = 0;
  for (const [one, { name: its }] of parents) {
    if (its !== name || !isBelow(one)) continue;
    for await (const { name: task } of Deno.readDir(`/proc/${one}/task`)) {
      ns += Number((await read(`/proc/${one}/task/${task}/schedstat`)).split(" ")[0]);
    }
  }
  return ns / 1e6;
}

/** Returns the text of a file of a process; empty if the process has ended. */
async function read(path: string): Promise<string> {
  return await Deno.readTextFile(path).catch(() => "");
}
