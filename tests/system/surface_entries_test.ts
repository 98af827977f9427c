// The promised surface of the entry points beside the core, which surface_test.ts covers.
import { assertEquals } from "@std/assert";
import { createClient } from "@libsql/client";
import type { Redis } from "@upstash/redis";
import type { createClient as createRedis } from "@redis/client";
import { type Context, Hono, type MiddlewareHandler } from "hono";
import type { Redis as IoRedis } from "ioredis";
import type * as M from "@fuse/edge";
import { createFuse, memory } from "@fuse/edge";
import { runCli } from "@fuse/edge/cli";
import { dashboard } from "@fuse/edge/dashboard";
import { fuseFromEnv } from "@fuse/edge/env";
import { logTo } from "@fuse/edge/log";
import * as N from "@fuse/edge/notify";
import { otel } from "@fuse/edge/otel";
import { prometheusText } from "@fuse/edge/prometheus";
import * as D from "@fuse/edge/d1";
import * as O from "@fuse/edge/durable-object";
import * as H from "@fuse/edge/hono";
import * as L from "@fuse/edge/libsql";
import * as LR from "@fuse/edge/libsql/relations";
import * as LS from "@fuse/edge/libsql/schema";
import * as G from "@fuse/edge/migrations";
import * as R from "@fuse/edge/redis";
import * as S from "@fuse/edge/store";
import * as T from "@fuse/edge/testing";
import * as U from "@fuse/edge/upstash";
import { gives, is, type Maybe, same, takes } from "../support/promised.ts";

Deno.test("@fuse/edge/env exports the promised surface", () => {
  is<(env: object, options?: Omit<M.FuseOptions, "stores" | "default">) => M.Fuse>(fuseFromEnv);
});

Deno.test("@fuse/edge/cli exports a function that returns an exit code", () => {
  is<(args: readonly string[]) => Promise<number>>(runCli);
});

Deno.test("@fuse/edge/dashboard exports the promised surface", () => {
  type Options =
    & { fuse: M.Fuse | ((c: Context) => M.Fuse); auth: MiddlewareHandler }
    & Maybe<{ actor: (c: Context) => string; readOnly: boolean; title: string; pollMs: number }>;
  is<(options: Options) => Hono>(dashboard);
});

Deno.test("@fuse/edge/upstash exports the promised surface", () => {
  is<(options: U.UpstashOptions) => M.Store>(U.upstash);
  type Sends<T> = (sha: string, keys: string[], args: (string | number)[]) => T;
  type Pipeline = {
    evalsha: Sends<unknown>;
    exec: (options?: { keepErrors?: boolean }) => Promise<unknown[]>;
  };
  type Scan = (
    cursor: string | number,
    options?: { match?: string; count?: number },
  ) => Promise<[string, string[]]>;
  type Client = {
    evalsha: Sends<Promise<unknown>>;
    eval: Sends<Promise<unknown>>;
    pipeline: () => Pipeline;
    scan: Scan;
    del: (...keys: string[]) => Promise<number>;
  };
  same<U.RedisLike, Client>();
  type Settings = Maybe<{ prefix: string; ttlMs: number; clock: M.Clock }>;
  takes<U.UpstashOptions, { redis: Client | Redis | (() => Client | Redis) } & Settings>();
  takes<U.UpstashOptions, { url: string; token: string } & Settings>();
});

Deno.test("@fuse/edge/redis exports the promised surface", () => {
  type Client = R.RedisClientLike;
  is<(client: Client | (() => Client), options?: R.RedisOptions) => M.Store>(R.redis);
  takes<Client, { call(command: string, ...args: string[]): Promise<unknown> }>();
  takes<Client, { sendCommand(args: string[]): Promise<unknown> }>();
  takes<Client, IoRedis | ReturnType<typeof createRedis>>();
  takes<R.RedisOptions, Maybe<{ prefix: string; ttlMs: number; clock: M.Clock }>>();
});

