/**
 * What the Worker of the example weighs, and how long it takes to start.
 *
 * @module
 */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import {
  bundleWorkers,
  readWrangler,
  type WorkerdHost,
  workerdHost,
  workerProject,
} from "../../support/workerd.ts";
import type { Section } from "./section.ts";
import { integer } from "./table.ts";

/** To compare with. */
const YARDSTICKS: Readonly<Record<string, readonly [main: string, code: string]>> = {
  "an empty Worker": ["empty.ts", `export default { fetch: () => new Response("hi") };`],
  "Hono alone": [
    "hono.ts",
    `import { Hono } from "hono"; export default new Hono().get("/", (c) => c.text("hi"));`,
  ],
};

const EXAMPLES: Readonly<Record<string, string>> = {
  "upstash and libsql, tiered": "src/index.ts",
  "the same, made from c": "src/fuse_from_context.ts",
  "libsql alone": "src/client_per_request.ts",
};

/** So many isolates start at once: what is measured is one of them. */
const ISOLATES = 10;

/** Section `workerd`. */
export const section: Section = {
  async *run({ quick }) {
    const host = workerdHost();
    try {
      const bundles = await bundleAll();
      const rounds: Record<string, number>[] = [];
      for (let round = quick ? 3 : 8; round > 0; round--) {
        const ms: Record<string, number> = {};
        for (const [name, { code }] of bundles) ms[name] = await startMs(host, code);
        rounds.push(ms);
      }
      // The first of them finds everything cold.
      rounds.shift();
      const empty = [...bundles.keys()][0]!;
      yield {
        name: "workerd",
        title: "Workers: the example, bundled as wrangler does, without nodejs_compat",
        columns: ["Worker", "minified B", "gzip B", "ms to start", "min–max"],
        rows: [...bundles].map(([name, { minified, gzip }]) => {
          const ms = rounds.map((round) => (round[name]! - round[empty]!) / ISOLATES)
            .toSorted((a, b) => a - b);
          const [median, ...range] = [ms[ms.length >> 1]!, ms[0]!, ms.at(-1)!]
            .map((value) => value.toFixed(1));
          const start = name === empty ? ["0", ""] : [median!, range.join("–")];
          return [name, integer(minified), integer(gzip), ...start];
        }),
        notes: [
          `ms to start: ${ISOLATES} isolates in real workerd, less as many empty ones, by isolate.`,
          "All npm packages are in the bytes: Hono, @upstash/redis, @libsql/client, drizzle-orm.",
        ],
      };
    } finally {
      await host.end();
    }
  },
};

interface Weighed {
  readonly code: string;
  readonly minified: number;
  readonly gzip: number;
}

async function bundleAll(): Promise<Map<string, Weighed>> {
  await using project = await workerProject();
  const bundles = new Map<string, Weighed>();
  const mains = Object.entries(EXAMPLES);
  for (const [name, [main, code]] of Object.entries(YARDSTICKS).toReversed()) {
    await Deno.writeTextFile(join(project.folder, main), code);
    mains.unshift([name, main]);
  }
  const minified = await bundleWorkers(project, mains.map(([, main]) => main), true);
  for (const [name, main] of mains) {
    const { code } = minified[main]!;
    const bytes = new TextEncoder().encode(code);
    const gzip = gzipSync(bytes, { level: 9 }).byteLength;
    bundles.set(name, { code, minified: bytes.byteLength, gzip });
  }
  return bundles;
}

async function startMs(host: WorkerdHost, code: string): Promise<number> {
  const { vars } = await readWrangler();
  const bindings = { ...vars, UPSTASH_REDIS_REST_TOKEN: "token", TURSO_AUTH_TOKEN: "token" };
  await using workerd = await host.start(Array(ISOLATES).fill({ code, bindings }));
  return workerd.startMs;
}
