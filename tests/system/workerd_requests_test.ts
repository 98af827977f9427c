/**
 * Requests to real workerd that end early, and many concurrent ones.
 */
import { assert, assertEquals } from "@std/assert";
import { type Scene, stageForFile } from "../support/worker_scene.ts";
import type { Client, Isolate } from "../support/workerd.ts";

const EXAMPLE = "src/index.ts";
const CLIENT_PER_REQUEST = "src/client_per_request.ts";
const SHORT_TEMPERED = "fixtures/short_tempered.ts";

const stage = await stageForFile([EXAMPLE, CLIENT_PER_REQUEST, SHORT_TEMPERED]);

for (
  const [circuit, path] of [["origin", "/origin/reports/7"], ["reports", "/reports/7"]] as const
) {
  Deno.test(`circuit "${circuit}": a client that disconnects counts as neutral, and delays no other`, async () => {
    await using scene = await stage.scene([EXAMPLE]);
    const [isolate] = scene.isolates as [Isolate];
    const { origin } = scene;
    await using hung = hang(scene);
    const clients = await Promise.all(Array.from({ length: 6 }, () => isolate.client(path)));
    await hung.calls(6);
    for (const client of clients) await client.leave();

    origin.answer = () => new Response("fine");
    for (let i = 0; i < 10; i++) assertEquals(await statusOf(isolate.fetch(path)), 200);
    // A failure is sent at once, with all pending outcomes.
    origin.answer = () => new Response("down", { status: 500 });
    await statusOf(isolate.fetch(path));
    await totals(scene, circuit, { totalSuccesses: 10, totalFailures: 1 });
  });
}

Deno.test("a path cannot lead away from the origin", async () => {
  await using scene = await stage.scene([EXAMPLE]);
  const [isolate] = scene.isolates as [Isolate];
  const urls: string[] = [];
  scene.origin.answer = ({ url }) => {
    urls.push(url.slice(new URL(url).origin.length));
    return new Response("here");
  };
  for (
    const path of [
      "/origin/http://127.0.0.1:1/a",
      "/origin/%2F%2F127.0.0.1:1/b",
      "/origin//127.0.0.1:1/c",
      "/origin/a?b=1",
      "/reports/%2e%2e%2fadmin",
    ]
  ) assertEquals(await statusOf(isolate.fetch(path)), 200, path);
  assertEquals(urls, [
    "/http://127.0.0.1:1/a",
    "/%2F%2F127.0.0.1:1/b",
    "//127.0.0.1:1/c",
    "/a?b=1",
    "/reports/..%2Fadmin",
  ]);
});

Deno.test("a request that is canceled while it waits for the store delays no other", async () => {
  await using scene = await stage.scene([EXAMPLE]);
  const [isolate] = scene.isolates as [Isolate];
  const { cache } = scene;
  cache.hold();
  const clients = await Promise.all([1, 2, 3].map((i) => isolate.client(`/origin/${i}`)));
  // A cold isolate: two calls ask, and the third checks whether they have learned the state.
  for (const _ of clients.slice(1)) await cache.next();
  for (const client of clients) await client.leave();

  // Their answers stay held; later ones pass.
  cache.hold((passage) => passage.release());
  for (let i = 0; i < 5; i++) assertEquals(await statusOf(isolate.fetch("/origin/later")), 200);
  assertEquals(scene.origin.calls, Array(5).fill("/later"));
});

Deno.test("a handler that throws while its call is running delays no other", async () => {
  await using scene = await stage.scene([SHORT_TEMPERED]);
  const [isolate] = scene.isolates as [Isolate];
  for (let i = 0; i < 3; i++) assertEquals(await statusOf(isolate.fetch("/dies?throw")), 500);
  for (let i = 0; i < 5; i++) assertEquals(await statusOf(isolate.fetch("/later")), 200);
});

