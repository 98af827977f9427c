import {
  assert,
  assertEquals,
  assertMatch,
  assertNotStrictEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { createFuse } from "../../mod.ts";
import type { Shape, Tally } from "../../src/shared/mod.ts";
import { FakeClock, type Faults, storeContract } from "../../src/testing/mod.ts";
import { chaos, memory, type MemoryStore, type OpeningStore } from "../support/drivers.ts";

const SHAPE: Shape = { windowMs: 10_000, windowSize: 10 };

Deno.test("FakeClock() begins at the start of a second, a minute and a day", () => {
  const begun = new FakeClock().now();
  assertEquals(new Date(begun).toISOString(), "2025-01-01T00:00:00.000Z");
});

Deno.test("FakeClock() begins at the given time, also at 0", () => {
  assertEquals(new FakeClock(0).now(), 0);
  assertEquals(new FakeClock(1_234).now(), 1_234);
});

Deno.test("FakeClock() stands still until it is moved", () => {
  const clock = new FakeClock(1_000);
  clock.advance(0);
  assertEquals([clock.now(), clock.now()], [1_000, 1_000]);
});

Deno.test("FakeClock() has a bound now", () => {
  const clock = new FakeClock(1_000);
  const { now } = clock;
  clock.advance(250);
  assertEquals(now(), 1_250);
});

Deno.test("FakeClock.set() goes forward and back", () => {
  const clock = new FakeClock(1_000);
  clock.set(5_000);
  assertEquals(clock.now(), 5_000);
  clock.set(400);
  assertEquals(clock.now(), 400);
});

Deno.test("FakeClock() refuses an invalid time, and does not move", () => {
  for (const ms of [-1, NaN, Infinity, -Infinity]) {
    assertThrows(() => new FakeClock(ms), RangeError, `"startMs" must be a finite number`);
    const clock = new FakeClock(1_000);
    assertThrows(() => clock.set(ms), RangeError, `at least 0, received ${ms}`);
    assertThrows(() => clock.advance(ms), RangeError, `at least 0, received ${ms}`);
    assertEquals(clock.now(), 1_000);
  }
});

Deno.test("chaos() simulates a remote store: shared, asynchronous, never live", () => {
  const inner = memory();
  const store = chaos(inner, {});
  assertEquals(store.traits, { ...inner.traits, shared: true });
  assertEquals(store.name, "chaos(memory)");
  assert(!("peek" in store));
  assert(store.read("a", { shape: SHAPE, at: 0 }) instanceof Promise);
});

Deno.test("chaos() without faults passes every operation on", async () => {
  const { store, inner } = wrap({});
  const request = { id: "t", at: 0, shape: SHAPE };
  const { snapshot } = await store.record("a", tally({ id: "r" }));
  const { epoch, generation, began, totals } = snapshot;
  assertEquals([epoch.startsWith("r"), totals.failures], [true, 1]);
  const changed = await store.transition("a", {
    ...request,
    ...{ to: "OPEN", event: "opened", cooldownMs: 1_000, reason: "test", actor: null },
    expected: { epoch, generation, began },
  });
  assertEquals([changed.won, changed.snapshot.state], [true, "OPEN"]);
  const acquired = await store.acquire("a", {
    ...{ ...request, id: "a" },
    ...{ token: "1", max: 1, leaseMs: 30_000 },
  });
  assertEquals([acquired.granted, acquired.moved], [false, false]);
  const override = { kind: "forced_open", until: null, reason: null, actor: "ada" } as const;
  assertEquals((await store.override("a", { ...request, id: "o", ...override })).won, true);
  const page = await store.list({ cursor: null, limit: 10, at: 0, shape: () => SHAPE });
  assertEquals([page.records.length, page.cursor], [1, null]);
  assertEquals(page.records[0]!.snapshot, await store.read("a", { shape: SHAPE, at: 0 }));
  const restore = {
    record: page.records[0]!,
    existing: "replace",
    reason: null,
    actor: null,
  } as const;
  assertEquals((await store.restore("b", { ...request, id: "i", ...restore })).won, true);
  assertEquals(await store.remove("a"), true);
  assertEquals(await store.remove("a"), false);
  assertEquals(inner.peek("a"), undefined);
  assertEquals(inner.peek("b")?.override?.actor, "ada");
});

Deno.test("chaos() answers with copies, and only the contract's fields", async () => {
  const { store, inner } = wrap({});
  const first = await store.record("a", tally());
  const read = await store.read("a", { shape: SHAPE, at: 0 });
  await store.record("a", tally());
  assertEquals([first.snapshot.totals.failures, read.totals.failures], [1, 1]);
  const live = inner.peek("a")!;
  const { snapshot } = await store.record("a", tally());
  assertNotStrictEquals(snapshot, live);
  for (const part of ["totals", "window", "sinceClosed", "last", "halfOpen"] as const) {
    assertNotStrictEquals(snapshot[part], live[part], part);
  }
});

Deno.test("chaos() copies its arguments", async () => {
  const { store } = wrap({ latencyMs: 1 });
  const sent = { ...tally({ failures: 1 }) };
  const answer = store.record("a", sent);
  sent.failures = 0;
  assertEquals((await answer).snapshot.totals.failures, 1);
});

Deno.test("chaos({ errorRate }) rejects without applying", async () => {
  const { store, failures } = wrap({ errorRate: 1 });
  const error = await assertRejects(() => record(store), Error);
  assertMatch(
    error.message,
    /^Injected fault: record on store "memory" failed and was not applied$/,
  );
  assertEquals(failures(), 0);
});

Deno.test("chaos({ lostAnswerRate }) applies and then rejects", async () => {
  const { store, failures } = wrap({ lostAnswerRate: 1 });
  await assertRejects(() => record(store), Error, "was applied, but its answer was lost");
  assertEquals(failures(), 1);
});

Deno.test("chaos({ timeoutRate }) neither applies nor answers", async () => {
  const { store, failures } = wrap({ timeoutRate: 1 });
  let answered = false;
  record(store).finally(() => answered = true);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals([answered, failures()], [false, 0]);
});

Deno.test("chaos({ duplicateRate }) sends an id twice, which counts once", async () => {
  const { store, inner, requests } = wrap({ duplicateRate: 1 });
  const { current, snapshot } = await store.record("a", tally());
  assertEquals([current, snapshot.totals.failures], [true, 1]);
  assertEquals(inner.peek("a")?.totals.failures, 1);
  assertEquals(requests(), ["record", "record"]);
});

Deno.test('chaos({ duplicateRate }) sends the id "" once', async () => {
  const { store, requests } = wrap({ duplicateRate: 1 });
  await store.record("a", tally({ id: "" }));
  assertEquals(requests(), ["record"]);
});

Deno.test("chaos({ duplicateRate }) still answers that a circuit was removed", async () => {
  const { store } = wrap({ duplicateRate: 1 });
  await store.record("a", tally());
  assertEquals(await store.remove("a"), true);
  assertEquals(await store.remove("a"), false);
});

Deno.test("chaos({ staleReadRate }) answers a read with an earlier answer", async () => {
  const { store } = wrap({ staleReadRate: 1 });
  const unknown = await store.read("a", { shape: SHAPE, at: 0 });
  assertEquals(unknown.totals.failures, 0, "nothing was answered before: read as usual");
  for (let i = 0; i < 3; i++) await store.record("a", tally());
  const heard = new Set<number>();
  for (let i = 0; i < 50; i++) {
    heard.add((await store.read("a", { shape: SHAPE, at: 0 })).totals.failures);
  }
  assertEquals([...heard].sort(), [0, 1, 2, 3]);
  assertEquals((await store.read("b", { shape: SHAPE, at: 0 })).totals.failures, 0);
});

Deno.test("chaos({ staleReadRate }) does not say which tallies an earlier answer contains", async () => {
  const { store } = wrap({ staleReadRate: 1 });
  const read = (id: string) => store.read("a", { shape: SHAPE, at: 0, unconfirmed: [id] });
  assertEquals((await read("a tally")).holds, [], "nothing was answered before: read as usual");
  const { holds, totals } = await read("another");
  assertEquals([holds, totals.failures], [undefined, 0]);
});

Deno.test("chaos({ staleReadRate }) never shows the record's own answer stale", async () => {
  const { store } = wrap({ staleReadRate: 1 });
  for (let i = 1; i <= 10; i++) {
    assertEquals((await store.record("a", tally())).snapshot.totals.failures, i);
  }
});

Deno.test("chaos({ down }) rejects every operation while the store is down", async () => {
  let down = true;
  const { store, requests } = wrap({ down: () => down });
  const request = { id: "x", at: 0, shape: SHAPE };
  const who = { reason: null, actor: null };
  const operations: Record<string, () => unknown> = {
    read: () => store.read("a", request),
    record: () => record(store),
    acquire: () => store.acquire("a", { ...request, token: "1", max: 1, leaseMs: 1 }),
    transition: () =>
      store.transition("a", {
        ...{ ...request, ...who, reason: "test", expected: null },
        ...{ to: "OPEN", event: "opened", cooldownMs: 1 },
      }),
    override: () => store.override("a", { ...request, ...who, kind: "disabled", until: null }),
    list: () => store.list({ cursor: null, limit: 1, at: 0, shape: () => SHAPE }),
    remove: () => store.remove("a"),
  };
  for (const [name, operation] of Object.entries(operations)) {
    await assertRejects(
      async () => await operation(),
      Error,
      `Injected fault: ${name} on store "memory" was not applied: the store is down`,
    );
  }
  assertEquals(requests(), []);
  down = false;
  for (const operation of Object.values(operations)) await operation();
  assertEquals(requests(), Object.keys(operations));
});

Deno.test("chaos({ down }) rejects pending operations when the store goes down", async () => {
  let down = false;
  const { store, failures } = wrap({ latencyMs: 2, down: () => down });
  const answer = record(store);
  down = true;
  await assertRejects(() => answer, Error, "the store is down");
  assertEquals(failures(), 0);
});

Deno.test("chaos() passes a trail on, as one operation that may fail", async () => {
  const row = {
    ...{ key: "a", id: "1", cursor: "1", event: "opened", at: new Date(0), metadata: null },
  } as const;
  let down = false;
  const audited = Object.assign(memory(), {
    async *history() {
      yield row;
    },
  });
  const store = chaos(audited, { down: () => down });
  assertEquals(await Array.fromAsync(store.history!({})), [row]);
  down = true;
  await assertRejects(() => Array.fromAsync(store.history!({})), Error, "history on store");
  assertEquals(chaos(memory(), {}).history, undefined);
});

Deno.test("chaos() lets a store deliver rows for another", async () => {
  const flushed: unknown[] = [];
  const keeping = Object.assign(memory(), {
    flush(request: { at: number }) {
      flushed.push(request);
      return [];
    },
  });
  assertEquals(await chaos(keeping, { errorRate: 1 }).flush!({ at: 5 }), []);
  assertEquals([flushed, chaos(memory(), {}).flush], [[{ at: 5 }], undefined]);
});

Deno.test("chaos({ latencyMs }) lets answers overtake one another", async () => {
  const latencies = [5, 0];
  const { store } = wrap({ latencyMs: () => latencies.shift()! });
  const order: string[] = [];
  await Promise.all([
    record(store).then(() => order.push("slow")),
    record(store).then(() => order.push("fast")),
  ]);
  assertEquals(order, ["fast", "slow"]);
});

Deno.test("chaos({ latencyMs }) applies half-way between request and answer", async () => {
  const { store, failures } = wrap({ latencyMs: 2 });
  const answer = record(store);
  assertEquals(failures(), 0, "not yet");
  await answer;
  assertEquals(failures(), 1);
});

Deno.test("chaos({ seed }) draws the same faults for the same seed", async () => {
  const pattern = async (faults: Faults) => {
    const { store } = wrap({ ...faults, errorRate: 0.5 });
    let drawn = "";
    for (let i = 0; i < 64; i++) drawn += await record(store).then(() => "S", () => "F");
    return drawn;
  };
  assertEquals(await pattern({ seed: 7 }), await pattern({ seed: 7 }));
  assertEquals(await pattern({}), await pattern({ seed: 1 }));
  assert(await pattern({ seed: 7 }) !== await pattern({ seed: 8 }));
});

Deno.test("chaos({ errorRate }) fails that share of the operations", async () => {
  const { store } = wrap({ errorRate: 0.2 });
  let failed = 0;
  for (let i = 0; i < 5_000; i++) await record(store).catch(() => failed++);
  // The seed is fixed: the result is one number, near 1000.
  assert(failed > 900 && failed < 1_100, `${failed} of 5000 failed`);
});

Deno.test("chaos() refuses invalid rates, and an invalid seed", () => {
  const rates = ["errorRate", "timeoutRate", "lostAnswerRate", "duplicateRate", "staleReadRate"];
  for (const name of rates) {
    for (const rate of [-0.1, 1.1, NaN]) {
      const message = `"${name}" must be a number from 0 to 1, received ${rate}`;
      assertThrows(() => chaos(memory(), { [name]: rate }), RangeError, message);
    }
  }
  for (const latencyMs of [-1, NaN, Infinity]) {
    assertThrows(() => chaos(memory(), { latencyMs }), RangeError, '"latencyMs" must be');
  }
  assertThrows(() => chaos(memory(), { seed: 0.5 }), RangeError, '"seed" must be an integer');
});

Deno.test("chaos({ latencyMs }) rejects when its function returns an invalid value", async () => {
  const { store, failures } = wrap({ latencyMs: () => NaN });
  await assertRejects(() => record(store), RangeError, "received NaN");
  assertEquals(failures(), 0);
});

Deno.test("storeContract() names every case once", () => {
  const names = storeContract(() => memory()).map(({ name }) => name);
  assert(names.length > 0);
  assertEquals(new Set(names).size, names.length);
});

Deno.test("storeContract() creates a store for each case, with a clock of its own", async () => {
  const clocks = new Set<unknown>();
  const cases = storeContract(({ clock }) => {
    clocks.add(clock);
    return memory({ clock });
  }).slice(0, 3);
  for (const { run } of cases) await run();
  assertEquals(clocks.size, 3);
});

Deno.test("storeContract() removes its circuits", async () => {
  const store = memory({ clock: new FakeClock().now });
  for (const { run } of storeContract(() => store)) await run().catch(() => {});
  const page = await store.list({ cursor: null, limit: 100, at: 0, shape: () => SHAPE });
  assertEquals(page.records.map(({ key }) => key), []);
});

Deno.test("storeContract() leaves out cases that need a trait that the store lacks", async () => {
  const needy = storeContract(() => memory()).filter(({ needs }) => needs === "shared");
  assert(needy.length > 0);
  for (const { run } of needy) await run();
});

Deno.test("storeContract() names the expected and the received value", async () => {
  const forgetful = ({ clock }: { clock: () => number }): OpeningStore => {
    const inner = memory({ clock });
    return Object.assign(Object.create(inner), {
      name: inner.name,
      traits: inner.traits,
      read: inner.read.bind(inner),
      remove: inner.remove.bind(inner),
      list: inner.list.bind(inner),
      record: (key: string, tally: Tally) => inner.record(key, { ...tally, successes: 0 }),
    });
  };
  const { run } = storeContract(forgetful).find(({ name }) =>
    name === "record() counts the successes of a tally before its failure"
  )!;
  const error = await assertRejects(run, Error);
  assertMatch(error.message, /^the run, "consecutiveFailures": expected 1, received 2$/);
});

let ids = 0;

function tally(parts: Partial<Tally> = {}): Tally {
  return {
    ...{ id: `tally-${++ids}`, at: 0, shape: SHAPE, epoch: "", generation: 0, began: 0 },
    ...{ successes: 0, failures: 1, rejected: 0, slow: 0, ageMs: 0, lease: null, policyHash: "" },
    ...parts,
  };
}

/** Always a promise, so that a test can chain. */
async function record(store: OpeningStore): Promise<unknown> {
  return await store.record("a", tally());
}

/** A memory store behind faults, and the requests that reached it. */
function wrap(faults: Faults): {
  store: OpeningStore;
  inner: MemoryStore;
  failures: () => number;
  requests: () => string[];
} {
  const inner = memory({ clock: new FakeClock().now });
  const reached: string[] = [];
  const spied = new Proxy(inner, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        reached.push(String(name));
        return value.apply(target, args);
      };
    },
  });
  return {
    store: chaos(spied, faults),
    inner,
    failures: () => inner.peek("a")?.totals.failures ?? 0,
    requests: () => reached,
  };
}

Deno.test("createFuse() uses the Date.now of the moment when timers are faked after it", async () => {
  const fuse = createFuse();
  const api = fuse.make("api", { failureThreshold: 1, cooldownMs: 30_000 });
  await api.tryCall(() => Promise.reject(new Error("no answer")));
  const real = Date.now;
  try {
    Date.now = () => real() + 30_000; // as vitest's and Jest's fake timers do
    assertEquals(await api.getState(), "HALF_OPEN");
  } finally {
    Date.now = real;
  }
});
