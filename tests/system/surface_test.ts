// The promised surface of the core. surface_entries_test.ts covers the other entry points.
import { assertEquals } from "@std/assert";
import { createClient } from "@libsql/client";
import * as M from "@fuse/edge";
import * as L from "@fuse/edge/libsql";
import * as S from "@fuse/edge/store";
import { migrate } from "@fuse/edge/migrations";
import {
  gives,
  is,
  type Many,
  type Maybe,
  type Numbers,
  same,
  takes,
  type Texts,
} from "../support/promised.ts";

type Id = M.CircuitIdentity;

Deno.test("@fuse/edge exports the promised functions and classes", () => {
  is<(options?: M.FuseOptions) => M.Fuse>(M.createFuse);
  is<(options?: Maybe<{ maxCircuits: number; clock: M.Clock }>) => M.Store>(M.memory);
  type Growth = Maybe<{ factor: number; maxMs: number; jitter: number }>;
  is<(options: { baseMs: number } & Growth) => M.Cooldown>(M.backoff);
  is<(e: unknown) => e is M.CircuitBreakerOpenError>(M.isCircuitBreakerOpenError);
  is<(response: Response) => boolean>(M.isFailedResponse);
  for (
    const Class of [M.CircuitBreakerOpenError, M.CallTimeoutError, M.StoreUnavailableError]
  ) assertEquals([Class.prototype instanceof M.FuseError], [true]);
  gives<Error, M.FuseError>();
  gives<M.FuseError & { circuit: Id; state: M.CircuitState }, M.CircuitBreakerOpenError>();
  gives<
    { override: M.Override | null; reason: string | null; retryAfterMs: number },
    M.CircuitBreakerOpenError
  >();
  gives<
    { getResponse: (options?: Maybe<{ expose: boolean }>) => Response },
    M.CircuitBreakerOpenError
  >();
  type Rejections = M.CircuitBreakerOpenError | M.StoreUnavailableError;
  is<(e: unknown) => Rejections | undefined>(M.rejectionOf);
  gives<M.FuseError & { circuit: Id; timeoutMs: number }, M.CallTimeoutError>();
  gives<M.FuseError & { store: string; retryAfterMs: number }, M.StoreUnavailableError>();
  gives<{ cause?: unknown }, M.StoreUnavailableError>();
});

Deno.test("@fuse/edge accepts the promised words, and no others", () => {
  same<M.CircuitState, "CLOSED" | "OPEN" | "HALF_OPEN">();
  same<M.Override, "forced_open" | "forced_closed" | "disabled" | "metrics_only">();
  type Windows = "rolling_window" | "count_window" | "slow_calls";
  same<M.StrategyName, "consecutive_failures" | "percentage_failures" | Windows>();
  type Changes = "opened" | "closed" | "half_opened" | "reset" | "released" | "reborn";
  same<
    M.AuditEventName,
    Changes | M.Override | "imported" | "edited" | "removed" | "success" | "failure"
  >();
  same<M.Clock, () => number>();
  same<M.Cooldown, (reopenCount: number) => number>();
  same<M.WaitUntil, (work: Promise<unknown>) => void>();
  same<M.Strategy, (metrics: M.StrategyMetrics, policy: M.Policy) => boolean>();
  takes<M.Scope, { readonly type: string; readonly id: string | number | bigint }>();
  takes<M.StrategyOption, M.StrategyName | M.Strategy | "a custom one">();
  type Class = abstract new (...args: never[]) => Error;
  takes<M.ErrorMatcher, Class | typeof TypeError | ((error: unknown) => boolean)>();
});

Deno.test("@fuse/edge accepts the promised options, also undefined ones", () => {
  type Numeric =
    | ("failureThreshold" | "successThreshold" | "maxCooldownMs" | "windowMs" | "windowSize")
    | ("minimumThroughput" | "percentageThreshold" | "slowCallMs" | "callTimeoutMs")
    | ("abandonedAfterMs" | "idleTimeoutMs" | "firstByteTimeoutMs")
    | ("halfOpenFailureThreshold" | "rampMs" | "rampFromPercentage")
    | ("halfOpenMaxConcurrent" | "halfOpenLeaseMs" | "revalidateMs" | "maxStalenessMs")
    | ("flushSize" | "flushIntervalMs" | "maxRequestsPerSecond");
  type OnStoreError = "local" | "allow" | "reject";
  type Policy = Maybe<
    & { [_ in Numeric]: number }
    & { store: string; onStoreError: OnStoreError; strategy: Many<M.StrategyOption> }
    & { cooldownMs: number | M.Cooldown; consistency: "eventual" | "strong" }
    & { settle: "headers" | "body" }
  >;
  type Fallbacks<F> = Maybe<
    { fallback: Many<(context: M.FallbackContext) => F | PromiseLike<F>> } & {
      fallbackOn: "rejection" | "failure";
    }
  >;
  type Judging = Maybe<
    & { ignore: readonly M.ErrorMatcher[]; record: readonly M.ErrorMatcher[] }
    & { isFailure: (outcome: M.Outcome) => boolean }
  >;
  takes<M.CircuitPolicy, Policy>();
  takes<M.CircuitOptions<string>, Policy & Judging & Fallbacks<string>>();
  takes<M.CircuitDefaults, Policy & Judging>();
  takes<M.CallOptions<Date>, Maybe<{ signal: AbortSignal; timeoutMs: number }> & Fallbacks<Date>>();
  takes<
    M.FuseOptions,
    Maybe<
      & { stores: Record<string, M.Store>; default: string; defaults: M.CircuitDefaults }
      & { circuits: Record<string, M.CircuitDefaults>; strategies: Record<string, M.Strategy> }
      & { onStoreError: OnStoreError; storeTimeoutMs: number; clock: M.Clock }
      & { waitUntil: M.WaitUntil; fetch: typeof fetch; instance: string; random: () => number }
    >
  >();
  type Scopes = { context: M.Scope | null; boundary: M.Scope | null };
  takes<
    M.CircuitFilter,
    Maybe<{ state: M.CircuitState; name: string; overridden: boolean } & Scopes>
  >();
  takes<M.Actor, Maybe<{ reason: string; actor: string }>>();
  takes<M.OverrideOptions, M.Actor & Maybe<{ until: Date; forMs: number }>>();
  type Page = { event: M.AuditEventName; from: Date; to: Date; limit: number; cursor: string };
  takes<M.EventQuery, Maybe<Page>>();
});

