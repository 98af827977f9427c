// Answers in another order than their requests, and the limits of a late one's effect.
import { assertEquals } from "@std/assert";
import { type CircuitBreaker, createFuse } from "@fuse/edge";
import { FakeClock } from "@fuse/edge/testing";
import { fail, intercept, interceptAnswers, succeed, turn } from "../../support/setups.ts";
import { chaos, memory, type OpeningStore } from "../../support/drivers.ts";

const SHAPE = { windowMs: 120_000, windowSize: 0 };
const OPTIONS = { failureThreshold: 2, flushSize: 1, cooldownMs: 10_000 } as const;

/**
 * A view of a circuit whose next read can be delayed, on its way there or back, and another
 * isolate.
 */
async function scene() {
  const clock = new FakeClock();
  const store = memory({ clock: clock.now });
  const asked: string[] = [];
  let held: { way: "there" | "back"; gate: Promise<void> } | null = null;
  const hold = (way: "there" | "back", operation: string) => {
    if (operation !== "read" || held?.way !== way) return;
    const { gate } = held;
    held = null;
    return gate;
  };
  const line = intercept(
    interceptAnswers(chaos(store, {}), (operation) => hold("back", operation)),
    (operation) => {
      asked.push(operation);
      return hold("there", operation);
    },
  );
  const make = (remote: OpeningStore): [CircuitBreaker, () => Promise<void>] => {
    const fuse = createFuse({ stores: { remote }, clock: clock.now });
    return [fuse.make("a", OPTIONS), () => fuse.flush()];
  };
  const [breaker, flush] = make(line);
  const [other, flushOther] = make(chaos(store, {}));
  await succeed(breaker);
  await flush();
  return {
    ...{ clock, store, asked, breaker, other, flush, flushOther },
    /** Sends now, and receives the answer after the work meanwhile. */
    async late(meanwhile: () => Promise<void>, way: "there" | "back" = "back"): Promise<void> {
      const gate = Promise.withResolvers<void>();
      held = { way, gate: gate.promise };
      const read = breaker.getState();
      await turn();
      await meanwhile();
      gate.resolve();
      await read;
    },
  };
}

Deno.test("View() ignores an older answer when it knows fewer calls", async () => {
  const { breaker, late, flush } = await scene();
  await late(async () => {
    await fail(breaker);
    await flush();
  });
  assertEquals(breaker.peek().metrics.totalFailures, 1);
});

Deno.test("an older request's answer is accepted when it has more rejections", async () => {
  const { breaker, late, flush, other, flushOther } = await scene();
  await fail(breaker, 2);
  await flush();
  await other.getState();
  await late(async () => {
    await breaker.getState();
    await succeed(other, 3);
    await flushOther();
  }, "there");
  assertEquals(breaker.peek().metrics.totalRejected, 3);
});

Deno.test("View() ignores an older answer when it is of an earlier generation", async () => {
  const { breaker, late, flush } = await scene();
  await late(async () => {
    await fail(breaker, 2);
    await flush();
  });
  assertEquals(breaker.peek().state, "OPEN");
});

Deno.test("View() ignores an older answer when it is of an earlier life", async () => {
  const { breaker, late, flush, store } = await scene();
  await fail(breaker, 2);
  await flush();
  await late(async () => {
    await store.remove("a");
    await breaker.getState();
    await succeed(breaker);
    await flush();
  });
  assertEquals(breaker.peek().state, "CLOSED");
});

Deno.test("View() ignores an older answer when it knows as many calls", async () => {
  // A taken slot is no call yet.
  const { breaker, late, flush, clock, asked } = await scene();
  await fail(breaker, 2);
  await flush();
  clock.advance(10_000);
  await (await breaker.admit()).ignore();
  await flush();
  await late(async () => {
    await breaker.admit();
  });
  asked.length = 0;
  await succeed(breaker);
  assertEquals(asked, []);
});

Deno.test("record() leads to no transition when the outcome is late", async () => {
  // Rule 5: the transition became due by another call, and this call has nothing to do with it.
  const { breaker, flush, other, flushOther, store, clock, asked } = await scene();
  const permit = await breaker.admit();
  await fail(other, 2);
  await flushOther();
  await other.reset();
  const { epoch, generation, began, policyHash } = await store.read("a", { at: 0, shape: SHAPE });
  await store.record("a", {
    ...{ id: "dead", at: clock.now(), shape: SHAPE, epoch, generation, began, policyHash },
    ...{ successes: 0, failures: 2, rejected: 0, slow: 0, ageMs: 0, lease: null },
  });
  asked.length = 0;
  await permit.failure(new Error("down"));
  await flush();
  assertEquals(asked, ["record"]);
  await breaker.getState();
  assertEquals(breaker.peek().state, "CLOSED");
});
