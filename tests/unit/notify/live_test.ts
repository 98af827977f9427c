// notify() sends notices of changes as they happen.
import { assert, assertEquals } from "@std/assert";
import { createFuse, type Fuse, type FuseEvent } from "@fuse/edge";
import { type Notice, notify } from "@fuse/edge/notify";
import { notifyBy } from "../../../src/notify/notifier.ts";
import { channel, FakeParts } from "../../support/notices.ts";
import { World } from "../../support/setups.ts";

const down = () => Promise.reject(new Error("down"));

/** Collects the listener errors of a Fuse. */
function troubles(fuse: Fuse): string[] {
  const sentences: string[] = [];
  fuse.on("listener_error", ({ error }: Extract<FuseEvent, { type: "listener_error" }>) => {
    sentences.push(String(error));
  });
  return sentences;
}

for (const setup of ["strong", "eventual"] as const) {
  Deno.test(`notify() lets only the winner send a transition (${setup})`, async () => {
    const world = new World(setup);
    const { tell, notices, events } = channel();
    const breakers = Array.from({ length: 5 }, () => {
      const { fuse, make } = world.isolate();
      notify(fuse, { channels: [tell] });
      return make({ failureThreshold: 3 });
    });
    await Promise.all(breakers.map((breaker) => breaker.tryCall(down)));
    await world.sync();
    assertEquals(events(), ["opened"]);
    assertEquals(new Set(notices.map(({ data }) => data.id)).size, 1);
  });
}

Deno.test("notify() sends nothing that was not requested, and nothing once it is stopped", async () => {
  const world = new World("memory");
  const { fuse } = world.isolate();
  const { tell, events } = channel();
  const { stop } = notify(fuse.store("shared"), {
    ...{ channels: [tell], events: ["half_opened", "forced_open"] },
  });
  const pay = fuse.make("pay", { failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 });
  await pay.tryCall(down);
  world.clock.advance(1_000);
  await pay.call(() => 1);
  await pay.forceOpen();
  await fuse.flush();
  assertEquals(events(), ["half_opened", "forced_open"]);
  stop();
  await pay.forceOpen();
  await fuse.flush();
  assertEquals(events().length, 2);
});

Deno.test("notify() costs calls nothing: it adds no listener for them", async () => {
  const reads: number[] = [];
  const fuse = createFuse({ clock: () => reads.push(0) });
  notify(fuse, { channels: [channel().tell], events: ["opened", "success", "failure"] });
  const pay = fuse.make("pay");
  for (let i = 0; i < 2; i++) await pay.call(() => 1);
  reads.length = 0;
  await pay.call(() => 1);
  assertEquals(reads.length, 1);
});

Deno.test("notify() says so when this isolate decides alone", async () => {
  const world = new World("eventual");
  const { fuse } = world.isolate({ faults: { down: () => true } });
  const { tell, notices } = channel();
  notify(fuse, { channels: [tell] });
  await fuse.make("pay", { failureThreshold: 1 }).tryCall(down);
  await fuse.flush();
  assertEquals(notices.map(({ event, data }) => [event, data.local]), [["opened", true]]);
  assert(notices[0]!.text.includes("This isolate decides alone"));
});

Deno.test("notify() gathers notices while a channel is busy, and sends one request at a time", async () => {
  const fuse = createFuse();
  const batches: number[] = [];
  let most = 0;
  let busy = 0;
  const release: (() => void)[] = [];
  const slow = async (notices: readonly Notice[]) => {
    most = Math.max(most, ++busy);
    batches.push(notices.length);
    await new Promise<void>((resolve) => release.push(resolve));
    busy--;
  };
  const quick = channel();
  notify(fuse, { channels: [slow, quick.tell] });
  for (let i = 0; i < 120; i++) await fuse.make(`c${i}`).forceOpen();
  for (let i = 0; i < 100; i++) await Promise.resolve();
  // The other channel does not wait.
  assertEquals(quick.notices.length, 120);
  const flushed = fuse.flush();
  while (busy > 0) {
    release.shift()!();
    for (let i = 0; i < 100; i++) await Promise.resolve();
  }
  await flushed;
  assertEquals([batches, most], [[1, 50, 50, 19], 1]);
});

