/** Whole records: listed, and restored. */

import type { CircuitRecord, Segment } from "../contract.ts";
import { admissionOf, together } from "../records.ts";
import {
  COOLDOWN_MS,
  equal,
  halfOpened,
  includes,
  ok,
  opened,
  type Scenario,
  SHAPE,
  type Subject,
  unique,
} from "./contract_subject.ts";

const HOUR_MS = 3_600_000;

export const RECORDS: readonly Scenario[] = [
  {
    name: "check() changes no circuit and adds none to the list",
    async run(subject) {
      const open = subject.another();
      await opened(open);
      await subject.record({ successes: 1, failures: 1 });
      const keys = [subject.key, open.key];
      const look = async () => ({
        records: (await subject.listed(keys)).toSorted((a, b) => a.key < b.key ? -1 : 1),
        seen: [await subject.read(), await open.read()],
      });
      const before = await look();
      await subject.store.check?.();
      await subject.store.check?.();
      equal(await look(), before, "the circuits after check()");
    },
  },
  {
    name: "list() returns every circuit once, with pages of any size",
    async run(subject) {
      const circuits = Array.from({ length: 7 }, () => subject.another());
      await Promise.all(circuits.map((circuit, i) => circuit.record({ successes: i + 1 })));
      const keys = circuits.map((circuit) => circuit.key);
      for (const limit of [3, 7, 100]) {
        const records = await subject.listed(keys, limit);
        const found = records.map((record) => record.key);
        equal(found.sort(), [...keys].sort(), `the circuits listed with limit ${limit}`);
        for (const { key, snapshot } of records) {
          const expected = keys.indexOf(key) + 1;
          equal(
            snapshot.totals.successes,
            expected,
            "the lifetime successes of one that is listed",
          );
        }
      }
    },
  },
  {
    name:
      "list() of circuits that are not plainly CLOSED returns all of them, with pages of any size",
    async run(subject) {
      const [open, half, laid, ended, closed, plain] = Array.from(
        { length: 6 },
        () => subject.another(),
      ) as [Subject, Subject, Subject, Subject, Subject, Subject];
      const until = subject.clock.now() + COOLDOWN_MS;
      await ended.override("disabled", { until });
      await halfOpened(half, unique());
      await opened(open);
      await laid.override("forced_closed");
      await opened(closed);
      await closed.reset();
      await plain.record({ successes: 1 });
      const all = [open, half, laid, ended, closed, plain].map(({ key }) => key);
      for (const limit of [1, 3, 100]) {
        const records = await subject.listed(all, limit, SHAPE, { open: true, brief: true });
        const found = new Set(records.map(({ key }) => key));
        const wanted = [open, half, laid].filter(({ key }) => !found.has(key));
        equal(wanted.length, 0, `how many are left out with limit ${limit}`);
        equal(found.size, records.length, `how many are listed once with limit ${limit}`);
      }
    },
  },
  {
    name: "list() in brief returns the same as read()",
    async run(subject) {
      await opened(subject);
      const [record] = await subject.listed([subject.key], 100, SHAPE, { brief: true });
      equal(record!.snapshot, await subject.read(), "its Snapshot");
    },
  },
  {
    name: "together() answers each request separately, and does not delay later requests",
    async run(subject) {
      const { store } = subject;
      const circuits = Array.from({ length: 5 }, () => subject.another());
      const all = <T>(work: () => T): T => together(store, work);
      const answers = await Promise.all(
        all(() => circuits.map((circuit, i) => circuit.record({ successes: i + 1 }))),
      );
      for (const [i, { current, snapshot }] of answers.entries()) {
        equal(current, true, `whether outcome ${i} is current`);
        equal(snapshot.totals.successes, i + 1, `the lifetime successes of circuit ${i}`);
      }
      const [, inner, alone] = await Promise.all([
        all(() => circuits[0]!.record({ failures: 1 })),
        all(() => all(() => circuits[0]!.record({ failures: 1 }))),
        circuits[1]!.record({ failures: 1 }),
      ]);
      equal(inner.current, true, "whether one within another is answered");
      equal(alone.snapshot.totals.failures, 1, "the failures of one asked beside them");
      equal(all(() => 42), 42, "what work gave that asks nothing");
      let thrown: unknown;
      try {
        all(() => {
          throw new Error("work");
        });
      } catch (error) {
        thrown = error;
      }
      ok(thrown instanceof Error && thrown.message === "work", "what work throws is thrown");
      equal((await circuits[0]!.read()).totals.failures, 2, "the failures counted in the end");
    },
  },
  {
    name: "list() returns the same as read(), with segments and outcomes, oldest first",
    async run(subject) {
      await subject.record({ successes: 2, slow: 1, policyHash: "p" });
      subject.clock.advance(3_000);
      const second = subject.clock.now();
      await subject.record({ successes: 1, failures: 1, policyHash: "p" });
      await subject.override("disabled", { reason: "a drill" });
      await subject.release();
      await subject.record({ successes: 2, slow: 1, policyHash: "p" });
      subject.clock.advance(4_000);
      const third = subject.clock.now();
      await subject.record({ successes: 1, failures: 1, policyHash: "p" });
      const record = await only(subject);
      equal(record.snapshot, await subject.read(), "its Snapshot");
      equal(record.outcomes, "SSSF", "its outcomes");
      equal(counted(record.segments), [
        { start: second, successes: 2, failures: 0, slow: 1 },
        { start: third, successes: 1, failures: 1, slow: 0 },
      ], "its segments");
    },
  },
  {
    name: "list() measures each circuit with the shape that was requested for it",
    async run(subject) {
      await subject.record({ failures: 1 });
      subject.clock.advance(5_000);
      const minute = await only(subject, { windowMs: 60_000, windowSize: 10 });
      equal(minute.snapshot.window.failures, 1, "the window's failures over a minute");
      const second = await only(subject, { windowMs: 1_000, windowSize: 10 });
      equal(second.snapshot.window.failures, 0, "the window's failures over a second");
    },
  },
  {
    name: "list() writes nothing",
    async run(subject) {
      await subject.record({ failures: 1 });
      const until = subject.clock.now() + 60_000;
      const { snapshot } = await subject.override("disabled", { until });
      subject.clock.advance(60_000);
      const { generation, override } = (await only(subject)).snapshot;
      equal({ generation, override }, { generation: 3, override: null }, "what is listed");
      const { released } = await subject.record({ rejected: 1 });
      equal(released, snapshot.override, "what the first write after it released");
    },
  },
  {
    name: "restore() creates a circuit under a fresh epoch and a generation above 1",
    async run(subject) {
      const record = recordAt(subject.clock.now(), subject.key);
      const { won, snapshot } = await subject.restore(record);
      equal(won, true, "whether it won");
      ok(snapshot.epoch !== "" && snapshot.epoch !== record.snapshot.epoch, "its epoch is fresh");
      ok(snapshot.generation > 1, `its generation is above 1, received ${snapshot.generation}`);
      const late = await subject.record({ epoch: "", generation: 0, began: 0, failures: 1 });
      equal(late.current, false, "whether an outcome of an isolate that knew nothing is current");
      const { epoch, generation } = record.snapshot;
      const old = await subject.record({ epoch, generation, failures: 1 });
      equal(old.current, false, "whether an outcome of the exported life is current");
      await subject.read();
      equal((await subject.record({ failures: 1 })).current, true, "an outcome of the new life");
    },
  },
  {
    name: "restore() keeps state, evidence, totals and override, with times on the store's clock",
    async run(subject) {
      const now = subject.clock.now();
      const at = now - HOUR_MS - 137;
      const record = recordAt(at, subject.key);
      await subject.restore(record, { at });
      const snapshot = await subject.read();
      const { state, reason, reopenCount, totals, policyHash } = record.snapshot;
      includes(snapshot, { state, reason, reopenCount, totals, policyHash }, "the circuit");
      const { consecutiveFailures, consecutiveSuccesses, sinceClosed, last } = record.snapshot;
      includes(snapshot, { consecutiveFailures, consecutiveSuccesses }, "its run");
      includes(snapshot, { sinceClosed, last, window: record.snapshot.window }, "its evidence");
      includes(snapshot, { openedAt: now - 1_000, openUntil: now + 59_000, now }, "its times");
      includes(snapshot, { closedAt: now - 90_000 }, "its times");
      includes(snapshot, { lastFailureAt: now - 1_500, lastSuccessAt: now - 2_500 }, "its times");
      const override = { ...record.snapshot.override!, until: now + 30_000 };
      equal(snapshot.override, override, "its override");
      equal((await only(subject)).outcomes, record.outcomes, "its outcomes");
    },
  },
  {
    name: "restore() keeps the time window, which continues to age",
    async run(subject) {
      const { window } = recordAt(0, "").snapshot;
      const at = subject.clock.now() - HOUR_MS;
      await subject.restore(recordAt(at, subject.key), { at });
      equal((await subject.read()).window, window, "the window at once");
      subject.clock.advance(7_000);
      // The older of its two segments began three seconds before the export.
      const left = { successes: 1, failures: 2, slow: 0 };
      equal((await subject.read()).window, left, "the window 7 s later");
      const recorded = await subject.record({ successes: 1 });
      equal(recorded.snapshot.window, { ...left, successes: 2 }, "the window after one more");
      subject.clock.advance(2_000);
      equal((await subject.read()).window.failures, 0, "the window's failures 9 s later");
    },
  },
  {
    name:
      "restore() accepts the records of list(), and a tripped circuit stays open for the remaining time",
    async run(subject) {
      await subject.record({ successes: 3, rejected: 2 });
      await opened(subject);
      subject.clock.advance(20_000);
      const exported = await only(subject);
      const copy = subject.another();
      const { won } = await copy.restore({ ...exported, key: copy.key });
      equal(won, true, "whether it won");
      const snapshot = await copy.read();
      const life = admissionOf(snapshot);
      equal(snapshot, { ...exported.snapshot, ...life }, "the circuit restored");
      copy.clock.advance(COOLDOWN_MS - 20_001);
      equal((await copy.acquire()).granted, false, "whether a call gets through 1 ms before");
      copy.clock.advance(1);
      const trial = await copy.acquire();
      includes(trial, { granted: true, moved: true }, "the call at openUntil");
    },
  },
  {
    name: "restore() replaces an existing circuit with its leases, and makes its outcomes late",
    async run(subject) {
      const token = unique();
      const { snapshot: trial } = await halfOpened(subject, token);
      const record = await only(subject);
      const { won, snapshot } = await subject.restore(record);
      equal(won, true, "whether it won");
      ok(snapshot.epoch !== trial.epoch, "its epoch is fresh");
      includes(snapshot.halfOpen, { inFlight: 0, freeAt: null }, "the leases");
      equal((await subject.acquire()).granted, true, "whether a trial gets through");
      const { epoch, generation } = trial;
      const late = await subject.record({ epoch, generation, failures: 1, lease: token });
      equal(late.current, false, "whether the outcome of the life before is current");
      equal(late.snapshot.halfOpen.inFlight, 1, "the trials in flight");
    },
  },
  {
    name: "restore() keeps an existing circuit when the request says so",
    async run(subject) {
      await subject.record({ failures: 1 });
      const before = await subject.read();
      const record = recordAt(subject.clock.now(), subject.key);
      const { won, snapshot } = await subject.restore(record, { existing: "keep" });
      equal(won, false, "whether it won");
      equal(snapshot, before, "the circuit it answered with");
      equal(await subject.read(), before, "the read after it");
      await subject.remove();
      const again = await subject.restore(record, { existing: "keep" });
      equal(again.won, true, "whether it won once nothing is there");
    },
  },
  {
    name: "restore() repeats that an id won, and changes nothing",
    async run(subject) {
      const id = unique();
      const record = recordAt(subject.clock.now(), subject.key);
      const first = await subject.restore(record, { id });
      const { snapshot: counted } = await subject.record({ failures: 1 });
      const second = await subject.restore(record, { id });
      equal(second.won, true, "whether it won, told again");
      const { epoch, generation } = first.snapshot;
      includes(second.snapshot, { epoch, generation, totals: counted.totals }, "the circuit");
    },
  },
  {
    name: "restore() remembers earlier requests, and does not apply them again",
    async run(subject) {
      const outcome = { id: unique(), successes: 3 };
      await subject.record(outcome);
      const record = await only(subject);
      const [first, second] = [unique(), unique()];
      await subject.restore(record, { id: first });
      await subject.restore(record, { id: second });
      const { epoch } = subject.seen;
      const again = await subject.restore(record, { id: first });
      equal(again.won, true, "whether the first restore won, told again");
      equal(again.snapshot.epoch, epoch, "the epoch, which is still the second one's");
      await subject.record(outcome);
      equal((await subject.read()).totals.successes, 3, "the lifetime successes");
    },
  },
  {
    name: "restore() and override() store texts verbatim, whatever they look like",
    async run(subject) {
      const words = [
        "@oncall",
        "@5",
        "=",
        "",
        "0x10",
        "1e3",
        "007",
        "null",
        "true",
        "[1]",
        "'; --",
      ];
      for (const word of words) {
        const circuit = subject.another();
        await circuit.record({ failures: 1, policyHash: word });
        await circuit.override("metrics_only", { reason: word, actor: word });
        await circuit.trip({ expected: null, reason: word });
        const record = await only(circuit);
        await circuit.remove();
        const { snapshot } = await circuit.restore(record);
        const { reason, policyHash, override } = snapshot;
        const kept = [reason, policyHash, override?.reason, override?.actor];
        equal(kept, [word, word, word, word], `what was kept of ${JSON.stringify(word)}`);
      }
    },
  },
  {
    name:
      "restore() repeats that it kept an existing circuit, though the circuit has been removed since",
    async run(subject) {
      await subject.record({ failures: 1 });
      const id = unique();
      const record = recordAt(subject.clock.now(), subject.key);
      const keep = { id, existing: "keep" } as const;
      equal((await subject.restore(record, keep)).won, false, "whether it won");
      equal((await subject.restore(record, keep)).won, false, "whether it won, told again");
      equal((await subject.read()).totals.failures, 1, "the lifetime failures");
    },
  },
];

