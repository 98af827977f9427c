/**
 * The store's own client, for a database that is reached over HTTP.
 *
 * @module
 */

import { createClient } from "@libsql/client/web";
import { received, refuseUnseen } from "../../src/checks.ts";
import type { Connect, LibsqlClient } from "./client.ts";

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
  if (scheme !== "libsql:" && scheme !== "https:" && scheme !== "http:") {
    throw new TypeError(
      `Cannot create libsql store: "url" must begin with libsql:, https: or http:, received ${
        typeof url === "string" ? received(scheme ?? "no scheme") : received(url)
      }; for a database in a file or in memory give "client", of createClient() of @libsql/client`,
    );
  }
  if (authToken !== undefined && typeof authToken !== "string") {
    refuseUnseen("libsql store", "authToken", "a string", authToken);
  }
  const connect = () =>
    createClient({ url: url as string, ...(authToken === undefined ? {} : { authToken }) });
  if (globalThis.navigator?.userAgent === "Cloudflare-Workers") return connect;
  let client: LibsqlClient | undefined;
  return () => client ??= connect();
}
