/**
 * The relations between the tables of the libSQL store, for the relational queries of drizzle-orm 0.45.
 * Drizzle 1.0 declares relations in another way, so they are apart from `@fuse/edge/libsql`, which
 * works beside both.
 *
 * @example Circuits with their events
 * ```ts
 * import { circuitBreakerEvents, circuitBreakers } from "@fuse/edge/libsql";
 * import {
 *   circuitBreakerEventsRelations,
 *   circuitBreakersRelations,
 * } from "@fuse/edge/libsql/relations";
 * import { migrate } from "@fuse/edge/migrations";
 * import { createClient } from "@libsql/client";
 * import { assertEquals } from "@std/assert";
 * import { drizzle } from "drizzle-orm/libsql";
 *
 * const client = createClient({ url: ":memory:" });
 * await migrate(client);
 * const tables = { circuitBreakers, circuitBreakerEvents };
 * const relations = { circuitBreakersRelations, circuitBreakerEventsRelations };
 * const db = drizzle(client, { schema: { ...tables, ...relations } });
 * assertEquals(await db.query.circuitBreakers.findMany({ with: { events: true } }), []);
 * ```
 *
 * @module
 */

import { type Many, type One, type Relations, relations } from "drizzle-orm";
import { circuitBreakerEvents, circuitBreakers } from "./schema.ts";

/** Relations of {@linkcode circuitBreakers}: a circuit has many `events`. */
export const circuitBreakersRelations: Relations<
  "circuit_breakers",
  { events: Many<"circuit_breaker_events"> }
> = relations(circuitBreakers, ({ many }) => ({ events: many(circuitBreakerEvents) }));

/**
 * Relations of {@linkcode circuitBreakerEvents}: a row of the trail has one `circuitBreaker`, or `null`
 * if that circuit was removed.
 */
export const circuitBreakerEventsRelations: Relations<
  "circuit_breaker_events",
  { circuitBreaker: One<"circuit_breakers", true> }
> = relations(circuitBreakerEvents, ({ one }) => ({
  circuitBreaker: one(circuitBreakers, {
    fields: [circuitBreakerEvents.circuitBreakerId],
    references: [circuitBreakers.id],
  }) as One<"circuit_breakers", true>,
}));
