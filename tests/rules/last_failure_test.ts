// The cause of an opening: the stored data of the failure that opened the circuit.
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { failureOf } from "../../src/rules/outcome.ts";
import { onEverySetup } from "../support/setups.ts";

const REFUSED = Object.assign(new Error("connect to 10.0.0.7 refused"), { code: "ECONNREFUSED" });

onEverySetup(
  "snapshot() and explain() contain the failure that opened the circuit",
  async (world) => {
    const breaker = world.isolate().make({ failureThreshold: 2 });
    assertEquals((await breaker.snapshot()).lastFailure, null);
    await breaker.tryCall(() => Promise.reject(new TypeError("first")));
    const at = new Date(world.clock.now());
    await breaker.tryCall(() => Promise.reject(REFUSED));
    await world.sync();
    const { lastFailure } = await breaker.snapshot();
    assertEquals(lastFailure, { at, kind: "ECONNREFUSED", status: null, instance: null });
    assertMatch(await breaker.explain(), /opened by ECONNREFUSED at /);
    await breaker.reset();
    assertEquals((await breaker.snapshot()).lastFailure, lastFailure, "after it closed");
  },
);

onEverySetup("snapshot() contains the status of a failed Response", async (world) => {
  const breaker = world.isolate().make({ failureThreshold: 1 });
  await breaker.call(() => new Response(null, { status: 503 }));
  await world.sync();
  const { lastFailure } = await breaker.snapshot();
  assertEquals([lastFailure?.kind, lastFailure?.status], ["Response", 503]);
  assertMatch(await breaker.explain(), /opened by status 503 at /);
});

Deno.test("failureOf() returns the code or the name of an error, and never its message", () => {
  const cases: [unknown, string, number | null][] = [
    [REFUSED, "ECONNREFUSED", null],
    [new TypeError("secret"), "TypeError", null],
    [Object.assign(new Error("secret"), { code: 42 }), "Error", null],
    ["secret", "string", null],
    [undefined, "undefined", null],
    [{}, "object", null],
    [new Response(null, { status: 429 }), "Response", 429],
    [Object.assign(new Error(), { code: "x".repeat(500) }), "x".repeat(64), null],
  ];
  for (const [error, kind, status] of cases) assertEquals(failureOf(error), { kind, status });
  const hostile = {
    get code(): string {
      throw new Error("no");
    },
  };
  assertEquals(failureOf(hostile).kind, "unknown");
});

Deno.test("createFuse({ instance }) names the isolate that saw the failure", async () => {
  const fuse = createFuse({ instance: "fra1" });
  const breaker = fuse.make("a", { failureThreshold: 1 });
  let told: string | null | undefined;
  fuse.on("opened", ({ snapshot }) => void (told = snapshot.lastFailure?.instance));
  await breaker.tryCall(() => Promise.reject(REFUSED));
  assertEquals([told, (await breaker.snapshot()).lastFailure?.instance], ["fra1", "fra1"]);
  for (const instance of ["", "x".repeat(101), 5 as never]) {
    assertThrows(() => createFuse({ instance }), RangeError, '"instance"');
  }
});
