// Faults by operation and by circuit: chaos({ fail }), and check() behind chaos().
import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { StoreAnswerError } from "@fuse/edge/store";
import type { Faults } from "@fuse/edge/testing";
import { chaos, memory, type OpeningStore } from "../support/drivers.ts";

const SHAPE = { windowMs: 10_000, windowSize: 0 };
const REQUEST = { id: "t", at: 0, shape: SHAPE };

async function record(store: OpeningStore, key: string): Promise<unknown> {
  return await store.record(key, {
    ...{ ...REQUEST, epoch: "", generation: 0, successes: 0, failures: 1, rejected: 0, slow: 0 },
    ...{ began: 0, ageMs: 0, lease: null, policyHash: "" },
  });
}

Deno.test("chaos({ fail }) rejects with the given error by operation and circuit, and applies nothing", async () => {
  const inner = memory();
  const error = new StoreAnswerError("WRONGTYPE", { scope: "circuit" });
  const store = chaos(inner, {
    fail: (operation, key) => operation === "record" && key === "a" ? error : undefined,
  });
  assertStrictEquals(await assertRejects(() => record(store, "a")), error);
  assertEquals(inner.peek("a"), undefined);
  await record(store, "b");
  assertEquals((await store.read("a", REQUEST)).generation, 0);
  assertEquals((await store.read("b", REQUEST)).totals.failures, 1);
});

Deno.test("chaos({ fail }) is called once for each operation, without a key for list()", async () => {
  const asked: [operation: string, key: string | null][] = [];
  const store = chaos(memory(), {
    latencyMs: 1,
    fail: (operation, key) => void asked.push([operation, key]),
  });
  await record(store, "a");
  await store.list({ cursor: null, limit: 1, at: 0, shape: () => SHAPE });
  await store.remove("a");
  assertEquals(asked, [["record", "a"], ["list", null], ["remove", "a"]]);
});

Deno.test("chaos() has check() if the store has it, with the same faults", async () => {
  const inner = memory();
  assertEquals(chaos(inner, {}).check, undefined);
  let checks = 0;
  const checked = Object.assign(Object.create(inner), { check: () => void checks++ });
  const check = async (faults: Faults) => await chaos(checked, faults).check!();
  await check({});
  assertEquals(checks, 1);
  const asked: unknown[] = [];
  const fail: Faults["fail"] = (...of) => (asked.push(of), new Error("READONLY"));
  await assertRejects(() => check({ fail }), Error, "READONLY");
  await assertRejects(() => check({ down: () => true }), Error, "is down");
  assertEquals([checks, asked], [1, [["check", null]]]);
});
