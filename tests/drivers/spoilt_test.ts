// Circuits that somebody has edited by hand into nonsense: no other circuit is to notice, and
// operators still reach them.
import { assert, assertEquals } from "@std/assert";
import { createClient } from "@libsql/client";
import { createFuse, type FuseEvent, type Store } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { upstash } from "@fuse/edge/upstash";
import { fileForFile } from "../support/databases.ts";
import { sharedRedis } from "../support/redis_server.ts";
import { startFace } from "../support/upstash_face.ts";

const redis = await sharedRedis();
const face = await startFace({ redis });
const file = await fileForFile();

const boom = () => Promise.reject(new Error("boom"));
const OPTIONS = {
  storeTimeoutMs: 30_000,
  defaults: { consistency: "strong", failureThreshold: 2, cooldownMs: 60_000 },
} as const;

interface Scene {
  /** Another isolate's. */
  store(): Store;
  readonly a: string;
  readonly b: string;
  spoil(): Promise<unknown>;
  /** Everything that is stored of the circuit, in JSON. */
  stored(): Promise<string>;
  /** What must be gone from it in the end. */
  readonly nonsense: RegExp;
  /** Whether the circuit is OPEN before, and to let a call through when its end is spoilt. */
  readonly open: boolean;
}

async function check({ store, a, b, spoil, stored, nonsense, open }: Scene): Promise<void> {
  const fuses = [0, 1].map(() => createFuse({ stores: { s: store() }, ...OPTIONS }));
  const told: FuseEvent[] = [];
  for (const fuse of fuses) fuse.on("store_error", (event) => told.push(event));
  const [ours, theirs] = fuses.map((fuse) => ({ fuse, a: fuse.make(a), b: fuse.make(b) }));
  await ours!.a.tryCall(boom);
  await theirs!.a.tryCall(() => 1);
  if (open) {
    await ours!.a.tryCall(boom);
    await ours!.a.tryCall(boom);
    assertEquals(await theirs!.a.getState(), "OPEN");
  }
  await ours!.b.call(() => 1);
  await spoil();
  for (const { a, b } of [theirs!, ours!]) {
    const result = await a.tryCall(() => 1);
    if (open) assert(result.ok, `${a.name} stays OPEN`);
    await b.call(() => 1);
    const metrics = await a.getMetrics();
    for (const n of [metrics.totalFailures, metrics.totalSuccesses, metrics.consecutiveFailures]) {
      assert(Number.isSafeInteger(n) && n >= 0, JSON.stringify(metrics));
    }
    await a.explain();
  }
  assertEquals((await theirs!.b.getMetrics()).totalSuccesses, 3);
  for (const { fuse } of [ours!, theirs!]) {
    const listed = (await Array.fromAsync(fuse.list())).map(({ key }) => key);
    assertEquals(listed.filter((key) => key === a || key === b).sort(), [a, b]);
  }
  assert(JSON.stringify(await ours!.fuse.exportState()).includes(a));

  await ours!.a.forceOpen({ reason: "a drill" });
  const rejected = await theirs!.a.tryCall(() => 1);
  assert(!rejected.ok && rejected.rejected);
  await theirs!.a.release();
  await theirs!.a.reset();
  assertEquals(await ours!.a.getState(), "CLOSED");
  // It protects as before.
  for (let i = 0; i < 2; i++) {
    const result = await ours!.a.tryCall(boom);
    assert(!result.ok && !result.rejected);
  }
  const late = await theirs!.a.tryCall(() => 1);
  assert(!late.ok && late.rejected);
  await ours!.a.reset();
  assert(!nonsense.test(await stored()), await stored());
  assertEquals(told.map(({ type, ...rest }) => [type, String(Object(rest).error)]), []);
  for (const fuse of fuses) await fuse.flush();
}

const NONSENSE = /oops|forced-open|"inf|[":]-\d|e\+?\d{3}/;

