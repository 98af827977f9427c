import { race } from "./race.ts";
import { check, verify } from "./verify.ts";
import { watched } from "./watched.ts";
import { chaos, CIRCUITS, memory, type OpeningStore, SHARED } from "../../support/drivers.ts";

Deno.test("CircuitBreaker() agrees with the model when isolates share a memory store", async () => {
  await check({ alone: false, clockGoesBack: true }, (clock) => ({
    store: memory({ clock: clock.now }),
    options: {},
    agreement: "exact",
  }));
});

Deno.test("CircuitBreaker() agrees with the model when consistency is strong over a remote store", async () => {
  await check({ alone: false, clockGoesBack: true }, (clock) => ({
    store: chaos(watched(memory({ clock: clock.now })), {}),
    options: { consistency: "strong" },
    agreement: "exact",
    // Successes are recorded in the background.
    settle: true,
  }));
});

Deno.test("CircuitBreaker() agrees with the model when consistency is eventual and the isolate alone on its store", async () => {
  await check({ alone: true, clockGoesBack: false }, (clock) => ({
    store: chaos(watched(memory({ clock: clock.now })), {}),
    options: { consistency: "eventual", flushSize: 4 },
    agreement: "exact",
    settle: true,
  }));
});

Deno.test("CircuitBreaker() accounts for every call when consistency is eventual over a remote store", async () => {
  await check({ alone: false, clockGoesBack: false }, (clock) => ({
    store: chaos(watched(memory({ clock: clock.now })), {}),
    options: { consistency: "eventual", flushSize: 4 },
    agreement: "settled",
  }));
});

Deno.test("CircuitBreaker() never violates a promise when the store fails", async () => {
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
  Deno.test(`CircuitBreaker() adds up when everything overlaps and consistency is ${consistency}`, async () => {
    const shape = { alone: false, clockGoesBack: false };
    await verify(shape, (session) => race(session, consistency));
  });
}

/** A store that another one replaces until it is healed. */
function breakable(
  broken: OpeningStore,
  whole: OpeningStore,
): { store: OpeningStore; heal: () => void } {
  let at = broken;
  return {
    heal: () => {
      at = whole;
    },
    store: {
      [CIRCUITS]: SHARED,
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