Deno.test("@fuse/edge/libsql exports the promised surface", () => {
  is<(options: L.LibsqlOptions) => L.LibsqlStore>(L.libsql);
  is<(options: { state: M.Store; audit: L.LibsqlStore }) => L.LibsqlStore>(L.tiered);
  is<(row: { state: string; failureCount: number }) => boolean>(L.isHealthy);
  is<(options?: L.SchemaOptions) => object>(L.createSchema);
  same<L.SqlValue, null | string | number | bigint | ArrayBuffer>();
  takes<L.SqlStatement, { sql: string; args: L.SqlValue[] }>();
  gives<{ sql: string; args: L.SqlValue[] }, L.SqlStatement>();
  takes<L.SqlResult, { rows: ArrayLike<Record<string, unknown>> }>();
  type Batch = (
    statements: L.SqlStatement[],
    mode?: "write" | "read" | "deferred",
  ) => Promise<L.SqlResult[]>;
  type Client = { execute: (statement: L.SqlStatement) => Promise<L.SqlResult>; batch: Batch };
  type Real = ReturnType<typeof createClient>;
  takes<L.LibsqlClient, Client | Real>();
  type Settings = Maybe<
    & { replica: Client | Real | (() => Client | Real); schema: unknown; clock: M.Clock }
    & { audit: "transitions" | "calls"; trailKey: string }
    & { redact: (error: unknown) => string | undefined }
  >;
  takes<L.LibsqlOptions, { client: Client | Real | (() => Client | Real) } & Settings>();
  takes<L.LibsqlOptions, { url: string } & Maybe<{ authToken: string }> & Settings>();

  type History = (query?: M.EventQuery) => AsyncIterableIterator<M.CircuitEvent>;
  type Pruning = { olderThanMs: number; keepTransitions?: boolean; limit?: number };
  type Verifying = Maybe<{ circuit: string; head: string }>;
  gives<M.Store & { history: History }, L.LibsqlStore>();
  gives<{ prune: (options: Pruning) => Promise<L.PruneResult> }, L.LibsqlStore>();
  gives<{ verifyTrail: (options?: Verifying) => Promise<L.TrailProof> }, L.LibsqlStore>();
  gives<{ deleted: number; more: boolean }, L.PruneResult>();
  type Problem = {
    id: string;
    circuit: string;
    problem: "changed" | "removed" | "inserted" | "circuit" | "trigger" | "unchained";
    detail: string;
  };
  gives<
    { ok: boolean; checked: number; brokenAt: Problem | null; heads: Record<string, string> },
    L.TrailProof
  >();
  type Circuit = typeof L.circuitBreakers.$inferSelect;
  type Event = typeof L.circuitBreakerEvents.$inferSelect;
  gives<{ key: string; state: M.CircuitState; failureCount: number; createdAt: Date }, Circuit>();
  gives<{ openedAt: Date | null; override: M.Override | null }, Circuit>();
  gives<{ id: number; event: M.AuditEventName; createdAt: Date }, Event>();
  const { circuitBreakers, circuitBreakerEvents, createSchema, isHealthy } = LS;
  same<typeof circuitBreakers, typeof L.circuitBreakers>();
  assertEquals(
    [circuitBreakers, circuitBreakerEvents, createSchema, isHealthy],
    [L.circuitBreakers, L.circuitBreakerEvents, L.createSchema, L.isHealthy],
  );
  const relations = [LR.circuitBreakersRelations, LR.circuitBreakerEventsRelations];
  assertEquals(relations.map((one) => typeof one), ["object", "object"]);
});

Deno.test("@fuse/edge/d1 and @fuse/edge/durable-object export the promised surface", () => {
  type Rest = Maybe<
    & { audit: "transitions" | "calls"; trailKey: string; trailKeys: readonly string[] }
    & { redact: (error: unknown) => string | undefined; clock: M.Clock }
  >;
  type Database = {
    prepare(sql: string): { bind(...values: unknown[]): unknown };
    batch(statements: never[]): Promise<unknown>;
  };
  type Namespace = { idFromName(name: string): unknown; get(id: never): unknown };
  same<D.D1Like, Database>();
  same<O.NamespaceLike, Namespace>();
  is<(binding: Database, options?: Rest & Maybe<{ schema: unknown }>) => D.LibsqlStore>(D.d1);
  is<(binding: Database) => L.LibsqlClient>(D.d1Client);
  is<(namespace: Namespace, options?: Rest & Maybe<{ shards: number }>) => O.LibsqlStore>(
    O.durableObject,
  );
  type ObjectClass = new (ctx: object, env: object) => {
    fetch(request: Request): Promise<Response>;
  };
  is<ObjectClass>(O.FuseObject);
});

Deno.test("@fuse/edge/migrations exports the promised surface", async () => {
  const client = createClient({ url: ":memory:" });
  const { applied }: { applied: string[] } = await G.migrate(client);
  gives<readonly { tag: string; sql: string }[], typeof G.migrations>();
  assertEquals(applied, G.migrations.map(({ tag }) => tag));
  client.close();
});

Deno.test("@fuse/edge/store exports the promised surface", () => {
  is<(driver: S.Driver) => M.Store>(S.shared);
  gives<{ name: string; traits: M.StoreTraits }, S.Driver>();
  gives<Error & { scope: "circuit" | "store" }, S.StoreAnswerError>();
  new S.StoreAnswerError("full", { scope: "store", cause: new Error("OOM") });
  // The contract's types and constants, for authors of drivers.
  type Contract = [S.Snapshot, S.Tally, S.AcquireRequest, S.TransitionRequest, S.OverrideRequest];
  takes<Contract["length"], 5>();
  assertEquals([S.ID_MEMORY_MS, S.OUTBOX_LENGTH, S.TOTALS_ONLY], [60_000, 64, -1]);
  assertEquals(S.absentSnapshot(7).now, 7);
});

