// Stores that answer nonsense: a call is what it was, the circuit protects all the same, and what went
// wrong is said in words of ours.
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Redis } from "@upstash/redis/cloudflare";
import { createClient } from "@libsql/client";
import { createFuse, type FuseEvent, isStoreUnavailableError, type Store } from "@fuse/edge";
import { libsql, type LibsqlClient, type LibsqlStore } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { type RedisLike, upstash } from "@fuse/edge/upstash";
import { face } from "./support/fuzz_drivers.ts";
import { hostileText, hostileValue, isFit, runs } from "./support/hostile.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

/** How an answer is spoilt. */
type Spoil = <T>(answer: T) => T;

const OURS = /^(Redis over REST: |Cannot use the database: |No answer within )/;

/**
 * Uses a circuit in every way. `sound`: whether an answer may look like a circuit, so that nothing is
 * known of what it is taken for.
 */
async function use(store: Store, sound: boolean, trail = false): Promise<void> {
  for (const consistency of ["strong", "eventual"] as const) {
    const fuse = createFuse({
      ...{ stores: { s: store }, storeTimeoutMs: 30_000 },
      defaults: { consistency, failureThreshold: 2, cooldownMs: 60_000 },
    });
    const told: FuseEvent[] = [];
    fuse.on("*", (event) => told.push(event));
    const breaker = fuse.make("a:b");
    const boom = new Error("boom");
    const results = [];
    for (let i = 0; i < 4; i++) {
      const result = await breaker.tryCall(() => {
        throw boom;
      });
      assert(result.ok || result.rejected || result.error === boom, String(Object(result).error));
      results.push(!result.ok && result.rejected);
      await fuse.flush();
    }
    if (!sound) assertEquals(results, [false, false, true, true]);
    breaker.peek();
    const permit = await breaker.admit().catch(() => null);
    await permit?.failure(boom);
    for (
      const read of [
        () => breaker.snapshot(),
        () => breaker.explain(),
        () => breaker.getMetrics(),
        () => breaker.forceOpen({ reason: "r" }),
        () => breaker.release(),
        () => breaker.reset(),
        () => Array.fromAsync(fuse.list()),
        () => fuse.exportState(),
        () => fuse.resetAll(),
        ...trail ? [() => Array.fromAsync(breaker.history())] : [],
      ]
    ) {
      try {
        await read();
      } catch (error) {
        const { message } = error as Error;
        assert(isStoreUnavailableError(error) || OURS.test(message), `${read}: ${message}`);
        assert(isFit(message), message);
      }
    }
    for (const event of told) {
      JSON.stringify(event);
      if (event.type !== "store_error") continue;
      const { message } = event.error as Error;
      assert(OURS.test(message) && isFit(message), `${event.operation}: ${message}`);
    }
    if (!sound) assert(told.some(({ type }) => type === "store_error"));
  }
}

const PAGE = `<html>\n<body>502 Bad Gateway ${"x".repeat(100_000)}</body></html>`;
const BODIES = [
  ...["", " ", "null", "[]", "{}", "0", '"OK"', PAGE, "{", '{"result":', "\0", "\ufeff{}"],
  ...['{"result":null}', '{"result":"OK"}', '{"result":[]}', '{"result":{}}', '{"result":[null]}'],
  ...['{"result":[1,2]}', '{"result":["1","0","5"]}', '{"result":[1,0,5,"state"]}'],
  ...['{"result":[1,0,5,"state","=OPEN"]}', '{"result":[1,0,1e999,"epoch","=a"]}', "[[[]]]"],
  ...['{"result":[1,0,5,"__proto__","=x"]}', '{"error":null}', '{"error":{"a":1}}', '{"error":""}'],
  ...['{"error":"a\\r\\nb"}', '[{"result":1}]', "[null,null]", '{"result":' + "[".repeat(9_000)],
];

Deno.test("upstash() says that Redis fails, and its circuits protect, when a server answers nonsense", async () => {
  let answer = { body: "", status: 200 };
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    await request.arrayBuffer();
    return new Response(answer.body, { status: answer.status });
  });
  try {
    const url = `http://127.0.0.1:${server.addr.port}`;
    for (const [i, body] of BODIES.entries()) {
      answer = { body, status: [200, 200, 400, 503][i % 4]! };
      await use(upstash({ url, token: "t" }), false);
    }
  } finally {
    await server.shutdown();
  }
});

