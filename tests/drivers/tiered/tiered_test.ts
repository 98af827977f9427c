// The trail of tiered(), its costs, and the options that it refuses.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { createClient } from "@libsql/client";
import { createFuse } from "@fuse/edge";
import { migrate } from "@fuse/edge/migrations";
import { APPEND } from "../../../drivers/libsql/append.ts";
import { fail, succeed } from "../../support/setups.ts";
import { Tiers } from "../../support/tiers.ts";
import { changing, eventsOf, request, SHAPE, tally } from "../../support/trails.ts";
import { client, face, redis, unique } from "./servers.ts";
import { libsql, memory, type OpeningStore, tiered, upstash } from "../../support/drivers.ts";

// Deno leaves them off.
Deno.test.sanitizer({ ops: true, resources: true });

Deno.test("tiered() records operators' actions with reason, actor, end and previous override", async () => {
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

Deno.test("tiered() lists circuits that are not plainly CLOSED first, in pages, without invalid ones", async () => {
  const world = new Tiers(face, client);
  const { fuse, store, heard } = world.isolate();
  const [plain, open, laid, spoilt] = [unique(), unique(), unique(), unique()];
  for (const name of [plain, spoilt]) await succeed(fuse.make(name));
  await fail(fuse.make(open, { consistency: "strong" }), 5);
  await fuse.make(laid).disable();
  await fuse.flush();
  await redis.command("HSET", `${world.prefix}:${spoilt}:state`, "generation", "oops");
  const found: string[] = [];
  let cursor: string | null = null;
  do {
    const page = await fuse.listPage({ limit: 1, cursor });
    assertEquals(page.missing, []);
    found.push(...page.circuits.map(({ name }) => name));
    cursor = page.cursor;
  } while (cursor !== null);
  assertEquals([new Set(found.slice(0, 2)), found[2]], [new Set([open, laid]), plain]);
  assertEquals(found.length, 3);
  assertEquals(
    new Set(heard("store_error").map(({ circuit }) => circuit?.name)),
    new Set([spoilt]),
  );
  const opened = await fuse.listPage({ state: "OPEN" });
  assertEquals(opened.circuits.map(({ name }) => name), [open]);
  assertEquals(await store.remove(spoilt), true);
  assertEquals((await fuse.listPage({ limit: 10 })).circuits.length, 3);
  const events = await world.trail(spoilt);
  assertEquals(events.map(({ event }) => event), ["removed"]);
  assertEquals((await store.verifyTrail()).ok, true);
});

Deno.test("tiered() adds the trail's head to an event when it was confirmed in time", async () => {
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

Deno.test("the promise of a tiered() operation covers all its work, so that waitUntil() keeps it alive", async () => {
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
  // Includes rows of other tests, which share the database.
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

Deno.test("remove() delivers the rows of a record first, and keeps the record when the database is away", async () => {
  for (const away of [false, true]) {
    const world = new Tiers(face, client);
    const name = unique();
    const dead = world.isolate();
    dead.line.way = "is refused";
    await dead.fuse.make(name).forceOpen();
    const { fuse, store, line } = world.isolate();
    if (away) line.way = "is refused";
    assertEquals(await store.remove(name), true);
    assertEquals((await world.trail(name)).length, away ? 0 : 2);
    line.way = "arrives";
    world.clock.advance(31_000);
    await fuse.flush();
    assertEquals((await world.trail(name)).map(({ event }) => event), [
      ...["forced_open", "removed"],
    ]);
  }
});

for (const cure of ["reset", "import", "remove"] as const) {
  Deno.test(`${cure} rewrites an invalid circuit of a store without an outbox`, async () => {
    const clients = [":memory:", ":memory:"].map((url) => createClient({ url }));
    for (const client of clients) await migrate(client);
    const [state, audit] = clients.map((client) => libsql({ client }));
    const store = tiered({ state: state!, audit: audit! });
    await using fuse = createFuse({ stores: { store } });
    for (const event of ["store_error", "reborn"] as const) fuse.on(event, () => {});
    const breaker = fuse.make("a");
    await breaker.forceOpen();
    const saved = await fuse.exportState();
    await clients[0]!.execute("update circuit_breakers set total_successes = 'oops'");
    await assertRejects(() => breaker.disable());
    if (cure === "import") await fuse.importState(saved);
    else await breaker[cure]();
    assertEquals((await breaker.snapshot()).local, false);
    await breaker.disable();
    await fuse.flush();
    const events = await Array.fromAsync(store.history(), ({ event }) => event);
    const row = { reset: "reset", import: "imported", remove: "removed" }[cure];
    assertEquals(events.slice(0, 2), ["disabled", row as "reset"]);
    assertEquals((await store.verifyTrail()).ok, true);
    clients.forEach((client) => client.close());
  });
}

Deno.test("tiered() costs nothing for an unchanged record, and two commands for the confirmation of a change", async () => {
  const commands = async (store: OpeningStore) => {
    const key = unique();
    const of = async (work: () => unknown) => {
      const before = await redis.commandCalls();
      await work();
      return await redis.commandCalls() - before;
    };
    await store.record(key, tally({ successes: 1 }));
    // The segment of the window may just end.
    const least = async (work: () => unknown) =>
      Math.min(await of(work), await of(work), await of(work));
    const steady = await least(() => store.record(key, tally({ successes: 1 })));
    const read = await of(() => store.read(key, { at: 0, shape: SHAPE }));
    await store.transition(key, changing());
    const change = await least(() => store.transition(key, changing()));
    return { record: steady, read, change };
  };
  const world = new Tiers(face, client);
  // Reading the server's own clock is a command.
  const { url, token } = face;
  const state = upstash({ url, token, prefix: unique() });
  const { store } = world.isolate({ state });
  const alone = await commands(state);
  assertEquals(alone.record, 5);
  assertEquals(await commands(store), { ...alone, change: alone.change + 2 });
});

Deno.test("tiered() sends the database one request for an undisputed change", async () => {
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

Deno.test("tiered() refuses invalid options, naming the option, what came and what is allowed", () => {
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

Deno.test("Fuse.check() of tiered() reports an unreachable database, and does not blame Redis", async () => {
  const world = new Tiers(face, client);
  const { fuse, line } = world.isolate();
  const breaker = fuse.make(unique(), { consistency: "strong" });
  await succeed(breaker);
  line.way = "is refused";
  const [check] = Object.values(await fuse.check());
  assertEquals(check?.ok, false);
  assertEquals((await breaker.snapshot()).local, false);
  await succeed(breaker);
  await fuse.flush();
  assertEquals((await breaker.snapshot()).metrics.totalSuccesses, 2);
});

Deno.test("tiered() updates circuit_breakers, whichever isolate delivers", async () => {
  const world = new Tiers(face, client);
  const name = unique();
  const row = async () => {
    const { rows } = await client.execute({
      sql: "select state, open_until, override, override_actor from circuit_breakers where key = ?",
      args: [name],
    });
    assertEquals(await world.holds(name), true);
    return rows.map((row) => Object.values(row));
  };
  const { fuse, line } = world.isolate();
  const options = { consistency: "strong", successThreshold: 1 } as const;
  const breaker = fuse.make(name, options);
  await fail(breaker, 5);
  const openUntil = world.clock.now() + 60_000;
  assertEquals(await row(), [["OPEN", openUntil, null, null]]);
  await breaker.disable({ actor: "ada" });
  assertEquals(await row(), [["OPEN", openUntil, "disabled", "ada"]]);
  await breaker.release();
  // The database is unreachable during a recovery and an override, and another isolate delivers
  // both.
  line.way = "is refused";
  world.clock.advance(60_000);
  await succeed(breaker);
  await breaker.forceOpen({ actor: "bob" });
  assertEquals(await row(), [["OPEN", openUntil, null, null]]);
  world.clock.advance(1_000);
  await world.isolate().fuse.make(name, options).snapshot();
  assertEquals(await row(), [["CLOSED", null, "forced_open", "bob"]]);
  // A removal and an import.
  const { fuse: other } = world.isolate();
  const state = await other.exportState();
  await other.make(name, options).remove({ reason: "a tenant that left" });
  assertEquals(await row(), []);
  await other.importState(state, { existing: "replace" });
  assertEquals(await row(), [["CLOSED", null, "forced_open", "bob"]]);
  await other.make(name, options).remove();
});
