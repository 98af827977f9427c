/**
 * Helpers of the tests of the seed's rows.
 *
 * @module
 */
import { type Client, createClient } from "@libsql/client";
import { upstash, type UpstashSettings } from "@fuse/edge/upstash";
import type { Face } from "../support/upstash_face.ts";
import { groupOf } from "./rows.ts";

/** Longer than any answer takes, also on a busy machine. */
export const storeTimeoutMs = 30_000;

/** The rows that tests have named so far. */
export const tested: string[] = [];

/** Registers a test of some rows of one group. */
export function seed(rows: string, title: string, fn: () => Promise<void> | void): void {
  groupOf(rows);
  tested.push(rows);
  // Deno leaves the sanitizers off.
  Deno.test({
    name: `${rows} ${title}`,
    fn: async () => await fn(),
    sanitizeOps: true,
    sanitizeResources: true,
  });
}

/** The function that the seed's examples call. */
export const callable = () => Promise.resolve("an answer");

/** Returns a store in the Redis behind a face. */
export function cacheAt({ url, token }: Face, settings: UpstashSettings = {}) {
  return upstash({ url, token, ...settings });
}

let prefixes = 0;

/** Returns a prefix that no other test of this process has. */
export function ownPrefix(): string {
  return `seed-${prefixes++}`;
}

/** Runs `body` with empty databases in memory, without a schema. */
export async function withClients(
  count: number,
  body: (...clients: Client[]) => Promise<void>,
): Promise<void> {
  const clients = Array.from({ length: count }, () => createClient({ url: ":memory:" }));
  try {
    await body(...clients);
  } finally {
    for (const client of clients) client.close();
  }
}

/** A client that reports its statements. */
export function watched(client: Client, ask: (sent: readonly string[]) => void): Client {
  const textOf = (statement: unknown) =>
    typeof statement === "string" ? statement : String((statement as { sql: string }).sql);
  return new Proxy(client, {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      return (work: unknown, ...rest: unknown[]) => {
        if (property === "batch") ask((work as unknown[]).map(textOf));
        if (property === "execute") ask([textOf(work)]);
        return Reflect.apply(value, target, [work, ...rest]);
      };
    },
  });
}
