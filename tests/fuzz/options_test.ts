// Invalid options: refused by name, in one short line, with nothing changed; or accepted.
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { createClient } from "@libsql/client";
import { Hono } from "hono";
import { backoff, type CircuitBreaker, createFuse, type Fuse, memory } from "@fuse/edge";
import { circuitBreaker, health, metrics } from "@fuse/edge/hono";
import { libsql, type LibsqlStore, tiered } from "@fuse/edge/libsql";
import { FakeClock } from "@fuse/edge/testing";
import { migrate } from "@fuse/edge/migrations";
import { upstash } from "@fuse/edge/upstash";
import { HOSTILE_TEXTS, HOSTILE_VALUES, hostileValue, isFit, runs } from "../support/hostile.ts";
import { POLICY_OPTIONS } from "../../src/rules/policy.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

/** The functions that take options. */
interface World {
  readonly fuse: Fuse;
  readonly breaker: CircuitBreaker;
  readonly store: LibsqlStore;
}

const CIRCUIT_OPTIONS = [
  ...POLICY_OPTIONS,
  ...["ignore", "record", "isFailure", "fallback", "fallbackOn"],
];
const FUSE_OPTIONS = ["stores", "default", "defaults", "circuits", "strategies", "onStoreError"]
  .concat("storeTimeoutMs", "maxCircuits", "clock", "waitUntil", "fetch", "instance");
const OVERRIDES = ["until", "forMs", "reason", "actor"];
const QUERY = ["event", "from", "to", "limit", "cursor"];
// deno-lint-ignore no-explicit-any
type Anything = any;

/** Adds required options to an object; other values stay as they are. */
function beside(required: Anything, options: Anything): Anything {
  return Object(options) === options ? { ...required, ...options } : options;
}

/** All functions that take options, with the names of those. */
const TAKERS: Record<string, [readonly string[], (options: Anything, world: World) => unknown]> = {
  "make()": [CIRCUIT_OPTIONS, (o, { fuse }) => fuse.make("new", o)],
  "defaults": [CIRCUIT_OPTIONS, (defaults) => createFuse({ defaults }).make("a")],
  "circuits": [CIRCUIT_OPTIONS, (a) => createFuse({ circuits: { a } }).make("a")],
  "createFuse()": [FUSE_OPTIONS, (o) => createFuse(o)],
  "list()": [
    ["state", "name", "context", "boundary", "overridden"],
    (o, { fuse }) => Array.fromAsync(fuse.list(o)),
  ],
  "call()": [
    ["signal", "timeoutMs", "fallback", "fallbackOn"],
    (o, { breaker }) => breaker.call(() => 1, o),
  ],
  "on()": [["signal"], (o, { fuse }) => void fuse.on("opened", () => {}, o)()],
  "forceClose()": [OVERRIDES, (o, { breaker }) => breaker.forceClose(o)],
  "reset()": [["reason", "actor"], (o, { breaker }) => breaker.reset(o)],
  "resetAll()": [["reason", "actor"], (o, { fuse }) => fuse.resetAll(o)],
  "importState()": [
    ["existing"],
    (o, { fuse }) => fuse.importState({ version: 1, circuits: [] }, o),
  ],
  "history()": [QUERY, (o, { fuse }) => Array.fromAsync(fuse.history(o))],
  "CircuitBreaker.history()": [QUERY, (o, { breaker }) => Array.fromAsync(breaker.history(o))],
  "LibsqlStore.history()": [[...QUERY, "key"], (o, { store }) => Array.fromAsync(store.history(o))],
  "prune()": [["olderThanMs", "keepTransitions", "limit"], (o, { store }) => store.prune(o)],
  "verifyTrail()": [["circuit", "head"], (o, { store }) => store.verifyTrail(o)],
  "backoff()": [["baseMs", "factor", "maxMs", "jitter"], (o) => backoff(o)],
  "memory()": [["maxCircuits", "clock"], (o) => memory(o)],
  "upstash()": [["redis", "url", "token", "prefix", "ttlMs", "clock"], (o) => upstash(o)],
  "libsql()": [
    ["client", "url", "authToken", "replica", "schema", "audit", "trailKey", "redact"]
      .concat("busyTimeoutMs", "clock"),
    (o) => libsql(o),
  ],
  "tiered()": [["state", "audit", "auditTimeoutMs"], (o) => tiered(o)],
  "circuitBreaker()": [
    ["fuse", "name", "options", "isFailure", "context", "boundary", "onOpen"],
    (o, { fuse }) => circuitBreaker(beside({ fuse, name: "new" }, o)),
  ],
  "health()": [["fuse", "critical"], (o, { fuse }) => health(beside({ fuse }, o))],
  "metrics()": [["fuse", "scopeLabels"], (o, { fuse }) => metrics(beside({ fuse }, o))],
};