Deno.test("a trial whose client disconnects delays no other call, and frees its slot", async () => {
  await using scene = await stage.scene([SHORT_TEMPERED]);
  const [isolate] = scene.isolates as [Isolate];
  const acquired = () => scene.cache.log.filter(({ body }) => body.includes('"acquire"')).length;
  // The first request is a cold isolate's, the second a trial: it fails, and the circuit is open
  // again.
  await eventually(async () => {
    await statusOf(isolate.fetch("/status/500"));
    return acquired() >= 2;
  });
  await using hung = hang(scene);
  const clients: Client[] = [];
  // Calls before the end of the cooldown are rejected.
  await eventually(async () => {
    clients.push(await isolate.client("/trial"));
    return hung.came() > 0;
  });
  for (let i = 0; i < 5; i++) assertEquals(await statusOf(isolate.fetch("/meanwhile")), 503);
  for (const client of clients) await client.leave();

  scene.origin.answer = () => new Response("fine");
  await eventually(async () => {
    const status = await statusOf(isolate.fetch("/later"));
    assert(status === 200 || status === 503, `${status}`);
    return status === 200;
  });
});

Deno.test("1 000 concurrent requests over four isolates are answered and counted exactly", async () => {
  await using scene = await stage.scene(Array(4).fill(EXAMPLE));
  const { origin, isolates } = scene;
  // No request is answered before all have arrived.
  await using hung = hang(scene);
  const responses = Promise.all(
    Array.from({ length: 1_000 }, async (_, i) => {
      const response = await isolates[i % 4]!.fetch(`/origin/${i}`);
      return `${response.status} ${await response.text()}`;
    }),
  );
  await hung.calls(1_000);
  origin.answer = hung.answer;
  hung.release();
  assertEquals(await responses, Array.from({ length: 1_000 }, (_, i) => `200 /${i}`));

  for (const isolate of isolates) {
    assertEquals(await statusOf(isolate.fetch("/origin/status/500")), 500);
  }
  await totals(scene, "origin", { totalSuccesses: 1_000, totalFailures: 4 });
});

Deno.test("concurrent requests do not wait for each other with a client for each unit of work", async () => {
  await using scene = await stage.scene([CLIENT_PER_REQUEST]);
  const [isolate] = scene.isolates as [Isolate];
  // More than a client sends concurrently. The isolate is cold: each call asks the store first.
  const statuses = await Promise.all(
    Array.from({ length: 60 }, (_, i) => statusOf(isolate.fetch(`/origin/${i}`))),
  );
  assertEquals(statuses, Array(60).fill(200));
  assertEquals(await storeErrors(isolate), 0);
});

/** Makes calls of the origin wait from now on. */
function hang({ origin }: Scene) {
  const { answer } = origin;
  const before = origin.calls.length;
  const came = () => origin.calls.length - before;
  const { promise, resolve } = Promise.withResolvers<void>();
  origin.answer = async (request) => {
    await promise;
    return answer(request);
  };
  return {
    answer,
    release: resolve,
    /** The number of calls that have arrived. */
    came,
    /** Waits until a number of calls have arrived. */
    calls: (count: number) => eventually(() => came() >= count),
    [Symbol.asyncDispose]: () => Promise.resolve(resolve()),
  };
}

/** Waits until Redis has as many outcomes as these, and compares them. */
async function totals(
  { redis }: Scene,
  circuit: string,
  expected: { totalSuccesses: number; totalFailures: number },
): Promise<void> {
  const read = async () => {
    const { totalSuccesses, totalFailures } = await redis.make(circuit).getMetrics();
    return { totalSuccesses, totalFailures };
  };
  const sum = (of: typeof expected) => of.totalSuccesses + of.totalFailures;
  await eventually(async () => sum(await read()) >= sum(expected));
  assertEquals(await read(), expected);
}

/** Polls until the condition holds. */
async function eventually(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const until = performance.now() + DEADLINE_MS;
  while (!await isSo()) {
    assert(performance.now() < until, "It never came about");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The limit of a wait in a test. */
const DEADLINE_MS = 30_000;

/** The number of failures of the store for this isolate: its stand-in may have acted unnoticed. */
async function storeErrors(isolate: Isolate): Promise<number> {
  const metrics = await (await isolate.fetch("/metrics")).text();
  let sum = 0;
  for (const [, count] of metrics.matchAll(/^fuse_store_errors_total\{.*\} (\d+)$/gm)) {
    sum += Number(count);
  }
  return sum;
}

async function statusOf(response: Promise<Response>): Promise<number> {
  const { status, body } = await response;
  await body?.cancel();
  return status;
}
