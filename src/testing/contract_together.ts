/** Several tallies of one circuit at once, as an isolate sends them that fails and succeeds by turns. */

import type { Override, Recorded, Tally } from "../contract.ts";
import { together } from "../records.ts";
import { equal, halfOpened, ok, type Scenario, type Subject, unique } from "./contract_subject.ts";

export const TOGETHER: readonly Scenario[] = [
  {
    name: "together() records tallies of a circuit in order, and answers each as if it were alone",
    async run(subject) {
      const alone = subject.another();
      for (const each of [subject, alone]) await each.record({ successes: 1, failures: 1 });
      subject.clock.advance(3_000);
      const all = TALLIES.map((parts) => ({ ...parts, id: unique() }));
      const answers = await recorded(subject, all);
      for (const [i, parts] of all.entries()) {
        const { epoch, ...expected } = (await alone.record(parts)).snapshot;
        const { epoch: own, ...received } = answers[i]!.snapshot;
        equal(received, expected, `the Snapshot after tally ${i}, ${JSON.stringify(parts)}`);
        equal([own, epoch], [subject.seen.epoch, alone.seen.epoch], "the lives");
      }
      const { epoch: _, ...left } = await subject.read();
      const { epoch: __, ...right } = await alone.read();
      equal(left, right, "what is read afterwards");
    },
  },
  {
    name: "together() shows the failures that trip, although the next tally is a success",
    async run(subject) {
      const answers = await recorded(subject, [
        ...[{ failures: 4 }, { failures: 1 }, { successes: 1 }, { successes: 7, failures: 1 }],
        { successes: 40 },
      ]);
      const runs = answers.map(({ snapshot }) => snapshot.consecutiveFailures);
      equal(runs, [4, 5, 0, 1, 0], "the runs of failures, tally by tally");
      const windows = answers.map(({ snapshot: { last } }) => last.failures);
      equal(windows, [4, 5, 5, 2, 0], "the failures in the count window, tally by tally");
    },
  },
  {
    name: "together() counts each id once, whichever tallies are sent again",
    async run(subject) {
      const [a, b, c, d] = Array.from({ length: 4 }, (_, i) => ({ id: unique(), failures: i + 1 }));
      const late = { id: unique(), failures: 10, generation: 99 };
      const first = await recorded(subject, [a!, b!, late, c!]);
      equal(first.map(({ current }) => current), [true, true, false, true], "which are current");
      const again = await recorded(subject, [b!, late, c!, d!, d!, a!]);
      equal(
        again.map(({ current }) => current),
        [true, false, true, true, true, true],
        "the same answers again",
      );
      equal(again.at(-1)!.snapshot.totals.failures, 20, "the failures of all, each once");
      equal(again[0]!.snapshot.totals.failures, 16, "the failures before the last was sent");
      equal((await subject.read()).consecutiveFailures, 10, "the run, without the late ones");
    },
  },
  {
    name: "together() tells no more than once which override has run out",
    async run(subject) {
      await subject.record({ failures: 1 });
      const until = subject.clock.now() + 1_000;
      const { snapshot } = await subject.override("disabled" as Override, { until });
      subject.clock.advance(2_000);
      const generation = snapshot.generation + 1;
      const current = { began: until, generation };
      const answers = await recorded(subject, [
        { failures: 1 },
        { failures: 1, ...current },
        { successes: 1, ...current },
      ]);
      equal(answers.map((answer) => answer.current), [false, true, true], "which are current");
      const told = answers.flatMap(({ released }) => released ? [released.kind] : []);
      // A request that was delivered twice may have told it to nobody.
      ok(told.length < 2 && told.every((kind) => kind === "disabled"), `it is told: ${told}`);
      equal(answers.map(({ snapshot }) => snapshot.override), [null, null, null], "overrides");
    },
  },
  {
    name: "together() ends the lease of a trial beside other tallies",
    async run(subject) {
      const token = unique();
      await halfOpened(subject, token);
      const answers = await recorded(subject, [
        { successes: 3, generation: 1 },
        { successes: 1, lease: token },
        { failures: 1, generation: 1 },
      ]);
      equal(answers.map(({ current }) => current), [false, true, false], "which are current");
      const { halfOpen, totals } = answers[2]!.snapshot;
      equal([halfOpen.inFlight, halfOpen.successes, halfOpen.failures], [0, 1, 0], "the trials");
      equal([totals.successes, totals.failures], [4, 2], "the totals");
    },
  },
];

/** With late ones, rejections alone, and ages in the window's earlier segments and before it. */
const TALLIES: readonly Partial<Tally>[] = [
  { successes: 3, failures: 2, slow: 2 },
  { failures: 1, ageMs: 2_500 },
  { successes: 1 },
  { rejected: 4 },
  { successes: 2, failures: 3, ageMs: 100, firstFailureAgeMs: 1_200, rejected: 1 },
  { failures: 2, generation: 7 },
  { successes: 20, slow: 20 },
  { failures: 1, slow: 1, ageMs: 20_000 },
  { failures: 2 },
  { epoch: "", generation: 0, began: 0, failures: 1 },
  { failures: 2, ageMs: 4_000, firstFailureAgeMs: 4_100 },
  { epoch: "another", successes: 1 },
  { failures: 11 },
];

/** Records tallies in order: at once, if the driver can. */
async function recorded(
  subject: Subject,
  tallies: readonly Partial<Tally>[],
): Promise<Recorded[]> {
  const { store } = subject;
  if (store.together !== undefined) {
    return await Promise.all(together(store, () => tallies.map((parts) => subject.record(parts))));
  }
  const answers: Recorded[] = [];
  for (const parts of tallies) answers.push(await subject.record(parts));
  return answers;
}
