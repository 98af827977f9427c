/** Compare-and-set: which request wins, and the effects of a transition. */

import { admissionOf } from "../records.ts";
import {
  COOLDOWN_MS,
  equal,
  halfOpened,
  includes,
  opened,
  type Scenario,
  SHAPE,
  unique,
} from "./contract_subject.ts";

const NO_EVIDENCE = {
  consecutiveFailures: 0,
  consecutiveSuccesses: 0,
  window: { successes: 0, failures: 0, slow: 0 },
  sinceClosed: { successes: 0, failures: 0, slow: 0 },
  last: { size: 0, failures: 0 },
} as const;

export const TRANSITIONS: readonly Scenario[] = [
  {
    name: "transition() opens a circuit for cooldownMs, counted from the store's now",
    async run(subject) {
      const { snapshot: before } = await subject.record({ successes: 3, failures: 1 });
      subject.clock.advance(250);
      const now = subject.clock.now();
      const { won, snapshot } = await subject.trip({ cooldownMs: 12_345, reason: "count_window" });
      equal(won, true, "whether it won");
      includes(snapshot, { state: "OPEN", generation: 2, reason: "count_window" }, "the circuit");
      includes(snapshot, { openedAt: now, openUntil: now + 12_345, closedAt: null }, "its times");
      const { epoch, totals } = before;
      includes(snapshot, { epoch, totals }, "what a trip leaves alone");
    },
  },
  {
    name: "transition() with a cooldown of 0 ms opens a circuit whose trial may run at once",
    async run(subject) {
      await subject.record({ failures: 1 });
      const now = subject.clock.now();
      const { won, snapshot } = await subject.trip({ cooldownMs: 0 });
      equal(won, true, "whether it won");
      includes(snapshot, { state: "OPEN", openedAt: now, openUntil: now }, "the circuit");
      const { granted, moved } = await subject.acquire();
      equal([granted, moved], [true, true], "whether a trial was granted, and moved the circuit");
    },
  },
  {
    name: "transition() to OPEN keeps the evidence for inspection",
    async run(subject) {
      await subject.record({ successes: 3, slow: 1 });
      await subject.record({ failures: 1 });
      const { snapshot: before } = await subject.record({ failures: 1 });
      const { consecutiveFailures, consecutiveSuccesses, window, sinceClosed, last } = before;
      const evidence = { consecutiveFailures, consecutiveSuccesses, window, sinceClosed, last };
      equal(consecutiveFailures, 2, "the run before the trip");
      includes((await subject.trip()).snapshot, evidence, "the evidence with the answer");
      includes(await subject.read(), evidence, "the evidence as read");
    },
  },
  {
    name: "transition() loses when the generation differs, and changes nothing",
    async run(subject) {
      const { snapshot } = await opened(subject);
      for (const generation of [1, 3]) {
        const answer = await subject.close({ expected: { ...admissionOf(snapshot), generation } });
        equal(answer.won, false, `whether it won, expecting generation ${generation} of 2`);
        equal(answer.snapshot, snapshot, "the circuit it answered with");
      }
      equal(await subject.read(), snapshot, "the read after it");
    },
  },
  {
    name: "transition() loses when the epoch differs, though the generation agrees",
    async run(subject) {
      const { snapshot } = await opened(subject);
      for (const epoch of [unique(), ""]) {
        const answer = await subject.close({ expected: { ...admissionOf(snapshot), epoch } });
        equal(answer.won, false, `whether it won, expecting epoch "${epoch}"`);
      }
      equal(await subject.read(), snapshot, "the read after it");
    },
  },
  {
    name: "transition() loses when the generation began at another moment",
    async run(subject) {
      const { snapshot } = await opened(subject);
      const expected = { ...admissionOf(snapshot), began: snapshot.began - 1 };
      equal((await subject.close({ expected })).won, false, "whether it won");
      equal(await subject.read(), snapshot, "the read after it");
    },
  },
  {
    name: "transition() stores the length of the opening and the failure that caused it",
    async run(subject) {
      await subject.record({ failures: 1 });
      const at = subject.clock.now() - 250;
      const lastFailure = { at, kind: "ECONNREFUSED", status: null, instance: "fra1" };
      const { snapshot } = await subject.trip({ cooldownMs: 1_000, lastFailure });
      includes(snapshot, { cooldownMs: 1_000, lastFailure }, "the open circuit");
      includes(
        await subject.read(),
        { cooldownMs: 1_000, lastFailure },
        "the open circuit as read",
      );
      includes((await subject.reset()).snapshot, { cooldownMs: null, lastFailure }, "a closed one");
      await subject.record({ failures: 1 });
      const again = await subject.trip({ cooldownMs: 2_000 });
      includes(again.snapshot, { cooldownMs: 2_000, lastFailure: null }, "by nobody knows what");
    },
  },
  {
    name: "transition() that expects a circuit loses when there is none, and creates nothing",
    async run(subject) {
      const { won, snapshot } = await subject.trip({
        expected: { epoch: unique(), generation: 1, began: 0 },
      });
      equal(won, false, "whether it won");
      includes(snapshot, { state: "CLOSED", epoch: "", generation: 0, began: 0 }, "the circuit");
      equal((await subject.read()).epoch, "", "the epoch as read");
      equal(await subject.listed(), [], "the list after it");
    },
  },
  {
    name: "transition() by 20 callers with the same expectation is won once",
    async run(subject) {
      await subject.record({ failures: 1 });
      const { epoch, generation, began } = subject.seen;
      const answers = await Promise.all(
        Array.from(
          { length: 20 },
          (_, i) =>
            subject.trip({ expected: { epoch, generation, began }, cooldownMs: 1_000 * (i + 1) }),
        ),
      );
      const winners = answers.filter((answer) => answer.won);
      equal(winners.length, 1, "how many won");
      const { openUntil } = winners[0]!.snapshot;
      includes(await subject.read(), { state: "OPEN", generation: 2, openUntil }, "the circuit");
    },
  },
  {
    name: "transition() without an expectation always wins, and creates the circuit",
    async run(subject) {
      equal((await subject.trip({ expected: null })).won, true, "opening an absent circuit");
      const open = await subject.read();
      equal(open.state, "OPEN", "the state of the new circuit");
      equal((await subject.listed()).length, 1, "how many circuits are listed");
      equal((await subject.reset()).won, true, "a reset");
      const { state, epoch, generation } = await subject.read();
      equal(state, "CLOSED", "the state after the reset");
      equal(epoch, open.epoch, "the epoch after the reset");
      equal(generation, open.generation + 1, "the generation after the reset");
    },
  },
  {
    name: "transition() refuses to close once a trial of this generation has failed",
    async run(subject) {
      const tokens = [unique(), unique()] as const;
      await halfOpened(subject, tokens[0], 2);
      await subject.acquire({ token: tokens[1], max: 2 });
      await subject.record({ failures: 1, lease: tokens[0] });
      const { snapshot: before } = await subject.record({ successes: 1, lease: tokens[1] });
      const { won, snapshot } = await subject.close();
      equal(won, false, "whether closing won");
      equal(snapshot, before, "the circuit it answered with");
      equal((await subject.trip()).won, true, "whether reopening won");
    },
  },
  {
    name: "transition() closes in the next half-open state, whatever failed in the previous one",
    async run(subject) {
      await halfOpened(subject, unique());
      await subject.record({ failures: 1 });
      await subject.trip();
      subject.clock.advance(COOLDOWN_MS);
      await subject.acquire();
      await subject.record({ successes: 1 });
      equal((await subject.close()).won, true, "whether closing won");
    },
  },
  {
    name: "transition() by reset wins though a trial has failed",
    async run(subject) {
      await halfOpened(subject, unique());
      await subject.record({ failures: 1 });
      const { won, snapshot } = await subject.reset();
      equal(won, true, "whether the reset won");
      includes(snapshot, { state: "CLOSED", generation: 4, ...NO_EVIDENCE }, "the circuit");
    },
  },
  {
    name: "transition() to CLOSED clears the evidence and keeps totals and openedAt",
    async run(subject) {
      const token = unique();
      await subject.record({ successes: 4 });
      await halfOpened(subject, token);
      await subject.record({ successes: 1, slow: 1, lease: token });
      const { openedAt, epoch } = await subject.read();
      subject.clock.advance(10);
      const now = subject.clock.now();
      const { won, snapshot } = await subject.close({ reason: "trials_succeeded" });
      equal(won, true, "whether closing won");
      includes(snapshot, { state: "CLOSED", generation: 4, epoch, openedAt }, "the circuit");
      includes(snapshot, { closedAt: now, reason: "trials_succeeded" }, "the closing");
      includes(snapshot, NO_EVIDENCE, "the evidence");
      const none = { inFlight: 0, successes: 0, failures: 0, freeAt: null };
      equal(snapshot.halfOpen, none, "the half-open counts");
      equal(snapshot.totals, { successes: 5, failures: 1, rejected: 0, slow: 1 }, "totals");
      includes(await subject.read(), { ...NO_EVIDENCE, openedAt }, "the read after it");
      const next = (await subject.record({ failures: 1 })).snapshot;
      equal(next.last, { size: 1, failures: 1 }, "the count window after one more failure");
      equal(next.window, { successes: 0, failures: 1, slow: 0 }, "the window after it");
      equal(next.consecutiveFailures, 1, "the run after it");
    },
  },
  {
    name: "transition() by reset clears the evidence of a closed circuit and keeps totals",
    async run(subject) {
      await subject.record({ successes: 2, rejected: 3 });
      await subject.record({ failures: 1, slow: 1 });
      const { won, snapshot } = await subject.reset();
      equal(won, true, "whether the reset won");
      includes(snapshot, { state: "CLOSED", generation: 2, ...NO_EVIDENCE }, "the circuit");
      equal(snapshot.totals, { successes: 2, failures: 1, rejected: 3, slow: 1 }, "totals");
      equal((await subject.read(SHAPE)).last, NO_EVIDENCE.last, "the count window as read");
    },
  },
  {
    name:
      "an outcome admitted before a reset adds to totals only, and an old trial reopens nothing",
    async run(subject) {
      const token = unique();
      const { snapshot } = await halfOpened(subject, token);
      await subject.reset();
      const { epoch, generation, began } = snapshot;
      const late = await subject.record({ epoch, generation, failures: 1, lease: token });
      equal(late.current, false, "whether the old trial's failure is current");
      includes(late.snapshot, { state: "CLOSED", generation: 4, ...NO_EVIDENCE }, "the circuit");
      const expected = { epoch, generation, began };
      equal((await subject.trip({ expected })).won, false, "whether its verdict wins");
    },
  },
  {
    name:
      "reopenCount is 0 at the first trip, grows with each reopening, and becomes 0 when the circuit closes",
    async run(subject) {
      equal((await opened(subject)).snapshot.reopenCount, 0, "at the first trip");
      for (const expected of [1, 2]) {
        subject.clock.advance(COOLDOWN_MS);
        const { snapshot: trial } = await subject.acquire();
        equal(trial.reopenCount, expected - 1, "in half-open");
        await subject.record({ failures: 1 });
        const now = subject.clock.now();
        const { snapshot } = await subject.trip();
        equal(snapshot.reopenCount, expected, `at reopening ${expected}`);
        includes(snapshot, { openedAt: now, openUntil: now + COOLDOWN_MS }, "the times of it");
      }
      subject.clock.advance(COOLDOWN_MS);
      await subject.acquire();
      equal((await subject.close()).snapshot.reopenCount, 0, "after closing");
      equal((await opened(subject)).snapshot.reopenCount, 0, "at the first trip after closing");
    },
  },
  {
    name:
      "closedAt is the time of the last closing, or of the reset of a circuit that was not closed",
    async run(subject) {
      await opened(subject);
      equal((await subject.read()).closedAt, null, "before it has closed");
      for (const close of [() => subject.reset(), () => subject.close()]) {
        const closedAt = subject.clock.now();
        equal((await close()).snapshot.closedAt, closedAt, "when it closes");
        subject.clock.advance(10);
        equal(
          (await subject.reset()).snapshot.closedAt,
          closedAt,
          "after a reset of what is closed",
        );
        equal((await subject.override("forced_open")).snapshot.closedAt, closedAt, "overridden");
        subject.clock.advance(10);
        equal((await subject.release()).snapshot.closedAt, closedAt, "after a release");
        await subject.record({ failures: 1 });
        await opened(subject);
        equal((await subject.read()).closedAt, closedAt, "when it is open again");
        subject.clock.advance(COOLDOWN_MS);
        equal((await subject.acquire()).snapshot.closedAt, closedAt, "in half-open");
      }
    },
  },
  {
    name: "a reset sets reopenCount to 0",
    async run(subject) {
      await halfOpened(subject, unique());
      equal((await subject.trip()).snapshot.reopenCount, 1, "at reopening");
      equal((await subject.reset()).snapshot.reopenCount, 0, "after the reset");
    },
  },
];
