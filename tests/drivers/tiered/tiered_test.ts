// Decisions in a real Redis, the trail on a real sqld: one row a change, whatever dies or is away.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { createClient } from "@libsql/client/web";
import { memory, type Store } from "@fuse/edge";
import { libsql, tiered } from "@fuse/edge/libsql";
import { migrate } from "@fuse/edge/migrations";
import { upstash } from "@fuse/edge/upstash";
import { APPEND } from "../../../drivers/libsql/append.ts";
import type { OverrideRequest } from "../../../src/contract.ts";
import { OUTBOX_LENGTH } from "../../../src/records.ts";
import { startIsolate } from "../../support/isolate_process.ts";
import { sharedRedis } from "../../support/redis_server.ts";
import { fail, succeed } from "../../support/setups.ts";
import { Sqld, sqldForFile } from "../../support/sqld.ts";
import { generations, Tiers, upTo } from "../../support/tiers.ts";
import { changing, eventsOf, request, SHAPE, tally } from "../../support/trails.ts";
import { startFace } from "../../support/upstash_face.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

const redis = await sharedRedis();
const face = await startFace({ redis });
const server = await sqldForFile();
const client = createClient({ url: server.url });
await migrate(client);

/** Tests share a database: a circuit of nobody else. */
function unique(): string {
  return `circuit-${crypto.randomUUID()}`;
}

