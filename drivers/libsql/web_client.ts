/**
 * The store's own client, for a database at an address.
 *
 * @module
 */

import { createClient } from "@libsql/client/web";
import { received, refuseUnseen } from "../../src/checks.ts";
import type { Connect, LibsqlClient } from "./client.ts";
import { localClient } from "./local_client.ts";

/**
 * Checks the address of a database, and returns a function that makes the client when it is first
 * needed. On a Worker each unit of work has a client of its own: a client queues requests, and would
 * start one from the end of another.
 *
 * @throws {TypeError} If the address or the token is not one.
 */
export function connectorTo(url: unknown, authToken: unknown): Connect {
  // Only the scheme is shown: the rest may contain a password.
  const scheme = typeof url === "string" ? /^[a-z]+:/i.exec(url)?.[0].toLowerCase() : undefined;
  if (!["libsql:", "https:", "http:", "file:"].includes(scheme ?? "")) {
    throw new TypeError(
      `Cannot create libsql store: "url" must begin with libsql:, https:, http: or file:, received ${
        typeof url === "string" ? received(scheme ?? "no scheme") : received(url)
      }; for a database in memory give "client", of localClient(":memory:")`,
    );
  }
  if (authToken !== undefined && typeof authToken !== "string") {
    refuseUnseen("libsql store", "authToken", "a string", authToken);
  }
  if (scheme === "file:") {
    const local = localClient(url as string);
    return () => local;
  }
  const connect = () =>
    createClient({ url: url as string, ...(authToken === undefined ? {} : { authToken }) });
  if (globalThis.navigator?.userAgent === "Cloudflare-Workers") return connect;
  let client: LibsqlClient | undefined;
  return () => client ??= connect();
}