async function only(subject: Subject, shape = SHAPE): Promise<CircuitRecord> {
  const records = await subject.listed([subject.key], 100, shape);
  equal(records.length, 1, "how many circuits are listed under one key");
  return records[0]!;
}

/** Returns the segments with outcomes: a store may keep empty ones. */
function counted(segments: readonly Segment[]): Segment[] {
  return segments
    .filter(({ successes, failures }) => successes + failures > 0)
    .map(({ start, successes, failures, slow }) => ({ start, successes, failures, slow }));
}

/** A circuit exported at a moment `at` of its own clock: open, overridden, with evidence. */
function recordAt(at: number, key: string): CircuitRecord {
  return {
    key,
    outcomes: "SSFSF",
    segments: [
      { start: at - 3_000, successes: 2, failures: 0, slow: 1 },
      { start: at - 1_000, successes: 1, failures: 2, slow: 0 },
    ],
    snapshot: {
      ...{ state: "OPEN", reason: "rolling_window", epoch: "exported", generation: 1 },
      ...{ began: at - 1_000, cooldownMs: 60_000 },
      lastFailure: { at: at - 1_500, kind: "ECONNREFUSED", status: null, instance: "fra1" },
      ...{ openedAt: at - 1_000, openUntil: at + 59_000, closedAt: at - 90_000, reopenCount: 2 },
      ...{ consecutiveFailures: 4, consecutiveSuccesses: 0 },
      totals: { successes: 70, failures: 30, rejected: 20, slow: 10 },
      window: { successes: 3, failures: 2, slow: 1 },
      sinceClosed: { successes: 7, failures: 6, slow: 5 },
      last: { size: 5, failures: 2 },
      halfOpen: { inFlight: 0, successes: 0, failures: 0, freeAt: null },
      ...{ lastFailureAt: at - 1_500, lastSuccessAt: at - 2_500 },
      override: { kind: "metrics_only", until: at + 30_000, reason: "a drill", actor: "ada" },
      ...{ policy: { failureThreshold: 3, strategy: "own" }, policyHash: "p", now: at },
    },
  };
}
