// The costs of a call of a closed circuit in operations, and those that it waits for.
import { assertEquals } from "@std/assert";
import { createFuse } from "@fuse/edge";
import { intercept } from "../../support/setups.ts";
import { background, blocking, NOTHING, warm, World } from "./isolate.ts";
import type { Tally } from "@fuse/edge/store";
import { chaos, memory, type OpeningStore } from "../../support/drivers.ts";

Deno.test("call() waits for one answer when the circuit was never requested", async () => {
  const isolate = new World().isolate();
  assertEquals(await isolate.costs(isolate.succeed), blocking("acquire"));
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

Deno.test("call() costs nothing when it succeeds", async () => {
  const isolate = await warm();
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

Deno.test("call() sends flushSize successes together, in the background", async () => {
  const isolate = await warm({ flushSize: 7 });
  await isolate.times(6, isolate.succeed);
  assertEquals(await isolate.sent(), []);
  assertEquals(await isolate.costs(isolate.succeed), background("record"));
  assertEquals(isolate.tallies.at(-1)!.successes, 7);
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

Deno.test("call() sends successes when it ends flushIntervalMs after the first", async () => {
  const isolate = await warm({ flushIntervalMs: 600 });
  await isolate.succeed();
  isolate.clock.advance(599);
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
  isolate.clock.advance(1);
  assertEquals(await isolate.costs(isolate.succeed), background("record"));
  assertEquals(isolate.tallies.at(-1)!.successes, 3);
});

for (const option of ["flushSize", "flushIntervalMs"] as const) {
  Deno.test(`call() sends every success at once when ${option} has its minimum`, async () => {
    const isolate = await warm({ [option]: option === "flushSize" ? 1 : 0 });
    assertEquals(await isolate.costs(isolate.succeed), background("record"));
  });
}

Deno.test("call() sends a success at once when the view shows half of the failures in a row", async () => {
  const isolate = await warm({ failureThreshold: 4 });
  await isolate.fail();
  await isolate.sent();
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
  await isolate.times(2, isolate.fail);
  await isolate.sent();
  assertEquals(await isolate.costs(isolate.succeed), background("record"));
  assertEquals(isolate.breaker.peek().metrics.consecutiveFailures, 0);
  assertEquals(await isolate.costs(isolate.succeed), NOTHING);
});

Deno.test("call() sends no second success when one that ends the run is on its way", async () => {
  const isolate = await warm({ failureThreshold: 2 });
  await isolate.fail();
  await isolate.sent();
  const cost = await isolate.costs(() => isolate.times(5, isolate.succeed));
  assertEquals(cost, background("record"));
});

Deno.test("call() sends successes at once when they make a transition due", async () => {
  const isolate = await warm({
    strategy: "percentage_failures",
    percentageThreshold: 40,
    minimumThroughput: 10,
  });
  // With the call that created it: 4 failures of 9, and the run ended.
  await isolate.times(4, isolate.fail);
  await isolate.succeed();
  await isolate.sent();
  await isolate.times(3, isolate.succeed);
  assertEquals(await isolate.sent(), []);
  assertEquals(await isolate.costs(isolate.succeed), background("record", "transition"));
  assertEquals(isolate.breaker.peek().state, "OPEN");
});

Deno.test("call() sends a failure at once with the successes before it", async () => {
  const isolate = await warm();
  await isolate.times(3, isolate.succeed);
  assertEquals(await isolate.costs(isolate.fail), background("record"));
  const { successes, failures } = isolate.tallies.at(-1)!;
  assertEquals([successes, failures], [3, 1]);
});

Deno.test("call() sends a success at once when the clock goes back meanwhile", async () => {
  const isolate = await warm({ flushIntervalMs: 600 });
  const call = () => isolate.breaker.tryCall(() => isolate.clock.set(isolate.clock.now() - 60_000));
  assertEquals(await isolate.costs(call), background("record"));
});

/** The checks of errors, and their description in the tally, when calls are audited. */
async function described(
  answer: (error: unknown) => string | undefined,
  ...calls: (() => unknown)[]
): Promise<{ asked: unknown[]; errors: unknown[] }> {
  const asked: unknown[] = [];
  const tallies: Tally[] = [];
  const inner = memory();
  const store: OpeningStore = Object.assign(
    intercept(chaos(inner, {}), () => {}),
    {
      describe(error: unknown) {
        asked.push(error);
        return answer(error);
      },
      record(key: string, tally: Tally) {
        tallies.push(tally);
        return Promise.resolve(inner.record(key, tally));
      },
    },
  );
  const fuse = createFuse({ stores: { store } });
  const breaker = fuse.make<unknown>("a", {
    failureThreshold: 99,
    ignore: [(error) => error === "ignored"],
    isFailure: (outcome) => !outcome.ok || outcome.value === "bad",
  });
  for (const call of calls) await breaker.tryCall(call);
  await fuse.flush();
  return {
    asked,
    errors: tallies.flatMap(({ calls = [] }) =>
      calls.filter(({ failed }) => failed).map(({ text }) => text)
    ),
  };
}

const throwing = (error: unknown) => () => {
  throw error;
};

Deno.test("describe() is called for failures that have an error", async () => {
  const { asked, errors } = await described(
    String,
    () => "good",
    () => "bad",
    throwing("ignored"),
    throwing("broken"),
  );
  assertEquals([asked, errors], [["broken"], [null, "broken"]]);
});

Deno.test("describe() has no effect when it throws or returns nothing", async () => {
  const { errors } = await described(throwing("no words"), throwing("broken"));
  assertEquals(errors, [null]);
  assertEquals((await described(() => undefined, throwing("broken"))).errors, [null]);
});

Deno.test("record() has no data of single calls when the store has no describe()", async () => {
  const isolate = await warm();
  await isolate.fail();
  await isolate.sent();
  assertEquals(isolate.tallies.at(-1)!.calls, undefined);
});

Deno.test("call() costs two operations in the background when its failure trips", async () => {
  const isolate = await warm({ failureThreshold: 2 });
  await isolate.fail();
  assertEquals(await isolate.costs(isolate.fail), background("record", "transition"));
  assertEquals(isolate.told("opened").length, 1);
});

Deno.test("call() costs nothing when it is neutral", async () => {
  const isolate = await warm({ ignore: [() => true] });
  assertEquals(await isolate.costs(isolate.ignore), NOTHING);
  isolate.clock.advance(1000);
  assertEquals(await isolate.costs(isolate.ignore), NOTHING);
});
