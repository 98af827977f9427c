// Circuits that somebody has edited by hand into nonsense: no other circuit is affected, the error
// names the field, each isolate protects on its own, and an operator rewrites the circuit.
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  type CallResult,
  createFuse,
  type FuseEvent,
  type Store,
  StoreUnavailableError,
} from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { upstash } from "@fuse/edge/upstash";
import { databasesForFile } from "../support/databases.ts";
import { sharedRedis } from "../support/redis_server.ts";
import { startFace } from "../support/upstash_face.ts";

const redis = await sharedRedis();
const face = await startFace({ redis });

const boom = () => Promise.reject(new Error("boom"));
const OPTIONS = {
  storeTimeoutMs: 30_000,
  defaults: { consistency: "strong", failureThreshold: 2, cooldownMs: 60_000 },
} as const;

interface Scene {
  /** A call of another isolate. */
  store(): Store;
  readonly a: string;
  readonly b: string;
  spoil(): Promise<unknown>;
  /** The name of the field in the error; `null` if the written value is valid or is overwritten. */
  readonly field: string | null;
  /** `true` if the circuit is OPEN before. */
  readonly open?: boolean;
  /** The operation that rewrites the circuit. */
  readonly cure: "reset" | "remove";
}

function isRejected(result: CallResult<unknown>): boolean {
  return !result.ok && result.rejected;
}

async function check({ store, a, b, spoil, field, open = false, cure }: Scene): Promise<void> {
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
  for (const fuse of fuses) await fuse.flush();
  await spoil();
  const names = (error: unknown) =>
    assertMatch(
      String(error),
      new RegExp(`"(${field}|\\(a number that is a blob\\))" of the circuit is invalid`),
    );
  // Each isolate protects on its own, and calls of other circuits continue.
  for (const { a, b } of [theirs!, ours!]) {
    if (field !== null) {
      let late = await a.tryCall(boom);
      for (let i = 0; i < 2 && !isRejected(late); i++) late = await a.tryCall(boom);
      assert(isRejected(late), "it protects");
    }
    await b.call(() => 1);
    await a.explain();
  }
  for (const { fuse } of [ours!, theirs!]) {
    const listed = (await Array.fromAsync(fuse.list())).map(({ key }) => key);
    const there = listed.filter((key) => key === a || key === b).sort();
    assertEquals(there, field === null ? [a, b] : [b]);
    assertEquals(JSON.stringify(await fuse.exportState()).includes(`"${a}"`), field === null);
  }
  for (const event of told) {
    if (event.type !== "store_error") continue;
    names(event.error);
    assertEquals(event.circuit?.key, a);
  }
  assertEquals(told.some((event) => Object(event).operation === "list"), field !== null);
  assertEquals(told.some((event) => Object(event).operation !== "list"), field !== null);

  told.length = 0;
  await theirs!.a[cure]({ reason: "a drill" });
  // The stand-in ends with the first write that the store confirms.
  await ours!.fuse.flush();
  for (const { a } of [theirs!, ours!]) assertEquals(await a.getState(), "CLOSED");
  // It protects as before.
  for (const { a } of [ours!, theirs!]) {
    const result = await a.tryCall(boom);
    assert(!result.ok && !result.rejected);
  }
  for (const { a } of [theirs!, ours!]) {
    const late = await a.tryCall(() => 1);
    assert(!late.ok && late.rejected);
  }
  const listed = (await Array.fromAsync(ours!.fuse.list())).map(({ key }) => key);
  assert(listed.includes(a));
  assertEquals(told.map(({ type, ...rest }) => [type, String(Object(rest).error)]), []);
  for (const fuse of fuses) await fuse.flush();
  assertEquals((await theirs!.b.getMetrics()).totalSuccesses, 3);
}

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
  ["state", "generation"],
  ["state", "since"],
  ["state", "began"],
  ["state", "state"],
  ["state", "cooldownMs", "oops"],
  ["state", "policy.failureThreshold", "oops"],
  ["state", "override", "forced-open"],
  ["state", "override.until", "oops", "override", "forced_open"],
  ...[
    ...["consecutiveFailures", "consecutiveSuccesses", "totals.failures", "totals.successes"],
    ...["sinceClosed.failures", "newest.failures", "newest.successes", "older.failures", "start"],
    ...["halfOpen.failures", "lastSuccessAt", "floor", "after", "from", "since", "trial", "ids"],
    ...["lastFailureAt", "traffic", "traffic.before"],
  ].map((field) => ["metrics", field, "inf"] as const),
  ["metrics", "consecutiveFailures", "oops"],
  ["metrics", "consecutiveFailures", "-5"],
  ["metrics", "totals.successes", "1.5"],
  ["metrics", "totals.successes", "1e300"],
];