Deno.test("@fuse/edge returns the promised data", () => {
  type Dates<K extends string> = { [_ in K]: Date | null };
  same<Id, Texts<"key" | "store" | "name"> & { context: string | null; boundary: string | null }>();
  gives<Numbers<"calls" | "successes" | "failures" | "slow">, M.Counts>();
  gives<Numbers<"consecutiveFailures" | "consecutiveSuccesses">, M.StrategyMetrics>();
  gives<{ window: M.Counts; sinceClosed: M.Counts }, M.StrategyMetrics>();
  gives<Numbers<"failureThreshold" | "percentageThreshold" | "windowMs">, M.Policy>();
  gives<Numbers<"minimumThroughput" | "windowSize">, M.Policy>();
  type Totals = "totalSuccesses" | "totalFailures" | "totalRejected" | "totalSlow" | "failureRate";
  gives<Numbers<Totals | "consecutiveSuccesses" | "consecutiveFailures">, M.CircuitMetrics>();
  gives<Dates<"lastSuccessAt" | "lastFailureAt"> & { window: M.Counts }, M.CircuitMetrics>();
  gives<Id & Dates<"openedAt" | "openUntil" | "closedAt">, M.CircuitSnapshot>();
  gives<Numbers<"generation" | "reopenCount" | "ageMs">, M.CircuitSnapshot>();
  gives<{ local: boolean }, M.CircuitSnapshot>();
  same<M.StoreCheck, { ok: boolean; latencyMs: number; error?: unknown }>();
  gives<{ state: M.CircuitState; metrics: M.CircuitMetrics }, M.CircuitSnapshot>();
  type Laid = Dates<"until"> & { kind: M.Override; reason: string | null; actor: string | null };
  gives<{ override: Laid | null }, M.CircuitSnapshot>();
  type Row = { id: string; event: M.AuditEventName; at: Date; cursor: string };
  gives<Id & Row & { metadata: Record<string, unknown> | null }, M.CircuitEvent>();
  gives<{ circuit: Id; error: unknown; state: M.CircuitState }, M.FallbackContext>();
  gives<{ persistent: boolean; shared: boolean; audited: boolean }, M.StoreTraits>();
  gives<{ name: string; traits: M.StoreTraits }, M.Store>();
  gives<{ version: 1; exportedAt: string; circuits: readonly unknown[] }, M.FuseExport>();
  type Ended = { ok: true; value: unknown } | { ok: false; error: unknown };
  gives<Ended & { durationMs: number }, M.Outcome>();
  type Rejection = M.CircuitBreakerOpenError | M.StoreUnavailableError;
  same<
    M.CallResult<1, 2>,
    | { readonly ok: true; readonly source: "call"; readonly value: 1 }
    | { readonly ok: true; readonly source: "fallback"; readonly value: 2; readonly error: unknown }
    | { readonly ok: false; readonly rejected: false; readonly error: unknown }
    | (
      & { readonly ok: false; readonly rejected: true; readonly error: Rejection }
      & { readonly retryAfterMs: number }
    )
  >();
});

