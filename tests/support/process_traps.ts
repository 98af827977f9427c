/**
 * The traps of shared state between real processes, each an isolate, on the store's own clock.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { type CircuitOptions, createFuse, type Store } from "@fuse/edge";
import { type IsolateProcess, startIsolate, type Work } from "./isolate_process.ts";
import type { Consistency } from "./shared_world.ts";
import { scaled } from "./scale.ts";
import { turn } from "./setups.ts";

const PROCESSES = 4;
const CALLS = scaled(20, 100);

/** The address of the store, for the processes and for the test itself. */
export interface ProcessGround {
  /** The name of the store for a process: see `STORES` of `isolate_process.ts`. */
  readonly store: string;
  readonly where: string;
  /** The same store. */
  open(): Store;
}

/** Registers a test for each consistency. */
export function processTraps(name: string, ground: ProcessGround): void {
  for (const consistency of ["strong", "eventual"] as const) {
    Deno.test(
      `CircuitBreaker() counts, opens, tries and closes as one in 4 processes (${name}, ${consistency})`,
      async () => {
        await using stack = new AsyncDisposableStack();
        const isolates = Array.from(
          { length: PROCESSES },
          () => stack.use(startIsolate(ground.store, ground.where)),
        );
        await oneLife(isolates, ground.open(), consistency);
      },
    );
  }
}

async function oneLife(
  isolates: readonly IsolateProcess[],
  store: Store,
  consistency: Consistency,
): Promise<void> {
  const name = `shared-${consistency}`;
  const options: CircuitOptions = {
    consistency,
    strategy: "percentage_failures",
    percentageThreshold: 50,
    minimumThroughput: 3 * CALLS,
    cooldownMs: 50,
    halfOpenMaxConcurrent: 3,
    successThreshold: 3,
  };
  const all = <K extends keyof Work>(what: K, how: Work[K][0]) =>
    Promise.all(isolates.map((isolate) => isolate.ask(what, how)));
  const breaker = createFuse({ stores: { shared: store }, storeTimeoutMs: 30_000 }).make(
    name,
    options,
  );
  const stored = async () => (await breaker.snapshot()).metrics;
  const moves = async () => (await all("moves", {})).flat().toSorted();
  await all("make", { name, options });

  // Each of them sends at once, and nothing is lost or counted twice: a quarter fails.
  const ended = await all("call", { calls: CALLS, failures: CALLS / 4 });
  assertEquals(ended, Array(PROCESSES).fill({ ran: CALLS, rejected: 0 }));
  await all("flush", {});
  const { totalSuccesses, totalFailures, window } = await stored();
  assertEquals([totalSuccesses, totalFailures], [3 * CALLS, CALLS]);
  assertEquals([window.successes, window.failures], [3 * CALLS, CALLS]);

  // All of them trip it: their calls were admitted while it was closed, so that none of them is a
  // trial.
  const running = await all("begin", { calls: CALLS });
  assertEquals(running, Array(PROCESSES).fill({ admitted: CALLS }));
  await all("end", { failed: true });
  await all("flush", {});
  assertEquals(await moves(), ["opened"]);
  const tripped = await stored();
  assertEquals([tripped.totalSuccesses, tripped.totalFailures], [3 * CALLS, 5 * CALLS]);

  // All isolates know: one that still takes it for closed would run calls until it learned
  // otherwise.
  await all("look", {});
  // The cooldown passes on the store's clock. Reading moves nothing.
  while (await breaker.getState() !== "HALF_OPEN") await turn();
  let tried = 0;
  let admitted = 0;
  // An eventual isolate knows the store's clock by an answer that took a while, so that it may be
  // late.
  while (admitted === 0) {
    const trials = await all("begin", { calls: CALLS });
    tried += PROCESSES * CALLS;
    admitted = trials.reduce((sum, { admitted }) => sum + admitted, 0);
  }
  assertEquals(admitted, 3);
  assertEquals(await moves(), ["half_opened", "opened"]);
  await all("end", { failed: false });
  await all("flush", {});
  assertEquals(await moves(), ["closed", "half_opened", "opened"]);
  const closed = await stored();
  assertEquals([closed.totalSuccesses, closed.totalFailures, closed.totalRejected], [
    3 * CALLS + 3,
    5 * CALLS,
    tried - 3,
  ]);
  assertEquals(await breaker.getState(), "CLOSED");
}
