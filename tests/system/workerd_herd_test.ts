/**
 * Two hundred concurrent requests to real workerd, some of them reset: their costs in store
 * requests (trap 46).
 */
import { assertEquals } from "@std/assert";
import { type Scene, stageForFile } from "../support/worker_scene.ts";
import type { Isolate } from "../support/workerd.ts";

const EXAMPLE = "src/index.ts";
const SHORT_TEMPERED = "fixtures/short_tempered.ts";
const CALLERS = 200;
/** The number of clients that disconnect before they are answered. */
const RESET = 20;

const stage = await stageForFile([EXAMPLE, SHORT_TEMPERED]);

Deno.test("a cold start with 200 concurrent requests, some of them reset, costs two store requests", async () => {
  await using scene = await stage.scene([EXAMPLE]);
  const [isolate] = scene.isolates as [Isolate];
  scene.cache.hold();
  const first = [statusOf(isolate.fetch("/origin/1")), statusOf(isolate.fetch("/origin/2"))];
  await scene.cache.next();
  await scene.cache.next();
  const rest = Array.from(
    { length: CALLERS - RESET - first.length },
    (_, i) => statusOf(isolate.fetch(`/origin/${i}`)),
  );
  const clients = await Promise.all(
    Array.from({ length: RESET }, (_, i) => isolate.client(`/origin/reset/${i}`)),
  );
  for (const client of clients) await client.leave();
  scene.cache.open();
  const statuses = await Promise.all([...first, ...rest]);
  assertEquals(statuses, Array(CALLERS - RESET).fill(200));
  assertEquals(asks(scene), 2);
});

Deno.test("the end of a cooldown with 200 concurrent requests, some of them reset, costs one store request and one trial", async () => {
  await using scene = await stage.scene([SHORT_TEMPERED]);
  const [isolate] = scene.isolates as [Isolate];
  const { origin } = scene;
  // The isolate learns of a failed trial before it is answered, and then knows that the circuit is
  // open.
  const circuit = scene.redis.make("origin");
  do await statusOf(isolate.fetch("/status/500")); while (
    (await circuit.snapshot()).reopenCount === 0
  );
  const { answer } = origin;
  const { promise: over, resolve: end } = Promise.withResolvers<void>();
  origin.answer = async (request) => {
    await over;
    return answer(request);
  };
  const asked = asks(scene);
  scene.cache.hold();
  // Calls before the end of the cooldown are rejected; later ones ask.
  let first = 503;
  let trial: Promise<void>;
  do {
    trial = statusOf(isolate.fetch("/trial")).then((status) => void (first = status));
    const rejected = trial.then(() => true);
    while (asks(scene) === asked && !await Promise.race([rejected, turn()]));
  } while (asks(scene) === asked);
  const before = origin.calls.length;
  const rest = Array.from(
    { length: CALLERS - RESET - 1 },
    (_, i) => statusOf(isolate.fetch(`/${i}`)),
  );
  const clients = await Promise.all(
    Array.from({ length: RESET }, (_, i) => isolate.client(`/reset/${i}`)),
  );
  for (const client of clients) await client.leave();
  // They wait for nothing: neither the answer to the asking call has arrived, nor has the trial
  // run.
  assertEquals(await Promise.all(rest), Array(rest.length).fill(503));
  assertEquals([asks(scene) - asked, origin.calls.length - before], [1, 0]);
  scene.cache.open();
  end();
  await trial;
  assertEquals(first, 200);
  assertEquals([asks(scene) - asked, origin.calls.length - before], [1, 1]);
});

/** The number of times that the Worker asked for admission. */
function asks({ cache }: Scene): number {
  return cache.log.filter(({ body }) => body.includes('"acquire"')).length;
}

/** Waits for one turn of the event loop. */
function turn(): Promise<false> {
  return new Promise((resolve) => setTimeout(resolve, 0, false));
}

async function statusOf(response: Promise<Response>): Promise<number> {
  const { status, body } = await response;
  await body?.cancel();
  return status;
}