Deno.test("notify() tries a channel three times, opens its circuit, and reports it without the channel's error", async () => {
  const parts = new FakeParts();
  const fuse = createFuse({ clock: parts.clock });
  const heard = troubles(fuse);
  const told = channel();
  let tries = 0;
  let works = false;
  const failing = (notices: readonly Notice[]) => {
    tries++;
    return works ? told.tell(notices) : Promise.reject(new Error("https://s3cr3t"));
  };
  const other = channel();
  notifyBy(fuse, { channels: [failing, other.tell] }, parts);
  const pay = fuse.make("pay");
  await pay.forceOpen();
  await fuse.flush();
  assertEquals([tries, parts.pauses], [3, [1_000, 2_000]]);
  await pay.release();
  await fuse.flush();
  await pay.forceOpen();
  await fuse.flush();
  // Five failures in a row open the channel's own circuit.
  assertEquals(tries, 5);
  assertEquals(heard, [
    "Error: Cannot send 1 notices: channel 1 threw",
    "Error: Cannot send 1 notices: channel 1 has failed, and its circuit is open",
    "Error: Cannot send 1 notices: channel 1 has failed, and its circuit is open",
  ]);
  assertEquals(other.notices.length, 3);
  works = true;
  parts.time.advance(60_000);
  await pay.release();
  await fuse.flush();
  assertEquals(told.events(), ["released"]);
});

Deno.test("notify() sends a notice for a circuit that flaps at its beginning, and one when it is quiet", async () => {
  const parts = new FakeParts();
  const fuse = createFuse({ clock: parts.clock });
  const { tell, notices } = channel();
  const { stop } = notifyBy(fuse, { channels: [tell], quietMs: 60_000 }, parts);
  const pay = fuse.make("pay", { failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 });
  for (let i = 0; i < 5; i++) {
    await pay.tryCall(down);
    parts.time.advance(1_000);
    await pay.call(() => 1);
  }
  // The notice of another circuit is sent at once.
  await fuse.make("other").forceOpen();
  await fuse.flush();
  assertEquals(notices.map(({ circuit, event }) => [circuit, event]), [
    ["pay", "opened"],
    ["other", "forced_open"],
  ]);
  parts.advance(60_000);
  await fuse.flush();
  const last = notices.at(-1)!;
  assertEquals([notices.length, last.event, last.data.changes], [3, "closed", 9]);
  assert(last.text.endsWith("It is the last of 9 changes since 2025-01-01T00:00:01.000Z."));

  // The circuit is quiet again, so its next change is sent at once.
  parts.advance(60_000);
  await pay.forceOpen();
  await pay.release();
  await fuse.flush();
  assertEquals([notices.length, parts.timers], [4, 1]);
  stop();
  assertEquals(parts.timers, 0);
});

Deno.test("notify() makes waitUntil hold later notices, on a Worker", async () => {
  const parts = new FakeParts(true);
  const held: Promise<unknown>[] = [];
  const context = {
    waitUntil(this: unknown, work: Promise<unknown>) {
      assert(this === context, "called as a method");
      held.push(work);
    },
  };
  const fuse = createFuse({ clock: parts.clock, waitUntil: (work) => context.waitUntil(work) });
  const { tell, events } = channel();
  notifyBy(fuse, { channels: [tell], quietMs: 1_000 }, parts);
  await fuse.make("pay").forceOpen();
  await fuse.make("pay").release();
  assertEquals([held.length, events()], [2, ["forced_open"]]);
  parts.advance(1_000);
  await Promise.all(held);
  assertEquals(events(), ["forced_open", "released"]);
});

Deno.test("notify() holds no request once it is stopped, on a Worker", async () => {
  const parts = new FakeParts(true);
  const held: Promise<unknown>[] = [];
  const fuse = createFuse({ clock: parts.clock, waitUntil: (work) => void held.push(work) });
  const { tell, events } = channel();
  const { stop } = notifyBy(fuse, { channels: [tell], quietMs: 600_000 }, parts);
  await fuse.make("pay").forceOpen();
  await fuse.make("pay").release();
  assertEquals([held.length, parts.timers], [2, 1]);
  stop();
  await Promise.all(held);
  await fuse.flush();
  assertEquals([events(), parts.timers], [["forced_open"], 0]);
});
