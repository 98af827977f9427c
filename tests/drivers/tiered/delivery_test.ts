// Decisions in a real Redis, the trail on a real sqld: one row for each change, whatever dies or is
// unreachable.
import { assert, assertEquals } from "@std/assert";
import { createClient } from "@libsql/client/web";
import { migrate } from "@fuse/edge/migrations";
import { notify } from "@fuse/edge/notify";
import type { OverrideRequest } from "../../../src/contract.ts";
import { OUTBOX_LENGTH } from "../../../src/records.ts";
import { startIsolate } from "../../support/isolate_process.ts";
import { fail, succeed } from "../../support/setups.ts";
import { Sqld } from "../../support/sqld.ts";
import { generations, Tiers, upTo } from "../../support/tiers.ts";
import { eventsOf, SHAPE } from "../../support/trails.ts";
import { startFace } from "../../support/upstash_face.ts";
import { client, face, redis, unique } from "./servers.ts";
import { libsql, memory, type OpeningStore, tiered, upstash } from "../../support/drivers.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

for (const consistency of ["strong", "eventual"] as const) {
  Deno.test(`tiered() writes one row for each transition when hundreds of callers race over 8 isolates (${consistency})`, async () => {
    const world = new Tiers(face, client);
    const isolates = Array.from({ length: 8 }, () => world.isolate());
    const name = unique();
    const options = { failureThreshold: 5, successThreshold: 1, consistency } as const;
    const breakers = isolates.map(({ fuse }) => fuse.make(name, options));
    for (let round = 0; round < 5; round++) {
      await Promise.all(breakers.map((breaker) =>
        Promise.all(
          Array.from({ length: 25 }, () =>
            breaker.tryCall(() =>
              round % 2 === 0 ? Promise.reject(new Error("down")) : Promise.resolve(1)
            )),
        )
      ));
      await Promise.all(isolates.map(({ fuse }) => fuse.flush()));
      world.clock.advance(60_000);
    }
    await breakers[3]!.forceOpen({ reason: "a drill", actor: "ada" });
    await Promise.all(isolates.map(({ fuse }) => fuse.flush()));
    const trail = await world.trail(name);
    assertEquals(generations(trail), upTo(await world.generation(name)));
    const announced = isolates.flatMap(({ events }) =>
      events.filter((event) => "to" in event).map(({ type }) => type)
    );
    assertEquals(
      trail.map(({ event }) => event).sort(),
      [...announced, "forced_open"].sort(),
    );
    assert(announced.length >= 5, `${announced}`);
    assertEquals([await world.holds(name), await world.waiting(name)], [true, 0]);
    for (const { heard } of isolates) assertEquals(heard("store_error"), []);
  });
}

Deno.test("tiered() writes each row once when the database is killed and comes back", async () => {
  const own = await Sqld.start();
  const ownClient = createClient({ url: own.url });
  try {
    await migrate(ownClient);
    const world = new Tiers(face, ownClient);
    const isolates = Array.from({ length: 3 }, () => world.isolate());
    const breakers = isolates.map(({ fuse }) =>
      fuse.make("a", { failureThreshold: 3, successThreshold: 1, consistency: "strong" })
    );
    const results: string[] = [];
    const round = async (i: number) => {
      const breaker = breakers[i % 3]!;
      await fail(breaker, 3);
      results.push(await breaker.getState());
      assertEquals((await breaker.tryCall(() => 1)).ok, false);
      world.clock.advance(60_000);
      assertEquals(await breaker.call(() => "a trial"), "a trial");
      results.push(await breaker.getState());
    };
    for (let i = 0; i < 3; i++) await round(i);
    // In the middle of a storm of calls.
    const storm = Promise.all(breakers.map((breaker) => breaker.forceOpen()));
    await own.kill();
    await storm;
    await breakers[0]!.release();
    for (let i = 3; i < 9; i++) await round(i);
    assertEquals(results, Array.from({ length: 18 }, (_, i) => i % 2 === 0 ? "OPEN" : "CLOSED"));
    assert(await world.waiting("a") >= 12);
    for (const { events, heard } of isolates) {
      assertEquals(heard("store_error").map(({ operation }) => operation), ["audit"]);
      const types = events.map(({ type }) => type);
      assertEquals(types.filter((type) => type === "unconfirmed" || type === "reborn"), []);
    }

    await own.restart();
    world.clock.advance(31_000);
    await isolates[0]!.fuse.flush();
    await isolates[1]!.fuse.make("another").forceOpen();
    await breakers[2]!.snapshot();
    for (const { fuse } of isolates) await fuse.flush();
    assertEquals(generations(await world.trail("a")), upTo(await world.generation("a")));
    assertEquals([await world.holds("a"), await world.waiting("a")], [true, 0]);
    for (const { heard } of isolates) {
      assertEquals(heard("store_error").length, 1);
      assertEquals(heard("store_recovered").map(({ operation }) => operation), ["audit"]);
    }
  } finally {
    ownClient.close();
    await own.stop();
  }
});

