/**
 * The database store: circuits and their trail in libSQL, embedded (`file:`, `:memory:`), on a
 * `sqld` server, or at Turso. All tables, with their types, are in `@fuse/edge/libsql/schema`.
 *
 * @example State that survives, and who did what
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { libsql } from "@fuse/edge/libsql";
 * import { migrate } from "@fuse/edge/migrations";
 * import { createClient } from "@libsql/client";
 * import { assertEquals } from "@std/assert";
 *
 * const client = createClient({ url: ":memory:" });
 * await migrate(client);
 * await using fuse = createFuse({ stores: { database: libsql({ client }) } });
 *
 * const api = fuse.make("external-api");
 * await api.forceOpen({ reason: "maintenance", actor: "ada" });
 * assertEquals(await api.getState(), "OPEN");
 *
 * for await (const { event, metadata } of api.history()) {
 *   assertEquals([event, metadata?.actor], ["forced_open", "ada"]);
 * }
 * ```
 *
 * @module
 */

import { getTableName } from "drizzle-orm";
import { known, refuse } from "../src/checks.ts";
import type { Connect } from "./libsql/client.ts";
import {
  configure,
  type LibsqlOptions,
  type LibsqlStore,
  TABLE_OPTIONS,
} from "./libsql/options.ts";
import { connector } from "./libsql/connector.ts";
import { checkSchema } from "./libsql/schema.ts";
import { LibsqlDatabase } from "./libsql/store.ts";
import { prefixOf } from "./libsql/triggers.ts";
import { connectorTo } from "./libsql/web_client.ts";

export { type LocalClient, localClient } from "./libsql/local_client.ts";
export type * from "./libsql/types.ts";
export { tiered, type TieredOptions } from "./tiered.ts";
export {
  circuitBreakerColumns,
  circuitBreakerEventColumns,
  type CircuitBreakerEventRow,
  circuitBreakerEvents,
  type CircuitBreakerRow,
  circuitBreakers,
  createSchema,
  type FuseSchema,
  isHealthy,
  type SchemaOptions,
} from "./libsql/schema.ts";

/**
 * Keeps circuits in a libSQL database: state that survives, shared by all isolates, and a trail
 * of every transition and operator action, written in the same transaction. Its schema comes from
 * `migrate()` of `@fuse/edge/migrations`, or from drizzle-kit.
 *
 * Each primitive is one batch, and one HTTP request: 1 statement to read, and to acquire while the
 * circuit is closed, else 3 to acquire, 3 to 8 to record, 5 or 6 to change. A change takes one more
 * request if this isolate knows nothing of the circuit, if somebody else has just changed it, and if
 * it was edited by hand.
 *
 * @param options See {@linkcode LibsqlOptions}.
 * @returns A store for `createFuse({ stores: { database: libsql({ client }) } })`. Making it performs
 * no I/O.
 * @throws {TypeError} If neither `client` nor `url` is given, or an option is not one of these.
 *
 * @example Usage
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { libsql } from "@fuse/edge/libsql";
 * import { migrate } from "@fuse/edge/migrations";
 * import { createClient } from "@libsql/client";
 * import { assertEquals } from "@std/assert";
 *
 * const client = createClient({ url: ":memory:" });
 * await migrate(client);
 * await using fuse = createFuse({ stores: { database: libsql({ client }) } });
 *
 * assertEquals(await fuse.make("external-api").call(() => "an answer"), "an answer");
 * ```
 */
export function libsql(options: LibsqlOptions): LibsqlStore {
  known(SUBJECT, options, [...SOURCE_OPTIONS, "replica", ...TABLE_OPTIONS]);
  const { replica } = options;
  const source = {
    ...{ name: "libsql", connect: connectTo(options) },
    ...replica === undefined ? null : { replica: connector(SUBJECT, "replica", replica) },
  };
  return new LibsqlDatabase(configure(source, options));
}

const SUBJECT = "libsql store";
const SOURCE_OPTIONS = ["client", "url", "authToken"];

function connectTo(options: LibsqlOptions): Connect {
  const { client, url, authToken } = options as Record<"client" | "url" | "authToken", unknown>;
  if (client === undefined) {
    const { schema } = options;
    if (schema === undefined) return connectorTo(url, authToken, "");
    checkSchema(SUBJECT, schema);
    return connectorTo(url, authToken, prefixOf(getTableName(schema.circuitBreakers)));
  }
  for (const [option, value] of Object.entries({ url, authToken })) {
    // An address or a token is not shown.
    if (value !== undefined) refuse(SUBJECT, option, 'left out beside "client"', {});
  }
  return connector(SUBJECT, "client", client);
}
