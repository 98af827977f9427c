// The traps of shared state, on a real Redis behind Upstash's REST API: our face and a foreign one.
import { assert, assertEquals } from "@std/assert";
import { type CircuitOptions, createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import type { UpstashSettings } from "@fuse/edge/upstash";
import { newId } from "../../../src/records.ts";
import type { Answer } from "../../../src/contract.ts";
import { startForeignFace } from "../../support/foreign_face.ts";
import { sharedRedis, startRedis } from "../../support/redis_server.ts";
import { turn } from "../../support/setups.ts";
import { sharedTraps } from "../../support/shared_traps.ts";
import {
  callers,
  type Consistency,
  SharedWorld,
  type Site,
  underWay,
} from "../../support/shared_world.ts";
import { startFace } from "../../support/upstash_face.ts";
import { newSeed, seeded } from "../../support/virtual_time.ts";
import { wayThrough, wayTo } from "../../support/ways.ts";
import { type OpeningStore, upstash } from "../../support/drivers.ts";

const redis = await sharedRedis();
const token = "token";
const faces = [await startFace({ redis, token }), await startFace({ redis, token })] as const;
const ways = [wayThrough(faces[0]), wayThrough(faces[1])] as const;
const foreign = await startForeignFace({ redis, token });
const foreignWays = [await wayTo(foreign.url), await wayTo(foreign.url)] as const;

let sites = 0;

/** A prefix that no test has used, over two servers. */
function site(
  to: readonly [{ readonly url: string }, { readonly url: string }],
  settings: UpstashSettings = {},
): Site & { readonly prefix: string } {
  const prefix = `site-${sites++}`;
  return {
    prefix,
    store: ({ clock, way }) => upstash({ ...settings, url: to[way].url, token, clock, prefix }),
    wipe: async () => void await redis.command("FLUSHALL"),
  };
}

sharedTraps("Redis", { ways, begin: () => site(ways) });
sharedTraps(
  "Redis by a foreign face",
  { ways: foreignWays, begin: () => site(foreignWays) },
  { inTurns: true, quick: { nth: 0, of: 4 } },
);

const POLICY: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 60_000 };
const PARTS = ["state", "metrics", "failures", "successes"];
const SHAPE = { windowMs: 1_000, windowSize: 10 };
const LEASE = { max: 3, leaseMs: 1_000 };

function open(settings: UpstashSettings = {}, consistency: Consistency = "eventual") {
  const here = site(ways, settings);
  return { prefix: here.prefix, world: new SharedWorld(here, ways, consistency) };
}

/** The expiry of each key of circuit `a`: -1 for never; `null` if there is no key. */
async function expiries(prefix: string): Promise<(number | null)[]> {
  const times = PARTS.map((part) => redis.command("PEXPIRETIME", `${prefix}:a:${part}`));
  return (await Promise.all(times) as number[]).map((at) => at === -2 ? null : at);
}

