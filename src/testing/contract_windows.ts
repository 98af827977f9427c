/** The time window, in ten segments, and the count window. */

import type { Shape } from "../contract.ts";
import { equal, type Scenario, type Subject } from "./contract_subject.ts";

const SEGMENT_MS = 1_000;
const HOUR_MS = 3_600_000;

export const WINDOWS: readonly Scenario[] = [
  {
    name: "the window keeps an outcome until its segment began windowMs ago",
    async run(subject) {
      // The fake clock begins on a whole second. Both outcomes end in one segment of a second.
      const begun = subject.clock.now();
      await subject.record({ failures: 1 });
      subject.clock.set(begun + SEGMENT_MS - 1);
      await subject.record({ failures: 1, slow: 1 });
      subject.clock.set(begun + 9_999);
      equal((await subject.read()).window, { successes: 0, failures: 2, slow: 1 }, "at 9999 ms");
      subject.clock.set(begun + 10_000);
      equal((await subject.read()).window, { successes: 0, failures: 0, slow: 0 }, "at 10000 ms");
    },
  },
  {
    name: "the window loses one segment after another as time passes",
    async run(subject) {
      const begun = subject.clock.now();
      for (let i = 0; i < 10; i++) {
        subject.clock.set(begun + i * SEGMENT_MS);
        await subject.record({ successes: i + 1 });
      }
      let left = 55;
      equal((await subject.read()).window.successes, left, "all ten segments");
      for (let i = 0; i < 10; i++) {
        subject.clock.set(begun + 10_000 + i * SEGMENT_MS);
        left -= i + 1;
        equal((await subject.read()).window.successes, left, `after ${10 + i} s`);
      }
    },
  },
  {
    name: "record() ages the window, and drops outcomes of an hour ago",
    async run(subject) {
      await subject.record({ successes: 5, failures: 1, slow: 6 });
      subject.clock.advance(HOUR_MS);
      const { snapshot } = await subject.record({ failures: 1, slow: 1 });
      equal(snapshot.window, { successes: 0, failures: 1, slow: 1 }, "the window an hour later");
      equal((await subject.read()).window, snapshot.window, "the window as read");
      equal(snapshot.totals.successes, 5, "the lifetime successes, which do not age");
    },
  },
  {
    name: "record() drops old segments of the window and keeps the young ones",
    async run(subject) {
      await subject.record({ failures: 1 });
      subject.clock.advance(6 * SEGMENT_MS);
      await subject.record({ successes: 2 });
      subject.clock.advance(4 * SEGMENT_MS);
      const { snapshot } = await subject.record({ successes: 4 });
      equal(snapshot.window, { successes: 6, failures: 0, slow: 0 }, "the window after 10 s");
      subject.clock.advance(6 * SEGMENT_MS);
      equal((await subject.read()).window.successes, 4, "the window's successes after 16 s");
    },
  },
  {
    name: "acquire() and transition() age the window as well",
    async run(subject) {
      await subject.record({ failures: 1 });
      subject.clock.advance(HOUR_MS);
      const none = { successes: 0, failures: 0, slow: 0 };
      equal((await subject.acquire()).snapshot.window, none, "with the answer to acquire()");
      await subject.record({ failures: 1 });
      subject.clock.advance(HOUR_MS);
      equal((await subject.trip()).snapshot.window, none, "with the answer to transition()");
    },
  },
  {
    name: "the window counts an outcome at the time when it ended, not when it was recorded",
    async run(subject) {
      subject.clock.advance(500);
      const now = subject.clock.now();
      await subject.record({ successes: 1 });
      // It ended in the segment that began six seconds before the current one.
      await subject.record({ failures: 1, ageMs: 5_600 });
      subject.clock.set(now - 500 + 3_999);
      equal((await subject.read()).window, { successes: 1, failures: 1, slow: 0 }, "at 3999 ms");
      subject.clock.set(now - 500 + 4_000);
      equal((await subject.read()).window, { successes: 1, failures: 0, slow: 0 }, "at 4000 ms");
      subject.clock.set(now - 500 + 10_000);
      equal((await subject.read()).window, { successes: 0, failures: 0, slow: 0 }, "at 10000 ms");
    },
  },
  {
    name: "the window ignores an outcome that ended before the window began",
    async run(subject) {
      await subject.record({ successes: 1 });
      const { snapshot } = await subject.record({ failures: 1, ageMs: 12_000 });
      equal(snapshot.window, { successes: 1, failures: 0, slow: 0 }, "the window");
      equal(snapshot.totals.failures, 1, "the lifetime failures");
      equal(snapshot.lastFailureAt, subject.clock.now() - 12_000, "when the failure ended");
    },
  },
  {
    name: "the window stays complete when the store's clock goes back an hour",
    async run(subject) {
      await subject.record({ successes: 2, failures: 1 });
      subject.clock.set(subject.clock.now() - HOUR_MS);
      equal(
        (await subject.read()).window,
        { successes: 2, failures: 1, slow: 0 },
        "the window an hour before",
      );
      const { snapshot } = await subject.record({ failures: 1 });
      equal(snapshot.window, { successes: 2, failures: 2, slow: 0 }, "the window after one more");
      equal((await subject.read()).window, snapshot.window, "the window as read after it");
      await subject.record({ failures: 1, ageMs: 100 });
      equal((await subject.read()).window.failures, 3, "its failures after one that took 100 ms");
    },
  },
  {
    name: "the window has the length that the request asks for",
    async run(subject) {
      const minute: Shape = { windowMs: 60_000, windowSize: 0 };
      const second: Shape = { windowMs: 1_000, windowSize: 0 };
      await subject.record({ failures: 1, shape: minute });
      subject.clock.advance(30_000);
      equal((await subject.read(minute)).window.failures, 1, "over a minute, after 30 s");
      equal((await subject.read(second)).window.failures, 0, "over a second, after 30 s");
      equal((await subject.read(minute)).window.failures, 1, "over a minute, read once more");
      subject.clock.advance(30_000);
      equal((await subject.read(minute)).window.failures, 0, "over a minute, after 60 s");
      await subject.record({ failures: 1, shape: second });
      subject.clock.advance(999);
      equal((await subject.read(second)).window.failures, 1, "over a second, after 999 ms");
      subject.clock.advance(1);
      equal((await subject.read(second)).window.failures, 0, "over a second, after 1000 ms");
    },
  },
  {
    name: "the count window holds the last windowSize outcomes in their order",
    async run(subject) {
      const two: Shape = { windowMs: 10_000, windowSize: 2 };
      equal(await last(subject, two, { failures: 1 }), { size: 1, failures: 1 }, "after F");
      equal(await last(subject, two, { successes: 3, failures: 1 }), SF, "after F SSSF");
      equal(await last(subject, two, { successes: 1 }), SF, "after F SSSF S");
      equal(await last(subject, two, { successes: 1 }), { size: 2, failures: 0 }, "after one more");
      equal((await subject.read(two)).last, { size: 2, failures: 0 }, "as read");
    },
  },
  {
    name: "the count window does not age, and one tally can overflow it",
    async run(subject) {
      const ten: Shape = { windowMs: 10_000, windowSize: 10 };
      for (let i = 0; i < 6; i++) await subject.record({ failures: 1, shape: ten });
      subject.clock.advance(HOUR_MS);
      equal((await subject.read(ten)).last, { size: 6, failures: 6 }, "an hour later");
      equal(
        await last(subject, ten, { successes: 7 }),
        { size: 10, failures: 3 },
        "after seven more",
      );
      equal(
        await last(subject, ten, { successes: 35 }),
        { size: 10, failures: 0 },
        "after 35 more",
      );
    },
  },
  {
    name: "the count window has the length that the request asks for",
    async run(subject) {
      const ten: Shape = { windowMs: 10_000, windowSize: 10 };
      const shorter: Shape = { windowMs: 10_000, windowSize: 3 };
      for (let i = 0; i < 4; i++) await subject.record({ failures: 1, shape: ten });
      await subject.record({ successes: 2, shape: ten });
      equal((await subject.read(ten)).last, { size: 6, failures: 4 }, "over ten");
      equal((await subject.read(shorter)).last, { size: 3, failures: 1 }, "over three");
      equal((await subject.read(ten)).last, { size: 6, failures: 4 }, "over ten, read once more");
    },
  },
];

const SF = { size: 2, failures: 1 };

async function last(
  subject: Subject,
  shape: Shape,
  outcomes: { successes?: number; failures?: number },
): Promise<{ readonly size: number; readonly failures: number }> {
  return (await subject.record({ ...outcomes, shape })).snapshot.last;
}
