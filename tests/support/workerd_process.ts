/**
 * Runs miniflare in a process of its own: it keeps ports and files until its process ends, and
 * takes a second to load. Each line of stdin is a request, and each line of stdout its answer. The
 * process ends with stdin.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { Miniflare } from "miniflare";
import type { WorkerdRequest } from "./workerd.ts";

const running = new Map<number, Miniflare>();
let count = 0;

// A Worker that does not start is reported by an answer, and by a rejection that cannot be caught.
addEventListener("unhandledrejection", (event) => {
  if (event.reason?.code === "ERR_RUNTIME_FAILURE") event.preventDefault();
});

for await (const line of createInterface({ input: process.stdin })) {
  let answer: { ok: unknown } | { error: string };
  try {
    answer = { ok: await serve(JSON.parse(line)) };
  } catch (error) {
    answer = { error: String(error) };
  }
  console.log(JSON.stringify(answer));
}
await Promise.all([...running.values()].map((miniflare) => miniflare.dispose()));
Deno.exit();

async function serve(request: WorkerdRequest): Promise<unknown> {
  if ("start" in request) return await start(request.start);
  const miniflare = running.get(request.id)!;
  if ("isolate" in request) {
    // Its type is that of workers-types, whose global types differ from Deno's.
    const worker = await miniflare.getWorker(nameOf(request.isolate)) as unknown as {
      scheduled(options: { cron: string }): Promise<{ outcome: string }>;
    };
    return (await worker.scheduled({ cron: request.cron })).outcome;
  }
  running.delete(request.id);
  return await miniflare.dispose();
}

async function start(
  { workers, folder, ...compatibility }: Extract<WorkerdRequest, { start: unknown }>["start"],
) {
  let said = "";
  const miniflare = new Miniflare({
    // Miniflare must not download anything.
    cf: false,
    ...folder === undefined ? {} : {
      d1Persist: `${folder}/d1`,
      durableObjectsPersist: `${folder}/objects`,
    },
    handleRuntimeStdio(...streams: NodeJS.ReadableStream[]) {
      for (const stream of streams) stream.on("data", (chunk) => said += chunk);
    },
    workers: workers.map(({ code, bindings, d1 = [], objects = {} }, i) => ({
      name: nameOf(i),
      // With a list of modules, miniflare need not parse them.
      modules: [{ type: "ESModule", path: "worker.mjs", contents: code }],
      bindings,
      d1Databases: [...d1],
      durableObjects: Object.fromEntries(
        Object.entries(objects).map(([name, className]) => [name, { className, useSQLite: true }]),
      ),
      ...compatibility,
      unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
    })),
  });
  try {
    await miniflare.ready;
    const urls = await Promise.all(
      workers.map(async (_, i) => (await miniflare.unsafeGetDirectURL(nameOf(i))).href),
    );
    const id = ++count;
    running.set(id, miniflare);
    return { id, urls };
  } catch (error) {
    await miniflare.dispose();
    throw new Error(`${error}\n${said}`);
  }
}

function nameOf(isolate: number): string {
  return `isolate-${isolate}`;
}
