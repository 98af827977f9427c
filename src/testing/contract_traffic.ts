/** How many requests a second the store says a circuit takes. A store may leave it out. */

import { equal, ok, opened, type Scenario, type Subject, unique } from "./contract_subject.ts";

/** Sends a number of tallies, each as one request. */
async function record(subject: Subject, tallies: number): Promise<void> {
  for (let i = 0; i < tallies; i++) await subject.record({ successes: 1 });
}

/** Goes to the beginning of the next second. */
function nextSecond({ clock }: Subject): void {
  clock.advance(1_000 - clock.now() % 1_000);
}

/** Throws unless a read returns this number of requests a second. */
async function reads(subject: Subject, requests: number, when: string): Promise<void> {
  await subject.read();
  equal(subject.requestsPerSecond, requests, `the requests a second ${when}`);
}

/** Begins a second. Returns `false` for a store that does not count: a circuit in use has no requests. */
async function counts(subject: Subject): Promise<boolean> {
  nextSecond(subject);
  await record(subject, 1);
  nextSecond(subject);
  await subject.read();
  return subject.requestsPerSecond > 0;
}

export const TRAFFIC: readonly Scenario[] = [
  {
    name: "answers say how many tallies came in the last full second",
    async run(subject) {
      await reads(subject, 0, "of a circuit that does not exist");
      if (!await counts(subject)) return;
      await record(subject, 3);
      subject.clock.advance(999);
      await record(subject, 1);
      subject.clock.advance(1);
      await reads(subject, 4, "at the beginning of the next second");
      await subject.record();
      equal(subject.requestsPerSecond, 4, "the requests a second, with a tally");
      await subject.acquire();
      equal(subject.requestsPerSecond, 4, "the requests a second, with an acquire");
      subject.clock.advance(999);
      await reads(subject, 4, "at its end");
      subject.clock.advance(1);
      await reads(subject, 1, "in the second after it");
    },
  },
  {
    name: "answers say how many tallies came in the present second, if they are more",
    async run(subject) {
      if (!await counts(subject)) return;
      await record(subject, 3);
      equal(subject.requestsPerSecond, 3, "the requests a second, with the third tally");
      await reads(subject, 3, "after three tallies");
    },
  },
  {
    name: "answers forget the tallies of longer ago, and those of a clock that has gone back",
    async run(subject) {
      if (!await counts(subject)) return;
      await record(subject, 5);
      subject.clock.advance(2_000);
      await reads(subject, 0, "two seconds later");
      await record(subject, 1);
      equal(subject.requestsPerSecond, 1, "the requests a second, with a tally then");
      subject.clock.set(subject.clock.now() - 3_600_000);
      await reads(subject, 0, "an hour before that");
      await record(subject, 1);
      equal(subject.requestsPerSecond, 1, "the requests a second, with a tally at that time");
    },
  },
  {
    name: "a tally that is sent again and a request that changes nothing do not count as requests",
    async run(subject) {
      if (!await counts(subject)) return;
      const id = unique();
      for (let i = 0; i < 3; i++) await subject.record({ id, successes: 1 });
      await subject.acquire();
      nextSecond(subject);
      await reads(subject, 1, "in the next second");
    },
  },
  {
    name: "tallies of an open and of an overridden circuit count as requests, late ones, too",
    async run(subject) {
      if (!await counts(subject)) return;
      await opened(subject);
      nextSecond(subject);
      await subject.record({ rejected: 2 });
      await subject.record({ epoch: unique(), failures: 1 });
      nextSecond(subject);
      await reads(subject, 2, "of an open circuit");
      await subject.override("forced_open");
      nextSecond(subject);
      await subject.record({ rejected: 1 });
      nextSecond(subject);
      await reads(subject, 1, "of an overridden circuit");
    },
  },
  {
    name: "a record that is restored does not bring its requests along",
    async run(subject) {
      if (!await counts(subject)) return;
      const [listed] = await subject.listed();
      const other = subject.another();
      const busy = { ...listed!.snapshot, requestsPerSecond: 9 };
      await other.restore({ ...listed!, key: other.key, snapshot: busy });
      await other.read();
      ok(other.requestsPerSecond <= 1, "a restored circuit has had one request at most");
    },
  },
];