Deno.test("tiered() delivers the rows of an isolate that died right after the change", async () => {
  for (const way of ["snapshot", "call", "list"] as const) {
    const world = new Tiers(face, client);
    const name = unique();
    const dead = world.isolate();
    dead.line.way = "is refused";
    await fail(dead.fuse.make(name, { consistency: "strong" }), 5);
    assertEquals([await world.trail(name), await world.waiting(name)], [[], 1]);
    const other = world.isolate();
    const breaker = other.fuse.make(name, { consistency: "strong" });
    // The change's own isolate gets time to deliver first.
    await breaker.snapshot();
    assertEquals(other.line.asked, 0);
    world.clock.advance(1_000);
    if (way === "snapshot") await breaker.snapshot();
    if (way === "call") await breaker.tryCall(() => 1);
    if (way === "list") await Array.fromAsync(other.fuse.list());
    const [opened, ...rest] = await world.trail(name);
    assertEquals([opened?.event, opened?.metadata?.["reason"], rest], [
      ...["opened", "consecutive_failures"],
      [],
    ]);
    assertEquals(opened?.at.getTime(), world.clock.now() - 1_000);
    assertEquals([await world.waiting(name), await world.holds(name)], [0, true]);
  }
});

Deno.test("tiered() delivers the rows of a process that was killed between the change and its row", async () => {
  // A database that accepts connections and never answers.
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = silent.addr as Deno.NetAddr;
  const name = unique();
  const { url, token } = face;
  const at = { url, token, prefix: name };
  const where = JSON.stringify({ ...at, database: `http://127.0.0.1:${port}` });
  await using doomed = startIsolate("tiered", where);
  await doomed.ask("make", { name, options: { failureThreshold: 1 } });
  await doomed.ask("call", { calls: 1, failures: 1 });
  // The request asks for the row, so the change is made.
  using _connection = await silent.accept();
  await doomed.kill();
  const state = upstash({ ...at, clock: () => Date.now() + 60_000 });
  const other = tiered({ state, audit: libsql({ client }), auditTimeoutMs: 20_000 });
  assertEquals((await other.read(name, { at: 0, shape: SHAPE })).state, "OPEN");
  assertEquals((await eventsOf(other, { key: name })).map(({ event }) => event), ["opened"]);
});

Deno.test("drain() makes tiered() append a dead isolate's rows, and sends each notice once", async () => {
  const world = new Tiers(face, client);
  const name = unique();
  const dead = world.isolate();
  dead.line.way = "is refused";
  await fail(dead.fuse.make(name, { failureThreshold: 1, consistency: "strong" }));
  const told: string[] = [];
  const { drain } = notify(world.isolate().fuse, {
    ...{ name, events: ["opened"] },
    channels: [(notices) => Promise.resolve(void told.push(...notices.map((one) => one.circuit)))],
  });
  // The change's own isolate gets time to deliver first.
  world.clock.advance(1_000);
  assertEquals([await drain() > 0, told.filter((one) => one === name)], [true, [name]]);
  assertEquals([await drain(), await world.waiting(name)], [0, 0]);
});