for (const [i, [part, ...fields]] of FIELDS.entries()) {
  const cure = i % 2 === 0 ? "reset" : "remove";
  Deno.test(`upstash() names ${fields[0]}, and ${cure}() rewrites the circuit, when ${part} has ${fields.join(" ")}`, async () => {
    const prefix = `spoilt-${part}-${fields.join("-")}`.replaceAll(/[^\w.-]/g, "_");
    const key = `${prefix}:a:${part}`;
    await check({
      ...{ a: "a", b: "b", field: fields[0]!, open: fields[0] === "openUntil", cure },
      store: () => upstash({ url: face.url, token: face.token, prefix }),
      spoil: () =>
        fields.length === 1
          ? redis.command("HDEL", key, ...fields)
          : redis.command("HSET", key, ...fields),
    });
  });
}

Deno.test("upstash() continues when lastFailure is invalid, because no decision depends on it", async () => {
  const prefix = "spoilt-last-failure";
  await check({
    ...{ a: "a", b: "b", field: null, open: false, cure: "reset" },
    store: () => upstash({ url: face.url, token: face.token, prefix }),
    spoil: () => redis.command("HSET", `${prefix}:a:state`, "lastFailure", "oops"),
  });
});

for (const part of ["state", "metrics"]) {
  for (const cure of ["reset", "remove"] as const) {
    Deno.test(`upstash() recovers by ${cure}() when ${part} has another type`, async () => {
      const prefix = `spoilt-type-${part}-${cure}`;
      const { url, token } = face;
      const fuse = createFuse({ stores: { s: upstash({ url, token, prefix }) }, ...OPTIONS });
      const told: FuseEvent[] = [];
      fuse.on("store_error", (event) => told.push(event));
      const breaker = fuse.make("a");
      await breaker.call(() => 1);
      await fuse.flush();
      await redis.command("DEL", `${prefix}:a:${part}`);
      await redis.command("SET", `${prefix}:a:${part}`, "oops");
      assertEquals(await breaker.call(() => 2), 2);
      assert(told.length > 0);
      await breaker[cure]();
      assertEquals((await breaker.snapshot()).local, false);
      await breaker.call(() => 3);
      await fuse.flush();
      assertEquals((await Array.fromAsync(fuse.list())).length, 1);
      assertEquals(await redis.command("TYPE", `${prefix}:a:${part}`), "hash");
    });
  }
}

