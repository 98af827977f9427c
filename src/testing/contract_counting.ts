/** The effects of an outcome: runs, totals, counts since the circuit closed. */

import {
  equal,
  halfOpened,
  includes,
  ok,
  opened,
  type Scenario,
  unique,
} from "./contract_subject.ts";

export const COUNTING: readonly Scenario[] = [
  {
    name: "record() counts the successes of a tally before its failure",
    async run(subject) {
      await subject.record({ failures: 1 });
      const { snapshot } = await subject.record({ successes: 3, failures: 1 });
      includes(snapshot, { consecutiveFailures: 1, consecutiveSuccesses: 0 }, "the run");
      equal(snapshot.totals, { successes: 3, failures: 2, rejected: 0, slow: 0 }, "totals");
      equal(snapshot.window, { successes: 3, failures: 2, slow: 0 }, "the window");
      equal(
        snapshot.sinceClosed,
        { successes: 3, failures: 2, slow: 0 },
        "the counts since it closed",
      );
    },
  },
  {
    name: "record() lengthens a run with each failure, and a success ends it",
    async run(subject) {
      await subject.record({ failures: 1 });
      const two = (await subject.record({ failures: 1 })).snapshot;
      includes(two, { consecutiveFailures: 2, consecutiveSuccesses: 0 }, "after two failures");
      const three = (await subject.record({ successes: 3 })).snapshot;
      includes(three, { consecutiveFailures: 0, consecutiveSuccesses: 3 }, "after three successes");
      const five = (await subject.record({ successes: 2 })).snapshot;
      includes(five, { consecutiveFailures: 0, consecutiveSuccesses: 5 }, "after five successes");
      const one = (await subject.record({ failures: 1 })).snapshot;
      includes(one, { consecutiveFailures: 1, consecutiveSuccesses: 0 }, "after one more failure");
    },
  },
  {
    name: "record() keeps the run of failures when a failure ended before the last success",
    async run(subject) {
      await subject.record({ successes: 1 });
      const late = (await subject.record({ failures: 1, ageMs: 1 })).snapshot;
      equal(late.consecutiveFailures, 0, "the run after a failure 1 ms older than the success");
      equal(late.window.failures, 1, "the window's failures, where it counts");
      equal(late.sinceClosed.failures, 1, "the failures since it closed, where it counts");
      equal(late.last, { size: 2, failures: 1 }, "the count window, where it counts");
      const fresh = (await subject.record({ failures: 1, ageMs: 0 })).snapshot;
      equal(fresh.consecutiveFailures, 1, "the run after a failure as old as the success");
    },
  },
  {
    name: "record() orders tallies by the time at which they ended, not by their arrival",
    async run(subject) {
      const endedAt = subject.clock.now() - 500;
      const { snapshot } = await subject.record({ successes: 2, failures: 1, ageMs: 500 });
      equal(snapshot.consecutiveFailures, 1, "the run after two successes and a failure");
      includes(snapshot, { lastSuccessAt: endedAt, lastFailureAt: endedAt }, "their times");
      subject.clock.advance(1_000);
      // It ended 400 ms after that success, though it took 600 ms to arrive.
      const later = (await subject.record({ failures: 1, ageMs: 1_100 })).snapshot;
      equal(later.consecutiveFailures, 2, "the run after another failure");
    },
  },
  {
    name: "record() counts several failures of a tally after its successes",
    async run(subject) {
      const now = subject.clock.now();
      await subject.record({ failures: 1, ageMs: 300 });
      const ages = { ageMs: 0, firstFailureAgeMs: 200 };
      const three = (await subject.record({ successes: 2, failures: 3, ...ages })).snapshot;
      includes(three, { consecutiveFailures: 3, consecutiveSuccesses: 0 }, "the run");
      includes(three, { lastSuccessAt: now - 200, lastFailureAt: now }, "their times");
      equal(three.totals, { successes: 2, failures: 4, rejected: 0, slow: 0 }, "totals");
      equal(three.window, { successes: 2, failures: 4, slow: 0 }, "the window");
      equal(three.sinceClosed, { successes: 2, failures: 4, slow: 0 }, "since it closed");
      equal(three.last, { size: 6, failures: 4 }, "the count window");
      // As old as the success that came before them.
      const five = (await subject.record({ failures: 2, ...ages })).snapshot;
      equal(five.consecutiveFailures, 5, "the run after two more");
    },
  },
  {
    name:
      "record() lengthens the run by the last failure alone when a success ended after the first",
    async run(subject) {
      const record = async (parts: Parameters<typeof subject.record>[0]) =>
        (await subject.record(parts)).snapshot;
      await record({ successes: 1, ageMs: 50 });
      const one = await record({ failures: 3, ageMs: 0, firstFailureAgeMs: 100 });
      includes(one, { consecutiveFailures: 1, consecutiveSuccesses: 0 }, "the run after three");
      equal(one.last, { size: 4, failures: 3 }, "the count window, where all count");
      equal(one.window, { successes: 1, failures: 3, slow: 0 }, "the window, where all count");
      const two = await record({ failures: 2, ageMs: 50, firstFailureAgeMs: 51 });
      equal(two.consecutiveFailures, 2, "the run after two, the last as old as the success");
      const none = await record({ failures: 2, ageMs: 51, firstFailureAgeMs: 90 });
      equal(none.consecutiveFailures, 2, "the run after two that ended before the success");
      const own = await record({ successes: 1, failures: 2, ageMs: 20, firstFailureAgeMs: 60 });
      equal(own.consecutiveFailures, 1, "the run after a tally with a success of its own");
      includes(own, { lastSuccessAt: subject.clock.now() - 50 }, "when the last success ended");
    },
  },
  {
    name: "record() keeps the last of many failures in the count window",
    async run(subject) {
      const first = { ageMs: 0, firstFailureAgeMs: 10 };
      const { snapshot } = await subject.record({ successes: 30, failures: 7, ...first });
      equal(snapshot.last, { size: 10, failures: 7 }, "the count window of ten");
      const full = (await subject.record({ successes: 2, failures: 12, ...first })).snapshot;
      equal(full.last, { size: 10, failures: 10 }, "the count window after twelve more");
    },
  },
  {
    name: "record() lengthens the run again when its clock has gone back",
    async run(subject) {
      await subject.record({ successes: 1 });
      subject.clock.set(subject.clock.now() - 3_600_000);
      await subject.record({ failures: 1 });
      const { snapshot } = await subject.record({ failures: 1 });
      equal(
        snapshot.consecutiveFailures,
        2,
        "the run after two failures an hour before the success",
      );
    },
  },
  {
    name: "record() adds rejections to the totals and changes nothing else",
    async run(subject) {
      await subject.record({ successes: 2, failures: 1 });
      const before = await subject.read();
      subject.clock.advance(100);
      const { current, snapshot } = await subject.record({ rejected: 7 });
      equal(current, true, "whether the rejections were current");
      const totals = { ...before.totals, rejected: 7 };
      equal(snapshot, { ...before, totals, now: subject.clock.now() }, "after seven rejections");
    },
  },
  {
    name: "record() counts slow calls in totals and in the window",
    async run(subject) {
      const { snapshot } = await subject.record({ successes: 3, failures: 1, slow: 2 });
      equal(snapshot.totals.slow, 2, "the lifetime slow calls");
      equal(snapshot.window, { successes: 3, failures: 1, slow: 2 }, "the window");
      equal((await subject.read()).window.slow, 2, "the window's slow calls as read");
    },
  },
  {
    name: "record() keeps the counts since the circuit closed for as long as it stays closed",
    async run(subject) {
      await subject.record({ successes: 3, slow: 1 });
      await subject.record({ failures: 1 });
      subject.clock.advance(86_400_000);
      const counts = { successes: 3, failures: 1, slow: 1 };
      equal((await subject.read()).sinceClosed, counts, "the counts after a day, as read");
      const { snapshot } = await subject.record({ successes: 1 });
      equal(
        snapshot.sinceClosed,
        { successes: 4, failures: 1, slow: 1 },
        "the counts after one more",
      );
    },
  },
  {
    name: "record() keeps half-open counts at 0 while the circuit is closed or open",
    async run(subject) {
      const none = { inFlight: 0, successes: 0, failures: 0, freeAt: null };
      const closed = await subject.record({ successes: 2, failures: 1 });
      equal(closed.snapshot.halfOpen, none, "the half-open counts of a closed circuit");
      await subject.trip();
      const open = await subject.record({ successes: 2, failures: 1 });
      equal(open.snapshot.halfOpen, none, "the half-open counts of an open circuit");
    },
  },
  {
    name: "record() never changes openUntil while the circuit is open",
    async run(subject) {
      const { snapshot: trip } = await opened(subject);
      const { openedAt, openUntil } = trip;
      subject.clock.advance(30_000);
      const current = (await subject.record({ failures: 1 })).snapshot;
      includes(current, { state: "OPEN", openedAt, openUntil }, "after a failure that counted");
      const late = (await subject.record({ generation: 1, failures: 1 })).snapshot;
      includes(late, { state: "OPEN", openedAt, openUntil }, "after a late failure");
      const rejected = (await subject.record({ rejected: 1 })).snapshot;
      includes(rejected, { state: "OPEN", openedAt, openUntil }, "after a rejection");
    },
  },
  {
    name: "record() changes neither state nor generation, whatever number of failures it counts",
    async run(subject) {
      for (let i = 0; i < 12; i++) await subject.record({ failures: 1 });
      const { state, generation, consecutiveFailures } = await subject.read();
      equal(state, "CLOSED", "the state after twelve failures");
      equal(generation, 1, "the generation after twelve failures");
      equal(consecutiveFailures, 12, "the run after twelve failures");
    },
  },
  {
    name: "record() returns the policy hash of the previous tally",
    async run(subject) {
      equal((await subject.record({ policyHash: "a" })).snapshot.policyHash, "", "with the first");
      equal((await subject.record({ policyHash: "b" })).snapshot.policyHash, "a", "with the next");
      equal((await subject.record({ policyHash: "c" })).snapshot.policyHash, "b", "with the third");
      equal((await subject.read()).policyHash, "c", "with a read");
    },
  },
  {
    name:
      "record() stores the policy of the last outcome that counted, and no other operation changes it",
    async run(subject) {
      const policy = { strategy: "own", failureThreshold: 3, cooldownMs: null };
      equal((await subject.read()).policy, null, "the policy of an absent circuit");
      const first = await subject.record({ policyHash: "a", policy });
      equal(first.snapshot.policy, policy, "the policy of the first tally");
      await subject.record({ successes: 1, policyHash: "" });
      const stale = { epoch: unique(), generation: 1, began: 1 };
      await subject.record({ ...stale, failures: 1, policy: { windowMs: 5 } });
      await subject.override("forced_open");
      await subject.release();
      await subject.reset();
      await subject.acquire();
      const { snapshot } = await subject.record({ successes: 1, policyHash: "" });
      equal(snapshot.policy, policy, "after tallies without one, a late one and operators");
      equal(snapshot.policyHash, "a", "the hash of the last tally that had one");
      const open = await subject.trip({ policy: { cooldownMs: 5, slowCallMs: 7 } });
      equal(open.snapshot.policy, { cooldownMs: 5, slowCallMs: 7 }, "after a transition");
      equal((await subject.record({ policy: {} })).snapshot.policy, {}, "after an empty one");
    },
  },
  {
    name: "the store uses its own clock and ignores the clocks of its callers",
    async run(subject) {
      const now = subject.clock.now();
      const wrong = { at: now - 7_200_000 };
      const { snapshot } = await subject.record({ ...wrong, failures: 1 });
      includes(snapshot, { now, lastFailureAt: now }, "the circuit after a failure");
      equal(snapshot.window.failures, 1, "the window's failures");
      const trip = (await subject.trip(wrong)).snapshot;
      includes(trip, { now, openedAt: now, openUntil: now + 60_000 }, "the circuit after its trip");
      const early = await subject.acquire({ at: now + 7_200_000 });
      equal(early.granted, false, "whether a caller whose clock is fast gets through");
      subject.clock.advance(60_000);
      const token = unique();
      const trial = await subject.acquire({ ...wrong, token });
      includes(trial, { granted: true, moved: true }, "a caller whose clock is slow");
      equal(trial.snapshot.halfOpen.freeAt, now + 90_000, "when its lease ends");
    },
  },
  {
    name: "every operation returns the same circuit as a read right after it",
    async run(subject) {
      const agrees = async (after: string, answered: typeof subject.seen) => {
        equal<unknown>(await subject.read(), answered, `the read after ${after}`);
      };
      await agrees("record()", (await subject.record({ successes: 2, failures: 1 })).snapshot);
      await agrees("transition() to OPEN", (await subject.trip()).snapshot);
      await agrees("acquire() that was refused", (await subject.acquire()).snapshot);
      subject.clock.advance(60_000);
      await agrees("acquire() that moved it", (await subject.acquire()).snapshot);
      await agrees("record() of a trial", (await subject.record({ successes: 1 })).snapshot);
      await agrees("transition() to CLOSED", (await subject.close()).snapshot);
      await agrees("acquire() when closed", (await subject.acquire()).snapshot);
      await agrees("override()", (await subject.override("disabled")).snapshot);
      await agrees("a release", (await subject.release()).snapshot);
    },
  },
  {
    name: "record() of 200 concurrent outcomes loses none and creates one circuit",
    async run(subject) {
      const ids = Array.from({ length: 200 }, () => unique());
      const unknown = { epoch: "", generation: 0, began: 0 };
      const answers = await Promise.all(
        ids.map((id, i) =>
          subject.record({ ...unknown, id, successes: 2, failures: i % 2, rejected: 1, slow: 1 })
        ),
      );
      equal(answers.filter((answer) => answer.current).length, 200, "how many were current");
      equal(new Set(answers.map((a) => a.snapshot.epoch)).size, 1, "how many epochs were told");
      const read = await subject.read();
      ok(ids.some((id) => read.epoch.startsWith(id)), "the epoch begins with one of their ids");
      equal(read.generation, 1, "the generation");
      equal(read.totals, { successes: 400, failures: 100, rejected: 200, slow: 200 }, "totals");
      equal(read.window, { successes: 400, failures: 100, slow: 200 }, "the window");
      equal(
        read.sinceClosed,
        { successes: 400, failures: 100, slow: 200 },
        "the counts since it closed",
      );
      equal(read.last.size, 10, "the size of the count window");
      equal((await subject.listed()).length, 1, "how many circuits are listed");
    },
  },
  {
    name: "record() of a neutral outcome returns the slot and counts nothing",
    async run(subject) {
      const token = unique();
      await halfOpened(subject, token);
      const before = await subject.read();
      const { current, snapshot } = await subject.record({ lease: token });
      equal(current, true, "whether the ending was current");
      const none = { inFlight: 0, successes: 0, failures: 0, freeAt: null };
      equal(snapshot, { ...before, halfOpen: none }, "the circuit after a neutral ending");
    },
  },
];