Deno.test("tiered() writes one row for each change when answers of both stores are lost", async () => {
  await using own = await startFace({ redis });
  const world = new Tiers(own, client);
  const name = unique();
  const isolates = [world.isolate(), world.isolate()];
  const breakers = isolates.map(({ fuse }) =>
    fuse.make(name, { failureThreshold: 2, successThreshold: 1, consistency: "strong" })
  );
  let requests = 0;
  own.fault = () => ++requests % 7 === 0 ? "lose" : undefined;
  for (let i = 0; i < 30; i++) {
    const { line, fuse } = isolates[i % 2]!;
    line.way = i % 3 === 0 ? "loses the answer" : "arrives";
    await fail(breakers[i % 2]!, 2);
    world.clock.advance(61_000);
    await succeed(breakers[i % 2]!, 1);
    world.clock.advance(31_000);
    await fuse.flush();
  }
  own.fault = undefined;
  for (const { line, fuse } of isolates) {
    line.way = "arrives";
    world.clock.advance(31_000);
    await fuse.flush();
    await Array.fromAsync(fuse.list());
  }
  const generation = await world.generation(name);
  assert(generation > 30, `${generation}`);
  assertEquals(generations(await world.trail(name)), upTo(generation));
  assertEquals([await world.holds(name), await world.waiting(name)], [true, 0]);
});

Deno.test("tiered() leaves a failing database alone for growing intervals, and reports the failure once", async () => {
  const world = new Tiers(face, client);
  const { fuse, line, heard } = world.isolate();
  const breaker = fuse.make(unique(), { consistency: "strong" });
  line.way = "is refused";
  const begun = world.clock.now();
  const probes: number[] = [];
  for (let i = 0; i < 120; i++) {
    const before = line.asked;
    await (i % 2 === 0 ? breaker.forceOpen() : breaker.release());
    if (line.asked > before) probes.push(world.clock.now() - begun);
    world.clock.advance(500);
  }
  const intervals = probes.map((at, i) => at - (probes[i - 1] ?? at)).slice(1);
  for (const [i, interval] of intervals.slice(0, 5).entries()) {
    const longest = Math.min(30_000, 1_000 * 2 ** i);
    assert(interval >= longest / 2 && interval <= longest + 500, `${intervals}`);
  }
  assert(intervals.length >= 4 && intervals.length <= 8, `${intervals}`);
  const [told, ...more] = heard("store_error");
  assertEquals([told?.store, told?.operation, more], ["cache", "audit", []]);
  assert(told!.retryAfterMs > 0 && told!.retryAfterMs <= 1_000);
  line.way = "arrives";
  world.clock.advance(31_000);
  await fuse.flush();
  assertEquals(heard("store_recovered"), [
    { type: "store_recovered", store: "cache", operation: "audit" },
  ]);
});

for (const how of ["the client", "the database"] as const) {
  Deno.test(`tiered() delivers the rows of other circuits while ${how} refuses the rows of one`, async () => {
    const world = new Tiers(face, client);
    const { fuse, line, heard } = world.isolate();
    const [spoilt, sound] = [unique(), unique()];
    const [a, b] = [spoilt, sound].map((name) => fuse.make(name, { consistency: "strong" }));
    const trigger = `spoilt_${spoilt.replaceAll(/\W/g, "_")}`;
    if (how === "the client") line.spoilt = spoilt;
    else {
      await client.execute(
        `create trigger ${trigger} before insert on circuit_breaker_events ` +
          `when new.key = '${spoilt}' begin select raise(abort, 'no'); end`,
      );
    }
    for (let i = 0; i < 20; i++) {
      await a!.forceOpen();
      await b!.forceOpen();
      assertEquals((await world.trail(sound)).length, i + 1);
      world.clock.advance(300);
    }
    assertEquals([await world.trail(spoilt), await world.waiting(spoilt)], [[], 20]);
    assertEquals(heard("store_error").map(({ operation }) => operation), ["audit"]);
    assert(line.asked < 20 + 2 * 6 + 4, `${line.asked}`);
    assertEquals(heard("store_recovered"), []);
    delete line.spoilt;
    if (how === "the database") await client.execute(`drop trigger ${trigger}`);
    world.clock.advance(31_000);
    await fuse.flush();
    assertEquals(generations(await world.trail(spoilt)), upTo(21));
    assertEquals(heard("store_recovered").map(({ operation }) => operation), ["audit"]);
  });
}

