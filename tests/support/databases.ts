/**
 * Databases for tests: a libSQL file, and a `sqld` server over HTTP.
 *
 * @module
 */
import { type Client, createClient } from "@libsql/client";
import { createClient as createWebClient } from "@libsql/client/web";
import { migrate } from "@fuse/edge/migrations";
import { sqldForFile } from "./sqld.ts";

/** A database with the schema in it. */
export interface TestDatabase {
  readonly name: "file" | "sqld";
  readonly url: string;
  /** Returns a client of its own, which the caller closes. */
  connect(): Client;
}

/** Creates a file for a whole test file, and removes it afterwards. */
export async function fileForFile(): Promise<TestDatabase> {
  const folder = await Deno.makeTempDir({ prefix: "fuse-libsql-" });
  addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  return await migrated("file", `file:${folder}/fuse.db`);
}

/** Provides both, for a whole test file. */
export async function databasesForFile(): Promise<readonly TestDatabase[]> {
  const [file, server] = await Promise.all([fileForFile(), sqldForFile()]);
  return [file, await migrated("sqld", server.url)];
}

/** Runs `body` with a database in memory that has the schema. */
export async function inMemory(body: (client: Client) => Promise<void>): Promise<void> {
  const client = createClient({ url: ":memory:" });
  try {
    await migrate(client);
    await body(client);
  } finally {
    client.close();
  }
}

async function migrated(name: TestDatabase["name"], url: string): Promise<TestDatabase> {
  const connect = () => name === "file" ? createClient({ url }) : createWebClient({ url });
  const client = connect();
  // As in production: readers and the writer do not wait for each other.
  if (name === "file") await client.execute("pragma journal_mode = wal");
  await migrate(client);
  client.close();
  return { name, url, connect };
}
