// A real Redis with partial failures: their effect on callers, a dead upstream and other circuits.
import { assert, assertEquals, assertLess, assertLessOrEqual, assertRejects } from "@std/assert";
import { isStoreAnswerError } from "../../../src/errors.ts";
import { startRedis } from "../../support/redis_server.ts";
import { scaled } from "../../support/scale.ts";
import { AtOnce, troubled } from "../../support/troubled_isolate.ts";
import { type Face, startFace } from "../../support/upstash_face.ts";
import { freshPrefix, open, redis } from "./store.ts";

const THRESHOLD = 3;
const POLICY = { failureThreshold: THRESHOLD, cooldownMs: 60_000 };
/**
 * The number of calls that a dead upstream may receive in its first cooldown, whatever the store
 * does.
 */
const MOST = 2 * THRESHOLD + 2;

/** An isolate on a Redis behind a face. */
function isolate(face: Face, options: Parameters<typeof troubled>[1] = {}, prefix = freshPrefix()) {
  const { url, token } = face;
  const made = troubled((clock) => open({ url, token, prefix, clock: clock.now }).store, options);
  return { ...made, prefix };
}

/** Returns the circuit as a new isolate sees it. */
async function stored(face: Face, { prefix, clock }: ReturnType<typeof isolate>, name = "a") {
  const { store } = open({ url: face.url, token: face.token, prefix, clock: clock.now });
  return await store.read(name, {
    at: clock.now(),
    shape: { windowMs: 120_000, windowSize: 0 },
  });
}

for (const consistency of ["eventual", "strong"] as const) {
  Deno.test(`CircuitBreaker() protects a dead upstream when Redis is out of memory (trap 45, ${consistency})`, async () => {
    await using own = await startRedis({ config: { "maxmemory-policy": "noeviction" } });
    await using face = await startFace({ redis: own });
    const here = isolate(face);
    await here.fuse.make("a", { ...POLICY, consistency }).call(() => "ok");
    await here.fuse.flush();
    await own.command("CONFIG", "SET", "maxmemory", "1");
    assertLessOrEqual(await here.callDead("a", 12, { ...POLICY, consistency }), MOST);
    assertEquals(here.fuse.make("a").peek().local, true);
    const { cause } = await assertRejects(
      () => here.fuse.make("a").forceOpen(),
      Error,
      "refuses",
    );
    assert(isStoreAnswerError(cause) && cause.message.includes("OOM"), `${cause}`);

    // Redis accepts writes again: all isolates learn this isolate's findings.
    await own.command("CONFIG", "SET", "maxmemory", "0");
    here.clock.advance(10_000);
    assertEquals(await here.callDead("a", 2, { ...POLICY, consistency }), 0);
    await here.fuse.flush();
    assertEquals((await stored(face, here)).state, "OPEN");
  });

  Deno.test(`CircuitBreaker() protects a dead upstream when Redis becomes a read-only replica (trap 45, ${consistency})`, async () => {
    await using own = await startRedis();
    await using face = await startFace({ redis: own });
    const here = isolate(face);
    await here.fuse.make("a", { ...POLICY, consistency }).call(() => "ok");
    await here.fuse.flush();
    // A replica of an unreachable primary: it keeps its data.
    await own.command("REPLICAOF", "127.0.0.1", "1");
    await own.command("CONFIG", "SET", "replica-serve-stale-data", "yes");
    assertLessOrEqual(await here.callDead("a", 40, { ...POLICY, consistency }), MOST);
    await own.command("REPLICAOF", "NO", "ONE");
    await here.fuse.make("a").forceOpen();
    assertEquals((await stored(face, here)).override?.kind, "forced_open");
  });
}

for (const part of ["state", "metrics", "successes", "failures"]) {
  Deno.test(`CircuitBreaker() shares all circuits except the one whose ${part} are of a wrong type (trap 47)`, async () => {
    await using face = await startFace({ redis });
    const here = isolate(face, { defaults: { onStoreError: "reject" } });
    await redis.command("SET", `${here.prefix}:bad:${part}`, "no hash");
    const good = here.fuse.make("good");
    // Uses many segments, so that the circuit has all its keys.
    const bad = here.fuse.make("bad", { windowMs: 1_000, failureThreshold: 100 });
    const ran = new AtOnce();
    for (let i = 0; i < 50; i++) {
      await bad.tryCall(() => i % 2 === 0 ? "ok" : Promise.reject(new Error("It fails")));
      await good.call(() => ran.run());
      await here.settled();
      here.clock.advance(100);
    }
    await here.fuse.flush();
    assertEquals(ran.ran, 50);
    assertEquals((await stored(face, here, "good")).totals.successes, 50);
    const [error] = here.told("store_error");
    assertEquals((error as { circuit?: { name: string } }).circuit?.name, "bad");
  });
}

