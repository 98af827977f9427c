/**
 * The store's own client, for a database at an address.
 *
 * @module
 */

import { createClient } from "@libsql/client/web";
import { received, refuseUnseen } from "../../src/checks.ts";
import type { Connect, LibsqlClient } from "./client.ts";
import { localClient } from "./local_client.ts";
import { memoryClient } from "./memory_client.ts";

/** A database in memory. Each store has its own. */
const MEMORY = /^(file:)?:memory:$/;

/**
 * Checks the address of a database, and returns a function that makes the client when it is first
 * needed. On a Worker each unit of work has a client of its own: a client queues requests, and would
 * start one from the end of another.
 *
 * @param prefix The prefix of the tables of a database in memory, which its client creates. `null` if they
 * have names of the application's own.
 * @throws {TypeError} If the address or the token is invalid.
 */
export function connectorTo(url: unknown, authToken: unknown, prefix: string | null): Connect {
  // Only the scheme is shown: the rest may contain a password.
  const scheme = typeof url === "string" ? /^[a-z]+:/i.exec(url)?.[0].toLowerCase() : undefined;
  const isMemory = typeof url === "string" && MEMORY.test(url);
  if (!isMemory && !["libsql:", "https:", "http:", "file:"].includes(scheme ?? "")) {
    throw new TypeError(
      `Cannot create libsql store: "url" must be :memory: or begin with libsql:, https:, http: or file:, received ${
        typeof url === "string" ? received(scheme ?? "no scheme") : received(url)
      }`,
    );
  }
  if (isMemory && prefix === null) {
    throw new TypeError(
      'Cannot create libsql store: "url" can be :memory: only for tables that migrations create; ' +
        'for tables of your own give "client", of localClient(":memory:"), and create them there',
    );
  }
  if (authToken !== undefined && typeof authToken !== "string") {
    refuseUnseen("libsql store", "authToken", "a string", authToken);
  }
  if (isMemory || scheme === "file:") {
    const local = isMemory ? memoryClient(prefix!) : localClient(url as string);
    return () => local;
  }
  const connect = () =>
    createClient({ url: url as string, ...(authToken === undefined ? {} : { authToken }) });
  if (globalThis.navigator?.userAgent === "Cloudflare-Workers") return connect;
  let client: LibsqlClient | undefined;
  return () => client ??= connect();
}