Deno.test("upstash() shortens no TTL in any operation of an isolate with a smaller ttlMs", async () => {
  // Trap 22. Uses the server's clock, so that a TTL shows without waiting.
  const prefix = `site-${sites++}`;
  const [long, short] = [30 * 86_400_000, 60_000].map((ttlMs) =>
    upstash({ url: faces[0].url, token: faces[0].token, prefix, ttlMs })
  ) as [OpeningStore, OpeningStore];
  const seed = newSeed();
  const random = seeded(seed);
  const pick = <T>(of: readonly T[]) => of[Math.floor(random() * of.length)]!;
  let seen: Answer | undefined;
  seen = await record(long, 1);
  let before = await expiries(prefix);
  let compared = 0;
  for (let i = 0; i < 250; i++) {
    const store = random() < 0.8 ? short : long;
    const [name, act] = pick(Object.entries({
      success: () => record(store, 0),
      failure: () => record(store, 1),
      acquire: () => store.acquire("a", { ...request(), ...LEASE, token: newId() }),
      trip: () => transition(store, "OPEN"),
      close: () => transition(store, "CLOSED"),
      forceOpen: () => override(store, "forced_open", null),
      disable: () => override(store, "disabled", Date.now() + 5_000),
      release: () => override(store, null, null),
      replace: () => restore(store, "replace"),
      keep: () => restore(store, "keep"),
    }));
    seen = await act();
    const after = await expiries(prefix);
    for (const [j, part] of PARTS.entries()) {
      const [was, is] = [before[j]!, after[j]!];
      // A lasting override removes the TTL, and its end sets one again.
      if (was === null || is === null || was === -1 || is === -1) continue;
      compared++;
      // They may differ by a ms or two: Redis takes its time when a command begins.
      assert(is >= was - 10, `seed ${seed}, step ${i}: ${name} shortens ${part} by ${was - is} ms`);
    }
    before = after;
  }
  assert(compared > 100);

  function request() {
    return { id: newId(), at: Date.now(), shape: SHAPE };
  }
  function record(store: OpeningStore, failures: number): Promise<Answer> {
    const { epoch = "", generation = 0, began = 0 } = seen?.snapshot ?? {};
    const counts = { successes: 1 - failures, failures, rejected: 0, slow: 0, ageMs: 0 };
    const tally = {
      ...request(),
      ...counts,
      epoch,
      generation,
      began,
      lease: null,
      policyHash: "",
    };
    return Promise.resolve(store.record("a", tally));
  }
  function transition(store: OpeningStore, to: "OPEN" | "CLOSED"): Promise<Answer> {
    const event = to === "OPEN" ? "opened" as const : "reset" as const;
    const change = { to, event, cooldownMs: 1, reason: "", actor: null, expected: null };
    return Promise.resolve(store.transition("a", { ...request(), ...change }));
  }
  function override(
    store: OpeningStore,
    kind: "forced_open" | "disabled" | null,
    until: number | null,
  ): Promise<Answer> {
    const change = { kind, until, reason: null, actor: null };
    return Promise.resolve(store.override("a", { ...request(), ...change }));
  }
  function restore(store: OpeningStore, existing: "replace" | "keep"): Promise<Answer> {
    const record = { key: "a", snapshot: seen!.snapshot, segments: [], outcomes: "" };
    const change = { record, existing, reason: null, actor: null };
    return Promise.resolve(store.restore("a", { ...request(), ...change }));
  }
});

Deno.test("forceOpen() sets no TTL, and outlives every key that has one", async () => {
  // Trap 23.
  const { world, prefix } = open({ ttlMs: 60_000 });
  const isolates = world.join(POLICY);
  await world.acquaint();
  await isolates[0]!.breaker.forceOpen();
  await callers(isolates, 25, (breaker) => breaker.tryCall(() => 1));
  await world.sync();
  assertEquals((await expiries(prefix))[0], -1);
  await callers(isolates, 25, (breaker) => breaker.tryCall(() => 1));
  await isolates[3]!.breaker.reset();
  await world.sync();
  assertEquals((await expiries(prefix))[0], -1);
  // The state after a week without traffic.
  await redis.command("DEL", ...PARTS.slice(1).map((part) => `${prefix}:a:${part}`));
  const fresh = world.join(POLICY);
  const calls = await callers(fresh, 25, (breaker) => breaker.tryCall(() => 1));
  assertEquals(calls.filter(({ ok }) => ok).length, 0);
  await fresh[0]!.breaker.release();
  assert((await expiries(prefix))[0]! > Date.now());
});

Deno.test("upstash() calls neither KEYS nor SCAN during the life of a circuit", async () => {
  // Trap 28: counted by Redis itself.
  const { world } = open();
  const called = async (command: string) => {
    const stats = await redis.command("INFO", "commandstats") as string;
    return Number(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, "m").exec(stats)?.[1] ?? 0);
  };
  await redis.command("CONFIG", "RESETSTAT");
  const isolates = world.join(POLICY);
  await callers(isolates, 25, (breaker) => breaker.tryCall(() => 1));
  await world.trip(isolates[0]!);
  await callers(isolates, 5, (breaker) => breaker.tryCall(() => 1));
  world.clock.advance(60_000);
  await callers(isolates, 5, (breaker) => breaker.tryCall(() => 1));
  await isolates[1]!.breaker.forceOpen({ forMs: 1_000 });
  await isolates[2]!.breaker.release();
  await isolates[3]!.breaker.reset();
  await isolates[4]!.breaker.explain();
  await world.sync();
  assert(await called("evalsha") > 50);
  assertEquals([await called("keys"), await called("scan")], [0, 0]);
  // Listing all circuits needs it.
  assertEquals((await Array.fromAsync(isolates[0]!.fuse.list())).length, 1);
  assertEquals([await called("keys"), await called("scan") > 0], [0, true]);
});

