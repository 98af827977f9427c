/** Admission by `acquire`: the end of a cooldown, slots, leases. */

import type { Snapshot } from "../contract.ts";
import {
  COOLDOWN_MS,
  equal,
  halfOpened,
  includes,
  LEASE_MS,
  opened,
  type Scenario,
  type Subject,
  unique,
} from "./contract_subject.ts";

const HOUR_MS = 3_600_000;

export const TRIALS: readonly Scenario[] = [
  {
    name: "acquire() grants on a closed circuit without a lease and without a write",
    async run(subject) {
      await subject.record({ successes: 1, failures: 1 });
      const before = await subject.read();
      for (let i = 0; i < 3; i++) {
        const answer = await subject.acquire({ max: 1 });
        includes(answer, { granted: true, moved: false }, "acquire() of a closed circuit");
        equal(answer.snapshot, before, "its Snapshot");
      }
      equal(await subject.read(), before, "the read after three of them");
    },
  },
  {
    name: "acquire() refuses before openUntil and changes nothing",
    async run(subject) {
      const { snapshot } = await opened(subject);
      subject.clock.advance(COOLDOWN_MS - 1);
      includes(await subject.acquire(), { granted: false, moved: false }, "1 ms before openUntil");
      const { state, generation, openUntil } = snapshot;
      includes(await subject.read(), { state, generation, openUntil }, "the read after it");
    },
  },
  {
    name: "acquire() moves an open circuit to half-open at openUntil, and takes a lease",
    async run(subject) {
      const { snapshot: before } = await opened(subject);
      subject.clock.advance(COOLDOWN_MS);
      const now = subject.clock.now();
      const { granted, moved, snapshot } = await subject.acquire();
      equal({ granted, moved }, { granted: true, moved: true }, "exactly at openUntil");
      const halfOpen = { inFlight: 1, successes: 0, failures: 0, freeAt: now + LEASE_MS };
      includes(snapshot, { state: "HALF_OPEN", generation: 3, halfOpen, now }, "the circuit");
      const { epoch, openedAt, reopenCount } = before;
      const { consecutiveFailures, sinceClosed, totals, last } = before;
      includes(snapshot, { epoch, openedAt, reopenCount }, "what moving leaves alone");
      includes(snapshot, { consecutiveFailures, sinceClosed, totals, last }, "the evidence, too");
    },
  },
  {
    name: "acquire() moves a circuit once, and read() never does",
    async run(subject) {
      const { snapshot } = await opened(subject);
      subject.clock.advance(HOUR_MS);
      const { state, generation } = snapshot;
      includes(await subject.read(), { state, generation }, "a read an hour after the trip");
      equal((await subject.acquire({ max: 2 })).moved, true, "whether the first one moved it");
      const second = await subject.acquire({ max: 2 });
      includes(second, { granted: true, moved: false }, "the second one");
      equal(second.snapshot.generation, 3, "the generation after both");
      equal(second.snapshot.halfOpen.inFlight, 2, "the trials in flight after both");
    },
  },
  {
    name: "acquire() by 50 concurrent callers moves the circuit once and grants one slot",
    async run(subject) {
      await opened(subject);
      subject.clock.advance(COOLDOWN_MS);
      const answers = await Promise.all(Array.from({ length: 50 }, () => subject.acquire()));
      equal(answers.filter((answer) => answer.moved).length, 1, "how many moved it");
      equal(answers.filter((answer) => answer.granted).length, 1, "how many were granted");
      const { state, generation, halfOpen } = await subject.read();
      equal({ state, generation }, { state: "HALF_OPEN", generation: 3 }, "the circuit");
      equal(halfOpen.inFlight, 1, "the trials in flight");
    },
  },
  {
    name: "acquire() grants no more than max trials at once",
    async run(subject) {
      const tokens = [unique(), unique(), unique()] as const;
      await halfOpened(subject, tokens[0], 3);
      for (const token of tokens.slice(1)) {
        equal((await subject.acquire({ token, max: 3 })).granted, true, "a slot that is free");
      }
      const refused = await subject.acquire({ max: 3 });
      includes(refused, { granted: false, moved: false }, "a fourth trial");
      equal(refused.snapshot.halfOpen.inFlight, 3, "the trials in flight");
      await subject.record({ successes: 1, lease: tokens[1] });
      equal((await subject.acquire({ max: 3 })).granted, true, "once a slot is free again");
      equal((await subject.acquire({ max: 3 })).granted, false, "once it is taken again");
    },
  },
  {
    name: "acquire() returns the time at which the earliest lease ends",
    async run(subject) {
      const first = unique();
      await halfOpened(subject, first, 2);
      const begun = subject.clock.now();
      subject.clock.advance(10_000);
      const { snapshot } = await subject.acquire({ max: 2 });
      equal(snapshot.halfOpen.freeAt, begun + LEASE_MS, "freeAt with two leases out");
      equal((await subject.read()).halfOpen.freeAt, begun + LEASE_MS, "freeAt as read");
      const ended = await subject.record({ lease: first });
      equal(ended.snapshot.halfOpen.freeAt, begun + 10_000 + LEASE_MS, "freeAt with one left");
    },
  },
  {
    name: "acquire() grants a token again while its lease runs, without a second slot",
    async run(subject) {
      const token = unique();
      await halfOpened(subject, token, 2);
      const again = await subject.acquire({ token, max: 2 });
      includes(again, { granted: true, moved: false }, "the token asked for again");
      equal(again.snapshot.halfOpen.inFlight, 1, "the trials in flight");
      equal((await subject.acquire({ max: 2 })).granted, true, "another token, for the other slot");
      equal(
        (await subject.acquire({ token, max: 2 })).granted,
        true,
        "the first, with no slot free",
      );
    },
  },
  {
    name: "acquire() refuses a returned token until its lease would have expired",
    async run(subject) {
      const token = unique();
      await halfOpened(subject, token);
      const { snapshot } = await subject.record({ successes: 1, lease: token });
      equal(snapshot.halfOpen.inFlight, 0, "the trials in flight once it has ended");
      equal((await subject.acquire({ token })).granted, false, "the ended token, at once");
      subject.clock.advance(LEASE_MS - 1);
      equal((await subject.acquire({ token })).granted, false, "the ended token, 1 ms before");
      subject.clock.advance(1);
      equal(
        (await subject.acquire({ token })).granted,
        true,
        "the ended token, at its lease's end",
      );
    },
  },
  {
    name: "acquire() frees the slot of a trial that never ends when its lease expires",
    async run(subject) {
      await halfOpened(subject, unique());
      subject.clock.advance(LEASE_MS - 1);
      equal((await subject.acquire()).granted, false, "1 ms before the lease expires");
      subject.clock.advance(1);
      const next = await subject.acquire();
      includes(next, { granted: true, moved: false }, "when the lease expires");
      equal(next.snapshot.generation, 3, "the generation, which goes on");
      equal(next.snapshot.halfOpen.inFlight, 1, "the trials in flight");
    },
  },
  {
    name: "record() counts the outcome of an expired trial, and frees no other trial's slot",
    async run(subject) {
      const expired = unique();
      await halfOpened(subject, expired);
      subject.clock.advance(LEASE_MS);
      equal((await subject.acquire()).granted, true, "the slot of the expired trial");
      const { current, snapshot } = await subject.record({ failures: 1, lease: expired });
      equal(current, true, "whether the expired trial's outcome is current");
      equal(snapshot.halfOpen.failures, 1, "the half-open failures");
      equal(snapshot.halfOpen.inFlight, 1, "the trials in flight");
      equal((await subject.acquire()).granted, false, "whether a second trial gets in");
    },
  },
  {
    name: "record() counts outcomes in half-open separately from earlier outcomes",
    async run(subject) {
      const tokens = [unique(), unique()] as const;
      await subject.record({ successes: 8 });
      await subject.record({ failures: 1 });
      await halfOpened(subject, tokens[0], 2);
      await subject.acquire({ token: tokens[1], max: 2 });
      await subject.record({ successes: 1, lease: tokens[0] });
      const { current, snapshot } = await subject.record({ failures: 1, lease: tokens[1] });
      equal(current, true, "whether the second trial's outcome is current");
      const halfOpen = { inFlight: 0, successes: 1, failures: 1, freeAt: null };
      equal(snapshot.halfOpen, halfOpen, "the half-open counts");
      equal(
        snapshot.sinceClosed,
        { successes: 9, failures: 3, slow: 0 },
        "the counts since it closed",
      );
      equal(snapshot.window, { successes: 1, failures: 1, slow: 0 }, "the window");
      equal(snapshot.consecutiveFailures, 1, "the run");
      equal(snapshot.state, "HALF_OPEN", "the state, which the store does not judge");
    },
  },
  {
    name: "record() ends no lease when the token belongs to another call",
    async run(subject) {
      await halfOpened(subject, unique());
      const { snapshot } = await subject.record({ successes: 1, lease: unique() });
      equal(snapshot.halfOpen.inFlight, 1, "the trials in flight");
    },
  },
  {
    name:
      "a generation owns its leases: an old trial holds and frees no slot of the next half-open state",
    async run(subject) {
      const old = [unique(), unique()] as const;
      await halfOpened(subject, old[0], 2);
      await subject.acquire({ token: old[1], max: 2 });
      const { snapshot: failed } = await subject.record({ failures: 1, lease: old[0] });
      await subject.trip();
      subject.clock.advance(COOLDOWN_MS);
      const next = await subject.acquire();
      includes(next, { granted: true, moved: true }, "the next half-open");
      includes(
        next.snapshot.halfOpen,
        { inFlight: 1, successes: 0, failures: 0 },
        "its half-open counts",
      );
      const { epoch, generation } = failed;
      const late = await subject.record({ epoch, generation, failures: 1, lease: old[1] });
      equal(late.current, false, "whether the old trial's outcome is current");
      equal(late.snapshot.halfOpen.inFlight, 1, "the trials in flight after it");
      equal(late.snapshot.halfOpen.failures, 0, "the half-open failures after it");
      equal((await subject.acquire()).granted, false, "whether a second trial gets in");
    },
  },
  {
    name:
      "a generation owns its leases: a lease that outlives its generation holds no slot of the next",
    async run(subject) {
      const hung = unique();
      await opened(subject, 1_000);
      subject.clock.advance(1_000);
      await subject.acquire({ token: hung, leaseMs: LEASE_MS });
      await subject.trip({ cooldownMs: 1_000 });
      subject.clock.advance(1_000);
      const next = await subject.acquire({ max: 1 });
      includes(next, { granted: true, moved: true }, "the next half-open, while the lease runs");
      equal(next.snapshot.halfOpen.inFlight, 1, "the trials in flight");
    },
  },
  {
    name: "a running trial does not block reads, records and changes of its circuit",
    async run(subject) {
      await halfOpened(subject, unique());
      equal((await subject.read()).halfOpen.inFlight, 1, "the trials in flight");
      equal((await subject.record({ successes: 1 })).current, true, "whether an outcome counts");
      equal((await subject.override("disabled")).won, true, "whether an override is laid");
      equal((await subject.release()).won, true, "whether it is released");
      equal((await subject.reset()).won, true, "whether a reset wins");
    },
  },
  {
    name:
      "acquire() treats openUntil as passed when it is further ahead than a cooldown can set it",
    async run(subject) {
      // A short cooldown may seem a minute longer, a long one twice as long.
      for (const [cooldownMs, farthest] of [[1_000, 61_000], [600_000, 1_200_000]] as const) {
        const circuit = subject.another();
        const { snapshot } = await opened(circuit, cooldownMs);
        equal(snapshot.cooldownMs, cooldownMs, "the length of the cooldown");
        subject.clock.set(snapshot.openUntil! - farthest);
        includes(await circuit.acquire(), { granted: false, moved: false }, "exactly that far off");
        subject.clock.set(snapshot.openUntil! - farthest - 1);
        includes(await circuit.acquire(), { granted: true, moved: true }, "1 ms further off");
      }
    },
  },
  {
    name: "acquire() moves an open circuit when the store's clock was set back an hour",
    async run(subject) {
      await opened(subject);
      subject.clock.set(subject.clock.now() - HOUR_MS);
      const answer = await subject.acquire();
      includes(answer, { granted: true, moved: true }, "an hour before the trip");
      equal(answer.snapshot.state, "HALF_OPEN", "the state");
    },
  },
  {
    name: "acquire() treats a lease as expired when it ends later than twice leaseMs from now",
    async run(subject) {
      await halfOpened(subject, unique());
      const begun = subject.clock.now();
      subject.clock.set(begun - LEASE_MS);
      equal((await subject.acquire()).granted, false, "a lease exactly twice leaseMs off");
      subject.clock.set(begun - HOUR_MS);
      const { granted, snapshot } = await subject.acquire();
      equal(granted, true, "a lease an hour off: the store's clock has gone back");
      equal(snapshot.halfOpen.inFlight, 1, "the trials in flight");
      const freeAt: Snapshot["halfOpen"]["freeAt"] = begun - HOUR_MS + LEASE_MS;
      equal(snapshot.halfOpen.freeAt, freeAt, "when the new lease ends");
    },
  },
  {
    name: "trials in sequence reach two successes, and the circuit is closed",
    async run(subject) {
      let token = unique();
      await halfOpened(subject, token);
      await endTrial(subject, token);
      token = unique();
      equal((await subject.acquire({ token })).granted, true, "the second trial");
      const snapshot = await endTrial(subject, token);
      equal(snapshot.halfOpen.successes, 2, "the half-open successes");
      const closed = await subject.close();
      equal(closed.won, true, "whether closing won");
      equal(closed.snapshot.state, "CLOSED", "the state");
      equal((await subject.acquire()).granted, true, "whether the next call gets through");
    },
  },
  {
    name: "transition() closes while fewer trials have failed than the request allows",
    async run(subject) {
      const tokens = [unique(), unique(), unique()] as const;
      await halfOpened(subject, tokens[0], 3);
      for (const token of tokens.slice(1)) await subject.acquire({ token, max: 3 });
      await subject.record({ successes: 1, lease: tokens[0] });
      for (const lease of tokens.slice(1)) await subject.record({ failures: 1, lease });
      for (const failuresBelow of [undefined, 1, 2]) {
        const { won, snapshot } = await subject.close({ failuresBelow });
        equal(won, false, `whether closing won below ${failuresBelow} failures`);
        equal(snapshot.halfOpen.failures, 2, "the half-open failures");
      }
      const { won, snapshot } = await subject.close({ failuresBelow: 3 });
      equal(won, true, "whether closing won below 3 failures");
      equal([snapshot.state, snapshot.halfOpen.failures], ["CLOSED", 0], "what is left of them");
    },
  },
];

async function endTrial(subject: Subject, token: string): Promise<Snapshot> {
  return (await subject.record({ successes: 1, lease: token })).snapshot;
}
