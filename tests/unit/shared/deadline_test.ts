import { assertEquals, assertRejects } from "@std/assert";
import { isUnderWay, withDeadline } from "../../../src/shared/deadline.ts";

/** Keeps this isolate busy: no timer fires meanwhile. */
function busy(ms: number): void {
  for (const until = Date.now() + ms; Date.now() < until;);
}

Deno.test("withDeadline() gives the store as long again as its timer was late", async () => {
  const answer = Promise.withResolvers<string>();
  const waiting = withDeadline(() => answer.promise, 20);
  busy(200);
  // The deadline has passed, and the answer arrives as soon as this isolate is free: by a timer of
  // its own, which comes after the deadline's.
  setTimeout(() => answer.resolve("in time"), 0);
  assertEquals(await waiting, "in time");
});

Deno.test("withDeadline() gives it once, and no more than the timeout", async () => {
  const waiting = withDeadline(() => new Promise<never>(() => {}), 5);
  busy(30);
  await assertRejects(() => waiting, Error, "No answer within 5 ms");
});

Deno.test("withDeadline() needs no timer for an immediate answer", async () => {
  assertEquals(await withDeadline(() => 7, 5), 7);
});

Deno.test("isUnderWay() holds until its moment, and not when a clock was set back", () => {
  assertEquals([499, 500, 501].map((now) => isUnderWay(500, now, 500)), [true, false, false]);
  assertEquals([isUnderWay(500, 0, 500), isUnderWay(501, 0, 500)], [true, false]);
});
