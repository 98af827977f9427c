/**
 * The example in real workerd, against a real Redis and a real sqld: one isolate for each Worker.
 */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { libsql } from "@fuse/edge/libsql";
import { createClient } from "@libsql/client/web";
import { codeOf, readPages } from "../tools/pages/pages.ts";
import type { Turnstile } from "../support/turnstile.ts";
import { type Scene, stageForFile } from "../support/worker_scene.ts";
import { EXAMPLE, type Isolate, readWrangler } from "../support/workerd.ts";

/** The set-ups of the example's README, and the store of each. */
const SETUPS: readonly [main: string, store: (scene: Scene) => Turnstile][] = [
  ["src/index.ts", ({ cache }) => cache],
  ["src/fuse_from_context.ts", ({ cache }) => cache],
  ["src/client_per_request.ts", ({ trail }) => trail],
];
const NO_WAIT_UNTIL = "fixtures/no_wait_until.ts";
const BAD = "fixtures/timer_at_module_scope.ts";

/** The blocks of the pages that are Workers, which Deno's doc tests cannot run. */
const WORKERS: Readonly<Record<string, string>> = Object.fromEntries(
  readPages()
    // workerd_databases_test.ts runs those with Cloudflare's own databases.
    .filter(({ path }) => !/^drivers\/(d1|durable_object)\//.test(path))
    .flatMap(({ text }) => codeOf(text, "ts ignore"))
    .map((code, i) => [`page_${i}.ts`, code]),
);

const stage = await stageForFile(
  [...SETUPS.map(([main]) => main), NO_WAIT_UNTIL, BAD, ...Object.keys(WORKERS)],
  WORKERS,
);

Deno.test("a Worker needs no module of Node, and runs no forbidden operation at module scope", async () => {
  for (const [main] of SETUPS) {
    assertEquals(stage.bundles[main]!.imports.filter((path) => path !== "cloudflare:workers"), []);
  }
  await using scene = await stage.scene(SETUPS.map(([main]) => main));
  for (const isolate of scene.isolates) {
    const [code, health] = await json(isolate.fetch("/health"));
    assertEquals([code, health.status, health.open], [200, "ok", []]);
  }
});

Deno.test("the example's README shows each set-up that is tested", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", EXAMPLE));
  const blocks = codeOf(readme, "ts");
  const files = await Promise.all(
    SETUPS.map(([main]) => Deno.readTextFile(new URL(main, EXAMPLE))),
  );
  assertEquals(blocks, files);
});

Deno.test("the Workers of the pages guard their upstreams", async () => {
  const mains = Object.keys(WORKERS);
  assertEquals(mains.length, 3);
  await using scene = await stage.scene(mains);
  for (const isolate of scene.isolates) {
    assertEquals(await text(isolate.fetch("/orders/7")), [200, "/orders/7"]);
    scene.origin.answer = () => new Response("out of order", { status: 500 });
    // Eventual: the trip is sent in the background, and a call or two may come before it.
    let called: number;
    let status: number;
    do {
      called = scene.origin.calls.length;
      [status] = await text(isolate.fetch("/orders/7"));
    } while (scene.origin.calls.length > called && called < 100);
    assert(called >= 5 && called < 100);
    // Without Hono, no handler catches the error.
    assert(status === 503 || status === 500);
    scene.origin.answer = (request) => new Response(new URL(request.url).pathname);
    scene.origin.calls.length = 0;
  }
});

Deno.test("a Worker that sets a timer at module scope does not start", async () => {
  const { code } = stage.bundles[BAD]!;
  await assertRejects(
    () => stage.host.start([{ code, bindings: {} }]),
    Error,
    "Disallowed operation called within global scope",
  );
});

Deno.test("two Workers share a circuit: one trips it, the other rejects", async () => {
  await using scene = await stage.scene(["src/index.ts", "src/fuse_from_context.ts"]);
  const [one, other] = scene.isolates as [Isolate, Isolate];
  for (let i = 0; i < 5; i++) assertEquals((await text(one.fetch("/origin/status/500")))[0], 500);
  await scene.cache.answered('"transition"');
  const calls = scene.origin.calls.length;

  const rejected = await other.fetch("/origin/anything");
  const retryAfter = Number(rejected.headers.get("retry-after"));
  assert(retryAfter > 0 && retryAfter <= 60);
  assertEquals(rejected.headers.get("content-type"), "application/problem+json");
  const problem = await rejected.json();
  assertEquals([rejected.status, problem.status, problem.title], [503, 503, "Service Unavailable"]);
  assertEquals(scene.origin.calls.length, calls);
  const [code, health] = await json(other.fetch("/health"));
  assertEquals([code, health.status, health.open], [200, "degraded", ["origin"]]);
  const [, metrics] = await text(other.fetch("/metrics"));
  assertStringIncludes(metrics, 'fuse_circuits{store="cache",circuit="origin",state="OPEN"} 1\n');
  assertStringIncludes(
    metrics,
    'fuse_calls_total{store="cache",circuit="origin",outcome="failure"} 5\n',
  );

  // The trail has it, written after the response.
  await scene.cache.answered('"confirm"');
  const rows = await Array.fromAsync(scene.database.history());
  assertEquals(rows.map(({ event }) => event), ["opened"]);
});