Deno.test("tiered() treats three refused circuits in a row as an outage of the trail", async () => {
  const world = new Tiers(face, client);
  const { fuse, line } = world.isolate();
  const names = Array.from({ length: 6 }, unique);
  line.way = "is refused";
  for (const name of names) await fuse.make(name).forceOpen();
  assertEquals(line.asked, 3);
  line.way = "arrives";
  world.clock.advance(31_000);
  await fuse.make(names[5]!).release();
  await fuse.flush();
  for (const name of names) assertEquals(await world.waiting(name), 0);
});

for (const outbox of [true, false]) {
  Deno.test(`tiered() delays no operation beyond its limit when a database hangs, ${outbox ? "with" : "without"} an outbox`, async () => {
    const world = new Tiers(face, client);
    const state = outbox ? world.state() : memory({ clock: world.clock.now });
    const { fuse, line, heard } = world.isolate({ state, auditTimeoutMs: 1_000 });
    const name = unique();
    const breaker = fuse.make(name, { consistency: "strong" });
    line.way = "hangs";
    await breaker.forceOpen();
    assertEquals(heard("forced_open").length, 1);
    for (let i = 0; i < 10; i++) await breaker.release().then(() => breaker.forceOpen());
    assertEquals(line.asked, 1, "It is left alone");
    const [told, ...more] = heard("store_error");
    assertEquals([String(told?.error), more], [
      "Error: The trail gave no answer within 1000 ms",
      [],
    ]);
    // Any isolate delivers the rows in Redis; only this isolate delivers its own.
    const other = world.isolate(outbox ? {} : { state });
    world.clock.advance(1_000);
    line.way = "arrives";
    await (outbox ? other : { fuse }).fuse.make(name).getState();
    await fuse.flush();
    assertEquals(generations(await world.trail(name)), upTo(22));
  });
}

/** A store of state that answers slowly, in real time. */
function slow(state: OpeningStore, ms: number): OpeningStore {
  return Object.assign(Object.create(state) as OpeningStore, {
    async override(key: string, request: OverrideRequest) {
      const answer = await state.override(key, request);
      for (const began = performance.now(); performance.now() - began < ms;);
      return answer;
    },
    ...{ read: state.read.bind(state), flush: undefined, confirm: undefined },
  });
}

Deno.test("tiered() fails no operation when state and trail together take longer than storeTimeoutMs", async () => {
  const world = new Tiers(face, client);
  const state = memory({ clock: world.clock.now });
  const { fuse, line, heard } = world.isolate({
    ...{ state: slow(state, 400), auditTimeoutMs: 600, storeTimeoutMs: 900 },
  });
  line.way = "hangs";
  const name = unique();
  await fuse.make(name, { onStoreError: "reject" }).forceOpen();
  // A timeout this short says nothing about the database.
  assertEquals([line.asked, heard("store_error"), heard("forced_open").length], [1, [], 1]);
});

Deno.test("tiered() delivers a row later when the state has used up the time for the trail", async () => {
  const world = new Tiers(face, client);
  const state = memory({ clock: world.clock.now });
  const { fuse, line, heard } = world.isolate({ state: slow(state, 1_000), auditTimeoutMs: 1_000 });
  const name = unique();
  await fuse.make(name).forceOpen();
  assertEquals([line.asked, heard("store_error"), heard("forced_open").length], [0, [], 1]);
  // Only the trail can delay it.
  await fuse.flush();
  assert(line.asked > 0);
});

