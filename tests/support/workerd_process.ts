/**
 * Runs miniflare in a process of its own, because it leaves ports and files to the end of its process.
 * The first line of stdin says which Workers, each further one which cron trigger to fire; each line of
 * stdout is an answer. The end of stdin ends it.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { Miniflare } from "miniflare";
import type { IsolateOptions } from "./workerd.ts";

interface Setup {
  readonly workers: readonly IsolateOptions[];
  readonly compatibilityDate: string;
  readonly compatibilityFlags: string[];
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { workers, ...compatibility } = JSON.parse((await lines.next()).value!) as Setup;

const said: string[] = [];
const names = workers.map((_, i) => `isolate-${i}`);
const miniflare = new Miniflare({
  // Nothing is to be fetched from anywhere.
  cf: false,
  handleRuntimeStdio(...streams: NodeJS.ReadableStream[]) {
    for (const stream of streams) stream.on("data", (chunk) => said.push(String(chunk)));
  },
  workers: workers.map(({ code, bindings }, i) => ({
    name: names[i]!,
    modules: true,
    script: code,
    bindings,
    ...compatibility,
    unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
  })),
});

await tell(async () => {
  await miniflare.ready;
  return await Promise.all(
    names.map(async (name) => `${await miniflare.unsafeGetDirectURL(name)}`),
  );
});
for await (const line of lines) {
  const { isolate, cron } = JSON.parse(line) as { isolate: number; cron: string };
  await tell(async () => {
    // Its type is that of workers-types, which knows other global types than Deno.
    const worker = await miniflare.getWorker(names[isolate]!) as unknown as {
      scheduled(options: { cron: string }): Promise<{ outcome: string }>;
    };
    return (await worker.scheduled({ cron })).outcome;
  });
}
await miniflare.dispose();
Deno.exit();

async function tell(work: () => Promise<unknown>): Promise<void> {
  let answer: { ok: unknown } | { error: string };
  try {
    answer = { ok: await work() };
  } catch (error) {
    answer = { error: `${error}\n${said.join("")}` };
  }
  console.log(JSON.stringify(answer));
}
