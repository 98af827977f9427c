/** The identity of a circuit: lives, generations, and requests that arrive twice. */

import type { Admission, Snapshot } from "../contract.ts";
import { admissionOf, ID_MEMORY_MS, TOTALS_ONLY } from "../records.ts";
import {
  equal,
  halfOpened,
  includes,
  ok,
  opened,
  type Scenario,
  type Subject,
  unique,
} from "./contract_subject.ts";

export const IDENTITY: readonly Scenario[] = [
  {
    name: "read() returns a closed circuit when there is none, and creates nothing",
    async run(subject) {
      for (const time of ["first", "second"]) {
        const snapshot = await subject.read();
        equal(snapshot, absentAt(subject.clock.now()), `the ${time} read of an absent circuit`);
      }
      equal(await subject.listed(), [], "the list after an absent circuit was read");
      equal(await subject.remove(), false, "remove() after an absent circuit was read");
    },
  },
  {
    name: "acquire() grants when there is no circuit, and creates nothing",
    async run(subject) {
      const answer = await subject.acquire();
      includes(answer, { granted: true, moved: false }, "acquire() of an absent circuit");
      equal(answer.snapshot, absentAt(subject.clock.now()), "its Snapshot");
      equal(await subject.read(), absentAt(subject.clock.now()), "the read after it");
      equal(await subject.listed(), [], "the list after it");
    },
  },
  {
    name: "record() creates the circuit with the id of its request as epoch, in generation 1",
    async run(subject) {
      const id = unique();
      const { current, snapshot } = await subject.record({ id, successes: 1 });
      equal(current, true, "whether the outcome that creates a circuit is current");
      includes(snapshot, { generation: 1, state: "CLOSED" }, "the new circuit");
      ok(snapshot.epoch.startsWith(id), "its epoch is the id, or begins with it");
      const { epoch } = snapshot;
      includes(await subject.read(), { epoch, generation: 1 }, "the read after it");
    },
  },
  {
    name:
      "record() creates a circuit for an outcome of an earlier life, and adds the outcome to totals only",
    async run(subject) {
      const id = unique();
      const tally = { id, epoch: unique(), generation: 1, failures: 1 };
      const { current, snapshot } = await subject.record(tally);
      equal(current, false, "whether an outcome of another life is current");
      includes(snapshot, { generation: 1, consecutiveFailures: 0 }, "the new circuit");
      ok(snapshot.epoch.startsWith(id), "its epoch is the id, or begins with it");
      equal(snapshot.totals.failures, 1, "its lifetime failures");
    },
  },
  {
    name: 'record() counts an outcome admitted under epoch "" in generation 1, and in no later one',
    async run(subject) {
      const unknown = { epoch: "", generation: 0, began: 0 };
      await subject.record({ ...unknown, failures: 1 });
      const second = await subject.record({ ...unknown, failures: 1 });
      equal(second.current, true, "whether the second isolate's first outcome is current");
      equal(second.snapshot.consecutiveFailures, 2, "the run after both");
      await subject.trip();
      const third = await subject.record({ ...unknown, failures: 1 });
      equal(third.current, false, 'whether epoch "" is current in generation 2');
      equal(third.snapshot.consecutiveFailures, 2, "the run in generation 2");
      equal(third.snapshot.totals.failures, 3, "the lifetime failures");
    },
  },
  {
    name: "record() adds to lifetime totals only when the generation is stale",
    async run(subject) {
      const { snapshot } = await subject.record({ successes: 2, failures: 1 });
      await opened(subject);
      const { epoch, generation, began } = snapshot;
      await feedsTotalsOnly(subject, { epoch, generation, began });
    },
  },
  {
    name:
      "record() adds to lifetime totals only when the epoch differs, though the generation agrees",
    async run(subject) {
      const { snapshot: before } = await subject.record({ failures: 1 });
      equal(await subject.remove(), true, "remove() of a circuit that is there");
      subject.seen = { epoch: "", generation: 0, began: 0 };
      const { snapshot: reborn } = await subject.record({ successes: 1 });
      equal(reborn.generation, before.generation, "the generation after rebirth");
      ok(reborn.epoch !== before.epoch, "a circuit that is reborn has another epoch");
      await feedsTotalsOnly(subject, { ...admissionOf(reborn), epoch: before.epoch });
    },
  },
  {
    name: "record() adds to lifetime totals only when the generation began at another moment",
    async run(subject) {
      // The state after a store was restored: the number exists again.
      await subject.record({ failures: 1 });
      const { snapshot } = await opened(subject);
      const { epoch, generation, began } = snapshot;
      await feedsTotalsOnly(subject, { epoch, generation, began: began - 1_000 });
      await feedsTotalsOnly(subject, { epoch, generation, began: began + 1 });
    },
  },
  {
    name: "a generation begins at the time of the request that begins it, and keeps that time",
    async run(subject) {
      const began: number[] = [];
      const note = (said: Snapshot) => began.push(said.began);
      const from = subject.clock.now();
      note((await subject.record({ failures: 1 })).snapshot);
      subject.clock.advance(1_000);
      note((await subject.record({ failures: 1 })).snapshot);
      note((await subject.trip({ cooldownMs: 1_000 })).snapshot);
      subject.clock.advance(1_000);
      note(await subject.read());
      note((await subject.acquire()).snapshot);
      subject.clock.advance(1_000);
      note((await subject.override("disabled")).snapshot);
      subject.clock.advance(1_000);
      note((await subject.release()).snapshot);
      subject.clock.advance(1_000);
      note((await subject.reset()).snapshot);
      note(await subject.read());
      const after = [0, 0, 1_000, 1_000, 2_000, 3_000, 4_000, 5_000, 5_000];
      equal(began.map((at) => at - from), after, "the moments, in ms after the first");
    },
  },
  {
    name: "record() adds to lifetime totals only when the generation is TOTALS_ONLY",
    async run(subject) {
      const { snapshot } = await subject.record({ successes: 2, failures: 1 });
      await feedsTotalsOnly(subject, { ...admissionOf(snapshot), generation: TOTALS_ONLY });
      await feedsTotalsOnly(subject, { epoch: "", generation: TOTALS_ONLY, began: 0 });
    },
  },
  {
    name: "record() does not change half-open counts when the generation is stale",
    async run(subject) {
      const { snapshot } = await subject.record({ successes: 1 });
      await halfOpened(subject, unique());
      const { epoch, generation, began } = snapshot;
      await feedsTotalsOnly(subject, { epoch, generation, began });
    },
  },
  {
    name: "record() counts an id once when it arrives twice",
    async run(subject) {
      const once = { id: unique(), successes: 2, failures: 1, rejected: 4, slow: 1 };
      const first = await subject.record({ ...once, epoch: "", generation: 0, began: 0 });
      const second = await subject.record({ ...once, epoch: "", generation: 0, began: 0 });
      equal(second.current, true, "whether it was current, told again");
      equal(countsOf(second.snapshot), countsOf(first.snapshot), "the counts after the second");
    },
  },
  {
    name: "record() repeats whether an id was current, whatever has happened to the circuit since",
    async run(subject) {
      const counted = { id: unique(), epoch: "", generation: 0, began: 0, failures: 1 };
      const { snapshot: first } = await subject.record(counted);
      await subject.trip();
      const late = { id: unique(), epoch: first.epoch, generation: 1, failures: 1 };
      equal((await subject.record(late)).current, false, "whether a late outcome is current");
      equal((await subject.record(counted)).current, true, "the current one, told again");
      const { current, snapshot } = await subject.record(late);
      equal(current, false, "the late one, told again");
      equal(snapshot.totals.failures, 2, "the lifetime failures of two ids sent four times");
    },
  },
  {
    name: "record() remembers the ids of a busy circuit for ID_MEMORY_MS",
    async run(subject) {
      const oldest = { id: unique(), epoch: "", generation: 0, began: 0, failures: 1 };
      await subject.record(oldest);
      await Promise.all(Array.from({ length: 150 }, () => subject.record({ successes: 1 })));
      subject.clock.advance(ID_MEMORY_MS - 1);
      await subject.record({ successes: 1 });
      const { snapshot } = await subject.record(oldest);
      equal(snapshot.totals.failures, 1, "the lifetime failures after 150 other ids and 59999 ms");
    },
  },
  {
    name: "record() remembers an id when its clock was set back",
    async run(subject) {
      const once = { id: unique(), epoch: "", generation: 0, began: 0, failures: 1 };
      await subject.record(once);
      subject.clock.set(subject.clock.now() - 3_600_000);
      await subject.record({ successes: 1 });
      const { snapshot } = await subject.record(once);
      equal(snapshot.totals.failures, 1, "the lifetime failures of an id sent twice");
    },
  },
  {
    name: "transition() repeats that an id won, and changes nothing",
    async run(subject) {
      await subject.record({ failures: 1 });
      const { epoch, generation, began } = subject.seen;
      const once = { id: unique(), expected: { epoch, generation, began } };
      const first = await subject.trip(once);
      equal(first.won, true, "whether it won");
      subject.clock.advance(1_000);
      const second = await subject.trip(once);
      equal(second.won, true, "whether it won, told again");
      const { openUntil } = first.snapshot;
      includes(second.snapshot, { generation: 2, openUntil }, "the circuit after the second");
    },
  },
  {
    name: "transition() without an expectation changes nothing when its id arrives twice",
    async run(subject) {
      await opened(subject);
      const once = { id: unique(), reason: "operator" };
      equal((await subject.reset(once)).won, true, "whether it won");
      const { snapshot } = await subject.record({ failures: 1 });
      const second = await subject.reset(once);
      equal(second.won, true, "whether it won, told again");
      const { generation, consecutiveFailures } = snapshot;
      includes(
        second.snapshot,
        { generation, consecutiveFailures },
        "the circuit after the second",
      );
    },
  },
  {
    name: "acquire() repeats that an id moved the circuit, and decides again whether to grant",
    async run(subject) {
      await opened(subject);
      subject.clock.advance(60_000);
      const once = { id: unique(), token: unique() };
      includes(await subject.acquire(once), { granted: true, moved: true }, "the first");
      const again = await subject.acquire(once);
      includes(again, { granted: true, moved: true }, "the second, while the trial runs");
      includes(again.snapshot, { generation: 3 }, "the circuit after the second");
      equal(again.snapshot.halfOpen.inFlight, 1, "the trials in flight after the second");
      await subject.record({ lease: once.token });
      includes(await subject.acquire(once), { granted: false, moved: true }, "the third, after it");
    },
  },
  {
    name: "acquire() does not move the circuit a second time when its id arrives twice",
    async run(subject) {
      await opened(subject);
      subject.clock.advance(60_000);
      const once = { id: unique(), token: unique() };
      includes(await subject.acquire(once), { granted: true, moved: true }, "the first");
      await subject.trip({ cooldownMs: 1_000 });
      subject.clock.advance(1_000);
      const again = await subject.acquire(once);
      includes(again, { granted: false, moved: true }, "the second, after the next cooldown");
      includes(again.snapshot, { state: "OPEN", generation: 4 }, "the circuit after the second");
      includes(await subject.acquire(), { granted: true, moved: true }, "another one");
    },
  },
  {
    name: "override() repeats that an id won, and changes nothing",
    async run(subject) {
      await subject.record({ failures: 1 });
      const once = { id: unique() };
      equal((await subject.override("metrics_only", once)).won, true, "whether it won");
      await subject.record({ failures: 1 });
      const { won, snapshot } = await subject.override("metrics_only", once);
      equal(won, true, "whether it won, told again");
      includes(snapshot, { generation: 2, consecutiveFailures: 1 }, "the circuit after the second");
    },
  },
  {
    name: "remove() deletes a circuit, and returns whether there was one",
    async run(subject) {
      await subject.record({ failures: 1 });
      await subject.trip();
      equal(await subject.remove(), true, "remove() of a circuit that is there");
      equal(await subject.remove(), false, "remove() of one that is not");
      equal(await subject.read(), absentAt(subject.clock.now()), "the read after it");
      equal(await subject.listed(), [], "the list after it");
      const { current, snapshot } = await subject.record({ failures: 1 });
      equal(current, true, "whether the first outcome of the next life is current");
      includes(snapshot, { generation: 1, consecutiveFailures: 1 }, "the next life");
      equal(snapshot.totals.failures, 1, "its lifetime failures");
    },
  },
  {
    name: "two keys are two circuits, whatever characters the keys consist of",
    async run(subject) {
      const keys = hostileKeys(subject.key);
      if (!subject.store.traits.shared) keys.push("__proto__", "constructor", "toString", "");
      const circuits = keys.map((key) => subject.another(key));
      for (const [i, circuit] of circuits.entries()) {
        const { snapshot } = await circuit.record({ rejected: i + 1 });
        equal(
          snapshot.totals.rejected,
          i + 1,
          `the count of circuit ${JSON.stringify(circuit.key)}`,
        );
      }
      for (const [i, circuit] of circuits.entries()) {
        const { totals } = await circuit.read();
        equal(totals.rejected, i + 1, `the count read of ${JSON.stringify(circuit.key)}`);
      }
      const listed = (await subject.listed(keys)).map((record) => record.key);
      equal(listed.sort(), [...keys].sort(), "the keys listed");
      equal(await circuits[0]!.remove(), true, "remove() of the first");
      for (const [i, circuit] of circuits.entries()) {
        if (i === 0) continue;
        const { totals } = await circuit.read();
        equal(totals.rejected, i + 1, `${JSON.stringify(circuit.key)} after another was removed`);
      }
    },
  },
  {
    name: "the answers of a shared store do not change after they were returned",
    needs: "shared",
    async run({ store, key, clock }) {
      const at = clock.now();
      const shape = { windowMs: 10_000, windowSize: 10 };
      const tally = {
        ...{
          at,
          shape,
          epoch: "",
          generation: 0,
          began: 0,
          successes: 0,
          failures: 1,
          rejected: 0,
          slow: 0,
        },
        ...{ ageMs: 0, lease: null, policyHash: "" },
      };
      const recorded = await store.record(key, { ...tally, id: unique() });
      const read = await store.read(key, { at, shape });
      await store.record(key, { ...tally, id: unique() });
      for (const snapshot of [recorded.snapshot, read]) {
        equal(snapshot.totals.failures, 1, "the lifetime failures of an earlier answer");
        equal(snapshot.consecutiveFailures, 1, "the run of an earlier answer");
      }
    },
  },
];

