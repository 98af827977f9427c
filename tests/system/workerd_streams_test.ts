/**
 * `settle: "body"` (rule 22) in real workerd: bodies that the Worker reads, and bodies that it
 * passes on.
 */
import { assert, assertEquals } from "@std/assert";
import { startStreams, STREAM_CASES, type StreamCase } from "../support/stream_server.ts";
import { type Scene, stageForFile } from "../support/worker_scene.ts";
import type { Client, Isolate } from "../support/workerd.ts";

const MAIN = "fixtures/streams.ts";
const stage = await stageForFile([MAIN]);

/** The address of the Worker, which has a circuit for each case. */
function pathOf(mode: string, circuit: string, { path, limits = {} }: Partial<StreamCase>): string {
  return `/${mode}${path}?${new URLSearchParams({ circuit, ...limits as Record<string, string> })}`;
}

Deno.test("a Worker counts the outcomes of the bodies that it reads", async () => {
  await using server = await startStreams();
  await using scene = await stage.scene([MAIN], { ORIGIN: server.url });
  const [isolate] = scene.isolates as [Isolate];
  for (const [i, one] of STREAM_CASES.entries()) {
    if (one.method === "HEAD") continue;
    const response = await isolate.fetch(pathOf("read", `case-${i}`, one));
    const { text, error } = await response.json();
    assertEquals([one.path, text], [one.path, one.text]);
    if (one.error !== undefined) assertEquals(error, one.error);
    assertEquals([one.path, ...await totals(scene, `case-${i}`)], [one.path, ...one.counted]);
  }
});

Deno.test("a Worker counts the outcomes of the bodies that it passes on", async () => {
  await using server = await startStreams();
  await using scene = await stage.scene([MAIN], { ORIGIN: server.url });
  const [isolate] = scene.isolates as [Isolate];
  for (const [i, one] of STREAM_CASES.entries()) {
    const { method = "GET", headers = {} } = one;
    const response = await isolate.fetch(pathOf("pass", `case-${i}`, one), { method, headers });
    const text = await response.text().catch(() => null);
    assertEquals([one.path, ...await totals(scene, `case-${i}`)], [one.path, ...one.counted]);
    if (one.text === null) continue;
    assertEquals([one.path, text], [one.path, one.text]);
    // As without a circuit: the encoding and the length are kept.
    const bare = await isolate.fetch(`/bare${one.path}`, { method, headers });
    assertEquals(await bare.text().catch(() => null), text);
    for (const name of ["content-encoding", "content-range", "content-length"]) {
      if (name === "content-length" && one.path === "/gzip") continue;
      assertEquals([one.path, name, response.headers.get(name)], [
        one.path,
        name,
        bare.headers.get(name),
      ]);
    }
    assertEquals(response.status, bare.status);
  }
});

Deno.test("a Worker's route counts a call when its body has ended", async () => {
  await using server = await startStreams();
  await using scene = await stage.scene([MAIN], { ORIGIN: server.url });
  const [isolate] = scene.isolates as [Isolate];
  // A truncated chunked body looks complete to clients of workerd, with or without a circuit.
  const cases: [path: string, text: string | null, counted: [number, number]][] = [
    ["/chunked", "0123456789", [1, 0]],
    ["/truncated-length", null, [0, 1]],
    ["/stall", "01234", [0, 1]],
  ];
  for (const [path, text, counted] of cases) {
    const response = await isolate.fetch(pathOf("route", path.slice(1), { path }));
    assertEquals([path, await response.text().catch(() => null)], [path, text]);
    assertEquals([path, ...await totals(scene, path.slice(1))], [path, ...counted]);
  }
});

Deno.test("a Worker passes on a body that it created, whatever Content-Length says", async () => {
  await using scene = await stage.scene([MAIN], { ORIGIN: "http://localhost:1" });
  const [isolate] = scene.isolates as [Isolate];
  for (const [i, length] of ["10", "4", "20", "10, 10", "ten", ""].entries()) {
    const response = await isolate.fetch(
      `/own?${new URLSearchParams({ circuit: `own-${i}`, length })}`,
    );
    assertEquals([length, await response.text().catch(() => null)], [length, "0123456789"]);
    assertEquals([length, ...await totals(scene, `own-${i}`)], [length, 1, 0]);
  }
});

Deno.test("a trial of a Worker whose client disconnects during the body frees its slot", async () => {
  await using server = await startStreams();
  await using scene = await stage.scene([MAIN], { ORIGIN: server.url });
  const [isolate] = scene.isolates as [Isolate];
  const limits = { failureThreshold: 1 } as NonNullable<StreamCase["limits"]>;
  const ask = async (path: string) => {
    const response = await isolate.fetch(pathOf("pass", "trial", { path, limits }));
    await response.body?.cancel();
    return response.status;
  };
  const acquired = () => scene.cache.log.filter(({ body }) => body.includes('"acquire"')).length;
  // The first request is a cold isolate's, the second a trial: it fails, and the circuit is open
  // again.
  await eventually(async () => {
    await ask("/500");
    return acquired() >= 2;
  });
  const clients: Client[] = [];
  // Calls before the end of the cooldown are rejected.
  await eventually(async () => {
    clients.push(await isolate.client(pathOf("pass", "trial", { path: "/stall", limits })));
    return server.asked.includes("/stall");
  });
  for (let i = 0; i < 5; i++) assertEquals(await ask("/empty"), 503);
  for (const client of clients) await client.leave();
  await eventually(async () => await ask("/empty") === 200);
});

/** Returns the contents of Redis, once there are any. */
async function totals({ redis }: Scene, circuit: string): Promise<[number, number]> {
  let counted: [number, number] = [0, 0];
  await eventually(async () => {
    const { totalSuccesses, totalFailures } = await redis.make(circuit).getMetrics();
    counted = [totalSuccesses, totalFailures];
    return totalSuccesses + totalFailures > 0;
  });
  return counted;
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
const DEADLINE_MS = 20_000;
