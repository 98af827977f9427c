import { assertEquals, assertRejects } from "@std/assert";
import { type RecordedCall, replay } from "../../src/cli/replay.ts";

const START = 1_735_689_600_000;

/** Returns one call a second: `.` succeeded, `x` failed, `s` succeeded slowly. */
function calls(pattern: string): RecordedCall[] {
  return [...pattern].map((c, i) => ({
    at: START + i * 1_000,
    failed: c === "x",
    slow: c === "s",
  }));
}

function at(seconds: number): string {
  return new Date(START + seconds * 1_000).toISOString();
}

Deno.test("replay() opens nothing while no threshold is reached", async () => {
  assertEquals(await replay(calls("..xx..xx.."), { failureThreshold: 3 }), []);
  assertEquals(await replay([], {}), []);
});

Deno.test("replay() reports when a circuit would have opened, for how long, and what it would have rejected", async () => {
  const policy = { failureThreshold: 3, cooldownMs: 4_000, successThreshold: 2 };
  //                  0123456789
  const recorded = calls(".xxxxx.x..");
  // Opens at 3, refuses 4, 5 and 6; the trial at 7 fails, and the recording ends.
  assertEquals(await replay(recorded, policy), [{
    at: at(3),
    untilMs: null,
    refused: 5,
    refusedFailures: 2,
    reopened: 1,
    reason: "consecutive_failures",
  }]);
  // Trials at 7 and 8 succeed.
  const [opening] = await replay(calls(".xxxxx...."), policy);
  assertEquals([opening?.untilMs, opening?.refused, opening?.reopened], [5_000, 3, 0]);
});

Deno.test("replay() uses the given policy", async () => {
  const recorded = calls("xxx.......xxx...");
  const cooldownMs = 1_000;
  const opened = async (failureThreshold: number) =>
    (await replay(recorded, { failureThreshold, cooldownMs, successThreshold: 1 }))
      .map(({ at }) => at);
  assertEquals(await opened(3), [at(2), at(12)]);
  assertEquals(await opened(4), []);
  const share = {
    strategy: "rolling_window",
    minimumThroughput: 4,
    percentageThreshold: 75,
  } as const;
  assertEquals((await replay(recorded, share)).map(({ reason }) => reason), ["rolling_window"]);
});

Deno.test("replay() counts calls as slow that were recorded as slow", async () => {
  const policy = { strategy: "slow_calls", minimumThroughput: 2 } as const;
  assertEquals((await replay(calls("..ss"), policy)).map(({ at }) => at), [
    new Date(START + 3_001).toISOString(),
  ]);
});

Deno.test("replay() continues when recorded times go back", async () => {
  const recorded = calls("xxx").map((call, i) => ({ ...call, at: START - i }));
  assertEquals((await replay(recorded, { failureThreshold: 3 })).length, 1);
});

Deno.test("replay() refuses an invalid policy", async () => {
  await assertRejects(() => replay([], { failureThreshold: 0 }), RangeError, "failureThreshold");
});
