// The store guard (section 3) and traps 34 to 36: the behavior while the store does not answer.
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import {
  CircuitBreakerOpenError,
  type CircuitOptions,
  isStoreUnavailableError,
  StoreUnavailableError,
} from "@fuse/edge";
import {
  admits,
  begin,
  Boom,
  cutOff,
  fail,
  onEverySetup,
  REMOTE,
  succeed,
  turn,
} from "../support/setups.ts";

const TRIP: CircuitOptions = { failureThreshold: 2, successThreshold: 1, cooldownMs: 10_000 };

for (const onStoreError of ["local", "allow", "reject"] as const) {
  onEverySetup(`a store lost during a call changes no result under "${onStoreError}"`, async (
    world,
  ) => {
    // Trap 34: neither the result nor the error.
    const { breaker, line, fuse } = cutOff(world, { ...TRIP, onStoreError });
    await succeed(breaker);
    const [good, bad] = [await begin(breaker), await begin(breaker)];
    const error = new Boom();
    line.down = true;
    assertEquals(await good.succeed("value"), { ok: true, source: "call", value: "value" });
    const result = await bad.fail(error);
    assertStrictEquals("error" in result && result.error, error);
    await fuse.flush();
  }, REMOTE);
}

for (const onStoreError of ["local", "allow"] as const) {
  onEverySetup(`calls run without a store under "${onStoreError}"`, async (world) => {
    // Trap 34: from the first call on.
    const { breaker, line } = cutOff(world, { ...TRIP, onStoreError });
    line.down = true;
    const error = new Boom();
    assertEquals(await breaker.call(() => "value"), "value");
    assertStrictEquals(await assertRejects(() => breaker.call(() => Promise.reject(error))), error);
    assertEquals(await breaker.call(() => "value"), "value");
    assertEquals(await breaker.getState(), "CLOSED");
  }, REMOTE);
}

onEverySetup("a trial's result stands when its outcome cannot be sent", async (world) => {
  // Trap 34: in half-open every call waits for the store.
  const { breaker, line } = cutOff(world, TRIP);
  await fail(breaker, 2);
  await world.sync();
  world.clock.advance(10_000);
  const trial = await begin(breaker);
  line.down = true;
  assertEquals(await trial.succeed("value"), { ok: true, source: "call", value: "value" });
}, REMOTE);

onEverySetup("this isolate's own breaker protects while the store is gone", async (world) => {
  // Trap 35: fail-open is no protection at all. Announced as local, and never sent to the store.
  const { breaker, lose, events } = cutOff(world, TRIP);
  await lose();
  await fail(breaker, 2);
  assertEquals(await admits(breaker), false);
  assertEquals(await breaker.getState(), "OPEN");
  world.clock.advance(9_999);
  assertEquals(await admits(breaker), false);
  world.clock.advance(1);
  const [trial, other] = [await begin(breaker), await begin(breaker)];
  assertEquals([trial.admitted, other.admitted], [true, false]);
  await trial.succeed();
  assertEquals(await admits(breaker), true);
  const moves = events.flatMap((e) => "from" in e ? [[e.type, e.local]] : []);
  assertEquals(moves, [["opened", true], ["half_opened", true], ["closed", true]]);
  assertEquals([world.stored().epoch, world.stored().state], ["", "CLOSED"]);
}, REMOTE);

onEverySetup("this isolate's own breaker counts only its own evidence", async (world) => {
  // And the same policy: one failure before the outage, one in it.
  const { breaker, lose } = cutOff(world, TRIP);
  const other = world.breaker(TRIP);
  await lose();
  await fail(breaker);
  await fail(other, 2);
  await world.isolates[1]!.fuse.flush();
  assertEquals(await admits(breaker), true);
  assertEquals(await admits(other), false);
}, REMOTE);

onEverySetup("this isolate's own breaker begins from the last known view", async (world) => {
  const { breaker, lose } = cutOff(world, TRIP);
  await fail(breaker, 2);
  await world.sync();
  world.clock.advance(4_000);
  await lose();
  const error = await assertRejects(() => breaker.call(() => 1), CircuitBreakerOpenError);
  assertEquals([error.state, error.retryAfterMs], ["OPEN", 6_000]);
  world.clock.advance(6_000);
  assertEquals(await admits(breaker), true);
}, REMOTE);

onEverySetup("this isolate's own breaker continues the run of failures it knows", async (world) => {
  const { breaker, lose } = cutOff(world, TRIP);
  await fail(breaker);
  await world.sync();
  await lose();
  await fail(breaker);
  assertEquals(await admits(breaker), false);
}, REMOTE);

onEverySetup("a known override holds while the store is unreachable", async (world) => {
  for (const onStoreError of ["local", "allow"] as const) {
    const world2 = world.isolate({ faults: { down: () => down } });
    let down = false;
    const forced = world2.make({ ...TRIP, onStoreError }, `open-${onStoreError}`);
    const free = world2.make({ ...TRIP, onStoreError }, `closed-${onStoreError}`);
    await forced.forceOpen({ forMs: 60_000 });
    await free.forceClose();
    down = true;
    assertEquals(await forced.isOpen(), true);
    assertEquals(await admits(forced), false);
    await fail(free, 5);
    assertEquals(await admits(free), true);
    world.clock.advance(60_000);
    assertEquals(await admits(forced), true);
  }
}, REMOTE);

