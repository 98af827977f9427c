// What an isolate sends that holds back, because its store tells of too many requests.
import { assertEquals } from "@std/assert";
import { warm } from "./isolate.ts";

/** Five requests within a second, where one would be enough: all that follows is slower. */
async function paced() {
  const isolate = await warm({ maxRequestsPerSecond: 1, failureThreshold: 100 });
  isolate.clock.advance(10_000);
  for (let i = 0; i < 5; i++) {
    await isolate.fail();
    await isolate.sent();
  }
  isolate.clock.advance(1_000);
  await isolate.succeed();
  await isolate.fuse.flush();
  await isolate.sent();
  return isolate;
}

Deno.test("a paced isolate holds a failure back, and then sends it with those that follow", async () => {
  const isolate = await paced();
  for (let i = 0; i < 3; i++) {
    await isolate.fail();
    isolate.clock.advance(100);
  }
  assertEquals(await isolate.sent(), []);
  isolate.clock.advance(5_000);
  await isolate.fail();
  assertEquals(await isolate.sent(), ["record"]);
  assertEquals(isolate.tallies.at(-1)!.failures, 4);
});

Deno.test("a paced isolate sends a failure at once when it knows that calls have failed last", async () => {
  const isolate = await paced();
  await isolate.fail();
  await isolate.fuse.flush();
  await isolate.sent();
  await isolate.fail();
  assertEquals(await isolate.sent(), ["record"]);
});

Deno.test("an isolate that is not paced sends each failure at once", async () => {
  const isolate = await warm({ failureThreshold: 100 });
  for (let i = 0; i < 3; i++) {
    await isolate.fail();
    assertEquals(await isolate.sent(), ["record"]);
  }
});

Deno.test("rejections alone are sent by the refresh, and not once more after it", async () => {
  const isolate = await warm({ failureThreshold: 1, cooldownMs: 60_000 });
  await isolate.fail();
  await isolate.sent();
  await isolate.succeed();
  isolate.clock.advance(1_000);
  // Sends the rejection before it, and is counted itself while that is under way.
  await isolate.succeed();
  assertEquals(await isolate.sent(), ["record"]);
  assertEquals(isolate.tallies.at(-1)!.rejected, 1);
});