for (const consistency of ["strong", "eventual"] as const) {
  Deno.test(`upstash() counts each outcome once while scripts are flushed (${consistency})`, async () => {
    // Trap 29: single requests; an eventual isolate sends several circuits as one pipeline.
    const { world } = open({}, consistency);
    const isolates = world.join({ ...POLICY, failureThreshold: 10_000 });
    const names = ["a", "b", "c", "d", "e"];
    const circuits = isolates.map(({ fuse }) =>
      names.map((name) => fuse.make(name, { ...POLICY, failureThreshold: 10_000 }))
    );
    const [face] = faces;
    face.reset();
    let going = true;
    const flushing = (async () => {
      for (let n = 0;; n++) {
        await redis.command("SCRIPT", "FLUSH", "SYNC");
        if (!going) return n;
      }
    })();
    for (let round = 0; round < 2; round++) {
      await Promise.all(
        circuits.flat().flatMap((breaker) =>
          Array.from(
            { length: 5 },
            (_, i) =>
              breaker.tryCall(() => i > 0 ? Promise.resolve() : Promise.reject(new Error("down"))),
          )
        ),
      );
      await world.flush();
    }
    going = false;
    assert(await flushing > 0);
    for (const name of names) {
      const { successes, failures } = (await world.stored(name)).totals;
      assertEquals([name, successes, failures], [name, 8 * 2 * 4, 8 * 2]);
    }
    assertEquals(world.heard("store_error"), []);
    assert(face.log.some(({ commands }) => commands[0]?.[0] === "eval"));
    if (consistency === "eventual") assert(face.routes.pipeline > 0);
  });
}

Deno.test("flush() sends the pending tallies of an isolate in 20 circuits in one request", async () => {
  // Workers allow few requests: 50 for each incoming one.
  const { world } = open();
  const { fuse } = world.isolate(POLICY);
  const circuits = Array.from({ length: 20 }, (_, i) => fuse.make(`circuit-${i}`, POLICY));
  await Promise.all(circuits.map((breaker) => breaker.getState()));
  await Promise.all(circuits.map((breaker) => breaker.call(() => 1)));
  await fuse.flush();
  await Promise.all(circuits.map((breaker) => breaker.call(() => 1)));
  faces[0].reset();
  await fuse.flush();
  assertEquals([faces[0].requests, faces[0].routes.pipeline], [1, 1]);
  for (const { key } of circuits) assertEquals((await world.stored(key)).totals.successes, 2);
});

Deno.test("upstash() sends a hanging Redis few requests from 8 isolates with 400 callers", async () => {
  // Trap 36: the first request detects the outage, and the others pay nothing.
  await using face = await startFace({ redis });
  face.fault = () => "hang";
  const clock = new FakeClock();
  const fuses = Array.from({ length: 8 }, () =>
    createFuse({
      stores: { shared: upstash({ url: face.url, token: face.token, clock: clock.now }) },
      clock: clock.now,
      storeTimeoutMs: 20,
    }));
  const attempt = () =>
    Promise.all(fuses.flatMap((fuse) => {
      const breaker = fuse.make("a", POLICY);
      return Array.from({ length: 50 }, (_, i) => breaker.call(() => i));
    }));
  await Promise.all(fuses.map((fuse) => fuse.make("a").getState()));
  // The isolates have given up; their requests may still be on the way.
  while (face.requests < 8) await turn();
  const values = Array.from({ length: 8 }, () => Array.from({ length: 50 }, (_, i) => i)).flat();
  assertEquals(await attempt(), values);
  assertEquals(face.requests, 8);
});

Deno.test("CircuitBreaker() continues when Redis dies, and is reborn when Redis comes back empty", async () => {
  // Traps 27, 34 and 36 without simulation: the process is killed.
  await using dying = await startRedis();
  await using face = await startFace({ redis: dying, token });
  const world = new SharedWorld(site([face, face]), ways, "eventual");
  const isolates = world.join(POLICY);
  await world.acquaint();
  const calls = await underWay(isolates, 25);
  await dying.kill();
  const ended = await Promise.all(calls.map((call) => call.succeed("value")));
  assert(ended.every((result) => result.ok && result.value === "value"));
  await world.flush();
  const { requests } = face;
  const alone = await callers(isolates, 25, (breaker) => breaker.call(() => "alone"));
  assertEquals(alone, Array(200).fill("alone"));
  assertEquals([face.requests, world.heard("store_error").length], [requests, 8]);
  await dying.restart();
  world.clock.advance(1_000);
  await world.sync();
  const { state, generation, totals } = await world.stored();
  assertEquals([state, generation], ["CLOSED", 1]);
  assertEquals(totals, { successes: 400, failures: 0, rejected: 0, slow: 0 });
  assertEquals(world.heard("reborn").length, 8);
  assertEquals(world.heard("unconfirmed"), []);
});
