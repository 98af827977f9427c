// Stores that answer nonsense: calls return their own results, the circuit still protects, and
// errors use our own words.
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Redis } from "@upstash/redis/cloudflare";
import { createClient } from "@libsql/client";
import { createFuse, type FuseEvent, isStoreUnavailableError, type Store } from "@fuse/edge";
import { libsql, type LibsqlClient, type LibsqlStore } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { type RedisLike, upstash } from "@fuse/edge/upstash";
import { face, redis } from "../support/fuzz_drivers.ts";
import { hostileText, hostileValue, isFit, runs } from "../support/hostile.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

/** Names of the circuit "a:b". */
const KEY = "a%3Ab";

/** Alters an answer. */
type Spoil = <T>(answer: T) => T;

const OURS =
  /^(Redis: |Cannot use the database: |No answer within |The store refused \d+ times a tally )/;

/**
 * Uses a circuit in every way, beside an intact one. `sound`: whether an answer may look like a
 * circuit, so that its effect is unknown. `spoil`: corrupts only the stored circuit, so that the
 * store does not fail, and the intact circuit stays shared.
 */
async function use(
  store: Store,
  sound: boolean,
  trail = false,
  spoil?: () => Promise<unknown>,
): Promise<void> {
  let calls = 0;
  for (const consistency of ["strong", "eventual"] as const) {
    const fuse = createFuse({
      ...{ stores: { s: store }, storeTimeoutMs: 30_000 },
      defaults: { consistency, failureThreshold: 2, cooldownMs: 60_000 },
    });
    const told: FuseEvent[] = [];
    fuse.on("*", (event) => told.push(event));
    const breaker = fuse.make("a:b");
    const well = fuse.make("well");
    const boom = new Error("boom");
    const results = [];
    for (let i = 0; i < 4; i++) {
      const result = await breaker.tryCall(() => {
        throw boom;
      });
      assert(result.ok || result.rejected || result.error === boom, String(Object(result).error));
      results.push(!result.ok && result.rejected);
      const other = await well.tryCall(() => ++calls);
      if (!sound || spoil !== undefined) assert(other.ok, String(Object(other).error));
      await fuse.flush();
      await spoil?.();
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
    if (spoil === undefined) continue;
    // Every report concerns the corrupted circuit.
    for (const event of told) {
      if (event.type === "store_error") assertEquals(event.circuit?.key, KEY, `${event.error}`);
    }
    const other = createFuse({ stores: { s: store }, storeTimeoutMs: 30_000 });
    assertEquals((await other.make("well").getMetrics()).totalSuccesses, calls);
    const keys = (await Array.fromAsync(other.list())).map(({ key }) => key);
    assertEquals(keys.filter((key) => key !== KEY), ["well"]);
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

Deno.test("upstash() reports that Redis fails, and its circuits protect, when a server answers nonsense", async () => {
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

/** Alters answers of a client. */
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

/** Alters JSON: one value anywhere in it becomes another. */
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

Deno.test("upstash() survives any answer of a client, wrong in part or as a whole", async () => {
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

Deno.test("upstash() reports in its own words any value that a client throws", async () => {
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

Deno.test("libsql() survives any answer of a client, wrong in part or as a whole", async () => {
  const inner = createClient({ url: ":memory:" });
  try {
    await migrate(inner);
    const { batch, execute } = inner;
    const property = fc.asyncProperty(fc.nat({ max: 200 }), nonsense, async (where, value) => {
      await inner.batch(["delete from circuit_breakers", "delete from circuit_breaker_events"]);
      const spoil = (result: unknown) => {
        const { rows } = result as { rows: Record<string, unknown>[] };
        const bytes = rows[0]?.circuit;
        if (!(bytes instanceof ArrayBuffer) || where % 3 === 0) {
          return altered({ rows: rows.map((row) => ({ ...row })) }, where, value);
        }
        const json = altered(JSON.parse(new TextDecoder().decode(bytes)), where, value);
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

Deno.test("libsql() reports in its own words any value that a client throws or returns as rows", async () => {
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

const fieldText = fc.oneof(
  hostileText,
  fc.double().map(String),
  fc.integer().map(String),
  fc.constantFrom("", "-1", "1e300", "inf", "nan", "0x10", "1 0", "9007199254740993"),
);
const FIELDS = {
  state: [
    ...[
      "state",
      "epoch",
      "generation",
      "since",
      "reopenCount",
      "openedAt",
      "openUntil",
      "closedAt",
    ],
    ...["reason", "override", "override.until", "override.reason", "override.actor", "expires"],
    ...["lease:x", "row:1 5 x", "consecutiveFailures", "totals.failures", "answer.successes"],
  ],
  metrics: [
    ...["epoch", "policyHash", "outcomes", "since", "trial", "halfOpen.successes"],
    ...["halfOpen.failures", "totals.successes", "totals.failures", "totals.rejected"],
    ...["lastFailureAt", "lastSuccessAt", "ids", "cursor", "sinceClosed.failures"],
    ...["consecutiveSuccesses", "consecutiveFailures", "start", "newest.successes"],
    ...["newest.failures", "floor", "after", "from", "older.successes", "older.failures", "id:x"],
  ],
  failures: ["of", "0", "s0", "x"],
  successes: ["of", "0", "x"],
};
const place = fc.oneof(
  ...Object.entries(FIELDS).map(([part, fields]) =>
    fc.tuple(fc.constant(part), fc.constantFrom(...fields))
  ),
);

Deno.test("upstash() serves its other circuits whatever a field of one contains", async () => {
  const { url, token } = face;
  let n = 0;
  const property = fc.asyncProperty(place, fieldText, async ([part, field], value) => {
    const prefix = `field-${n++}`;
    const spoil = () => redis.command("HSET", `${prefix}:${KEY}:${part}`, field, value);
    await use(upstash({ url, token, prefix }), true, false, spoil);
  });
  await fc.assert(property, runs(40, 0.5));
});

const COLUMNS = [
  ...["state", "epoch", "generation", "reason", "half_open_successes", "half_open_failures"],
  ...["previous_policy_hash", "released", "released_by", "reopen_count", "consecutive_failures"],
  ...["consecutive_successes", "failure_count", "success_count", "slow_count", "total_successes"],
  ...["total_failures", "total_rejected", "total_slow", "override", "override_reason"],
  ...["override_actor", "policy_hash", "outcomes", "opened_at", "open_until", "closed_at"],
  ...["last_failure_at", "last_success_at", "override_until", "revision", "evidence_since"],
  ...["created_at", "updated_at", "name", "context"],
];
const target = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(...COLUMNS).map((column) =>
      `update circuit_breakers set ${column} = ? where key = '${KEY}'`
    ),
  },
  fc.constantFrom("start", "since", "successes", "failures", "slow").map((column) =>
    `update circuit_breaker_windows set ${column} = ?
      where circuit_breaker_id = (select id from circuit_breakers where key = '${KEY}')`
  ),
);

Deno.test("libsql() serves its other circuits whatever a field of one contains", async () => {
  const client = createClient({ url: ":memory:" });
  try {
    await migrate(client);
    const value = fc.oneof(
      fieldText.map((text) => text.toWellFormed()),
      fc.double({ noNaN: true }),
      fc.integer(),
      fc.constant(null),
    );
    const property = fc.asyncProperty(target, value, async (sql, value) => {
      await client.batch(
        ["breakers", "breaker_events", "breaker_trails", "breaker_requests"].map((table) =>
          `delete from circuit_${table}`
        ),
      );
      // A column may refuse the value.
      const spoil = () => client.execute({ sql, args: [value] }).catch(() => {});
      await use(libsql({ client }), true, true, spoil);
    });
    await fc.assert(property, runs(40, 0.5));
  } finally {
    client.close();
  }
});