const address = { url: "https://localhost:1", token: "t" };
/** Options that are required for another option to be checked. */
const REQUIRED: Record<string, Anything> = {
  "prune()": { olderThanMs: 1e9 },
  "backoff()": { baseMs: 1 },
  "upstash()": address,
  "libsql()": { url: address.url },
  "tiered()": { state: memory(), audit: libsql({ url: address.url }) },
};

/** Asserts that an error uses our own words. */
function isRefusal(error: unknown): boolean {
  return (error instanceof RangeError || error instanceof TypeError) && isFit(error.message) &&
    error.message.startsWith("Cannot ");
}

async function withWorld(body: (world: World) => Promise<void>): Promise<void> {
  const client = createClient({ url: ":memory:" });
  try {
    await migrate(client);
    const clock = new FakeClock().now;
    const store = libsql({ client, clock });
    const fuse = createFuse({ stores: { s: store }, storeTimeoutMs: 30_000, clock });
    const breaker = fuse.make("a", { failureThreshold: 3 });
    await breaker.tryCall(() => Promise.reject(new Error("down")));
    await body({ fuse, breaker, store });
    await fuse.flush();
  } finally {
    client.close();
  }
}

for (const [taker, [options, give]] of Object.entries(TAKERS)) {
  Deno.test(`${taker} accepts an option or refuses it in one short line, whatever its value`, async () => {
    await withWorld(async (world) => {
      await fc.assert(
        fc.asyncProperty(fc.constantFrom(...options), hostileValue, async (option, value) => {
          const before = await world.fuse.exportState();
          try {
            await give({ ...REQUIRED[taker], [option]: value }, world);
          } catch (error) {
            if (error === value) return;
            if (isRefusal(error)) {
              const { message } = error as Error;
              // Nested options are named in place of the outer one.
              const within = /"(client|url|token|name|options)"|there is no option/;
              assert(message.includes(option) || within.test(message), message);
              const after = await world.fuse.exportState();
              return assertEquals(after.circuits, before.circuits);
            }
            throw error;
          }
        }),
        runs(60),
      );
    });
  });

  Deno.test(`${taker} refuses options that are not an object in one short line`, async () => {
    await withWorld(async (world) => {
      for (const value of HOSTILE_VALUES) {
        try {
          await give(value, world);
        } catch (error) {
          assert(isRefusal(error), String(error).slice(0, 500));
        }
      }
    });
  });
}

Deno.test("createFuse() accepts any name for a store, a circuit or a strategy, and pollutes no prototype", async () => {
  const none = Object.keys(Object.prototype);
  for (const name of HOSTILE_TEXTS) {
    // As JSON.parse() returns it: `__proto__` is an ordinary field.
    const of = <T>(value: T): Record<string, T> => Object.fromEntries([[name, value]]);
    const opens = () => true;
    const fuse = createFuse({
      stores: of(memory()),
      circuits: of({ failureThreshold: 7, strategy: name }),
      strategies: of(opens),
      default: name,
    });
    const breaker = fuse.make("other", { strategy: name, store: name });
    await breaker.call(() => 1);
    assertEquals(await breaker.getState(), "OPEN");
    const { store, reason } = (await Array.fromAsync(fuse.store(name).list()))[0]!;
    assertEquals([store, reason], [name, name.toWellFormed()]);
    const missing = assertThrows(() => createFuse().store(name), RangeError, "Cannot use store");
    assert(isFit(missing.message), missing.message);
    const unknown = assertThrows(() => createFuse().make("a", { strategy: name }), RangeError);
    assert(isFit(unknown.message), unknown.message);
    const option = assertThrows(() => createFuse().make("a", of(1)), TypeError, "no option");
    assert(isFit(option.message), option.message);
  }
  assertEquals(Object.keys(Object.prototype), none);
  assertEquals(({} as Anything).failureThreshold, undefined);
});