const FIELDS: readonly (readonly [part: "state" | "metrics", ...fields: string[]])[] = [
  ["state", "state", "oops"],
  ["state", "generation", "oops"],
  ["state", "generation", "-5"],
  ["state", "generation", "1e300"],
  ["state", "generation", "1.5"],
  ["state", "since", "oops"],
  ["state", "reopenCount", "-5"],
  ["state", "reopenCount", "oops"],
  ["state", "openedAt", "oops"],
  ["state", "openUntil", "oops"],
  ["state", "openUntil", "inf"],
  ["state", "closedAt", "oops"],
  ["state", "expires", "oops"],
  ["state", "lease:t", "oops"],
  ["state", "row:1 5 oops", "oops"],
  ["state", "override", "forced-open"],
  ["state", "override", "forced-open", "override.until", "5"],
  ["state", "override", "forced_open", "override.until", "oops"],
  ...[
    ...["consecutiveFailures", "consecutiveSuccesses", "totals.failures", "totals.successes"],
    ...["sinceClosed.failures", "newest.failures", "newest.successes", "older.failures", "start"],
    ...["halfOpen.failures", "lastSuccessAt", "floor", "after", "from", "since", "trial", "ids"],
    "lastFailureAt",
  ].map((field) => ["metrics", field, "inf"] as const),
  ["metrics", "consecutiveFailures", "oops"],
  ["metrics", "consecutiveFailures", "-5"],
  ["metrics", "totals.successes", "1.5"],
  ["metrics", "totals.successes", "1e300"],
];

for (const [part, ...fields] of FIELDS) {
  Deno.test(`upstash() keeps to its other circuits when ${part} of one has ${fields.join(" ")}`, async () => {
    const prefix = `spoilt-${part}-${fields.join("-")}`.replaceAll(/[^\w.-]/g, "_");
    const key = (part: string) => `${prefix}:a:${part}`;
    await check({
      ...{ a: "a", b: "b", nonsense: NONSENSE, open: fields[0] === "openUntil" },
      store: () => upstash({ url: face.url, token: face.token, prefix }),
      spoil: () => redis.command("HSET", key(part), ...fields),
      stored: async () =>
        JSON.stringify([
          await redis.command("HGETALL", key("state")),
          await redis.command("HGETALL", key("metrics")),
        ]).replaceAll(/"row:.*?",".*?"/g, ""),
    });
  });
}

const EDITS: readonly string[] = [
  ...["failure_count = failure_count - 5", "failure_count = 'oops'", "success_count = -5"],
  ...["slow_count = 'oops'", "override = 'forced-open'", "outcomes = 7", "outcomes = 'oops'"],
  ...["override = 'forced-open', override_until = 5", "override = null, override_until = 5"],
  ...["override = 'forced_open', override_until = 'oops'", "reopen_count = 'oops'"],
  ...["override = 'forced_open', override_until = -9e999", "reopen_count = -5"],
  ...["generation = 'oops'", "generation = -5", "generation = 9e300", "generation = 1.5"],
  ...["evidence_since = 'oops'", "consecutive_failures = 'oops'", "consecutive_failures = -5"],
  ...["consecutive_successes = 'oops'", "half_open_failures = -5", "half_open_successes = 'oops'"],
  ...["total_failures = 'oops'", "total_successes = -5", "total_rejected = 1.5"],
  ...["opened_at = 'oops'", "open_until = 'oops'", "open_until = 9e999", "closed_at = 'oops'"],
  ...["last_failure_at = 'oops'", "last_success_at = 'oops'", "last_success_at = 9e999"],
  ...["released = 'oops'", "policy_hash = 5", "revision = 'oops'", "revision = 9e300"],
];
const PARTS: readonly string[] = [
  "update circuit_breaker_windows set failures = 'oops', successes = -5 where circuit_breaker_id = $",
  "update circuit_breaker_windows set start = 'oops' where circuit_breaker_id = $",
  "insert into circuit_breaker_leases select $, 't', 1, 'oops', 'oops', 'oops', 0",
];

for (
  const [i, sql] of [
    ...EDITS.map((edit) => `update circuit_breakers set ${edit} where id = $`),
    ...PARTS,
  ].entries()
) {
  Deno.test(`libsql() keeps to its other circuits after: ${sql}`, async () => {
    const client = createClient({ url: file.url });
    const [a, b] = [`a${i}`, `b${i}`];
    const id = `(select id from circuit_breakers where key = '${a}')`;
    try {
      await check({
        ...{ a, b, nonsense: NONSENSE, open: sql.includes("open_until") },
        store: () => libsql({ client, audit: "calls" }),
        spoil: () => client.execute(sql.replace("$", id)),
        stored: async () => {
          const { rows } = await client.execute(
            `select json_object('s', state, 'g', generation, 'f', failure_count, 'n', success_count,
              'c', consecutive_failures, 'r', reopen_count, 'o', override, 'u', open_until,
              'l', slow_count, 't', override_until, 'v', revision, 'm', outcomes) as j
              from circuit_breakers where key = '${a}'`,
          );
          return String(rows[0]!.j);
        },
      });
    } finally {
      client.close();
    }
  });
}

Deno.test("libsql() has a trail that verifies after all of that", async () => {
  const client = createClient({ url: file.url });
  assertEquals((await libsql({ client }).verifyTrail()).ok, true);
  client.close();
});