Deno.test("list() and flush() deliver all rows that were left behind, by any isolate", async () => {
  const world = new Tiers(face, client);
  const names = Array.from({ length: 20 }, unique);
  const dead = world.isolate();
  dead.line.way = "is refused";
  for (const name of names) await dead.fuse.make(name).forceOpen();
  world.clock.advance(1_000);
  const { fuse } = world.isolate();
  assertEquals((await Array.fromAsync(fuse.list())).length, 20);
  await fuse.flush();
  for (const name of names) {
    assertEquals((await world.trail(name)).map(({ event }) => event), ["forced_open"]);
    assertEquals(await world.waiting(name), 0);
  }
});

Deno.test("tiered() bounds the outbox, and the trail shows the number of missing rows", async () => {
  const world = new Tiers(face, client);
  const { fuse, line, heard } = world.isolate();
  const name = unique();
  const breaker = fuse.make(name);
  line.way = "is refused";
  for (let i = 0; i < OUTBOX_LENGTH + 6; i++) await breaker.reset({ actor: "ada" });
  assertEquals(await world.waiting(name), OUTBOX_LENGTH);
  line.way = "arrives";
  world.clock.advance(31_000);
  await fuse.flush();
  const trail = await world.trail(name);
  assertEquals(trail.map(({ metadata }) => metadata?.["missed"] ?? 0), [
    ...[6],
    ...Array(OUTBOX_LENGTH - 1).fill(0),
  ]);
  assertEquals(generations(trail).at(-1), await world.generation(name));
  assertEquals(await world.holds(name), true);
  assert(heard("store_error").some(({ error }) => String(error).includes("lacks 6 changes")));
});

Deno.test("tiered() over a store without outbox keeps rows in the isolate, and delivers them later", async () => {
  const world = new Tiers(face, client);
  const state = memory({ clock: world.clock.now });
  const { fuse, line, heard, store } = world.isolate({ state });
  const [name, other] = [unique(), unique()];
  const breaker = fuse.make(name, { successThreshold: 1 });
  assertEquals(store.traits, { persistent: false, shared: false, audited: true });
  line.way = "is refused";
  await fail(breaker, 5);
  world.clock.advance(60_000);
  await succeed(breaker);
  for (let i = 0; i < OUTBOX_LENGTH - 1; i++) await breaker.forceOpen();
  assertEquals(await world.trail(name), []);
  line.way = "arrives";
  world.clock.advance(31_000);
  // The next operation delivers, on whatever circuit.
  await fuse.make(other).forceOpen();
  const trail = await world.trail(name);
  assertEquals(trail.slice(0, 3).map(({ event }) => event), [
    "closed",
    "forced_open",
    "forced_open",
  ]);
  assertEquals([trail.length, trail[0]?.metadata?.["missed"]], [OUTBOX_LENGTH, 2]);
  assertEquals(heard("store_error").map(({ error }) => String(error).slice(7, 30)), [
    "Cannot use the database",
    "The trail was unreachab",
    "The trail lacks 2 chang",
  ]);
  assertEquals(await world.holds(name), true);
});

Deno.test("tiered() separates the lives of a circuit that is removed while the database is away", async () => {
  const world = new Tiers(face, client);
  const { fuse, line, store } = world.isolate({ state: memory({ clock: world.clock.now }) });
  const lived = async (name: string, changes: number) => {
    for (let i = 0; i < changes; i++) await fuse.make(name).forceOpen();
    world.clock.advance(1);
  };
  const [name, full] = [unique(), unique()];
  line.way = "is refused";
  for (const [circuit, changes] of [[name, 2], [full, OUTBOX_LENGTH - 1]] as const) {
    await lived(circuit, 3);
    await store.remove(circuit);
    world.clock.advance(1);
    await lived(circuit, changes);
  }
  line.way = "arrives";
  world.clock.advance(31_000);
  await fuse.flush();
  assertEquals(generations(await world.trail(name)), [2, 3, 4, 5, 2, 3]);
  const trail = await world.trail(full);
  assertEquals(generations(trail), [5, ...upTo(OUTBOX_LENGTH)]);
  assertEquals(trail[0]?.metadata?.["missed"], 3);
});
