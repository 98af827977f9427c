/**
 * The sections of the benchmark, and the tables of each. To add one, write a file with a `section`,
 * and an entry here.
 *
 * @module
 */
import type { Section, SectionOptions } from "./section.ts";
import type { Table } from "./table.ts";

interface Entry {
  /** The `name` of each table that it can yield: pages have blocks by these names. */
  readonly tables: readonly string[];
  load(): Promise<{ section: Section }>;
}

/** The sections by name, in the order in which they run. */
export const SECTIONS: Readonly<Record<string, Entry>> = {
  seed: { tables: ["seed"], load: () => import("./seed.ts") },
  closed: { tables: ["closed", "closed-node"], load: () => import("./closed.ts") },
  rejection: { tables: ["rejection", "rejection-node"], load: () => import("./rejection.ts") },
  timeouts: { tables: ["timeouts", "timeouts-node"], load: () => import("./timeouts.ts") },
  http: { tables: ["http", "http-node"], load: () => import("./http.ts") },
  first: { tables: ["first", "first-node"], load: () => import("./first.ts") },
  growth: {
    tables: [
      "growth-handles-in-order",
      "growth-handles-at-random",
      "growth-names-in-order",
      "growth-names-at-random",
    ],
    load: () => import("./growth.ts"),
  },
  tenants: { tables: ["tenants"], load: () => import("./tenants.ts") },
  memory: { tables: ["memory"], load: () => import("./memory.ts") },
  size: { tables: ["size", "size-files"], load: () => import("./size.ts") },
  remote: { tables: ["remote-calls", "remote-share"], load: () => import("./remote.ts") },
  outages: { tables: ["outages"], load: () => import("./outages.ts") },
  upstash: {
    tables: [
      "upstash-calls",
      "upstash-rates",
      "upstash-speed-1",
      "upstash-speed-64",
      "upstash-waits",
      "upstash-circuits",
    ],
    load: () => import("./upstash.ts"),
  },
  libsql: {
    tables: ["libsql-calls", "libsql-statements", "libsql-speed-file", "libsql-speed-sqld"],
    load: () => import("./libsql.ts"),
  },
  trail: {
    tables: ["trail-speed-file", "trail-speed-sqld", "trail-bytes", "trail-queries"],
    load: () => import("./trail.ts"),
  },
  cloudflare: {
    tables: ["d1-calls", "durable-object-calls"],
    load: () => import("./cloudflare.ts"),
  },
  contract: { tables: ["contract"], load: () => import("./contract.ts") },
  proof: { tables: ["trail-proof"], load: () => import("./proof.ts") },
  workerd: { tables: ["workerd"], load: () => import("./workerd.ts") },
  "workerd-cpu": { tables: ["workerd-cpu"], load: () => import("./workerd_cpu.ts") },
};

/** The names of all tables. */
export const TABLES: readonly string[] = Object.values(SECTIONS).flatMap(({ tables }) => tables);

/** Yields a section's tables, each as soon as it is known. */
export async function* runSection(name: string, options: SectionOptions): AsyncGenerator<Table> {
  const { tables, load } = SECTIONS[name]!;
  const { section } = await load();
  for await (const table of section.run(options)) {
    if (!tables.includes(table.name)) {
      throw new Error(`Section "${name}" does not list its table "${table.name}" in sections.ts`);
    }
    yield table;
  }
}
