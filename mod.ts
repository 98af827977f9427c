/**
 * A circuit breaker for Deno, Deno Deploy and Cloudflare Workers whose state many isolates share.
 *
 * This entry point is the core: it reaches no npm package, does no I/O at import or construction,
 * and keeps state in this process until it is given a shared store.
 *
 * @example A circuit opens after five failures in a row
 * ```ts
 * import { createFuse } from "@fuse/edge";
 * import { assertEquals } from "@std/assert";
 *
 * const fuse = createFuse();
 * const breaker = fuse.make("external-api", { fallback: () => "cached" });
 *
 * for (let i = 0; i < 5; i++) {
 *   await breaker.tryCall(() => Promise.reject(new Error("down")));
 * }
 * assertEquals(await breaker.isOpen(), true);
 * assertEquals(await breaker.call(() => "fresh"), "cached");
 * ```
 *
 * @module
 */

export { backoff, type BackoffOptions } from "./src/rules/backoff.ts";
export type { RequestScope, WaitUntil } from "./src/background.ts";
export type {
  Actor,
  CallContext,
  CallOptions,
  CallResult,
  CircuitBreaker,
  CircuitDefaults,
  CircuitOptions,
  Fallback,
  FallbackContext,
  FallbackOn,
  OverrideOptions,
  Permit,
} from "./src/circuit_breaker.ts";
export {
  CallTimeoutError,
  CircuitBreakerOpenError,
  FuseError,
  isCallTimeoutError,
  isCircuitBreakerOpenError,
  isStoreUnavailableError,
  StoreUnavailableError,
} from "./src/errors.ts";
export type {
  CallEvent,
  FuseEvent,
  FuseEvents,
  OperatorEvent,
  TransitionEvent,
  UnconfirmedEvent,
} from "./src/events.ts";
export type { GuardedFetch } from "./src/fetch.ts";
export { type CircuitFilter, createFuse, type Fuse, type FuseOptions } from "./src/fuse.ts";
export type {
  Acquired,
  AcquireRequest,
  Answer,
  AuditEventName,
  Awaitable,
  Changed,
  CircuitEvent,
  CircuitRecord,
  CircuitState,
  Clock,
  EventQuery,
  ListPage,
  ListRequest,
  OutboxRequest,
  Override,
  OverrideRecord,
  OverrideRequest,
  Recorded,
  RestoreRequest,
  Segment,
  Shape,
  Snapshot,
  Store,
  StoredEvent,
  StoreRequest,
  StoreTraits,
  Tally,
  TransitionRequest,
  Trouble,
  UntoldRow,
} from "./src/contract.ts";
export type { CircuitIdentity, Scope } from "./src/key.ts";
export { type ErrorMatcher, isFailedResponse, type Outcome } from "./src/rules/outcome.ts";
export type {
  CircuitPolicy,
  Consistency,
  Cooldown,
  OnStoreError,
  Policy,
} from "./src/rules/policy.ts";
export type { CircuitMetrics, CircuitSnapshot } from "./src/rules/snapshot.ts";
export { absentSnapshot, ID_MEMORY_MS, OUTBOX_LENGTH, TOTALS_ONLY } from "./src/records.ts";
export type {
  Counts,
  Strategy,
  StrategyMetrics,
  StrategyName,
  StrategyOption,
} from "./src/rules/strategies.ts";
export type { FuseExport } from "./src/transfer.ts";
export { memory, type MemoryOptions } from "./drivers/memory.ts";