for (const [main, storeOf] of SETUPS) {
  Deno.test(`${main}: outcomes sent in the background arrive through waitUntil`, async () => {
    await using scene = await stage.scene([main]);
    const [isolate] = scene.isolates as [Isolate];
    const store = storeOf(scene);
    await text(isolate.fetch("/origin/first"));

    store.hold();
    // The first failure is told at once, and the one that opens the circuit, with those before it.
    // Their answers are held, and no response waits for them.
    for (let i = 0; i < 5; i++) {
      assertEquals(await text(isolate.fetch("/origin/status/500")), [500, "/status/500"]);
      if (i === 0 || i === 4) assertEquals((await store.next()).answered, false);
    }
    // No request is left that would keep the effects of the answers alive.
    store.open();
    await store.answered('"opened"');
  });

  Deno.test(`${main}: 200 requests at CLOSED cost one blocking store request`, async () => {
    await using scene = await stage.scene([main]);
    const [isolate] = scene.isolates as [Isolate];
    assertEquals(await blockingRequests(scene, storeOf(scene), isolate, 200), 1);
    assertEquals(scene.origin.calls.length, 200);
    const [, metrics] = await text(isolate.fetch("/metrics"));
    assertStringIncludes(metrics, "fuse_store_errors_total");
    for (const [, errors] of metrics.matchAll(/^fuse_store_errors_total\{.*\} (\d+)$/gm)) {
      assertEquals(errors, "0", metrics);
    }
  });
}

Deno.test("a call waits for its outcome to be sent when there is no waitUntil", async () => {
  await using scene = await stage.scene([NO_WAIT_UNTIL, "src/index.ts"]);
  const [isolate, other] = scene.isolates as [Isolate, Isolate];
  await text(isolate.fetch("/first"));

  scene.cache.hold();
  let responded = false;
  const response = text(isolate.fetch("/status/500")).finally(() => responded = true);
  const told = await scene.cache.next();
  assertStringIncludes(told.body, '"record"');
  for (let i = 0; i < 5; i++) await text(other.fetch("/health"));
  assertEquals(responded, false);
  scene.cache.open();
  assertEquals(await response, [500, "/status/500"]);
  assertEquals((await scene.redis.make("origin").getMetrics()).totalFailures, 1);
});

Deno.test("a cron trigger prunes the trail", async () => {
  const { triggers: { crons: [cron] }, vars } = await readWrangler();
  await using scene = await stage.scene(SETUPS.map(([main]) => main));
  const { database } = scene;
  const client = createClient({ url: scene.sqldUrl });
  const longAgo = () => Date.now() - (Number(vars.KEEP_DAYS) + 1) * 86_400_000;
  const old = createFuse({
    storeTimeoutMs: 30_000,
    stores: { old: libsql({ client, clock: longAgo }) },
    clock: longAgo,
  });
  const today = createFuse({ storeTimeoutMs: 30_000, stores: { database } });
  await today.make("young").forceOpen();

  for (const [i, [main]] of SETUPS.entries()) {
    await old.make(main).forceOpen();
    await old.make(main).release();
    assertEquals(await scene.isolates[i]!.cron(cron!), "ok");
    const told = (await Array.fromAsync(today.history())).map(({ name, event }) => [name, event]);
    const of = (name: string) => told.filter(([one]) => one === name).map(([, event]) => event);
    // The newest row of a circuit stays.
    assertEquals([of(main), of("young")], [["released"], ["forced_open"]]);
  }
  assertEquals((await database.verifyTrail()).ok, true);
  client.close();
});

/** Returns status and body. */
async function text(response: Promise<Response>): Promise<[number, string]> {
  const { status, body } = await response.then(async (r) => ({
    status: r.status,
    body: await r.text(),
  }));
  return [status, body];
}

async function json(
  response: Promise<Response>,
): Promise<[number, Record<string, unknown>]> {
  const [status, body] = await text(response);
  return [status, JSON.parse(body)];
}

/**
 * Returns the number of store requests that consecutive calls had to wait for. All answers are
 * held: those of the first call that precede its origin request are released, and count. The others
 * are released after the response, or count as well if it does not come without them.
 */
async function blockingRequests(
  { origin }: Scene,
  store: Turnstile,
  isolate: Isolate,
  times: number,
): Promise<number> {
  let blocking = 0;
  for (let i = 0; i < times; i++) {
    store.hold((passage) => {
      if (origin.calls.length > 0) return;
      blocking++;
      passage.release();
    });
    const timer = setTimeout(() => {
      blocking++;
      store.open();
    }, STUCK_MS);
    assertEquals(await text(isolate.fetch(`/origin/${i}`)), [200, `/${i}`]);
    clearTimeout(timer);
    store.open();
  }
  return blocking;
}

/**
 * A response without an answer for this long waits for a held request. The store's deadline is
 * later.
 */
const STUCK_MS = 20_000;
