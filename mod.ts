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
  GuardedFetch,
  OverrideOptions,
  Permit,
} from "./src/circuit_breaker.ts";
export type {
  AuditEventName,
  CircuitEvent,
  CircuitState,
  Clock,
  EventQuery,
  Override,
  Store,
  StoreTraits,
} from "./src/contract.ts";
export {
  CallTimeoutError,
  CircuitBreakerOpenError,
  FuseError,
  isCallTimeoutError,
  isCircuitBreakerOpenError,
  isStoreUnavailableError,
  rejectionOf,
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
export { createFuse, type Fuse, type StoreCheck } from "./src/fuse.ts";
export type {
  CircuitFilter,
  CircuitPage,
  CircuitPageOptions,
  ImportOptions,
} from "./src/inventory.ts";
export type { CircuitIdentity, Scope } from "./src/key.ts";
export type { FuseOptions } from "./src/registry.ts";
export { backoff, type BackoffOptions } from "./src/rules/backoff.ts";
export { type ErrorMatcher, isFailedResponse, type Outcome } from "./src/rules/outcome.ts";
export type { CircuitPolicy, Consistency, Cooldown, OnStoreError } from "./src/rules/policy.ts";
export type { CircuitMetrics, CircuitSnapshot } from "./src/rules/snapshot.ts";
export type {
  Counts,
  Policy,
  Strategy,
  StrategyMetrics,
  StrategyName,
  StrategyOption,
} from "./src/rules/strategies.ts";
export type { FuseExport } from "./src/transfer.ts";
export { memory, type MemoryOptions } from "./drivers/memory.ts";
