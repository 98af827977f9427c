/**
 * A client of the store's own, for a database that is reached over HTTP.
 *
 * @module
 */

import { createClient } from "@libsql/client/web";
import { received, refuseUnseen } from "../../src/checks.ts";
import type { LibsqlClient, Line } from "./client.ts";

/**
 * Makes the client when it is needed first. On a Worker each unit of work has its own: the client
 * queues, and would wake one request from another's ending.
 */
export function connectorTo(url: unknown, authToken: unknown): Line["connect"] {
  // No more than the scheme of it is shown: there may be a password in the rest.
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
