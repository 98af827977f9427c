// drain() sends notices from the trail: at least once, and no more than necessary.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import type { Client } from "@libsql/client";
import { createFuse, type Fuse, memory } from "@fuse/edge";
import { type Channel, notify, type NotifyOptions } from "@fuse/edge/notify";
import { FakeClock } from "@fuse/edge/testing";
import { notifyBy } from "../../../src/notify/notifier.ts";
import { inMemory } from "../../support/databases.ts";
import { chaos, libsql, tiered } from "../../support/drivers.ts";
import { channel, FakeParts } from "../../support/notices.ts";

const down = () => Promise.reject(new Error("down"));
const TRIP = { failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 } as const;

/** Isolates on one database, which share a clock. */
class Fleet {
  readonly clock = new FakeClock();
  readonly client: Client;

  constructor(client: Client) {
    this.client = client;
  }

  fuse(instance?: string): Fuse {
    const { clock, client } = this;
    const database = libsql({ client, clock: clock.now, audit: "calls" });
    return createFuse({ stores: { database }, clock: clock.now, instance });
  }

  /** An isolate that sends notices of events; a cron sends them by `drain()` alone. */
  isolate(to: Channel | readonly Channel[], options: Partial<NotifyOptions> = {}) {
    const parts = new FakeParts();
    const fuse = this.fuse();
    const channels = [to].flat();
    return { fuse, parts, ...notifyBy(fuse, { channels, ...options }, parts) };
  }

  async trip(fuse: Fuse, name = "pay"): Promise<void> {
    await fuse.make(name, TRIP).tryCall(down);
    await fuse.flush();
  }

  async cursors() {
    const { rows } = await this.client.execute(
      "select channel, position, iif(told = '', 0, json_array_length(told)) as told from circuit_breaker_cursors order by 1",
    );
    return rows.map((row) => [row.channel, row.position, row.told]);
  }
}

/** A test on a database in memory. */
function test(name: string, run: (fleet: Fleet) => Promise<void>): void {
  Deno.test(name, () => inMemory((client) => run(new Fleet(client))));
}

test("drain() sends once the notices of an isolate that died", async (fleet) => {
  // It has no channel, as if it had died between the transition and the delivery.
  await fleet.trip(fleet.fuse("fra1"));
  const { tell, notices } = channel();
  const cron = fleet.isolate(tell);
  assertEquals(await cron.drain(), 1);
  const [notice] = notices;
  assertEquals([notice?.event, notice?.circuit, notice?.store], ["opened", "pay", "database"]);
  const { data } = notice!;
  assertEquals(
    [data.reason, data.instance, data.until, (data.lastFailure as { kind: string }).kind],
    ["consecutive_failures", "fra1", "2025-01-01T00:00:01.000Z", "Error"],
  );
  assert(notice!.text.endsWith("reset --store database --reason WHY pay"));
  for (let i = 0; i < 3; i++) assertEquals(await cron.drain(), 0);
  // Another isolate continues from the same cursor.
  assertEquals(await fleet.isolate(tell).drain(), 0);
  assertEquals(notices.length, 1);
});

test("drain() sends the same text as the isolate that made the change", async (fleet) => {
  const live = channel();
  const isolate = fleet.isolate(live.tell, { name: "live" });
  const pay = isolate.fuse.for({ type: "tenant", id: 7 }).make("pay", TRIP);
  await pay.tryCall(down);
  await isolate.fuse.flush();
  fleet.clock.advance(1_000);
  await pay.call(() => 1);
  await pay.forceOpen({ reason: "drill", actor: "ada", forMs: 60_000 });
  await pay.release({ reason: "over", actor: "ada" });
  await pay.reset({ actor: "ada" });
  await isolate.fuse.flush();
  const drained = channel();
  assertEquals(await fleet.isolate(drained.tell).drain(), 5);
  const told = ({ notices }: typeof live) =>
    notices.map((
      { event, at, data: { generation, reason, actor, until, from, to, undo, id } },
    ) => ({
      ...{ event, at, generation, actor, undo, id },
      ...event === "opened" ? { reason, until, from, to } : {},
    }));
  assertEquals(told(drained), told(live));
});