for (const consistency of ["strong", "eventual"] as const) {
  Deno.test(`tiered() has one row a transition when hundreds of callers race over 8 isolates (${consistency})`, async () => {
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
      events.filter((event) => "generation" in event).map(({ type }) => type)
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

Deno.test("tiered() misses nothing and writes nothing twice when the database is killed and comes back", async () => {
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
    // In the middle of a storm.
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

Deno.test("tiered() delivers what an isolate could not that died right after the change", async () => {
  for (const way of ["snapshot", "call", "list"] as const) {
    const world = new Tiers(face, client);
    const name = unique();
    const dead = world.isolate();
    dead.line.way = "is refused";
    await fail(dead.fuse.make(name, { consistency: "strong" }), 5);
    assertEquals([await world.trail(name), await world.waiting(name)], [[], 1]);
    const other = world.isolate();
    const breaker = other.fuse.make(name, { consistency: "strong" });
    // Its own isolate is left the time to do so.
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

Deno.test("tiered() delivers what a process could not that was killed between the change and its row", async () => {
  // A database that takes connections and never answers.
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = silent.addr as Deno.NetAddr;
  const name = unique();
  const { url, token } = face;
  const at = { url, token, prefix: name };
  const where = JSON.stringify({ ...at, database: `http://127.0.0.1:${port}` });
  await using doomed = startIsolate("tiered", where);
  await doomed.ask("make", { name, options: { failureThreshold: 1 } });
  await doomed.ask("call", { calls: 1, failures: 1 });
  // It asks for the row to be written, so the change is made.
  using _connection = await silent.accept();
  await doomed.kill();
  const state = upstash({ ...at, clock: () => Date.now() + 60_000 });
  const other = tiered({ state, audit: libsql({ client }), auditTimeoutMs: 20_000 });
  assertEquals((await other.read(name, { at: 0, shape: SHAPE })).state, "OPEN");
  assertEquals((await eventsOf(other, { key: name })).map(({ event }) => event), ["opened"]);
});

Deno.test("tiered() has one row a change when answers of both stores are lost", async () => {
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

Deno.test("tiered() leaves a failing database alone for growing intervals, and says so once", async () => {
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

for (const outbox of [true, false]) {
  Deno.test(`tiered() makes no operation wait for a database that hangs longer than it may, ${outbox ? "with" : "without"} an outbox`, async () => {
    const world = new Tiers(face, client);
    const state = outbox ? world.state() : memory({ clock: world.clock.now });
    const { fuse, line, heard } = world.isolate({ state, auditTimeoutMs: 300 });
    const name = unique();
    const breaker = fuse.make(name, { consistency: "strong" });
    line.way = "hangs";
    await breaker.forceOpen();
    assertEquals(heard("forced_open").length, 1);
    for (let i = 0; i < 10; i++) await breaker.release().then(() => breaker.forceOpen());
    assertEquals(line.asked, 1, "It is left alone");
    const [told, ...more] = heard("store_error");
    assertEquals([String(told?.error), more], [
      "Error: The trail gave no answer within 300 ms",
      [],
    ]);
    // What waits in Redis, anybody delivers; what waits here, this isolate does.
    const other = world.isolate(outbox ? {} : { state });
    world.clock.advance(1_000);
    line.way = "arrives";
    await (outbox ? other : { fuse }).fuse.make(name).getState();
    await fuse.flush();
    assertEquals(generations(await world.trail(name)), upTo(22));
  });
}

/** A store of state that is slow to answer, by the clock on the wall. */
function slow(state: Store, ms: number): Store {
  return Object.assign(Object.create(state) as Store, {
    async override(key: string, request: OverrideRequest) {
      const answer = await state.override(key, request);
      for (const began = performance.now(); performance.now() - began < ms;);
      return answer;
    },
    ...{ read: state.read.bind(state), flush: undefined, confirm: undefined },
  });
}

Deno.test("tiered() makes no operation fail when state and trail together take longer than a store may", async () => {
  const world = new Tiers(face, client);
  const state = memory({ clock: world.clock.now });
  const { fuse, line, heard } = world.isolate({
    ...{ state: slow(state, 400), auditTimeoutMs: 600, storeTimeoutMs: 900 },
  });
  line.way = "hangs";
  const name = unique();
  await fuse.make(name, { onStoreError: "reject" }).forceOpen();
  // What little time was left says nothing of the database.
  assertEquals([line.asked, heard("store_error"), heard("forced_open").length], [1, [], 1]);
});

Deno.test("tiered() leaves a row for later when the state has taken all the time there is for the trail", async () => {
  const world = new Tiers(face, client);
  const state = memory({ clock: world.clock.now });
  const { fuse, line, heard } = world.isolate({ state: slow(state, 1_000), auditTimeoutMs: 1_000 });
  const name = unique();
  await fuse.make(name).forceOpen();
  assertEquals([line.asked, heard("store_error"), heard("forced_open").length], [0, [], 1]);
  // With nothing to wait for but the trail.
  await fuse.flush();
  assert(line.asked > 0);
});

Deno.test("list() and flush() deliver all that was left behind, whoever changed what", async () => {
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

Deno.test("tiered() lets the outbox grow no further than its bound, and the trail says what is missing", async () => {
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

Deno.test("tiered() writes down operators' actions with reason, actor, end and what stood before", async () => {
  const world = new Tiers(face, client);
  const { fuse } = world.isolate();
  const name = unique();
  const breaker = fuse.make(name, { consistency: "strong" });
  await fail(breaker, 5);
  const until = new Date(world.clock.now() + 60_000);
  await breaker.forceOpen({ until, reason: "an outage", actor: "ada" });
  await breaker.disable({ actor: "bob" });
  await breaker.release({ reason: "over", actor: "bob" });
  await breaker.metricsOnly({ forMs: 1_000 });
  world.clock.advance(1_000);
  await succeed(breaker);
  assertEquals(await fuse.resetAll({ reason: "moving", actor: "eve" }), 1);
  const trail = await world.trail(name);
  assertEquals(
    trail.map((
      { event, metadata: m },
    ) => [event, m?.["from"], m?.["to"], m?.["reason"], m?.["actor"]]),
    [
      ["opened", "CLOSED", "OPEN", "consecutive_failures", null],
      ["forced_open", "OPEN", "OPEN", "an outage", "ada"],
      ["disabled", "OPEN", "OPEN", null, "bob"],
      ["released", "OPEN", "OPEN", "over", "bob"],
      ["metrics_only", "OPEN", "OPEN", null, null],
      ["released", "OPEN", "OPEN", "expired", null],
      ["reset", "OPEN", "CLOSED", "moving", "eve"],
    ],
  );
  const [opened, forced, , released, , expired] = trail;
  assertEquals(forced?.metadata?.["until"], until.getTime());
  assertEquals([released, expired].map((row) => row?.metadata?.["kind"]), [
    ...["disabled", "metrics_only"],
  ]);
  assertEquals(opened?.metadata?.["cooldownMs"], 60_000);
  assertEquals((opened?.metadata?.["counters"] as { failures: number }).failures, 5);
});

Deno.test("tiered() gives an event the trail's head when that was confirmed in time", async () => {
  const world = new Tiers(face, client);
  const { fuse, store, heard, line } = world.isolate();
  const name = unique();
  const breaker = fuse.make(name, { consistency: "strong", successThreshold: 1 });
  await fail(breaker, 5);
  const { heads, checked } = await store.verifyTrail({ circuit: name });
  assertEquals([heard("opened")[0]?.head, checked], [heads[name], 1]);
  line.way = "is refused";
  world.clock.advance(60_000);
  await succeed(breaker);
  assertEquals(["half_opened", "closed"].map((type) => heard(type as "closed")[0]?.head), [
    undefined,
    undefined,
  ]);
});

Deno.test("tiered() holds in its promise all that it does, so that waitUntil keeps it alive", async () => {
  const world = new Tiers(face, client);
  const held: Promise<unknown>[] = [];
  const { fuse } = world.isolate({ waitUntil: (work) => held.push(work) });
  const name = unique();
  await fail(fuse.make(name), 5);
  for (const work of held) await work;
  assertEquals((await world.trail(name)).map(({ event }) => event), ["opened"]);
  assertEquals(await world.waiting(name), 0);
});

Deno.test("tiered() reads, prunes and verifies the trail of its database", async () => {
  const world = new Tiers(face, client);
  const { fuse, store } = world.isolate();
  const name = unique();
  const breaker = fuse.make(name);
  for (let i = 0; i < 3; i++) {
    await breaker.forceOpen();
    world.clock.advance(1_000);
  }
  const events = await Array.fromAsync(breaker.history({ event: "forced_open" }));
  assertEquals(events.map(({ store, name }) => [store, name]), Array(3).fill(["cache", name]));
  // Of other tests too: they share the database.
  const told = await Array.fromAsync(fuse.history({ limit: 2 }));
  const own = await Array.fromAsync(store.history({ limit: 2 }));
  assertEquals(
    told,
    own.map((row) => ({ ...row, store: "cache", cursor: `fuse:cache:${row.cursor}` })),
  );
  for await (const { id, store: of, name: circuit, cursor } of store.history({ key: name })) {
    assertEquals([id, of, circuit], [events[0]!.id, "tiered", name]);
    const rest = await Array.fromAsync(store.history({ cursor, key: name }));
    assertEquals(rest.map(({ id }) => id), events.slice(1).map(({ id }) => id));
    break;
  }
  assertEquals((await store.verifyTrail({ circuit: name })).checked, 3);
  assert((await store.prune({ olderThanMs: 1_500, limit: 10_000 })).deleted >= 2);
  assertEquals((await eventsOf(store, { key: name })).length, 1);
  const { ok, checked } = await store.verifyTrail({ circuit: name });
  assertEquals([ok, checked], [true, 1]);
});

Deno.test("remove() delivers first what the record holds, and keeps it where the database is away", async () => {
  for (const away of [false, true]) {
    const world = new Tiers(face, client);
    const name = unique();
    const dead = world.isolate();
    dead.line.way = "is refused";
    await dead.fuse.make(name).forceOpen();
    const { fuse, store, line } = world.isolate();
    if (away) line.way = "is refused";
    assertEquals(await store.remove(name), true);
    assertEquals((await world.trail(name)).length, away ? 0 : 1);
    line.way = "arrives";
    world.clock.advance(31_000);
    await fuse.flush();
    assertEquals((await world.trail(name)).map(({ event }) => event), ["forced_open"]);
  }
});

Deno.test("tiered() costs a steady record nothing, and a change a confirmation of two commands", async () => {
  const commands = async (store: Store) => {
    const key = unique();
    const of = async (work: () => unknown) => {
      const before = await redis.commandCalls();
      await work();
      return await redis.commandCalls() - before;
    };
    await store.record(key, tally({ successes: 1 }));
    // The segment of the window may just be over.
    const records = [];
    for (let i = 0; i < 3; i++) {
      records.push(await of(() => store.record(key, tally({ successes: 1 }))));
    }
    const read = await of(() => store.read(key, { at: 0, shape: SHAPE }));
    await store.transition(key, changing());
    const change = await of(() => store.transition(key, changing()));
    return { record: Math.min(...records), read, change };
  };
  const world = new Tiers(face, client);
  // On the server's own clock, which is a command.
  const { url, token } = face;
  const state = upstash({ url, token, prefix: unique() });
  const { store } = world.isolate({ state });
  const alone = await commands(state);
  assertEquals(alone.record, 5);
  assertEquals(await commands(store), { ...alone, change: alone.change + 2 });
});

Deno.test("tiered() asks the database once for a change that nobody disputes", async () => {
  const world = new Tiers(face, client);
  const { store, line } = world.isolate();
  const key = unique();
  await store.transition(key, changing());
  assertEquals(line.asked, 2, "The first of a circuit, which has to be made there");
  for (let i = 0; i < 3; i++) {
    await store.override(key, {
      ...request(),
      until: null,
      kind: "disabled",
      reason: null,
      actor: null,
    });
  }
  assertEquals(line.asked, 5);
  for (let i = 0; i < 3; i++) await store.record(key, tally({ successes: 1 }));
  assertEquals(line.asked, 5);
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
  // With the next operation, on whatever circuit.
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
    "The trail is away for t",
    "The trail lacks 2 chang",
  ]);
  assertEquals(await world.holds(name), true);
});

Deno.test("tiered() keeps lives apart when a circuit is removed while the database is away", async () => {
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
    await lived(circuit, changes);
  }
  line.way = "arrives";
  world.clock.advance(31_000);
  await fuse.flush();
  assertEquals(generations(await world.trail(name)), [2, 3, 4, 2, 3]);
  const trail = await world.trail(full);
  assertEquals(generations(trail), [4, ...upTo(OUTBOX_LENGTH)]);
  assertEquals(trail[0]?.metadata?.["missed"], 2);
});

Deno.test("tiered() refuses options, naming the option, what came and what is allowed", () => {
  const state = memory();
  const audit = libsql({ client });
  assert(APPEND in audit);
  const refused: [unknown, string][] = [
    [undefined, '"options" must be an object, received undefined'],
    [{ audit }, '"state" must be a store such as upstash() makes, received undefined'],
    [{ state, audit: state }, '"audit" must be a store that libsql() made, received an object'],
    [{ state }, '"audit" must be a store that libsql() made, received undefined'],
    [{ state, audit, auditTimeoutMs: 0 }, '"auditTimeoutMs" must be an integer from 1 to'],
    [{ state, audit, stat: 1 }, 'there is no option "stat", only state, audit, auditTimeoutMs'],
  ];
  for (const [options, message] of refused) {
    assertThrows(() => tiered(options as never), Error, message);
  }
});
