// The scope of a failure: the whole store, a kind of requests, or a circuit (design, "The guard").
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { type FuseEvent, isStoreUnavailableError } from "@fuse/edge";
import { StoreAnswerError } from "@fuse/edge/store";
import { FakeClock } from "@fuse/edge/testing";
import { Events } from "../../../src/events.ts";
import { type Requester, type RequestKind, StoreGuard } from "../../../src/shared/guard.ts";

const TIMEOUT_MS = 60_000;
const spoilt = () => new StoreAnswerError("WRONGTYPE", { scope: "circuit" });
const full = () => new StoreAnswerError("OOM", { scope: "store" });
const cut = () => new Error("connection refused");

/** A guard with a number of circuits, and their requests. */
function guarding(circuits = 10) {
  const clock = new FakeClock(1_000_000);
  const events = new Events();
  const heard: FuseEvent[] = [];
  const everything = { store: null, context: undefined, boundary: undefined };
  events.on("*", (event: FuseEvent) => void heard.push(event), everything, undefined);
  const guard = new StoreGuard("redis", TIMEOUT_MS, clock.now, events);
  for (let i = 0; i < circuits; i++) guard.register();
  const send = (
    circuit: Requester | undefined,
    kind: RequestKind,
    answer: () => unknown,
    always = false,
  ) =>
    guard.run({ ...{ operation: "test", kind, send: answer, always }, ...circuit && { circuit } })
      .then(() => "taken", (error) => error);
  const refuse = (circuit: Requester | undefined, kind: RequestKind, error: Error) =>
    send(circuit, kind, () => Promise.reject(error));
  const blocks = (circuit: Requester | null, kind: RequestKind) =>
    guard.blocks(kind, circuit, clock.now());
  return { clock, guard, heard, send, refuse, blocks };
}

function requester(key: string): Requester {
  return {
    identity: { key, store: "redis", name: key, context: null, boundary: null },
    health: null,
  };
}

Deno.test("StoreGuard() begins a back-off for everything when the store is unreachable", async () => {
  const { refuse, blocks, guard } = guarding();
  const [a, b] = [requester("a"), requester("b")];
  await refuse(a, "writes", cut());
  for (const kind of ["reads", "writes"] as const) {
    assertEquals([blocks(a, kind), blocks(b, kind), blocks(null, kind)], [true, true, true]);
  }
  assert(guard.failing);
});

Deno.test("StoreGuard() continues to read from a store that refuses to write, for all circuits", async () => {
  const { refuse, blocks, send, guard } = guarding();
  const [a, b] = [requester("a"), requester("b")];
  await refuse(a, "writes", full());
  assertEquals([blocks(b, "writes"), blocks(b, "reads"), blocks(a, "reads")], [true, false, false]);
  assertEquals(await send(b, "reads", () => 1), "taken");
  // Successful reads prove nothing for writes.
  assert(blocks(b, "writes") && guard.failing);
});

Deno.test("StoreGuard() begins a back-off for a circuit that the store refuses, and for no other", async () => {
  const { refuse, blocks, guard, heard, send, clock } = guarding();
  const [a, b] = [requester("a"), requester("b")];
  for (let i = 0; i < 5; i++) {
    const error = await refuse(a, "reads", spoilt());
    assert(isStoreUnavailableError(error));
    assertEquals([blocks(a, "reads"), blocks(b, "reads"), guard.failing], [true, false, false]);
    clock.advance(30_000);
    assertEquals(await send(b, "reads", () => 1), "taken");
  }
  // Each kind separately.
  assertEquals(blocks(a, "writes"), false);
  await send(a, "reads", () => 1);
  const told = heard.map((event) => [event.type, "circuit" in event && event.circuit?.name]);
  assertEquals(told.at(-1), ["store_recovered", "a"]);
  assertEquals(told.filter(([type]) => type === "store_recovered").length, 1);
});

Deno.test("StoreGuard() treats three circuits refused in a row as all, and sends one probe at a time", async () => {
  const { refuse, blocks, guard, clock, send } = guarding();
  const circuits = Array.from({ length: 10 }, (_, i) => requester(`c${i}`));
  for (const circuit of circuits.slice(0, 2)) await refuse(circuit, "writes", spoilt());
  assertEquals([guard.failing, blocks(circuits[9]!, "writes")], [false, false]);
  await refuse(circuits[2]!, "writes", spoilt());
  assertEquals([guard.failing, blocks(circuits[9]!, "writes")], [true, true]);
  clock.advance(1_000);
  // A circuit that has not failed itself is asked for first.
  assertEquals(circuits.map((circuit) => blocks(circuit, "writes")), [
    ...[true, true, true],
    ...[false, false, false, false, false, false, false],
  ]);
  const probe = Promise.withResolvers<void>();
  const probing = send(circuits[3], "writes", () => probe.promise);
  assertEquals(circuits.filter((circuit) => !blocks(circuit, "writes")).length, 0);
  probe.resolve();
  assertEquals(await probing, "taken");
  assertEquals([guard.failing, blocks(circuits[9]!, "writes")], [false, false]);
});

Deno.test("StoreGuard() counts circuits refused in a row only while no other is accepted", async () => {
  const { refuse, guard, send } = guarding();
  for (let i = 0; i < 9; i++) {
    await refuse(requester(`spoilt${i}`), "writes", spoilt());
    if (i % 2 === 1) await send(requester("healthy"), "writes", () => 1);
    assert(!guard.failing, `${i}`);
  }
});