test("drain() leaves out notices that were sent as they happened", async (fleet) => {
  const { tell, events } = channel();
  const { fuse, drain } = fleet.isolate(tell);
  await fleet.trip(fuse);
  await fuse.make("pay").forceOpen();
  await fuse.make("pay").remove();
  await fuse.flush();
  assertEquals(events(), ["opened", "forced_open", "removed"]);
  assertEquals(await drain(), 0);
  // No notice is remembered any more.
  assertEquals((await fleet.cursors()).map(([, , told]) => told), [0]);
  await fleet.trip(fleet.fuse(), "other");
  assertEquals(await drain(), 1);
  assertEquals(events(), ["opened", "forced_open", "removed", "opened"]);
});

test("drain() sends notices that a channel refused as they happened", async (fleet) => {
  const { tell, events } = channel();
  let away = true;
  const { fuse, drain, parts } = fleet.isolate((notices) =>
    away ? Promise.reject(new Error("s3cr3t")) : tell(notices)
  );
  fuse.on("listener_error", () => {});
  await fleet.trip(fuse);
  const error = await assertRejects(drain, Error, "Cannot send 1 notices: channel 1");
  assert(!Deno.inspect(error).includes("s3cr3t"));
  away = false;
  parts.time.advance(60_000);
  assertEquals([await drain(), events()], [1, ["opened"]]);
});

test("drain() keeps a cursor for each channel: a failing one delays no other", async (fleet) => {
  const [one, other] = [channel(), channel()];
  let away = true;
  const { drain, parts } = fleet.isolate([
    (notices) => away ? Promise.reject(new Error()) : one.tell(notices),
    other.tell,
  ]);
  await fleet.trip(fleet.fuse());
  for (let i = 0; i < 3; i++) await assertRejects(drain, Error, "channel 1");
  assertEquals([one.events(), other.events()], [[], ["opened"]]);
  away = false;
  parts.time.advance(60_000);
  await drain();
  assertEquals([one.events(), other.events()], [["opened"], ["opened"]]);
});

test("two concurrent drain() lose nothing, and send nothing twice", async (fleet) => {
  const fuse = fleet.fuse();
  for (let i = 0; i < 250; i++) await fuse.make(`c${i}`).forceOpen();
  const { tell, notices } = channel();
  const counts = await Promise.all(Array.from({ length: 4 }, () => fleet.isolate(tell).drain()));
  assertEquals(counts.toSorted((a, b) => b - a), [250, 0, 0, 0]);
  assertEquals(new Set(notices.map(({ circuit }) => circuit)).size, 250);
});

test("a drain() that died is continued once its hold has expired", async (fleet) => {
  await fleet.trip(fleet.fuse());
  let dies = () => {};
  const dying = fleet.isolate(() =>
    new Promise<void>((_, reject) => dies = () => reject(new Error()))
  );
  const died = dying.drain();
  const { tell, events } = channel();
  const cron = fleet.isolate(tell);
  while ((await fleet.cursors()).length === 0);
  assertEquals(await cron.drain(), 0);
  fleet.clock.advance(120_000);
  assertEquals([await cron.drain(), events()], [1, ["opened"]]);
  // It was alive: it has lost the cursor, and does not move it.
  const [position] = await fleet.cursors();
  for (let i = 0; i < 3; i++) {
    dies();
    for (let j = 0; j < 100; j++) await Promise.resolve();
  }
  await assertRejects(() => died);
  assertEquals(await fleet.cursors(), [position]);
});

test("drain() makes one notice of a circuit that flaps, with quietMs", async (fleet) => {
  const fuse = fleet.fuse();
  for (let i = 0; i < 4; i++) {
    await fleet.trip(fuse);
    fleet.clock.advance(1_000);
    await fuse.make("pay").call(() => 1);
  }
  const { tell, notices } = channel();
  assertEquals(await fleet.isolate(tell, { quietMs: 60_000 }).drain(), 1);
  assertEquals([notices[0]?.event, notices[0]?.data.changes], ["closed", 8]);
});

