/**
 * What a store that many isolates share is asked for, call by call. The store is memory behind an
 * answer that takes a turn of the event loop; time is virtual, so that "100 calls/s" is exact.
 *
 * @module
 */
import { type CircuitBreaker, type CircuitOptions, createFuse, memory } from "@fuse/edge";
import { chaos, FakeClock } from "@fuse/edge/testing";
import { type Candidate, effort, race, ratio } from "./harness.ts";
import { observe, type Operation } from "./observed_store.ts";
import { consecutive } from "./peers.ts";
import type { Section, SectionOptions } from "./section.ts";
import { budget, integer, nanoseconds, type Table, times } from "./table.ts";

type Consistency = "eventual" | "strong";
const CONSISTENCIES: readonly Consistency[] = ["eventual", "strong"];

/** Section `remote`. */
export const section: Section = {
  candidates,
  async *run(options) {
    yield await operationsTable(options);
    yield await speedTable(options);
  },
};

async function operationsTable({ quick }: SectionOptions): Promise<Table> {
  const seconds = quick ? 10 : 60;
  const rows: string[][] = [];
  for (const consistency of CONSISTENCIES) {
    const eventual = consistency === "eventual";
    const of = (blocking: number, background?: number): Limits =>
      eventual ? { blocking, ...(background === undefined ? {} : { background }) } : {};
    const at = (name: string, tally: Tally, limits: Limits) =>
      rows.push(operationsRow(consistency, name, tally, limits));
    at("CLOSED, 100 calls/s", await closed(consistency, seconds, 0), of(0, 0.2));
    at("CLOSED, 100 calls/s, 5 % fail", await closed(consistency, seconds, 0.05), of(0, 0.2));
    at("CLOSED, 1 call/s", await closed(consistency, seconds, 0, 1), of(0));
    at("OPEN, 100 calls/s", await open(consistency, seconds), of(0, 0.2));
    const cycles = await trips(consistency, quick ? 20 : 200);
    at("the failure that trips", cycles.trip, of(0));
    at("trial that succeeds", cycles.trial, { blocking: 2 });
    at("trial that closes", cycles.closing, { blocking: 3 });
    at("trial that reopens", cycles.reopening, { blocking: 3 });
    at("turned away by a trial under way", cycles.refused, of(0));
  }
  return {
    title: "Remote: what the store is asked, per call",
    columns: [
      "call",
      "consistency",
      "calls",
      "blocking",
      "background",
      "read",
      "record",
      "acquire",
      "transition",
      "budget",
    ],
    rows,
    notes: ["Blocking: answered before the call ended. Each is one round trip."],
  };
}

interface Limits {
  readonly blocking?: number;
  readonly background?: number;
}

function operationsRow(
  consistency: Consistency,
  name: string,
  tally: Tally,
  limits: Limits,
): string[] {
  const perCall = (count: number) => (count / tally.calls).toFixed(2).replace(/\.00$/, "");
  const blocking = tally.blocking / tally.calls;
  const background = (tally.all - tally.blocking) / tally.calls;
  const verdicts = [
    limits.blocking === undefined ? [] : [`blocking ${budget(blocking, limits.blocking)}`],
    limits.background === undefined ? [] : [`background ${budget(background, limits.background)}`],
  ];
  return [
    name,
    consistency,
    integer(tally.calls),
    perCall(tally.blocking),
    perCall(tally.all - tally.blocking),
    ...(["read", "record", "acquire", "transition"] as const).map((kind) =>
      perCall(tally.kinds[kind])
    ),
    verdicts.flat().join(", "),
  ];
}

/** A call every hundredth of a second, or every so often, after one that has made the circuit known. */
async function closed(
  consistency: Consistency,
  seconds: number,
  failureRate: number,
  callsPerSecond = 100,
): Promise<Tally> {
  const bench = setUp(consistency);
  await bench.call(succeed, new Tally());
  const tally = new Tally();
  const calls = seconds * callsPerSecond;
  for (let i = 0; i < calls; i++) {
    bench.clock.advance(1000 / callsPerSecond);
    // Spread evenly, never two in a row: the circuit must stay closed.
    const fails = failureRate > 0 && i % Math.round(1 / failureRate) === 0;
    await bench.call(fails ? fail : succeed, tally);
  }
  await expectState(bench.breaker, "CLOSED");
  return tally;
}

async function open(consistency: Consistency, seconds: number): Promise<Tally> {
  const bench = setUp(consistency);
  for (let i = 0; i < 5; i++) await bench.call(fail, new Tally());
  await expectState(bench.breaker, "OPEN");
  const tally = new Tally();
  for (let i = 0; i < seconds * 100; i++) {
    bench.clock.advance(10);
    await bench.call(succeed, tally);
  }
  await expectState(bench.breaker, "OPEN");
  return tally;
}

