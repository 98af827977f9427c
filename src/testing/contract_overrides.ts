/** Overrides, and how they end. */

import type { Answer, Override } from "../contract.ts";
import {
  COOLDOWN_MS,
  equal,
  halfOpened,
  includes,
  ok,
  opened,
  type Scenario,
  unique,
} from "./contract_subject.ts";

const KINDS: readonly Override[] = ["forced_open", "forced_closed", "disabled", "metrics_only"];
const ADMITTING = KINDS.filter((kind) => kind !== "forced_open");
const DAY_MS = 86_400_000;

const NO_EVIDENCE = {
  consecutiveFailures: 0,
  consecutiveSuccesses: 0,
  window: { successes: 0, failures: 0, slow: 0 },
  sinceClosed: { successes: 0, failures: 0, slow: 0 },
  last: { size: 0, failures: 0 },
  halfOpen: { inFlight: 0, successes: 0, failures: 0, freeAt: null },
} as const;

export const OVERRIDES: readonly Scenario[] = [
  {
    name: "override() begins a generation, clears the evidence and keeps the state beneath",
    async run(subject) {
      const { snapshot: before } = await opened(subject);
      const { won, snapshot } = await subject.override("metrics_only", {
        reason: "a drill",
        actor: "ada",
      });
      equal(won, true, "whether it won");
      const override = {
        kind: "metrics_only",
        until: null,
        reason: "a drill",
        actor: "ada",
      } as const;
      includes(snapshot, { override, generation: 3, ...NO_EVIDENCE }, "the circuit");
      const { state, epoch, openedAt, openUntil, reopenCount, totals } = before;
      const beneath = { state, epoch, openedAt, openUntil, reopenCount, totals };
      includes(snapshot, beneath, "what stands beneath");
      includes(await subject.read(), { override, generation: 3, ...beneath }, "the read after it");
    },
  },
  {
    name: "override() creates a circuit when there is none",
    async run(subject) {
      const { won, snapshot } = await subject.override("forced_open");
      equal(won, true, "whether it won");
      equal(snapshot.state, "CLOSED", "the state beneath");
      equal(snapshot.override?.kind, "forced_open", "the override");
      ok(snapshot.epoch !== "" && snapshot.generation >= 1, "it has an epoch and a generation");
      equal((await subject.acquire()).granted, false, "whether a call gets through");
      equal((await subject.listed()).length, 1, "how many circuits are listed");
    },
  },
  {
    name: "override() replaces the previous override and begins another generation",
    async run(subject) {
      const until = subject.clock.now() + DAY_MS;
      await subject.override("forced_open", { until, reason: "an outage", actor: "ada" });
      const { generation } = subject.seen;
      const { won, snapshot } = await subject.override("forced_closed");
      equal(won, true, "whether the second won");
      const override = { kind: "forced_closed", until: null, reason: null, actor: null } as const;
      includes(snapshot, { override, generation: generation + 1 }, "the circuit");
      const third = await subject.override("forced_closed");
      equal(third.won, true, "whether a third of the same kind won");
      equal(third.snapshot.generation, generation + 2, "the generation after it");
    },
  },
  {
    name: "override() makes earlier outcomes late, and counts outcomes that were admitted under it",
    async run(subject) {
      await subject.record({ successes: 1 });
      const { epoch, generation } = subject.seen;
      await subject.override("forced_closed");
      const under = await subject.record({ failures: 1 });
      equal(under.current, true, "whether an outcome admitted under it is current");
      equal(under.snapshot.consecutiveFailures, 1, "the run");
      const late = await subject.record({ epoch, generation, failures: 1 });
      equal(late.current, false, "whether an outcome admitted before it is current");
      equal(late.snapshot.consecutiveFailures, 1, "the run after it");
    },
  },
  {
    name: "acquire() refuses under forced_open in every state, and changes nothing",
    async run(subject) {
      await subject.record({ successes: 1 });
      await subject.override("forced_open");
      const closed = await subject.read();
      includes(await subject.acquire(), { granted: false, moved: false }, "over CLOSED");
      equal(await subject.read(), closed, "the circuit after it");
      await subject.trip({ expected: null });
      subject.clock.advance(COOLDOWN_MS);
      const open = await subject.read();
      equal(open.override?.kind, "forced_open", "the override, which a transition leaves alone");
      includes(await subject.acquire(), { granted: false, moved: false }, "over OPEN, cooled down");
      equal(await subject.read(), open, "the circuit after it");
    },
  },
  {
    name: "acquire() grants without a lease under the other overrides, and moves no open circuit",
    async run(subject) {
      for (const kind of ADMITTING) {
        const circuit = subject.another();
        await opened(circuit);
        await circuit.override(kind);
        circuit.clock.advance(COOLDOWN_MS);
        const before = await circuit.read();
        equal(before.state, "OPEN", `the state beneath ${kind}`);
        for (let i = 0; i < 2; i++) {
          const { granted, moved } = await circuit.acquire({ max: 1 });
          equal({ granted, moved }, { granted: true, moved: false }, `acquire() under ${kind}`);
        }
        equal(await circuit.read(), before, `the circuit after two calls under ${kind}`);
      }
    },
  },
  {
    name: "override() of a half-open circuit ends its leases, and calls are granted without any",
    async run(subject) {
      const token = unique();
      const { snapshot: trial } = await halfOpened(subject, token);
      await subject.override("disabled");
      for (let i = 0; i < 2; i++) {
        const { granted, snapshot } = await subject.acquire({ max: 1 });
        equal(granted, true, "a call under disabled");
        includes(snapshot, { state: "HALF_OPEN", halfOpen: NO_EVIDENCE.halfOpen }, "the circuit");
      }
      await subject.release();
      const next = await subject.acquire({ max: 1 });
      includes(next, { granted: true, moved: false }, "the first trial after the release");
      equal(next.snapshot.halfOpen.inFlight, 1, "the trials in flight");
      const { epoch, generation } = trial;
      const late = await subject.record({ epoch, generation, successes: 1, lease: token });
      equal(late.current, false, "whether the old trial's outcome is current");
      equal(late.snapshot.halfOpen.inFlight, 1, "the trials in flight after it");
    },
  },
  {
    name: "an override outlives the traffic data of its circuit",
    async run(subject) {
      await subject.override("forced_open");
      subject.clock.advance(400 * DAY_MS);
      equal((await subject.read()).override?.kind, "forced_open", "the override 400 days later");
      equal((await subject.acquire()).granted, false, "whether a call gets through");
      const { snapshot } = await subject.record({ rejected: 1 });
      equal(snapshot.override?.kind, "forced_open", "the override after a write");
    },
  },
  {
    name: "a release begins a generation, clears the evidence and keeps the state beneath",
    async run(subject) {
      const { snapshot: before } = await opened(subject);
      await subject.override("metrics_only");
      await subject.record({ successes: 2, failures: 1 });
      subject.clock.advance(1_000);
      const { won, snapshot } = await subject.release();
      equal(won, true, "whether it won");
      includes(snapshot, { override: null, generation: 4, ...NO_EVIDENCE }, "the circuit");
      const { state, openedAt, openUntil, reopenCount } = before;
      includes(snapshot, { state, openedAt, openUntil, reopenCount }, "what stands beneath");
      equal(
        (await subject.acquire()).granted,
        false,
        "whether a call gets through before openUntil",
      );
      subject.clock.advance(COOLDOWN_MS);
      equal((await subject.acquire()).moved, true, "whether acquire() moves it after openUntil");
    },
  },
  {
    name: "a release without an override does nothing, and creates nothing",
    async run(subject) {
      equal((await subject.release()).won, false, "whether it won on an absent circuit");
      equal((await subject.read()).epoch, "", "the epoch of the absent circuit");
      equal(await subject.listed(), [], "the list");
      const { snapshot } = await subject.record({ failures: 1 });
      const answer = await subject.release();
      equal(answer.won, false, "whether it won on a circuit without override");
      equal(answer.snapshot, snapshot, "the circuit it answered with");
      equal(await subject.read(), snapshot, "the read after it");
    },
  },
  {
    name: "a reset keeps an override and the lifetime totals",
    async run(subject) {
      await opened(subject);
      await subject.override("forced_open", { reason: "an outage" });
      const { override, totals } = await subject.read();
      const { won, snapshot } = await subject.reset();
      equal(won, true, "whether it won");
      includes(snapshot, { state: "CLOSED", generation: 4, override, totals }, "the circuit");
      equal(override?.reason, "an outage", "the override's reason");
      equal((await subject.acquire()).granted, false, "whether a call gets through");
    },
  },
  {
    name: "override() translates until from its caller's clock to the store's",
    async run(subject) {
      const now = subject.clock.now();
      const at = now - 5_000_000;
      const { snapshot } = await subject.override("disabled", { at, until: at + 60_000 });
      equal(snapshot.override?.until, now + 60_000, "until, in the answer");
      equal((await subject.read()).override?.until, now + 60_000, "until, as read");
    },
  },
  {
    name: "read() shows an override as released when its until has passed, and writes nothing",
    async run(subject) {
      await opened(subject, 600_000);
      const until = subject.clock.now() + 60_000;
      const { snapshot: laid } = await subject.override("forced_closed", { until });
      await subject.record({ failures: 1 });
      subject.clock.advance(59_999);
      const before = await subject.read();
      equal(before.override, laid.override, "the override 1 ms before");
      equal(before.generation, laid.generation, "the generation 1 ms before");
      subject.clock.advance(1);
      for (const time of ["first", "second"]) {
        const { state, openUntil } = laid;
        const snapshot = await subject.read();
        const generation = laid.generation + 1;
        includes(snapshot, { override: null, generation, ...NO_EVIDENCE }, `the ${time} read`);
        includes(snapshot, { state, openUntil }, `what stands beneath, at the ${time} read`);
      }
      const { released } = await subject.record({ rejected: 1 });
      equal(released, laid.override, "what the first write after the reads released");
    },
  },
  {
    name: "the first write after until releases the override, and one answer reports the release",
    async run(subject) {
      await subject.record({ successes: 1 });
      const until = subject.clock.now() + 60_000;
      const { snapshot: laid } = await subject.override("forced_open", {
        until,
        reason: "an outage",
        actor: "ada",
      });
      subject.clock.advance(60_000);
      const shown = await subject.read();
      const answers = await Promise.all(
        Array.from({ length: 10 }, () => subject.record({ failures: 1 })),
      );
      equal(saying(answers), [laid.override], "what the ten answers said of a release");
      equal(answers.filter((answer) => answer.current).length, 10, "how many were current");
      const after = await subject.read();
      includes(after, { generation: shown.generation, override: null }, "the circuit after them");
      equal(after.consecutiveFailures, 10, "the run after them");
      equal(saying([await subject.trip(), await subject.reset()]), [], "what later writes said");
    },
  },
  {
    name:
      "acquire() uses the state beneath when until has passed, and the release is reported once",
    async run(subject) {
      await subject.record({ successes: 1 });
      const until = subject.clock.now() + 60_000;
      const { snapshot: laid } = await subject.override("forced_open", { until });
      subject.clock.advance(59_999);
      equal((await subject.acquire()).granted, false, "1 ms before until");
      subject.clock.advance(1);
      const admitted = await subject.acquire();
      equal(admitted.granted, true, "at until");
      const generation = laid.generation + 1;
      includes(admitted.snapshot, { override: null, generation }, "the circuit it answered with");
      const recorded = await subject.record({ failures: 1 });
      equal(recorded.current, true, "whether the admitted call's outcome is current");
      equal(saying([admitted, recorded]), [laid.override], "what both answers said of a release");
    },
  },
  {
    name: "acquire() moves an open circuit when the override over it has ended by itself",
    async run(subject) {
      await opened(subject);
      const until = subject.clock.now() + COOLDOWN_MS;
      const { snapshot: laid } = await subject.override("disabled", { until });
      subject.clock.advance(COOLDOWN_MS);
      const answer = await subject.acquire();
      includes(answer, { granted: true, moved: true }, "acquire() after until and openUntil");
      includes(answer.snapshot, { state: "HALF_OPEN", override: null }, "the circuit");
      equal(
        answer.snapshot.generation,
        laid.generation + 2,
        "the generation: released, then moved",
      );
      equal(saying([answer]), [laid.override], "what it said of a release");
      equal(answer.snapshot.halfOpen.inFlight, 1, "the trials in flight");
    },
  },
  {
    name:
      "record() adds to totals only when the override of the outcome's admission has ended by itself",
    async run(subject) {
      const until = subject.clock.now() + 60_000;
      const { snapshot: laid } = await subject.override("metrics_only", { until });
      subject.clock.advance(60_000);
      const { epoch, generation } = laid;
      const late = await subject.record({ epoch, generation, failures: 1 });
      equal(late.current, false, "whether it is current");
      includes(late.snapshot, { generation: generation + 1, ...NO_EVIDENCE }, "the circuit");
      equal(late.snapshot.totals.failures, 1, "the lifetime failures");
    },
  },
  {
    name: "transition() expects the generation that read() shows when until has passed",
    async run(subject) {
      const until = subject.clock.now() + 60_000;
      const { snapshot: laid } = await subject.override("metrics_only", { until });
      subject.clock.advance(60_000);
      const { epoch, generation, began } = laid;
      equal(
        (await subject.trip({ expected: { epoch, generation, began } })).won,
        false,
        "the old one",
      );
      await subject.read();
      equal((await subject.trip()).won, true, "the one that was read");
    },
  },
  {
    name:
      "override() after until has passed replaces no override, because the previous one is released",
    async run(subject) {
      const until = subject.clock.now() + 60_000;
      const { snapshot: laid } = await subject.override("metrics_only", { until });
      subject.clock.advance(60_000);
      const answer = await subject.override("forced_open");
      equal(answer.won, true, "whether it won");
      equal(saying([answer]), [laid.override], "what it said of a release");
      equal(answer.snapshot.override?.kind, "forced_open", "the override that stands");
      equal(answer.snapshot.generation, laid.generation + 2, "the generation: released, then laid");
    },
  },
];

/** Returns the answers' report of an override that was found past its `until`. */
function saying(answers: readonly Answer[]): unknown[] {
  return answers.map((answer) => answer.released ?? null).filter((released) => released !== null);
}