test("drain() sends the notices that quietMs holds back, once", async (fleet) => {
  const { tell, notices } = channel();
  const { fuse, drain, parts } = fleet.isolate(tell, { quietMs: 60_000 });
  await fleet.trip(fuse);
  fleet.clock.advance(1_000);
  await fuse.make("pay").call(() => 1);
  await fuse.flush();
  assertEquals(notices.map(({ event }) => event), ["opened"]);
  assertEquals(await drain(), 1);
  parts.advance(60_000);
  await fuse.flush();
  assertEquals(notices.map(({ event }) => event), ["opened", "closed"]);
});

test("drain() begins an hour back, and never again", async (fleet) => {
  const fuse = fleet.fuse();
  await fleet.trip(fuse, "long ago");
  fleet.clock.advance(3_600_001);
  await fleet.trip(fuse, "lately");
  const { tell, notices } = channel();
  const { drain } = fleet.isolate(tell);
  assertEquals([await drain(), notices[0]?.circuit], [1, "lately"]);
  await fleet.trip(fuse, "while the cron was away");
  fleet.clock.advance(7_200_000);
  assertEquals([await drain(), notices[1]?.circuit], [1, "while the cron was away"]);
});

test("drain() of a view sends notices of its circuits, under its own name", async (fleet) => {
  const [one, all] = [channel(), channel()];
  const fuse = fleet.fuse();
  const tenant = { type: "tenant", id: 1 };
  const view = notify(fuse.for(tenant), { channels: [one.tell], name: "tenant 1" });
  const { drain } = notify(fleet.fuse(), { channels: [all.tell] });
  await fleet.trip(fleet.fuse().for(tenant));
  await fleet.trip(fleet.fuse());
  assertEquals([await view.drain(), await drain()], [1, 2]);
  assertEquals(one.notices.map(({ data }) => data.context), ["tenant:1"]);
});

test("drain() sends edits by hand, and calls if they are requested", async (fleet) => {
  const fuse = fleet.fuse();
  await fuse.make("pay").call(() => 1);
  await fuse.flush();
  await fleet.client.execute("update circuit_breakers set state = 'OPEN'");
  const { tell, events } = channel();
  // By the database's own clock, which the trigger uses.
  assertEquals([await fleet.isolate(tell).drain(), events()], [1, ["edited"]]);
  const calls = channel();
  const { drain } = fleet.isolate(calls.tell, { events: ["success"], name: "calls" });
  assertEquals([await drain(), calls.events()], [1, ["success"]]);
});

test("drain() sends the rest of an invalid cursor and of invalid rows", async (fleet) => {
  const fuse = fleet.fuse();
  const { tell, events } = channel();
  const { drain } = fleet.isolate(tell);
  await drain();
  await fleet.trip(fuse);
  await fleet.client.execute(
    "update circuit_breaker_cursors set told = '{spoilt', held_until = 9e15",
  );
  await fleet.client.execute(
    "update circuit_breaker_events set metadata = '[1' where event = 'opened'",
  );
  assertEquals([await drain(), events()], [1, ["opened"]]);
});

test("drain() attributes a circuit of tiered() to it, also when its database is a store", async (fleet) => {
  const { clock, client } = fleet;
  let down = false;
  const state = chaos(memory({ clock: clock.now }), { down: () => down });
  const database = libsql({ client, clock: clock.now });
  const stores = { state, database, tiered: tiered({ state, audit: database }) };
  const made = () => createFuse({ stores, default: "tiered", clock: clock.now });
  await fleet.trip(made());
  const { tell, notices } = channel();
  const { drain } = notify(made(), { channels: [tell] });
  assertEquals(await drain(), 1);
  assertEquals(notices[0]!.store, "tiered");
  assertStringIncludes(String(notices[0]!.data.undo), " --store tiered ");

  // The trail answers, and its rows are sent, while the state does not.
  await fleet.trip(made(), "mail");
  down = true;
  await assertRejects(drain, Error, "down");
  assertEquals(notices.map(({ circuit }) => circuit), ["pay", "mail"]);
});

Deno.test("drain() rejects if no store keeps a trail", async () => {
  const { drain } = notify(createFuse({ stores: { array: memory() } }), {
    channels: [channel().tell],
  });
  await assertRejects(drain, TypeError, "no store keeps a trail");
});
