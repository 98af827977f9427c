/**
 * The Drizzle tables of the libSQL and D1 stores, without a store or a database client: for queries in
 * a Worker, and for the schema file of an application that refers to them.
 *
 * `circuitBreakers` and `circuitBreakerEvents` are for you to read. The five other tables are internal,
 * and here because `createSchema()` makes them all.
 *
 * @example The open circuits
 * ```ts
 * import { circuitBreakers } from "@fuse/edge/libsql/schema";
 * import { migrate } from "@fuse/edge/migrations";
 * import { createClient } from "@libsql/client";
 * import { assertEquals } from "@std/assert";
 * import { eq } from "drizzle-orm";
 * import { drizzle } from "drizzle-orm/libsql";
 *
 * const client = createClient({ url: ":memory:" });
 * await migrate(client);
 *
 * const db = drizzle(client); // in a Worker with D1: drizzle(env.DB) of drizzle-orm/d1
 * const open = await db.select().from(circuitBreakers).where(eq(circuitBreakers.state, "OPEN"));
 * assertEquals(open, []);
 * ```
 *
 * @module
 */

export {
  type CircuitBreakerColumns,
  circuitBreakerColumns,
  type CircuitBreakerCursorColumns,
  circuitBreakerCursors,
  type CircuitBreakerCursorsTable,
  type CircuitBreakerEventColumns,
  circuitBreakerEventColumns,
  type CircuitBreakerEventRow,
  circuitBreakerEvents,
  type CircuitBreakerEventsTable,
  type CircuitBreakerLeaseColumns,
  circuitBreakerLeases,
  type CircuitBreakerLeasesTable,
  type CircuitBreakerRequestColumns,
  circuitBreakerRequests,
  type CircuitBreakerRequestsTable,
  type CircuitBreakerRow,
  circuitBreakers,
  type CircuitBreakersTable,
  type CircuitBreakerTrailColumns,
  circuitBreakerTrails,
  type CircuitBreakerTrailsTable,
  type CircuitBreakerWindowColumns,
  circuitBreakerWindows,
  type CircuitBreakerWindowsTable,
  type CountBuilder,
  createSchema,
  type FuseSchema,
  type FuseTable,
  type IdBuilder,
  type IntBuilder,
  isHealthy,
  type SchemaOptions,
  type TextBuilder,
  type TimeBuilder,
} from "./schema.ts";
