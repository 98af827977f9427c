/**
 * The relations between the tables of the libSQL store, for Drizzle's relational queries.
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
