/**
 * The store's own client, for a database in a file of this machine.
 *
 * @module
 */

import type { Client } from "@libsql/client";
import type { LibsqlClient } from "./client.ts";

/**
 * Returns a client that opens the file when it is first used. The native client is imported only then,
 * so that a program whose database is reached over HTTP does not load it. Bundles for Workers hold the
 * client for the web in its place, which refuses files.
 */
export function localClient(url: string): LibsqlClient {
  let client: Client | undefined;
  const open = async () => {
    const { createClient } = await import("@libsql/client");
    return client ??= createClient({ url });
  };
  return {
    execute: async (statement) => await (await open()).execute(statement),
    batch: async (statements, mode) => await (await open()).batch(statements, mode),
    // After a lock, the store reads this of a local client.
    protocol: "file",
    get closed() {
      return client?.closed ?? false;
    },
    reconnect: () => client?.reconnect(),
  } as LibsqlClient;
}
