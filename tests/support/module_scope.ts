/**
 * Simulates the module scope of a Worker, where timers, randomness and I/O throw: removes them,
 * then loads the library and creates everything that an application creates at its top level.
 */
type Forbidden = Record<string, (...args: never[]) => unknown>;

for (
  const [holder, names] of [
    [globalThis, ["setTimeout", "setInterval", "fetch"]],
    [Math, ["random"]],
    [Date, ["now"]],
    [crypto, ["getRandomValues", "randomUUID"]],
    [AbortSignal, ["timeout", "any"]],
  ] as [object, string[]][]
) {
  for (const name of names) (holder as Forbidden)[name] = () => forbidden(name);
}
globalThis.AbortController = class {
  constructor() {
    forbidden("AbortController");
  }
} as unknown as typeof AbortController;

const { backoff, createFuse, memory } = await import(
  import.meta.resolve("@fuse/edge")
) as typeof import("@fuse/edge");
const { upstash } = await import(
  import.meta.resolve("@fuse/edge/upstash")
) as typeof import("@fuse/edge/upstash");
const { createSchema, libsql } = await import(
  import.meta.resolve("@fuse/edge/libsql")
) as typeof import("@fuse/edge/libsql");
await import(import.meta.resolve("@fuse/edge/migrations"));
const { notify, slack, webhook } = await import(
  import.meta.resolve("@fuse/edge/notify")
) as typeof import("@fuse/edge/notify");
const { otel } = await import(
  import.meta.resolve("@fuse/edge/otel")
) as typeof import("@fuse/edge/otel");
const { fuseFromEnv } = await import(
  import.meta.resolve("@fuse/edge/env")
) as typeof import("@fuse/edge/env");

createFuse();
const database = libsql({
  url: "libsql://example.turso.io",
  authToken: "token",
  schema: createSchema({ prefix: "app_" }),
});
const fuse = createFuse({
  stores: {
    array: memory(),
    small: memory({ maxCircuits: 10 }),
    cache: upstash({ url: "https://eu1.upstash.io", token: "token" }),
    database,
  },
  default: "array",
  defaults: { cooldownMs: backoff({ baseMs: 100, jitter: 0.5 }) },
  circuits: { "payments-*": { strategy: ["rolling_window", "slow_calls"], slowCallMs: 500 } },
  strategies: { never: () => false },
  waitUntil: () => {},
});
fuse.on("opened", () => {});
const breaker = fuse
  .store("small")
  .for({ type: "tenant", id: 7 })
  .boundary({ type: "region", id: "eu" })
  .with(null)
  .make("payments-eu", { callTimeoutMs: 1000, ignore: [TypeError], fallback: () => null });
breaker.wrap(() => 1);
for (const store of ["cache", "database"]) fuse.store(store).make("payments-eu");
if (typeof fuse.fetch !== "function" || typeof breaker.fetch !== "function") {
  throw new TypeError("Cannot find the guarded fetch");
}
const fromEnv = fuseFromEnv({
  UPSTASH_REDIS_REST_URL: "https://eu1.upstash.io",
  UPSTASH_REDIS_REST_TOKEN: "token",
  TURSO_DATABASE_URL: "libsql://example.turso.io",
  TURSO_AUTH_TOKEN: "token",
});
for (const store of ["array", "cache", "database"]) fromEnv.store(store).make("payments-eu");
const url = "https://hooks.example/fuse";
notify(fuse, {
  channels: [webhook({ url, secret: "key", headers: { accept: "*/*" } }), slack({ url })],
  quietMs: 60_000,
});
otel(fuse, { durations: true });
console.log("constructed");

function forbidden(name: string): never {
  throw new Error(`Cannot use "${name}" at module scope`);
}