/** Rewrites answers of a client. */
function spoilt<T extends object>(client: T, spoil: Spoil): T {
  return new Proxy(client, {
    get(target, property) {
      const value = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const answer = Reflect.apply(value, target, args);
        if (property === "pipeline") return spoilt(answer, spoil);
        return answer instanceof Promise ? answer.then(spoil) : answer;
      };
    },
  });
}

/** Of JSON: one value anywhere in it becomes another. */
function altered(json: unknown, where: number, value: unknown): unknown {
  const places: [holder: Record<string, unknown>, field: string][] = [];
  const copy = { all: structuredClone(json) };
  const walk = (holder: Record<string, unknown>) => {
    for (const field in holder) {
      places.push([holder, field]);
      const inner = holder[field];
      if (typeof inner === "object" && inner !== null) walk(inner as typeof holder);
    }
  };
  walk(copy);
  const [holder, field] = places[where % places.length]!;
  holder[field] = value;
  return copy.all;
}

const nonsense = fc.oneof(
  { weight: 3, arbitrary: hostileText },
  { weight: 2, arbitrary: hostileText.map((text) => `=${text}`) },
  { weight: 2, arbitrary: fc.double() },
  { weight: 3, arbitrary: hostileValue },
);

Deno.test("upstash() stands any answer of a client, in part or whole", async () => {
  const { url, token } = face;
  const real = new Redis({
    ...{ url, token, retry: { retries: 0 }, automaticDeserialization: false },
    enableAutoPipelining: false,
  });
  let n = 0;
  const property = fc.asyncProperty(fc.nat({ max: 200 }), nonsense, async (where, value) => {
    const client = spoilt(real, (answer) => altered(answer, where, value) as typeof answer);
    const prefix = `nonsense-${n++}`;
    await use(upstash({ redis: client as unknown as RedisLike, prefix }), true);
  });
  await fc.assert(property, runs(40, 0.5));
});

Deno.test("upstash() says in words of ours whatever a client throws", async () => {
  const methods = ["evalsha", "eval", "pipeline", "scan", "del"];
  const property = fc.asyncProperty(hostileValue, fc.boolean(), async (value, late) => {
    const does = () => {
      if (late) return Promise.reject(value);
      throw value;
    };
    const redis = Object.fromEntries(methods.map((method) => [method, does]));
    await use(upstash({ redis: redis as unknown as RedisLike }), false);
  });
  await fc.assert(property, runs(40));
});

Deno.test("libsql() stands any answer of a client, in part or whole", async () => {
  const inner = createClient({ url: ":memory:" });
  try {
    await migrate(inner);
    const { batch, execute } = inner;
    const property = fc.asyncProperty(fc.nat({ max: 200 }), nonsense, async (where, value) => {
      await inner.batch(["delete from circuit_breakers", "delete from circuit_breaker_events"]);
      const spoil = (result: unknown) => {
        const { rows } = result as { rows: Record<string, unknown>[] };
        const text = rows[0]?.circuit;
        if (typeof text !== "string" || where % 3 === 0) {
          return altered({ rows: rows.map((row) => ({ ...row })) }, where, value);
        }
        const json = altered(JSON.parse(text), where, value);
        return {
          rows: [{ circuit: JSON.stringify(json, (_, v) => typeof v === "bigint" ? 1 : v) }],
        };
      };
      const client = {
        execute: async (...args: Parameters<typeof execute>) =>
          spoil(await execute.apply(inner, args)),
        batch: async (...args: Parameters<typeof batch>) => {
          const results = await batch.apply(inner, args);
          return where % 7 === 0 ? value : results.map(spoil);
        },
      };
      await use(libsql({ client: client as unknown as LibsqlClient }), true, true);
    });
    await fc.assert(property, runs(40, 0.5));
  } finally {
    inner.close();
  }
});

Deno.test("libsql() says in words of ours whatever a client throws or gives for rows", async () => {
  const property = fc.asyncProperty(hostileValue, fc.nat({ max: 3 }), async (value, how) => {
    const does = () => {
      if (how === 0) throw value;
      if (how === 1) return Promise.reject(value);
      return Promise.resolve(how === 2 ? value : [{ rows: value }]);
    };
    const client = { execute: does, batch: does } as unknown as LibsqlClient;
    await use(libsql({ client, busyTimeoutMs: 0 }), false, true);
    const store: LibsqlStore = libsql({ client, busyTimeoutMs: 0 });
    for (
      const ask of how < 3 ? [() => store.verifyTrail(), () => store.prune({ olderThanMs: 1 })] : []
    ) {
      await Promise.resolve(ask()).catch(({ message }) => assert(OURS.test(message), message));
    }
  });
  await fc.assert(property, runs(40));
});
