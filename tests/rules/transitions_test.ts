// Rules 6 to 8 of src/rules/README.md: the trip, the trials, the closing. Rule 5 is traps 1 to 6.
import { assert, assertEquals } from "@std/assert";
import { backoff, type CircuitOptions, createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import {
  admits,
  begin,
  fail,
  intercept,
  onEverySetup,
  REMOTE,
  succeed,
  turn,
  type World,
} from "../support/setups.ts";

const TRIP: CircuitOptions = { failureThreshold: 1, successThreshold: 1, cooldownMs: 1_000 };

onEverySetup("CircuitBreaker() gives each isolate the cooldown of the trip", async (world) => {
  // Rule 6: openUntil is fixed at the trip, whatever follows.
  const [here, there] = [world.breaker(TRIP), world.breaker(TRIP)];
  const late = await begin(there);
  await fail(here);
  await world.sync();
  const openUntil = world.clock.now() + 1_000;
  world.clock.advance(700);
  await late.fail();
  await fail(here, 3);
  await world.sync();
  for (const breaker of [here, there]) {
    assertEquals((await breaker.snapshot()).openUntil, new Date(openUntil));
  }
});

onEverySetup("cooldownMs receives the number of reopenings", async (world) => {
  // Rule 6: 0 at the first trip, one more at each HALF_OPEN → OPEN. Rule 8: back to 0 by closing.
  const asked: number[] = [];
  const cooldownMs = (reopenCount: number) => {
    asked.push(reopenCount);
    return 1_000 * (reopenCount + 1);
  };
  const breaker = world.breaker({ ...TRIP, cooldownMs });
  const cooldown = async () => {
    await world.sync();
    const { openedAt, openUntil } = await breaker.snapshot();
    return openUntil!.getTime() - openedAt!.getTime();
  };
  const lengths: number[] = [];
  for (let i = 0; i < 3; i++) {
    await fail(breaker);
    lengths.push(await cooldown());
    world.clock.advance(lengths.at(-1)!);
  }
  assertEquals((await breaker.snapshot()).reopenCount, 2);
  await succeed(breaker);
  await world.sync();
  assertEquals((await breaker.snapshot()).reopenCount, 0);
  await fail(breaker);
  lengths.push(await cooldown());
  assertEquals(lengths, [1_000, 2_000, 3_000, 1_000]);
  // Called once for each opening, so that a jitter is drawn once.
  assertEquals(asked, [0, 1, 2, 0]);
});

Deno.test("backoff() draws its jitter once for each opening", async () => {
  // Rule 6.
  const clock = new FakeClock();
  const fuse = createFuse({ clock: clock.now });
  const lengths = new Set<number>();
  for (let i = 0; i < 20; i++) {
    const breaker = fuse.make(`c${i}`, {
      ...TRIP,
      cooldownMs: backoff({ baseMs: 1_000_000, maxMs: 1_000_000, jitter: 0.5 }),
      maxCooldownMs: 2_000_000,
    });
    await fail(breaker);
    const once = (await breaker.snapshot()).openUntil!.getTime();
    clock.advance(1);
    assertEquals((await breaker.snapshot()).openUntil!.getTime(), once);
    lengths.add(once - clock.now());
    assert(once - clock.now() >= 499_990 && once - clock.now() <= 1_000_000);
  }
  assert(lengths.size > 10);
});

const NONSENSE: Record<string, () => number> = {
  throws: () => {
    throw new Error("no idea");
  },
  "answers NaN": () => NaN,
  "answers Infinity": () => Infinity,
  "answers 0": () => 0,
  "answers less": () => -5,
  "answers a text": () => "1000" as unknown as number,
  rejects: () => Promise.reject(new Error("no idea")) as never,
};

for (const [what, cooldownMs] of Object.entries(NONSENSE)) {
  onEverySetup(`cooldownMs is 60 000 when its function ${what}`, async (world) => {
    // Rule 6: and listener_error says so.
    const breaker = world.breaker({ ...TRIP, cooldownMs });
    await fail(breaker);
    await world.sync();
    const { openUntil } = await breaker.snapshot();
    assertEquals(openUntil!.getTime() - world.clock.now(), 60_000);
    assertEquals(world.told("listener_error"), ["listener_error"]);
  });
}

onEverySetup("maxCooldownMs limits the results of a function and of Retry-After", async (world) => {
  // Rule 6.
  const options = { ...TRIP, maxCooldownMs: 5_000 };
  const long = world.isolate().make({ ...options, cooldownMs: () => 9_000 });
  const asked = world.isolate().make(options, "b");
  const nonsense = world.isolate().make({ ...options, cooldownMs: () => NaN }, "c");
  await fail(long);
  await asked.call(() => busy("3600"));
  await fail(nonsense);
  await world.sync();
  for (const breaker of [long, asked, nonsense]) {
    assertEquals((await breaker.snapshot()).openUntil!.getTime() - world.clock.now(), 5_000);
  }
});

for (const form of ["seconds", "HTTP date"]) {
  onEverySetup(`Retry-After as ${form} lengthens the cooldown`, async (world) => {
    // Rule 6: at the trip and at a failed trial; never shortens it.
    const text = (ms: number) =>
      form === "seconds" ? `${ms / 1_000}` : new Date(world.clock.now() + ms).toUTCString();
    const breaker = world.breaker(TRIP);
    const cooldown = async (retryAfterMs: number) => {
      await breaker.call(() => busy(text(retryAfterMs)));
      await world.sync();
      const { openedAt, openUntil } = await breaker.snapshot();
      const ms = openUntil!.getTime() - openedAt!.getTime();
      world.clock.advance(ms);
      return ms;
    };
    assertEquals(await cooldown(30_000), 30_000);
    assertEquals(await cooldown(20_000), 20_000);
    assertEquals(await cooldown(0), 1_000);
  });
}

onEverySetup("Retry-After counts only from the response that opens", async (world) => {
  // Rule 6: an earlier failure's value has no effect on this opening.
  const breaker = world.breaker({ ...TRIP, failureThreshold: 2 });
  await breaker.call(() => busy("300"));
  await world.sync();
  await fail(breaker);
  await world.sync();
  assertEquals((await breaker.snapshot()).openUntil!.getTime() - world.clock.now(), 1_000);
});

onEverySetup("CircuitBreaker() runs one trial at a time over all isolates", async (world) => {
  // Rule 7; traps 9, 10 and 25: the limit is in the store, one slot for each call.
  const breakers = Array.from({ length: 4 }, () => world.breaker(TRIP));
  await fail(breakers[0]!);
  await world.sync();
  world.clock.advance(1_000);
  const calls = await Promise.all([...breakers, ...breakers].map((breaker) => begin(breaker)));
  const admitted = calls.filter((call) => call.admitted);
  assertEquals(admitted.length, 1);
  await admitted[0]!.succeed();
  await world.sync();
  assertEquals(world.moves(), ["opened", "half_opened", "closed"]);
});

onEverySetup("halfOpenMaxConcurrent limits trials, also of one isolate", async (world) => {
  // Rule 7.
  const breaker = world.breaker({ ...TRIP, halfOpenMaxConcurrent: 3, successThreshold: 3 });
  await fail(breaker);
  await world.sync();
  world.clock.advance(1_000);
  const calls = [];
  for (let i = 0; i < 5; i++) calls.push(await begin(breaker));
  assertEquals(calls.map((call) => call.admitted), [true, true, true, false, false]);
  for (const call of calls.slice(0, 3)) await call.succeed();
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
});

onEverySetup("CircuitBreaker() frees the slot of a trial that never ends", async (world) => {
  // Rule 7, trap 7: after halfOpenLeaseMs and not before.
  const options = { ...TRIP, halfOpenLeaseMs: 5_000 };
  const [here, there] = [world.breaker(options), world.breaker(options)];
  await fail(here);
  await world.sync();
  world.clock.advance(1_000);
  assert((await begin(here)).admitted);
  await world.sync();
  world.clock.advance(4_999);
  assertEquals(await admits(there), false);
  world.clock.advance(1);
  assertEquals(await admits(there), true);
  await world.sync();
  assertEquals(await here.getState(), "CLOSED");
});

for (const ending of ["succeed", "fail"] as const) {
  onEverySetup(`CircuitBreaker() counts a trial that ends by ${ending} after its lease`, async (
    world,
  ) => {
    // Rule 7: an expired trial's outcome counts while its generation lasts.
    const breaker = world.breaker({ ...TRIP, halfOpenLeaseMs: 5_000 });
    await fail(breaker);
    await world.sync();
    world.clock.advance(1_000);
    const trial = await begin(breaker);
    world.clock.advance(6_000);
    await trial[ending]();
    await world.sync();
    assertEquals(world.moves().at(-1), ending === "succeed" ? "closed" : "opened");
    assertEquals(world.moves().length, 3);
  });
}

onEverySetup("CircuitBreaker() reopens on one failed trial whatever else happened", async (
  world,
) => {
  // Rule 7, trap 12: the strategy, which would still wait for more calls, is not asked.
  const breaker = world.breaker({
    ...TRIP,
    strategy: "percentage_failures",
    minimumThroughput: 2,
    successThreshold: 3,
  });
  await fail(breaker, 2);
  await world.sync();
  world.clock.advance(1_000);
  await succeed(breaker, 2);
  await fail(breaker);
  await world.sync();
  assertEquals(world.moves(), ["opened", "half_opened", "opened"]);
  const reasons = world.heard("opened").map(({ reason }) => reason);
  assertEquals(reasons, ["percentage_failures", "trial_failed"]);
});

for (
  const [outcomes, expected] of [
    ["FSS", "closed"],
    ["SFS", "closed"],
    ["FF", "opened"],
    ["SFF", "opened"],
  ]
) {
  onEverySetup(
    `CircuitBreaker() has ${expected} after trials ${outcomes} of which two may not fail`,
    async (world) => {
      // Rule 23.
      const breaker = world.breaker({ ...TRIP, successThreshold: 2, halfOpenFailureThreshold: 2 });
      await fail(breaker, 2);
      await world.sync();
      world.clock.advance(1_000);
      for (const outcome of outcomes!) {
        assertEquals(await breaker.getState(), "HALF_OPEN");
        await (outcome === "F" ? fail(breaker) : succeed(breaker));
        await world.sync();
      }
      assertEquals(world.moves(), ["opened", "half_opened", expected]);
      assertEquals(world.stored().reopenCount, expected === "opened" ? 1 : 0);
    },
  );
}

onEverySetup("CircuitBreaker() closes after successThreshold trials in sequence", async (world) => {
  // Rule 7: 2 is the default.
  const breaker = world.breaker({ failureThreshold: 1, cooldownMs: 1_000 });
  await fail(breaker);
  await world.sync();
  world.clock.advance(1_000);
  await succeed(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "HALF_OPEN");
  assertEquals(world.stored().state, "HALF_OPEN");
  await succeed(breaker);
  await world.sync();
  assertEquals(world.stored().state, "CLOSED");
});

onEverySetup("CircuitBreaker() gets a slot back from a neutral trial", async (world) => {
  // Rule 7, trap 11: neither closed nor reopened, and the next trial may run.
  const breaker = world.breaker({ ...TRIP, ignore: [RangeError] });
  await fail(breaker);
  await world.sync();
  world.clock.advance(1_000);
  await breaker.tryCall(() => Promise.reject(new RangeError()));
  await world.sync();
  const { state, halfOpen } = world.stored();
  assertEquals([state, halfOpen.inFlight, halfOpen.successes], ["HALF_OPEN", 0, 0]);
  await succeed(breaker);
  await world.sync();
  assertEquals(world.moves(), ["opened", "half_opened", "closed"]);
});

for (const [orphan, verdict] of [["success", "closed"], ["failure", "opened"]] as const) {
  onEverySetup(
    `CircuitBreaker() makes the transition that a dead isolate left due after a ${orphan}`,
    async (
      world,
    ) => {
      // Section 2: before the next trial runs, and announced by the isolate that requests it.
      const breaker = world.breaker({ ...TRIP, halfOpenMaxConcurrent: 2 });
      await fail(breaker);
      await world.sync();
      world.clock.advance(1_000);
      trialOfADeadIsolate(world, orphan);
      world.clock.advance(1);
      assertEquals(await admits(breaker), orphan === "success");
      await world.sync();
      assertEquals(world.moves(), ["opened", verdict]);
      assertEquals(world.stored().state, orphan === "success" ? "CLOSED" : "OPEN");
      assertEquals(world.stored().reopenCount, orphan === "success" ? 0 : 1);
    },
  );
}

onEverySetup(
  "CircuitBreaker() keeps the slot when the transition before its trial could not be made",
  async (world) => {
    // Section 2: the trial does not run, and its slot is requested again with its token.
    let away = false;
    const isolate = world.isolate({
      wrap: (store) =>
        intercept(store, (operation) => {
          if (away && operation === "transition") throw new Error("connection reset");
        }),
    });
    const breaker = isolate.make(TRIP);
    await fail(breaker);
    await world.sync();
    world.clock.advance(1_000);
    trialOfADeadIsolate(world, "success");
    away = true;
    assertEquals(await admits(breaker), false);
    assertEquals([world.stored().state, world.stored().halfOpen.inFlight], ["HALF_OPEN", 1]);
    away = false;
    world.clock.advance(1_000);
    await breaker.getState();
    assertEquals(await admits(breaker), true);
    await world.sync();
    assertEquals(world.moves(), ["opened", "closed"]);
  },
  REMOTE,
);

onEverySetup("CircuitBreaker() clears runs and windows on closing and keeps totals", async (
  world,
) => {
  // Rule 8.
  const breaker = world.breaker({ ...TRIP, failureThreshold: 3 });
  await succeed(breaker, 2);
  await fail(breaker, 3);
  await world.sync();
  // A trip keeps the evidence for inspection.
  const tripped = await breaker.getMetrics();
  assertEquals([tripped.consecutiveFailures, tripped.window.failures], [3, 3]);
  world.clock.advance(1_000);
  await succeed(breaker);
  await world.sync();
  const { metrics, closedAt, openedAt, openUntil } = await breaker.snapshot();
  assertEquals(metrics.consecutiveFailures, 0);
  assertEquals(metrics.window, { calls: 0, successes: 0, failures: 0, slow: 0 });
  assertEquals([metrics.totalSuccesses, metrics.totalFailures], [3, 3]);
  assertEquals([closedAt, openUntil], [new Date(world.clock.now()), null]);
  assert(openedAt !== null);
  await fail(breaker, 2);
  await world.sync();
  assertEquals(await breaker.getState(), "CLOSED");
});

onEverySetup("CircuitBreaker() opens once when all isolates find it due at once", async (world) => {
  // Section 2, trap 30: one isolate announces it.
  const breakers = Array.from({ length: 8 }, () => world.breaker({ ...TRIP, failureThreshold: 4 }));
  await Promise.all(breakers.map((breaker) => fail(breaker)));
  await world.sync();
  assertEquals(world.moves(), ["opened"]);
  assertEquals(world.stored().generation, 2);
  // The isolates that had admitted calls before sent all outcomes.
  assertEquals(world.stored().totals.failures, 8);
});

onEverySetup(
  "CircuitBreaker() does not change what an operator did after its decision",
  async (world) => {
    // Trap 21: a transition is a compare-and-set.
    const gate = Promise.withResolvers<void>();
    const held = (operation: string) => operation === "transition" ? gate.promise : undefined;
    const slow = world.isolate({ wrap: (store) => intercept(store, held) });
    const [here, operator] = [slow.make(TRIP), world.breaker(TRIP)];
    const failing = fail(here);
    await turn();
    await operator.reset();
    gate.resolve();
    await failing;
    await world.sync();
    assertEquals(world.stored().state, "CLOSED");
    assertEquals(world.told("opened", "reset"), ["reset"]);
  },
  REMOTE,
);

onEverySetup("a cooldown of 0 ms lets the next call be a trial", async (world) => {
  // Rule 6.
  const breaker = world.breaker({ failureThreshold: 1, successThreshold: 1, cooldownMs: 0 });
  await fail(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "HALF_OPEN");
  await fail(breaker);
  await world.sync();
  assertEquals(await breaker.getState(), "HALF_OPEN");
  assertEquals(await breaker.call(() => "fine"), "fine");
  await world.sync();
  assertEquals(world.moves(), ["opened", "half_opened", "opened", "half_opened", "closed"]);
});

function busy(retryAfter: string): Response {
  return new Response(null, { status: 503, headers: { "retry-after": retryAfter } });
}

/** A trial whose isolate recorded it and died before it could make the transition. */
function trialOfADeadIsolate(world: World, outcome: "success" | "failure"): void {
  const request = {
    id: "dead",
    at: world.clock.now(),
    shape: { windowMs: 120_000, windowSize: 0 },
  };
  const limits = { max: 2, leaseMs: 30_000 };
  world.store.acquire("a", { ...request, ...limits, token: "dead" });
  const { epoch, generation, began, policyHash } = world.stored();
  world.store.record("a", {
    ...request,
    id: "dead-record",
    epoch,
    generation,
    began,
    successes: outcome === "success" ? 1 : 0,
    failures: outcome === "failure" ? 1 : 0,
    rejected: 0,
    slow: 0,
    ageMs: 0,
    lease: "dead",
    policyHash,
  });
}