/** The written value, and its name in the error. */
const EDITS: readonly (readonly [sql: string, field: string | null])[] = [
  ["failure_count = failure_count - 5", "failure_count"],
  ["failure_count = 'oops'", "failure_count"],
  ["success_count = -5", "success_count"],
  ["override = 'forced-open'", "override"],
  ["override = 'forced-open', override_until = 5", "override"],
  ["override = 'forced_open', override_until = 'oops'", "override_until"],
  ["override = 'forced_open', override_until = -9e999", "override_until"],
  ["generation = 9e300", "generation"],
  ["total_failures = 'oops'", "total_failures"],
  ["total_successes = -5", "total_successes"],
  ["total_rejected = 1.5", "total_rejected"],
  ["opened_at = 'oops'", "opened_at"],
  ["last_failure_at = 'oops'", "last_failure_at"],
  ["last_success_at = 'oops'", "last_success_at"],
  ["last_success_at = 9e999", "last_success_at"],
  ["revision = 9e300", "revision"],
  ["closed_at = 'oops'", "closed_at"],
  ["override = 'disabled', override_reason = cast(x'ff' as text)", "override_reason"],
  [
    "override = 'disabled', override_reason = 'half of ' || cast(x'c3' as text) || '�'",
    "override_reason",
  ],
  ["policy = 'oops'", "policy"],
  ["policy = '[{}]'", "policy"],
  ["override = 'disabled', override_actor = cast(x'ff' as text)", "override_actor"],
  ["epoch = cast(x'61fe' as text)", "epoch"],
  ["total_slow = x'ff'", "total_slow"],
  ["request_second = 'oops'", "request_second"],
  ["request_count = -5", "request_count"],
  ["requests_before = 1.5", "requests_before"],
  // These values are valid.
  ["failure_count = failure_count + 5", null],
  ["state = 'CLOSED', failure_count = 0, success_count = 0", null],
  ["policy_hash = 5", null],
  ["override = null, override_until = 5", null],
  // Fields that decide nothing.
  ["last_failure = 'oops'", null],
  ["last_failure = '{}'", null],
  // Values that the edit by hand overwrites, because it begins the next generation.
  ["reason = cast(x'ff' as text)", null],
  ["slow_count = 'oops'", null],
  ["outcomes = 'oops'", null],
  ["generation = -5", null],
  ["consecutive_failures = 'oops'", null],
  ["half_open_failures = -5", null],
  ["evidence_since = 'oops'", null],
  ["reopen_count = -5", null],
];
const PARTS: readonly (readonly [sql: string, field: string])[] = [
  ["update circuit_breaker_windows set failures = -50 where circuit_breaker_id = $", "failures"],
  ["update circuit_breaker_windows set start = 'oops' where circuit_breaker_id = $", "start"],
];

for (const database of await databasesForFile()) {
  const cases = [...EDITS, ...PARTS];
  for (const [i, [edit, field]] of cases.entries()) {
    const sql = i < EDITS.length ? `update circuit_breakers set ${edit} where id = $` : edit;
    Deno.test(`libsql() ${field === null ? "goes on" : `names ${field}`} after: ${sql} (${database.name})`, async () => {
      const client = database.connect();
      const [a, b] = [`a${i}`, `b${i}`];
      const id = `(select id from circuit_breakers where key = '${a}')`;
      try {
        await check({
          ...{ a, b, field, open: false, cure: i % 2 === 0 ? "reset" : "remove" },
          store: () => libsql({ client, audit: "calls" }),
          spoil: () => client.execute(sql.replace("$", id)),
        });
      } finally {
        client.close();
      }
    });
  }

  Deno.test(`libsql() has a trail that verifies after these repairs (${database.name})`, async () => {
    const client = database.connect();
    const proof = await libsql({ client }).verifyTrail();
    assert(proof.ok, JSON.stringify(proof));
    client.close();
  });
}

Deno.test("libsql() on a local client keeps the process alive at text that is not UTF-8", async () => {
  const script = new URL("../support/spoilt_process.ts", import.meta.url);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", script.pathname],
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assertEquals([code, text(stdout)], [0, "rejected, listed 1, CLOSED\n"], text(stderr));
});

Deno.test("CircuitBreaker.forceOpen() names the invalid field in the cause of its error", async () => {
  const { url, token } = face;
  const fuse = createFuse({ stores: { s: upstash({ url, token, prefix: "force" }) }, ...OPTIONS });
  const breaker = fuse.make("a");
  await breaker.call(() => 1);
  await redis.command("HSET", "force:a:state", "generation", "oops");
  const { cause } = await assertRejects(() => breaker.forceOpen(), StoreUnavailableError);
  assertMatch(String(cause), /the field "generation" of the circuit is invalid/);
});

Deno.test("Fuse.resetAll() rewrites circuits that are invalid", async () => {
  const { url, token } = face;
  const fuse = createFuse({ stores: { s: upstash({ url, token, prefix: "all" }) }, ...OPTIONS });
  for (const name of ["a", "b"]) await fuse.make(name).call(() => 1);
  await redis.command("HSET", "all:a:state", "generation", "oops");
  assertEquals(await fuse.resetAll(), 2);
  assertEquals((await Array.fromAsync(fuse.list())).length, 2);
});