Deno.test("CircuitBreaker() protects on its own the upstream of a circuit of a wrong type (trap 47)", async () => {
  await using face = await startFace({ redis });
  const here = isolate(face);
  await redis.command("SET", `${here.prefix}:a:metrics`, "no hash");
  assertLessOrEqual(await here.callDead("a", 40, POLICY), MOST);
});

Deno.test("a herd at the end of the cooldown asks a slow Redis once, and runs one trial (trap 46)", async () => {
  await using own = await startRedis({ config: { "enable-debug-command": "yes" } });
  await using face = await startFace({ redis: own });
  const prefix = freshPrefix();
  const here = isolate(face, {}, prefix);
  const breaker = here.fuse.make("a", { failureThreshold: 1, cooldownMs: 5_000 });
  await breaker.tryCall(() => Promise.reject(new Error("It trips")));
  await here.fuse.flush();
  here.clock.advance(5_000);
  face.reset();
  // Longer than all calls take.
  const asleep = own.command("DEBUG", "SLEEP", "0.3");
  const trials = new AtOnce();
  const over = Promise.withResolvers<void>();
  const calls = Array.from({ length: 200 }, () => breaker.tryCall(() => trials.run(over.promise)));
  // All but the trial are rejected without waiting.
  await Promise.race(calls);
  over.resolve();
  await Promise.all([...calls, asleep]);
  await here.settled();
  assertEquals([trials.ran, trials.most], [1, 1]);
  // Three requests: to ask, to record, and for the transition.
  assertLessOrEqual(face.requests, 3);
  assertEquals(here.told("store_error"), []);
});

Deno.test("a thousand cold calls send a slow Redis few requests, and all of them run (trap 46)", async () => {
  await using own = await startRedis({ config: { "enable-debug-command": "yes" } });
  await using face = await startFace({ redis: own });
  const here = isolate(face);
  // The server has the script, as a server in use does.
  await here.fuse.make("another").getState();
  face.reset();
  const asleep = own.command("DEBUG", "SLEEP", "0.3");
  const ran = new AtOnce();
  const breaker = here.fuse.make("a");
  await Promise.all(
    Array.from({ length: scaled(200, 1_000) }, () => breaker.call(() => ran.run())),
  );
  await asleep;
  await here.settled();
  assertEquals(ran.ran, scaled(200, 1_000));
  assertLessOrEqual(face.requests, 40);
  assertEquals(here.told("store_error"), []);
});

Deno.test("operators and flush() ask a Redis that is in back-off (trap 49)", async () => {
  await using face = await startFace({ redis });
  const here = isolate(face);
  const breaker = here.fuse.make("a");
  await breaker.call(() => "ok");
  await here.fuse.flush();
  face.fault = () => "refuse";
  for (let i = 0; i < 20; i++) {
    await breaker.call(() => "ok");
    await here.settled();
    here.clock.advance(1_000);
  }
  await assertRejects(() => breaker.forceOpen(), Error, "does not answer");
  face.fault = () => undefined;
  // No time passes: the back-off lasts for seconds still.
  await breaker.forceOpen({ reason: "a drill" });
  await here.fuse.flush();
  const { override, totals } = await stored(face, here);
  assertEquals([override?.kind, totals.successes], ["forced_open", 21]);
});

Deno.test("flush() of many circuits sends them in waves, and all arrive (trap 50)", async () => {
  await using face = await startFace({ redis });
  const here = isolate(face);
  const circuits = scaled(500, 5_000);
  const breakers = Array.from({ length: circuits }, (_, i) => here.fuse.make(`c${i}`));
  for (let i = 0; i < circuits; i += 100) {
    await Promise.all(breakers.slice(i, i + 100).map((breaker) => breaker.call(() => "ok")));
  }
  await here.settled();
  let [now, most] = [0, 0];
  face.delayMs = () => {
    most = Math.max(most, ++now);
    return 0;
  };
  face.fault = () => void now--;
  face.reset();
  await here.fuse.flush();
  assertLess(face.requests, circuits / 10);
  assertLessOrEqual(most, 6);
  assertEquals(here.told("store_error"), []);
  face.reset();
  await here.fuse.flush();
  // Nothing is left pending.
  assertEquals(face.requests, 0);
  for (const name of ["c0", `c${circuits - 1}`]) {
    assertEquals((await stored(face, here, name)).totals.successes, 1);
  }
});