onEverySetup('"allow" runs calls unless a known openUntil forbids it', async (world) => {
  const { breaker, lose } = cutOff(world, { ...TRIP, onStoreError: "allow" });
  await lose();
  await fail(breaker, 9);
  assertEquals(await admits(breaker), true);
  const open = cutOff(world, { ...TRIP, onStoreError: "allow" });
  await fail(open.breaker, 2);
  await open.fuse.flush();
  await open.lose();
  world.clock.advance(9_999);
  assertEquals(await admits(open.breaker), false);
  world.clock.advance(1);
  assertEquals(await admits(open.breaker), true);
  assertEquals(await admits(open.breaker), true);
}, REMOTE);

onEverySetup('"reject" refuses calls with StoreUnavailableError', async (world) => {
  const { breaker, lose } = cutOff(world, { ...TRIP, onStoreError: "reject" });
  await lose();
  const error = await assertRejects(() => breaker.call(() => 1), StoreUnavailableError);
  assert(isStoreUnavailableError(error) && error.store === "shared" && error.retryAfterMs >= 1);
  const result = await breaker.tryCall(() => 1);
  assertEquals("rejected" in result && result.rejected, true);
  assertEquals(await breaker.call(() => 1, { fallback: () => "cached" }), "cached");
}, REMOTE);

onEverySetup("the store gets a back-off after a failure, longer each time", async (world) => {
  // Trap 36: one call detects the outage, the others pay nothing.
  const { breaker, line, lose, events } = cutOff(world, { ...TRIP, failureThreshold: 1_000 });
  await lose();
  await Promise.all([succeed(breaker, 20), fail(breaker, 20)]);
  assertEquals(line.asked, 0);
  for (let i = 0; i < 9; i++) {
    const told = world.heard("store_error");
    world.clock.advance(told.at(-1)!.retryAfterMs);
    line.asked = 0;
    await Promise.all([succeed(breaker, 5), succeed(breaker, 5)]);
    await turn();
    assertEquals(line.asked, 1);
    assertEquals(world.heard("store_error").length, told.length + 1);
  }
  const waits = world.heard("store_error").map(({ retryAfterMs }) => retryAfterMs);
  waits.forEach((wait, i) => {
    const longest = Math.min(30_000, 1_000 * 2 ** i);
    assert(wait >= longest / 2 && wait <= longest, `${wait} at ${i}`);
  });
  assertEquals(events.filter(({ type }) => type === "store_recovered"), []);
}, REMOTE);

onEverySetup("store_error and store_recovered are emitted once for each outage", async (world) => {
  const { breaker, lose, regain, events } = cutOff(world, TRIP);
  await lose();
  await Promise.all(Array.from({ length: 5 }, () => succeed(breaker)));
  await regain();
  await succeed(breaker, 3);
  await world.sync();
  const told = events.filter(({ type }) => type.startsWith("store_"));
  assertEquals(told.map(({ type }) => type), ["store_error", "store_recovered"]);
  const [error] = world.heard("store_error");
  assertEquals([error!.store, error!.operation], ["shared", "read"]);
  assertEquals(error!.circuit?.key, breaker.key);
  assert(error!.error instanceof Error && error!.error.message.includes("is down"));
}, REMOTE);

onEverySetup("a store that never answers is given up after storeTimeoutMs", async (world) => {
  // Trap 36.
  const isolate = world.isolate({ faults: { timeoutRate: 1 }, storeTimeoutMs: 1 });
  const breaker = isolate.make(TRIP);
  assertEquals(await breaker.call(() => "value"), "value");
  await isolate.fuse.flush();
  const [error] = world.heard("store_error");
  assertEquals(String(error!.error), "Error: No answer within 1 ms");
}, REMOTE);

onEverySetup("operators are told when the store does not answer", async (world) => {
  const { breaker, line, fuse } = cutOff(world, TRIP);
  line.down = true;
  for (const act of [() => breaker.forceOpen(), () => breaker.reset(), () => breaker.release()]) {
    await assertRejects(act, StoreUnavailableError);
  }
  await assertRejects(() => Array.fromAsync(fuse.list()), StoreUnavailableError);
  assertEquals(world.told("forced_open", "reset", "released"), []);
}, REMOTE);

onEverySetup("a lease whose end could not be sent expires", async (world) => {
  const { breaker, line } = cutOff(world, { ...TRIP, halfOpenLeaseMs: 60_000 });
  const other = world.breaker({ ...TRIP, halfOpenLeaseMs: 60_000 });
  await fail(breaker, 2);
  await world.sync();
  world.clock.advance(10_000);
  const trial = await begin(breaker);
  await world.sync();
  line.down = true;
  await trial.succeed();
  assertEquals(await admits(other), false);
  world.clock.advance(60_000);
  assertEquals(await admits(other), true);
}, REMOTE);

onEverySetup("isolates with a store are not affected", async (world) => {
  const { lose, breaker } = cutOff(world, TRIP);
  const other = world.breaker(TRIP);
  await lose();
  await fail(breaker, 2);
  assertEquals([await admits(breaker), await admits(other)], [false, true]);
}, REMOTE);