Deno.test("@fuse/edge emits the promised events", () => {
  type Moved = "opened" | "would_open" | "closed" | "half_opened";
  type Called = "success" | "failure" | "slow" | "ignored";
  type Acted = M.Override | "released" | "imported" | "removed" | "reset";
  type OfStore = { store: string; operation: string; error: unknown; retryAfterMs: number };
  gives<
    & { [_ in Moved]: M.TransitionEvent }
    & { [_ in Called]: M.CallEvent }
    & { [_ in Acted]: M.OperatorEvent }
    & { [_ in "reborn" | "evicted" | "nested"]: Id }
    & { rejected: Id & { retryAfterMs: number }; unconfirmed: Id & { tallies: number } }
    & { store_error: OfStore & { circuit?: Id }; store_recovered: { store: string; circuit?: Id } }
    & { config_mismatch: Id & { options: string[] } }
    & { listener_error: { type: string; error: unknown } },
    M.FuseEvents
  >();
  type Move = { from: M.CircuitState; to: M.CircuitState; generation: number; at: Date };
  type Why = { reason: string; snapshot: M.CircuitSnapshot; head?: string; local?: boolean };
  gives<Id & Move & Why, M.TransitionEvent>();
  gives<Id & { reason: string | null; actor: string | null; at: Date }, M.OperatorEvent>();
  gives<{ until: Date | null }, M.OperatorEvent>();
  gives<Id & { durationMs: number; error?: unknown; late?: boolean }, M.CallEvent>();
  gives<{ type: keyof M.FuseEvents }, M.FuseEvent>();
});

Deno.test("@fuse/edge leaves symbols for authors of drivers to @fuse/edge/store", () => {
  const values = Object.keys(M).filter((name) => name in S);
  assertEquals(values, []);
  // A store has a name and traits, and no members that only drivers have.
  same<keyof M.Store, "name" | "traits">();
});

/** Returns rows of the trail, with the circuit of each. */
async function namesOf(of: { history: M.Fuse["history"] }, query?: M.EventQuery) {
  const names: string[] = [];
  for await (const { store, name, context, boundary, event } of of.history(query)) {
    names.push(`${store} ${name} ${context} ${boundary} ${event}`);
  }
  return names;
}

Deno.test("a Fuse, its breakers and its stores with a trail have the promised methods", async () => {
  const client = createClient({ url: ":memory:" });
  await migrate(client);
  const database = L.libsql({ client });
  await using fuse: AsyncDisposable & M.Fuse = M.createFuse({
    storeTimeoutMs: 30_000,
    stores: { database },
  });
  const view: M.Fuse = fuse.store("database").for({ type: "tenant", id: 7n }).boundary(null)
    .with({ waitUntil() {} }).with(null).with(undefined);
  const off: () => void = view.on("opened", ({ type, head }) => void [type, head], {
    signal: new AbortController().signal,
  });
  off();
  takes<NonNullable<Parameters<M.Fuse["on"]>[2]>, Maybe<{ signal: AbortSignal }>>();
  fuse.on("*", (event: M.FuseEvent) => void event.type);
  const breaker: M.CircuitBreaker<string> & Id = view.make("a", { fallback: () => "no" });
  gives<(input: RequestInfo | URL, init?: RequestInit) => Promise<Response>, M.GuardedFetch>();
  gives<{ fetch: M.GuardedFetch<string> }, typeof breaker>();
  const value: number | string | null = await breaker.call(({ signal }) => signal.aborted ? 0 : 1, {
    fallback: () => null,
  });
  const result: M.CallResult<number, string> = await breaker.tryCall(() => Promise.resolve(2));
  const wrapped: (text: string) => Promise<number | string> = breaker.wrap((t: string) => t.length);
  assertEquals([value, result.ok, await wrapped("two")], [1, true, 3]);
  const permit: M.Permit & AsyncDisposable = await breaker.admit();
  for (const end of [permit.success, permit.failure, permit.ignore]) is<() => Promise<void>>(end);
  await permit.success();

  const read: [boolean, M.CircuitState, M.CircuitMetrics, M.CircuitSnapshot, string] = [
    ...[await breaker.isOpen(), await breaker.getState(), await breaker.getMetrics()] as const,
    ...[await breaker.snapshot(), await breaker.explain()] as const,
  ];
  assertEquals([read[1], breaker.peek().state], ["CLOSED", "CLOSED"]);
  const { forceOpen, forceClose, disable, metricsOnly, release, reset } = breaker;
  for (const act of [forceOpen, forceClose, disable, metricsOnly]) {
    is<(o?: M.OverrideOptions) => Promise<void>>(act);
  }
  for (const act of [release, reset]) is<(o?: M.Actor) => Promise<void>>(act);
  await breaker.forceOpen({ reason: "a drill" });

  const row = "a tenant:7 null forced_open";
  assertEquals(await namesOf(breaker), [`database ${row}`]);
  assertEquals(await namesOf(fuse), [`database ${row}`]);
  assertEquals(await namesOf(database), [`libsql ${row}`]);
  const audited = L.tiered({ state: M.memory(), audit: database });
  assertEquals(await namesOf(audited, { limit: 1 }), [`tiered ${row}`]);
  const listed: M.CircuitSnapshot[] = await Array.fromAsync(fuse.list({ state: "CLOSED" }));
  const data: M.FuseExport = await fuse.exportState({ name: "a" });
  const { imported, kept } = await fuse.importState(data, { existing: "keep" });
  assertEquals([listed.length, imported + kept, await fuse.resetAll({})], [1, 1, 1]);
  await fuse.flush();
  const checks: Record<string, M.StoreCheck> = await fuse.check();
  assertEquals([checks.database?.ok, breaker.peek().local], [true, false]);
  client.close();
});
