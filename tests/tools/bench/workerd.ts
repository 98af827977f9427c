/**
 * The size of the example's Worker, and the time that it takes to start.
 *
 * @module
 */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import {
  bundleWorkers,
  type IsolateOptions,
  readWrangler,
  type WorkerdHost,
  workerdHost,
  workerProject,
} from "../../support/workerd.ts";
import { copy } from "../../support/cached_project.ts";
import { root } from "../gate/project.ts";
import type { Section } from "./section.ts";
import { integer } from "./table.ts";

/** The examples with databases of Cloudflare's own. */
const DATABASES = new URL("examples/cloudflare-databases/", root);

/** A Worker to compare with. */
const YARDSTICKS: Readonly<Record<string, readonly [main: string, code: string]>> = {
  "an empty Worker": ["empty.ts", `export default { fetch: () => new Response("hi") };`],
  "Hono alone": [
    "hono.ts",
    `import { Hono } from "hono"; export default new Hono().get("/", (c) => c.text("hi"));`,
  ],
};

const CODE = {
  core: `import { createFuse } from "@fuse/edge"; const fuse = createFuse();
    export default { fetch: () => fuse.make("a").call(() => new Response("hi")) };`,
  upstash: `import { createFuse } from "@fuse/edge"; import { upstash } from "@fuse/edge/upstash";
    const cache = upstash({ url: "https://redis.example", token: "token" });
    const fuse = createFuse({ stores: { cache } });
    export default { fetch: () => fuse.make("a").call(() => new Response("hi")) };`,
};

/** A Worker with circuits. */
interface SetUp {
  readonly main: string;
  /** Replaces a file of the example. */
  readonly code?: string;
  /** The bindings that it needs. */
  readonly bindings?: Pick<IsolateOptions, "d1" | "objects">;
}

const SET_UPS: Readonly<Record<string, SetUp>> = {
  "createFuse alone, in memory": { main: "core.ts", code: CODE.core },
  "upstash alone": { main: "upstash.ts", code: CODE.upstash },
  "D1": { main: "d1/index.ts", bindings: { d1: ["DB"] } },
  "Durable Objects": {
    main: "durable-object/index.ts",
    bindings: { objects: { FUSE: "FuseObject" } },
  },
  "Hono, upstash and libsql, tiered": { main: "src/index.ts" },
  "the same, made from c": { main: "src/fuse_from_context.ts" },
  "Hono, libsql alone": { main: "src/client_per_request.ts" },
};

/** The number of isolates that start at once: one of them is measured. */
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
        for (const [name, { code }] of bundles) {
          ms[name] = await startMs(host, code, SET_UPS[name]?.bindings);
        }
        rounds.push(ms);
      }
      // The first of them finds everything cold.
      rounds.shift();
      const empty = [...bundles.keys()][0]!;
      yield {
        name: "workerd",
        title: "Workers: the examples, bundled as wrangler does, without nodejs_compat",
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
  for (const main of ["d1/index.ts", "durable-object/index.ts"]) {
    await copy(new URL(main, DATABASES).pathname, join(project.folder, main));
  }
  const yardsticks = Object.entries(YARDSTICKS).map(([name, [main, code]]) =>
    [name, { main, code }] as [string, SetUp]
  );
  const mains: [name: string, main: string][] = [];
  for (const [name, { main, code }] of [...yardsticks, ...Object.entries(SET_UPS)]) {
    if (code !== undefined) await Deno.writeTextFile(join(project.folder, main), code);
    mains.push([name, main]);
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

async function startMs(
  host: WorkerdHost,
  code: string,
  databases: SetUp["bindings"] = {},
): Promise<number> {
  const { vars } = await readWrangler();
  const bindings = { ...vars, UPSTASH_REDIS_REST_TOKEN: "token", TURSO_AUTH_TOKEN: "token" };
  await using workerd = await host.start(Array(ISOLATES).fill({ code, bindings, ...databases }));
  return workerd.startMs;
}