Deno.test("createFuse() refuses invalid names in one short line", () => {
  const huge = "x\n".repeat(500_000);
  for (
    const options of [
      { stores: { [huge]: memory() } },
      { stores: { "": memory() } },
      { stores: { [huge]: null } },
      { circuits: { [huge]: 5 } },
      { strategies: { [huge]: 5 } },
      { [huge]: 5 },
      { default: huge },
    ] as Anything[]
  ) {
    const error = assertThrows(() => createFuse(options), Error, "Cannot create fuse");
    assert(isFit(error.message), error.message.slice(0, 500));
  }
});

Deno.test("make() throws the error of a getter, and keeps nothing", () => {
  const fuse = createFuse();
  for (const option of CIRCUIT_OPTIONS) {
    const boom = new Error("boom");
    const options = Object.defineProperty({}, option, {
      enumerable: true,
      get() {
        throw boom;
      },
    });
    const error = assertThrows(() => fuse.make("a", options as Anything), Error);
    assertEquals(error, boom);
  }
  fuse.on("config_mismatch", () => assert(false, "something was kept"));
  fuse.make("a", { failureThreshold: 9 });
});

Deno.test("CircuitBreaker() survives any value that a user's function returns or throws", async () => {
  const property = fc.asyncProperty(hostileValue, async (value) => {
    for (const how of ["gives", "throws"] as const) {
      const does = () => {
        if (how === "throws") throw value;
        return value as Anything;
      };
      const fuse = createFuse({ defaults: { failureThreshold: 1, callTimeoutMs: 5_000 } });
      fuse.on("listener_error", () => {});
      fuse.on("*", does);
      const breaker = fuse.make<Anything>("a", {
        ...{ strategy: does, cooldownMs: does, isFailure: does, fallback: does },
        ...{ ignore: [does], record: [does], fallbackOn: "failure" },
      });
      for (let i = 0; i < 3; i++) {
        const result = await breaker.tryCall(does);
        assertEquals(typeof result.ok, "boolean");
      }
      assert(isFit(await breaker.explain()));
      const { openUntil } = await breaker.snapshot();
      assert(openUntil === null || openUntil.getTime() <= Date.now() + 600_000);
    }
  });
  // An error of an error listener is reported on the console.
  const { error } = console;
  console.error = () => {};
  try {
    await fc.assert(property, runs(100));
  } finally {
    console.error = error;
  }
});

/** Errors whose properties throw. */
const HARMFUL: readonly unknown[] = [
  ...["name", "message", "stack", "cause", "retryAfterMs"].map((field) =>
    Object.defineProperty(new Error("e"), field, {
      get() {
        throw new Error(`looked at ${field}`);
      },
    })
  ),
  new Proxy({}, {
    getPrototypeOf() {
      throw new Error("looked at its prototype");
    },
  }),
  new Proxy(new Error("e"), {
    get() {
      throw new Error("looked at");
    },
  }),
];

Deno.test("CircuitBreaker() passes on errors whose properties throw, and counts them", async () => {
  for (const [i, error] of HARMFUL.entries()) {
    const breaker = createFuse().make("a", { failureThreshold: 2 });
    for (let n = 0; n < 2; n++) {
      const result = await breaker.tryCall(() => {
        throw error;
      });
      assert(!result.ok && result.error === error, `error ${i}`);
    }
    assertEquals(await breaker.getState(), "OPEN", `error ${i}`);
  }
});

Deno.test("circuitBreaker() answers any thrown value as Hono does without it", async () => {
  for (const value of [...HOSTILE_VALUES, ...HARMFUL.slice(0, 5)]) {
    const answer = async (guarded: boolean) => {
      const app = new Hono();
      if (guarded) app.use(circuitBreaker({ fuse: createFuse(), name: "a" }));
      app.get("/", () => {
        throw value;
      });
      app.onError((_error, c) => c.text("failed", 500));
      try {
        return (await app.request("/")).status;
      } catch (error) {
        return error === value ? "handed on" : String(error);
      }
    };
    assertEquals(await answer(true), await answer(false));
  }
});