function absentAt(now: number): Snapshot {
  return {
    ...{
      state: "CLOSED",
      epoch: "",
      generation: 0,
      began: 0,
      reason: "",
      reopenCount: 0,
      policyHash: "",
    },
    ...{ openedAt: null, openUntil: null, closedAt: null, override: null, now },
    ...{ cooldownMs: null, lastFailure: null, policy: null },
    ...{ lastFailureAt: null, lastSuccessAt: null },
    ...{ consecutiveFailures: 0, consecutiveSuccesses: 0 },
    totals: { successes: 0, failures: 0, rejected: 0, slow: 0 },
    window: { successes: 0, failures: 0, slow: 0 },
    sinceClosed: { successes: 0, failures: 0, slow: 0 },
    last: { size: 0, failures: 0 },
    halfOpen: { inFlight: 0, successes: 0, failures: 0, freeAt: null },
  } as Snapshot;
}

/** Asserts that everything but lifetime totals is unchanged. */
async function feedsTotalsOnly(
  subject: Subject,
  admitted: Admission,
): Promise<void> {
  const before = await subject.read();
  // Later, so that a time that moves along shows, but not so late that anything leaves the window.
  subject.clock.advance(100);
  const tally = { ...admitted, successes: 3, failures: 1, rejected: 5, slow: 2 };
  const { current, snapshot } = await subject.record(tally);
  equal(current, false, "whether a late outcome is current");
  const { successes, failures, rejected, slow } = before.totals;
  const totals = {
    successes: successes + 3,
    failures: failures + 1,
    rejected: rejected + 5,
    slow: slow + 2,
  };
  const { now, policyHash } = snapshot;
  equal(snapshot, { ...before, totals, now, policyHash }, "the circuit after a late outcome");
  equal(await subject.read(), { ...snapshot, policyHash: "" }, "the read after a late outcome");
}

function countsOf(snapshot: Snapshot): Partial<Snapshot> {
  const { totals, window, sinceClosed, last, halfOpen } = snapshot;
  const { generation, consecutiveFailures, consecutiveSuccesses } = snapshot;
  return {
    ...{ totals, window, sinceClosed, last, halfOpen },
    ...{ generation, consecutiveFailures, consecutiveSuccesses },
  };
}

function hostileKeys(key: string): string[] {
  const long = key.padEnd(999, "x");
  return [
    ...[key, `${key}:`, `${key}:state`, `${key}:metrics`, `:${key}`, `${key} `, ` ${key}`],
    ...[key.toUpperCase(), `${key}%`, `${key}_`, `${key}*`, `${key}?`, `${key}[a]`, `${key}\\`],
    ...[`${key}'; --`, `${key}"`, `${key}\``, `${key}\n`, `{${key}}`, `${key}/../x`, `${key}%3A`],
    // é in one code point and in two, a letter beyond the BMP, text from right to left.
    ...[
      `${key}\u00e9`,
      `${key}e\u0301`,
      `${key}\u{1f9ef}`,
      `${key}\u05d0\u202e`,
      `${key}__proto__`,
    ],
    ...[`${long}a`, `${long}b`],
  ];
}