/** Through the states and back, call by call. */
async function trips(consistency: Consistency, cycles: number) {
  const bench = setUp(consistency, { cooldownMs: 60_000 });
  const { clock, breaker } = bench;
  const tallies = {
    trip: new Tally(),
    trial: new Tally(),
    closing: new Tally(),
    reopening: new Tally(),
    refused: new Tally(),
  };
  for (let i = 0; i < cycles; i++) {
    for (let failure = 0; failure < 4; failure++) await bench.call(fail, new Tally());
    await bench.call(fail, tallies.trip);
    await expectState(breaker, "OPEN");
    clock.advance(60_000);
    await bench.call(fail, tallies.reopening);
    await expectState(breaker, "OPEN");
    clock.advance(60_000);
    await bench.whileTrialRuns(() => bench.call(succeed, tallies.refused));
    await bench.call(succeed, tallies.closing);
    await expectState(breaker, "CLOSED");
    for (let failure = 0; failure < 5; failure++) await bench.call(fail, new Tally());
    clock.advance(60_000);
    await bench.call(succeed, tallies.trial);
    await expectState(breaker, "HALF_OPEN");
    await bench.call(succeed, new Tally());
    await expectState(breaker, "CLOSED");
  }
  return tallies;
}

/** What calls of one kind asked for. */
class Tally {
  calls = 0;
  blocking = 0;
  all = 0;
  readonly kinds: Record<Operation["kind"], number> = {
    read: 0,
    record: 0,
    acquire: 0,
    transition: 0,
    other: 0,
  };
}

function setUp(consistency: Consistency, policy: CircuitOptions = {}) {
  const clock = new FakeClock();
  const observed = observe(chaos(memory(), {}));
  const fuse = createFuse({ stores: { remote: observed.store }, clock: clock.now });
  const breaker = fuse.make("api", { ...consecutive, ...policy, consistency });
  const call = async (fn: Work, tally: Tally) => {
    observed.operations.length = 0;
    await breaker.tryCall(fn);
    tally.calls++;
    tally.blocking += observed.operations.filter(({ answered }) => answered).length;
    await observed.quiet();
    tally.all += observed.operations.length;
    for (const { kind } of observed.operations) tally.kinds[kind]++;
  };
  const whileTrialRuns = async (during: () => Promise<void>) => {
    const { promise, resolve } = Promise.withResolvers<number>();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const trial = breaker.tryCall(() => {
      begin();
      return promise;
    });
    await begun;
    await during();
    resolve(42);
    await trial;
    await observed.quiet();
  };
  return { clock, breaker, call, whileTrialRuns };
}

async function expectState(breaker: CircuitBreaker, expected: string): Promise<void> {
  const { state } = await breaker.snapshot();
  if (state !== expected) throw new Error(`The circuit should be ${expected}, it is ${state}`);
}

type Work = () => Promise<number>;
const succeed: Work = () => Promise.resolve(42);
const fail: Work = () => Promise.reject(new Error("down"));

async function speedTable({ quick }: SectionOptions): Promise<Table> {
  const measured = await race(await candidates(), effort(quick));
  const base = measured[0]!;
  return {
    title: "Remote: our own share of the time, store answering at once",
    columns: ["call", "ns/call", "min–max", "calls/s", "× memory", "min–max"],
    rows: measured.map((one) => [
      one.name,
      ...nanoseconds(one.ns),
      integer(1e9 / one.ns.median),
      ...times(ratio(one, base)),
    ]),
    notes: ["chaos(memory(), {}), one call after the other, real time."],
  };
}

async function candidates(): Promise<Candidate[]> {
  const local = createFuse().make("api", consecutive);
  const remote = async (consistency: Consistency, fn: Work) => {
    const fuse = createFuse({ stores: { remote: chaos(memory(), {}) } });
    const breaker = fuse.make("api", { ...consecutive, consistency });
    for (let i = 0; i < 5; i++) await breaker.tryCall(fn);
    await fuse.flush();
    return breaker;
  };
  const run = (breaker: CircuitBreaker) => async (calls: number) => {
    for (let i = 0; i < calls; i++) await breaker.tryCall(succeed);
  };
  return [
    { name: "CLOSED, memory", run: run(local) },
    { name: "CLOSED, eventual", run: run(await remote("eventual", succeed)) },
    { name: "CLOSED, strong", run: run(await remote("strong", succeed)) },
    { name: "OPEN, eventual", run: run(await remote("eventual", fail)) },
    { name: "OPEN, strong", run: run(await remote("strong", fail)) },
  ];
}
