// Views of a Fuse: scopes, stores and requests.
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { createFuse, memory } from "@fuse/edge";
import { chaos } from "@fuse/edge/testing";
import { down, EU, names, T1, T2 } from "./scopes.ts";

Deno.test("for(), boundary(), store() and with() return new views and change none", async () => {
  const fuse = createFuse({ stores: { array: memory(), other: memory() } });
  const tenant = fuse.for(T1);
  const views = [
    fuse,
    tenant,
    tenant.boundary(EU),
    tenant.for(T2),
    tenant.store("other"),
    tenant.with({ waitUntil: () => {} }),
    tenant.boundary(EU).for(T2).store("other"),
  ];
  for (const view of views) await view.make("a").call(() => 1);
  assertEquals(await names(fuse), [
    "a",
    "a:for:tenant:1",
    "a:for:tenant:1:in:region:eu",
    "a:for:tenant:2",
    "other/a:for:tenant:1",
    "other/a:for:tenant:2:in:region:eu",
  ]);
  assertEquals(fuse.make("a").context, null);
});

Deno.test("with() returns the same view without a request", () => {
  const fuse = createFuse();
  assertStrictEquals(fuse.with(null), fuse);
  assertStrictEquals(fuse.with(undefined), fuse);
});

Deno.test("with() keeps a view's scopes, and passes its work to the request", async () => {
  const fuse = createFuse({ stores: { remote: chaos(memory(), {}) } });
  const held: Promise<unknown>[] = [];
  const view = fuse.for(T1).with({ waitUntil: (work) => void held.push(work) }).boundary(EU);
  const breaker = view.make("a");
  assertEquals([breaker.context, breaker.boundary], ["tenant:1", "region:eu"]);
  await breaker.tryCall(down);
  assert(held.length > 0);
  await Promise.all(held);
  assertEquals((await fuse.for(T1).boundary(EU).make("a").getMetrics()).totalFailures, 1);
});

Deno.test("for() and boundary() refuse an invalid scope", () => {
  for (const scope of [undefined, "tenant:1", {}, { type: "t" }, { type: "t", id: NaN }]) {
    assertThrows(() => createFuse().for(scope as never), TypeError, `"context" must be null or`);
    assertThrows(
      () => createFuse().boundary(scope as never),
      TypeError,
      `"boundary" must be null or`,
    );
  }
});