Deno.test("@fuse/edge/testing exports the promised surface", () => {
  const clock: { now: M.Clock; advance: (ms: number) => void; set: (ms: number) => void } = new T
    .FakeClock(5);
  assertEquals([clock.now(), new T.FakeClock().now() >= 0], [5, true]);
  type Rates = "errorRate" | "timeoutRate" | "lostAnswerRate" | "duplicateRate" | "staleReadRate";
  type Faults = { [_ in Rates | "seed"]: number } & { latencyMs: number | (() => number) };
  takes<T.Faults, Maybe<Faults & { down: () => boolean }>>();
  takes<T.Faults, Maybe<{ fail: (operation: string, key: string | null) => Error | undefined }>>();
  is<(store: M.Store, faults: T.Faults) => M.Store>(T.chaos);
  type Either = M.Store | S.Driver;
  type Make = (options: { clock: M.Clock }) => Either | Promise<Either>;
  is<(make: Make) => T.ContractCase[]>(T.storeContract);
  gives<{ name: string; run: () => Promise<void> }, T.ContractCase>();
  gives<{ needs?: "shared" | "audited" | "persistent" }, T.ContractCase>();
});

Deno.test("@fuse/edge/hono exports the promised surface", async () => {
  type Of<T> = T | ((c: Context) => T);
  same<H.FuseVariables, { fuse: M.Fuse }>();
  takes<
    H.CircuitBreakerMiddlewareOptions,
    & { fuse: Of<M.Fuse> }
    & Maybe<
      & { name: Of<string | undefined>; options: M.CircuitPolicy }
      & { isFailure: (c: Context) => boolean; expose: boolean }
      & { context: Of<M.Scope | null>; boundary: Of<M.Scope | null> }
      & { onOpen: (error: M.CircuitBreakerOpenError, c: Context) => Response | Promise<Response> }
    >
  >();
  type Guard = MiddlewareHandler<{ Variables: H.FuseVariables }>;
  is<(options: H.CircuitBreakerMiddlewareOptions) => Guard>(H.circuitBreaker);
  type Asked = { fuse: Of<M.Fuse> };
  is<(options: Asked & Maybe<{ critical: readonly string[] }>) => MiddlewareHandler>(H.health);
  is<(options: Asked & Maybe<{ scopeLabels: boolean }>) => MiddlewareHandler>(H.metrics);

  const fuse = createFuse({ stores: { array: memory() } });
  const app = new Hono<{ Bindings: { REGION: string }; Variables: H.FuseVariables }>();
  app.use(H.circuitBreaker({ fuse: () => fuse, name: (c) => c.req.path, context: () => null }));
  app.get("/a", (c) => c.text(c.var.fuse.make("in the handler").name));
  // The variable exists without a declaration, too.
  const bare = new Hono().use(H.circuitBreaker({ fuse }))
    .get("/a", (c) => c.text(c.var.fuse.make("in the handler").name));
  const texts = [await app.request("/a"), await bare.request("/a")].map((got) => got.text());
  assertEquals(await Promise.all(texts), ["in the handler", "in the handler"]);
});

Deno.test("@fuse/edge/notify exports the promised surface", () => {
  type Notice =
    & { readonly event: M.AuditEventName; readonly at: Date }
    & {
      readonly [text in "circuit" | "store" | "text"]: string;
    }
    & { readonly data: Record<string, unknown> };
  gives<Notice, N.Notice>();
  same<N.Channel, (notices: readonly N.Notice[]) => Promise<void>>();
  type Hook = { url: string } & Maybe<{ secret: string; headers: Record<string, string> }>;
  is<(options: Hook) => N.Channel>(N.webhook);
  is<(options: { url: string }) => N.Channel>(N.slack);
  type Options =
    & { channels: readonly N.Channel[] }
    & Maybe<{
      events: readonly M.AuditEventName[];
      quietMs: number;
      name: string;
    }>;
  type Notifier = { drain(): Promise<number>; stop(): void };
  is<(fuse: M.Fuse, options: Options) => Notifier>(N.notify);
});

Deno.test("@fuse/edge/otel exports a function that returns a stop function", () => {
  type Options = Maybe<{ meter: object; tracer: object; scopes: boolean; durations: boolean }>;
  is<(fuse: M.Fuse, options?: Options) => () => void>(otel);
});

Deno.test("@fuse/edge/log and @fuse/edge/prometheus export the promised surface", () => {
  type To = { info(...data: unknown[]): void; warn(...data: unknown[]): void } & {
    error(...data: unknown[]): void;
  };
  is<(fuse: M.Fuse, logger?: To, options?: Maybe<{ json: boolean }>) => () => void>(logTo);
  is<(fuse: M.Fuse, options?: Maybe<{ scopeLabels: boolean }>) => Promise<string>>(prometheusText);
});
