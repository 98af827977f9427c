import fc from "fast-check";
import { memory } from "@fuse/edge";
import { chaos, type FakeClock } from "@fuse/edge/testing";
import type { Store } from "../src/store.ts";
import { print, type Session, sessions } from "./model/commands.ts";
import { race } from "./model/race.ts";
import { watched } from "./model/watched.ts";
import { type Ground, play } from "./model/world.ts";

/**
 * The same sessions each time, so that a red gate is red for all. `MODEL_SEED=random` (or a number)
 * and `MODEL_RUNS=5000` look further; a failure prints seed and path, which replay it when given as
 * `MODEL_SEED` and `MODEL_PATH`.
 */
const SEED = seedOf(Deno.env.get("MODEL_SEED"));
const RUNS = Number(Deno.env.get("MODEL_RUNS") ?? 300);
const PATH = Deno.env.get("MODEL_PATH");

Deno.test("CircuitBreaker() agrees with the model when isolates share a memory store", async () => {
  await check({ alone: false, clockGoesBack: true }, (clock) => ({
    store: memory({ clock: clock.now }),
    options: {},
    agreement: "exact",
  }));
});

Deno.test("CircuitBreaker() agrees with the model when strong over a remote store", async () => {
  await check({ alone: false, clockGoesBack: true }, (clock) => ({
    store: chaos(watched(memory({ clock: clock.now })), {}),
    options: { consistency: "strong" },
    agreement: "exact",
  }));
});

Deno.test("CircuitBreaker() agrees with the model when eventual and alone on its store", async () => {
  await check({ alone: true, clockGoesBack: false }, (clock) => ({
    store: chaos(watched(memory({ clock: clock.now })), {}),
    options: { consistency: "eventual", flushSize: 4 },
    agreement: "exact",
    settle: true,
  }));
});

Deno.test("CircuitBreaker() accounts for every call when eventual over a remote store", async () => {
  await check({ alone: false, clockGoesBack: false }, (clock) => ({
    store: chaos(watched(memory({ clock: clock.now })), {}),
    options: { consistency: "eventual", flushSize: 4 },
    agreement: "settled",
  }));
});

Deno.test("CircuitBreaker() never does what it must not when the store fails", async () => {
  await check({ alone: false, clockGoesBack: false }, (clock, { faults: seed }) => {
    const record = watched(memory({ clock: clock.now }));
    const network = breakable(
      chaos(record, {
        seed,
        errorRate: 0.1,
        lostAnswerRate: 0.1,
        duplicateRate: 0.1,
        staleReadRate: 0.1,
      }),
      chaos(record, {}),
    );
    return {
      store: network.store,
      options: { consistency: seed % 2 === 0 ? "eventual" : "strong", flushSize: 4 },
      agreement: "faulty",
      heal: network.heal,
    };
  });
});

for (const consistency of ["eventual", "strong"] as const) {
  Deno.test(`CircuitBreaker() adds up when everything overlaps and it is ${consistency}`, async () => {
    const shape = { alone: false, clockGoesBack: false };
    await verify(shape, (session) => race(session, consistency));
  });
}

function check(
  shape: { alone: boolean; clockGoesBack: boolean },
  ground: (clock: FakeClock, session: Session) => Ground,
): Promise<void> {
  return verify(shape, (session) => play(session, ground));
}

function verify(
  shape: { alone: boolean; clockGoesBack: boolean },
  run: (session: Session) => Promise<void>,
): Promise<void> {
  const property = fc.asyncProperty(sessions({ maxCommands: 100, ...shape }), async (session) => {
    try {
      await run(session);
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      throw new Error(`${what}\n${print(session)}`, { cause: error });
    }
  });
  return fc.assert(property, {
    seed: SEED,
    numRuns: RUNS,
    includeErrorInReport: true,
    ...(PATH === undefined ? {} : { path: PATH }),
  });
}

function seedOf(given: string | undefined): number {
  if (given === "random") return Math.floor(Math.random() * 2 ** 31);
  return given === undefined ? 20_251_123 : Number(given);
}

/** One store that stands for another until it is healed. */
function breakable(broken: Store, whole: Store): { store: Store; heal: () => void } {
  let at = broken;
  return {
    heal: () => {
      at = whole;
    },
    store: {
      name: broken.name,
      traits: broken.traits,
      read: (key, request) => at.read(key, request),
      record: (key, tally) => at.record(key, tally),
      acquire: (key, request) => at.acquire(key, request),
      transition: (key, request) => at.transition(key, request),
      override: (key, request) => at.override(key, request),
      restore: (key, request) => at.restore(key, request),
      list: (request) => at.list(request),
      remove: (key) => at.remove(key),
    },
  };
}
