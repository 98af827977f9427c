// `examples/deno-deploy.ts` in processes of its own, against a real Redis and a real sqld.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { createClient } from "@libsql/client/web";
import { createFuse } from "@fuse/edge";
import { migrate } from "@fuse/edge/migrations";
import { FakeClock } from "@fuse/edge/testing";
import { exampleCommand, startIsolate } from "../support/deno_deploy.ts";
import { sharedRedis } from "../support/redis_server.ts";
import { sqldForFile } from "../support/sqld.ts";
import { startFace } from "../support/upstash_face.ts";
import { libsql, type OpeningStore, upstash } from "../support/drivers.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

const [redis, server] = await Promise.all([sharedRedis(), sqldForFile()]);
const client = createClient({ url: server.url });
await migrate(client);
const DAY_MS = 86_400_000;

Deno.test("the deno-deploy example guards its routes, and isolates share state", async () => {
  await redis.command("FLUSHALL");
  await using upstream = startUpstream(500);
  await using face = await startFace({ redis });
  const env = environment(face, upstream);
  const [one, other] = await Promise.all([startIsolate(env), startIsolate(env)]);
  await using _ = one;
  await using __ = other;

  let failed = 0;
  for (let response = await get(one.url);; response = await get(one.url)) {
    await response.body?.cancel();
    if (response.status === 503) break;
    assertEquals(response.status, 500);
    assert(++failed < 100, "it has not opened after 100 failures");
  }
  assert(failed >= 5, `${failed} failures`);
  assertEquals(upstream.received(), failed);

  const rejected = await get(other.url);
  assertEquals(rejected.status, 503);
  assert(Number(rejected.headers.get("retry-after")) >= 1);
  assertEquals((await rejected.json()).status, 503);
  assertEquals(upstream.received(), failed);

  const health = await fetch(`${other.url}/health`);
  const { status, open } = await health.json();
  assertEquals([status, open], ["degraded", ["api"]]);
  const metrics = await (await fetch(`${other.url}/metrics`)).text();
  assertStringIncludes(metrics, 'fuse_circuits{store="cache",circuit="api",state="OPEN"} 1\n');

  // Each isolate reports what it knows, and the first one writes the row.
  await Promise.all([one.end("SIGINT"), other.end("SIGINT")]);
  const fuse = createFuse({ stores: { database: libsql({ client }) }, storeTimeoutMs: 20_000 });
  const trail = await Array.fromAsync(fuse.history());
  assertEquals(trail.map(({ name, event }) => [name, event]), [["api", "opened"]]);
});

Deno.test("the deno-deploy example sends its pending outcomes upon SIGINT, which would be lost otherwise", async () => {
  await redis.command("FLUSHALL");
  await using upstream = startUpstream(200);
  await using face = await startFace({ redis });
  const state = upstash({ url: face.url, token: face.token });
  const env = environment(face, upstream);
  const [flushed, killed] = await Promise.all([startIsolate(env), startIsolate(env)]);
  await using _ = flushed;
  await using __ = killed;

  const sent = await holdBack(flushed.url, state, 0);
  await flushed.end("SIGINT");
  assertEquals(await successes(state), sent);

  const all = await holdBack(killed.url, state, sent);
  await killed.end("SIGKILL");
  const told = await successes(state);
  assert(told < all, `all ${told} of ${all} were told without SIGINT`);
});

Deno.test("the deno-deploy example prunes the trail by Deno.cron where it exists", async () => {
  // A hundred days ago, and today.
  const past = new FakeClock(Date.now() - 100 * DAY_MS);
  const key = `pruned-${crypto.randomUUID()}`;
  for (const store of [libsql({ client, clock: past.now }), libsql({ client })]) {
    const until = null;
    for (const kind of ["forced_open", null] as const) {
      const request = { until, kind, reason: null, actor: null, at: Date.now() };
      const shape = { windowMs: 1_000, windowSize: 0 };
      await store.override(key, { ...request, id: crypto.randomUUID(), shape });
    }
  }
  await using face = await startFace({ redis });
  const env = { ...environment(face, { url: face.url }), FUSE_PRUNE_CRON: "0 4 * * *" };

  assertEquals(await imported(env, "--unstable-cron"), {
    told: { serves: "function", cron: "function", registered: true, deleted: 2 },
    warned: "",
  });
  const [without, unasked] = await Promise.all([
    imported(env),
    imported({ ...env, FUSE_PRUNE_CRON: "" }, "--unstable-cron"),
  ]);
  assertEquals(without, {
    told: { serves: "function", cron: "undefined", registered: false, deleted: 0 },
    warned: "FUSE_PRUNE_CRON has no effect: Deno.cron needs --unstable-cron here\n",
  });
  assertEquals(unasked, {
    told: { serves: "function", cron: "function", registered: false, deleted: 0 },
    warned: "",
  });
  const { rows } = await client.execute({
    sql: "select count(*) as n from circuit_breaker_events where key = ?",
    args: [key],
  });
  assertEquals(rows[0]?.["n"], 2);
});

function environment(face: { url: string; token: string }, upstream: { url: string }) {
  return {
    UPSTASH_REDIS_REST_URL: face.url,
    UPSTASH_REDIS_REST_TOKEN: face.token,
    TURSO_DATABASE_URL: server.url,
    UPSTREAM_URL: upstream.url,
  };
}

/** Answers every request with one status. */
function startUpstream(status: number) {
  let received = 0;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => {
    received++;
    return new Response("said the upstream", { status });
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    received: () => received,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

function get(url: string): Promise<Response> {
  return fetch(`${url}/api/orders`);
}

/**
 * Sends requests that succeed, until the isolate has some that Redis does not know. It sends them
 * once a second: on a busy machine that may happen between the last request and the look at Redis.
 */
async function holdBack(url: string, state: OpeningStore, before: number): Promise<number> {
  let sent = before;
  for (let round = 0; round < 50; round++) {
    for (let i = 0; i < 5; i++, sent++) {
      const response = await get(url);
      assertEquals([response.status, await response.text()], [200, "said the upstream"]);
    }
    // Twice: a request on its way at the first look has arrived at the second.
    if (await successes(state) < sent && await successes(state) < sent) return sent;
  }
  throw new Error(`All ${sent} successes are in Redis at once: nothing is held back`);
}

async function successes(state: OpeningStore): Promise<number> {
  const shape = { windowMs: 120_000, windowSize: 0 };
  return (await state.read("api", { shape, at: Date.now() })).totals.successes;
}

/** Returns the result of importing the example in a process of its own. */
async function imported(env: Record<string, string>, ...flags: string[]) {
  const program = "tests/support/deno_deploy_cron.ts";
  const { stdout, stderr } = await exampleCommand(["run", ...flags], env, program).output();
  const [told, warned] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { told: told === "" ? null : JSON.parse(told!), warned };
}