Deno.test("StoreGuard() lets a refused circuit probe when all have been refused", async () => {
  const { refuse, blocks, clock } = guarding(3);
  const circuits = ["a", "b", "c"].map(requester);
  for (const circuit of circuits) await refuse(circuit, "writes", spoilt());
  clock.advance(1_000);
  assertEquals(circuits.map((circuit) => blocks(circuit, "writes")), [false, false, false]);
});

Deno.test("StoreGuard() lets a refused circuit probe when no other asks for a whole timeout", async () => {
  const { refuse, blocks, clock } = guarding();
  const circuits = ["a", "b", "c"].map(requester);
  for (const circuit of circuits) await refuse(circuit, "writes", spoilt());
  clock.advance(1_000 + TIMEOUT_MS);
  assertEquals(blocks(circuits[0]!, "writes"), false);
});

Deno.test("StoreGuard() attributes a missed answer to its circuit when a later request was answered", async () => {
  const { send, blocks, guard } = guarding();
  const [slow, quick] = [requester("slow"), requester("quick")];
  const never = Promise.withResolvers<never>();
  const missed = send(slow, "reads", () => never.promise);
  assertEquals(await send(quick, "reads", () => Promise.resolve()), "taken");
  never.reject(cut());
  assert(isStoreUnavailableError(await missed));
  assertEquals([guard.failing, blocks(quick, "reads"), blocks(slow, "reads")], [
    ...[false, false, true],
  ]);
});

Deno.test("StoreGuard() treats a missed answer as an outage when only an earlier request was answered", async () => {
  const { send, guard } = guarding();
  const first = Promise.withResolvers<void>();
  const early = send(requester("a"), "reads", () => first.promise);
  const never = Promise.withResolvers<never>();
  const missed = send(requester("b"), "reads", () => never.promise);
  first.resolve();
  await early;
  never.reject(cut());
  await missed;
  assert(guard.failing);
});

Deno.test("StoreGuard() sends an operator's request during a back-off", async () => {
  const { refuse, send, guard, clock } = guarding();
  const a = requester("a");
  await refuse(a, "writes", cut());
  const until = guard.unavailable(clock.now()).retryAfterMs;
  // A further failure changes nothing: the interval stays.
  let asked = 0;
  const error = await send(a, "writes", () => (asked++, Promise.reject(cut())), true);
  assert(isStoreUnavailableError(error));
  assertEquals([asked, guard.unavailable(clock.now()).retryAfterMs], [1, until]);
  assertEquals(await send(a, "writes", () => 1, true), "taken");
  assert(!guard.failing);
});

Deno.test("StoreUnavailableError() has the store's error, also during a back-off", async () => {
  const { refuse, send } = guarding();
  const said = full();
  const first = await refuse(requester("a"), "writes", said);
  const second = await send(requester("b"), "writes", () => 1);
  for (const error of [first, second]) {
    assertStrictEquals(error.cause, said);
    assert(/refuses/.test(error.message) && !/answer/.test(error.message), error.message);
  }
  const unreached = guarding();
  const away = await unreached.refuse(requester("a"), "writes", cut());
  assert(/does not answer/.test(away.message), away.message);
});

Deno.test("StoreGuard.runAlone() applies its failure to nothing else", async () => {
  const { guard, heard, clock } = guarding();
  const alone = (send: () => unknown) => guard.runAlone({ operation: "list", kind: "reads", send });
  const error = await alone(() => Promise.reject(full())).catch((error) => error);
  assert(isStoreUnavailableError(error));
  assertEquals(guard.blocks("reads", null, clock.now()), false);
  assertEquals(heard.map(({ type }) => type), ["store_error"]);
  assertEquals(await alone(() => 1), 1);
});

Deno.test("StoreGuard() reports that a circuit recovered once it is accepted in the refused kind", async () => {
  const { refuse, send, heard } = guarding();
  const a = requester("a");
  await refuse(a, "writes", spoilt());
  for (let i = 0; i < 3; i++) await send(a, "reads", () => 1);
  assertEquals(heard.map(({ type }) => type), ["store_error"]);
  await send(a, "writes", () => 1, true);
  assertEquals(heard.map(({ type }) => type), ["store_error", "store_recovered"]);
});

Deno.test("StoreGuard() reports that the store is back, also when its first answer refuses a circuit", async () => {
  const { refuse, heard, clock } = guarding();
  await refuse(requester("a"), "reads", cut());
  clock.advance(30_000);
  await refuse(requester("b"), "reads", spoilt());
  const told = heard.map((event) => [event.type, "circuit" in event && event.circuit?.name]);
  assertEquals(told, [["store_error", "a"], ["store_recovered", false], ["store_error", "b"]]);
});

Deno.test("StoreGuard() reports that a circuit recovered whose answers alone were missed", async () => {
  const { send, heard, clock } = guarding();
  const [slow, quick] = [requester("slow"), requester("quick")];
  const never = Promise.withResolvers<never>();
  const missed = send(slow, "reads", () => never.promise);
  await send(quick, "reads", () => 1);
  never.reject(cut());
  await missed;
  clock.advance(30_000);
  await send(slow, "reads", () => 1);
  const told = heard.map((event) => [event.type, "circuit" in event && event.circuit?.name]);
  assertEquals(told, [["store_error", "slow"], ["store_recovered", "slow"]]);
});
